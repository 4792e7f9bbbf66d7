"""What a verifier of guests behind Azure's paravisor must refuse, one test for each rule, over SNP and over TDX."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from sealmarket.attestation.amd.rules import SnpRules
from sealmarket.attestation.azure.hcl import read_hcl
from sealmarket.attestation.azure.rules import AzureRules, VtpmPcr
from sealmarket.attestation.collateral.trust_anchors import TrustAnchors
from sealmarket.attestation.core.errors import InvalidRules, NotEvidence
from sealmarket.attestation.core.evidence import Endorsements
from sealmarket.attestation.core.model import AppraisalResult
from sealmarket.attestation.core.reasons import Reason
from sealmarket.attestation.intel.rules import IntelRules
from sealmarket.attestation.parse import parse
from sealmarket.attestation.policy.explain import explain
from sealmarket.attestation.policy.rules import AppraisalPolicy, check_rules
from sealmarket.attestation.policy.verify import UNCHECKED, Expected, verify
from sealmarket_enclave.protocol.codec import Bytes32
from tests.attestation.support import endorse
from tests.forge.amd import AmdForge
from tests.forge.azure import EXTRA, PCRS, AzureForge, rsa_2048
from tests.forge.intel import IntelForge

NOW = datetime(2026, 1, 1, tzinfo=UTC)
INTEL = IntelForge(NOW)
TDX = AzureForge(intel=INTEL)
COLLATERAL = endorse(INTEL.collateral())
ROOTS = TrustAnchors.production().with_development(INTEL.root.der)
REPORT_DATA = EXTRA.ljust(64, b"\0")
EXPECTED = Expected(report_data=REPORT_DATA, collected_at=NOW)
NAMED = tuple(VtpmPcr(index=index, value=Bytes32(PCRS[index])) for index in (4, 11))
ALLOWED = AzureRules(paravisor="allowed", pcrs=NAMED)
WITHOUT_SEPT = {"td_attributes": 0}


def judge(
    document: bytes, azure: AzureRules | None = None, expected: Expected = EXPECTED, **intel: Any
) -> AppraisalResult:
    """The result over TDX; under a policy that the guest's measurement meets where rules for Azure are given."""
    evidence = parse(document)
    unpoliced = verify(evidence, COLLATERAL, ROOTS, NOW, Expected(report_data=UNCHECKED, collected_at=NOW))
    if azure is None or unpoliced.report is None:
        return unpoliced
    rules = AppraisalPolicy(
        measurements=(unpoliced.report.measurement,),
        platforms="any",
        lowest_grade="simulated",
        intel=IntelRules(**intel),
        azure=azure,
    )
    return verify(evidence, COLLATERAL, ROOTS, NOW, expected, rules)


def refusal(document: bytes) -> Reason:
    """The reason of the step that failed."""
    result = judge(document)
    assert not result.authentic
    return result.findings[0].reason


def quoted(**settings: Any) -> bytes:
    """A document whose quote has these settings."""
    return TDX.document(quote=TDX.quote(**settings))


# What holds, so that each refusal below is due to its one change.


def test_a_guest_behind_a_paravisor_is_accepted_under_rules_that_name_it() -> None:
    result = judge(TDX.document(), ALLOWED)
    assert result.reasons == ()
    assert result.claims["report_data"] == REPORT_DATA.hex()
    assert result.claims["vtpm_pcrs"]["4"] == PCRS[4].hex()
    assert result.claims["azure_vm_configuration"] == {"secure-boot": True}


def test_over_snp_it_is_the_same() -> None:
    amd = AmdForge(NOW, "Genoa")
    evidence = parse(AzureForge(amd=amd).document())
    roots = TrustAnchors.production().with_development(amd.ark.der)
    endorsements = Endorsements.read([*amd.endorsements(), amd.crl()])
    report = verify(evidence, endorsements, roots, NOW, EXPECTED).report
    assert report is not None
    rules = AppraisalPolicy(
        measurements=(report.measurement,),
        platforms="any",
        lowest_grade="simulated",
        snp=SnpRules(milan="accept"),
        azure=ALLOWED,
    )
    assert verify(evidence, endorsements, roots, NOW, EXPECTED, rules).accepted


def test_each_quote_of_one_guest_has_a_name_of_its_own() -> None:
    first, again, other = (judge(quoted(extra=extra)).report for extra in (EXTRA, EXTRA, b"another"))
    assert first is not None
    assert again is not None
    assert other is not None
    assert first.evidence_digest == again.evidence_digest != other.evidence_digest


# 76: the runtime data.


@pytest.mark.parametrize("bound", [bytes(64), sha256(TDX.runtime()).digest() + b"\x01" + bytes(31), b"\x01" * 64])
def test_runtime_data_that_the_hardware_did_not_report_is_refused(bound: bytes) -> None:
    assert refusal(TDX.document(bound=bound)) is Reason.HCL_MISMATCH


@pytest.mark.parametrize(
    "runtime",
    [
        b"not json",
        b"[]",
        b"{}",
        TDX.runtime(keys=[]),
        TDX.runtime(keys={"kid": "HCLAkPub"}),
        TDX.runtime(keys=[TDX.jwk(kid="HCLEkPub")]),
        TDX.runtime(keys=[TDX.jwk(), TDX.jwk(rsa_2048("another"))]),
        TDX.runtime(keys=[TDX.jwk(kty="EC")]),
        TDX.runtime(keys=[TDX.jwk(e="Aw")]),
        TDX.runtime(keys=[TDX.jwk(n="AQAB")]),
        TDX.runtime(keys=[TDX.jwk(n="!!")]),
        TDX.runtime(keys=[TDX.jwk(n=7)]),
        TDX.runtime(keys=[TDX.jwk(rsa.generate_private_key(65537, 1024))]),
    ],
)
def test_runtime_data_without_one_usable_key_is_refused(runtime: bytes) -> None:
    assert refusal(TDX.document(runtime=runtime)) is Reason.HCL_RUNTIME


# 77: the vTPM's quote.


def test_a_quote_by_another_key_than_the_reported_is_refused() -> None:
    assert refusal(quoted(key=rsa_2048("another"))) is Reason.VTPM_SIGNATURE
    other = TDX.runtime(keys=[TDX.jwk(rsa_2048("another"))])
    assert refusal(TDX.document(runtime=other)) is Reason.VTPM_SIGNATURE
    ek = [TDX.jwk(), TDX.jwk(rsa_2048("ek"), kid="HCLEkPub")]
    runtime = TDX.runtime(keys=ek)
    assert judge(TDX.document(runtime=runtime)).authentic
    assert refusal(TDX.document(runtime=runtime, quote=TDX.quote(key=rsa_2048("ek")))) is Reason.VTPM_SIGNATURE


def test_a_quote_that_was_changed_is_refused() -> None:
    quote = TDX.quote()
    changed = TDX.message(extra=b"changed")
    assert refusal(TDX.document(quote={**quote, "message": changed.hex()})) is Reason.VTPM_SIGNATURE


@pytest.mark.parametrize(
    "settings",
    [
        {"head": b"\xff\x54\x43\x47\x80\x17"},
        {"head": b"\x00\x54\x43\x47\x80\x18"},
        {"selection": b"\0\0\0\x02\x00\x0b\x03\xff\xff\xff"},
        {"selection": b"\0\0\0\x01\x00\x04\x03\xff\xff\xff"},
        {"selection": b"\0\0\0\x01\x00\x0b\x02\xff\xff\xff"},
        {"tail": b"\0"},
        {"digest": bytes(20)},
        {"extra": bytes(65)},
    ],
)
def test_what_is_no_quote_over_one_bank_of_sha_256_is_refused(settings: dict[str, bytes]) -> None:
    assert refusal(quoted(**settings)) is Reason.VTPM_QUOTE


@pytest.mark.parametrize("size", [1, 5, 6, 7, 40, 60, 100])
def test_a_quote_cut_short_is_refused(size: int) -> None:
    assert refusal(quoted(message=TDX.message()[:size])) in (Reason.VTPM_QUOTE, Reason.TRUNCATED)


@pytest.mark.parametrize("index", [0, 4, 23])
def test_a_register_that_the_quote_does_not_cover_is_refused(index: int) -> None:
    shown = tuple(b"\xee" * 32 if i == index else pcr for i, pcr in enumerate(PCRS))
    assert refusal(quoted(shown=shown)) is Reason.VTPM_PCRS


@pytest.mark.parametrize(
    "shown", [(), PCRS[:23], (*PCRS[:23], bytes(31)), (*PCRS[:22], PCRS[22] + PCRS[23][:1], PCRS[23][1:])]
)
def test_registers_of_another_number_or_size_are_refused(shown: tuple[bytes, ...]) -> None:
    assert refusal(quoted(shown=shown)) is Reason.VTPM_PCRS


def test_a_register_outside_the_selection_proves_nothing() -> None:
    selection = b"\0\0\0\x01\x00\x0b\x03\x10\x00\x00"
    some = quoted(selection=selection, digest=sha256(PCRS[4]).digest())
    result = judge(some, ALLOWED)
    assert set(result.claims["vtpm_pcrs"]) == {"4"}
    assert result.reasons == (Reason.VTPM_PCRS,)
    assert result.findings[0].found == "not quoted"


# What the policy refuses.


def test_a_paravisor_is_refused_unless_the_policy_allows_it() -> None:
    assert judge(TDX.document(), AzureRules(pcrs=NAMED)).reasons == (Reason.PARAVISOR_NOT_ALLOWED,)


def test_a_policy_that_allows_a_paravisor_names_the_guest() -> None:
    with pytest.raises(InvalidRules, match="names no register"):
        judge(TDX.document(), AzureRules(paravisor="allowed"))


@pytest.mark.parametrize("index", [4, 11])
def test_another_guest_is_refused(index: int) -> None:
    pcrs = tuple(b"\xee" * 32 if i == index else pcr for i, pcr in enumerate(PCRS))
    result = judge(quoted(pcrs=pcrs, shown=pcrs), ALLOWED)
    assert result.reasons == (Reason.VTPM_PCRS,)
    both = AzureRules(paravisor="allowed", pcrs=(*NAMED, VtpmPcr(index=index, value=Bytes32(b"\xee" * 32))))
    assert judge(quoted(pcrs=pcrs, shown=pcrs), both).reasons == ()


def test_a_guest_without_a_quote_is_refused_and_without_a_policy_warned_about() -> None:
    without = TDX.document(tpm_quote=...)
    own = Expected(report_data=sha256(TDX.runtime()).digest() + bytes(32), collected_at=NOW)
    reasons = judge(without, ALLOWED, own).reasons
    assert set(reasons) == {Reason.VTPM_MISSING, Reason.VTPM_PCRS}
    assert Reason.VTPM_MISSING in [warning.reason for warning in judge(without).warnings]


@pytest.mark.parametrize("configuration", [{"secure-boot": False}, {}, {"secure-boot": "true"}, []])
def test_a_guest_without_secure_boot_is_refused_unless_the_rules_allow_it(configuration: Any) -> None:
    document = TDX.document(runtime={"vm-configuration": configuration})
    assert judge(document, ALLOWED).reasons == (Reason.MITIGATION_MISSING,)
    loose = AzureRules(paravisor="allowed", pcrs=NAMED, secure_boot="any")
    assert judge(document, loose).reasons == ()


@pytest.mark.parametrize("extra", [EXTRA[:-1], EXTRA + b"\x01", b"", EXTRA[:47] + b"\0"])
def test_report_data_is_the_quotes_and_is_compared_to_its_last_byte(extra: bytes) -> None:
    assert judge(quoted(extra=extra), ALLOWED).reasons == (Reason.REPORT_DATA_MISMATCH,)


def test_the_hardwares_own_report_data_is_not_the_guests() -> None:
    own = Expected(report_data=sha256(TDX.runtime()).digest() + bytes(32), collected_at=NOW)
    assert judge(TDX.document(), ALLOWED, own).reasons == (Reason.REPORT_DATA_MISMATCH,)


def test_a_td_without_sept_ve_disable_is_refused_by_name_unless_the_rules_allow_it() -> None:
    document = TDX.document(td={"td_attributes": 0})
    assert judge(document, ALLOWED).reasons == (Reason.SEPT_VE_DISABLE,)
    assert judge(document, ALLOWED, sept_ve_disable="any").reasons == ()


def test_debug_behind_a_paravisor_is_refused_whatever_the_rules_say() -> None:
    document = TDX.document(td={"td_attributes": 1 << 28 | 1})
    assert judge(document, ALLOWED, sept_ve_disable="any").reasons == (Reason.DEBUG,)


def test_the_rules_are_told_in_sentences() -> None:
    report = judge(TDX.document()).report
    assert report is not None

    def told(azure: AzureRules) -> str:
        return " ".join(explain(AppraisalPolicy(measurements=(report.measurement,), platforms="any", azure=azure)))

    assert "paravisor is refused" in told(AzureRules())
    loose = told(AzureRules(paravisor="allowed", pcrs=NAMED, secure_boot="any"))
    assert "ACCEPTED" in loose
    assert "PCR11 may be 0b0b" in loose
    assert "Secure boot may be OFF" in loose
    check_rules(AppraisalPolicy(measurements=(report.measurement,), platforms="any", azure=ALLOWED))


# The files.


@pytest.mark.parametrize(
    "changes",
    [
        {"version": 3},
        {"size": 2600},
        {"status": 1},
        {"kind": 3},
        {"hash": 2},
        {"length": 5000},
        {"length": 5000, "total": 5020, "size": 6236},
        {"length": 10},
    ],
)
def test_a_paravisors_report_of_another_layout_is_refused(changes: dict[str, int]) -> None:
    runtime = TDX.runtime()
    assert read_hcl(TDX.hcl(runtime, bytes(1024), 4)).runtime == runtime
    with pytest.raises(NotEvidence):
        read_hcl(TDX.hcl(runtime, bytes(1024), 4, **changes))
    with pytest.raises(NotEvidence):
        parse(TDX.document(hcl=changes))


def test_a_paravisors_report_with_something_behind_it_or_cut_short_is_refused() -> None:
    document = json.loads(TDX.document())
    raw = bytes.fromhex(document["hcl_report"])
    for changed in (raw[:-1] + b"\x01", raw[:1235], raw[:1300], raw + bytes(1 << 16)):
        with pytest.raises(NotEvidence):
            parse(json.dumps({**document, "hcl_report": changed.hex()}).encode())


@pytest.mark.parametrize(
    "changes",
    [
        {"version": 3},
        {"version": "1"},
        {"td_quote": "00"},
        {"tpm_quote": []},
        {"tpm_quote": {}},
        {"tpm_quote": {"message": "00", "signature": "00", "pcrs": ["00"] * 25}},
        {"tpm_quote": {"message": "00", "signature": "00", "pcrs": [7]}},
        {"tpm_quote": {"message": 7, "signature": "00", "pcrs": []}},
    ],
)
def test_an_agents_file_of_another_shape_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(NotEvidence):
        parse(TDX.document(**changes))


def test_an_snp_report_beside_a_td_quote_is_refused() -> None:
    snp = json.loads(AzureForge(amd=AmdForge(NOW, "Genoa")).document())
    with pytest.raises(NotEvidence, match="type 4"):
        parse(TDX.document(hcl_report=snp["hcl_report"]))
