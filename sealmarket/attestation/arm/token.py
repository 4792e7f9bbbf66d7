"""A CCA attestation token: its bytes and nothing else (RMM 1.0, A7.2; draft-ffm-rats-cca-token; RATS msg-wrap).

Two COSE_Sign1 in one collection: the platform's and the realm's. Collections are tagged 399 (tokens as bytes) or 907
(each token in a record of its content format). The collection and the envelopes have one spelling; claims that are
unknown are signed, decide nothing, and are shown.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import cbor2
from cryptography.hazmat.primitives.asymmetric.ec import SECP384R1, EllipticCurvePublicKey

from sealmarket.attestation.arm.measurement import CcaMeasurement, RealmHash
from sealmarket.attestation.core.cbor import read_cbor
from sealmarket.attestation.core.cose import ALGORITHM, ES384, TAG_SIGN1, Sign1, point_on, read_sign1
from sealmarket.attestation.core.errors import refuse
from sealmarket.attestation.core.reasons import Reason
from sealmarket_enclave.protocol.codec import Bytes64, HexBytes

MAXIMUM_BYTES = 64 << 10
TAG_COLLECTION, TAG_CMW = 399, 907
_PLATFORM, _REALM = 44234, 44241
_EAT_CWT = 263
"""CoAP content format of ``application/eat+cwt``."""
_CONTENT_TYPE = 3
PLATFORM_PROFILES = ("http://arm.com/CCA-SSD/1.0.0", "tag:arm.com,2023:cca_platform#1.0.0")
REALM_PROFILE = "tag:arm.com,2023:realm#1.0.0"
_PROFILE, _NONCE, _INSTANCE = 265, 10, 256
_LIFECYCLE, _IMPLEMENTATION, _COMPONENTS, _SERVICE, _CONFIGURATION, _HASH = 2395, 2396, 2399, 2400, 2401, 2402
_PLATFORM_CLAIMS = frozenset((265, 10, 256, 2395, 2396, 2399, 2400, 2401, 2402))
_PERSONALIZATION, _REALM_HASH, _RAK, _RIM, _REMS, _RAK_HASH = 44235, 44236, 44237, 44238, 44239, 44240
_REALM_CLAIMS = frozenset((265, 10, 44235, 44236, 44237, 44238, 44239, 44240))
_TYPE, _VALUE, _VERSION, _SIGNER, _COMPONENT_HASH = 1, 2, 4, 5, 6
_MAXIMUM_COMPONENTS, _MAXIMUM_TEXT = 64, 256
HASH_SIZES = (32, 48, 64)
SECURED = range(0x3000, 0x3100)
_DEBUG = (range(0x4000, 0x4100), range(0x5000, 0x5100))
"""Lifecycles of debug: of what is not CCA, and recoverable."""


class Component(NamedTuple):
    """One piece of the platform's firmware. Texts are None where the token leaves them out."""

    type: str | None
    measurement: bytes
    signer: bytes
    version: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PlatformToken:
    """The platform's claims. ``rak_hash`` is the claim that commits to the realm's key."""

    profile: str
    rak_hash: bytes
    implementation: bytes
    instance: bytes
    configuration: bytes
    lifecycle: int
    components: tuple[Component, ...]
    unknown: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class RealmToken:
    """The realm's claims. ``rak`` are the key's bytes as the platform hashed them."""

    challenge: bytes
    measurement: CcaMeasurement
    rak: bytes
    rak_hash_algorithm: RealmHash
    profile: str | None
    unknown: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class CcaToken:
    """Both tokens, with the envelopes that their signatures are over."""

    platform: PlatformToken
    realm: RealmToken
    platform_cose: Sign1
    realm_cose: Sign1

    @property
    def debug(self) -> bool:
        """Whether the platform's lifecycle is one of debug."""
        return any(self.platform.lifecycle in states for states in _DEBUG)

    def claims(self) -> Mapping[str, Any]:
        """The claims as JSON values."""
        platform, realm = self.platform, self.realm
        measured = realm.measurement
        return {
            "platform_profile": platform.profile,
            "realm_profile": realm.profile,
            "implementation_id": platform.implementation.hex(),
            "instance_id": platform.instance.hex(),
            "lifecycle": f"{platform.lifecycle:#06x}",
            "configuration": platform.configuration.hex(),
            "components": [
                {**one._asdict(), "measurement": one.measurement.hex(), "signer": one.signer.hex()}
                for one in platform.components
            ],
            "hash_algorithm": measured.hash_algorithm.value,
            "rim": measured.rim.hex(),
            "rems": [rem.hex() for rem in (measured.rem0, measured.rem1, measured.rem2, measured.rem3)],
            "personalization": measured.personalization.hex(),
            "unknown_claims": [*platform.unknown, *realm.unknown],
        }


def read_token(raw: bytes) -> CcaToken:
    """Read both tokens.

    Raises:
        EvidenceRefused: not the layout, to the last byte.
    """
    if len(raw) > MAXIMUM_BYTES:
        refuse(Reason.MALFORMED, f"a CCA token of at most {MAXIMUM_BYTES} bytes", len(raw))
    platform, realm = _parts(read_cbor(raw, "the CCA token", tags=(TAG_COLLECTION, TAG_CMW)))
    platform_cose, realm_cose = _envelope(platform, "the platform token"), _envelope(realm, "the realm token")
    return CcaToken(
        platform=read_platform(platform_cose.payload),
        realm=read_realm(realm_cose.payload),
        platform_cose=platform_cose,
        realm_cose=realm_cose,
    )


def _parts(item: Any) -> tuple[bytes, bytes]:
    """The platform's and the realm's token out of a collection."""
    if not isinstance(item, cbor2.CBORTag) or not isinstance(item.value, Mapping):
        refuse(Reason.MALFORMED, f"a collection of tokens tagged {TAG_COLLECTION} or {TAG_CMW}", type(item).__name__)
    if set(item.value) != {_PLATFORM, _REALM}:
        refuse(Reason.MALFORMED, f"the tokens {_PLATFORM} and {_REALM}", f"{sorted(map(str, item.value))!s:.80}")
    parts = [item.value[_PLATFORM], item.value[_REALM]]
    if item.tag == TAG_CMW:
        for record in parts:
            if not isinstance(record, list) or len(record) != 2 or record[0] != _EAT_CWT:
                refuse(Reason.UNSUPPORTED_FORMAT, f"records of content format {_EAT_CWT}", f"{record!r:.40}")
        parts = [record[1] for record in parts]
    if not all(isinstance(part, bytes) for part in parts):
        refuse(Reason.MALFORMED, "tokens as bytes", ", ".join(type(part).__name__ for part in parts))
    return parts[0], parts[1]


def _envelope(raw: bytes, what: str) -> Sign1:
    item = read_cbor(raw, what, tags=(TAG_SIGN1,))
    if not isinstance(item, cbor2.CBORTag):
        refuse(Reason.MALFORMED, f"{what} tagged {TAG_SIGN1}", type(item).__name__)
    cose = read_sign1(item, what)
    if cose.unprotected:
        refuse(Reason.NON_CANONICAL, f"an empty unprotected header of {what}", f"{len(cose.unprotected)} labels")
    if unknown := set(cose.header) - {ALGORITHM, _CONTENT_TYPE}:
        refuse(Reason.UNSUPPORTED_FORMAT, f"algorithm and content type in the header of {what}", unknown)
    return cose


def read_platform(payload: bytes) -> PlatformToken:
    """The platform's claims, unproven. Raises :class:`EvidenceRefused`."""
    claims = _claims(payload, "the platform token")
    if claims.get(_PROFILE) not in PLATFORM_PROFILES:
        refuse(Reason.CCA_PROFILE, " or ".join(PLATFORM_PROFILES), f"{claims.get(_PROFILE)!r:.80}")
    instance = _bytes(claims, _INSTANCE, "instance id", (33,))
    if instance[0] != 1:
        refuse(Reason.MALFORMED, "an instance id that starts with 01", f"{instance[0]:#04x}")
    lifecycle = claims.get(_LIFECYCLE)
    if type(lifecycle) is not int or not 0 <= lifecycle <= 0xFFFF:
        refuse(Reason.MALFORMED, "a lifecycle of 16 bits", f"{lifecycle!r:.40}")
    _text(claims, _HASH, "hash algorithm of the platform")
    return PlatformToken(
        profile=claims[_PROFILE],
        rak_hash=_bytes(claims, _NONCE, "hash of the realm's key", HASH_SIZES),
        implementation=_bytes(claims, _IMPLEMENTATION, "implementation id", (32,)),
        instance=instance,
        configuration=_bytes(claims, _CONFIGURATION, "configuration", range(1, 1025)),
        lifecycle=lifecycle,
        components=_components(claims.get(_COMPONENTS)),
        unknown=_unknown(claims, _PLATFORM_CLAIMS),
    )


def read_realm(payload: bytes) -> RealmToken:
    """The realm's claims, unproven. Raises :class:`EvidenceRefused`."""
    claims = _claims(payload, "the realm token")
    profile = claims.get(_PROFILE)
    if profile not in (None, REALM_PROFILE):
        refuse(Reason.CCA_PROFILE, f"{REALM_PROFILE}, or none", f"{profile!r:.80}")
    challenge = claims.get(_NONCE)
    if not isinstance(challenge, bytes) or len(challenge) != 64:
        found = f"{len(challenge)} bytes" if isinstance(challenge, bytes) else type(challenge).__name__
        refuse(Reason.CCA_CHALLENGE, "a challenge of 64 bytes", found)
    rems = claims.get(_REMS)
    if not isinstance(rems, Sequence) or len(rems) != 4:
        refuse(Reason.MALFORMED, "four extensible measurements", f"{rems!r:.40}")
    rim = _bytes(claims, _RIM, "initial measurement", HASH_SIZES)
    rem0, rem1, rem2, rem3 = (
        HexBytes(_bytes({_REMS: rem}, _REMS, "extensible measurement", (len(rim),))) for rem in rems
    )
    return RealmToken(
        challenge=challenge,
        measurement=CcaMeasurement(
            hash_algorithm=_algorithm(claims, _REALM_HASH),
            rim=HexBytes(rim),
            rem0=rem0,
            rem1=rem1,
            rem2=rem2,
            rem3=rem3,
            personalization=Bytes64(_bytes(claims, _PERSONALIZATION, "personalization", (64,))),
        ),
        rak=_bytes(claims, _RAK, "realm's key", range(1, 257)),
        rak_hash_algorithm=_algorithm(claims, _RAK_HASH),
        profile=profile,
        unknown=_unknown(claims, _REALM_CLAIMS),
    )


def realm_key(raw: bytes) -> EllipticCurvePublicKey:
    """The realm's key: an uncompressed point of P-384, or a COSE_Key of one (RFC 9052, 7; RFC 9053, 7.1.1).

    Raises:
        EvidenceRefused: of another kind or curve, or not on it.
    """
    what = "the realm's key"
    if raw[0] == 4:
        return point_on(SECP384R1(), raw[1:49], raw[49:], what)
    key = read_cbor(raw, what)
    if not isinstance(key, Mapping):
        refuse(Reason.KEY_INVALID, f"{what} as a point or a COSE_Key", type(key).__name__)
    rest = {label: value for label, value in key.items() if label not in (-2, -3)}
    if rest not in ({1: 2, -1: 2}, {1: 2, -1: 2, 3: ES384}):
        refuse(Reason.KEY_INVALID, f"{what} of kind EC2 on P-384", f"{rest!r:.60}")
    x, y = key.get(-2), key.get(-3)
    if not isinstance(x, bytes) or not isinstance(y, bytes):
        refuse(Reason.KEY_INVALID, f"{what} with both coordinates", f"{type(x).__name__}, {type(y).__name__}")
    return point_on(SECP384R1(), x, y, what)


def _claims(payload: bytes, what: str) -> Mapping[Any, Any]:
    claims = read_cbor(payload, what)
    if not isinstance(claims, Mapping):
        refuse(Reason.MALFORMED, f"a map of claims in {what}", type(claims).__name__)
    return claims


def _unknown(claims: Mapping[Any, Any], known: frozenset[int]) -> tuple[str, ...]:
    return tuple(f"{label!s:.40}" for label in claims if label not in known)


def _bytes(claims: Mapping[Any, Any], label: int, name: str, sizes: Sequence[int]) -> bytes:
    value = claims.get(label)
    if not isinstance(value, bytes) or len(value) not in sizes:
        found = f"{len(value)} bytes" if isinstance(value, bytes) else type(value).__name__
        wanted = " or ".join(map(str, sizes)) if isinstance(sizes, tuple) else f"{sizes[0]} to {sizes[-1]}"
        refuse(Reason.MALFORMED, f"{name} of {wanted} bytes", found)
    return value


def _text(claims: Mapping[Any, Any], label: int, name: str) -> str:
    value = claims.get(label)
    if not isinstance(value, str) or not 1 <= len(value) <= _MAXIMUM_TEXT:
        refuse(Reason.MALFORMED, f"{name} as text", f"{value!r:.40}")
    return value


def _algorithm(claims: Mapping[Any, Any], label: int) -> RealmHash:
    name = claims.get(label)
    try:
        return RealmHash(str(name))
    except ValueError:
        known = ", ".join(algorithm.value for algorithm in RealmHash)
        return refuse(Reason.UNSUPPORTED_FORMAT, f"a hash algorithm of {known}", f"{name!r:.40}")


def _components(value: object) -> tuple[Component, ...]:
    if not isinstance(value, list | tuple) or not 1 <= len(value) <= _MAXIMUM_COMPONENTS:
        refuse(Reason.MALFORMED, f"1 to {_MAXIMUM_COMPONENTS} software components", f"{value!r:.40}")
    return tuple(_component(one) for one in value)


def _component(value: object) -> Component:
    if not isinstance(value, Mapping):
        refuse(Reason.MALFORMED, "software components as maps", type(value).__name__)
    for label in (_TYPE, _VERSION, _COMPONENT_HASH):
        if label in value:
            _text(value, label, "text of a software component")
    return Component(
        type=value.get(_TYPE),
        measurement=_bytes(value, _VALUE, "measurement of a component", HASH_SIZES),
        signer=_bytes(value, _SIGNER, "signer of a component", HASH_SIZES),
        version=value.get(_VERSION),
    )
