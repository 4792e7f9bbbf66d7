"""What of a request and an answer is counted: the text that a client shows; hidden text makes an answer uncountable."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scripts.toolchain import ROOT
from tests.validators.bundles import load_code
from tests.workloads.learning import load as load_template
from tests.workloads.serving import Served, ask

METERS = ROOT / "sealmarket/meters"
ANSWERS, PLAIN = load_code(METERS / "plain/code", "answers"), load_code(METERS / "plain/code", "plain")
SAID = load_template("gguf-chat", "said")
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
HEAD = {"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "m"}


def spelled(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def whole(**changes: Any) -> dict[str, Any]:
    """A chat completion that says four words."""
    message = {"role": "assistant", "content": "one two three four"}
    choice = {"index": 0, "finish_reason": "stop", "logprobs": None, "message": message}
    return {**HEAD, "choices": [choice], "usage": {"total_tokens": 9}} | changes


def streamed(*pieces: str, chat: bool = True) -> bytes:
    """A stream as the chat template writes it."""
    answer = SAID.Answer("m", chat=chat)
    body = b"".join([answer.first(), *map(answer.piece, pieces)])
    return body + bytes(answer.last("stop", {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}))


def units(endpoint: str, request: Any, response: bytes, what: str = "answer") -> tuple[int, int]:
    """What the plain meter counts, as an enclave asks it."""
    body = request if isinstance(request, bytes) else spelled(request)
    asked = ask(f"{what}/{endpoint}", len(body).to_bytes(4) + body + response)
    PLAIN.serve(Served({}, {}, [asked]))
    assert asked.used is not None
    assert asked.sent == []
    return asked.used[:2]


CHAT = {"messages": [{"role": "user", "content": "four"}]}


@pytest.mark.parametrize(
    "hidden",
    [
        b"{",
        b"[]",
        b'"text"',
        spelled(whole(text="hidden")),
        spelled(whole(id="x" * 129)),
        spelled(whole(model={"name": "hidden"})),
        spelled(whole(choices=whole()["choices"] * 2)),
        spelled(whole(choices="hidden")),
        spelled(whole(usage={"hidden": "x" * 400})),
        spelled(whole(usage={"hidden": 1})),
        spelled(whole(usage={"total_tokens": {"total_tokens": {"total_tokens": 1}}})),
        spelled(whole(usage={"total_tokens": 10**22})),
        spelled(whole(created=int("9" * 25))),
        spelled(whole(choices=[{"index": 7, "message": {"content": "x"}}])),
        spelled(whole(choices=[{"index": 0, "finish_reason": "hidden", "message": {"content": "x"}}])),
        spelled(whole(choices=[{"index": 0, "message": {"role": "hidden", "content": "x"}}])),
        spelled(whole(choices=[{"index": 0, "message": {"tool_calls": [{"type": "hidden", "function": {}}]}}])),
        spelled(whole(choices=[{"index": 0, "message": {"tool_calls": [{"index": 999, "function": {}}]}}])),
        spelled(whole()).replace(b":", b": \t", 1),
        spelled(whole()).replace(b"one", b"\\u006fne"),
        spelled(whole(choices=[{"index": 0, "message": {"content": "x", "thinking": "hidden"}}])),
        spelled(whole(choices=[{"index": 0, "message": {"content": ["hidden"]}}])),
        spelled(whole(choices=[{"index": 0, "message": {"tool_calls": [{"function": {"note": "hidden"}}]}}])),
        spelled(whole(choices=[{"index": 0, "logprobs": {"content": "hidden"}, "message": {"content": "x"}}])),
        spelled(whole()).replace(b'"content":', b'"content":"hidden","content":'),
        spelled(whole())[:-1] + b" " * 300 + b"}",
        spelled(whole()) + b"data: hidden",
        streamed("a").replace(b'"choices":[]', b'"system_fingerprint":"hidden","choices":[]'),
        streamed("a").replace(b'"finish_reason":null', b'"finish_reason":"stop"', 1),
        streamed("a").replace(b'"choices":[{', b'"usage":{"total_tokens":7},"choices":[{', 1),
        streamed("a") + b": hidden\n\n",
        streamed("a") + b"hidden",
        b"data: [DONE]\n\n" + streamed("a"),
        streamed("a").replace(b'"model":"m"', b'"model":"hidden"', 1),
        streamed("a").replace(b"data: {", b"event: hidden\ndata: {", 1),
        b'data: {"error":{"message":"hidden"}}\n\n',
    ],
)
def test_text_that_no_client_shows_makes_an_answer_uncountable(hidden: bytes) -> None:
    with pytest.raises(ANSWERS.Uncountable):
        ANSWERS.read_answer("chat", hidden)


@given(st.binary(max_size=300) | st.binary(max_size=60).map(lambda data: b"data: {" + data + b"}\n\n"))
def test_no_bytes_give_anything_but_an_answer_or_uncountable_and_a_cut_one_is_always_counted(raw: bytes) -> None:
    with suppress(ANSWERS.Uncountable):
        ANSWERS.read_answer("chat", raw)
    assert len(ANSWERS.read_cut("chat", raw).text) <= len(raw)


def test_nesting_that_no_parser_takes_is_uncountable() -> None:
    with pytest.raises(ANSWERS.Uncountable):
        ANSWERS.read_answer("chat", b'{"choices":' + b"[" * 5_000)


@given(st.lists(TEXTS, max_size=6), st.booleans())
def test_the_text_of_a_stream_is_that_of_its_pieces(pieces: list[str], chat: bool) -> None:
    assert ANSWERS.read_answer("chat", streamed(*pieces, chat=chat)).text == "".join(pieces)


@given(TEXTS, st.booleans())
def test_the_text_of_a_whole_answer_is_its_content(text: str, chat: bool) -> None:
    body = SAID.Answer("m", chat=chat).whole(text, "stop", {"total_tokens": 1}, [])
    assert ANSWERS.read_answer("chat", body).text == text


def test_calls_of_tools_count_by_their_names_and_arguments() -> None:
    calls = [{"id": "call_0", "type": "function", "function": {"name": "weather", "arguments": '{"in":"Paris"}'}}]
    body = SAID.Answer("m", chat=True).whole("", "tool_calls", {}, calls)
    assert ANSWERS.read_answer("chat", body).text == 'weather{"in":"Paris"}'


@given(st.lists(TEXTS, min_size=1, max_size=4), st.integers(0, 2000))
def test_of_a_stream_that_was_cut_whole_events_count_by_their_text_and_the_rest_as_it_stands(
    pieces: list[str], at: int
) -> None:
    raw = streamed(*pieces)
    cut = raw[: min(at, len(raw))]
    events, _, rest = cut.rpartition(b"\n\n")
    shown = ANSWERS.read_answer("chat", events + b"\n\n").text if events else ""
    assert ANSWERS.read_cut("chat", cut).text == shown + rest.decode("utf-8", "replace")


def test_ids_of_calls_and_heads_count_as_text_beyond_what_every_answer_may_have() -> None:
    calls = [{"id": f"call_{at}", "type": "function", "function": {"name": "f", "arguments": ""}} for at in range(4)]
    body = whole(choices=[{"index": 0, "message": {"tool_calls": calls}}], id="i" * 128)
    assert ANSWERS.read_answer("chat", spelled(body)).text == "ffff"
    for at, call in enumerate(calls):
        call["id"] = str(at) * 128
    names = 128 + len("chat.completion" + "1" + "m") + 4 * 128
    assert len(ANSWERS.read_answer("chat", spelled(body)).text) == 4 + names - ANSWERS.FREE_BYTES


@pytest.mark.parametrize("text", ["", "x"])
def test_a_stream_of_more_parts_than_its_text_needs_cannot_be_counted_and_counts_as_it_stands_where_it_was_cut(
    text: str,
) -> None:
    """Each part has room for some bits that no client shows: the order of its members, and which of them it has."""
    honest, hiding = streamed("a", "b", "", ""), streamed(text, *[""] * 100)
    assert units("chat", CHAT, honest) == (4, 2)
    with pytest.raises(ANSWERS.Uncountable.__mro__[1]):
        units("chat", CHAT, hiding)
    assert units("chat", CHAT, hiding, "cut") == (4, len(hiding))


def test_calls_without_text_are_parts_too() -> None:
    call = {"id": "same", "type": "function", "function": {}}
    body = spelled(whole(choices=[{"index": 0, "message": {"content": "x", "tool_calls": [call] * 100}}]))
    with pytest.raises(ANSWERS.Uncountable.__mro__[1]):
        units("chat", CHAT, body)


@pytest.mark.parametrize("cell", ["9" * 300, "0." + "3" * 40, "1e400", "NaN", '"text"', "[1]", "0 ", " 0"])
def test_a_score_is_a_number_and_no_longer_than_numbers_are(cell: str) -> None:
    with pytest.raises(ANSWERS.Uncountable):
        ANSWERS.read_answer("score", f'{{"scores":[[{cell},1]]}}'.encode())


def test_a_row_with_many_numbers_has_a_unit_for_each_started_eight() -> None:
    rows = [[0.5] * 5_000, [0.25] * 9, [0.125] * 8, [], 1, -1.7976931348623157e299]
    assert ANSWERS.read_answer("score", json.dumps({"scores": rows}).encode()).rows == 625 + 2 + 1 + 1 + 1 + 1


def test_an_uncountable_answer_ends_the_meter() -> None:
    with pytest.raises(ANSWERS.Uncountable.__mro__[1]):
        units("chat", CHAT, b"hidden")


def test_the_plain_meter_counts_bytes_of_text_and_rows() -> None:
    assert units("chat", CHAT, b"", "prompt") == (4, 0)
    assert units("chat", CHAT, spelled(whole())) == (4, 18)
    assert units("chat", CHAT, streamed("é", "é")) == (4, 4)
    assert units("completions", {"prompt": "abc"}, streamed("x", chat=False)) == (3, 1)
    assert units("score", {"rows": [[1], [2]]}, b"", "prompt") == (0, 0)
    assert units("score", {"rows": [[1], [2]]}, b'{"scores": [0.5, [0.1, 0.9]]}') == (0, 2)


def test_a_broken_answer_has_its_prompt_and_a_refusal_costs_nothing_up_to_its_bound() -> None:
    assert units("chat", CHAT, streamed("é")[:-40], "cut")[0] == 4
    error = spelled({"error": {"message": "no such parameter", "code": "x"}})
    assert units("chat", CHAT, error) == units("chat", CHAT, error, "cut") == (0, 0)
    assert units("chat", CHAT, spelled({"error": "x" * 1000})) == (0, 1012 - ANSWERS.FREE_BYTES)
    assert units("models", {}, bytes(SAID.models("m"))) == (0, 0)
    assert units("models", {}, b"x" * 1000) == (0, 1000 - ANSWERS.FREE_BYTES)


@pytest.mark.parametrize(
    "body", [b"{", b"[]", b'{"messages":1}', b'{"messages":[1]}', b'{"messages":[{"content":7}]}', b"[" * 5000]
)
def test_a_request_that_the_workload_refuses_counts_as_it_stands(body: bytes) -> None:
    assert units("chat", body, b"", "prompt") == (len(body), 0)


def test_both_meters_read_requests_and_answers_alike() -> None:
    for name in ("answers", "asked", "counting"):
        one, other = (METERS / meter / "code" / f"{name}.py" for meter in ("plain", "tokens"))
        assert one.read_bytes() == other.read_bytes()
