"""Switching off one CCA rule fails the tests that hold it: each mutant of the verifier is killed."""

from __future__ import annotations

TOKEN = [
    ("    if len(raw) > MAXIMUM_BYTES:\n", "    if False:\n", "more_bytes_than_any"),
    ("    if set(item.value) != {_PLATFORM, _REALM}:\n", "    if False:\n", "collection_of_other_parts"),
    ("len(record) != 2 or record[0] != _EAT_CWT", "len(record) != 2", "another_content_format"),
    (
        "    if not isinstance(item, cbor2.CBORTag):\n        refuse(Reason.MALFORMED, f",
        "    if False:\n        refuse(Reason.MALFORMED, f",
        "without_the_tag",
    ),
    ("    if cose.unprotected:\n", "    if False:\n", "outside_the_signature"),
    (
        "    if unknown := set(cose.header) - {ALGORITHM, _CONTENT_TYPE}:\n",
        "    if unknown := set():\n",
        "unknown_label",
    ),
    ("    if claims.get(_PROFILE) not in PLATFORM_PROFILES:\n", "    if False:\n", "another_profile_of_a_platform"),
    ("    if profile not in (None, REALM_PROFILE):\n", "    if False:\n", "another_profile_of_a_realm"),
    ("    if instance[0] != 1:\n", "    if False:\n", "another_kind_or_size"),
    ("type(lifecycle) is not int or not 0 <= lifecycle <= 0xFFFF", "False", "another_kind_or_size"),
    ("    if not isinstance(challenge, bytes) or len(challenge) != 64:\n", "    if False:\n", "not_64_bytes"),
    ("not isinstance(rems, Sequence) or len(rems) != 4", "False", "another_kind_or_size"),
    ('"extensible measurement", (len(rim),)', '"extensible measurement", HASH_SIZES', "another_kind_or_size"),
    ("    if rest not in ({1: 2, -1: 2}, {1: 2, -1: 2, 3: ES384}):\n", "    if False:\n", "off_its_curve"),
    ("not isinstance(value, bytes) or len(value) not in sizes", "not isinstance(value, bytes)", "another_kind_or_size"),
    ("not 1 <= len(value) <= _MAXIMUM_COMPONENTS", "False", "another_kind_or_size"),
    ("return any(self.platform.lifecycle in states for states in _DEBUG)", "return False", "in_debug"),
    ("hash_algorithm=_algorithm(claims, _REALM_HASH)", "hash_algorithm=RealmHash.SHA_256", "unknown_or_missing"),
]
READING = [
    ('    if "d" in jwk:\n', "    if False:\n", "not_usable"),
    ('jwk.get("crv") not in _CURVES', "False", "not_usable"),
    ('    if isinstance(document, dict) and "kty" in document:\n', "    if False:\n", "not_say_whose"),
]
DOCUMENTS = [
    ("        if missing:\n", "        if False:\n", "differs_from_its_reference"),
    ("            missing.remove(match)\n", "            pass\n", "rules_list_their_document"),
    ("            if match is None:\n", "            if False:\n", "differs_from_its_reference"),
    ("    if not len(found) == len(wanted) == len(bits):\n", "    if False:\n", "differs_from_its_reference"),
    ("bits = mask if mask is not None else", "bits =", "mask_selects"),
    ("if self.configuration is not None and not", "if False and not", "differs_from_its_reference"),
]
CORIM = [
    ('    _known(environment, (0,), "the environment of reference values")\n', "", "of_a_platform_that_break"),
    ("    if len(implementation) != 32:\n", "    if False:\n", "of_a_platform_that_break"),
    ("        if name not in names:\n", "        if False:\n", "of_a_platform_that_break"),
    ("        elif configuration is not None:\n", "        elif False:\n", "of_a_platform_that_break"),
    ("    if not components:\n", "    if False:\n", "of_a_platform_that_break"),
    ("    if len(keys) != 1:\n", "    if False:\n", "of_a_platform_that_break"),
    ("    if len(signer) not in HASH_SIZES:\n", "    if False:\n", "of_a_platform_that_break"),
    ("    if found.get(_RIM) != rim:\n", "    if False:\n", "of_a_realm_that_break"),
    (
        "    if len(rems) not in (0, 4) or len(found.get(_RPV, bytes(64))) != 64:\n",
        "    if False:\n",
        "of_a_realm_that_break",
    ),
    ("        if name in found:\n", "        if False:\n", "of_a_realm_that_break"),
    ("    if len(pairs) != 1:\n", "    if False:\n", "of_a_platform_that_break"),
    ("size != len(value)", "False", "of_a_platform_that_break"),
    ("    if len(implementation) != 32 or len(instance) != 33:\n", "    if False:\n", "platforms_key_that_breaks"),
    ("or pems[0].tag != _TAG_PEM:", "and False:", "platforms_key_that_breaks"),
    ("    if profile not in (PLATFORM_PROFILE, REALM_PROFILE):\n", "    if False:\n", "breaks_its_format"),
    ("    if not triples:\n", "    if False:\n", "breaks_its_format"),
    ("    if cose.header.get(_CONTENT_TYPE) != _RIM_CBOR:\n", "    if False:\n", "breaks_its_format"),
    ("    if _VALIDITY in corim:\n", "    if False:\n", "while_it_holds"),
    ('return (_window(meta[1], "the CoRIM\'s signature"),) if 1 in meta else ()', "return ()", "while_it_holds"),
]
AUTHENTICATE = [
    ("    if token.platform.rak_hash != bound:\n", "    if False:\n", "does_not_vouch_for"),
    (
        '    verify_sign1(token.realm_cose, realm_key(token.realm.rak), "the realm token")\n',
        "",
        "realm_token_that_another_key",
    ),
    (
        '        verify_sign1(cose, key.key, "the platform token")\n',
        "        pass\n",
        "platform_token_that_another_key",
    ),
    (
        "            if (key.implementation, key.instance) == ids:\n",
        "            if True:\n",
        "another_implementation_or_instance",
    ),
    ("(own is Grade.SIMULATED or key.spki not in PUBLISHED_KEYS)", "True", "published_key_counts"),
    ("        check_windows(document.windows, seconds(now))\n", "", "while_it_holds"),
    ('            verify_sign1(document.cose, key, "the CoRIM")\n', "            pass\n", "no_trusted_key_signed"),
    (
        "        if grade is not None and isinstance(key, EllipticCurvePublicKey):\n",
        "        if isinstance(key, EllipticCurvePublicKey):\n",
        "no_trusted_key_signed",
    ),
    ("        if grade is not None and (own", "        if (own", "nobody_trusts"),
    ("    if not named:\n", "    if False:\n", "without_its_platforms_key"),
    ("hashlib.sha256(key.spki + len", 'hashlib.sha256(b"" + len', "not_proven_under_another_key"),
    ("debug=token.debug", "debug=False", "in_debug"),
    ("platform + realm).digest()", "platform + token.platform_cose.signature).digest()", "has_one_name"),
]
RULES = [
    ("    if platform.lifecycle not in SECURED:\n", "    if False:\n", "not_secured"),
    ("    if rules.implementations and platform.implementation not in", '    if False and b"" in', "rules_do_not_name"),
    ("    if not counted:\n", "    if False:\n", "refused_or_warned"),
    ("    yield from _differences(counted)\n", "", "differs_from_its_reference"),
    ("    yield from _differences(_counted(body.realm_references, report, rules))\n", "", "platform_and_realm"),
    ("    if counted and all(one", "    if counted and any(one", "several_documents"),
]
TABLE = {
    "arm/token": TOKEN,
    "arm/reading": READING,
    "arm/documents": DOCUMENTS,
    "arm/corim": CORIM,
    "arm/authenticate": AUTHENTICATE,
    "arm/findings": RULES,
}
TESTS = ("tests/attestation/test_cca_refusals.py",)
