"""The reader of tables withholds rows from a workload: which ones follows from what they hold, under a secret."""

from __future__ import annotations

import hashlib
import io
import json
import struct
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sealmarket_enclave.protocol.card import Card, Column
from tests.readers.tables import PARAMETERS, load, read, table_card

SECRET, OTHER = "5a" * 32, "5b" * 32
CARD = table_card(
    Column(name="id", type="integer"),
    Column(name="dose", type="number", missing=True),
    Column(name="word", type="text", missing=True),
    Column(name="day", type="date"),
    Column(name="at", type="timestamp"),
    Column(name="well", type="boolean"),
)
Withholding = load("withholding").Withholding


def rows(count: int) -> list[str]:
    return [f"{n},{n}.5,w{n % 7},2024-01-{n % 28 + 1:02},2024-01-31T08:00:{n % 60:02}Z,{n % 2}" for n in range(count)]


def divided(lines: list[str], *, secret: str = SECRET, permille: int = 100, card: Card = CARD) -> dict[str, Any]:
    """The outputs of the reader, tables as lists of rows."""
    file = "\n".join([",".join(column.name for column in card.columns), *lines]).encode()
    given = PARAMETERS | {"withheld_permille": permille, "withheld_secret": secret}
    outputs = read.run({"data": memoryview(file), "card": card.canonical()}, given)
    tables = {name: data for name, data in outputs.items() if name.endswith(".arrow")}
    return {name: pa.ipc.open_stream(io.BytesIO(data)).read_all().to_pylist() for name, data in tables.items()} | {
        "report": json.loads(outputs["report.json"])
    }


@pytest.mark.parametrize("secret", ["", "5a" * 31, "not hex"])
def test_a_share_without_a_whole_secret_ends_the_reading(secret: str) -> None:
    with pytest.raises(ValueError, match=r"secret|hex"):
        divided(rows(9), secret=secret)


def test_each_row_is_in_one_of_the_two_tables_in_the_order_of_the_file() -> None:
    whole = divided(rows(2000), permille=0)["table.arrow"]
    found = divided(rows(2000))
    apart = found["withheld.arrow"]
    assert [row for row in whole if row not in apart] == found["table.arrow"]
    assert [row for row in whole if row in apart] == apart
    assert 140 < len(apart) < 260
    assert found["report"] == {"code": None, "column": None, "fits": True, "rows": 2000}


def test_without_a_share_nothing_is_written_apart() -> None:
    assert divided(rows(9), permille=0).keys() == {"table.arrow", "report"}
    file = b"id\n1\n"
    card = table_card(Column(name="id", type="integer"))
    given = PARAMETERS | {"table": False, "withheld_permille": 100, "withheld_secret": SECRET}
    assert read.run({"data": memoryview(file), "card": card.canonical()}, given).keys() == {"report.json"}


def test_another_secret_withholds_other_rows_and_the_same_one_the_same() -> None:
    first, again, other = (divided(rows(2000), secret=secret)["withheld.arrow"] for secret in (SECRET, SECRET, OTHER))
    assert first == again
    assert len([row for row in other if row in first]) < len(first) / 2


@given(st.lists(st.integers(0, 40), min_size=1, max_size=60), st.randoms())
def test_equal_rows_are_withheld_together_in_any_table_and_any_order(numbers: list[int], random: Any) -> None:
    every = rows(41)
    lines = [every[number] for number in numbers]
    first = divided(lines, permille=500)
    random.shuffle(lines)
    second = divided(lines, permille=500)
    for name in ("table.arrow", "withheld.arrow"):
        assert {row["id"] for row in first[name]} == {row["id"] for row in second[name]}
    assert not {row["id"] for row in first["table.arrow"]} & {row["id"] for row in first["withheld.arrow"]}


def test_a_row_is_picked_by_the_hash_that_the_specification_states() -> None:
    dose, instant = struct.unpack("<q", struct.pack("<d", 2.5))[0], 1_706_688_000_000_000
    texts = ["7", str(dose), "\x1e", "19723", str(instant), "true"]
    number = hashlib.blake2b("\x1f".join(texts).encode(), digest_size=8, key=bytes.fromhex(SECRET)).digest()
    permille = int.from_bytes(number, "big") * 1000 // 2**64
    row = ["7,2.5,,2024-01-01,2024-01-31T08:00:00Z,1"]
    assert 0 < permille < 500
    assert divided(row, permille=permille)["withheld.arrow"] == []
    assert divided(row, permille=permille + 1)["table.arrow"] == []


def test_a_missing_cell_is_a_cell_of_its_own() -> None:
    one = Withholding(500, bytes.fromhex(SECRET))
    texts = pa.array([f"w{n}" for n in range(200)])
    assert one.kept([texts, pa.array([None] * 200, pa.float64())]) != one.kept([texts, pa.array([0.0] * 200)])


def test_content_that_does_not_fit_is_divided_into_nothing() -> None:
    found = divided([*rows(9), "x,1,a,2024-01-01,2024-01-31T08:00:00Z,1"])
    assert found.keys() == {"report"}
    assert found["report"]["code"] == "column_type"
