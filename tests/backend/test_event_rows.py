"""Every event of every contract has a type, and a row that is read back as the value that it was."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, replace
from typing import Any

import pytest

from sealmarket.chain import abi, decoding
from sealmarket.chain.decoding import RENAMED
from sealmarket.chain.events import EVENTS, JobMatched, UnreadableLog
from sealmarket.chain.follow import Cursor, EventRange
from sealmarket.chain.model import Block, EventRef
from sealmarket_backend import event_rows
from sealmarket_backend.tables import Database
from sealmarket_enclave.protocol.codec import ZERO_HASH, Address, Bytes32
from sealmarket_enclave.protocol.hashing import keccak
from sealmarket_enclave.protocol.numbers import BlockNumber
from tests.backend.orders import BOOK, PROVIDER, account
from tests.backend.test_index import spec

CONTRACTS = ("AssetRegistry", "OracleCommittee", "Market", "Sessions")
BLOCK = Block(BlockNumber(7), keccak(b"block"), 1_700_000_000, ZERO_HASH)
AT = EventRef(BLOCK.number, 3, BLOCK.hash, keccak(b"transaction"))
SAID_OTHERWISE = {("JobMatched", "consumer"), ("JobMatched", "provider")}
"""Fields of a log that its type has inside another one: both are in the specification, whose hash is the job's id."""


def every_event() -> Iterator[tuple[str, abi.Entry]]:
    return ((contract, entry) for contract in CONTRACTS for entry in abi.load(contract).events.values())


def one_of(part: abi.Parameter, place: int) -> Any:
    """A value of an ABI type that every field of the protocol takes."""
    if part.kind.endswith("[]"):
        item = abi.Parameter(part.name, part.kind[:-2], False, part.parts)
        return [one_of(item, place + n) for n in range(2)]
    if part.kind == "tuple":
        return {abi.snake(inner.name): one_of(inner, place + n) for n, inner in enumerate(part.parts)}
    if part.kind == "address":
        return Address(bytes([place + 1]) * 20)
    if part.kind == "bool":
        return True
    if part.kind == "string":
        return 'where: s3://"ä\\\x00'
    if part.kind.startswith("bytes"):
        return bytes([place + 1]) * int(part.kind[5:] or 5)
    return 1


def log_of(entry: abi.Entry) -> tuple[list[Bytes32], bytes]:
    """Topics and data of a made-up log of an event."""
    values = [spec() if part.name == "spec" else one_of(part, n) for n, part in enumerate(entry.inputs)]
    if entry.name == "JobMatched":
        values[0] = spec().job_id(BOOK.chain_id, BOOK.market)
    pairs = list(zip(entry.inputs, values, strict=True))
    topics = [Bytes32(abi.encode([part], [value], entry.name)) for part, value in pairs if part.indexed]
    rest = [(part, value) for part, value in pairs if not part.indexed]
    data = abi.encode([part for part, _ in rest], [value for _, value in rest], entry.name)
    return [entry.topic, *topics], data


def store(database: Database, *events: Any) -> None:
    with database.write() as connection:
        event_rows.add(connection, EventRange(events, Cursor(7, BLOCK.hash), {BLOCK.number: BLOCK}))


def event_of(contract: str, entry: abi.Entry) -> Any:
    return decoding.event(BOOK, contract, *log_of(entry), AT)


@pytest.mark.parametrize(
    ("contract", "entry"), [pytest.param(*one, id=f"{one[0]}-{one[1].name}") for one in every_event()]
)
def test_an_event_of_the_abi_has_a_type_with_all_of_its_fields_and_a_row(contract: str, entry: abi.Entry) -> None:
    made = event_of(contract, entry)
    assert not isinstance(made, UnreadableLog), made.reason
    assert type(made) is EVENTS[entry.name]
    own = {field.name for field in fields(made)}
    told = {abi.snake(part.name) for part in entry.inputs}
    lacking = {name for name in told if RENAMED.get(name, name) not in own and (entry.name, name) not in SAID_OTHERWISE}
    assert not lacking
    with Database(None) as database:
        store(database, made)
        (row,) = event_rows.every(database)
    assert (row.event, row.time, row.name) == (made, BLOCK.timestamp, entry.name)


def test_each_name_of_an_event_stands_for_one_type_in_all_contracts() -> None:
    named = [(entry.name, entry.signature) for _, entry in every_event()]
    assert len(named) == len({name for name, _ in named}) == len(EVENTS)
    assert {name for name, _ in named} == EVENTS.keys()


def test_events_are_found_by_what_they_are_about_and_by_whom_they_name(database: Database) -> None:
    entries = {entry.name: (contract, entry) for contract, entry in every_event()}
    matched: JobMatched = event_of(*entries["JobMatched"])
    staked = replace(event_of(*entries["Staked"]), at=replace(AT, log_index=9))
    store(database, matched, staked)
    for given in ({"subject": matched.job_id}, {"account": account(PROVIDER)}, {"account": matched.spec.consumer}):
        assert [row.event for row in event_rows.page(database, **given)] == [matched]
    assert [row.event for row in event_rows.page(database, after=(7, 3))] == [staked]
    assert [row.event for row in event_rows.page(database, account=staked.holder)] == [staked]
    assert event_rows.page(database, subject=ZERO_HASH) == []
