"""The market of the twin: each change of a job, an asset or an account is one call that mines one block."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from msgspec import structs

from sealmarket.chain.bargain import commitment
from sealmarket.chain.committees import compact
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
from sealmarket.chain.memory.blocks import BLOCK_SECONDS, GENESIS_TIMESTAMP
from sealmarket.chain.memory.reader import MemoryReader
from sealmarket.chain.memory.state import State
from sealmarket.chain.model import (
    NOT_INTERRUPTED,
    NOTHING,
    Account,
    AssetState,
    EventRef,
    Fault,
    FeeBook,
    JobSlot,
    Unbonding,
    places,
)
from sealmarket.chain.sessions import ServiceState, Tab
from sealmarket.protocol.book import AddressBook
from sealmarket.protocol.decisions import Decision, Outcome
from sealmarket.protocol.transitions import Status
from sealmarket_enclave.protocol.codec import ZERO_HASH, Address, Bytes32, MicroEpsilon, Uint, Wei
from sealmarket_enclave.protocol.hashing import Word, keccak, words
from sealmarket_enclave.protocol.job import Failure, JobSpec, Settlement, SharesMissing
from sealmarket_enclave.protocol.numbers import AssetId, JobId
from sealmarket_enclave.protocol.release import Release
from sealmarket_enclave.protocol.terms import Seal, Terms


class MemoryChain(MemoryReader):
    """A chain of one process, with its market."""

    def __init__(self, book: AddressBook, *, finality_lag: int = 1, timestamp: int = GENESIS_TIMESTAMP) -> None:
        super().__init__(book, finality_lag=finality_lag, timestamp=timestamp)
        self._settled: dict[JobId, tuple[Bytes32, Bytes32, int]] = {}

    # --- assets -----------------------------------------------------------------------------------------------

    def publish(
        self, asset_id: AssetId, owner: Address, seal: Seal, terms: Terms, *, version: int = 1, location: str = ""
    ) -> EventRef:
        """An owner publishes a version."""

        def change(state: State, at: EventRef) -> list[ChainEvent]:
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

        def change(state: State, at: EventRef) -> list[ChainEvent]:
            old = state.assets[asset_id, version]
            new = replace(old, terms=terms, terms_version=old.terms_version + 1)
            if _strict(terms) != _strict(old.terms):
                new = replace(new, strict_version=new.terms_version)
            state.assets[asset_id, version] = new
            return [TermsTightened(at, asset_id, version, new.terms_version, terms)]

        return self._mine(change)

    def replace_allow_list(self, asset_id: AssetId, version: int, allow_root: Bytes32) -> EventRef:
        """An owner replaces the list of the pairs that it allows."""

        def change(state: State, at: EventRef) -> list[ChainEvent]:
            old = state.assets[asset_id, version]
            newer = old.terms_version + 1
            terms = structs.replace(old.terms, allow_root=allow_root)
            state.assets[asset_id, version] = replace(old, terms=terms, terms_version=newer, strict_version=newer)
            return [AllowListReplaced(at, asset_id, version, newer, allow_root)]

        return self._mine(change)

    def revoke(self, asset_id: AssetId, version: int = 0) -> EventRef:
        """An owner revokes a version, or with 0 all of them."""

        def change(state: State, at: EventRef) -> list[ChainEvent]:
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
        def change(state: State, at: EventRef) -> list[ChainEvent]:
            state.assets[asset_id, version] = replace(state.assets[asset_id, version], suspended=suspended)
            return [event(at)]

        return self._mine(change)

    # --- jobs -------------------------------------------------------------------------------------------------

    def match(self, spec: JobSpec) -> JobId:
        """A job is matched. Give a specification whose ``matched_at`` is the next block's timestamp to be exact."""
        job_id = spec.job_id(self.book.chain_id, self.book.market)

        def change(state: State, at: EventRef) -> list[ChainEvent]:
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

        def change(state: State, at: EventRef) -> list[ChainEvent]:
            self._interrupt(state, job_id, stopped=True)
            return [JobStopped(at, job_id, evidence_hash, reasons, signers)]

        return self._mine(change)

    def report_missing(self, missing: SharesMissing, set_aside: Wei = NOTHING) -> EventRef:
        """The enclave has joined no key. The first report moves the deadlines, a later one names more nodes."""
        job_id = missing.job_id

        def change(state: State, at: EventRef) -> list[ChainEvent]:
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

        def change(state: State, at: EventRef) -> list[ChainEvent]:
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

        def change(state: State, at: EventRef) -> list[ChainEvent]:
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

    # --- epochs and advisories --------------------------------------------------------------------------------

    def end_epoch(self, epoch: int, ends_at: int) -> EventRef:
        """Announce the end of an epoch."""

        def change(state: State, at: EventRef) -> list[ChainEvent]:
            state.ends[epoch] = ends_at
            return [EpochEndAnnounced(at, epoch, ends_at)]

        return self._mine(change)

    def anchor_advisory(self, statement: Bytes32) -> EventRef:
        """Anchor the hash of a statement about platforms; a later time than the first is not kept."""

        def change(state: State, at: EventRef) -> list[ChainEvent]:
            if statement in state.anchors:
                return []
            state.anchors[statement] = self._blocks[-1].timestamp + BLOCK_SECONDS
            return [AdvisoryAnchored(at, statement, state.anchors[statement])]

        return self._mine(change)

    # --- what a test sets -------------------------------------------------------------------------------------

    def set_service(self, job_id: JobId, service: ServiceState, tabs: Mapping[Address, Tab]) -> None:
        """A service and tabs of it, from the next block on."""

        def change(state: State, _at: EventRef) -> list[ChainEvent]:
            state.services[job_id] = service
            state.tabs |= {(job_id, account): tab for account, tab in tabs.items()}
            return []

        self._mine(change)

    def set_fee_book(self, epoch: int, token: Address, book: FeeBook) -> None:
        """What :meth:`MemoryView.fee_book` answers from the next block on."""

        def change(state: State, _at: EventRef) -> list[ChainEvent]:
            state.fee_books[epoch, token] = book
            return []

        self._mine(change)

    def set_committee(self, epoch: int, members_hash: Bytes32, removed: frozenset[int] = frozenset()) -> None:
        """What :meth:`MemoryView.committee_hash` and ``removed_members`` answer from the next block on."""

        def change(state: State, _at: EventRef) -> list[ChainEvent]:
            state.committees[epoch] = members_hash, removed
            return []

        self._mine(change)

    def set_account(self, token: Address, holder: Address, account: Account) -> None:
        """What :meth:`MemoryView.account` answers from the next block on."""

        def change(state: State, _at: EventRef) -> list[ChainEvent]:
            state.accounts[token, holder] = account
            return []

        self._mine(change)

    def set_unbonding(self, token: Address, holder: Address, unbonding: Unbonding) -> None:
        """What :meth:`MemoryView.unbonding` answers from the next block on."""

        def change(state: State, _at: EventRef) -> list[ChainEvent]:
            state.unbonding[token, holder] = unbonding
            return []

        self._mine(change)

    def set_order_used(self, signer: Address, order_hash: Bytes32, used: int) -> None:
        """What :meth:`MemoryView.order_used` answers from the next block on."""

        def change(state: State, _at: EventRef) -> list[ChainEvent]:
            state.used[signer, order_hash] = used
            return []

        self._mine(change)

    def pause(self) -> None:
        """The guardian pauses new matches."""

        def change(state: State, _at: EventRef) -> list[ChainEvent]:
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
        def change(state: State, at: EventRef) -> list[ChainEvent]:
            self._put(state, job_id, status, window(state.specs[job_id]) if window else 0, stage)
            return events(at)

        return self._mine(change)

    def _interrupt(self, state: State, job_id: JobId, **changes: Any) -> None:
        spec = state.specs[job_id]
        found = state.interruptions.get(spec.request_hash, NOT_INTERRUPTED)
        changed = replace(found, provider=spec.provider, token=spec.token, **changes)
        state.interruptions[spec.request_hash] = changed

    def _put(self, state: State, job_id: JobId, status: Status, window: int, stage: Word | None = None) -> None:
        """``stage``: what the state adds to the slot's commitment; by default the commitment stays."""
        spec = state.specs[job_id]
        deadline = self._blocks[-1].timestamp + BLOCK_SECONDS + window if window else 0
        before = state.jobs.get(spec.request_hash, JobSlot(Status.NONE, 0, b""))
        committed = before.commitment if stage is None else commitment(spec, job_id, stage)
        state.jobs[spec.request_hash] = JobSlot(status, deadline, committed)


def _strict(terms: Terms) -> tuple[object, ...]:
    """What of the terms may not change under a job that is not yet accepted."""
    return terms.allow_root, terms.consumer_root, terms.purposes


def _without_detail(core: Decision) -> Decision:
    fields = {name: getattr(core, name) for name in core.__struct_fields__}
    return Decision(**{**fields, "detail": ZERO_HASH})
