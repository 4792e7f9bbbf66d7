"""Whatever an owner writes into a data card, reading it ends, is bounded, and takes nothing of another shape."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sealmarket.protocol.cards import MOST_CARD, MOST_COLUMNS, NO_CARD, Card, card_of, read_card
from sealmarket.protocol.orders import Purpose
from sealmarket.protocol.purposes import LABELS, MOST_LABELS, in_words, purposes_in_words

anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(), lambda s: st.lists(s) | st.dictionaries(st.text(), s)
)


@pytest.mark.parametrize(
    "raw", [b"", b"[]", b"7", b"{", b"\xff", b"[" * 100_000, b'{"kind": "' + b"a" * MOST_CARD + b'"}']
)
def test_what_is_no_card_says_nothing(raw: bytes) -> None:
    assert read_card(raw) == NO_CARD


@given(card=st.dictionaries(st.sampled_from(["kind", "columns", "purposes", "dpv", "duo", "other"]), anything))
def test_a_card_of_any_shape_is_read(card: dict[str, Any]) -> None:
    found = card_of(card)
    assert read_card(json.dumps(card).encode()) == found
    assert all(isinstance(text, str) for text in (found.kind, *found.columns, *found.purposes))


def test_a_card_is_read_as_far_as_it_names_things() -> None:
    columns: list[Any] = ["age", {"name": "sex", "unit": "-"}, {"unit": "kg"}, 7]
    labels = {"duo": ["DUO:0000042", 3], "dpv": ["dpv:PublicBenefit"], "purposes": ["DUO:0000021"]}
    found = card_of({"kind": "table", "columns": columns, **labels})
    named = ("dpv:PublicBenefit", "DUO:0000042", "DUO:0000021")
    assert found == Card(kind="table", columns=("age", "sex"), purposes=named)


def test_more_than_people_read_is_cut() -> None:
    found = card_of({"columns": ["c" * 999] * 9999, "purposes": ["p" * 999] * 99, "kind": "k" * 999})
    assert (len(found.columns), len(found.columns[0])) == (MOST_COLUMNS, 200)
    assert (len(found.purposes), len(found.purposes[0]), len(found.kind)) == (MOST_LABELS, 100, 100)


@given(bits=st.integers(0, 2**32 - 1))
def test_purposes_are_written_by_name_and_none_is_dropped(bits: int) -> None:
    words = purposes_in_words(bits)
    named = {purpose for purpose in Purpose if purpose.name.lower() in words.split(", ")}
    assert named == {purpose for purpose in Purpose if bits & purpose}
    assert (bits & ~sum(Purpose) == 0) is ("0x" not in words)


def test_codes_of_both_vocabularies_have_words_and_others_stay() -> None:
    assert in_words("DUO:0000042") == "DUO:0000042 (general research)"
    assert in_words("dpv:AcademicResearch") == "dpv:AcademicResearch (research by universities and schools)"
    assert in_words("x:y") == "x:y"
    assert {code.partition(":")[0] for code in LABELS} == {"DUO", "dpv"}
