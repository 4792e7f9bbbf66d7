"""What is learnt from the tables of several owners: features in 32 bits and a target, or the reason why nothing can be.

The tables are Arrow streams of the cards' readers, so each column has its declared type, which decides: a target of
texts or truth values is classes, one of numbers is a quantity. ``task`` may ask for classes of whole numbers. Features
are numbers and truth values. What a cast to 32 bits would change is refused with its column; no refusal shows a cell.
"""

from __future__ import annotations

import csv
import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")  # others reserve address space, which the sandbox counts

import numpy as np
import pyarrow as pa

HELD_OUT = 0.2
FEWEST_ROWS, FEWEST_OF_A_CLASS, MOST_CLASSES = 50, 5, 100


class TableRefused(ValueError):
    """The tables cannot be learnt from; names columns, never a cell."""


@dataclass(frozen=True, slots=True)
class Task:
    """``features`` (n, columns) and ``target`` (n,): 32-bit floats, or the places of classes in ``labels``."""

    names: tuple[str, ...]
    features: np.ndarray
    target: np.ndarray
    labels: tuple[Any, ...] | None
    dropped: int

    def split(self, seed: int) -> tuple[np.ndarray, np.ndarray]:
        """The rows to train on and those that are held out, by a permutation of the seed."""
        order = np.random.default_rng(seed).permutation(len(self.target))
        held = max(1, round(HELD_OUT * len(order)))
        return np.sort(order[held:]), np.sort(order[:held])


def prepare(inputs: Mapping[str, memoryview], parameters: Mapping[str, Any]) -> Task:
    """Features and target of all tables, one below the other, columns in the order of the first.

    Raises:
        TableRefused: tables that differ, a column or target that does not fit, too few rows.
    """
    tables = [_read(inputs[name]) for name in sorted(inputs, key=_place)]
    target, ignored = str(parameters["target"]), _names(str(parameters["ignore"]))
    first = tables[0].schema
    for table in tables[1:]:
        if table.schema.names != first.names or table.schema.types != first.types:
            raise TableRefused("the tables have other columns or types; use assets with the same columns")
    for name in (target, *ignored):
        if name not in first.names:
            raise TableRefused(f"there is no column {name!r}; name one of {first.names[:8]}")
    names = tuple(name for name in first.names if name != target and name not in ignored)
    whole = pa.concat_tables(tables).select([*names, target]).combine_chunks()
    kept = _complete(whole, str(parameters["missing"]))
    if kept.num_rows < FEWEST_ROWS or not names:
        raise TableRefused(f"{kept.num_rows} rows of {len(names)} features; expected {FEWEST_ROWS} rows and a feature")
    features = np.column_stack([_numbers(name, kept.column(name)) for name in names])
    wanted, labels = _target(target, kept.column(target), str(parameters["task"]))
    return Task(names, features, wanted, labels, whole.num_rows - kept.num_rows)


def describe(task: Task, target: str, versions: Mapping[str, str]) -> dict[str, str]:
    """The model's metadata: JSON texts by key."""
    described: dict[str, Any] = {
        "feature_names": list(task.names),
        "target": target,
        "task": "regression" if task.labels is None else "classification",
        "versions": dict(versions),
        "workload_code_sha256": code_hash(Path(__file__).parent),
    }
    if task.labels is not None:
        described["class_labels"] = list(task.labels)
    return {key: json.dumps(value, ensure_ascii=False, sort_keys=True) for key, value in sorted(described.items())}


def report(task: Task, target: str, seed: int, kept: int, held: int, score: float) -> bytes:
    """metrics.json: a few rounded figures over all rows together. ``score`` is accuracy, or R2 of a quantity."""
    metrics = {
        "features": list(task.names),
        "rows": rounded_down(len(task.target)),
        "rows_dropped": rounded_down(task.dropped),
        "score": round(score, 3),
        "score_kind": "r2" if task.labels is None else "accuracy",
        "splits": {"held_out": rounded_down(held), "seed": seed, "trained_on": rounded_down(kept)},
        "target": target,
        "task": "regression" if task.labels is None else "classification",
    }
    return json.dumps(metrics, sort_keys=True).encode()


def score(task: Task, rows: np.ndarray, answers: np.ndarray) -> float:
    """Accuracy of answered classes, or R2 of answered quantities, on some rows."""
    wanted = task.target[rows]
    if task.labels is not None:
        return float((answers == wanted).mean())
    spread = float(((wanted - wanted.mean()) ** 2).sum())
    return 1.0 - float(((wanted - answers) ** 2).sum()) / spread if spread else 0.0


def rounded_down(count: int) -> int:
    """Two significant digits: the exact number of rows is the owners' business."""
    unit = 10 ** max(0, len(str(count)) - 2)
    return count // unit * unit


def code_hash(folder: Path) -> str:
    """SHA-256 over the code's files, as ``sealmarket workload measure`` prints it beside the digest."""
    lines = [
        f"{path.relative_to(folder).as_posix()}  {hashlib.sha256(path.read_bytes()).hexdigest()}\n"
        for path in folder.rglob("*")
        if path.is_file()
    ]
    return hashlib.sha256("".join(sorted(lines)).encode()).hexdigest()


def _place(name: str) -> int:
    number = name.rpartition("-")[2]
    return int(number) if number.isdigit() else 0


def _names(text: str) -> tuple[str, ...]:
    """One line of CSV."""
    fields = next(csv.reader([text], skipinitialspace=True), [])
    return tuple(field for field in fields if field)


def _read(raw: memoryview) -> pa.Table:
    try:
        with pa.ipc.open_stream(pa.py_buffer(raw)) as stream:
            return stream.read_all()
    except (pa.ArrowException, OSError):
        raise TableRefused("an input is no Arrow table; its asset needs a data card with a reader") from None


def _complete(table: pa.Table, missing: str) -> pa.Table:
    """The rows without a missing cell, if they may be dropped."""
    holes = [name for name in table.column_names if table.column(name).null_count]
    if holes and missing != "drop":
        raise TableRefused(f"cells are missing in {holes[:8]}; say missing=drop, or ignore these columns")
    return table.drop_null() if holes else table


def _numbers(name: str, column: Any) -> np.ndarray:
    kind = column.type
    if not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)):
        raise TableRefused(f"the feature {name!r} is of type {kind}; expected numbers: ignore it")
    wide = column.to_numpy()
    with np.errstate(over="ignore"):
        narrow: np.ndarray = wide.astype(np.float32)
    if not np.isfinite(narrow).all():
        raise TableRefused(f"the feature {name!r} has numbers that 32 bits do not hold")
    if pa.types.is_integer(kind) and (narrow.astype(np.float64) != wide).any():
        raise TableRefused(f"whole numbers of {name!r} would change in 32 bits: ids, timestamps? ignore it")
    return narrow


def _target(name: str, column: Any, asked: str) -> tuple[np.ndarray, tuple[Any, ...] | None]:
    kind = column.type
    classes = pa.types.is_string(kind) or pa.types.is_boolean(kind)
    if asked == "regression" and classes:
        raise TableRefused(f"the target {name!r} is of type {kind}, which is no quantity")
    if asked == "classification" and not classes and not pa.types.is_integer(kind):
        raise TableRefused(f"the target {name!r} is of type {kind}; classes are texts, truth values or whole numbers")
    if not (classes or asked == "classification"):
        values = _numbers(name, column)
        if (values == values[0]).all():
            raise TableRefused(f"the target {name!r} has one value in all rows")
        return values, None
    cells = column.to_pylist()
    labels = tuple(sorted(set(cells)))
    place = {label: number for number, label in enumerate(labels)}
    found = np.array([place[cell] for cell in cells])
    if not 2 <= len(labels) <= MOST_CLASSES or np.bincount(found).min() < FEWEST_OF_A_CLASS:
        rule = f"expected 2 to {MOST_CLASSES}, each in {FEWEST_OF_A_CLASS} rows or more"
        raise TableRefused(f"the target {name!r} has {len(labels)} classes; {rule}")
    return found, labels
