"""The shape of the code stays what a newcomer can read: no circles, short modules, short functions.

What is too long is split where its reasons to change differ. No module and no function is excepted by name.
"""

from __future__ import annotations

import ast
import statistics
from pathlib import Path

import pytest

from scripts.toolchain import ROOT
from tests.structure.code import Module, functions, imports, modules, scripts_and_tests

MEDIAN_LINES, P95_LINES = 5, 25
MODULE_LINES, FUNCTION_LINES = 500, 50
TEST_FILE_LINES, TEST_FUNCTION_LINES = 950, 60
"""Tables of refusals and parties of tests are long, and read one row at a time."""


def test_no_module_imports_itself_by_way_of_others_not_even_inside_a_function() -> None:
    graph = {name: imports(module) for name, module in modules().items()}
    assert _circles(graph) == []


def test_a_circle_is_found() -> None:
    assert _circles({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}}) == [["a", "b", "c"]]


def test_functions_are_short() -> None:
    lengths = _lengths(modules())
    ordered = sorted(lengths.values())
    assert statistics.median(ordered) <= MEDIAN_LINES
    assert ordered[len(ordered) * 95 // 100] < P95_LINES
    assert _above(FUNCTION_LINES, lengths) == {}


def test_functions_of_scripts_and_tests_are_not_long() -> None:
    assert _above(TEST_FUNCTION_LINES, _lengths(scripts_and_tests())) == {}


def test_modules_are_short() -> None:
    assert _above(MODULE_LINES, {name: _lines(module.path) for name, module in modules().items()}) == {}


def test_contracts_are_short() -> None:
    assert _above(MODULE_LINES, {name: lines for name, lines in _contracts().items() if not _tests(name)}) == {}


def test_scripts_are_short() -> None:
    assert _above(MODULE_LINES, {name: lines for name, lines in _others().items() if not _tests(name)}) == {}


def test_test_files_are_not_long() -> None:
    assert _above(TEST_FILE_LINES, {n: lines for n, lines in (_contracts() | _others()).items() if _tests(n)}) == {}


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ('def f(\n    a: int,\n) -> int:\n    """Two\n    lines."""\n    return a', 4),
        ("@cache\ndef f() -> None: ...", 1),
    ],
)
def test_a_function_is_as_long_as_its_signature_and_body(text: str, lines: int) -> None:
    assert list(functions(ast.parse(text))) == [("f", lines)]


def _lengths(found: dict[str, Module]) -> dict[str, int]:
    """The longest of each function's name in a module, by module and name."""
    pairs = [(f"{module.name}.{name}", lines) for module in found.values() for name, lines in functions(module.tree)]
    return dict(sorted(pairs, key=lambda pair: pair[1]))


def _above(most: int, lengths: dict[str, int]) -> dict[str, int]:
    return {name: lines for name, lines in lengths.items() if lines > most}


def _lines(path: Path) -> int:
    return len(path.read_text(encoding="utf-8").splitlines())


def _contracts() -> dict[str, int]:
    return {str(path.relative_to(ROOT)): _lines(path) for path in (ROOT / "contracts").rglob("*.sol")}


def _others() -> dict[str, int]:
    return {name: _lines(module.path) for name, module in scripts_and_tests().items()}


def _tests(name: str) -> bool:
    return name.startswith(("tests/", "contracts/testing/")) or name.endswith(".t.sol")


def _circles(graph: dict[str, set[str]]) -> list[list[str]]:
    """The strongly connected components of more than one module (Tarjan 1972)."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(name: str) -> None:
        index[name] = low[name] = len(index)
        stack.append(name)
        for other in sorted(graph.get(name, ())):
            if other not in index:
                visit(other)
                low[name] = min(low[name], low[other])
            elif other in stack:
                low[name] = min(low[name], index[other])
        if low[name] == index[name]:
            component = [stack.pop()]
            while component[-1] != name:
                component.append(stack.pop())
            if len(component) > 1:
                found.append(sorted(component))

    for name in sorted(graph):
        if name not in index:
            visit(name)
    return found
