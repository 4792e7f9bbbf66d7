"""An error's text stands in its constructor only, and a module's tree of errors names classes that exist."""

from __future__ import annotations

import ast
import re

from tests.structure.code import Module, modules

_PLACEHOLDER = re.compile(r"(?<!`)\{[\w ]+\}")
_BRANCH = re.compile(r"[├└]── (\w+)")


def test_no_class_repeats_the_pattern_of_its_message_as_documentation() -> None:
    assert [found for module in modules().values() for found in _patterns(module.name, module.tree)] == []


def test_a_repeated_pattern_is_found() -> None:
    repeated = 'class Lost(Exception):\n    """{what} is lost"""\nclass Gone(Exception):\n    """A file is gone."""'
    assert _patterns("module", ast.parse(repeated)) == ["module.Lost: {what} is lost"]


def test_every_error_that_a_tree_names_exists() -> None:
    assert [name for module in modules().values() for name in _strangers(module)] == []


def _patterns(name: str, tree: ast.Module) -> list[str]:
    classes = [node for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
    summaries = {node.name: (ast.get_docstring(node) or "").partition("\n")[0] for node in classes}
    return [f"{name}.{of}: {summary}" for of, summary in summaries.items() if _PLACEHOLDER.search(summary)]


def _strangers(module: Module) -> list[str]:
    """Names in the tree of a module's docstring that neither it nor its package defines."""
    package = module.name.rpartition(".")[0]
    beside = [other.tree for name, other in modules().items() if name.rpartition(".")[0] == package]
    known = {node.name for tree in (module.tree, *beside) for node in tree.body if isinstance(node, ast.ClassDef)}
    known |= {alias.name for node in module.tree.body if isinstance(node, ast.ImportFrom) for alias in node.names}
    named = _BRANCH.findall(ast.get_docstring(module.tree) or "")
    return [f"{module.name}: {name}" for name in named if name not in known]
