"""Mints Intel evidence and collateral with any claim wrong. For refusal tests; never shipped.

Everything defaults to what a verifier accepts under :attr:`IntelForge.root`, so that a test names only what
is wrong::

    forge = IntelForge(now)
    quote = forge.tdx_quote(TdReport(td_attributes=1))                    # a debug TD
    quote = forge.tdx_quote(quote_key=stranger)                           # signed by another key
    collateral = forge.collateral(tcb={"tcbEvaluationDataNumber": 3})     # an old evaluation
    collateral = forge.collateral(signer=forge.pck)                       # signed by a PCK leaf
"""

from __future__ import annotations

import dataclasses
import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from sealmarket_devices import intel_collateral as genuine
from sealmarket_devices.intel_format import (
    SGX_EXTENSION_OID,
    PckExtension,
    SgxReport,
    TdReport,
    certification_data,
    public_raw,
    qe_report_data,
    quote_header,
    sign_raw,
)
from sealmarket_devices.pki import Authority, Validity, certify, distinguished_name, revocation_list

P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
INTEL_NAME = [
    (NameOID.COMMON_NAME, "Intel SGX Root CA"),
    (NameOID.ORGANIZATION_NAME, "Intel Corporation"),
    (NameOID.LOCALITY_NAME, "Santa Clara"),
    (NameOID.STATE_OR_PROVINCE_NAME, "CA"),
    (NameOID.COUNTRY_NAME, "US"),
]
FMSPC = bytes.fromhex("f0f0f0000000")
QE_MR_SIGNER = b"\x51" * 32
QE_PROD_ID = {"SGX": 1, "TDX": 2}


@dataclass(frozen=True, slots=True, kw_only=True)
class TdReport15(TdReport):
    """A TD report body 1.5, 648 bytes (quote v5, body type 3)."""

    tee_tcb_svn2: bytes = genuine.TEE_TCB_SVN
    mr_service_td: bytes = bytes(48)

    def pack(self) -> bytes:
        return TdReport.pack(self) + self.tee_tcb_svn2 + self.mr_service_td


@dataclass(frozen=True, slots=True, kw_only=True)
class QuoteSettings:
    """How a quote is put together; every default is right.

    ``bound`` False leaves the QE report's hash over another key. ``n_minus_s`` names signatures (``quote``,
    ``qe``) to turn into their other form. ``qe`` replaces fields of the QE report. ``descriptor`` is (type,
    size) of a v5 body.
    """

    quote_key: ec.EllipticCurvePrivateKey | None = None
    qe_key: ec.EllipticCurvePrivateKey | None = None
    qe: Mapping[str, Any] = field(default_factory=dict)
    qe_auth: bytes = b"\x07" * 32
    bound: bool = True
    n_minus_s: frozenset[str] = frozenset()
    chain: bytes | None = None
    chain_type: int = 5
    outer_type: int = 6
    key_type: int = 2
    header_version: int | None = None
    tee_type: int | None = None
    vendor: bytes | None = None
    descriptor: tuple[int, int] | None = None
    auth_tail: bytes = b""
    tail: bytes = b""


def malleate(signature: bytes) -> bytes:
    """The other form of a raw P-256 signature: ``r || n - s``."""
    return signature[:32] + (P256_ORDER - int.from_bytes(signature[32:], "big")).to_bytes(32, "big")


def intel_root_name() -> x509.Name:
    """The distinguished name of the genuine Intel SGX Root CA."""
    return x509.Name([x509.NameAttribute(oid, value) for oid, value in INTEL_NAME])


class IntelForge:
    """A whole Intel world at a moment: root, CAs, a platform, collateral.

    Args:
        now: the middle of everything's validity.
        root_name: for a look-alike root; the key is the forge's own all the same.
        pck_ca: ``Platform`` or ``Processor``.
        extension: fields of the PCK's SGX extension to replace.
        names: common names to replace: ``tcb_signing``, ``pck``, ``pck_ca``.
        validity: periods to replace: ``root``, ``pck_ca``, ``tcb_signing``, ``pck``.
    """

    def __init__(
        self,
        now: datetime,
        *,
        root_name: x509.Name | None = None,
        pck_ca: str = "Platform",
        extension: Mapping[str, Any] | None = None,
        names: Mapping[str, str] | None = None,
        validity: Mapping[str, Validity] | None = None,
    ) -> None:
        self.now = now
        self._names = dict(names or {})
        self._periods = dict(validity or {})
        self.platform = dataclasses.replace(
            PckExtension(
                ppid=b"\x99" * 16,
                component_svns=genuine.COMPONENT_SVNS,
                pce_svn=genuine.PCE_SVN,
                pce_id=genuine.PCE_ID,
                fmspc=FMSPC,
                platform_instance_id=b"\x98" * 16,
            ),
            **(extension or {}),
        )
        self.attestation_key = new_key()
        name = root_name or distinguished_name("Forged TEST SGX Root CA", "Sealmarket TEST forge")
        self.root = self._authority("root", name, None, 1)
        self.pck_ca = self._authority("pck_ca", self._name("pck_ca", f"Intel SGX PCK {pck_ca} CA"), self.root, 0)
        self.tcb_signing = self._authority("tcb_signing", self._name("tcb_signing", "Intel SGX TCB Signing"), self.root)
        self.pck = self.new_pck()

    def new_pck(self, extension: PckExtension | None = None, issuer: Authority | None = None) -> Authority:
        """Another PCK leaf, of this platform unless an extension is given."""
        oid = x509.ObjectIdentifier(SGX_EXTENSION_OID)
        value = x509.UnrecognizedExtension(oid, (extension or self.platform).encode())
        name = self._name("pck", "Intel SGX PCK Certificate")
        return self._authority("pck", name, issuer or self.pck_ca, extensions=(value,))

    def period(self, days: int = 15) -> Validity:
        """A period around now."""
        return Validity(start=self.now - timedelta(days=days), end=self.now + timedelta(days=days))

    def chain(self, *certificates: Authority) -> bytes:
        """A PEM chain: the PCK's unless others are given."""
        return "".join(c.pem for c in certificates or (self.pck, self.pck_ca, self.root)).encode()

    # Quotes.

    def sgx_quote(self, report: SgxReport | None = None, **settings: Any) -> bytes:
        """A quote v3 over an SGX report."""
        chosen = QuoteSettings(**settings)
        body = (report or SgxReport(cpu_svn=self.platform.component_svns, mr_enclave=b"\xe1" * 32)).pack()
        return self._quote("SGX", self._header(3, 0, chosen) + body, chosen)

    def tdx_quote(self, report: TdReport | None = None, *, version: int = 4, **settings: Any) -> bytes:
        """A quote v4, or v5 with body type 2 (:class:`TdReport`) or 3 (:class:`TdReport15`)."""
        chosen = QuoteSettings(**settings)
        body = (report or self.td_report()).pack()
        descriptor = b""
        if version == 5:
            descriptor = struct.pack("<HI", *(chosen.descriptor or (3 if len(body) == 648 else 2, len(body))))
        return self._quote("TDX", self._header(version, 0x81, chosen) + descriptor + body, chosen)

    def td_report(self, **fields: Any) -> TdReport:
        """A TD report 1.0 that the collateral's only level meets."""
        return TdReport(**{"tee_tcb_svn": genuine.TEE_TCB_SVN, "mr_td": b"\x7d" * 48, **fields})

    def td_report_15(self, **fields: Any) -> TdReport15:
        """A TD report 1.5 that the collateral's only level meets."""
        return TdReport15(**{"tee_tcb_svn": genuine.TEE_TCB_SVN, "mr_td": b"\x7d" * 48, **fields})

    def _header(self, version: int, tee_type: int, settings: QuoteSettings) -> bytes:
        header = quote_header(
            settings.header_version if settings.header_version is not None else version,
            settings.tee_type if settings.tee_type is not None else tee_type,
            key_type=settings.key_type,
        )
        return header if settings.vendor is None else header[:12] + settings.vendor + header[28:]

    def _quote(self, tee: str, signed: bytes, settings: QuoteSettings) -> bytes:
        claimed = public_raw(self.attestation_key)
        signature = sign_raw(settings.quote_key or self.attestation_key, signed)
        certification = self._certification(tee, claimed, settings)
        if tee == "TDX":
            certification = certification_data(settings.outer_type, certification)
        if "quote" in settings.n_minus_s:
            signature = malleate(signature)
        auth = signature + claimed + certification + settings.auth_tail
        return signed + struct.pack("<I", len(auth)) + auth + settings.tail

    def _certification(self, tee: str, claimed: bytes, settings: QuoteSettings) -> bytes:
        fields = {
            "cpu_svn": self.platform.component_svns,
            "flags": 0x15,
            "xfrm": 0xE7,
            "mr_enclave": b"\x50" * 32,
            "mr_signer": QE_MR_SIGNER,
            "isv_prod_id": QE_PROD_ID[tee],
            "isv_svn": genuine.QE_ISV_SVN,
            "report_data": qe_report_data(claimed if settings.bound else bytes(64), settings.qe_auth),
            **settings.qe,
        }
        report = SgxReport(**fields).pack()
        signature = sign_raw(settings.qe_key or private_key(self.pck), report)
        if "qe" in settings.n_minus_s:
            signature = malleate(signature)
        chain = settings.chain if settings.chain is not None else self.chain()
        return b"".join(
            (
                report,
                signature,
                struct.pack("<H", len(settings.qe_auth)),
                settings.qe_auth,
                certification_data(settings.chain_type, chain),
            )
        )

    # Collateral.

    def tcb_info(self, tee: str, validity: Validity | None = None, **changes: Any) -> dict[str, Any]:
        """TCB info with one UpToDate level; ``changes`` replace members, None removes one."""
        document = genuine.tcb_info(tee, self.platform.fmspc, validity or self.period())
        document["pceId"] = self.platform.pce_id.hex().upper()
        return _changed(document, changes)

    def qe_identity(self, tee: str, validity: Validity | None = None, **changes: Any) -> dict[str, Any]:
        """A QE identity with one UpToDate level."""
        return _changed(genuine.qe_identity(tee, QE_MR_SIGNER, QE_PROD_ID[tee], validity or self.period()), changes)

    def collateral(
        self,
        tee: str = "TDX",
        *,
        tcb: Mapping[str, Any] | None = None,
        identity: Mapping[str, Any] | None = None,
        status: str | None = None,
        qe_status: str | None = None,
        advisories: tuple[str, ...] = (),
        validity: Validity | None = None,
        crl_validity: Validity | None = None,
        signer: Authority | None = None,
        revoked_by_root: tuple[int, ...] = (),
        revoked_by_pck_ca: tuple[int, ...] = (),
        parts: Mapping[str, Any] | None = None,
    ) -> str:
        """``QuoteCollateralV3`` JSON.

        ``status``/``advisories`` set the TCB level, ``qe_status`` the QE's; ``tcb`` and ``identity`` replace
        members of the documents before they are signed by ``signer``; ``parts`` replaces whole parts
        afterwards.
        """
        info = self.tcb_info(tee, validity, **(tcb or {}))
        quoting = self.qe_identity(tee, validity, **(identity or {}))
        for level in info.get("tcbLevels", []):
            level["tcbStatus"] = status or level["tcbStatus"]
            if advisories:
                level["advisoryIDs"] = list(advisories)
        for level in quoting.get("tcbLevels", []):
            level["tcbStatus"] = qe_status or level["tcbStatus"]
        by = signer or self.tcb_signing
        signed_info, signed_quoting = genuine.sign_text(by, info), genuine.sign_text(by, quoting)
        chain = self.chain(by, self.root).decode() if by is not self.pck else self.chain().decode()
        crl_period = crl_validity or self.period()
        document = {
            "pck_crl_issuer_chain": self.chain(self.pck_ca, self.root).decode(),
            "root_ca_crl": revocation_list(self.root, crl_period, revoked_by_root).hex(),
            "pck_crl": revocation_list(self.pck_ca, crl_period, revoked_by_pck_ca).hex(),
            "tcb_info_issuer_chain": chain,
            "tcb_info": signed_info.text,
            "tcb_info_signature": signed_info.signature.hex(),
            "qe_identity_issuer_chain": chain,
            "qe_identity": signed_quoting.text,
            "qe_identity_signature": signed_quoting.signature.hex(),
        }
        return json.dumps({**document, **(parts or {})})

    def sign_text(self, document: dict[str, Any], signer: Authority | None = None) -> tuple[str, str]:
        """A document's text and hex signature, for ``parts``."""
        signed = genuine.sign_text(signer or self.tcb_signing, document)
        return signed.text, signed.signature.hex()

    # Authorities.

    def _name(self, role: str, default: str) -> x509.Name:
        return distinguished_name(self._names.get(role, default), "Sealmarket TEST forge")

    def _authority(
        self,
        role: str,
        name: x509.Name,
        issuer: Authority | None,
        path_length: int | None = None,
        extensions: tuple[x509.ExtensionType, ...] = (),
    ) -> Authority:
        key = new_key()
        validity = self._periods.get(role, self.period(1000))
        certificate = certify(
            name,
            key.public_key(),
            issuer,
            issuer.key if issuer else key,
            validity,
            path_length=path_length,
            extensions=extensions,
        )
        return Authority(certificate, key)


def new_key() -> ec.EllipticCurvePrivateKey:
    """A fresh P-256 key."""
    return ec.generate_private_key(ec.SECP256R1())


def private_key(authority: Authority) -> ec.EllipticCurvePrivateKey:
    """The P-256 key of an Intel authority."""
    assert isinstance(authority.key, ec.EllipticCurvePrivateKey)
    return authority.key


def _changed(document: dict[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    merged = {**document, **changes}
    return {name: value for name, value in merged.items() if value is not None}
