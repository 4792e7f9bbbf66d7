"""CSV (RFC 4180) that a spreadsheet shows as it is: no cell of it is taken for a formula."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence

_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""What spreadsheets take a cell for a formula by, in half and full width (OWASP, CSV injection)."""


def csv_text(columns: Sequence[str], lines: Iterable[Mapping[str, str]]) -> str:
    """A header and one row for each line. Every cell is quoted; what could start a formula follows an apostrophe."""
    out = io.StringIO()
    writer = csv.writer(out, quoting=csv.QUOTE_ALL, lineterminator="\r\n")
    writer.writerow(columns)
    for line in lines:
        writer.writerow([harmless(line[column]) for column in columns])
    return out.getvalue()


def harmless(cell: str) -> str:
    """A cell as text: with an apostrophe before what a spreadsheet would calculate, behind blanks too."""
    return "'" + cell if cell.startswith(_FORMULA) or cell.lstrip().startswith(_FORMULA) else cell
