"""The measurement tuple of a Nitro enclave."""

from __future__ import annotations

from sealmarket.attestation.core.model import measurement_digest
from sealmarket_enclave.protocol.codec import Bytes32, Bytes48, Shape
from sealmarket_enclave.protocol.numbers import Tee


class NitroMeasurement(Shape, frozen=True, kw_only=True, tag_field="tee", tag="nitro"):
    """What an enclave is (Nitro Enclaves user guide, "Cryptographic attestation").

    ``pcr0`` is the image file, ``pcr1`` kernel and bootstrap, ``pcr2`` the application, ``pcr8`` the image's signer
    (zero for an image that is not signed).
    """

    pcr0: Bytes48
    pcr1: Bytes48
    pcr2: Bytes48
    pcr8: Bytes48

    tee = Tee.NITRO

    def digest(self) -> Bytes32:
        """The measurement's part of the market's allow-list leaf."""
        return measurement_digest(Tee.NITRO, self.pcr0, self.pcr1, self.pcr2, self.pcr8)
