"""A validator's verdict: pass, or one code of a closed list (docs/spec/outputs.md, "Verdicts").

Each bundle of a validator holds this file; a test holds the copies equal. Standard library only.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

NOT_READABLE = "not_readable"
NOT_DECLARED = "not_declared"
NOT_USED = "not_used"
NOT_FROM_DATA = "not_from_data"
TOO_MANY_NUMBERS = "too_many_numbers"
TOO_MUCH_TEXT = "too_much_text"
GROUP_TOO_SMALL = "group_too_small"
REMEMBERS_ROWS = "remembers_rows"
RULES_INVALID = "rules_invalid"
DATA_MISSING = "data_missing"

Inputs = Mapping[str, memoryview]
MOST_BRACKETS = 4096


class Refused(Exception):
    """The output may not leave. ``code`` is one of those above; ``detail`` never leaves the sandbox."""

    def __init__(self, code: str, detail: str = "") -> None:
        super().__init__(f"{code}: {detail}")
        self.code = code


def judged(check: Callable[[Inputs], None], inputs: Inputs) -> dict[str, bytes]:
    """Run a check; ``verdict.json``.

    Whatever an output makes fail in a library is a verdict too: without one its owner would answer for the failure.
    """
    try:
        check(inputs)
    except Refused as refusal:
        return _spelled(passes=False, code=refusal.code)
    except Exception:  # noqa: BLE001 - every way of failing over an output withholds it
        return _spelled(passes=False, code=NOT_READABLE)
    return _spelled(passes=True, code=None)


def _spelled(*, passes: bool, code: str | None) -> dict[str, bytes]:
    return {"verdict.json": json.dumps({"code": code, "pass": passes}, separators=(",", ":"), sort_keys=True).encode()}


def read_json(text: str, **how: Any) -> Any:
    """The value of a text of JSON.

    How deep the interpreter follows brackets is a setting of the process, so it is not left to it.

    Raises:
        ValueError: no JSON, or more than ``MOST_BRACKETS`` brackets open in it.
        RecursionError: brackets inside each other.
    """
    if text.count("[") + text.count("{") > MOST_BRACKETS:
        raise ValueError(f"more than {MOST_BRACKETS} lists and objects")
    return json.loads(text, **how)


def read_rules(raw: memoryview, kinds: Mapping[str, type | tuple[type, ...]]) -> dict[str, Any]:
    """The rules: an object with exactly these keys, each of its kind. An owner states every rule; none has a default.

    Raises:
        Refused: ``rules_invalid``.
    """
    try:
        rules = json.loads(bytes(raw))
    except (ValueError, RecursionError):
        raise Refused(RULES_INVALID, "no JSON") from None
    if not isinstance(rules, dict) or rules.keys() != kinds.keys():
        raise Refused(RULES_INVALID, f"expected the keys {', '.join(sorted(kinds))}")
    for name, kind in kinds.items():
        value = rules[name]
        if not isinstance(value, kind) or isinstance(value, bool) != (kind is bool):
            raise Refused(RULES_INVALID, f"{name} has another type")
        if isinstance(value, int) and value < 0:
            raise Refused(RULES_INVALID, f"{name} is negative")
    return rules
