"""Refusals 14 to 36, and attacks on Intel verifiers in the public record, minted under a forge's own root."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from hashlib import sha384
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding

from sealmarket.attestation.collateral.trust_anchors import TrustAnchors
from sealmarket.attestation.core.errors import NotEvidence
from sealmarket.attestation.core.evidence import Endorsements, Evidence
from sealmarket.attestation.core.model import AppraisalResult
from sealmarket.attestation.core.reasons import Reason
from sealmarket.attestation.intel import authenticate as intel
from sealmarket.attestation.intel.collateral import IntelCollateral
from sealmarket.attestation.intel.rules import IntelRules, PlatformFlag, TdAttribute
from sealmarket.attestation.parse import parse
from sealmarket.attestation.policy.rules import AppraisalPolicy
from sealmarket.attestation.policy.verify import UNCHECKED, Expected, appraise, authenticate, verify
from sealmarket_devices import intel_collateral as genuine
from sealmarket_devices.intel_format import SgxReport, sign_raw
from sealmarket_devices.pki import Authority, Validity, certify, revocation_list
from sealmarket_enclave.protocol.numbers import Tee
from tests.attestation.support import ANYTHING, NOW, endorse, forge_roots, forged, report_of
from tests.forge.intel import IntelForge, intel_root_name, malleate, new_key
from tests.vectors import first, manifest, vector

SEPT = 1 << 28
DAY = timedelta(days=1)


@pytest.fixture(scope="module")
def forge() -> IntelForge:
    return IntelForge(NOW)


def reasons(forge: IntelForge, quote: bytes, collateral: str | None = None) -> tuple[Reason, ...]:
    return forged(forge, quote, collateral).reasons


def under(forge: IntelForge, quote: bytes, intel: IntelRules, collateral: str | None = None) -> AppraisalResult:
    """The result under rules that differ from the strict ones in their Intel part only."""
    rules = AppraisalPolicy(
        measurements=(report_of(forge, quote, collateral).measurement,),
        platforms="any",
        lowest_grade="simulated",
        intel=intel,
    )
    return forged(forge, quote, collateral, rules=rules, expected=Expected(report_data=UNCHECKED, collected_at=NOW))


def td(forge: IntelForge, attributes: int) -> bytes:
    return forge.tdx_quote(forge.td_report(td_attributes=attributes))


def sgx(forge: IntelForge, flags: int) -> bytes:
    return forge.sgx_quote(SgxReport(cpu_svn=forge.platform.component_svns, mr_enclave=b"\xe1" * 32, flags=flags))


# 14 to 20: what was launched.


def test_14_a_debug_enclave_is_refused(forge: IntelForge) -> None:
    assert reasons(forge, sgx(forge, 0b111)) == (Reason.DEBUG,)


def test_14_an_enclave_without_init_is_refused(forge: IntelForge) -> None:
    assert reasons(forge, sgx(forge, 0b100)) == (Reason.SGX_ATTRIBUTES,)


@pytest.mark.parametrize("bit", [4, 5], ids=["PROVISION_KEY", "EINITTOKEN_KEY"])
def test_14_an_enclave_with_a_key_of_the_platform_is_refused(forge: IntelForge, bit: int) -> None:
    assert reasons(forge, sgx(forge, 0b101 | 1 << bit)) == (Reason.SGX_ATTRIBUTES,)


@pytest.mark.parametrize("bit", [3, 8, 9, 11, 33, 63])
def test_14_an_unknown_enclave_attribute_is_refused(forge: IntelForge, bit: int) -> None:
    assert reasons(forge, sgx(forge, 0b101 | 1 << bit)) == (Reason.SGX_ATTRIBUTES,)


def test_15_a_debug_td_is_refused_whatever_the_rules_say(forge: IntelForge) -> None:
    quote = td(forge, SEPT | 1)

    assert reasons(forge, quote) == (Reason.DEBUG,)
    everything = IntelRules(td_attributes_allowed=tuple(TdAttribute), sept_ve_disable="any")
    assert under(forge, quote, everything).reasons == (Reason.DEBUG,)


def test_16_a_td_without_sept_ve_disable_is_refused_unless_the_policy_allows_it(forge: IntelForge) -> None:
    quote = td(forge, 0)

    assert reasons(forge, quote) == (Reason.SEPT_VE_DISABLE,)
    assert under(forge, quote, IntelRules(sept_ve_disable="any")).accepted


def test_17_a_migratable_td_is_refused(forge: IntelForge) -> None:
    assert reasons(forge, td(forge, SEPT | 1 << 29)) == (Reason.MIGRATABLE,)


@pytest.mark.parametrize("bit", [4, 5, 6])
def test_18_a_profiled_td_is_refused(forge: IntelForge, bit: int) -> None:
    assert reasons(forge, td(forge, SEPT | 1 << bit)) == (Reason.PROFILING,)


@pytest.mark.parametrize("bit", [1, 2, 3, 7, 8, 16, 17, 18, 22, 23, 30, 31, 32, 61, 62, 63])
def test_19_an_attribute_outside_the_mask_is_refused(forge: IntelForge, bit: int) -> None:
    assert reasons(forge, td(forge, SEPT | 1 << bit)) == (Reason.TD_ATTRIBUTES,)


def test_19_an_attribute_is_allowed_by_name_only(forge: IntelForge) -> None:
    quote = td(forge, SEPT | 1 << 30 | 1 << 63)

    assert under(forge, quote, IntelRules(td_attributes_allowed=(TdAttribute.PKS,))).reasons == (Reason.TD_ATTRIBUTES,)
    both = IntelRules(td_attributes_allowed=(TdAttribute.PKS, TdAttribute.PERFMON))
    assert under(forge, quote, both).accepted


def test_20_a_td_with_a_service_td_is_refused(forge: IntelForge) -> None:
    quote = forge.tdx_quote(forge.td_report_15(mr_service_td=bytes(47) + b"\x01"), version=5)

    assert reasons(forge, quote) == (Reason.SERVICE_TD,)


# 21 and 22: who signs.


def test_21_a_root_of_the_same_name_is_refused() -> None:
    lookalike = IntelForge(NOW, root_name=intel_root_name())
    evidence, collateral = parse(lookalike.tdx_quote()), endorse(lookalike.collateral())

    assert verify(evidence, collateral, TrustAnchors.production(), NOW, ANYTHING).reasons == (Reason.UNTRUSTED_ROOT,)


def test_21_a_quote_under_another_root_than_its_collateral_is_refused(forge: IntelForge) -> None:
    other = IntelForge(NOW)
    roots = forge_roots(forge).with_development(other.root.certificate.public_bytes(Encoding.DER))

    result = verify(parse(other.tdx_quote()), endorse(forge.collateral()), roots, NOW, ANYTHING)

    assert result.reasons == (Reason.UNTRUSTED_ROOT,)


def test_22_collateral_signed_by_a_pck_leaf_is_refused(forge: IntelForge) -> None:
    assert reasons(forge, forge.tdx_quote(), forge.collateral(signer=forge.pck))[0] in (
        Reason.SIGNER_PURPOSE,
        Reason.CHAIN_INVALID,
    )


@pytest.mark.parametrize("name", ["Intel SGX PCK Certificate", "Intel SGX PCK Platform CA", "Somebody"])
def test_22_collateral_signed_by_a_certificate_of_another_purpose_is_refused(name: str) -> None:
    forge = IntelForge(NOW, names={"tcb_signing": name})

    assert reasons(forge, forge.tdx_quote()) == (Reason.SIGNER_PURPOSE,)


@pytest.mark.parametrize("role", ["pck", "pck_ca"])
def test_22_a_pck_chain_of_another_purpose_is_refused(role: str) -> None:
    forge = IntelForge(NOW, names={role: "Intel SGX TCB Signing"})

    assert reasons(forge, forge.tdx_quote())[0] in (Reason.CHAIN_INVALID, Reason.SIGNER_PURPOSE)


def resigned(certificate: Authority, signing_key: Any) -> Authority:
    """The same certificate with another signature: everything right but the hand that signed."""
    old = certificate.certificate
    builder = x509.CertificateBuilder(
        issuer_name=old.issuer,
        subject_name=old.subject,
        public_key=old.public_key(),
        serial_number=old.serial_number,
        not_valid_before=old.not_valid_before_utc,
        not_valid_after=old.not_valid_after_utc,
        extensions=list(old.extensions),
    )
    return Authority(builder.sign(signing_key, SHA256()), certificate.key)


def test_22_a_collateral_signer_that_the_root_did_not_sign_is_refused(forge: IntelForge) -> None:
    forged_signer = resigned(forge.tcb_signing, new_key())

    assert reasons(forge, forge.tdx_quote(), forge.collateral(signer=forged_signer)) == (Reason.CHAIN_INVALID,)


def test_22_a_pck_leaf_that_its_ca_did_not_sign_is_refused(forge: IntelForge) -> None:
    for key in (new_key(), forge.pck.key):
        chain = forge.chain(resigned(forge.pck, key), forge.pck_ca, forge.root)
        assert reasons(forge, forge.tdx_quote(chain=chain)) == (Reason.CHAIN_INVALID,)


def test_22_a_pck_leaf_that_may_not_sign_does_not_make_leaves(forge: IntelForge) -> None:
    """The leaf's own key signs a second leaf, with the leaf in the place of the CA."""
    second = forge.new_pck(issuer=forge.pck)
    chain = forge.chain(second, forge.pck, forge.root)

    assert reasons(forge, forge.tdx_quote(chain=chain, qe_key=second.key)) == (Reason.CRL_INVALID,)


def test_22_a_pck_ca_that_the_root_did_not_sign_is_refused(forge: IntelForge) -> None:
    chain = forge.chain(forge.pck, resigned(forge.pck_ca, new_key()), forge.root)

    assert reasons(forge, forge.tdx_quote(chain=chain)) == (Reason.CHAIN_INVALID,)


def test_22_a_pck_chain_of_more_or_fewer_certificates_is_refused(forge: IntelForge) -> None:
    for above in ((forge.pck_ca,), (forge.pck_ca, forge.root, forge.root), ()):
        chain = forge.chain(forge.pck, *above)
        assert reasons(forge, forge.tdx_quote(chain=chain))[0] in (Reason.CHAIN_INVALID, Reason.ENDORSEMENT_MALFORMED)


def test_22_a_signer_that_is_no_authority_signs_no_certificates(forge: IntelForge) -> None:
    weak = Authority(
        certify(
            forge.pck_ca.certificate.subject,
            forge.pck_ca.key.public_key(),
            forge.root,
            forge.root.key,
            forge.period(),
        ),
        forge.pck_ca.key,
    )
    collateral = forge.collateral(parts={"pck_crl_issuer_chain": forge.chain(weak, forge.root).decode()})

    quote = forge.tdx_quote(chain=forge.chain(forge.pck, weak, forge.root))
    assert reasons(forge, quote, collateral) == (Reason.CHAIN_INVALID,)


@pytest.mark.parametrize("part", ["qe_identity_issuer_chain", "pck_crl_issuer_chain"])
def test_22_a_chain_of_another_root_inside_the_collateral_is_refused(forge: IntelForge, part: str) -> None:
    other = IntelForge(NOW)
    signer = other.pck_ca if part.startswith("pck") else other.tcb_signing
    collateral = forge.collateral(parts={part: other.chain(signer, other.root).decode()})
    roots = forge_roots(forge).with_development(other.root.certificate.public_bytes(Encoding.DER))

    assert verify(parse(forge.tdx_quote()), endorse(collateral), roots, NOW, ANYTHING).reasons == (
        Reason.UNTRUSTED_ROOT,
    )


@pytest.mark.parametrize("count", [1, 3])
def test_22_a_chain_of_another_length_is_refused(forge: IntelForge, count: int) -> None:
    chain = forge.chain(*([forge.root] * 1 if count == 1 else [forge.tcb_signing, forge.pck_ca, forge.root])).decode()

    found = reasons(forge, forge.tdx_quote(), forge.collateral(parts={"qe_identity_issuer_chain": chain}))
    assert found == (Reason.CHAIN_INVALID,)


# 23 to 25: collateral.


@pytest.mark.parametrize("part", ["tcb_info", "qe_identity"])
def test_23_collateral_altered_in_one_byte_is_refused(forge: IntelForge, part: str) -> None:
    collateral = json.loads(forge.collateral())
    collateral[part] = collateral[part].replace("UpToDate", "UpToDatE", 1)

    assert reasons(forge, forge.tdx_quote(), json.dumps(collateral)) == (Reason.SIGNATURE_INVALID,)


def test_23_the_same_document_spelled_otherwise_is_refused(forge: IntelForge) -> None:
    collateral = json.loads(forge.collateral())
    collateral["tcb_info"] = json.dumps(json.loads(collateral["tcb_info"]))

    assert reasons(forge, forge.tdx_quote(), json.dumps(collateral)) == (Reason.SIGNATURE_INVALID,)


@pytest.mark.parametrize("days", [16, 31, 400])
def test_23_expired_collateral_is_refused(forge: IntelForge, days: int) -> None:
    result = forged(forge, forge.tdx_quote(), now=NOW + days * DAY)

    assert result.reasons == (Reason.ENDORSEMENT_EXPIRED,)


@pytest.mark.parametrize("days", [16, 400])
def test_23_collateral_from_the_future_is_refused(forge: IntelForge, days: int) -> None:
    result = forged(forge, forge.tdx_quote(), now=NOW - days * DAY)

    assert result.reasons == (Reason.ENDORSEMENT_FUTURE,)


@pytest.mark.parametrize("part", ["tcb", "identity"])
def test_23_each_document_has_its_own_end(forge: IntelForge, part: str) -> None:
    ended: dict[str, Any] = {part: {"nextUpdate": genuine.stamp(NOW - DAY)}}
    coming: dict[str, Any] = {part: {"issueDate": genuine.stamp(NOW + DAY)}}

    assert reasons(forge, forge.tdx_quote(), forge.collateral(**ended)) == (Reason.ENDORSEMENT_EXPIRED,)
    assert reasons(forge, forge.tdx_quote(), forge.collateral(**coming)) == (Reason.ENDORSEMENT_FUTURE,)


@pytest.mark.parametrize("role", ["root", "pck_ca", "tcb_signing", "pck"])
def test_23_each_certificate_has_its_own_end(role: str) -> None:
    ended = IntelForge(NOW, validity={role: Validity(start=NOW - 9 * DAY, end=NOW - DAY)})
    coming = IntelForge(NOW, validity={role: Validity(start=NOW + DAY, end=NOW + 9 * DAY)})

    assert reasons(ended, ended.tdx_quote()) == (Reason.ENDORSEMENT_EXPIRED,)
    assert reasons(coming, coming.tdx_quote()) == (Reason.ENDORSEMENT_FUTURE,)


def test_24_collateral_of_another_fmspc_is_refused(forge: IntelForge) -> None:
    collateral = forge.collateral(tcb={"fmspc": "F0F0F0000001"})

    assert reasons(forge, forge.tdx_quote(), collateral) == (Reason.FMSPC_MISMATCH,)


def test_24_collateral_of_another_pceid_is_refused(forge: IntelForge) -> None:
    assert reasons(forge, forge.tdx_quote(), forge.collateral(tcb={"pceId": "0001"})) == (Reason.PCEID_MISMATCH,)


@pytest.mark.parametrize(("tcb", "identity"), [("SGX", "QE"), ("TDX", "QE"), ("SGX", "TD_QE")])
def test_25_collateral_of_another_tee_is_refused(forge: IntelForge, tcb: str, identity: str) -> None:
    collateral = forge.collateral(tcb={"id": tcb}, identity={"id": identity})

    assert reasons(forge, forge.tdx_quote(), collateral) == (Reason.COLLATERAL_TEE,)


def test_25_tdx_collateral_for_an_sgx_quote_is_refused(forge: IntelForge) -> None:
    assert reasons(forge, forge.sgx_quote(), forge.collateral("TDX")) == (Reason.COLLATERAL_TEE,)


@pytest.mark.parametrize(("part", "version"), [("tcb", 2), ("tcb", 4), ("identity", 1)])
def test_25_a_document_of_another_version_is_refused(forge: IntelForge, part: str, version: int) -> None:
    collateral = forge.collateral(**{part: {"version": version}})  # type: ignore[arg-type]

    assert reasons(forge, forge.tdx_quote(), collateral) == (Reason.COLLATERAL_TEE,)


# 26 to 29: the quoting enclave and the platform's level.


@pytest.mark.parametrize(
    "fields",
    [{"mr_signer": b"\x52" * 32}, {"isv_prod_id": 3}, {"flags": 0x17}, {"flags": 0x05}, {"misc_select": 1}],
    ids=lambda fields: next(iter(fields)),
)
def test_26_a_quoting_enclave_that_is_not_intels_is_refused(forge: IntelForge, fields: dict[str, Any]) -> None:
    assert reasons(forge, forge.tdx_quote(qe=fields)) == (Reason.QE_IDENTITY,)


def test_26_a_quoting_enclave_older_than_every_level_is_refused(forge: IntelForge) -> None:
    assert Reason.TCB_NO_LEVEL in reasons(forge, forge.tdx_quote(qe={"isv_svn": 7}))


def test_26_a_debug_quoting_enclave_is_refused_even_by_an_identity_that_forgets_to(forge: IntelForge) -> None:
    forgetful = forge.collateral(identity={"attributesMask": "00" * 16})

    assert reasons(forge, forge.tdx_quote(qe={"flags": 0x17}), forgetful) == (Reason.QE_IDENTITY,)


@pytest.mark.parametrize("which", ["status", "qe_status"])
def test_27_a_revoked_level_is_refused_whatever_the_rules_say(forge: IntelForge, which: str) -> None:
    quote = forge.tdx_quote()
    collateral = forge.collateral(**{which: "Revoked"})  # type: ignore[arg-type]
    loosest = IntelRules(lowest_tcb_status=_status("OutOfDateConfigurationNeeded"), tcb_grace_seconds=366 * 86400)

    assert reasons(forge, quote, collateral) == (Reason.TCB_REVOKED,)
    assert under(forge, quote, loosest, collateral).reasons == (Reason.TCB_REVOKED,)


def test_27_a_running_module_that_is_revoked_is_refused(forge: IntelForge) -> None:
    modules = forge.tcb_info("TDX")["tdxModuleIdentities"]
    level = modules[0]["tcbLevels"][0]
    modules[0]["tcbLevels"] = [{**level, "tcb": {"isvsvn": 6}, "tcbStatus": "Revoked"}, level]
    collateral = forge.collateral(tcb={"tdxModuleIdentities": modules})
    report = forge.td_report_15(tee_tcb_svn2=bytes([6, 1, 3]) + bytes(13))

    assert reasons(forge, forge.tdx_quote(report, version=5), collateral) == (Reason.TCB_REVOKED,)


def _status(word: str) -> Any:
    from sealmarket.attestation.core.model import TcbStatus

    return TcbStatus(word)


WORSE = [
    "SWHardeningNeeded",
    "ConfigurationNeeded",
    "ConfigurationAndSWHardeningNeeded",
    "OutOfDate",
    "OutOfDateConfigurationNeeded",
]


@pytest.mark.parametrize("status", WORSE)
def test_28_a_worse_status_than_the_rules_name_is_refused(forge: IntelForge, status: str) -> None:
    quote, collateral = forge.tdx_quote(), forge.collateral(status=status)
    one_better = ["UpToDate", *WORSE][WORSE.index(status)]

    assert reasons(forge, quote, collateral) == (Reason.TCB_STATUS_TOO_LOW,)
    better = under(forge, quote, IntelRules(lowest_tcb_status=_status(one_better)), collateral)
    assert better.reasons == (Reason.TCB_STATUS_TOO_LOW,)
    assert under(forge, quote, IntelRules(lowest_tcb_status=_status(status)), collateral).accepted


def test_28_an_outdated_quoting_enclave_is_an_outdated_platform(forge: IntelForge) -> None:
    result = forged(forge, forge.tdx_quote(), forge.collateral(qe_status="OutOfDate"))

    assert result.reasons == (Reason.TCB_STATUS_TOO_LOW,)
    assert result.tcb is not None
    assert result.tcb.status.value == "OutOfDate"


def test_28_an_outdated_quoting_enclave_of_an_sgx_platform_is_refused(forge: IntelForge) -> None:
    collateral = forge.collateral("SGX", qe_status="OutOfDate")

    assert reasons(forge, forge.sgx_quote(), collateral) == (Reason.TCB_STATUS_TOO_LOW,)


def test_28_a_td_launched_on_an_outdated_tcb_is_refused_though_a_newer_one_runs_now(forge: IntelForge) -> None:
    levels = forge.tcb_info("TDX")["tcbLevels"]
    older = {"tcb": {**levels[0]["tcb"], "tdxtcbcomponents": [{"svn": 0}] * 16}, "tcbStatus": "OutOfDate"}
    collateral = forge.collateral(tcb={"tcbLevels": [*levels, {**levels[0], **older}]})
    launched, now = bytes([5, 1, 2]) + bytes(13), genuine.TEE_TCB_SVN

    def result(launch: bytes, current: bytes) -> AppraisalResult:
        report = forge.td_report_15(tee_tcb_svn=launch, tee_tcb_svn2=current)
        return forged(forge, forge.tdx_quote(report, version=5), collateral)

    advised = result(launched, now)
    assert advised.tcb is not None
    assert (advised.tcb.status.value, advised.reasons) == ("TDRelaunchAdvised", (Reason.TCB_STATUS_TOO_LOW,))
    assert result(launched, launched).reasons == (Reason.TCB_STATUS_TOO_LOW,)
    assert result(now, now).accepted


def test_28_an_outdated_tdx_module_is_an_outdated_platform(forge: IntelForge) -> None:
    info = forge.tcb_info("TDX")
    info["tdxModuleIdentities"][0]["tcbLevels"][0]["tcbStatus"] = "OutOfDate"
    collateral = forge.collateral(tcb={"tdxModuleIdentities": info["tdxModuleIdentities"]})

    assert reasons(forge, forge.tdx_quote(), collateral) == (Reason.TCB_STATUS_TOO_LOW,)


def test_28_an_advisory_that_the_rules_do_not_name_is_refused(forge: IntelForge) -> None:
    quote = forge.tdx_quote()
    collateral = forge.collateral(advisories=("INTEL-SA-00001", "INTEL-SA-00002"))

    assert reasons(forge, quote, collateral) == (Reason.ADVISORY_NOT_ALLOWED,)
    one = under(forge, quote, IntelRules(advisories_allowed=("INTEL-SA-00001",)), collateral)
    assert [f.found for f in one.findings] == ["INTEL-SA-00002"]
    both = IntelRules(advisories_allowed=("INTEL-SA-00001", "INTEL-SA-00002"))
    assert under(forge, quote, both, collateral).accepted


def test_28_grace_ends_with_the_date_of_the_level(forge: IntelForge) -> None:
    quote = forge.tdx_quote()
    info = forge.tcb_info("TDX")
    info["tcbLevels"][0]["tcbDate"] = genuine.stamp(NOW - 10 * DAY)
    info["tcbLevels"][0]["tcbStatus"] = "OutOfDate"
    collateral = forge.collateral(tcb={"tcbLevels": info["tcbLevels"]})

    short, long = (IntelRules(tcb_grace_seconds=days * 86400) for days in (9, 11))
    assert under(forge, quote, short, collateral).reasons == (Reason.TCB_STATUS_TOO_LOW,)
    assert under(forge, quote, long, collateral).accepted


@pytest.mark.parametrize("component", [i for i, svn in enumerate(genuine.COMPONENT_SVNS) if svn])
def test_29_a_platform_below_every_level_is_refused(component: int) -> None:
    svns = bytearray(genuine.COMPONENT_SVNS)
    svns[component] -= 1
    forge = IntelForge(NOW, extension={"component_svns": bytes(svns)})

    assert reasons(forge, forge.tdx_quote()) == (Reason.TCB_NO_LEVEL,)


def test_29_a_pce_below_every_level_is_refused() -> None:
    forge = IntelForge(NOW, extension={"pce_svn": genuine.PCE_SVN - 1})

    assert reasons(forge, forge.tdx_quote()) == (Reason.TCB_NO_LEVEL,)


@pytest.mark.parametrize("index", [0, 2])
def test_29_a_tdx_module_or_loader_below_every_level_is_refused(forge: IntelForge, index: int) -> None:
    svn = bytearray(genuine.TEE_TCB_SVN)
    svn[index] -= 1

    assert reasons(forge, forge.tdx_quote(forge.td_report(tee_tcb_svn=bytes(svn)))) == (Reason.TCB_NO_LEVEL,)


def test_29_a_tdx_module_that_intel_does_not_list_is_refused(forge: IntelForge) -> None:
    unknown = bytes([5, 2, 3]) + bytes(13)

    assert reasons(forge, forge.tdx_quote(forge.td_report(tee_tcb_svn=unknown))) == (Reason.TDX_MODULE,)


@pytest.mark.parametrize("fields", [{"mr_signer_seam": b"\x01" * 48}, {"seam_attributes": b"\x01" + bytes(7)}])
def test_29_a_tdx_module_that_is_not_intels_is_refused(forge: IntelForge, fields: dict[str, bytes]) -> None:
    assert reasons(forge, forge.tdx_quote(forge.td_report(**fields))) == (Reason.TDX_MODULE,)


# 30 and 31: revocation.


@pytest.mark.parametrize("who", ["pck", "pck_ca", "tcb_signing"])
def test_30_a_revoked_certificate_is_refused(forge: IntelForge, who: str) -> None:
    authority: Authority = getattr(forge, who)
    serial = authority.certificate.serial_number
    by_root, by_ca = ((), (serial,)) if who == "pck" else ((serial,), ())
    collateral = forge.collateral(revoked_by_root=by_root, revoked_by_pck_ca=by_ca)

    assert reasons(forge, forge.tdx_quote(), collateral) == (Reason.CERTIFICATE_REVOKED,)


def test_30_a_second_certificate_of_the_pck_ca_is_revoked_by_its_own_serial(forge: IntelForge) -> None:
    """The quote may bring another certificate of the same CA than the collateral does."""
    name, key = forge.pck_ca.certificate.subject, forge.pck_ca.key
    second = Authority(certify(name, key.public_key(), forge.root, forge.root.key, forge.period(), path_length=0), key)
    quote = forge.tdx_quote(chain=forge.chain(forge.pck, second, forge.root))
    revoked = forge.collateral(revoked_by_root=(second.certificate.serial_number,))

    assert reasons(forge, quote) == ()
    assert reasons(forge, quote, revoked) == (Reason.CERTIFICATE_REVOKED,)


def test_31_a_list_of_the_same_key_under_another_name_is_refused(forge: IntelForge) -> None:
    renamed = Authority(forge.tcb_signing.certificate, forge.pck_ca.key)
    collateral = forge.collateral(parts={"pck_crl": revocation_list(renamed, forge.period()).hex()})

    assert reasons(forge, forge.tdx_quote(), collateral) == (Reason.CRL_INVALID,)


@pytest.mark.parametrize("part", ["root_ca_crl", "pck_crl"])
def test_31_a_missing_crl_is_refused(forge: IntelForge, part: str) -> None:
    assert reasons(forge, forge.tdx_quote(), forge.collateral(parts={part: ""})) == (Reason.CRL_INVALID,)


def test_31_a_stale_crl_is_refused(forge: IntelForge) -> None:
    stale = forge.collateral(crl_validity=Validity(start=NOW - 9 * DAY, end=NOW - DAY))
    early = forge.collateral(crl_validity=Validity(start=NOW + DAY, end=NOW + 9 * DAY))

    assert reasons(forge, forge.tdx_quote(), stale) == (Reason.ENDORSEMENT_EXPIRED,)
    assert reasons(forge, forge.tdx_quote(), early) == (Reason.ENDORSEMENT_FUTURE,)


def test_31_a_foreign_crl_is_refused(forge: IntelForge) -> None:
    other = IntelForge(NOW)
    impostor = Authority(forge.pck_ca.certificate, new_key())
    crls = {
        "of another issuer": {"pck_crl": revocation_list(forge.root, forge.period()).hex()},
        "of another root": {"root_ca_crl": revocation_list(other.root, forge.period()).hex()},
        "signed by another": {"pck_crl": revocation_list(impostor, forge.period()).hex()},
        "of no shape": {"pck_crl": "3003020101"},
    }

    for what, parts in crls.items():
        assert reasons(forge, forge.tdx_quote(), forge.collateral(parts=parts)) == (Reason.CRL_INVALID,), what


def test_31_the_crl_of_another_pck_ca_is_refused(forge: IntelForge) -> None:
    name = forge.pck_ca.certificate.subject
    sibling = forge._authority("pck_ca", name, forge.root, 0)
    collateral = forge.collateral(
        parts={
            "pck_crl_issuer_chain": forge.chain(sibling, forge.root).decode(),
            "pck_crl": revocation_list(sibling, forge.period()).hex(),
        }
    )

    assert reasons(forge, forge.tdx_quote(), collateral) == (Reason.CRL_INVALID,)


# 32: evaluations.


def test_32_collateral_of_an_old_evaluation_is_refused(forge: IntelForge) -> None:
    quote = forge.tdx_quote()
    floor = IntelRules(minimum_evaluation_number=genuine.EVALUATION_NUMBER + 1)

    assert under(forge, quote, floor).reasons == (Reason.EVALUATION_NUMBER,)
    assert under(forge, quote, IntelRules(minimum_evaluation_number=genuine.EVALUATION_NUMBER)).accepted


def test_32_collateral_of_two_evaluations_is_refused(forge: IntelForge) -> None:
    mixed = forge.collateral(tcb={"tcbEvaluationDataNumber": genuine.EVALUATION_NUMBER + 1})

    assert reasons(forge, forge.tdx_quote(), mixed) == (Reason.EVALUATION_MIXED,)


# 33 to 35: the quote.


@pytest.mark.parametrize("kind", ["sgx", "tdx"])
def test_33_an_attestation_key_that_the_qe_does_not_name_is_refused(forge: IntelForge, kind: str) -> None:
    quote = forge.sgx_quote(bound=False) if kind == "sgx" else forge.tdx_quote(bound=False)

    assert reasons(forge, quote) == (Reason.QE_BINDING,)


def test_33_a_qe_hash_with_a_tail_is_refused(forge: IntelForge) -> None:
    from sealmarket_devices.intel_format import public_raw, qe_report_data

    right = qe_report_data(public_raw(forge.attestation_key), b"\x07" * 32)

    quote = forge.tdx_quote(qe={"report_data": right[:63] + b"\x01"})
    assert reasons(forge, quote) == (Reason.QE_BINDING,)


def test_33_a_qe_report_that_the_pck_did_not_sign_is_refused(forge: IntelForge) -> None:
    assert reasons(forge, forge.tdx_quote(qe_key=new_key())) == (Reason.QE_REPORT_SIGNATURE,)


def test_33_a_quote_that_the_attestation_key_did_not_sign_is_refused(forge: IntelForge) -> None:
    assert reasons(forge, forge.tdx_quote(quote_key=new_key())) == (Reason.SIGNATURE_INVALID,)


@pytest.mark.parametrize("version", [3, 4, 5])
def test_33_each_byte_of_what_is_signed_counts(forge: IntelForge, version: int) -> None:
    quote = forge.sgx_quote() if version == 3 else forge.tdx_quote(version=version)
    size = {3: 48 + 384, 4: 48 + 584, 5: 54 + 584}[version]

    for offset in range(0, size, 7):
        changed = bytearray(quote)
        changed[offset] ^= 0x80
        if offset == 0 or (offset < 8 and version > 3):
            with pytest.raises(NotEvidence):
                parse(bytes(changed))
            continue
        evidence = parse(bytes(changed))
        tee = evidence.tee.name
        result = verify(evidence, endorse(forge.collateral(tee)), forge_roots(forge), NOW, ANYTHING)
        assert not result.authentic, offset


@pytest.mark.parametrize("kind", [1, 2, 3])
def test_34_a_quote_without_a_pck_chain_is_refused(forge: IntelForge, kind: int) -> None:
    quote = forge.tdx_quote(chain_type=kind, chain=bytes(404))

    assert reasons(forge, quote) == (Reason.PCK_MISSING,)


@pytest.mark.parametrize("kind", [1, 2, 3])
def test_34_the_pck_chain_may_come_from_elsewhere_and_is_proven_the_same(forge: IntelForge, kind: int) -> None:
    quote = parse(forge.tdx_quote(chain_type=kind, chain=bytes(404)))
    collateral = IntelCollateral.from_json(forge.collateral())
    chain = (forge.pck.certificate, forge.root.certificate, forge.pck_ca.certificate)
    stranger = forge.new_pck().certificate

    def result(*certificates: Any) -> AppraisalResult:
        endorsements = Endorsements(collateral=collateral, certificates=certificates)
        return verify(quote, endorsements, forge_roots(forge), NOW, ANYTHING)

    assert result(*chain).accepted
    assert result(chain[0]).reasons == (Reason.PCK_MISSING,)
    assert result(stranger, *chain[1:]).reasons == (Reason.QE_REPORT_SIGNATURE,)


@pytest.mark.parametrize("kind", [0, 4, 6, 7, 65535])
def test_34_other_kinds_of_certification_data_are_refused(forge: IntelForge, kind: int) -> None:
    assert reasons(forge, forge.tdx_quote(chain_type=kind)) == (Reason.UNSUPPORTED_FORMAT,)


@pytest.mark.parametrize("descriptor", [(2, 648), (3, 584), (2, 0), (3, 649)])
def test_35_a_body_of_another_size_than_its_type_is_refused(forge: IntelForge, descriptor: tuple[int, int]) -> None:
    quote = forge.tdx_quote(version=5, descriptor=descriptor)

    assert reasons(forge, quote)[0] in (Reason.MALFORMED, Reason.TRUNCATED)


@pytest.mark.parametrize("kind", [0, 1, 4, 65535])
def test_35_a_body_of_an_unknown_type_is_refused(forge: IntelForge, kind: int) -> None:
    assert reasons(forge, forge.tdx_quote(version=5, descriptor=(kind, 584))) == (Reason.UNSUPPORTED_FORMAT,)


@pytest.mark.parametrize(
    "settings",
    [{"key_type": 3}, {"vendor": bytes(16)}, {"outer_type": 5}, {"header_version": 3, "tee_type": 0x81}],
    ids=lambda settings: next(iter(settings)),
)
def test_35_a_header_of_another_kind_is_refused(forge: IntelForge, settings: dict[str, Any]) -> None:
    assert reasons(forge, forge.tdx_quote(**settings))[0] is Reason.UNSUPPORTED_FORMAT


def test_35_a_quote_v4_of_an_sgx_enclave_is_refused(forge: IntelForge) -> None:
    quote = forge.tdx_quote(tee_type=0)

    assert verify(
        Evidence(tee=Tee.SGX, raw=quote), endorse(forge.collateral()), forge_roots(forge), NOW, ANYTHING
    ).reasons == (Reason.UNSUPPORTED_FORMAT,)


@pytest.mark.parametrize("tail", [b"\x00", b"\x01", bytes(64)])
def test_35_bytes_inside_the_signature_data_are_refused(forge: IntelForge, tail: bytes) -> None:
    assert reasons(forge, forge.tdx_quote(auth_tail=tail)) == (Reason.MALFORMED,)


# 36: event logs.


def ccel(*events: tuple[int, bytes]) -> bytes:
    """A CCEL log: (register, digest) each."""
    spec = b"Spec ID Event03\0" + bytes(8) + (1).to_bytes(4, "little") + b"\x0c\x00\x30\x00" + b"\0"
    log = bytes(28) + len(spec).to_bytes(4, "little") + spec
    for register, digest in events:
        head = b"".join(n.to_bytes(4, "little") for n in (register + 1, 8, 1))
        log += head + b"\x0c\x00" + digest + (4).to_bytes(4, "little") + b"text"
    return log + b"\xff" * 16


def test_36_registers_that_the_event_log_does_not_explain_are_refused(forge: IntelForge) -> None:
    first, second = b"\x01" * 48, b"\x02" * 48
    rtmr0 = sha384(sha384(bytes(48) + first).digest() + second).digest()
    quote = forge.tdx_quote(forge.td_report(rtmrs=(rtmr0, bytes(48), bytes(48), bytes(48))))
    dstack = json.dumps([{"imr": 0, "event_type": 1, "digest": d.hex(), "event": ""} for d in (first, second)]).encode()

    def found(log: bytes) -> tuple[Reason, ...]:
        evidence = Evidence(tee=Tee.TDX, raw=quote, event_log=log)
        return verify(evidence, endorse(forge.collateral()), forge_roots(forge), NOW, ANYTHING).reasons

    assert found(ccel((0, first), (0, second))) == ()
    assert found(dstack) == ()
    for wrong in (
        ccel(),
        ccel((0, first)),
        ccel((0, second), (0, first)),
        ccel((0, first), (0, second), (0, second)),
        ccel((0, first), (1, second)),
        b"[]",
    ):
        assert Reason.RTMR_REPLAY in found(wrong)
    assert found(ccel((0, first), (0, second), (3, first))) == (Reason.RTMR_REPLAY,)
    assert found(b"no log") == (Reason.RTMR_REPLAY,)


def test_35_bytes_inside_an_sgx_quotes_signature_data_are_refused(forge: IntelForge) -> None:
    assert reasons(forge, forge.sgx_quote(auth_tail=b"\0")) == (Reason.MALFORMED,)


@pytest.mark.parametrize("change", [-1, 1, 256])
def test_35_an_outer_certification_of_another_size_is_refused(forge: IntelForge, change: int) -> None:
    quote, at = forge.tdx_quote(), 632 + 4 + 128 + 2
    size = int.from_bytes(quote[at : at + 4], "little") + change

    wrong = quote[:at] + size.to_bytes(4, "little") + quote[at + 4 :]
    assert reasons(forge, wrong) == (Reason.MALFORMED,)


def test_platform_features_that_the_rules_refuse_are_refused() -> None:
    entry = first(e for e in manifest() if e["file"] == "tdx/dcap-qvl-tdx_quote.bin")
    evidence = parse(vector("tdx/dcap-qvl-tdx_quote.bin"))
    check = entry["verifications"][0]
    now = datetime.fromtimestamp(check["pinned_time"], UTC)
    report = authenticate(evidence, endorse(vector(check["collateral"])), TrustAnchors.production(), now)
    rules = AppraisalPolicy(
        measurements=(report.measurement,),
        platforms="any",
        intel=IntelRules(platform_flags_refused=(PlatformFlag.SMT, PlatformFlag.CACHED_KEYS)),
    )

    result = appraise(report, rules, now, Expected(report_data=UNCHECKED, collected_at=now))

    assert result.reasons == (Reason.PLATFORM_CONFIGURATION, Reason.PLATFORM_CONFIGURATION)


# The public record.


def test_a_revoked_qe_does_not_pass_before_a_signature_is_checked(forge: IntelForge) -> None:
    """automata-dcap #144: success stayed true for a revoked QE before any signature was looked at."""
    forged_quote = forge.tdx_quote(quote_key=new_key())

    assert reasons(forge, forged_quote, forge.collateral(qe_status="Revoked")) == (Reason.SIGNATURE_INVALID,)


def test_an_unsigned_qe_identity_is_refused(forge: IntelForge) -> None:
    """CVE-2026-22696: the QE identity's signature went unchecked."""
    text, _ = forge.sign_text(forge.qe_identity("TDX", mrsigner="52" * 32), forge.pck)
    _, other = forge.sign_text(forge.qe_identity("TDX"))
    collateral = forge.collateral(parts={"qe_identity": text, "qe_identity_signature": other})

    assert reasons(forge, forge.tdx_quote(qe={"mr_signer": b"\x52" * 32}), collateral) == (Reason.SIGNATURE_INVALID,)


def test_collateral_without_certificates_is_refused(forge: IntelForge) -> None:
    for part in ("tcb_info_issuer_chain", "qe_identity_issuer_chain", "pck_crl_issuer_chain"):
        assert reasons(forge, forge.tdx_quote(), forge.collateral(parts={part: ""})) == (Reason.ENDORSEMENT_MALFORMED,)


def test_no_collateral_is_a_refusal(forge: IntelForge) -> None:
    result = verify(parse(forge.tdx_quote()), Endorsements(), forge_roots(forge), NOW, ANYTHING)

    assert result.reasons == (Reason.ENDORSEMENT_MISSING,)


def test_a_known_platform_is_not_trusted_for_what_it_did_not_sign(forge: IntelForge) -> None:
    """What is remembered of a platform covers neither report data nor signature."""
    first, second = (forge.tdx_quote(forge.td_report(report_data=bytes([n]) * 64)) for n in (1, 2))
    at = 48 + 520
    assert forged(forge, first).accepted

    swapped = first[:at] + second[at : at + 64] + first[at + 64 :]
    other_signature = first[: 632 + 4] + second[636:700] + first[700:]
    assert reasons(forge, swapped) == (Reason.SIGNATURE_INVALID,)
    assert reasons(forge, other_signature) == (Reason.SIGNATURE_INVALID,)


def test_a_known_platform_is_asked_about_again_when_anything_else_changes(
    forge: IntelForge, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[bytes] = []
    ask = intel._ask

    def count(quote: Any, raw: bytes, *rest: Any) -> Any:
        asked.append(raw)
        return ask(quote, raw, *rest)

    monkeypatch.setattr(intel, "_ask", count)
    intel.forget()
    collateral = forge.collateral()

    def again(quote: bytes, signed: int, at: int) -> bytes:
        """The same quote over other report data, signed anew by the same quoting enclave."""
        changed = quote[:at] + b"\x01" * 64 + quote[at + 64 : signed]
        signature = sign_raw(forge.attestation_key, changed)
        return changed + quote[signed : signed + 4] + signature + quote[signed + 68 :]

    four, five = forge.tdx_quote(), forge.tdx_quote(forge.td_report_15(), version=5)
    for quote in (four, again(four, 632, 568), four[:636] + malleate(four[636:700]) + four[700:]):
        assert forged(forge, quote, collateral).accepted
    assert len(asked) == 1
    for quote in (five, again(five, 702, 574)):
        assert forged(forge, quote, collateral).accepted
    assert len(asked) == 2
    service, image = (again(five, 702, at) for at in (638, 54 + 136))
    for number, quote in enumerate((service, image, forge.tdx_quote(qe_auth=b"\x08" * 32)), 3):
        assert forged(forge, quote, collateral).authentic
        assert len(asked) == number
    assert forged(forge, four, forge.collateral()).accepted
    assert len(asked) == 6
