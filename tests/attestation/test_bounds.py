"""What a parser of evidence takes has bounds, which refusals name; and within them no input takes it long."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

import msgspec
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import dsa, ec, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from scripts.toolchain import ROOT
from sealmarket.attestation.core import certificates
from sealmarket.attestation.core.certificates import load_certificate, load_crl, pem_blocks
from sealmarket.attestation.core.encoding import MAXIMUM_NUMBERS
from sealmarket.attestation.core.errors import CollateralError, EventLogMalformed, EvidenceRefused, NotEvidence
from sealmarket.attestation.core.evidence import Endorsements
from sealmarket.attestation.core.reasons import Reason
from sealmarket.attestation.intel import eventlog
from sealmarket.attestation.intel.collateral import MAXIMUM_BYTES as COLLATERAL_BYTES
from sealmarket.attestation.intel.collateral import IntelCollateral
from sealmarket.attestation.intel.eventlog import read_event_log
from sealmarket.attestation.intel.pki import read_chain
from sealmarket.attestation.parse import MAXIMUM_BYTES, parse
from sealmarket.attestation.raw import MAXIMUM_ENDORSEMENTS, MAXIMUM_RAW, parse_endorsements, parse_raw
from sealmarket_enclave.protocol.numbers import Tee
from tests.attestation.linear_inputs import BEGIN, END, ccel
from tests.attestation.support import NOW
from tests.forge.intel import IntelForge
from tests.patience import PATIENCE
from tests.structure.code import imports, modules

FORGE = IntelForge(NOW)
QUOTE = FORGE.tdx_quote()
COLLATERAL = IntelCollateral.from_json(FORGE.collateral())
CHAIN = COLLATERAL.tcb_info_issuer_chain


def test_no_input_within_the_bounds_takes_a_parser_longer_than_its_length_explains() -> None:
    command = [sys.executable, "-P", "-m", "tests.attestation.linear_inputs"]
    found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=2 * PATIENCE, check=False)
    assert found.returncode == 0, found.stderr[-2000:]
    assert found.stdout.endswith("cases\n")


def _with(**parts: str) -> bytes:
    return msgspec.json.encode(msgspec.json.decode(COLLATERAL.to_json()) | parts)


@pytest.mark.parametrize(
    ("read", "names"),
    [
        (lambda: parse(bytes(MAXIMUM_BYTES + 1)), (MAXIMUM_BYTES, MAXIMUM_BYTES + 1)),
        (lambda: parse(b'{"quote":[' + b"1," * MAXIMUM_NUMBERS + b"1]}"), (MAXIMUM_NUMBERS, MAXIMUM_NUMBERS + 1)),
        (lambda: parse_raw(Tee.TDX, QUOTE + bytes(MAXIMUM_RAW)), (MAXIMUM_RAW, MAXIMUM_RAW + len(QUOTE))),
        (lambda: parse_endorsements(Tee.TDX, " " * (MAXIMUM_ENDORSEMENTS + 1)), (MAXIMUM_ENDORSEMENTS,)),
        (lambda: IntelCollateral.from_json(b" " * (COLLATERAL_BYTES + 1)), (COLLATERAL_BYTES, COLLATERAL_BYTES + 1)),
        (lambda: IntelCollateral.from_json(_with(tcb_info_issuer_chain="x" * 65537)), (65536, "tcb_info_issuer_chain")),
        (lambda: IntelCollateral.from_json(_with(pck_crl="00" * ((1 << 20) + 2))), ((1 << 21) + 2, "pck_crl")),
        (lambda: IntelCollateral.from_json(_with(pck_crl="000")), ("pck_crl", "half a byte")),
        (lambda: Endorsements.read([bytes((4 << 20) + 1)]), (4 << 20, (4 << 20) + 1)),
        (lambda: Endorsements.read([CHAIN.encode()] * 33), (64, 66)),
        (lambda: Endorsements.read([(BEGIN + b"\n" + END + b"\n") * 65]), (64, 65)),
        (lambda: load_certificate(bytes((16 << 10) + 1)), (16 << 10, (16 << 10) + 1)),
        (lambda: load_crl(bytes((1 << 20) + 1)), (1 << 20, (1 << 20) + 1)),
        (lambda: pem_blocks(BEGIN + bytes(16 << 10) + END), (16 << 10,)),
        (lambda: pem_blocks(b"text " + BEGIN * 3), ("CERTIFICATE", "byte 5", "does not end")),
        (lambda: read_chain(CHAIN * 3, "chain"), (4, 5)),
        (lambda: read_chain(CHAIN + " " * (64 << 10), "chain"), (64 << 10,)),
        (lambda: read_event_log(bytes(eventlog.MAXIMUM_BYTES + 1)), (eventlog.MAXIMUM_BYTES,)),
        (lambda: read_event_log(ccel(bytes(16) * 20_000 + b"\1")), (eventlog.MAXIMUM_RECORDS,)),
        (lambda: read_event_log(b"[" + b"{}," * 20_000), (eventlog.MAXIMUM_RECORDS, 20_000)),
    ],
)
def test_beyond_a_bound_the_refusal_names_the_limit_and_what_was_found(
    read: Callable[[], object], names: tuple[object, ...]
) -> None:
    with pytest.raises((CollateralError, NotEvidence, EvidenceRefused, EventLogMalformed)) as caught:
        read()
    assert all(str(name) in str(caught.value) for name in names), str(caught.value)


def _certificate(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | dsa.DSAPrivateKey) -> bytes:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "one")])
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, NOW, NOW)
    return builder.sign(key, SHA256()).public_bytes(Encoding.DER)


@pytest.mark.parametrize(
    ("made", "names"),
    [
        (lambda: rsa.generate_private_key(65537, 4104), ("4096", "4104")),
        (lambda: ec.generate_private_key(ec.SECP256K1()), ("P-256", "secp256k1")),
        (lambda: dsa.generate_private_key(1024), ("P-256", "DSAPublicKey")),
    ],
)
def test_a_certificate_of_another_kind_of_key_is_refused(
    made: Callable[[], rsa.RSAPrivateKey], names: tuple[str, ...]
) -> None:
    with pytest.raises(CollateralError) as caught:
        load_certificate(_certificate(made()))
    assert all(name in str(caught.value) for name in names), str(caught.value)


def test_an_rsa_exponent_without_bound_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(certificates, "MAXIMUM_RSA_EXPONENT", 65536)
    with pytest.raises(CollateralError, match="exponent: at most 65536, found 65537"):
        load_certificate(_certificate(rsa.generate_private_key(65537, 2048)))


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (QUOTE.hex().encode(), Reason.UNSUPPORTED_FORMAT),
        (b"\n" + QUOTE, Reason.UNSUPPORTED_FORMAT),
        (msgspec.json.encode({"quote": QUOTE.hex()}), Reason.UNSUPPORTED_FORMAT),
        (msgspec.json.encode({"quote": QUOTE}), Reason.UNSUPPORTED_FORMAT),
        (b"HCLA" + bytes(1300), Reason.UNSUPPORTED_FORMAT),
        (b" " * 60_000 + b"!", Reason.UNSUPPORTED_FORMAT),
        (b"", Reason.UNSUPPORTED_FORMAT),
        (FORGE.sgx_quote(), Reason.TEE_MISMATCH),
    ],
)
def test_what_is_not_the_named_tees_own_bytes_is_not_unwrapped(data: bytes, reason: Reason) -> None:
    with pytest.raises(EvidenceRefused) as caught:
        parse_raw(Tee.TDX, data)
    assert caught.value.finding.reason is reason


def test_the_devices_own_bytes_are_taken_as_they_are() -> None:
    assert parse_raw(Tee.TDX, QUOTE).raw == QUOTE
    assert pem_blocks(b"text\n-----BEGIN X-----" + CHAIN.encode()) == pem_blocks(CHAIN.encode())


def test_nodes_and_verifiers_of_receipts_read_no_wrapped_evidence() -> None:
    readers = [
        module for name, module in modules().items() if name.startswith(("sealmarket_oracle", "sealmarket.receipts"))
    ]
    assert readers
    assert not [module.name for module in readers if "sealmarket.attestation.parse" in imports(module)]
