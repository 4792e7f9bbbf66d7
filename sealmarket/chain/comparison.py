"""Hold the code of a market's contracts against compiled code, and the links between them against an address book.

Nothing here asks a chain: the codes are read by the caller.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

from sealmarket.chain.bytecode import CONTRACTS, Code, Compiled, carried
from sealmarket.chain.model import Block
from sealmarket.protocol.book import AddressBook
from sealmarket_enclave.protocol.codec import Address
from sealmarket_enclave.protocol.eip712 import domain_separator


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was held against another."""

    contract: str
    what: str
    holds: bool
    found: str
    expected: str = ""


class CodeReader(Protocol):
    """What the comparison needs of a chain."""

    @property
    def book(self) -> AddressBook:
        """Where the market is."""

    def code(self, address: Address, block: Block) -> bytes:
        """The code at an address; empty where there is no contract."""


def places_of(book: AddressBook) -> dict[str, Address]:
    """Where the contracts of a market are; without Sessions where the market has none."""
    places = (book.registry, book.committee, book.market, book.endings, book.extension, book.sessions)
    return {name: place for name, place in zip(CONTRACTS, places, strict=True) if place is not None}


def codes_of(chain: CodeReader, block: Block) -> dict[str, bytes]:
    """The code of each contract at one block: one read for each."""
    return {name: chain.code(address, block) for name, address in places_of(chain.book).items()}


def compare(book: AddressBook, codes: Mapping[str, bytes], compiled: Compiled) -> Iterator[Finding]:
    """Compare the code of each contract, and what its immutables name, in the order of :data:`CONTRACTS`."""
    expected = _expected(book)
    for name, address in places_of(book).items():
        yield from _contract(name, address, codes[name], compiled, expected[name])


def compare_one(book: AddressBook, name: str, found: bytes, compiled: Compiled) -> Iterator[Finding]:
    """Compare the code of one contract, and what its immutables name."""
    yield from _contract(name, places_of(book)[name], found, compiled, _expected(book)[name])


def immutable_words(code: Code, found: bytes) -> frozenset[bytes]:
    """The values that the constructor wrote into code on a chain, which has the length of ``code``."""
    places = (place for immutable in code.immutables for place in immutable.places)
    return frozenset(found[start : start + length] for start, length in places)


def genuine(book: AddressBook) -> dict[Address, bytes]:
    """The carried code at the addresses of a book, its immutables filled as the comparison wants them: for twins."""
    expected = _expected(book)
    return {
        address: _filled(carried().codes[name], tuple(expected[name].values()))
        for name, address in places_of(book).items()
    }


def _filled(code: Code, words: tuple[bytes, ...]) -> bytes:
    found = bytearray(code.runtime)
    for immutable, word in zip(code.immutables, words, strict=False):
        for start, length in immutable.places:
            found[start : start + length] = word
    return bytes(found)


def _expected(book: AddressBook) -> dict[str, dict[str, bytes]]:
    """What immutables must hold: contract -> name in the source -> word."""
    named = {"_registry": _word(book.registry), "_committee": _word(book.committee)}
    signing = named | {
        "_chainId": book.chain_id.to_bytes(32),
        "_separator": bytes(domain_separator(book.chain_id, book.market)),
    }
    market = {"market": _word(book.market)}
    return {
        "AssetRegistry": market,
        "OracleCommittee": market,
        "Market": signing | {"endings": _word(book.endings)},
        "MarketEndings": signing | {"extension": _word(book.extension)},
        "MarketExtension": named,
        "Sessions": signing | market,
    }


def _word(address: Address) -> bytes:
    return address.rjust(32, b"\0")


def _contract(
    name: str, address: Address, found: bytes, compiled: Compiled, expected: Mapping[str, bytes]
) -> Iterator[Finding]:
    code = compiled.codes[name]
    at = f"{len(found):,} bytes at {address.checksum}"
    if not found:
        yield Finding(name, "code", False, f"nothing at {address.checksum}", f"{len(code.runtime):,} bytes")
        return
    different = differing(found, code)
    if different is not None:
        yield Finding(name, "code", False, f"{at}, other from byte {different:,} on", compiled.source)
        return
    yield Finding(name, "code", True, at)
    values: dict[str, bytes] = {}
    for immutable in code.immutables:
        held = {found[start : start + length] for start, length in immutable.places}
        if len(held) > 1:
            yield Finding(name, immutable.name, False, f"{len(held)} values in one contract", "one")
        else:
            values[immutable.name] = held.pop()
    yield from _immutables(name, values, expected, compiled.named)


def _immutables(
    name: str, values: Mapping[str, bytes], expected: Mapping[str, bytes], named: bool
) -> Iterator[Finding]:
    for what, word in expected.items():
        if named:
            found = values.get(what)
            holds, shown = found == word, "no such immutable" if found is None else _shown(found)
        else:
            holds = word in values.values()
            shown = _shown(word) if holds else "none of its immutables"
        yield Finding(name, what, holds, shown, "" if holds else _shown(word))
    for what, word in values.items():
        if named and what not in expected:
            # Settings of the deployer's choice, for the reader to judge.
            yield Finding(name, what, True, _shown(word))


def differing(found: bytes, code: Code) -> int | None:
    """The first byte at which code on a chain differs from compiled code, immutables left out; None where nowhere."""
    if len(found) != len(code.runtime):
        return min(len(found), len(code.runtime))
    masked = bytearray(found)
    for immutable in code.immutables:
        for start, length in immutable.places:
            masked[start : start + length] = code.runtime[start : start + length]
    pairs = enumerate(zip(masked, code.runtime, strict=True))
    return next((place for place, (one, other) in pairs if one != other), None)


def _shown(word: bytes) -> str:
    """A word as what it most likely is: a number, an address, or bytes."""
    number = int.from_bytes(word)
    if number < 2**64:
        return str(number)
    return Address(word[12:]).checksum if number < 2**160 else "0x" + word.hex()
