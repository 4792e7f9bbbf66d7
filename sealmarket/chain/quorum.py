"""k of n endpoints: the block that a node relies on, and the heads that it asks before a release.

1. **Final.** A block is final where ``needed`` endpoints have it under one hash, each as final or as an ancestor of its
   final block. Of several, the newest counts. The reader never goes back behind a block that was final.
2. An endpoint with another hash at that height lies or follows another chain: it is left out for
   :data:`LEFT_OUT_SECONDS`, with an alarm that names it, and the others go on. So is one whose proof does not hold. The
   same rule gives the block at each earlier number, where it is asked for.
3. An endpoint has no say while its newest block is more than ``ahead`` seconds ahead of our clock, or more than
   :func:`~sealmarket.chain.agreement.patience_of` behind one that ``needed`` endpoints have reached. Heads are compared
   with each other and not with a clock: fewer liars than that silence no endpoint, and nor does a clock that is wrong.
   One that only one newer head speaks against keeps its say. Each is an alarm, and so is a clock that is behind
   ``needed`` heads.
4. **Head.** What is read at the head is read at the head of every endpoint that has a say. The head's number and time,
   where one is asked for, is the newest that ``needed`` endpoints have reached: fewer liars cannot move it forward.
5. An endpoint whose head speaks for another answer than those of the others is in doubt (:meth:`doubt`). Once the
   height or a later time than that head's is final, the doubt ends: the block was real, or the endpoint made it up and
   is left out. Times never fall along a chain, so a height that no chain reaches is a lie by its time.

6. A final block begins a look (:meth:`~sealmarket.chain.rpc.Rpc.begin_look`): an endpoint that takes more than its
   share of the time is asked no more in it while ``needed`` others answer, and rests, with an alarm.

Fewer than ``needed`` endpoints with a say are :class:`~sealmarket.chain.errors.TooFewAgree`; without a block on which
enough agree, :class:`~sealmarket.chain.errors.EndpointsDisagree`. ``needed`` endpoints that lie together are the chain.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Generic, TypeVar

from sealmarket.chain.alarms import Alarms
from sealmarket.chain.errors import (
    AbiMismatch,
    ChainError,
    ChainUnavailable,
    EndpointsDisagree,
    NodeDistrusted,
    Reverted,
    RpcRefused,
    TooFewAgree,
)
from sealmarket.chain.model import Block
from sealmarket.chain.proof import ProofRefused
from sealmarket.chain.rpc import Rpc
from sealmarket.chain.spans import NARROWING

T = TypeVar("T")
LEFT_OUT_SECONDS = 600.0
MOST_AHEAD = 60
"""Seconds. Block times of public chains are bounded to a few seconds ahead of their own clocks."""
MOST_BEHIND = 15
"""Seconds by which our clock may be behind blocks before that is an alarm."""
_BRIEF = 60.0
"""For how long an alarm about a newest block stands after it was last seen."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainTrust:
    """How far a reader trusts the chain's endpoints.

    ``agree`` of them must show the same block, by default a majority. ``proofs``: state counts if it is proven under
    that block's hash. ``ahead``: seconds by which a newest block may be ahead of our clock.
    """

    agree: int = 0
    proofs: bool = True
    ahead: int = MOST_AHEAD

    def needed(self, count: int) -> int:
        """How many of ``count`` endpoints must agree."""
        return self.agree or count // 2 + 1


@dataclass(frozen=True, slots=True)
class AtEndpoint(Generic[T]):
    """What one endpoint shows at its newest block."""

    endpoint: str
    block: Block
    value: T


def _reached_by(times: Sequence[int], count: int) -> int:
    """The latest time that so many have; 0 for fewer."""
    return sorted(times, reverse=True)[count - 1] if len(times) >= count else 0


class EndpointQuorum:
    """The endpoints of one chain.

    Args:
        final: the newest final block of the endpoint that is asked.
        block: the block of a tag or number there.
        needed: how many endpoints must agree.
        ahead: seconds by which a newest block may be ahead of our clock.
        patience: seconds by which a newest block may be behind others.
    """

    def __init__(
        self,
        rpc: Rpc,
        final: Callable[[], Block],
        block: Callable[[str], Block],
        *,
        needed: int,
        ahead: int = MOST_AHEAD,
        patience: int,
        clock: Callable[[], float],
    ) -> None:
        self._rpc, self._final_at, self._block, self._clock = rpc, final, block, clock
        self._needed, self._ahead, self._patience = needed, ahead, patience
        self._newest: Block | None = None
        self._newest_head = 0
        self._doubts: dict[str, Block] = {}
        self.alarms = Alarms(clock)

    def final(self) -> Block:
        """The newest block on which enough endpoints agree.

        Raises:
            TooFewAgree, EndpointsDisagree, ChainUnavailable: nothing is relied on.
        """
        self._rpc.begin_look(self._needed)
        shown = self._with_a_say(lambda: (self._block("latest"), self._final_at()))
        finals = [(endpoint, final) for endpoint, (_, final) in shown]
        votes: list[tuple[str, Block]] = []
        for height in sorted({final.number for _, final in finals}, reverse=True):
            votes = self._votes(finals, height)
            agreed, count = Counter(block for _, block in votes).most_common(1)[0]
            if count >= self._needed:
                return self._agreed(agreed, votes)
        raise EndpointsDisagree(votes[0][1].number, {endpoint: block.hash for endpoint, block in votes})

    def head(self) -> Block:
        """The newest block that enough endpoints have reached; its time is the earliest that one of them shows.

        It is for comparing numbers and times. Of the endpoints that have reached it one is honest, and its time counts.
        """
        before = self._newest_head
        return self._reached([block for _, block in self._heads()], before)

    def heads(self, read: Callable[[Block], T]) -> Sequence[AtEndpoint[T]]:
        """What ``read`` returns at the newest block of each endpoint that has a say.

        Raises:
            TooFewAgree: fewer endpoints than must agree show it.
        """
        before, found, shown = self._newest_head, list[AtEndpoint[T]](), self._heads()
        self._reached([block for _, block in shown], before)
        for endpoint, block in shown:
            try:
                found.append(AtEndpoint(endpoint, block, self._rpc.at(endpoint, partial(read, block))))
            except ProofRefused as error:
                self.leave_out(endpoint, error.what, error.expected, error.found)
            except (ChainUnavailable, NodeDistrusted, RpcRefused, Reverted, AbiMismatch) as error:
                if len(shown) == 1:
                    raise
                self._sound(endpoint, "state at its newest block", error)
        return self._enough(found)

    def block(self, number: int) -> Block:
        """The block at a number that is final, on which enough endpoints agree; one that shows another is left out.

        Raises:
            EndpointsDisagree, TooFewAgree: they do not.
        """
        votes = self.each(lambda: self._numbered_here(number), f"block {number}")
        agreed, count = Counter(block for _, block in votes).most_common(1)[0]
        if count < self._needed:
            raise EndpointsDisagree(number, {endpoint: block.hash for endpoint, block in votes})
        self._leave_out_others(agreed, votes)
        return agreed

    def each(self, read: Callable[[], T], what: str) -> Sequence[tuple[str, T]]:
        """What ``read`` returns at each endpoint that answers.

        Raises:
            TooFewAgree: fewer do than must agree.
            ChainError: as one of the others says, where it may answer to a narrower question.
        """
        failures = list[ChainError]()

        def note(endpoint: str, error: ChainError) -> None:
            failures.append(error)
            if self._rpc.several:
                self._sound(endpoint, what, error)

        shown = self._rpc.everywhere(read, self._needed, note)
        narrower = [error for error in failures if isinstance(error, NARROWING)]
        if len(shown) < self._needed and narrower:
            raise narrower[0]
        return self._enough(shown)

    def proven(self, read: Callable[[], T], what: str) -> T:
        """What ``read`` proves at one endpoint; at the next where that one does not. A false proof is named.

        Raises:
            ChainError: of the first endpoint, where none proves it.
        """
        first: ChainError | None = None
        for endpoint in self._rpc.in_turn():
            try:
                return self._rpc.at(endpoint, read)
            except ProofRefused as error:
                self.leave_out(endpoint, error.what, error.expected, error.found)
                first = first or error
            except (ChainUnavailable, NodeDistrusted, RpcRefused) as error:
                self._sound(endpoint, what, error)
                first = first or error
        assert first is not None
        raise first

    def leave_out(self, endpoint: str, what: str, expected: object, found: object) -> None:
        """Ask an endpoint nothing for a while: what it said of ``what`` was shown to be false."""
        self.alarms.sound(endpoint, what, expected, found, LEFT_OUT_SECONDS)
        self._doubts.pop(endpoint, None)
        if self._rpc.several:
            self._rpc.leave_out(endpoint, LEFT_OUT_SECONDS)

    def doubt(self, endpoint: str, block: Block) -> None:
        """Remember that an endpoint alone speaks for another answer at its newest block. The first doubt stands."""
        self._doubts.setdefault(endpoint, block)

    # --- inside -----------------------------------------------------------------------------------------------

    def _reached(self, heads: Sequence[Block], before: int) -> Block:
        """The newest of these that enough have reached. Another thread may have seen later ones meanwhile.

        Raises:
            NodeDistrusted: it comes before the one that enough had reached when these were asked for.
        """
        newest = sorted(heads, key=lambda block: block.number, reverse=True)[: self._needed]
        found = replace(newest[-1], timestamp=min(block.timestamp for block in newest))
        if found.number < before:
            raise NodeDistrusted("newest block", f"{before} or later", found.number)
        self._newest_head = max(self._newest_head, found.number)
        return found

    def _heads(self) -> list[tuple[str, Block]]:
        return [(endpoint, head) for endpoint, (head, _) in self._with_a_say(lambda: (self._block("latest"), None))]

    def _with_a_say(self, read: Callable[[], tuple[Block, T]]) -> Sequence[tuple[str, tuple[Block, T]]]:
        """What each endpoint shows whose newest block, the first of the pair, is neither old nor of the future."""
        shown = self._rpc.everywhere(read, self._needed, self._note_failure)
        now = int(self._clock())
        times = [head.timestamp for _, (head, _) in shown]
        self._check_clock(now, _reached_by(times, self._needed))
        past = [time for time in times if time <= now + self._ahead]
        reached, newest = _reached_by(past, self._needed), max(past, default=now)
        return self._enough([one for one in shown if self._has_a_say(one[0], one[1][0], now, reached, newest)])

    def _check_clock(self, now: int, claimed: int) -> None:
        if claimed > now + MOST_BEHIND:
            expected = f"about {claimed}, as the newest blocks of {self._needed} endpoints have it"
            self.alarms.sound("this machine", "clock", expected, now, _BRIEF)

    def _note_failure(self, endpoint: str, error: ChainError) -> None:
        if self._rpc.several:
            self._sound(endpoint, "newest block", error)

    def _sound(self, endpoint: str, what: str, error: ChainError) -> None:
        """Of an endpoint that did not answer, or too slowly: for as long as it rests."""
        self.alarms.sound(endpoint, what, "an answer", error.message, max(_BRIEF, self._rpc.rests(endpoint)))

    def _has_a_say(self, endpoint: str, head: Block, now: int, reached: int, newest: int) -> bool:
        """``reached``: the time that enough newest blocks have; ``newest``: the latest of any; not of the future."""
        what, found = "newest block", f"block {head.number} of {head.timestamp}"
        if head.timestamp > now + self._ahead:
            expected = f"a time until {now + self._ahead}, by this machine's clock"
            self.alarms.sound(endpoint, what, expected, found, _BRIEF)
            return False
        if head.timestamp < reached - self._patience:
            expected = f"a time from {reached - self._patience} on, as {self._needed} endpoints have {reached}"
            self.alarms.sound(endpoint, what, expected, found, _BRIEF)
            return False
        if head.timestamp < newest - self._patience:
            expected = (
                f"a time from {newest - self._patience} on, if another endpoint's newest block of {newest} is real"
            )
            self.alarms.sound(endpoint, what, expected, found, _BRIEF)
        return True

    def _enough(self, found: list[T]) -> list[T]:
        if len(found) < self._needed:
            raise TooFewAgree(self._needed, len(found), self.alarms.standing())
        return found

    def _votes(self, finals: Sequence[tuple[str, Block]], height: int) -> list[tuple[str, Block]]:
        """The block at a height of each endpoint whose final block is there or later."""
        votes = []
        for endpoint, final in finals:
            if final.number < height:
                continue
            try:
                votes.append((endpoint, final if final.number == height else self._numbered(endpoint, height)))
            except (ChainUnavailable, NodeDistrusted, RpcRefused) as error:
                self.alarms.sound(endpoint, f"block {height}", "a block", error.message, _BRIEF)
        return votes

    def _numbered(self, endpoint: str, number: int) -> Block:
        return self._rpc.at(endpoint, lambda: self._numbered_here(number))

    def _numbered_here(self, number: int) -> Block:
        found = self._block(hex(number))
        if found.number != number:
            raise NodeDistrusted(f"block {number}", number, found.number)
        return found

    def _agreed(self, agreed: Block, votes: Sequence[tuple[str, Block]]) -> Block:
        good = self._leave_out_others(agreed, votes)
        self._rpc.prefer(good[0])
        self._settle_doubts(agreed)
        if self._newest is None or agreed.number > self._newest.number:
            self._newest = agreed
        return self._newest if agreed.number < self._newest.number else agreed

    def _leave_out_others(self, agreed: Block, votes: Sequence[tuple[str, Block]]) -> list[str]:
        """The endpoints that have the block on which enough agree; the others lie."""
        good = [endpoint for endpoint, block in votes if block == agreed]
        for endpoint, block in votes:
            if block != agreed:
                expected = f"{agreed.hash} of {agreed.timestamp}, as {len(good)} others"
                self.leave_out(endpoint, f"block {agreed.number}", expected, f"{block.hash} of {block.timestamp}")
        return good

    def _settle_doubts(self, agreed: Block) -> None:
        """End the doubts that final blocks decide. No endpoint vouches for itself, and one that says nothing of a block
        delays no more than the end of a doubt."""
        for endpoint, doubted in list(self._doubts.items()):
            what = f"block {doubted.number}, at which it alone spoke for another answer"
            if doubted.number > agreed.number:
                if doubted.timestamp < agreed.timestamp:
                    expected = f"a time from {agreed.timestamp} on, as the final block {agreed.number} has it"
                    self.leave_out(endpoint, what, expected, doubted.timestamp)
                continue
            try:
                real = agreed if doubted.number == agreed.number else self.block(doubted.number)
            except ChainError:
                continue  # the doubt stands; who did not answer is an alarm
            self._doubts.pop(endpoint, None)
            if real.hash != doubted.hash:
                self.leave_out(endpoint, what, real.hash, doubted.hash)
