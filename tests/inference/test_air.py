"""Attested Inference Receipts: the public vectors, and a receipt of the market as one."""

from __future__ import annotations

import json
from dataclasses import replace as change
from pathlib import Path
from typing import Any

import cbor2
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from scripts.toolchain import ROOT
from sealmarket.inference.air import PROFILE, TDX, AirPolicy, AirRefused, NoAir, make_air, verify_air
from sealmarket.inference.receipts import FILE, KeptReceipt, read_receipts
from tests.inference.enclave import FakeEnclave, said

VECTORS = ROOT.parent / "shared/vectors/air"
KEY = Ed25519PrivateKey.from_private_bytes(b"\x2a" * 32)


def vectors(prefix: str) -> list[Any]:
    """The vectors of a kind; one that says why there are none where the shared folder is not here."""
    files = sorted(VECTORS.glob(f"{prefix}-*.json"))
    absent = pytest.param(None, marks=pytest.mark.skip(reason="../shared/vectors/air is not here"))
    return [pytest.param(path, id=path.stem) for path in files] or [absent]


def policy_of(vector: dict[str, Any]) -> AirPolicy:
    asked = vector.get("verify_policy", {})
    nonce, model = (asked.get(f"expected_{name}_hex") for name in ("nonce", "model_hash"))
    return AirPolicy(
        nonce=bytes.fromhex(nonce) if nonce else None,
        model_hash=bytes.fromhex(model) if model else None,
        platform=asked.get("expected_platform"),
    )


@pytest.mark.parametrize("path", vectors("invalid"))
def test_an_invalid_public_vector_is_refused_in_its_layer_with_its_code(path: Path) -> None:
    vector = json.loads(path.read_text())
    key = vector.get("wrong_public_key_hex") or vector["public_key_hex"]
    public = Ed25519PublicKey.from_public_bytes(bytes.fromhex(key))
    with pytest.raises(AirRefused) as refused:
        verify_air(bytes.fromhex(vector["receipt_hex"]), public, policy_of(vector))
    expected = vector["expected_failure"]
    assert (refused.value.layer, refused.value.code) == (expected["layer"], expected["code"])


@pytest.mark.parametrize("path", vectors("valid"))
def test_a_valid_public_vector_is_accepted_with_its_claims(path: Path) -> None:
    vector = json.loads(path.read_text())
    public = Ed25519PublicKey.from_public_bytes(bytes.fromhex(vector["public_key_hex"]))
    nonce = bytes.fromhex(vector["claims"]["eat_nonce_hex"])
    claims = verify_air(bytes.fromhex(vector["receipt_hex"]), public, AirPolicy(nonce=nonce, platform=TDX))
    assert claims[1] == vector["claims"]["iss"]
    assert claims[-65539].hex() == vector["claims"]["model_hash_hex"]


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> KeptReceipt:
    folder = tmp_path_factory.mktemp("service")
    said(FakeEnclave().asker(folder))
    return next(read_receipts(folder / FILE))


def signed(claims: dict[Any, Any], header: dict[int, Any] | None = None, key: Ed25519PrivateKey = KEY) -> bytes:
    protected = cbor2.dumps({1: -8, 3: 61} if header is None else header)
    payload = cbor2.dumps(claims, canonical=True)
    signature = key.sign(cbor2.dumps(["Signature1", protected, b"", payload]))
    return cbor2.dumps(cbor2.CBORTag(18, [protected, {}, payload, signature]))


CHANGES: list[tuple[Any, Any, str]] = [
    (265, "https://example.org", "BAD_PROFILE"),
    (1, "", "BAD_CLAIM"),
    (6, -1, "BAD_CLAIM"),
    (6, True, "BAD_CLAIM"),
    (7, bytes(15), "BAD_CLAIM"),
    (10, bytes(7), "BAD_CLAIM"),
    (-65539, bytes(32), "ZERO_MODEL_HASH"),
    (-65540, bytes(31), "BAD_CLAIM"),
    (-65543, [], "BAD_MEASUREMENTS"),
    (-65543, {"measurement_type": "sgx"}, "BAD_MEASUREMENT_TYPE"),
    (-65543, {"measurement_type": TDX, "pcr0": bytes(48)}, "BAD_MEASUREMENTS"),
    (-65543, {"measurement_type": TDX, **{f"pcr{n}": bytes(48) for n in (0, 1, 2, 8)}}, "BAD_MEASUREMENTS"),
    (-65549, "sha1", "UNKNOWN_HASH_SCHEME"),
    (-65549, ["sha256-single"], "UNKNOWN_HASH_SCHEME"),
    (-70000, 1, "UNKNOWN_CLAIM"),
    (7, None, "MISSING_CLAIM"),
]


@pytest.mark.parametrize(("label", "value", "code"), CHANGES)
def test_a_claim_out_of_form_is_refused_though_it_is_signed(
    label: int, value: Any, code: str, kept: KeptReceipt
) -> None:
    claims = dict(verify_air(make_air(kept, KEY), KEY.public_key(), AirPolicy()))
    changed = {name: one for name, one in (claims | {label: value}).items() if one is not None}
    with pytest.raises(AirRefused) as refused:
        verify_air(signed(changed), KEY.public_key(), AirPolicy())
    assert (refused.value.layer, refused.value.code) == (3, code)


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        (b"", "BAD_STRUCTURE"),
        (b"\xff", "BAD_STRUCTURE"),
        (bytes(70_000), "BAD_STRUCTURE"),
        (cbor2.dumps([b"", {}, b"", b""]), "BAD_STRUCTURE"),
        (signed({}, {1: -7, 3: 61}), "BAD_ALG"),
        (signed({}, {1: -8}), "BAD_HEADER"),
        (signed({}, {1: -8, 3: 61, 4: b"key"}), "BAD_HEADER"),
    ],
)
def test_what_is_no_receipt_is_refused_in_the_first_layer(raw: bytes, code: str) -> None:
    with pytest.raises(AirRefused) as refused:
        verify_air(raw, KEY.public_key(), AirPolicy())
    assert (refused.value.layer, refused.value.code) == (1, code)


@settings(max_examples=60)
@given(place=st.integers(0, (1 << 16) - 1), bit=st.integers(0, 7))
def test_no_change_of_one_byte_is_accepted(kept: KeptReceipt, place: int, bit: int) -> None:
    raw = make_air(kept, KEY)
    at = place % len(raw)
    with pytest.raises(AirRefused):
        verify_air(raw[:at] + bytes([raw[at] ^ 1 << bit]) + raw[at + 1 :], KEY.public_key(), AirPolicy())


def test_an_old_receipt_is_refused_where_the_reader_names_an_age(kept: KeptReceipt) -> None:
    raw, now = make_air(kept, KEY), int(kept.kept_at)
    for late in (now + 11, now - 1):
        with pytest.raises(AirRefused, match="STALE"):
            verify_air(raw, KEY.public_key(), AirPolicy(now=late, most_age=10))
    verify_air(raw, KEY.public_key(), AirPolicy(now=now + 10, most_age=10))


def test_evidence_without_registers_of_the_draft_gives_no_receipt_of_it(kept: KeptReceipt) -> None:
    with pytest.raises(NoAir, match="snp"):
        make_air(replace(kept, service=replace(kept.service, tee="snp", registers=())), KEY)


def test_a_receipt_of_the_market_is_one_of_the_draft_with_the_same_hashes(kept: KeptReceipt) -> None:
    policy = AirPolicy(nonce=b"12345678", model_hash=bytes(kept.signed.receipt.weights), platform=TDX)
    raw = make_air(kept, KEY, b"12345678")
    claims = verify_air(raw, KEY.public_key(), policy)
    assert claims[265] == PROFILE
    assert claims[-65540] == kept.signed.receipt.request_hash
    assert claims[-65541] == kept.signed.receipt.response_hash
    assert claims[-65548] == "simulated"
    with pytest.raises(AirRefused, match="NONCE_MISMATCH"):
        verify_air(make_air(kept, KEY), KEY.public_key(), policy)
    with pytest.raises(AirRefused, match="SIG_FAILED"):
        verify_air(raw, Ed25519PrivateKey.generate().public_key(), change(policy, nonce=None))
