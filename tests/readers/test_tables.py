"""A reader holds content against its card: what is not as promised ends with a code and the column, never a cell."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sealmarket_enclave.protocol.card import ARROW, Bounds, Card, Column, Dialect
from tests.readers.apart import ApartReader
from tests.readers.tables import changed, held, inferred, load, table_card

AGE = Column(name="age", type="integer", minimum="0", maximum="120")
SEX = Column(name="sex", type="category", classes=("f", "m"))
DOSE = Column(name="dose", type="number")
CARD = table_card(AGE, SEX, DOSE, rows=Bounds(minimum=2, maximum=3))
PARQUET, LINES = "application/vnd.apache.parquet", "application/jsonl"
ARROW_FILE = "application/vnd.apache.arrow.file"


def csv_of(*rows: str, header: str = "age,sex,dose") -> bytes:
    return "\n".join([header, *rows]).encode()


def test_a_machine_without_memory_is_no_verdict_on_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    def starved(*_: object) -> Iterator[pa.RecordBatch]:
        raise pa.ArrowMemoryError("malloc of size 64 failed")

    monkeypatch.setattr(load("binary"), "_batches", starved)
    with pytest.raises(MemoryError):
        held(b"any", msgspec.structs.replace(CARD, media_type=PARQUET, dialect=None))


@pytest.mark.parametrize(
    ("file", "code", "column"),
    [
        (b"", "not_readable", None),
        (csv_of(), "row_count", None),
        (csv_of("1,f,2"), "row_count", None),
        (csv_of(*["1,f,2"] * 4), "row_count", None),
        (csv_of("1,2", "1,2", header="age,dose"), "column_missing", "sex"),
        (csv_of("1,f,2,x", "1,f,2,x", header="age,sex,dose,name"), "column_unknown", "name"),
        (csv_of("1,f,2", "121,f,2"), "column_range", "age"),
        (csv_of("1,f,2", "-1,f,2"), "column_range", "age"),
        (csv_of("1,f,2", "1,x,2"), "unknown_class", "sex"),
        (csv_of("1,f,2", "1,F,2"), "unknown_class", "sex"),
        (csv_of("1,f,2", ",f,2"), "missing_values", "age"),
        (csv_of("1,f,2", "1,NA,2"), "missing_values", "sex"),
        (csv_of("1,f,2", "1.5,f,2"), "column_type", "age"),
        (csv_of("1,f,2", "007,f,2"), "column_type", "age"),
        (csv_of("1,f,2", "0x1F,f,2"), "column_type", "age"),
        (csv_of("1,f,2", "1_0,f,2"), "column_type", "age"),
        (csv_of("1,f,2", "\u0663,f,2"), "column_type", "age"),
        (csv_of("1,f,2", "1,f,inf"), "column_type", "dose"),
        (csv_of("1,f,2", f"1,f,{'1' * 65}"), "column_type", "dose"),
        (csv_of("1,f,2", '1,f,"1,5"'), "column_type", "dose"),
        (csv_of("1,f,2", f"{2**63},f,2"), "column_precision", "age"),
        (csv_of("1,f,2", f"1,f,{2**53 + 1}"), "column_precision", "dose"),
        (csv_of("1,f,2", "1,f,0.12345678901234567890"), "column_precision", "dose"),
        (csv_of("1,f,2", "1,f,1e400"), "column_precision", "dose"),
        (csv_of("1,f,2", "1,f,1e-400"), "column_precision", "dose"),
        (csv_of("1,f,2") + b"\n1,\xff,2", "not_readable", "sex"),
        (csv_of("1,f,2") + b"\n1,\0,2", "not_readable", "sex"),
        (csv_of("1,f,2", '"1,f,2'), "not_readable", None),
        (csv_of("1,f,2", "1,f"), "not_readable", None),
        (csv_of("1,f,2", "1,f,2", header="age,age,dose"), "not_readable", "age"),
        (csv_of("1,f,2", "1,f,2", header="41,f,2"), "not_readable", None),
        (b"\xff\xfe" + csv_of("1,f,2").decode().encode("utf-16-le"), "not_readable", None),
        (b'""' * 200_000, "not_readable", None),
        (b"a" * 200_000, "not_readable", None),
        (b"," * 5000, "not_readable", None),
        (b"\n \n\n", "not_readable", None),
    ],
)  # fmt: skip
def test_csv_that_is_not_as_promised_is_refused_with_its_code_and_column(
    file: bytes, code: str, column: str | None
) -> None:
    report, table, words = held(file, CARD)
    assert (report.fits, report.code, report.column, table) == (False, code, column, None)
    assert words


def test_a_row_of_data_in_the_headers_place_is_not_shown() -> None:
    report, _, words = held(csv_of("1,f,2", header="41234,f,2000.5"), CARD)
    assert not report.fits
    assert "41234" not in words
    assert "2000.5" not in words


def test_columns_come_by_name_in_the_order_of_the_card_with_their_types() -> None:
    report, table, _ = held(csv_of("2.5, f ,30", '"-1e2",m,+4.0', header="dose,sex,age"), CARD)
    assert (report.fits, report.rows) == (True, 2)
    assert table is not None
    assert table.schema == pa.schema(
        [pa.field("age", pa.int64(), False), pa.field("sex", pa.string(), False), pa.field("dose", pa.float64(), False)]
    )
    assert table.to_pydict() == {"age": [30, 4], "sex": ["f", "m"], "dose": [2.5, -100.0]}


def test_a_bound_holds_for_a_number_that_no_float_spells_exactly() -> None:
    card = table_card(Column(name="x", type="number", minimum="0.1", maximum="0.3"))
    assert held(b"x\n0.1\n0.3\n", card)[0].fits
    assert held(b"x\n0.1\n0.30000000000000004\n", card)[0].code == "column_range"


def test_numbers_may_lose_digits_where_the_card_says_so() -> None:
    long = csv_of("1,f,0.12345678901234567890", "1,f,2")
    report, table, _ = held(long, changed(CARD, "dose", rounded=True))
    assert report.fits
    assert table is not None
    assert table["dose"][0].as_py() == 0.12345678901234567890


def test_dates_and_instants_are_read_with_and_without_a_zone() -> None:
    card = table_card(
        Column(name="d", type="date", minimum="2000-01-01", maximum="2030-12-31"),
        Column(name="t", type="timestamp", maximum="2030-01-01T00:00:00Z", missing=True),
    )
    file = b"d,t\n2024-02-29,2024-02-29 12:00\n2024-03-01,2024-03-01T12:00:00.5+02:00\n2024-03-01,\n"
    _, table, _ = held(file, card)
    assert table is not None
    assert table["d"].to_pylist()[0] == date(2024, 2, 29)
    assert table["t"].to_pylist() == [
        datetime(2024, 2, 29, 12, tzinfo=UTC), datetime(2024, 3, 1, 10, 0, 0, 500_000, tzinfo=UTC), None
    ]  # fmt: skip
    assert held(b"d,t\n2023-02-29,\n", card)[0].code == "column_type"
    assert held(b"d,t\n1999-12-31,\n", card)[0].code == "column_range"
    assert held(b"d,t\n2024-01-01,2031-01-01T00:00:00Z\n", card)[0].code == "column_range"


def test_group_marks_count_only_where_the_dialect_states_them() -> None:
    german = Dialect(delimiter=";", decimal=",", thousands=".")
    card = table_card(Column(name="x", type="number"), Column(name="y", type="integer"), dialect=german)
    _, table, _ = held(b"x;y\n1.234,5;1.000\n-0,25;7\n", card)
    assert table is not None
    assert table.to_pydict() == {"x": [1234.5, -0.25], "y": [1000, 7]}
    assert held(b"x;y\n12.34,5;1\n", card)[0].code == "column_type"
    assert held(b"x;y\n1.234.5;1\n", card)[0].code == "column_type"


@pytest.mark.parametrize(("values", "fits"), [([16777216, 16777217], False), ([1, 2], True), ([10**9 + 1, 1], False)])
def test_a_column_that_promises_to_survive_32_bit_floats_is_held_to_it(values: list[int], fits: bool) -> None:
    card = table_card(Column(name="x", type="integer", single=True))
    report, _, _ = held(("x\n" + "\n".join(map(str, values))).encode(), card)
    assert (report.fits, report.code) == ((True, None) if fits else (False, "column_precision"))


def test_numbers_that_32_bit_floats_do_not_tell_apart_are_no_single_ones() -> None:
    card = table_card(Column(name="x", type="number", single=True))
    near = "\n".join(f"1000000.{n:04}" for n in range(100))
    assert held(f"x\n{near}\n".encode(), card)[0].code == "column_precision"
    assert held(b"x\n0.1\n0.2\n1e-3\n", card)[0].fits


def parquet(table: pa.Table) -> bytes:
    sink = io.BytesIO()
    pq.write_table(table, sink)
    return sink.getvalue()


def stream(table: pa.Table) -> bytes:
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, table.schema) as out:
        out.write_table(table)
    return sink.getvalue()


FORMS: dict[str, Any] = {PARQUET: parquet, ARROW: stream}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    ("column", "values", "code"),
    [
        (Column(name="x", type="integer"), pa.array([1, 2**63], pa.uint64()), "column_precision"),
        (Column(name="x", type="integer"), pa.array([1.0, 2.0]), "column_type"),
        (Column(name="x", type="integer"), pa.array(["1"]), "column_type"),
        (Column(name="x", type="number"), pa.array([2**53 + 1]), "column_precision"),
        (Column(name="x", type="number"), pa.array([Decimal("0.12345678901234567890")]), "column_precision"),
        (Column(name="x", type="number"), pa.array([float("inf")]), "column_type"),
        (Column(name="x", type="number"), pa.array([float("nan")]), "missing_values"),
        (Column(name="x", type="boolean"), pa.array([1]), "column_type"),
        (Column(name="x", type="text"), pa.array([b"a"]), "column_type"),
        (Column(name="x", type="text"), pa.array([["a"]]), "column_type"),
        (Column(name="x", type="timestamp"), pa.array([1], pa.timestamp("ns")), "column_precision"),
        (Column(name="y", type="integer"), pa.array([1]), "column_missing"),
    ],
)
def test_typed_values_are_converted_without_loss_or_refused(
    form: str, column: Column, values: pa.Array, code: str
) -> None:
    report, _, _ = held(FORMS[form](pa.table({"x": values})), table_card(column, media_type=form))
    assert (report.fits, report.code) == (False, code)


@pytest.mark.parametrize("form", FORMS)
def test_parquet_and_arrow_give_the_same_table_as_csv(form: str) -> None:
    made = pa.table(
        {"dose": [2.5, -100.0], "age": pa.array([30, 4], pa.int8()), "sex": pa.array(["f", "m"]).dictionary_encode()}
    )
    _, table, _ = held(FORMS[form](made), table_card(AGE, SEX, DOSE, media_type=form))
    _, meant, _ = held(csv_of("30,f,2.5", "4,m,-100"), CARD)
    assert table is not None
    assert meant is not None
    assert table.equals(meant)


@pytest.mark.parametrize(
    ("lines", "code", "column"),
    [
        (b"[1]", "not_readable", None),
        (b'{"age": 1, "age": 2}', "not_readable", None),
        (b'{"age": NaN, "sex": "f", "dose": 1}', "not_readable", None),
        (b'{"age": [1], "sex": "f", "dose": 1}', "not_readable", None),
        (b"[" * 100_000, "not_readable", None),
        (b'{"age": 1, "sex": "f", "dose": 1}\n{"age": 1, "extra": 1}', "not_readable", None),
        (b'{"age": "1", "sex": "f", "dose": 1}', "column_type", "age"),
        (b'{"age": true, "sex": "f", "dose": 1}', "column_type", "age"),
        (b'{"age": 1, "sex": 1, "dose": 1}', "column_type", "sex"),
        (b'{"age": 1, "sex": "f", "dose": null}', "missing_values", "dose"),
        (b'{"age": 1, "sex": "f", "dose": 9007199254740993}', "column_precision", "dose"),
    ],
)
def test_json_lines_that_are_not_as_promised_are_refused(lines: bytes, code: str, column: str | None) -> None:
    report, _, _ = held(lines, table_card(AGE, SEX, DOSE, media_type=LINES))
    assert (report.fits, report.code, report.column) == (False, code, column)


def test_json_lines_give_the_same_table_as_csv() -> None:
    lines = b'{"dose": 2.5, "sex": "f", "age": 30}\n\n{"age": 4, "sex": "m", "dose": -1e2}\n'
    _, table, _ = held(lines, table_card(AGE, SEX, DOSE, media_type=LINES))
    _, meant, _ = held(csv_of("30,f,2.5", "4,m,-100"), CARD)
    assert table is not None
    assert table.equals(meant)


@pytest.fixture(scope="module")
def apart() -> Iterator[ApartReader]:
    with ApartReader() as reader:
        yield reader


@given(file=st.binary(max_size=300), form=st.sampled_from([PARQUET, ARROW, ARROW_FILE, LINES, "text/csv"]))
def test_whatever_the_bytes_are_they_do_not_fit(apart: ApartReader, file: bytes, form: str) -> None:
    report = apart.held(file, table_card(AGE, SEX, DOSE, media_type=form))
    assert report is None or not report.fits


@given(data=st.data())
def test_a_damaged_file_keeps_its_promise_or_is_refused_or_ends_the_readers_own_process(
    apart: ApartReader, data: st.DataObject
) -> None:
    form = data.draw(st.sampled_from(sorted(FORMS)))
    file = bytearray(FORMS[form](pa.table({"age": list(range(50)), "sex": ["f"] * 50, "dose": [0.5] * 50})))
    for place in data.draw(st.lists(st.integers(0, len(file) - 1), min_size=1, max_size=4)):
        file[place] ^= data.draw(st.integers(1, 255))
    rows = Bounds(minimum=50, maximum=50)
    report = apart.held(bytes(file), table_card(AGE, SEX, DOSE, media_type=form, rows=rows))
    assert report is None or not report.fits or report.rows == 50


@pytest.mark.parametrize("form", [*FORMS, LINES, "text/csv"])
def test_a_file_is_told_by_its_bytes_and_its_columns_are_found(form: str) -> None:
    made = pa.table({"n": list(range(30)), "day": [date(2024, 1, 1 + n) for n in range(30)], "who": ["a", "b"] * 15})
    rows = [{"n": n, "day": f"2024-01-{n + 1:02}", "who": "ab"[n % 2]} for n in range(30)]
    file = {
        LINES: "\n".join(map(json.dumps, rows)).encode(),
        "text/csv": "\n".join(["n,day,who", *(",".join(map(str, row.values())) for row in rows)]).encode(),
    }.get(form) or FORMS[form](made)
    found, _, words = inferred(file)
    assert found is not None, words
    assert (found["mediaType"], found["rows"]) == (form, 30)
    assert [(c["name"], c["type"]) for c in found["columns"]] == [
        ("n", "integer"),
        ("day", "date"),
        ("who", "category"),
    ]
    assert found["columns"][0]["odd"] == ["like a key: each row has its own value, which may name a person"]
    assert found["columns"][2]["classes"] == {"a": 15, "b": 15}


def test_empty_constant_and_key_like_columns_are_pointed_at() -> None:
    rows = [f"{n},7,,name {n}" for n in range(30)]
    found, _, _ = inferred("\n".join(["id,same,none,who", *rows]).encode())
    assert found is not None
    assert [c["odd"][0].split(":")[0] for c in found["columns"]] == ["like a key", "constant", "empty", "like a key"]


def test_a_label_of_few_rows_is_no_class_until_its_owner_declares_the_column() -> None:
    rows = [f"{n},{'rare' if n == 3 else 'often'}" for n in range(40)]
    file = "\n".join(["n,kind", *rows]).encode()
    found, _, _ = inferred(file)
    assert found is not None
    assert (found["columns"][1]["type"], "classes" in found["columns"][1]) == ("text", False)
    declared, _, _ = inferred(file, types={"kind": "category"})
    assert declared is not None
    assert declared["columns"][1]["classes"] == {"often": 39, "rare": 1}


def test_the_table_of_one_file_has_the_same_bytes_in_each_run() -> None:
    first, second = (held(csv_of("1,f,2", "2,m,3"), CARD)[1] for _ in range(2))
    assert first is not None
    assert first.equals(second)


def test_a_table_of_many_batches_is_read_whole_and_counted() -> None:
    rows = 70_000
    file = ("n\n" + "\n".join(map(str, range(rows)))).encode()
    card: Card = table_card(Column(name="n", type="integer", minimum="0", maximum=str(rows - 1)))
    report, table, _ = held(file, card)
    assert report.rows == rows
    assert table is not None
    assert table["n"].to_pylist() == list(range(rows))
