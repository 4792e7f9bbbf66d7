"""What the backend's index makes of a real chain's events: as they came, and in other blocks, with reorganisations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass, replace
from typing import Any, get_type_hints

import msgspec

from scripts.benchmarks._gas_world import World
from sealmarket.chain.decoding import RENAMED
from sealmarket.chain.deploy import contract_address
from sealmarket.chain.events import ChainEvent, JobMatched
from sealmarket.chain.interface import ChainReader
from sealmarket.chain.model import Block, EventRef
from sealmarket.protocol.book import AddressBook, FinalityRule
from sealmarket_backend import event_rows
from sealmarket_backend.event_rows import EventRow
from sealmarket_backend.index import Index
from sealmarket_backend.tables import Database
from sealmarket_enclave.protocol.codec import ZERO_HASH, Bytes32
from sealmarket_enclave.protocol.hashing import keccak
from sealmarket_enclave.protocol.numbers import BlockNumber
from tests import samples
from tests.contracts.replay import Fields

TABLES = ("events", "jobs", "assets", "interruptions", "unreadable", "cursor")
_ABI_NAMES = {ours: theirs for theirs, ours in RENAMED.items()}


def book_of(world: World) -> AddressBook:
    """The address book of a measured world, whose newest block but one counts."""
    return AddressBook(
        chain_id=world.chain_id,
        registry=world.registry.address,
        committee=contract_address(world.sender, 1),
        market=world.market.address,
        endings=world.market.address,
        extension=world.market.address,
        sessions=world.sessions.address,
        deployed_at=0,
        finality=FinalityRule(kind="depth", depth=1),
        timing=samples.TIMING,
        store="",
        backend="",
        committees=(world.committee,),
    )


def rows_of(chain: ChainReader) -> list[EventRow]:
    """Every event of a chain, out of the rows that an index made of it."""
    with Database(None) as database:
        Index(database, chain, start=0).advance()
        return list(event_rows.every(database))


def abi_fields(event: ChainEvent) -> Fields:
    """The fields of a typed event as the ABI has them; some types say more."""
    hints = get_type_hints(type(event))
    found = {field.name: getattr(event, field.name) for field in fields(event) if field.name != "at"}
    made = {_ABI_NAMES.get(name, name): _plain(value, hints[name]) for name, value in found.items()}
    if isinstance(event, JobMatched):
        made |= {"consumer": event.spec.consumer, "provider": event.spec.provider}
    return made


def _plain(value: Any, hint: Any = None) -> Any:
    if hint == tuple[int, ...] or isinstance(value, frozenset):
        return sum(1 << place for place in value)
    if isinstance(value, msgspec.Struct):
        return {name: _plain(getattr(value, name)) for name in value.__struct_fields__}
    if is_dataclass(value):
        return {field.name: _plain(getattr(value, field.name)) for field in fields(value)}
    return tuple(map(_plain, value)) if isinstance(value, tuple) else value


def lacks(said: Any, told: Any) -> list[str]:
    """Names of what a log told and a row does not say, or says otherwise."""
    if not isinstance(told, Mapping):
        if isinstance(told, tuple) and isinstance(said, tuple) and len(said) == len(told):
            return [name for one, other in zip(said, told, strict=True) for name in lacks(one, other)]
        return [] if said == told else [f"{said} for {told}"]
    return [
        f"{name}: {why}"
        for name, value in told.items()
        for why in (lacks(said[name], value) if name in said else ["not there"])
    ]


class Retold:
    """The events of another chain in blocks of one's own choice. Every block is final, and may be taken back."""

    finality_lag = 0

    def __init__(self, book: AddressBook, events: Sequence[ChainEvent]) -> None:
        self.book, self._events = book, events
        self._blocks = [Block(BlockNumber(0), keccak(b"genesis"), 0, ZERO_HASH)]
        self._ends = [0]
        self._made = 0

    @property
    def left(self) -> int:
        """Events that are in no block."""
        return len(self._events) - self._ends[-1]

    def mine(self, count: int) -> None:
        """The next events in one block."""
        self._made += 1
        number, parent = len(self._blocks), self._blocks[-1]
        own = keccak(self._made.to_bytes(4))
        self._blocks.append(Block(BlockNumber(number), own, parent.timestamp + self._made, parent.hash))
        self._ends.append(min(len(self._events), self._ends[-1] + count))

    def take_back(self, depth: int) -> None:
        """The last blocks are none; their events come again."""
        keep = max(1, len(self._blocks) - depth)
        del self._blocks[keep:], self._ends[keep:]

    def final(self) -> Block:
        """The newest block."""
        return self._blocks[-1]

    def block(self, number: int) -> Block:
        """The block at a number; after a reorganisation to a shorter chain, one that is no block's."""
        found = self._blocks[number : number + 1]
        return found[0] if found else Block(BlockNumber(number), Bytes32(bytes(32)), 0, ZERO_HASH)

    def events(self, first: int, last: int) -> list[ChainEvent]:
        """The events of these blocks, where they stand now."""
        return [
            replace(event, at=_placed(event, block, index))
            for block in self._blocks[max(1, first) : last + 1]
            for index, event in enumerate(self._events[self._ends[block.number - 1] : self._ends[block.number]])
        ]


def _placed(event: ChainEvent, block: Block, index: int) -> EventRef:
    return EventRef(block.number, index, block.hash, event.at.transaction)


def tables(database: Database) -> dict[str, list[tuple[object, ...]]]:
    """Everything that an index holds."""
    return {name: [tuple(row) for row in database.rows(f"SELECT * FROM {name} ORDER BY 1, 2")] for name in TABLES}
