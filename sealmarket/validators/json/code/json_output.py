"""Is a JSON output what its owner's rules allow? (docs/spec/outputs.md, "JSON")

1. The bytes are one spelling of their value: keys sorted, blanks of one of eight formats, numbers as the shortest text.
2. No more numbers, strings, characters and levels than allowed; a number has few significant digits.
3. A string that the rules list as a word, and a key that the schema names, cost no characters.
4. The value fits the schema, where the rules have one.

Linear in the output. Standard library only.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import schemas
from verdict import (
    NOT_DECLARED,
    NOT_READABLE,
    RULES_INVALID,
    TOO_MANY_NUMBERS,
    TOO_MUCH_TEXT,
    Inputs,
    Refused,
    judged,
    read_json,
    read_rules,
)

MOST_BYTES = 16 << 20
_MOST_ZEROS = 16
"""How many zeros may stand before or behind a number's significant digits."""
_FORMATS: tuple[tuple[int | None, tuple[str, str]], ...] = (
    (None, (",", ":")),
    (None, (", ", ": ")),
    (1, (",", ": ")),
    (2, (",", ": ")),
    (4, (",", ": ")),
)
_KINDS: dict[str, type | tuple[type, ...]] = {
    "maxDepth": int,
    "maxDigits": int,
    "maxNumbers": int,
    "maxStringLength": int,
    "maxStrings": int,
    "maxText": int,
    "schema": (dict, type(None)),
    "words": list,
}


def run(inputs: Inputs, parameters: object) -> dict[str, bytes]:
    """Entry point: ``output`` and ``rules`` in, ``verdict.json`` out."""
    del parameters
    return judged(check, inputs)


def check(inputs: Inputs) -> None:
    """Raise :class:`Refused` unless the output may leave."""
    rules = read_rules(inputs["rules"], _KINDS)
    schema = rules["schema"]
    if schema is not None:
        schemas.require_schema(schema)
    if not all(isinstance(word, str) for word in rules["words"]):
        raise Refused(RULES_INVALID, "words are strings")
    value = _read(inputs["output"])
    _require_bounds(value, rules, schemas.property_names(schema) if schema is not None else frozenset())
    if schema is not None and not schemas.fits(value, schema):
        raise Refused(NOT_DECLARED, "the schema does not allow the value")


def _read(raw: memoryview) -> Any:
    if len(raw) > MOST_BYTES:
        raise Refused(TOO_MUCH_TEXT, f"{len(raw)} bytes, expected at most {MOST_BYTES}")
    try:
        text = bytes(raw).decode("utf-8")
        value = read_json(text, parse_constant=_no_number)
        spelled = text.removesuffix("\n")
        if not any(spelled == other for other in _spellings(value)):
            raise Refused(NOT_READABLE, "another spelling of its value")
    except (ValueError, RecursionError):
        raise Refused(NOT_READABLE, "no JSON in UTF-8") from None
    return value


def _no_number(text: str) -> Any:
    raise Refused(NOT_READABLE, f"{text} is no JSON")


def _spellings(value: Any) -> Iterator[str]:
    for ascii_only in (True, False):
        for indent, marks in _FORMATS:
            yield json.dumps(value, sort_keys=True, indent=indent, separators=marks, ensure_ascii=ascii_only)


def _require_bounds(value: Any, rules: dict[str, Any], named: frozenset[str]) -> None:
    words, texts, characters, numbers = frozenset(rules["words"]), 0, 0, 0
    pending: list[tuple[Any, int]] = [(value, 1)]
    while pending:
        one, depth = pending.pop()
        if depth > rules["maxDepth"]:
            raise Refused(NOT_DECLARED, f"more than {rules['maxDepth']} levels")
        if isinstance(one, dict):
            pending += [(inner, depth + 1) for inner in one.values()]
            strings = [key for key in one if key not in named]
        elif isinstance(one, list):
            pending += [(inner, depth + 1) for inner in one]
            strings = []
        elif isinstance(one, str):
            strings = [one]
        else:
            strings = []
            # A truth value or null in a list carries a bit: it counts as a number.
            numbers += 1
            _require_digits(one, rules["maxDigits"])
        texts += len(strings)
        characters += sum(_cost(text, words, rules["maxStringLength"]) for text in strings)
        if numbers > rules["maxNumbers"]:
            raise Refused(TOO_MANY_NUMBERS, f"more than {rules['maxNumbers']}")
        if texts > rules["maxStrings"] or characters > rules["maxText"]:
            raise Refused(TOO_MUCH_TEXT, f"{texts} strings of {characters} characters")


def _cost(text: str, words: frozenset[str], longest: int) -> int:
    if text in words:
        return 0
    if len(text) > longest:
        raise Refused(TOO_MUCH_TEXT, f"a string of {len(text)} characters, expected at most {longest}")
    return len(text)


def _require_digits(value: Any, most: int) -> None:
    if isinstance(value, bool) or value is None:
        return
    mantissa, _, exponent = repr(value).lstrip("-").partition("e")
    digits = len(mantissa.replace(".", "").strip("0"))
    if max(digits, len(exponent.lstrip("+-"))) > most or len(mantissa) > most + _MOST_ZEROS:
        raise Refused(TOO_MANY_NUMBERS, f"a number of {digits} digits, expected at most {most}")
