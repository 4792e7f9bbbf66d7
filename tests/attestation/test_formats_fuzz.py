"""No bytes make the readers of CCA, Nitro and Azure evidence do anything but answer or refuse in a typed way."""

from __future__ import annotations

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sealmarket.attestation.arm.reading import read_document as read_cca_document
from sealmarket.attestation.arm.token import read_token, realm_key
from sealmarket.attestation.azure.hcl import read_hcl
from sealmarket.attestation.azure.tpm import read_quote as read_tpm_quote
from sealmarket.attestation.collateral.trust_anchors import TrustAnchors
from sealmarket.attestation.core.errors import CollateralError, EvidenceRefused, NotEvidence
from sealmarket.attestation.core.evidence import Endorsements
from sealmarket.attestation.nitro.document import read_document
from sealmarket.attestation.nitro.envelope import document_in_dstack
from sealmarket.attestation.parse import parse
from sealmarket.attestation.policy.verify import UNCHECKED, Expected, unverified_claims, verify
from sealmarket.attestation.registry import module_of
from sealmarket_enclave.protocol.numbers import Tee
from tests.attestation.support import NOW, endorse
from tests.forge.azure import AzureForge
from tests.forge.cca import CcaForge, cose_key
from tests.forge.intel import IntelForge
from tests.forge.nitro import NitroForge

CCA, NITRO, INTEL = CcaForge(), NitroForge(NOW), IntelForge(NOW)
AZURE = AzureForge(intel=INTEL)
KEYS = module_of(Tee.CCA).development_keys(Endorsements(documents=(CCA.anchors(),)))
ROOTS = TrustAnchors.production().with_development(NITRO.root.der, INTEL.root.der).with_development_keys(KEYS)
DSTACK_FRONT = b"\0\x02" + (len(NITRO.document()) << 2 | 1).to_bytes(2, "little")
SEEDS = {
    "cca": CCA.token(),
    "cmw": CCA.token(tag=907),
    "nitro": NITRO.document(),
    "dstack": DSTACK_FRONT + NITRO.document() + bytes(65) + b"\x08{}",
}
DOCUMENTS = {"anchors": CCA.anchors(), "corim": CCA.corim(), "signed": CCA.signed_corim(CCA.cpak)}
FRONTS = (b"\xd9\x01\x8f", b"\xd9\x03\x8b", b"\x84\x44\xa1\x01\x38\x22", b"\0\x02", b"HCLA")
ANYTHING = Expected(report_data=UNCHECKED)
EDITS = st.lists(
    st.tuples(st.integers(0, 1 << 16), st.sampled_from(["flip", "cut", "insert", "drop"]), st.binary(max_size=8)),
    min_size=1,
    max_size=4,
)

quick = settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def edit(data: bytes, edits: list[tuple[int, str, bytes]]) -> bytes:
    for position, how, piece in edits:
        at = position % (len(data) + 1)
        if how == "flip":
            data = data[:at] + bytes(b ^ 0x01 for b in data[at : at + 1]) + data[at + 1 :]
        elif how == "cut":
            data = data[:at]
        elif how == "insert":
            data = data[:at] + piece + data[at:]
        else:
            data = data[:at] + data[at + len(piece) :]
    return data


def given_for(tee: Tee) -> Endorsements:
    return Endorsements(documents=(CCA.anchors(),)) if tee == Tee.CCA else Endorsements()


@pytest.mark.parametrize("name", SEEDS)
@quick
@given(edits=EDITS)
def test_edited_evidence_is_refused_in_a_typed_way_or_says_the_same(
    name: str, edits: list[tuple[int, str, bytes]]
) -> None:
    whole = parse(SEEDS[name])
    try:
        evidence = parse(edit(SEEDS[name], edits))
    except NotEvidence:
        return
    result = verify(evidence, given_for(evidence.tee), ROOTS, NOW, ANYTHING)
    if result.authentic:
        same = verify(whole, given_for(whole.tee), ROOTS, NOW, ANYTHING)
        assert result.claims == same.claims


@quick
@given(edits=EDITS)
def test_an_edited_azure_file_is_refused_in_a_typed_way_or_says_the_same(edits: list[tuple[int, str, bytes]]) -> None:
    document = json.loads(AZURE.document())
    field = ("hcl_report", "message", "signature", "td_quote")[edits[0][0] % 4]
    holder = document["tpm_quote"] if field in ("message", "signature") else document
    holder[field] = edit(bytes.fromhex(holder[field]), edits).hex()
    collateral = endorse(INTEL.collateral())
    try:
        evidence = parse(json.dumps(document).encode())
    except NotEvidence:
        return
    result = verify(evidence, collateral, ROOTS, NOW, ANYTHING)
    if result.authentic:
        same = verify(parse(AZURE.document()), collateral, ROOTS, NOW, ANYTHING)
        assert (result.claims["report_data"], result.claims["vtpm_pcrs"]) == (
            same.claims["report_data"],
            same.claims["vtpm_pcrs"],
        )


@pytest.mark.parametrize("name", DOCUMENTS)
@quick
@given(edits=EDITS)
def test_an_edited_document_about_platforms_is_read_or_refused(name: str, edits: list[tuple[int, str, bytes]]) -> None:
    try:
        document = read_cca_document(edit(DOCUMENTS[name], edits))
    except CollateralError:
        return
    assert all(len(key.implementation) == 32 and len(key.instance) == 33 for key in document.keys)


@quick
@given(
    st.sampled_from([b"\xd9\x01\x8f", b"\xd9\x03\x8b", b"\x84\x44\xa1\x01\x38\x22", b"\0\x02", b"HCLA"]), st.binary()
)
def test_bytes_that_start_like_evidence_are_evidence_or_not(front: bytes, rest: bytes) -> None:
    try:
        claims = unverified_claims(parse(front + rest))
    except (NotEvidence, EvidenceRefused):
        return
    assert len(bytes.fromhex(claims["report_data"])) == 64


@quick
@given(st.binary(max_size=300))
def test_no_bytes_surprise_a_reader(raw: bytes) -> None:
    for read in (read_token, read_document, read_tpm_quote, read_hcl, document_in_dstack, read_cca_document):
        try:
            read(raw)
        except (EvidenceRefused, NotEvidence, CollateralError):
            continue
    for key in (raw, cose_key(CCA.rak)[:20] + raw, b"\x04" + raw):
        if key:
            try:
                realm_key(key)
            except EvidenceRefused:
                continue
