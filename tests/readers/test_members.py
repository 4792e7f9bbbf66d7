"""Archives against their cards: members by bytes and bounds, hostile archives refused, no name of a file shown."""

from __future__ import annotations

import hashlib
import io
import json
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Mapping
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sealmarket.client.describing import Wishes, describe_members, is_archive
from sealmarket_enclave.protocol.card import Bounds, Card, Members, ReaderRef, ReaderReport, checked, read_report
from sealmarket_enclave.protocol.codec import ZERO_HASH
from tests.readers.members import load

READ = load()
READER = ReaderRef(name="members", digest=ZERO_HASH)
LIST = "SHA256SUMS"


def png(width: int = 8, height: int = 8) -> bytes:
    def part(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = part(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    rows = part(b"IDAT", zlib.compress(b"".join(b"\0" + bytes(width) for _ in range(height))))
    return b"\x89PNG\r\n\x1a\n" + header + rows + part(b"IEND", b"")


FRAME = struct.pack(">HHBHHB", 0xFFC0, 11, 8, 9, 7, 1) + b"\x01\x11\x00"
JPEG = b"\xff\xd8" + struct.pack(">HH", 0xFFE0, 4) + b"JF" + FRAME
GIF = b"GIF89a" + struct.pack("<HH", 7, 9) + bytes(8)
BMP = b"BM" + bytes(16) + struct.pack("<ii", 7, -9)
FILES = {"a/1.png": png(), "a/2.png": png(9, 7)}


def zipped(files: Mapping[str, bytes], packing: int = zipfile.ZIP_DEFLATED) -> bytes:
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w", packing) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return sink.getvalue()


def tarred(files: Mapping[str, bytes], mode: str = "w") -> bytes:
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode=mode) as archive:  # type: ignore[call-overload]
        for name, data in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return sink.getvalue()


def linked(kind: bytes, target: str) -> bytes:
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w") as archive:
        entry = tarfile.TarInfo("a")
        entry.type, entry.linkname = kind, target
        archive.addfile(entry)
    return sink.getvalue()


def zip_link() -> bytes:
    entry = zipfile.ZipInfo("a")
    entry.external_attr = 0o120777 << 16
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w") as archive:
        archive.writestr(entry, "/etc/passwd")
    return sink.getvalue()


def listing(files: Mapping[str, bytes]) -> dict[str, bytes]:
    """The files with a manifest of them."""
    lines = [f"{hashlib.sha256(data).hexdigest()}  {name}\n" for name, data in files.items()]
    return {**files, LIST: "".join(lines).encode()}


def card(**changes: Any) -> Card:
    members: dict[str, Any] = {"media_types": ("image/png",), "bytes": Bounds(minimum=1, maximum=1000)}
    members |= {name: changes.pop(name) for name in list(changes) if name in Members.__struct_fields__}
    made = Card(kind="images", media_type="application/zip", reader=READER, members=Members(**members), **changes)
    return checked(made)


def held(file: bytes, made: Card) -> tuple[ReaderReport, str]:
    """The report and the owner's words."""
    outputs = READ.run(
        {"data": memoryview(file), "card": made.canonical()}, {"infer": False, "table": False, "explain": True}
    )
    return read_report(outputs["report.json"]), outputs.get("explanation.txt", b"").decode()


@pytest.mark.parametrize(
    ("file", "changes", "code"),
    [
        (b"", {}, "not_readable"),
        (b"PK\x03\x04 no archive", {}, "not_readable"),
        (zipped(FILES)[:-30], {}, "not_readable"),
        (tarred(FILES, "w:gz")[:-30], {}, "not_readable"),
        (zipped({}), {}, "row_count"),
        (zipped({"../up.png": png()}), {}, "not_readable"),
        (zipped({"/root.png": png()}), {}, "not_readable"),
        (zipped({"a\\b.png": png()}), {}, "not_readable"),
        (zipped({"a\x1b.png": png()}), {}, "not_readable"),
        (zipped({"a//b.png": png()}), {}, "not_readable"),
        (zipped({"A.png": png(), "a.png": png()}), {}, "not_readable"),
        (zipped(FILES, zipfile.ZIP_BZIP2), {}, "not_readable"),
        (zip_link(), {}, "not_readable"),
        (linked(tarfile.SYMTYPE, "/etc/passwd"), {}, "not_readable"),
        (linked(tarfile.LNKTYPE, "b"), {}, "not_readable"),
        (linked(tarfile.CHRTYPE, ""), {}, "not_readable"),
        (linked(tarfile.FIFOTYPE, ""), {}, "not_readable"),
        (zipped({"bomb.png": png() + bytes(10**7)}), {}, "member_size"),
        (tarred({"bomb.png": png() + bytes(10**7)}, "w:gz"), {}, "member_size"),
        (zipped({"a.png": png()}), {"bytes": Bounds(minimum=500, maximum=1000)}, "member_size"),
        (zipped(FILES), {"pixels": Bounds(minimum=8, maximum=9)}, "member_size"),
        (zipped({"a.png": png()[:12]}), {"pixels": Bounds(minimum=0, maximum=9)}, "member_size"),
        (zipped({**FILES, "b.png": b"GIF89a"}), {}, "member_kind"),
        (zipped({**FILES, "b.png": b"text"}), {}, "member_kind"),
        (zipped(FILES), {"rows": Bounds(minimum=3, maximum=9)}, "row_count"),
        (zipped(FILES), {"rows": Bounds(minimum=1, maximum=1)}, "row_count"),
        (zipped(FILES), {"manifest": LIST}, "member_count"),
        (zipped({**listing(FILES), "more.png": png()}), {"manifest": LIST}, "member_count"),
        (zipped({**FILES, LIST: listing({"other": b""})[LIST]}), {"manifest": LIST}, "member_count"),
        (zipped({**listing(FILES), "a/1.png": png(5, 5)}), {"manifest": LIST}, "not_readable"),
        (zipped({**FILES, LIST: b"no line of a manifest"}), {"manifest": LIST}, "not_readable"),
        (zipped({**FILES, LIST: b"\xff"}), {"manifest": LIST}, "not_readable"),
    ],
)
def test_an_archive_that_is_not_as_promised_is_refused_and_no_name_is_shown(
    file: bytes, changes: dict[str, Any], code: str
) -> None:
    report, words = held(file, card(**changes))
    assert (report.fits, report.code, report.column) == (False, code, None)
    assert words
    assert ".png" not in words


@pytest.mark.parametrize("file", [zipped(FILES), zipped(FILES, 0), tarred(FILES), tarred(FILES, "w:gz")])
def test_an_archive_that_keeps_its_promise_fits_in_each_form(file: bytes) -> None:
    assert is_archive(file[:512])
    report, _ = held(file, card(pixels=Bounds(minimum=7, maximum=9), rows=Bounds(minimum=2, maximum=2)))
    assert (report.fits, report.rows) == (True, 2)


def test_a_manifest_is_no_member_and_names_all_of_them_with_their_hashes() -> None:
    assert held(zipped(listing(FILES)), card(manifest=LIST))[0].rows == 2


@pytest.mark.parametrize(("data", "kind"), [(JPEG, "image/jpeg"), (GIF, "image/gif"), (BMP, "image/bmp")])
def test_other_images_are_known_by_their_bytes_with_their_pixels(data: bytes, kind: str) -> None:
    fitting = card(media_types=(kind,), pixels=Bounds(minimum=7, maximum=9))
    assert held(zipped({"a": data}), fitting)[0].fits
    assert held(zipped({"a": data}), card(media_types=(kind,), pixels=Bounds(minimum=8, maximum=9)))[0].code


def test_what_is_described_is_kept() -> None:
    for file, kind in ((zipped(FILES), "images"), (tarred({"a": b"text", "b": b"%PDF-1"}), "archive")):
        outputs = READ.run({"data": memoryview(file), "card": b"{}"}, {"infer": True, "table": False, "explain": True})
        made = describe_members(json.loads(outputs["inferred.json"]), READER, Wishes()).card
        assert made.kind == kind
        assert held(file, made)[0].fits
        assert not held(file, msgspec.structs.replace(made, rows=Bounds(minimum=90, maximum=99)))[0].fits


@given(st.binary(max_size=300), st.sampled_from([b"", b"PK\x03\x04", b"\x1f\x8b\x08"]))
def test_whatever_the_bytes_are_the_reader_reports(file: bytes, head: bytes) -> None:
    assert not held(head + file, card())[0].fits


@given(st.data())
def test_a_damaged_archive_keeps_its_promise_or_is_refused(data: st.DataObject) -> None:
    file = bytearray(data.draw(st.sampled_from([zipped(FILES), tarred(FILES), tarred(FILES, "w:gz")])))
    for place in data.draw(st.lists(st.integers(0, len(file) - 1), min_size=1, max_size=4)):
        file[place] ^= data.draw(st.integers(1, 255))
    report, _ = held(bytes(file), card(rows=Bounds(minimum=2, maximum=2)))
    assert report.fits == (report.rows == 2)


@given(st.binary(max_size=200))
def test_the_header_of_any_jpeg_ends(data: bytes) -> None:
    promise = card(media_types=("image/jpeg",), pixels=Bounds(minimum=0, maximum=9))
    report, _ = held(zipped({"a": b"\xff\xd8\xff" + data}), promise)
    assert report.fits == (report.code is None)
