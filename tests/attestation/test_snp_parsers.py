"""Parsers of SEV-SNP evidence raise their typed refusal and nothing else, whatever they are given."""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime
from functools import cache

from hypothesis import example, given, settings
from hypothesis import strategies as st

from sealmarket.attestation.amd.authenticate import authenticate
from sealmarket.attestation.amd.report import REPORT_SIZE, SnpTcbVersion, read_report
from sealmarket.attestation.collateral.trust_anchors import TrustAnchors
from sealmarket.attestation.core.errors import CollateralError, EvidenceRefused
from sealmarket.attestation.core.evidence import Endorsements, Evidence
from sealmarket_devices.amd_format import AmdReport, TcbLevels
from sealmarket_enclave.protocol.numbers import Tee
from tests.forge.amd import AmdForge

NOW = datetime(2026, 3, 1, tzinfo=UTC)


@cache
def forge() -> AmdForge:
    return AmdForge(NOW)


@cache
def evidence() -> bytes:
    return forge().evidence()


@cache
def endorsements() -> Endorsements:
    return Endorsements.read(forge().endorsements())


@settings(deadline=None)
@given(st.binary(max_size=2 * REPORT_SIZE))
def test_any_bytes_are_a_report_or_refused(raw: bytes) -> None:
    with contextlib.suppress(EvidenceRefused):
        assert len(read_report(raw).signed) == 0x2A0


@settings(deadline=None)
@given(st.integers(0, REPORT_SIZE - 1), st.binary(min_size=1, max_size=16))
def test_a_report_changed_anywhere_is_never_authentic(offset: int, patch: bytes) -> None:
    original = evidence()
    raw = original[:offset] + patch + original[offset + len(patch) :]
    roots = TrustAnchors.production().with_development(forge().ark.der)
    try:
        authenticate(Evidence(tee=Tee.SNP, raw=raw), endorsements(), roots, NOW)
    except EvidenceRefused:
        return
    assert raw == original


@settings(deadline=None)
@example(733, b"\0")  # in the algorithm outside of what is signed
@given(st.integers(0, 1600), st.binary(min_size=1, max_size=8))
def test_a_vcek_changed_anywhere_is_never_trusted(offset: int, patch: bytes) -> None:
    der = forge().vcek.der
    changed = der[:offset] + patch + der[offset + len(patch) :]
    roots = TrustAnchors.production().with_development(forge().ark.der)
    try:
        given_ = Endorsements.read([changed, forge().ask.der, forge().ark.der])
        authenticate(Evidence(tee=Tee.SNP, raw=evidence()), given_, roots, NOW)
    except (EvidenceRefused, CollateralError):
        return
    assert changed[: len(der)] == der


@settings(deadline=None)
@given(st.lists(st.integers(0, 255), min_size=4, max_size=4), st.none() | st.integers(0, 255))
def test_tcb_versions_are_read_as_they_are_written(levels: list[int], fmc: int | None) -> None:
    bootloader, tee, snp, microcode = levels
    written = TcbLevels(bootloader=bootloader, tee=tee, snp=snp, microcode=microcode, fmc=fmc).pack()
    read = SnpTcbVersion.read(written, turin=fmc is not None)
    assert read == SnpTcbVersion(bootloader, tee, snp, microcode, fmc or 0)


@settings(deadline=None)
@given(st.integers(0, 3), st.binary(min_size=64, max_size=64), st.integers(0, 2**26 - 1))
def test_a_report_reads_as_it_was_written(vmpl: int, report_data: bytes, policy: int) -> None:
    written = AmdReport(vmpl=vmpl, report_data=report_data, policy=policy).pack()
    read = read_report(written + evidence()[0x2A0:])
    assert (read.vmpl, read.report_data, read.policy) == (vmpl, report_data, policy)
