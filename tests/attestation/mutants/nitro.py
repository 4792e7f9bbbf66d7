"""Switching off one Nitro rule fails the tests that hold it: each mutant of the verifier is killed."""

from __future__ import annotations

CBOR = [
    ("tags, duplicates=False)", "tags, duplicates=True)", "twice"),
    ("    if spelled != raw:\n", "    if False:\n", "longer_form"),
    ("        if raw.startswith(spelled):\n", "        if False:\n", "behind_the_item"),
    ("            raise _UnknownTag(tag)\n", "            return partial(_tagged, tag)\n", "does_not_name"),
    (
        '    else:\n        refuse(Reason.MALFORMED, f"integers',
        '    elif False:\n        refuse(Reason.MALFORMED, f"integers',
        "other_simple",
    ),
    (
        "        if not _KEYS.issuperset(map(type, one)):\n",
        "        if False:\n",
        "neither_numbers_nor_strings",
    ),
    ("        max_depth=MAXIMUM_DEPTH,\n", "", "nesting_is_bounded"),
    ("        if count > MAXIMUM_ITEMS:\n", "        if False:\n", "number_of_items"),
    ("    if endless_map and raw[:1]", "    if raw[:1]", "not_given"),
]
COSE = [
    ("or algorithm is None or not isinstance(key.curve, curve)", "or algorithm is None", "curve"),
    ("    if len(token.signature) != 2 * half:\n", "    if False:\n", "another_length"),
    ("        key.verify(encode_dss_signature(r, s), token.signed, algorithm)\n", "        pass\n", "another_key"),
    ("    if len(x) != half or len(y) != half:\n", "    if False:\n", "not_on_its_curve"),
]
DOCUMENT = [
    ("    if len(raw) > MAXIMUM_BYTES:\n", "    if False:\n", "more_bytes_than_any"),
    ("    if cose.header != {ALGORITHM: ES384}:\n", "    if False:\n", "another_algorithm_or_header"),
    ("    if cose.unprotected:\n", "    if False:\n", "outside_the_signature"),
    ("    if missing:\n", "    if False:\n", "that_is_missing"),
    ("    if unknown:\n", "    if False:\n", "that_is_unknown"),
    ('    if payload["digest"] != _DIGEST:\n', "    if False:\n", "another_digest"),
    ("type(value) is not int or not 0 < value <= _LATEST", "False", "another_kind_or_beyond"),
    ("or not value.keys() <= _INDICES:", ":", "another_size_or_number"),
    ("    if missing := {0, 1, 2} - set(value):\n", "    if missing := set():\n", "first_registers"),
    ("    if {*map(type, values)} != {bytes} or", "    if False and", "another_size_or_number"),
    (" or {*map(len, values)} != {PCR_SIZE}:", ":", "another_size_or_number"),
    ("not 1 <= len(value) <= _MAXIMUM_CERTIFICATES", "False", "another_kind_or_beyond"),
    ("return sha512(data).digest() if len(data) > REPORT_DATA_SIZE else data", "return data[:64]", "name_of_its_hash"),
    ('instance if separator and instance.startswith("i-") else None', "instance", "names_no_instance"),
    ("return not any(any(self.pcrs[index]) for index in (0, 1, 2))", "return False", "debug_mode"),
    ("for i in (0, 1, 2, _SIGNER_PCR)", "for i in (0, 1, 2, 2)", "another_image"),
]
CHAIN = [
    ("    if grade is None:\n", "    if False:\n", "under_another_root"),
    ("return known, _grade(known.root_spki, anchors)", "return known, Grade.SIMULATED", "under_other_roots"),
    ("    _check_signed(root, root)\n", "", "root_that_another_signed"),
    ("        _check_signed(issued, issuer)\n", "", "did_not_sign"),
    ("        _check_authority(issuer, len(certificates) - depth - 2)\n", "", "may_not_sign_certificates"),
    ("not None and basic.path_length < below", "not None and False", "allows_none"),
    ("        _check_extensions(certificate)\n", "        pass\n", "critical_extension"),
    ("isinstance(basic, x509.BasicConstraints) and basic.ca:", "False:", "leaf_that_is_an_authority"),
    ("not isinstance(usage, x509.KeyUsage) or not usage.digital_signature", "False", "may_not_sign_data"),
    ("or not isinstance(key.curve, SECP384R1)", "", "key_of_another_kind"),
]
AUTHENTICATE = [
    ("    check_windows(chain.windows, seconds(document.timestamp))\n", "", "not_valid_at_the_documents_time"),
    ("seconds(document.timestamp)", "seconds(now)", "judged_at_each_documents_time"),
    ('    verify_sign1(document.cose, chain.key, "the Nitro document")\n', "", "another_key_signed"),
    ("sha256(document.cose.signed)", "sha256(evidence.raw)", "other_form"),
    ("        signed_at=document.timestamp,\n", "", "older_than_the_policy"),
    ("debug=document.debug", "debug=False", "debug_mode"),
]
RULES = [
    ('    if rules.user_data == "required" and', "    if False and", "user_data_of_another_length"),
    ("        if value not in wanted:\n", "        if False:\n", "rules_name_holds"),
    ('    if rules.further_pcrs == "zero":\n', "    if False:\n", "nobody_named"),
]
VERIFY = [("(report.signed_at, expected.collected_at)", "(expected.collected_at,)", "older_than_the_policy")]
ENVELOPE = [("    if at != len(data):\n", "    if False:\n", "not_whole")]
TABLE = {
    "core/cbor": CBOR,
    "core/cose": COSE,
    "nitro/document": DOCUMENT,
    "nitro/chain": CHAIN,
    "nitro/authenticate": AUTHENTICATE,
    "nitro/findings": RULES,
    "nitro/envelope": ENVELOPE,
    "policy/verify": VERIFY,
}
TESTS = ("tests/attestation/test_nitro_refusals.py", "tests/attestation/test_cbor.py")
