"""Which rows of a table are withheld from a workload (docs/spec/outputs.md, "Membership").

A keyed hash of what a row holds picks it: so equal rows are withheld together, wherever they stand.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

_DIGEST = 8
_END, _MISSING = "\x1f", "\x1e"
"""What stands between cells, and for a missing one. Rows that only such characters tell apart are withheld together."""


@dataclass(frozen=True, slots=True)
class Withholding:
    """``permille`` of the rows, picked under a 32-byte ``secret``."""

    permille: int
    secret: bytes

    def kept(self, columns: list[pa.Array]) -> pa.Array:
        """For each row, whether it stays. Columns are of the types that cards have."""
        bound = (self.permille * 2**64 // 1000).to_bytes(_DIGEST, "big")
        rows = pc.binary_join_element_wise(
            *map(_texts, columns), _END, null_handling="replace", null_replacement=_MISSING
        )
        keyed, found = hashlib.blake2b(digest_size=_DIGEST, key=self.secret), []
        for row in rows.cast(pa.binary()).to_pylist():
            one = keyed.copy()
            one.update(row)
            found.append(one.digest() >= bound)
        return pa.array(found, pa.bool_())


def withholding_of(parameters: Mapping[str, Any]) -> Withholding | None:
    """What the runtime asks for, None for nothing. Raises ``ValueError`` for a share without a secret."""
    if not parameters["withheld_permille"]:
        return None
    secret = bytes.fromhex(parameters["withheld_secret"])
    if len(secret) != 32:
        raise ValueError(f"withheld_secret has {len(secret)} bytes, expected 32")
    return Withholding(parameters["withheld_permille"], secret)


def _texts(cells: pa.Array) -> pa.Array:
    """Each cell as a text that is the cell's alone."""
    if pa.types.is_date(cells.type):
        cells = cells.view(pa.int32())
    elif pa.types.is_floating(cells.type) or pa.types.is_timestamp(cells.type):
        cells = cells.view(pa.int64())
    return cells.cast(pa.string())
