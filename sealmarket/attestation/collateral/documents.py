"""Intel collateral as it travels: nine signed parts in the JSON of ``dcap-qvl``'s ``QuoteCollateralV3``.

The texts of TCB info and QE identity are kept as served, since the signatures cover those exact bytes.
Nothing here is checked beyond shape; ``intel_trust`` proves it. Caches are keyed by the fingerprint of all
parts: Intel reissued its TCB signing certificate under the same serial in 2025, and PCK CRL numbers never
change.
"""

from __future__ import annotations

from functools import cached_property
from hashlib import sha256
from typing import TYPE_CHECKING, Annotated

import msgspec
from msgspec import Meta

from sealmarket.attestation.core.errors import CollateralError
from sealmarket.attestation.core.unreadable import NOT_JSON
from sealmarket_enclave.protocol.codec import parse_json, prepared

if TYPE_CHECKING:
    from dcap_qvl import QuoteCollateralV3

_Text = Annotated[str, Meta(max_length=1 << 20)]
_Hex = Annotated[str, Meta(pattern=r"^(0x)?([0-9a-fA-F]{2})*$", max_length=8 << 20)]


class IntelCollateral(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, dict=True):
    """``QuoteCollateralV3``: issuer chains in PEM, CRLs and signatures in hex, JSON documents as served."""

    pck_crl_issuer_chain: _Text
    root_ca_crl: _Hex
    pck_crl: _Hex
    tcb_info_issuer_chain: _Text
    tcb_info: _Text
    tcb_info_signature: _Hex
    qe_identity_issuer_chain: _Text
    qe_identity: _Text
    qe_identity_signature: _Hex
    pck_certificate_chain: _Text | None = None

    @classmethod
    def from_json(cls, raw: bytes | str) -> IntelCollateral:
        """Read the JSON file.

        Raises:
            CollateralError: not JSON, or a part is absent, unknown or of the wrong form.
        """
        try:
            found: IntelCollateral = parse_json(raw, prepared(cls))
            return found
        except NOT_JSON as error:
            raise CollateralError(
                f"not Intel collateral: {error}", remedy="pass the JSON of dcap-qvl's QuoteCollateralV3"
            ) from error

    def to_json(self) -> bytes:
        """The same JSON, parts in this order; the certificate chain only where there is one."""
        parts = {name: getattr(self, name) for name in self.__struct_fields__}
        if parts["pck_certificate_chain"] is None:
            del parts["pck_certificate_chain"]
        return msgspec.json.encode(parts)

    @cached_property
    def fingerprint(self) -> bytes:
        """SHA-256 over all parts, each with its length: the key of every cache."""
        digest = sha256()
        for name in self.__struct_fields__:
            part = (getattr(self, name) or "").encode()
            digest.update(len(part).to_bytes(8, "big") + part)
        return digest.digest()

    @cached_property
    def engine(self) -> QuoteCollateralV3:
        """The same parts as dcap-qvl takes them."""
        from dcap_qvl import QuoteCollateralV3

        try:
            return QuoteCollateralV3.from_json(self.to_json().decode())
        except ValueError as error:
            raise CollateralError(f"dcap-qvl cannot read the collateral: {error}") from error
