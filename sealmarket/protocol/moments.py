"""How moments are written for people: ISO 8601 in UTC, and how far away they are."""

from __future__ import annotations

from datetime import UTC, datetime

_LAST = 253_402_300_799
"""The last second of the year 9999: what comes later has no date here."""
_UNITS = ((86_400, "day"), (3600, "hour"), (60, "minute"), (1, "second"))


def moment(seconds: int) -> str:
    """``2026-11-28T18:00:00Z``, of seconds since 1970 UTC."""
    if not 0 <= seconds <= _LAST:
        return f"second {seconds}"
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def duration(seconds: int) -> str:
    """``3 hours``, ``1 day 2 hours``: the two largest units, rounded down."""
    parts = []
    for size, name in _UNITS:
        count, seconds = divmod(seconds, size)
        if count:
            parts.append(f"{count} {name}{'s' if count != 1 else ''}")
    return " ".join(parts[:2]) or "0 seconds"


def beside(seconds: int, now: int) -> str:
    """``2026-11-28T18:00:00Z (in 3 hours)``."""
    away = seconds - now
    return f"{moment(seconds)} ({f'in {duration(away)}' if away >= 0 else f'{duration(-away)} ago'})"
