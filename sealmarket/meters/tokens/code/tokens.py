"""Counts the tokens of one model, by its own vocabulary and chat template, which lie beside this file.

Hugging Face's tokenizers read ``tokenizer.json``. ``model.json`` has ``chatTemplate``, with ``bos`` and ``eos`` for it;
how many ``tokens`` there are, how many are ``added`` to a prompt, the bytes of the ``longest``, and the special ones
behind which blanks are dropped (``stripAfter``). A vocabulary of pieces has ``pieces`` and ``spacePrefix`` there.

A prompt has the tokens of what the template makes of the messages, the special ones included; an answer those of its
text. The token that ends an answer is not counted. A text that is known to have more tokens than may be is not read on.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from answers import Answered
from asked import Unread, read_messages, read_object, read_prompt, read_tools
from counting import UNBOUNDED, count
from jinja2 import ext
from jinja2.exceptions import TemplateError
from jinja2.sandbox import ImmutableSandboxedEnvironment
from pieces import Pieces
from tokenizers import Tokenizer


def serve(session: Any) -> None:
    """Entry point: count for one account until it asks no more."""
    meter = Meter(Path(__file__).parent)
    count(session, meter.prompt_units, meter.output_units)


class Meter:
    """The vocabulary and the template of one model, from a folder."""

    def __init__(self, folder: Path) -> None:
        model = json.loads((folder / "model.json").read_text("utf-8"))
        self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        self._added, self._longest = int(model["added"]), int(model["longest"])
        self._known = int(model["tokens"])
        self._pieces = Pieces(model["pieces"]) if "pieces" in model else None
        self._prefix = " " if model.get("spacePrefix") else ""
        strip = "|".join(map(re.escape, sorted(model["stripAfter"], key=len, reverse=True)))
        self._strip = re.compile(rf"({strip})[ \t\n\v\f\r]+") if strip else None
        environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[ext.loopcontrols])
        environment.filters["tojson"] = lambda value, **_: json.dumps(value, ensure_ascii=False)
        environment.globals["raise_exception"] = _refuse
        self._template = environment.from_string(model["chatTemplate"]) if model["chatTemplate"] else None
        self._named = {"bos_token": model["bos"], "eos_token": model["eos"]}

    def prompt_units(self, endpoint: str, body: bytes, most: int) -> int:
        """Tokens of the prompt, with those that the template adds; of a request of another shape, of its bytes.

        Of a prompt that has more than ``most``, a number above that.
        """
        if endpoint in ("models", "score"):
            return 0
        try:
            given = read_object(body)
            text = read_prompt(given) if endpoint == "completions" else self._rendered(given)
        except Unread:
            text = body.decode("utf-8", "replace")
        return self._added + self._tokens(text, most)

    def output_units(self, endpoint: str, body: bytes, answered: Answered) -> int:
        """Tokens of the text; a prompt that the answer repeats at its start is counted once, as the prompt."""
        text = answered.text
        if endpoint == "completions" and (prompt := _echoed(body)) and text.startswith(prompt):
            text = text[len(prompt) :]
        return answered.rows + self._tokens(text, UNBOUNDED)

    def _rendered(self, given: Mapping[str, Any]) -> str:
        messages: Sequence[Mapping[str, Any]] = read_messages(given)
        if self._template is None:
            raise Unread
        try:
            return self._template.render(
                messages=messages, tools=read_tools(given) or None, add_generation_prompt=True, **self._named
            )
        except (TemplateError, TypeError, ValueError, KeyError, ArithmeticError, RecursionError):
            raise Unread from None

    def _tokens(self, text: str, most: int) -> int:
        spelled = text.encode("utf-8", "replace").decode()
        if self._strip is not None:
            spelled = self._strip.sub(r"\1", spelled)
        if (least := len(spelled.encode()) // self._longest) > most:
            return least
        encoding = self._tokenizer.encode(spelled, add_special_tokens=False)
        if self._pieces is None:
            return sum(token < self._known for token in encoding.ids)
        found, prefix = 0, self._prefix
        for token, (start, end) in zip(encoding.ids, encoding.offsets, strict=True):
            special = token < self._known
            found += 1 if special else self._pieces.count(prefix + spelled[start:end], most - found)
            prefix = self._prefix if special else ""
            if found > most:
                break
        return found


def _echoed(body: bytes) -> str:
    try:
        given = read_object(body)
        return read_prompt(given) if given.get("echo") is True else ""
    except Unread:
        return ""


def _refuse(_message: str) -> str:
    raise Unread
