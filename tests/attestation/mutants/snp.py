"""Switching off one SEV-SNP rule fails the tests that hold it: each mutant of the verifier is killed."""

from __future__ import annotations

REPORT = [
    ("if len(raw) < REPORT_SIZE:", "if len(raw) < 0x2A0:", "cut_short"),
    ("if len(raw) > REPORT_SIZE:", "if False:", "trailing_bytes"),
    ("if version not in VERSIONS:", "if version not in range(10):", "unknown_version"),
    ("if algorithm != _ECDSA_P384_SHA384:", "if False:", "another_signature_algorithm"),
    ("if vmpl > 3:", "if False:", "host_asked_for"),
    ("    _check_reserved(raw, version, flags)\n", "", "reserved_bytes"),
    ("if flags >> 5:", "if False:", "reserved_flags"),
    ("if key not in _KEY_NAMES:", "if False:", "reserved_or_absent_signing_key"),
    ('if raw[2 * _HALF :].strip(b"\\0"):', "if False:", "behind_the_signature"),
    ("        if not 0 < value < P384_ORDER:\n", "        if False:\n", "unused_bytes_of_r_or_s"),
    ('value = int.from_bytes(half, "little")', 'value = int.from_bytes(half[47::-1], "little")', "byte_order"),
    ("microcode=raw[7])\n        return", "microcode=raw[6])\n        return", "defaults_are_accepted"),
]
AUTHENTICATE = [
    ("    check_windows(chain.windows, seconds(now))\n", "", "expired_certificate"),
    (
        "revocation_checked = check_revocation(chain, endorsements.crls, now)",
        "revocation_checked = True",
        "revoked_int",
    ),
    ("if chain.leaf.tcb != reported:", "if False:", "another_tcb"),
    (
        "reported = SnpTcbVersion.read(report.reported_tcb",
        "reported = SnpTcbVersion.read(report.current_tcb",
        "current_in",
    ),
    ("    _check_chip(report, chain.leaf)\n", "", "vcek_of_another_chip"),
    ('wanted = leaf.hwid.ljust(len(report.chip_id), b"\\0")', "wanted = report.chip_id", "eight_bytes"),
    ("    _check_signature(report, chain)\n", "", "another_key_signed"),
    ("    product = _product(report)\n", "    product = None\n", "another_product_than_the_cpu"),
    ("debug=bool(report.policy >> POLICY_DEBUG & 1)", "debug=False", "debug_guest"),
    (
        "evidence_digest=Bytes32(sha256(report.signed)",
        "evidence_digest=Bytes32(sha256(report.signed + bytes([report.s % 251]))",
        "other_form",
    ),
    ("identity=report.chip_id if any(report.chip_id) else None", "identity=report.chip_id", "masked_chip"),
]
CERTIFICATES = [
    ("    if grade is None:\n", "    if False:\n", "production_roots"),
    ("    if product is not None and named != product:\n", "    if False:\n", "another_product_than_the_cpu"),
    ('        _check_signed(ark, ark, "the root")\n', "", "pinned_key_that_another_signed"),
    ('    _check_signed(leaf, ask, "the leaf")\n', "", "intermediate_did_not_sign"),
    ("        _check_authority(ask)\n", "", "may_not_sign_certificates"),
    ("not isinstance(leaf.key.curve, SECP384R1)", "False", "another_curve"),
    ("    if said.product != product:\n", "    if False:\n", "another_product_than_its_issuer"),
    ("    if not fits(ask, role):\n", "    if False:\n", "vlek_under_an_ask"),
    ("key.key_size != _RSA_BITS", "False", "short_key"),
    ("    if not certificate.is_pss_sha384:\n", "    if False:\n", "without_pss"),
    ("            if serial in known.revoked:\n", "            if False:\n", "revoked_intermediate"),
    ("(chain.ask_serial, chain.ark.serial_number)", "(chain.ask_serial,)", "revoked_root"),
    ("    if lists and not any(", "    if False and not any(", "stale_or_future_list"),
    ("or not crl.is_signature_valid(key)", "", "root_did_not_sign"),
    ("if _issuer_of(crl) == chain.ark.subject", "if True", "list_of_another_root"),
]
LEAF = [
    ("    if len(raw) != size:\n", "    if False:\n", "hwid_of_another_size"),
    ("        if _HWID in values:\n", "        if False:\n", "names_a_chip"),
    ("    if _CSP in values:\n", "    if False:\n", "names_a_provider"),
    ("or not 0 <= value <= 255", "", "small_number"),
    ("!= int(turin):", "== 99:", "structure_of_another_generation"),
]
RULES = [
    ("    yield from _revocation(body, rules)\n", "", "missing_list"),
    ("    if not policy >> POLICY_RESERVED_ONE & 1:\n", "    if False:\n", "unknown_policy_bits"),
    ("    if policy >> POLICY_MIGRATE_MA & 1:\n", "    if False:\n", "unknown_policy_bits"),
    ("    if unknown := policy >> POLICY_KNOWN_BITS:\n", "    if unknown := 0:\n", "unknown_policy_bits"),
    ("    if body.report.report_id_ma != _NO_MIGRATION_AGENT:\n", "    if False:\n", "migration_agent"),
    ("    if body.report.vmpl > rules.maximum_vmpl:\n", "    if False:\n", "lower_privilege"),
    ("    if body.leaf.kind not in rules.signing_keys:\n", "    if False:\n", "want_a_vcek"),
    ("        if not high.reaches(low):\n", "        if False:\n", "above_the_committed"),
    ("            if not found.reaches(floor):\n", "            if False:\n", "below_the_minimum"),
    ('("reported", "committed", "launch")', '("reported", "committed")', "older_firmware"),
    ("    if {f.generation for f in floors} != set(names):\n", "    if False:\n", "do_not_name_the_generation"),
    ("    if not all(part in rules.generations", "    if not any(part in rules.generations", "not_listed"),
    ('    if name == "Milan" and rules.milan != "accept":\n', "    if False:\n", "milan_warns"),
    ("        if mitigation.value not in report.mitigations:\n", "        if False:\n", "required_mitigation"),
    ('    if rules.smt == "off" and', "    if False and", "smt_is_refused"),
    ("    if same_code and all(", "    if False and all(", "other_host_data"),
    ("    if keys and raw.id_key_digest not in keys:\n", "    if False:\n", "id_block"),
]
TABLE = {
    "amd/report": REPORT,
    "amd/authenticate": AUTHENTICATE,
    "amd/certificates": CERTIFICATES,
    "amd/leaf": LEAF,
    "amd/findings": RULES,
}
TESTS = ("tests/attestation/test_snp_refusals.py",)
