"""The runtime code of a market's contracts, as a compiler makes it or as this library carries it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

CONTRACTS = ("AssetRegistry", "OracleCommittee", "Market", "MarketEndings", "MarketExtension", "Sessions")


@dataclass(frozen=True, slots=True)
class Immutable:
    """One value that the constructor writes into the code: its name in the source, and the byte ranges that hold it."""

    name: str
    places: tuple[tuple[int, int], ...]
    """Offset and length of each, in bytes."""


@dataclass(frozen=True, slots=True)
class Code:
    """The runtime code of one contract, zeros where its immutables go."""

    runtime: bytes
    immutables: tuple[Immutable, ...]


@dataclass(frozen=True, slots=True)
class Compiled:
    """All contracts of a market; ``source`` says where the code comes from."""

    source: str
    codes: Mapping[str, Code]
    named: bool = True
    """Whether the immutables have their names; the library's own copy knows their numbers only."""


@cache
def carried() -> Compiled:
    """What the library carries and deploys; nothing is compiled."""
    codes = {}
    for name in CONTRACTS:
        document = json.loads(resources.files("sealmarket.chain").joinpath("abi", f"{name}.json").read_bytes())
        codes[name] = code_of(document["deployedBytecode"], document.get("immutableReferences", {}), {})
    return Compiled("the bytecode that the library carries", codes, named=False)


def code_of(runtime: str, references: Mapping[str, Any], names: Mapping[str, str]) -> Code:
    """Runtime code from a compiler's hex and its references to immutables; ``names`` maps their numbers."""
    immutables = (
        Immutable(names.get(number, f"#{number}"), tuple((at["start"], at["length"]) for at in places))
        for number, places in sorted(references.items(), key=lambda pair: int(pair[0]))
    )
    return Code(bytes.fromhex(runtime.removeprefix("0x")), tuple(immutables))
