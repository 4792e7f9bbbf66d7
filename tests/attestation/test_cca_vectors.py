"""Published CCA tokens, keys and CoRIMs give the result that their manifest expects; the whole manifest is covered.

No token from silicon is public: these come from models and test tools, under keys whose private half is published.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

import pytest

from sealmarket.attestation.arm.authenticate import PUBLISHED_KEYS, CcaBody
from sealmarket.attestation.arm.reading import read_document
from sealmarket.attestation.arm.rules import CcaRules
from sealmarket.attestation.arm.token import read_platform, read_realm, read_token
from sealmarket.attestation.collateral.trust_anchors import TrustAnchors
from sealmarket.attestation.core.errors import CollateralError, EvidenceRefused, NotEvidence
from sealmarket.attestation.core.model import AppraisalResult
from sealmarket.attestation.core.reasons import Reason
from sealmarket.attestation.parse import parse
from sealmarket.attestation.policy.rules import AppraisalPolicy
from sealmarket.attestation.policy.verify import UNCHECKED, Expected, verify
from sealmarket.attestation.registry import module_of
from sealmarket_enclave.protocol.codec import Bytes32
from sealmarket_enclave.protocol.numbers import Grade, Tee
from tests.vectors import manifest, vector

ENTRIES = [entry for entry in manifest() if entry["tee"] == "cca"]
NOW = datetime(2026, 3, 1, tzinfo=UTC)
ANYTHING = Expected(report_data=UNCHECKED)
TFA, VERAISON = "cca/rust-ccatoken-ta-tfa.json", "cca/rust-ccatoken-ta-02-ok.json"
ANCHORS = {
    "cca/rust-ccatoken-cca-token-01.cbor": TFA,
    "cca/rust-ccatoken-cca-token-draft-ffm-00.cbor": TFA,
    "cca/rust-ccatoken-bug-33-repro.cbor": TFA,
    "cca/trustee-cca-example-token.cbor": TFA,
    "cca/services-cca-good.cbor": VERAISON,
}
UNBOUND = "cca/rust-ccatoken-bug-33-repro.cbor"
TRUSTEE, TRUSTEE_VALUES = "cca/trustee-cca-example-token.cbor", "cca/trustee-rvstore.json"
KEYS = {
    "cca/rust-ccatoken-ta.json": 1,
    TFA: 1,
    VERAISON: 1,
    "cca/rust-ccatoken-rv.json": 0,
    "cca/rust-ccatoken-cpak.json": None,
    "cca/rust-ccatoken-pkey.json": None,
}
"""How many platform keys a trust anchor names; None for a JWK that does not say whose key it is."""
WITHOUT_CHALLENGE = "cca/rust-ccatoken-realm-claims-missing-challenge.cbor"
PLATFORM_CLAIMS = "cca/rust-ccatoken-platform-claims.cbor"


def entries(role: str) -> list[Any]:
    return [pytest.param(entry, id=entry["file"]) for entry in ENTRIES if entry["role"] == role]


def judge(file: str, *documents: str, named: bool = True, rules: AppraisalPolicy | None = None) -> AppraisalResult:
    """A token with its key; ``named``: the caller trusts that key as a development root."""
    module = module_of(Tee.CCA)
    endorsements = module.read_files([vector(one) for one in (ANCHORS[file], *documents)])
    anchors = TrustAnchors.production()
    if named:
        anchors = anchors.with_development_keys(module.development_keys(endorsements))
    return verify(parse(vector(file), Tee.CCA), endorsements, anchors, NOW, ANYTHING, rules)


@pytest.mark.parametrize("entry", entries("evidence"))
def test_a_published_key_is_refused_in_production(entry: dict[str, Any]) -> None:
    assert judge(entry["file"], named=False).reasons == (Reason.CCA_DEVELOPMENT_KEY,)


@pytest.mark.parametrize("entry", entries("dev-key"))
def test_a_published_private_key_is_no_endorsement(entry: dict[str, Any]) -> None:
    with pytest.raises(CollateralError):
        read_document(vector(entry["file"]))
    if "cpak" in entry["file"]:
        (named,) = read_document(vector(TFA)).keys
        x = json.loads(vector(TFA))[0]["pkey"]["x"]
        assert json.loads(vector(entry["file"]))["x"] == x
        assert named.spki in PUBLISHED_KEYS


@pytest.mark.parametrize("entry", entries("negative"))
def test_a_key_that_is_not_on_its_curve_is_refused(entry: dict[str, Any]) -> None:
    with pytest.raises(CollateralError, match="not a point of P-256"):
        read_document(vector(entry["file"]))


@pytest.mark.parametrize("entry", [p for p in entries("corim") if "bad" in str(p.id)])
def test_a_bad_corim_is_refused(entry: dict[str, Any]) -> None:
    assert entry["expectation"] == "MUST reject"
    with pytest.raises(CollateralError, match="not a usable CoRIM"):
        read_document(vector(entry["file"]))


@pytest.mark.parametrize("entry", [p for p in entries("corim") if "bad" not in str(p.id)])
def test_a_valid_corim_is_read(entry: dict[str, Any]) -> None:
    assert entry["expectation"] == "valid"
    document = read_document(vector(entry["file"]))
    if "realm" in entry["file"]:
        assert [(one.rim, len(one.rems)) for one in document.realms] == [(b"\x43" * 64, 4)]
    else:
        assert [len(one.components) for one in document.platforms] == [4]
        assert [key.spki in PUBLISHED_KEYS for key in document.keys] == [True]


@pytest.mark.parametrize("share", range(3, 100, 8))
def test_a_published_token_changed_anywhere_is_refused(share: int) -> None:
    module = module_of(Tee.CCA)
    endorsements = module.read_files([vector(TFA)])
    anchors = TrustAnchors.production().with_development_keys(module.development_keys(endorsements))
    token = bytearray(vector(TRUSTEE))
    token[len(token) * share // 100] ^= 1
    try:
        evidence = parse(bytes(token))
    except NotEvidence:
        return
    assert not verify(evidence, endorsements, anchors, NOW, ANYTHING).authentic


@pytest.mark.parametrize("entry", entries("evidence"))
def test_a_published_token_gives_its_expected_verdict(entry: dict[str, Any]) -> None:
    result = judge(entry["file"])
    if entry["file"] == UNBOUND:
        assert "FAILS" in entry["expectation"]
        assert result.reasons == (Reason.CCA_BINDING,)
        return
    assert result.reasons == ()
    assert result.grade is Grade.SIMULATED
    assert [warning.reason for warning in result.warnings] == [Reason.CCA_REFERENCE_VALUES]


@pytest.mark.parametrize("entry", entries("evidence"))
def test_a_published_token_reads_as_the_manifest_says(entry: dict[str, Any]) -> None:
    token = read_token(vector(entry["file"]))
    assert token.platform.profile == entry["platform_profile"]
    assert token.realm.profile == entry["realm_profile"]
    assert hex(token.platform.lifecycle) == entry["lifecycle"]
    assert token.realm.challenge.hex() == entry["challenge"]
    assert token.realm.measurement.rim.hex() == entry["rim"]
    assert (token.realm.rak[0] == 4) == (entry["rak_encoding"] == "raw-point(97)")
    if entry["binding_hash"]:
        assert [token.realm.rak_hash_algorithm.value] == entry["binding_hash"]


def test_a_published_tokens_firmware_is_what_its_reference_values_say() -> None:
    report = judge(TRUSTEE, TRUSTEE_VALUES).report
    assert report is not None
    assert isinstance(report.body, CcaBody)
    assert [one.difference for one in report.body.platform_references] == [None]
    assert [one.difference for one in report.body.realm_references] == [None]
    listed = (Bytes32(sha256(vector(TRUSTEE_VALUES)).digest()),)
    rules = AppraisalPolicy(
        measurements=(report.measurement,), platforms="any", lowest_grade="simulated", cca=CcaRules(documents=listed)
    )
    expected = Expected(report_data=report.report_data)
    evidence, endorsements = (
        parse(vector(TRUSTEE)),
        module_of(Tee.CCA).read_files([vector(TFA), vector(TRUSTEE_VALUES)]),
    )
    keys = module_of(Tee.CCA).development_keys(endorsements)
    anchors = TrustAnchors.production().with_development_keys(keys)
    assert verify(evidence, endorsements, anchors, NOW, expected, rules).accepted
    other = judge("cca/rust-ccatoken-cca-token-draft-ffm-00.cbor", TRUSTEE_VALUES)
    assert other.report is not None
    assert isinstance(other.report.body, CcaBody)
    assert other.report.body.realm_references[0].difference is not None


@pytest.mark.parametrize("entry", entries("trust-anchor"))
def test_a_trust_anchor_names_its_platforms_key_or_is_refused_by_name(entry: dict[str, Any]) -> None:
    count = KEYS[entry["file"]]
    if count is None:
        with pytest.raises(CollateralError, match="a JWK alone does not say whose key it is"):
            read_document(vector(entry["file"]))
        return
    assert len(read_document(vector(entry["file"])).keys) == count


@pytest.mark.parametrize("entry", entries("reference-values"))
def test_reference_values_are_read(entry: dict[str, Any]) -> None:
    document = read_document(vector(entry["file"]))
    assert [len(one.components) for one in document.platforms] == [13]
    assert len(document.realms) == 1


@pytest.mark.parametrize("entry", entries("claims"))
def test_claims_alone_are_no_evidence_and_are_read_as_their_token_would_be(entry: dict[str, Any]) -> None:
    raw = vector(entry["file"])
    with pytest.raises(NotEvidence):
        parse(raw)
    if entry["file"] == WITHOUT_CHALLENGE:
        with pytest.raises(EvidenceRefused) as caught:
            read_realm(raw)
        assert caught.value.finding.reason is Reason.CCA_CHALLENGE
    elif entry["file"] == PLATFORM_CLAIMS:
        assert read_platform(raw).lifecycle in range(0x10000)
    else:
        assert len(read_realm(raw).unknown) == ("spurious" in entry["file"])


def test_every_entry_of_the_manifest_is_covered(capsys: pytest.CaptureFixture[str]) -> None:
    roles = ("evidence", "trust-anchor", "negative", "claims", "dev-key", "reference-values", "corim")
    missing = {entry["file"] for entry in ENTRIES if entry["role"] not in roles}
    missing |= {entry["file"] for entry in ENTRIES if entry["role"] == "evidence"} - set(ANCHORS)
    with capsys.disabled():
        print(f"\nCCA vectors: {len(ENTRIES) - len(missing)} of {len(ENTRIES)} entries covered")
    assert not missing
