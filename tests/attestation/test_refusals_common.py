"""Refusals 1 to 13: what holds for evidence of every TEE."""

from __future__ import annotations

import base64
import json
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.hmac import HMAC
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from sealmarket.attestation.collateral.trust_anchors import TrustAnchors
from sealmarket.attestation.core.errors import AttestationError, EvidenceRefused, NotEvidence
from sealmarket.attestation.core.evidence import Evidence
from sealmarket.attestation.core.reasons import Reason
from sealmarket.attestation.intel.quote import read_quote
from sealmarket.attestation.parse import parse
from sealmarket.attestation.policy.ear import EarRefused, read_ear, sign_ear
from sealmarket.attestation.policy.rules import AppraisalPolicy, Custody, PlatformRule
from sealmarket.attestation.policy.verify import (
    UNCHECKED,
    Expected,
    appraise,
    authenticate,
    duplicates,
    inspect,
    verify,
)
from sealmarket_enclave.protocol.numbers import Grade, Tee
from tests.attestation.support import ANYTHING, NOW, endorse, forge_roots, forged, report_of
from tests.forge.intel import IntelForge
from tests.vectors import first, manifest, vector

JOB = b"\x0b" * 32 + bytes(32)


@pytest.fixture(scope="module")
def forge() -> IntelForge:
    return IntelForge(NOW)


def rules_for(forge: IntelForge, quote: bytes, **changes: object) -> AppraisalPolicy:
    measurement = report_of(forge, quote).measurement
    fields: dict[str, object] = {
        "measurements": (measurement,),
        "platforms": "any",
        "lowest_grade": "simulated",
    }
    return AppraisalPolicy(**{**fields, **changes})  # type: ignore[arg-type]


# 1 to 4: report data.


def test_1_other_report_data_is_refused(forge: IntelForge) -> None:
    quote = forge.tdx_quote(forge.td_report(report_data=b"\x0c" * 32 + bytes(32)))

    assert forged(forge, quote, expected=Expected(report_data=JOB)).reasons == (Reason.REPORT_DATA_MISMATCH,)


def test_2_the_right_hash_with_other_padding_is_refused(forge: IntelForge) -> None:
    quote = forge.tdx_quote(forge.td_report(report_data=b"\x0b" * 32 + bytes(31) + b"\x01"))

    assert forged(forge, quote, expected=Expected(report_data=JOB)).reasons == (Reason.REPORT_DATA_MISMATCH,)


@pytest.mark.parametrize("size", [0, 1, 20, 32, 63, 65])
def test_3_report_data_is_never_compared_by_a_prefix(size: int) -> None:
    with pytest.raises(ValueError, match="64 bytes"):
        Expected(report_data=(JOB + bytes(64))[:size])


@pytest.mark.parametrize("bit", [0, 7, 255, 256, 511])
def test_3_each_bit_of_report_data_counts(forge: IntelForge, bit: int) -> None:
    flipped = (int.from_bytes(JOB) ^ 1 << bit).to_bytes(64)
    quote = forge.tdx_quote(forge.td_report(report_data=flipped))

    assert forged(forge, quote, expected=Expected(report_data=JOB)).reasons == (Reason.REPORT_DATA_MISMATCH,)


def test_4_evidence_of_another_job_is_refused_and_a_replay_keeps_its_name(forge: IntelForge) -> None:
    report = forge.td_report(report_data=JOB)
    first, again = forge.tdx_quote(report), forge.tdx_quote(report)

    other_job = Expected(report_data=b"\x0d" * 32 + bytes(32))
    assert forged(forge, first, expected=other_job).reasons == (Reason.REPORT_DATA_MISMATCH,)
    assert report_of(forge, first).evidence_digest == report_of(forge, again).evidence_digest


# 5: age.


def test_5_evidence_older_than_the_policy_allows_is_refused(forge: IntelForge) -> None:
    quote = forge.tdx_quote()
    rules = rules_for(forge, quote, maximum_age_seconds=600)

    def reasons(age: timedelta) -> tuple[Reason, ...]:
        expected = Expected(report_data=UNCHECKED, collected_at=NOW - age)
        return forged(forge, quote, expected=expected, rules=rules).reasons

    assert reasons(timedelta(seconds=601)) == (Reason.EVIDENCE_STALE,)
    assert reasons(timedelta(seconds=-120)) == (Reason.EVIDENCE_STALE,)
    assert reasons(timedelta(seconds=600)) == ()


def test_5_evidence_of_unknown_age_is_refused(forge: IntelForge) -> None:
    quote = forge.tdx_quote()

    assert forged(forge, quote, rules=rules_for(forge, quote)).reasons == (Reason.EVIDENCE_AGE_UNKNOWN,)


# 6: one spelling.


@pytest.mark.parametrize("tail", [b"\x01", b"\x00\x00\x01", bytes(69) + b"\xff", b"-----BEGIN"])
def test_6_bytes_behind_a_quote_are_refused(forge: IntelForge, tail: bytes) -> None:
    assert forged(forge, forge.tdx_quote(tail=tail)).reasons == (Reason.TRAILING_BYTES,)


def test_6_zeros_behind_a_quote_are_refused_unless_a_platforms_buffer_ends_there(forge: IntelForge) -> None:
    quote = forge.tdx_quote()
    in_buffer = quote.ljust(8000, b"\0")

    for padded in (quote.ljust(8001, b"\0"), quote.ljust(7999, b"\0"), quote + bytes(1000)):
        assert forged(forge, padded).reasons == (Reason.ZERO_PADDING,)
    assert forged(forge, in_buffer).accepted
    assert report_of(forge, in_buffer).evidence_digest == report_of(forge, quote).evidence_digest


def test_6_a_quote_from_an_8000_byte_buffer_has_the_same_name_without_it() -> None:
    raw = vector("tdx/go-tdx-guest-cos-113-tdx-quote.bin")
    entry = first(e for e in manifest() if e["file"] == "tdx/go-tdx-guest-cos-113-tdx-quote.bin")
    check = entry["verifications"][0]
    now = datetime.fromtimestamp(check["pinned_time"], UTC)
    endorsements = endorse(vector(check["collateral"]))
    quote = read_quote(raw)

    def name(data: bytes) -> bytes:
        return authenticate(parse(data), endorsements, TrustAnchors.production(), now).evidence_digest

    assert len(raw) == 8000
    assert quote.length < 8000
    assert name(raw) == name(raw[: quote.length])
    stuffed = raw[:-1] + b"\x01"
    assert verify(parse(stuffed), endorsements, TrustAnchors.production(), now, ANYTHING).reasons == (
        Reason.TRAILING_BYTES,
    )
    longer = raw + b"\0"
    assert verify(parse(longer), endorsements, TrustAnchors.production(), now, ANYTHING).reasons == (
        Reason.ZERO_PADDING,
    )


@pytest.mark.parametrize("which", [{"quote"}, {"qe"}, {"quote", "qe"}])
def test_6_the_other_form_of_a_signature_gives_the_evidence_no_second_name(forge: IntelForge, which: set[str]) -> None:
    report = forge.td_report(report_data=JOB)
    quote, other = forge.tdx_quote(report), forge.tdx_quote(report, n_minus_s=frozenset(which))

    assert quote != other
    assert report_of(forge, quote).evidence_digest == report_of(forge, other).evidence_digest


@pytest.mark.parametrize("wrong", [bytes(64), b"\xff" * 64])
def test_6_a_signature_out_of_range_is_refused(forge: IntelForge, wrong: bytes) -> None:
    quote = bytearray(forge.tdx_quote())
    quote[636:700] = wrong

    assert forged(forge, bytes(quote)).reasons == (Reason.SIGNATURE_INVALID,)


# 7: truncation.


@pytest.mark.parametrize("kind", ["sgx", "tdx4", "tdx5"])
def test_7_a_quote_cut_anywhere_is_refused(forge: IntelForge, kind: str) -> None:
    quote = {
        "sgx": forge.sgx_quote(),
        "tdx4": forge.tdx_quote(),
        "tdx5": forge.tdx_quote(forge.td_report_15(), version=5),
    }[kind]
    boundaries = {*range(1300), *range(1300, len(quote), 37), len(quote) - 1}

    for size in boundaries:
        try:
            evidence = parse(quote[:size])
        except NotEvidence:
            assert size < 48
            continue
        with pytest.raises(EvidenceRefused) as refusal:
            read_quote(evidence.raw)
        assert refusal.value.finding.reason in (Reason.TRUNCATED, Reason.MALFORMED)


# 8 and 9: roots and TEEs.


def test_8_evidence_under_a_development_root_is_refused_in_production(forge: IntelForge) -> None:
    quote, collateral = forge.tdx_quote(), endorse(forge.collateral())

    result = verify(parse(quote), collateral, TrustAnchors.production(), NOW, ANYTHING)

    assert result.reasons == (Reason.UNTRUSTED_ROOT,)
    assert result.grade is None


def test_8_simulated_evidence_is_refused_by_rules_that_do_not_name_it(forge: IntelForge) -> None:
    quote = forge.tdx_quote(forge.td_report(report_data=JOB))
    rules = rules_for(forge, quote, lowest_grade="hardware")

    result = forged(forge, quote, rules=rules, expected=Expected(report_data=JOB))

    assert result.reasons == (Reason.GRADE_TOO_LOW,)
    assert any("SIMULATED" in note for note in result.notes)
    assert inspect(report_of(forge, quote), NOW, ANYTHING).reasons == (Reason.GRADE_TOO_LOW,)


def test_8_a_cached_proof_does_not_outlive_the_trust_in_its_root(forge: IntelForge) -> None:
    quote, collateral = forge.tdx_quote(), endorse(forge.collateral())

    assert verify(parse(quote), collateral, forge_roots(forge), NOW, ANYTHING).accepted
    assert verify(parse(quote), collateral, TrustAnchors.production(), NOW, ANYTHING).reasons == (
        Reason.UNTRUSTED_ROOT,
    )


def test_8_a_vendors_root_cannot_be_named_a_development_root() -> None:
    collateral = json.loads(vector("tdx/dcap-qvl-tdx_quote_collateral.json"))
    root = endorse(json.dumps(collateral)).collateral
    assert root is not None

    der = root.certificates()[-1].public_bytes(Encoding.DER)
    with pytest.raises(AttestationError, match="cannot also be a development root"):
        TrustAnchors.production().with_development(der)


def test_9_another_tee_than_promised_is_refused(forge: IntelForge) -> None:
    expected = Expected(report_data=UNCHECKED, tee=Tee.SNP)

    assert forged(forge, forge.tdx_quote(), expected=expected).reasons == (Reason.TEE_MISMATCH,)
    with pytest.raises(NotEvidence, match="expected sgx"):
        parse(forge.tdx_quote(), Tee.SGX)


# 10 and 11: machines.


def test_10_a_machine_that_is_not_named_is_refused(forge: IntelForge) -> None:
    quote = forge.tdx_quote(forge.td_report(report_data=JOB))
    digest = report_of(forge, quote).platform.digest(Tee.TDX)
    assert digest is not None
    stranger = PlatformRule(tee="tdx", digest=type(digest)(b"\x01" * 32))
    expected = Expected(report_data=JOB)

    def reasons(*platforms: PlatformRule, custody: Custody = Custody.UNKNOWN) -> tuple[Reason, ...]:
        rules = rules_for(forge, quote, platforms=platforms, lowest_custody=custody)
        return forged(forge, quote, expected=expected, rules=rules).reasons

    named = PlatformRule(tee="tdx", digest=digest, custody=Custody.TENANT)
    assert reasons(stranger) == (Reason.PLATFORM_NOT_ALLOWED,)
    assert reasons(PlatformRule(tee="snp", digest=digest)) == (Reason.PLATFORM_NOT_ALLOWED,)
    assert reasons(named, custody=Custody.AUDITED) == (Reason.CUSTODY_TOO_LOW,)
    assert reasons(stranger, named, custody=Custody.TENANT) == ()


def test_11_a_machine_is_counted_once(forge: IntelForge) -> None:
    report = report_of(forge, forge.tdx_quote())
    again = report_of(forge, forge.tdx_quote(forge.td_report(report_data=JOB)))
    other_forge = IntelForge(NOW, extension={"ppid": b"\x42" * 16})
    other = report_of(other_forge, other_forge.tdx_quote())

    assert [f.reason for f in duplicates([report, again, other])] == [Reason.PLATFORM_DUPLICATE]
    assert duplicates([report, other]) == ()


def test_11_two_pieces_of_genuine_evidence_from_one_machine_are_told() -> None:
    entry = first(e for e in manifest() if e["file"] == "tdx/trustee-az-td-quote.bin")
    names = ("tdx/trustee-az-td-quote.bin", "tdx/trustee-az-tdx-vtpm-evidence-v0.json")
    pieces = [parse(vector(name)) for name in names]
    check = entry["verifications"][0]
    now = datetime.fromtimestamp(check["pinned_time"], UTC)
    reports = [authenticate(p, endorse(vector(check["collateral"])), TrustAnchors.production(), now) for p in pieces]

    same = reports[0].platform.identity == reports[1].platform.identity
    assert [f.reason for f in duplicates(reports)] == ([Reason.PLATFORM_DUPLICATE] if same else [])
    assert [f.reason for f in duplicates([reports[0], reports[0]])] == [Reason.PLATFORM_DUPLICATE]


# 12: tokens.


def _part(document: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(document).encode()).rstrip(b"=").decode()


@pytest.fixture(scope="module")
def key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


@pytest.fixture(scope="module")
def token(forge: IntelForge, key: ec.EllipticCurvePrivateKey) -> str:
    return sign_ear(forged(forge, forge.tdx_quote()), key, NOW, None)


def test_12_a_token_without_a_signature_is_refused(token: str, key: ec.EllipticCurvePrivateKey) -> None:
    _, claims, _ = token.split(".")

    for algorithm in ("none", "None", "", "ES384", "RS256"):
        with pytest.raises(EarRefused):
            read_ear(f"{_part({'alg': algorithm})}.{claims}.", key.public_key(), NOW)
    with pytest.raises(EarRefused, match="three parts"):
        read_ear(f"{_part({'alg': 'none'})}.{claims}", key.public_key(), NOW)


def test_12_the_public_key_as_a_shared_secret_is_refused(token: str, key: ec.EllipticCurvePrivateKey) -> None:
    signed = f"{_part({'alg': 'HS256'})}.{token.split('.')[1]}"
    mac = HMAC(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo), SHA256())
    mac.update(signed.encode())
    tag = base64.urlsafe_b64encode(mac.finalize()).rstrip(b"=").decode()

    with pytest.raises(EarRefused, match="alg ES256"):
        read_ear(f"{signed}.{tag}", key.public_key(), NOW)


@pytest.mark.parametrize("algorithm", ["none", "ES256K", "HS256"])
def test_12_another_algorithm_is_refused_even_under_the_right_signature(
    token: str, key: ec.EllipticCurvePrivateKey, algorithm: str
) -> None:
    signed = f"{_part({'alg': algorithm})}.{token.split('.')[1]}"
    r, s = decode_dss_signature(key.sign(signed.encode(), ec.ECDSA(SHA256())))
    signature = base64.urlsafe_b64encode(r.to_bytes(32) + s.to_bytes(32)).rstrip(b"=").decode()

    with pytest.raises(EarRefused, match="alg ES256"):
        read_ear(f"{signed}.{signature}", key.public_key(), NOW)


def test_12_a_key_from_the_header_is_refused(forge: IntelForge, key: ec.EllipticCurvePrivateKey) -> None:
    attacker = ec.generate_private_key(ec.SECP256R1())
    theirs = sign_ear(forged(forge, forge.tdx_quote()), attacker, NOW, None)

    with pytest.raises(EarRefused, match="not the verifier's"):
        read_ear(theirs, key.public_key(), NOW)
    for name in ("jwk", "jku", "x5c", "crit"):
        header = _part({"alg": "ES256", name: {}})
        with pytest.raises(EarRefused, match="no key"):
            read_ear(".".join([header, *theirs.split(".")[1:]]), key.public_key(), NOW)


def test_12_a_token_holds_for_five_minutes(token: str, key: ec.EllipticCurvePrivateKey) -> None:
    with pytest.raises(EarRefused, match="valid from"):
        read_ear(token, key.public_key(), NOW + timedelta(minutes=6))
    with pytest.raises(EarRefused, match="valid from"):
        read_ear(token, key.public_key(), NOW - timedelta(minutes=6))
    claims = read_ear(token, key.public_key(), NOW)
    assert claims["eat_profile"] == "tag:github.com,2023:veraison/ear"


# 13: the clock.


def test_13_a_clock_without_a_zone_is_refused(forge: IntelForge) -> None:
    naive = NOW.replace(tzinfo=None)

    assert forged(forge, forge.tdx_quote(), now=naive).reasons == (Reason.CLOCK_MISSING,)


# Beyond the list.


def test_a_report_cannot_be_made_or_copied_by_anybody_else(forge: IntelForge) -> None:
    report = report_of(forge, forge.tdx_quote())

    with pytest.raises((AttestationError, ValueError, TypeError)):
        replace(report, grade=Grade.HARDWARE)  # type: ignore[call-arg]


def test_a_measurement_that_differs_in_one_field_is_refused(forge: IntelForge) -> None:
    quote = forge.tdx_quote(forge.td_report(report_data=JOB))
    rules = rules_for(forge, quote)

    for changed in (
        {"rtmrs": (bytes(48),) * 3 + (b"\x01" * 48,)},
        {"mr_config_id": b"\x01" * 48},
        {"mr_owner": b"\x01" * 48},
    ):
        other = forge.tdx_quote(forge.td_report(report_data=JOB, **changed))
        result = forged(forge, other, rules=rules, expected=Expected(report_data=JOB))
        assert result.reasons == (Reason.MEASUREMENT_NOT_ALLOWED,)


def test_runtime_data_that_the_report_does_not_commit_to_is_refused(forge: IntelForge) -> None:
    evidence = Evidence(tee=Tee.TDX, raw=forge.tdx_quote(), runtime_data=b"{}")

    result = verify(evidence, endorse(forge.collateral()), forge_roots(forge), NOW, ANYTHING)

    assert result.reasons == (Reason.HCL_MISMATCH,)


def test_everything_that_is_wrong_is_named_at_once(forge: IntelForge) -> None:
    quote = forge.tdx_quote(forge.td_report(td_attributes=0b10001 | 1 << 29, report_data=JOB))
    good = forge.tdx_quote()
    rules = rules_for(forge, good, lowest_grade="hardware")

    result = forged(
        forge,
        quote,
        forge.collateral(status="OutOfDate", advisories=("INTEL-SA-00001",)),
        rules=rules,
        expected=Expected(report_data=bytes(64), tee=Tee.SGX),
    )

    assert set(result.reasons) == {
        Reason.TEE_MISMATCH,
        Reason.GRADE_TOO_LOW,
        Reason.DEBUG,
        Reason.REPORT_DATA_MISMATCH,
        Reason.MEASUREMENT_NOT_ALLOWED,
        Reason.TCB_STATUS_TOO_LOW,
        Reason.ADVISORY_NOT_ALLOWED,
        Reason.SEPT_VE_DISABLE,
        Reason.PROFILING,
        Reason.MIGRATABLE,
    }
    assert all(finding.remedy and finding.expected and finding.found for finding in result.findings)


def test_good_evidence_is_accepted(forge: IntelForge) -> None:
    quote = forge.tdx_quote(forge.td_report(report_data=JOB))
    rules = rules_for(forge, quote)
    report = report_of(forge, quote)

    result = appraise(report, rules, NOW, Expected(report_data=JOB, tee=Tee.TDX, collected_at=NOW))

    assert result.accepted
    assert result.grade is Grade.SIMULATED


def test_every_refusal_of_the_list_that_concerns_intel_or_any_tee_has_a_test_by_its_number() -> None:
    folder = Path(__file__).parent
    names = "".join((folder / f"test_refusals_{part}.py").read_text() for part in ("common", "intel"))
    held = {int(number) for number in re.findall(r"^def test_(\d+)_", names, re.MULTILINE)}

    assert held == set(range(1, 37))
