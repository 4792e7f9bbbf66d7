"""The few DER forms that vendor certificate extensions are made of (ITU-T X.690), encoding only."""

from __future__ import annotations


def sequence(*parts: bytes) -> bytes:
    """SEQUENCE of values that are encoded already."""
    return _tlv(0x30, b"".join(parts))


def tagged(number: int, *parts: bytes) -> bytes:
    """A constructed value under a context-specific tag below 31."""
    return _tlv(0xA0 | number, b"".join(parts))


def integer(value: int) -> bytes:
    """INTEGER, not negative."""
    return _tlv(0x02, value.to_bytes(value.bit_length() // 8 + 1, "big"))


def enumerated(value: int) -> bytes:
    """ENUMERATED, not negative."""
    return _tlv(0x0A, value.to_bytes(value.bit_length() // 8 + 1, "big"))


def boolean(value: bool) -> bytes:
    """BOOLEAN."""
    return _tlv(0x01, b"\xff" if value else b"\x00")


def octets(value: bytes) -> bytes:
    """OCTET STRING."""
    return _tlv(0x04, value)


def ia5_string(value: str) -> bytes:
    """IA5String."""
    return _tlv(0x16, value.encode("ascii"))


def oid(dotted: str) -> bytes:
    """OBJECT IDENTIFIER."""
    first, second, *rest = (int(part) for part in dotted.split("."))
    return _tlv(0x06, b"".join(_base128(arc) for arc in (first * 40 + second, *rest)))


def _base128(value: int) -> bytes:
    groups = [value & 0x7F]
    while value := value >> 7:
        groups.append(value & 0x7F | 0x80)
    return bytes(reversed(groups))


def _tlv(tag: int, content: bytes) -> bytes:
    length = len(content)
    if length < 0x80:
        return bytes([tag, length]) + content
    size = length.to_bytes((length.bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(size)]) + size + content
