"""Whether a column's values survive 32-bit floats, which is what most models compute with (docs/spec/tables.md)."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

_MOST_FALL_TOGETHER = 0.01


def fits(values: pa.Array | pa.ChunkedArray) -> bool:
    """Whole numbers are exact; of the distinct values of other numbers at most one in a hundred fall together."""
    wide = values.cast(pa.float64(), safe=False)
    narrow = wide.cast(pa.float32(), safe=False)
    if pc.all(pc.is_finite(narrow)).as_py() not in (True, None):
        return False
    back = narrow.cast(pa.float64())
    if pa.types.is_integer(values.type):
        return pc.all(pc.equal(back.cast(pa.int64(), safe=False), values)).as_py() is not False
    changed = pc.any(pc.and_(pc.not_equal(back, wide), pc.less(pc.abs(wide), 2.0**63))).as_py()
    if changed and pc.all(pc.equal(wide, pc.round(wide))).as_py():
        return False
    distinct, left = pc.count_distinct(wide).as_py(), pc.count_distinct(narrow).as_py()
    return bool(distinct - left <= distinct * _MOST_FALL_TOGETHER)
