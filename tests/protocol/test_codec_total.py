"""Every decoder is total: whatever comes is read or refused as a malformed document, and nothing else happens."""

from __future__ import annotations

import contextlib
import importlib
import json
import pkgutil
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
import rfc8785
from hypothesis import example, given
from hypothesis import strategies as st

from sealmarket import protocol
from sealmarket.protocol.wire import EvidencePackage
from sealmarket_enclave.protocol.codec import (
    LARGEST_INTEGER,
    MAXIMUM_NESTING,
    HexBytes,
    Shape,
    Uint,
    canonical_json,
    decode,
    decode_canonical,
    from_builtins,
    parse_json,
    to_builtins,
)
from sealmarket_enclave.protocol.errors import MalformedDocument, NotCanonical
from sealmarket_enclave.protocol.job import Parameters


def _shapes(kind: type[Shape] = Shape) -> Iterator[type[Shape]]:
    for child in kind.__subclasses__():
        if child.__module__.startswith("sealmarket.protocol."):
            yield child
        yield from _shapes(child)


for _module in pkgutil.iter_modules(protocol.__path__, "sealmarket.protocol."):
    importlib.import_module(_module.name)
SHAPES = sorted(set(_shapes()), key=lambda kind: kind.__name__)


class Loose(Shape, frozen=True, kw_only=True):
    """A shape with everything that types leave open."""

    number: int = 0
    text: str = ""
    anything: Any = None
    table: dict[str, Any] = msgspec.field(default_factory=dict)


class Plain(Shape, frozen=True, kw_only=True, tag_field="kind", tag="plain"):
    """A shape without fractions and without what types leave open."""

    text: str = ""
    number: int = 0
    account: HexBytes = HexBytes()
    amount: Uint = Uint()
    yes: bool | None = None
    inside: tuple[Plain, ...] = ()
    table: dict[str, int] = msgspec.field(default_factory=dict)


class Fractions(Shape, frozen=True, kw_only=True):
    """A shape whose values may be fractions, as what an answer was made with."""

    engine: dict[str, str | int | float | bool]
    code: str | None = None
    number: float | None = None
    inner: Fractions | None = None


TEXT = st.text(st.characters(codec=None), max_size=20)  # surrogates too
NUMBERS = st.integers() | st.integers(-(2**70), 2**70) | st.floats()
HEX = st.binary(max_size=70).map(lambda raw: "0x" + raw.hex()) | st.sampled_from([20, 32, 65]).map(
    lambda size: "0x" + "11" * size
)
LEAVES = st.none() | st.booleans() | NUMBERS | TEXT | HEX | st.integers(0, 2**300).map(str)
VALUES = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4), max_leaves=12
)


def near(kind: type[Shape]) -> st.SearchStrategy[dict[str, Any]]:
    """Objects with a shape's own field names, some of them absent, and values that may fit."""
    names = [field.encode_name for field in msgspec.structs.fields(kind)]
    return st.fixed_dictionaries({}, optional=dict.fromkeys(names, VALUES))


def reads_or_refuses(kind: type[Shape], raw: bytes, value: object) -> None:
    with contextlib.suppress(MalformedDocument):
        spells(decode(kind, raw))
    with contextlib.suppress(MalformedDocument):
        spells(from_builtins(kind, value))
    with contextlib.suppress(MalformedDocument):
        assert decode_canonical(kind, raw).canonical() == raw


def spells(document: Shape) -> None:
    """What was read has a spelling, which reads back: nothing that passes a decoder fails later."""
    try:
        raw = document.canonical()
        assert raw == rfc8785.dumps(to_builtins(document))
        assert decode_canonical(type(document), raw).canonical() == raw
    except MalformedDocument as error:
        raise AssertionError(f"a document was read and cannot be spelled: {document!r}") from error


@given(st.sampled_from([*SHAPES, Loose]), st.binary(max_size=200))
def test_no_bytes_do_anything_else(kind: type[Shape], raw: bytes) -> None:
    reads_or_refuses(kind, raw, raw)


def cases(kind: type[Shape]) -> st.SearchStrategy[tuple[type[Shape], Any]]:
    return st.tuples(st.just(kind), near(kind) | VALUES)


KINDS: st.SearchStrategy[type[Shape]] = st.sampled_from([*SHAPES, Loose])


@given(KINDS.flatmap(cases))
@example((Loose, {"number": 2**53}))
@example((Loose, {"table": {"deep": float("nan")}}))
@example((Loose, {"text": "\ud800"}))
@example((Loose, {"anything": {"\udfff": [2**64, -(2**63) - 1]}}))
def test_no_json_does_anything_else(case: tuple[type[Shape], Any]) -> None:
    kind, value = case
    reads_or_refuses(kind, json.dumps(value).encode(), value)


PLAINLY: st.SearchStrategy[Plain] = st.recursive(
    st.builds(
        Plain,
        text=TEXT,
        number=st.integers() | st.floats(allow_nan=False, allow_infinity=False),
        account=st.binary(max_size=40).map(HexBytes),
        amount=st.integers(0, 2**256 - 1).map(Uint),
        yes=st.none() | st.booleans(),
        table=st.dictionaries(TEXT, st.integers(-(2**54), 2**54), max_size=4),
    ),
    lambda inner: st.builds(Plain, inside=st.lists(inner, max_size=3).map(tuple)),
    max_leaves=4,
)


@given(PLAINLY)
@example(Plain(text='a "word" \\ \x00\x1f\x7f/<é\u2028\U0001f600'))
@example(Plain(table={"\U0001f600": 1, "\uffff": 2, "a": 3, "B": 4, "": 5}))
@example(Plain(number=LARGEST_INTEGER, text="1e5 1.5 12345678901234567890"))
@example(Plain(number=LARGEST_INTEGER + 1))
@example(Plain(number=1.5))  # type: ignore[arg-type]
def test_the_fast_writer_spells_as_the_library_for_rfc_8785_does_or_refuses_as_it_does(value: Plain) -> None:
    try:
        expected = rfc8785.dumps(to_builtins(value))
    except (rfc8785.CanonicalizationError, ValueError, msgspec.MsgspecError):
        with pytest.raises(NotCanonical):
            canonical_json(value)
        return
    assert canonical_json(value) == expected


SINGLE = TEXT | st.integers() | st.floats() | st.booleans() | st.none() | st.binary(max_size=4)


@given(st.dictionaries(TEXT | st.integers(0, 3), SINGLE, max_size=4), st.none() | TEXT, st.none() | st.floats())
@example({"a": float("nan")}, "x", 1.5)
@example({"a": float("nan")}, None, None)
@example({"a": float("-inf"), "b": "null"}, "x", None)
@example({"threads": 1, "name": "a null", "last": True}, "x", None)
@example({"threads": 1, "last": True}, "x", float("nan"))
@example({1: 2}, None, None)
@example({"a": -0.0, "b": 1e21, "c": 5e-324}, "x", 0.0)
def test_values_that_may_be_fractions_are_spelled_as_the_library_spells_them_or_refused(
    engine: dict[Any, Any], code: str | None, number: float | None
) -> None:
    outer = Fractions(engine=engine, code=code, number=number)
    for value in (engine, outer, Fractions(engine={}, inner=outer)):
        try:
            expected = rfc8785.dumps(to_builtins(value))
        except (rfc8785.CanonicalizationError, ValueError, msgspec.MsgspecError):
            with pytest.raises(NotCanonical):
                canonical_json(value)
            continue
        assert canonical_json(value) == expected


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_a_shape_with_fractions_refuses_one_without_a_spelling(number: float) -> None:
    with pytest.raises(NotCanonical):
        canonical_json(Loose(anything=number))


@pytest.mark.parametrize("value", [2**53, -(2**53), 2**64, 10**400])
def test_an_integer_without_a_canonical_spelling_is_refused_wherever_it_stands(value: int) -> None:
    for place in ({"number": value}, {"anything": [value]}, {"table": {"a": {"b": value}}}):
        with pytest.raises(MalformedDocument):
            decode(Loose, json.dumps(place))
        with pytest.raises(MalformedDocument):
            from_builtins(Loose, place)


def test_the_largest_integers_are_read() -> None:
    for value in (LARGEST_INTEGER, -LARGEST_INTEGER):
        assert decode(Loose, json.dumps({"number": value})).number == value


@pytest.mark.parametrize("value", [float("nan"), float("inf"), "\ud800"])
def test_a_value_without_a_spelling_is_refused(value: object) -> None:
    with pytest.raises(MalformedDocument):
        from_builtins(Loose, {"anything": value})
    with pytest.raises(NotCanonical):
        canonical_json({"anything": value})


def test_nesting_without_end_is_refused() -> None:
    deep: Any = 0
    for _ in range(5000):
        deep = [deep]
    with pytest.raises(MalformedDocument):
        from_builtins(Loose, {"anything": deep})
    with pytest.raises(MalformedDocument):
        decode(Loose, b'{"anything":' + b"[" * 100_000)


DEEP = (b"[" * 100_000, b"[" * 100_000 + b"]" * 100_000, b'{"a":' * 50_000 + b"1" + b"}" * 50_000, b'[{"a":' * 40_000)


def test_nesting_is_bounded_whatever_the_interpreter_allows() -> None:
    """A library in every process that signs raises the limit so far that a document could end the process."""
    program = (
        "import sys, threading; sys.setrecursionlimit(100_000)\n"
        "from sealmarket_enclave.protocol.codec import decode\n"
        "from sealmarket_enclave.protocol.errors import MalformedDocument\n"
        "from sealmarket_enclave.protocol.policy import PolicyDocument\n"
        "def read(raw):\n"
        "    try: decode(PolicyDocument, b'{\"evidence\":{\"a\":' + raw + b'}}')\n"
        "    except MalformedDocument as error: print(error)\n"
        "raw = sys.stdin.buffer.read()\n"
        "thread = threading.Thread(target=read, args=(raw,)); thread.start(); thread.join()\n"
    )
    for raw in DEEP:
        done = subprocess.run([sys.executable, "-c", program], input=raw, capture_output=True, check=False)
        assert (done.returncode, done.stderr) == (0, b"")
        assert b"nested deeper than 64" in done.stdout


@given(VALUES)
def test_no_value_of_little_nesting_is_refused_for_it(value: Any) -> None:
    for text in (json.dumps(value), json.dumps([value] * 100), json.dumps({'[{"' * 100 + "\\": value})):
        with contextlib.suppress(msgspec.DecodeError, UnicodeError):
            expected = msgspec.json.decode(text)
            assert parse_json(text) == expected


def test_nesting_is_counted_to_the_level() -> None:
    for levels, brackets in ((MAXIMUM_NESTING, b"[]"), (MAXIMUM_NESTING - 1, b"[],[]")):
        assert parse_json(b"[" * (levels - 1) + brackets + b"]" * (levels - 1)) is not None
    with pytest.raises(msgspec.DecodeError, match="nested deeper"):
        parse_json(b"[" * (MAXIMUM_NESTING + 1) + b"]" * (MAXIMUM_NESTING + 1))


@pytest.mark.parametrize("piece", [b'"', b'\\"', b'"\\', b"[]", b"[{", b'["', b'{"a":"'])
def test_bounding_nesting_takes_time_in_proportion(piece: bytes) -> None:
    begun = time.process_time()
    with pytest.raises(msgspec.DecodeError):
        parse_json(piece * (1 << 20))
    assert time.process_time() - begun < 10


def test_parameters_with_an_integer_that_no_digest_can_cover_are_refused() -> None:
    with pytest.raises(MalformedDocument):
        decode(Parameters, b'{"salt":"0x' + b"00" * 32 + b'","values":{"epochs":9007199254740992}}')


def test_every_document_of_the_protocol_is_covered() -> None:
    assert EvidencePackage in SHAPES
    assert len(SHAPES) > 30
