"""Attested Inference Receipts (IETF draft-tsyrulnikov-rats-attested-inference-receipt-02): read, verified, and made.

An AIR is a COSE_Sign1 by Ed25519 over a CWT. It is verified in four layers, each refusal with its code:

1. parse: tag 18, protected header exactly ``{1: -8, 3: 61}``, an empty unprotected header, a map as payload;
2. crypto: the signature under the key that the reader trusts;
3. claims: each claim of its type and length, no other claim;
4. policy: nonce, model hash, platform and age, as far as the reader names them.

The enclave of a service signs receipts of the market's own form by secp256k1. What :func:`make_air` makes of one is a
statement of the *user's* verifier, which checked that receipt and the evidence behind it: its issuer says so, its key
is the user's, and who trusts it trusts that verifier. The order of a payload's keys is deterministic in what is made,
and is not asked of what is read, as in the draft's public vectors.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

import cbor2
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from sealmarket.attestation.core.cbor import read_cbor
from sealmarket.attestation.core.cose import TAG_SIGN1, Sign1, read_sign1
from sealmarket.attestation.core.errors import EvidenceRefused
from sealmarket.inference.errors import InferenceError
from sealmarket.inference.receipts import KeptReceipt

MOST_BYTES = 64 << 10
PROFILE = "https://spec.cyntrisec.com/air/v1"
NITRO, TDX = "nitro-pcr", "tdx-mrtd-rtmr"
_EDDSA, _CWT = -8, 61
_ISS, _IAT, _CTI, _NONCE, _PROFILE = 1, 6, 7, 10, 265
_MODEL_ID, _MODEL_VERSION, _MODEL_HASH, _REQUEST, _RESPONSE, _ATTESTATION = range(-65537, -65543, -1)
_MEASUREMENTS, _POLICY, _SEQUENCE, _MILLISECONDS, _MEGABYTES, _MODE, _SCHEME = range(-65543, -65550, -1)
_TEXTS = (_ISS, _MODEL_ID, _MODEL_VERSION, _POLICY, _MODE)
_HASHES = (_MODEL_HASH, _REQUEST, _RESPONSE, _ATTESTATION)
_NUMBERS = (_IAT, _SEQUENCE, _MILLISECONDS, _MEGABYTES)
_REQUIRED = frozenset({*_TEXTS, *_HASHES, *_NUMBERS, _CTI, _PROFILE, _MEASUREMENTS})
_OPTIONAL = frozenset({_NONCE, _SCHEME})
_SCHEMES = frozenset({"sha256-single", "sha256-concat", "sha256-manifest"})
_REGISTERS = {NITRO: ({"pcr0", "pcr1", "pcr2"}, {"pcr8"}), TDX: ({"pcr0", "pcr1", "pcr2"}, set[str]())}
_REGISTER_BYTES = 48


class AirRefused(InferenceError):
    """A receipt that is not accepted. ``layer`` and ``code`` are those of the draft's vectors where they have one."""

    def __init__(self, layer: int, code: str, expected: object, found: object) -> None:
        super().__init__(
            f"AIR layer {layer}, {code}: expected {expected}, found {found}",
            remedy="ask for the receipt again, or do not rely on it",
        )
        self.layer, self.code = layer, code


class NoAir(InferenceError):
    """A receipt that the draft has no form for."""

    def __init__(self, what: str) -> None:
        super().__init__(
            f"an AIR names Nitro or TDX registers, found {what}",
            remedy="use the receipt in its own form (--format json)",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class AirPolicy:
    """What a reader demands of the claims; None asks for nothing. ``now`` and ``most_age`` are seconds, together."""

    nonce: bytes | None = None
    model_hash: bytes | None = None
    platform: str | None = None
    now: int | None = None
    most_age: int | None = None


def verify_air(raw: bytes, key: Ed25519PublicKey, policy: AirPolicy) -> Mapping[int, Any]:
    """The claims of a receipt that a trusted key signed and a policy accepts. Raises :class:`AirRefused`."""
    token = _parsed(raw)  # 1
    try:
        key.verify(token.signature, token.signed)  # 2
    except InvalidSignature:
        raise AirRefused(2, "SIG_FAILED", "a signature of the trusted key", "one that does not verify") from None
    claims = _claims(token.payload)  # 3
    _hold(claims, policy)  # 4
    return claims


def _parsed(raw: bytes) -> Sign1:
    if len(raw) > MOST_BYTES:
        raise AirRefused(1, "BAD_STRUCTURE", f"at most {MOST_BYTES} bytes", len(raw))
    try:
        item = read_cbor(raw, "the receipt", tags=(TAG_SIGN1,))
        token = read_sign1(item, "the receipt")
    except EvidenceRefused as error:
        raise AirRefused(1, "BAD_STRUCTURE", "a COSE_Sign1 in CBOR", error.message) from None
    if not isinstance(item, cbor2.CBORTag):
        raise AirRefused(1, "BAD_STRUCTURE", f"tag {TAG_SIGN1}", "none")
    if token.algorithm != _EDDSA or type(token.algorithm) is not int:
        raise AirRefused(1, "BAD_ALG", f"{_EDDSA} (EdDSA)", token.algorithm)
    if dict(token.header) != {1: _EDDSA, 3: _CWT} or token.unprotected:
        raise AirRefused(1, "BAD_HEADER", "algorithm and content type, protected, and no other", dict(token.header))
    return token


def _claims(payload: bytes) -> Mapping[int, Any]:
    """The claims, each of its type."""
    try:
        claims = read_cbor(payload, "the claims")
    except EvidenceRefused as error:
        raise AirRefused(3, "BAD_CLAIMS", "a map in CBOR", error.message) from None
    if not isinstance(claims, dict):
        raise AirRefused(3, "BAD_CLAIMS", "a map", type(claims).__name__)
    if missing := _REQUIRED - claims.keys():
        raise AirRefused(3, "MISSING_CLAIM", max(missing), "nothing")
    if strange := claims.keys() - _REQUIRED - _OPTIONAL:
        raise AirRefused(3, "UNKNOWN_CLAIM", "the claims of the draft", str(next(iter(strange)))[:40])
    if claims[_PROFILE] != PROFILE:
        raise AirRefused(3, "BAD_PROFILE", PROFILE, str(claims[_PROFILE])[:80])
    for label in _TEXTS:
        if not isinstance(claims[label], str) or not claims[label]:
            _bad(label, "a text", claims[label])
    for label in _NUMBERS:
        if type(claims[label]) is not int or claims[label] < 0:
            _bad(label, "a whole number", claims[label])
    for label in _HASHES:
        _bytes(claims, label, 32, 32)
    if not any(claims[_MODEL_HASH]):
        raise AirRefused(3, "ZERO_MODEL_HASH", "the hash of a model", "zeros")
    _bytes(claims, _CTI, 16, 16)
    if _NONCE in claims:
        _bytes(claims, _NONCE, 8, 64)
    if _SCHEME in claims and not (isinstance(claims[_SCHEME], str) and claims[_SCHEME] in _SCHEMES):
        raise AirRefused(3, "UNKNOWN_HASH_SCHEME", sorted(_SCHEMES), str(claims[_SCHEME])[:40])
    _measurements(claims[_MEASUREMENTS])
    return claims


def _bytes(claims: Mapping[int, Any], label: int, least: int, most: int) -> None:
    value = claims[label]
    if not isinstance(value, bytes) or not least <= len(value) <= most:
        _bad(label, f"{least} to {most} bytes", value)


def _bad(label: int, expected: str, found: object) -> NoReturn:
    shown = f"{len(found)} bytes" if isinstance(found, bytes) else str(found)[:40]
    raise AirRefused(3, "BAD_CLAIM", f"{expected} in claim {label}", shown)


def _measurements(value: object) -> None:
    if not isinstance(value, dict):
        raise AirRefused(3, "BAD_MEASUREMENTS", "a map", type(value).__name__)
    kind = value.get("measurement_type")
    required, optional = _REGISTERS.get(kind, (set[str](), set[str]())) if isinstance(kind, str) else (set(), set())
    if not required:
        raise AirRefused(3, "BAD_MEASUREMENT_TYPE", sorted(_REGISTERS), str(kind)[:40])
    registers = value.keys() - {"measurement_type"}
    if not required <= registers <= required | optional:
        raise AirRefused(3, "BAD_MEASUREMENTS", sorted(required), sorted(map(str, registers))[:8])
    for name in sorted(registers):
        if not isinstance(value[name], bytes) or len(value[name]) != _REGISTER_BYTES:
            found = f"{len(value[name])} bytes" if isinstance(value[name], bytes) else type(value[name]).__name__
            raise AirRefused(3, "BAD_MEASUREMENT_LENGTH", f"{_REGISTER_BYTES} bytes in {name}", found)


def _hold(claims: Mapping[int, Any], policy: AirPolicy) -> None:
    if policy.nonce is not None and claims.get(_NONCE) != policy.nonce:
        found = claims[_NONCE].hex() if _NONCE in claims else "none"
        raise AirRefused(4, "NONCE_MISMATCH", policy.nonce.hex(), found)
    if policy.model_hash is not None and claims[_MODEL_HASH] != policy.model_hash:
        raise AirRefused(4, "MODEL_HASH_MISMATCH", policy.model_hash.hex(), claims[_MODEL_HASH].hex())
    found = claims[_MEASUREMENTS]["measurement_type"]
    if policy.platform is not None and found != policy.platform:
        raise AirRefused(4, "PLATFORM_MISMATCH", policy.platform, found)
    if policy.now is not None and policy.most_age is not None:
        age = policy.now - claims[_IAT]
        if not 0 <= age <= policy.most_age:
            raise AirRefused(4, "STALE", f"0 to {policy.most_age} seconds old", age)


def make_air(kept: KeptReceipt, key: Ed25519PrivateKey, nonce: bytes | None = None) -> bytes:
    """A kept receipt, which the caller has checked, as an AIR of the user's verifier.

    ``model_hash`` is the receipt's hash of the weights, ``model_version`` the workload's digest. What an enclave does
    not say (time and memory of an answer) is 0.

    Raises:
        NoAir: evidence of a TEE that the draft has no registers for.
        AirRefused: a nonce of another length.
    """
    facts, receipt = kept.service, kept.signed.receipt
    kind = {"tdx": TDX, "nitro": NITRO}.get(facts.tee)
    if kind is None or len(facts.registers) != 3:
        raise NoAir(facts.tee)
    public = key.public_key().public_bytes_raw()
    claims: dict[int, Any] = {
        _ISS: f"urn:sealmarket:user:{hashlib.sha256(public).hexdigest()[:32]}",
        _IAT: int(kept.kept_at),
        _CTI: bytes(kept.name[:16]),
        _PROFILE: PROFILE,
        _MODEL_ID: str(kept.signed.engine.get("model", "sealed-model"))[:200] or "sealed-model",
        _MODEL_VERSION: str(receipt.workload),
        _MODEL_HASH: bytes(receipt.weights),
        _REQUEST: bytes(receipt.request_hash),
        _RESPONSE: bytes(receipt.response_hash),
        _ATTESTATION: bytes(facts.quote_sha256),
        _MEASUREMENTS: {
            "measurement_type": kind,
            **{f"pcr{at}": bytes(one) for at, one in enumerate(facts.registers)},
        },
        _POLICY: f"sealmarket:{facts.chain_id}:{facts.market}",
        _SEQUENCE: int(receipt.number),
        _MILLISECONDS: 0,
        _MEGABYTES: 0,
        _MODE: facts.grade,
    }
    if nonce is not None:
        claims[_NONCE] = nonce
    payload = cbor2.dumps(claims, canonical=True)
    _claims(payload)
    protected = cbor2.dumps({1: _EDDSA, 3: _CWT}, canonical=True)
    signature = key.sign(cbor2.dumps(["Signature1", protected, b"", payload]))
    return cbor2.dumps(cbor2.CBORTag(TAG_SIGN1, [protected, {}, payload, signature]))
