"""Documents about CCA platforms, read: trust anchors and reference values in JSON, as Veraison's tools write them, or a
CoRIM (:mod:`sealmarket.attestation.arm.corim`).

A key says for which implementation and instance it is: one that does not is refused. Reading is remembered by the
document's bytes.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Mapping
from functools import lru_cache
from hashlib import sha256
from typing import Any

import msgspec
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, SECP384R1, SECP521R1

from sealmarket.attestation.arm.corim import read_corim
from sealmarket.attestation.arm.documents import Document, PlatformKey, PlatformReference, RealmReference
from sealmarket.attestation.arm.token import HASH_SIZES, Component
from sealmarket.attestation.core.certificates import require_at_most
from sealmarket.attestation.core.cose import point_on
from sealmarket.attestation.core.errors import CollateralError, EvidenceRefused
from sealmarket.attestation.core.unreadable import NOT_JSON
from sealmarket_enclave.protocol.codec import parse_json

MAXIMUM_BYTES = 1 << 20
_MAXIMUM_RECORDS = 4096
_CURVES = {"P-256": SECP256R1(), "P-384": SECP384R1(), "P-521": SECP521R1()}


@lru_cache(maxsize=256)
def read_document(raw: bytes) -> Document:
    """Read a document of platform keys or reference values.

    Raises:
        CollateralError: too long, of no known format, or not usable as written.
    """
    require_at_most(MAXIMUM_BYTES, len(raw), "bytes of one document about CCA platforms")
    if raw.lstrip()[:1] in (b"[", b"{"):
        return _from_json(raw)
    try:
        return read_corim(raw)
    except EvidenceRefused as refusal:
        finding = refusal.finding
        raise CollateralError(f"not a usable CoRIM: expected {finding.expected}, found {finding.found}") from refusal


def _from_json(raw: bytes) -> Document:
    try:
        document = parse_json(raw)
    except NOT_JSON as error:
        raise CollateralError(f"not JSON about CCA platforms: {error}") from error
    digest = sha256(raw).digest()
    if isinstance(document, list):
        return Document(digest=digest, keys=tuple(_key(one) for one in _records(document, "trust anchors")))
    if isinstance(document, dict) and document and set(document) <= {"platform", "realm"}:
        return Document(
            digest=digest,
            platforms=tuple(_platform(one) for one in _records(document.get("platform", []), "platform")),
            realms=tuple(_realm(one) for one in _records(document.get("realm", []), "realm")),
        )
    if isinstance(document, dict) and "kty" in document:
        raise CollateralError(
            "a JWK alone does not say whose key it is",
            remedy='pass a list of {"implementation-id", "instance-id", "pkey"}',
        )
    raise CollateralError("JSON about CCA platforms is a list of trust anchors, or an object of platform and realm")


def _records(value: object, name: str) -> Iterable[Mapping[str, Any]]:
    if not isinstance(value, list) or not all(isinstance(one, dict) for one in value):
        raise CollateralError(f"{name} is a list of objects, found {msgspec.json.encode(value)[:60].decode('latin-1')}")
    require_at_most(_MAXIMUM_RECORDS, len(value), f"records of {name}")
    return value


def _hex(record: Mapping[str, Any], name: str, sizes: Iterable[int]) -> bytes:
    value = record.get(name)
    try:
        found = bytes.fromhex(value) if isinstance(value, str) else None
    except ValueError:
        found = None
    if found is None or len(found) not in sizes:
        raise CollateralError(f"{name} is hex of {' or '.join(map(str, sizes))} bytes, found {value!r:.80}")
    return found


def _key(record: Mapping[str, Any]) -> PlatformKey:
    jwk = record.get("pkey")
    if not isinstance(jwk, dict) or jwk.get("kty") != "EC" or jwk.get("crv") not in _CURVES:
        raise CollateralError(f"pkey is a JWK of kty EC on {', '.join(_CURVES)}, found {jwk!r:.80}")
    if "d" in jwk:
        raise CollateralError("pkey holds a private key", remedy="pass the public key, and replace this one")
    try:
        x, y = (_base64url(jwk.get(name)) for name in ("x", "y"))
        key = point_on(_CURVES[jwk["crv"]], x, y, "a platform's key")
    except (binascii.Error, EvidenceRefused) as error:
        raise CollateralError(f"pkey is not a point of {jwk['crv']}: {error}") from error
    instance = _hex(record, "instance-id", (33,))
    return PlatformKey(_hex(record, "implementation-id", (32,)), instance, key)


def _base64url(value: object) -> bytes:
    if not isinstance(value, str) or not value.isascii() or len(value) > 256:
        raise binascii.Error(f"a coordinate in base64url, found {value!r:.40}")
    return base64.b64decode(value + "=" * (-len(value) % 4), altchars=b"-_", validate=True)


def _platform(record: Mapping[str, Any]) -> PlatformReference:
    components = tuple(
        Component(
            _optional(one, "component-type"),
            _hex(one, "measurement-value", HASH_SIZES),
            _hex(one, "signer-id", HASH_SIZES),
            _optional(one, "version"),
        )
        for one in _records(record.get("sw-components"), "sw-components")
    )
    if not components:
        raise CollateralError("a platform has at least one of sw-components, found none")
    configuration = None
    if "platform-configuration" in record:
        configuration = _hex(record, "platform-configuration", range(1, 1025))
    return PlatformReference(_hex(record, "implementation-id", (32,)), components, configuration)


def _realm(record: Mapping[str, Any]) -> RealmReference:
    rems = record.get("extensible-measurements", [])
    if not isinstance(rems, list) or len(rems) not in (0, 4):
        raise CollateralError(f"extensible-measurements are four or none, found {rems!r:.80}")
    personalization = None
    if "personalization-value" in record:
        personalization = _hex(record, "personalization-value", (64,))
    rim = _hex(record, "initial-measurement", HASH_SIZES)
    return RealmReference(rim, tuple(_hex({"rem": rem}, "rem", HASH_SIZES) for rem in rems), personalization)


def _optional(record: Mapping[str, Any], name: str) -> str | None:
    value = record.get(name)
    if value is not None and not isinstance(value, str):
        raise CollateralError(f"{name} is text, found {value!r:.40}")
    return value
