"""The measurement tuples of SGX enclaves and TDX trust domains."""

from __future__ import annotations

from sealmarket.attestation.core.model import Bytes4, Bytes8, Bytes16, measurement_digest
from sealmarket_enclave.protocol.codec import Bytes32, Bytes48, Bytes64, Shape
from sealmarket_enclave.protocol.numbers import Tee


class TdxMeasurement(Shape, frozen=True, kw_only=True, tag_field="tee", tag="tdx"):
    """What a trust domain is, as the TDX module reports it (TDX module ABI, TDINFO)."""

    mr_td: Bytes48
    rtmr0: Bytes48
    rtmr1: Bytes48
    rtmr2: Bytes48
    rtmr3: Bytes48
    mr_config_id: Bytes48
    mr_owner: Bytes48
    mr_owner_config: Bytes48
    td_attributes: Bytes8
    xfam: Bytes8

    tee = Tee.TDX

    def digest(self) -> Bytes32:
        """The measurement's part of the market's allow-list leaf."""
        return measurement_digest(
            Tee.TDX,
            self.mr_td,
            self.rtmr0,
            self.rtmr1,
            self.rtmr2,
            self.rtmr3,
            self.mr_config_id,
            self.mr_owner,
            self.mr_owner_config,
            self.td_attributes,
            self.xfam,
        )


class SgxMeasurement(Shape, frozen=True, kw_only=True, tag_field="tee", tag="sgx"):
    """What an enclave is, as its REPORT says (Intel SDM vol. 3D, 38.15). ``attributes`` is flags and XFRM."""

    mr_enclave: Bytes32
    mr_signer: Bytes32
    isv_prod_id: int
    isv_svn: int
    misc_select: Bytes4
    attributes: Bytes16
    config_id: Bytes64
    config_svn: int

    tee = Tee.SGX

    def digest(self) -> Bytes32:
        """The measurement's part of the market's allow-list leaf."""
        numbers = b"".join(n.to_bytes(2, "little") for n in (self.isv_prod_id, self.isv_svn, self.config_svn))
        return measurement_digest(
            Tee.SGX,
            self.mr_enclave,
            self.mr_signer,
            self.misc_select,
            self.attributes,
            self.config_id,
            numbers,
        )
