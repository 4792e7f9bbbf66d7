// Recomputes the typed-data vectors with viem: prints "TYPE same" for each case of the files named,
// and "STATUS same" for each commitment of a job's slot.
import { readFileSync } from "node:fs";
import { concat, encodeAbiParameters, hashStruct, hashTypedData, keccak256, pad, parseAbiParameters, slice, toHex } from "viem";

function native(types, kind, message) {
  return Object.fromEntries(
    types[kind].map(({ name, type }) => {
      const value = message[name];
      if (type.endsWith("[]")) return [name, value.map((item) => native(types, type.slice(0, -2), item))];
      return [name, type.startsWith("uint") ? BigInt(value) : value];
    }),
  );
}

const word = (value) => (value.startsWith("0x") ? pad(value) : toHex(BigInt(value), { size: 32 }));

for (const file of process.argv.slice(2)) {
  const { domain, cases, slot } = JSON.parse(readFileSync(file, "utf8"));
  for (const { primaryType, types, message, digest } of cases) {
    const found = hashTypedData({ domain, types, primaryType, message: native(types, primaryType, message) });
    console.log(`${primaryType} ${found === digest ? "same" : `${found} instead of ${digest}`}`);
  }
  if (!slot) continue;
  // The slot's commitments, with the bargain's hash computed here too.
  const { types, message } = cases.find(({ primaryType }) => primaryType === "Bargain");
  const bargain = hashStruct({ types, primaryType: "Bargain", data: native(types, "Bargain", message) });
  for (const { status, opening, commitment } of slot.commitments) {
    const parts = Object.values(opening).map(word);
    const stage = parts.length > 1 ? keccak256(concat(parts)) : (parts[0] ?? toHex(0, { size: 32 }));
    const { jobId, provider, decideWindow } = slot.key;
    const layout = parseAbiParameters("bytes32, address, uint32, bytes32, bytes32");
    const whole = keccak256(encodeAbiParameters(layout, [jobId, provider, Number(decideWindow), bargain, stage]));
    const found = slice(whole, 6);
    console.log(`${status} ${found === commitment ? "same" : `${found} instead of ${commitment}`}`);
  }
}
