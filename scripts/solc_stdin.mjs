// A native compiler's command line over npm's solc: `--version`, or `--standard-json` from the input stream.
// Standard library and soljson only; usage: node solc_stdin.mjs PATH_OF_SOLC_PACKAGE --standard-json
import { createRequire } from "node:module";
import { readFileSync } from "node:fs";

const [home, ...words] = process.argv.slice(2);
const require = createRequire(import.meta.url);
const solc = require(home);

if (words.includes("--version")) {
  console.log(`solc, the solidity compiler commandline interface\nVersion: ${solc.version()}`);
} else if (words.includes("--standard-json")) {
  process.stdout.write(solc.compile(readFileSync(0, "utf8")));
} else {
  console.error(`expected --version or --standard-json, found: ${words.join(" ")}`);
  process.exitCode = 1;
}
