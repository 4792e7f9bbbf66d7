"""Which platforms oracle nodes say that they will refuse: asked of every node, for the platform's provider to read.

The backend verifies no evidence. A provider reads what nodes say, and how many of them say so: each node judges by the
collateral that it keeps, and one that is alone may be wrong, or lie. What the most nodes say comes first, and of each
provider a few platforms, so that no node drowns what others say. A statement about a job that the index does not know,
or that another provider ran, is left out.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from sealmarket.client.nodes import Nodes
from sealmarket.protocol.book import Committee
from sealmarket.protocol.market import Expiry
from sealmarket.protocol.outlook import MOST_OF_PROVIDER, Forecasts, Foreseen
from sealmarket_enclave.protocol.codec import Address, Bytes32

ASK_SECONDS = 600
RETRY_SECONDS = 30
"""How often nodes are asked, at most; and where one of them did not answer in time."""
_REMEDIES = {
    "rating": "update the firmware of the machine that ran this job, then attest (sealmarket worker attest) and offer"
    " anew",
    "lapse": "have the worker of the machine that ran this job fetch newer collateral: sealmarket worker doctor",
}


@dataclass(frozen=True, slots=True)
class Foretold:
    """What nodes foresee of one platform, and how many of those that ``answered`` say exactly that, in all its parts.

    ``named`` of them foresee something of it, alike or not.
    """

    one: Foreseen
    nodes: int
    named: int
    answered: int

    def as_expiry(self) -> Expiry:
        """For the platform's provider."""
        one = self.one
        by = f"so say {self.nodes} of {self.answered} oracle nodes, by their strict built-in rules"
        if one.kind == "rating":
            reasons = f" ({', '.join(one.reasons)})" if one.reasons else ""
            text = f"the {one.tee} platform that quoted for this job is rated {one.status} from then on, and refused"
            text += f"{reasons}; {by}"
        else:
            text = f"the collateral ends that the {one.tee} platform of this job showed; {by}"
        return Expiry(
            kind="platform", subject=Bytes32(one.job_id), until=one.until, text=text, remedy=_REMEDIES[one.kind]
        )


class Platforms:
    """Asks the nodes of one market. Threads may share it."""

    def __init__(
        self,
        nodes: Nodes,
        committees: Iterable[Committee],
        provider_of: Callable[[Bytes32], Address | None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``provider_of`` says whose a job is, by the index. ``clock`` counts seconds."""
        self._nodes, self._provider_of, self._clock = nodes, provider_of, clock
        every = [member for committee in committees for member in committee.members]
        self._members = tuple({member.url: member for member in every}.values())
        self._lock = threading.Lock()
        self._next = float("-inf")
        self._said: tuple[Foretold, ...] = ()

    def of(self, provider: Address, until: int) -> Iterator[Expiry]:
        """What falls out of one provider's platforms up to a time, in seconds since 1970."""
        own = [one for one in self._now() if one.one.provider == provider and one.one.until <= until]
        own.sort(key=lambda one: (-one.nodes, one.one.until))
        return (one.as_expiry() for one in own[:MOST_OF_PROVIDER])

    def count(self, until: int) -> int:
        """How many platforms of all providers fall out up to a time, where half of the nodes or more foresee it."""
        return sum(one.one.until <= until and 2 * one.named >= one.answered for one in self._now())

    def _now(self) -> tuple[Foretold, ...]:
        """The newest; asked anew by one thread where it is old, while others go on with what was there."""
        if self._clock() >= self._next and self._lock.acquire(blocking=False):
            try:
                answers = self._nodes.outlooks(self._members)
                self._said = tuple(self._joined([answer for answer in answers if answer is not None]))
                self._next = self._clock() + (RETRY_SECONDS if None in answers else ASK_SECONDS)
            finally:
                self._lock.release()
        return self._said

    def _joined(self, answers: Sequence[Forecasts]) -> Iterator[Foretold]:
        """Of each platform and kind, what the most nodes say alike; of several such, what ends first.

        A node that names another time, status or reason is not counted for what is shown, nor the others for its own.
        """
        said: Counter[Foreseen] = Counter()
        named: Counter[tuple[Bytes32, str]] = Counter()
        for answer in answers:
            own = {(Bytes32(one.job_id), str(one.kind)): one for one in answer.items}
            named.update(own.keys())
            said.update(own.values())
        shown: set[tuple[Bytes32, str]] = set()
        for one, nodes in sorted(said.items(), key=lambda item: (-item[1], item[0].until)):
            key = (Bytes32(one.job_id), str(one.kind))
            if key not in shown and self._provider_of(key[0]) == one.provider:
                shown.add(key)
                yield Foretold(one, nodes, named[key], len(answers))
