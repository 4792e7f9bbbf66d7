"""Results: only the consumer of this very job opens one, and its size tells only a bucket."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sealmarket.sealing.results import open_result
from sealmarket_enclave.protocol.codec import Address, Bytes32, HexBytes, decode_canonical
from sealmarket_enclave.protocol.numbers import JobId
from sealmarket_enclave.sealed.errors import InvalidOutputs, NotOpened, RootMismatch, SealedError, TrailingBytes
from sealmarket_enclave.sealed.hpke import PrivateKey
from sealmarket_enclave.sealed.outputs import decode_outputs, encode_outputs
from sealmarket_enclave.sealed.result import ResultEnvelope, seal_result

KEY = PrivateKey(b"\x05" * 96)
MARKET = Address(b"\x06" * 20)
JOB = JobId(Bytes32(b"\x07" * 32))
OUTPUTS = {"model.onnx": b"\x08" * 1000, "metrics.json": b"{}"}
names = st.from_regex(r"\A[a-z0-9][a-z0-9._-]{0,63}\Z")


def seal(outputs: dict[str, bytes], bucket: int = 4096) -> tuple[ResultEnvelope, bytes]:
    return seal_result(outputs, [KEY.public], chain_id=1, market=MARKET, job_id=JOB, bucket=bucket)


def opened(envelope: ResultEnvelope, container: bytes, private: PrivateKey = KEY) -> dict[str, bytes]:
    return open_result(envelope, container, private, chain_id=1, market=MARKET, job_id=JOB)


ENVELOPE, CONTAINER = seal(OUTPUTS)


def test_another_key_job_market_or_chain_does_not_open_a_result() -> None:
    other = JobId(Bytes32(bytes(32)))
    for private, chain_id, market, job_id in (
        (PrivateKey.generate(), 1, MARKET, JOB),
        (KEY, 2, MARKET, JOB),
        (KEY, 1, Address(bytes(20)), JOB),
        (KEY, 1, MARKET, other),
    ):
        for envelope in (ENVELOPE, msgspec.structs.replace(ENVELOPE, job_id=job_id)):
            with pytest.raises(NotOpened):
                open_result(envelope, CONTAINER, private, chain_id=chain_id, market=market, job_id=job_id)


@given(st.integers(0, len(CONTAINER) - 1), st.integers(0, 7))
def test_any_flipped_bit_of_a_result_is_refused(at: int, bit: int) -> None:
    altered = bytearray(CONTAINER)
    altered[at] ^= 1 << bit
    with pytest.raises(SealedError):
        opened(ENVELOPE, bytes(altered))


def test_a_result_cut_short_or_extended_is_refused() -> None:
    for size in (0, 8, 20, 100, len(CONTAINER) - 1):
        with pytest.raises(SealedError):
            opened(ENVELOPE, CONTAINER[:size])
    with pytest.raises(TrailingBytes):
        opened(ENVELOPE, CONTAINER + b"\0")


def test_the_container_or_root_of_another_result_does_not_fit() -> None:
    envelope, container = seal(OUTPUTS)
    with pytest.raises(RootMismatch):
        opened(ENVELOPE, container)
    with pytest.raises(NotOpened):
        opened(msgspec.structs.replace(ENVELOPE, content_root=envelope.content_root), container)
    with pytest.raises(NotOpened):
        opened(msgspec.structs.replace(ENVELOPE, sealed_key=HexBytes(b"")), CONTAINER)


@pytest.mark.parametrize("name", ["", "../x", "/etc", "A", "a/b", ".hidden", "a" * 65, "ä"])
def test_an_output_whose_name_could_be_a_path_is_refused(name: str) -> None:
    with pytest.raises(InvalidOutputs):
        encode_outputs({name: b""})


@pytest.mark.parametrize("raw", [
    b"",
    bytes(3),
    bytes(5),
    (1).to_bytes(4, "big"),
    (2).to_bytes(4, "big") + (b"\0\x01a" + bytes(8)) * 2,
    (2).to_bytes(4, "big") + b"\0\x01b" + bytes(8) + b"\0\x01a" + bytes(8),
    (1).to_bytes(4, "big") + b"\0\x01a" + b"\xff" * 8,
    (1).to_bytes(4, "big") + b"\0\x02.." + bytes(8),
    (1000).to_bytes(4, "big"),
    b"\xff" * 100,
])  # fmt: skip
def test_outputs_out_of_form_are_refused(raw: bytes) -> None:
    with pytest.raises(InvalidOutputs):
        decode_outputs(raw)


@given(st.dictionaries(names, st.binary(max_size=200), max_size=8))
def test_outputs_have_one_spelling(outputs: dict[str, bytes]) -> None:
    raw = encode_outputs(outputs)
    assert decode_outputs(raw) == outputs
    assert encode_outputs(decode_outputs(raw)) == raw


@given(st.binary(max_size=300))
def test_reading_any_bytes_ends_in_outputs_or_a_refusal(raw: bytes) -> None:
    try:
        outputs = decode_outputs(raw)
    except InvalidOutputs:
        return
    assert encode_outputs(outputs) == raw


def test_results_of_one_bucket_have_one_length() -> None:
    assert len({len(seal({"a": bytes(size)})[1]) for size in (0, 1, 3000)}) == 1


def test_the_consumer_reads_what_the_enclave_sealed() -> None:
    envelope = decode_canonical(ResultEnvelope, ENVELOPE.canonical())
    assert envelope.hash == ENVELOPE.hash
    assert opened(envelope, CONTAINER) == OUTPUTS
