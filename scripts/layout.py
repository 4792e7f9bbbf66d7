"""The storage layout of the contracts that nodes prove: `sealmarket/chain/storage.json`, from the compiler.

For each state variable of a contract: the slot, the types of its mapping's keys, and where each field of the value
stands: `[slots after the first, offset in bytes from the right, bytes]`. A value without fields has one, named "".
Constants and immutables stand in the code and not in storage.

    scripts/export_layout            write it
    scripts/export_layout --check    compare, and fail where it is not what the compiler says
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Iterator, Mapping
from typing import Any

from scripts.solidity import OURS, compile_sources
from scripts.toolchain import ROOT

EXPORTED = ROOT / "sealmarket" / "chain" / "storage.json"
PROVEN = ("AssetRegistry", "Market", "OracleCommittee", "Sessions")
_KEY = re.compile(r"t_(bytes32|address|uint[0-9]{1,3})")


def exported() -> str:
    """What the file should hold: canonical JSON, one variable a line."""
    wanted = {f"{OURS}/{name}.sol": {name: ["storageLayout"]} for name in PROVEN}
    _, _, output = compile_sources(wanted)
    contracts = {name: output["contracts"][f"{OURS}/{name}.sol"][name]["storageLayout"] for name in PROVEN}
    return _written({name: variables_of(layout) for name, layout in contracts.items()})


def variables_of(layout: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """A compiler's `storageLayout` as name of the variable -> slot, keys and fields."""
    types = layout["types"]
    return {entry["label"]: _variable(entry, types) for entry in layout["storage"]}


def _variable(entry: Mapping[str, Any], types: Mapping[str, Any]) -> dict[str, Any]:
    keys, kind = [], entry["type"]
    while types[kind]["encoding"] == "mapping":
        key = _KEY.fullmatch(types[kind]["key"])
        if key is None:
            raise SystemExit(f"{entry['label']}: a mapping over {types[kind]['key']} cannot be written down")
        keys.append(key[1])
        kind = types[kind]["value"]
    offset = 0 if keys else entry["offset"]
    return {"slot": int(entry["slot"]), "keys": keys, "fields": dict(_fields("", 0, offset, kind, types))}


def _fields(name: str, slot: int, offset: int, kind: str, types: Mapping[str, Any]) -> Iterator[tuple[str, list[int]]]:
    found = types[kind]
    if found["encoding"] != "inplace":
        raise SystemExit(f"{name or kind}: {found['encoding']} values cannot be written down")
    if "members" not in found:
        yield name, [slot, offset, int(found["numberOfBytes"])]
    for member in found.get("members", ()):
        inner = f"{name}.{member['label']}" if name else member["label"]
        yield from _fields(inner, slot + int(member["slot"]), member["offset"], member["type"], types)


def _written(contracts: Mapping[str, Mapping[str, Any]]) -> str:
    parts = []
    for name, variables in sorted(contracts.items()):
        lines = (f"  {json.dumps(label)}: {json.dumps(found)}" for label, found in variables.items())
        parts.append(f"{json.dumps(name)}: {{\n" + ",\n".join(lines) + "\n}")
    return "{" + ",\n".join(parts) + "}\n"


def main(arguments: list[str]) -> int:
    """Export or compare; 1 when the comparison fails."""
    parser = argparse.ArgumentParser(prog="scripts/export_layout", description="Export the contracts' storage layout.")
    parser.add_argument("--check", action="store_true", help="compare instead of writing")
    options = parser.parse_args(arguments)
    wanted = exported()
    if options.check:
        same = EXPORTED.exists() and EXPORTED.read_text() == wanted
        print("the layout is as the compiler says" if same else "run scripts/export_layout")
        return 0 if same else 1
    EXPORTED.write_text(wanted)
    print(f"wrote {EXPORTED.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
