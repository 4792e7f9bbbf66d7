"""What OpenAI's clients ask and understand: the units that a request may cost, and errors in their shape. Pure."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from sealmarket.http import HttpError
from sealmarket.inference.errors import (
    AllGrantsBusy,
    AnswerAborted,
    BudgetSpent,
    HostRefused,
    InferenceError,
    ReceiptRefused,
    RequestRefused,
)
from sealmarket_enclave.protocol.codec import require_shallow
from sealmarket_enclave.protocol.errors import SealmarketError
from sealmarket_enclave.protocol.session import SessionCode
from sealmarket_enclave.sealed.errors import InvalidRequest, SessionError

_TEMPLATE_UNITS, _MESSAGE_UNITS = 256, 16
"""What a chat template may add to the text of a prompt, in tokens."""
_LIST_UNITS = 64
"""A list of models costs no prompt; the owners' rules count its bytes."""
_LEASE_WAIT, _BUSY_WAIT = 5, 2
_CODES = {
    SessionCode.GRANT_REFUSED: (403, "permission_error", 0),
    SessionCode.GRANT_OVER: (403, "permission_error", 0),
    SessionCode.GRANT_SPENT: (402, "insufficient_quota", 0),
    SessionCode.NUMBER_UNEXPECTED: (409, "api_error", 0),
    SessionCode.NOT_ACKNOWLEDGED: (409, "api_error", 0),
    SessionCode.ANSWER_RUNS: (429, "rate_limit_error", _BUSY_WAIT),
    SessionCode.ENDPOINT_REFUSED: (404, "invalid_request_error", 0),
    SessionCode.UNITS_REFUSED: (400, "invalid_request_error", 0),
    SessionCode.NO_TAB: (402, "insufficient_quota", 0),
    SessionCode.TAB_SPENT: (402, "insufficient_quota", 0),
    SessionCode.NO_LEASE: (503, "service_unavailable", _LEASE_WAIT),
    SessionCode.LEASE_SPENT: (503, "service_unavailable", _LEASE_WAIT),
    SessionCode.BUSY: (429, "rate_limit_error", _BUSY_WAIT),
    SessionCode.ENDED: (410, "service_over", 0),
    SessionCode.STOPPED: (410, "service_over", 0),
    SessionCode.WORKLOAD_FAILED: (502, "api_error", 0),
    SessionCode.OUTPUT_TOO_LONG: (502, "api_error", 0),
    SessionCode.OUT_OF_TIME: (504, "api_error", 0),
    SessionCode.NOT_METERED: (502, "api_error", 0),
}
"""HTTP status, OpenAI's type, and seconds to wait, for each refusal of an enclave. OpenAI's clients try 409, 429 and
5xx again by themselves."""


@dataclass(frozen=True, slots=True)
class Failed:
    """An error as a whole response. ``retry_after`` 0: trying again does not help by itself."""

    status: int
    kind: str
    code: str
    message: str
    param: str | None = None
    retry_after: int = 0

    def body(self) -> bytes:
        """The JSON of the error."""
        error = {"message": self.message, "type": self.kind, "param": self.param, "code": self.code}
        return json.dumps({"error": error}, ensure_ascii=False).encode("utf-8", "replace")


def failed(error: BaseException) -> Failed:
    """What a client learns of an error. Nothing of it quotes a prompt or an answer."""
    text = f"{error.message}; {error.remedy}" if isinstance(error, SealmarketError) and error.remedy else str(error)
    match error:
        case RequestRefused() | AnswerAborted():
            status, kind, wait = _CODES[error.code]
            return Failed(status, kind, error.code.value, text, retry_after=wait)
        case AllGrantsBusy():
            return Failed(429, "rate_limit_error", "grants_busy", text, retry_after=_BUSY_WAIT)
        case BudgetSpent():
            return Failed(402, "insufficient_quota", "budget_spent", text)
        case HostRefused():
            busy = error.status in (429, 503)
            wait = (error.retry_after or _BUSY_WAIT) if busy else 0
            return Failed(503 if busy else 502, "api_error", "host_refused", text, retry_after=wait)
        case InvalidRequest():
            return Failed(413, "invalid_request_error", "request_too_large", text)
        case ReceiptRefused() | SessionError():
            return Failed(502, "api_error", "answer_untrue", text)
        case HttpError() | InferenceError():
            return Failed(502, "api_error", "no_answer", text)
        case _:
            return Failed(500, "api_error", "internal_error", f"the proxy failed: {type(error).__name__}")


def asked_json(body: bytes) -> dict[str, Any]:
    """A request's body as far as the proxy reads it. Raises ``ValueError`` for anything but a JSON object."""
    asked = _shallow(body)
    if not isinstance(asked, dict):
        raise ValueError("not an object")
    return asked


def _shallow(raw: bytes) -> Any:
    """JSON of bounded nesting, whatever recursion this process allows: beyond it the interpreter itself may end."""
    require_shallow(raw)
    return json.loads(raw)


def units_for(endpoint: str, asked: dict[str, Any], size: int, most_output: int, most_units: int) -> int:
    """The most that a request may cost: a bound of its prompt, since no token is shorter than a byte, and its output.

    Args:
        size: bytes of the body.
        most_output: units of an answer whose length the client leaves open.
        most_units: what the user allows for one request; never exceeded.
    """
    if endpoint == "models":
        return min(most_units, _LIST_UNITS)
    if endpoint == "score":
        rows = asked.get("rows")
        return min(most_units, max(1, len(rows) if isinstance(rows, list) else 1))
    messages = asked.get("messages")
    prompt = size + _TEMPLATE_UNITS + _MESSAGE_UNITS * (len(messages) if isinstance(messages, list) else 0)
    named = (asked.get(name) for name in ("max_completion_tokens", "max_tokens"))
    output = next((n for n in named if isinstance(n, int) and not isinstance(n, bool) and n > 0), most_output)
    return max(1, min(most_units, prompt + output))


def refusal_of_workload(response: bytes) -> Failed | None:
    """The workload's own refusal: a JSON object whose one member is ``error``, in OpenAI's shape; else None."""
    if not response.startswith(b'{"error"') or len(response) > 16_384:
        return None
    try:
        found = _shallow(response)
        error = found["error"]
        message, code, param = error["message"], error.get("code"), error.get("param")
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
    if len(found) != 1:
        return None
    status = 404 if code == "unsupported_endpoint" else 400
    return Failed(status, "invalid_request_error", str(code), str(message), None if param is None else str(param))
