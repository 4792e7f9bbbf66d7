"""What the training templates take for features and classes, and the inference template for rows: by declared types."""

from __future__ import annotations

import csv
import io
import json
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from tests.validators import models
from tests.workloads.learning import TEMPLATES, load
from tests.workloads.trained import arrow, table

LEARNING = load("xgboost", "learning")
DEFAULTS: dict[str, Any] = {"ignore": "stage,ill", "missing": "refuse", "target": "cost", "task": "auto"}


def prepare(*tables: bytes, **parameters: Any) -> Any:
    inputs = {f"rows-{number}": memoryview(one) for number, one in enumerate(tables, start=1)}
    return LEARNING.prepare(inputs, DEFAULTS | parameters)


def with_a_hole(raw: bytes, column: str) -> bytes:
    with pa.ipc.open_stream(raw) as stream:
        whole = stream.read_all()
    cells = [None, *whole.column(column).to_pylist()[1:]]
    place = whole.column_names.index(column)
    return arrow(whole.set_column(place, column, pa.array(cells, whole.schema.field(column).type)))


LARGE = table(100, 3, id=np.arange(100) + (1 << 40))


@pytest.mark.parametrize(
    ("tables", "parameters", "said"),
    [
        ([table(100, 1)], {"target": "wage"}, "no column 'wage'"),
        ([table(100, 1)], {"ignore": "wage"}, "no column 'wage'"),
        ([table(100, 1)], {"ignore": ""}, "the feature 'stage' is of type string"),
        ([table(100, 1)], {"task": "classification"}, "the target 'cost' is of type double"),
        ([table(100, 1)], {"target": "stage", "ignore": "cost,ill", "task": "regression"}, "is no quantity"),
        ([table(100, 1)], {"target": "age", "task": "classification"}, "classes; expected 2 to 100"),
        ([table(100, 1)], {"ignore": "stage,ill,age,bmi,smoker"}, "100 rows of 0 features"),
        ([table(40, 1)], {}, "40 rows of 3 features"),
        ([LARGE], {}, "'id' would change in 32 bits"),
        ([table(100, 1, big=np.full(100, 1e300))], {}, "'big' has numbers that 32 bits do not hold"),
        ([table(100, 1, fixed=np.ones(100))], {"target": "fixed"}, "one value in all rows"),
        ([table(100, 1), LARGE], {}, "other columns or types"),
        ([with_a_hole(table(100, 1), "age")], {}, "cells are missing in ['age']"),
        ([b"age,cost\n41,1500\n"], {}, "no Arrow table"),
    ],
)
def test_what_cannot_be_learnt_is_refused_with_the_column_named(
    tables: list[bytes], parameters: dict[str, Any], said: str
) -> None:
    with pytest.raises(ValueError, match=r".") as refusal:
        prepare(*tables, **parameters)
    assert said in str(refusal.value)
    assert "1500" not in str(refusal.value)


def test_the_type_of_the_target_says_what_is_learnt() -> None:
    assert prepare(table(100, 1)).labels is None
    assert prepare(table(200, 1), target="stage", ignore="cost,ill").labels == ("early", "late", "middle")
    assert prepare(table(200, 1), target="ill", ignore="cost,stage").labels == (False, True)
    whole = table(100, 1, grade=np.arange(100) % 3)
    assert prepare(whole, target="grade").labels is None
    assert prepare(whole, target="grade", task="classification").labels == (0, 1, 2)


def test_tables_of_several_owners_stand_one_below_the_other_in_the_jobs_order() -> None:
    tables = [table(60, seed) for seed in range(11)]
    learnt = prepare(*tables)
    assert learnt.names == ("age", "bmi", "smoker")
    assert learnt.features[600:].tolist() == prepare(tables[10]).features.tolist()
    assert learnt.features.dtype == np.float32


def test_rows_with_a_missing_cell_are_dropped_where_that_is_asked_for() -> None:
    learnt = prepare(with_a_hole(table(100, 1), "age"), missing="drop")
    assert (len(learnt.target), learnt.dropped) == (99, 1)


def test_the_split_is_repeatable_and_no_row_is_on_both_sides() -> None:
    learnt = prepare(table(100, 1))
    kept, held = learnt.split(7)
    assert sorted([*kept, *held]) == list(range(100))
    assert len(held) == 20
    assert (held == learnt.split(7)[1]).all()
    assert (held != learnt.split(8)[1]).any()


def test_the_templates_that_learn_read_tables_alike() -> None:
    assert len({(TEMPLATES / name / "code/learning.py").read_bytes() for name in ("xgboost", "pytorch")}) == 1


# --- inference -----------------------------------------------------------------------------------------------

SILENT = models.spelled(models.network(), lambda made: made.ClearField("metadata_props"))
INFER = load("onnx-inference", "infer")
MODEL = models.spelled(models.forest(models.rows(600), models.cost(models.rows(600))))


def asked(model: bytes, *tables: bytes, **parameters: Any) -> tuple[list[list[str]], Any]:
    inputs = {f"rows-{number}": memoryview(one) for number, one in enumerate(tables, start=1)}
    returned = INFER.run({"model": memoryview(model), **inputs}, {"missing": "refuse", "digits": 6} | parameters)
    return list(csv.reader(io.StringIO(returned["answers.csv"].decode()))), json.loads(returned["summary.json"])


@pytest.mark.parametrize(
    ("model", "rows", "said"),
    [
        (SILENT, models.rows(5), "does not name"),
        (MODEL, None, "lack the features ['visits'] of the model"),
    ],
)  # fmt: skip
def test_a_model_and_rows_that_do_not_go_together_are_refused(model: bytes, rows: Any, said: str) -> None:
    given = models.table(rows) if rows is not None else arrow(pa.table({"age": [1.0], "bmi": [2.0]}))
    with pytest.raises(ValueError, match=r".") as refusal:
        asked(model, given)
    assert said in str(refusal.value)


@pytest.mark.parametrize(
    ("cells", "said"),
    [(["old"], "is of type string"), ([None], "cells are missing"), ([(1 << 40) + 1], "would change in 32 bits")],
)
def test_a_column_that_no_model_can_take_is_refused_by_name(cells: list[Any], said: str) -> None:
    kind = pa.int64() if cells == [None] else None
    columns = {"age": pa.array(cells, kind), "bmi": [1.0], "visits": [1.0]}
    with pytest.raises(ValueError, match=r"'age'.*") as refusal:
        asked(MODEL, arrow(pa.table(columns)))
    assert said in str(refusal.value)


def test_each_row_of_each_table_gets_the_models_answer_whatever_the_columns_order() -> None:
    features = models.rows(30, 4)
    turned = {name: features[20:, at] for at, name in [(2, "visits"), (0, "age"), (1, "bmi")]}
    mixed = arrow(pa.table({"more": ["x"] * 10} | turned))
    (header, *lines), summary = asked(MODEL, models.table(features[:20]), mixed)
    assert header == ["table", "row", "value"]
    assert [line[:2] for line in lines] == [["1", str(n)] for n in range(1, 21)] + [["2", str(n)] for n in range(1, 11)]
    assert summary == {"features": ["age", "bmi", "visits"], "rows": [20, 10], "target": "cost", "task": "regression"}
    import onnxruntime

    session = onnxruntime.InferenceSession(MODEL, providers=["CPUExecutionProvider"])
    (expected,) = session.run(None, {"rows": features})
    assert [float(line[2]) for line in lines] == pytest.approx(expected[:, 0].tolist(), rel=1e-5)
