"""Evidence from AMD hardware gives the result that its manifest expects; the whole manifest is covered."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from sealmarket.attestation.amd.authenticate import SnpBody
from sealmarket.attestation.amd.certificates import check_revocation, find_chain
from sealmarket.attestation.amd.rules import SnpRules, SnpTcb
from sealmarket.attestation.azure.rules import AzureRules, VtpmPcr
from sealmarket.attestation.azure.tpm import read_quote as read_tpm_quote
from sealmarket.attestation.collateral.trust_anchors import TrustAnchors
from sealmarket.attestation.core.errors import EvidenceRefused, NotEvidence
from sealmarket.attestation.core.evidence import Endorsements
from sealmarket.attestation.core.model import AppraisalResult
from sealmarket.attestation.core.reasons import Reason
from sealmarket.attestation.parse import parse
from sealmarket.attestation.policy.rules import AppraisalPolicy
from sealmarket.attestation.policy.verify import UNCHECKED, Expected, appraise, authenticate, verify
from sealmarket_enclave.protocol.codec import Bytes32
from sealmarket_enclave.protocol.numbers import Grade, Tee
from tests.forge.amd import n_minus_s
from tests.vectors import manifest, vector

ENTRIES = [entry for entry in manifest() if entry["tee"] == "snp"]
LISTS_HOLD = datetime(2025, 10, 1, tzinfo=UTC)
"""When the folder's revocation lists of Milan and Genoa are both current."""
LISTS = "snp/openpcc-sev_certificates.txt"
CHAINS = [entry["file"] for entry in ENTRIES if entry["role"] == "root"]
ANYTHING = Expected(report_data=UNCHECKED)

MILAN_V3 = "snp/TEE-Attestation-Verification-ms-milan-v3.report.bin"
GENOA_V3 = "snp/trustee-az-genoa-v3.report.bin"
TURIN_V5 = "snp/TEE-Attestation-Verification-ms-turin-v5.report.bin"
AWS_VLEK = "snp/trustee-aws-vlek-vmpl1-v3.report.bin"
AZURE_V2 = "snp/trustee-trustee-test-report.report.bin"

# What stands between an authentic report and acceptance by the built-in strict rules.
REFUSED = {
    AWS_VLEK: [Reason.SNP_VMPL],
    AZURE_V2: [Reason.MITIGATION_MISSING],
    "snp/trustee-az-hcl-snp.report.bin": [Reason.MITIGATION_MISSING],
    "snp/go-sev-guest-attestation-debug.report.bin": [Reason.DEBUG, Reason.MITIGATION_MISSING],
}
WITHOUT_ENDORSEMENT = "snp/azure-cvm-tooling-kinvolk-hcl-snp.report.bin"
NO_EVIDENCE = "snp/trustee-az-snp-vtpm-tpm-quote-v1.json"


def evidence_files() -> list[Any]:
    return [pytest.param(entry, id=entry["file"]) for entry in ENTRIES if entry["role"] == "evidence"]


def bundles() -> list[Any]:
    return [pytest.param(entry["file"], id=entry["file"]) for entry in ENTRIES if entry["role"] == "bundle"]


def entry_of(file: str) -> dict[str, Any]:
    for entry in ENTRIES:
        if entry["file"] == file:
            return entry
    pytest.skip("no evidence from hardware here")


def endorsements(*leaves: str, lists: bool = False) -> Endorsements:
    """Every intermediate and root of the folder, with these leaves."""
    files = [*CHAINS, *leaves, *([LISTS] if lists else [])]
    return Endorsements.read([vector(file) for file in files])


def pinned(entry: dict[str, Any]) -> datetime:
    """A moment when the leaf is valid, and the folder's lists too if the leaf is old enough."""
    if entry.get("endorsement") is None:
        return LISTS_HOLD
    start = datetime.fromisoformat(entry["endorsement_validity"][0]).replace(tzinfo=UTC)
    return max(LISTS_HOLD, start + timedelta(days=2))


def judge(
    entry: dict[str, Any], *, now: datetime | None = None, rules: AppraisalPolicy | None = None
) -> AppraisalResult:
    moment = now or pinned(entry)
    leaves = [entry["endorsement"]] if entry.get("endorsement") else []
    given = endorsements(*leaves, lists=moment == LISTS_HOLD)
    return verify(parse(vector(entry["file"]), Tee.SNP), given, TrustAnchors.production(), moment, ANYTHING, rules)


# Refusals.


@pytest.mark.parametrize("entry", [pytest.param(e, id=e["file"]) for e in ENTRIES if e["role"] == "negative"])
def test_a_forged_vcek_is_refused(entry: dict[str, Any]) -> None:
    report = parse(vector(AZURE_V2))
    with pytest.raises(EvidenceRefused) as caught:
        authenticate(report, endorsements(entry["file"]), TrustAnchors.production(), LISTS_HOLD)
    assert caught.value.finding.reason is Reason.CHAIN_INVALID


def test_a_genuine_report_with_the_vcek_of_another_chip_is_refused() -> None:
    report = parse(vector(MILAN_V3))
    same_levels = entry_of("snp/trustee-az-milan-v3-v0json.report.bin")["endorsement"]
    with pytest.raises(EvidenceRefused) as caught:
        authenticate(report, endorsements(same_levels), TrustAnchors.production(), LISTS_HOLD)
    assert caught.value.finding.reason is Reason.SNP_CHIP_MISMATCH


def test_a_genuine_report_without_its_vcek_is_not_verified_by_its_neighbours() -> None:
    entry = entry_of(WITHOUT_ENDORSEMENT)
    without = verify(parse(vector(entry["file"])), endorsements(), TrustAnchors.production(), LISTS_HOLD, ANYTHING)
    assert without.reasons == (Reason.ENDORSEMENT_MISSING,)
    neighbour = entry_of(AZURE_V2)["endorsement"]
    with pytest.raises(EvidenceRefused) as caught:
        authenticate(parse(vector(entry["file"])), endorsements(neighbour), TrustAnchors.production(), LISTS_HOLD)
    assert caught.value.finding.reason is Reason.SNP_CHIP_MISMATCH


def test_an_expired_vlek_is_refused() -> None:
    result = judge(entry_of(AWS_VLEK), now=datetime(2026, 1, 1, tzinfo=UTC))
    assert result.reasons == (Reason.ENDORSEMENT_EXPIRED,)


def test_amds_revoked_intermediate_is_refused() -> None:
    given = endorsements(entry_of(GENOA_V3)["endorsement"], lists=True)
    assert {entry.serial_number for crl in given.crls for entry in crl} == {0x20001}
    chain = find_chain("vcek", "Genoa", given.certificates, TrustAnchors.production())
    assert chain.ask_serial == 0x20002
    assert check_revocation(chain, given.crls, LISTS_HOLD)
    with pytest.raises(EvidenceRefused) as caught:
        check_revocation(replace(chain, ask_serial=0x20001), given.crls, LISTS_HOLD)
    assert caught.value.finding.reason is Reason.CERTIFICATE_REVOKED


def test_amds_list_that_ran_out_is_refused() -> None:
    entry = entry_of(MILAN_V3)
    given = endorsements(entry["endorsement"], lists=True)
    with pytest.raises(EvidenceRefused) as caught:
        authenticate(parse(vector(MILAN_V3)), given, TrustAnchors.production(), datetime(2026, 9, 1, tzinfo=UTC))
    assert caught.value.finding.reason is Reason.CRL_INVALID


def test_an_old_milan_is_below_a_minimum_of_today() -> None:
    entry = entry_of(AZURE_V2)
    proven = authenticate(
        parse(vector(AZURE_V2)), endorsements(entry["endorsement"], lists=True), TrustAnchors.production(), LISTS_HOLD
    )
    floor = SnpTcb(generation="Milan", bootloader=4, tee=0, snp=0x18, microcode=0xDB)
    rules = AppraisalPolicy(
        measurements=(proven.measurement,),
        platforms="any",
        snp=SnpRules(minimum_tcb=(floor,), mitigations_required=()),
    )
    expected = Expected(report_data=UNCHECKED, collected_at=LISTS_HOLD)
    assert set(appraise(proven, rules, LISTS_HOLD, expected).reasons) == {Reason.SNP_TCB_TOO_LOW}


@pytest.mark.parametrize("offset", range(0, 0x2A0, 48))
def test_a_genuine_report_changed_anywhere_is_refused(offset: int) -> None:
    report = bytearray(vector(TURIN_V5))
    report[offset] ^= 1
    entry = entry_of(TURIN_V5)
    try:
        changed = parse(bytes(report))
    except NotEvidence:
        return
    result = verify(changed, endorsements(entry["endorsement"]), TrustAnchors.production(), pinned(entry), ANYTHING)
    assert not result.authentic


def test_runtime_data_that_the_report_does_not_commit_to_is_refused() -> None:
    raw = bytearray(bytes(entry_bytes("snp/trustee-az-snp-vtpm-evidence-genoa.json")))
    raw[1236 + 10] ^= 1
    given = endorsements(entry_of(GENOA_V3)["endorsement"])
    result = verify(parse(bytes(raw)), given, TrustAnchors.production(), LISTS_HOLD, ANYTHING)
    assert result.reasons == (Reason.HCL_MISMATCH,)


def entry_bytes(bundle: str) -> bytes:
    """The paravisor's report in an agent's JSON."""
    return bytes(json.loads(vector(bundle))["report"])


# What holds.


@pytest.mark.parametrize("entry", evidence_files())
def test_a_genuine_report_gives_its_expected_verdict(entry: dict[str, Any]) -> None:
    result = judge(entry)
    if entry["file"] == WITHOUT_ENDORSEMENT:
        assert not result.authentic
        return
    assert result.authentic
    assert result.grade is Grade.HARDWARE
    assert list(result.reasons) == REFUSED.get(entry["file"], [])


@pytest.mark.parametrize("entry", [p for p in evidence_files() if p.id != WITHOUT_ENDORSEMENT])
def test_a_genuine_report_reads_as_the_manifest_says(entry: dict[str, Any]) -> None:
    given = endorsements(entry["endorsement"])
    proven = authenticate(parse(vector(entry["file"])), given, TrustAnchors.production(), pinned(entry))
    assert isinstance(proven.body, SnpBody)
    report = proven.body.report
    assert report.version == entry["report_version"]
    assert (hex(report.policy), report.vmpl) == (entry["policy"], entry["vmpl"])
    assert report.key_name.upper() == entry["signing_key"]
    assert report.reported_tcb.hex() == entry["reported_tcb"]
    assert hex(report.platform_info) == entry["platform_info"]
    assert report.chip_id.hex() == entry["chip_id"]
    assert proven.report_data.hex() == entry["report_data"]


@pytest.mark.parametrize("file", bundles())
def test_an_azure_bundle_gives_its_expected_verdict(file: str) -> None:
    raw = vector(file)
    if file == NO_EVIDENCE:
        with pytest.raises(NotEvidence):
            parse(raw)
        return
    evidence, given = parse(raw), endorsements(lists=True)
    result = verify(evidence, given, TrustAnchors.production(), LISTS_HOLD, ANYTHING)
    assert result.report is not None
    assert result.reasons == ()
    document = json.loads(raw)
    quote = document.get("tpm_quote", document.get("quote"))
    message = bytes(quote["message"]) if isinstance(quote["message"], list) else bytes.fromhex(quote["message"])
    nonce = read_tpm_quote(message).extra_data
    assert result.report.report_data == nonce.ljust(64, b"\0")
    assert nonce == b"challenge" or len(nonce) == 48
    assert len(result.claims["vtpm_pcrs"]) == 24
    assert result.claims["azure_vm_configuration"]["secure-boot"] is True
    assert evidence.vtpm is not None
    shifted = replace(evidence.vtpm, pcrs=(bytes(32), *evidence.vtpm.pcrs[1:]))
    refused = verify(replace(evidence, vtpm=shifted), given, TrustAnchors.production(), LISTS_HOLD, ANYTHING)
    assert refused.reasons == (Reason.VTPM_PCRS,)


def test_an_azure_guest_is_accepted_under_rules_that_name_its_registers_and_refused_under_others() -> None:
    evidence, given = parse(vector("snp/trustee-az-snp-vtpm-evidence-v2.json")), endorsements(lists=True)
    roots = TrustAnchors.production()
    report = verify(evidence, given, roots, LISTS_HOLD, ANYTHING).report
    assert report is not None
    expected = Expected(report_data=report.report_data, collected_at=LISTS_HOLD)

    def reasons(azure: AzureRules) -> tuple[Reason, ...]:
        rules = AppraisalPolicy(measurements=(report.measurement,), platforms="any", azure=azure)
        return verify(evidence, given, roots, LISTS_HOLD, expected, rules).reasons

    pcr = VtpmPcr(index=4, value=Bytes32(bytes.fromhex(report.claims()["vtpm_pcrs"]["4"])))
    assert reasons(AzureRules(paravisor="allowed", pcrs=(pcr,))) == ()
    assert reasons(AzureRules()) == (Reason.PARAVISOR_NOT_ALLOWED,)
    other = VtpmPcr(index=4, value=Bytes32(bytes(32)))
    assert reasons(AzureRules(paravisor="allowed", pcrs=(other,))) == (Reason.VTPM_PCRS,)


def test_the_other_form_of_a_genuine_signature_has_the_same_name() -> None:
    raw, entry = vector(TURIN_V5), entry_of(TURIN_V5)
    given = endorsements(entry["endorsement"])
    first, second = (
        authenticate(parse(r), given, TrustAnchors.production(), pinned(entry)) for r in (raw, n_minus_s(raw))
    )
    assert first.evidence_digest == second.evidence_digest


def test_a_turin_vcek_without_a_report_chains_to_its_root() -> None:
    given = endorsements("snp/sev-vcek_turin.der")
    chain = find_chain("vcek", "Turin", given.certificates, TrustAnchors.production())
    assert chain.leaf.hwid == bytes.fromhex("1e550a8ee5cf9f4d")
    assert chain.grade is Grade.HARDWARE


@pytest.mark.parametrize("product", ["Milan", "Genoa", "Turin"])
def test_the_pinned_roots_are_those_of_the_folder(product: str) -> None:
    files = [file for file in CHAINS if f"ask_ark_{product.lower()}" in file]
    assert len(files) == 2 or not CHAINS
    arks = {
        c.public_bytes(Encoding.DER)
        for file in files
        for c in Endorsements.read([vector(file)]).certificates
        if c.subject == c.issuer
    }
    assert len(arks) == (1 if CHAINS else 0)


def test_every_entry_of_the_manifest_is_covered(capsys: pytest.CaptureFixture[str]) -> None:
    used = {entry["file"] for entry in ENTRIES if entry["role"] in ("evidence", "bundle", "root", "negative")}
    used |= {LISTS, "snp/sev-vcek_turin.der"}
    missing = {entry["file"] for entry in ENTRIES} - used
    with capsys.disabled():
        print(f"\nSEV-SNP vectors: {len(ENTRIES) - len(missing)} of {len(ENTRIES)} entries covered")
    assert not missing
