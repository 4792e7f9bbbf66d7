"""What a verifier of CCA tokens must refuse, one test for each rule. Published tokens: ``test_cca_vectors``."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256, sha384, sha512
from typing import Any

import cbor2
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from sealmarket.attestation.arm.authenticate import CcaBody, authenticate, development_keys
from sealmarket.attestation.arm.documents import PlatformKey
from sealmarket.attestation.arm.reading import read_document
from sealmarket.attestation.arm.rules import CcaRules
from sealmarket.attestation.arm.token import read_token
from sealmarket.attestation.collateral.bundle import export_bundle, import_bundle
from sealmarket.attestation.collateral.store import CollateralStore
from sealmarket.attestation.collateral.trust_anchors import TrustAnchors
from sealmarket.attestation.core.errors import CollateralError, EvidenceRefused
from sealmarket.attestation.core.evidence import Endorsements, Evidence
from sealmarket.attestation.core.model import AuthenticReport
from sealmarket.attestation.core.reasons import Reason
from sealmarket.attestation.parse import parse
from sealmarket.attestation.policy.explain import explain
from sealmarket.attestation.policy.rules import AppraisalPolicy, PlatformRule
from sealmarket.attestation.policy.verify import Expected, appraise, verify
from sealmarket.attestation.raw import parse_endorsements, parse_raw
from sealmarket_devices.pki import Validity, certify, distinguished_name
from sealmarket_enclave.protocol.codec import Bytes32
from sealmarket_enclave.protocol.numbers import Grade, Tee
from tests.forge.cca import (
    CORIM_REALM,
    IMPLEMENTATION,
    INSTANCE,
    OLD_PROFILE,
    PLATFORM_PROFILE,
    SIGNER,
    CcaForge,
    cose_key,
)
from tests.forge.nitro import other_form, p384_key

NOW = datetime(2026, 3, 1, tzinfo=UTC)
CHALLENGE = bytes(range(64))
EXPECTED = Expected(report_data=CHALLENGE, tee=Tee.CCA)
FORGE = CcaForge()
STRANGER = ec.generate_private_key(ec.SECP384R1())
P256 = ec.generate_private_key(ec.SECP256R1())


def certificate(key: ec.EllipticCurvePrivateKey) -> x509.Certificate:
    """A certificate that holds the key of a CoRIM's signer."""
    period = Validity(start=NOW - timedelta(days=1), end=NOW + timedelta(days=1))
    return certify(distinguished_name("a signer"), key.public_key(), None, key, period, path_length=0)


def named(*documents: bytes) -> TrustAnchors:
    """Anchors of a caller who names these documents' keys as development roots."""
    keys = development_keys(Endorsements(documents=documents))
    return TrustAnchors.production().with_development_keys(keys)


def prove(
    token: bytes,
    *documents: bytes,
    roots: TrustAnchors | None = None,
    certificates: tuple[x509.Certificate, ...] = (),
    now: datetime = NOW,
) -> AuthenticReport:
    """Authenticate under the forge's key, named by the caller, unless other documents are given."""
    given = documents or (FORGE.anchors(),)
    endorsements = Endorsements(documents=given, certificates=certificates)
    return authenticate(Evidence(tee=Tee.CCA, raw=token), endorsements, roots or named(FORGE.anchors()), now)


def refusal(token: bytes, *documents: bytes, **settings: Any) -> Reason:
    """The reason of the first step that failed."""
    with pytest.raises(EvidenceRefused) as caught:
        prove(token, *documents, **settings)
    return caught.value.finding.reason


def rules_for(report: AuthenticReport, **cca: Any) -> AppraisalPolicy:
    """Rules that the report meets but for what a test changes."""
    rules = CcaRules(**{"reference_values": "warn", **cca})
    return AppraisalPolicy(measurements=(report.measurement,), platforms="any", lowest_grade="simulated", cca=rules)


def findings(token: bytes, *documents: bytes, **cca: Any) -> list[Reason]:
    """Everything that the rules refuse about an authentic token."""
    report = prove(token, FORGE.anchors(), *documents)
    return [f.reason for f in appraise(report, rules_for(report, **cca), NOW, EXPECTED).findings]


def listed(*documents: bytes) -> tuple[Bytes32, ...]:
    return tuple(Bytes32(sha256(one).digest()) for one in documents)


# What holds, so that each refusal below is due to its one change.


def test_the_forges_defaults_are_accepted() -> None:
    assert findings(FORGE.token()) == []
    report = prove(FORGE.token())
    assert (report.grade, report.report_data, report.debug) == (Grade.SIMULATED, CHALLENGE, False)
    assert report.platform.identity == INSTANCE


@pytest.mark.parametrize("tag", [399, 907])
@pytest.mark.parametrize("old", [False, True])
def test_both_collections_and_both_encodings_of_the_realms_key_are_read(tag: int, old: bool) -> None:
    rak = FORGE.rak_point() if old else None
    changes: dict[str, Any] = {"platform": {265: OLD_PROFILE}, "realm": {265: ...}} if old else {}
    token = FORGE.token(rak=rak, tag=tag, **changes)
    assert parse(token).tee is parse_raw(Tee.CCA, token).tee is Tee.CCA
    assert prove(token).report_data == CHALLENGE


def test_one_token_in_both_collections_and_with_the_other_form_of_a_signature_has_one_name() -> None:
    realm = FORGE.token()
    again = FORGE.collect(
        cbor2.dumps(FORGE.platform_claims(cose_key(FORGE.rak))), cbor2.dumps(FORGE.realm_claims(cose_key(FORGE.rak)))
    )
    forms = (realm, other_form(realm), again, FORGE.token(tag=907))
    assert len({prove(form).evidence_digest for form in forms}) == 1


@pytest.mark.parametrize(("name", "hashed"), [("sha-256", sha256), ("sha-384", sha384), ("sha-512", sha512)])
def test_the_realms_key_is_bound_by_each_hash_that_a_realm_names(name: str, hashed: Any) -> None:
    bound = hashed(cose_key(FORGE.rak)).digest()
    assert prove(FORGE.token(platform={10: bound}, realm={44240: name})).report_data == CHALLENGE


def test_claims_that_are_unknown_decide_nothing_and_are_shown() -> None:
    report = prove(FORGE.token(platform={99999: 1}, realm={"more": 2}))
    assert report.claims()["unknown_claims"] == ["99999", "more"]


@pytest.mark.parametrize("curve", [ec.SECP256R1(), ec.SECP521R1()])
def test_a_platforms_key_may_be_on_another_curve_than_the_realms(curve: ec.EllipticCurve) -> None:
    key = ec.generate_private_key(curve)
    anchors = FORGE.anchors({"pkey": FORGE.jwk(key.public_key())})
    algorithm = {"secp256r1": -7, "secp521r1": -36}[curve.name]
    token = sign_platform(key, algorithm)
    assert prove(token, anchors, roots=named(anchors)).grade is Grade.SIMULATED


def sign_platform(key: ec.EllipticCurvePrivateKey, algorithm: int) -> bytes:
    """The forge's token with a platform token under a key of another curve."""
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

    payload = cbor2.dumps(FORGE.platform_claims(cose_key(FORGE.rak)))
    protected = cbor2.dumps({1: algorithm})
    digest = {-7: hashes.SHA256(), -36: hashes.SHA512()}[algorithm]
    half = (key.curve.key_size + 7) // 8
    r, s = decode_dss_signature(key.sign(cbor2.dumps(["Signature1", protected, b"", payload]), ec.ECDSA(digest)))
    envelope = cbor2.dumps(cbor2.CBORTag(18, [protected, {}, payload, r.to_bytes(half) + s.to_bytes(half)]))
    realm = cbor2.loads(FORGE.token()).value[44241]
    return FORGE.collection(envelope, realm)


# 6, 7, 62: one spelling.


@pytest.mark.parametrize("share", [1, 10, 50, 99])
def test_a_token_cut_short_is_refused(share: int) -> None:
    token = FORGE.token()
    assert refusal(token[: len(token) * share // 100]) is Reason.TRUNCATED


@pytest.mark.parametrize("tail", [b"\0", b"\xff" * 8])
def test_trailing_bytes_are_refused(tail: bytes) -> None:
    assert refusal(FORGE.token() + tail) is Reason.TRAILING_BYTES


def test_a_token_of_more_bytes_than_any_is_refused() -> None:
    assert refusal(bytes((64 << 10) + 1)) is Reason.MALFORMED


@pytest.mark.parametrize("label", [10, 44237, 265])
def test_a_claim_that_comes_twice_is_refused(label: int) -> None:
    rak = cose_key(FORGE.rak)
    claims = FORGE.realm_claims(rak)
    pairs = [*claims.items(), (label, claims[label])]
    twice = bytes([0xA0 | len(pairs)]) + b"".join(cbor2.dumps(k) + cbor2.dumps(v) for k, v in pairs)
    assert refusal(FORGE.collect(cbor2.dumps(FORGE.platform_claims(rak)), twice)) is Reason.DUPLICATE_KEY


def test_claims_of_indefinite_length_are_refused() -> None:
    rak = cose_key(FORGE.rak)
    endless = b"\xbf" + cbor2.dumps(FORGE.realm_claims(rak))[1:] + b"\xff"
    assert refusal(FORGE.collect(cbor2.dumps(FORGE.platform_claims(rak)), endless)) is Reason.NON_CANONICAL


@pytest.mark.parametrize("tag", [18, 400, 61])
def test_another_collection_is_refused(tag: int) -> None:
    item = cbor2.loads(FORGE.token()).value
    assert refusal(cbor2.dumps(cbor2.CBORTag(tag, dict(item)))) is Reason.UNSUPPORTED_FORMAT


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (lambda p, r: {44234: p}, Reason.MALFORMED),
        (lambda p, r: {44234: p, 44241: r, 1: r}, Reason.MALFORMED),
        (lambda p, r: [p, r], Reason.MALFORMED),
        (lambda p, r: {44234: p, 44241: "text"}, Reason.MALFORMED),
        (lambda p, r: {44234: [263, p], 44241: [263, r]}, Reason.MALFORMED),
    ],
)
def test_a_collection_of_other_parts_is_refused(value: Any, reason: Reason) -> None:
    parts = cbor2.loads(FORGE.token()).value
    changed = value(parts[44234], parts[44241])
    assert refusal(cbor2.dumps(cbor2.CBORTag(399, changed))) is reason


@pytest.mark.parametrize("record", [[262], [262, b""], [263, b"", 1], ["application/eat+cwt", b""], b""])
def test_a_record_of_another_content_format_is_refused(record: Any) -> None:
    parts = cbor2.loads(FORGE.token()).value
    changed = {44234: record, 44241: [263, parts[44241]]}
    assert refusal(cbor2.dumps(cbor2.CBORTag(907, changed))) is Reason.UNSUPPORTED_FORMAT


def test_a_token_without_the_tag_of_cose_is_refused() -> None:
    assert refusal(FORGE.token(cose_tag=None)) is Reason.MALFORMED


def test_labels_outside_the_signature_are_refused() -> None:
    assert refusal(FORGE.token(envelope={"unprotected": {4: b"any"}})) is Reason.NON_CANONICAL


@pytest.mark.parametrize("label", [2, 4, 33])
def test_an_unknown_label_in_a_header_is_refused(label: int) -> None:
    assert refusal(FORGE.token(platform_header={1: -35, label: b"x"})) is Reason.UNSUPPORTED_FORMAT


# The claims.


@pytest.mark.parametrize("label", [10, 2396, 256, 2401, 2395, 2399, 2402])
def test_a_platform_claim_that_is_missing_is_refused(label: int) -> None:
    assert refusal(FORGE.token(platform={label: ...})) is Reason.MALFORMED


@pytest.mark.parametrize("label", [44235, 44237, 44238, 44239])
def test_a_realm_claim_that_is_missing_is_refused(label: int) -> None:
    assert refusal(FORGE.token(realm={label: ...})) is Reason.MALFORMED


@pytest.mark.parametrize("label", [44236, 44240])
@pytest.mark.parametrize("name", [..., "sha-1", "md5", 5, "SHA-256"])
def test_a_hash_algorithm_that_is_unknown_or_missing_is_refused(label: int, name: Any) -> None:
    assert refusal(FORGE.token(realm={label: name})) is Reason.UNSUPPORTED_FORMAT


@pytest.mark.parametrize(
    "claim",
    [
        {10: bytes(31)},
        {10: "text"},
        {2396: bytes(31)},
        {256: bytes(33)},
        {256: b"\x01" + bytes(31)},
        {2401: b""},
        {2401: bytes(1025)},
        {2395: -1},
        {2395: 0x10000},
        {2395: True},
        {2395: "3000"},
        {2402: ""},
        {2399: []},
        {2399: [{}] * 65},
        {2399: [1]},
        {2399: [{2: bytes(32)}]},
        {2399: [{2: bytes(31), 5: bytes(32)}]},
        {2399: [{1: 7, 2: bytes(32), 5: bytes(32)}]},
    ],
)
def test_a_platform_claim_of_another_kind_or_size_is_refused(claim: dict[int, Any]) -> None:
    assert refusal(FORGE.token(platform=claim)) is Reason.MALFORMED


@pytest.mark.parametrize(
    "claim",
    [
        {44235: bytes(63)},
        {44238: bytes(33)},
        {44239: [bytes(32)] * 3},
        {44239: [bytes(32)] * 5},
        {44239: [bytes(32)] * 3 + [bytes(64)]},
        {44239: bytes(128)},
        {44237: b""},
        {44237: bytes(257)},
    ],
)
def test_a_realm_claim_of_another_kind_or_size_is_refused(claim: dict[int, Any]) -> None:
    assert refusal(FORGE.token(realm=claim)) is Reason.MALFORMED


def test_claims_that_are_no_map_are_refused() -> None:
    claims = cbor2.dumps(FORGE.platform_claims(cose_key(FORGE.rak)))
    assert refusal(FORGE.collect(claims, cbor2.dumps([1, 2]))) is Reason.MALFORMED
    assert refusal(FORGE.collect(b"\x80", claims)) is Reason.MALFORMED


@pytest.mark.parametrize("profile", [..., None, "tag:arm.com,2023:realm#1.0.0", "http://arm.com/CCA-SSD/2.0.0", 7])
def test_another_profile_of_a_platform_is_refused(profile: Any) -> None:
    assert refusal(FORGE.token(platform={265: profile})) is Reason.CCA_PROFILE


@pytest.mark.parametrize("profile", [PLATFORM_PROFILE, OLD_PROFILE, "tag:arm.com,2023:realm#2.0.0", 7])
def test_another_profile_of_a_realm_is_refused(profile: Any) -> None:
    assert refusal(FORGE.token(realm={265: profile})) is Reason.CCA_PROFILE


# 55, 56, 59, 60, 61: keys and bindings.


@pytest.mark.parametrize("bound", [bytes(32), sha256(b"another key").digest()])
def test_a_realms_key_that_the_platform_does_not_vouch_for_is_refused(bound: bytes) -> None:
    assert refusal(FORGE.token(platform={10: bound})) is Reason.CCA_BINDING


def test_a_realms_key_bound_by_another_hash_than_the_named_is_refused() -> None:
    bound = sha512(cose_key(FORGE.rak)).digest()
    assert refusal(FORGE.token(platform={10: bound})) is Reason.CCA_BINDING
    assert refusal(FORGE.token(platform={10: sha256(cose_key(FORGE.rak)).digest()[:31] + b"x"})) is Reason.CCA_BINDING


@pytest.mark.parametrize("challenge", [..., None, b"", bytes(32), bytes(63), bytes(65), "x" * 64])
def test_a_challenge_that_is_not_64_bytes_is_refused(challenge: Any) -> None:
    assert refusal(FORGE.token(realm={10: challenge})) is Reason.CCA_CHALLENGE


def test_a_challenge_is_compared_to_its_last_byte() -> None:
    changed = FORGE.token(realm={10: CHALLENGE[:-1] + b"\0"})
    assert findings(changed) == [Reason.REPORT_DATA_MISMATCH]


def off_curve(point: bytes) -> bytes:
    return point[:-1] + bytes([point[-1] ^ 1])


@pytest.mark.parametrize(
    "rak",
    [
        off_curve(FORGE.rak_point()),
        b"\x04" + bytes(96),
        FORGE.rak_point()[:-1],
        FORGE.rak_point() + b"\0",
        off_curve(cose_key(FORGE.rak)),
        P256.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint),
        cose_key(P256, 1),
        cose_key(P256, 2),
        cose_key(FORGE.rak, 1),
        cose_key(FORGE.rak, 2, **{"3": -7}),
        cose_key(FORGE.rak, 2, **{"4": [2]}),
        cbor2.dumps({1: 2, -1: 2, -2: bytes(48)}),
        cbor2.dumps([1, 2]),
    ],
)
def test_a_realms_key_off_its_curve_or_of_another_curve_is_refused(rak: bytes) -> None:
    assert refusal(FORGE.token(rak=rak)) is Reason.KEY_INVALID


def test_a_realms_key_may_name_its_own_algorithm() -> None:
    assert prove(FORGE.token(rak=cose_key(FORGE.rak, 2, **{"3": -35}))).report_data == CHALLENGE


def test_a_realm_token_that_another_key_signed_is_refused() -> None:
    assert refusal(FORGE.token(realm_key=STRANGER)) is Reason.SIGNATURE_INVALID


def test_a_platform_token_that_another_key_signed_is_refused() -> None:
    assert refusal(FORGE.token(platform_key=STRANGER)) is Reason.SIGNATURE_INVALID


def test_a_platform_token_that_was_proven_once_is_not_proven_under_another_key() -> None:
    prove(FORGE.token())
    anchors = FORGE.anchors({"pkey": FORGE.jwk(STRANGER.public_key())})
    assert refusal(FORGE.token(), anchors, roots=named(anchors)) is Reason.SIGNATURE_INVALID
    platform = cbor2.loads(cbor2.loads(FORGE.token()).value[44234]).value
    altered = cbor2.dumps(cbor2.CBORTag(18, [*platform[:3], bytes(96)]))
    realm = cbor2.loads(FORGE.token()).value[44241]
    assert refusal(FORGE.collection(altered, realm)) is Reason.SIGNATURE_INVALID


@pytest.mark.parametrize("part", ["platform_header", "realm_header"])
@pytest.mark.parametrize("header", [{1: -7}, {1: -36}, {}, {1: -37}])
def test_an_algorithm_that_is_not_the_keys_is_refused(part: str, header: dict[int, int]) -> None:
    changes: dict[str, Any] = {part: header}
    assert refusal(FORGE.token(**changes)) is Reason.SIGNATURE_ALGORITHM


def test_tokens_that_are_swapped_are_refused() -> None:
    parts = cbor2.loads(FORGE.token()).value
    assert refusal(FORGE.collection(parts[44241], parts[44234])) is Reason.CCA_PROFILE


def test_a_realm_token_of_another_platform_is_refused() -> None:
    other = CcaForge()
    other.rak = STRANGER
    mine, theirs = (cbor2.loads(forge.token()).value for forge in (FORGE, other))
    assert refusal(FORGE.collection(mine[44234], theirs[44241])) is Reason.CCA_BINDING


@pytest.mark.parametrize(
    "record", [{"implementation-id": "11" * 32}, {"instance-id": "01" + "22" * 32}, {"instance-id": "01" + "00" * 32}]
)
def test_a_key_of_another_implementation_or_instance_is_not_this_platforms(record: dict[str, str]) -> None:
    anchors = FORGE.anchors(record)
    assert refusal(FORGE.token(), anchors, roots=named(anchors)) is Reason.CCA_KEY_UNKNOWN


def test_a_token_without_its_platforms_key_is_refused() -> None:
    evidence = Evidence(tee=Tee.CCA, raw=FORGE.token())
    with pytest.raises(EvidenceRefused) as caught:
        authenticate(evidence, Endorsements(), named(FORGE.anchors()), NOW)
    assert caught.value.finding.reason is Reason.CCA_KEY_UNKNOWN


def test_a_key_that_nobody_trusts_proves_nothing() -> None:
    assert refusal(FORGE.token(), roots=TrustAnchors.production()) is Reason.UNTRUSTED_ROOT
    own = FORGE.anchors({"pkey": FORGE.jwk(STRANGER.public_key())})
    assert refusal(FORGE.token(platform_key=STRANGER), own) is Reason.UNTRUSTED_ROOT


def test_of_several_keys_of_one_platform_the_one_that_signed_counts() -> None:
    anchors = FORGE.anchors({"pkey": FORGE.jwk(STRANGER.public_key())}, {})
    assert prove(FORGE.token(), anchors, roots=named(anchors)).grade is Grade.SIMULATED


def pinned(*keys: ec.EllipticCurvePrivateKey) -> TrustAnchors:
    """Anchors in which these keys are a vendor's."""
    spkis = {PlatformKey(IMPLEMENTATION, INSTANCE, key.public_key()).spki for key in keys}
    return TrustAnchors({Tee.CCA: frozenset(spkis)})


# 58: keys whose private half is published.


def test_a_published_key_counts_under_a_development_root_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    from sealmarket.attestation.arm import authenticate as module

    (key,) = read_document(FORGE.anchors()).keys
    assert prove(FORGE.token(), roots=pinned(FORGE.cpak)).grade is Grade.HARDWARE
    monkeypatch.setattr(module, "PUBLISHED_KEYS", frozenset({key.spki}))
    assert refusal(FORGE.token(), roots=pinned(FORGE.cpak)) is Reason.CCA_DEVELOPMENT_KEY
    assert refusal(FORGE.token(), roots=TrustAnchors.production()) is Reason.CCA_DEVELOPMENT_KEY
    signer = p384_key("signer")
    signed = FORGE.signed_corim(signer)
    chain = {"roots": pinned(signer), "certificates": (certificate(signer),)}
    assert refusal(FORGE.token(), signed, **chain) is Reason.CCA_DEVELOPMENT_KEY
    assert prove(FORGE.token()).grade is Grade.SIMULATED


# Documents: trust anchors.


@pytest.mark.parametrize(
    "record",
    [
        {"pkey": {}},
        {"pkey": {**FORGE.jwk(FORGE.cpak.public_key()), "kty": "RSA"}},
        {"pkey": {**FORGE.jwk(FORGE.cpak.public_key()), "crv": "P-256"}},
        {"pkey": {**FORGE.jwk(FORGE.cpak.public_key()), "crv": "secp256k1"}},
        {"pkey": {**FORGE.jwk(FORGE.cpak.public_key()), "y": FORGE.jwk(FORGE.cpak.public_key())["x"]}},
        {"pkey": {**FORGE.jwk(FORGE.cpak.public_key()), "x": "!!"}},
        {"pkey": {**FORGE.jwk(FORGE.cpak.public_key()), "x": 7}},
        {"pkey": {**FORGE.jwk(FORGE.cpak.public_key()), "d": "AA"}},
        {"implementation-id": "00"},
        {"implementation-id": "zz" * 32},
        {"instance-id": None},
    ],
)
def test_a_trust_anchor_that_is_not_usable_is_refused(record: dict[str, Any]) -> None:
    with pytest.raises(CollateralError):
        read_document(FORGE.anchors(record))


@pytest.mark.parametrize(
    "raw",
    [
        json.dumps(FORGE.jwk(FORGE.cpak.public_key())).encode(),
        b"[1]",
        b"{}",
        b"[" * 100,
        b'{"platform": 1}',
        b'{"platform": [{}]}',
        b'{"platform": [{"implementation-id": "", "sw-components": []}]}',
        b'{"realm": [{"initial-measurement": "00"}]}',
        b'{"other": []}',
        b"\xff\xfe",
        bytes((1 << 20) + 1),
    ],
)
def test_a_document_of_no_known_format_is_refused(raw: bytes) -> None:
    with pytest.raises(CollateralError):
        read_document(raw)


def test_a_key_that_does_not_say_whose_it_is_is_refused() -> None:
    with pytest.raises(CollateralError, match="a JWK alone does not say whose key it is"):
        read_document(json.dumps(FORGE.jwk(FORGE.cpak.public_key())).encode())


def test_a_document_among_endorsements_that_cannot_be_read_is_refused() -> None:
    assert refusal(FORGE.token(), b"[1]") is Reason.ENDORSEMENT_MALFORMED


# CoRIM.


def test_a_corim_names_keys_and_reference_values() -> None:
    for raw in (FORGE.corim(), FORGE.signed_corim(STRANGER)):
        document = read_document(raw)
        assert [key.instance for key in document.keys] == [INSTANCE]
        assert len(document.platforms[0].components) == 2
        assert (document.cose is None) == (raw[:1] == b"\xd9")
    bare = read_document(cbor2.dumps(FORGE.comid({0: [FORGE.realm_triple()]})))
    assert bare.realms[0].rim == b"\x31" * 32


PLATFORM = {0: {0: cbor2.CBORTag(560, IMPLEMENTATION)}}
BAD_PLATFORMS: dict[str, Any] = {
    "no class": FORGE.platform_triple(environment={1: cbor2.CBORTag(550, INSTANCE)}),
    "an instance": FORGE.platform_triple(environment={**PLATFORM, 1: cbor2.CBORTag(550, INSTANCE)}),
    "a class of another tag": FORGE.platform_triple(environment={0: {0: cbor2.CBORTag(550, IMPLEMENTATION)}}),
    "a class of another size": FORGE.platform_triple(environment={0: {0: cbor2.CBORTag(560, bytes(31))}}),
    "no measurement's name": FORGE.platform_triple({1: {2: [[1, bytes(32)]]}}),
    "a number as name": FORGE.platform_triple({0: 7, 1: {2: [[1, bytes(32)]]}}),
    "an unknown name": FORGE.platform_triple({0: "cca.bad-component", 1: {}}),
    "an unknown name alone": [
        PLATFORM,
        [FORGE.component("X", bytes(32)), {0: "cca.bad-component", 1: {4: cbor2.CBORTag(560, b"\xcf")}}],
    ],
    "no digests": FORGE.platform_triple(FORGE.component("X", b"", {2: ...})),
    "two digests": FORGE.platform_triple(FORGE.component("X", b"", {2: [[1, bytes(32)], [1, bytes(32)]]})),
    "a digest of another size": FORGE.platform_triple(FORGE.component("X", bytes(31))),
    "a digest by an unknown hash": FORGE.platform_triple(FORGE.component("X", b"", {2: [[2, bytes(32)]]})),
    "no signer": FORGE.platform_triple(FORGE.component("X", bytes(32), {13: ...})),
    "two signers": FORGE.platform_triple(FORGE.component("X", bytes(32), {13: [cbor2.CBORTag(560, SIGNER)] * 2})),
    "a signer in PEM": FORGE.platform_triple(FORGE.component("X", bytes(32), {13: [cbor2.CBORTag(554, "PEM")]})),
    "a signer of another size": FORGE.platform_triple(
        FORGE.component("X", bytes(32), {13: [cbor2.CBORTag(560, bytes(24))]})
    ),
    "a name that is no text": FORGE.platform_triple(FORGE.component("X", bytes(32), {11: 7})),
    "an unknown value": FORGE.platform_triple(FORGE.component("X", bytes(32), {3: {}})),
    "no raw value": FORGE.platform_triple({0: "cca.platform-config", 1: {2: [[1, bytes(32)]]}}),
    "two configurations": FORGE.platform_triple({0: "cca.platform-config", 1: {4: cbor2.CBORTag(560, b"\xcf")}}),
    "no components": [PLATFORM, [{0: "cca.platform-config", 1: {4: cbor2.CBORTag(560, b"\xcf")}}]],
    "a mask of another size": [
        PLATFORM,
        [FORGE.component("X", bytes(32)), {0: "cca.platform-config", 1: {4: cbor2.CBORTag(560, b"\xcf"), 5: b""}}],
    ],
    "an authority": FORGE.platform_triple({**FORGE.component("X", bytes(32)), 2: []}),
    "no measurements": [PLATFORM, []],
    "a triple of one": [PLATFORM],
}


@pytest.mark.parametrize("triple", BAD_PLATFORMS.values(), ids=BAD_PLATFORMS)
def test_reference_values_of_a_platform_that_break_the_profile_are_refused(triple: Any) -> None:
    with pytest.raises(CollateralError, match="not a usable CoRIM"):
        read_document(FORGE.corim(FORGE.comid({0: [triple]})))


BAD_REALMS = {
    "no rim": FORGE.realm_triple(rim=...),
    "another rim": FORGE.realm_triple(rim={2: [[1, bytes(32)]]}),
    "three rems": FORGE.realm_triple(rem2=...),
    "a rim without digest": FORGE.realm_triple(rim={11: "RIM"}),
    "a digest as rpv": FORGE.realm_triple(rpv={2: [[1, bytes(32)]]}),
    "a short rpv": FORGE.realm_triple(rpv={4: cbor2.CBORTag(560, bytes(32))}),
    "an unknown register": FORGE.realm_triple(rem4={2: [[1, bytes(32)]]}),
    "an instance instead of a class": [{1: cbor2.CBORTag(560, bytes(64))}, FORGE.realm_triple()[1]],
    "a register twice": [FORGE.realm_triple()[0], [*FORGE.realm_triple()[1], FORGE.realm_triple()[1][0]]],
}


@pytest.mark.parametrize("triple", BAD_REALMS.values(), ids=BAD_REALMS)
def test_reference_values_of_a_realm_that_break_the_profile_are_refused(triple: Any) -> None:
    profile = {3: cbor2.CBORTag(32, CORIM_REALM)}
    read_document(FORGE.corim(FORGE.comid({0: [FORGE.realm_triple()]}), changes=profile))
    with pytest.raises(CollateralError, match="not a usable CoRIM"):
        read_document(FORGE.corim(FORGE.comid({0: [triple]}), changes=profile))


RSA_PEM = (
    rsa.generate_private_key(65537, 2048)
    .public_key()
    .public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    .decode()
)
BAD_KEYS = {
    "no class": FORGE.key_triple(environment={1: cbor2.CBORTag(550, INSTANCE)}),
    "no instance": FORGE.key_triple(environment=PLATFORM),
    "a short instance": FORGE.key_triple(environment={**PLATFORM, 1: cbor2.CBORTag(550, bytes(32))}),
    "a group": FORGE.key_triple(environment={**PLATFORM, 1: cbor2.CBORTag(550, INSTANCE), 2: 1}),
    "no key": [FORGE.key_triple()[0], []],
    "two keys": [FORGE.key_triple()[0], FORGE.key_triple()[1] * 2],
    "bytes as key": [FORGE.key_triple()[0], [cbor2.CBORTag(560, b"key")]],
    "a key of another tag": [FORGE.key_triple()[0], [cbor2.CBORTag(32, FORGE.key_triple()[1][0].value)]],
    "no PEM": FORGE.key_triple("PEM"),
    "an RSA key": FORGE.key_triple(RSA_PEM),
}


@pytest.mark.parametrize("triple", BAD_KEYS.values(), ids=BAD_KEYS)
def test_a_platforms_key_that_breaks_the_profile_is_refused(triple: Any) -> None:
    with pytest.raises(CollateralError, match="not a usable CoRIM"):
        read_document(FORGE.corim(FORGE.comid({3: [triple]})))


@pytest.mark.parametrize(
    "raw",
    [
        FORGE.corim(changes={3: ...}),
        FORGE.corim(changes={3: "http://arm.com/cca/ssd/1"}),
        FORGE.corim(changes={1: []}),
        FORGE.corim(changes={1: [cbor2.CBORTag(501, {})]}),
        FORGE.corim(changes={2: []}),
        FORGE.corim(changes={4: {0: 1}}),
        FORGE.corim(FORGE.comid({})),
        FORGE.corim(FORGE.comid({1: []})),
        FORGE.corim() + b"\0",
        cbor2.dumps(cbor2.CBORTag(502, {})),
        cbor2.dumps({}),
        FORGE.signed_corim(STRANGER, header={3: "application/json"}),
        FORGE.signed_corim(STRANGER, header={8: ...}),
        FORGE.signed_corim(STRANGER, header={2: [8]}),
        FORGE.signed_corim(STRANGER, meta=[1]),
        FORGE.signed_corim(STRANGER, meta={1: {0: 5}}),
    ],
)
def test_a_corim_that_breaks_its_format_is_refused(raw: bytes) -> None:
    with pytest.raises(CollateralError):
        read_document(raw)


def test_a_key_in_a_corim_counts_if_the_corims_signer_is_trusted() -> None:
    signer = p384_key("signer")
    signed = FORGE.signed_corim(signer)
    chain: dict[str, Any] = {"roots": pinned(signer), "certificates": (certificate(signer),)}
    report = prove(FORGE.token(), signed, **chain)
    assert report.grade is Grade.HARDWARE
    assert isinstance(report.body, CcaBody)
    assert [(one.grade, one.difference) for one in report.body.platform_references] == [(Grade.HARDWARE, None)]


def test_a_corim_that_no_trusted_key_signed_is_refused() -> None:
    signer = p384_key("signer")
    signed = FORGE.signed_corim(signer)
    assert refusal(FORGE.token(), FORGE.anchors(), signed) is Reason.UNTRUSTED_ROOT
    with_stranger = {"roots": pinned(STRANGER), "certificates": (certificate(STRANGER),)}
    assert refusal(FORGE.token(), signed, **with_stranger) is Reason.UNTRUSTED_ROOT
    untrusted = {"roots": pinned(STRANGER), "certificates": (certificate(signer),)}
    assert refusal(FORGE.token(), signed, **untrusted) is Reason.UNTRUSTED_ROOT
    beside = {"certificates": (certificate(signer),)}
    assert refusal(FORGE.token(), FORGE.anchors(), signed, **beside) is Reason.UNTRUSTED_ROOT
    altered = signed.replace(b"a corim", b"b corim")
    chain = {"roots": pinned(signer), "certificates": (certificate(signer),)}
    assert refusal(FORGE.token(), altered, **chain) is Reason.UNTRUSTED_ROOT


@pytest.mark.parametrize(("days", "reason"), [(-2, Reason.ENDORSEMENT_EXPIRED), (2, Reason.ENDORSEMENT_FUTURE)])
def test_a_corim_counts_while_it_holds(days: int, reason: Reason) -> None:
    start = NOW + timedelta(days=days) - timedelta(hours=12)
    period = {0: cbor2.CBORTag(1, int(start.timestamp())), 1: cbor2.CBORTag(1, int(start.timestamp()) + 86400)}
    signer = p384_key("signer")
    for raw in (FORGE.corim(changes={4: period}), FORGE.signed_corim(signer, meta={0: {0: "x"}, 1: period})):
        settings = {"roots": pinned(signer), "certificates": (certificate(signer),)}
        assert refusal(FORGE.token(), raw, **settings) is reason


# 57, and what the policy refuses.


@pytest.mark.parametrize("lifecycle", [0, 0xFF, 0x1000, 0x2000, 0x2FFF, 0x3100, 0x6000, 0xFFFF])
def test_a_platform_that_is_not_secured_is_refused(lifecycle: int) -> None:
    assert findings(FORGE.token(platform={2395: lifecycle})) == [Reason.CCA_LIFECYCLE]
    assert findings(FORGE.token(platform={2395: 0x30FF})) == []


@pytest.mark.parametrize("lifecycle", [0x4000, 0x40FF, 0x5000, 0x50FF])
def test_a_platform_in_debug_is_refused(lifecycle: int) -> None:
    assert set(findings(FORGE.token(platform={2395: lifecycle}))) == {Reason.DEBUG, Reason.CCA_LIFECYCLE}


@pytest.mark.parametrize("claim", [{44235: bytes(64)}, {44236: "sha-512"}, {44238: bytes(32)}])
def test_another_realm_is_refused(claim: dict[int, Any]) -> None:
    rules = rules_for(prove(FORGE.token()))
    result = appraise(prove(FORGE.token(realm=claim)), rules, NOW, EXPECTED)
    assert result.reasons == (Reason.MEASUREMENT_NOT_ALLOWED,)


@pytest.mark.parametrize("index", range(4))
def test_a_realm_with_another_extensible_measurement_is_refused(index: int) -> None:
    rules = rules_for(prove(FORGE.token()))
    rems = [bytes([0x77 if i == index else i]) * 32 for i in range(4)]
    result = appraise(prove(FORGE.token(realm={44239: rems})), rules, NOW, EXPECTED)
    assert result.reasons == (Reason.MEASUREMENT_NOT_ALLOWED,)


def test_registers_that_differ_in_length_alone_have_other_digests() -> None:
    short = prove(FORGE.token(realm={44238: bytes(32), 44239: [bytes(32)] * 4})).measurement
    long = prove(FORGE.token(realm={44238: bytes(64), 44239: [bytes(64)] * 4})).measurement
    assert short.digest() != long.digest()


def test_an_implementation_that_the_rules_do_not_name_is_refused() -> None:
    assert findings(FORGE.token(), implementations=(Bytes32(IMPLEMENTATION),)) == []
    assert findings(FORGE.token(), implementations=(Bytes32(bytes(32)),)) == [Reason.CCA_IMPLEMENTATION]


def test_an_instance_that_the_policy_does_not_name_is_refused() -> None:
    report = prove(FORGE.token())
    digest = report.platform.digest(Tee.CCA)
    assert digest is not None
    rules = rules_for(report)
    for allowed, reasons in ((digest, ()), (Bytes32(bytes(32)), (Reason.PLATFORM_NOT_ALLOWED,))):
        named_platform = AppraisalPolicy(
            measurements=rules.measurements,
            platforms=(PlatformRule(tee="cca", digest=allowed),),
            lowest_grade="simulated",
            cca=rules.cca,
        )
        assert appraise(report, named_platform, NOW, EXPECTED).reasons == reasons


def test_without_reference_values_that_count_a_platform_is_refused_or_warned_about() -> None:
    needed = {"reference_values": "required"}
    assert findings(FORGE.token(), **needed) == [Reason.CCA_REFERENCE_VALUES]
    assert findings(FORGE.token(), FORGE.corim(), **needed) == [Reason.CCA_REFERENCE_VALUES]
    report = prove(FORGE.token(), FORGE.anchors(), FORGE.corim())
    result = appraise(report, rules_for(report), NOW, EXPECTED)
    assert [warning.reason for warning in result.warnings] == [Reason.CCA_REFERENCE_VALUES]


def test_reference_values_count_if_the_rules_list_their_document() -> None:
    corim = FORGE.corim()
    needed = {"reference_values": "required", "documents": listed(corim)}
    assert findings(FORGE.token(), corim, **needed) == []


OTHER_FIRMWARE = {
    "another measurement": {2399: [{1: "BL", 2: b"\xee" * 32, 5: SIGNER}, {1: "RMM", 2: b"\xa2" * 32, 5: SIGNER}]},
    "another signer": {2399: [{1: "BL", 2: b"\xa1" * 32, 5: bytes(32)}, {1: "RMM", 2: b"\xa2" * 32, 5: SIGNER}]},
    "another name": {2399: [{1: "XX", 2: b"\xa1" * 32, 5: SIGNER}, {1: "RMM", 2: b"\xa2" * 32, 5: SIGNER}]},
    "one missing": {2399: [{1: "BL", 2: b"\xa1" * 32, 5: SIGNER}]},
    "one more": {2399: [{1: n, 2: bytes([v]) * 32, 5: SIGNER} for n, v in (("BL", 0xA1), ("RMM", 0xA2), ("Y", 1))]},
    "one twice": {2399: [{1: "BL", 2: b"\xa1" * 32, 5: SIGNER}] * 2},
    "another configuration": {2401: b"\xce" * 4},
    "a longer configuration": {2401: b"\xcf" * 5},
}


@pytest.mark.parametrize("claims", OTHER_FIRMWARE.values(), ids=OTHER_FIRMWARE)
def test_firmware_that_differs_from_its_reference_values_is_refused(claims: dict[int, Any]) -> None:
    corim = FORGE.corim()
    token = FORGE.token(platform=claims)
    assert findings(token, corim, documents=listed(corim)) == [Reason.CCA_REFERENCE_VALUES]


def test_a_mask_selects_the_bits_of_a_configuration() -> None:
    config = {0: "cca.platform-config", 1: {4: cbor2.CBORTag(560, b"\xcf" * 4), 5: b"\xff\xff\xff\x00"}}
    triple = [PLATFORM, [*(FORGE.component(*one) for one in (("BL", b"\xa1" * 32), ("RMM", b"\xa2" * 32))), config]]
    corim = FORGE.corim(FORGE.comid({0: [triple]}))
    for value, reasons in ((b"\xcf\xcf\xcf\x00", []), (b"\xcf\xcf\x00\xcf", [Reason.CCA_REFERENCE_VALUES])):
        token = FORGE.token(platform={2401: value})
        assert findings(token, corim, documents=listed(corim)) == reasons


def test_one_of_several_documents_that_match_suffices() -> None:
    other = FORGE.corim(FORGE.comid({0: [[PLATFORM, [FORGE.component("BL", bytes(32))]]]}))
    corim = FORGE.corim()
    assert findings(FORGE.token(), other, corim, documents=listed(other, corim)) == []
    assert findings(FORGE.token(), other, documents=listed(other)) == [Reason.CCA_REFERENCE_VALUES]


def test_reference_values_in_json_are_held_against_platform_and_realm() -> None:
    components = [
        {"component-type": n, "measurement-value": v * 32, "signer-id": SIGNER.hex()}
        for n, v in (("BL", "a1"), ("RMM", "a2"))
    ]
    document: dict[str, Any] = {
        "platform": [{"implementation-id": IMPLEMENTATION.hex(), "sw-components": components}],
        "realm": [{"initial-measurement": "31" * 32}],
    }
    raw = json.dumps(document).encode()
    assert findings(FORGE.token(), raw, documents=listed(raw)) == []
    assert findings(FORGE.token(realm={44238: bytes(32)}), raw, documents=listed(raw)) == [Reason.CCA_REFERENCE_VALUES]
    document["realm"][0]["extensible-measurements"] = ["00" * 32] * 4
    raw = json.dumps(document).encode()
    assert findings(FORGE.token(), raw, documents=listed(raw)) == [Reason.CCA_REFERENCE_VALUES]


def test_the_rules_are_told_in_sentences() -> None:
    report = prove(FORGE.token())
    told = " ".join(explain(rules_for(report)))
    assert "may be ANYTHING" in told
    assert "ANY implementation" in told
    rules = rules_for(
        report,
        reference_values="required",
        documents=(Bytes32(b"\x01" * 32),),
        implementations=(Bytes32(b"\x02" * 32),),
    )
    told = " ".join(explain(rules))
    assert "01" * 32 in told
    assert "02" * 32 in told


# What a package, a store and a caller hold.


def test_a_package_holds_documents_as_text() -> None:
    anchors, corim = FORGE.anchors(), FORGE.corim()
    text = json.dumps({"documents": [anchors.hex(), corim.hex()]})
    text = text.replace('{"documents": ', '{"documents":')
    assert parse_endorsements(Tee.CCA, text).documents == (anchors, corim)
    assert parse_endorsements(Tee.CCA, anchors.decode()).documents == (anchors,)
    for wrong in ('{"documents":["zz"]}', '{"documents":1}', '{"documents":[]', "text"):
        with pytest.raises(CollateralError):
            parse_endorsements(Tee.CCA, wrong)


def test_documents_certificates_and_lists_are_bounded_in_number() -> None:
    text = '{"documents":' + json.dumps([FORGE.anchors().hex()] * 65) + "}"
    with pytest.raises(CollateralError, match="at most 64, found 65"):
        parse_endorsements(Tee.CCA, text)


def test_a_store_keeps_documents_by_their_tee_and_moves_them_in_a_bundle(tmp_path: Any) -> None:
    store, other = CollateralStore(tmp_path / "one"), CollateralStore(tmp_path / "two")
    store.put_all(Endorsements(documents=(FORGE.anchors(),)), Tee.CCA)
    import_bundle(other, export_bundle(store))
    for kept in (store, other):
        found = kept.endorsements_for(Evidence(tee=Tee.CCA, raw=FORGE.token()), NOW)
        assert found.documents == (FORGE.anchors(),)
        assert kept.endorsements_for(Evidence(tee=Tee.SNP, raw=b""), NOW).documents == ()
    with pytest.raises(CollateralError):
        store.put_document(Tee.CCA, b"[1]")


def test_simulated_evidence_needs_no_policy_where_the_caller_named_its_key() -> None:
    evidence, endorsements = parse(FORGE.token()), Endorsements(documents=(FORGE.anchors(),))
    result = verify(evidence, endorsements, named(FORGE.anchors()), NOW, replace(EXPECTED, collected_at=NOW))
    assert result.accepted
    assert "SIMULATED" in " ".join(result.notes)
    assert read_token(evidence.raw).realm.challenge == CHALLENGE
