"""Typed columns against what the card promises of them: missing cells, ranges, classes, rows."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import single
from promise import Column
from unfit import Unfit, counted, listed


def require_promised(column: Column, values: pa.Array) -> None:
    """Raise :class:`Unfit` unless the values are as promised."""
    if values.null_count and not column.missing:
        rule = f"column {listed([column.name])} has {counted(values.null_count, 'missing cell')}"
        raise Unfit("missing_values", f"{rule}; fill them, or say in the card that cells may miss", column.name)
    if column.type == "category":
        known = pc.is_in(values, pa.array(column.classes, pa.string()))
        others = len(values) - values.null_count - (pc.sum(known).as_py() or 0)
        if others:
            rule = f"column {listed([column.name])} has {counted(others, 'cell')} beside the classes of the card"
            raise Unfit("unknown_class", rule, column.name)
    if column.minimum is not None or column.maximum is not None:
        _require_range(column, values)


def _require_range(column: Column, values: pa.Array) -> None:
    below = above = 0
    if column.minimum is not None:
        below = pc.sum(pc.less(values, _bound(column, column.minimum))).as_py() or 0
    if column.maximum is not None:
        above = pc.sum(pc.greater(values, _bound(column, column.maximum))).as_py() or 0
    if below or above:
        rule = f"column {listed([column.name])} has {counted(below + above, 'cell')} out of the range of the card"
        raise Unfit("column_range", rule, column.name)


def _bound(column: Column, text: str) -> pa.Scalar:
    value: Any
    if column.type == "integer":
        value = max(-(2**63), min(2**63 - 1, int(Decimal(text))))
        return pa.scalar(value, pa.int64())
    if column.type == "number":
        return pa.scalar(float(text), pa.float64())
    if column.type == "date":
        return pa.scalar(date.fromisoformat(text), pa.date32())
    found = datetime.fromisoformat(text)
    value = found.astimezone(UTC) if found.tzinfo else found.replace(tzinfo=UTC)
    return pa.scalar(value, pa.timestamp("us", "UTC"))


def require_single(name: str, values: pa.ChunkedArray) -> None:
    """Raise :class:`Unfit` unless 32-bit floats keep what the column says."""
    if not single.fits(values):
        rule = f"column {listed([name])} holds numbers that a 32-bit float changes or does not tell apart"
        raise Unfit("column_precision", rule, name)


def require_names(columns: tuple[Column, ...], found: list[str]) -> None:
    """Raise :class:`Unfit` unless the file has exactly the columns of the card, in any order."""
    promised = [column.name for column in columns]
    if lacking := [name for name in promised if name not in set(found)]:
        raise Unfit("column_missing", f"the file has no column {listed(lacking)}", lacking[0])
    if more := [name for name in found if name not in set(promised)]:
        raise Unfit("column_unknown", f"the file has column {listed(more)}, which the card does not name", more[0])


def require_rows(rows: int, bounds: tuple[int, int] | None) -> None:
    """Raise :class:`Unfit` unless there are as many rows as promised, and one at least."""
    least, most = bounds or (1, rows)
    if not max(least, 1) <= rows <= most:
        raise Unfit("row_count", f"the file has {counted(rows, 'row')}, the card promises {max(least, 1)} to {most}")
