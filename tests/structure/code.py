"""What the source of this repository looks like: its modules, what each imports, how long its functions are."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from scripts.toolchain import DISTRIBUTIONS, ROOT


@dataclass(frozen=True, slots=True)
class Module:
    """One Python file of a distribution."""

    name: str
    path: Path
    tree: ast.Module


@cache
def modules() -> dict[str, Module]:
    """Every module of every distribution, by its dotted name."""
    found = {}
    for folder in DISTRIBUTIONS:
        for package in sorted((ROOT / folder).glob("sealmarket*/__init__.py")):
            for path in sorted(package.parent.rglob("*.py")):
                parts = path.relative_to(package.parents[1]).with_suffix("").parts
                name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
                found[name] = Module(name, path, ast.parse(path.read_text(encoding="utf-8")))
    return found


def scripts_and_tests() -> dict[str, Module]:
    """Every Python file of `scripts` and `tests`, by its path."""
    found = {}
    for folder in ("scripts", "tests"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            name = str(path.relative_to(ROOT))
            found[name] = Module(name, path, ast.parse(path.read_text(encoding="utf-8")))
    return found


def imports(module: Module) -> set[str]:
    """The modules of ours that this one imports when it runs, inside functions too; not for types alone."""
    known = modules()
    found: set[str] = set()
    for node in _at_run_time(module.tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                found.add(inner if inner in known else node.module)
    return {name for name in found if name in known and name != module.name}


def functions(tree: ast.Module) -> Iterator[tuple[str, int]]:
    """Each function's name and the number of its lines: signature and body, without decorators and docstring."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.name, _lines(node) - (_lines(node.body[0]) if ast.get_docstring(node) is not None else 0)


def _lines(node: ast.stmt) -> int:
    return (node.end_lineno or node.lineno) - node.lineno + 1


def _at_run_time(tree: ast.AST) -> Iterator[ast.AST]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            yield from (found for branch in node.orelse for found in (branch, *_at_run_time(branch)))
            continue
        yield node
        yield from _at_run_time(node)
