"""What a file is by its first bytes, never by its name; and how many pixels an image has."""

from __future__ import annotations

TEXT, ANY = "text/plain", "application/octet-stream"
_SIGNATURES = (
    (b"\x89PNG\r\n\x1a\n", 0, "image/png"),
    (b"\xff\xd8\xff", 0, "image/jpeg"),
    (b"GIF87a", 0, "image/gif"),
    (b"GIF89a", 0, "image/gif"),
    (b"WEBP", 8, "image/webp"),
    (b"BM", 0, "image/bmp"),
    (b"II*\x00", 0, "image/tiff"),
    (b"MM\x00*", 0, "image/tiff"),
    (b"DICM", 128, "application/dicom"),
    (b"%PDF-", 0, "application/pdf"),
)
_FRAMES = frozenset({*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC})
"""JPEG markers of a frame header, which holds height and width."""
_ALONE = frozenset({0x01, *range(0xD0, 0xDA)})


def kind_of(data: bytes) -> str:
    """A media type of the list, ``text/plain`` for UTF-8 without NUL, else ``application/octet-stream``."""
    for signature, at, kind in _SIGNATURES:
        if data[at : at + len(signature)] == signature and (kind != "image/webp" or data[:4] == b"RIFF"):
            return kind
    try:
        return TEXT if data and "\0" not in data.decode() else ANY
    except UnicodeDecodeError:
        return ANY


def pixels(data: bytes, kind: str) -> tuple[int, int] | None:
    """Width and height as the header says; None for a header that does not, and for kinds that are not read here."""
    if kind == "image/png" and data[12:16] == b"IHDR":
        return int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big")
    if kind == "image/gif" and len(data) >= 10:
        return int.from_bytes(data[6:8], "little"), int.from_bytes(data[8:10], "little")
    if kind == "image/bmp" and len(data) >= 26:
        high = int.from_bytes(data[22:26], "little", signed=True)
        return int.from_bytes(data[18:22], "little"), abs(high)
    return _of_jpeg(data) if kind == "image/jpeg" else None


def _of_jpeg(data: bytes) -> tuple[int, int] | None:
    """From the first frame header. Each step goes on by two bytes or more, so this is linear."""
    at = 2
    while at + 9 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if marker in _FRAMES:
            return int.from_bytes(data[at + 7 : at + 9], "big"), int.from_bytes(data[at + 5 : at + 7], "big")
        at += 2 if marker in _ALONE or marker == 0xFF else 2 + max(2, int.from_bytes(data[at + 2 : at + 4], "big"))
    return None
