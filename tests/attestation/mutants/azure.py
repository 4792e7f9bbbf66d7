"""Switching off one rule about Azure's guests fails the tests that hold it: each mutant of the verifier is killed."""

from __future__ import annotations

HCL = [
    ("version not in (1, 2) or", "", "another_layout"),
    ("or status != 0 or", "or", "another_layout"),
    ("    if kind not in (SNP, TDX):\n", "    if False:\n", "another_layout"),
    ("    if hashed != _SHA256:\n", "    if False:\n", "another_layout"),
    ("    if end > len(data):\n", "    if False:\n", "another_layout"),
    ("    if size != end or", "    if", "another_layout"),
    ('    if data[end:].strip(b"\\0"):\n', "    if False:\n", "something_behind"),
]
TPM = [
    ("    if message[:6] != _GENERATED + _ATTEST_QUOTE:\n", "    if False:\n", "no_quote_over_one_bank"),
    ("    if len(extra) > MAXIMUM_DATA:\n", "    if False:\n", "no_quote_over_one_bank"),
    ("selection[:7] != expected", "False", "no_quote_over_one_bank"),
    ("or at != len(message)", "", "no_quote_over_one_bank"),
    ("    if digest != quote.digest:\n", "    if False:\n", "does_not_cover"),
    ("or any(len(pcr) != PCR_SIZE for pcr in pcrs)", "", "another_number_or_size"),
    ("for index in quote.selected}", "for index in range(PCR_COUNT)}", "outside_the_selection"),
]
AUTHENTICATE = [
    ("    if report.report_data != wanted:\n", "    if False:\n", "hardware_did_not_report"),
    ("sha256(runtime).digest() + bytes(32)", "sha256(runtime).digest() + report.report_data[32:]", "did_not_report"),
    ("        key.verify(vtpm.signature, vtpm.message, PKCS1v15(), SHA256())\n", "        pass\n", "by_another_key"),
    ('and key.get("kid") == _KEY_NAME', "", "by_another_key"),
    ('    if len(named) != 1 or named[0].get("kty") != "RSA":\n', "    if not named:\n", "one_usable_key"),
    ("    if modulus.bit_length() not in _BITS or exponent != _EXPONENT:\n", "    if False:\n", "one_usable_key"),
    ('report_data=quote.extra_data.ljust(64, b"\\0"),', "", "rules_that_name_it"),
    ("sha256(report.evidence_digest + evidence.vtpm.message)", "sha256(report.evidence_digest)", "a_name_of_its_own"),
    ("is True", "is not None", "without_secure_boot"),
]
RULES = [
    ('    if rules.paravisor == "refused":\n', "    if False:\n", "unless_the_policy_allows"),
    ("    if paravisor.pcrs is None:\n", "    if False:\n", "without_a_quote"),
    ("        if value not in wanted:\n", "        if False:\n", "another_guest"),
    ('    if rules.secure_boot == "required" and', "    if False and", "without_secure_boot"),
]
POLICY = [
    ('    if rules.azure.paravisor == "allowed" and not rules.azure.pcrs:\n', "    if False:\n", "names_the_guest")
]
TABLE = {
    "azure/hcl": HCL,
    "azure/tpm": TPM,
    "azure/authenticate": AUTHENTICATE,
    "azure/findings": RULES,
    "policy/rules": POLICY,
}
TESTS = ("tests/attestation/test_azure_refusals.py",)
