"""A release's measurements as a CoRIM (draft-ietf-rats-corim): tag 501, with one CoMID (tag 506) for each enclave.

Reference values are named as this project's measurement tuples name them: digests by their length (SHA-256, SHA-384,
SHA-512), everything else as raw bytes. CBOR in its one shortest spelling, so that the same release is the same bytes.
"""

from __future__ import annotations

from typing import Any

import cbor2
import msgspec

from sealmarket.releases.documents import ReleasedEnclave, ReleasedMeasurements
from sealmarket_enclave.protocol.codec import canonical_json, to_builtins

TAG_CORIM, TAG_COMID, _TAG_URI, _TAG_BYTES = 501, 506, 32, 560
PROFILE = "tag:sealmarket.org,2026:enclave#1"
_ID, _COMIDS, _PROFILE = 0, 1, 3
_TAG_IDENTITY, _TRIPLES, _REFERENCE = 1, 4, 0
_CLASS, _CLASS_ID, _VENDOR, _MODEL = 0, 0, 1, 2
_KEY, _VALUES, _DIGESTS, _RAW = 0, 1, 2, 4
_ALGORITHMS = {32: 1, 48: 7, 64: 8}
"""IANA, Named Information Hash Algorithms, by the bytes of a digest."""


def corim_of(measured: ReleasedMeasurements) -> bytes:
    """The CoRIM of a release."""
    comids = [cbor2.CBORTag(TAG_COMID, _encoded(_comid(measured.release, one))) for one in measured.enclaves]
    body = {
        _ID: f"sealmarket-enclave {measured.release}",
        _COMIDS: comids,
        _PROFILE: cbor2.CBORTag(_TAG_URI, PROFILE),
    }
    return _encoded(cbor2.CBORTag(TAG_CORIM, body))


def _comid(release: str, one: ReleasedEnclave) -> dict[int, Any]:
    environment = {
        _CLASS: {
            _CLASS_ID: cbor2.CBORTag(_TAG_BYTES, bytes(one.measurement.digest())),
            _VENDOR: one.tee,
            _MODEL: f"{one.kind} on {one.driver}",
        }
    }
    fields = [field.name for field in msgspec.structs.fields(type(one.measurement))]  # type: ignore[arg-type]
    values = [_reference(name, getattr(one.measurement, name)) for name in fields]
    return {
        _TAG_IDENTITY: {0: f"sealmarket-enclave {release} {one.kind} {one.tee} {one.driver}"},
        _TRIPLES: {_REFERENCE: [[environment, values]]},
    }


def _reference(name: str, value: object) -> dict[int, Any]:
    if isinstance(value, bytes) and len(value) in _ALGORITHMS:
        return {_KEY: name, _VALUES: {_DIGESTS: [[_ALGORITHMS[len(value)], bytes(value)]]}}
    raw = bytes(value) if isinstance(value, bytes) else canonical_json(to_builtins(value))
    return {_KEY: name, _VALUES: {_RAW: cbor2.CBORTag(_TAG_BYTES, raw)}}


def _encoded(value: object) -> bytes:
    return bytes(cbor2.dumps(value, canonical=True))
