"""How many of the interpreter's instructions something takes: its work, whatever load the machine is under."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")


def counted(do: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> tuple[int, R]:
    """The instructions of Python code that this thread runs for a call, and what the call returns. What C code does
    within an instruction counts nothing."""
    steps = 0

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        nonlocal steps
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        steps += event == "opcode"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        got = do(*args, **kwargs)
    finally:
        sys.settrace(before)
    return steps, got
