"""No bytes make a parser do anything but answer or refuse in a typed way."""

from __future__ import annotations

import base64
import json
import re
from contextlib import suppress

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from sealmarket.attestation.core.errors import AttestationError, EventLogMalformed, EvidenceRefused, NotEvidence
from sealmarket.attestation.core.evidence import Endorsements
from sealmarket.attestation.intel.collateral import IntelCollateral
from sealmarket.attestation.intel.eventlog import read_event_log
from sealmarket.attestation.intel.quote import read_quote
from sealmarket.attestation.intel.tcb import read_qe_identity, read_tcb_info
from sealmarket.attestation.parse import parse
from sealmarket.attestation.policy.rules import read_rules
from sealmarket.attestation.policy.verify import unverified_claims, verify
from tests.attestation.support import ANYTHING, NOW, endorse, forge_roots
from tests.forge.intel import IntelForge
from tests.vectors import vector

FORGE = IntelForge(NOW)
ROOTS = forge_roots(FORGE)
QUOTES = (FORGE.tdx_quote(), FORGE.sgx_quote(), FORGE.tdx_quote(FORGE.td_report_15(), version=5))
COLLATERAL = FORGE.collateral()
ENDORSED = endorse(COLLATERAL)

quick = settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])

Edits = st.lists(
    st.tuples(st.integers(0, 6000), st.sampled_from(["flip", "cut", "insert", "repeat"]), st.binary(max_size=8)),
    min_size=1,
    max_size=4,
)


def edit(data: bytes, edits: list[tuple[int, str, bytes]]) -> bytes:
    for position, how, piece in edits:
        at = position % (len(data) + 1)
        if how == "flip":
            data = data[:at] + bytes(b ^ 0xFF for b in data[at : at + 1]) + data[at + 1 :]
        elif how == "cut":
            data = data[:at]
        elif how == "insert":
            data = data[:at] + piece + data[at:]
        else:
            data = data[:at] + data[max(0, at - 64) : at] + data[at:]
    return data


@quick
@given(st.binary(max_size=2000))
@example(b"")
@example(b"HCLA")
@example(b"\x03\x00\x02\x00" + bytes(60))
@example(b'{"quote":' * 2000)
@example(b'{"primary_evidence":' + b'{"evidence":' * 500)
@example(b'{"td_quote": [], "hcl_report": "SENMQQ=="}')
def test_any_bytes_are_evidence_or_not(data: bytes) -> None:
    try:
        evidence = parse(data)
        claims = unverified_claims(evidence)
    except (NotEvidence, EvidenceRefused):
        return
    assert len(evidence.raw) <= len(data)
    assert len(bytes.fromhex(claims["report_data"])) == 64


@quick
@given(st.sampled_from(QUOTES), Edits)
def test_an_edited_quote_is_refused_in_a_typed_way_or_is_the_same_evidence(quote: bytes, edits: object) -> None:
    data = edit(quote, edits)  # type: ignore[arg-type]
    try:
        evidence = parse(data)
    except NotEvidence:
        return
    result = verify(evidence, ENDORSED, ROOTS, NOW, ANYTHING)
    if result.authentic:
        # What remains authentic differs at most behind its own end or in a signature's other form.
        assert result.report is not None
        inner = read_quote(evidence.raw)
        assert inner.signed in quote


@quick
@given(st.sampled_from(sorted(json.loads(COLLATERAL))), Edits)
def test_edited_collateral_never_changes_what_is_accepted(part: str, edits: object) -> None:
    parts = json.loads(COLLATERAL)
    text = edit(parts[part].encode(), edits).decode("utf-8", "replace")  # type: ignore[arg-type]
    try:
        changed = IntelCollateral.from_json(json.dumps({**parts, part: text}))
    except AttestationError:
        return
    result = verify(parse(QUOTES[0]), Endorsements(collateral=changed), ROOTS, NOW, ANYTHING)
    if result.accepted:
        # PEM allows text between certificates; hex allows a prefix and either case. The signed bytes are the same.
        assert part.endswith("chain") or text.lower().removeprefix("0x") == parts[part].lower()


# An edit may make a serial number negative, which cryptography reads with a warning; the signature is wrong then.
@pytest.mark.filterwarnings("ignore:Parsed a serial number")
@quick
@given(
    st.sampled_from(["tcb_info_issuer_chain", "qe_identity_issuer_chain", "pck_crl_issuer_chain", "quote"]),
    st.integers(0, 2),
    Edits,
)
def test_edited_certificates_are_refused_in_a_typed_way(part: str, position: int, edits: object) -> None:
    """Edits below the PEM, where base64 does not stop them."""
    parts = json.loads(COLLATERAL)
    text = FORGE.chain().decode() if part == "quote" else parts[part]
    blocks = re.findall("-----BEGIN CERTIFICATE-----(.+?)-----END CERTIFICATE-----", text, re.DOTALL)
    at = position % len(blocks)
    original = base64.b64decode(blocks[at])
    der = edit(original, edits)  # type: ignore[arg-type]
    blocks[at] = "\n" + base64.encodebytes(der).decode()
    chain = "".join(f"-----BEGIN CERTIFICATE-----{b}-----END CERTIFICATE-----\n" for b in blocks)
    collateral = ENDORSED if part == "quote" else endorse(json.dumps({**parts, part: chain}))
    raw = FORGE.tdx_quote(chain=chain.encode()) if part == "quote" else QUOTES[0]

    result = verify(parse(raw), collateral, ROOTS, NOW, ANYTHING)

    # The root at the end of a chain is known by its key alone; the one that is used comes with the TCB info.
    last = at == len(blocks) - 1 and part != "tcb_info_issuer_chain"
    assert not result.authentic or der == original or last


@quick
@given(st.sampled_from(["root_ca_crl", "pck_crl"]), Edits)
def test_edited_revocation_lists_are_refused_in_a_typed_way(part: str, edits: object) -> None:
    parts = json.loads(COLLATERAL)
    der = edit(bytes.fromhex(parts[part]), edits)  # type: ignore[arg-type]

    result = verify(parse(QUOTES[0]), endorse(json.dumps({**parts, part: der.hex()})), ROOTS, NOW, ANYTHING)

    assert not result.authentic or der.hex() == parts[part]


@pytest.mark.parametrize(
    "data",
    [b'{"measurements":[],"platforms":"a\x92\x86"}', b'{"quote": "\xff\xfe"}', b"0\x81\xfd0\x81\xa4\x02\x01q0\n"],
)
def test_what_the_fuzzer_found_stays_refused_in_a_typed_way(data: bytes) -> None:
    with pytest.raises(NotEvidence):
        parse(data)
    for reader in (IntelCollateral.from_json, read_rules, lambda raw: Endorsements.read([raw])):
        with pytest.raises(AttestationError):
            reader(data)


@quick
@given(st.binary(max_size=500) | st.text(max_size=200).map(str.encode))
def test_any_bytes_are_documents_or_not(data: bytes) -> None:
    for reader in (IntelCollateral.from_json, read_rules, lambda raw: Endorsements.read([raw])):
        with pytest.raises(AttestationError):
            reader(data)
    for signed in (read_tcb_info, read_qe_identity):
        with pytest.raises(EvidenceRefused):
            signed(data.decode("utf-8", "replace"))


@quick
@given(st.binary(max_size=600), Edits)
def test_any_event_log_is_replayed_or_refused(data: bytes, edits: object) -> None:
    small = _small_log()
    for log in (data, edit(small, edits), b"[" + data):  # type: ignore[arg-type]
        with suppress(EventLogMalformed):
            assert all(0 <= event.register <= 3 and len(event.digest) == 48 for event in read_event_log(log))


def _small_log() -> bytes:
    header = b"Spec ID Event03\0" + bytes(8) + (1).to_bytes(4, "little") + b"\x0c\x00\x30\x00" + b"\0"
    first = bytes(28) + len(header).to_bytes(4, "little") + header
    event = b"\x01\0\0\0" + b"\x01\0\0\0" + b"\x01\0\0\0" + b"\x0c\0" + b"\x11" * 48 + b"\x04\0\0\0" + b"text"
    return first + event + b"\xff" * 8


def test_a_small_log_is_read() -> None:
    assert [(e.register, e.digest) for e in read_event_log(_small_log())] == [(0, b"\x11" * 48)]


@pytest.mark.parametrize(
    "log",
    [
        b"",
        b"[]x",
        b'[{"imr": 4, "event_type": 1, "digest": ""}]',
        b'[{"imr": 0, "event_type": 1, "digest": "00"}]',
        _small_log()[:-20],
        _small_log().replace(b"\x0c\0\x11", b"\x0b\0\x11"),
        _small_log().replace(b"Event03", b"Event02"),
        bytes(28) + b"\xff\xff\xff\x7f",
    ],
)
def test_an_event_log_of_another_shape_is_refused(log: bytes) -> None:
    with pytest.raises(EventLogMalformed):
        read_event_log(log)


def test_evidence_beyond_its_size_is_refused_before_it_is_read() -> None:
    with pytest.raises(NotEvidence, match="at most"):
        parse(bytes(9 << 20))


@pytest.mark.long
@settings(max_examples=20_000, deadline=None)
@given(st.sampled_from(QUOTES), Edits)
def test_an_edited_quote_is_refused_in_a_typed_way_at_length(quote: bytes, edits: object) -> None:
    with suppress(NotEvidence, EvidenceRefused):
        raw = parse(edit(quote, edits)).raw  # type: ignore[arg-type]
        assert raw.startswith(read_quote(raw).signed)


@pytest.mark.long
def test_every_single_bit_of_a_genuine_quote_counts() -> None:
    quote = bytearray(vector("tdx/trustee-tdx_quote_4_debug.bin"))
    whole = read_quote(bytes(quote))
    for offset in range(len(whole.signed)):
        quote[offset] ^= 1
        with suppress(EvidenceRefused):
            assert read_quote(bytes(quote)).signed != whole.signed
        quote[offset] ^= 1
