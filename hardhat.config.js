import { createRequire } from "node:module";
import { defineConfig } from "hardhat/config";

// The compiler is the locked npm package, by absolute path: nothing is downloaded at build time.
const require = createRequire(import.meta.url);
const installed = require.resolve("solc/soljson.js");
// Hardhat imports this path as an address, in which a few characters of a folder's name mean something else.
const soljson = /[#?%]/.test(installed) ? "/proc/self/cwd/node_modules/solc/soljson.js" : installed;
const compiler = { version: require("solc/package.json").version, path: soljson };

// How hard the Solidity tests try: `default` on every change, several times what catches every planted bug
// (scripts/planted_bugs.py); the others in the long tier.
const profiles = {
  default: { fuzz: { runs: 256 }, invariant: { runs: 48, depth: 32 } },
  long: { fuzz: { runs: 10_000 }, invariant: { runs: 256, depth: 128 } },
  soak: { fuzz: { runs: 100_000 }, invariant: { runs: 1_024, depth: 256 } },
};
const profileName = process.env.SEALMARKET_FUZZ_PROFILE ?? "default";
const profile = profiles[profileName];
if (profile === undefined) {
  throw new Error(
    `SEALMARKET_FUZZ_PROFILE is "${profileName}"; expected one of ${Object.keys(profiles).join(", ")}`,
  );
}

// The export of ABIs and bytecode builds apart, from nothing: see scripts/abi.py.
const folder = process.env.SEALMARKET_BUILD_FOLDER ?? "./build";

export default defineConfig({
  solidity: {
    // The tests take the contracts from their artifacts, so these are always built first, apart from the tests.
    splitTestsCompilation: true,
    compilers: [
      {
        ...compiler,
        settings: {
          // Shanghai is the newest version that every supported local chain runs (Ganache stops there).
          evmVersion: "shanghai",
          // As high as leaves the market about 1 kB below 24,576 bytes, and its creation code, which holds the
          // extension's, below 49,152.
          optimizer: { enabled: true, runs: 1_500 },
          viaIR: true,
          // No metadata hash: the same source gives the same bytecode in any folder.
          metadata: { bytecodeHash: "none" },
        },
      },
    ],
  },
  paths: {
    sources: "./contracts",
    // Tests are the contracts' neighbours that end in `.t.sol`. A folder that held others too would be built twice.
    tests: { solidity: "./contracts/tests" },
    artifacts: `${folder}/artifacts`,
    cache: `${folder}/cache`,
  },
  test: {
    solidity: {
      // A fixed seed: a red run is red again when repeated.
      fuzz: { seed: process.env.SEALMARKET_FUZZ_SEED ?? "0x5ea1", ...profile.fuzz },
      invariant: { failOnRevert: false, ...profile.invariant },
    },
  },
});
