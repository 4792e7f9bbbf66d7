"""Columns of text -> numbers and labels. Every conversion is compared with what was written (docs/spec/tables.md).

1. A number is ASCII: sign, digits, one decimal mark, exponent. ``true`` and ``false`` are 1 and 0. ``007`` is a code
   and no number, since a number would lose its zeros.
2. The decimal mark is one for a file. A comma is one where a cell decides it: ``1,5`` does, ``1,500`` does not.
3. Missing cells (empty, ``NA``, ``N/A``, ``NaN``, ``null``, ``None``) are refused, or their rows dropped, as asked.
4. A feature is a 32-bit float, since that is what the model computes with. Whole numbers must be exact in it. Other
   numbers are rounded, and refused when more than one in a hundred distinct values fall together. So is a quantity
   to learn; its standard deviation is a thousand steps of a 32-bit float or more.
5. A label is text or a whole number of 64 bits, never a float.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal

import numpy as np
from refusals import TableRefused, counted, listed

MISSING = frozenset({"", "na", "n/a", "nan", "null", "none"})
_TRUTH = {"true": "1", "false": "0"}
_POINTED = frozenset("0123456789+-.eE")
_DATE = frozenset("0123456789-/:. TZ")
_LONGEST_NUMBER = 64
_MOST_FALL_TOGETHER = 0.01
_STEPS = 1000
"""In a standard deviation of a target, so that a model's rounding is small beside what it explains."""
_WHOLE = 2.0**63


def missing_rows(columns: Mapping[str, Sequence[str]], rule: str) -> list[int]:
    """The rows that ``rule`` = ``drop`` leaves out (rule 3), ascending.

    Raises:
        TableRefused: missing cells under ``rule`` = ``refuse``.
    """
    found = {name: [row for row, cell in enumerate(cells) if is_missing(cell)] for name, cells in columns.items()}
    found = {name: rows for name, rows in found.items() if rows}
    if found and rule == "refuse":
        cells = sum(map(len, found.values()))
        raise TableRefused(
            f"column {listed(found)} has {counted(cells, 'missing cell')}", "fill them, or say missing=drop"
        )
    return sorted({row for rows in found.values() for row in rows})


def is_missing(cell: str) -> bool:
    """Whether a cell says that there is no value."""
    return len(cell) <= 4 and cell.lower() in MISSING


def decimal_mark(columns: Mapping[str, Sequence[str]], rule: str) -> str:
    """``.`` or ``,``: the decimal mark of a file (rule 2), by its columns of numbers.

    Raises:
        TableRefused: cells decide for both, or for none although they hold commas.
    """
    if rule != "auto":
        return {"point": ".", "comma": ","}[rule]
    points, commas, unclear = [], [], []
    for name, cells in columns.items():
        if not all(map(_any_notation, cells)):
            continue
        with_comma = [cell for cell in cells if "," in cell]
        if any("." in cell for cell in cells):
            points.append(name)
        if any(map(_is_decimal_comma, with_comma)):
            commas.append(name)
        elif with_comma:
            unclear.append(name)
    if points and (commas or unclear):
        mixed = f"column {listed([*commas, *unclear])} holds commas in numbers, column {listed(points)} points"
        raise TableRefused(mixed, "use one decimal mark and no thousands separators")
    if unclear and not commas:
        either = f"commas in column {listed(unclear)} may be decimal marks or thousands separators"
        raise TableRefused(either, "say decimal=comma, or remove the separators")
    return "," if commas else "."


def _any_notation(cell: str) -> bool:
    return len(cell) <= _LONGEST_NUMBER and (_POINTED | {","}).issuperset(cell) and any(map(str.isdigit, cell))


def _is_decimal_comma(cell: str) -> bool:
    """Whether the comma of a number can be nothing but its decimal mark."""
    whole, _, part = cell.lstrip("+-").partition(",")
    grouped = len(part) == 3 and part.isdigit() and 1 <= len(whole) <= 3 and not whole.startswith("0")
    return "," not in part and not grouped


def normal(cells: Iterable[str], mark: str) -> list[str]:
    """Cells with a decimal point, and truth values as digits."""
    texts = [_TRUTH.get(cell.lower(), cell) if len(cell) <= 5 else cell for cell in cells]
    if mark == ".":
        return texts
    return [cell.replace(",", ".") if "," in cell and _any_notation(cell) else cell for cell in texts]


def kind(cells: Sequence[str]) -> str:
    """``numbers``, or what a column holds instead, in words."""
    others = [cell for cell in cells if _number(cell) is None]
    if not others:
        return "numbers"
    if all(map(_is_code, others)):
        return f"codes with leading zeros in {counted(len(others), 'cell')}"
    if all(map(_may_be_date, others)):
        return f"dates or times in {counted(len(others), 'cell')}"
    if all(map(_any_notation, others)):
        return f"thousands separators in {counted(len(others), 'cell')}"
    return f"text in {counted(len(others), 'cell')}"


def _may_be_date(cell: str) -> bool:
    return len(cell) <= _LONGEST_NUMBER and _DATE.issuperset(cell) and sum(map(str.isdigit, cell)) >= 4


def _number(cell: str) -> float | None:
    """The finite number that a cell writes (rule 1), rounded to 64 bits."""
    if not cell or len(cell) > _LONGEST_NUMBER or not _POINTED.issuperset(cell) or _is_code(cell):
        return None
    try:
        value = float(cell)
    except ValueError:
        return None
    return value if np.isfinite(value) else None


def _is_code(cell: str) -> bool:
    """Whether a cell starts with a zero that a number would lose."""
    digits = cell.lstrip("+-")
    return digits[:1] == "0" and digits[1:2].isdigit() and _POINTED.issuperset(digits) and "-" not in digits


def floats(name: str, cells: Sequence[str]) -> np.ndarray:
    """A column of numbers as 64-bit floats, shape (n,), whole numbers exact.

    Raises:
        TableRefused: something else than numbers, or whole numbers beyond 2^53 that would change.
    """
    found = [_number(cell) for cell in cells]
    if None in found:
        remedy = "a model of numbers has no use for it: leave it out (parameter ignore), or write it as numbers"
        raise TableRefused(f"column {listed([name])} holds {kind(cells)}", remedy)
    changed = sum(len(cell) > 15 and _is_changed(cell, value) for cell, value in zip(cells, found, strict=True))
    if changed:
        rule = f"column {listed([name])} holds {counted(changed, 'whole number')} that no float keeps"
        raise TableRefused(rule, _remedy())
    return np.asarray(found, dtype=np.float64)


def _is_changed(cell: str, value: float | None) -> bool:
    written = Decimal(cell)
    whole = abs(written) < _WHOLE and written == written.to_integral_value()
    return whole and value is not None and int(value) != int(written)


def require_float32(name: str, values: np.ndarray) -> None:
    """Hold a column against what 32 bits keep of it (rule 4). Raises :class:`TableRefused`."""
    with np.errstate(over="ignore"):
        narrow = values.astype(np.float32)
    back = narrow.astype(np.float64)
    if not np.isfinite(narrow).all():
        raise TableRefused(f"column {listed([name])} holds numbers beyond 3.4e38", "scale it")
    changed = int(((back != values) & (np.abs(values) < _WHOLE)).sum())
    if changed and (values == np.rint(values)).all():
        rule = f"column {listed([name])} holds {counted(changed, 'whole number')} that a 32-bit float changes"
        raise TableRefused(rule, _remedy())
    distinct, left = len(np.unique(values)), len(np.unique(narrow))
    if distinct - left > distinct * _MOST_FALL_TOGETHER:
        rule = f"of {distinct} distinct values in column {listed([name])} a 32-bit float tells {left} apart"
        raise TableRefused(rule, _remedy())


def require_resolution(name: str, values: np.ndarray) -> None:
    """Refuse a quantity that varies by less than a thousand steps of a 32-bit float at its size (rule 4)."""
    step = float(np.spacing(np.float32(np.abs(values).max())))
    if step * _STEPS > values.std():
        rule = f"the values of column {listed([name])} vary by less than a 32-bit float tells apart at their size"
        raise TableRefused(rule, "subtract an offset")


def _remedy() -> str:
    return "subtract an offset or scale it; ids and timestamps tell a model nothing: leave them out (parameter ignore)"


def labels(cells: Sequence[str]) -> np.ndarray:
    """Class labels, shape (n,): 64-bit integers where each is one, else text (rule 5). ``1.0`` and ``1`` are one."""
    texts = [_label(cell) for cell in cells]
    if all(_fits_64_bits(text) for text in set(texts)):
        return np.asarray([int(text) for text in texts], dtype=np.int64)
    return np.asarray(texts, dtype=np.str_)


def _label(cell: str) -> str:
    """A number in its shortest spelling, any other text as it is."""
    value = _number(cell)
    if value is None:
        return cell
    number = Decimal(cell)
    if number and abs(number.adjusted()) > _LONGEST_NUMBER:
        return cell
    whole = number == number.to_integral_value()
    return str(int(number)) if whole else format(number.normalize(), "f")


def _fits_64_bits(text: str) -> bool:
    digits = text.removeprefix("-")
    whole = digits.isascii() and digits.isdigit() and len(digits) <= 19
    return whole and -(2**63) <= int(text) < 2**63 and text == str(int(text))
