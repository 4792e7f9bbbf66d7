"""Virtual GPUs beside a virtual TEE: reports, manifests and OCSP answers under development roots of their own.

A GPU measures nothing here: its values are constants, its manifests list them, and its names say VIRTUAL. It stands for
the format and for the binding, so that a composite of a CPU TEE and GPUs can be tried without either.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256, sha384
from itertools import pairwise
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from sealmarket.attestation.core.pki import spki_sha256
from sealmarket_devices.nvidia_documents import ocsp_answer, resource, sign_manifest, swid
from sealmarket_devices.nvidia_format import NvidiaFields, fwid_extension, gpu_fields, sign
from sealmarket_devices.pki import ORGANISATION, Authority, Validity, certify, load_or_create, write_private

PRODUCT, DRIVER, VBIOS = "GH100", "VIRTUAL.1", "00.00.00.00.01"
_BLOCKS, _DRIVER_INDEX, _VBIOS_INDEX = 64, 7, 8
_SPT, _MPT = 0, 1
_LIFETIME, _ANSWER_LIFETIME, _BACKDATE = timedelta(days=20 * 365), timedelta(days=1), timedelta(hours=1)


def measurement(index: int) -> bytes:
    """What every virtual GPU measures under an SPDM index."""
    return sha384(f"Sealmarket VIRTUAL GPU measurement {index}, no hardware".encode()).digest()


FWID = measurement(0)


@dataclass(frozen=True, slots=True)
class GpuReport:
    """One GPU's report with its chain in DER, leaf first, and the two hashes that a binding quote commits to."""

    raw: bytes
    chain: tuple[bytes, ...]
    signed_sha256: bytes
    identity: bytes


class VirtualGpus:
    """The GPUs of one virtual machine. Keys lie in the state folder with mode 0600 and survive a restart."""

    def __init__(self, state: Path, count: int, clock: Callable[[], datetime]) -> None:
        self._state, self._clock = state, clock
        now = clock()
        self._authorities = Validity(start=now - _BACKDATE, end=now + _LIFETIME)
        self._root = self._kept("gpu_root", "Sealmarket DEVELOPMENT NVIDIA Device Identity CA", None)
        identity = self._kept("gpu_identity", "NVIDIA GH100 Identity", self._root)
        provisioner = self._kept("gpu_provisioner", "NVIDIA GH100 Provisioner ICA 1", identity)
        self._shared = (provisioner, identity, self._root)
        self._rim_root = self._kept("rim_root", "Sealmarket DEVELOPMENT NVIDIA CoRIM signing Root CA", None)
        ca = self._kept("rim_ca", "NVIDIA Reference Value GH100 CA", self._rim_root)
        l3 = self._kept("rim_l3", "NVIDIA Reference Value L3 GH100 001", ca)
        signer = self._kept("rim_signer", "HCC RIM L4 Signer", l3, path_length=None)
        self._signers = (signer, l3, ca, self._rim_root)
        self._gpus = tuple(self._gpu(number, provisioner) for number in range(1, count + 1))

    @property
    def roots(self) -> tuple[bytes, bytes]:
        """The development roots of devices and of manifests, in DER."""
        return self._root.der, self._rim_root.der

    def reports(self, nonce: bytes) -> tuple[GpuReport, ...]:
        """Every GPU's report over a nonce of 32 bytes."""
        values = tuple(measurement(index) for index in range(1, _BLOCKS + 1))
        mode = _SPT if len(self._gpus) == 1 else _MPT
        opaque = tuple(gpu_fields(DRIVER, VBIOS, FWID, mode).items())
        found = []
        for leaf, brom in self._gpus:
            fields = NvidiaFields(nonce=nonce, measurements=values, opaque=opaque, device_nonce=os.urandom(32))
            signed = fields.pack()
            if not isinstance(leaf.key, ec.EllipticCurvePrivateKey):
                raise TypeError(f"a GPU's leaf has an EC key, found {type(leaf.key).__name__}")
            chain = tuple(one.der for one in (leaf, brom, *self._shared))
            identity = spki_sha256(brom.certificate)
            found.append(GpuReport(signed + sign(leaf.key, signed), chain, sha256(signed).digest(), identity))
        return tuple(found)

    def documents(self) -> tuple[bytes, ...]:
        """The manifests of driver and VBIOS, and a fresh answer about each certificate that has a responder."""
        tables = ((DRIVER, _DRIVER_INDEX), (VBIOS, _VBIOS_INDEX))
        manifests = [
            sign_manifest(swid(version, PRODUCT, "GPU", [resource(index, [measurement(index + 1)])]), self._signers)
            for version, index in tables
        ]
        now = self._clock()
        validity = Validity(start=now - _BACKDATE, end=now + _ANSWER_LIFETIME)
        paths = [self._signers, *((brom, *self._shared) for _, brom in self._gpus)]
        pairs = {pair[0].der: pair for path in paths for pair in pairwise(path)}
        answers = [
            ocsp_answer(subject, issuer, self._responder(issuer), validity) for subject, issuer in pairs.values()
        ]
        return (*manifests, *answers)

    def _gpu(self, number: int, provisioner: Authority) -> tuple[Authority, Authority]:
        stem = f"{PRODUCT} A01 GSP"
        brom = self._kept(f"gpu{number}_brom", f"{stem} BROM", provisioner, serial=os.urandom(9).hex().upper())
        extensions = (fwid_extension(FWID),)
        leaf = self._kept(f"gpu{number}_leaf", f"{stem} FMC LF", brom, path_length=None, extensions=extensions)
        return leaf, brom

    def _responder(self, issuer: Authority) -> Authority:
        key = ec.generate_private_key(ec.SECP384R1())
        usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.OCSP_SIGNING])
        subject = _name("NVIDIA OCSP Responder")
        certificate = certify(subject, key.public_key(), issuer, issuer.key, self._authorities, extensions=(usage,))
        return Authority(certificate, key)

    def _kept(
        self,
        name: str,
        common_name: str,
        issuer: Authority | None,
        *,
        path_length: int | None = 4,
        serial: str | None = None,
        extensions: tuple[x509.ExtensionType, ...] = (),
    ) -> Authority:
        key = load_or_create(self._state / f"{name}.key", ec.generate_private_key(ec.SECP384R1()))
        path = self._state / f"{name}.der"
        if path.exists():
            return Authority(x509.load_der_x509_certificate(path.read_bytes()), key)
        certificate = certify(
            _name(common_name, serial),
            key.public_key(),
            issuer,
            issuer.key if issuer else key,
            self._authorities,
            path_length=path_length,
            extensions=extensions,
        )
        write_private(path, certificate.public_bytes(serialization.Encoding.DER))
        return Authority(certificate, key)


def _name(common_name: str, serial: str | None = None) -> x509.Name:
    """A subject that says DEVELOPMENT, whatever role of NVIDIA's it has."""
    names = [
        x509.NameAttribute(NameOID.COMMON_NAME, common_name),
        x509.NameAttribute(NameOID.ORGANIZATION_NAME, ORGANISATION),
    ]
    if serial is not None:
        names.append(x509.NameAttribute(NameOID.SERIAL_NUMBER, serial))
    return x509.Name(names)
