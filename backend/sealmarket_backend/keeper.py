"""The keeper: submits what anyone could submit, as soon as the contract would accept it.

It matches open requests, submits decisions once a quorum of nodes signed one common core, settles what enclaves
signed, passes acknowledgements and nodes' answers to challenges on, and closes what is overdue. It holds no right that
others lack: each of its transactions is checked by the contract against signatures of others, and each may be sent by
anyone else.

A step that cannot be done now is tried again at the next turn; one that fails for one job never holds up another.
No turn waits for a block: while something about one job is sent and in no block, the turns serve the others.
What it did before a crash is on chain, so it asks the chain before it acts, and keeps no journal of its own.
"""

from __future__ import annotations

import logging
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeVar

from sealmarket.chain import Chain, Reverted
from sealmarket.chain.calls import Call
from sealmarket.chain.committees import core_of
from sealmarket.chain.contracts import SettledResult
from sealmarket.chain.model import Enclave
from sealmarket.client.nodes import Nodes
from sealmarket.operate.challenges import answer_call
from sealmarket.protocol.book import Committee
from sealmarket.protocol.decisions import Outcome
from sealmarket.protocol.fitting import Rules
from sealmarket.protocol.orders import Request
from sealmarket.protocol.transitions import Status
from sealmarket.protocol.wire import (
    JobView,
    PostedResult,
    SignedAcknowledgement,
    SignedDecision,
    SignedStop,
)
from sealmarket_backend.book import OrderBook
from sealmarket_backend.ended import EndedEpochs
from sealmarket_backend.errors import Deposed, NotFound, StorageFailed
from sealmarket_backend.income import Income
from sealmarket_backend.index import Index
from sealmarket_backend.interruptions import Unspent
from sealmarket_backend.locked import HeldBack
from sealmarket_backend.matcher import Matcher
from sealmarket_backend.outgoing import UNWATCHED, Outgoing, Sends, Watched
from sealmarket_backend.sets import LoneSets
from sealmarket_backend.spending import Cause, NotEarned, Spending
from sealmarket_backend.tables import Database
from sealmarket_backend.turns import Turns
from sealmarket_backend.waits import Waits
from sealmarket_enclave.protocol.codec import ZERO_ADDRESS, ZERO_HASH, Address, Bytes32, decode
from sealmarket_enclave.protocol.eip712 import TypedShape
from sealmarket_enclave.protocol.errors import SealmarketError
from sealmarket_enclave.protocol.job import Settlement
from sealmarket_enclave.protocol.signing import SignatureRefused, recover

log = logging.getLogger(__name__)
T = TypeVar("T")

ACKNOWLEDGED = "settle with an acknowledgement"
MOST_UNSPENT = 16
"""Ended jobs of which one turn looks whether a provider gets something back."""
SORTED_EACH = 4096
"""Offers that one turn sorts to where searches that missed them need not look: some hundredths of a second."""


class Keeper:
    """One turn does everything that can be done now."""

    def __init__(
        self,
        chain: Chain,
        sender: Sends,
        database: Database,
        orders: OrderBook,
        index: Index,
        nodes: Nodes,
        *,
        rules: Rules,
        lacking: Callable[[Request], tuple[str, ...]],
        sets: LoneSets = LoneSets(),  # noqa: B008 - it holds nothing
        suspect: Callable[[Address | Bytes32], None] = lambda _subject: None,
        require_lead: Callable[[], None] = lambda: None,
        spending: Spending | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """``rules``: what the market demands of every match.

        ``lacking``: what the store lacks of a request, a sentence for each; it waits until all is there. ``sets``: who
        is in a set of counterparts. ``suspect`` hears of accounts and orders with which a match did not hold.
        ``require_lead`` raises :class:`Deposed` where another process keeps now. ``spending``: what
        gas may cost; without it, what it takes.
        """
        self._chain = chain
        self._outgoing = Outgoing(sender, chain.market, spending, Waits(monotonic))
        self._income = Income(spending.settings.own() if spending else frozenset(), rules)
        self._database = database
        self._orders = orders
        self._index = index
        self._nodes = nodes
        self._now = 0
        self._jobs: Turns[JobView] = Turns(index.unfinished)
        self._unspent: Turns[Unspent] = Turns(lambda after, limit: index.unspent(self._now, after, limit))
        self._matcher = Matcher(
            chain,
            self._outgoing,
            orders,
            index,
            self._income,
            rules=rules,
            lacking=lacking,
            sets=sets,
            suspect=suspect,
            monotonic=monotonic,
        )
        self._ended = EndedEpochs(database, rules)
        self._require_lead = require_lead

    def turn(self) -> None:
        """Bring the index up to date and do what is due.

        Raises:
            ChainError: the chain cannot be read at all; everything is tried again at the next turn.
            StorageFailed: so cannot the database.
            Deposed: nothing more is sent.
        """
        self._index.advance()
        self._outgoing.look()
        self._orders.take_new()
        now = self._chain.head().timestamp
        self._orders.close_expired(now)
        self._ended.close(now)
        for view in self._jobs.due():
            self._guarded(f"job {view.job_id}", partial(self._job, view, now))
        self._now = now
        for waiting in self._unspent.due(MOST_UNSPENT):
            self._guarded(f"job {waiting.job_id}", partial(self._return_unspent, waiting))
        self._matcher.match_some(now, self._guarded)
        self._require_lead()
        self._outgoing.send()
        self._orders.offers.sort(SORTED_EACH)

    def _guarded(self, what: str, step: Callable[[], None]) -> None:
        if self._outgoing.waits_for(what):
            return
        try:
            step()
        except (StorageFailed, Deposed):
            raise  # these concern every job
        except (Reverted, NotEarned, HeldBack) as error:
            log.info("%s is not sent for now: %s", what, error)
        except SealmarketError as error:
            log.warning("%s: %s", what, error)
        except Exception:
            log.exception("%s failed as nothing foresaw; the others go on", what)

    def _job(self, view: JobView, now: int) -> None:
        slot = self._chain.at(self._chain.head()).job(view.request_hash)
        if slot.status.name.lower() != view.status:
            return  # the index stands at the last final block: act on nothing that may still change
        if slot.deadline < now:
            self._close(view, slot.status)
        elif slot.status == Status.QUOTED:
            self._decide(view)
        elif slot.status == Status.ACCEPTED:
            self._finish(view, now)
        elif slot.status == Status.SETTLED:
            self._acknowledge(view)
        elif slot.status == Status.CHALLENGED:
            self._answer_challenge(view)

    def _decide(self, view: JobView) -> None:
        committee = self._committee(view.spec.epoch)
        answers = self._nodes.statuses(committee.members, view.job_id)
        signed = [answer.decision for answer in answers if answer and answer.decision]
        removed = self._removed(view.spec.epoch) if signed else frozenset()
        standing = [one for one in signed if one.index not in removed and self._holds(one, view, committee)]
        if chosen := quorum(committee, standing):
            self._keep_details(chosen)
            self._send(view, self._chain.market.decide(view.spec, chosen, committee, removed=removed))

    def _keep_details(self, chosen: Sequence[SignedDecision]) -> None:
        """Readers of the chain look for the details of decisions, which no table here names."""
        with self._database.write() as connection:
            connection.executemany(
                "INSERT INTO kept (name) VALUES (?) ON CONFLICT DO NOTHING",
                [(signed.decision.detail,) for signed in chosen],
            )

    def _holds(self, signed: SignedDecision, view: JobView, committee: Committee) -> bool:
        """Whether a decision is about this job and by the node that it names; the contract checks the same."""
        decision = signed.decision
        if (decision.job_id, decision.evidence_hash) != (view.job_id, view.evidence_hash):
            return False
        return self._signed_by_member(decision, signed.signature, signed.index, committee)

    def _signed_by_member(self, statement: TypedShape, signature: bytes, index: int, committee: Committee) -> bool:
        if index >= len(committee.members):
            return False
        try:
            found = recover(statement.digest(self._chain.book.chain_id, self._chain.book.market), signature)
        except SignatureRefused:
            return False
        return found == committee.members[index].signer

    def _finish(self, view: JobView, now: int) -> None:
        market = self._chain.market
        posted = self._stored("results", PostedResult, view.job_id)
        if posted and posted.settlement:
            self._settle(view, posted.settlement, posted.signature)
        elif posted and posted.failure:
            self._send(view, market.fail(view.spec, _enclave(view), posted.failure, posted.signature))
        else:
            self._interrupted(view, now)

    def _settle(self, view: JobView, settlement: Settlement, signature: bytes) -> None:
        """With the consumer's acknowledgement, or without one that the market does not take: a wallet's contract can
        change its mind, and must not keep a result from counting."""
        settle = partial(self._chain.market.settle, view.spec, _enclave(view), settlement, signature)
        given = self._stored("acknowledgements", SignedAcknowledgement, view.job_id)
        failed = self._outgoing.has_failed(f"job {view.job_id}", ACKNOWLEDGED)
        if given and not failed and self._acknowledges(given, settlement.result_hash):
            try:
                self._send(view, settle(given.signature), Watched(kind=ACKNOWLEDGED))
                return
            except Reverted as error:
                log.info("job %s is settled without its acknowledgement: %s", view.job_id, error)
        self._send(view, settle(b""))

    def _interrupted(self, view: JobView, now: int) -> None:
        """End a job whose shares did not come in the window for them; pass on what stops one."""
        found = self._chain.at(self._chain.head()).interruption(view.request_hash)
        committee = self._committee(view.spec.epoch)
        left = found.posted - found.excluded
        if 0 < found.shares_deadline < now and len(left) < committee.threshold:
            self._send(view, self._chain.market.end_interrupted(view.spec, _enclave(view)))
        elif not found.stopped:
            self._stop(view, committee)

    def _return_unspent(self, waiting: Unspent) -> None:
        """Give a provider back what its nodes did not take."""
        if self._chain.at(self._chain.head()).interruption(waiting.request_hash).unspent:
            call = self._chain.market.return_unspent(waiting.request_hash)
            self._outgoing.add(f"job {waiting.job_id}", call, cause=Cause((waiting.provider,)))

    def _send(self, view: JobView, call: Call, watched: Watched = UNWATCHED) -> None:
        self._outgoing.add(f"job {view.job_id}", call, watched, self._income.of_job(view.request_hash, view.spec))

    def _stop(self, view: JobView, committee: Committee) -> None:
        answers = self._nodes.statuses(committee.members, view.job_id)
        promised = [answer.stop for answer in answers if answer and answer.stop]
        removed = self._removed(view.spec.epoch) if promised else frozenset()
        promises: dict[int, list[SignedStop]] = defaultdict(list)
        for stop in (one for one in promised if one.index not in removed):
            about_this = (stop.stop.job_id, stop.stop.evidence_hash) == (view.job_id, view.evidence_hash)
            if about_this and self._signed_by_member(stop.stop, stop.signature, stop.index, committee):
                promises[stop.stop.reasons].append(stop)
        for stops in promises.values():
            if len({stop.index for stop in stops}) >= committee.refusal_threshold:
                self._send(view, self._chain.market.stop(view.spec, _enclave(view), stops, committee, removed=removed))

    def _removed(self, epoch: int) -> frozenset[int]:
        return self._chain.at(self._chain.head()).removed_members(epoch)

    def _acknowledge(self, view: JobView) -> None:
        signed = self._stored("acknowledgements", SignedAcknowledgement, view.job_id)
        if signed and view.result_hash and self._acknowledges(signed, view.result_hash):
            self._send(view, self._chain.market.acknowledge(view.spec, _settled_result(view), signed.signature))

    def _answer_challenge(self, view: JobView) -> None:
        """Pass on what enough nodes say of a challenged result: their fees come out of the bond or the penalty."""
        committee = self._committee(view.spec.epoch)
        reported = self._nodes.challenges(committee.members, view.job_id)
        removed = self._removed(view.spec.epoch) if any(reported) else frozenset()
        challenger = view.challenger or ZERO_ADDRESS
        call = answer_call(self._chain.book, view.spec, _settled_result(view), challenger, committee, removed, reported)
        if call is not None:
            self._send(view, call)

    @staticmethod
    def _acknowledges(signed: SignedAcknowledgement, result_hash: Bytes32) -> bool:
        return signed.acknowledgement.result_hash == result_hash

    def _close(self, view: JobView, status: Status) -> None:
        market = self._chain.market
        match status:
            case Status.MATCHED:
                self._send(view, market.close(view.spec))
            case Status.QUOTED | Status.ACCEPTED:
                self._send(view, market.close(view.spec, _enclave(view)))
            case Status.SETTLED:
                self._send(view, market.mature(view.spec, _settled_result(view)))
            case Status.CHALLENGED if view.challenger:
                self._send(view, market.close_challenge(view.spec, _settled_result(view), view.challenger))
            case _:
                return

    def _stored(self, table: str, kind: type[T], job_id: Bytes32) -> T | None:
        row = self._database.row(f"SELECT body FROM {table} WHERE job_id = ?", job_id)  # noqa: S608 - ours
        return decode(kind, row["body"]) if row else None

    def _committee(self, epoch: int) -> Committee:
        for committee in self._chain.book.committees:
            if committee.epoch == epoch:
                return committee
        raise NotFound(f"no committee for epoch {epoch} in the address book", remedy="update the address book")


def quorum(committee: Committee, decisions: Sequence[SignedDecision]) -> list[SignedDecision] | None:
    """Decisions with one common core, as many as that core's outcome takes; None while there are too few.

    Accepting takes t nodes, refusing max(t, n - t + 1); so the two can never both have one.
    """
    by_core: dict[object, dict[int, SignedDecision]] = defaultdict(dict)
    for signed in decisions:
        by_core[core_of(signed.decision)][signed.index] = signed
    for group in by_core.values():
        one = next(iter(group.values())).decision
        accepts = one.outcome == Outcome.ACCEPTED
        if len(group) >= (committee.threshold if accepts else committee.refusal_threshold):
            return list(group.values())
    return None


def _enclave(view: JobView) -> Enclave:
    """The stage that a job's slot commits to: the evidence hash, and after acceptance the enclave's keys."""
    evidence_hash = view.evidence_hash or ZERO_HASH
    if view.decision is None:
        return Enclave(evidence_hash, ZERO_ADDRESS, ZERO_HASH)
    return Enclave(evidence_hash, view.decision.enclave_signer, view.decision.enclave_key_hash)


def _settled_result(view: JobView) -> SettledResult:
    return SettledResult(view.result_hash or ZERO_HASH, view.receipt or ZERO_HASH, view.units)
