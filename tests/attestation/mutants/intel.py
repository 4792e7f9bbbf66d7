"""Switching off one rule fails the tests that hold it: refusals 1 to 36, each mutant of the verifier is killed."""

from __future__ import annotations

COMMON = [
    ("not hmac.compare_digest(report.report_data, expected.report_data)", "False", "test_1_"),
    ("report.report_data, expected.report_data)", "report.report_data[:32], expected.report_data[:32])", "test_2_"),
    ("len(self.report_data) != 64", "False", "test_3_"),
    ("if age > timedelta(seconds=rules.maximum_age_seconds):", "if False:", "test_5_evidence_older"),
    ("    if not known and expected.report_data is UNCHECKED:\n", "    if False:\n", "unknown_age"),
    ("if report.grade < _GRADES[rules.lowest_grade]:", "if False:", "test_8_simulated"),
    ("if expected.tee is not None and report.tee is not expected.tee:", "if False:", "test_9_"),
    ("    if rule is None:\n", "    if False:\n", "test_10_"),
    ("if p.tee == report.tee.slug and p.digest == digest", "if p.digest == digest", "test_10_"),
    ("elif custody.rank < rules.lowest_custody.rank:", "elif False:", "test_10_"),
    ("if count > 1 or identity is None", "if identity is None", "test_11_"),
    ("if now.tzinfo is None:", "if False:", "test_13_"),
    ("if report.measurement not in rules.measurements:", "if False:", "differs_in_one_field"),
    ("    if report.debug:\n", "    if False:\n", "test_everything_that_is_wrong"),
]
QUOTE = [
    ("if raw.count(0, end) != len(raw) - end:", "if False:", "test_6_bytes_behind"),
    ("    if stop > self.end:\n", "    if False:\n", "test_7_"),
    ("if auth.offset + size != auth.end:", "if False:", "test_35_an_outer"),
    ("    if auth.offset != end:\n", "    if False:\n", "test_35_bytes_inside_an_sgx"),
    ("if size != TD_BODY_SIZES[kind]:", "if False:", "test_35_a_body_of_another_size"),
    ("if kind not in TD_BODY_SIZES:", "if kind == 0:", "test_35_a_body_of_an_unknown"),
    ("if key_type != ECDSA_P256:", "if False:", "test_35_a_header"),
    ("if vendor != QE_VENDOR_INTEL:", "if False:", "test_35_a_header"),
    ("if kind != QE_REPORT_CERTIFICATION:", "if False:", "test_35_a_header"),
    ("if version in (4, 5) and tee_type == 0x81:", "if version in (4, 5):", "test_35_a_quote_v4"),
]
AUTHENTICATE = [
    ("if not verify_raw(qe.key, quote.signature, quote.signed):", "if False:", "test_33_a_quote_that"),
    ("if not verify_raw(pck.key, quote.qe_signature, quote.qe_report):", "if False:", "test_33_a_qe_report"),
    ("    if qe.report_data != bound:\n", "    if False:\n", "test_33_an_attestation_key"),
    ("qe.report_data != bound", "qe.report_data[:32] != bound[:32]", "test_33_a_qe_hash_with_a_tail"),
    ("if m.mr_signer != bytes.fromhex(identity.mrsigner):", "if False:", "test_26_a_quoting_enclave_that"),
    ("if m.isv_prod_id != identity.isvprodid:", "if False:", "test_26_a_quoting_enclave_that"),
    (
        "if not masked_equal(m.misc_select,",
        "if False and not masked_equal(m.misc_select,",
        "test_26_a_quoting_enclave_that",
    ),
    ("or qe.flags & _SGX_DEBUG", "", "test_26_a_debug"),
    ("if not masked_equal(m.attributes, identity.attributes, identity.attributes_mask) or", "if", "test_26_a_quoting"),
    ("if bytes.fromhex(info.fmspc) != pck.fmspc:", "if False:", "test_24_collateral_of_another_fmspc"),
    ("if bytes.fromhex(info.pce_id) != pck.pce_id:", "if False:", "test_24_collateral_of_another_pceid"),
    ("    if not trusted.valid_from <= moment <= trusted.valid_to:\n", "    if False:\n", "test_23_expired"),
    ("    check_windows(pck.windows, moment)\n", "", "test_23_each_certificate"),
    (
        "    if leaf is None:\n        refuse(Reason.PCK_MISSING",
        "    if leaf is None:\n        refuse(Reason.MALFORMED",
        "test_34_a_quote",
    ),
    ("elif not 1 <= quote.certification_type <= 3:", "elif False:", "test_34_other_kinds"),
    ("debug=bool(debug)", "debug=False", "test_15_"),
    (
        "sha256(body.quote.signed + body.quote.attestation_key)",
        "sha256(body.quote.signed + body.quote.signature)",
        "test_6_the_other_form",
    ),
    ("*quote.without_report_data, behind_signature)", "behind_signature)", "asked_about_again"),
    ("collateral.fingerprint, *quote", "*quote", "asked_about_again"),
]
TRUST = [
    ("    if grade is None:\n", "    if False:\n", "test_8_evidence_under"),
    ("if anchors.grade_of(tee, trusted.root_spki) is not trusted.grade:", "if False:", "test_8_a_cached"),
    (
        "check_role(common_name(chain[0]), roles, grade, Reason.SIGNER_PURPOSE)",
        "pass",
        "test_22_collateral_signed_by_a_certificate",
    ),
    ("    check_link(chain[0], root, name)\n", "", "signer_that_the_root_did_not_sign"),
    ("    crl.check(chain[0].serial_number, common_name(chain[0]), name)\n", "", "test_30_"),
    ("if _spki(chain[1]) != _spki(root):", "if False:", "chain_of_another_root"),
    ("    if found != (tcb_id, 3, qe_id, 2):\n", "    if False:\n", "test_25_"),
    (
        "if not verify_raw(key_of(signer, name)",
        "if False and not verify_raw(key_of(signer, name)",
        "test_23_collateral_altered",
    ),
    ("if _spki(root) != trusted.root_spki:", "if False:", "test_21_a_quote_under_another"),
    ("if authority.subject != trusted.authority.subject or _spki", "if False and _spki", "test_31_the_crl_of_another"),
    ("check_role(leaf.name, ROLE_PCK, trusted.grade, Reason.CHAIN_INVALID)", "pass", "test_22_a_pck_chain"),
    ("    check_issued(leaf, issuer.subject, issuer.key)\n", "", "pck_leaf_that_its_ca_did_not_sign"),
    ("    if len(blocks) != count:\n", "    if False:\n", "chain_of_more_or_fewer"),
    ('    check_link(authority, trusted.root, "PCK CA")\n', "", "pck_ca_that_the_root_did_not_sign"),
    (
        '    trusted.root_crl.check(authority.serial_number, common_name(authority), "PCK CA")\n',
        "",
        "test_30_a_second",
    ),
    ("    trusted.pck_crl.check(leaf.serial, leaf.name, NAME)\n", "", "test_30_"),
    ("windows += [pck_crl.window, tcb_info.window(), qe_identity.window()]", "pass", "test_23_each_document"),
]
PKI = [
    (
        "    if not raw:\n        refuse(Reason.CRL_INVALID",
        "    if not raw:\n        refuse(Reason.MALFORMED",
        "test_31_a_missing",
    ),
    ("if issued_by != issuer.subject:", "if False:", "test_31_a_list_of_the_same_key"),
    ('if not crl.is_signature_valid(key_of(issuer, f"issuer of {name}")):', "if False:", "test_31_a_foreign"),
    ("if not constraints.ca or not usage.key_cert_sign:", "if False:", "signer_that_is_no_authority"),
]
LEAF = [
    (", strict_mode=True)", ")", "anything_but_base64"),
    ("inner.version != _V3 or", "", "breaks_the_profile"),
    ("inner.serial < 1 or", "", "breaks_the_profile"),
    ("    if window.start > window.end:\n", "    if False:\n", "breaks_the_profile"),
    ("asn1.encode_der(outer.algorithm), asn1", "_ECDSA_WITH_SHA256, asn1", "outside_of_what_is_signed"),
    ("), asn1.encode_der(inner.algorithm)\n", "), _ECDSA_WITH_SHA256\n", "breaks_the_profile"),
    ("        if sgx is None and raw", "        if raw", "breaks_the_profile"),
    ("        elif identifier is None and raw", "        elif raw", "breaks_the_profile"),
    ('fromhex("301d0603551d0e04160414")', 'fromhex("301d0603551d0e0416")', "extension_that_cannot_be_read"),
    ("            shared.append(raw)\n", "            pass\n", "breaks_the_profile"),
    ("    shared = [asn1.encode_der(inner.subject)]\n", "    shared = []\n", "says_to_the_library"),
    (
        "        if extension.critical and extension.oid not in",
        "        if False and extension.oid not in",
        "breaks_the_profile",
    ),
    ("isinstance(extension.value, x509.BasicConstraints) and extension.value.ca", "False", "breaks_the_profile"),
    ("if algorithm == _P256 and", "if", "no_sequence"),
    (" and not key.point.padding_bits()", "", "key_of_no_whole_bytes"),
    ("    if leaf.issuer != issuer:\n", "    if False:\n", "breaks_the_profile"),
    ("        key.verify(leaf.signature, leaf.signed, ECDSA_SHA256)\n", "        pass\n", "did_not_sign"),
]
LEVELS = [
    ("if pck.pce_svn < level.tcb.pcesvn:", "if False:", "test_29_a_pce"),
    (
        "have < want.svn for have, want in zip(pck.component_svns",
        "False for have, want in zip(pck.component_svns",
        "test_29_a_platform",
    ),
    (
        "have < want.svn for have, want in zip(tdx[skip:]",
        "False for have, want in zip(tdx[skip:]",
        "test_29_a_tdx_module_or",
    ),
    ("        if isv_svn >= level.tcb.isvsvn:\n", "        if True:\n", "test_26_a_quoting_enclave_older"),
    ("if body.mr_signer_seam != bytes.fromhex(identity.mrsigner):", "if False:", "test_29_a_tdx_module_that_is_not"),
    (
        "if not masked_equal(body.seam_attributes,",
        "if False and not masked_equal(body.seam_attributes,",
        "test_29_a_tdx_module_that_is_not",
    ),
    (
        "    if identity is None:\n        refuse(Reason.TDX_MODULE",
        "    if identity is None:\n        refuse(Reason.MALFORMED",
        "test_29_a_tdx_module_that_intel",
    ),
    ("join((platform, qe))", "join((platform,))", "test_28_an_outdated_quoting_enclave_of_an"),
    ("joined = join((*launch.values(), qe))", "joined = join((*launch.values(),))", "test_28_an_outdated_quoting"),
    ("return isv_rating(identity.levels, svn[0])", "return None", "test_28_an_outdated_tdx_module"),
    (
        "    if current in (TcbStatus.REVOKED, TcbStatus.NO_LEVEL):\n        return current\n",
        "",
        "test_27_a_running_module",
    ),
]
RULES = [
    ("if tcb.status is TcbStatus.NO_LEVEL:", "if False:", "test_29_"),
    ("if tcb.status is TcbStatus.REVOKED:", "if False:", "test_27_"),
    ("if tcb.status.severity > rules.lowest_tcb_status.severity and", "if False and", "test_28_a_worse"),
    ("tcb_grace_seconds) >= now", "tcb_grace_seconds) != now", "test_28_grace"),
    ("    if refused:\n", "    if False:\n", "test_28_an_advisory"),
    ("    if len(set(numbers)) > 1:\n", "    if False:\n", "test_32_collateral_of_two"),
    ("min(numbers) < rules.minimum_evaluation_number", "False", "test_32_collateral_of_an_old"),
    ("        if flag.value in body.pck.flags:\n", "        if False:\n", "platform_features"),
    ("total in TRANSPORT_SIZES or", "True or", "test_6_zeros"),
    ('if rules.sept_ve_disable == "required" and', "if False and", "test_16_"),
    ("    if _MIGRATABLE in bits:\n", "    if False:\n", "test_17_"),
    ("    if profiling:\n", "    if False:\n", "test_18_"),
    ("    if rest:\n", "    if False:\n", "test_19_"),
    ("any(service) and service not in", "False and service not in", "test_20_"),
    ("    if not flags >> _SGX_INIT & 1:\n", "    if False:\n", "test_14_an_enclave_without"),
    ("        if flags >> bit & 1:\n", "        if False:\n", "test_14_an_enclave_with"),
    ("    if unknown:\n", "    if False:\n", "test_14_an_unknown"),
    ("body.replay or ()", "()", "test_36_"),
]
EAR = [
    ('header.get("alg") != "ES256" or', "", "test_12_another"),
    ('set(header) - {"alg", "typ", "kid"}', "False", "test_12_a_key"),
    ("now.timestamp() > until", "False", "test_12_a_token_holds"),
]
MODEL = [("if maker is not _MAKER:", "if False:", "test_nobody_else")]
WINDOWS = [
    ("        if now < window.start:\n", "        if False:\n", "test_23_collateral_from_the_future"),
    ("        if now > window.end:\n", "        if False:\n", "test_23_expired"),
]
TABLE = {
    "policy/verify": COMMON,
    "intel/quote": QUOTE,
    "intel/authenticate": AUTHENTICATE,
    "intel/trust": TRUST,
    "core/pki": WINDOWS,
    "intel/pck": LEAF,
    "intel/pki": PKI,
    "intel/tcb": LEVELS,
    "intel/findings": RULES,
    "policy/ear": EAR,
    "core/model": MODEL,
}
TESTS = tuple(
    f"tests/attestation/test_{name}.py" for name in ("refusals_common", "refusals_intel", "pck_leaf", "model")
)
