"""The measurement tuple of an SEV-SNP guest."""

from __future__ import annotations

from sealmarket.attestation.core.model import Bytes8, measurement_digest
from sealmarket_enclave.protocol.codec import Bytes32, Bytes48, Shape
from sealmarket_enclave.protocol.numbers import Tee


class SnpMeasurement(Shape, frozen=True, kw_only=True, tag_field="tee", tag="snp"):
    """What a guest is, as the SNP firmware reports it (SEV-SNP ABI, ATTESTATION_REPORT)."""

    launch_digest: Bytes48
    policy: Bytes8
    host_data: Bytes32
    vmpl: int

    tee = Tee.SNP

    def digest(self) -> Bytes32:
        """The measurement's part of the market's allow-list leaf."""
        return measurement_digest(
            Tee.SNP, self.launch_digest, self.policy, self.host_data, self.vmpl.to_bytes(4, "little")
        )
