"""The virtual AWS Nitro device: ``python -m sealmarket_devices.nitro --state DIR --socket PATH``.

PCR0 is the image, PCR1 the interpreter, PCR2 the command; nothing changes at run time. Evidence is an attestation
document whose certificates lead to a development root, see ``docs/spec/virtual-device.md``.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import cbor2
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from sealmarket_devices import main
from sealmarket_devices.arm_format import sign1
from sealmarket_devices.device import DeviceError
from sealmarket_devices.measure import LaunchMeasurement
from sealmarket_devices.pki import Authority, Validity, certify, distinguished_name, load_or_create, write_private

_PCRS, _PCR_SIZE = 16, 48
_INSTANCE_PCR = 4
_ROOT_LIFETIME = timedelta(days=20 * 365)
_INSTANCE_LIFETIME = timedelta(days=1)
_LEAF_LIFETIME = timedelta(hours=3)
_BACKDATE = timedelta(seconds=3)


class NitroSilicon:
    """A virtual parent instance with its own development root. Keys lie in the state folder with mode 0600."""

    def __init__(self, state: Path, clock: Callable[[], datetime]) -> None:
        state.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.clock = clock
        self.root = _kept_root(state, clock())
        self.instance = f"i-{hashlib.sha256(self.root.der).hexdigest()[:17]}"
        self._chain: tuple[datetime, Authority] | None = None

    def issuer(self) -> Authority:
        """The instance's certificate, which lives a day and is renewed after half of it."""
        now = self.clock()
        if self._chain is None or self._chain[0] - now < _INSTANCE_LIFETIME / 2:
            end = now + _INSTANCE_LIFETIME
            self._chain = end, _certified(f"{self.instance} instance", self.root, now, end, path_length=0)
        return self._chain[1]


class VirtualEnclave:
    """One enclave: what was measured at its launch."""

    def __init__(self, silicon: NitroSilicon, measured: LaunchMeasurement, *, debug: bool) -> None:
        self._silicon = silicon
        self._module_id = f"{silicon.instance}-enc{os.urandom(8).hex()}"
        self._pcrs = {index: bytes(_PCR_SIZE) for index in range(_PCRS)}
        self._pcrs[_INSTANCE_PCR] = hashlib.sha384(bytes(_PCR_SIZE) + silicon.instance.encode()).digest()
        if not debug:
            self._pcrs |= {0: measured.image, 1: measured.runtime, 2: measured.command}

    def quote(self, report_data: bytes) -> bytes:
        """An attestation document with the report data as user data."""
        now = self._silicon.clock()
        issuer = self._silicon.issuer()
        leaf = _certified(f"{self._module_id} enclave", issuer, now, now + _LEAF_LIFETIME)
        payload = {
            "module_id": self._module_id,
            "digest": "SHA384",
            "timestamp": int(now.timestamp() * 1000),
            "pcrs": self._pcrs,
            "certificate": leaf.der,
            "cabundle": [self._silicon.root.der, issuer.der],
            "public_key": None,
            "user_data": report_data,
            "nonce": None,
        }
        return sign1(_p384_of(leaf), cbor2.dumps(payload))

    def extend(self, index: int, digest: bytes) -> bytes:
        """The registers of an enclave are locked."""
        raise DeviceError(f"Nitro registers are locked at launch, asked for {index} with {len(digest)} bytes")


class VirtualNitro:
    """The simulated Nitro platform."""

    name = "nitro"

    def __init__(self, state: Path, clock: Callable[[], datetime]) -> None:
        self._silicon = NitroSilicon(state, clock)

    @property
    def root(self) -> bytes:
        """The development root, DER."""
        return self._silicon.root.der

    def endorsements(self) -> str:
        """Nothing: a document carries its certificates."""
        return ""

    def guest(self, measured: LaunchMeasurement, *, debug: bool) -> VirtualEnclave:
        """A new enclave."""
        return VirtualEnclave(self._silicon, measured, debug=debug)


def _p384_of(authority: Authority) -> ec.EllipticCurvePrivateKey:
    if not isinstance(authority.key, ec.EllipticCurvePrivateKey):
        raise TypeError(f"Nitro keys are P-384 keys, found {type(authority.key).__name__}")
    return authority.key


def _certified(
    role: str, issuer: Authority, now: datetime, end: datetime, *, path_length: int | None = None
) -> Authority:
    key = ec.generate_private_key(ec.SECP384R1())
    subject = distinguished_name(f"DEVELOPMENT {role}")
    validity = Validity(start=now - _BACKDATE, end=end)
    certificate = certify(subject, key.public_key(), issuer, issuer.key, validity, path_length=path_length)
    return Authority(certificate, key)


def _kept_root(state: Path, now: datetime) -> Authority:
    path, key_path = state / "root.der", state / "root.key"
    key = load_or_create(key_path, None if key_path.exists() else ec.generate_private_key(ec.SECP384R1()))
    if path.exists():
        return Authority(x509.load_der_x509_certificate(path.read_bytes()), key)
    subject = distinguished_name("Sealmarket DEVELOPMENT virtual Nitro root")
    validity = Validity(start=now - timedelta(hours=1), end=now + _ROOT_LIFETIME)
    certificate = certify(subject, key.public_key(), None, key, validity, path_length=1)
    write_private(path, certificate.public_bytes(Encoding.DER))
    return Authority(certificate, key)


if __name__ == "__main__":
    main.main(VirtualNitro, "Nitro")
