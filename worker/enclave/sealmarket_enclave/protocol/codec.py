"""How values are spelled on the wire: one spelling each, and nothing else is accepted.

Bytes are lower-case ``0x`` hex, money is a decimal string, documents are RFC 8785 canonical JSON. Shapes are
``msgspec.Struct`` subclasses of :class:`Shape`, which refuse unknown and missing fields.
"""

from __future__ import annotations

import re
import threading
from typing import Any, ClassVar, Self, TypeVar

import msgspec
import rfc8785
from Crypto.Hash import keccak

from sealmarket_enclave.protocol.errors import MalformedDocument, NotCanonical

_HEX = re.compile(r"0x(?:[0-9a-f]{2})*")
_DECIMAL = re.compile(r"0|[1-9][0-9]{0,77}")


class HexBytes(bytes):
    """Bytes that travel as lower-case ``0x`` hex. Subclasses fix the length."""

    length: ClassVar[int | None] = None

    def __new__(cls, value: bytes = b"") -> Self:
        if cls.length is not None and len(value) != cls.length:
            raise MalformedDocument(f"{cls.__name__} takes {cls.length} bytes, found {len(value)}")
        return super().__new__(cls, value)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read the one spelling: ``0x`` and lower-case digits."""
        if not _HEX.fullmatch(text):
            raise MalformedDocument(f"expected lower-case 0x hex, found {text[:80]!r}")
        return cls(bytes.fromhex(text[2:]))

    def __str__(self) -> str:
        return "0x" + self.hex()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self})"


class Bytes32(HexBytes):
    """A hash, an id, a root: 32 bytes."""

    length = 32


class Bytes48(HexBytes):
    """A SHA-384 digest: 48 bytes."""

    length = 48


class Bytes64(HexBytes):
    """Report data: 64 bytes."""

    length = 64


class Address(HexBytes):
    """An Ethereum account or contract: 20 bytes, spelled in lower case on the wire."""

    length = 20

    @property
    def checksum(self) -> str:
        """The EIP-55 spelling, for people and for web3."""
        digits = self.hex()
        nibbles = keccak.new(digest_bits=256, data=digits.encode()).hexdigest()
        return "0x" + "".join(d.upper() if int(n, 16) >= 8 else d for d, n in zip(digits, nibbles, strict=False))


class Uint(int):
    """An unsigned integer of up to 256 bits. A decimal string on the wire, since JSON numbers lose digits."""

    bits: ClassVar[int] = 256

    def __new__(cls, value: int = 0) -> Self:
        if not 0 <= value < 1 << cls.bits:
            raise MalformedDocument(f"{cls.__name__} is between 0 and 2**{cls.bits} - 1, found {value}")
        return super().__new__(cls, value)


class Wei(Uint):
    """Money in the smallest unit of its token; contracts hold it in 128 bits."""

    bits = 128

    @property
    def coins(self) -> str:
        """The amount in whole coins of 18 digits, exactly: for people, where the token is the native coin."""
        whole, rest = divmod(int(self), 10**18)
        return f"{whole}.{rest:018d}".rstrip("0").rstrip(".")


class MicroEpsilon(Uint):
    """Privacy loss in millionths of epsilon."""

    bits = 64


ZERO_ADDRESS = Address(bytes(20))
ZERO_HASH = Bytes32(bytes(32))


class Shape(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """A document on the wire. Fields are camelCase there; unknown and missing ones are refused."""

    def canonical(self) -> bytes:
        """The RFC 8785 bytes of this document: what is hashed and stored."""
        return canonical_json(self)


T = TypeVar("T")


def _to_wire(value: object) -> object:
    if isinstance(value, HexBytes):
        return str(value)
    if isinstance(value, Uint):
        return str(int(value))
    raise NotImplementedError(f"no spelling on the wire for {type(value).__name__}")


def _from_wire(kind: type, value: object) -> object:
    if issubclass(kind, HexBytes):
        if not isinstance(value, str):
            raise MalformedDocument(f"expected 0x hex for {kind.__name__}, found {type(value).__name__}")
        return kind.parse(value)
    if issubclass(kind, Uint):
        if not isinstance(value, str) or not _DECIMAL.fullmatch(value):
            raise MalformedDocument(f"expected a decimal string for {kind.__name__}, found {value!r}")
        return kind(int(value))
    raise MalformedDocument(f"no reading from the wire for {kind!r}")


_preparing = threading.Lock()
_prepared: set[Any] = set()


def prepared(kind: type[T]) -> type[T]:
    """The same type, safe to read documents of in any thread from now on.

    msgspec lays a type's fields out when it is first read, and shows what is half laid out to other threads: two that
    read the first document of one type at the same moment end the process (seen with 0.22). So one thread lays out.
    """
    if kind not in _prepared:
        with _preparing:
            msgspec.json.Decoder(kind)
            _prepared.add(kind)
    return kind


def to_builtins(value: object) -> Any:
    """The plain dicts, lists, strings and numbers of a document."""
    return msgspec.to_builtins(value, enc_hook=_to_wire)


def canonical_json(value: object) -> bytes:
    """RFC 8785 bytes of a document: sorted keys, no spaces, one spelling of each value."""
    return rfc8785.dumps(to_builtins(value))


def decode(kind: type[T], raw: bytes | str) -> T:
    """Read a document of a known shape from JSON.

    Raises:
        MalformedDocument: not JSON, an unknown or absent field, or a value of the wrong form.
    """
    try:
        return msgspec.json.decode(raw, type=prepared(kind), dec_hook=_from_wire)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise MalformedDocument(f"not a {kind.__name__}: {error}") from error


def decode_canonical(kind: type[T], raw: bytes) -> T:
    """As :func:`decode`, and the bytes must be the document's one canonical spelling."""
    value = decode(kind, raw)
    if canonical_json(value) != raw:
        raise NotCanonical(f"a {kind.__name__} must be RFC 8785 canonical JSON without duplicate keys")
    return value


def from_builtins(kind: type[T], value: object) -> T:
    """Read a document of a known shape from plain dicts and lists. Raises :class:`MalformedDocument`."""
    try:
        return msgspec.convert(value, type=prepared(kind), dec_hook=_from_wire)
    except msgspec.MsgspecError as error:
        raise MalformedDocument(f"not a {kind.__name__}: {error}") from error
