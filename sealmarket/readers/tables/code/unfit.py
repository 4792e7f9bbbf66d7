"""Why content is not what its card promises: a code of the closed list of data cards, and the column."""

from __future__ import annotations

from collections.abc import Iterable

_NAMED = 8
_NAME_CHARACTERS = 60


class Unfit(Exception):
    """Content does not fit its card. ``detail`` holds names and counts, never a cell; only an owner's run shows it."""

    def __init__(self, code: str, detail: str, column: str | None = None) -> None:
        super().__init__(detail)
        self.code, self.detail, self.column = code, detail, column


def listed(names: Iterable[str]) -> str:
    """Column names for a text: the first eight, each cut to 60 characters."""
    every = [repr(name[:_NAME_CHARACTERS]) for name in names]
    more = f" and {len(every) - _NAMED} more" if len(every) > _NAMED else ""
    return ", ".join(every[:_NAMED]) + more


def counted(count: int, what: str) -> str:
    """``1 row``, ``3 rows``."""
    return f"{count} {what}" if count == 1 else f"{count} {what}s"
