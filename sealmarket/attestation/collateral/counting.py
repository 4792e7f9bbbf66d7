"""Which collateral counts for a quote, so that verifiers who fetched at different moments say the same. Pure.

1. Collateral counts from the moment at which the newest of its parts was signed and :data:`DELAY`, for quotes of that
   moment and later, as long as the vendor signed it to be valid. The moment of fetching has no say.
2. Of what counts, the highest evaluation is taken, then what was signed last.
3. Of all that was signed on one day (UTC), the earliest of the day's highest evaluation is kept. Verifiers who have
   exchanged what they fetched within the delay hold the same, however often a vendor signs anew.
4. What no quote of the last :data:`PAST` can need is dropped. So a kind of platform takes one document for each day of
   a document's validity at most, however many are sent.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from cryptography import x509

from sealmarket.attestation.core.collateral import Entry

DELAY = timedelta(hours=24)
"""From signing to counting. Verifiers fetch and exchange several times within it."""
PAST = timedelta(days=7)
"""The oldest quote that is judged by what is kept now. Older ones are judged by what their host shows."""


class Counting(NamedTuple):
    """What a verifier of its own has for one quote: collateral by kind of platform, and revocation lists."""

    entry: Entry | None = None
    lists: tuple[x509.CertificateRevocationList, ...] = ()


NONE = Counting()
"""A verifier that has none of its own."""


def rank(entry: Entry) -> tuple[int, datetime, bytes]:
    """The order in which collateral of one kind is newer."""
    return entry.evaluation_number, entry.issued, entry.collateral.fingerprint


def counting(entries: Iterable[Entry], at: datetime) -> Entry | None:
    """Of the collateral of one kind, what counts for a quote at this time; None where nothing does."""
    held = [entry for entry in entries if entry.issued + DELAY <= at <= entry.expires]
    return max(held, key=rank, default=None)


def superfluous(entries: Sequence[Entry], now: datetime) -> tuple[Entry, ...]:
    """Of the collateral of one kind, what is not kept."""
    oldest = now - PAST
    days = {entry.issued.date(): entry for entry in sorted(entries, key=_precedence, reverse=True)}
    base = counting(days.values(), oldest)
    kept = [entry for entry in days.values() if entry.expires >= oldest and not _replaced(entry, base)]
    return tuple(entry for entry in entries if entry not in kept)


def _precedence(entry: Entry) -> tuple[int, datetime, bytes]:
    """Within one day: the highest evaluation, then the earliest."""
    return -entry.evaluation_number, entry.issued, entry.collateral.fingerprint


def _replaced(entry: Entry, base: Entry | None) -> bool:
    return base is not None and rank(entry) < rank(base) and entry.expires <= base.expires


def counting_lists(
    lists: Iterable[x509.CertificateRevocationList], at: datetime
) -> tuple[x509.CertificateRevocationList, ...]:
    """Of proven revocation lists, the newest of each issuer that counts for a quote at this time."""
    newest: dict[x509.Name, x509.CertificateRevocationList] = {}
    for crl in sorted(lists, key=lambda crl: crl.last_update_utc):
        if crl.last_update_utc + DELAY <= at and (crl.next_update_utc is None or at <= crl.next_update_utc):
            newest[crl.issuer] = crl
    return tuple(newest.values())


def superfluous_lists(
    lists: Sequence[x509.CertificateRevocationList], now: datetime
) -> tuple[x509.CertificateRevocationList, ...]:
    """Of proven revocation lists, those that are not kept: replaced for every quote of :data:`PAST`, or expired."""
    oldest = now - PAST
    base = {crl.issuer: crl.last_update_utc for crl in counting_lists(lists, oldest)}
    return tuple(
        crl
        for crl in lists
        if (crl.next_update_utc is not None and crl.next_update_utc < oldest)
        or crl.last_update_utc < base.get(crl.issuer, crl.last_update_utc)
    )
