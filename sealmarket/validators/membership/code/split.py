"""Which rows are withheld from a workload (docs/spec/outputs.md, "Membership"). Standard library only.

Row ``r`` of table ``t`` (both counted from 0) is withheld if the first 8 bytes of
``SHA-256("sealmarket/withheld/1" || u16(length of seed) || seed || u32(t) || u64(r))``, as a big-endian number, are
less than ``permille * 2**64 / 1000``.
"""

from __future__ import annotations

import hashlib

_PREFIX = b"sealmarket/withheld/1"


def withheld(seed: str, permille: int, table: int, rows: int) -> list[bool]:
    """For each row of one table, whether it is withheld."""
    raw = seed.encode("utf-8")
    head = hashlib.sha256(_PREFIX + len(raw).to_bytes(2, "big") + raw + table.to_bytes(4, "big"))
    bound, found = permille * 2**64 // 1000, []
    for row in range(rows):
        one = head.copy()
        one.update(row.to_bytes(8, "big"))
        found.append(int.from_bytes(one.digest()[:8], "big") < bound)
    return found
