"""Chunks side by side give what one after the other gives: the same bytes, the same order, the same first error."""

from __future__ import annotations

import io
import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sealmarket_enclave.protocol.codec import Bytes32
from sealmarket_enclave.sealed import container as container_module
from sealmarket_enclave.sealed.container import ContainerReader, Memory, Sealed, seal
from sealmarket_enclave.sealed.errors import ChunkAltered, ContainerError, RootMismatch, SourceLengthChanged
from sealmarket_enclave.sealed.header import HEADER_BYTES, MIN_CHUNK_SIZE, TAG_BYTES
from sealmarket_enclave.sealed.pipeline import MOST_THREADS, in_order, threads_for

KEY, ASSET, SALT = b"\x01" * 32, Bytes32(b"\x02" * 32), Bytes32(b"\x03" * 32)
SIZE = MIN_CHUNK_SIZE


def sealed(data: bytes, threads: int, pad_to: int | None = None) -> tuple[bytes, Sealed]:
    sink = io.BytesIO()
    made = container_module._seal_with_salt(
        io.BytesIO(data), sink, KEY, ASSET, 1, len(data), SIZE, pad_to, SALT, threads
    )
    return sink.getvalue(), made


def test_the_first_error_in_order_counts_whichever_is_ready_first() -> None:
    late = threading.Event()

    def work(index: int, _slot: int) -> int:
        if index == 1:
            late.wait(60)
            raise ValueError("the first")
        return index

    def fill(index: int, _slot: int) -> None:
        if index == 3:
            late.set()
            raise KeyError("a later one")

    seen: list[int] = []
    with pytest.raises(ValueError, match="the first"):
        seen.extend(made for _slot, made in in_order(9, [0, 1, 2], fill, work))
    assert seen == [0]


def test_what_was_filled_before_an_error_is_yielded_before_it() -> None:
    def fill(index: int, _slot: int) -> None:
        if index == 3:
            raise KeyError(index)

    seen: list[int] = []
    with pytest.raises(KeyError):
        seen.extend(made for _slot, made in in_order(9, [0, 1, 2], fill, lambda index, _slot: index))
    assert seen == [0, 1, 2]


def test_a_slot_is_not_filled_before_its_turn_is_over() -> None:
    busy: set[int] = set()

    def fill(_index: int, slot: int) -> None:
        assert slot not in busy
        busy.add(slot)

    for slot, _none in in_order(50, [0, 1, 2], fill, lambda _index, _slot: None):
        busy.remove(slot)


def test_no_thread_stays_when_a_reader_stops() -> None:
    before = threading.active_count()
    found = in_order(50, [0, 1, 2], lambda _index, _slot: None, lambda index, _slot: index)
    next(found)
    found.close()  # type: ignore[attr-defined]
    assert threading.active_count() == before


@pytest.mark.parametrize(("wanted", "chunks", "found"), [(1, 9, 1), (3, 9, 3), (99, 99, MOST_THREADS), (4, 2, 2)])
def test_there_are_no_more_threads_than_work(wanted: int, chunks: int, found: int) -> None:
    assert threads_for(wanted, chunks) == found
    assert 1 <= threads_for(None, chunks) <= MOST_THREADS


@given(st.integers(0, 5 * SIZE + 3), st.sampled_from([None, 4096, 3 * SIZE]), st.integers(2, 4))
@settings(max_examples=25)
def test_any_number_of_threads_makes_the_same_container(length: int, pad_to: int | None, threads: int) -> None:
    data = (b"0123456789abcdef" * (length // 16 + 1))[:length]
    assert sealed(data, threads, pad_to) == sealed(data, 1, pad_to)


@given(st.integers(0, 5 * SIZE + 3), st.booleans(), st.integers(1, 3))
@settings(max_examples=25)
def test_memory_gives_the_same_as_a_file_and_opens_in_one_pass(length: int, padded: bool, threads: int) -> None:
    data = (b"0123456789abcdef" * (length // 16 + 1))[:length]
    pad_to = 4096 if padded else None
    raw, made = sealed(data, 1, pad_to)
    room = bytearray(len(raw))
    again = container_module._seal_with_salt(
        Memory(data), Memory(room), KEY, ASSET, 1, len(data), SIZE, pad_to, SALT, threads
    )
    assert (bytes(room), again) == (raw, made)
    plain = bytearray(length)
    ContainerReader(Memory(raw), made.content_root, threads=threads).open_into(KEY, Memory(plain))
    assert plain == data


@given(st.data(), st.integers(1, 3))
@settings(max_examples=40)
def test_an_altered_container_does_not_open_in_one_pass(data: st.DataObject, threads: int) -> None:
    raw, made = CASE
    at = data.draw(st.integers(0, len(raw) - 1))
    altered = bytearray(raw)
    altered[at] ^= 1 << data.draw(st.integers(0, 7))
    with pytest.raises(ContainerError):
        ContainerReader(Memory(altered), made.content_root, threads=threads).open_into(KEY, io.BytesIO())


CASE = sealed(bytes(3 * SIZE + 7), 1)


@pytest.mark.parametrize("threads", [1, 3])
def test_in_one_pass_a_chunk_an_end_and_a_root_that_are_wrong_are_told_apart(threads: int) -> None:
    raw, made = CASE
    altered = bytearray(raw)
    altered[HEADER_BYTES + SIZE + TAG_BYTES] ^= 1
    with pytest.raises(ChunkAltered) as refusal:
        ContainerReader(Memory(altered), made.content_root, threads=threads).open_into(KEY, io.BytesIO())
    assert refusal.value.index == 1
    for wrong in (raw[:-1], raw + b"\0"):
        with pytest.raises(ContainerError):
            ContainerReader(Memory(wrong), made.content_root, threads=threads).open_into(KEY, io.BytesIO())
    with pytest.raises(RootMismatch):
        ContainerReader(Memory(raw), bytes(32), threads=threads).open_into(KEY, io.BytesIO())


@pytest.mark.parametrize("threads", [1, 3])
def test_a_source_that_ends_early_says_how_much_there_was(threads: int) -> None:
    with pytest.raises(SourceLengthChanged) as refusal:
        seal(Memory(bytes(2 * SIZE)), io.BytesIO(), KEY, asset_id=ASSET, asset_version=1, length=3 * SIZE,
             chunk_size=SIZE, threads=threads)  # fmt: skip
    assert (refusal.value.got, refusal.value.expected) == (2 * SIZE, 3 * SIZE)


def test_memory_with_less_room_than_there_is_to_write_is_refused() -> None:
    with pytest.raises(ValueError):
        Memory(bytearray(3)).write(b"four")
