"""CoRIM: reference values and keys of CCA platforms and realms (draft-ietf-rats-corim; Arm's CCA endorsements profile).

A CoRIM (tag 501) holds CoMIDs (tag 506); a COSE_Sign1 (tag 18) may hold a CoRIM. A bare CoMID is taken as well. Whether
a signer is trusted is decided where evidence is authenticated. Rules of the profile:

1. A platform's reference values name its implementation (class id, tagged bytes of 32) and no instance.
2. Their keys are ``cca.software-component`` (digests, name, signer as tagged bytes) and ``cca.platform-config`` (raw
   value, with a mask or not).
3. A platform's key names implementation and instance (UEID) and is a public key in PEM.
4. A realm's reference values name its initial measurement as class id and no instance; ``cca.rim`` repeats it,
   ``cca.rem0`` to ``cca.rem3`` are digests, ``cca.rpv`` a raw value of 64 bytes.

What is not listed is refused, so that no rule of an author is passed over.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Any

import cbor2
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, SECP384R1, SECP521R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from sealmarket.attestation.arm.documents import Document, PlatformKey, PlatformReference, RealmReference
from sealmarket.attestation.arm.token import HASH_SIZES, Component
from sealmarket.attestation.core.cbor import read_cbor
from sealmarket.attestation.core.cose import ALGORITHM, TAG_SIGN1, Sign1, read_sign1
from sealmarket.attestation.core.errors import refuse
from sealmarket.attestation.core.pki import Window
from sealmarket.attestation.core.reasons import Reason
from sealmarket.attestation.core.unreadable import NOT_X509

TAG_CORIM, TAG_COMID = 501, 506
_TAG_TIME, _TAG_URI, _TAG_UUID = 1, 32, 37
_TAG_UEID, _TAG_PEM, _TAG_BYTES = 550, 554, 560
_TAGS = (_TAG_TIME, TAG_SIGN1, _TAG_URI, _TAG_UUID, TAG_CORIM, TAG_COMID, 550, 552, 553, 554, 560)
PLATFORM_PROFILE, REALM_PROFILE = "tag:arm.com,2025:cca_platform#1.0.0", "tag:arm.com,2025:cca_realm#1.0.0"
_CONTENT_TYPE, _KEY_ID, _META = 3, 4, 8
_LATEST = 253_402_300_799
"""The last second of the year 9999."""
_RIM_CBOR = "application/rim+cbor"
_IDENTITY, _COMIDS, _PROFILE, _VALIDITY, _ENTITIES = 0, 1, 3, 4, 5
_TRIPLES, _REFERENCE, _ATTEST_KEY = 4, 0, 3
_VERSION, _DIGESTS, _RAW, _MASK, _NAME, _CRYPTOKEYS = 0, 2, 4, 5, 11, 13
_ALGORITHMS = {1: 32, "sha-256": 32, 7: 48, "sha-384": 48, 8: 64, "sha-512": 64}
_COMPONENT, _CONFIG, _RIM, _RPV = "cca.software-component", "cca.platform-config", "cca.rim", "cca.rpv"
_REMS = tuple(f"cca.rem{index}" for index in range(4))
Map = Mapping[Any, Any]


def read_corim(raw: bytes) -> Document:
    """Read a CoRIM, signed or not, or a CoMID.

    Raises:
        EvidenceRefused: not one, or it breaks a rule of the profile.
    """
    item = read_cbor(raw, "the CoRIM", tags=_TAGS)
    digest = sha256(raw).digest()
    if isinstance(item, cbor2.CBORTag) and item.tag == TAG_SIGN1:
        cose = read_sign1(item, "the CoRIM")
        inner, windows = read_cbor(cose.payload, "the signed CoRIM", tags=_TAGS), _signed_windows(cose)
        return _corim(inner, digest, cose, windows)
    if isinstance(item, cbor2.CBORTag) and item.tag == TAG_COMID:
        return _document([item], None, digest, None, ())
    return _corim(item, digest, None, ())


def _corim(item: Any, digest: bytes, cose: Sign1 | None, windows: tuple[Window, ...]) -> Document:
    if not isinstance(item, cbor2.CBORTag) or item.tag != TAG_CORIM or not isinstance(item.value, Mapping):
        found = f"tag {item.tag}" if isinstance(item, cbor2.CBORTag) else type(item).__name__
        refuse(Reason.UNSUPPORTED_FORMAT, f"a CoRIM, tag {TAG_CORIM}", found)
    corim = item.value
    _known(corim, (_IDENTITY, _COMIDS, _PROFILE, _VALIDITY, _ENTITIES), "the CoRIM")
    profile = corim.get(_PROFILE)
    profile = profile.value if isinstance(profile, cbor2.CBORTag) and profile.tag == _TAG_URI else profile
    if profile not in (PLATFORM_PROFILE, REALM_PROFILE):
        refuse(Reason.CCA_PROFILE, f"{PLATFORM_PROFILE} or {REALM_PROFILE}", f"{profile!r:.80}")
    if _VALIDITY in corim:
        windows = (*windows, _window(corim[_VALIDITY], "the CoRIM"))
    return _document(_sequence(corim.get(_COMIDS), "CoMIDs"), profile, digest, cose, windows)


def _document(
    comids: Sequence[Any], profile: str | None, digest: bytes, cose: Sign1 | None, windows: tuple[Window, ...]
) -> Document:
    keys: list[PlatformKey] = []
    platforms: list[PlatformReference] = []
    realms: list[RealmReference] = []
    for item in comids:
        triples = _triples(item)
        keys += [_attest_key(*_pair(one)) for one in _sequence(triples.get(_ATTEST_KEY, ()), "keys", least=0)]
        for triple in _sequence(triples.get(_REFERENCE, ()), "reference values", least=0):
            environment, measurements = _pair(triple)
            identity = _class_id(environment)
            is_realm = profile == REALM_PROFILE if profile else _is_realm(measurements)
            if is_realm:
                realms.append(_realm(identity, measurements))
            else:
                platforms.append(_platform(identity, measurements))
    return Document(
        digest=digest, keys=tuple(keys), platforms=tuple(platforms), realms=tuple(realms), cose=cose, windows=windows
    )


def _triples(item: Any) -> Map:
    if not isinstance(item, cbor2.CBORTag) or item.tag != TAG_COMID:
        refuse(Reason.UNSUPPORTED_FORMAT, f"a CoMID, tag {TAG_COMID}", f"{item!r:.40}")
    comid = item.value
    if isinstance(comid, bytes):
        comid = read_cbor(comid, "a CoMID", tags=_TAGS)
    triples = _map(_map(comid, "a CoMID").get(_TRIPLES), "triples")
    _known(triples, (_REFERENCE, _ATTEST_KEY), "triples")
    if not triples:
        refuse(Reason.MALFORMED, "reference values or keys in a CoMID", "none")
    return triples


# Environments.


def _class_id(environment: Any) -> bytes:
    """Rules 1 and 4."""
    environment = _map(environment, "an environment")
    _known(environment, (0,), "the environment of reference values")
    return _tagged(_map(environment.get(0), "a class").get(0), _TAG_BYTES, "a class id")


def _attest_key(environment: Any, keys: Any) -> PlatformKey:
    """Rule 3."""
    environment = _map(environment, "an environment")
    _known(environment, (0, 1), "the environment of a key")
    implementation = _tagged(_map(environment.get(0), "a class").get(0), _TAG_BYTES, "a class id")
    instance = _tagged(environment.get(1), _TAG_UEID, "an instance id")
    if len(implementation) != 32 or len(instance) != 33:
        refuse(Reason.MALFORMED, "ids of 32 and 33 bytes", f"{len(implementation)} and {len(instance)}")
    pems = _sequence(keys, "keys of a platform")
    if len(pems) != 1 or not isinstance(pems[0], cbor2.CBORTag) or pems[0].tag != _TAG_PEM:
        refuse(Reason.MALFORMED, "one public key in PEM", f"{pems!r:.60}")
    return PlatformKey(implementation, instance, _public_key(pems[0].value))


def _public_key(pem: object) -> EllipticCurvePublicKey:
    if not isinstance(pem, str) or len(pem) > 1024:
        refuse(Reason.KEY_INVALID, "a public key in PEM", f"{pem!r:.40}")
    try:
        key = load_pem_public_key(pem.encode())
    except NOT_X509 as error:
        return refuse(Reason.KEY_INVALID, "a public key in PEM", error)
    if not isinstance(key, EllipticCurvePublicKey) or not isinstance(key.curve, SECP256R1 | SECP384R1 | SECP521R1):
        refuse(Reason.KEY_INVALID, "a platform's key on P-256, P-384 or P-521", type(key).__name__)
    return key


# Measurements.


def _is_realm(measurements: Any) -> bool:
    """A bare CoMID names no profile: realms have an initial measurement."""
    return any(isinstance(one, Mapping) and one.get(0) == _RIM for one in _sequence(measurements, "measurements"))


def _values(measurements: Any, names: Sequence[str]) -> list[tuple[str, Map]]:
    found = []
    for one in _sequence(measurements, "measurements"):
        measurement = _map(one, "a measurement")
        _known(measurement, (0, 1), "a measurement")
        name = measurement.get(0)
        if name not in names:
            refuse(Reason.UNSUPPORTED_FORMAT, f"a measurement named {', '.join(names)}", f"{name!r:.60}")
        found.append((str(name), _map(measurement.get(1), "the values of a measurement")))
    return found


def _platform(implementation: bytes, measurements: Any) -> PlatformReference:
    """Rules 1 and 2."""
    if len(implementation) != 32:
        refuse(Reason.MALFORMED, "an implementation id of 32 bytes", len(implementation))
    components, configuration, mask = [], None, None
    for name, values in _values(measurements, (_COMPONENT, _CONFIG)):
        if name == _COMPONENT:
            components.append(_component(values))
        elif configuration is not None:
            refuse(Reason.MALFORMED, "one configuration of a platform", "two")
        else:
            _known(values, (_RAW, _MASK), "a configuration")
            configuration = _tagged(values.get(_RAW), _TAG_BYTES, "the raw value of a configuration")
            mask = values.get(_MASK)
            if mask is not None and (not isinstance(mask, bytes) or len(mask) != len(configuration)):
                refuse(Reason.MALFORMED, f"a mask of {len(configuration)} bytes", f"{mask!r:.40}")
    if not components:
        refuse(Reason.MALFORMED, "at least one software component of a platform", "none")
    return PlatformReference(implementation, tuple(components), configuration, mask)


def _component(values: Map) -> Component:
    _known(values, (_VERSION, _DIGESTS, _NAME, _CRYPTOKEYS), "a software component")
    keys = _sequence(values.get(_CRYPTOKEYS), "signers of a component")
    if len(keys) != 1:
        refuse(Reason.MALFORMED, "one signer of a component", len(keys))
    signer = _tagged(keys[0], _TAG_BYTES, "a signer")
    if len(signer) not in HASH_SIZES:
        refuse(Reason.MALFORMED, "a signer of 32, 48 or 64 bytes", len(signer))
    name = values.get(_NAME)
    version = _map(values[_VERSION], "a version").get(0) if _VERSION in values else None
    if not isinstance(name, str | None) or not isinstance(version, str | None):
        refuse(Reason.MALFORMED, "name and version of a component as text", f"{name!r:.40} {version!r:.40}")
    return Component(name, _digest(values), signer, version)


def _realm(rim: bytes, measurements: Any) -> RealmReference:
    """Rule 4."""
    found: dict[str, bytes] = {}
    for name, values in _values(measurements, (_RIM, *_REMS, _RPV)):
        if name in found:
            refuse(Reason.DUPLICATE_KEY, f"{name} once", "twice")
        if name == _RPV:
            found[name] = _tagged(values.get(_RAW), _TAG_BYTES, "the raw value of cca.rpv")
        else:
            found[name] = _digest(values)
    if found.get(_RIM) != rim:
        refuse(Reason.MALFORMED, f"cca.rim {rim.hex()}, as the class id says", found.get(_RIM, b"").hex() or "none")
    rems = tuple(found[name] for name in _REMS if name in found)
    if len(rems) not in (0, 4) or len(found.get(_RPV, bytes(64))) != 64:
        refuse(Reason.MALFORMED, "four extensible measurements or none, 64 bytes of cca.rpv", f"{len(rems)}")
    return RealmReference(rim, rems, found.get(_RPV))


def _digest(values: Map) -> bytes:
    digests = _sequence(values.get(_DIGESTS), "digests")
    pairs = [pair if isinstance(pair, list | tuple) and len(pair) == 2 else (None, None) for pair in digests]
    if len(pairs) != 1:
        refuse(Reason.MALFORMED, "one digest of a measurement", len(pairs))
    algorithm, value = pairs[0]
    size = _ALGORITHMS.get(algorithm) if isinstance(algorithm, int | str) else None
    if not isinstance(value, bytes) or size != len(value):
        refuse(Reason.MALFORMED, "a digest by SHA-256, SHA-384 or SHA-512", f"{algorithm!r:.20} {value!r:.80}")
    return value


# Shapes.


def _known(value: Map, labels: Sequence[int], what: str) -> None:
    if unknown := [label for label in value if label not in labels]:
        refuse(Reason.UNSUPPORTED_FORMAT, f"of {what} the labels {', '.join(map(str, labels))}", f"{unknown[0]!r:.40}")


def _map(value: Any, what: str) -> Map:
    if not isinstance(value, Mapping):
        refuse(Reason.MALFORMED, f"{what} as a map", type(value).__name__)
    return value


def _sequence(value: Any, what: str, least: int = 1) -> Sequence[Any]:
    if not isinstance(value, list | tuple) or len(value) < least:
        refuse(Reason.MALFORMED, f"{what} as a list of at least {least}", f"{value!r:.40}")
    return value


def _pair(value: Any) -> tuple[Any, Any]:
    if not isinstance(value, list | tuple) or len(value) != 2:
        refuse(Reason.MALFORMED, "a triple as environment and claims", f"{value!r:.40}")
    return value[0], value[1]


def _tagged(value: Any, tag: int, what: str) -> bytes:
    if not isinstance(value, cbor2.CBORTag) or value.tag != tag or not isinstance(value.value, bytes):
        refuse(Reason.MALFORMED, f"{what} as bytes tagged {tag}", f"{value!r:.60}")
    return value.value


# Signatures.


def _signed_windows(cose: Sign1) -> tuple[Window, ...]:
    _known(cose.header, (ALGORITHM, _CONTENT_TYPE, _KEY_ID, _META), "the signed CoRIM's header")
    if cose.header.get(_CONTENT_TYPE) != _RIM_CBOR:
        refuse(Reason.UNSUPPORTED_FORMAT, _RIM_CBOR, f"{cose.header.get(_CONTENT_TYPE)!r:.40}")
    raw = cose.header.get(_META)
    if not isinstance(raw, bytes):
        refuse(Reason.MALFORMED, "meta data in the signed CoRIM's header", type(raw).__name__)
    meta = _map(read_cbor(raw, "the CoRIM's meta data", tags=_TAGS), "the CoRIM's meta data")
    _known(meta, (0, 1), "the CoRIM's meta data")
    return (_window(meta[1], "the CoRIM's signature"),) if 1 in meta else ()


def _window(value: Any, name: str) -> Window:
    period = _map(value, f"validity of {name}")
    _known(period, (0, 1), f"the validity of {name}")
    return Window(name, _time(period[0], name) if 0 in period else 0, _time(period.get(1), name))


def _time(value: Any, name: str) -> int:
    seconds = value.value if isinstance(value, cbor2.CBORTag) and value.tag == _TAG_TIME else None
    if type(seconds) is not int or not 0 <= seconds <= _LATEST:
        refuse(Reason.MALFORMED, f"seconds tagged {_TAG_TIME} in the validity of {name}", f"{value!r:.60}")
    return seconds
