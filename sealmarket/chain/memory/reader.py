"""What a reader sees of the twin: what :class:`sealmarket.chain.interface.ChainReader` and :class:`Chain` promise."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from sealmarket.chain.alarms import Alarm
from sealmarket.chain.comparison import genuine
from sealmarket.chain.contracts import MarketContract
from sealmarket.chain.events import ChainEvent, JobMatched, VersionPublished
from sealmarket.chain.interface import ProvableView
from sealmarket.chain.memory.blocks import GENESIS_TIMESTAMP, MemoryBlocks
from sealmarket.chain.memory.view import MemorySessions, MemoryView
from sealmarket.chain.model import Block
from sealmarket.chain.quorum import AtEndpoint, ChainTrust
from sealmarket.protocol.book import AddressBook
from sealmarket_enclave.protocol.codec import Address, Bytes32

T = TypeVar("T")


class MemoryReader(MemoryBlocks):
    """One market on the twin, to read."""

    def __init__(self, book: AddressBook, *, finality_lag: int = 1, timestamp: int = GENESIS_TIMESTAMP) -> None:
        super().__init__(book, finality_lag=finality_lag, timestamp=timestamp)
        self.market = MarketContract(book.market, book.chain_id)
        self.others: list[int] = []
        """How many of the newest blocks each of the other endpoints does not show."""
        self.trust = ChainTrust(proofs=False)
        self.doubts: list[tuple[str, Block]] = []
        self.codes: dict[Address, bytes] = {}
        """Code that stands in the place of the market's own."""

    @property
    def chain_id(self) -> int:
        """The address book's chain id."""
        self._answer()
        return self.book.chain_id

    def heads(self, read: Callable[[ProvableView], T]) -> Sequence[AtEndpoint[T]]:
        """As :meth:`Chain.heads`, at the head that is asked and at others so many blocks behind as ``others`` says."""
        asked, found = self.behind, []
        for place, behind in enumerate((asked, *self.others)):
            self.behind = behind
            head = self.head()
            found.append(AtEndpoint(f"twin {place}", head, read(self.at(head))))
        self.behind = asked
        return found

    def doubt(self, endpoint: str, block: Block) -> None:
        """As :meth:`Chain.doubt`: kept, for a test to look at."""
        self.doubts.append((endpoint, block))

    @property
    def alarms(self) -> tuple[Alarm, ...]:
        """None."""
        return ()

    @property
    def endpoints(self) -> tuple[str, ...]:
        """This process."""
        return ("memory",)

    def at(self, block: Block) -> MemoryView:
        """The state at one block."""
        self.require(block)
        return MemoryView(self, block, self._states[block.number - self._dropped])

    def trusted(self, block: Block) -> MemoryView:
        """The state at one block."""
        return self.at(block)

    def sessions_at(self, block: Block) -> MemorySessions:
        """What sessions have recorded at one block."""
        self.require(block)
        return MemorySessions(self._states[block.number - self._dropped])

    def trusted_sessions(self, block: Block) -> MemorySessions:
        """As :meth:`sessions_at`."""
        return self.sessions_at(block)

    def code(self, address: Address, block: Block) -> bytes:
        """The code at an address: the market's own, unless a test put another there."""
        self.require(block)
        return self.codes[address] if address in self.codes else genuine(self.book).get(address, b"")

    def events(self, first: int, last: int) -> list[ChainEvent]:
        """The events from block ``first`` to ``last``, both included, in order."""
        self._answer()
        begin, end = (max(0, number - self._dropped) for number in (first, last + 1))
        return [event for block in self._events[begin:end] for event in block]

    def about_job(self, job_id: Bytes32, last: Block, first: int | None = None) -> list[ChainEvent]:
        """As :meth:`sealmarket.chain.chain.Chain.about_job`."""
        self.require(last)
        events = self.events(first or 0, last.number)
        return [event for event in events if getattr(event, "job_id", None) == job_id]

    def about_asset(self, asset_id: Bytes32, last: Block) -> list[ChainEvent]:
        """As :meth:`sealmarket.chain.chain.Chain.about_asset`."""
        self.require(last)
        return [event for event in self.events(0, last.number) if getattr(event, "asset_id", None) == asset_id]

    def matches_of(self, consumer: Address, first: int, last: Block) -> list[JobMatched]:
        """As :meth:`sealmarket.chain.chain.Chain.matches_of`."""
        self.require(last)
        events = self.events(first, last.number)
        return [event for event in events if isinstance(event, JobMatched) and event.spec.consumer == consumer]

    def matches(self, first: int, last: Block) -> list[JobMatched]:
        """As :meth:`sealmarket.chain.chain.Chain.matches`."""
        self.require(last)
        return [event for event in self.events(first, last.number) if isinstance(event, JobMatched)]

    def published_by(self, owner: Address, last: Block) -> list[VersionPublished]:
        """As :meth:`sealmarket.chain.chain.Chain.published_by`."""
        self.require(last)
        events = self.events(0, last.number)
        return [event for event in events if isinstance(event, VersionPublished) and event.owner == owner]

    def jobs_of(self, provider: Address, first: int, last: Block) -> list[JobMatched]:
        """As :meth:`sealmarket.chain.chain.Chain.jobs_of`."""
        self.require(last)
        events = self.events(first, last.number)
        return [event for event in events if isinstance(event, JobMatched) and event.spec.provider == provider]
