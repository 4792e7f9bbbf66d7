"""Keeps a node's own collateral fresh: asks vendors or caches of them, and the other nodes, in a thread of its own.

1. A kind of platform is asked for once a vendor's collateral beside evidence has proven that there is one, and from
   then on at an interval that is a fraction of :data:`~sealmarket.attestation.collateral.counting.DELAY`.
2. Peers are asked for what they keep of the same kinds, and for AMD's revocation lists. What they send is the vendor's,
   and proven like the rest: they can withhold, never forge. So nodes that reach each other hold the same by the time it
   counts.
3. What does not come leaves what is there, which counts as long as the vendor signed it to be valid.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import Protocol

import msgspec

from sealmarket.attestation.collateral.bundle import EMPTY_BUNDLE, Bundle, lists_bundle, lists_in, read_bundle
from sealmarket.attestation.collateral.counting import DELAY, NONE, Counting, counting
from sealmarket.attestation.collateral.own import OwnCollateral
from sealmarket.attestation.collateral.trust_anchors import TrustAnchors
from sealmarket.attestation.core.collateral import Collateral, Entry, PlatformKind
from sealmarket.attestation.core.errors import CollateralError
from sealmarket.attestation.core.evidence import Evidence
from sealmarket.attestation.core.tee import Harvest
from sealmarket.attestation.registry import CollateralDocument
from sealmarket.http import HttpClient, HttpError
from sealmarket.protocol.moments import beside
from sealmarket.protocol.outlook import Forecasts
from sealmarket.protocol.wire import EvidencePackage
from sealmarket_enclave.protocol.codec import Shape
from sealmarket_enclave.protocol.errors import SealmarketError
from sealmarket_enclave.protocol.numbers import Tee
from sealmarket_oracle.gate.collateral_rules import is_proven, kind_of
from sealmarket_oracle.gate.inputs import AppraisalInput, Decided, Defer
from sealmarket_oracle.outlook import Judged, Outlooks, OutlookView, Sighting

REFRESH_SECONDS = 6 * 3600
"""Between two looks at a vendor's server, and at each peer: a quarter of the delay after which collateral counts."""
RETRY_SECONDS = 600
"""After a server did not answer."""
MOST_KINDS = 512
"""Kinds of platforms. Vendors have issued collateral for some 100."""
MOST_SHOWN = 1000
"""Platforms that fall out, of which a report tells."""
_MOST_SHARED = 4 << 20
_FRAME = 1024
"""Of a bundle, around its documents."""
_LOOK_SECONDS = 600.0
_ANSWER_SECONDS = 10.0
_log = logging.getLogger("sealmarket.oracle")
LISTED = (Tee.SNP,)
"""TEEs whose vendor signs revocation lists apart from its collateral by kind. Peers are asked for these lists."""
AskPeer = Callable[[str, PlatformKind | Tee], Bundle]
"""What the node at a URL keeps of a kind, or of a TEE's revocation lists. Raises :class:`SealmarketError`."""


class Source(Protocol):
    """Vendors' servers, or caches of them: :class:`~sealmarket.attestation.collateral.fetch.Fetcher`."""

    def collateral(self, kind: PlatformKind) -> Collateral:
        """What the vendor issues for a kind of platform. Raises :class:`CollateralError`."""

    def shared(self, tee: Tee) -> Harvest:
        """What the vendor signs for all machines of a TEE. Raises :class:`CollateralError`."""


class KindView(Shape, frozen=True, kw_only=True):
    """Collateral of one kind of platform. Times in seconds since 1970 UTC; 0 where there is none.

    ``evaluation`` to ``expires`` are of what counts now. ``pending``: documents that do not count yet, the first of
    which does from ``pending_from``. ``problem``: why the last look failed.
    """

    tee: str
    fmspc: str
    ca: str
    evaluation: int
    issued: int
    expires: int
    pending: int
    pending_from: int
    next_refresh: int
    problem: str


class ListView(Shape, frozen=True, kw_only=True):
    """A revocation list: its issuer, when it was signed, from when it counts, until when it holds (0: for good)."""

    tee: str
    issuer: str
    issued: int
    counts_from: int
    expires: int


class CollateralView(Shape, frozen=True, kw_only=True):
    """A node's own collateral. ``asked``: the TEEs whose vendor or cache is asked, ``peers``: how many nodes are.

    ``platforms``: how many were seen since the process began, ``falling_out``: those that newer collateral refuses.
    """

    asked: tuple[str, ...]
    peers: int
    kinds: tuple[KindView, ...]
    lists: tuple[ListView, ...]
    problems: tuple[str, ...]
    platforms: int
    falling_out: tuple[OutlookView, ...]


NO_COLLATERAL = CollateralView(asked=(), peers=0, kinds=(), lists=(), problems=(), platforms=0, falling_out=())
"""Of a node that keeps none."""


@dataclass(slots=True)
class _Asked:
    """When a server is asked next, in seconds since 1970; whether it ever was; what was wrong the last time."""

    next: float = 0.0
    once: bool = False
    problem: str = ""


@dataclass(slots=True)
class _Kind:
    """A kind of platform: its source, and the peers, of which one that is away has no vendor asked more often."""

    source: _Asked = field(default_factory=_Asked)
    peers: _Asked = field(default_factory=_Asked)

    @property
    def problem(self) -> str:
        """What was wrong the last time with either."""
        return "; ".join(one.problem for one in (self.source, self.peers) if one.problem)


class CollateralKeeper:
    """A node's own collateral. Any thread calls all but :meth:`turn`."""

    def __init__(
        self,
        own: OwnCollateral,
        source: Source,
        asked: frozenset[Tee],
        peers: Sequence[str],
        ask_peer: AskPeer,
        outlooks: Outlooks,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._own, self._source, self._tees, self._peers, self._ask_peer = own, source, asked, tuple(peers), ask_peer
        self._outlooks, self._clock = outlooks, clock
        self._kinds: dict[PlatformKind, _Kind] = {}
        self._lists = {tee: _Asked() for tee in asked}
        self._peer_lists = {tee: _Asked() for tee in LISTED if self._peers}
        self._shared: dict[PlatformKind, tuple[tuple[Entry, ...], bytes]] = {}
        self._shared_lists: dict[Tee, tuple[object, bytes]] = {}
        self._wake, self._stopped = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="collateral", daemon=True)

    def start(self) -> None:
        """Read the folder, and begin to ask."""
        self._own.reload(self._now())
        self._thread.start()

    def stop(self) -> None:
        """End; an answer that is under way is waited for briefly."""
        self._stopped.set()
        self._wake.set()
        self._thread.join(_ANSWER_SECONDS)

    # --- what the node asks -----------------------------------------------------------------------------------

    def counting(self, tee: Tee, kind: PlatformKind | None, at: int) -> Counting:
        """What counts for a quote at a time (seconds since 1970 UTC)."""
        return self._own.counting(tee, kind, datetime.fromtimestamp(at, UTC))

    def learn(self, kind: PlatformKind) -> None:
        """There are platforms of this kind: their collateral is kept from now on."""
        if kind not in self._kinds and len(self._kinds) < MOST_KINDS:
            self._kinds[kind] = _Kind()
            self._wake.set()

    def saw(self, sighting: Sighting) -> None:
        """A job's evidence, for the forecast."""
        self._outlooks.saw(sighting)

    def judged(self, judged: Judged) -> None:
        """A platform whose evidence was proven for a job."""
        self._outlooks.judged(judged)

    def outlook(self) -> Forecasts:
        """What is said to anyone of platforms that fall out."""
        return self._outlooks.public(int(self._clock()))

    def awaits(self, tee: Tee, kind: PlatformKind | None) -> bool:
        """Whether a vendor or its cache is being asked for the first time: the answer may be better than none."""
        if tee not in self._tees:
            return False
        if kind is None:
            return not self._lists[tee].once
        known = self._kinds.get(kind)
        return known is not None and not known.source.once

    def share(self, kind: PlatformKind) -> bytes:
        """What is kept of a kind and holds, for another node: a collateral bundle, made once for many callers.

        It has no more bytes than a node takes, and of what is too much the newest.
        """
        entries = self._own.to_share(kind, self._now())
        known = self._shared.get(kind)
        if known is None or known[0] != entries:
            known = (entries, msgspec.json.encode(Bundle(intel=_newest(entries))))
            if entries:
                self._shared[kind] = known
        return known[1]

    def share_lists(self, tee: Tee) -> bytes:
        """The revocation lists of a TEE that are kept apart and hold, for another node: a collateral bundle."""
        kept = self._own.lists().get(tee, ())
        known = self._shared_lists.get(tee)
        if known is None or known[0] is not kept:
            known = (kept, lists_bundle(self._own.lists_to_share(tee, self._now())) if kept else EMPTY_BUNDLE)
            self._shared_lists[tee] = known
        return known[1]

    # --- asking -----------------------------------------------------------------------------------------------

    def turn(self) -> None:
        """Ask for everything that is due, once."""
        now = self._now()
        self._own.reload(now)
        for kind in self._own.kinds():
            self._kinds.setdefault(kind, _Kind())
        for tee, lists in self._lists.items():
            self._attempt(lists, partial(self._take_lists, tee), f"{tee.slug} revocation lists")
        for tee, lists in self._peer_lists.items():
            self._attempt(lists, partial(self._take_lists_of_peers, tee), f"{tee.slug} revocation lists at peers")
        for kind, state in list(self._kinds.items()):
            name = f"{kind.tee.slug} {kind.fmspc} {kind.ca}"
            if kind.tee in self._tees:
                self._attempt(state.source, partial(self._take, kind), name)
            self._attempt(state.peers, partial(self._take_of_peers, kind), f"{name} at peers")
        self._outlooks.look(self._now(), self._stopped.is_set)

    def _run(self) -> None:
        while not self._stopped.is_set():
            try:
                self.turn()
            except Exception as error:  # noqa: BLE001 - a thread that ended would never ask again
                _log.error("collateral: unexpected %s", type(error).__name__)
            self._wake.wait(_LOOK_SECONDS)
            self._wake.clear()

    def _attempt(self, state: _Asked, take: Callable[[], Iterator[str]], what: str) -> None:
        """Ask for one thing if it is due, and note what was wrong."""
        if self._stopped.is_set() or self._clock() < state.next:
            return
        try:
            problem = "; ".join(take())
        except Exception as error:  # noqa: BLE001 - what nothing foresaw in one answer keeps no other from being asked
            problem = _said(error)
        if problem != state.problem:
            level = logging.WARNING if problem else logging.INFO
            _log.log(level, "collateral of %s: %s", what, problem or "it comes")
        state.problem, state.once = problem, True
        state.next = self._clock() + (RETRY_SECONDS if problem else REFRESH_SECONDS)

    def _take(self, kind: PlatformKind) -> Iterator[str]:
        """Ask the vendor for a kind. Yields what was wrong."""
        try:
            self._own.take(self._source.collateral(kind), kind, self._now())
        except SealmarketError as error:
            yield f"its source: {error.message}"

    def _take_of_peers(self, kind: PlatformKind) -> Iterator[str]:
        for url in self._peers:
            try:
                for collateral in self._ask_peer(url, kind).intel:
                    self._own.take(collateral, kind, self._now())
            except Exception as error:  # noqa: BLE001 - as in _attempt
                yield f"{url}: {_said(error)}"

    def _take_lists(self, tee: Tee) -> Iterator[str]:
        try:
            found, problems = self._source.shared(tee)
            yield from (problem.message for problem in problems)
            self._own.take_lists(tee, found, self._now())
        except SealmarketError as error:
            yield error.message

    def _take_lists_of_peers(self, tee: Tee) -> Iterator[str]:
        for url in self._peers:
            try:
                self._own.take_lists(tee, lists_in(self._ask_peer(url, tee)), self._now())
            except Exception as error:  # noqa: BLE001 - as in _attempt
                yield f"{url}: {_said(error)}"

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._clock(), UTC)

    # --- what the operator is shown ---------------------------------------------------------------------------

    def view(self) -> CollateralView:
        """How old everything is, and what is wrong."""
        now = self._now()
        kinds = sorted({*list(self._kinds), *self._own.kinds()})  # another thread adds to them
        return CollateralView(
            asked=tuple(sorted(tee.slug for tee in self._tees)),
            peers=len(self._peers),
            kinds=tuple(_kind_view(kind, self._own.of_kind(kind), self._kinds.get(kind), now) for kind in kinds),
            lists=tuple(self._list_views()),
            problems=tuple(
                f"{tee.slug}: {one.problem}; asked again at {beside(int(one.next), int(self._clock()))}"
                for asked in (self._lists, self._peer_lists)
                for tee, one in asked.items()
                if one.problem
            ),
            platforms=self._outlooks.known,
            falling_out=self._outlooks.view()[:MOST_SHOWN],
        )

    def _list_views(self) -> Iterator[ListView]:
        for tee, lists in self._own.lists().items():
            for crl in lists:
                issued, ends = crl.last_update_utc, crl.next_update_utc
                yield ListView(
                    tee=tee.slug,
                    issuer=crl.issuer.rfc4514_string()[:200],
                    issued=int(issued.timestamp()),
                    counts_from=int((issued + DELAY).timestamp()),
                    expires=int(ends.timestamp()) if ends is not None else 0,
                )


def _newest(entries: Iterable[Entry]) -> tuple[CollateralDocument, ...]:
    """As many as one answer takes. Some bytes of a document are not signed, so a peer can make it longer."""
    found, left = [], _MOST_SHARED - _FRAME
    for entry in entries:
        raw = entry.collateral.to_json()
        left -= len(raw) + 1
        if left < 0:
            break
        found.append(CollateralDocument.from_json(raw))
    return tuple(found)


def _said(error: Exception) -> str:
    return error.message if isinstance(error, SealmarketError) else f"unexpected {type(error).__name__}"


def _kind_view(kind: PlatformKind, entries: Sequence[Entry], state: _Kind | None, now: datetime) -> KindView:
    held = counting(entries, now)
    pending = sorted(entry.issued + DELAY for entry in entries if entry.issued + DELAY > now)
    return KindView(
        tee=kind.tee.slug,
        fmspc=kind.fmspc,
        ca=kind.ca,
        evaluation=held.evaluation_number if held is not None else 0,
        issued=int(held.issued.timestamp()) if held is not None else 0,
        expires=int(held.expires.timestamp()) if held is not None else 0,
        pending=len(pending),
        pending_from=int(pending[0].timestamp()) if pending else 0,
        next_refresh=int(state.source.next or state.peers.next) if state is not None else 0,
        problem=state.problem if state is not None else "",
    )


def own_for(
    keeper: CollateralKeeper | None, package: EvidencePackage, case: AppraisalInput, roots: TrustAnchors
) -> Counting | Defer:
    """What counts of a node's own collateral for the evidence of a job; awaited once for each kind of platform."""
    if keeper is None:
        return NONE
    kind = kind_of(package, roots)
    if kind is not None and is_proven(package, kind, roots):
        keeper.learn(kind)
        evidence = Evidence(tee=package.tee, raw=bytes(package.quote))
        keeper.saw(Sighting(case.spec.provider, case.job_id, kind, evidence, case.quoted.timestamp))
    if keeper.awaits(package.tee, kind) and case.at.timestamp <= case.patient_until:
        return Defer(f"asking for collateral of its own until {case.patient_until}")
    return keeper.counting(package.tee, kind, case.quoted.timestamp)


def note_judged(keeper: CollateralKeeper | None, case: AppraisalInput, decided: Decided) -> None:
    """Remember how long the collateral holds by which a job's platform was judged."""
    if keeper is not None and decided.platform is not None and decided.holds_until:
        spec = case.spec
        keeper.judged(Judged(spec.provider, case.job_id, spec.tee, decided.platform, decided.holds_until))


class HttpAskPeer:
    """Asks other nodes over HTTP, by the path ``/v1/collateral`` with a TEE, and of a kind FMSPC and authority."""

    def __init__(self) -> None:
        self._client = HttpClient(seconds=_ANSWER_SECONDS)

    def __call__(self, url: str, wanted: PlatformKind | Tee) -> Bundle:
        """Raises :class:`HttpError` or :class:`CollateralError`: no answer, or none that reads."""
        named = wanted.slug if isinstance(wanted, Tee) else f"{wanted.tee.slug}/{wanted.fmspc}/{wanted.ca}"
        asked = f"{url.rstrip('/')}/v1/collateral/{named}"
        with self._client.ask("GET", asked, limit=_MOST_SHARED) as answer:
            if answer.status != 200:
                raise HttpError(f"{url} answered {answer.status}", remedy="see to that node")
            return read_bundle(answer.body())

    def close(self) -> None:
        """Close the connections."""
        self._client.close()


def tee_named(name: str) -> Tee:
    """The TEE that a path names. Raises :class:`CollateralError`."""
    try:
        return Tee.from_slug(name)
    except ValueError:
        raise CollateralError(f"no TEE is named {name[:40]!r}", remedy="name one: snp") from None


def kind_named(tee: str, fmspc: str, ca: str) -> PlatformKind:
    """The kind of platform that a path names. Raises :class:`CollateralError`."""
    known = {one.slug: one for one in Tee}
    if tee in known and len(fmspc) <= 32 and fmspc.isascii() and fmspc.isalnum() and ca in ("platform", "processor"):
        return PlatformKind(known[tee], fmspc.lower(), "platform" if ca == "platform" else "processor")
    raise CollateralError(
        f"no kind of platform is named {tee[:40]!r}, {fmspc[:40]!r}, {ca[:40]!r}",
        remedy="name a TEE, an FMSPC in hex, and platform or processor",
    )
