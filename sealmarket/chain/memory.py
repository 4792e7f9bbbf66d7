"""The twin of a chain in memory, for tests: the same reads, blocks made by hand, no process and no network.

Each change is one call that mines one block with its events (:meth:`MemoryChain.publish`, :meth:`match`,
:meth:`quote`, ...). It keeps books as the contracts would where a reader can see it (status, deadlines, terms
versions) and moves no money. :meth:`reorganise` takes blocks back,
:meth:`rewrite` replaces them, :meth:`fall_silent` makes it unavailable.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, TypeVar

from msgspec import structs

from sealmarket.chain.alarms import Alarm
from sealmarket.chain.bargain import commitment
from sealmarket.chain.comparison import genuine
from sealmarket.chain.contracts import MarketContract, compact
from sealmarket.chain.errors import BlockGone, ChainUnavailable, NodeDistrusted, Reverted
from sealmarket.chain.events import (
    AdvisoryAnchored,
    AllowListReplaced,
    AssetRevoked,
    ChainEvent,
    EpochEndAnnounced,
    JobChallenged,
    JobDecided,
    JobEnded,
    JobFailed,
    JobMatched,
    JobQuoted,
    JobSettled,
    JobStopped,
    ReleasePosted,
    SharesReportedMissing,
    SuspensionLifted,
    TermsTightened,
    UnreadableLog,
    VersionPublished,
    VersionSuspended,
)
from sealmarket.chain.interface import ProvableView
from sealmarket.chain.model import (
    NOT_INTERRUPTED,
    NOTHING,
    Account,
    AssetState,
    Block,
    EventRef,
    Fault,
    FeeBook,
    Interruption,
    JobSlot,
    Unbonding,
    places,
)
from sealmarket.chain.quorum import AtEndpoint, ChainTrust
from sealmarket.chain.sessions import NO_SERVICE, NO_TAB, ServiceState, Tab
from sealmarket.protocol.book import AddressBook
from sealmarket.protocol.decisions import Decision, Outcome
from sealmarket.protocol.transitions import Status
from sealmarket_enclave.protocol.codec import ZERO_ADDRESS, ZERO_HASH, Address, Bytes32, MicroEpsilon, Uint, Wei
from sealmarket_enclave.protocol.hashing import Word, keccak, words
from sealmarket_enclave.protocol.job import Failure, JobSpec, Settlement, SharesMissing
from sealmarket_enclave.protocol.numbers import AssetId, BlockNumber, JobId
from sealmarket_enclave.protocol.release import Release
from sealmarket_enclave.protocol.terms import Seal, Terms

T = TypeVar("T")
BLOCK_SECONDS = 1
FINALITY_SECONDS = 30
TRANSFER_SECONDS = 60
GENESIS_TIMESTAMP = 1_700_000_000
_FEE_FACTOR = 3
_NO_COMMITTEE: tuple[Bytes32, frozenset[int]] = (ZERO_HASH, frozenset())


@dataclass(slots=True)
class _State:
    jobs: dict[Bytes32, JobSlot] = field(default_factory=dict)
    specs: dict[JobId, JobSpec] = field(default_factory=dict)
    assets: dict[tuple[AssetId, int], AssetState] = field(default_factory=dict)
    committees: dict[int, tuple[Bytes32, frozenset[int]]] = field(default_factory=dict)
    ends: dict[int, int] = field(default_factory=dict)
    anchors: dict[Bytes32, int] = field(default_factory=dict)
    fee_books: dict[tuple[int, Address], FeeBook] = field(default_factory=dict)
    interruptions: dict[Bytes32, Interruption] = field(default_factory=dict)
    accounts: dict[tuple[Address, Address], Account] = field(default_factory=dict)
    unbonding: dict[tuple[Address, Address], Unbonding] = field(default_factory=dict)
    used: dict[tuple[Address, Bytes32], int] = field(default_factory=dict)
    paused: bool = False
    services: dict[JobId, ServiceState] = field(default_factory=dict)
    tabs: dict[tuple[JobId, Address], Tab] = field(default_factory=dict)

    def copied(self) -> _State:
        """The same, to be changed: what the tables hold is never changed in place."""
        copied = replace(self)
        for one in fields(self):
            if isinstance(table := getattr(self, one.name), dict):
                setattr(copied, one.name, table.copy())
        return copied


class MemoryView:
    """The state at one block of the twin."""

    def __init__(self, chain: MemoryChain, block: Block, state: _State) -> None:
        self._chain = chain
        self._block = block
        self._state = state

    @property
    def block(self) -> Block:
        """The block that every read is pinned to."""
        return self._block

    def prepare(self, specs: Iterable[JobSpec]) -> None:
        """As :meth:`sealmarket.chain.view.View.prepare`."""

    def job(self, request_hash: Bytes32) -> JobSlot:
        """As :meth:`sealmarket.chain.view.View.job`."""
        self._chain.require(self._block)
        return self._state.jobs.get(request_hash, JobSlot(Status.NONE, 0, b""))

    def asset(self, asset_id: AssetId, version: int) -> AssetState:
        """As :meth:`sealmarket.chain.view.View.asset`."""
        self._chain.require(self._block)
        try:
            return self._state.assets[asset_id, version]
        except KeyError:
            raise Reverted(
                "UnknownVersion",
                {"asset_id": asset_id, "version": version},
                f"version {version} of asset {asset_id} was never published",
                "check id and version",
            ) from None

    def committee_hash(self, epoch: int) -> Bytes32:
        """As :meth:`sealmarket.chain.view.View.committee_hash`."""
        self._chain.require(self._block)
        return self._state.committees.get(epoch, _NO_COMMITTEE)[0]

    def removed_members(self, epoch: int) -> frozenset[int]:
        """As :meth:`sealmarket.chain.view.View.removed_members`."""
        self._chain.require(self._block)
        return self._state.committees.get(epoch, _NO_COMMITTEE)[1]

    def epoch_end(self, epoch: int) -> int:
        """As :meth:`sealmarket.chain.view.View.epoch_end`."""
        self._chain.require(self._block)
        return self._state.ends.get(epoch, 0)

    def advisory_anchors(self, statements: Sequence[Bytes32]) -> Mapping[Bytes32, int]:
        """As :meth:`sealmarket.chain.view.View.advisory_anchors`."""
        self._chain.require(self._block)
        return {one: self._state.anchors.get(one, 0) for one in statements}

    def interruption(self, request_hash: Bytes32) -> Interruption:
        """As :meth:`sealmarket.chain.view.View.interruption`."""
        self._chain.require(self._block)
        return self._state.interruptions.get(request_hash, NOT_INTERRUPTED)

    def finality(self) -> int:
        """As :meth:`sealmarket.chain.view.View.finality`."""
        return FINALITY_SECONDS

    def transfer_allowance(self) -> int:
        """As :meth:`sealmarket.chain.view.View.transfer_allowance`."""
        return TRANSFER_SECONDS

    def account(self, token: Address, holder: Address) -> Account:
        """As :meth:`sealmarket.chain.view.View.account`."""
        self._chain.require(self._block)
        return self._state.accounts.get((token, holder), Account(Wei(0), Wei(0)))

    def unbonding(self, token: Address, holder: Address) -> Unbonding:
        """As :meth:`sealmarket.chain.view.View.unbonding`: what a test has set."""
        self._chain.require(self._block)
        return self._state.unbonding.get((token, holder), Unbonding(Wei(0), 0))

    def order_used(self, signer: Address, order_hash: Bytes32) -> int:
        """As :meth:`sealmarket.chain.view.View.order_used`: what a test has set."""
        self._chain.require(self._block)
        return self._state.used.get((signer, order_hash), 0)

    def paused(self) -> bool:
        """As :meth:`sealmarket.chain.view.View.paused`."""
        self._chain.require(self._block)
        return self._state.paused

    def fee_book(self, epoch: int, token: Address) -> FeeBook | None:
        """As :meth:`sealmarket.chain.view.View.fee_book`: what a test has set."""
        self._chain.require(self._block)
        return self._state.fee_books.get((epoch, token))

    def signature_fee(self, token: Address) -> Wei | None:
        """As :meth:`sealmarket.chain.view.View.signature_fee`: the native coin alone is admitted, and costs nothing."""
        self._chain.require(self._block)
        return NOTHING if token == ZERO_ADDRESS else None

    def hold_fee(self, owners: Wei, min_penalty: Wei, quote_window: int, decide_window: int, fee: Wei) -> Wei:
        """As :meth:`sealmarket.chain.view.View.hold_fee`, with the fixed part of most markets."""
        held = (2 * owners + min_penalty) * (quote_window + decide_window) * self._chain.book.timing.hold_rate
        return Wei(_FEE_FACTOR * fee + -(-held // 10**18))


class MemorySessions:
    """What sessions have recorded at one block of the twin: what a test has set."""

    def __init__(self, state: _State) -> None:
        self._state = state

    def prepare(self, job_id: JobId, accounts: Iterable[Address]) -> None:
        """As :meth:`sealmarket.chain.sessions.SessionsView.prepare`."""

    def service(self, job_id: JobId) -> ServiceState:
        """As :meth:`sealmarket.chain.sessions.SessionsView.service`."""
        return self._state.services.get(job_id, NO_SERVICE)

    def tab(self, job_id: JobId, account: Address) -> Tab:
        """As :meth:`sealmarket.chain.sessions.SessionsView.tab`."""
        return self._state.tabs.get((job_id, account), NO_TAB)


class MemoryChain:
    """A chain of one process. ``finality_lag`` blocks stand between the head and what is final."""

    def __init__(self, book: AddressBook, *, finality_lag: int = 1, timestamp: int = GENESIS_TIMESTAMP) -> None:
        self.book = book
        self.market = MarketContract(book.market, book.chain_id)
        self.finality_lag = finality_lag
        genesis = Block(BlockNumber(0), keccak(b"twin 0"), timestamp, ZERO_HASH)
        self._blocks: list[Block] = [genesis]
        self._states: list[_State] = [_State()]
        self._events: list[list[ChainEvent]] = [[]]
        self._dropped = 0
        """How many of the oldest blocks were forgotten (:meth:`drop_history`)."""
        self._settled: dict[JobId, tuple[Bytes32, Bytes32, int]] = {}
        self._silent = False
        self._forks = 0
        self.behind, self.others = 0, list[int]()
        """How many of the newest blocks the endpoint that is asked does not show, and each of the others."""
        self.trust = ChainTrust(proofs=False)
        self.doubts: list[tuple[str, Block]] = []
        self.codes: dict[Address, bytes] = {}
        """Code that stands in the place of the market's own."""

    # --- what a reader sees -----------------------------------------------------------------------------------

    @property
    def chain_id(self) -> int:
        """The address book's chain id."""
        self._answer()
        return self.book.chain_id

    def head(self) -> Block:
        """The newest block, as the endpoint shows it that is asked."""
        self._answer()
        return self._blocks[max(0, len(self._blocks) - 1 - self.behind)]

    def final(self) -> Block:
        """The newest block that counts."""
        self._answer()
        return self._blocks[max(0, len(self._blocks) - 1 - self.finality_lag)]

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

    def block(self, number: int) -> Block:
        """The block at a number."""
        self._answer()
        if (found := self._find(number)) is None:
            raise NodeDistrusted(f"block {hex(number)}", "a block", "none")
        return found

    def block_by_hash(self, block_hash: Bytes32) -> Block:
        """The block of a hash."""
        self._answer()
        for block in self._blocks:
            if block.hash == block_hash:
                return block
        raise NodeDistrusted(f"block {block_hash}", "a block", "none")

    def contains(self, block: Block) -> bool:
        """Whether a block that was read earlier is still part of the chain."""
        self._answer()
        return self._find(block.number) == block

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

    def set_service(self, job_id: JobId, service: ServiceState, tabs: Mapping[Address, Tab]) -> None:
        """A service and tabs of it, from the next block on."""

        def change(state: _State, _at: EventRef) -> list[ChainEvent]:
            state.services[job_id] = service
            state.tabs |= {(job_id, account): tab for account, tab in tabs.items()}
            return []

        self._mine(change)

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

    def require(self, block: Block) -> None:
        """Raise :class:`BlockGone` unless the block is part of the chain."""
        if not self.contains(block):
            found = self._find(block.number)
            raise BlockGone(block.number, block.hash, found.hash if found is not None else "none")

    def _find(self, number: int) -> Block | None:
        index = number - self._dropped
        return self._blocks[index] if 0 <= index < len(self._blocks) else None

    # --- what a test does -------------------------------------------------------------------------------------

    def mine(self, blocks: int = 1, *, seconds: int = BLOCK_SECONDS) -> Block:
        """Mine empty blocks, each ``seconds`` after the one before."""
        for _ in range(blocks):
            self._mine(lambda _state, _at: [], seconds=seconds)
        return self._blocks[-1]

    def finalise(self) -> Block:
        """Mine until what is now the head is final; returns that block."""
        head = self._blocks[-1]
        self.mine(self.finality_lag)
        return head

    def reorganise(self, depth: int) -> Block:
        """Take the last ``depth`` blocks back, with everything in them; returns the new head."""
        del self._blocks[-depth:], self._states[-depth:], self._events[-depth:]
        self._forks += 1
        return self._blocks[-1]

    def rewrite(self, depth: int) -> Block:
        """Put as many empty blocks in the place of the last ``depth``; returns the new head."""
        self.reorganise(depth)
        return self.mine(depth)

    def drop_history(self) -> None:
        """Forget all before the final block, and the jobs that have ended: a long measurement needs none of it."""
        gone = self.final().number - self._dropped
        del self._blocks[:gone], self._states[:gone], self._events[:gone]
        self._dropped += gone
        state = self._states[-1]
        kept_on = (Status.SETTLED, Status.CHALLENGED)
        statuses = {job: state.jobs[spec.request_hash].status for job, spec in state.specs.items()}
        for job in [job for job, found in statuses.items() if found > Status.ACCEPTED and found not in kept_on]:
            del state.jobs[state.specs.pop(job).request_hash]

    def fall_silent(self, silent: bool = True) -> None:
        """From now on raise :class:`ChainUnavailable` on every read, or answer again."""
        self._silent = silent

    def publish(
        self, asset_id: AssetId, owner: Address, seal: Seal, terms: Terms, *, version: int = 1, location: str = ""
    ) -> EventRef:
        """An owner publishes a version."""

        def change(state: _State, at: EventRef) -> list[ChainEvent]:
            state.assets[asset_id, version] = AssetState(
                owner=owner,
                seal_hash=seal.hash(),
                epoch=seal.epoch,
                terms=terms,
                terms_version=1,
                revoked=False,
                suspended=False,
                strict_version=1,
                uses_taken=0,
                budget_taken=MicroEpsilon(0),
            )
            return [VersionPublished(at, asset_id, owner, version, seal, terms, location)]

        return self._mine(change)

    def tighten(self, asset_id: AssetId, version: int, terms: Terms) -> EventRef:
        """An owner tightens terms."""

        def change(state: _State, at: EventRef) -> list[ChainEvent]:
            old = state.assets[asset_id, version]
            new = replace(old, terms=terms, terms_version=old.terms_version + 1)
            if _strict(terms) != _strict(old.terms):
                new = replace(new, strict_version=new.terms_version)
            state.assets[asset_id, version] = new
            return [TermsTightened(at, asset_id, version, new.terms_version, terms)]

        return self._mine(change)

    def replace_allow_list(self, asset_id: AssetId, version: int, allow_root: Bytes32) -> EventRef:
        """An owner replaces the list of the pairs that it allows."""

        def change(state: _State, at: EventRef) -> list[ChainEvent]:
            old = state.assets[asset_id, version]
            newer = old.terms_version + 1
            terms = structs.replace(old.terms, allow_root=allow_root)
            state.assets[asset_id, version] = replace(old, terms=terms, terms_version=newer, strict_version=newer)
            return [AllowListReplaced(at, asset_id, version, newer, allow_root)]

        return self._mine(change)

    def revoke(self, asset_id: AssetId, version: int = 0) -> EventRef:
        """An owner revokes a version, or with 0 all of them."""

        def change(state: _State, at: EventRef) -> list[ChainEvent]:
            for key, old in state.assets.items():
                if key[0] == asset_id and version in (0, key[1]):
                    state.assets[key] = replace(old, revoked=True)
            return [AssetRevoked(at, asset_id, version)]

        return self._mine(change)

    def suspend(self, asset_id: AssetId, version: int, job_id: JobId) -> EventRef:
        """An enclave says, about a job, that a version does not open or does not read."""
        return self._set_suspended(asset_id, version, True, lambda at: VersionSuspended(at, asset_id, version, job_id))

    def lift_suspension(self, asset_id: AssetId, version: int) -> EventRef:
        """The owner pays for a suspended version to be matched again."""
        return self._set_suspended(asset_id, version, False, lambda at: SuspensionLifted(at, asset_id, version))

    def _set_suspended(
        self, asset_id: AssetId, version: int, suspended: bool, event: Callable[[EventRef], ChainEvent]
    ) -> EventRef:
        def change(state: _State, at: EventRef) -> list[ChainEvent]:
            state.assets[asset_id, version] = replace(state.assets[asset_id, version], suspended=suspended)
            return [event(at)]

        return self._mine(change)

    def match(self, spec: JobSpec) -> JobId:
        """A job is matched. Give a specification whose ``matched_at`` is the next block's timestamp to be exact."""
        job_id = spec.job_id(self.book.chain_id, self.book.market)

        def change(state: _State, at: EventRef) -> list[ChainEvent]:
            state.specs[job_id] = spec
            self._put(state, job_id, Status.MATCHED, spec.quote_window, 0)
            return [JobMatched(at, job_id, spec)]

        self._mine(change)
        return job_id

    def quote(self, job_id: JobId, evidence_hash: Bytes32) -> EventRef:
        """The provider posts its evidence hash."""
        return self._step(
            job_id,
            Status.QUOTED,
            lambda at: [JobQuoted(at, job_id, evidence_hash)],
            lambda spec: spec.decide_window,
            stage=evidence_hash,
        )

    def decide(self, core: Decision, signers: tuple[int, ...] = (0, 1), outcome: Outcome | None = None) -> EventRef:
        """A quorum's decision takes effect; ``outcome`` where the chain turned it into another one."""
        effect = core.outcome if outcome is None else outcome
        status = Status.ACCEPTED if effect is Outcome.ACCEPTED else Status.REFUSED
        core = _without_detail(core)
        return self._step(
            core.job_id,
            status,
            lambda at: [
                JobDecided(at, core.job_id, core, signers, effect),
                *([JobEnded(at, core.job_id, status, Fault(effect))] if status is Status.REFUSED else []),
            ],
            lambda spec: spec.settle_window,
            stage=keccak(words(core.evidence_hash, core.enclave_signer, core.enclave_key_hash)),
        )

    def stop(self, job_id: JobId, evidence_hash: Bytes32, reasons: Uint, signers: tuple[int, ...] = (0, 1)) -> EventRef:
        """Enough nodes promise never to release. The job stays accepted; :meth:`end` ends it."""

        def change(state: _State, at: EventRef) -> list[ChainEvent]:
            self._interrupt(state, job_id, stopped=True)
            return [JobStopped(at, job_id, evidence_hash, reasons, signers)]

        return self._mine(change)

    def report_missing(self, missing: SharesMissing, set_aside: Wei = NOTHING) -> EventRef:
        """The enclave has joined no key. The first report moves the deadlines, a later one names more nodes."""
        job_id = missing.job_id

        def change(state: _State, at: EventRef) -> list[ChainEvent]:
            spec, known = state.specs[job_id], state.interruptions
            found = known.get(spec.request_hash, NOT_INTERRUPTED)
            deadline = found.shares_deadline
            if not deadline:
                self._put(state, job_id, Status.ACCEPTED, spec.decide_window + spec.settle_window)
                deadline = self._blocks[-1].timestamp + BLOCK_SECONDS + spec.decide_window
            excluded = found.excluded | frozenset(places(missing.excluded))
            unspent = Wei(found.unspent + set_aside)
            self._interrupt(state, job_id, shares_deadline=deadline, excluded=excluded, unspent=unspent)
            settle = state.jobs[spec.request_hash].deadline
            return [SharesReportedMissing(at, job_id, places(missing.excluded), deadline, settle, set_aside)]

        return self._mine(change)

    def post_release(self, release: Release) -> EventRef:
        """A node's release comes on chain."""
        r, vs = compact(release.signature)
        sealed = tuple(share.sealed for share in release.shares)

        def change(state: _State, at: EventRef) -> list[ChainEvent]:
            found = state.interruptions[state.specs[release.job_id].request_hash]
            self._interrupt(state, release.job_id, posted=found.posted | {release.index})
            return [ReleasePosted(at, release.job_id, release.index, sealed, r, vs)]

        return self._mine(change)

    def settle(self, settlement: Settlement) -> EventRef:
        """The enclave's settlement is posted."""
        s = settlement
        self._settled[s.job_id] = (s.result_hash, s.receipt_hash, s.units)
        return self._step(
            s.job_id,
            Status.SETTLED,
            lambda at: [JobSettled(at, s.job_id, s.result_hash, s.receipt_hash, s.units, s.last)],
            lambda spec: spec.challenge_window,
            stage=keccak(words(s.result_hash, s.receipt_hash, s.units)),
        )

    def challenge(self, job_id: JobId, challenger: Address, bond: Wei) -> EventRef:
        """The result of a settled job is challenged."""

        def change(state: _State, at: EventRef) -> list[ChainEvent]:
            spec = state.specs[job_id]
            settled = self._settled.get(job_id)
            stage = keccak(words(*settled, challenger)) if settled else None
            self._put(state, job_id, Status.CHALLENGED, spec.decide_window, stage)
            return [JobChallenged(at, job_id, challenger, bond, state.jobs[spec.request_hash].deadline)]

        return self._mine(change)

    def fail(self, failure: Failure) -> EventRef:
        """The enclave's signed failure is posted."""
        f = failure
        return self._step(
            f.job_id,
            Status.FAILED,
            lambda at: [JobFailed(at, f.job_id, int(f.cause), f.asset_index, f.units, f.receipt_hash)],
        )

    def end(self, job_id: JobId, status: Status, fault: Fault = Fault.NONE) -> EventRef:
        """A job ends in another way: expired, cancelled, matured."""
        return self._step(job_id, status, lambda at: [JobEnded(at, job_id, status, fault)])

    def tell_unreadable(self, contract: str, name: str, subject: Bytes32 | None) -> EventRef:
        """A log that does not read."""
        return self._mine(lambda _state, at: [UnreadableLog(at, contract, name, subject, "made by a test")])

    def end_epoch(self, epoch: int, ends_at: int) -> EventRef:
        """Announce the end of an epoch."""

        def change(state: _State, at: EventRef) -> list[ChainEvent]:
            state.ends[epoch] = ends_at
            return [EpochEndAnnounced(at, epoch, ends_at)]

        return self._mine(change)

    def anchor_advisory(self, statement: Bytes32) -> EventRef:
        """Anchor the hash of a statement about platforms; a later time than the first is not kept."""

        def change(state: _State, at: EventRef) -> list[ChainEvent]:
            if statement in state.anchors:
                return []
            state.anchors[statement] = self._blocks[-1].timestamp + BLOCK_SECONDS
            return [AdvisoryAnchored(at, statement, state.anchors[statement])]

        return self._mine(change)

    def set_fee_book(self, epoch: int, token: Address, book: FeeBook) -> None:
        """What :meth:`MemoryView.fee_book` answers from the next block on."""

        def change(state: _State, _at: EventRef) -> list[ChainEvent]:
            state.fee_books[epoch, token] = book
            return []

        self._mine(change)

    def set_committee(self, epoch: int, members_hash: Bytes32, removed: frozenset[int] = frozenset()) -> None:
        """What :meth:`MemoryView.committee_hash` and ``removed_members`` answer from the next block on."""

        def change(state: _State, _at: EventRef) -> list[ChainEvent]:
            state.committees[epoch] = members_hash, removed
            return []

        self._mine(change)

    def set_account(self, token: Address, holder: Address, account: Account) -> None:
        """What :meth:`MemoryView.account` answers from the next block on."""

        def change(state: _State, _at: EventRef) -> list[ChainEvent]:
            state.accounts[token, holder] = account
            return []

        self._mine(change)

    def set_unbonding(self, token: Address, holder: Address, unbonding: Unbonding) -> None:
        """What :meth:`MemoryView.unbonding` answers from the next block on."""

        def change(state: _State, _at: EventRef) -> list[ChainEvent]:
            state.unbonding[token, holder] = unbonding
            return []

        self._mine(change)

    def set_order_used(self, signer: Address, order_hash: Bytes32, used: int) -> None:
        """What :meth:`MemoryView.order_used` answers from the next block on."""

        def change(state: _State, _at: EventRef) -> list[ChainEvent]:
            state.used[signer, order_hash] = used
            return []

        self._mine(change)

    def pause(self) -> None:
        """The guardian pauses new matches."""

        def change(state: _State, _at: EventRef) -> list[ChainEvent]:
            state.paused = True
            return []

        self._mine(change)

    # --- inside -----------------------------------------------------------------------------------------------

    def _step(
        self,
        job_id: JobId,
        status: Status,
        events: Callable[[EventRef], list[ChainEvent]],
        window: Callable[[JobSpec], int] | None = None,
        *,
        stage: Word | None = None,
    ) -> EventRef:
        def change(state: _State, at: EventRef) -> list[ChainEvent]:
            self._put(state, job_id, status, window(state.specs[job_id]) if window else 0, stage)
            return events(at)

        return self._mine(change)

    def _interrupt(self, state: _State, job_id: JobId, **changes: Any) -> None:
        spec = state.specs[job_id]
        found = state.interruptions.get(spec.request_hash, NOT_INTERRUPTED)
        changed = replace(found, provider=spec.provider, token=spec.token, **changes)
        state.interruptions[spec.request_hash] = changed

    def _put(self, state: _State, job_id: JobId, status: Status, window: int, stage: Word | None = None) -> None:
        """``stage``: what the state adds to the slot's commitment; by default the commitment stays."""
        spec = state.specs[job_id]
        deadline = self._blocks[-1].timestamp + BLOCK_SECONDS + window if window else 0
        before = state.jobs.get(spec.request_hash, JobSlot(Status.NONE, 0, b""))
        committed = before.commitment if stage is None else commitment(spec, job_id, stage)
        state.jobs[spec.request_hash] = JobSlot(status, deadline, committed)

    def _mine(
        self, change: Callable[[_State, EventRef], list[ChainEvent]], *, seconds: int = BLOCK_SECONDS
    ) -> EventRef:
        parent = self._blocks[-1]
        number = BlockNumber(parent.number + 1)
        name = keccak(b"twin %d %d " % (number, self._forks) + parent.hash)
        at = EventRef(number, 0, name, keccak(b"transaction" + name))
        state = self._states[-1].copied()
        events = [replace(event, at=replace(at, log_index=index)) for index, event in enumerate(change(state, at))]
        self._blocks.append(Block(number, name, parent.timestamp + seconds, parent.hash))
        self._states.append(state)
        self._events.append(events)
        return at

    def _answer(self) -> None:
        if self._silent:
            raise ChainUnavailable("memory", "the twin was made to fall silent")


def _strict(terms: Terms) -> tuple[object, ...]:
    """What of the terms may not change under a job that is not yet accepted."""
    return terms.allow_root, terms.consumer_root, terms.purposes


def _without_detail(core: Decision) -> Decision:
    fields = {name: getattr(core, name) for name in core.__struct_fields__}
    return Decision(**{**fields, "detail": ZERO_HASH})
