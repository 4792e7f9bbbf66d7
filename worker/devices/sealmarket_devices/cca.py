"""The virtual Arm CCA device: ``python -m sealmarket_devices.cca --state DIR --socket PATH``.

The initial measurement covers image, interpreter and command; the four extensible measurements start at zero, of which
2 and 3 belong to the enclave. Evidence is a collection of tokens of a virtual platform, whose key and reference values
a CoRIM under a development root names, see ``docs/spec/virtual-device.md``.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from sealmarket_devices import main
from sealmarket_devices.arm_format import (
    PlatformClaims,
    RealmClaims,
    collection,
    cose_key,
    platform_token,
    realm_token,
    signed_corim,
)
from sealmarket_devices.device import DeviceError
from sealmarket_devices.measure import LaunchMeasurement
from sealmarket_devices.measurements import (
    CCA_PERSONALIZATION,
    CCA_ZERO_REGISTER,
    extend_realm_register,
    realm_initial_measurement,
)
from sealmarket_devices.pki import Authority, Validity, certify, distinguished_name, load_or_create, write_private

_IMPLEMENTATION = hashlib.sha256(b"Sealmarket VIRTUAL CCA platform, no hardware").digest()
_SIGNER = hashlib.sha256(b"Sealmarket VIRTUAL firmware signer, no hardware").digest()
_COMPONENTS = tuple(
    (name, hashlib.sha256(f"Sealmarket VIRTUAL {name}, no hardware".encode()).digest()) for name in ("BL2", "RMM")
)
_CONFIGURATION = b"SMVIRT"
_SECURED, _DEBUG = 0x3000, 0x5000
_EXTENDABLE = (2, 3)
_ROOT_LIFETIME = timedelta(days=20 * 365)
_DOCUMENT_LIFETIME = timedelta(days=30)
_REISSUE_BEFORE = timedelta(days=10)
_BACKDATE = timedelta(hours=1)


class ArmSilicon:
    """A virtual platform with its own development root. Keys lie in the state folder with mode 0600."""

    def __init__(self, state: Path, clock: Callable[[], datetime]) -> None:
        state.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._clock = clock
        self.root = _kept_root(state, clock())
        self.key = _p384(state / "cpak.key")
        spki = self.key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        self._instance = b"\x01" + hashlib.sha256(spki).digest()
        self._document: tuple[datetime, bytes] | None = None

    def claims(self, lifecycle: int = _SECURED) -> PlatformClaims:
        """What the platform says of itself."""
        return PlatformClaims(
            implementation=_IMPLEMENTATION,
            instance=self._instance,
            configuration=_CONFIGURATION,
            lifecycle=lifecycle,
            components=_COMPONENTS,
            signer=_SIGNER,
        )

    def endorsements(self) -> str:
        """The root's certificate and a CoRIM under it; the CoRIM is renewed ten days before it ends."""
        now = self._clock()
        if self._document is None or self._document[0] - now < _REISSUE_BEFORE:
            validity = now - _BACKDATE, now + _DOCUMENT_LIFETIME
            signer = self.root.key
            if not isinstance(signer, ec.EllipticCurvePrivateKey):
                raise TypeError(f"a CoRIM is signed with a P-384 key, found {type(signer).__name__}")
            document = signed_corim(signer, self.claims(), self.key.public_key(), validity)
            self._document = validity[1], document
        documents = [self.root.der.hex(), self._document[1].hex()]
        return json.dumps({"documents": documents}, separators=(",", ":"))


class VirtualRealm:
    """One realm: what was measured at its launch, its registers, and its key."""

    def __init__(self, silicon: ArmSilicon, measured: LaunchMeasurement, *, debug: bool) -> None:
        self._rim = realm_initial_measurement(measured)
        self._rems = [CCA_ZERO_REGISTER] * 4
        self._key = ec.generate_private_key(ec.SECP384R1())
        self._rak = cose_key(self._key.public_key())
        self._platform = platform_token(silicon.key, silicon.claims(_DEBUG if debug else _SECURED), self._rak)

    def quote(self, report_data: bytes) -> bytes:
        """A collection of the platform's and the realm's token."""
        claims = RealmClaims(
            challenge=report_data, rim=self._rim, rems=tuple(self._rems), personalization=CCA_PERSONALIZATION
        )
        return collection(self._platform, realm_token(self._key, claims, self._rak))

    def extend(self, index: int, digest: bytes) -> bytes:
        """REM[index] = SHA-512(REM[index] || digest), for the registers that belong to the enclave."""
        if index not in _EXTENDABLE:
            raise DeviceError(f"an enclave extends REM 2 or 3, found {index}")
        self._rems[index] = extend_realm_register(self._rems[index], digest)
        return self._rems[index]


class VirtualCca:
    """The simulated CCA platform."""

    name = "cca"

    def __init__(self, state: Path, clock: Callable[[], datetime]) -> None:
        self._silicon = ArmSilicon(state, clock)

    @property
    def root(self) -> bytes:
        """The development root, DER."""
        return self._silicon.root.der

    def endorsements(self) -> str:
        """Root and CoRIM as an evidence package holds them."""
        return self._silicon.endorsements()

    def guest(self, measured: LaunchMeasurement, *, debug: bool) -> VirtualRealm:
        """A new realm."""
        return VirtualRealm(self._silicon, measured, debug=debug)


def _p384(path: Path) -> ec.EllipticCurvePrivateKey:
    key = load_or_create(path, None if path.exists() else ec.generate_private_key(ec.SECP384R1()))
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise TypeError(f"{path.name} holds a P-384 key, found {type(key).__name__}")
    return key


def _kept_root(state: Path, now: datetime) -> Authority:
    path, key = state / "root.der", _p384(state / "root.key")
    if path.exists():
        return Authority(x509.load_der_x509_certificate(path.read_bytes()), key)
    subject = distinguished_name("Sealmarket DEVELOPMENT virtual CCA root")
    validity = Validity(start=now - _BACKDATE, end=now + _ROOT_LIFETIME)
    certificate = certify(subject, key.public_key(), None, key, validity, path_length=0)
    write_private(path, certificate.public_bytes(Encoding.DER))
    return Authority(certificate, key)


if __name__ == "__main__":
    main.main(VirtualCca, "CCA")
