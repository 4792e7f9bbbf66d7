"""When an answer ends: at the model's end, at a stop text, or at its longest."""

from __future__ import annotations

from collections.abc import Iterator


class Run:
    """Text until the model ends, a stop text appears, or ``most`` tokens are made; ``made`` counts the tokens."""

    def __init__(self, pieces: Iterator[str], stops: tuple[str, ...], most: int) -> None:
        self._pieces, self._stops, self._most = pieces, stops, most
        self.made, self.reason = 0, "stop"

    def pieces(self) -> Iterator[str]:
        """A text for each token; what may be the start of a stop text is held back."""
        held, longest = "", max(map(len, self._stops), default=1)
        for piece in self._pieces:
            self.made = min(self.made + 1, self._most)
            held += piece
            if found := [at for at in map(held.find, self._stops) if at >= 0]:
                yield held[: min(found)]
                return
            clear = len(held) - _begun(held, self._stops, longest)
            yield held[:clear]
            held = held[clear:]
        if self.made == self._most:
            self.reason = "length"
        yield held


def _begun(text: str, stops: tuple[str, ...], longest: int) -> int:
    """How many characters at the end of ``text`` may be the start of a stop text."""
    for length in range(min(longest - 1, len(text)), 0, -1):
        if any(stop.startswith(text[-length:]) for stop in stops):
            return length
    return 0
