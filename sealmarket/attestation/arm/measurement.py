"""The measurement tuple of a realm."""

from __future__ import annotations

from enum import StrEnum

from sealmarket.attestation.core.model import measurement_digest
from sealmarket_enclave.protocol.codec import Bytes32, Bytes64, HexBytes, Shape
from sealmarket_enclave.protocol.numbers import Tee

LONGEST = 64


class RealmHash(StrEnum):
    """The algorithm of a realm's measurements, as the token names it."""

    SHA_256 = "sha-256"
    SHA_384 = "sha-384"
    SHA_512 = "sha-512"


_NUMBERS = {RealmHash.SHA_256: 1, RealmHash.SHA_384: 7, RealmHash.SHA_512: 8}
"""IANA, Named Information Hash Algorithms."""


class CcaMeasurement(Shape, frozen=True, kw_only=True, tag_field="tee", tag="cca"):
    """What a realm is, as the RMM reports it (RMM 1.0, A7.2.3): initial and extensible measurements, personalization.

    Measurements have 32, 48 or 64 bytes; some RMMs name SHA-256 and fill the registers to 64.
    """

    hash_algorithm: RealmHash
    rim: HexBytes
    rem0: HexBytes
    rem1: HexBytes
    rem2: HexBytes
    rem3: HexBytes
    personalization: Bytes64

    tee = Tee.CCA

    def digest(self) -> Bytes32:
        """The measurement's part of the market's allow-list leaf."""
        registers = (self.rim, self.rem0, self.rem1, self.rem2, self.rem3)
        fixed = [bytes([len(register)]) + register.ljust(LONGEST, b"\0") for register in registers]
        return measurement_digest(Tee.CCA, bytes([_NUMBERS[self.hash_algorithm]]), *fixed, self.personalization)
