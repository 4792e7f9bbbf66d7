"""The regular expressions of the product's code, and a rule by which one is linear in what it reads.

The rule refuses more than it has to. An expression that it refuses, and that is linear all the same, is listed with the
reason in :mod:`tests.structure.test_expressions`.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tests.structure.code import Module, modules

BOUNDED = 256
"""A repetition up to this many times counts as bounded."""
_AT_ONE_PLACE = {"match", "fullmatch"}
_FUNCTIONS = _AT_ONE_PLACE | {"compile", "search", "findall", "finditer", "sub", "subn", "split", "template"}
_REPEATS = {"MAX_REPEAT", "MIN_REPEAT"}


@dataclass(frozen=True, slots=True)
class Expression:
    """One expression in the source: where, its text (None if it is made when the program runs), and how it is used."""

    module: str
    text: str | bytes | None
    searched: bool


def expressions() -> Iterator[Expression]:
    """All of them: arguments of functions of ``re``, and patterns in the types of documents."""
    for module in modules().values():
        yield from in_module(module)


def in_module(module: Module) -> Iterator[Expression]:
    """Those of one module."""
    constants = dict(_constants(module.tree))
    for node in ast.walk(module.tree):
        if isinstance(node, ast.ImportFrom) and node.module == "re":
            yield Expression(module.name, None, searched=True)
        if not isinstance(node, ast.Call):
            continue
        for keyword in node.keywords:
            if keyword.arg in ("pattern", "regex"):
                yield Expression(module.name, _text(keyword.value, constants), searched=True)
        if (function := _function_of_re(node.func)) and node.args:
            places = _AT_ONE_PLACE if function != "compile" else set(_methods(module.tree, node)) or {"search"}
            searched = function not in (*_AT_ONE_PLACE, "compile") or not places <= _AT_ONE_PLACE
            yield Expression(module.name, _text(node.args[0], constants), searched)


def _function_of_re(function: ast.expr) -> str | None:
    if isinstance(function, ast.Attribute) and isinstance(function.value, ast.Name) and function.value.id == "re":
        return function.attr if function.attr in _FUNCTIONS else None
    return None


def _constants(tree: ast.Module) -> Iterator[tuple[str, str | bytes]]:
    for node in tree.body:
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant):
            for target in node.targets:
                if isinstance(target, ast.Name) and isinstance(node.value.value, str | bytes):
                    yield target.id, node.value.value


def _text(node: ast.expr, constants: dict[str, str | bytes]) -> str | bytes | None:
    if isinstance(node, ast.Constant) and isinstance(node.value, str | bytes):
        return node.value
    return constants.get(node.id) if isinstance(node, ast.Name) else None


def _methods(tree: ast.Module, compiled: ast.Call) -> Iterator[str]:
    """The methods that are called on the name to which a compiled expression is assigned."""
    names = {
        target.id
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign) and node.value is compiled
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in names:
            yield node.attr


def faults(text: str | bytes, *, searched: bool) -> list[str]:
    """Why an expression may take more than linear time; nothing for one that cannot.

    Linear are: one repetition without bound, nothing that varies inside it, from one place of the input only.
    """
    tree = re._parser.parse(text)
    found = list(_walk(tree, inside=False))
    several = [fault for fault in found if fault == "unbounded"]
    others = [fault for fault in found if fault != "unbounded"]
    if len(several) > 1:
        others.append("several repetitions without bound")
    if searched and (several or "possessive" in others) and not _starts_at_the_beginning(tree):
        others.append("a repetition without bound that starts at any place")
    return [fault for fault in others if fault != "possessive"]


def _walk(items: Any, *, inside: bool) -> Iterator[str]:
    for operation, value in items:
        name = str(operation)
        if name in _REPEATS or name == "POSSESSIVE_REPEAT":
            least, most, body = value
            unbounded = most > BOUNDED
            if unbounded:
                yield "unbounded" if name in _REPEATS else "possessive"
            if inside and least != most:
                yield "a repetition inside a repetition"
            yield from _walk(body, inside=inside or unbounded)
        elif name == "BRANCH":
            if inside:
                yield "alternatives inside a repetition"
            for branch in value[1]:
                yield from _walk(branch, inside=inside)
        elif name.startswith("GROUPREF"):
            yield "a reference to a group"
        elif name == "SUBPATTERN":
            yield from _walk(value[3], inside=inside)
        elif name.startswith("ASSERT"):
            yield from _walk(value[1], inside=inside)
        elif name == "ATOMIC_GROUP":
            yield from _walk(value, inside=inside)


def _starts_at_the_beginning(tree: Any) -> bool:
    first = list(tree)[:1]
    return bool(first) and str(first[0][0]) == "AT" and str(first[0][1]) in ("AT_BEGINNING", "AT_BEGINNING_STRING")
