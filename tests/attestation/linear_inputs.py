"""Inputs that make a parser take as long as it can, one after the other: run under a limit of processor time.

Each has about the most bytes that its reader takes. What reads one more often than a bounded number of times needs
minutes or days for it, and the system ends this process.
"""

from __future__ import annotations

import resource
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial

import msgspec

from sealmarket.attestation.arm.reading import read_document as read_cca_document
from sealmarket.attestation.arm.token import read_token
from sealmarket.attestation.composite import parse_any
from sealmarket.attestation.core.cbor import read_cbor
from sealmarket.attestation.core.certificates import MAXIMUM_CHAIN_BYTES, pem_blocks
from sealmarket.attestation.core.encoding import binary_of
from sealmarket.attestation.core.evidence import Endorsements
from sealmarket.attestation.intel.collateral import IntelCollateral
from sealmarket.attestation.intel.eventlog import MAXIMUM_BYTES as LOG_BYTES
from sealmarket.attestation.intel.eventlog import read_event_log
from sealmarket.attestation.intel.pki import read_chain
from sealmarket.attestation.nitro.document import MAXIMUM_BYTES as DOCUMENT_BYTES
from sealmarket.attestation.nitro.document import read_document
from sealmarket.attestation.nvidia import rim
from sealmarket.attestation.nvidia.ocsp import MAXIMUM_BYTES as MAXIMUM_ANSWER
from sealmarket.attestation.nvidia.ocsp import read_answer
from sealmarket.attestation.nvidia.report import REQUEST_START, RESPONSE_START, read_report
from sealmarket.attestation.parse import MAXIMUM_BYTES, parse
from sealmarket.attestation.raw import MAXIMUM_RAW, parse_raw
from sealmarket.protocol import merkle
from sealmarket_enclave.protocol.codec import HexBytes, require_shallow
from sealmarket_enclave.protocol.errors import SealmarketError
from sealmarket_enclave.protocol.hashing import keccak
from sealmarket_enclave.protocol.numbers import Tee
from sealmarket_enclave.workload.manifest import Manifest

SECONDS, MEMORY = 30, 4 << 30
BEGIN, END = b"-----BEGIN CERTIFICATE-----", b"-----END CERTIFICATE-----"


def filled(piece: bytes, size: int, front: bytes = b"", back: bytes = b"") -> bytes:
    """``size`` bytes of a piece over and over, between a front and a back."""
    return front + piece * ((size - len(front) - len(back)) // len(piece)) + back


FILES = (
    filled(b" ", MAXIMUM_BYTES, back=b"!"),
    filled(b" ", MAXIMUM_BYTES, front=b"A", back=b"!"),
    filled(b"ab ", MAXIMUM_BYTES, back=b"!"),
    filled(b"ab", MAXIMUM_BYTES, back=b"g"),
    filled(b"=", MAXIMUM_BYTES, front=b"A", back=b"!"),
    filled(b"A\n", MAXIMUM_BYTES, back=b"!"),
    filled(BEGIN, MAXIMUM_BYTES, front=b'{"hcl_report":"SENMQQ==","vcek":"', back=b'"}'),
    filled(b"1,", MAXIMUM_BYTES, front=b'{"quote":[', back=b"1]}"),
    filled(b'{"evidence":', MAXIMUM_BYTES),
)
PEM = (
    filled(BEGIN, 4 << 20),
    filled(b"-----BEGIN ", 4 << 20),
    filled(b"-----BEGIN X509 CRL-----" + BEGIN, 4 << 20),
    filled(b"-", 4 << 20),
    filled(BEGIN + b"\n" + END + b"\n", 4 << 20),
)
JSON = (
    b'"' + filled(b'\\"', 8 << 20) + b"\\" + b"[" * 65,
    filled(b'"\\', 8 << 20, back=b"[" * 65),
    b"[" * (4 << 20) + b"]" * (4 << 20),
    filled(b"[]", 8 << 20),
    filled(b'{"a":', 8 << 20),
    filled(b"]", 8 << 20, front=b"[" * 65),
)


def ccel(records: bytes) -> bytes:
    """An event log with a header that names SHA-384, then these records."""
    header = b"Spec ID Event03\0" + bytes(8) + b"\1\0\0\0" + b"\x0c\0\x30\0"
    return bytes(28) + len(header).to_bytes(4, "little") + header + records


LOGS = (
    ccel(filled(bytes(16), LOG_BYTES - 64, back=b"\1")),
    ccel(filled(b"\0\0\0\0\1" + bytes(11), LOG_BYTES - 64)),
    filled(b'{"imr":0,"event_type":1,"digest":""},', LOG_BYTES, front=b"["),
)


XML = (
    filled(b"<a>", rim.MAXIMUM_BYTES),
    filled(b'<a b="', rim.MAXIMUM_BYTES),
    filled(b" a='1'", rim.MAXIMUM_BYTES, front=b"<a", back=b"/>"),
    filled(b"&amp;", rim.MAXIMUM_BYTES, front=b"<a>", back=b"</a>"),
    filled(b'<a xmlns="', rim.MAXIMUM_BYTES),
    b"<a " + b" ".join(b'xmlns:a%d="b"' % number for number in range(8000)) + b"/>",
)
REPORT = REQUEST_START + bytes(33) + RESPONSE_START
REPORTS = (
    filled(b"\0", MAXIMUM_RAW, front=REPORT),
    filled(b"\xff", MAXIMUM_RAW, front=REPORT),
    REPORT + bytes(4 + 32) + (65535).to_bytes(2, "little") + b"".join(
        number.to_bytes(2, "little") + bytes(2) for number in range(16383)
    ) + bytes(3 + 96),
)  # fmt: skip
DEVICES = (
    filled(b'{"evidence":""},', MAXIMUM_BYTES, front=b"["),
    filled(b'{"evidence":""},', MAXIMUM_BYTES, front=b"[", back=b"{}]"),
)


CHAIN = b'{"attestation_report":{},"cert_chain":['
WRITTEN = (
    filled(b"-----BEGIN Q-----\nAAAA\n-----END Q-----\n", MAXIMUM_BYTES),
    filled(b"-----BEGIN ", MAXIMUM_BYTES),
    filled(b"A", MAXIMUM_BYTES, front=b"-----BEGIN Q-----"),
    filled(b":", MAXIMUM_BYTES),
    filled(b"00:", MAXIMUM_BYTES),
    filled(b"\0[", MAXIMUM_BYTES, front=b"\xfe\xff"),
    filled(b"[", MAXIMUM_BYTES, front=b'"'),
    filled(b"\\u005b", MAXIMUM_BYTES, front=b'"', back=b'"'),
    filled(b'{"imr":0},', MAXIMUM_BYTES, front=b'{"quote":"00","event_log":[', back=b"{}]}"),
    filled(b'{"cert_type":"VCEK","data":[]},', MAXIMUM_BYTES, front=CHAIN, back=b"{}]}"),
)


CBOR = (
    filled(b"\x81", DOCUMENT_BYTES),
    filled(b"\xa1\x00", DOCUMENT_BYTES),
    filled(b"\xbf\x00", DOCUMENT_BYTES),
    filled(b"\x00", DOCUMENT_BYTES, front=b"\x9a\x00\x01\x00\x00"),
    filled(b"\x20\x00", DOCUMENT_BYTES, front=b"\xbf", back=b"\xff"),
    filled(b"\x40", DOCUMENT_BYTES, front=b"\xd2\x84\x44\xa1\x01\x38\x22"),
)


def _manifest(name: str) -> None:
    msgspec.json.decode(msgspec.json.encode({"entry_point": name}), type=Manifest)


def _cbor(raw: bytes) -> None:
    read_cbor(raw, "input", tags=(18,), endless_map=True)


def _collateral(chain: bytes) -> None:
    parts = dict.fromkeys(IntelCollateral.__struct_fields__, "")
    IntelCollateral.from_json(msgspec.json.encode(parts | {"tcb_info_issuer_chain": chain.decode()}))


def _proofs() -> None:
    tree = merkle.Tree(keccak(bytes([n >> 8, n & 255])) for n in range(1 << 14))
    for n in range(1 << 14):
        tree.proof(keccak(bytes([n >> 8, n & 255])))


def cases() -> Iterator[Callable[[], object]]:
    """Each input with its reader."""
    for raw in FILES:
        yield partial(parse, raw)
        yield partial(parse_raw, Tee.TDX, raw[:MAXIMUM_RAW])
    for raw in PEM:
        yield partial(pem_blocks, raw)
        yield partial(Endorsements.read, [raw])
        yield partial(read_chain, raw[:MAXIMUM_CHAIN_BYTES].decode(), "chain")
        yield partial(_collateral, raw[:MAXIMUM_CHAIN_BYTES])
    for raw in JSON:
        yield partial(require_shallow, raw)
    for raw in LOGS:
        yield partial(read_event_log, raw)
    for raw in XML:
        yield partial(rim.read_manifest, raw)
    for raw in REPORTS:
        yield partial(read_report, raw)
    for raw in (*FILES, *DEVICES, *WRITTEN):
        yield partial(parse_any, raw)
    for raw in WRITTEN:
        yield partial(binary_of, raw)
    yield partial(read_answer, filled(b"\x30\x82\x40\x00", MAXIMUM_ANSWER))
    for raw in CBOR:
        yield partial(_cbor, raw)
        yield partial(read_document, raw)
        yield partial(read_token, b"\xd9\x01\x8f" + raw[3:])
        yield partial(read_cca_document, raw * 16)
        yield partial(parse, b"\0\x02" + raw)
    for name in ("a." * (1 << 19), "a" * (1 << 20), "a.a" * (1 << 18) + ":", "a:" * (1 << 19)):
        yield partial(_manifest, name)
    yield partial(HexBytes.parse, "0x" + "ab" * (4 << 20))
    yield partial(HexBytes.parse, "0x" + "ab" * (4 << 20) + "g")
    yield _proofs


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    done = 0
    for case in cases():
        with suppress(SealmarketError, msgspec.MsgspecError):
            case()
        done += 1
    print(done, "cases")
