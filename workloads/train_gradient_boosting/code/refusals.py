"""Why a table is refused: column names and counts, never a cell."""

from __future__ import annotations

from collections.abc import Iterable

_NAMED = 8
_NAME_CHARACTERS = 60


class TableRefused(ValueError):
    """An input cannot be used as it is; the text names the input, the columns and what to do."""

    def __init__(self, rule: str, remedy: str) -> None:
        super().__init__(f"{rule}; {remedy}")
        self.rule, self.remedy = rule, remedy


def listed(names: Iterable[str]) -> str:
    """Column names for a text: the first eight, each cut to 60 characters."""
    every = [repr(name[:_NAME_CHARACTERS]) for name in names]
    more = f" and {len(every) - _NAMED} more" if len(every) > _NAMED else ""
    return ", ".join(every[:_NAMED]) + more


def counted(count: int, what: str) -> str:
    """``1 row``, ``3 rows``."""
    return f"{count} {what}" if count == 1 else f"{count} {what}s"
