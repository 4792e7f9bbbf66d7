"""Which of the platforms that a node saw will be refused under collateral that does not count yet, and from when.

A vendor's new rating is known a day before it counts (:data:`~sealmarket.attestation.collateral.counting.DELAY`). The
node holds the last evidence of each platform against it, under the built-in strict rules; an owner may allow more, or
less. Beside it stands until when the collateral holds by which a platform was judged last: a host that shows no newer
one by then is refused. What is held is in memory and ends with the process. One thread calls :meth:`Outlooks.look`, any
the rest.

Anyone may read :meth:`Outlooks.public`, so it names jobs, which are on chain, and no machine. What it says of a rating,
the tokens of the node's decisions say too (:mod:`.ear`) once it counts.
"""

from __future__ import annotations

import threading
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from sealmarket.attestation.collateral.counting import DELAY, counting, rank
from sealmarket.attestation.collateral.own import OwnCollateral
from sealmarket.attestation.collateral.trust_anchors import TrustAnchors
from sealmarket.attestation.core.collateral import Entry, PlatformKind
from sealmarket.attestation.core.evidence import Endorsements, Evidence
from sealmarket.attestation.policy.forecast import Outlook, Running, forecast
from sealmarket.attestation.policy.verify import UNCHECKED, Expected, verify
from sealmarket.protocol.outlook import AHEAD_SECONDS, MOST_FORESEEN, MOST_OF_PROVIDER, Forecasts, Foreseen
from sealmarket_enclave.protocol.codec import Address, Bytes32, Shape
from sealmarket_enclave.protocol.numbers import JobId, Tee

MOST_PLATFORMS = 10_000
"""The platforms that were seen last. One takes about 6 KB."""
_MOST_WAITING = 512
_LASTING = frozenset({Tee.SGX, Tee.TDX, Tee.SNP})
"""The TEEs whose hosts show collateral that a vendor issues anew for weeks or years. The chain of a Nitro document
holds for hours, and is made with it."""


class OutlookView(Shape, frozen=True, kw_only=True):
    """A platform that newer collateral refuses. ``job_id``: the last job that it quoted for; ``platform``: its digest,
    as policies list it. Times in seconds since 1970 UTC: ``since``, from when quotes are refused; ``seen``, its last
    quote."""

    provider: Address
    job_id: JobId
    platform: Bytes32
    tee: str
    before: str
    after: str
    reasons: tuple[str, ...]
    since: int
    seen: int


@dataclass(frozen=True, slots=True)
class Sighting:
    """Evidence of a job, not proven: who showed it, of which kind of platform, at which time it was quoted."""

    provider: Address
    job_id: JobId
    kind: PlatformKind
    evidence: Evidence
    at: int


@dataclass(frozen=True, slots=True)
class Judged:
    """A platform that was judged: for which provider's job, and until when the collateral holds by which it was, in
    seconds since 1970 UTC."""

    provider: Address
    job_id: JobId
    tee: Tee
    platform: Bytes32
    holds_until: int


class Outlooks:
    """The platforms that were seen, and what becomes of them."""

    def __init__(self, own: OwnCollateral, anchors: TrustAnchors) -> None:
        self._own, self._anchors = own, anchors
        self._waiting: deque[Sighting] = deque(maxlen=_MOST_WAITING)
        self._platforms: OrderedDict[Bytes32, Sighting] = OrderedDict()
        self._judged: dict[Bytes32, tuple[bytes, OutlookView | None]] = {}
        self._lasting: OrderedDict[Bytes32, Judged] = OrderedDict()
        self._lock = threading.Lock()
        """Of what lasts how long, which any thread adds to."""

    def saw(self, sighting: Sighting) -> None:
        """A job's evidence; whether it is authentic is found out by :meth:`look`."""
        self._waiting.append(sighting)

    def judged(self, judged: Judged) -> None:
        """A platform whose evidence was proven for a job."""
        if judged.tee not in _LASTING:
            return
        with self._lock:
            self._lasting[judged.platform] = judged
            self._lasting.move_to_end(judged.platform)
            while len(self._lasting) > MOST_PLATFORMS:
                self._lasting.popitem(last=False)

    def public(self, now: int) -> Forecasts:
        """What is said to anyone of platforms that fall out: the soonest first, and of each provider a few."""
        with self._lock:
            lasting = list(self._lasting.values())
        found = [_rating(one) for one in self.view()]
        found += [_lapse(one) for one in lasting if abs(one.holds_until - now) <= AHEAD_SECONDS]
        kept, named = [], Counter[Address]()
        for one in sorted(found, key=lambda one: (one.until, one.job_id)):
            named[one.provider] += 1
            if named[one.provider] <= MOST_OF_PROVIDER:
                kept.append(one)
        return Forecasts(items=tuple(kept[:MOST_FORESEEN]))

    @property
    def known(self) -> int:
        """How many platforms are held."""
        return len(self._platforms)

    def view(self) -> tuple[OutlookView, ...]:
        """The platforms that fall out, the next first."""
        found = [one for _, one in list(self._judged.values()) if one is not None]
        return tuple(sorted(found, key=lambda one: (one.since, one.platform)))

    def look(self, now: datetime, stopped: Callable[[], bool] = lambda: False) -> None:
        """Prove what was seen, and hold each platform against the newest collateral, once for each."""
        while self._waiting and not stopped():
            self._keep(self._waiting.popleft())
        newest = {kind: self._newest(kind, now) for kind in {one.kind for one in self._platforms.values()}}
        for name, sighting in list(self._platforms.items()):
            if stopped():
                return
            self._judge(name, sighting, newest[sighting.kind], now)

    def _keep(self, sighting: Sighting) -> None:
        at = datetime.fromtimestamp(sighting.at, UTC)
        entry = counting(self._own.of_kind(sighting.kind), at)
        if entry is None:
            return
        endorsements = Endorsements(collateral=entry.collateral)
        found = verify(sighting.evidence, endorsements, self._anchors, at, Expected(report_data=UNCHECKED))
        digest = found.report.platform.digest(found.report.tee) if found.report is not None else None
        if digest is None:
            return
        self._platforms[digest] = sighting
        self._platforms.move_to_end(digest)
        self._judged.pop(digest, None)
        while len(self._platforms) > MOST_PLATFORMS:
            gone, _ = self._platforms.popitem(last=False)
            self._judged.pop(gone, None)

    def _newest(self, kind: PlatformKind, now: datetime) -> tuple[Entry, Entry] | None:
        """What counts now and the newest that does not yet, if there is one."""
        entries = self._own.of_kind(kind)
        held = counting(entries, now)
        pending = max((one for one in entries if one.issued + DELAY > now), key=rank, default=None)
        return (held, pending) if held is not None and pending is not None else None

    def _judge(self, name: Bytes32, sighting: Sighting, newest: tuple[Entry, Entry] | None, now: datetime) -> None:
        if newest is None:
            self._judged.pop(name, None)
            return
        held, pending = newest
        under = held.collateral.fingerprint + pending.collateral.fingerprint
        if (known := self._judged.get(name)) is not None and known[0] == under:
            return
        running = Running(name=str(name), evidence=sighting.evidence, collateral=held.collateral)
        (found,) = forecast([running], pending.collateral, self._anchors, now)
        since = int((pending.issued + DELAY).timestamp())
        self._judged[name] = (under, next(_views(name, sighting, found, since), None))


def _rating(view: OutlookView) -> Foreseen:
    return Foreseen(
        provider=view.provider,
        job_id=view.job_id,
        tee=view.tee,
        kind="rating",
        until=view.since,
        status=view.after,
        reasons=view.reasons[:32],
    )


def _lapse(one: Judged) -> Foreseen:
    return Foreseen(
        provider=one.provider, job_id=one.job_id, tee=one.tee.slug, kind="lapse", until=max(0, one.holds_until)
    )


def _views(name: Bytes32, sighting: Sighting, found: Outlook, since: int) -> Iterator[OutlookView]:
    if found.falls_out:
        yield OutlookView(
            provider=sighting.provider,
            job_id=sighting.job_id,
            platform=name,
            tee=sighting.kind.tee.slug,
            before=found.before.status.value if found.before is not None else "not authentic",
            after=found.after.status.value if found.after is not None else "not authentic",
            reasons=tuple(reason.value for reason in found.reasons),
            since=since,
            seen=sighting.at,
        )
