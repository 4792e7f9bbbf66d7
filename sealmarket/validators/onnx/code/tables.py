"""The tables that the workload had: inputs ``data-1``, ``data-2`` … as Arrow IPC streams.

Each bundle that reads tables holds this file; a test holds the copies equal.
"""

from __future__ import annotations

import os
from typing import Any

import numpy as np
from verdict import DATA_MISSING, NOT_FROM_DATA, Inputs, Refused

os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")
_SLOT = "data"


class Tables:
    """All tables of a job, one below the other.

    Raises:
        Refused: ``data_missing`` for an input that is no Arrow stream.
    """

    def __init__(self, inputs: Inputs) -> None:
        names = [name for name in inputs if name == _SLOT or name.startswith(f"{_SLOT}-")]
        ordered = sorted(names, key=lambda name: int(name.rpartition("-")[2]) if "-" in name else 0)
        self._tables = [_read(inputs[name]) for name in ordered]

    def __bool__(self) -> bool:
        return bool(self._tables)

    @property
    def columns(self) -> frozenset[str]:
        """The names of the columns that all tables have."""
        every = [frozenset(table.column_names) for table in self._tables]
        return every[0].intersection(*every[1:]) if every else frozenset()

    @property
    def lengths(self) -> list[int]:
        """How many rows each table has."""
        return [table.num_rows for table in self._tables]

    @property
    def rows(self) -> int:
        """How many rows all tables have together."""
        return sum(self.lengths)

    def features(self, columns: list[str]) -> np.ndarray:
        """These columns as float32 of shape (n, columns), NaN where a cell is missing.

        Raises:
            Refused: ``not_from_data`` for a column that is not there or not numeric.
        """
        self._require(columns)
        stacked = [np.column_stack([_numbers(table, name) for name in columns]) for table in self._tables]
        return np.concatenate(stacked).astype(np.float32)

    def column(self, name: str) -> list[Any]:
        """One column as Python values, None where missing; instants in UTC. Raises :class:`Refused`, likewise."""
        self._require([name])
        return [cell for table in self._tables for cell in _values(table.column(name))]

    def _require(self, columns: list[str]) -> None:
        if not self._tables:
            raise Refused(DATA_MISSING, "the rules need the tables that the workload had")
        if missing := [name for name in columns if name not in self.columns]:
            raise Refused(NOT_FROM_DATA, f"{len(missing)} names are no columns of all tables")


def _read(raw: memoryview) -> Any:
    # Loading Arrow takes a second: only where there are tables.
    import pyarrow as pa

    try:
        with pa.ipc.open_stream(pa.py_buffer(raw)) as stream:
            return stream.read_all()
    except (pa.ArrowException, OSError):
        raise Refused(DATA_MISSING, "an input that is no Arrow stream") from None


def _values(cells: Any) -> list[Any]:
    import pyarrow as pa

    if pa.types.is_timestamp(cells.type):
        # With a zone, Arrow looks for a database of time zones, which a sandbox does not have.
        cells = cells.cast(pa.timestamp("us"))
    found: list[Any] = cells.to_pylist()
    return found


def _numbers(table: Any, name: str) -> np.ndarray:
    import pyarrow as pa

    kind = table.schema.field(name).type
    if not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)):
        raise Refused(NOT_FROM_DATA, "a feature that is not numeric")
    cells: np.ndarray = table.column(name).cast(pa.float64(), safe=False).to_numpy()
    return cells
