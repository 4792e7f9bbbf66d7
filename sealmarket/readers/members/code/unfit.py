"""Why an archive is not what its card promises: a code of the closed list of data cards."""

from __future__ import annotations


class Unfit(Exception):
    """Content does not fit its card. ``detail`` holds places and counts, never a name; only an owner's run shows it."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code, self.detail = code, detail
