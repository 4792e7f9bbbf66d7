"""Appraisal results as EAT attestation results: EAR in a JWT signed by the verifier (RFC 9711; draft-fv-rats-ear).

Our profile of it: ES256 only, the key known to the reader beforehand. :func:`read_ear` takes the algorithm from no
header: ``alg`` must say ES256, and a header with a key of its own (``jwk``, ``x5c``, ``jku``, ``kid`` is
ignored) is refused, so neither ``none`` nor a shared-secret algorithm nor an attacker's key can pass.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Set
from datetime import datetime, timedelta
from importlib.metadata import version
from typing import Any

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ec import (
    ECDSA,
    SECP256R1,
    EllipticCurvePrivateKey,
    EllipticCurvePublicKey,
)
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from sealmarket.attestation.core.errors import AttestationError
from sealmarket.attestation.core.model import AppraisalResult, CompositeResult, TcbStatus
from sealmarket.attestation.core.reasons import Reason
from sealmarket.attestation.core.unreadable import NOT_JSON, NOT_X509
from sealmarket.attestation.policy.rules import AppraisalPolicy
from sealmarket_enclave.protocol.codec import canonical_json, parse_json
from sealmarket_enclave.protocol.hashing import sha256

PROFILE = "tag:github.com,2023:veraison/ear"
LIFETIME = timedelta(minutes=5)
_P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551

# Tiers and values of the AR4SI trustworthiness vector.
_AFFIRMING, _WARNING, _CONTRAINDICATED = "affirming", "warning", "contraindicated"
_CRYPTO_FAILED = 99
_RECOGNISED, _UNRECOGNISED_INSTANCE, _UNTRUSTWORTHY_INSTANCE = 2, 97, 96
_APPROVED, _UNRECOGNISED_RUNTIME = 2, 33
_GENUINE, _UNSAFE_HARDWARE, _CONTRAINDICATED_HARDWARE = 2, 32, 96
_ENCRYPTED, _VISIBLE = 2, 96
_OTHER_CODE = {
    Reason.MEASUREMENT_NOT_ALLOWED,
    Reason.NVIDIA_MEASUREMENT,
    Reason.NVIDIA_MEASUREMENT_MISSING,
    Reason.NVIDIA_RIM_MISSING,
    Reason.NVIDIA_RIM_VERSION,
}
_SAFE_CONFIGURATION, _UNSAFE_CONFIGURATION, _UNSUPPORTABLE = 2, 32, 96


Result = AppraisalResult | CompositeResult


class EarRefused(AttestationError):
    """An attestation result is not accepted."""


def trust_vector(result: AppraisalResult) -> dict[str, int]:
    """AR4SI values of a result."""
    report, reasons = result.report, set(result.reasons)
    doubts = reasons | {finding.reason for finding in result.warnings}
    unchecked = "measurement unchecked" in result.notes
    status = report.tcb.status if report is not None else None
    return trust_values(reasons, doubts, status, debug=report is not None and report.debug, unchecked=unchecked)


def trust_values(
    reasons: Set[Reason], doubts: Set[Reason], status: TcbStatus | None, *, debug: bool, unchecked: bool = False
) -> dict[str, int]:
    """AR4SI values: 2-31 affirming, 32-95 warning, 96-127 contraindicated, 99 when signatures fail.

    Args:
        reasons: those of the refusals.
        doubts: those of refusals and warnings.
        status: of the platform's firmware; None where the evidence is not authentic.
        debug: whether the enclave is in debug mode.
        unchecked: whether the measurement was held against no policy.
    """
    names = ("instance-identity", "configuration", "executables", "hardware", "runtime-opaque")
    if status is None:
        return dict.fromkeys(names, _CRYPTO_FAILED)
    hardware = _GENUINE if status in (TcbStatus.UP_TO_DATE, TcbStatus.NOT_RATED) else _UNSAFE_HARDWARE
    if status in (TcbStatus.REVOKED, TcbStatus.NO_LEVEL) or Reason.GRADE_TOO_LOW in reasons:
        hardware = _CONTRAINDICATED_HARDWARE
    identity = _RECOGNISED
    if reasons & {Reason.PLATFORM_NOT_ALLOWED, Reason.PLATFORM_UNIDENTIFIED}:
        identity = _UNRECOGNISED_INSTANCE
    elif Reason.CUSTODY_TOO_LOW in reasons:
        identity = _UNTRUSTWORTHY_INSTANCE
    executables = _UNRECOGNISED_RUNTIME if unchecked or doubts & _OTHER_CODE else _APPROVED
    configuration = _UNSUPPORTABLE if debug else _UNSAFE_CONFIGURATION if reasons else _SAFE_CONFIGURATION
    values = (identity, configuration, executables, hardware, _VISIBLE if debug else _ENCRYPTED)
    return dict(zip(names, values, strict=True))


def ear_claims(submods: Mapping[str, object], now: datetime) -> dict[str, Any]:
    """The claims set around its submodules, valid for five minutes."""
    return {
        "eat_profile": PROFILE,
        "iat": int(now.timestamp()),
        "exp": int((now + LIFETIME).timestamp()),
        "ear.verifier-id": {"developer": "sealmarket", "build": f"sealmarket {version('sealmarket')}"},
        "submods": submods,
    }


def submodule(vector: Mapping[str, int], policy: str, verdict: object, *, is_accepted: bool) -> dict[str, object]:
    """One part. The status is never better than the worst value of the vector, and affirms nothing that was refused."""
    worst = max(vector.values())
    status = _AFFIRMING if worst < 32 else _WARNING if worst < 96 else _CONTRAINDICATED
    if not is_accepted and status == _AFFIRMING:
        status = _CONTRAINDICATED
    return {
        "ear.status": status,
        "ear.trustworthiness-vector": vector,
        "ear.appraisal-policy-id": policy,
        "sealmarket.verdict": verdict,
    }


def _part(part: AppraisalResult, policy: str) -> dict[str, object]:
    answer = part.as_json()
    verdict = {name: answer[name] for name in answer if name != "claims"}
    made = submodule(trust_vector(part), policy, verdict, is_accepted=not part.findings)
    return {**made, "ear.veraison.annotated-evidence": answer["claims"]}


def load_key(pem: bytes) -> EllipticCurvePrivateKey:
    """The verifier's signing key. Raises :class:`EarRefused`."""
    try:
        key = load_pem_private_key(pem, None)
    except NOT_X509 as error:
        raise EarRefused(f"not an unencrypted private key in PEM: {error}") from error
    if not isinstance(key, EllipticCurvePrivateKey) or not isinstance(key.curve, SECP256R1):
        raise EarRefused("EARs are signed with a P-256 key")
    return key


def sign_ear(result: Result, key: EllipticCurvePrivateKey, now: datetime, rules: AppraisalPolicy | None) -> str:
    """The result as a JWT (``application/eat+jwt``), with one submodule for each part, valid for five minutes."""
    policy = f"sha256:{sha256(canonical_json(rules)).hex()}" if rules else "sealmarket:strict:measurement-unchecked"
    return sign_claims({label: _part(part, policy) for label, part in result.parts.items()}, key, now)


def sign_claims(submods: Mapping[str, object], key: EllipticCurvePrivateKey, now: datetime) -> str:
    """These submodules as a JWT, valid for five minutes."""
    header = _encode(msgspec.json.encode({"alg": "ES256", "typ": "eat+jwt"}))
    signed = f"{header}.{_encode(canonical_json(ear_claims(submods, now)))}"
    r, s = decode_dss_signature(key.sign(signed.encode(), ECDSA(SHA256())))
    return f"{signed}.{_encode(r.to_bytes(32) + min(s, _P256_ORDER - s).to_bytes(32))}"


def read_ear(token: str, key: EllipticCurvePublicKey, now: datetime) -> dict[str, Any]:
    """The claims of a token that this key signed and that holds now.

    Raises:
        EarRefused: another algorithm, a key in the header, a signature that does not verify, or not valid
        now.
    """
    parts = token.split(".")
    if len(parts) != 3:
        raise EarRefused(f"a signed token has three parts, found {len(parts)}")
    try:
        header = parse_json(_decode(parts[0]), dict[str, Any])
        signature = _decode(parts[2])
        if header.get("alg") != "ES256" or set(header) - {"alg", "typ", "kid"}:
            raise EarRefused(f"expected a header with alg ES256 and no key, found {header}")
        if len(signature) != 64:
            raise EarRefused(f"an ES256 signature is 64 bytes, found {len(signature)}")
        encoded = encode_dss_signature(int.from_bytes(signature[:32]), int.from_bytes(signature[32:]))
        key.verify(encoded, f"{parts[0]}.{parts[1]}".encode(), ECDSA(SHA256()))
        claims: dict[str, Any] = parse_json(_decode(parts[1]), dict[str, Any])
    except InvalidSignature as error:
        raise EarRefused("the signature is not the verifier's") from error
    except (*NOT_JSON, binascii.Error, UnicodeEncodeError) as error:
        raise EarRefused(f"not a token: {error}") from error
    if claims.get("eat_profile") != PROFILE:
        raise EarRefused(f"expected profile {PROFILE}, found {claims.get('eat_profile')}")
    issued, until = claims.get("iat"), claims.get("exp")
    if (
        not isinstance(issued, int)
        or not isinstance(until, int)
        or not issued <= now.timestamp() + 60
        or now.timestamp() > until
    ):
        raise EarRefused(f"valid from {issued} to {until}, now is {int(now.timestamp())}")
    return claims


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _decode(text: str) -> bytes:
    return base64.b64decode(text.encode("ascii") + b"=" * (-len(text) % 4), altchars=b"-_", validate=True)
