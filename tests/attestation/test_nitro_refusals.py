"""What a verifier of Nitro documents must refuse, one test for each rule. Genuine ones: ``test_nitro_vectors``."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from hashlib import sha512
from typing import Any

import cbor2
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509 import ExtendedKeyUsage, ObjectIdentifier, UnrecognizedExtension

from sealmarket.attestation.collateral.trust_anchors import TrustAnchors
from sealmarket.attestation.core.errors import EvidenceRefused, NotEvidence
from sealmarket.attestation.core.evidence import Endorsements, Evidence
from sealmarket.attestation.core.model import AuthenticReport
from sealmarket.attestation.core.reasons import Reason
from sealmarket.attestation.nitro import chain as nitro_chain
from sealmarket.attestation.nitro.authenticate import authenticate
from sealmarket.attestation.nitro.rules import NitroPcr, NitroRules
from sealmarket.attestation.parse import parse
from sealmarket.attestation.policy.explain import explain
from sealmarket.attestation.policy.rules import AppraisalPolicy, PlatformRule
from sealmarket.attestation.policy.verify import UNCHECKED, Expected, appraise, verify
from sealmarket.attestation.raw import parse_raw
from sealmarket_devices import pki
from sealmarket_devices.pki import Validity
from sealmarket_enclave.protocol.codec import Bytes48
from sealmarket_enclave.protocol.numbers import Grade, Tee
from tests.forge.nitro import IMAGE, NitroForge, endless, other_form, p384_key

NOW = datetime(2026, 3, 1, tzinfo=UTC)
REPORT_DATA = bytes(range(64))
EXPECTED = Expected(report_data=REPORT_DATA, tee=Tee.NITRO)


@pytest.fixture(scope="module")
def forge() -> NitroForge:
    return NitroForge(NOW)


@pytest.fixture(autouse=True)
def forget() -> None:
    """Each test proves its chain anew."""
    nitro_chain.forget()


def prove(forge: NitroForge, document: bytes, *, roots: TrustAnchors | None = None) -> AuthenticReport:
    trusted = roots or TrustAnchors.production().with_development(forge.root.der)
    return authenticate(Evidence(tee=Tee.NITRO, raw=document), Endorsements(), trusted, NOW)


def refusal(forge: NitroForge, document: bytes, **settings: Any) -> Reason:
    """The reason of the first step that failed."""
    with pytest.raises(EvidenceRefused) as caught:
        prove(forge, document, **settings)
    return caught.value.finding.reason


def rules_for(report: AuthenticReport, **settings: Any) -> AppraisalPolicy:
    """Rules that the report meets but for what a test changes."""
    nitro = NitroRules(**settings.pop("nitro", {}))
    common = {"platforms": "any", "lowest_grade": "simulated", **settings}
    return AppraisalPolicy(measurements=(report.measurement,), nitro=nitro, **common)


def findings(
    forge: NitroForge, document: bytes, *, now: datetime = NOW, expected: Expected = EXPECTED, **settings: Any
) -> list[Reason]:
    """Everything that the rules refuse about an authentic document."""
    report = prove(forge, document)
    return [f.reason for f in appraise(report, rules_for(report, **settings), now, expected).findings]


# What holds, so that each refusal below is due to its one change.


def test_the_forges_defaults_are_accepted(forge: NitroForge) -> None:
    assert findings(forge, forge.document()) == []
    report = prove(forge, forge.document())
    assert (report.grade, report.report_data, report.debug) == (Grade.SIMULATED, REPORT_DATA, False)
    assert report.platform.identity == b"i-0123456789abcdef0"
    assert report.signed_at == NOW


def test_a_document_with_its_tag_and_one_without_are_the_same_evidence(forge: NitroForge) -> None:
    payload = endless(forge.payload())
    tagged, plain = forge.sign(payload, tag=18), forge.sign(payload)
    assert prove(forge, tagged).evidence_digest == prove(forge, plain).evidence_digest
    assert parse(tagged).tee is parse_raw(Tee.NITRO, plain).tee is Tee.NITRO


def test_the_other_form_of_a_signature_has_the_same_name_in_a_replay_cache(forge: NitroForge) -> None:
    document = forge.document()
    assert other_form(document) != document
    assert prove(forge, other_form(document)).evidence_digest == prove(forge, document).evidence_digest


def test_a_payload_of_definite_length_is_read_as_well(forge: NitroForge) -> None:
    assert prove(forge, forge.sign(cbor2.dumps(forge.payload()))).report_data == REPORT_DATA


def test_nonce_and_public_key_are_shown_and_are_not_report_data(forge: NitroForge) -> None:
    report = prove(forge, forge.document(nonce=b"\x01" * 64, public_key=b"key", user_data=None))
    assert report.report_data == bytes(64)
    assert (report.claims()["nonce"], report.claims()["public_key"]) == ("01" * 64, b"key".hex())


# 6, 7: one spelling of the envelope.


@pytest.mark.parametrize("share", [1, 2, 3, 50, 99])
def test_a_document_cut_short_is_refused(forge: NitroForge, share: int) -> None:
    document = forge.document()
    assert refusal(forge, document[: len(document) * share // 100]) is Reason.TRUNCATED


@pytest.mark.parametrize("tail", [b"\0", b"\xf6", b"\xff" * 16])
def test_trailing_bytes_are_refused(forge: NitroForge, tail: bytes) -> None:
    assert refusal(forge, forge.document() + tail) is Reason.TRAILING_BYTES


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"\x84\x44\xa1\x01\x38\x22", b"\x84\x58\x04\xa1\x01\x38\x22"),
        (b"\x84\x44\xa1\x01\x38\x22", b"\x98\x04\x44\xa1\x01\x38\x22"),
        (b"\x58\x60", b"\x59\x00\x60"),
        (b"\x84\x44\xa1\x01\x38\x22\xa0", b"\x84\x44\xa1\x01\x38\x22\xbf\xff"),
    ],
)
def test_an_envelope_in_another_spelling_is_refused(forge: NitroForge, old: bytes, new: bytes) -> None:
    document = forge.document()
    at = document.rindex(old) if old == b"\x58\x60" else document.index(old)
    assert refusal(forge, document[:at] + new + document[at + len(old) :]) is Reason.NON_CANONICAL


def test_labels_outside_the_signature_are_refused(forge: NitroForge) -> None:
    document = forge.sign(endless(forge.payload()), unprotected={4: b"any"})
    assert refusal(forge, document) is Reason.NON_CANONICAL


def test_another_tag_than_that_of_cose_is_refused(forge: NitroForge) -> None:
    assert refusal(forge, forge.sign(endless(forge.payload()), tag=61)) is Reason.UNSUPPORTED_FORMAT


@pytest.mark.parametrize("item", [[b"", {}, b""], [b"", [], b"", b""], ["", {}, b"", b""], {1: 2}, b"bytes"])
def test_what_is_no_envelope_of_four_parts_is_refused(forge: NitroForge, item: object) -> None:
    assert refusal(forge, cbor2.dumps(item)) is Reason.MALFORMED


@pytest.mark.parametrize("header", [{1: -7}, {1: -36}, {}, {1: -35, 4: b"kid"}, {1: "ES384"}])
def test_another_algorithm_or_header_is_refused(forge: NitroForge, header: dict[int, Any]) -> None:
    assert refusal(forge, forge.sign(endless(forge.payload()), header=header)) is Reason.SIGNATURE_ALGORITHM


def test_a_document_of_more_bytes_than_any_is_refused(forge: NitroForge) -> None:
    assert refusal(forge, bytes((64 << 10) + 1)) is Reason.MALFORMED


# 62: duplicate keys, and the fields.


@pytest.mark.parametrize("name", ["user_data", "pcrs", "timestamp"])
def test_a_field_that_comes_twice_is_refused(forge: NitroForge, name: str) -> None:
    payload = forge.payload()
    twice = endless(payload)[:-1] + cbor2.dumps(name) + cbor2.dumps(payload[name]) + b"\xff"
    assert refusal(forge, forge.sign(twice)) is Reason.DUPLICATE_KEY


@pytest.mark.parametrize("name", ["module_id", "digest", "timestamp", "pcrs", "certificate", "cabundle"])
def test_a_field_that_is_missing_is_refused(forge: NitroForge, name: str) -> None:
    assert refusal(forge, forge.sign(endless(forge.payload(**{name: ...})))) is Reason.MALFORMED


@pytest.mark.parametrize("extra", [{"more": 1}, {7: 1}])
def test_a_field_that_is_unknown_is_refused(forge: NitroForge, extra: dict[Any, Any]) -> None:
    payload = forge.payload() | extra
    assert refusal(forge, forge.sign(endless(payload))) is Reason.UNSUPPORTED_FORMAT


@pytest.mark.parametrize("digest", ["SHA256", "sha384", b"SHA384", None])
def test_another_digest_is_refused(forge: NitroForge, digest: object) -> None:
    assert refusal(forge, forge.document(digest=digest)) is Reason.UNSUPPORTED_FORMAT


@pytest.mark.parametrize(
    "change",
    [
        {"module_id": ""},
        {"module_id": b"i-0"},
        {"module_id": "i" * 257},
        {"timestamp": 0},
        {"timestamp": -1},
        {"timestamp": "now"},
        {"timestamp": True},
        {"timestamp": 1 << 63},
        {"certificate": b""},
        {"certificate": bytes(1025)},
        {"certificate": "text"},
        {"cabundle": []},
        {"cabundle": [b"x"] * 9},
        {"cabundle": [b""]},
        {"cabundle": b"x"},
        {"user_data": bytes(513)},
        {"user_data": "text"},
        {"nonce": bytes(513)},
        {"public_key": bytes(1025)},
    ],
)
def test_a_field_of_another_kind_or_beyond_its_bound_is_refused(forge: NitroForge, change: dict[str, Any]) -> None:
    assert refusal(forge, forge.document(**change)) is Reason.MALFORMED


@pytest.mark.parametrize("missing", [0, 1, 2])
def test_a_document_without_one_of_its_first_registers_is_refused(forge: NitroForge, missing: int) -> None:
    pcrs = {i: value for i, value in forge.payload()["pcrs"].items() if i != missing}
    assert refusal(forge, forge.sign(endless(forge.payload(pcrs=pcrs)))) is Reason.MALFORMED


@pytest.mark.parametrize("pcrs", [{0: bytes(32)}, {0: bytes(49)}, {0: "text"}, {32: bytes(48)}, {-1: bytes(48)}])
def test_a_register_of_another_size_or_number_is_refused(forge: NitroForge, pcrs: dict[int, Any]) -> None:
    assert refusal(forge, forge.document(pcrs)) is Reason.MALFORMED


# 75: the chain.


def test_a_chain_under_another_root_is_refused(forge: NitroForge) -> None:
    assert refusal(forge, forge.document(), roots=TrustAnchors.production()) is Reason.UNTRUSTED_ROOT
    other = NitroForge(NOW, keys={"root": ec.generate_private_key(ec.SECP384R1())})
    mixed = [other.root.der, *other.cabundle]
    assert refusal(forge, forge.document(cabundle=mixed)) is Reason.UNTRUSTED_ROOT
    assert refusal(forge, forge.document(cabundle=[*forge.cabundle[1:], forge.root.der])) is Reason.UNTRUSTED_ROOT


def test_a_root_that_another_signed_is_refused(forge: NitroForge) -> None:
    forged = NitroForge(NOW, certificates={"root": {"signer": p384_key("stranger")}})
    assert refusal(forge, forged.document()) is Reason.CHAIN_INVALID


@pytest.mark.parametrize("role", ["region", "zone", "instance", "leaf"])
def test_a_certificate_that_its_issuer_did_not_sign_is_refused(forge: NitroForge, role: str) -> None:
    forged = NitroForge(NOW, certificates={role: {"signer": p384_key("stranger")}})
    assert refusal(forge, forged.document()) is Reason.CHAIN_INVALID


def test_a_chain_with_a_link_left_out_is_refused(forge: NitroForge) -> None:
    bundle = [*forge.cabundle[:2], *forge.cabundle[3:]]
    assert refusal(forge, forge.document(cabundle=bundle)) is Reason.CHAIN_INVALID


@pytest.mark.parametrize("role", ["region", "instance"])
def test_an_issuer_that_may_not_sign_certificates_is_refused(forge: NitroForge, role: str) -> None:
    forged = NitroForge(NOW, certificates={role: {"path_length": None}})
    assert refusal(forge, forged.document()) is Reason.CHAIN_INVALID


def test_an_authority_below_one_that_allows_none_is_refused(forge: NitroForge) -> None:
    forged = NitroForge(NOW, certificates={"zone": {"path_length": 0}})
    assert refusal(forge, forged.document()) is Reason.CHAIN_INVALID


def usage(*, signs_data: bool, signs_certificates: bool) -> x509.KeyUsage:
    rest = ("content_commitment", "key_encipherment", "data_encipherment", "key_agreement", "encipher_only")
    none = dict.fromkeys((*rest, "decipher_only"), False)
    return x509.KeyUsage(
        digital_signature=signs_data, key_cert_sign=signs_certificates, crl_sign=signs_certificates, **none
    )


def test_a_leaf_that_is_an_authority_is_refused(forge: NitroForge, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pki, "key_usage", lambda _: usage(signs_data=True, signs_certificates=True))
    forged = NitroForge(NOW, certificates={"leaf": {"path_length": 0}})
    assert refusal(forge, forged.document()) is Reason.SIGNER_PURPOSE


def test_a_leaf_that_may_not_sign_data_is_refused(forge: NitroForge, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pki, "key_usage", lambda issues: usage(signs_data=False, signs_certificates=issues))
    assert refusal(forge, NitroForge(NOW).document()) is Reason.SIGNER_PURPOSE


def test_an_instances_certificate_does_not_sign_documents(forge: NitroForge) -> None:
    key = forge.instance.key
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    payload = forge.payload(certificate=forge.instance.der, cabundle=forge.cabundle[:3])
    assert refusal(forge, forge.sign(endless(payload), key=key)) is Reason.SIGNER_PURPOSE


@pytest.mark.parametrize(
    "key",
    [
        lambda: ec.generate_private_key(ec.SECP256R1()),
        lambda: ec.generate_private_key(ec.SECP521R1()),
        lambda: rsa.generate_private_key(65537, 2048),
    ],
)
@pytest.mark.parametrize("role", ["zone", "leaf"])
def test_a_key_of_another_kind_in_the_chain_is_refused(forge: NitroForge, role: str, key: Any) -> None:
    forged = NitroForge(NOW, keys={role: key()})
    document = forge.sign(endless(forged.payload()))
    assert refusal(forge, document) is Reason.CHAIN_INVALID


def test_a_critical_extension_that_is_unknown_is_refused(forge: NitroForge, monkeypatch: pytest.MonkeyPatch) -> None:
    real = x509.CertificateBuilder.add_extension

    def critical(self: Any, extension: Any, critical: bool) -> Any:
        return real(self, extension, critical or isinstance(extension, UnrecognizedExtension | ExtendedKeyUsage))

    monkeypatch.setattr(x509.CertificateBuilder, "add_extension", critical)
    extra = (UnrecognizedExtension(ObjectIdentifier("1.2.3.4"), b"\x05\x00"),)
    forged = NitroForge(NOW, certificates={"leaf": {"extensions": extra}})
    assert refusal(forge, forged.document()) is Reason.CHAIN_INVALID


def test_a_certificate_that_cannot_be_read_is_refused(forge: NitroForge) -> None:
    assert refusal(forge, forge.document(certificate=b"\x30\x03abc")) is Reason.ENDORSEMENT_MALFORMED


@pytest.mark.parametrize("role", ["root", "region", "zone", "instance", "leaf"])
@pytest.mark.parametrize("days", [-2, 2])
def test_a_chain_that_is_not_valid_at_the_documents_time_is_refused(forge: NitroForge, role: str, days: int) -> None:
    start = NOW + timedelta(days=days)
    forged = NitroForge(NOW, validity={role: Validity(start=start, end=start + timedelta(days=1))})
    wanted = Reason.ENDORSEMENT_FUTURE if days > 0 else Reason.ENDORSEMENT_EXPIRED
    assert refusal(forge, forged.document()) is wanted


def test_a_chain_that_was_proven_once_is_judged_at_each_documents_time(forge: NitroForge) -> None:
    prove(forge, forge.document())
    later = int((NOW + timedelta(hours=4)).timestamp() * 1000)
    assert refusal(forge, forge.document(timestamp=later)) is Reason.ENDORSEMENT_EXPIRED


def test_a_chain_that_was_proven_once_is_not_trusted_under_other_roots(forge: NitroForge) -> None:
    prove(forge, forge.document())
    assert refusal(forge, forge.document(), roots=TrustAnchors.production()) is Reason.UNTRUSTED_ROOT


# The document's signature.


def test_a_document_that_another_key_signed_is_refused(forge: NitroForge) -> None:
    stranger = ec.generate_private_key(ec.SECP384R1())
    assert refusal(forge, forge.sign(endless(forge.payload()), key=stranger)) is Reason.SIGNATURE_INVALID


@pytest.mark.parametrize("length", [0, 95, 97, 192])
def test_a_signature_of_another_length_is_refused(forge: NitroForge, length: int) -> None:
    document = forge.sign(endless(forge.payload()), signature=bytes(length))
    assert refusal(forge, document) is Reason.NON_CANONICAL


def test_a_signature_of_zeros_is_refused(forge: NitroForge) -> None:
    assert refusal(forge, forge.sign(endless(forge.payload()), signature=bytes(96))) is Reason.SIGNATURE_INVALID


def test_a_payload_that_was_changed_is_refused(forge: NitroForge) -> None:
    document = forge.document()
    at = document.index(IMAGE[0])
    assert refusal(forge, document[:at] + b"\x99" + document[at + 1 :]) is Reason.SIGNATURE_INVALID


# 74, and what the policy refuses.


def test_an_enclave_in_debug_mode_is_refused(forge: NitroForge) -> None:
    document = forge.document({0: bytes(48), 1: bytes(48), 2: bytes(48)})
    assert findings(forge, document) == [Reason.DEBUG]


@pytest.mark.parametrize("index", [0, 1, 2, 8])
def test_another_image_is_refused(forge: NitroForge, index: int) -> None:
    rules = rules_for(prove(forge, forge.document()))
    other = prove(forge, forge.document({index: b"\x77" * 48}))
    assert appraise(other, rules, NOW, EXPECTED).reasons == (Reason.MEASUREMENT_NOT_ALLOWED,)


@pytest.mark.parametrize("data", [None, b"", REPORT_DATA[:63], REPORT_DATA + b"\0", bytes(512)])
def test_user_data_of_another_length_is_refused_unless_the_rules_allow_it(forge: NitroForge, data: Any) -> None:
    document = forge.document(user_data=data)
    anything = replace(EXPECTED, report_data=prove(forge, document).report_data)
    assert findings(forge, document, expected=anything) == [Reason.NITRO_USER_DATA]
    assert findings(forge, document, expected=anything, nitro={"user_data": "any"}) == []


@pytest.mark.parametrize("data", [REPORT_DATA[:63], REPORT_DATA + b"\0", bytes(64), REPORT_DATA[:63] + b"\0"])
def test_report_data_is_compared_to_its_last_byte(forge: NitroForge, data: bytes) -> None:
    reasons = findings(forge, forge.document(user_data=data), nitro={"user_data": "any"})
    assert reasons == [Reason.REPORT_DATA_MISMATCH]


def test_longer_user_data_has_the_name_of_its_hash(forge: NitroForge) -> None:
    assert prove(forge, forge.document(user_data=bytes(65))).report_data == sha512(bytes(65)).digest()


@pytest.mark.parametrize("seconds", [901, 3600, 30 * 86400])
def test_a_document_older_than_the_policy_allows_is_refused_although_its_report_data_matches(
    forge: NitroForge, seconds: int
) -> None:
    now = NOW + timedelta(seconds=seconds)
    assert findings(forge, forge.document(), now=now) == [Reason.EVIDENCE_STALE]


def test_a_document_from_the_future_is_refused(forge: NitroForge) -> None:
    now = NOW - timedelta(seconds=61)
    assert findings(forge, forge.document(), now=now) == [Reason.EVIDENCE_STALE]


def test_without_a_policy_a_document_is_at_most_three_hours_old(forge: NitroForge) -> None:
    roots = TrustAnchors.production().with_development(forge.root.der)
    evidence = parse(forge.document())
    for seconds, reasons in ((10800, ()), (10801, (Reason.EVIDENCE_STALE,))):
        now = NOW + timedelta(seconds=seconds)
        unchecked = Expected(report_data=UNCHECKED)
        assert verify(evidence, Endorsements(), roots, now, unchecked).reasons == reasons


@pytest.mark.parametrize("index", [3, 4, 16])
def test_a_register_that_the_rules_name_holds_a_value_that_they_name(forge: NitroForge, index: int) -> None:
    value = Bytes48(b"\x66" * 48)
    named = {"pcrs": (NitroPcr(index=index, value=value), NitroPcr(index=index, value=Bytes48(bytes(range(48)))))}
    assert findings(forge, forge.document(), nitro=named) == [Reason.NITRO_PCR]
    assert findings(forge, forge.document({index: value}), nitro=named) == []


@pytest.mark.parametrize("index", [5, 7, 9, 15, 16, 31])
def test_a_register_that_nobody_named_is_zero_unless_the_rules_allow_any(forge: NitroForge, index: int) -> None:
    document = forge.document({index: b"\x66" * 48})
    assert findings(forge, document) == [Reason.NITRO_PCR]
    assert findings(forge, document, nitro={"further_pcrs": "any"}) == []


def test_an_instance_that_the_policy_does_not_name_is_refused(forge: NitroForge) -> None:
    report = prove(forge, forge.document())
    digest = report.platform.digest(Tee.NITRO)
    assert digest is not None
    here = (PlatformRule(tee="nitro", digest=digest),)
    assert findings(forge, forge.document(), platforms=here) == []
    other = forge.document(module_id="i-0fedcba9876543210-enc0123456789abcdef")
    assert findings(forge, other, platforms=here) == [Reason.PLATFORM_NOT_ALLOWED]


@pytest.mark.parametrize("module_id", ["i-0123456789abcdef0", "enc0123", "x-1-enc2"])
def test_a_module_id_that_names_no_instance_leaves_the_platform_without_identity(
    forge: NitroForge, module_id: str
) -> None:
    report = prove(forge, forge.document(module_id=module_id))
    assert report.platform.identity is None


def test_the_rules_are_told_in_sentences(forge: NitroForge) -> None:
    report = prove(forge, forge.document())
    told = " ".join(explain(rules_for(report)))
    assert "exactly the 64 bytes" in told
    assert "ANY parent instance" in told
    pcr = NitroPcr(index=4, value=Bytes48(b"\x44" * 48))
    loose = {"user_data": "any", "further_pcrs": "any", "pcrs": (pcr,)}
    told = " ".join(explain(rules_for(report, nitro=loose)))
    assert "ANY user data" in told
    assert "ANY value" in told
    assert "PCR4 may be 4444" in told
    assert "ANY parent" not in told


# Agents' files.


def dstack(document: bytes, tail: bytes = b"\0" + bytes(64) + b"\x08{}") -> bytes:
    return b"\0\x02" + (len(document) << 2 | 1).to_bytes(2, "little") + document + tail


def test_a_dstack_file_holds_the_document_at_its_fourth_byte(forge: NitroForge) -> None:
    events = b"\x04\x18app-id\x08ab" + bytes(64) + b"\x08{}"
    for file in (dstack(forge.document()), dstack(forge.document(), events)):
        evidence = parse(file)
        assert (evidence.source, evidence.raw) == ("dstack", file[4 : 4 + len(evidence.raw)])
        assert prove(forge, evidence.raw).report_data == REPORT_DATA


@pytest.mark.parametrize(
    "tail",
    [
        b"",
        b"\0" + bytes(63),
        b"\0" + bytes(64) + b"\x08{}x",
        b"\0" + bytes(64) + b"\x08{",
        b"\x04\x18app" + bytes(10),
        b"\x03",
        b"\xfe\xff\xff\xff",
    ],
)
def test_a_dstack_file_that_is_not_whole_is_refused_by_name(forge: NitroForge, tail: bytes) -> None:
    with pytest.raises(NotEvidence, match="a dstack file"):
        parse(dstack(forge.document(), tail))


@pytest.mark.parametrize("front", [b"\0\x01", b"\x01\x02", b"\0\x02\x07", b"\0\x02\x03\0\0\0"])
def test_a_file_that_only_looks_like_dstacks_is_no_evidence(forge: NitroForge, front: bytes) -> None:
    with pytest.raises(NotEvidence, match="not evidence of any supported TEE"):
        parse(front + dstack(forge.document())[2:])
    with pytest.raises(EvidenceRefused, match="unsupported_format"):
        parse_raw(Tee.NITRO, dstack(forge.document()))
