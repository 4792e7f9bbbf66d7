"""What a command does to its output streams: it writes to any of them, and ends well where one cannot be written."""

from __future__ import annotations

import codecs
import io
import os
import sys
from typing import IO

# One for one, so that tables keep their width. Named by their numbers, since many of them look like others.
_AS_ASCII = {
    "\u2026": ".", "\u2013": "-", "\u2014": "-", "\u201c": '"', "\u201d": '"', "\u2018": "'", "\u2019": "'",
    "\u00b7": "-", "\u2022": "*", "\u2192": ">", "\u00d7": "x", "\u2500": "-", "\u2502": "|", "\u256d": "+",
    "\u256e": "+", "\u2570": "+", "\u256f": "+",
}  # fmt: skip
_HANDLER = "sealmarket.ascii"


def write_anywhere() -> None:
    """Let both streams take any text: what their encoding lacks is written in ASCII, never refused."""
    codecs.register_error(_HANDLER, _in_ascii)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=_HANDLER)


def _in_ascii(error: UnicodeError) -> tuple[str, int]:
    """Typographic characters by their look, any other by its number, so that no two names print alike."""
    assert isinstance(error, UnicodeEncodeError)
    lacking = error.object[error.start : error.end]
    return "".join(_AS_ASCII.get(one) or one.encode("ascii", "backslashreplace").decode() for one in lacking), error.end


def all_is_written() -> bool:
    """Write the buffers out; what cannot be written is dropped, or Python would report it once more when it ends."""
    done = True
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None:
                stream.flush()
        except OSError:
            done = False
            _drop(stream)
    return done


def _drop(stream: IO[str]) -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
