"""The collateral of a verifier of its own: what it has seen vendors sign, and what of it counts for a quote.

Everything is proven before it is kept, and kept by the rules of :mod:`.counting`: no sender can take up more room than
the days of a vendor's validity. Revocation lists count under a pinned root alone. The folder is a
:class:`~sealmarket.attestation.collateral.store.CollateralStore`: what its operator imports there counts as well.
Threads may share it.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature

from sealmarket.attestation.collateral.counting import (
    Counting,
    counting,
    counting_lists,
    superfluous,
    superfluous_carriers,
    superfluous_lists,
    with_newer_lists,
)
from sealmarket.attestation.collateral.store import CollateralStore, describe, signed
from sealmarket.attestation.collateral.trust_anchors import TrustAnchors
from sealmarket.attestation.core.collateral import Collateral, Entry, PlatformKind
from sealmarket.attestation.core.errors import CollateralError
from sealmarket.attestation.core.evidence import Endorsements
from sealmarket.attestation.core.pki import spki_sha256
from sealmarket.attestation.core.unreadable import NOT_X509
from sealmarket.attestation.registry import MODULES, module_of
from sealmarket_enclave.protocol.numbers import Tee

Crl = x509.CertificateRevocationList
_MOST_LISTS = 64
"""Revocation lists of all vendors. There is one for each of a vendor's roots, and for some days two."""


class OwnCollateral:
    """A folder of proven collateral, held in memory as well."""

    def __init__(self, folder: Path, anchors: TrustAnchors) -> None:
        self._store = CollateralStore(folder, anchors)
        self._anchors = anchors
        self._lock = threading.Lock()
        self._entries: Mapping[PlatformKind, tuple[Entry, ...]] = {}
        self._of_lists = CollateralStore(folder / "lists", anchors)
        self._carriers: Mapping[PlatformKind, tuple[Entry, ...]] = {}
        self._lists: Mapping[Tee, tuple[Crl, ...]] = {}

    def reload(self, now: datetime) -> None:
        """Read the folder: what was put there by others counts from now on, what is not needed is removed."""
        with self._lock:
            of_ratings = self._store.entries()
            of_lists = {entry.collateral.fingerprint: entry for entry in (*self._of_lists.entries(), *of_ratings)}
            self._entries = {kind: self._thinned(found, now) for kind, found in _by_kind(of_ratings)}
            self._carriers = {kind: self._thinned_carriers(found, now) for kind, found in _by_kind(of_lists.values())}
            found = self._store.everything()
            self._lists = {tee: self._thinned_lists(self._proven(tee, found), now) for tee in MODULES}

    def take(self, collateral: Collateral, kind: PlatformKind, now: datetime) -> None:
        """Prove collateral, and keep it unless what is here makes it needless.

        Raises:
            EvidenceRefused: it does not hold under the anchors.
            CollateralError: it is for another kind of platform, or not valid now.
        """
        entry = describe(collateral, self._anchors)
        if entry.kind != kind:
            raise CollateralError(f"asked for {kind}, the source sent {entry.kind}", remedy="ask another source")
        if not entry.issued <= now <= entry.expires:
            held = f"from {entry.issued.isoformat()} to {entry.expires.isoformat()}"
            raise CollateralError(
                f"expected collateral that holds at {now.isoformat()}, the source sent some that holds {held}",
                remedy="refresh the cache, or ask another source",
            )
        with self._lock:
            self._store.put(collateral)
            name = collateral.fingerprint
            others = (held for held in self._entries.get(kind, ()) if held.collateral.fingerprint != name)
            self._entries = {**self._entries, kind: self._thinned((*others, entry), now)}
            others = (held for held in self._carriers.get(kind, ()) if held.collateral.fingerprint != name)
            self._carriers = {**self._carriers, kind: self._thinned_carriers((*others, entry), now)}

    def take_lists(self, tee: Tee, sent: Endorsements, now: datetime) -> int:
        """Keep the revocation lists that a pinned root of this TEE's vendor signed. Returns how many these were.

        What the vendor signed counts once, however a sender spells the bytes around it. So no sender has more
        kept than the vendor's roots, and the lists that a quote of these days can need.

        Raises:
            CollateralError: these and the ones that are here are too many; none is kept.
        """
        with self._lock:
            before, proven = self._lists.get(tee, ()), self._proven(tee, sent)
            held = {crl.tbs_certlist_bytes: crl for crl in (*proven, *before)}
            kept = self._thinned_lists(tuple(held.values()), now)
            others = sum(len(lists) for name, lists in self._lists.items() if name is not tee)
            if others + len(kept) > _MOST_LISTS:
                raise CollateralError(f"more than {_MOST_LISTS} revocation lists", remedy="see to the source")
            known = {root.tbs_certificate_bytes for root in self._roots(tee, self._store.everything().certificates)}
            for root in self._roots(tee, sent.certificates):
                if root.tbs_certificate_bytes not in known:
                    self._store.put_certificate(root)
                    known.add(root.tbs_certificate_bytes)
            for crl in kept:
                if crl not in before:
                    self._store.add_crl(crl)
            self._lists = {**self._lists, tee: kept}
            return len(proven)

    def counting(self, tee: Tee, kind: PlatformKind | None, at: datetime) -> Counting:
        """What counts for a quote of a TEE at this time: by kind of platform where its vendor issues by kind."""
        entry = counting(self._entries.get(kind, ()), at) if kind is not None else None
        if entry is not None:
            entry = with_newer_lists(entry, self._carriers.get(entry.kind, ()), at, module_of(tee).with_list)
        return Counting(entry, counting_lists(self._lists.get(tee, ()), at))

    def kinds(self) -> tuple[PlatformKind, ...]:
        """The kinds of platforms that there is collateral of."""
        return tuple(sorted(self._entries))

    def of_kind(self, kind: PlatformKind) -> tuple[Entry, ...]:
        """All that is kept of one kind, the newest first."""
        return tuple(sorted(self._entries.get(kind, ()), key=lambda entry: entry.issued, reverse=True))

    def lists(self) -> Mapping[Tee, tuple[Crl, ...]]:
        """The proven revocation lists by TEE; none for most."""
        return {tee: lists for tee, lists in self._lists.items() if lists}

    def to_share(self, kind: PlatformKind, now: datetime) -> tuple[Entry, ...]:
        """What is kept of one kind for its ratings or its lists and holds now, the newest first."""
        held = (*self._entries.get(kind, ()), *self._carriers.get(kind, ()))
        found = {entry.collateral.fingerprint: entry for entry in held if entry.issued <= now <= entry.expires}
        return tuple(sorted(found.values(), key=lambda entry: entry.issued, reverse=True))

    def lists_to_share(self, tee: Tee, now: datetime) -> Endorsements:
        """The proven revocation lists of a TEE that hold now, with the roots that signed them."""
        lists = tuple(
            crl for crl in self._lists.get(tee, ()) if crl.next_update_utc is None or now <= crl.next_update_utc
        )
        roots = self._roots(tee, self._store.everything().certificates) if lists else ()
        return Endorsements(certificates=roots, crls=lists)

    # --- under the lock ---------------------------------------------------------------------------------------

    def _thinned(self, entries: Iterable[Entry], now: datetime) -> tuple[Entry, ...]:
        held = tuple(entries)
        needless = superfluous(held, now)
        for entry in needless:
            self._store.drop(entry)
        return tuple(entry for entry in held if entry not in needless)

    def _thinned_carriers(self, entries: Iterable[Entry], now: datetime) -> tuple[Entry, ...]:
        """Keep in the folder of lists what is kept for them, and nothing else."""
        held = tuple(entries)
        needless = superfluous_carriers(held, now)
        for entry in needless:
            self._of_lists.drop(entry)
        kept = tuple(entry for entry in held if entry not in needless)
        for entry in kept:
            if not self._of_lists.has(entry):
                self._of_lists.put(entry.collateral)
        return kept

    def _thinned_lists(self, lists: tuple[Crl, ...], now: datetime) -> tuple[Crl, ...]:
        needless = superfluous_lists(lists, now)
        for crl in needless:
            self._store.drop_crl(crl)
        return tuple(crl for crl in lists if crl not in needless)

    def _roots(self, tee: Tee, certificates: Iterable[x509.Certificate]) -> tuple[x509.Certificate, ...]:
        """The certificates of pinned keys that these keys themselves signed: with the key alone anyone makes others."""
        return tuple(c for c in certificates if self._anchors.grade_of(tee, spki_sha256(c)) is not None and _is_root(c))

    def _proven(self, tee: Tee, found: Endorsements) -> tuple[Crl, ...]:
        """The lists that a pinned root signed: its certificate may have come before, or with them."""
        stored = self._store.everything().certificates
        roots = self._roots(tee, (*stored, *found.certificates))
        return tuple(
            crl for crl in found.crls if any(root.subject == crl.issuer and signed(root, crl) for root in roots)
        )


def _by_kind(entries: Iterable[Entry]) -> Iterator[tuple[PlatformKind, tuple[Entry, ...]]]:
    kinds: dict[PlatformKind, list[Entry]] = {}
    for entry in entries:
        kinds.setdefault(entry.kind, []).append(entry)
    yield from ((kind, tuple(found)) for kind, found in kinds.items())


def _is_root(certificate: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(certificate)
    except (InvalidSignature, *NOT_X509):
        return False
    return True
