"""Typed columns -> features, quantities and labels. Every conversion is compared with what it came from.

1. A feature is a 32-bit float, since that is what the model computes with: a whole number, a number, or a truth value.
   Whole numbers must be exact in it. Other numbers are rounded, and refused when more than one in a hundred distinct
   values fall together.
2. A quantity to learn follows rule 1; its standard deviation is a thousand steps of a 32-bit float or more.
3. A label is text or a whole number of 64 bits, never a float: a number becomes the shortest text that spells it.
"""

from __future__ import annotations

from decimal import Decimal

import numpy as np
import pyarrow as pa
from refusals import TableRefused, counted, listed

_MOST_FALL_TOGETHER = 0.01
_STEPS = 1000
"""In a standard deviation of a target, so that a model's rounding is small beside what it explains."""
_EXACT = 1 << 24
"""Whole numbers up to this are exact in 32 bits."""


def is_numeric(values: pa.ChunkedArray) -> bool:
    """Whether a column holds whole numbers or numbers."""
    return pa.types.is_integer(values.type) or pa.types.is_floating(values.type)


def single(name: str, values: pa.ChunkedArray) -> np.ndarray:
    """A column as 32-bit floats, shape (n,) (rule 1).

    Raises:
        TableRefused: of another type, or a value that 32 bits do not keep.
    """
    if not (is_numeric(values) or pa.types.is_boolean(values.type)):
        remedy = "a model of numbers has no use for it: leave it out (parameter ignore)"
        raise TableRefused(f"column {listed([name])} holds {values.type}", remedy)
    wide = values.combine_chunks().to_numpy(zero_copy_only=False)
    with np.errstate(over="ignore"):
        narrow = wide.astype(np.float32)
    if not np.isfinite(narrow).all():
        raise TableRefused(f"column {listed([name])} holds numbers beyond 3.4e38", "scale it")
    if pa.types.is_integer(values.type):
        _require_whole(name, wide, narrow)
    elif pa.types.is_floating(values.type):
        _require_apart(name, wide, narrow)
    return narrow


def _require_whole(name: str, wide: np.ndarray, narrow: np.ndarray) -> None:
    large = (wide > _EXACT) | (wide < -_EXACT)
    changed = sum(int(short) != int(long) for long, short in zip(wide[large], narrow[large], strict=True))
    if changed:
        rule = f"column {listed([name])} holds {counted(changed, 'whole number')} that a 32-bit float changes"
        raise TableRefused(rule, _remedy())


def _require_apart(name: str, wide: np.ndarray, narrow: np.ndarray) -> None:
    distinct, left = len(np.unique(wide)), len(np.unique(narrow))
    if distinct - left > distinct * _MOST_FALL_TOGETHER:
        rule = f"of {distinct} distinct values in column {listed([name])} a 32-bit float tells {left} apart"
        raise TableRefused(rule, _remedy())


def require_resolution(name: str, values: np.ndarray) -> None:
    """Refuse a quantity that varies by less than a thousand steps of a 32-bit float at its size (rule 2)."""
    step = float(np.spacing(np.float32(np.abs(values).max())))
    if step * _STEPS > values.std(dtype=np.float64):
        rule = f"the values of column {listed([name])} vary by less than a 32-bit float tells apart at their size"
        raise TableRefused(rule, "subtract an offset")


def _remedy() -> str:
    return "subtract an offset or scale it; ids and timestamps tell a model nothing: leave them out (parameter ignore)"


def labels(values: pa.ChunkedArray) -> np.ndarray:
    """Class labels, shape (n,): 64-bit integers of whole numbers and truth values, else text (rule 3)."""
    cells = values.to_pylist()
    if pa.types.is_integer(values.type) or pa.types.is_boolean(values.type):
        return np.asarray([int(cell) for cell in cells], dtype=np.int64)
    texts = [cell if isinstance(cell, str) else _spelled(cell) for cell in cells]
    return np.asarray(texts, dtype=np.str_)


def _spelled(number: object) -> str:
    """The shortest decimal text of a float: ``0.2``, ``1``."""
    return format(Decimal(repr(number)).normalize(), "f") if isinstance(number, float) else str(number)
