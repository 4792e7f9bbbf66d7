"""How values are spelled on the wire: one spelling each, and nothing else is accepted.

Bytes are lower-case ``0x`` hex, money is a decimal string, documents are RFC 8785 canonical JSON. Shapes are
``msgspec.Struct`` subclasses of :class:`Shape`, which refuse unknown and missing fields.
"""

from __future__ import annotations

import math
import re
import threading
from collections.abc import Callable, Iterable, Mapping
from enum import Enum, auto
from functools import cache
from itertools import accumulate, chain
from typing import Any, ClassVar, Self, TypeVar

import msgspec
import msgspec.inspect as forms
import rfc8785
from sha3 import keccak_256

from sealmarket_enclave.protocol.errors import MalformedDocument, NotCanonical

_DECIMAL = re.compile(r"0|[1-9][0-9]{0,77}")


class HexBytes(bytes):
    """Bytes that travel as lower-case ``0x`` hex. Subclasses fix the length."""

    length: ClassVar[int | None] = None

    def __new__(cls, value: bytes = b"") -> Self:
        if cls.length is not None and len(value) != cls.length:
            raise MalformedDocument(f"{cls.__name__} takes {cls.length} bytes, found {len(value)}")
        return bytes.__new__(cls, value)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read the one spelling: ``0x`` and lower-case digits."""
        try:
            raw = bytes.fromhex(text[2:])
        except ValueError:
            raw = None
        if raw is None or text != "0x" + raw.hex():
            raise MalformedDocument(f"expected lower-case 0x hex, found {text[:80]!r}")
        return cls(raw)

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
        nibbles = keccak_256(digits.encode()).hexdigest()
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


class Uint64(Uint):
    """A count that contracts hold in 64 bits: bytes, for one."""

    bits = 64


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

LARGEST_INTEGER = (1 << 53) - 1
"""RFC 8785 spells integers up to this, either side of zero; larger numbers travel as decimal strings."""
MAXIMUM_NESTING = 64
"""Arrays and objects inside each other. What the interpreter itself takes depends on its settings, which libraries
change (py_ecc, by eth_account, to a hundred thousand): beyond a few ten thousand levels the process ends."""
_STRING = re.compile(rb'"(?:[^"\\]++|\\.?)*+"?', re.DOTALL)
"""A string, or what is left of the bytes. It matches wherever it starts, so no byte is read twice."""
_NO_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
_STEPS = bytes.maketrans(b"[{]}", b"\x01\x01\xff\xff")
"""One level deeper, or one less, as signed bytes."""
_ODD_NUMBER = re.compile(rb"[0-9](?:[.eE]|[0-9]{15})")
_PLAIN_FORMS = (forms.IntType, forms.BoolType, forms.StrType, forms.NoneType, forms.LiteralType, forms.EnumType)
_FLAT = frozenset({str, int, bool})
_UNREADABLE = (msgspec.MsgspecError, ValueError, OverflowError, RecursionError, TypeError)
"""What spelling and reading raise on a value that has no place in a document."""


def _to_wire(value: object) -> object:
    if isinstance(value, HexBytes):
        return "0x" + value.hex()
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
    """RFC 8785 bytes of a document: sorted keys, no spaces, one spelling of each value.

    Raises:
        NotCanonical: a value without such a spelling: an integer beyond 2**53 - 1, NaN, half a character.
    """
    try:
        if (fast := _fast(value)) is not _Fast.NEVER:
            raw = msgspec.json.encode(value, enc_hook=_to_wire, order="sorted")
            if _is_plain(raw) and (fast is _Fast.ALWAYS or raw.count(b"null") == _nones(value)):
                return raw
        return rfc8785.dumps(to_builtins(value))
    except _UNREADABLE as error:
        raise NotCanonical(f"no canonical spelling: {_shown(error)}") from error


def _is_plain(raw: bytes) -> bool:
    """Whether a JSON document has ASCII without escapes, and no number but integers of up to 15 digits.

    RFC 8785 spells these as every writer does, but for spaces and the order of keys.
    """
    if not raw.isascii() or b"\\" in raw:
        return False
    outside_of_strings = b"".join(raw.split(b'"')[::2])
    return _ODD_NUMBER.search(outside_of_strings) is None


class _Fast(Enum):
    """Whether msgspec spells a value as RFC 8785 does where :func:`_is_plain` holds for what it writes."""

    NEVER = auto()
    BY_NULLS = auto()
    """It may hold a fraction: msgspec spells NaN as null, where RFC 8785 has no spelling. So no null may stand in it
    but those of its own members."""
    ALWAYS = auto()


def _fast(value: object) -> _Fast:
    if isinstance(value, Shape):
        return _fast_kind(type(value))
    flat = type(value) is dict and all(type(k) is str and type(v) in _FLAT for k, v in value.items())
    return _Fast.ALWAYS if flat else _Fast.NEVER


def _nones(value: object) -> int:
    """How many members of a document itself are None, each of which is spelled once."""
    return sum(part is None for part in _parts(value)) if isinstance(value, Shape) else 0


@cache
def _fast_kind(kind: type[Shape]) -> _Fast:
    with _preparing:
        form = forms.type_info(kind)
    if _is_plain_form(form, _PLAIN_FORMS):
        return _Fast.ALWAYS
    if kind.__struct_config__.omit_defaults:
        return _Fast.NEVER
    return _Fast.BY_NULLS if _is_plain_form(form, (*_PLAIN_FORMS, forms.FloatType)) else _Fast.NEVER


def _is_plain_form(form: forms.Type, plain: tuple[type, ...], around: tuple[type, ...] = ()) -> bool:
    match form:
        case forms.StructType(cls=kind):
            if form.array_like:
                return False
            return kind in around or all(_is_plain_form(one.type, plain, (*around, kind)) for one in form.fields)
        case forms.CustomType(cls=kind):
            return issubclass(kind, HexBytes | Uint)
        case forms.UnionType(types=several):
            return all(_is_plain_form(one, plain, around) for one in several)
        case forms.VarTupleType(item_type=item) | forms.ListType(item_type=item):
            return _is_plain_form(item, plain, around)
        case forms.DictType(key_type=forms.StrType(), value_type=item):
            return _is_plain_form(item, plain, around)
        case _:
            return isinstance(form, plain)


def parse_json(raw: bytes | str, kind: Any = Any, hook: Callable[[type, Any], Any] | None = None) -> Any:
    """JSON of bounded nesting as a value of a type: bytes from elsewhere are read by this, or checked by the next.

    Raises:
        msgspec.MsgspecError, UnicodeDecodeError: not JSON, nested deeper than ``MAXIMUM_NESTING``, of another type.
    """
    require_shallow(raw.encode("utf-8", "surrogatepass") if isinstance(raw, str) else raw)
    return msgspec.json.decode(raw, type=kind, dec_hook=hook)


def require_shallow(raw: bytes) -> None:
    """Raise ``msgspec.DecodeError`` for JSON that is nested deeper than ``MAXIMUM_NESTING``."""
    if raw.count(b"[") + raw.count(b"{") <= MAXIMUM_NESTING:
        return
    steps = memoryview(_STRING.sub(b"", raw).translate(_STEPS, _NO_BRACKETS)).cast("b")
    if max(accumulate(steps), default=0) > MAXIMUM_NESTING:
        raise msgspec.DecodeError(f"nested deeper than {MAXIMUM_NESTING}")


def decode(kind: type[T], raw: bytes | str) -> T:
    """Read a document of a known shape from JSON. What is read always has a canonical spelling.

    Raises:
        MalformedDocument: not JSON, an unknown or absent field, or a value of the wrong form or without a spelling.
    """
    known = prepared(kind)
    try:
        value: T = parse_json(raw, known, _from_wire)
        if not _is_plain(raw.encode() if isinstance(raw, str) else raw):
            _require_spelling(value)
    except _UNREADABLE as error:
        raise MalformedDocument(f"not of the form {_name(kind)}: {_shown(error)}") from error
    return value


def decode_canonical(kind: type[T], raw: bytes) -> T:
    """As :func:`decode`, and the bytes must be the document's one canonical spelling."""
    value = decode(kind, raw)
    if canonical_json(value) != raw:
        raise NotCanonical(f"expected {_name(kind)} in RFC 8785 canonical JSON without duplicate keys")
    return value


def from_builtins(kind: type[T], value: object) -> T:
    """Read a document of a known shape from plain dicts and lists. Raises as :func:`decode`."""
    known = prepared(kind)
    try:
        made = msgspec.convert(value, type=known, dec_hook=_from_wire)
        _require_spelling(made)
    except _UNREADABLE as error:
        raise MalformedDocument(f"not of the form {_name(kind)}: {_shown(error)}") from error
    return made


def _require_spelling(value: object, levels: int = MAXIMUM_NESTING) -> None:
    """Refuse what RFC 8785 cannot spell, wherever it is in a value that was read."""
    match value:
        case HexBytes() | Uint() | bool() | None:
            pass
        case str():
            value.encode()
        case int() if abs(value) > LARGEST_INTEGER:
            raise ValueError(f"an integer beyond 2**53 - 1, of {value.bit_length()} bits")
        case float() if not math.isfinite(value):
            raise ValueError(f"the number {value}")
        case _:
            for part in _parts(value):
                if not levels:
                    raise ValueError(f"nested deeper than {MAXIMUM_NESTING}")
                _require_spelling(part, levels - 1)


def _parts(value: object) -> Iterable[object]:
    match value:
        case msgspec.Struct():
            return (getattr(value, name) for name in value.__struct_fields__)
        case Mapping():
            return chain.from_iterable(value.items())
        case list() | tuple() | set() | frozenset():
            return value
        case _:
            return ()


def _name(kind: Any) -> str:
    return getattr(kind, "__name__", str(kind))


def _shown(error: Exception) -> str:
    return str(error).encode("utf-8", "backslashreplace").decode()[:300]
