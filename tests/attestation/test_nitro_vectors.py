"""Documents from AWS Nitro hardware give the result that their manifest expects; the whole manifest is covered."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from sealmarket.attestation.collateral.trust_anchors import TrustAnchors
from sealmarket.attestation.core.evidence import Endorsements
from sealmarket.attestation.core.model import AppraisalResult
from sealmarket.attestation.core.pki import spki_sha256
from sealmarket.attestation.core.reasons import Reason
from sealmarket.attestation.nitro.module import AWS_ROOT_SPKI
from sealmarket.attestation.parse import parse
from sealmarket.attestation.policy.rules import AppraisalPolicy
from sealmarket.attestation.policy.verify import UNCHECKED, Expected, verify
from sealmarket_enclave.protocol.numbers import Grade, Tee
from tests.forge.nitro import other_form
from tests.vectors import manifest, vector

ENTRIES = [entry for entry in manifest() if entry["tee"] == "nitro"]
PLAIN, DEBUG, ROOT = (
    "nitro/dstack-nitro-1.bin",
    "nitro/dstack-nitro-debug.bin",
    "nitro/dstack-AWS_NitroEnclaves_Root-G1.pem",
)
SIGNED = {
    PLAIN: datetime(2025, 12, 25, 16, 4, 20, tzinfo=UTC),
    DEBUG: datetime(2025, 12, 25, 8, 20, 47, tzinfo=UTC),
}
EXPECTED = {PLAIN: [], DEBUG: [Reason.DEBUG]}
ANYTHING = Expected(report_data=UNCHECKED)


def judge(
    file: str, raw: bytes | None = None, *, late: timedelta = timedelta(), rules: AppraisalPolicy | None = None
) -> AppraisalResult:
    evidence = parse(raw or vector(file), Tee.NITRO)
    return verify(evidence, Endorsements(), TrustAnchors.production(), SIGNED[file] + late, ANYTHING, rules)


@pytest.mark.parametrize("file", SIGNED)
@pytest.mark.parametrize("late", [timedelta(hours=3, seconds=1), timedelta(days=300)])
def test_a_genuine_document_is_refused_once_it_is_old(file: str, late: timedelta) -> None:
    result = judge(file, late=late)
    assert result.authentic
    assert list(result.reasons) == [*EXPECTED[file], Reason.EVIDENCE_STALE]


@pytest.mark.parametrize("share", range(0, 100, 7))
def test_a_genuine_document_changed_anywhere_is_refused(share: int) -> None:
    document = bytearray(parse(vector(PLAIN)).raw)
    document[8 + (len(document) - 8) * share // 100] ^= 1
    assert not judge(PLAIN, bytes(document)).authentic


def test_a_genuine_document_is_not_authentic_without_its_root() -> None:
    anchors = TrustAnchors({Tee.NITRO: frozenset({bytes(32)})})
    result = verify(parse(vector(PLAIN)), Endorsements(), anchors, SIGNED[PLAIN], ANYTHING)
    assert result.reasons == (Reason.UNTRUSTED_ROOT,)


def test_a_genuine_document_is_appraised_under_a_policy() -> None:
    report = judge(PLAIN).report
    assert report is not None
    rules = AppraisalPolicy(measurements=(report.measurement,), platforms="any")
    assert judge(PLAIN, rules=rules).accepted
    assert judge(PLAIN, rules=rules, late=timedelta(minutes=16)).reasons == (Reason.EVIDENCE_STALE,)
    assert judge(DEBUG, rules=rules).reasons == (Reason.DEBUG, Reason.MEASUREMENT_NOT_ALLOWED)


@pytest.mark.parametrize("entry", [pytest.param(e, id=e["file"]) for e in ENTRIES if e["role"] == "evidence"])
def test_a_genuine_document_gives_its_expected_verdict(entry: dict[str, Any]) -> None:
    result = judge(entry["file"])
    assert result.authentic
    assert result.grade is Grade.HARDWARE
    assert list(result.reasons) == EXPECTED[entry["file"]]


def test_a_genuine_document_has_one_name_in_all_its_forms() -> None:
    raw = parse(vector(PLAIN)).raw
    names = {
        report.evidence_digest for r in (raw, other_form(raw), b"\xd2" + raw) if (report := judge(PLAIN, r).report)
    }
    assert len(names) == 1


def test_the_pinned_root_is_the_one_of_the_folder() -> None:
    (root,) = Endorsements.read([vector(ROOT)]).certificates
    assert spki_sha256(root) == AWS_ROOT_SPKI


def test_every_entry_of_the_manifest_is_covered(capsys: pytest.CaptureFixture[str]) -> None:
    missing = {entry["file"] for entry in ENTRIES} - {*SIGNED, ROOT}
    with capsys.disabled():
        print(f"\nNitro vectors: {len(ENTRIES) - len(missing)} of {len(ENTRIES)} entries covered")
    assert not missing
