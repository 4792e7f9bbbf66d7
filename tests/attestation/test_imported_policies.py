"""Azure's release policies and Confidential Space tokens become appraisal policies that accept nothing more."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sealmarket.attestation.collateral.trust_anchors import TrustAnchors
from sealmarket.attestation.core.errors import InvalidRules
from sealmarket.attestation.core.evidence import Endorsements, Evidence
from sealmarket.attestation.core.reasons import Reason
from sealmarket.attestation.parse import parse
from sealmarket.attestation.policy.foreign import MAXIMUM_BYTES, read_conditions
from sealmarket.attestation.policy.imported import Imported, import_policy
from sealmarket.attestation.policy.verify import UNCHECKED, Expected, verify
from sealmarket.attestation.registry import module_of
from sealmarket_enclave.protocol.codec import to_builtins
from sealmarket_enclave.protocol.numbers import Tee
from tests.attestation.support import NOW
from tests.forge.amd import AmdForge
from tests.forge.intel import IntelForge

AUTHORITY = "https://sharedeus2.eus2.attest.azure.net"
SNP = "x-ms-isolation-tee.x-ms-sevsnpvm-"


@pytest.fixture(scope="module")
def amd() -> AmdForge:
    return AmdForge(NOW, "Genoa")


@pytest.fixture(scope="module")
def intel() -> IntelForge:
    return IntelForge(NOW)


def claim(name: str, value: object, operator: str = "equals") -> dict[str, object]:
    return {"claim": name, operator: value}


def release(*conditions: object, **more: object) -> dict[str, Any]:
    return {"version": "1.0.0", "anyOf": [{"authority": AUTHORITY, "allOf": list(conditions)}], **more}


def of(amd: AmdForge, **fields: Any) -> Evidence:
    return Evidence(tee=Tee.SNP, raw=amd.evidence(**fields))


def imported(document: object, *evidence: Evidence, without: frozenset[str] = frozenset()) -> Imported:
    return import_policy(read_conditions(json.dumps(document).encode()), evidence, without)


def measured(found: Imported) -> dict[str, Any]:
    (document,) = to_builtins(found.policy)["measurements"]
    return dict(document)


# --- refusals ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (b"", "neither JSON nor a token"),
        (b"[]", "neither JSON nor a token"),
        (b"{}", "neither a release policy nor"),
        (b"a.b.c", "neither JSON nor a token"),
        (b" " * (MAXIMUM_BYTES + 1), "at most"),
        (json.dumps(release()).encode(), "at least one condition"),
        (json.dumps(release(claim("a", 1), more=1)).encode(), "and nothing else"),
        (json.dumps({"version": "2", "anyOf": []}).encode(), "version 1.0.0"),
        (json.dumps({"version": "1.0.0", "anyOf": [{"allOf": []}]}).encode(), "has an authority"),
        (json.dumps(release(claim("a", 1, "matches"))).encode(), "a claim with one operator"),
        (json.dumps(release({"claim": "a", "equals": 1, "less": 2})).encode(), "a claim with one operator"),
        (json.dumps(release(claim("a", [1]))).encode(), "is text, a number, true or false"),
        (json.dumps(release("x")).encode(), "a condition is an object"),
    ],
)
def test_what_is_no_policy_of_another_verifier_is_refused(raw: bytes, words: str) -> None:
    with pytest.raises(InvalidRules, match=words):
        read_conditions(raw)


def test_claims_without_a_rule_are_refused_by_name_and_may_be_left_out_on_purpose(amd: AmdForge) -> None:
    policy = release(claim(f"{SNP}hostdata", "00" * 32), claim("x-ms-ver", "1.0"), claim(f"{SNP}familyId", "01" * 16))
    with pytest.raises(InvalidRules, match=r"familyId, x-ms-ver") as refused:
        imported(policy, of(amd))
    assert "--without x-ms-ver" in refused.value.remedy
    with pytest.raises(InvalidRules, match="familyId"):
        imported(policy, of(amd), without=frozenset({"x-ms-ver"}))
    dropped = frozenset({"x-ms-ver", f"{SNP}familyId"})
    assert len(imported(policy, of(amd), without=dropped).policy.measurements) == 1


@pytest.mark.parametrize(
    "condition",
    [
        claim(f"{SNP}hostdata", "11" * 32),
        claim(f"{SNP}launchmeasurement", "5b" * 48),
        claim(f"{SNP}vmpl", 1),
        claim(f"{SNP}vmpl", 0, "notEquals"),
        claim(f"{SNP}vmpl", "0", "greater"),
        claim(f"{SNP}is-debuggable", True),
        claim(f"{SNP}idkeydigest", "22" * 48),
        claim("x-ms-isolation-tee.x-ms-attestation-type", "tdxvm"),
        claim(f"{SNP}hostdata", False, "exists"),
        {"anyOf": [claim(f"{SNP}vmpl", 2), claim(f"{SNP}vmpl", 3)]},
    ],
)
def test_evidence_that_does_not_meet_a_policy_is_not_imported_under_it(amd: AmdForge, condition: object) -> None:
    with pytest.raises(InvalidRules, match="does not meet the policy"):
        imported(release(condition), of(amd))


@pytest.mark.parametrize(
    ("condition", "words"),
    [
        (claim(f"{SNP}snpfw-svn", 8), "bounded from below"),
        (claim(f"{SNP}snpfw-svn", 8, "less"), "bounded from below"),
        (claim(f"{SNP}snpfw-svn", 300, "greater"), "0 to 255"),
        (claim(f"{SNP}hostdata", "00" * 32, "less"), "compares by size"),
        (claim(f"{SNP}vmpl", "zero"), "compares a number"),
    ],
)
def test_a_condition_that_no_rule_can_say_is_refused(amd: AmdForge, condition: object, words: str) -> None:
    with pytest.raises(InvalidRules, match=words):
        imported(release(condition), of(amd))


def test_a_policy_without_an_image_is_refused(amd: AmdForge) -> None:
    with pytest.raises(InvalidRules, match="no image is named"):
        imported(release(claim(f"{SNP}vmpl", 0)))
    with pytest.raises(InvalidRules, match="nothing is left"):
        imported(release(claim("x", 0)), of(amd), without=frozenset({"x"}))


def test_images_that_need_different_rules_do_not_share_a_policy(amd: AmdForge) -> None:
    one, two = (of(amd, id_key_digest=bytes([n]) * 48, measurement=bytes([n]) * 48) for n in (1, 2))
    pairs = [
        {"allOf": [claim(f"{SNP}idkeydigest", f"{n:02d}" * 48), claim(f"{SNP}launchmeasurement", f"{n:02d}" * 48)]}
        for n in (1, 2)
    ]
    with pytest.raises(InvalidRules, match="different rules"):
        imported(release({"anyOf": pairs}), one, two)
    assert len(imported(release({"anyOf": pairs}), one).policy.snp.id_key_digests) == 1


# --- what comes of them -----------------------------------------------------------------------------------------


def test_a_release_policy_of_a_confidential_vm_names_the_image_and_the_levels(amd: AmdForge) -> None:
    policy = release(
        claim("x-ms-isolation-tee.x-ms-attestation-type", "sevsnpvm"),
        claim("x-ms-isolation-tee.x-ms-compliance-status", "azure-compliant-cvm"),
        claim(f"{SNP}is-debuggable", "false"),
        claim(f"{SNP}hostdata", "0x" + "00" * 32),
        {"anyOf": [claim(f"{SNP}vmpl", 3), claim(f"{SNP}vmpl", 0)]},
        claim(f"{SNP}snpfw-svn", 7, "greater"),
        claim(f"{SNP}microcode-svn", 9, "greaterOrEquals"),
    )
    found = imported(policy, of(amd))
    (floor,) = found.policy.snp.minimum_tcb
    assert (floor.generation, floor.snp, floor.microcode, floor.bootloader) == ("Genoa", 8, 9, 0)
    assert measured(found)["launchDigest"] == "0x" + "5a" * 48
    assert [note.split(":")[0] for note in found.notes] == ["x-ms-isolation-tee.x-ms-compliance-status"]


def test_the_imported_policy_accepts_its_image_and_refuses_another(amd: AmdForge) -> None:
    rules = imported(release(claim(f"{SNP}hostdata", "00" * 32)), of(amd)).policy
    anchors = TrustAnchors.production().with_development(amd.ark.der)
    endorsements = Endorsements.read([*amd.endorsements(), amd.crl()])

    def reasons(evidence: Evidence) -> tuple[Reason, ...]:
        expected = Expected(report_data=UNCHECKED, collected_at=NOW)
        return verify(evidence, endorsements, anchors, NOW, expected, rules).reasons

    assert Reason.MEASUREMENT_NOT_ALLOWED not in reasons(of(amd))
    assert Reason.MEASUREMENT_NOT_ALLOWED in reasons(of(amd, host_data=b"\1" * 32))
    assert Reason.MEASUREMENT_NOT_ALLOWED in reasons(of(amd, measurement=b"\1" * 48))


def test_policies_of_sgx_and_tdx_are_imported_too(intel: IntelForge) -> None:
    quote = parse(intel.tdx_quote())
    facts = module_of(Tee.TDX).claims(quote)
    document = release(claim("tdx_mrtd", facts["mr_td"]), claim("tdx_rtmr3", facts["rtmr3"].upper()))
    assert measured(imported(document, quote))["mrTd"] == "0x" + facts["mr_td"]
    enclave = parse(intel.sgx_quote())
    facts = module_of(Tee.SGX).claims(enclave)
    document = release(
        claim("x-ms-sgx-mrsigner", facts["mr_signer"]), claim("x-ms-sgx-svn", facts["isv_svn"] - 1, "greater")
    )
    assert measured(imported(document, enclave))["mrSigner"] == "0x" + facts["mr_signer"]


TOKEN = {
    "iss": "https://confidentialcomputing.googleapis.com",
    "aud": "https://sts.googleapis.com",
    "exp": 1_800_000_000,
    "eat_nonce": ["a nonce of the caller"],
    "secboot": True,
    "oemid": 11129,
    "hwmodel": "GCP_INTEL_TDX",
    "swname": "CONFIDENTIAL_SPACE",
    "swversion": ["250300"],
    "attester_tcb": ["INTEL"],
    "dbgstat": "disabled-since-boot",
    "tdx": {"gcp_attester_tcb_status": "UpToDate"},
    "submods": {"confidential_space": {"support_attributes": ["LATEST", "STABLE"]}},
}


def test_a_confidential_space_token_becomes_a_policy_over_the_quote_beside_it(intel: IntelForge) -> None:
    quote = parse(intel.tdx_quote())
    found = imported(TOKEN, quote)
    assert found.policy.measurements[0].tee is Tee.TDX
    assert any(note.startswith("aud: says nothing") for note in found.notes)
    payload = base64.urlsafe_b64encode(json.dumps(TOKEN).encode()).rstrip(b"=")
    assert import_policy(read_conditions(b"eyJhbGciOiJSUzI1NiJ9." + payload + b".c2ln"), [quote]) == found


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"hwmodel": "GCP_AMD_SEV"}, "does not meet the policy: hwmodel"),
        ({"dbgstat": "enabled"}, "does not meet the policy: dbgstat"),
        ({"tdx": {"gcp_attester_tcb_status": "OutOfDate"}}, "only UpToDate"),
        ({"submods": {"container": {"image_digest": "sha256:00"}}}, "submods.container.image_digest"),
        ({"google_service_accounts": ["a@b"]}, "google_service_accounts"),
    ],
)
def test_a_token_that_says_what_no_rule_says_is_refused_by_name(
    intel: IntelForge, change: dict[str, object], words: str
) -> None:
    with pytest.raises(InvalidRules, match=words):
        imported({**TOKEN, **change}, parse(intel.tdx_quote()))


LEAVES = st.sampled_from(
    [
        claim(f"{SNP}vmpl", 0),
        claim(f"{SNP}vmpl", 1),
        claim(f"{SNP}hostdata", "00" * 32),
        claim(f"{SNP}tee-svn", 2, "greater"),
        claim(f"{SNP}tee-svn", 4, "greaterOrEquals"),
        claim(f"{SNP}tee-svn", 6, "greater"),
    ]
)
TREES = st.recursive(
    LEAVES,
    lambda inner: st.builds(
        lambda name, parts: {name: parts}, st.sampled_from(["allOf", "anyOf"]), st.lists(inner, min_size=1, max_size=3)
    ),
    max_leaves=12,
)


def holds(tree: dict[str, Any]) -> bool:
    """What a tree says of evidence at VMPL 0 without host data, whose level of the TEE is whatever is demanded."""
    for name, combine in (("allOf", all), ("anyOf", any)):
        if name in tree:
            return bool(combine(map(holds, tree[name])))
    return not (tree["claim"].endswith("vmpl") and tree["equals"] == 1)


def demands(tree: dict[str, Any], level: int) -> bool:
    """Whether a tree holds where the platform's level is this."""
    for name, combine in (("allOf", all), ("anyOf", any)):
        if name in tree:
            return bool(combine(demands(part, level) for part in tree[name]))
    if tree["claim"].endswith("tee-svn"):
        return bool(level > tree["greater"]) if "greater" in tree else bool(level >= tree["greaterOrEquals"])
    return holds(tree)


@given(TREES)
def test_an_imported_policy_holds_only_where_its_conditions_do(tree: dict[str, Any]) -> None:
    evidence = of(AMD)
    if not holds(tree):
        with pytest.raises(InvalidRules, match="does not meet"):
            imported(release(tree), evidence)
        return
    floors = imported(release(tree), evidence).policy.snp.minimum_tcb
    assert demands(tree, floors[0].tee if floors else 0)


AMD = AmdForge(NOW, "Genoa")
