"""The measurement tuple of an NVIDIA device: what its reference manifests are issued for."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from sealmarket.attestation.core.model import measurement_digest
from sealmarket_enclave.protocol.codec import Bytes32, Shape
from sealmarket_enclave.protocol.hashing import keccak
from sealmarket_enclave.protocol.numbers import Tee

Name = Annotated[str, Meta(pattern=r"^[0-9A-Za-z._-]{1,32}$")]
Driver = Annotated[str, Meta(pattern=r"^[0-9A-Za-z._-]{0,32}$")]


class NvidiaMeasurement(Shape, frozen=True, kw_only=True, tag_field="tee", tag="nvidia"):
    """Chip, driver and VBIOS by name; a switch has an empty driver. The manifests hold the hashes of each."""

    device: Name
    driver: Driver
    vbios: Name

    tee = Tee.NVIDIA

    def digest(self) -> Bytes32:
        """The measurement's name; each text is hashed, so that all fields have one length."""
        return measurement_digest(Tee.NVIDIA, *(keccak(t.encode()) for t in (self.device, self.driver, self.vbios)))
