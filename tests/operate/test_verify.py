"""A deployment is held against the sources: every way to run something else there is found."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest
from msgspec.structs import replace

from sealmarket.chain import bytecode
from sealmarket.chain.bytecode import CONTRACTS, Code, Compiled, Immutable
from sealmarket.chain.committees import members_hash
from sealmarket.chain.comparison import places_of
from sealmarket.chain.model import Block
from sealmarket.operate import verify
from sealmarket.protocol.book import AddressBook, Timing
from sealmarket_enclave.protocol.codec import Address, Bytes32
from sealmarket_enclave.protocol.eip712 import domain_separator
from sealmarket_enclave.protocol.numbers import BlockNumber
from tests.chain.node import BOOK

BLOCK = Block(number=BlockNumber(7), hash=Bytes32(bytes(32)), timestamp=1, parent=Bytes32(bytes(32)))
PLACES = places_of(BOOK)


def word(address: Address) -> bytes:
    return address.rjust(32, b"\0")


VALUES: dict[str, bytes] = {
    "market": word(BOOK.market),
    "owner": word(Address(b"\x0a" * 20)),
    "endings": word(BOOK.endings),
    "extension": word(BOOK.extension),
    "_registry": word(BOOK.registry),
    "_committee": word(BOOK.committee),
    "_chainId": BOOK.chain_id.to_bytes(32),
    "_separator": bytes(domain_separator(BOOK.chain_id, BOOK.market)),
}
NAMES = {
    "AssetRegistry": ("market",),
    "OracleCommittee": ("owner", "market"),
    "Market": ("endings", "_registry", "_committee", "_chainId", "_separator"),
    "MarketEndings": ("extension", "_registry", "_committee", "_chainId", "_separator"),
    "MarketExtension": ("_registry", "_committee"),
    "Sessions": ("market", "_registry", "_committee", "_chainId", "_separator"),
}


def made(name: str) -> Code:
    """A small contract: a body of its own, and two places for each of its immutables."""
    body = name.encode().ljust(32, b"\x5b")
    immutables = [
        Immutable(what, ((32 + 64 * place, 32), (64 + 64 * place, 32))) for place, what in enumerate(NAMES[name])
    ]
    return Code(body + bytes(64 * len(NAMES[name])), tuple(immutables))


COMPILED = Compiled("a compiler", {name: made(name) for name in CONTRACTS})


def filled(name: str, **other: bytes) -> bytes:
    """Its code as the constructor leaves it."""
    code = COMPILED.codes[name]
    found = bytearray(code.runtime)
    for immutable in code.immutables:
        for start, length in immutable.places:
            found[start : start + length] = other.get(immutable.name, VALUES[immutable.name])
    return bytes(found)


@dataclass
class Twin:
    """A chain with these codes."""

    book: AddressBook = BOOK
    codes: dict[Address, bytes] = field(default_factory=lambda: {PLACES[name]: filled(name) for name in CONTRACTS})
    fixed: Timing = BOOK.timing
    members: Any = field(default_factory=lambda: members_hash(BOOK.committees[0]))

    def code(self, address: Address, _block: Block) -> bytes:
        return self.codes.get(address, b"")

    def at(self, _block: Block) -> Twin:
        return self

    def committee_hash(self, _epoch: int) -> Any:
        return self.members

    def removed_members(self, _epoch: int) -> frozenset[int]:
        return frozenset()

    def timing(self) -> Timing:
        return self.fixed


def failed(twin: Twin, compiled: Compiled = COMPILED) -> set[tuple[str, str]]:
    """What differs."""
    report = verify.verify(twin, compiled, BLOCK)  # type: ignore[arg-type]
    assert report.verified == all(finding.holds for finding in report.findings)
    return {(finding.contract, finding.what) for finding in report.findings if not finding.holds}


@pytest.mark.parametrize("name", CONTRACTS)
def test_other_code_of_the_same_length_is_found(name: str) -> None:
    twin = Twin()
    code = bytearray(twin.codes[PLACES[name]])
    code[3] ^= 1
    twin.codes[PLACES[name]] = bytes(code)
    assert failed(twin) == {(name, "code")}


@pytest.mark.parametrize("name", CONTRACTS)
def test_code_that_goes_on_after_the_compiled_one_is_found(name: str) -> None:
    twin = Twin()
    twin.codes[PLACES[name]] += b"\x00"
    assert failed(twin) == {(name, "code")}


@pytest.mark.parametrize("name", CONTRACTS)
def test_code_that_ends_within_its_last_immutable_is_found(name: str) -> None:
    twin = Twin()
    twin.codes[PLACES[name]] = twin.codes[PLACES[name]][:-1]
    assert failed(twin) == {(name, "code")}


@pytest.mark.parametrize("name", ["MarketEndings", "MarketExtension"])
def test_a_market_without_a_part_of_its_code_is_found(name: str) -> None:
    twin = Twin()
    del twin.codes[PLACES[name]]
    assert failed(twin) == {(name, "code")}


@pytest.mark.parametrize(
    ("name", "what"), [(name, what) for name in CONTRACTS for what in NAMES[name] if what != "owner"]
)
def test_an_immutable_that_names_somebody_else_is_found(name: str, what: str) -> None:
    twin = Twin()
    twin.codes[PLACES[name]] = filled(name, **{what: word(Address(b"\x66" * 20))})
    assert failed(twin) == {(name, what)}
    assert (name, what) in failed(twin, Compiled("carried", COMPILED.codes, named=False))


def test_one_immutable_with_two_values_is_found() -> None:
    twin = Twin()
    code = bytearray(twin.codes[PLACES["OracleCommittee"]])
    code[32:64] = word(Address(b"\x66" * 20))
    twin.codes[PLACES["OracleCommittee"]] = bytes(code)
    assert failed(twin) == {("OracleCommittee", "owner")}


def test_a_book_with_an_oracle_node_exchanged_is_found() -> None:
    committee = BOOK.committees[0]
    stranger = replace(committee.members[0], signer=Address(b"\x66" * 20))
    twin = Twin(book=replace(BOOK, committees=(replace(committee, members=(stranger, *committee.members[1:])),)))
    assert failed(twin) == {("OracleCommittee", f"members of epoch {committee.epoch}")}


def test_a_book_with_other_times_than_the_market_is_found() -> None:
    assert failed(Twin(fixed=replace(BOOK.timing, finality_seconds=BOOK.timing.finality_seconds + 1))) == {
        ("Market", "timing")
    }


def test_a_report_without_findings_verifies_nothing() -> None:
    assert not verify.Report(1, 1, "", ()).verified


def test_what_was_deployed_as_compiled_is_verified() -> None:
    assert failed(Twin()) == set()


def test_the_library_carries_code_for_each_contract_of_a_market() -> None:
    found = bytecode.carried()
    assert set(found.codes) == set(CONTRACTS)
    for code in found.codes.values():
        assert all(not any(code.runtime[at : at + n]) for entry in code.immutables for at, n in entry.places)
