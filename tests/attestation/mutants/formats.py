"""Switching off one rule about files, stores and foreign policies fails the tests that hold it."""

from __future__ import annotations

AGENTS = [
    ("    _require_no_other_log(document)\n", "", "unknown_shape"),
    ('"log" in name.lower() and', '"log" == name and', "unknown_shape"),
    ("    if all(document.get(name) is not None for name in _LOGS):\n", "    if False:\n", "unknown_shape"),
    ("    if made is not inner.tee:\n", "    if False:\n", "unknown_shape"),
    ("        return msgspec.json.encode(value)\n", "        return None\n", "as_an_array"),
]
EXTENDED = [
    ("    if len(data) > MAXIMUM_TABLE:\n", "    if False:\n", "table_that_is_none"),
    ("        if at + _ENTRY.size > len(data):\n", "        if False:\n", "table_that_is_none"),
    ("        if offset + length > len(data):\n", "        if False:\n", "table_that_is_none"),
    ("if guid in CERTIFICATES)", ")", "with_its_certificates"),
]
AGENT = [
    ("(required - set(value)) | (set(value) - known)", "set(value) - known", "without_a_field"),
    ("(required - set(value)) | (set(value) - known)", "required - set(value)", "out_of_range_or_unknown"),
    ("    if type(value) is not int or not 0", "    if not 0", "out_of_range_or_unknown"),
    ('head + levels["snp"] + bytes(3)', 'head + bytes(3) + levels["snp"]', "put_together_again"),
]
ENCODING = [
    ("return text if _BEGIN in text else", "return", "no_base64_though"),
    ("    if not found or after.strip():\n", "    if not found:\n", "says_what_it_is"),
]
STORE = [
    ("if held.last_update_utc > crl.last_update_utc:", "if False:", "the_later_is_kept"),
    ("                path.unlink(missing_ok=True)\n", "                pass\n", "the_later_is_kept"),
    ("            if now > certificate.not_valid_after_utc:\n", "            if False:\n", "expired_is_not_kept"),
    ("        if not fresh.issued <= now <= fresh.expires:\n", "        if False:\n", "displaces_nothing"),
    ("(fresh.evaluation_number, fresh.issued) < (", "(0, fresh.issued) > (1, ", "displaces_nothing"),
    ("not (signers := named.get(crl.issuer)) or", "True or", "strangers_key"),
    ("shelves = dict.fromkeys((EVERY_MACHINE, shelf or EVERY_MACHINE))", "shelves = [EVERY_MACHINE]", "from_one_store"),
]
IMPORTED = [
    ("        _require_known(kept, image)\n", "", "without_a_rule"),
    (
        "        if sections.setdefault(image.module.section, image.section(draft)) != image.section(draft):\n",
        "        if sections.update({image.module.section: image.section(draft)}):\n",
        "different_rules",
    ),
    ('claim.value + (claim.operator == "greater")', "claim.value", "image_and_the_levels"),
    ("self.levels[part] = max(level, self.levels.get(part, 0))", "self.levels[part] = level", "holds_only_where"),
    ("    elif not _compare(claim, _actual(claim, image)):\n", "    elif False:\n", "does_not_meet"),
    ('        if (claim.operator, claim.value) != ("equals", "UpToDate"):\n', "        if False:\n", "refused_by_name"),
]
TABLE = {
    "agents": AGENTS,
    "amd/extended": EXTENDED,
    "amd/agent": AGENT,
    "core/encoding": ENCODING,
    "collateral/store": STORE,
    "policy/imported": IMPORTED,
}
TESTS = tuple(f"tests/attestation/test_{name}.py" for name in ("agents", "fleet", "imported_policies"))
