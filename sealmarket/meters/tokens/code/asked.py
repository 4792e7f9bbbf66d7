"""What of a request is counted: its prompt, read as the chat workload reads it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any


class Unread(Exception):
    """A request of another shape, which the workload refuses: its bytes count as they stand."""


def read_object(body: bytes) -> dict[str, Any]:
    """The members of a request that are there. Raises :class:`Unread`."""
    try:
        given = json.loads(body)
    except (ValueError, RecursionError):
        raise Unread from None
    if not isinstance(given, dict):
        raise Unread
    return {name: value for name, value in given.items() if value is not None}


def read_prompt(given: Mapping[str, Any]) -> str:
    """The prompt of a completion. Raises :class:`Unread`."""
    prompt = given.get("prompt")
    if isinstance(prompt, list) and len(prompt) == 1:
        prompt = prompt[0]
    if not isinstance(prompt, str):
        raise Unread
    return prompt


def read_messages(given: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The messages of a chat, with the text of their parts joined. Raises :class:`Unread`."""
    messages = given.get("messages")
    if not isinstance(messages, list):
        raise Unread
    return [_message(one) for one in messages]


def read_tools(given: Mapping[str, Any]) -> list[Any]:
    """The tools of a chat that the model may call. Raises :class:`Unread`."""
    tools = given.get("tools", [])
    if not isinstance(tools, list):
        raise Unread
    return tools if given.get("tool_choice", "auto") == "auto" else []


def _message(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise Unread
    content = value.get("content")
    if isinstance(content, list):
        if not all(isinstance(part, dict) for part in content):
            raise Unread
        content = "".join(str(part.get("text", "")) for part in content)
    if content is None:
        content = ""
    if not isinstance(content, str):
        raise Unread
    role = "system" if value.get("role") == "developer" else value.get("role")
    kept = {name: value[name] for name in ("name", "tool_calls", "tool_call_id") if name in value}
    return {"role": role, "content": content, **kept}
