"""Collateral: documents that a vendor signs for a kind of platform and issues anew at intervals."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal, Protocol

from cryptography import x509

from sealmarket_enclave.protocol.numbers import Grade, Tee

REFRESH_BEFORE = timedelta(days=7)
"""Collateral is due this long before it expires, so a vendor's outage has no effect for as long."""


class Collateral(Protocol):
    """Signed documents of one vendor. The vendor's package reads them; other modules only carry them."""

    @property
    def tee(self) -> Tee:
        """The TEE that the documents say they are for, unproven."""

    @property
    def fingerprint(self) -> bytes:
        """SHA-256 over all parts: the key of every cache."""

    def to_json(self) -> bytes:
        """The documents as a file holds them."""

    def certificates(self) -> tuple[x509.Certificate, ...]:
        """The certificates of the documents' signers, unproven."""


@dataclass(frozen=True, slots=True, order=True)
class PlatformKind:
    """What a vendor issues collateral for: a TEE, a family of platforms (Intel: FMSPC in hex), a PCK authority."""

    tee: Tee
    fmspc: str
    ca: Literal["platform", "processor"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One proven collateral with the values that ``sealmarket collateral status`` shows.

    ``evaluations`` are the numbers of its parts, of which ``evaluation_number`` is the lowest: two that have the same
    rate platforms alike. ``lists`` says when each of its revocation lists was signed, in an order of the vendor's.
    """

    kind: PlatformKind
    collateral: Collateral
    issued: datetime
    expires: datetime
    evaluation_number: int
    grade: Grade
    evaluations: tuple[int, ...] = ()
    lists: tuple[datetime, ...] = ()

    def state(self, now: datetime) -> Literal["fresh", "due", "expired", "future"]:
        """Where ``now`` lies in its validity."""
        if now > self.expires:
            return "expired"
        if now < self.issued:
            return "future"
        return "due" if now > self.expires - REFRESH_BEFORE else "fresh"
