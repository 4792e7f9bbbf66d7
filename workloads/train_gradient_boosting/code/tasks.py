"""What is learnt from pooled rows: features in 32 bits and a target, or the reason why nothing can be."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import values
from refusals import TableRefused, counted, listed

FEWEST_ROWS = 50
FEWEST_OF_A_CLASS = 5
MOST_CLASSES = 100
MOST_LABEL_CHARACTERS = 200


@dataclass(frozen=True, slots=True)
class Task:
    """What is learnt: ``features`` of shape (n, columns) in 32 bits, ``target`` of shape (n,)."""

    names: tuple[str, ...]
    features: np.ndarray
    target: np.ndarray
    classify: bool


def prepare(columns: Mapping[str, pa.ChunkedArray], target: str, asked: str) -> Task:
    """Features and target of pooled rows; ``asked`` is ``auto``, ``classification`` or ``regression``.

    Raises:
        TableRefused: a target that is missing, constant or of the wrong kind; too few rows; nothing to learn from.
    """
    if target not in columns:
        raise TableRefused(f"the target {target[:60]!r} is no column", f"name one of {listed(columns)}")
    names = tuple(name for name in columns if name != target)
    if not names:
        raise TableRefused(f"the target {target[:60]!r} is the only column", "expected one feature or more")
    if len(columns[target]) < FEWEST_ROWS:
        rule = f"the inputs have {counted(len(columns[target]), 'row')} together"
        raise TableRefused(rule, f"expected at least {FEWEST_ROWS}")
    if pc.count_distinct(columns[target]).as_py() == 1:
        raise TableRefused(f"the target {target[:60]!r} has one value in all rows", "there is nothing to learn")
    features = [values.single(name, columns[name]) for name in names]
    if all((column == column[0]).all() for column in features):
        raise TableRefused(f"each feature has one value in all rows: {listed(names)}", "there is nothing to learn from")
    classify = _is_classification(columns[target], asked)
    wanted = _classes(target, columns[target]) if classify else _quantity(target, columns[target])
    return Task(names, np.column_stack(features), wanted, classify)


def _is_classification(cells: pa.ChunkedArray, asked: str) -> bool:
    """What is no number, and numbers of two values, are classes unless regression is asked for."""
    return asked == "classification" or (
        asked == "auto" and (not values.is_numeric(cells) or pc.count_distinct(cells).as_py() == 2)
    )


def _quantity(target: str, cells: pa.ChunkedArray) -> np.ndarray:
    """A target to learn as a quantity, in 64 bits; 32 keep it."""
    narrow = values.single(target, cells)
    values.require_resolution(target, narrow)
    return np.asarray(cells.combine_chunks().to_numpy(zero_copy_only=False), dtype=np.float64)


def _classes(target: str, cells: pa.ChunkedArray) -> np.ndarray:
    found = values.labels(cells)
    sizes = Counter(found.tolist())
    if len(sizes) > MOST_CLASSES:
        remedy = f"at most {MOST_CLASSES} classes are learnt; for a quantity say task=regression"
        raise TableRefused(f"the target {target[:60]!r} has {len(sizes)} classes", remedy)
    if len(sizes) == 1:
        raise TableRefused(f"the target {target[:60]!r} has one class in all rows", "there is nothing to learn")
    long = sum(len(str(label)) > MOST_LABEL_CHARACTERS for label in sizes)
    if long:
        rule = f"{counted(long, 'label')} of the target {target[:60]!r} {'is' if long == 1 else 'are'} longer"
        raise TableRefused(f"{rule} than {MOST_LABEL_CHARACTERS} characters", "write short labels")
    small = sum(size < FEWEST_OF_A_CLASS for size in sizes.values())
    if small:
        have = "1 class" if small == 1 else f"{small} classes"
        rule = f"{have} of the target {target[:60]!r} {'has' if small == 1 else 'have'} fewer rows"
        raise TableRefused(f"{rule} than {FEWEST_OF_A_CLASS}", "join rare classes, or leave their rows out")
    return found
