"""The fault table as the interface prints it, and what its formulas come to."""

from __future__ import annotations

import re
from collections.abc import Mapping

from scripts.toolchain import ROOT

INTERFACE = ROOT / "contracts/interfaces/IJobs.sol"
Row = tuple[str, ...]


def of_interface() -> dict[str, Row]:
    """Fault -> payer, provider, stake, burned, owners, counter, uses; as the interface prints them."""
    lines = INTERFACE.read_text().splitlines()
    table = (re.split(r"\s{2,}", line.removeprefix("///").strip()) for line in lines if line.startswith("///   "))
    return {cells[0]: tuple(cells[1:]) for cells in table if len(cells) == 8 and cells[0] != "fault"}


def value(expression: str, amounts: Mapping[str, int]) -> int:
    """A sum of numbers and symbols; "-" alone is nothing."""
    total, sign = 0, 1
    for word in expression.split():
        if word in "+-":
            sign = -1 if word == "-" else 1
        else:
            total += sign * (int(word) if word.isdigit() else amounts[word])
    return total
