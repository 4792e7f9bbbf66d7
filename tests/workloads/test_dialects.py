"""CSV files as people have them: each is read right, or refused with the column named and no row shown."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from scripts.toolchain import ROOT
from tests.workloads.reader import TableRefused, prepare

CASES = Path(os.environ.get("SEALMARKET_CASES") or ROOT.parent / "shared" / "cases")
READ = {
    "plain": "age", "crlf": "age", "cr_only": "age", "bom": "age", "utf16": "age", "quoted_all": "age",
    "quoted_header_comma": "age, years", "quoted_header_newline": "age (years)", "quoted_header_dquote": 'age "y"',
    "semicolon": "age", "tab": "age", "rownames": "age", "trailing_comma": "age", "blank_lines": "age",
    "leading_blank": "age", "spaces": "age",
}  # fmt: skip
"""By dialect, the name of its first column; all hold the table of ``plain``."""
REFUSED = {
    "missing": "column 'income' has 1 missing cell",
    "na": "column 'income' has 1 missing cell",
    "hash_comment": "1 line does not fit the 3 columns 'age', 'income', 'score'",
    "hash_eats_row": "column 'age' holds text in 1 cell",
    "title_line": "do not fit the 1 column 'Export of ward 7'",
    "latin1": "the name of column 'gr\ufffd\ufffde' is not UTF-8",
    "thousands": "column 'income' holds commas in numbers",
    "timestamps": "column 'when' holds 59 whole numbers that a 32-bit float changes",
    "bigid": "column 'patient' holds 56 whole numbers that no float keeps",
}
CLASSES = {"bigclass": [16777216, 16777217], "fracclass": ["0.2", "0.7"]}


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
    assert dialects.keys() == READ.keys() | REFUSED.keys() | CLASSES.keys() | {"bools"}


@pytest.mark.parametrize("name", REFUSED)
def test_a_file_that_cannot_be_read_for_certain_is_refused_with_its_column(
    dialects: dict[str, bytes], name: str
) -> None:
    with pytest.raises(TableRefused) as refusal:
        prepare(dialects[name])
    assert REFUSED[name] in str(refusal.value)


@pytest.mark.parametrize("name", READ)
def test_a_dialect_is_the_table_that_it_means(dialects: dict[str, bytes], name: str) -> None:
    found, plain = prepare(dialects[name]), prepare(dialects["plain"])
    assert found.names == (READ[name], "income")
    assert np.array_equal(found.features, plain.features)
    assert np.array_equal(found.target, plain.target)
    assert not found.classify


@pytest.mark.parametrize("name", CLASSES)
def test_classes_that_a_float_confuses_stay_apart(dialects: dict[str, bytes], name: str) -> None:
    found = prepare(dialects[name], target="kind")
    assert found.classify
    assert sorted(set(found.target.tolist())) == CLASSES[name]


def test_truth_values_are_one_and_zero(dialects: dict[str, bytes]) -> None:
    found = prepare(dialects["bools"])
    assert found.names == ("age", "income", "member")
    assert set(found.features[:, 2].tolist()) == {0.0, 1.0}


def test_no_refusal_shows_a_cell(dialects: dict[str, bytes]) -> None:
    for name in REFUSED:
        with pytest.raises(TableRefused) as refusal:
            prepare(dialects[name])
        shown = str(refusal.value)
        rows = dialects[name].decode("latin-1").splitlines()[2:]
        assert not [cell for row in rows for cell in row.replace('"', "").split(",") if len(cell) > 3 and cell in shown]


def table(rows: list[str], header: str = "age,income,score") -> bytes:
    return "\n".join([header, *rows]).encode()


def some_rows(count: int = 60) -> list[str]:
    made = random.Random(5)
    return [f"{made.randint(18, 90)},{made.randint(100, 999)}.5,{made.random():.4f}" for _ in range(count)]


@pytest.mark.parametrize(
    ("file", "reason"),
    [
        (b"", "the file is empty"),
        (b"\n \n\n", "the file is empty"),
        (table([]), "there are no rows below"),
        (table(["30,1,2"]), "the inputs have 1 row together"),
        (table(some_rows(49)), "the inputs have 49 rows together"),
        (table(["30,1.5,0.25"] * 60), "the target 'score' has one value in all rows"),
        (table([f"30,1.5,{n / 64}" for n in range(60)]), "each feature has one value in all rows: 'age', 'income'"),
        (table(some_rows(), header="41,2000.5,0.7"), "is the header missing?"),
        (table(some_rows(), header="age,,score"), "column 2 has no name"),
        (table(some_rows(), header="age,age,score"), "more than one column is named 'age'"),
        (table(some_rows(), header="age,income,points"), "the target 'score' is no column"),
        (b"score\n" + b"\n".join(b"%d" % n for n in range(60)), "expected a feature and a target"),
        (b"a\0b", "NUL characters"),
        (b'""' * 200_000, "quotes do not pair, or a field is longer"),
        (b"a" * 200_000, "quotes do not pair, or a field is longer"),
        (b"," * 5000, "the first line has 5001 fields"),
        (",".join(f"{n:0>20}x" for n in range(1000)).encode(), "the names of the columns have 21000 characters"),
        (table([f"{n},{n % 7},{'ab'[n % 2] * 201}" for n in range(60)]), "2 labels of the target 'score' are longer"),
        (table([*some_rows(), '"30,1,2']), "quotes do not pair"),
        (table([*some_rows(), "2024-01-05,1,2"]), "column 'age' holds dates or times in 1 cell"),
        (table([f"{n:03},{n},{n}" for n in range(60)]), "column 'age' holds codes with leading zeros in 60 cells"),
        (table([*some_rows(), "30,1.234,56,2"]), "1 line does not fit"),
        (b"age;score\n" + b"1.234,56;1\n2.345,67;2\n" * 30, "column 'age' holds commas in numbers"),
        (table([*some_rows(), "30,inf,2"]), "column 'income' holds text in 1 cell"),
        (table([*some_rows(), "30,1_000,2"]), "column 'income' holds text in 1 cell"),
        (table([*some_rows(), "30,1e39,2"]), "column 'income' holds numbers beyond"),
        (table([*some_rows(), "30,0x1F,2"]), "column 'income' holds text in 1 cell"),
        (table([*some_rows(), "３０,1,2"]), "column 'age' holds text in 1 cell"),
        (b"age;income;score\n" + b"\n".join(b"%d;1,500;0.%d" % (n, n) for n in range(60)), "holds commas"),
        (b"a;score\n" + b"\n".join(b"1,%d;%d" % (100 + n, n) for n in range(60)), "may be decimal marks"),
        (b"a,b;c,d\n" + b"1,2;3,4\n" * 60, "the lines divide evenly by comma and by semicolon"),
    ],
)  # fmt: skip
def test_what_cannot_be_learnt_from_is_refused_with_the_reason(file: bytes, reason: str) -> None:
    with pytest.raises(TableRefused) as refusal:
        prepare(file)
    assert reason in str(refusal.value)


def test_a_line_of_data_in_the_headers_place_is_not_shown() -> None:
    with pytest.raises(TableRefused) as refusal:
        prepare(table(some_rows(), header="41,2000.5,0.7"))
    assert "41" not in str(refusal.value)
    assert "2000.5" not in str(refusal.value)


def test_what_the_user_says_decides_what_the_file_leaves_open() -> None:
    either = b"a;score\n" + b"\n".join(b"1,%d;%d" % (100 + n, n) for n in range(60))
    assert prepare(either, decimal="comma").features[5, 0] == np.float32(1.105)
    both = b"a,b;score,d\n" + b"\n".join(b"%d,2;%d,4" % (n, n % 9) for n in range(60))
    assert prepare(both, delimiter="semicolon", decimal="comma", target="score,d").names == ("a,b",)


@pytest.mark.parametrize(("mark", "end"), [(";", "\r\n"), ("|", "\n"), (",", "\r")])
def test_a_line_that_states_the_delimiter_is_no_header(mark: str, end: str) -> None:
    lines = [f"sep={mark}", *(line.replace(",", mark) for line in table(some_rows()).decode().splitlines())]
    assert np.array_equal(prepare(end.join(lines).encode()).features, prepare(table(some_rows())).features)


def test_rows_with_missing_cells_are_dropped_only_when_that_is_asked_for() -> None:
    file = table([*some_rows(), "40,,0.5", "40,n/a,0.5", "NaN,1,0.5"])
    with pytest.raises(TableRefused, match="column 'age', 'income' has 3 missing cells"):
        prepare(file)
    assert len(prepare(file, missing="drop").target) == 60


def test_columns_that_are_ignored_may_hold_anything() -> None:
    rows = [f"{n:04}-{n},{row}" for n, row in enumerate(some_rows())]
    file = table(rows, header='"patient, id",age,income,score')
    with pytest.raises(TableRefused, match="'patient, id' holds dates or times"):
        prepare(file)
    assert prepare(file, ignore='"patient, id"').names == ("age", "income")
    with pytest.raises(TableRefused, match="there is no column 'ward' to ignore"):
        prepare(file, ignore="ward")


def test_columns_of_several_owners_are_joined_by_name_in_the_order_of_the_first() -> None:
    first = table(some_rows())
    turned = "score;age;income\n" + "\n".join(";".join(row.split(",")[i] for i in (2, 0, 1)) for row in some_rows())
    both = prepare(first, turned.encode())
    assert np.array_equal(both.features[:60], both.features[60:])
    assert np.array_equal(both.target[:60], both.target[60:])
    with pytest.raises(TableRefused, match="input rows-2: it lacks column 'income' and has column 'wage'"):
        prepare(first, table(some_rows(), header="age,wage,score"))


@pytest.mark.parametrize(
    ("labels", "classes"),
    [
        (["0", "1"], [0, 1]),
        (["0.0", "1"], [0, 1]),
        (["True", "false"], [0, 1]),
        (["-1", "1"], [-1, 1]),
        (["sick", "well"], ["sick", "well"]),
        (["01", "1"], ["01", "1"]),
        (["007", "008"], ["007", "008"]),
        (["9007199254740992", "9007199254740993"], [2**53, 2**53 + 1]),
        (["9223372036854775807", "9223372036854775808"], ["9223372036854775807", "9223372036854775808"]),
    ],
)
def test_two_values_or_text_are_classes_and_keep_their_labels(labels: list[str], classes: list[object]) -> None:
    rows = [f"{row.rpartition(',')[0]},{labels[n % 2]}" for n, row in enumerate(some_rows())]
    found = prepare(table(rows))
    assert found.classify
    assert sorted(set(found.target.tolist())) == classes


def test_a_target_of_two_numbers_is_a_quantity_when_that_is_said() -> None:
    rows = [f"{row.rpartition(',')[0]},{n % 2}" for n, row in enumerate(some_rows())]
    assert not prepare(table(rows), task="regression").classify
    words = [f"{row.rpartition(',')[0]},{'ab'[n % 2]}" for n, row in enumerate(some_rows())]
    with pytest.raises(TableRefused, match="column 'score' holds text in 60 cells"):
        prepare(table(words), task="regression")


def test_classes_too_many_or_too_small_are_refused_without_their_labels() -> None:
    with pytest.raises(TableRefused, match="the target 'score' has 120 classes"):
        prepare(table([f"{n % 7},{n % 5},label{n}" for n in range(120)]))
    rare = [f"{n % 7},{n % 5},{'rare-kind' if n == 3 else n % 2}" for n in range(120)]
    with pytest.raises(TableRefused, match="1 class of the target 'score' has fewer rows than 5") as refusal:
        prepare(table(rare))
    assert "rare-kind" not in str(refusal.value)


@pytest.mark.parametrize("offset", [10**9, 12 * 10**8])
def test_a_quantity_that_32_bits_cannot_tell_apart_is_refused(offset: int) -> None:
    rows = [f"{n % 7},{n % 5},{offset + 128 * (n % 3)}" for n in range(60)]
    with pytest.raises(TableRefused, match="column 'score'"):
        prepare(table(rows), task="regression")
