"""Which collateral counts for a quote, so that verifiers who fetched at different moments say the same. Pure.

1. Collateral counts from the moment at which the newest of its parts was signed and :data:`DELAY`, for quotes of that
   moment and later, as long as the vendor signed it to be valid. The moment of fetching has no say.
2. Of what counts, the highest evaluation is taken, then what was signed last.
3. Of all that was signed on one day (UTC), the day's highest evaluation is kept, of these what holds to the latest day,
   of these the earliest. Verifiers who have exchanged what they fetched within the delay hold the same, however often a
   vendor signs anew; and none can be left with what ends before it counts.
4. A vendor signs each part for itself: ratings of today may travel with a revocation list of last month. So a list
   counts by its own signature, whatever it came with, and takes the place of an older one. Of all lists that were
   signed on one day the earliest is kept, in one document, which is the one that holds longest.
5. What no quote of the last :data:`PAST` can need is dropped. So a kind of platform takes one document for each day of
   a document's validity at most, and one for each day's list, however many are sent.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import NamedTuple

from cryptography import x509

from sealmarket.attestation.core.collateral import Collateral, Entry

DELAY = timedelta(hours=24)
"""From signing to counting. Verifiers fetch and exchange several times within it."""
PAST = timedelta(days=7)
"""The oldest quote that is judged by what is kept now. Older ones are judged by what their host shows."""


WithList = Callable[[Collateral, Collateral, int], Collateral]
""":meth:`~sealmarket.attestation.core.tee.TeeModule.with_list` of a TEE."""


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


def with_newer_lists(entry: Entry, carriers: Iterable[Entry], at: datetime, with_list: WithList) -> Entry:
    """Collateral with each revocation list that counts at this time, came with another of its kind, and is newer."""
    for other in sorted(carriers, key=lambda one: one.collateral.fingerprint):
        for place, signed in enumerate(other.lists):
            if signed > entry.lists[place] and signed + DELAY <= at <= other.expires:
                lists = (*entry.lists[:place], signed, *entry.lists[place + 1 :])
                collateral = with_list(entry.collateral, other.collateral, place)
                entry = replace(entry, collateral=collateral, lists=lists)
    return entry


def superfluous_carriers(carriers: Sequence[Entry], now: datetime) -> tuple[Entry, ...]:
    """Of the collateral of one kind that is kept for its revocation lists alone, what is not kept."""
    kept: list[Entry] = []
    for place in range(max((len(entry.lists) for entry in carriers), default=0)):
        kept += _kept_for_list([entry for entry in carriers if len(entry.lists) > place], place, now - PAST)
    return tuple(entry for entry in carriers if entry not in kept)


def _kept_for_list(carriers: Iterable[Entry], place: int, oldest: datetime) -> list[Entry]:
    def order(entry: Entry) -> tuple[datetime, float, bytes]:
        return entry.lists[place], -entry.expires.timestamp(), entry.collateral.fingerprint

    def is_replaced(entry: Entry) -> bool:
        return any(entry.lists[place] < one.lists[place] and entry.expires <= one.expires for one in counted)

    days = {entry.lists[place].date(): entry for entry in sorted(carriers, key=order, reverse=True)}
    counted = [one for one in days.values() if one.lists[place] + DELAY <= oldest <= one.expires]
    return [entry for entry in days.values() if entry.expires >= oldest and not is_replaced(entry)]


def superfluous(entries: Sequence[Entry], now: datetime) -> tuple[Entry, ...]:
    """Of the collateral of one kind, what is not kept."""
    oldest = now - PAST
    days = {entry.issued.date(): entry for entry in sorted(entries, key=_precedence, reverse=True)}
    base = counting(days.values(), oldest)
    kept = [entry for entry in days.values() if entry.expires >= oldest and not _replaced(entry, base)]
    return tuple(entry for entry in entries if entry not in kept)


def _precedence(entry: Entry) -> tuple[int, int, datetime, bytes]:
    """Within one day: the highest evaluation, then what holds longest, by days, then the earliest."""
    until = entry.expires.toordinal()
    return -entry.evaluation_number, -until, entry.issued, entry.collateral.fingerprint


def _replaced(entry: Entry, base: Entry | None) -> bool:
    return base is not None and rank(entry) < rank(base) and entry.expires <= base.expires


def counting_lists(
    lists: Iterable[x509.CertificateRevocationList], at: datetime
) -> tuple[x509.CertificateRevocationList, ...]:
    """Of proven revocation lists, the newest of each issuer that counts for a quote at this time."""
    newest: dict[x509.Name, x509.CertificateRevocationList] = {}
    for crl in sorted(lists, key=lambda crl: (crl.last_update_utc, crl.tbs_certlist_bytes)):
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
