"""A container comes whole or not at all, whatever its source sends, and a call always ends."""

from __future__ import annotations

import fcntl
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sealmarket.service.errors import ContentMismatch, ItemNotFound, ServiceError, ServiceUnavailable
from sealmarket.store.download import MOST_LOOKS, MOST_TRIES, download
from sealmarket.store.folder import FileSource, put_in_folder
from sealmarket_enclave.protocol.codec import Bytes32
from sealmarket_enclave.sealed.errors import ContainerError, RootMismatch
from sealmarket_enclave.sealed.header import HEADER_BYTES
from tests.store.sources import CHUNK, Source, container, flipped, offset

RAW, ROOT, LEAVES = container(6)


class Waits(list[float]):
    """Waits that take no time."""

    def __call__(self, seconds: float) -> None:
        self.append(seconds)


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "fetched" / "container"


def left(target: Path) -> list[str]:
    return sorted(path.name for path in target.parent.iterdir())


def test_a_chunk_that_stays_wrong_is_named_and_nothing_is_left(target: Path) -> None:
    source = Source(flipped(RAW, offset(3) + 7), LEAVES)
    with pytest.raises(ContentMismatch, match="wrong in chunk 3"):
        download(source, ROOT, target, wait=Waits())
    assert left(target) == []
    assert source.asked.count((offset(3), offset(4))) == MOST_LOOKS - 1


def test_wrong_bytes_without_leaves_show_at_the_end_and_nothing_is_left(target: Path) -> None:
    with pytest.raises(ContentMismatch):
        download(Source(flipped(RAW, offset(3))), ROOT, target, wait=Waits())
    assert left(target) == []


@pytest.mark.parametrize("at", [0, 11, 55, 99])
@pytest.mark.parametrize("listed", [LEAVES, None])
def test_a_header_that_was_altered_is_refused(at: int, listed: bytes | None, target: Path) -> None:
    with pytest.raises(ContentMismatch):
        download(Source(flipped(RAW, at), listed), ROOT, target, wait=Waits())
    assert left(target) == []


def test_leaves_of_another_container_are_refused_before_anything_is_fetched(target: Path) -> None:
    source = Source(RAW, container(6, b"others")[2])
    with pytest.raises(ContentMismatch, match="header and leaves"):
        download(source, ROOT, target, wait=Waits())
    assert source.asked == [(0, HEADER_BYTES)]


@pytest.mark.parametrize(("fails", "left_over"), [(1, 0), (MOST_TRIES + 7, 7)])
def test_leaves_are_asked_for_again_and_done_without_where_they_never_come(
    fails: int, left_over: int, target: Path
) -> None:
    source, waits = Source(RAW, LEAVES, leaves_fail=fails), Waits()
    download(source, ROOT, target, wait=waits)
    assert target.read_bytes() == RAW
    assert (source.leaves_fail, len(waits)) == (left_over, min(fails, MOST_TRIES))


def test_another_container_is_refused(target: Path) -> None:
    raw, _, leaves = container(6, b"others")
    for listed in (leaves, None):
        with pytest.raises(ContentMismatch):
            download(Source(raw, listed), ROOT, target, wait=Waits())


def test_a_header_that_promises_more_than_is_read_is_refused_before_it_is_read(
    target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sealmarket.store.download.MAX_CONTAINER", len(RAW) - 1)
    source = Source(RAW)
    with pytest.raises(ContentMismatch, match="are read"):
        download(source, ROOT, target, wait=Waits())
    assert source.asked == [(0, HEADER_BYTES)]


@pytest.mark.parametrize("listed", [LEAVES, None])
def test_a_source_that_sends_nothing_more_is_left_after_some_tries_with_longer_waits(
    listed: bytes | None, target: Path
) -> None:
    waits = Waits()
    source = Source(RAW, listed, tears=lambda question: None if question < 1 else 100)
    with pytest.raises(ServiceUnavailable):
        download(source, ROOT, target, wait=waits)
    assert waits == sorted(waits)
    assert len(waits) == MOST_TRIES - 1


def test_a_source_that_is_another_version_each_time_is_left(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sealmarket.store.download.LEAST_PROGRESS", 1)
    source = Source(RAW, version=str, tears=lambda question: None if question < 1 else 2 * CHUNK)
    with pytest.raises(ServiceUnavailable, match="another version"):
        download(source, ROOT, target, wait=Waits())
    assert len(source.asked) < 4 * MOST_TRIES


def test_what_is_not_there_leaves_nothing(target: Path, tmp_path: Path) -> None:
    with pytest.raises(ItemNotFound):
        download(FileSource(tmp_path / "absent"), ROOT, target, wait=Waits())
    assert left(target) == []


def test_only_the_wrong_chunk_is_fetched_again(target: Path) -> None:
    source = Source(RAW, LEAVES, alter=lambda question, _, raw: flipped(raw, offset(3)) if question == 1 else raw)
    download(source, ROOT, target, wait=Waits())
    assert target.read_bytes() == RAW
    assert source.asked == [(0, HEADER_BYTES), (offset(0), len(RAW)), (offset(3), offset(4))]


@pytest.mark.parametrize("listed", [LEAVES, None])
def test_a_torn_download_goes_on_behind_the_last_whole_chunk(listed: bytes | None, target: Path) -> None:
    source = Source(RAW, listed, tears=lambda question: 2 * CHUNK + 5 if question == 1 else None)
    download(source, ROOT, target, wait=Waits())
    assert target.read_bytes() == RAW
    assert source.asked[-1] == (offset(2), len(RAW))


@pytest.mark.parametrize("listed", [LEAVES, None])
def test_another_call_goes_on_where_one_ended(listed: bytes | None, target: Path) -> None:
    torn = Source(RAW, listed, tears=lambda question: None if question < 1 else (3 * CHUNK if question < 2 else 0))
    with pytest.raises(ServiceUnavailable):
        download(torn, ROOT, target, wait=Waits())
    assert not target.exists()
    source = Source(RAW, listed)
    download(source, ROOT, target, wait=Waits())
    assert target.read_bytes() == RAW
    assert source.sent == HEADER_BYTES + len(RAW) - offset(3)
    assert left(target) == ["container"]


def test_what_an_earlier_call_left_is_held_against_the_leaves(target: Path) -> None:
    part = start_part(target)
    part.write_bytes(flipped(RAW[: offset(4)], offset(1)))
    source = Source(RAW, LEAVES)
    download(source, ROOT, target, wait=Waits())
    assert source.asked[1:] == [(offset(1), offset(2)), (offset(4), len(RAW))]


@pytest.mark.parametrize("rest", [b"", b"junk" * 1000])
def test_without_leaves_a_wrong_beginning_is_thrown_away_and_all_is_fetched_once(rest: bytes, target: Path) -> None:
    part = start_part(target)
    part.write_bytes(flipped(RAW, offset(1)) + rest)
    source = Source(RAW)
    download(source, ROOT, target, wait=Waits())
    assert target.read_bytes() == RAW
    assert source.sent == 2 * HEADER_BYTES + len(RAW) - HEADER_BYTES


@pytest.mark.parametrize("listed", [LEAVES, None])
def test_a_source_that_ignores_ranges_is_passed_over_up_to_what_is_missing(listed: bytes | None, target: Path) -> None:
    source = Source(RAW, listed, ignores_ranges=True, tears=lambda question: offset(2) + 5 if question == 1 else None)
    download(source, ROOT, target, wait=Waits())
    assert target.read_bytes() == RAW


def test_a_moved_version_without_leaves_begins_again(target: Path) -> None:
    raw, _, _ = container(6, b"others")
    source = Source(
        RAW,
        alter=lambda question, start, found: raw[start : start + len(found)] if question == 1 else found,
        version=lambda question: "first" if question < 2 else "second",
        tears=lambda question: 3 * CHUNK if question == 1 else None,
    )
    download(source, ROOT, target, wait=Waits())
    assert target.read_bytes() == RAW


def test_a_second_call_at_the_same_time_does_not_touch_what_the_first_writes(target: Path) -> None:
    part = start_part(target)
    part.write_bytes(RAW[: offset(2)])
    with part.open("rb") as first:
        fcntl.flock(first, fcntl.LOCK_EX)
        download(Source(RAW, LEAVES), ROOT, target, wait=Waits())
        assert first.read() == RAW[: offset(2)]
    assert target.read_bytes() == RAW


def test_what_is_written_to_is_no_link_that_another_put_there(target: Path, tmp_path: Path) -> None:
    part = start_part(target)
    (tmp_path / "precious").write_text("precious")
    part.symlink_to(tmp_path / "precious")
    with pytest.raises(OSError, match="symbolic link"):
        download(Source(RAW, LEAVES), ROOT, target, wait=Waits())
    assert (tmp_path / "precious").read_text() == "precious"


@given(st.data())
@settings(max_examples=40)
def test_any_mixture_of_tears_and_wrong_bytes_gives_the_container_or_a_refusal(data: st.DataObject) -> None:
    tears = data.draw(st.lists(st.none() | st.integers(0, len(RAW)), max_size=8))
    flips = data.draw(st.lists(st.none() | st.integers(0, len(RAW)), max_size=8))
    source = Source(
        RAW,
        data.draw(st.sampled_from([LEAVES, None])),
        ignores_ranges=data.draw(st.booleans()),
        tears=lambda question: tears[question] if question < len(tears) else None,
        alter=lambda question, _, raw: (
            flipped(raw, at) if question < len(flips) and (at := flips[question]) is not None and at < len(raw) else raw
        ),
    )
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "container"
        try:
            download(source, ROOT, target, wait=Waits())
        except ServiceError:
            assert not target.exists()
        else:
            assert target.read_bytes() == RAW


def test_a_folder_takes_nothing_that_is_not_the_container(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(flipped(RAW, offset(2)))
    with pytest.raises(RootMismatch):
        put_in_folder(tmp_path / "file", ROOT, tmp_path / "folder")
    assert list((tmp_path / "folder").iterdir()) == []


@pytest.mark.parametrize("source", ["/dev/zero", "longer"])
def test_a_folder_takes_no_more_than_the_container_has(source: str, tmp_path: Path) -> None:
    (tmp_path / "longer").write_bytes(RAW + bytes(1 << 20))
    with pytest.raises(ContainerError):
        put_in_folder(tmp_path / source, ROOT, tmp_path / "folder")
    assert list((tmp_path / "folder").iterdir()) == []


def test_a_container_goes_through_a_folder(tmp_path: Path, target: Path) -> None:
    (tmp_path / "file").write_bytes(RAW)
    place = put_in_folder(tmp_path / "file", ROOT, tmp_path / "folder")
    assert FileSource(place).leaves(len(LEAVES)) == LEAVES
    assert FileSource(place).leaves(len(LEAVES) + 32) is None
    download(FileSource(place), ROOT, target, wait=Waits())
    assert target.read_bytes() == RAW


def start_part(target: Path, root: Bytes32 = ROOT) -> Path:
    """The file that a call goes on with."""
    target.parent.mkdir(parents=True)
    return target.with_name(f".{target.name}.{root.hex()[:32]}.part")
