"""Counts pieces of a SentencePiece vocabulary, as llama.cpp joins them (``llm_tokenizer_spm_session``).

A text begins as its characters. Of two neighbours that together are a piece, those go first whose piece has the lowest
rank, the leftmost of equal ones. A character that is no piece in the end counts its bytes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from heapq import heapify, heappop, heappush

_BLANK = "▁"
_BORDER = re.compile("(?<=[^▁])(?=▁)")
"""Where a blank follows something else."""
_KEPT_WORD, _KEPT_WORDS = 32, 1 << 15
"""Characters of a word whose count is remembered, and how many words are."""


class Pieces:
    """A vocabulary: the rank of each piece. Pieces that hold a blank behind something else keep a text in one."""

    def __init__(self, ranks: Mapping[str, int]) -> None:
        self._ranks = ranks
        self._apart = not any(map(_BORDER.search, ranks))
        self._short = lru_cache(_KEPT_WORDS)(self._joined)

    def count(self, text: str, most: int) -> int:
        """Pieces of a text; of one that has more than ``most``, a number above that."""
        spelled, found = text.replace(" ", _BLANK), 0
        for word in _BORDER.split(spelled) if self._apart else [spelled]:
            found += self._short(word) if len(word) <= _KEPT_WORD else self._joined(word)
            if found > most:
                break
        return found

    def _joined(self, text: str) -> int:
        ranks, held = self._ranks, list(text)
        before, after = list(range(-1, len(held) - 1)), [*range(1, len(held)), -1]
        queue = [(ranks[pair], at, at + 1, 2) for at in range(len(held) - 1) if (pair := text[at : at + 2]) in ranks]
        heapify(queue)
        while queue:
            _, left, right, size = heappop(queue)
            if not held[left] or not held[right] or len(held[left]) + len(held[right]) != size:
                continue
            held[left], held[right] = held[left] + held[right], ""
            after[left] = after[right]
            if after[right] >= 0:
                before[after[right]] = left
            for one, other in ((before[left], left), (left, after[left])):
                if one >= 0 and other >= 0 and (rank := ranks.get(held[one] + held[other])) is not None:
                    heappush(queue, (rank, one, other, len(held[one]) + len(held[other])))
        return sum(1 if one in ranks else len(one.encode()) for one in held if one)
