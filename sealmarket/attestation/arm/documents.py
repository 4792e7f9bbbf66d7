"""What documents say about CCA platforms: which key is whose, and which firmware is right. All are unproven here."""

from __future__ import annotations

from dataclasses import dataclass, field
from hashlib import sha256

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from sealmarket.attestation.arm.token import Component, PlatformToken
from sealmarket.attestation.core.cose import Sign1
from sealmarket.attestation.core.pki import Window


@dataclass(frozen=True, slots=True)
class PlatformKey:
    """The key of one platform (IAK, CPAK), with the SHA-256 of its SubjectPublicKeyInfo."""

    implementation: bytes
    instance: bytes
    key: EllipticCurvePublicKey
    spki: bytes = field(init=False)

    def __post_init__(self) -> None:
        encoded = self.key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        object.__setattr__(self, "spki", sha256(encoded).digest())


@dataclass(frozen=True, slots=True)
class PlatformReference:
    """The firmware of one implementation. What is None is not compared; ``mask`` selects bits of the configuration."""

    implementation: bytes
    components: tuple[Component, ...]
    configuration: bytes | None = None
    mask: bytes | None = None

    def difference(self, token: PlatformToken) -> str | None:
        """The first thing in which a platform differs; None where it does not."""
        missing = list(self.components)
        for found in token.components:
            match = next((one for one in missing if _is_same(one, found)), None)
            if match is None:
                return f"{found.type or 'a component'} {found.measurement.hex()} signed by {found.signer.hex()}"
            missing.remove(match)
        if missing:
            return f"no {missing[0].type or 'component'} {missing[0].measurement.hex()}"
        if self.configuration is not None and not _is_under_mask(token.configuration, self.configuration, self.mask):
            return f"configuration {token.configuration.hex()}"
        return None


def _is_same(wanted: Component, found: Component) -> bool:
    """What the reference leaves out may be anything."""
    return all(value is None or value == other for value, other in zip(wanted, found, strict=True))


def _is_under_mask(found: bytes, wanted: bytes, mask: bytes | None) -> bool:
    bits = mask if mask is not None else b"\xff" * len(wanted)
    if not len(found) == len(wanted) == len(bits):
        return False
    return all(a & m == b & m for a, b, m in zip(found, wanted, bits, strict=True))


@dataclass(frozen=True, slots=True)
class RealmReference:
    """The measurements of one realm; empty where a document leaves them out."""

    rim: bytes
    rems: tuple[bytes, ...] = ()
    personalization: bytes | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """What one document says. ``digest`` names it; ``cose`` is its envelope where it is signed, ``windows`` when it
    holds."""

    digest: bytes
    keys: tuple[PlatformKey, ...] = ()
    platforms: tuple[PlatformReference, ...] = ()
    realms: tuple[RealmReference, ...] = ()
    cose: Sign1 | None = None
    windows: tuple[Window, ...] = ()
