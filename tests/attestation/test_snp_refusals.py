"""What an SEV-SNP verifier must refuse, one test for each rule. Genuine evidence is in ``test_snp_vectors``."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from sealmarket.attestation.amd.authenticate import SnpBody, authenticate
from sealmarket.attestation.amd.rules import Mitigation, SnpRules, SnpTcb
from sealmarket.attestation.collateral.trust_anchors import TrustAnchors
from sealmarket.attestation.core.errors import EvidenceRefused
from sealmarket.attestation.core.evidence import Endorsements, Evidence
from sealmarket.attestation.core.model import AuthenticReport
from sealmarket.attestation.core.reasons import Reason
from sealmarket.attestation.policy.rules import AppraisalPolicy, PlatformRule
from sealmarket.attestation.policy.verify import UNCHECKED, Expected, appraise, verify
from sealmarket_devices.amd_format import AMD_OID, VLEK, TcbLevels, leaf_extensions
from sealmarket_devices.pki import Authority, Validity, certify, distinguished_name
from sealmarket_enclave.protocol.codec import Bytes32, Bytes48
from sealmarket_enclave.protocol.numbers import Grade, Tee
from tests.forge.amd import AmdForge, big_endian, n_minus_s, rsa_key, with_tcb

NOW = datetime(2026, 3, 1, tzinfo=UTC)
PRODUCTS = ("Milan", "Genoa", "Turin")


@pytest.fixture(scope="module")
def forges() -> dict[str, AmdForge]:
    return {product: AmdForge(NOW, product) for product in PRODUCTS}


@pytest.fixture(scope="module")
def forge(forges: dict[str, AmdForge]) -> AmdForge:
    return forges["Genoa"]


def prove(
    forge: AmdForge,
    report: bytes,
    certificates: list[bytes] | None = None,
    crls: tuple[bytes, ...] = (),
    *,
    now: datetime = NOW,
    roots: TrustAnchors | None = None,
) -> AuthenticReport:
    """Authenticate under the forge's root, with its endorsements unless others are given."""
    endorsements = Endorsements.read([*(certificates or forge.endorsements()), *crls])
    trusted = roots or TrustAnchors.production().with_development(forge.ark.der)
    return authenticate(Evidence(tee=Tee.SNP, raw=report), endorsements, trusted, now)


def refusal(*arguments: Any, **settings: Any) -> Reason:
    """The reason of the first step that failed."""
    with pytest.raises(EvidenceRefused) as caught:
        prove(*arguments, **settings)
    return caught.value.finding.reason


def rules_for(report: AuthenticReport, **snp: Any) -> AppraisalPolicy:
    """Rules that the report meets but for what a test changes."""
    settings = {"revocation": "required", "milan": "accept", **snp}
    return AppraisalPolicy(
        measurements=(report.measurement,), platforms="any", lowest_grade="simulated", snp=SnpRules(**settings)
    )


def findings(forge: AmdForge, report: bytes, rules: AppraisalPolicy | None = None, **snp: Any) -> list[Reason]:
    """Everything that the rules refuse about authentic evidence."""
    proven = prove(forge, report, crls=(forge.crl(),))
    expected = Expected(report_data=UNCHECKED, collected_at=NOW)
    return [f.reason for f in appraise(proven, rules or rules_for(proven, **snp), NOW, expected).findings]


# What holds, so that each refusal below is due to its one change.


@pytest.mark.parametrize("product", PRODUCTS)
def test_the_forges_defaults_are_accepted(forges: dict[str, AmdForge], product: str) -> None:
    forge = forges[product]
    assert findings(forge, forge.evidence()) == []
    proven = prove(forge, forge.evidence())
    assert (proven.grade, proven.platform.generation) == (Grade.SIMULATED, product)
    assert proven.platform.identity == forge.hwid.ljust(64, b"\0")


@pytest.mark.parametrize("product", PRODUCTS)
def test_a_vlek_signs_in_place_of_a_vcek(forges: dict[str, AmdForge], product: str) -> None:
    forge = forges[product]
    proven = prove(forge, forge.vlek_evidence(), forge.endorsements(forge.vlek))
    assert proven.platform.identity is None
    assert isinstance(proven.body, SnpBody)
    assert proven.body.leaf.csp == "CN=cc-test.example"


def test_endorsements_in_any_order_and_with_strangers_among_them_are_sorted_out(forges: dict[str, AmdForge]) -> None:
    forge = forges["Genoa"]
    others = [c for product in ("Milan", "Turin") for c in forges[product].endorsements()]
    older = forge.new_vcek(tcb=with_tcb(forge.tcb, snp=1))
    endorsements = [*others, older.der, *reversed(forge.endorsements(forge.vlek, forge.vcek))]
    assert prove(forge, forge.evidence(), endorsements).grade is Grade.SIMULATED


def test_a_hwid_wrapped_in_an_octet_string_is_the_same_hwid(forge: AmdForge) -> None:
    wrapped = forge.new_vcek(hwid=b"\x04\x40" + forge.hwid)
    assert prove(forge, forge.evidence(), forge.endorsements(wrapped)).platform.identity == forge.hwid


# 6, 7, 13: one spelling.


@pytest.mark.parametrize("size", [0, 1, 0x50, 0x29F, 0x2A0, 0x49F])
def test_a_report_cut_short_is_refused(forge: AmdForge, size: int) -> None:
    assert refusal(forge, forge.evidence()[:size]) is Reason.TRUNCATED


@pytest.mark.parametrize("tail", [b"\0", b"\0" * 16, b"x"])
def test_trailing_bytes_are_refused(forge: AmdForge, tail: bytes) -> None:
    assert refusal(forge, forge.evidence() + tail) is Reason.TRAILING_BYTES


def test_the_other_form_of_a_signature_has_the_same_name_in_a_replay_cache(forge: AmdForge) -> None:
    report = forge.evidence()
    assert n_minus_s(report) != report
    assert prove(forge, n_minus_s(report)).evidence_digest == prove(forge, report).evidence_digest


@pytest.mark.parametrize("version", [0, 1, 6, 9])
def test_an_unknown_version_is_refused(forge: AmdForge, version: int) -> None:
    assert refusal(forge, forge.evidence(version=version)) is Reason.UNSUPPORTED_FORMAT


def test_another_signature_algorithm_is_refused(forge: AmdForge) -> None:
    assert refusal(forge, forge.evidence(signature_algorithm=2)) is Reason.UNSUPPORTED_FORMAT


@pytest.mark.parametrize("offset", [0x04C, 0x18B, 0x19F, 0x1EB, 0x1EF, 0x1F8, 0x208, 0x29F])
def test_reserved_bytes_that_are_set_are_refused(forge: AmdForge, offset: int) -> None:
    report = bytearray(forge.evidence())
    report[offset] = 1
    assert refusal(forge, bytes(report)) is Reason.MALFORMED


def test_reserved_flags_are_refused(forge: AmdForge) -> None:
    assert refusal(forge, forge.evidence(flags=1 << 5)) is Reason.MALFORMED


def test_a_verifier_without_a_time_zone_refuses(forge: AmdForge) -> None:
    roots = TrustAnchors.production().with_development(forge.ark.der)
    evidence = Evidence(tee=Tee.SNP, raw=forge.evidence())
    endorsements = Endorsements.read(forge.endorsements())
    naive = NOW.replace(tzinfo=None)
    result = verify(evidence, endorsements, roots, naive, Expected(report_data=UNCHECKED))
    assert result.reasons == (Reason.CLOCK_MISSING,)


# 8: roots.


def test_development_evidence_is_refused_by_production_roots(forge: AmdForge) -> None:
    assert refusal(forge, forge.evidence(), roots=TrustAnchors.production()) is Reason.UNTRUSTED_ROOT


def test_another_root_of_the_same_name_is_refused(forge: AmdForge) -> None:
    impostor = AmdForge(NOW, keys={"ark": rsa_key("impostor")})
    assert impostor.ark.certificate.subject == forge.ark.certificate.subject
    trusted = TrustAnchors.production().with_development(forge.ark.der)
    assert refusal(impostor, impostor.evidence(), roots=trusted) is Reason.UNTRUSTED_ROOT


def test_a_root_certificate_with_the_pinned_key_that_another_signed_is_refused(forge: AmdForge) -> None:
    key = rsa_key("ark")
    forged = certify(
        forge.ark.certificate.subject,
        key.public_key(),
        forge.ark,
        rsa_key("impostor"),
        forge.period(),
        path_length=1,
        pss=True,
    )
    certificates = [forge.vcek.der, forge.ask.der, Authority(forged, key).der]
    assert refusal(forge, forge.evidence(), certificates) is Reason.CHAIN_INVALID


@pytest.mark.parametrize("missing", ["ark", "ask", "vcek"])
def test_a_chain_with_a_missing_link_is_refused(forge: AmdForge, missing: str) -> None:
    names = [name for name in ("vcek", "ask", "ark") if name != missing]
    certificates = [getattr(forge, name).der for name in names]
    assert refusal(forge, forge.evidence(), certificates) is Reason.ENDORSEMENT_MISSING


# 37-39: what the guest was allowed.


def test_a_debug_guest_is_refused(forge: AmdForge) -> None:
    assert findings(forge, forge.evidence(policy=0xB_0000)) == [Reason.DEBUG]


@pytest.mark.parametrize("policy", [0x7_0000, 0x1_0000, 0x3_0000 | 1 << 26, 0x3_0000 | 1 << 63])
def test_migration_and_unknown_policy_bits_are_refused(forge: AmdForge, policy: int) -> None:
    assert findings(forge, forge.evidence(policy=policy)) == [Reason.SNP_POLICY]


def test_a_guest_with_a_migration_agent_is_refused(forge: AmdForge) -> None:
    assert findings(forge, forge.evidence(report_id_ma=bytes(32))) == [Reason.SNP_POLICY]


@pytest.mark.parametrize(("vmpl", "allowed"), [(1, 0), (3, 0), (3, 2)])
def test_a_report_from_a_lower_privilege_is_refused(forge: AmdForge, vmpl: int, allowed: int) -> None:
    assert findings(forge, forge.evidence(vmpl=vmpl), maximum_vmpl=allowed) == [Reason.SNP_VMPL]


def test_a_report_that_the_host_asked_for_is_refused(forge: AmdForge) -> None:
    assert refusal(forge, forge.evidence(vmpl=0xFFFFFFFF)) is Reason.SNP_VMPL


# 40-43: the leaf.


def test_the_vcek_of_another_chip_is_refused(forge: AmdForge) -> None:
    other = forge.new_vcek(hwid=bytes(64), key=ec.generate_private_key(ec.SECP384R1()))
    assert refusal(forge, forge.evidence(), forge.endorsements(other)) is Reason.SNP_CHIP_MISMATCH


def test_a_report_that_another_key_signed_is_refused(forge: AmdForge) -> None:
    stranger = ec.generate_private_key(ec.SECP384R1())
    assert refusal(forge, forge.evidence(stranger)) is Reason.SIGNATURE_INVALID


@pytest.mark.parametrize("offset", [0x050, 0x08F, 0x090, 0x0C0, 0x038, 0x1E0, 0x1F0, 0x040, 0x140])
def test_a_changed_report_is_refused(forge: AmdForge, offset: int) -> None:
    report = bytearray(forge.evidence())
    report[offset] ^= 1
    assert refusal(forge, bytes(report)) is Reason.SIGNATURE_INVALID


@pytest.mark.parametrize(
    ("product", "part"), [(p, part) for p in PRODUCTS for part in ("bootloader", "tee", "snp", "microcode")]
)
def test_a_vcek_for_another_tcb_is_refused(forges: dict[str, AmdForge], product: str, part: str) -> None:
    forge = forges[product]
    for change in (1, -1) if getattr(forge.tcb, part) else (1,):
        tcb = with_tcb(forge.tcb, **{part: getattr(forge.tcb, part) + change})
        certificates = forge.endorsements(forge.new_vcek(tcb=tcb))
        assert refusal(forge, forge.evidence(), certificates) is Reason.SNP_TCB_MISMATCH


def test_a_turin_vcek_for_another_fmc_is_refused(forges: dict[str, AmdForge]) -> None:
    forge = forges["Turin"]
    certificates = forge.endorsements(forge.new_vcek(tcb=with_tcb(forge.tcb, fmc=2)))
    assert refusal(forge, forge.evidence(), certificates) is Reason.SNP_TCB_MISMATCH


def test_a_vcek_for_the_current_instead_of_the_reported_tcb_is_refused(forge: AmdForge) -> None:
    newer = with_tcb(forge.tcb, microcode=forge.tcb.microcode + 1)
    report = forge.evidence(current_tcb=newer.pack(), committed_tcb=newer.pack())
    assert refusal(forge, report, forge.endorsements(forge.new_vcek(tcb=newer))) is Reason.SNP_TCB_MISMATCH


def test_a_turin_chip_id_with_something_behind_its_eight_bytes_is_refused(forges: dict[str, AmdForge]) -> None:
    forge = forges["Turin"]
    for tail in (b"\1" + bytes(55), bytes(55) + b"\1"):
        assert refusal(forge, forge.evidence(chip_id=forge.hwid + tail)) is Reason.SNP_CHIP_MISMATCH


@pytest.mark.parametrize("hwid", [b"", bytes(63), bytes(65), b"\x04\x3f" + bytes(64)])
def test_a_hwid_of_another_size_is_refused(forge: AmdForge, hwid: bytes) -> None:
    assert refusal(forge, forge.evidence(), forge.endorsements(forge.new_vcek(hwid=hwid))) is (
        Reason.ENDORSEMENT_MALFORMED
    )


def test_a_vcek_without_a_hwid_is_refused(forge: AmdForge) -> None:
    certificates = forge.endorsements(forge.new_vcek(hwid=None))
    assert refusal(forge, forge.evidence(), certificates) is Reason.ENDORSEMENT_MALFORMED


def test_a_masked_chip_is_refused_by_rules_that_name_platforms(forge: AmdForge) -> None:
    proven = prove(forge, forge.evidence(chip_id=bytes(64)), crls=(forge.crl(),))
    rule = PlatformRule(tee="snp", digest=Bytes32(bytes(32)))
    rules = AppraisalPolicy(measurements=(proven.measurement,), platforms=(rule,), lowest_grade="simulated")
    expected = Expected(report_data=UNCHECKED, collected_at=NOW)
    assert appraise(proven, rules, NOW, expected).reasons == (Reason.PLATFORM_UNIDENTIFIED,)


def test_a_vcek_that_the_intermediate_did_not_sign_is_refused(forge: AmdForge) -> None:
    forged = forge.new_vcek(issuer=Authority(forge.ask.certificate, rsa_key("impostor")))
    assert refusal(forge, forge.evidence(), forge.endorsements(forged)) is Reason.CHAIN_INVALID


def test_a_vcek_that_another_vcek_signed_is_refused(forge: AmdForge) -> None:
    fake_ask = Authority(forge.ask.certificate, forge.vcek_key)
    forged = forge.new_vcek(issuer=fake_ask)
    assert refusal(forge, forge.evidence(), forge.endorsements(forged)) is Reason.CHAIN_INVALID


def test_an_intermediate_that_may_not_sign_certificates_is_refused(forge: AmdForge) -> None:
    ask = forge.authority("ask", "SEV-Genoa", forge.ark, path_length=None)
    certificates = [forge.new_vcek(issuer=ask).der, ask.der, forge.ark.der]
    assert refusal(forge, forge.evidence(), certificates) is Reason.CHAIN_INVALID


def test_an_intermediate_signed_without_pss_is_refused(forge: AmdForge) -> None:
    ask = forge.authority("ask", "SEV-Genoa", forge.ark, pss=False)
    certificates = [forge.new_vcek(issuer=ask).der, ask.der, forge.ark.der]
    assert refusal(forge, forge.evidence(), certificates) is Reason.CHAIN_INVALID


def test_an_intermediate_with_a_short_key_is_refused(forge: AmdForge) -> None:
    weak = AmdForge(NOW, keys={"ask": rsa.generate_private_key(65537, 2048)})
    trusted = TrustAnchors.production().with_development(forge.ark.der)
    assert refusal(weak, weak.evidence(), roots=trusted) is Reason.CHAIN_INVALID


def test_a_leaf_with_a_key_on_another_curve_is_refused(forge: AmdForge) -> None:
    leaf = forge.new_vcek(key=ec.generate_private_key(ec.SECP256R1()))
    assert refusal(forge, forge.evidence(), forge.endorsements(leaf)) is Reason.CHAIN_INVALID


# 44-46: kinds and products.


@pytest.mark.parametrize(
    ("product", "cpuid"),
    [("Genoa", b"\x19\x01\x01"), ("Milan", b"\x19\x11\x01"), ("Turin", b"\x19\xa0\x02"), ("Genoa", b"\x1a\x02\x01")],
)
def test_the_chain_of_another_product_than_the_cpu_is_refused(
    forges: dict[str, AmdForge], product: str, cpuid: bytes
) -> None:
    forge = forges[product]
    assert refusal(forge, forge.evidence(cpuid=cpuid, version=3)) is Reason.SNP_PRODUCT_MISMATCH


@pytest.mark.parametrize("cpuid", [b"\0\0\0", b"\x17\x01\x01", b"\x19\x20\x00", b"\x1a\x50\x01"])
def test_an_unknown_cpu_is_refused(forge: AmdForge, cpuid: bytes) -> None:
    assert refusal(forge, forge.evidence(cpuid=cpuid)) is Reason.SNP_PRODUCT_MISMATCH


@pytest.mark.parametrize("name", ["Milan-B0", "Turin", "Naples", ""])
def test_a_leaf_for_another_product_than_its_issuer_is_refused(forge: AmdForge, name: str) -> None:
    reason = refusal(forge, forge.evidence(), forge.endorsements(forge.new_vcek(product_name=name)))
    assert reason in (Reason.SNP_PRODUCT_MISMATCH, Reason.ENDORSEMENT_MALFORMED)


def test_a_vlek_under_an_ask_is_refused(forge: AmdForge) -> None:
    certificates = forge.endorsements(forge.new_vlek(issuer=forge.ask))
    assert refusal(forge, forge.vlek_evidence(), certificates) is Reason.CHAIN_INVALID


def test_a_vcek_under_an_asvk_is_refused(forge: AmdForge) -> None:
    certificates = forge.endorsements(forge.new_vcek(issuer=forge.asvk))
    assert refusal(forge, forge.evidence(), certificates) is Reason.CHAIN_INVALID


@pytest.mark.parametrize("key", [2, 3, 4, 5, 6, 7])
def test_a_reserved_or_absent_signing_key_is_refused(forge: AmdForge, key: int) -> None:
    assert refusal(forge, forge.evidence(flags=key << 2)) is Reason.SNP_SIGNING_KEY


def test_a_report_that_names_a_vlek_is_not_held_against_a_vcek(forge: AmdForge) -> None:
    report = forge.evidence(flags=VLEK << 2)
    assert refusal(forge, report, [forge.vcek.der, forge.ask.der, forge.ark.der]) is Reason.SNP_SIGNING_KEY


def test_a_report_that_names_a_vcek_is_not_held_against_a_vlek(forge: AmdForge) -> None:
    report = forge.evidence(forge.vlek_key)
    assert refusal(forge, report, [forge.vlek.der, forge.asvk.der, forge.ark.der]) is Reason.SNP_SIGNING_KEY


def test_a_vlek_that_names_a_chip_and_a_vcek_that_names_a_provider_are_refused(forge: AmdForge) -> None:
    vlek = forge.new_vlek(hwid=forge.hwid)
    assert refusal(forge, forge.vlek_evidence(), forge.endorsements(vlek)) is Reason.SNP_SIGNING_KEY
    vcek = forge.new_vcek(csp="CN=cc-test.example")
    assert refusal(forge, forge.evidence(), forge.endorsements(vcek)) is Reason.SNP_SIGNING_KEY


def test_a_vlek_is_refused_by_rules_that_want_a_vcek(forge: AmdForge) -> None:
    proven = prove(forge, forge.vlek_evidence(), forge.endorsements(forge.vlek), (forge.crl(),))
    expected = Expected(report_data=UNCHECKED, collected_at=NOW)
    rules = rules_for(proven, signing_keys=("vcek",))
    assert appraise(proven, rules, NOW, expected).reasons == (Reason.SNP_VLEK_NOT_ALLOWED,)


def test_a_leaf_with_a_structure_of_another_generation_is_refused(forge: AmdForge) -> None:
    leaf = forge.new_vcek(tcb=TcbLevels(fmc=0))
    assert refusal(forge, forge.evidence(), forge.endorsements(leaf)) is Reason.ENDORSEMENT_MALFORMED


@pytest.mark.parametrize("value", [b"\x02\x02\x01\x00", b"\x02\x01\x80", b"\x04\x01\x17", b"", b"\x02\x01\x17\x00"])
def test_a_level_that_is_not_a_small_number_is_refused(forge: AmdForge, value: bytes) -> None:
    extensions = leaf_extensions("Genoa", forge.tcb, hwid=forge.hwid)
    changed = tuple(type(e)(e.oid, value if e.oid.dotted_string == AMD_OID + "3.3" else e.value) for e in extensions)
    leaf = certify(
        distinguished_name("SEV-VCEK"),
        forge.vcek_key.public_key(),
        forge.ask,
        forge.ask.key,
        forge.period(),
        extensions=changed,
        pss=True,
    )
    certificates = forge.endorsements(Authority(leaf, forge.vcek_key))
    assert refusal(forge, forge.evidence(), certificates) is Reason.ENDORSEMENT_MALFORMED


# 47-49: firmware.


@pytest.mark.parametrize("lowered", ["committed_tcb", "current_tcb"])
@pytest.mark.parametrize("product", PRODUCTS)
def test_a_reported_tcb_above_the_committed_or_current_is_refused(
    forges: dict[str, AmdForge], product: str, lowered: str
) -> None:
    forge = forges[product]
    lower = with_tcb(forge.tcb, microcode=forge.tcb.microcode - 1).pack()
    assert set(findings(forge, forge.evidence(None, **{lowered: lower}))) == {Reason.SNP_TCB_ORDER}


@pytest.mark.parametrize("part", ["bootloader", "tee", "snp", "microcode"])
def test_a_tcb_below_the_minimum_is_refused(forge: AmdForge, part: str) -> None:
    floor = {p: getattr(forge.tcb, p) for p in ("bootloader", "tee", "snp", "microcode")}
    assert findings(forge, forge.evidence(), minimum_tcb=(SnpTcb(generation="Genoa", **floor),)) == []
    floor[part] += 1
    reasons = findings(forge, forge.evidence(), minimum_tcb=(SnpTcb(generation="Genoa", **floor),))
    assert set(reasons) == {Reason.SNP_TCB_TOO_LOW}


def test_a_guest_that_was_launched_on_older_firmware_is_refused(forge: AmdForge) -> None:
    floor = SnpTcb(generation="Genoa", bootloader=10, tee=0, snp=23, microcode=84)
    older = with_tcb(forge.tcb, snp=22).pack()
    assert findings(forge, forge.evidence(launch_tcb=older), minimum_tcb=(floor,)) == [Reason.SNP_TCB_TOO_LOW]


def test_minima_that_do_not_name_the_generation_refuse_it(forge: AmdForge) -> None:
    floor = SnpTcb(generation="Turin", bootloader=0, tee=0, snp=0, microcode=0)
    assert findings(forge, forge.evidence(), minimum_tcb=(floor,)) == [Reason.SNP_TCB_TOO_LOW]


@pytest.mark.parametrize(("bit", "mitigation"), [(5, Mitigation.ALIAS_CHECK), (4, Mitigation.CIPHERTEXT_HIDING)])
def test_a_platform_without_a_required_mitigation_is_refused(forge: AmdForge, bit: int, mitigation: Mitigation) -> None:
    without = forge.evidence(platform_info=0x34 & ~(1 << bit))
    assert findings(forge, without, mitigations_required=(mitigation,)) == [Reason.MITIGATION_MISSING]
    assert findings(forge, forge.evidence(platform_info=0x34), mitigations_required=(mitigation,)) == []


def test_the_alias_check_is_required_by_default(forge: AmdForge) -> None:
    assert findings(forge, forge.evidence(platform_info=0)) == [Reason.MITIGATION_MISSING]


def test_smt_is_refused_where_rules_want_it_off(forge: AmdForge) -> None:
    assert findings(forge, forge.evidence(platform_info=0x25), smt="off") == [Reason.MITIGATION_MISSING]


def test_milan_warns_and_can_be_refused(forges: dict[str, AmdForge]) -> None:
    forge = forges["Milan"]
    assert findings(forge, forge.evidence(), milan="refuse") == [Reason.GENERATION_NOT_ALLOWED]
    proven = prove(forge, forge.evidence(), crls=(forge.crl(),))
    expected = Expected(report_data=UNCHECKED, collected_at=NOW)
    result = appraise(proven, rules_for(proven, milan="warn"), NOW, expected)
    assert result.accepted
    assert [w.reason for w in result.warnings] == [Reason.GENERATION_NOT_ALLOWED]


def test_a_generation_that_is_not_listed_is_refused(forge: AmdForge) -> None:
    assert findings(forge, forge.evidence(), generations=("Turin",)) == [Reason.GENERATION_NOT_ALLOWED]
    bergamo = forge.evidence(cpuid=b"\x19\xa0\x02")
    assert findings(forge, bergamo, generations=("Genoa", "Siena")) == [Reason.GENERATION_NOT_ALLOWED]
    assert findings(forge, bergamo, generations=("Bergamo", "Siena")) == []


# 50, 51: time and revocation.


def test_a_revoked_intermediate_is_refused(forge: AmdForge) -> None:
    crl = forge.crl(forge.ask.certificate.serial_number)
    assert refusal(forge, forge.evidence(), crls=(crl,)) is Reason.CERTIFICATE_REVOKED


def test_what_an_older_list_revoked_stays_revoked(forge: AmdForge) -> None:
    old = Validity(start=NOW - timedelta(days=90), end=NOW - timedelta(days=60))
    older = forge.crl(forge.ask.certificate.serial_number, validity=old)
    assert refusal(forge, forge.evidence(), crls=(forge.crl(), older)) is Reason.CERTIFICATE_REVOKED


def test_a_revoked_root_is_refused(forge: AmdForge) -> None:
    crl = forge.crl(forge.ark.certificate.serial_number)
    assert refusal(forge, forge.evidence(), crls=(crl,)) is Reason.CERTIFICATE_REVOKED


@pytest.mark.parametrize("shift", [-90, 90])
def test_a_stale_or_future_list_is_refused(forge: AmdForge, shift: int) -> None:
    start = NOW + timedelta(days=shift)
    crl = forge.crl(validity=Validity(start=start, end=start + timedelta(days=30)))
    assert refusal(forge, forge.evidence(), crls=(crl,)) is Reason.CRL_INVALID


def test_a_list_that_the_root_did_not_sign_is_refused(forge: AmdForge) -> None:
    crl = forge.crl(issuer=Authority(forge.ark.certificate, rsa_key("impostor")))
    assert refusal(forge, forge.evidence(), crls=(crl,)) is Reason.CRL_INVALID


def test_the_list_of_another_root_does_not_stand_in(forges: dict[str, AmdForge]) -> None:
    forge = forges["Genoa"]
    proven = prove(forge, forge.evidence(), crls=(forges["Milan"].crl(),))
    expected = Expected(report_data=UNCHECKED, collected_at=NOW)
    assert appraise(proven, rules_for(proven), NOW, expected).reasons == (Reason.CRL_INVALID,)


def test_a_missing_list_is_refused_by_default_and_warned_of_where_rules_say_so(forge: AmdForge) -> None:
    proven = prove(forge, forge.evidence())
    expected = Expected(report_data=UNCHECKED, collected_at=NOW)
    assert appraise(proven, rules_for(proven), NOW, expected).reasons == (Reason.CRL_INVALID,)
    result = appraise(proven, rules_for(proven, revocation="warn"), NOW, expected)
    assert result.accepted
    assert [w.reason for w in result.warnings] == [Reason.CRL_INVALID]


@pytest.mark.parametrize("role", ["vcek", "ask", "ark"])
def test_an_expired_certificate_is_refused(role: str) -> None:
    period = Validity(start=NOW - timedelta(days=60), end=NOW - timedelta(days=1))
    forge = AmdForge(NOW, validity={role: period})
    assert refusal(forge, forge.evidence()) is Reason.ENDORSEMENT_EXPIRED


@pytest.mark.parametrize("role", ["vcek", "ask", "ark"])
def test_a_certificate_from_the_future_is_refused(role: str) -> None:
    period = Validity(start=NOW + timedelta(days=1), end=NOW + timedelta(days=60))
    forge = AmdForge(NOW, validity={role: period})
    assert refusal(forge, forge.evidence()) is Reason.ENDORSEMENT_FUTURE


def test_a_chain_that_was_proven_before_is_refused_once_it_expired(forge: AmdForge) -> None:
    assert prove(forge, forge.evidence()).tee is Tee.SNP
    later = NOW + timedelta(days=2000)
    assert refusal(forge, forge.evidence(), now=later) is Reason.ENDORSEMENT_EXPIRED


# 52, 53: the signature's spelling.


@pytest.mark.parametrize("offset", [144, 300, 511])
def test_something_behind_the_signature_is_refused(forge: AmdForge, offset: int) -> None:
    report = bytearray(forge.evidence())
    report[0x2A0 + offset] = 1
    assert refusal(forge, bytes(report)) is Reason.SNP_SIGNATURE_TAIL


@pytest.mark.parametrize("offset", [48, 71, 72 + 48, 72 + 71])
def test_something_in_the_unused_bytes_of_r_or_s_is_refused(forge: AmdForge, offset: int) -> None:
    report = bytearray(forge.evidence())
    report[0x2A0 + offset] = 1
    assert refusal(forge, bytes(report)) is Reason.NON_CANONICAL


@pytest.mark.parametrize("value", [bytes(48), b"\xff" * 48])
def test_a_signature_value_out_of_range_is_refused(forge: AmdForge, value: bytes) -> None:
    report = forge.evidence()
    assert refusal(forge, report[:0x2A0] + value + report[0x2A0 + 48 :]) is Reason.NON_CANONICAL


def test_a_signature_in_intels_byte_order_is_refused(forge: AmdForge) -> None:
    assert refusal(forge, big_endian(forge.evidence())) is Reason.SIGNATURE_INVALID


# 54: choices made at launch.


def test_other_host_data_than_the_rules_name_is_refused(forge: AmdForge) -> None:
    allowed = prove(forge, forge.evidence(host_data=b"\x01" * 32))
    reasons = findings(forge, forge.evidence(host_data=b"\x02" * 32), rules_for(allowed))
    assert reasons == [Reason.MEASUREMENT_NOT_ALLOWED, Reason.SNP_HOST_DATA]


@pytest.mark.parametrize("field", ["measurement", "policy", "vmpl"])
def test_each_field_of_the_measurement_counts(forge: AmdForge, field: str) -> None:
    allowed = rules_for(prove(forge, forge.evidence()), maximum_vmpl=3)
    other: Any = {"measurement": b"\x11" * 48, "policy": 0x3_0001, "vmpl": 2}[field]
    assert findings(forge, forge.evidence(None, **{field: other}), allowed) == [Reason.MEASUREMENT_NOT_ALLOWED]


def test_an_id_block_signed_by_another_key_is_refused(forge: AmdForge) -> None:
    key = Bytes48(b"\x33" * 48)
    assert findings(forge, forge.evidence(id_key_digest=key), id_key_digests=(key,)) == []
    assert findings(forge, forge.evidence(), id_key_digests=(key,)) == [Reason.SNP_ID_BLOCK]
