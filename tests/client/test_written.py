"""Amounts, dates and accounts as people write them: what is none is refused, and what is one is exact."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sealmarket.client.written import account_of, amount_of, coins, iso, moment, moment_of
from sealmarket_enclave.protocol.codec import Address
from sealmarket_enclave.protocol.errors import MalformedDocument

NOW = 1_795_892_400  # 2026-11-28T19:00:00Z
DAY = 86_400


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            "soon",
            "in 90",
            "in days",
            "in -1 days",
            "in 90 years",
            "2027-02-30",
            "2027-1-31",
            "20270131x",
            "31.1.2027",
        ),
        *("2027-01-31T12:00:00", "99999999999999999999", "in 999999 weeks and", "١٢", "2027-01-31" + " " * 80),
    ],
)
def test_what_is_no_date_is_refused_with_the_forms_that_are(text: str) -> None:
    with pytest.raises(MalformedDocument) as refused:
        moment_of(text, NOW)
    assert refused.value.remedy


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("2027-01-31", "2027-01-31T23:59:59Z"),
        ("2027-01-31T12:00:00Z", "2027-01-31T12:00:00Z"),
        ("2027-01-31T12:00:00+02:00", "2027-01-31T10:00:00Z"),
        ("in 90 days", "2027-02-26T19:00:00Z"),
        ("in 1 hour", "2026-11-28T20:00:00Z"),
        ("1000", "1970-01-01T00:16:40Z"),
    ],
)
def test_a_date_as_people_write_it_is_one_second_in_utc(text: str, shown: str) -> None:
    assert iso(moment_of(text, NOW)) == shown


def test_a_moment_is_shown_with_its_distance_and_one_that_is_over_says_so() -> None:
    assert moment(NOW + 3 * 3600, NOW) == "2026-11-28T22:00:00Z (in 3 hours)"
    assert moment(NOW - DAY, NOW) == "2026-11-27T19:00:00Z (1 day ago)"
    assert iso(2**53 - 1).endswith("s after 1970")


@given(st.integers(min_value=0, max_value=253_402_300_799))
def test_every_second_reads_back_from_how_it_is_shown(seconds: int) -> None:
    assert moment_of(iso(seconds), NOW) == seconds
    assert moment_of(str(seconds), NOW) == seconds
    day = datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d")
    assert 0 <= moment_of(day, NOW) - seconds < DAY


@given(st.binary(min_size=20, max_size=20))
def test_an_account_is_taken_in_its_checksummed_spelling_and_in_one_case(raw: bytes) -> None:
    account = Address(raw)
    spelled = account.checksum
    assert account_of(spelled) == account_of(spelled.lower()) == account_of("0x" + spelled[2:].upper()) == account


@given(st.binary(min_size=20, max_size=20), st.integers(min_value=2, max_value=41))
def test_one_digit_of_another_case_is_a_typing_error(raw: bytes, place: int) -> None:
    spelled = Address(raw).checksum
    swapped = spelled[:place] + spelled[place].swapcase() + spelled[place + 1 :]
    if swapped != spelled and swapped[2:] not in (swapped[2:].lower(), swapped[2:].upper()):
        with pytest.raises(MalformedDocument, match="checksum"):
            account_of(swapped)


NEARLY = st.lists(
    st.sampled_from(
        ["0", "1", "9", "12", ".", "-", ":", "T", "Z", "+", " ", "in ", " days", "coin", "0x", "2027-01-", "ab" * 20]
    ),
    max_size=8,
).map("".join)


@given(st.text(max_size=100) | NEARLY)
def test_a_text_that_is_read_means_what_its_one_spelling_means_and_any_other_is_refused(text: str) -> None:
    with suppress(MalformedDocument):
        amount = amount_of(text)
        assert amount_of(coins(amount)) == amount_of(str(amount)) == amount >= 0
    with suppress(MalformedDocument):
        account = account_of(text)
        assert account_of(account.checksum) == account
    with suppress(MalformedDocument):
        seconds = moment_of(text, NOW)
        assert moment_of(iso(seconds), NOW + DAY) == seconds


@given(st.integers(min_value=0, max_value=2**128 - 1))
def test_an_amount_in_coins_reads_back_exactly(amount: int) -> None:
    assert amount_of(coins(amount)) == amount
