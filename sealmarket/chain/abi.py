"""The contracts' ABIs: encoding of calls, decoding of results, events and errors.

Structures cross as the protocol's own shapes: a tuple's components are matched with a shape's fields by name
(``termsVersion`` is ``terms_version``), never by position, so that a reordered struct cannot be misread.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any, TypeVar

import msgspec

from sealmarket.chain.errors import AbiMismatch
from sealmarket.chain.log_data import read_data
from sealmarket_enclave.protocol.codec import Address, Bytes32, HexBytes, Shape, Uint, prepared
from sealmarket_enclave.protocol.hashing import keccak

S = TypeVar("S", bound=Shape)
Fields = dict[str, Any]

CONTRACTS = ("AssetRegistry", "OracleCommittee", "Market")
RAISING = (*CONTRACTS, "MarketEndings", "MarketExtension", "Sessions")
"""Whose errors a caller may see: the market runs part of its code at the last two."""
_ARRAY = re.compile(r"^(.*)\[(\d*)\]$")


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter of the ABI: its name, its type, the parts of a tuple."""

    name: str
    kind: str
    indexed: bool
    parts: tuple[Parameter, ...]

    @property
    def spelt(self) -> str:
        """The name in snake case, as values have it."""
        return snake(self.name)

    @property
    def canonical(self) -> str:
        """The type as selectors spell it."""
        if not self.kind.startswith("tuple"):
            return self.kind
        return f"({','.join(part.canonical for part in self.parts)})" + self.kind.removeprefix("tuple")


@dataclass(frozen=True, slots=True)
class Entry:
    """A function, an event or an error."""

    kind: str
    name: str
    inputs: tuple[Parameter, ...]
    outputs: tuple[Parameter, ...]

    @property
    def signature(self) -> str:
        """As hashed for selectors and topics."""
        return f"{self.name}({','.join(part.canonical for part in self.inputs)})"

    @property
    def selector(self) -> bytes:
        """The four bytes that name a function or an error."""
        return keccak(self.signature.encode())[:4]

    @property
    def topic(self) -> Bytes32:
        """The topic that identifies an event."""
        return keccak(self.signature.encode())


@dataclass(frozen=True, slots=True)
class Abi:
    """One contract's interface."""

    contract: str
    functions: Mapping[str, tuple[Entry, ...]]
    events: Mapping[Bytes32, Entry]
    errors: Mapping[bytes, Entry]
    constructor: tuple[Parameter, ...]
    bytecode: bytes

    def creation(self, *arguments: object) -> bytes:
        """The creation code with its arguments. Raises :class:`AbiMismatch` for an interface, which has no code."""
        if not self.bytecode:
            raise AbiMismatch(self.contract, "there is no code to deploy: only the interface is exported")
        return self.bytecode + encode(self.constructor, arguments, f"{self.contract}.constructor")

    def function(self, name: str, arguments: int) -> Entry:
        """The function of that name which takes so many arguments."""
        for entry in self.functions.get(name, ()):
            if len(entry.inputs) == arguments:
                return entry
        raise AbiMismatch(self.contract, f"no function {name} with {arguments} arguments")


@cache
def load(contract: str) -> Abi:
    """The exported contract, or its interface. Raises :class:`AbiMismatch` when neither is there."""
    for name in (contract, f"I{contract}"):
        file = resources.files("sealmarket.chain").joinpath("abi", f"{name}.json")
        if file.is_file():
            return parse(contract, msgspec.json.decode(file.read_bytes()))
    raise AbiMismatch(contract, "its interface is not exported")


def parse(contract: str, document: Any) -> Abi:
    """Read an artifact: ``{"abi": [...], "bytecode": "0x..."}``."""
    entries = [_entry(item) for item in document["abi"] if item["type"] in {"function", "event", "error"}]
    functions: dict[str, tuple[Entry, ...]] = {}
    for entry in entries:
        if entry.kind == "function":
            functions[entry.name] = (*functions.get(entry.name, ()), entry)
    return Abi(
        contract=contract,
        functions=functions,
        events={entry.topic: entry for entry in entries if entry.kind == "event"},
        errors={entry.selector: entry for entry in entries if entry.kind == "error"},
        constructor=next(
            (_parameters(item["inputs"]) for item in document["abi"] if item["type"] == "constructor"), ()
        ),
        bytecode=bytes.fromhex(document.get("bytecode", "0x")[2:]),
    )


def _entry(item: Any) -> Entry:
    return Entry(item["type"], item["name"], _parameters(item["inputs"]), _parameters(item.get("outputs", [])))


def _parameters(items: Any) -> tuple[Parameter, ...]:
    return tuple(
        Parameter(
            name=item["name"].removeprefix("_"),
            kind=item["type"],
            indexed=item.get("indexed", False),
            parts=_parameters(item.get("components", [])),
        )
        for item in items
    )


# --- out: shapes to words -------------------------------------------------------------------------------------


def encode_call(entry: Entry, arguments: Sequence[object]) -> bytes:
    """Selector and arguments. Raises :class:`AbiMismatch` when a value does not fit its type."""
    return entry.selector + encode(entry.inputs, arguments, entry.signature)


def encode(parameters: Sequence[Parameter], values: Sequence[object], where: str) -> bytes:
    """ABI encoding of values (shapes included) by their parameters."""
    from eth_abi.abi import encode as abi_encode  # half a second to import; a program that reads no chain does without
    from eth_abi.exceptions import EncodingError

    try:
        plain = [_lower(part, value) for part, value in zip(parameters, values, strict=True)]
        return abi_encode([part.canonical for part in parameters], plain)
    except (EncodingError, ValueError, TypeError, AttributeError, KeyError) as error:
        raise AbiMismatch(where, f"arguments do not fit: {error}") from error


def _lower(parameter: Parameter, value: Any) -> object:
    array = _ARRAY.match(parameter.kind)
    if array:
        item = Parameter(parameter.name, array[1], False, parameter.parts)
        return [_lower(item, entry) for entry in value]
    if parameter.kind == "tuple":
        return tuple(_lower(part, _field(value, part.name)) for part in parameter.parts)
    if parameter.kind == "address":
        return bytes(value)
    if isinstance(value, bytes | bytearray):
        return bytes(value)
    if isinstance(value, bool) or not isinstance(value, int):
        return value
    return int(value)


def _field(value: Any, name: str) -> object:
    if isinstance(value, Mapping):
        return value[snake(name)]
    return getattr(value, snake(name))


@cache
def snake(name: str) -> str:
    """``termsVersion`` -> ``terms_version``."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()


# --- in: words to shapes --------------------------------------------------------------------------------------


def decode(parameters: Sequence[Parameter], raw: bytes, where: str) -> Fields:
    """Values by (snake case) name; unnamed ones by position. Bytes become :class:`HexBytes` of their length.

    A string is text for people, chosen by the contract's caller: bytes that are not UTF-8 are shown as escapes.
    No decision may rest on one.

    Raises:
        AbiMismatch: the bytes are not this type's one encoding.
    """
    from eth_abi.abi import decode as abi_decode  # as above
    from eth_abi.exceptions import DecodingError

    kinds = [part.canonical.replace("string", "bytes") for part in parameters]
    try:
        values = abi_decode(kinds, raw)
    except (DecodingError, OverflowError) as error:
        raise AbiMismatch(where, f"answer does not decode: {error}") from error
    named = zip(parameters, values, strict=True)
    return {snake(part.name) or str(place): _raise(part, value) for place, (part, value) in enumerate(named)}


def _raise(parameter: Parameter, value: Any) -> Any:
    array = _ARRAY.match(parameter.kind)
    if array:
        item = Parameter(parameter.name, array[1], False, parameter.parts)
        return tuple(_raise(item, entry) for entry in value)
    if parameter.kind == "tuple":
        named = zip(parameter.parts, value, strict=True)
        return {snake(part.name): _raise(part, entry) for part, entry in named}
    if parameter.kind == "address":
        return Address.parse(value.lower())
    if parameter.kind == "string":
        return value.decode("utf-8", "backslashreplace")
    if parameter.kind == "bytes32":
        return Bytes32(value)
    if parameter.kind.startswith("bytes"):
        return HexBytes(value)
    return value


def to_shape(kind: type[S], fields: Mapping[str, Any], **more: Any) -> S:
    """Build a protocol shape from decoded fields; nested ones too.

    Raises:
        AbiMismatch: a field is missing, or out of the range that the protocol allows.
    """
    merged = {**fields, **more}
    try:
        document = {spelt: _plain(merged[name]) for name, spelt in _spelt(kind) if name in merged}
        return msgspec.convert(document, type=prepared(kind), dec_hook=_hook)
    except (msgspec.MsgspecError, TypeError, ValueError) as error:
        raise AbiMismatch(kind.__name__, f"what the chain says does not fit: {error}") from error


@cache
def _spelt(kind: type[Shape]) -> tuple[tuple[str, str], ...]:
    """The fields of a shape, and how documents spell them."""
    return tuple((field.name, field.encode_name) for field in msgspec.structs.fields(kind))


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {_camel(name): _plain(entry) for name, entry in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(entry) for entry in value]
    return value


@cache
def _camel(name: str) -> str:
    head, *rest = name.split("_")
    return head + "".join(part.capitalize() for part in rest)


def _hook(kind: type, value: Any) -> Any:
    if issubclass(kind, HexBytes | Uint):
        return kind(value)
    raise AbiMismatch(kind.__name__, "no reading from a contract")


def decode_log(entry: Entry, topics: Sequence[bytes], raw: bytes) -> Fields:
    """The fields of one event. Indexed values come from the topics; indexed dynamic ones stay hashes."""
    indexed, rest = _sides(entry.inputs)
    if len(topics) != len(indexed) + 1 or any(len(topic) != 32 for topic in topics):
        raise AbiMismatch(entry.name, f"{len(topics)} topics, expected {len(indexed) + 1}")
    return read_data(indexed, b"".join(topics[1:]), entry.name) | read_data(rest, raw, entry.name)


@cache
def _sides(inputs: tuple[Parameter, ...]) -> tuple[tuple[Parameter, ...], tuple[Parameter, ...]]:
    """What is in an event's topics, each as one word, and what is in its data."""
    indexed = (_topic(part) for part in inputs if part.indexed)
    return tuple(indexed), tuple(part for part in inputs if not part.indexed)


def _topic(part: Parameter) -> Parameter:
    dynamic = part.kind in {"string", "bytes"} or part.kind.endswith("]") or part.kind == "tuple"
    return Parameter(part.name, "bytes32", True, ()) if dynamic else part
