"""The 28 dialects: each is described and then read as it was meant, or refused at its owner's with the reason."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from scripts.toolchain import ROOT
from tests.readers.tables import card_of, held, inferred

CASES = Path(os.environ.get("SEALMARKET_CASES") or ROOT.parent / "shared" / "cases")
SAME = {
    "plain": "age", "crlf": "age", "cr_only": "age", "bom": "age", "utf16": "age", "quoted_all": "age",
    "quoted_header_comma": "age, years", "quoted_header_newline": "age (years)", "quoted_header_dquote": 'age "y"',
    "semicolon": "age", "tab": "age", "rownames": "age", "trailing_comma": "age", "blank_lines": "age",
    "leading_blank": "age", "spaces": "age",
}  # fmt: skip
"""By dialect, the name of its first column; all hold the table of ``plain``."""
REFUSED = {
    "hash_comment": "1 line does not fit the 3 columns 'age', 'income', 'score'",
    "title_line": "do not fit the 1 column 'Export of ward 7'",
    "latin1": "the name of column 'gr\ufffd\ufffde' is not text of the stated encoding",
    "thousands": "column 'income' holds commas in numbers, column 'score' points",
}
STATED: dict[str, dict[str, Any]] = {
    "title_line": {"skipLines": 1},
    "latin1": {"encoding": "windows-1252"},
    "thousands": {"thousands": ","},
}
OTHERS = {"missing", "na", "hash_eats_row", "bigclass", "fracclass", "timestamps", "bigid", "bools"}


@pytest.fixture(scope="module")
def dialects(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Each file that the script of the cases writes, by its name."""
    script = CASES / "inputs/mk_csv.py"
    if not script.is_file():
        pytest.skip("the folder of cases is not beside the repository: set SEALMARKET_CASES to it")
    folder = tmp_path_factory.mktemp("dialects")
    (folder / "csv").mkdir()
    subprocess.run([sys.executable, str(script.resolve())], cwd=folder, check=True)
    return {path.stem: path.read_bytes() for path in (folder / "csv").glob("*.csv")}


def test_each_dialect_of_the_cases_has_an_expectation(dialects: dict[str, bytes]) -> None:
    assert dialects.keys() == SAME.keys() | REFUSED.keys() | OTHERS


@pytest.mark.parametrize("name", REFUSED)
def test_a_file_with_no_certain_reading_is_refused_until_its_owner_states_one(
    dialects: dict[str, bytes], name: str
) -> None:
    _, report, words = inferred(dialects[name])
    assert not report.fits
    assert REFUSED[name] in words
    assert not [cell for cell in dialects[name].decode("latin-1").split(",") if len(cell) > 6 and cell in words]


@pytest.mark.parametrize("name", STATED)
def test_what_its_owner_states_decides_what_the_file_leaves_open(dialects: dict[str, bytes], name: str) -> None:
    file, plain = dialects[name], dialects["plain"]
    report, table, _ = held(file, card_of(file, **STATED[name]))
    _, meant, _ = held(plain, card_of(plain))
    assert report.rows == 60
    assert table is not None
    assert meant is not None
    if name == "thousands":
        assert table["income"].to_pylist() == [int(value) for value in meant["income"].to_pylist()]
    else:
        assert [column.to_pylist() for column in table.columns] == [column.to_pylist() for column in meant.columns]


@pytest.mark.parametrize("name", SAME)
def test_a_dialect_is_the_table_that_it_means(dialects: dict[str, bytes], name: str) -> None:
    report, found, _ = held(dialects[name], card_of(dialects[name]))
    _, plain, _ = held(dialects["plain"], card_of(dialects["plain"]))
    assert report.fits
    assert found is not None
    assert plain is not None
    assert found.column_names == [SAME[name], "income", "score"]
    assert [column.to_pylist() for column in found.columns] == [column.to_pylist() for column in plain.columns]


@pytest.mark.parametrize("name", ["missing", "na"])
def test_a_column_with_a_missing_cell_says_so_and_is_null_there(dialects: dict[str, bytes], name: str) -> None:
    card = card_of(dialects[name])
    assert [column.name for column in card.columns if column.missing] == ["income"]
    _, table, _ = held(dialects[name], card)
    assert table is not None
    assert table["income"].null_count == 1


def test_a_row_that_begins_with_a_hash_makes_its_column_text_and_is_pointed_at(dialects: dict[str, bytes]) -> None:
    found, _, _ = inferred(dialects["hash_eats_row"])
    assert found is not None
    assert (found["columns"][0]["type"], found["columns"][0]["odd"]) == ("text", ["1 cell of 61 is no number"])


@pytest.mark.parametrize(
    ("name", "column", "values"),
    [("bigclass", "kind", {16777216, 16777217}), ("fracclass", "kind", {0.2, 0.7}), ("bools", "member", {True, False})],
)
def test_labels_stay_apart(dialects: dict[str, bytes], name: str, column: str, values: set[object]) -> None:
    _, table, _ = held(dialects[name], card_of(dialects[name]))
    assert table is not None
    assert set(table[column].to_pylist()) == values


@pytest.mark.parametrize(("name", "column"), [("timestamps", "when"), ("bigid", "patient"), ("bigclass", "kind")])
def test_whole_numbers_that_a_32_bit_float_changes_are_exact_and_do_not_promise_to_survive_one(
    dialects: dict[str, bytes], name: str, column: str
) -> None:
    card = card_of(dialects[name])
    assert not {c.name: c.single for c in card.columns}[column]
    _, table, _ = held(dialects[name], card)
    assert table is not None
    written = {line.split(",")[card.columns.index(next(c for c in card.columns if c.name == column))]
               for line in dialects[name].decode().splitlines()[1:]}  # fmt: skip
    assert {str(value) for value in table[column].to_pylist()} == written
