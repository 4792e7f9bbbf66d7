"""Switching off one rule about NVIDIA devices or composite evidence fails the tests that hold it."""

from __future__ import annotations

REPORT = [
    ("nonce=raw[_NONCE]", "nonce=raw[at - len(opaque) - 34 : at - len(opaque) - 2]", "nonce_of_the_request"),
    ("if raw[:4] != REQUEST_START or", "if raw[:3] != REQUEST_START[:3] or", "another_request"),
    ('raw[36:REQUEST_SIZE] not in (b"\\0", b"")', "False", "another_request"),
    ("if raw[REQUEST_SIZE : REQUEST_SIZE + 4] !=", "if False and raw[0:] !=", "another_request"),
    ("    if len(raw) < at + size:\n", "    if False:\n", "cut_short"),
    ("    if len(raw) != end:\n", "    if False:\n", "trailing_bytes"),
    (
        "if count == 0 or len(record) != count * _BLOCK_SIZE:",
        "if len(record) != count * _BLOCK_SIZE:",
        "do_not_fill_their",
    ),
    ("or len(record) != count * _BLOCK_SIZE:", "or len(record) < count * _BLOCK_SIZE:", "do_not_fill_their_record"),
    ("        if block[0] != number + 1:\n", "        if False:\n", "out_of_its_place"),
    ("        if block[1:7] != _BLOCK_START:\n", "        if False:\n", "of_another_kind_or_size"),
    ("        if not 0 < value < P384_ORDER:\n", "        if False:\n", "out_of_their_range"),
    ('value = int.from_bytes(half, "big")', 'value = int.from_bytes(half, "little")', "byte_order"),
]
OPAQUE = [
    ("        if len(raw) < at + 4 + size:\n", "        if False:\n", "do_not_fill_their_length"),
    ("        if kind in fields:\n", "        if False:\n", "field_twice"),
    ("        if size not in _SIZES.get(kind, (size,)):\n", "        if False:\n", "another_length"),
    ("    if vbios is None:\n", "    if vbios == b'':\n", "neither_of_a_gpu"),
    ("    if of_switch == (_DRIVER in fields) or", "    if", "neither_of_a_gpu"),
    ("if len(value) > _LONGEST_TEXT or not", "if not", "no_version"),
    ("not _TEXT.issuperset(value)", "False", "no_version"),
    ("    if any(raw[5:]):\n", "    if False:\n", "more_behind_it"),
    ("    if value not in (_ON, _OFF):\n", "    if False:\n", "neither_on_nor_off"),
    ("    if number >= len(MODES):\n", "    number %= 3\n    if False:\n", "unknown_mode"),
    ('    if _PROTECTED_PCIE in fields and protected != (MODES[number] == "ppcie"):\n', "    if False:\n", "two_modes"),
    ('return "ppcie" if protected else "spt"', 'return "spt"', "older_driver"),
]
CERTIFICATES = [
    ("or not isinstance(key.curve, SECP384R1)", "", "another_curve"),
    ("    if len(pool) > _MAXIMUM_CERTIFICATES:\n", "    if False:\n", "more_certificates"),
    ("    if links[0].is_authority:\n", "    if False:\n", "leaf_that_may_sign"),
    ("        if issuer.der == links[-1].der:\n", "        if False:\n", "shorter_chain"),
    ("    if not is_signed(root, root):\n", "    if False:\n", "longer_chain"),
    ("    if grade is None or", "    if False or", "refused_in_production"),
    ("(grade is Grade.HARDWARE and root.spki != pin)", "False", "is_no_root_of"),
    ("        if is_signed(link, candidate):\n", "        if True:\n", "issuer_did_not_sign"),
    ("            if not candidate.is_authority:\n", "            if False:\n", "may_not_sign_certificates"),
]
LEAF = [
    (
        "if not leaf.name.endswith(LEAF_SUFFIX) or brom.name != stem + _DEVICE:",
        "if False:",
        "something_else_than_a_gpu",
    ),
    ("    if not provisioner.name.startswith(_PROVISIONER.format(product)):\n", "    if False:\n", "something_else"),
    ("    if generation is None:\n", "    generation = generation or 'Hopper'\n    if False:\n", "something_else"),
    ("    if len(serial) < _PDI_SIZE:\n", "    if False:\n", "something_else"),
    ("    if len(named) != 1 or", "    if not named or", "without_one_firmware"),
    ("algorithm != _SHA384 or len(digest) != 48", "False", "without_one_firmware"),
]
OCSP = [
    ("    if len(raw) > MAXIMUM_BYTES:\n", "    if False:\n", "longer_than_any"),
    ("and answer.reason is not _HOLD:", "and False:", "revoked_on_hold"),
    ("for answer in own:", "for answer in own[-1:]:", "revocation_stays"),
    (
        "in answers.get(link.serial, ()):",
        "in (one for some in answers.values() for one in some):",
        "about_another_certificate",
    ),
    ("if answer.issuer == _name_of(issuer, answer.issuer[0]):", "if True:", "namesake_with_the_same_serial"),
    (
        "    except (InvalidSignature, *NOT_X509):\n        refuse",
        "    except (InvalidSignature, *NOT_X509):\n        str",
        "did_not_sign",
    ),
    ("if not any(ExtendedKeyUsageOID.OCSP_SIGNING in usage for usage in usages):", "if False:", "another_purpose"),
    (
        "responder.certificate.issuer != issuer.certificate.subject or not is_signed(responder, issuer)",
        "False",
        "foreign",
    ),
    ("or not is_signed(responder, issuer)", "", "namesake_of_the_issuers"),
    ("    if not answer.start <= moment <= answer.end:\n", "    if False:\n", "stale_or_future"),
    ("    check_windows(responders, moment)\n", "", "expired_responder"),
    (
        "    if answer.status is ocsp.OCSPCertStatus.REVOKED:\n        refuse(Reason.NVIDIA_ON_HOLD",
        "    if False:\n        refuse(Reason.NVIDIA_ON_HOLD",
        "revoked_on_hold",
    ),
    ("    if answer.status is not ocsp.OCSPCertStatus.GOOD:\n", "    if False:\n", "revoked_on_hold"),
]
RIM = [
    (
        "    if known is not None and anchors.grade_of(",
        "    if known is not None or anchors.grade_of(",
        "held_against_the_anchors",
    ),
    ("    _check_purpose(path.leaf)\n", "", "signed_by_a_responder"),
    ("    if len(raw) > MAXIMUM_BYTES:\n", "    if False:\n", "before_a_parser"),
    ('b"<!" in body or', "", "before_a_parser"),
    ('or b"<?" in body', "", "does_more_than"),
    ('    if b"\\0" in body or', "    if", "does_more_than"),
    ('if b"encoding" in declaration and', "if False and", "does_more_than"),
    ("        if index in seen:\n", "        if False:\n", "index_twice"),
    ("    if not values:\n", "    if False:\n", "without_active"),
    ("values[index + 1] = alternatives", "values[index] = alternatives", "counts_from_zero"),
    ("        if _is_active(resource):\n", "        if _is_active(resource) or True:\n", "inactive"),
    ('    if active not in ("True", "False"):\n', "    if False:\n", "not_of_the_layout"),
    ("int(text) <= most", "True", "not_of_the_layout"),
    ("text.isascii() and", "", "not_of_the_layout"),
    ("or size != MEASUREMENT_SIZE", "", "not_of_the_layout"),
    ("or sorted(names) != sorted(wanted)", "", "not_of_the_layout"),
    ("if len(value) != MEASUREMENT_SIZE or len(text) != 2 * MEASUREMENT_SIZE:", "if False:", "not_of_the_layout"),
]
XMLDSIG = [
    ('    if references != [""]:\n', "    if False:\n", "over_a_part"),
    ("        if found != wanted:\n", "        if False:\n", "another_form"),
    ("    _check_form(etree.fromstring(raw, parser))\n", "", "another_form"),
    ("verify(raw, x509_cert=signer,", "verify(etree.fromstring(raw), x509_cert=None,", "forges_defaults"),
]
AUTHENTICATE = [
    ("    if not leaves:\n", "    if False:\n", "truncated_chain"),
    ("next((leaf for leaf in leaves if _verifies(report, leaf)), leaves[0])", "leaves[0]", "several_leaves"),
    ("    _check_device(report, device)\n", "", "another_kind_or_chip"),
    ("    if opaque.is_switch != device.is_switch:\n", "    if False:\n", "another_kind_or_chip"),
    ('    if opaque.chip not in ("", device.name):\n', "    if False:\n", "another_kind_or_chip"),
    ("    if opaque.pdi is not None and opaque.pdi != device.pdi:\n", "    if False:\n", "another_kind_or_chip"),
    ("    check_windows(path.windows, seconds(now))\n", "", "out_of_its_validity"),
    ("unanswered = check_path(path.links[1:], answers, now)", "unanswered = ()", "revoked_on_hold"),
    ("check_path(path.links[1:], answers", "check_path(path.links[2:], answers", "each_certificate_needs"),
    ("unanswered += check_path(one.links, answers, now) if one else ()", "pass", "each_certificate_needs"),
    ("    if not _verifies(report, path.leaf.certificate):\n", "    if False:\n", "another_key_signed"),
    ("    if fwid is not None and fwid != device.fwid:\n", "    if False:\n", "other_firmware"),
    ("    if len(documents) > _MAXIMUM_DOCUMENTS:\n", "    if False:\n", "more_documents"),
    ("(manifest.product, manifest.edition, manifest.version) != wanted", "False", "another_driver_or_device"),
    ("            check_windows(proven.windows, seconds(now))\n", "", "signer_expired"),
    ("            refusal = refusal or error\n", "            raise\n", "concerns_itself_alone"),
    ("    if refusal is not None:\n", "    if False:\n", "changed_manifest"),
    (
        "evidence_digest=Bytes32(sha256(body.report.signed)",
        "evidence_digest=Bytes32(sha256(body.report.signed + bytes([body.report.s % 251]))",
        "other_form",
    ),
]
FINDINGS = [
    ("    yield from _revocation(body, rules)\n", "", "without_answers"),
    ("    if opaque.mode not in rules.modes:\n", "    if False:\n", "mode_that_is_not_allowed"),
    ("    if body.device.generation not in rules.architectures:\n", "    if False:\n", "architecture"),
    ('    if opaque.fwid is None and rules.fwid == "required":\n', "    if False:\n", "without_its_firmware"),
    ("        if not version or version in held:\n", "        if True:\n", "without_manifests"),
    (
        "reason = Reason.NVIDIA_RIM_VERSION if body.offered else Reason.NVIDIA_RIM_MISSING",
        "reason = Reason.NVIDIA_RIM_MISSING",
        "another_driver_or_device",
    ),
    ("        if both := ", "        if both := set() & ", "claim_one_measurement"),
    ("if index == _NVDEC0_INDEX and not body.report.opaque.nvdec_on:", "if index == _NVDEC0_INDEX:", "video_decoders"),
    ("if index == _NVDEC0_INDEX and not body.report.opaque.nvdec_on:", "if False:", "video_decoders"),
    ("            if value in allowed:\n", "            if value or True:\n", "counts_from_zero"),
    ("            if value in allowed:\n", "            if value == allowed[0]:\n", "any_alternative"),
    ("            if any(value):\n", "            if True:\n", "zero_or_absent"),
]
TOPOLOGY = [
    ("    if len(gpus) < rules.gpus:\n", "    if False:\n", "fewer_gpus"),
    ("    gpus = [body for body in bodies if not body.device.is_switch]", "    gpus = bodies", "switch_is_no_gpu"),
    ("    if len(modes) > 1:\n", "    if False:\n", "different_modes"),
    ("    if len(named) > 1 or", "    if", "different_switches"),
    ("or frozenset() in named:", "or False:", "different_switches_or_none"),
    ("frozenset(pdi[::-1] for pdi", "frozenset(pdi for pdi", "byte_order"),
    ("    if missing := connected - present:\n", "    if missing := frozenset():\n", "absent_or_of_another"),
    ("    if strangers := present - connected:\n", "    if strangers := frozenset():\n", "absent_or_of_another"),
    ('if gpu.report.opaque.mode == "ppcie"', "if True", "several_gpus_are_accepted"),
]
COMPOSITE = [
    ("    if not machine.devices:\n", "    if False:\n", "without_devices"),
    ("        yield from _binding_findings(machine)\n", "        pass\n", "without_a_binding_quote"),
    ("    if binding.report_data != wanted or", "    if", "of_another_machine_that_was_asked"),
    ("if binding.measurement != cpu.measurement or", "if", "of_another_image"),
    ("    if cpu.platform.identity is None or", "    if", "quote_of_another_machine"),
    ("or binding.platform.identity != cpu.platform.identity:", "or False:", "quote_of_another_machine"),
    ("    if binding.paravisor != cpu.paravisor:\n", "    if False:\n", "behind_the_same_paravisor"),
    ("bound = not common and all(part.accepted for part in parts.values())", "bound = not common", "refused_cpu_binds"),
    ("report_data=device_nonce(cpu.report_data)", "report_data=expected.report_data", "bound_gpu_is_accepted"),
    (
        'report_data=device_nonce(cpu.report_data).ljust(64, b"\\0")',
        "report_data=machine.reports[0].report_data",
        "answered_another_nonce",
    ),
    ("    yield from duplicates(machine.reports)\n", "", "device_twice"),
    ("+ (report.platform.digest(report.tee) or bytes(32))", "+ bytes(32)", "order_in_which"),
    ("BINDING_DOMAIN + report_data +", "BINDING_DOMAIN +", "binding_of_another_session"),
    ("findings=tuple(dict.fromkeys((*part.findings, *common)))", "findings=part.findings", "none_is_affirming"),
]
VERIFY = [
    ("        yield from beside(expected.devices, rules)\n", "        pass\n", "demands_a_gpu"),
    ("    elif not expected.bound:\n", "    elif False:\n", "no_cpu_commits_to"),
]
DOCUMENTS = [
    ("for raw in held(_answers_about(serial))]", "for raw in ()]", "reaches_the_device"),
    ("held(_manifests_of(version)) if _is_manifest(raw)]", "held(_manifests_of(version))]", "altered_in_the_store"),
    ("_serials((*chain, *signers))", "_serials(chain)", "evidence_names_however_large"),
    (
        "_with_issuers(load_der(evidence.certificates), certificates)",
        "load_der(evidence.certificates) or certificates",
        "leaves_its_revoked_certificate_to_the_store",
    ),
]
TABLE = {
    "nvidia/documents": DOCUMENTS,
    "nvidia/report": REPORT,
    "nvidia/opaque": OPAQUE,
    "nvidia/certificates": CERTIFICATES,
    "nvidia/leaf": LEAF,
    "nvidia/ocsp": OCSP,
    "nvidia/rim": RIM,
    "nvidia/xmldsig": XMLDSIG,
    "nvidia/authenticate": AUTHENTICATE,
    "nvidia/findings": FINDINGS,
    "nvidia/topology": TOPOLOGY,
    "policy/composite": COMPOSITE,
    "policy/verify": VERIFY,
}
TESTS = tuple(f"tests/attestation/test_{name}.py" for name in ("nvidia_refusals", "nvidia_store", "composite"))
