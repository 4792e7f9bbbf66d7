"""The bytes of CCA evidence: COSE_Sign1, a collection of tokens, and a CoRIM (RMM 1.0, A7.2; draft-ietf-rats-corim).

Only the layout is here; which claims are said, and under which keys, is the caller's.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import cbor2
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA384
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

_ES384 = -35
_HALF = 48
_PLATFORM_PROFILE, _REALM_PROFILE = "tag:arm.com,2023:cca_platform#1.0.0", "tag:arm.com,2023:realm#1.0.0"
_CORIM_PROFILE = "tag:arm.com,2025:cca_platform#1.0.0"
_SHA_256 = 1
REALM_HASH = "sha-512"


@dataclass(frozen=True, slots=True, kw_only=True)
class PlatformClaims:
    """What a platform says of itself. ``components`` are names with SHA-256 measurements, all of one signer."""

    implementation: bytes
    instance: bytes
    configuration: bytes
    lifecycle: int
    components: Sequence[tuple[str, bytes]]
    signer: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class RealmClaims:
    """What a realm says of itself; ``rems`` are four registers of 64 bytes."""

    challenge: bytes
    rim: bytes
    rems: Sequence[bytes]
    personalization: bytes


def cose_key(key: ec.EllipticCurvePublicKey) -> bytes:
    """A P-384 key as a COSE_Key, which is what the platform's token commits to."""
    numbers = key.public_numbers()
    return cbor2.dumps({1: 2, -1: 2, -2: numbers.x.to_bytes(_HALF), -3: numbers.y.to_bytes(_HALF)})


def sign1(key: ec.EllipticCurvePrivateKey, payload: bytes, header: Mapping[int, Any] | None = None) -> bytes:
    """A COSE_Sign1 with its tag, under ES384."""
    protected = cbor2.dumps({1: _ES384, **(header or {})})
    signed = cbor2.dumps(["Signature1", protected, b"", payload])
    r, s = decode_dss_signature(key.sign(signed, ec.ECDSA(SHA384())))
    signature = r.to_bytes(_HALF) + s.to_bytes(_HALF)
    return cbor2.dumps(cbor2.CBORTag(18, [protected, {}, payload, signature]))


def platform_token(key: ec.EllipticCurvePrivateKey, claims: PlatformClaims, rak: bytes) -> bytes:
    """A platform's token, which commits to a realm's key."""
    components = [{1: name, 2: value, 5: claims.signer, 6: "sha-256"} for name, value in claims.components]
    payload = {
        265: _PLATFORM_PROFILE,
        10: hashlib.sha256(rak).digest(),
        2396: claims.implementation,
        256: claims.instance,
        2401: claims.configuration,
        2395: claims.lifecycle,
        2399: components,
        2402: "sha-256",
    }
    return sign1(key, cbor2.dumps(payload))


def realm_token(key: ec.EllipticCurvePrivateKey, claims: RealmClaims, rak: bytes) -> bytes:
    """A realm's token under its own key."""
    payload = {
        265: _REALM_PROFILE,
        10: claims.challenge,
        44235: claims.personalization,
        44236: REALM_HASH,
        44237: rak,
        44238: claims.rim,
        44239: list(claims.rems),
        44240: "sha-256",
    }
    return sign1(key, cbor2.dumps(payload))


def collection(platform: bytes, realm: bytes) -> bytes:
    """Both tokens, as the realm manager hands them out."""
    return cbor2.dumps(cbor2.CBORTag(399, {44234: platform, 44241: realm}))


def signed_corim(
    signer: ec.EllipticCurvePrivateKey,
    claims: PlatformClaims,
    key: ec.EllipticCurvePublicKey,
    validity: tuple[datetime, datetime],
) -> bytes:
    """A CoRIM with a platform's key and the reference values of its firmware, for a time."""
    named = {0: {0: cbor2.CBORTag(560, claims.implementation)}}
    values = [
        {
            0: "cca.software-component",
            1: {2: [[_SHA_256, value]], 11: name, 13: [cbor2.CBORTag(560, claims.signer)]},
        }
        for name, value in claims.components
    ]
    values.append({0: "cca.platform-config", 1: {4: cbor2.CBORTag(560, claims.configuration)}})
    pem = key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    keys = [{**named, 1: cbor2.CBORTag(550, claims.instance)}, [cbor2.CBORTag(554, pem)]]
    comid = {1: {0: hashlib.sha256(claims.implementation).digest()[:16]}, 4: {0: [[named, values]], 3: [keys]}}
    corim = {
        0: "sealmarket virtual CCA platform",
        1: [cbor2.CBORTag(506, cbor2.dumps(comid))],
        3: cbor2.CBORTag(32, _CORIM_PROFILE),
    }
    period = {place: cbor2.CBORTag(1, int(moment.timestamp())) for place, moment in enumerate(validity)}
    meta = cbor2.dumps({0: {0: "Sealmarket DEVELOPMENT"}, 1: period})
    header = {3: "application/rim+cbor", 8: meta}
    return sign1(signer, cbor2.dumps(cbor2.CBORTag(501, corim)), header)
