"""Whatever bytes arrive, parsers of NVIDIA's formats read or refuse them, and no changed report passes."""

from __future__ import annotations

import json
from contextlib import suppress
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sealmarket.attestation.collateral.trust_anchors import TrustAnchors
from sealmarket.attestation.composite import parse_any
from sealmarket.attestation.core.errors import CollateralError, EvidenceRefused, NotEvidence
from sealmarket.attestation.core.evidence import Endorsements, Evidence
from sealmarket.attestation.nvidia.authenticate import authenticate
from sealmarket.attestation.nvidia.documents import read_document, read_files
from sealmarket.attestation.nvidia.ocsp import read_answer
from sealmarket.attestation.nvidia.report import read_report
from sealmarket.attestation.nvidia.rim import prove_manifest, read_manifest
from sealmarket_enclave.protocol.numbers import Tee
from tests.forge.nvidia import NvidiaForge

NOW = datetime(2026, 3, 1, tzinfo=UTC)
FORGE = NvidiaForge(NOW)
GPU = FORGE.gpu()
REPORT, MANIFEST, ANSWER = GPU.report(), FORGE.manifest(), FORGE.answers(GPU)[0]
ANCHORS = TrustAnchors.production().with_development(FORGE.root.der, FORGE.rim_root.der)
NAMES = st.sampled_from(["version", "cpu", "binding", "devices", "evidence", "certificate", "evidence_list"])


@given(st.integers(0, len(REPORT) - 97), st.integers(1, 255))
def test_no_report_with_a_changed_byte_is_authentic(at: int, change: int) -> None:
    raw = bytearray(REPORT)
    raw[at] ^= change
    evidence = Evidence(tee=Tee.NVIDIA, raw=bytes(raw), certificates=tuple(GPU.chain()))
    with pytest.raises(EvidenceRefused):
        authenticate(evidence, Endorsements(), ANCHORS, NOW)


@given(st.integers(0, len(MANIFEST) - 1), st.integers(1, 127))
def test_a_manifest_with_a_changed_byte_says_what_it_said_or_is_refused(at: int, change: int) -> None:
    """Blanks inside tags and around base64 are spelling, which no signature covers."""
    raw = bytearray(MANIFEST)
    raw[at] ^= change
    try:
        proven = prove_manifest(bytes(raw), ANCHORS)
    except EvidenceRefused:
        return
    assert proven.manifest == read_manifest(MANIFEST)


def changed(seed: bytes) -> st.SearchStrategy[bytes]:
    """A seed with a part of it cut out, replaced or put in."""
    piece = st.tuples(st.integers(0, len(seed)), st.integers(0, 64), st.binary(max_size=32))
    return piece.map(lambda p: seed[: p[0]] + p[2] + seed[p[0] + p[1] :])


@given(st.one_of(st.binary(max_size=300), changed(REPORT)))
def test_a_report_is_read_or_refused(raw: bytes) -> None:
    with suppress(EvidenceRefused):
        read_report(raw)


@given(st.one_of(st.binary(max_size=300), changed(MANIFEST)))
def test_a_manifest_is_read_or_refused(raw: bytes) -> None:
    with suppress(EvidenceRefused):
        read_manifest(raw)


@given(st.one_of(st.binary(max_size=300), changed(ANSWER)))
def test_an_answer_is_read_or_refused(raw: bytes) -> None:
    with suppress(EvidenceRefused):
        read_answer(raw)


@given(st.one_of(st.binary(max_size=300), changed(ANSWER), changed(MANIFEST)))
def test_a_file_is_sorted_or_refused(raw: bytes) -> None:
    with suppress(CollateralError):
        read_document(raw)
        read_files([raw])


JSON = st.recursive(
    st.one_of(st.none(), st.text(), st.integers()),
    lambda inner: st.one_of(st.lists(inner), st.dictionaries(NAMES, inner)),
    max_leaves=8,
)


@given(JSON)
def test_json_is_evidence_or_is_not(document: object) -> None:
    with suppress(NotEvidence):
        parse_any(json.dumps(document).encode())
