"""Every SGX and TDX entry of the vector folder gives the manifest's result at its pinned time."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any, Literal, cast

import pytest

from sealmarket.attestation.azure.rules import AzureRules, VtpmPcr
from sealmarket.attestation.collateral.trust_anchors import TrustAnchors
from sealmarket.attestation.core.errors import NotEvidence
from sealmarket.attestation.core.evidence import Endorsements
from sealmarket.attestation.core.model import TcbStatus
from sealmarket.attestation.core.reasons import Reason
from sealmarket.attestation.intel.collateral import IntelCollateral
from sealmarket.attestation.intel.eventlog import read_event_log, replay_against
from sealmarket.attestation.intel.quote import TdBody, read_quote
from sealmarket.attestation.intel.rules import IntelRules
from sealmarket.attestation.parse import parse
from sealmarket.attestation.policy.rules import AppraisalPolicy
from sealmarket.attestation.policy.verify import Expected, verify
from sealmarket_enclave.protocol.codec import Bytes32
from sealmarket_enclave.protocol.numbers import Grade, Tee
from tests.attestation.support import ANYTHING, endorse
from tests.vectors import first, manifest, vector

ENTRIES = [entry for entry in manifest() if entry["tee"] in ("sgx", "tdx")]
QUOTES = [entry for entry in ENTRIES if entry["role"] == "evidence"]
CASES = [(entry, check) for entry in QUOTES for check in entry["verifications"]]
SAMPLES = "SGX-TDX-DCAP-QuoteVerificationLibrary-qvl-sample-"

# What dcap-qvl says in the manifest, as our reason. A status says itself.
REASON_OF = {
    "Debug mode is enabled": Reason.DEBUG,
    "SEPT_VE_DISABLE is not enabled": Reason.SEPT_VE_DISABLE,
    "Invalid MR service TD": Reason.SERVICE_TD,
    "No matching TCB level found": Reason.TCB_NO_LEVEL,
    "CertNotValidYet": Reason.ENDORSEMENT_FUTURE,
}


def _name(case: tuple[dict[str, Any], dict[str, Any]]) -> str:
    return f"{case[0]['file'].split('/')[-1]}@{case[1]['pinned_time']}"


@pytest.mark.parametrize("case", CASES, ids=map(_name, CASES))
def test_a_quote_from_hardware_gets_the_expected_verdict(case: tuple[dict[str, Any], dict[str, Any]]) -> None:
    entry, check = case
    now = datetime.fromtimestamp(check["pinned_time"], UTC)
    evidence = parse(vector(entry["file"]), Tee.from_slug(entry["tee"]))

    result = verify(evidence, endorse(vector(check["collateral"])), TrustAnchors.production(), now, ANYTHING)

    if "error" in check["verdict"]:
        wanted = next(reason for text, reason in REASON_OF.items() if text in check["verdict"]["error"])
        assert wanted in result.reasons
        assert not result.accepted
        return
    assert result.grade is Grade.HARDWARE
    assert result.tcb is not None
    assert result.tcb.status.value == check["verdict"]["status"]
    assert set(result.tcb.advisories) == set(check["verdict"]["advisories"])
    assert result.accepted == (result.tcb.status is TcbStatus.UP_TO_DATE)
    claims = result.claims
    assert claims["ppid"] == entry["ppid"]
    assert claims["platform_instance_id"] == entry["platform_instance_id"]
    assert claims["report_data"] == entry["report_data"]
    assert claims["fmspc"].upper() == entry["fmspc"]


def test_rules_that_name_status_and_advisories_accept_an_outdated_platform() -> None:
    entry, check = first(c for c in CASES if c[1]["verdict"].get("advisories"))
    now = datetime.fromtimestamp(check["pinned_time"], UTC)
    evidence = parse(vector(entry["file"]))
    endorsements = endorse(vector(check["collateral"]))
    strict = verify(evidence, endorsements, TrustAnchors.production(), now, ANYTHING)
    assert strict.report is not None

    rules = AppraisalPolicy(
        measurements=(strict.report.measurement,),
        platforms="any",
        intel=IntelRules(
            lowest_tcb_status=TcbStatus(check["verdict"]["status"]),
            advisories_allowed=tuple(check["verdict"]["advisories"]),
        ),
    )
    named = verify(evidence, endorsements, TrustAnchors.production(), now, ANYTHING, rules)

    assert strict.reasons == (Reason.TCB_STATUS_TOO_LOW, Reason.ADVISORY_NOT_ALLOWED)
    assert named.reasons == (Reason.EVIDENCE_AGE_UNKNOWN,)


@pytest.mark.parametrize("kind", ["sgx", "tdx"])
def test_intels_sample_under_a_root_of_the_same_name_is_refused(kind: str) -> None:
    parts = {
        name: vector(f"{kind}/{SAMPLES}{name}").decode()
        for name in ("tcbSignChain.pem", "pckSignChain.pem", "pckCert.pem", "tcbInfo.json", "qeIdentity.json")
    }
    crls = {name: vector(f"{kind}/{SAMPLES}{name}").hex() for name in ("rootCaCrl.der", "intermediateCaCrl.der")}
    vector(f"{kind}/{SAMPLES}trustedRootCaCert.pem")
    collateral = IntelCollateral(
        pck_crl_issuer_chain=parts["pckSignChain.pem"],
        root_ca_crl=crls["rootCaCrl.der"],
        pck_crl=crls["intermediateCaCrl.der"],
        tcb_info_issuer_chain=parts["tcbSignChain.pem"],
        tcb_info=parts["tcbInfo.json"],
        tcb_info_signature="00" * 64,
        qe_identity_issuer_chain=parts["tcbSignChain.pem"],
        qe_identity=parts["qeIdentity.json"],
        qe_identity_signature="00" * 64,
    )
    evidence = parse(vector(f"{kind}/{SAMPLES}quote.dat"))

    result = verify(
        evidence,
        Endorsements(collateral=collateral),
        TrustAnchors.production(),
        datetime(2024, 1, 1, tzinfo=UTC),
        ANYTHING,
    )

    assert result.reasons == (Reason.UNTRUSTED_ROOT,)


def test_an_event_log_from_hardware_replays_to_the_registers_of_its_quote() -> None:
    quote = read_quote(vector("tdx/go-tdx-guest-cos-113-tdx-quote.bin"))
    log = vector("tdx/go-tdx-guest-ccel-ccel_data.dat")
    assert isinstance(quote.body, TdBody)
    m = quote.body.measurement

    assert len(read_event_log(log)) > 40
    assert replay_against(log, (m.rtmr0, m.rtmr1, m.rtmr2, m.rtmr3)) == ()


@pytest.mark.parametrize("version", ["v0", "v1"])
def test_azures_tdx_evidence_is_authentic_and_refused_by_name_only(version: str) -> None:
    evidence = parse(vector(f"tdx/trustee-az-tdx-vtpm-evidence-{version}.json"))
    entry = first(e for e in QUOTES if e["file"] == "tdx/trustee-az-td-quote.bin")
    check = entry["verifications"][0]

    result = verify(
        evidence,
        endorse(vector(check["collateral"])),
        TrustAnchors.production(),
        datetime.fromtimestamp(check["pinned_time"], UTC),
        ANYTHING,
    )

    assert evidence.source == "azure"
    assert evidence.runtime_data is not None
    assert result.report is not None
    assert Reason.SEPT_VE_DISABLE in result.reasons
    assert result.report.report_data == b"challenge".ljust(64, b"\0")
    pcr = VtpmPcr(index=4, value=Bytes32(bytes.fromhex(result.claims["vtpm_pcrs"]["4"])))
    tcb = result.report.tcb
    for sept, refused in (("any", ()), ("required", (Reason.SEPT_VE_DISABLE,))):
        rules = AppraisalPolicy(
            measurements=(result.report.measurement,),
            platforms="any",
            intel=IntelRules(
                lowest_tcb_status=tcb.status,
                advisories_allowed=tcb.advisories,
                sept_ve_disable=cast('Literal["any", "required"]', sept),
            ),
            azure=AzureRules(paravisor="allowed", pcrs=(pcr,)),
        )
        expected = Expected(report_data=b"challenge".ljust(64, b"\0"))
        moment = datetime.fromtimestamp(check["pinned_time"], UTC)
        given = endorse(vector(check["collateral"]))
        assert verify(evidence, given, TrustAnchors.production(), moment, expected, rules).reasons == refused


def test_azures_vtpm_quote_alone_is_no_evidence_and_reads_as_the_one_in_its_bundle() -> None:
    raw = vector("tdx/trustee-az-tdx-vtpm-tpm-quote-v1.json")
    with pytest.raises(NotEvidence):
        parse(raw)
    evidence = parse(vector("tdx/trustee-az-tdx-vtpm-evidence-v1.json"))
    assert evidence.vtpm is not None
    assert json.loads(raw)["message"] == evidence.vtpm.message.hex()


def test_azures_tdreport_alone_is_not_evidence() -> None:
    with pytest.raises(NotEvidence, match="TDREPORT"):
        parse(vector("tdx/trustee-az-tdx-vtpm-hcl-report.bin"))


# Files that are no evidence by themselves, and the test above that uses each.
USED_BY_NAME = {
    "dev-root-evidence": "samples",
    "collateral": "samples, joined collateral",
    "eventlog": "replay",
    "bundle": "azure",
}


def test_the_manifests_sgx_and_tdx_entries_are_all_covered() -> None:
    if not ENTRIES:
        pytest.skip("no evidence from hardware: set SEALMARKET_VECTORS")
    verified = [e["file"] for e in QUOTES if e["verifications"]]
    by_name = [e["file"] for e in ENTRIES if e["role"] in USED_BY_NAME]

    missing = {e["file"] for e in ENTRIES} - set(verified) - set(by_name)

    print(f"\nmanifest coverage, SGX and TDX: {len(verified)} quotes in {len(CASES)} verifications,", end=" ")
    print(f"{len(by_name)} other files, {len(missing)} of {len(ENTRIES)} entries not covered")
    assert not missing
