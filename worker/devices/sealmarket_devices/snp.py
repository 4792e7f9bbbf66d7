"""The virtual SEV-SNP device: ``python -m sealmarket_devices.snp --state DIR --socket PATH``.

The launch digest covers image, interpreter and command; there are no runtime registers. Evidence is a report
of version 3 of a virtual Genoa under a development root, see ``docs/spec/virtual-device.md``.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding

from sealmarket_devices import main
from sealmarket_devices.amd_format import AmdReport, TcbLevels, leaf_extensions, sign_report
from sealmarket_devices.device import DeviceError
from sealmarket_devices.measure import LaunchMeasurement
from sealmarket_devices.measurements import SNP_POLICY, SNP_POLICY_DEBUG, launch_digest
from sealmarket_devices.pki import (
    Authority,
    PrivateKey,
    Validity,
    certify,
    distinguished_name,
    load_or_create,
    revocation_list,
    write_private,
)

_PRODUCT = "Genoa"
_CPUID = b"\x19\x11\x01"
_PLATFORM_INFO = 1 << 2 | 1 << 4 | 1 << 5
"""ECC, ciphertext hiding, alias check complete: a development machine loses nothing by saying what owners demand."""
_AUTHORITY_LIFETIME = timedelta(days=20 * 365)
_VCEK_LIFETIME = timedelta(days=7 * 365)
_LIST_LIFETIME = timedelta(days=30)
_REISSUE_BEFORE = timedelta(days=10)
_BACKDATE = timedelta(hours=1)


class AmdSilicon:
    """A virtual chip with its own development root. Keys lie in the state folder with mode 0600."""

    def __init__(self, state: Path, clock: Callable[[], datetime]) -> None:
        state.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._clock = clock
        now = clock()
        authorities = Validity(start=now - _BACKDATE, end=now + _AUTHORITY_LIFETIME)
        self.ark = _kept(state, "ark", f"ARK-{_PRODUCT}", None, authorities, path_length=1)
        self.ask = _kept(state, "ask", f"SEV-{_PRODUCT}", self.ark, authorities, path_length=0)
        self.tcb = TcbLevels()
        leaf = Validity(start=now - _BACKDATE, end=now + _VCEK_LIFETIME)
        extensions = leaf_extensions(_PRODUCT, self.tcb, hwid=os.urandom(64))
        self.vcek = _kept(state, "vcek", "SEV-VCEK", self.ask, leaf, extensions=extensions)
        hwid = x509.ObjectIdentifier("1.3.6.1.4.1.3704.1.4")
        self.chip_id: bytes = self.vcek.certificate.extensions.get_extension_for_oid(hwid).value.public_bytes()
        self._list: tuple[datetime, str] | None = None

    def endorsements(self) -> str:
        """VCEK, ASK, ARK and the ARK's revocation list as PEM; the list is renewed ten days before it ends."""
        now = self._clock()
        if self._list is None or self._list[0] - now < _REISSUE_BEFORE:
            validity = Validity(start=now - _BACKDATE, end=now + _LIST_LIFETIME)
            crl = x509.load_der_x509_crl(revocation_list(self.ark, validity, pss=True))
            self._list = validity.end, crl.public_bytes(Encoding.PEM).decode()
        return self.vcek.pem + self.ask.pem + self.ark.pem + self._list[1]

    def sign(self, report: AmdReport) -> bytes:
        """A whole report, 1184 bytes."""
        if not isinstance(self.vcek.key, ec.EllipticCurvePrivateKey):
            raise TypeError(f"a VCEK is a P-384 key, found {type(self.vcek.key).__name__}")
        signed = report.pack()
        return signed + sign_report(self.vcek.key, signed)


class VirtualGuest:
    """One guest: what was measured at its launch."""

    def __init__(self, silicon: AmdSilicon, measured: LaunchMeasurement, *, debug: bool) -> None:
        self._silicon = silicon
        self._digest = launch_digest(measured)
        self._policy = SNP_POLICY | (SNP_POLICY_DEBUG if debug else 0)
        self._report_id = os.urandom(32)

    def quote(self, report_data: bytes) -> bytes:
        """An attestation report."""
        tcb = self._silicon.tcb.pack()
        return self._silicon.sign(
            AmdReport(
                policy=self._policy,
                platform_info=_PLATFORM_INFO,
                report_data=report_data,
                measurement=self._digest,
                report_id=self._report_id,
                cpuid=_CPUID,
                chip_id=self._silicon.chip_id,
                current_tcb=tcb,
                reported_tcb=tcb,
                committed_tcb=tcb,
                launch_tcb=tcb,
            )
        )

    def extend(self, index: int, digest: bytes) -> bytes:
        """SEV-SNP has no runtime registers."""
        raise DeviceError(f"SEV-SNP has no runtime register, asked for {index} with {len(digest)} bytes")


class VirtualSnp:
    """The simulated SEV-SNP platform."""

    name = "snp"

    def __init__(self, state: Path, clock: Callable[[], datetime]) -> None:
        self._silicon = AmdSilicon(state, clock)

    @property
    def root(self) -> bytes:
        """The development ARK, DER."""
        return self._silicon.ark.der

    def endorsements(self) -> str:
        """Certificates and revocation list as PEM."""
        return self._silicon.endorsements()

    def guest(self, measured: LaunchMeasurement, *, debug: bool) -> VirtualGuest:
        """A new guest."""
        return VirtualGuest(self._silicon, measured, debug=debug)


def serve(state: Path, socket_path: Path, *, debug: bool = False) -> None:
    """Run the device until SIGTERM."""
    main.serve(VirtualSnp, state, socket_path, debug=debug)


def _kept(
    state: Path,
    name: str,
    role: str,
    issuer: Authority | None,
    validity: Validity,
    *,
    path_length: int | None = None,
    extensions: tuple[x509.ExtensionType, ...] = (),
) -> Authority:
    path, key_path = state / f"{name}.der", state / f"{name}.key"
    key = load_or_create(key_path, None if key_path.exists() else _new_key(path_length))
    if path.exists():
        return Authority(x509.load_der_x509_certificate(path.read_bytes()), key)
    certificate = certify(
        distinguished_name(f"Sealmarket DEVELOPMENT virtual {role}"),
        key.public_key(),
        issuer,
        issuer.key if issuer else key,
        validity,
        path_length=path_length,
        extensions=extensions,
        pss=True,
    )
    write_private(path, certificate.public_bytes(Encoding.DER))
    return Authority(certificate, key)


def _new_key(path_length: int | None) -> PrivateKey:
    if path_length is None:
        return ec.generate_private_key(ec.SECP384R1())
    return rsa.generate_private_key(65537, 4096)


if __name__ == "__main__":
    main.main(VirtualSnp, "SEV-SNP")
