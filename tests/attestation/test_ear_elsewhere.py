"""What the verifier signs is read by others: PyJWT takes the token, and the claims keep to draft-fv-rats-ear."""

from __future__ import annotations

import json
from typing import Any, cast

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from sealmarket.attestation.core.model import AppraisalResult
from sealmarket.attestation.policy.ear import LIFETIME, PROFILE, read_ear, sign_ear
from tests.attestation.support import NOW, forged
from tests.forge.intel import IntelForge

KEY = ec.generate_private_key(ec.SECP256R1())
TIERS = {"none": 0, "affirming": 2, "warning": 32, "contraindicated": 96}
VECTOR = {
    "instance-identity",
    "configuration",
    "executables",
    "file-system",
    "hardware",
    "runtime-opaque",
    "storage-opaque",
    "sourced-data",
}


@pytest.fixture(scope="module")
def forge() -> IntelForge:
    return IntelForge(NOW)


def results(forge: IntelForge) -> dict[str, AppraisalResult]:
    """An accepted, a refused and an unauthentic result."""
    quote = forge.tdx_quote()
    debugged = forge.tdx_quote(forge.td_report(td_attributes=1 << 28 | 1))
    return {
        "accepted": forged(forge, quote),
        "debug": forged(forge, debugged),
        "broken": forged(forge, quote[:-700] + bytes(700)),
    }


def read_elsewhere(token: str, key: Any = None, **options: Any) -> dict[str, Any]:
    """The claims as PyJWT reads them, at the time of these tests."""
    checks = {"verify_exp": False, "verify_iat": False, **options}
    found = jwt.decode(token, key or KEY.public_key(), algorithms=["ES256"], options=cast("Any", checks))
    return dict(found)


@pytest.mark.parametrize("name", ["accepted", "debug", "broken"])
def test_a_public_library_reads_the_claims_that_we_read(forge: IntelForge, name: str) -> None:
    token = sign_ear(results(forge)[name], KEY, NOW, None)
    assert read_elsewhere(token) == read_ear(token, KEY.public_key(), NOW)
    assert jwt.get_unverified_header(token) == {"alg": "ES256", "typ": "eat+jwt"}
    pem = KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    assert read_elsewhere(token, pem) == read_elsewhere(token)


def test_a_public_library_refuses_another_key_another_claim_and_a_token_that_is_over(forge: IntelForge) -> None:
    token = sign_ear(results(forge)["accepted"], KEY, NOW, None)
    with pytest.raises(jwt.InvalidSignatureError):
        read_elsewhere(token, ec.generate_private_key(ec.SECP256R1()).public_key())
    header, claims, signature = token.split(".")
    changed = jwt.utils.base64url_encode(jwt.utils.base64url_decode(claims).replace(b"warning", b"affirms")).decode()
    with pytest.raises(jwt.InvalidSignatureError):
        read_elsewhere(f"{header}.{changed}.{signature}")
    with pytest.raises(jwt.ExpiredSignatureError):
        read_elsewhere(token, verify_exp=True)
    with pytest.raises(jwt.InvalidAlgorithmError):
        jwt.decode(token, KEY.public_key(), algorithms=["ES384", "HS256"])


def test_a_token_that_a_public_library_signs_is_read_here(forge: IntelForge) -> None:
    claims = read_elsewhere(sign_ear(results(forge)["accepted"], KEY, NOW, None))
    assert read_ear(jwt.encode(claims, KEY, "ES256"), KEY.public_key(), NOW) == claims


@pytest.mark.parametrize("name", ["accepted", "debug", "broken"])
def test_the_claims_keep_to_the_draft(forge: IntelForge, name: str) -> None:
    claims = read_elsewhere(sign_ear(results(forge)[name], KEY, NOW, None))
    assert claims["eat_profile"] == PROFILE
    assert claims["exp"] - claims["iat"] == LIFETIME.total_seconds()
    assert claims["ear.verifier-id"].keys() == {"developer", "build"}
    assert claims["submods"]
    for part in claims["submods"].values():
        vector = part["ear.trustworthiness-vector"]
        assert vector.keys() <= VECTOR
        assert all(-128 <= value <= 127 for value in vector.values())
        worst = max(vector.values())
        tier = next(tier for tier in (96, 32, 2, 0) if worst >= tier)
        assert TIERS[part["ear.status"]] >= tier, "the status is no better than the worst value"
        assert isinstance(part["ear.appraisal-policy-id"], str)
    assert json.loads(json.dumps(claims)) == claims
    statuses = {part["ear.status"] for part in claims["submods"].values()}
    assert ("affirming" in statuses or "warning" in statuses) is (name == "accepted")
