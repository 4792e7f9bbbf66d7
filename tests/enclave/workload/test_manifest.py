"""workload.toml: unknown, missing and contradictory fields are refused by name, and parameters obey the schema."""

from __future__ import annotations

import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET

from sealmarket_enclave.workload.errors import InvalidManifest, ParametersRefused
from sealmarket_enclave.workload.manifest import SessionLimits, parse_manifest
from tests.enclave.workload.bundles import MANIFEST

PARSED = parse_manifest(MANIFEST.encode())


@pytest.mark.parametrize(("old", "new"), [
    ("schema = 1", "schema = 2"),
    ("schema = 1", "schema = 1\nmore = 1"),
    ("schema = 1", "schema = 1\nentryPoint = 'a:b'"),
    ('name = "count-rows"', 'name = "../x"'),
    ('name = "count-rows"', ""),
    ('"job:run"', '"os:system; x"'),
    ('"job:run"', '"job"'),
    ('"1.0.0"', '"1"'),
    ("minimum = 1\nmaximum = 3", "minimum = 3\nmaximum = 1"),
    ('media_type = "application/json"\n\n[[inputs]]', 'media_type = "application/json"\nmaximum = 2\n\n[[inputs]]'),
    ('name = "rows"', 'name = "card"'),
    ('name = "rate"', 'name = "target"'),
    ("default = 10", "default = 101"),
    ("default = 10", 'default = "10"'),
    ("cpu_seconds = 5", "cpu_seconds = 0"),
    ("cpu_seconds = 5", ""),
    ("memory_bytes = 1073741824", "memory_bytes = 67108863"),
    ("max_bytes = 100", "max_bytes = 0"),
    ('name = "count.json"', 'name = "../count"'),
    ("schema = 1", "schema = "),
])  # fmt: skip
def test_a_manifest_out_of_form_is_refused(old: str, new: str) -> None:
    assert old in MANIFEST
    with pytest.raises(InvalidManifest) as refusal:
        parse_manifest(MANIFEST.replace(old, new, 1).encode())
    assert refusal.value.remedy


SESSION = MANIFEST[: MANIFEST.index("[[outputs]]")].replace("schema = 1", 'schema = 1\nkind = "session"') + (
    MANIFEST[MANIFEST.index("[limits]") :] + "\n[session]\nprocesses = 2\nrequest_seconds = 30\n"
)


@pytest.mark.parametrize(("old", "new"), [
    ('kind = "session"', ""),
    ('kind = "session"', 'kind = "stream"'),
    ("processes = 2", "processes = 0"),
    ("processes = 2", "processes = 65"),
    ("request_seconds = 30", "request_seconds = 3601"),
    ("[session]\nprocesses = 2\nrequest_seconds = 30\n", ""),
    ("[limits]", "[[outputs]]\nname = 'a'\nmedia_type = 'a/b'\nmax_bytes = 1\n[limits]"),
])  # fmt: skip
def test_a_manifest_of_a_session_out_of_form_is_refused(old: str, new: str) -> None:
    assert old in SESSION
    with pytest.raises(InvalidManifest):
        parse_manifest(SESSION.replace(old, new, 1).encode())


def test_a_batch_workload_without_outputs_is_refused() -> None:
    with pytest.raises(InvalidManifest, match="outputs"):
        parse_manifest((MANIFEST[: MANIFEST.index("[[outputs]]")] + MANIFEST[MANIFEST.index("[limits]") :]).encode())


def test_a_session_says_how_many_accounts_it_serves_at_once_and_a_batch_job_does_not() -> None:
    assert PARSED.session is UNSET
    parsed = parse_manifest(SESSION.encode())
    assert (parsed.kind, parsed.outputs) == ("session", ())
    assert parsed.session == SessionLimits(processes=2, request_seconds=30)


def test_a_manifest_that_is_no_text_is_refused() -> None:
    with pytest.raises(InvalidManifest):
        parse_manifest(b"\xff\xfe")


@pytest.mark.parametrize("given_", [
    {},
    {"target": 1},
    {"target": "too long a name"},
    {"target": "y", "unknown": 1},
    {"target": "y", "n_estimators": 0},
    {"target": "y", "n_estimators": 101},
    {"target": "y", "n_estimators": 1.0},
    {"target": "y", "n_estimators": True},
    {"target": "y", "rate": float("nan")},
    {"target": "y", "rate": 1.1},
    {"target": "y", "rate": "0.5"},
    {"target": "y", "task": "c"},
    {"target": "y", "verbose": 1},
    {"target": "y", "verbose": None},
    {"target": ["y"]},
])  # fmt: skip
def test_parameters_that_the_schema_does_not_allow_are_refused(given_: dict[str, Any]) -> None:
    with pytest.raises(ParametersRefused):
        PARSED.check_parameters(given_)


def test_missing_parameters_take_their_defaults() -> None:
    assert PARSED.check_parameters({"target": "y", "rate": 1}) == {
        "target": "y",
        "n_estimators": 10,
        "rate": 1,
        "task": "a",
        "verbose": False,
    }


@pytest.mark.parametrize("count", [0, 1, 5])
def test_assets_that_do_not_fit_the_slots_are_refused(count: int) -> None:
    with pytest.raises(ParametersRefused):
        PARSED.input_names(count)


def test_assets_fill_the_slots_in_order() -> None:
    assert PARSED.input_names(2) == ("card", "rows-1")
    assert PARSED.input_names(4) == ("card", "rows-1", "rows-2", "rows-3")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("a = " + "[" * 5000 + "]" * 5000, "inside each other"),
        ("a = " + "{a=" * 17 + "1" + "}" * 17, "inside each other"),
        ("[" + "a." * 100 + "a]", "inside each other"),
        (".".join(["a"] * 5000) + " = 1", "at most 256 dots in a line"),
        ("a = " + "1" * 5000, "TOML in UTF-8"),
        ("#" * ((128 << 10) + 1), "at most 131072 bytes"),
    ],
    ids=["arrays", "tables", "header", "dots", "digits", "size"],
)
@pytest.mark.parametrize("limit", [1000, 100_000])
def test_a_manifest_that_would_exhaust_its_reader_is_refused_whatever_recursion_the_process_allows(
    text: str, found: str, limit: int
) -> None:
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(limit)
    try:
        with pytest.raises(InvalidManifest, match=found):
            parse_manifest(text.encode())
    finally:
        sys.setrecursionlimit(before)


@given(st.binary(max_size=200))
def test_reading_any_bytes_ends_in_a_refusal(raw: bytes) -> None:
    with pytest.raises(InvalidManifest):
        parse_manifest(raw)
