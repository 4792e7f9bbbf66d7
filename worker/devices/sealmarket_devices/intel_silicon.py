"""The simulated silicon behind the virtual SGX and TDX devices: development root, platform, quoting enclave.

Keys live in the state folder with mode 0600. The measured values come from the device, which measured them
itself; nothing here takes a claim from a caller.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from sealmarket_devices import intel_collateral as collateral
from sealmarket_devices.intel_collateral import IntelHierarchy
from sealmarket_devices.intel_format import (
    SGX_EXTENSION_OID,
    PckExtension,
    SgxReport,
    TdReport,
    public_raw,
    qe_certification,
    qe_report_data,
    quote_header,
    quote_v3,
    quote_v4,
    sign_raw,
)
from sealmarket_devices.pki import Authority, Validity, certify, distinguished_name, load_or_create, write_private

FMSPC = b"SMVIRT"
QE_MR_SIGNER = hashlib.sha256(b"Sealmarket VIRTUAL quoting enclave signer").digest()
QE_MR_ENCLAVE = hashlib.sha256(b"Sealmarket VIRTUAL quoting enclave").digest()
QE_AUTH = hashlib.sha256(b"Sealmarket VIRTUAL quoting enclave authentication data").digest()
_QE_PROD_ID = {"SGX": 1, "TDX": 2}
_AUTHORITY_LIFETIME = timedelta(days=20 * 365)
_PCK_LIFETIME = timedelta(days=7 * 365)
_REISSUE_BEFORE = timedelta(days=10)
_BACKDATE = timedelta(hours=1)
"""So that a verifier whose clock lags a little does not refuse fresh collateral as coming from the future."""


class IntelSilicon:
    """A platform with its own development root. ``tee`` is ``SGX`` or ``TDX``."""

    def __init__(self, state: Path, tee: str, clock: Callable[[], datetime]) -> None:
        state.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.tee = tee
        self._clock = clock
        self.hierarchy = _hierarchy(state, clock())
        self._collateral: tuple[datetime, str] | None = None
        self._attestation_key = ec.generate_private_key(ec.SECP256R1())
        self._certification = self._certify_quoting_enclave()

    @property
    def root(self) -> bytes:
        """The development root certificate, DER: verifiers trust it only by configuration, production never."""
        return self.hierarchy.root.der

    def collateral(self) -> str:
        """``QuoteCollateralV3`` JSON, issued anew when less than ten of its thirty days are left."""
        now = self._clock()
        if self._collateral is None or self._collateral[0] - now < _REISSUE_BEFORE:
            self._collateral = self._issue_collateral(now)
        return self._collateral[1]

    def sgx_quote(self, report: SgxReport) -> bytes:
        """A quote v3 over a report of what this device measured."""
        return self._quote(quote_header(3, 0) + report.pack())

    def tdx_quote(self, report: TdReport) -> bytes:
        """A quote v4 over a report of what this device measured."""
        return self._quote(quote_header(4, 0x81) + report.pack())

    def _quote(self, signed: bytes) -> bytes:
        assembled = quote_v3 if self.tee == "SGX" else quote_v4
        signature = sign_raw(self._attestation_key, signed)
        return assembled(signed, signature, public_raw(self._attestation_key), self._certification)

    def _certify_quoting_enclave(self) -> bytes:
        key = public_raw(self._attestation_key)
        report = SgxReport(
            cpu_svn=collateral.COMPONENT_SVNS,
            flags=0x15,
            xfrm=0xE7,
            mr_enclave=QE_MR_ENCLAVE,
            mr_signer=QE_MR_SIGNER,
            isv_prod_id=_QE_PROD_ID[self.tee],
            isv_svn=collateral.QE_ISV_SVN,
            report_data=qe_report_data(key, QE_AUTH),
        ).pack()
        pck = self.hierarchy.pck
        if not isinstance(pck.key, ec.EllipticCurvePrivateKey):
            raise TypeError(f"a PCK is a P-256 key, found {type(pck.key).__name__}")
        chain = pck.pem + self.hierarchy.platform_ca.pem + self.hierarchy.root.pem
        return qe_certification(report, sign_raw(pck.key, report), QE_AUTH, chain.encode())

    def _issue_collateral(self, now: datetime) -> tuple[datetime, str]:
        validity = Validity(start=now - _BACKDATE, end=now + collateral.COLLATERAL_LIFETIME)
        signer = self.hierarchy.tcb_signing
        tcb = collateral.sign_text(signer, collateral.tcb_info(self.tee, FMSPC, validity))
        identity = collateral.qe_identity(self.tee, QE_MR_SIGNER, _QE_PROD_ID[self.tee], validity)
        return validity.end, collateral.assemble(self.hierarchy, tcb, collateral.sign_text(signer, identity), validity)


def _hierarchy(state: Path, now: datetime) -> IntelHierarchy:
    authorities = Validity(start=now - _BACKDATE, end=now + _AUTHORITY_LIFETIME)
    leaf = Validity(start=now - _BACKDATE, end=now + _PCK_LIFETIME)
    root = _kept(state, "root", "Sealmarket DEVELOPMENT SGX Root CA", None, authorities, path_length=1)
    platform = _kept(state, "platform_ca", "Intel SGX PCK Platform CA", root, authorities, path_length=0)
    signing = _kept(state, "tcb_signing", "Intel SGX TCB Signing", root, authorities)
    pck = _kept(state, "pck", "Intel SGX PCK Certificate", platform, leaf, extension=new_platform())
    return IntelHierarchy(root, platform, signing, pck)


def new_platform() -> PckExtension:
    """A virtual platform with identities of its own."""
    return PckExtension(
        ppid=os.urandom(16),
        component_svns=collateral.COMPONENT_SVNS,
        pce_svn=collateral.PCE_SVN,
        pce_id=collateral.PCE_ID,
        fmspc=FMSPC,
        platform_instance_id=os.urandom(16),
    )


def _kept(
    state: Path,
    name: str,
    common_name: str,
    issuer: Authority | None,
    validity: Validity,
    *,
    path_length: int | None = None,
    extension: PckExtension | None = None,
) -> Authority:
    # Vendor role names are kept in the common name because verifiers require them; the organisation of every
    # subject says DEVELOPMENT.
    key = load_or_create(state / f"{name}.key")
    path = state / f"{name}.der"
    if path.exists():
        return Authority(x509.load_der_x509_certificate(path.read_bytes()), key)
    extra: tuple[x509.ExtensionType, ...] = ()
    if extension is not None:
        oid = x509.ObjectIdentifier(SGX_EXTENSION_OID)
        extra = (x509.UnrecognizedExtension(oid, extension.encode()),)
    certificate = certify(
        distinguished_name(common_name),
        key.public_key(),
        issuer,
        issuer.key if issuer else key,
        validity,
        path_length=path_length,
        extensions=extra,
    )
    write_private(path, certificate.public_bytes(serialization.Encoding.DER))
    return Authority(certificate, key)
