// Recomputes the typed-data vectors with viem: prints "NAME TYPE DIGEST" for each case of the files named.
import { readFileSync } from "node:fs";
import { hashTypedData } from "viem";

function native(types, kind, message) {
  return Object.fromEntries(
    types[kind].map(({ name, type }) => {
      const value = message[name];
      if (type.endsWith("[]")) return [name, value.map((item) => native(types, type.slice(0, -2), item))];
      return [name, type.startsWith("uint") ? BigInt(value) : value];
    }),
  );
}

for (const file of process.argv.slice(2)) {
  const { domain, cases } = JSON.parse(readFileSync(file, "utf8"));
  for (const { primaryType, types, message, digest } of cases) {
    const found = hashTypedData({ domain, types, primaryType, message: native(types, primaryType, message) });
    console.log(`${primaryType} ${found === digest ? "same" : `${found} instead of ${digest}`}`);
  }
}
