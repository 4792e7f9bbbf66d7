"""Mints AMD evidence and certificates with any claim wrong. For refusal tests; never shipped.

Everything defaults to what a verifier accepts under :attr:`AmdForge.ark`, so that a test names only what is
wrong::

    forge = AmdForge(now, "Genoa")
    forge.evidence(policy=0xB0000)                        # debug
    forge.evidence(platform_info=0)                       # no alias check
    forge.endorsements(leaf=forge.new_vcek(hwid=bytes(64)))
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding

from sealmarket.attestation.amd.report import P384_ORDER
from sealmarket_devices.amd_format import VLEK, AmdReport, TcbLevels, leaf_extensions, sign_report
from sealmarket_devices.pki import Authority, PublicKey, Validity, certify, distinguished_name, revocation_list

TURIN = TcbLevels(fmc=1, bootloader=1, tee=1, snp=4, microcode=81)
LEVELS = {"Milan": TcbLevels(bootloader=4, snp=24, microcode=219), "Genoa": TcbLevels(), "Turin": TURIN}
CPUID = {"Milan": b"\x19\x01\x01", "Genoa": b"\x19\x11\x01", "Bergamo": b"\x19\xa0\x02", "Turin": b"\x1a\x02\x01"}
CSP = "CN=cc-test.example"


@cache
def rsa_key(role: str) -> rsa.RSAPrivateKey:
    """A 4096-bit key by name, made once in a session since it takes a second.

    Runs that start many sessions keep the keys in a folder of their own, named by ``SEALMARKET_TEST_KEYS``.
    """
    folder = os.environ.get("SEALMARKET_TEST_KEYS")
    if folder is None:
        return rsa.generate_private_key(65537, 4096)
    path = Path(folder) / f"{role}.key"
    if path.exists():
        key = serialization.load_pem_private_key(path.read_bytes(), password=None)
        assert isinstance(key, rsa.RSAPrivateKey)
        return key
    made = rsa.generate_private_key(65537, 4096)
    pem_form = (Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path.write_bytes(made.private_bytes(*pem_form))
    return made


class AmdForge:
    """A whole AMD world at a moment: root, both intermediates, a chip's VCEK, a provider's VLEK.

    Args:
        now: the middle of everything's validity.
        product: ``Milan``, ``Genoa`` or ``Turin``.
        validity: periods to replace: ``ark``, ``ask``, ``asvk``, ``vcek``, ``vlek``.
        keys: RSA keys to replace, by the same names: for a root that is not the trusted one.
    """

    def __init__(
        self,
        now: datetime,
        product: str = "Genoa",
        *,
        validity: Mapping[str, Validity] | None = None,
        keys: Mapping[str, rsa.RSAPrivateKey] | None = None,
    ) -> None:
        self.now = now
        self.product = product
        self.tcb = LEVELS[product]
        self.hwid = bytes(range(1, 9)) if product == "Turin" else bytes(range(1, 65))
        self._periods = dict(validity or {})
        self._keys = dict(keys or {})
        self.ark = self.authority("ark", f"ARK-{product}", None, path_length=1)
        self.ask = self.authority("ask", f"SEV-{product}", self.ark)
        self.asvk = self.authority("asvk", f"SEV-VLEK-{product}", self.ark)
        self.vcek_key = ec.generate_private_key(ec.SECP384R1())
        self.vlek_key = ec.generate_private_key(ec.SECP384R1())
        self.vcek = self.new_vcek()
        self.vlek = self.new_vlek()

    def period(self, days: int = 15) -> Validity:
        """A period around now."""
        return Validity(start=self.now - timedelta(days=days), end=self.now + timedelta(days=days))

    def authority(
        self,
        role: str,
        name: str,
        issuer: Authority | None,
        *,
        path_length: int | None = 0,
        serial: int | None = None,
        pss: bool = True,
    ) -> Authority:
        """An RSA authority; not one that may sign certificates when ``path_length`` is None."""
        key = self._keys.get(role) or rsa_key(role)
        certificate = self._certify(
            role, name, key.public_key(), issuer, key, path_length=path_length, serial=serial, pss=pss
        )
        return Authority(certificate, key)

    def new_vcek(self, **changes: Any) -> Authority:
        """Another VCEK of this chip; ``tcb``, ``hwid``, ``product_name``, ``issuer``, ``key``, ``name``, ``csp``."""
        return self._leaf("vcek", {"hwid": self.hwid, "issuer": self.ask, "key": self.vcek_key, **changes})

    def new_vlek(self, **changes: Any) -> Authority:
        """Another VLEK; the same changes."""
        return self._leaf("vlek", {"csp": CSP, "issuer": self.asvk, "key": self.vlek_key, **changes})

    def report(self, **fields: Any) -> AmdReport:
        """A report of this chip that meets every default rule."""
        levels = self.tcb.pack()
        defaults = {
            "version": 5 if self.product == "Turin" else 3,
            "cpuid": CPUID[self.product],
            "chip_id": self.hwid.ljust(64, b"\0"),
            "measurement": b"\x5a" * 48,
            **dict.fromkeys(("current_tcb", "reported_tcb", "committed_tcb", "launch_tcb"), levels),
        }
        return AmdReport(**{**defaults, **fields})

    def evidence(self, key: ec.EllipticCurvePrivateKey | None = None, **fields: Any) -> bytes:
        """A signed report, 1184 bytes; ``fields`` replace those of the report."""
        signed = self.report(**fields).pack()
        return signed + sign_report(key or self.vcek_key, signed)

    def vlek_evidence(self, **fields: Any) -> bytes:
        """A report that a VLEK signed, without chip id."""
        return self.evidence(self.vlek_key, **{"flags": VLEK << 2, "chip_id": bytes(64), **fields})

    def crl(self, *revoked: int, validity: Validity | None = None, issuer: Authority | None = None) -> bytes:
        """The root's revocation list."""
        return revocation_list(issuer or self.ark, validity or self.period(), revoked, pss=True)

    def endorsements(self, leaf: Authority | None = None, *more: Authority) -> list[bytes]:
        """A leaf (the VCEK), both intermediates, the root, and further certificates, in DER."""
        return [one.der for one in (leaf or self.vcek, *more, self.ask, self.asvk, self.ark)]

    def _leaf(self, role: str, settings: Mapping[str, Any]) -> Authority:
        key: ec.EllipticCurvePrivateKey = settings["key"]
        extensions = leaf_extensions(
            settings.get("product_name", self.product),
            settings.get("tcb", self.tcb),
            hwid=settings.get("hwid"),
            csp=settings.get("csp"),
        )
        issuer: Authority = settings["issuer"]
        certificate = self._certify(
            role,
            settings.get("name", f"SEV-{role.upper()}"),
            key.public_key(),
            issuer,
            key,
            extensions=extensions,
            pss=isinstance(issuer.key, rsa.RSAPrivateKey),
        )
        return Authority(certificate, key)

    def _certify(
        self, role: str, name: str, key: PublicKey, issuer: Authority | None, own: Any, **settings: Any
    ) -> x509.Certificate:
        validity = self._periods.get(role, self.period(1000))
        subject = distinguished_name(f"Forged TEST {name}", "Sealmarket TEST forge")
        return certify(subject, key, issuer, issuer.key if issuer else own, validity, **settings)


def with_tcb(levels: TcbLevels, **changes: int) -> TcbLevels:
    """Levels with some replaced."""
    return dataclasses.replace(levels, **changes)


def n_minus_s(report: bytes) -> bytes:
    """The same report with the other form of its signature."""
    s = int.from_bytes(report[0x2A0 + 72 : 0x2A0 + 144], "little")
    return report[: 0x2A0 + 72] + (P384_ORDER - s).to_bytes(72, "little") + report[0x2A0 + 144 :]


def big_endian(report: bytes) -> bytes:
    """The same report with R and S in the byte order that Intel uses."""
    r, s = report[0x2A0 : 0x2A0 + 72], report[0x2A0 + 72 : 0x2A0 + 144]
    return report[:0x2A0] + r[47::-1].ljust(72, b"\0") + s[47::-1].ljust(72, b"\0") + report[0x2A0 + 144 :]


def pem(*authorities: Authority) -> bytes:
    """A PEM chain."""
    return b"".join(a.certificate.public_bytes(Encoding.PEM) for a in authorities)
