"""What an OpenAI client asks, read strictly: a request that this model cannot answer as asked is refused by name."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

IGNORED = frozenset({"model", "user", "metadata", "store", "service_tier", "parallel_tool_calls", "reasoning_effort"})
"""Members that change nothing here: the service serves one model, and keeps nothing."""
REFUSED = frozenset({"logprobs", "top_logprobs", "logit_bias", "functions", "function_call", "suffix", "audio"})
_SHARED = frozenset(
    {"temperature", "top_p", "seed", "stop", "stream", "stream_options", "frequency_penalty", "presence_penalty"}
    | {"n", "max_tokens"}
)
CHAT = _SHARED | {"messages", "max_completion_tokens", "response_format", "tools", "tool_choice"}
COMPLETION = _SHARED | {"prompt", "echo", "best_of"}
_MOST_MESSAGES, _MOST_STOPS, _MOST_STOP_CHARACTERS = 1024, 4, 256
_ROLES = frozenset({"system", "developer", "user", "assistant", "tool"})


class Refused(Exception):
    """A request that is answered with an OpenAI error; ``code`` and ``param`` as OpenAI's clients show them."""

    def __init__(self, message: str, *, param: str | None = None, code: str = "invalid_value") -> None:
        super().__init__(message)
        self.message, self.param, self.code = message, param, code

    def body(self) -> bytes:
        """The error as the whole response."""
        error = {"message": self.message, "type": "invalid_request_error", "param": self.param, "code": self.code}
        return json.dumps({"error": error}, ensure_ascii=False).encode("utf-8", "replace")


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A request, checked. ``most`` is None where the client left it open; ``seed`` likewise."""

    stream: bool = False
    with_usage: bool = False
    most: int | None = None
    temperature: float = 1.0
    top_p: float = 1.0
    seed: int | None = None
    stop: tuple[str, ...] = ()
    frequency_penalty: float = 0.0
    presence_penalty: float = 0.0
    schema: Any = None
    """A JSON schema that the answer keeps to; ``{}`` for any JSON object; None for text."""
    messages: tuple[Mapping[str, Any], ...] = ()
    tools: tuple[Mapping[str, Any], ...] = ()
    prompt: str = ""
    echo: bool = field(default=False)


def read_chat(body: bytes) -> Asked:
    """A body of ``/v1/chat/completions``. Raises :class:`Refused`."""
    given = _object(body, CHAT)
    messages = given.get("messages")
    if not isinstance(messages, list) or not 1 <= len(messages) <= _MOST_MESSAGES:
        raise Refused(f"messages must be a list of 1 to {_MOST_MESSAGES}", param="messages")
    chosen, tools = given.get("tool_choice", "auto"), given.get("tools") or []
    if chosen not in ("auto", "none"):
        raise Refused("tool_choice is auto or none: this engine forces no call", param="tool_choice")
    if not isinstance(tools, list) or not all(isinstance(tool, dict) for tool in tools):
        raise Refused("tools must be a list of objects", param="tools")
    most = _number(given, "max_completion_tokens", 1, 1 << 20, whole=True)
    shared = _shared(given)
    return Asked(
        **(shared | ({"most": most} if most is not None else {})),
        messages=tuple(_message(one, at) for at, one in enumerate(messages)),
        tools=tuple(tools) if chosen == "auto" else (),
        schema=_schema(given.get("response_format")),
    )


def read_completion(body: bytes) -> Asked:
    """A body of ``/v1/completions``. Raises :class:`Refused`."""
    given = _object(body, COMPLETION)
    prompt = given.get("prompt")
    if isinstance(prompt, list) and len(prompt) == 1:
        prompt = prompt[0]
    if not isinstance(prompt, str) or not prompt:
        raise Refused("prompt must be one text that is not empty", param="prompt")
    if given.get("best_of") not in (None, 1):
        raise Refused("best_of must be 1: one answer for each request", param="best_of")
    shared = _shared(given)
    if shared["most"] is None:
        shared["most"] = 16  # as OpenAI's
    return Asked(**shared, prompt=prompt, echo=_flag(given, "echo"))


def _object(body: bytes, known: frozenset[str]) -> dict[str, Any]:
    try:
        given = json.loads(body)
    except (ValueError, RecursionError):
        raise Refused("the body is no JSON in UTF-8", code="invalid_json") from None
    if not isinstance(given, dict):
        raise Refused("the body must be a JSON object", code="invalid_json")
    present = {name: value for name, value in given.items() if value is not None}
    if bad := sorted(name for name in present if name in REFUSED and present[name] is not False):
        raise Refused(f"{bad[0]} is not served", param=bad[0], code="unsupported_parameter")
    if odd := sorted(name[:64] for name in present if name not in known | IGNORED | REFUSED):
        raise Refused(f"unknown parameter {odd[0]!r}", param=odd[0], code="unknown_parameter")
    if present.get("n", 1) != 1:
        raise Refused("n must be 1: one answer for each request", param="n")
    return present


def _shared(given: dict[str, Any]) -> dict[str, Any]:
    options = given.get("stream_options", {})
    if not isinstance(options, dict):
        raise Refused("stream_options must be an object", param="stream_options")
    found: dict[str, Any] = {
        "stream": _flag(given, "stream"),
        "with_usage": options.get("include_usage") is True,
        "most": _number(given, "max_tokens", 1, 1 << 20, whole=True),
        "seed": _number(given, "seed", -(1 << 63), (1 << 63) - 1, whole=True),
        "stop": _stop(given.get("stop")),
    }
    for name, low, high in (
        ("temperature", 0, 2),
        ("top_p", 0, 1),
        ("frequency_penalty", -2, 2),
        ("presence_penalty", -2, 2),
    ):
        value = _number(given, name, low, high)
        if value is not None:
            found[name] = float(value)
    return found


def _number(given: dict[str, Any], name: str, low: int, high: int, *, whole: bool = False) -> Any:
    value = given.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int if whole else int | float) or not low <= value <= high:
        raise Refused(f"{name} must be {'a whole number' if whole else 'a number'} from {low} to {high}", param=name)
    return value


def _flag(given: dict[str, Any], name: str) -> bool:
    value = given.get(name, False)
    if not isinstance(value, bool):
        raise Refused(f"{name} must be true or false", param=name)
    return value


def _stop(value: Any) -> tuple[str, ...]:
    texts = [value] if isinstance(value, str) else value or []
    fits = isinstance(texts, list) and len(texts) <= _MOST_STOPS
    if not fits or not all(isinstance(text, str) and 1 <= len(text) <= _MOST_STOP_CHARACTERS for text in texts):
        raise Refused(
            f"stop must be at most {_MOST_STOPS} texts of 1 to {_MOST_STOP_CHARACTERS} characters", param="stop"
        )
    return tuple(texts)


def _message(value: Any, at: int) -> dict[str, Any]:
    param = f"messages[{at}]"
    if not isinstance(value, dict) or value.get("role") not in _ROLES:
        raise Refused(f"{param} needs a role of {', '.join(sorted(_ROLES))}", param=param)
    content = value.get("content")
    if isinstance(content, list):
        if not all(isinstance(part, dict) and part.get("type") == "text" for part in content):
            raise Refused(f"{param} has a part that is no text: this model reads text alone", param=param)
        content = "".join(str(part.get("text", "")) for part in content)
    if content is None and value.get("tool_calls"):
        content = ""
    if not isinstance(content, str):
        raise Refused(f"{param} needs a content of text", param=param)
    role = "system" if value["role"] == "developer" else value["role"]
    kept = {name: value[name] for name in ("name", "tool_calls", "tool_call_id") if name in value}
    return {"role": role, "content": content, **kept}


def _schema(value: Any) -> Any:
    kind = value.get("type") if isinstance(value, dict) else None
    if value is None or kind == "text":
        return None
    if kind == "json_object":
        return {"type": "object"}
    described = value.get("json_schema") if kind == "json_schema" else None
    if isinstance(described, dict) and isinstance(described.get("schema"), dict):
        return described["schema"]
    raise Refused("response_format is text, json_object or json_schema with a schema", param="response_format")
