"""Evidence as people and agents write it down: each form gives the same bytes, and no form is passed over in part."""

from __future__ import annotations

import base64
import json
import struct
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given
from hypothesis import strategies as st

from sealmarket.attestation.amd.extended import (
    MAXIMUM_ENTRIES,
    MAXIMUM_TABLE,
    is_certificate_table,
    read_certificate_table,
)
from sealmarket.attestation.amd.module import SnpModule
from sealmarket.attestation.collateral.trust_anchors import TrustAnchors
from sealmarket.attestation.composite import parse_any
from sealmarket.attestation.core.certificates import pem_blocks
from sealmarket.attestation.core.encoding import binary_of
from sealmarket.attestation.core.errors import CollateralError, NotEvidence
from sealmarket.attestation.core.evidence import Endorsements, read_endorsement
from sealmarket.attestation.core.reasons import Reason
from sealmarket.attestation.intel.eventlog import read_event_log
from sealmarket.attestation.parse import parse
from sealmarket.attestation.policy.verify import UNCHECKED, Expected, verify
from sealmarket_enclave.protocol.numbers import Tee
from tests.vectors import vector

VCEK_ID = UUID("63da758d-e664-4564-adc5-f4b93be8accd")
ASK_ID = UUID("4ab7b379-bbac-4fe4-a02f-05aef327c782")
CRL_ID = UUID("92f81bc3-5811-4d3d-97ff-d19f88dc67ea")
NOW = datetime(2026, 1, 15, tzinfo=UTC)
EVENTS = [{"imr": 3, "event_type": 1, "digest": "11" * 48, "event": "app-id", "event_payload": ""}]


def quote() -> bytes:
    return vector("tdx/dcap-qvl-tdx_quote.bin")


def report(name: str = "TEE-Attestation-Verification-ms-milan-v3") -> bytes:
    return vector(f"snp/{name}.report.bin")


def vcek() -> bytes:
    return vector("snp/ms-milan-v3.vcek.der")


def table(*entries: tuple[UUID, bytes]) -> bytes:
    head, body, start = b"", b"", 24 * (len(entries) + 1)
    for guid, data in entries:
        head += guid.bytes_le + struct.pack("<II", start + len(body), len(data))
        body += data
    return head + bytes(24) + body


# --- refusals ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("write", "words"),
    [
        (lambda q: {"quote": q, "event_log": 7}, "event_log is neither"),
        (lambda q: {"quote": q, "event_log": {"0": "x"}}, "event_log is neither"),
        (lambda q: {"quote": q, "aa_eventlog": "INIT"}, "'aa_eventlog' is no log that is known"),
        (lambda q: {"quote": q, "EventLog": EVENTS}, "'EventLog' is no log that is known"),
        (lambda q: {"quote": q, "event_log": EVENTS, "cc_eventlog": "00"}, "expected one event log"),
        (lambda q: {"outblob": q, "auxblob": "00ff", "provider": "tdx_guest"}, "beside tdx evidence"),
        (lambda q: {"outblob": q, "provider": "sev_guest"}, "makes snp evidence, found tdx"),
        (lambda q: {"outblob": "00ff", "provider": "tdx_guest"}, "outblob is not evidence"),
        (lambda q: {"outblob": 7, "provider": ["tdx_guest"]}, "outblob is neither"),
        (lambda q: {"evidence": q}, "no agent writes JSON with the fields"),
    ],
)
def test_a_document_of_an_unknown_shape_is_refused_by_name(write: Callable[[str], Any], words: str) -> None:
    with pytest.raises(NotEvidence, match=words):
        parse(json.dumps(write(quote().hex())).encode())


@pytest.mark.parametrize(
    ("write", "words"),
    [
        (lambda q: b"-----BEGIN QUOTE-----\n" + base64.encodebytes(q), "without its end"),
        (lambda q: (b"-----BEGIN Q-----\n" + base64.encodebytes(q) + b"-----END Q-----\n") * 2, "and more"),
        (lambda q: b"-----BEGIN Q-----\n%%%\n-----END Q-----\n", "does not hold base64"),
        (lambda _: b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "holds no evidence"),
        (lambda q: b'"' + base64.b64encode(q), "starts like a JSON string"),
        (lambda _: b"\xff\xfe\x00", "UTF-16"),
        (lambda q: "\n".join(f"{i:08x}: {q[i : i + 16].hex(' ')}" for i in range(0, 64, 16)).encode(), "xxd -r"),
        (lambda _: table((VCEK_ID, vcek())), "certificate table .* without the report"),
    ],
)
def test_a_file_that_is_no_evidence_says_what_it_is(write: Callable[[bytes], bytes], words: str) -> None:
    with pytest.raises(NotEvidence, match=words) as refused:
        parse(write(quote()))
    assert "xxd" not in words or "xxd -r" in refused.value.remedy


@pytest.mark.parametrize(
    ("broken", "words"),
    [
        (VCEK_ID.bytes_le + struct.pack("<II", 24, 1) + b"x", "without its last entry"),
        (VCEK_ID.bytes_le + struct.pack("<II", 48, 1000) + bytes(24), "points to byte 1048"),
        (table(*[(VCEK_ID, b"")] * MAXIMUM_ENTRIES), f"at most {MAXIMUM_ENTRIES} entries"),
        (table((VCEK_ID, bytes(MAXIMUM_TABLE))), f"at most {MAXIMUM_TABLE} bytes"),
    ],
)
def test_a_certificate_table_that_is_none_is_refused(broken: bytes, words: str) -> None:
    with pytest.raises(NotEvidence, match=words):
        read_certificate_table(broken)


@given(st.binary(max_size=400), st.integers(0, 60))
def test_any_certificate_table_is_read_or_refused(data: bytes, cut: int) -> None:
    whole = table((VCEK_ID, b"abc"), (CRL_ID, b"de"))
    for raw in (data, whole[:cut] + data, data + whole):
        try:
            assert all(part in raw for part in read_certificate_table(raw))
        except NotEvidence:
            continue


def test_a_certificate_that_openssl_trusts_is_refused_with_what_to_do() -> None:
    trusted = (
        b"-----BEGIN TRUSTED CERTIFICATE-----\n" + base64.encodebytes(vcek()) + b"-----END TRUSTED CERTIFICATE-----\n"
    )
    with pytest.raises(CollateralError, match="TRUSTED CERTIFICATE") as refused:
        read_endorsement(binary_of(trusted))
    assert "openssl x509" in refused.value.remedy


# --- encodings --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "write",
    [
        lambda q: b"\xef\xbb\xbf" + q.hex().encode() + b"\r\n",
        lambda q: q.hex(":").encode(),
        lambda q: b"0x" + q.hex().upper().encode(),
        lambda q: base64.urlsafe_b64encode(q).rstrip(b"="),
        lambda q: json.dumps(base64.b64encode(q).decode()).encode(),
        lambda q: json.dumps(q.hex()).encode() + b"\n",
        lambda q: b"-----BEGIN QUOTE-----\r\n" + base64.encodebytes(q) + b"-----END QUOTE-----\n",
        lambda q: b"\xef\xbb\xbf" + json.dumps({"quote": q.hex()}).encode(),
        lambda q: json.dumps({"quote": q.hex()}).encode("utf-16"),
        lambda q: json.dumps({"quote": list(q)}).encode(),
        lambda q: json.dumps(
            {"provider": "tdx_guest", "outblob": base64.b64encode(q).decode(), "auxblob": ""}
        ).encode(),
    ],
)
def test_each_way_to_write_a_quote_down_gives_its_bytes(write: Callable[[bytes], bytes]) -> None:
    raw = quote()
    found = parse(write(raw), Tee.TDX)
    assert found.raw == raw
    assert parse_any(write(raw)) == found


@pytest.mark.parametrize(
    "write", [lambda d: d.hex().encode(), base64.b64encode, lambda d: d, lambda d: d.hex(":").encode()]
)
def test_an_endorsement_may_be_written_in_hex_or_base64(write: Callable[[bytes], bytes]) -> None:
    assert binary_of(write(vcek())) == vcek()


def test_a_chain_in_pem_is_no_base64_though_its_dashes_are() -> None:
    chain = vector("snp/go-sev-guest-ask_ark_milan.pem")
    assert binary_of(chain) == chain
    assert len(pem_blocks(chain)) == 2
    for size in range(1, 30):
        body = base64.b64encode(bytes(size))
        block = b"-----BEGIN CERTIFICATE-----\n" + body.rstrip(b"=") + b"\n-----END CERTIFICATE-----\n"
        assert binary_of(block) == block


# --- event logs -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["event_log", "cc_eventlog"])
def test_an_event_log_as_an_array_counts_like_one_as_text(name: str) -> None:
    as_text = parse(json.dumps({"quote": quote().hex(), name: json.dumps(EVENTS)}).encode())
    as_array = parse(json.dumps({"quote": quote().hex(), name: EVENTS}).encode())
    assert as_array.event_log is not None
    assert as_text.event_log is not None
    assert read_event_log(as_array.event_log) == read_event_log(as_text.event_log)
    assert len(read_event_log(as_array.event_log)) == 1


@pytest.mark.parametrize("log", [[], "[]"])
def test_an_empty_event_log_is_a_log_that_explains_nothing(log: object) -> None:
    found = parse(json.dumps({"quote": quote().hex(), "event_log": log}).encode())
    assert found.event_log is not None
    assert read_event_log(found.event_log) == ()


# --- SEV-SNP ----------------------------------------------------------------------------------------------------


def test_an_extended_report_is_a_report_with_its_certificates() -> None:
    found = parse(report() + table((VCEK_ID, vcek()), (CRL_ID, b"a host's own"), (ASK_ID, b"ask")))
    assert (found.raw, found.certificates, found.source) == (report(), (vcek(), b"ask"), "extended")


def test_a_certificate_table_is_taken_as_an_endorsement() -> None:
    assert is_certificate_table(table((VCEK_ID, vcek())))
    (certificate,) = SnpModule().read_files([table((VCEK_ID, vcek()))]).certificates
    assert certificate.public_bytes(Encoding.DER) == vcek()


def test_a_table_with_anything_but_certificates_is_refused_and_no_more() -> None:
    with pytest.raises(CollateralError, match="neither certificate"):
        SnpModule().read_files([table((VCEK_ID, b"no certificate"))])
    with pytest.raises(CollateralError, match="points to byte"):
        SnpModule().read_files([VCEK_ID.bytes_le + struct.pack("<II", 48, 1000) + bytes(24)])
    evidence = parse(report() + table((VCEK_ID, b"no certificate")))
    result = verify(evidence, Endorsements(), TrustAnchors.production(), NOW, Expected(report_data=UNCHECKED))
    assert [finding.reason for finding in result.findings] == [Reason.ENDORSEMENT_MALFORMED]


def test_the_kernels_interface_gives_report_and_certificates() -> None:
    blobs = {"outblob": report(), "auxblob": table((VCEK_ID, vcek()))}
    text = {name: base64.b64encode(value).decode() for name, value in blobs.items()}
    found = parse(json.dumps({"provider": "sev_guest", "generation": 1, **text}).encode())
    assert (found.raw, found.certificates) == (report(), (vcek(),))


def number(raw: bytes, at: int, size: int) -> int:
    return int.from_bytes(raw[at : at + size], "little")


def common(raw: bytes) -> dict[str, Any]:
    """What both layouts of the agents' JSON have."""
    arrays = {
        "family_id": (0x10, 16),
        "image_id": (0x20, 16),
        "report_data": (0x50, 64),
        "measurement": (0x90, 48),
        "host_data": (0xC0, 32),
        "id_key_digest": (0xE0, 48),
        "author_key_digest": (0x110, 48),
        "report_id": (0x140, 32),
        "report_id_ma": (0x160, 32),
        "chip_id": (0x1A0, 64),
    }
    numbers = {"version": (0, 4), "guest_svn": (4, 4), "policy": (8, 8), "vmpl": (0x30, 4), "sig_algo": (0x34, 4)}
    return {
        **{name: list(raw[at : at + size]) for name, (at, size) in arrays.items()},
        **{name: number(raw, at, size) for name, (at, size) in numbers.items()},
        "plat_info": number(raw, 0x40, 8),
    }


TCBS = {"current_tcb": 0x38, "reported_tcb": 0x180, "committed_tcb": 0x1E0, "launch_tcb": 0x1F0}


def older(raw: bytes) -> dict[str, Any]:
    def tcb(at: int) -> dict[str, Any]:
        one = raw[at : at + 8]
        return {"bootloader": one[0], "tee": one[1], "_reserved": list(one[2:6]), "snp": one[6], "microcode": one[7]}

    parts = ("build", "minor", "major")
    return {
        **common(raw),
        **{name: tcb(at) for name, at in TCBS.items()},
        **{f"current_{part}": raw[0x1E8 + at] for at, part in enumerate(parts)},
        **{f"committed_{part}": raw[0x1EC + at] for at, part in enumerate(parts)},
        "_author_key_en": number(raw, 0x48, 4),
        "_reserved_0": 0,
        "_reserved_1": list(raw[0x188:0x1A0]),
        "_reserved_2": 0,
        "_reserved_3": 0,
        "_reserved_4": list(raw[0x1F8:0x2A0]),
        "signature": {"r": list(raw[0x2A0:0x2E8]), "s": list(raw[0x2E8:0x330]), "_reserved": [0] * 368},
    }


def newer(raw: bytes) -> dict[str, Any]:
    turin = raw[0x188] >= 0x1A

    def tcb(at: int) -> dict[str, Any]:
        one = raw[at : at + 8]
        if turin:
            return {"fmc": one[0], "bootloader": one[1], "tee": one[2], "snp": one[3], "microcode": one[7]}
        return {"fmc": None, "bootloader": one[0], "tee": one[1], "snp": one[6], "microcode": one[7]}

    def version(at: int) -> dict[str, int]:
        return {"build": raw[at], "minor": raw[at + 1], "major": raw[at + 2]}

    since_3, since_5 = raw[0] >= 3, raw[0] >= 5
    return {
        **common(raw),
        **{name: tcb(at) for name, at in TCBS.items()},
        "key_info": number(raw, 0x48, 4),
        "cpuid_fam_id": raw[0x188] if since_3 else None,
        "cpuid_mod_id": raw[0x189] if since_3 else None,
        "cpuid_step": raw[0x18A] if since_3 else None,
        "current": version(0x1E8),
        "committed": version(0x1EC),
        "launch_mit_vector": number(raw, 0x1F8, 8) if since_5 else None,
        "current_mit_vector": number(raw, 0x200, 8) if since_5 else None,
        "signature": {"r": raw[0x2A0:0x2E8].hex(), "s": raw[0x2E8:0x330].hex()},
    }


REPORTS = (
    "TEE-Attestation-Verification-ms-milan-v3",
    "TEE-Attestation-Verification-ms-genoa-v3",
    "TEE-Attestation-Verification-ms-turin-v5",
    "trustee-trustee-test-report",
    "go-sev-guest-attestation-debug",
)


@pytest.mark.parametrize("write", [older, newer])
@pytest.mark.parametrize("name", REPORTS)
def test_a_report_that_an_agent_took_apart_is_put_together_again(
    write: Callable[[bytes], dict[str, Any]], name: str
) -> None:
    raw = report(name)
    chain = [{"cert_type": "VCEK", "data": list(vcek())}, {"cert_type": "CRL", "data": [1, 2]}]
    found = parse(json.dumps({"attestation_report": write(raw), "cert_chain": chain}).encode())
    assert (found.raw, found.certificates, found.source) == (raw, (vcek(),), "trustee")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"policy": 1 << 64}, r"policy is a number below 2\^64"),
        ({"policy": True}, "policy is a number"),
        ({"chip_id": [0] * 63}, "chip_id has 64 bytes, found 63"),
        ({"host_data": [256] * 32}, "host_data is not a list of bytes"),
        ({"current_tcb": {"bootloader": 1}}, "current_tcb is not of a shape"),
        ({"current": {"build": 1, "minor": 1, "major": 256}}, "current.major is a number"),
        ({"mystery": 1}, "mystery missing or not known"),
        ({"signature": []}, "signature is an object"),
    ],
)
def test_a_report_with_a_field_out_of_range_or_unknown_is_refused_by_its_name(
    change: dict[str, Any], words: str
) -> None:
    document = {"attestation_report": {**newer(report()), **change}, "cert_chain": None}
    with pytest.raises(NotEvidence, match=words):
        parse(json.dumps(document).encode())


@pytest.mark.parametrize("missing", ["version", "measurement", "report_data", "signature", "reported_tcb"])
def test_a_report_without_a_field_is_refused_by_its_name(missing: str) -> None:
    fields = {name: value for name, value in newer(report()).items() if name != missing}
    with pytest.raises(NotEvidence, match=missing):
        parse(json.dumps({"attestation_report": fields}).encode())
