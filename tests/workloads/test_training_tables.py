"""From a file to what is learnt: each dialect is right, or refused before a consumer pays, with its column named."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from scripts.toolchain import ROOT
from tests.readers.tables import card_of, inferred
from tests.workloads.training import TableRefused, learnt, learnt_of_file, pooling, stream, unmet

CASES = Path(os.environ.get("SEALMARKET_CASES") or ROOT.parent / "shared" / "cases")
READ = {
    "plain": "age", "crlf": "age", "cr_only": "age", "bom": "age", "utf16": "age", "quoted_all": "age",
    "quoted_header_comma": "age, years", "quoted_header_newline": "age (years)", "quoted_header_dquote": 'age "y"',
    "semicolon": "age", "tab": "age", "rownames": "age", "trailing_comma": "age", "blank_lines": "age",
    "leading_blank": "age", "spaces": "age",
}  # fmt: skip
"""By dialect, the name of its first column; all hold the table of ``plain``."""
AT_THE_OWNERS = {"hash_comment", "title_line", "latin1", "thousands"}
BEFORE_PAYMENT = {
    "missing": "column 'income' without missing cells; cells that may miss",
    "na": "column 'income' without missing cells; cells that may miss",
    "hash_eats_row": "column 'age' of type integer or number or boolean; type text",
    "timestamps": "column 'when' with values that 32-bit floats keep; no promise of that",
    "bigid": "column 'patient' with values that 32-bit floats keep; no promise of that",
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
    assert dialects.keys() == READ.keys() | AT_THE_OWNERS | BEFORE_PAYMENT.keys() | CLASSES.keys() | {"bools"}


@pytest.mark.parametrize("name", sorted(AT_THE_OWNERS))
def test_a_file_with_no_certain_reading_is_not_described(dialects: dict[str, bytes], name: str) -> None:
    assert not inferred(dialects[name])[1].fits


@pytest.mark.parametrize("name", BEFORE_PAYMENT)
def test_a_file_that_cannot_be_learnt_from_is_refused_before_payment_with_its_column(
    dialects: dict[str, bytes], name: str
) -> None:
    assert BEFORE_PAYMENT[name] in unmet(card_of(dialects[name]))


@pytest.mark.parametrize("name", READ)
def test_a_dialect_is_the_table_that_it_means(dialects: dict[str, bytes], name: str) -> None:
    found, plain = learnt_of_file(dialects[name]), learnt_of_file(dialects["plain"])
    assert found.names == (READ[name], "income")
    assert np.array_equal(found.features, plain.features)
    assert np.array_equal(found.target, plain.target)
    assert not found.classify


@pytest.mark.parametrize("name", CLASSES)
def test_classes_that_a_float_confuses_stay_apart(dialects: dict[str, bytes], name: str) -> None:
    found = learnt_of_file(dialects[name], target="kind")
    assert found.classify
    assert sorted(set(found.target.tolist())) == CLASSES[name]


def test_a_target_of_text_is_learnt_where_the_consumer_says_that_it_is_classes(dialects: dict[str, bytes]) -> None:
    card = card_of(dialects["hash_comment"], comment="#")
    refused = "column 'score' of type integer or number or boolean or category; type text"
    assert unmet(card) == [refused]
    assert unmet(card, task="classification") == []
    assert unmet(card, task="regression") == ["column 'score' of type integer or number; type text"]


def test_truth_values_are_one_and_zero(dialects: dict[str, bytes]) -> None:
    found = learnt_of_file(dialects["bools"])
    assert found.names == ("age", "income", "member")
    assert set(found.features[:, 2].tolist()) == {0.0, 1.0}


def test_rows_with_missing_cells_are_dropped_only_when_that_is_asked_for(dialects: dict[str, bytes]) -> None:
    assert len(learnt_of_file(dialects["missing"], missing="drop").target) == 60


def rows(count: int = 60, **columns: Any) -> pa.Table:
    """A table that can be learnt from, with other columns in their places."""
    made = {"age": [18 + n % 70 for n in range(count)], "income": [100 + 1.5 * (n * 7 % count) for n in range(count)]}
    return pa.table(made | {"score": [n / 100 for n in range(count)]} | columns)


@pytest.mark.parametrize(
    ("table", "given_", "reason"),
    [
        (rows(49), {}, "the inputs have 49 rows together"),
        (rows(score=[0.5] * 60), {}, "the target 'score' has one value in all rows"),
        (rows(age=[7] * 60, income=[1.5] * 60), {}, "each feature has one value in all rows: 'age', 'income'"),
        (rows(), {"target": "points"}, "the target 'points' is no column"),
        (rows().select(["score"]), {}, "is the only column"),
        (rows(age=["x"] * 60), {}, "column 'age' holds string"),
        (rows(age=[2**24 + 1] + [1] * 59), {}, "column 'age' holds 1 whole number that a 32-bit float changes"),
        (rows(age=[2**63 - 1] + [1] * 59), {}, "column 'age' holds 1 whole number that a 32-bit float changes"),
        (rows(age=[1e39] + [1.0] * 59), {}, "column 'age' holds numbers beyond 3.4e38"),
        (rows(age=[1e9 + n / 100 for n in range(60)]), {}, "a 32-bit float tells"),
        (rows(score=[10**9 + 64 * (n % 3) for n in range(60)]), {"task": "regression"}, "vary by less than"),
        (rows(age=[None] + [1] * 59), {}, "column 'age' has 1 missing cell"),
        (rows(age=pa.array([None] * 60, pa.int64())), {"missing": "drop"}, "each row misses a cell of 'age'"),
        (rows(), {"ignore": "ward"}, "there is no column 'ward' to ignore"),
        (rows(), {"ignore": '"ward'}, "parameter ignore is no line of CSV"),
        (rows(), {"ignore": "age,income,score"}, "each column is ignored"),
        (rows(score=[f"label{n}" for n in range(60)]), {}, "60 classes of the target 'score' have fewer rows than 5"),
        (rows(120, score=[f"label{n}" for n in range(120)]), {}, "the target 'score' has 120 classes"),
        (rows(score=["ab"[n % 2] * 201 for n in range(60)]), {}, "2 labels of the target 'score' are longer"),
        (rows(score=["ab"[n % 2] for n in range(60)]), {"task": "regression"}, "column 'score' holds string"),
        (rows().rename_columns(["age", "age", "score"]), {}, "two columns of one name"),
    ],
)
def test_what_cannot_be_learnt_from_is_refused_with_the_reason(
    table: pa.Table, given_: dict[str, Any], reason: str
) -> None:
    with pytest.raises(TableRefused) as refusal:
        learnt(stream(table), **given_)
    assert reason in str(refusal.value)


# Arrow is not sound for all bytes: those of a search could end the tests' own process.
@pytest.mark.parametrize("raw", [b"", b"age,score\n1,2\n", bytes(64), stream(rows())[:100], stream(rows())[64:]])
def test_bytes_that_are_no_stream_are_refused(raw: bytes) -> None:
    with pytest.raises(TableRefused):
        pooling.pool({"rows": raw}, {"ignore": "", "missing": "refuse"})


def test_columns_of_several_owners_are_joined_by_name_in_the_order_of_the_first() -> None:
    first, turned = rows(), rows().select(["score", "age", "income"])
    both = learnt(stream(first), stream(turned))
    assert np.array_equal(both.features[:60], both.features[60:])
    with pytest.raises(TableRefused, match="input rows-2: it lacks column 'income' and has column 'wage'"):
        learnt(stream(first), stream(first.rename_columns(["age", "wage", "score"])))
    with pytest.raises(TableRefused, match="input rows-2: column 'age' has another type"):
        learnt(stream(first), stream(rows(age=[float(n) for n in range(60)])))


@pytest.mark.parametrize(
    ("labels", "classes"),
    [
        ([0, 1], [0, 1]),
        ([0.0, 1.0], ["0", "1"]),
        ([True, False], [0, 1]),
        ([-1, 1], [-1, 1]),
        (["sick", "well"], ["sick", "well"]),
        (["01", "1"], ["01", "1"]),
        ([2**53, 2**53 + 1], [2**53, 2**53 + 1]),
        ([0.2, 1e22], ["0.2", "10000000000000000000000"]),
    ],
)
def test_two_values_or_what_is_no_number_are_classes_and_keep_their_labels(
    labels: list[Any], classes: list[object]
) -> None:
    found = learnt(stream(rows(score=[labels[n % 2] for n in range(60)])))
    assert found.classify
    assert sorted(set(found.target.tolist())) == classes


def test_a_target_of_two_numbers_is_a_quantity_when_that_is_said() -> None:
    assert not learnt(stream(rows(score=[n % 2 for n in range(60)])), task="regression").classify


def test_a_category_is_a_target_and_no_feature() -> None:
    lines = [f"{n % 40},{'ab'[n % 2]},{n % 7}" for n in range(80)]
    card = card_of("\n".join(["age,ward,visits", *lines]).encode())
    assert unmet(card, target="ward") == []
    assert unmet(card, target="visits") == ["column 'ward' of type integer or number or boolean; type category"]
    assert unmet(card, target="visits", ignore="ward") == []
