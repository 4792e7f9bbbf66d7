"""Each TEE is reached through one table: a TEE without a row is refused, and a row is all that a new one needs."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from typing import get_args

import pytest

from sealmarket.attestation import registry
from sealmarket.attestation.collateral.fetch import Fetcher
from sealmarket.attestation.collateral.store import CollateralStore
from sealmarket.attestation.collateral.trust_anchors import TrustAnchors
from sealmarket.attestation.core.errors import CollateralError, EvidenceRefused, NotEvidence
from sealmarket.attestation.core.evidence import Endorsements, Evidence
from sealmarket.attestation.core.reasons import Reason
from sealmarket.attestation.parse import parse
from sealmarket.attestation.policy.explain import explain
from sealmarket.attestation.policy.rules import AppraisalPolicy, GradeSlug, TeeSlug
from sealmarket.attestation.policy.verify import UNCHECKED, Expected, unverified_claims, verify
from sealmarket.attestation.raw import parse_endorsements
from sealmarket_enclave.protocol.codec import Bytes32
from sealmarket_enclave.protocol.numbers import Grade, Tee
from tests.attestation.toy import ToyMeasurement, ToyModule, toy_report, vendor_root
from tests.forge.cca import CcaForge
from tests.forge.intel import IntelForge
from tests.forge.nitro import NitroForge
from tests.forge.nvidia import NvidiaForge

NOW = datetime(2026, 1, 1, tzinfo=UTC)
IMAGE, NONCE = b"\x07" * 32, b"\x01" * 64
EXPECTED = Expected(report_data=NONCE, tee=Tee.CCA)
ENDORSEMENTS = Endorsements(certificates=(vendor_root(),))
POLICY = AppraisalPolicy(measurements=(ToyMeasurement(image=Bytes32(IMAGE)),), platforms="any")
ATTESTATION = Path(registry.__file__).parent


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch) -> None:
    """One row more in the table."""
    row = {Tee.CCA: ToyModule()}
    monkeypatch.setattr(registry, "MODULES", MappingProxyType({**registry.MODULES, **row}))


@pytest.mark.parametrize("tee", list(Tee))
def test_a_tee_without_a_row_is_refused_and_never_read_as_another(
    tee: Tee, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = {known: module for known, module in registry.MODULES.items() if known is not tee}
    monkeypatch.setattr(registry, "MODULES", rows)
    evidence = Evidence(tee=tee, raw=IntelForge(NOW).tdx_quote())

    result = verify(evidence, Endorsements(), TrustAnchors.production(), NOW, Expected(report_data=UNCHECKED))

    assert result.reasons == (Reason.TEE_UNSUPPORTED,)
    known = ", ".join(name for name in ("sgx", "tdx", "snp", "cca", "nitro", "nvidia") if name != tee.slug)
    assert (result.findings[0].expected, result.findings[0].found) == (f"evidence of {known}", tee.slug)
    calls = (
        lambda: unverified_claims(evidence),
        lambda: parse_endorsements(tee, "{}"),
        lambda: parse_endorsements(tee, ""),
        lambda: CollateralStore(tmp_path).endorsements_for(evidence, NOW),
        lambda: Fetcher().endorsements(evidence),
    )
    for call in calls:
        with pytest.raises(EvidenceRefused, match="tee_unsupported"):
            call()


def test_bytes_that_no_row_recognises_are_no_evidence() -> None:
    with pytest.raises(NotEvidence, match="not evidence of any supported TEE"):
        parse(toy_report(IMAGE, NONCE))


@pytest.mark.usefixtures("toy")
def test_bytes_that_two_rows_recognise_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ToyModule, "recognises", lambda _, data: True)

    with pytest.raises(NotEvidence, match="like tdx and cca"):
        parse(IntelForge(NOW).tdx_quote())


@pytest.mark.usefixtures("toy")
def test_a_new_row_is_held_to_every_common_rule() -> None:
    zeros, report = toy_report(bytes(32), NONCE), toy_report(IMAGE, NONCE)
    anchors = TrustAnchors.production()

    def reasons(raw: bytes, endorsements: Endorsements = ENDORSEMENTS, expected: Expected = EXPECTED) -> object:
        return verify(parse(raw), endorsements, anchors, NOW, expected, POLICY).reasons

    assert reasons(report[:-1] + b"\0") == (Reason.SIGNATURE_INVALID,)
    assert reasons(report + b"\0") == (Reason.MALFORMED,)
    assert reasons(report, Endorsements()) == (Reason.ENDORSEMENT_MISSING,)
    assert reasons(report, expected=replace(EXPECTED, tee=Tee.SNP)) == (Reason.TEE_MISMATCH,)
    assert reasons(report, expected=replace(EXPECTED, report_data=bytes(64))) == (Reason.REPORT_DATA_MISMATCH,)
    assert reasons(zeros) == (Reason.MEASUREMENT_NOT_ALLOWED, Reason.PLATFORM_CONFIGURATION)


@pytest.mark.usefixtures("toy")
def test_a_new_row_is_verified_through_the_public_interface() -> None:
    evidence = parse(toy_report(IMAGE, NONCE).hex().encode())

    result = verify(evidence, ENDORSEMENTS, TrustAnchors.production(), NOW, EXPECTED, POLICY)

    assert (evidence.tee, evidence.source) == (Tee.CCA, "hex")
    assert result.accepted
    assert result.as_json()["tee"] == "cca"
    assert result.grade is Grade.HARDWARE
    unpoliced = verify(evidence, ENDORSEMENTS, TrustAnchors.production(), NOW, EXPECTED)
    assert unpoliced.accepted
    assert "measurement unchecked" in unpoliced.notes
    assert unverified_claims(evidence) == {"image": IMAGE.hex()}
    assert "A toy must have an image." in list(explain(POLICY))


@pytest.mark.usefixtures("toy")
def test_a_new_row_reads_certificates_and_has_no_server_unless_it_says_so(tmp_path: Path) -> None:
    from cryptography.hazmat.primitives.serialization import Encoding

    evidence, store = parse(toy_report(IMAGE, NONCE)), CollateralStore(tmp_path)
    pem = vendor_root().public_bytes(Encoding.PEM).decode()

    with Fetcher() as fetcher, pytest.raises(CollateralError, match="no server answers for cca evidence"):
        fetcher.endorsements(evidence)
    assert parse_endorsements(Tee.CCA, pem) == ENDORSEMENTS
    store.put_all(ENDORSEMENTS, Tee.CCA)
    assert store.endorsements_for(evidence, NOW) == ENDORSEMENTS


def test_each_row_serves_its_own_tee_and_recognises_its_own_evidence_only() -> None:
    forge = IntelForge(NOW)
    snp = (3).to_bytes(4, "little").ljust(0x34, b"\0") + (1).to_bytes(4, "little").ljust(0x46C, b"\0")
    evidence = {
        Tee.SGX: forge.sgx_quote(),
        Tee.TDX: forge.tdx_quote(),
        Tee.SNP: snp,
        Tee.CCA: CcaForge().token(),
        Tee.NITRO: NitroForge(NOW).document(),
        Tee.NVIDIA: NvidiaForge(NOW).gpu().report(),
    }

    assert {tee: module.tee for tee, module in registry.MODULES.items()} == {tee: tee for tee in registry.MODULES}
    assert set(evidence) == set(registry.MODULES)
    for tee, raw in evidence.items():
        assert registry.recognise(raw) is tee
    for tee, module in registry.MODULES.items():
        assert module.measurement.__struct_config__.tag == tee.slug
        assert not module.section or module.section in AppraisalPolicy.__struct_fields__


def test_a_verifier_of_a_cpu_loads_no_reader_of_manifests() -> None:
    program = (
        "import sys\n"
        "from sealmarket.attestation.policy.verify import beside\n"
        "assert not list(beside((), None)), 'a CPU alone is refused'\n"
        "print(sum(name.partition('.')[0] in ('lxml', 'signxml') for name in sys.modules))\n"
    )
    done = subprocess.run([sys.executable, "-P", "-c", program], capture_output=True, text=True, check=True)

    assert done.stdout == "0\n"


def test_documents_spell_the_numbers_on_chain_by_their_slugs() -> None:
    assert get_args(TeeSlug) == tuple(tee.slug for tee in Tee)
    assert get_args(GradeSlug) == tuple(grade.slug for grade in Grade)
    for text in ("TDX", "tdx ", "", "2"):
        with pytest.raises(ValueError, match="is none of"):
            Tee.from_slug(text)


def test_nothing_outside_the_vendors_packages_branches_on_a_tee() -> None:
    branch = re.compile(r"\b(if|elif|while|assert)\b.*\bTee\.[A-Z]|\btee (is|in|==|!=) .*Tee\.[A-Z]")
    for path in ATTESTATION.rglob("*.py"):
        if path.relative_to(ATTESTATION).parts[0] not in ("intel", "amd", "arm", "nitro", "nvidia"):
            assert not branch.search(path.read_text(encoding="utf-8")), path


@pytest.mark.parametrize(
    ("tee", "other"),
    [
        (Tee.SNP, "intel"),
        (Tee.TDX, "amd"),
        (Tee.NITRO, "amd"),
        (Tee.CCA, "nitro"),
        (Tee.SNP, "arm"),
        (Tee.NVIDIA, "intel"),
        (Tee.TDX, "nvidia"),
    ],
)
def test_a_verifier_of_one_tee_loads_no_other_vendors_verification(tee: Tee, other: str) -> None:
    program = (
        "import sys\n"
        "from datetime import UTC, datetime\n"
        "from sealmarket.attestation.collateral.trust_anchors import TrustAnchors\n"
        "from sealmarket.attestation.core.evidence import Endorsements, Evidence\n"
        "from sealmarket.attestation.policy.verify import UNCHECKED, Expected, verify\n"
        "from sealmarket_enclave.protocol.numbers import Tee\n"
        f"evidence = Evidence(tee=Tee({int(tee)}), raw=b'')\n"
        "result = verify(evidence, Endorsements(), TrustAnchors.production(), datetime.now(UTC),"
        " Expected(report_data=UNCHECKED))\n"
        "assert result.reasons, 'nothing was verified'\n"
        f"print(sum(name.startswith('sealmarket.attestation.{other}.') and name.endswith('.authenticate')"
        " for name in sys.modules))\n"
    )
    done = subprocess.run([sys.executable, "-P", "-c", program], capture_output=True, text=True, check=True)

    assert done.stdout == "0\n"
