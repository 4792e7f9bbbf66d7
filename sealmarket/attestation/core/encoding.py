"""Bytes as people and agents write them down: raw, hex, base64 or PEM armour, in a text file or a JSON string.

Each step reads its input a bounded number of times. What two encodings could both read is read as hex.
"""

from __future__ import annotations

import base64
import binascii
import codecs
from typing import Any

from sealmarket.attestation.core.errors import NotEvidence

MAXIMUM_NUMBERS = 1 << 20
"""Bytes that JSON writes as a list of numbers."""
_URL_SAFE = bytes.maketrans(b"-_", b"+/")
_BEGIN, _END, _DASHES = b"-----BEGIN ", b"-----END ", b"-----"
_UTF16 = {codecs.BOM_UTF16_LE: "utf-16-le", codecs.BOM_UTF16_BE: "utf-16-be"}


def text_of(data: bytes) -> bytes:
    """A text file's bytes in UTF-8 without a byte order mark; other files as they are.

    Raises:
        NotEvidence: a file with the mark of UTF-16 that is not UTF-16.
    """
    if data.startswith(codecs.BOM_UTF8):
        return data[len(codecs.BOM_UTF8) :]
    if (encoding := _UTF16.get(data[:2])) is None:
        return data
    try:
        return data[2:].decode(encoding).encode()
    except UnicodeError as error:
        raise NotEvidence("the file starts like text in UTF-16 and is not") from error


def from_hex(data: bytes) -> bytes | None:
    """Hex digits, white space or colons between pairs of them, ``0x`` in front or not.

    None for anything else, and for nothing.
    """
    text = data.strip()
    digits = (text[2:] if text[:2] in (b"0x", b"0X") else text).replace(b":", b" ")
    try:
        return bytes.fromhex(digits.decode("ascii")) or None
    except ValueError:
        return None


def from_base64(data: bytes) -> bytes | None:
    """Base64 of either alphabet, with white space and padding or not; None for anything else and for nothing."""
    text = b"".join(data.split()).translate(_URL_SAFE).rstrip(b"=")
    try:
        return base64.b64decode(text + b"=" * (-len(text) % 4), validate=True) or None
    except binascii.Error:
        return None


def from_armour(data: bytes) -> tuple[str, bytes] | None:
    """The label and the content of one PEM block that is the whole file; None for a file without such a block.

    Raises:
        NotEvidence: a block that does not end, more than one, or one whose content is not base64.
    """
    text = data.strip()
    if not text.startswith(_BEGIN):
        return None
    label, _, rest = text[len(_BEGIN) :].partition(_DASHES)
    body, found, after = rest.partition(_END + label + _DASHES)
    name = label[:40].decode("ascii", "replace")
    if not found or after.strip():
        raise NotEvidence(f"expected one block of PEM, found {name!r} {'and more' if found else 'without its end'}")
    content = from_base64(body)
    if content is None:
        raise NotEvidence(f"the PEM block {name!r} does not hold base64")
    return name, content


def binary_of(data: bytes) -> bytes:
    """A file's bytes where it is hex or base64 of them, and without a byte order mark; other files as they are.

    The dashes of PEM are base64 too, in the alphabet for URLs: such a file stays as it is.
    """
    text = text_of(data)
    return text if _BEGIN in text else from_hex(text) or from_base64(text) or text


def is_dump(data: bytes) -> bool:
    """Whether a text starts like the output of ``xxd`` or ``hexdump -C``: an offset of zeros, then bytes."""
    return data.lstrip()[:10].rstrip(b" :") == b"00000000"


def blob(value: object, name: str) -> bytes:
    """Bytes as agents write them in JSON: a list of numbers, hex, or base64 of either alphabet.

    Raises:
        NotEvidence: none of these.
    """
    if isinstance(value, list):
        return _from_numbers(value, name)
    if isinstance(value, str):
        text = value.encode()
        for decoder in (from_hex, from_base64):
            if (found := decoder(text)) is not None:
                return found
    raise NotEvidence(f"{name} is neither hex, base64 nor a list of bytes")


def sized(value: object, size: int, name: str) -> bytes:
    """As :func:`blob`, of so many bytes."""
    found = blob(value, name)
    if len(found) != size:
        raise NotEvidence(f"{name} has {size} bytes, found {len(found)}")
    return found


def _from_numbers(value: list[Any], name: str) -> bytes:
    if len(value) > MAXIMUM_NUMBERS:
        raise NotEvidence(f"{name} is a list of at most {MAXIMUM_NUMBERS} bytes, found {len(value)}")
    try:
        return bytes(value)
    except (TypeError, ValueError) as error:
        raise NotEvidence(f"{name} is not a list of bytes") from error
