"""Amounts, dates and accounts as people write them, and as they are shown to people.

    0.5coin, 1500           an amount: in whole coins of 18 digits, or in the smallest unit
    2027-01-31              the end of that day in UTC
    2027-01-31T12:00:00Z    that second
    in 90 days              from the given time on; also hours and weeks
    1801440000              seconds since 1970 UTC
    0xAb5801a7D398...       an account: in EIP-55's spelling, or in one case throughout

Texts are short and bounded before they are matched. A refusal is a :class:`MalformedDocument`.
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta

from sealmarket_enclave.protocol.codec import LARGEST_INTEGER, Address, Wei
from sealmarket_enclave.protocol.errors import MalformedDocument

COIN = 10**18
LONGEST_TEXT = 80
_AMOUNT = re.compile(r"([0-9]{1,39})|([0-9]{1,21}(?:\.[0-9]{1,18})?) ?(?:coin|ether|eth)")
_FROM_NOW = re.compile(r"in ([0-9]{1,6}) ?(hour|day|week)s?")
_UNITS = {"hour": 3600, "day": 86_400, "week": 7 * 86_400}
_PARTS = (("day", 86_400), ("hour", 3600), ("minute", 60))
_MOMENTS = "write a day (2027-01-31, until its end in UTC), `in 90 days`, 2027-01-31T12:00:00Z, or seconds since 1970"


def amount_of(text: str) -> Wei:
    """``1500`` is in the smallest unit, ``1.5coin`` in whole coins of 18 digits. Exact, never a float.

    Raises:
        MalformedDocument: neither, or more than 128 bits.
    """
    found = _AMOUNT.fullmatch(text) if len(text) <= LONGEST_TEXT else None
    if not found:
        raise MalformedDocument(f"{_shown(text)} is no amount", remedy="write 1500 for the smallest unit, or 1.5coin")
    if found[1]:
        return Wei(int(found[1]))
    whole, _, part = found[2].partition(".")
    return Wei(int(whole) * COIN + int(part.ljust(18, "0")))


def coins(value: int) -> str:
    """An amount in whole coins, exactly."""
    return f"{Wei(value).coins} coin"


def moment_of(text: str, now: int) -> int:
    """A moment in seconds since 1970 UTC; ``now`` is where ``in 90 days`` counts from.

    Raises:
        MalformedDocument: no such moment, or one that no document can spell.
    """
    if len(text) > LONGEST_TEXT or not text.isascii():
        raise MalformedDocument(f"{_shown(text)} is no date", remedy=_MOMENTS)
    if text.isdigit():
        found = int(text)
    elif relative := _FROM_NOW.fullmatch(text):
        found = now + int(relative[1]) * _UNITS[relative[2]]
    else:
        found = _calendar(text)
    if not 0 <= found <= LARGEST_INTEGER:
        raise MalformedDocument(f"{_shown(text)} is out of range", remedy=_MOMENTS)
    return found


def moment(seconds: int, now: int) -> str:
    """``2027-01-31T23:59:59Z (in 64 days)``: a moment in UTC, and how far it is from ``now``."""
    distance = abs(seconds - now)
    size, unit = next(
        ((distance // length, name) for name, length in _PARTS if distance >= length), (distance, "second")
    )
    span = f"{size} {unit}{'' if size == 1 else 's'}"
    return f"{iso(seconds)} ({f'in {span}' if seconds > now else f'{span} ago'})"


def iso(seconds: int) -> str:
    """A moment in UTC as ISO 8601; far ones that no calendar of ours reaches as seconds."""
    try:
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (OverflowError, ValueError, OSError):
        return f"{seconds} s after 1970"


def account_of(text: str) -> Address:
    """An account in EIP-55's spelling, whose capitals are a checksum, or in one case throughout.

    Raises:
        MalformedDocument: 40 digits are missing, or the checksum does not hold: a digit was mistyped.
    """
    digits = text.removeprefix("0x").removeprefix("0X")
    try:
        found = Address.parse("0x" + digits.lower())
    except MalformedDocument as error:
        remedy = "copy the whole address, 0x and 40 digits"
        raise MalformedDocument(f"{_shown(text)} is no account", remedy=remedy) from error
    if digits not in (digits.lower(), digits.upper()) and found.checksum[2:] != digits:
        raise MalformedDocument(
            f"{_shown(text)} is no account: the capitals, its checksum, do not hold", remedy="copy the address again"
        )
    return found


def _calendar(text: str) -> int:
    try:
        if len(text) == len("2027-01-31"):
            end = datetime.combine(date.fromisoformat(text), datetime.max.time(), UTC)
            return int(end.replace(microsecond=0).timestamp())
        when = datetime.fromisoformat(text)
    except (ValueError, OverflowError) as error:
        raise MalformedDocument(f"{_shown(text)} is no date", remedy=_MOMENTS) from error
    if when.utcoffset() is None:
        raise MalformedDocument(f"{_shown(text)} names no time zone", remedy="end it with Z for UTC")
    return (when - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(seconds=1)


def _shown(text: str) -> str:
    return ascii(text[:LONGEST_TEXT])
