"""The shape of the code stays what a newcomer can read: no circles, short functions."""

from __future__ import annotations

import statistics

from tests.structure.code import functions, imports, modules

MEDIAN_LINES, P95_LINES, MOST_LINES = 5, 25, 50


def test_no_module_imports_itself_by_way_of_others_not_even_inside_a_function() -> None:
    graph = {name: imports(module) for name, module in modules().items()}
    assert _circles(graph) == []


def test_a_circle_is_found() -> None:
    assert _circles({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}}) == [["a", "b", "c"]]


def test_functions_are_short() -> None:
    lengths = {
        f"{module.name}.{name}": lines for module in modules().values() for name, lines in functions(module.tree)
    }
    ordered = sorted(lengths.values())
    assert statistics.median(ordered) <= MEDIAN_LINES
    assert ordered[len(ordered) * 95 // 100] < P95_LINES
    assert {name: lines for name, lines in lengths.items() if lines > MOST_LINES} == {}


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
