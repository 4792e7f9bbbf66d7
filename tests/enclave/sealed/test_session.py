"""The seal of a session: altered, moved, cut and repeated bytes are refused; nothing but its length bucket shows."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sealmarket_enclave.protocol.codec import Address, Bytes32, HexBytes, Uint64
from sealmarket_enclave.protocol.errors import MalformedDocument
from sealmarket_enclave.protocol.hashing import sha256
from sealmarket_enclave.protocol.numbers import JobId
from sealmarket_enclave.protocol.session import Grant, SessionHeader
from sealmarket_enclave.sealed.contexts import SessionInfo
from sealmarket_enclave.sealed.errors import AnswerCut, InvalidFrame, InvalidRequest, NotOpened, SealedError
from sealmarket_enclave.sealed.hpke import PRIVATE_KEY_BYTES, PrivateKey
from sealmarket_enclave.sealed.session import (
    FRAME_BUCKETS,
    MAX_BODY,
    MAX_HEADER,
    MAX_PAYLOAD,
    MAX_SEALED,
    REQUEST_BUCKETS,
    AnswerReader,
    AnswerWriter,
    Frame,
    FrameKind,
    open_request,
    request_hash,
    seal_request,
    signed_request,
)

ENCLAVE = PrivateKey(b"\x07" * PRIVATE_KEY_BYTES)
SECRET = bytes(range(32))
SALT = b"\x05" * 32
INFO = SessionInfo(
    chain_id=1,
    market=Address(bytes(20)),
    job_id=Bytes32(bytes(32)),
    evidence_hash=Bytes32(b"\x01" * 32),
    enclave_key=ENCLAVE.public.digest,
)
HEADER = SessionHeader(
    grant=Grant(
        job_id=JobId(Bytes32(bytes(32))),
        workload=Bytes32(b"\x02" * 32),
        weights=Bytes32(b"\x03" * 32),
        session_key=Address(b"\x04" * 20),
        cap=Uint64(1000),
        until=2_000_000_000,
    ),
    grant_signature=HexBytes(bytes(65)),
    number=Uint64(1),
    most_units=Uint64(64),
    acknowledged=Bytes32(bytes(32)),
    endpoint="chat",
    signature=HexBytes(bytes(65)),
)
BODY = b'{"messages": []}'
SEALED = seal_request(ENCLAVE.public, INFO, secret=SECRET, header=HEADER, body=BODY)
OTHERS = {
    "chain": {"chain_id": 2},
    "market": {"market": Address(b"\x01" * 20)},
    "service": {"job_id": Bytes32(b"\x09" * 32)},
    "evidence": {"evidence_hash": Bytes32(b"\x09" * 32)},
    "key": {"enclave_key": Bytes32(b"\x09" * 32)},
}


@pytest.mark.parametrize("change", OTHERS.values(), ids=OTHERS)
def test_a_request_for_another_service_does_not_open(change: dict[str, object]) -> None:
    with pytest.raises(NotOpened):
        open_request(ENCLAVE, msgspec.structs.replace(INFO, **change), SEALED)


@given(st.data())
@settings(max_examples=30, deadline=None)
def test_any_flipped_bit_of_a_request_is_refused(data: st.DataObject) -> None:
    altered = bytearray(SEALED)
    altered[data.draw(st.integers(0, len(SEALED) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    with pytest.raises(NotOpened):
        open_request(ENCLAVE, INFO, bytes(altered))


def test_a_request_longer_than_any_is_refused_before_it_is_opened() -> None:
    with pytest.raises(InvalidRequest, match=f"at most {MAX_SEALED}"):
        open_request(ENCLAVE, INFO, bytes(MAX_SEALED + 1))


HEAD = HEADER.canonical()
PLAIN = SECRET + len(HEAD).to_bytes(4) + HEAD + len(BODY).to_bytes(4) + BODY
WRONG = {
    "no bucket": PLAIN,
    "empty": b"",
    "padded by ones": PLAIN.ljust(4096, b"\1"),
    "a header beyond its bound": (SECRET + (MAX_HEADER + 1).to_bytes(4)).ljust(16384, b"\0"),
    "a header beyond the end": (SECRET + (2000).to_bytes(4)).ljust(1024, b"\0"),
    "a body beyond the end": (SECRET + len(HEAD).to_bytes(4) + HEAD + (1 << 31).to_bytes(4)).ljust(4096, b"\0"),
    "a header up to the end": (SECRET + (1024 - 36).to_bytes(4)).ljust(1024, b" "),
}


@pytest.mark.parametrize("plain", WRONG.values(), ids=WRONG)
def test_a_plaintext_of_another_form_is_refused(plain: bytes) -> None:
    with pytest.raises(InvalidRequest):
        open_request(ENCLAVE, INFO, ENCLAVE.public.seal(plain, INFO))


@pytest.mark.parametrize(
    "text", [b"{}", b"[]", HEAD + b" ", HEAD.replace(b'"number":"1"', b'"number":1'), b"\xff"], ids=range(5)
)
def test_a_header_that_is_none_or_not_canonical_is_refused(text: bytes) -> None:
    plain = (SECRET + len(text).to_bytes(4) + text + bytes(4)).ljust(4096, b"\0")
    with pytest.raises(MalformedDocument):
        open_request(ENCLAVE, INFO, ENCLAVE.public.seal(plain, INFO))


@given(st.binary(max_size=2000))
@settings(max_examples=100, deadline=None)
def test_no_plaintext_does_anything_but_open_or_be_refused(plain: bytes) -> None:
    with pytest.raises((SealedError, MalformedDocument)):
        open_request(ENCLAVE, INFO, ENCLAVE.public.seal(plain.ljust(4096, b"\0"), INFO))


def test_a_secret_of_another_length_is_not_sealed() -> None:
    with pytest.raises(InvalidRequest, match="secret"):
        seal_request(ENCLAVE.public, INFO, secret=bytes(31), header=HEADER, body=BODY)


def test_a_body_beyond_the_largest_bucket_is_not_sealed() -> None:
    with pytest.raises(InvalidRequest, match="length"):
        seal_request(ENCLAVE.public, INFO, secret=SECRET, header=HEADER, body=bytes(MAX_BODY + MAX_HEADER))


@pytest.mark.parametrize("size", [0, 1, 200, 4000, MAX_BODY])
def test_a_request_opens_to_what_was_sealed_and_its_length_is_a_bucket(size: int) -> None:
    body = bytes(size)
    sealed = seal_request(ENCLAVE.public, INFO, secret=SECRET, header=HEADER, body=body)
    opened = open_request(ENCLAVE, INFO, sealed)
    assert (opened.secret, opened.header, opened.body) == (SECRET, HEADER, body)
    assert opened.sealed_hash == sha256(sealed)
    assert len(sealed) - 1136 in REQUEST_BUCKETS


def test_what_the_session_key_signs_names_header_body_and_secret() -> None:
    signed = signed_request(HEADER, SECRET, BODY)
    changed = [
        signed_request(HEADER, bytes(32), BODY),
        signed_request(HEADER, SECRET, BODY + b" "),
        signed_request(msgspec.structs.replace(HEADER, number=Uint64(2)), SECRET, BODY),
        signed_request(msgspec.structs.replace(HEADER, endpoint="models"), SECRET, BODY),
        signed_request(
            msgspec.structs.replace(HEADER, grant=msgspec.structs.replace(HEADER.grant, cap=Uint64(1))), SECRET, BODY
        ),
    ]
    assert len({one.struct_hash() for one in (signed, *changed)}) == len(changed) + 1


def answer(
    *payloads: bytes, salt: bytes = SALT, sealed_hash: Bytes32 | None = None
) -> tuple[AnswerWriter, list[bytes]]:
    """An answer with these parts, as its opening and frames."""
    writer = AnswerWriter(SECRET, sealed_hash or sha256(SEALED), salt)
    frames = [writer.data(payload) for payload in payloads]
    return writer, [writer.opening, *frames, writer.end(FrameKind.RECEIPT, b"{}")]


def read(*parts: bytes) -> list[Frame]:
    """Every frame, with the end of the stream."""
    reader = AnswerReader(SECRET, sha256(SEALED))
    frames = [frame for part in parts for frame in reader.feed(part)]
    reader.close()
    return frames


def read_into(seen: list[bytes], stream: bytes) -> None:
    """As :func:`read`, with the payloads that came before a refusal."""
    reader = AnswerReader(SECRET, sha256(SEALED))
    seen.extend(frame.payload for frame in reader.feed(stream))
    reader.close()


PARTS = answer(b"one", b"two", b"three")[1]
MOVED = {
    "the first left out": [0, 2, 3, 4],
    "one left out": [0, 1, 3, 4],
    "two exchanged": [0, 2, 1, 3, 4],
    "one twice": [0, 1, 1, 2, 3, 4],
    "the final one first": [0, 4, 1, 2, 3],
    "one behind the final one": [0, 1, 2, 3, 4, 1],
    "the opening twice": [0, 0, 1, 2, 3, 4],
}


@pytest.mark.parametrize("order", MOVED.values(), ids=MOVED)
def test_frames_in_another_order_are_refused(order: list[int]) -> None:
    with pytest.raises(InvalidFrame):
        read(*(PARTS[place] for place in order))


@given(st.integers(0, sum(map(len, PARTS)) - 1))
def test_a_stream_that_is_cut_anywhere_is_refused(length: int) -> None:
    with pytest.raises(AnswerCut):
        read(b"".join(PARTS)[:length])


@given(st.data())
def test_any_flipped_bit_of_an_answer_is_refused_and_what_came_before_stands(data: st.DataObject) -> None:
    altered = bytearray(b"".join(PARTS))
    altered[data.draw(st.integers(0, len(altered) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    seen: list[bytes] = []
    with pytest.raises((InvalidFrame, AnswerCut)):
        read_into(seen, bytes(altered))
    assert seen == [b"one", b"two", b"three", b"{}"][: len(seen)]


def test_an_answer_to_another_request_is_refused() -> None:
    with pytest.raises(InvalidFrame, match="do not open"):
        read(*answer(b"one", sealed_hash=sha256(b"another"))[1])


def test_frames_of_another_answer_to_the_same_request_are_refused() -> None:
    other = answer(b"one", b"two", b"three", salt=b"\x06" * 32)[1]
    with pytest.raises(InvalidFrame, match="do not open"):
        read(PARTS[0], PARTS[1], *other[2:])


def test_two_answers_to_one_request_share_no_key_stream() -> None:
    one, other = answer(b"a guess", salt=SALT)[1], answer(b"another", salt=b"\x06" * 32)[1]
    difference = bytes(left ^ right for left, right in zip(one[1][5:], other[1][5:], strict=True))
    assert difference.count(0) < 32  # under one key stream the padding alone gave more than 200 zeros


def test_nothing_is_written_behind_the_final_frame() -> None:
    writer, _ = answer()
    with pytest.raises(InvalidFrame):
        writer.data(b"more")


def test_a_final_frame_beyond_the_largest_bucket_is_not_written() -> None:
    with pytest.raises(InvalidFrame, match=f"at most {MAX_PAYLOAD}"):
        AnswerWriter(SECRET, sha256(SEALED), SALT).end(FrameKind.RECEIPT, bytes(MAX_PAYLOAD + 1))


@pytest.mark.parametrize("size", [0, 15, 255, 256, 1 << 31, (1 << 32) - 1])
def test_a_frame_of_no_bucket_is_refused_before_it_is_awaited(size: int) -> None:
    with pytest.raises(InvalidFrame, match="and a tag"):
        read(SALT + size.to_bytes(4) + b"\0")


@given(st.lists(st.binary(max_size=3000), max_size=6), st.integers(1, 5000), st.sampled_from(FrameKind))
@settings(deadline=None)
def test_an_answer_is_read_as_it_was_written_however_its_bytes_come(
    payloads: list[bytes], step: int, kind: FrameKind
) -> None:
    writer = AnswerWriter(SECRET, sha256(SEALED), SALT)
    stream = writer.opening + b"".join(map(writer.data, payloads)) + writer.end(FrameKind(kind or 1), b"last")
    reader = AnswerReader(SECRET, sha256(SEALED))
    frames = [frame for at in range(0, len(stream), step) for frame in reader.feed(stream[at : at + step])]
    reader.close()
    assert b"".join(frame.payload for frame in frames[:-1]) == b"".join(payloads)
    assert frames[-1] == Frame(FrameKind(kind or 1), b"last")
    assert reader.response_hash == writer.response_hash == sha256(SECRET + b"\1" + b"".join(payloads))


def test_a_long_part_is_cut_into_frames_of_the_largest_bucket() -> None:
    writer = AnswerWriter(SECRET, sha256(SEALED), SALT)
    stream = writer.data(bytes(3 * MAX_PAYLOAD))
    assert len(stream) == 3 * (5 + FRAME_BUCKETS[-1] + 16)


def test_answers_of_different_lengths_look_alike_up_to_the_bucket() -> None:
    assert len({len(answer(bytes(size))[1][1]) for size in range(1, 252)}) == 1


def test_hashes_of_request_and_response_tell_nothing_without_the_secret() -> None:
    assert request_hash(SECRET, BODY) != request_hash(bytes(32), BODY)
    assert AnswerWriter(SECRET, sha256(SEALED), SALT).response_hash != request_hash(SECRET, b"")


def test_what_is_secret_of_a_request_has_no_place_in_a_message_about_it() -> None:
    shown = repr(open_request(ENCLAVE, INFO, SEALED))
    assert str(SECRET)[2:-1] not in shown
    assert "messages" not in shown
