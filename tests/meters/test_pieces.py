"""Scored pieces are joined by rank, the leftmost first; a word of any length takes a bounded number of steps."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from scripts.toolchain import ROOT
from tests.validators.bundles import load_code

PIECES = load_code(ROOT / "sealmarket/meters/tokens/code", "pieces")
TEXTS = st.text("ab▁ é", max_size=12)


class Looked(dict[str, int]):
    """Ranks that count how often they are looked at."""

    looked = 0

    def get(self, key: str, default: Any = None) -> Any:
        self.looked += 1
        return super().get(key, default)

    def __contains__(self, key: object) -> bool:
        self.looked += 1
        return super().__contains__(key)


def joined(ranks: dict[str, int], text: str) -> int:
    """The same rule in one loop over all pairs."""
    held = list(text.replace(" ", "▁"))
    while pairs := [
        (ranks[held[at] + held[at + 1]], at) for at in range(len(held) - 1) if held[at] + held[at + 1] in ranks
    ]:
        _, at = min(pairs)
        held[at : at + 2] = [held[at] + held[at + 1]]
    return sum(1 if one in ranks else len(one.encode()) for one in held)


def test_a_word_without_end_takes_steps_in_proportion_to_its_length() -> None:
    """An attacker's mebibyte holds no blank at which it could be cut."""
    pieces = ["a", *("a" * length for length in range(2, 40)), "▁a"]
    steps = []
    for size in (2_000, 8_000):
        ranks = Looked({piece: -len(piece) for piece in pieces})
        assert PIECES.Pieces(ranks).count("a" * size, 1 << 53) == -(-size // 39)
        steps.append(ranks.looked)
    assert steps[1] < 4.5 * steps[0]


def test_a_text_of_more_words_than_it_may_have_tokens_is_not_read_to_its_end() -> None:
    ranks = Looked({"a": 1, "b": 1, "▁": 1})
    assert PIECES.Pieces(ranks).count("ab" * 40 + " ab" * 10_000, 5) > 5
    assert ranks.looked < 1_000


def test_a_character_that_is_no_piece_counts_its_bytes() -> None:
    assert PIECES.Pieces({"a": 0}).count("aé😀", 99) == 1 + 2 + 4


@given(
    st.dictionaries(TEXTS.filter(bool).map(lambda one: one.replace(" ", "▁")), st.integers(0, 3), max_size=25), TEXTS
)
def test_pieces_are_joined_by_rank_and_the_leftmost_first(ranks: dict[str, int], text: str) -> None:
    assert PIECES.Pieces(ranks).count(text, 1 << 53) == joined(ranks, text)
