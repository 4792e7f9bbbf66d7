"""Which grammars the engine takes: it ends the process over one that it cannot read, and so none such reaches it.

A grammar is read as GBNF is written for a JSON schema, one rule a line; what else the engine may know is not taken.
"""

from __future__ import annotations

import re
from graphlib import CycleError, TopologicalSorter

_MOST_TIMES = 1000
"""The engine repeats nothing more than 2000 times."""
_ESCAPE = r'\\(?:[trn"\\\[\]]|x[0-9A-Fa-f]{2}|u[0-9A-Fa-f]{4}|U[0-9A-Fa-f]{8})'
_TOKEN = re.compile(
    rf'(?P<text>"(?:[^"\\\n]|{_ESCAPE})*"|\[\^?(?:[^\]\\\n]|{_ESCAPE})+\]|\.)'
    r"|(?P<name>[A-Za-z][A-Za-z0-9-]*)|(?P<times>[*+?]|\{(?P<low>\d+)(?:,(?P<high>\d*))?\})|(?P<sign>[|()])| +"
)


def is_taken(grammar: str) -> bool:
    """Whether every rule can be read, repeats little, names rules that are there, and none begins with itself."""
    begins: dict[str, set[str]] = {}
    named: set[str] = set()
    for line in filter(None, grammar.split("\n")):
        name, found, body = line.partition(" ::= ")
        if not found or name in begins or re.fullmatch(r"[A-Za-z][A-Za-z0-9-]*", name) is None:
            return False
        read = _read(body)
        if read is None:
            return False
        begins[name] = read[1]
        named |= read[0]
    return "root" in begins and named <= begins.keys() and not _circular(begins)


def _read(body: str) -> tuple[set[str], set[str]] | None:
    """The rules that a body names, and those of them that may stand at the start of it; None where it is not read."""
    named: set[str] = set()
    first: set[str] = set()
    at, depth, item, start = 0, 0, False, True
    while at < len(body):
        found = _TOKEN.match(body, at)
        if found is None:
            return None
        at = found.end()
        if found["times"]:
            most = max(int(number or 0) for number in (found["low"], found["high"]))
            if not item or most > _MOST_TIMES:
                return None
            item = False
        elif found["text"] or found["name"]:
            item = True
            if found["name"]:
                named.add(found["name"])
                first |= {found["name"]} if start else set()
            start = start and not found["text"]
        elif found["sign"]:
            depth += {"(": 1, ")": -1}.get(found["sign"], 0)
            item, start = found["sign"] == ")", start or found["sign"] == "|"
        if depth < 0:
            return None
    return None if depth else (named, first)


def _circular(begins: dict[str, set[str]]) -> bool:
    """Whether a rule can begin with itself."""
    try:
        TopologicalSorter(begins).prepare()
    except CycleError:
        return True
    return False
