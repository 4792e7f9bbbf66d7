"""Mints NVIDIA evidence, manifests and OCSP answers with any claim wrong. For refusal tests; never shipped.

Everything defaults to what a verifier accepts under :attr:`NvidiaForge.root` and :attr:`NvidiaForge.rim_root`, so that
a test names only what is wrong::

    forge = NvidiaForge(now)
    forge.gpu().report(nonce=other)                        # another nonce
    forge.manifest(values={7: (b"\\x01" * 48,)})           # other measurements
    forge.answers(status=ocsp.OCSPCertStatus.REVOKED)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509 import ocsp
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from sealmarket_devices.nvidia_documents import ocsp_answer, resource, sign_manifest
from sealmarket_devices.nvidia_documents import swid as unsigned_swid
from sealmarket_devices.nvidia_format import (
    NvidiaFields,
    fwid_extension,
    gpu_fields,
    sign,
    switch_fields,
)
from sealmarket_devices.pki import Authority, Validity, certify

NONCE = b"\x11" * 32
DRIVER, VBIOS, SWITCH_VBIOS = "550.90.07", "96.00.9F.00.01", "96.10.55.00.01"
FWID = b"\xf1" * 48
GPU_BLOCKS, SWITCH_BLOCKS = 64, 31


def measurement(index: int) -> bytes:
    """What a forged device measures under an SPDM index."""
    return bytes([index]) * 48


@dataclass(frozen=True, slots=True, kw_only=True)
class ForgedDevice:
    """One device with its chain; ``report`` signs with its leaf."""

    leaf: Authority
    brom: Authority
    provisioner: Authority
    identity: Authority
    root: Authority
    product: str
    pdi: bytes
    opaque: tuple[tuple[int, bytes], ...]
    blocks: int

    def fields(self, **changes: Any) -> NvidiaFields:
        """A report before it is signed."""
        values = [measurement(index) for index in range(1, self.blocks + 1)]
        return NvidiaFields(**{"nonce": NONCE, "measurements": values, "opaque": self.opaque, **changes})

    def report(self, key: ec.EllipticCurvePrivateKey | None = None, **changes: Any) -> bytes:
        """A signed report; ``changes`` replace its fields."""
        signed = self.fields(**changes).pack()
        signer = key or self.leaf.key
        assert isinstance(signer, ec.EllipticCurvePrivateKey)
        return signed + sign(signer, signed)

    def chain(self) -> list[bytes]:
        """The five certificates in DER, leaf first."""
        return [one.der for one in (self.leaf, self.brom, self.provisioner, self.identity, self.root)]

    def pairs(self) -> list[tuple[Authority, Authority]]:
        """Each certificate that a responder answers about, with its issuer."""
        chain = (self.brom, self.provisioner, self.identity, self.root)
        return list(pairwise(chain))


class NvidiaForge:
    """Both hierarchies at a moment; ``now`` is the middle of everything's validity."""

    def __init__(self, now: datetime) -> None:
        self.now = now
        self.root = self.authority("NVIDIA Device Identity CA")
        self.identity = self.authority("NVIDIA GH100 Identity", self.root)
        self.rim_root = self.authority("NVIDIA CoRIM signing Root CA")
        self.rim_ca = self.authority("NVIDIA Reference Value GH100 CA", self.rim_root)
        self.rim_l3 = self.authority("NVIDIA Reference Value L3 GH100 002", self.rim_ca)
        self.signer = self.new_signer()
        self._provisioners: dict[str, Authority] = {}

    def period(self, days: float = 15) -> Validity:
        """A period around now."""
        return Validity(start=self.now - timedelta(days=days), end=self.now + timedelta(days=days))

    def authority(self, name: str, issuer: Authority | None = None, **changes: Any) -> Authority:
        """A certificate under an issuer, or a root: an authority unless ``path_length`` is None."""
        key = changes.pop("key", None) or ec.generate_private_key(changes.pop("curve", ec.SECP384R1()))
        serial = changes.pop("serial_number", None)
        names = [x509.NameAttribute(NameOID.COMMON_NAME, name)]
        if serial is not None:
            names.append(x509.NameAttribute(NameOID.SERIAL_NUMBER, serial))
        settings = {"path_length": 4, **changes}
        validity = settings.pop("validity", self.period())
        certificate = certify(
            x509.Name(names), key.public_key(), issuer, issuer.key if issuer else key, validity, **settings
        )
        return Authority(certificate, key)

    def new_signer(self, issuer: Authority | None = None, **changes: Any) -> Authority:
        """A signer of manifests."""
        return self.authority("HCC RIM L4 Signer", issuer or self.rim_l3, **{"path_length": None, **changes})

    def provisioner(self, product: str) -> Authority:
        """The authority that certifies devices of a product."""
        if product not in self._provisioners:
            self._provisioners[product] = self.authority(f"NVIDIA {product} Provisioner ICA 1", self.identity)
        return self._provisioners[product]

    def device(
        self, product: str, pdi: bytes, opaque: Mapping[int, bytes], blocks: int, **changes: Any
    ) -> ForgedDevice:
        """A device; changes: ``leaf``, ``brom``, ``provisioner`` replace settings of these certificates."""
        core = "FSP" if product.startswith("LS") else "GSP"
        stem = f"{product} A01 {core}"
        provisioner = self.provisioner(product)
        settings: dict[str, Any]
        if "provisioner" in changes:
            settings = {"name": f"NVIDIA {product} Provisioner ICA 1", "issuer": self.identity}
            provisioner = self.authority(**{**settings, **changes["provisioner"]})
        serial = (b"\x41" + pdi).hex().upper()
        settings = {"name": f"{stem} BROM", "issuer": provisioner, "serial_number": serial}
        brom = self.authority(**{**settings, **changes.get("brom", {})})
        settings = {"name": f"{stem} FMC LF", "issuer": brom, "path_length": None}
        leaf = self.authority(**{**settings, "extensions": (fwid_extension(FWID),), **changes.get("leaf", {})})
        return ForgedDevice(
            leaf=leaf,
            brom=brom,
            provisioner=provisioner,
            identity=self.identity,
            root=self.root,
            product=product,
            pdi=pdi,
            opaque=tuple(opaque.items()),
            blocks=blocks,
        )

    def gpu(
        self,
        number: int = 1,
        *,
        product: str = "GH100",
        mode: int = 0,
        fwid: bytes | None = FWID,
        more: Mapping[int, bytes] | None = None,
        **changes: Any,
    ) -> ForgedDevice:
        """A GPU by number; ``more`` adds or replaces opaque fields."""
        chip = product if product.startswith("GB") else ""
        opaque = {**gpu_fields(DRIVER, VBIOS, fwid, mode, chip), **(more or {})}
        return self.device(product, number.to_bytes(8), opaque, GPU_BLOCKS, **changes)

    def switch(self, number: int = 1, **changes: Any) -> ForgedDevice:
        """A switch by number."""
        pdi = (0xA0 << 56 | number).to_bytes(8)
        return self.device("LS_10", pdi, switch_fields(SWITCH_VBIOS, pdi), SWITCH_BLOCKS, **changes)

    def manifest(
        self,
        version: str = DRIVER,
        values: Mapping[int, tuple[bytes, ...]] | None = None,
        *,
        signer: Sequence[Authority] | None = None,
        **changes: Any,
    ) -> bytes:
        """A signed manifest; ``values`` by the manifest's own index, which counts from 0."""
        chain = list(signer or (self.signer, self.rim_l3, self.rim_ca, self.rim_root))
        return sign_manifest(swid(version, values, **changes), chain)

    def manifests(self) -> list[bytes]:
        """Those of the default driver and VBIOS, with one measurement of two alternatives."""
        driver = {7: (measurement(8),), 12: (b"\xee" * 48, measurement(13))}
        return [self.manifest(DRIVER, driver), self.manifest(VBIOS, {0: (measurement(1),), 2: (measurement(3),)})]

    def switch_manifest(self) -> bytes:
        """The one of the default switch."""
        return self.manifest(SWITCH_VBIOS, {4: (measurement(5),)}, product="LS10", edition="SWITCH")

    def rim_pairs(self) -> list[tuple[Authority, Authority]]:
        """Each signer of manifests with its issuer."""
        return [(self.signer, self.rim_l3), (self.rim_l3, self.rim_ca), (self.rim_ca, self.rim_root)]

    def answers(self, *devices: ForgedDevice, **changes: Any) -> list[bytes]:
        """Good answers about devices and the signers of manifests."""
        pairs = [*(pair for device in devices for pair in device.pairs()), *self.rim_pairs()]
        return [self.answer(one, issuer, **changes) for one, issuer in pairs]

    def answer(
        self,
        subject: Authority,
        issuer: Authority,
        *,
        status: ocsp.OCSPCertStatus = ocsp.OCSPCertStatus.GOOD,
        reason: x509.ReasonFlags | None = None,
        validity: Validity | None = None,
        responder: Authority | None = None,
        algorithm: Any = None,
    ) -> bytes:
        """An answer by a responder of the issuer's."""
        period = validity or self.period(0.5)
        by = responder or self.responder(issuer)
        return ocsp_answer(subject, issuer, by, period, status=status, reason=reason, algorithm=algorithm)

    def responder(self, issuer: Authority, *, purpose: bool = True, **changes: Any) -> Authority:
        """A responder of an issuer; without the purpose it is any leaf."""
        usage = (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.OCSP_SIGNING]),) if purpose else ()
        return self.authority("NVIDIA OCSP Responder", issuer, **{"path_length": None, "extensions": usage, **changes})


def swid(
    version: str,
    values: Mapping[int, tuple[bytes, ...]] | None = None,
    *,
    product: str = "GH100",
    edition: str = "GPU",
    inactive: Mapping[int, tuple[bytes, ...]] | None = None,
    attributes: Mapping[str, str | None] | None = None,
    plain: Mapping[int, tuple[bytes, ...]] | None = None,
) -> Any:
    """An unsigned SWID tag; ``attributes`` replaces or removes attributes of every resource but ``plain``."""
    active = values if values is not None else {7: (measurement(8),)}
    rows = [
        *(resource(index, alternatives) for index, alternatives in active.items()),
        *(resource(index, alternatives, active=False) for index, alternatives in (inactive or {}).items()),
    ]
    changed = [{**row, **(attributes or {})} for row in rows]
    kept = [{name: value for name, value in row.items() if value is not None} for row in changed]
    more = [resource(index, alternatives) for index, alternatives in (plain or {}).items()]
    return unsigned_swid(version, product, edition, [*kept, *more])
