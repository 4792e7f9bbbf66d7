"""Where the contracts keep what a storage proof can show: `storage.json`, which the compiler's layout is written to.

A mapping's value stands at ``keccak256(key ++ place)``, once for each of its keys (Solidity's documentation, "Layout of
State Variables in Storage"). A contract never moves a variable: none of them can be replaced.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources

import msgspec

from sealmarket_enclave.protocol.codec import Bytes32
from sealmarket_enclave.protocol.hashing import Word, keccak, words


@dataclass(frozen=True, slots=True)
class Field:
    """Where one value of a variable stands: slots after the first, bytes from the right, and its length in bytes."""

    slot: int
    offset: int
    length: int


@dataclass(frozen=True, slots=True)
class Variable:
    """One state variable: its place, how many keys lead to a value, and the value's fields."""

    place: int
    keys: tuple[str, ...]
    fields: Mapping[str, Field]

    def slots(self, *keys: Word) -> tuple[Bytes32, ...]:
        """The slots of the value under these keys, in order.

        Raises:
            ValueError: another number of keys than the mapping has.
        """
        if len(keys) != len(self.keys):
            raise ValueError(f"{len(keys)} keys, expected {len(self.keys)}")
        first = self.place
        for key in keys:
            first = int.from_bytes(keccak(words(key, first)))
        count = 1 + max(field.slot for field in self.fields.values())
        return tuple(Bytes32(((first + step) % 2**256).to_bytes(32)) for step in range(count))

    def read(self, found: tuple[int, ...]) -> dict[str, int]:
        """The fields by name, from the words of :meth:`slots` in their order."""
        return {
            name: found[field.slot] >> 8 * field.offset & (1 << 8 * field.length) - 1
            for name, field in self.fields.items()
        }


class _Written(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    slot: int
    keys: tuple[str, ...]
    fields: dict[str, tuple[int, int, int]]


@cache
def variable(contract: str, name: str) -> Variable:
    """A state variable by the names of the source. Raises :class:`KeyError` for one that there is not."""
    written = _layouts()[contract][name]
    return Variable(written.slot, written.keys, {name: Field(*where) for name, where in written.fields.items()})


@cache
def _layouts() -> dict[str, dict[str, _Written]]:
    raw = resources.files("sealmarket.chain").joinpath("storage.json").read_bytes()
    return msgspec.json.decode(raw, type=dict[str, dict[str, _Written]])
