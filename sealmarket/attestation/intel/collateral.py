"""Intel collateral as it travels: nine signed parts in the JSON of ``dcap-qvl``'s ``QuoteCollateralV3``.

The texts of TCB info and QE identity are kept as served, since the signatures cover those exact bytes.
Nothing here is checked beyond shape; :mod:`.trust` proves it. Caches are keyed by the fingerprint of all
parts: Intel reissued its TCB signing certificate under the same serial in 2025, and PCK CRL numbers never
change.
"""

from __future__ import annotations

from functools import cached_property
from hashlib import sha256
from typing import TYPE_CHECKING, Annotated

import msgspec
from cryptography import x509
from msgspec import Meta

from sealmarket.attestation.core.certificates import MAXIMUM_CHAIN_BYTES, MAXIMUM_CRL, require_at_most
from sealmarket.attestation.core.errors import CollateralError
from sealmarket.attestation.core.evidence import Endorsements
from sealmarket.attestation.core.unreadable import NOT_JSON
from sealmarket_enclave.protocol.codec import parse_json, prepared
from sealmarket_enclave.protocol.numbers import Tee

if TYPE_CHECKING:
    from dcap_qvl import QuoteCollateralV3

MAXIMUM_BYTES = 4 << 20
"""The whole JSON. Intel's has 20 to 100 KiB."""

_Chain = Annotated[str, Meta(max_length=MAXIMUM_CHAIN_BYTES)]
_Document = Annotated[str, Meta(max_length=1 << 19)]
_HEX = r"^(0x)?[0-9a-fA-F]*$"
_Crl = Annotated[str, Meta(pattern=_HEX, max_length=2 * MAXIMUM_CRL + 2)]
_Signature = Annotated[str, Meta(pattern=_HEX, max_length=256)]


class IntelCollateral(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, dict=True):
    """``QuoteCollateralV3``: issuer chains in PEM, CRLs and signatures in hex, JSON documents as served."""

    pck_crl_issuer_chain: _Chain
    root_ca_crl: _Crl
    pck_crl: _Crl
    tcb_info_issuer_chain: _Chain
    tcb_info: _Document
    tcb_info_signature: _Signature
    qe_identity_issuer_chain: _Chain
    qe_identity: _Document
    qe_identity_signature: _Signature
    pck_certificate_chain: _Chain | None = None

    def __post_init__(self) -> None:
        for name in ("root_ca_crl", "pck_crl", "tcb_info_signature", "qe_identity_signature"):
            if len(getattr(self, name)) % 2:
                raise ValueError(f"{name} is half a byte too long")

    @classmethod
    def from_json(cls, raw: bytes | str) -> IntelCollateral:
        """Read the JSON file.

        Raises:
            CollateralError: too long, not JSON, or a part is absent, unknown or of the wrong form.
        """
        require_at_most(MAXIMUM_BYTES, len(raw), "bytes of Intel collateral")
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

    @property
    def tee(self) -> Tee:
        """SGX or TDX, as the head of TCB info says, unproven."""
        return Tee.SGX if '"SGX"' in self.tcb_info[:200] else Tee.TDX

    def certificates(self) -> tuple[x509.Certificate, ...]:
        """The chain of the TCB signer. Raises :class:`CollateralError`."""
        return Endorsements.read([self.tcb_info_issuer_chain.encode()]).certificates

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
