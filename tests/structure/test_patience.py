"""No test is decided by how fast the machine is: a short wait stands only where the test is about it.

What is looked for: a wait, a join or a timeout of less than half a minute, a bound on elapsed time as short, and a
request of httpx with the five seconds that it allows by default.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parents[1]
SHORT = 30.0
WAITS = {"join", "wait", "result", "settimeout"}
LIMITS = {"timeout", "within", "grace", "patience"}
ASKS = {"get", "post", "put", "head", "request", "Client"}
ALLOWED = {
    "chain/test_faulty_rpc.py: Rpc(proxy.url, timeout=1.0)": "it has to give up an answer that is held",
    "chain/test_sender.py: staking(ledger, timeout=0.05)": "it waits in vain, however long",
    "client/test_nodes.py: asked_of(case, handle, patience=0.05)": "the first answer is held back until it gave up",
    "client/test_sdk.py: asyncio.wait([task], timeout=0.05)": "the task goes on until the test lets it end",
    "localnet/test_processes.py: deaf.stop(grace=0.2)": "the program ignores what it is given time for",
    "localnet/test_processes.py: programs.processes[0].wait(0.3)": "the program goes on until it is stopped",
}
"""Waits that end too early on no machine: where each stands, and why."""


def short_waits(tree: ast.AST) -> Iterator[ast.expr]:
    """What in a test may end before a busy machine has done its part."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            limits = [keyword.value for keyword in node.keywords if keyword.arg in LIMITS]
            if isinstance(node.func, ast.Attribute) and node.func.attr in WAITS:
                limits += node.args[:1]
            if any(map(_is_short, limits)) or _asks_with_the_default(node):
                yield node
        elif isinstance(node, ast.Compare) and any(map(_is_clock, ast.walk(node.left))):
            bounds = [part for name, part in zip(node.ops, node.comparators, strict=True) if isinstance(name, ast.Lt)]
            if any(map(_is_short, bounds)):
                yield node


def _is_short(value: ast.expr) -> bool:
    found = value.value if isinstance(value, ast.Constant) else None
    return isinstance(found, int | float) and 0 < found < SHORT


def _is_clock(node: ast.AST) -> bool:
    return isinstance(node, ast.Attribute) and node.attr in ("monotonic", "perf_counter")


def _asks_with_the_default(node: ast.Call) -> bool:
    function = node.func
    return (
        isinstance(function, ast.Attribute)
        and isinstance(function.value, ast.Name)
        and (function.value.id, function.attr) in {("httpx", name) for name in ASKS}
        and not {keyword.arg for keyword in node.keywords} & {"timeout", "transport", None}
    )


def found_in(path: Path) -> set[str]:
    """Short waits of a file: its name and the text of each."""
    text = path.read_text()
    return {f"{path.relative_to(TESTS)}: {ast.get_source_segment(text, node)}" for node in short_waits(ast.parse(text))}


@pytest.mark.parametrize(
    "text",
    [
        "thread.join(5)",
        "event.wait(timeout=2)",
        "assert time.monotonic() - began < 4",
        "httpx.get(url)",
        "subprocess.run(command, timeout=20)",
        "socket.create_connection(address, timeout=5)",
    ],
)
def test_a_short_wait_is_found(text: str) -> None:
    assert list(short_waits(ast.parse(text)))


@pytest.mark.parametrize(
    "text", ["thread.join(PATIENCE)", "thread.join()", "sender(timeout=0)", "httpx.get(url, timeout=PATIENCE)"]
)
def test_a_long_wait_is_not(text: str) -> None:
    assert not list(short_waits(ast.parse(text)))


def test_only_waits_that_a_test_is_about_are_short() -> None:
    found = {where for path in sorted(TESTS.rglob("*.py")) for where in found_in(path)}
    assert found == ALLOWED.keys()
