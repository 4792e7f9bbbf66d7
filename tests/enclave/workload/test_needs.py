"""Needs of a slot against the cards of its assets: client, oracle node and enclave answer alike, and never guess."""

from __future__ import annotations

import csv
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from sealmarket_enclave.protocol.card import ARROW, Bounds, Card, Column, ColumnType, Dialect, ReaderRef, checked
from sealmarket_enclave.protocol.codec import ZERO_HASH, decode_canonical
from sealmarket_enclave.workload import needs
from sealmarket_enclave.workload.bundle import DigestManifest
from sealmarket_enclave.workload.environment import Interpreter
from sealmarket_enclave.workload.errors import InvalidManifest, ParametersRefused
from sealmarket_enclave.workload.manifest import InputSlot, Limits, parse_manifest, unmet_needs
from sealmarket_enclave.workload.needs import ColumnNeed, Needs, When, unmet
from tests.enclave.workload.bundles import MANIFEST

READER = ReaderRef(name="tables", digest=ZERO_HASH)
CARD = checked(
    Card(
        kind="table",
        media_type="text/csv",
        reader=READER,
        dialect=Dialect(),
        columns=(
            Column(name="age", type="integer", single=True),
            Column(name="income", type="number", single=True, missing=True),
            Column(name="id", type="integer"),
            Column(name="ward", type="category", classes=("a", "b")),
        ),
        rows=Bounds(minimum=30, maximum=40),
    )
)
IMAGES = Card(kind="bytes", media_type="application/pdf")
NUMERIC: tuple[ColumnType, ...] = ("integer", "number")
TRAINING = Needs(
    kind="table",
    rows=50,
    same_columns=True,
    besides="ignore",
    columns=(
        ColumnNeed(parameter="target", types=(*NUMERIC, "category")),
        ColumnNeed(parameter="target", types=NUMERIC, single=True, when=When(parameter="task", equals="regression")),
        ColumnNeed(others=True, types=NUMERIC, single=True, least=1),
        ColumnNeed(others=True, types=NUMERIC, missing=False, when=When(parameter="missing", equals="refuse")),
    ),
)
VALUES: dict[str, Any] = {"target": "ward", "task": "auto", "ignore": "id", "missing": "drop"}
TOML = """
[inputs.needs]
kind = "table"
rows = 50
besides = "target"

[[inputs.needs.columns]]
parameter = "target"
types = ["integer"]
when = {parameter = "task", equals = "a"}

[[inputs.needs.columns]]
others = true
types = ["number"]
single = true
"""


def manifest(toml: str = TOML) -> bytes:
    return MANIFEST.replace("maximum = 3\n", f"maximum = 3\n{toml}").encode()


def said(needs: Needs = TRAINING, cards: tuple[Card | None, ...] = (CARD, CARD), **values: Any) -> list[str]:
    return [f"{one.asset}: {one.expected} / {one.found}" for one in unmet(needs, cards, VALUES | values)]


def test_what_the_cards_promise_meets_the_needs() -> None:
    assert said() == []


@pytest.mark.parametrize(
    ("cards", "values", "answer"),
    [
        ((CARD, None), {}, "1: a data card that promises kind table / one that promises nothing"),
        ((IMAGES, CARD), {}, "0: kind table / kind bytes"),
        ((CARD,), {}, "None: 50 rows or more together / 30 that the cards promise"),
        ((CARD, CARD), {"target": "price"}, "0: a column 'price' / none of that name"),
        ((CARD, CARD), {"target": 5}, "0: a column '' / none of that name"),
        ((CARD, CARD), {"ignore": "id,colour"}, "0: a column 'colour' to leave out / none of that name"),
        ((CARD, CARD), {"ignore": '"id'}, "0: a column '\"id' to leave out / none of that name"),
        ((CARD, CARD), {"ignore": "ward,id"}, "0: column 'ward' / among those to leave out"),
        ((CARD, CARD), {"ignore": ""}, "0: column 'id' with values that 32-bit floats keep / no promise of that"),
        ((CARD, CARD), {"target": "age"}, "0: column 'ward' of type integer or number / type category"),
        ((CARD, CARD), {"task": "regression"}, "0: column 'ward' of type integer or number / type category"),
        ((CARD, CARD), {"missing": "refuse"}, "0: column 'income' without missing cells / cells that may miss"),
        ((CARD, CARD), {"ignore": "age,income,id"}, "0: 1 columns or more beside those that are named / 0"),
    ],
)
def test_what_no_card_promises_is_named_with_its_asset(
    cards: tuple[Card | None, ...], values: dict[str, Any], answer: str
) -> None:
    assert answer in said(cards=cards, **values)


def test_assets_of_one_slot_with_other_columns_are_named() -> None:
    other = replace(CARD, columns=(*CARD.columns[:3], Column(name="ward", type="text")))
    assert "1: the columns of the first asset / column 'ward' there or of its type in one of them only" in said(
        cards=(CARD, other)
    )


def test_a_condition_holds_for_a_value_of_its_own_type_only() -> None:
    assert When(parameter="deep", equals=True).holds({"deep": True})
    assert not When(parameter="deep", equals=True).holds({"deep": 1})
    assert not When(parameter="deep", equals=1).holds({})


def test_a_slot_without_needs_takes_any_asset_and_one_for_tables_takes_tables() -> None:
    plain, arrow = InputSlot(name="a", media_type="text/csv"), InputSlot(name="b", media_type=ARROW)
    assert list(unmet_needs((plain, plain), (None, IMAGES), {})) == []
    (found,) = unmet_needs((plain, arrow), (None, None), {})
    assert (found.asset, found.found) == (1, "one that promises nothing")


def test_a_slot_that_takes_the_original_bytes_takes_them_in_its_own_media_type() -> None:
    slot = InputSlot(name="a", media_type="application/jsonl", needs=Needs(kind="table"))
    (found,) = unmet_needs((slot,), (CARD,), {})
    assert (found.expected, found.found) == ("media type application/jsonl", "text/csv")
    assert list(unmet_needs((replace(slot, media_type="application/octet-stream"),), (CARD,), {})) == []


def test_too_many_assets_for_the_slots_are_refused() -> None:
    with pytest.raises(ParametersRefused):
        list(unmet_needs((InputSlot(name="a", media_type="text/csv"),), (None, None), {}))


def test_needs_are_read_from_the_manifest_and_the_digest_covers_them() -> None:
    parsed = parse_manifest(manifest())
    needs = parsed.inputs[1].needs
    assert needs is not None
    assert needs.columns[0].when == When(parameter="task", equals="a")
    listed = DigestManifest(
        entry_point=parsed.entry_point,
        interpreter=Interpreter.current(),
        limits=Limits(cpu_seconds=1, wall_seconds=1, memory_bytes=1 << 30),
        inputs=parsed.inputs,
        files=(),
    )
    assert decode_canonical(DigestManifest, listed.canonical()).inputs[1].needs == needs


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('kind = "table"', 'kind = "film"'),
        ('kind = "table"', 'kind = "images"'),
        ('kind = "table"', ""),
        ("rows = 50", "rows = -1"),
        ('besides = "target"', 'besides = "n_estimators"'),
        ('besides = "target"', 'besides = "absent"'),
        ('parameter = "target"\n', ""),
        ('parameter = "target"\n', 'parameter = "target"\nname = "age"\n'),
        ('parameter = "target"\n', 'parameter = "rate"\n'),
        ('parameter = "task"', 'parameter = "absent"'),
        ('types = ["integer"]', "types = []"),
        ('types = ["integer"]', 'types = ["float"]'),
        ("single = true", "double = true"),
    ],
)
def test_needs_that_say_nothing_or_two_things_are_refused(old: str, new: str) -> None:
    assert old in TOML
    with pytest.raises(InvalidManifest):
        parse_manifest(manifest(TOML.replace(old, new, 1)))


@given(st.text(max_size=200), st.text(max_size=40), st.sampled_from(["auto", "regression", "x"]))
def test_whatever_the_parameters_are_the_needs_are_answered(ignore: str, target: str, task: str) -> None:
    for answer in said(ignore=ignore, target=target, task=task):
        assert answer


@given(st.text(alphabet='", ab\t\u00e9', max_size=24))
def test_names_in_one_line_are_read_as_the_standard_library_reads_them(line: str) -> None:
    try:
        expected = next(csv.reader([line], skipinitialspace=True, strict=True), [])
    except csv.Error:
        with pytest.raises(ValueError, match="quote"):
            list(needs._fields(line))
        return
    assert [field for field in needs._fields(line) if field] == [field for field in expected if field]


@pytest.mark.parametrize("line", ["a\nb", '"a\rb"'])
def test_more_than_one_line_names_nothing(line: str) -> None:
    with pytest.raises(ValueError, match="more than one line"):
        list(needs._fields(line))
