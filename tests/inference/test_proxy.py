"""The local proxy: who may ask it, what it says of each refusal, and that a stream that fails never looks whole."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from sealmarket.inference.openai import _CODES, failed, units_for
from sealmarket.inference.proxy import Proxy, ProxyRules
from sealmarket.inference.receipts import FILE, read_receipts
from sealmarket_enclave.protocol.session import SessionCode
from sealmarket_enclave.sealed.session import MAX_BODY
from tests.inference.enclave import Answer, FakeEnclave, LyingHost, frames_of

CHAT = {"messages": [{"role": "user", "content": "hello"}]}
EVENTS = [b'data: {"choices":[{"delta":{"content":"a"}}]}\n\n', b'data: {"choices":[]}\n\n', b"data: [DONE]\n\n"]


def streaming(endpoint: str, body: bytes, most: int) -> Answer:
    """A workload that streams, or answers whole, as it is asked; and one that refuses."""
    if endpoint == "models":
        return [b'{"object":"list","data":[{"id":"m"}]}'], 0, 0
    asked = json.loads(body)
    if "refuse" in asked:
        return [json.dumps({"error": {"message": "no", "code": asked["refuse"], "param": "refuse"}}).encode()], 0, 0
    return (EVENTS if asked.get("stream") else [b'{"choices":', b'[{"text":"a"}]}']), 2, 2


def ask(proxy: Proxy, method: str, path: str, **options: Any) -> httpx.Response:
    """One request to the application."""

    async def asked() -> httpx.Response:
        transport = httpx.ASGITransport(app=proxy)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8411") as client:
            return await client.request(method, path, **options)

    return asyncio.run(asked())


@pytest.fixture
def proxy(tmp_path: Path) -> Proxy:
    return Proxy(FakeEnclave(streaming).asker(tmp_path), ProxyRules(most_units=1000, most_output=100))


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"host": "evil.example"}, 403),
        ({"host": "127.0.0.1.evil.example:8411"}, 403),
        ({"host": "10.0.0.7:8411"}, 403),
        ({"host": ""}, 403),
        ({"origin": "https://evil.example"}, 403),
        ({"origin": "null"}, 403),
        ({"origin": "http://127.0.0.1:8411"}, 403),
        ({"sec-fetch-site": "cross-site"}, 403),
        ({"sec-fetch-site": "same-origin"}, 403),
        ({"content-type": "text/plain"}, 415),
        ({"content-type": "application/x-www-form-urlencoded"}, 415),
    ],
)
def test_a_page_of_a_browser_cannot_ask(headers: dict[str, str], status: int, proxy: Proxy, tmp_path: Path) -> None:
    sent = {"content-type": "application/json"} | headers
    answer = ask(proxy, "POST", "/v1/chat/completions", content=json.dumps(CHAT), headers=sent)
    assert answer.status_code == status
    assert "access-control-allow-origin" not in answer.headers
    assert not (tmp_path / FILE).exists()


def test_a_preflight_of_a_browser_is_refused(proxy: Proxy) -> None:
    headers = {"origin": "https://evil.example", "access-control-request-method": "POST"}
    assert ask(proxy, "OPTIONS", "/v1/chat/completions", headers=headers).status_code == 403


@pytest.mark.parametrize(
    ("method", "path", "content", "status", "code"),
    [
        ("POST", "/v1/chat/completions", b"{", 400, "invalid_json"),
        ("POST", "/v1/chat/completions", b"[" * 200_000, 400, "invalid_json"),
        ("POST", "/v1/chat/completions", b"[]", 400, "invalid_json"),
        ("POST", "/v1/chat/completions", b"x" * (MAX_BODY + 1), 413, "request_too_large"),
        ("POST", "/v1/embeddings", b"{}", 404, "unknown_url"),
        ("GET", "/v1/chat/completions", b"", 405, "method_not_allowed"),
        ("POST", "/v1/models", b"{}", 405, "method_not_allowed"),
    ],
)
def test_what_is_no_request_is_refused_in_openais_shape(
    method: str, path: str, content: bytes, status: int, code: str, proxy: Proxy
) -> None:
    answer = ask(proxy, method, path, content=content, headers={"content-type": "application/json"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)


def test_with_a_token_nothing_is_answered_without_it(tmp_path: Path) -> None:
    proxy = Proxy(FakeEnclave(streaming).asker(tmp_path), ProxyRules(token="s3cret"))
    for given in ({}, {"authorization": "Bearer s3cre"}, {"authorization": "Bearer s3cret2"}):
        assert ask(proxy, "GET", "/v1/models", headers=given).status_code == 401
    named = {"authorization": "Bearer s3cret", "host": "gateway.internal:8411"}
    assert ask(proxy, "GET", "/v1/models", headers=named).status_code == 200


@pytest.mark.parametrize("code", list(SessionCode))
def test_each_refusal_of_an_enclave_has_a_status_and_says_what_to_do(code: SessionCode, tmp_path: Path) -> None:
    enclave = FakeEnclave(streaming, refuses=lambda _: code)
    answer = ask(Proxy(enclave.asker(tmp_path), ProxyRules()), "POST", "/v1/chat/completions", json=CHAT)
    status, kind, wait = _CODES[code]
    error = answer.json()["error"]
    assert (answer.status_code, error["type"], error["code"]) == (status, kind, code.value)
    assert answer.headers.get("retry-after") == (str(wait) if wait else None)
    assert "ask otherwise" in error["message"]


def cut(answer: bytes) -> bytes:
    return b"".join(frames_of(answer)[:-1])


def altered(answer: bytes) -> bytes:
    return answer[:-1] + bytes([answer[-1] ^ 1])


@pytest.mark.parametrize("lie", [cut, altered])
def test_an_answer_whose_end_is_false_is_an_error_and_its_stream_has_no_end(
    lie: Callable[[bytes], bytes], tmp_path: Path
) -> None:
    enclave = FakeEnclave(lambda *words: (EVENTS[:2], 2, 2) if b"stream" in words[1] else streaming(*words))
    proxy = Proxy(enclave.asker(tmp_path, LyingHost(enclave, lie)), ProxyRules())
    whole = ask(proxy, "POST", "/v1/chat/completions", json=CHAT)
    assert (whole.status_code, whole.json()["error"]["code"]) == (502, "answer_untrue")
    streamed = ask(proxy, "POST", "/v1/chat/completions", json=CHAT | {"stream": True})
    events = streamed.text.removesuffix("\n\n").split("\n\n")
    assert json.loads(events[-1].removeprefix("data: "))["error"]["code"] == "answer_untrue"
    assert "[DONE]" not in streamed.text


@pytest.mark.parametrize(("code", "status"), [("unsupported_endpoint", 404), ("context_length_exceeded", 400)])
def test_a_workloads_refusal_is_an_error_of_the_request(code: str, status: int, proxy: Proxy, tmp_path: Path) -> None:
    for stream in (False, True):
        answer = ask(proxy, "POST", "/v1/chat/completions", json=CHAT | {"refuse": code, "stream": stream})
        assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)
    assert len(list(read_receipts(tmp_path / FILE))) == 2


def test_answers_come_whole_and_streamed_and_each_leaves_its_receipt(proxy: Proxy, tmp_path: Path) -> None:
    whole = ask(proxy, "POST", "/v1/chat/completions", json=CHAT)
    assert whole.json() == {"choices": [{"text": "a"}]}
    streamed = ask(proxy, "POST", "/v1/completions", json={"prompt": "x", "stream": True})
    assert streamed.headers["content-type"].startswith("text/event-stream")
    assert streamed.content == b"".join(EVENTS)
    kept = list(read_receipts(tmp_path / FILE))
    assert whole.headers["x-sealmarket-receipt"] == str(kept[0].name)
    assert len(kept) == 2


def test_the_list_of_models_is_asked_for_once(proxy: Proxy, tmp_path: Path) -> None:
    for _ in range(3):
        assert ask(proxy, "GET", "/v1/models").json()["data"] == [{"id": "m"}]
    assert len(list(read_receipts(tmp_path / FILE))) == 1


@pytest.mark.parametrize(
    ("endpoint", "asked", "size", "units"),
    [
        ("models", {}, 2, 64),
        ("score", {"rows": [[1]] * 7}, 50, 7),
        ("score", {"rows": "no rows"}, 50, 1),
        ("chat", {"messages": [1, 2], "max_tokens": 10}, 100, 100 + 256 + 32 + 10),
        ("chat", {"max_completion_tokens": 10, "max_tokens": 999}, 100, 100 + 256 + 10),
        ("completions", {}, 100, 100 + 256 + 64),
        ("completions", {"max_tokens": True}, 100, 100 + 256 + 64),
        ("completions", {"max_tokens": 1 << 40}, 100, 5000),
    ],
)
def test_a_request_reserves_what_it_may_cost_and_never_more_than_the_user_allows(
    endpoint: str, asked: dict[str, Any], size: int, units: int
) -> None:
    assert units_for(endpoint, asked, size, most_output=64, most_units=5000) == units


def test_an_error_of_the_proxy_itself_quotes_nothing() -> None:
    assert "prompt" not in failed(ValueError("the prompt was: my secret")).message
