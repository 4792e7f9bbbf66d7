"""What is learnt from pooled rows: features in 32 bits and a target, or the reason why nothing can be."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
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


def prepare(columns: Mapping[str, list[str]], target: str, asked: str) -> Task:
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
    if len(set(columns[target])) == 1:
        raise TableRefused(f"the target {target[:60]!r} has one value in all rows", "there is nothing to learn")
    features = [values.floats(name, columns[name]) for name in names]
    if all((column == column[0]).all() for column in features):
        raise TableRefused(f"each feature has one value in all rows: {listed(names)}", "there is nothing to learn from")
    for name, column in zip(names, features, strict=True):
        values.require_float32(name, column)
    classify = _is_classification(columns[target], asked)
    wanted = _classes(target, columns[target]) if classify else values.floats(target, columns[target])
    if not classify:
        values.require_float32(target, wanted)
        values.require_resolution(target, wanted)
    return Task(names, np.column_stack(features).astype(np.float32), wanted, classify)


def _is_classification(cells: list[str], asked: str) -> bool:
    """Text and two values are classes unless regression is asked for."""
    return asked == "classification" or (
        asked == "auto" and (values.kind(cells) != "numbers" or len(set(values.labels(cells).tolist())) == 2)
    )


def _classes(target: str, cells: list[str]) -> np.ndarray:
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
        rule = f"{counted(small, 'class')} of the target {target[:60]!r} {'has' if small == 1 else 'have'} fewer rows"
        raise TableRefused(f"{rule} than {FEWEST_OF_A_CLASS}", "join rare classes, or leave their rows out")
    return found
