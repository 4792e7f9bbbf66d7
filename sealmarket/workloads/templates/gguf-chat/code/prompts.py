"""From messages to the text of a prompt, by the template that the model carries; and from text to calls of tools."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from asked import Refused
from cyllama._vendor.jinja2 import ext
from cyllama._vendor.jinja2.exceptions import TemplateError
from cyllama._vendor.jinja2.sandbox import ImmutableSandboxedEnvironment

_OPEN, _CLOSE = "<tool_call>", "</tool_call>"


class Template:
    """A model's chat template. It is compiled once; its text belongs to the owner of the weights."""

    def __init__(self, text: str, *, bos: str, eos: str) -> None:
        environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[ext.loopcontrols])
        environment.filters["tojson"] = lambda value, **_: json.dumps(value, ensure_ascii=False)
        environment.globals["raise_exception"] = _refuse
        self._template = environment.from_string(text) if text else None
        self._tokens = {"bos_token": bos, "eos_token": eos}

    def prompt(self, messages: Sequence[Mapping[str, Any]], tools: Sequence[Mapping[str, Any]]) -> str:
        """The prompt's text. Raises :class:`Refused` where the template takes no such messages."""
        if self._template is None:
            raise Refused("this model has no chat template; use completions", code="unsupported_endpoint")
        try:
            return self._template.render(
                messages=list(messages), tools=list(tools) or None, add_generation_prompt=True, **self._tokens
            )
        except Refused:
            raise
        except (TemplateError, TypeError, ValueError, KeyError, ArithmeticError, RecursionError) as error:
            raise Refused(f"the model's template takes no such messages: {type(error).__name__}") from None


def tool_calls(text: str) -> list[dict[str, Any]]:
    """The calls that an answer consists of: one JSON object in each pair of tags. Empty for an answer of text."""
    calls: list[dict[str, Any]] = []
    rest = text.strip()
    while rest.startswith(_OPEN):
        inside, close, rest = rest[len(_OPEN) :].partition(_CLOSE)
        try:
            call = json.loads(inside)
            name, arguments = call["name"], call.get("arguments", {})
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            return []
        spelled = arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False)
        function = {"name": str(name), "arguments": spelled}
        calls.append({"id": f"call_{len(calls)}", "type": "function", "function": function})
        rest = rest.strip()
        if not close:
            break
    return calls if not rest else []


def _refuse(message: str) -> str:
    raise Refused(f"the model's template refuses these messages: {str(message)[:200]}")
