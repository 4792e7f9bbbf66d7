"""The templates that serve: what they refuse costs nothing, and what they answer is what the bare model says."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scripts.models import smollm2
from sealmarket.workloads.errors import FetchFailed
from sealmarket.workloads.local_session import LocalSession, SessionFailed
from tests.validators import models
from tests.workloads.learning import load
from tests.workloads.projects import SERVES, bundle_of_code
from tests.workloads.serving import Served, ask
from tests.workloads.trained import KEPT, locked

READ, STOPPING, SCORE = load("gguf-chat", "asked"), load("gguf-chat", "stopping"), load("onnx-score", "score")
HELLO = [{"role": "user", "content": "What is the capital of France? Answer in one sentence."}]
FRANCE = {"messages": HELLO, "temperature": 0, "max_tokens": 24}


@pytest.mark.parametrize(
    ("body", "param"),
    [
        (b"{", None),
        (b"[" * 5_000, None),
        (b"[]", None),
        ({}, "messages"),
        ({"messages": []}, "messages"),
        ({"messages": HELLO * 1025}, "messages"),
        ({"messages": [{"role": "judge", "content": "x"}]}, "messages[0]"),
        ({"messages": [*HELLO, {"role": "user", "content": [{"type": "image_url"}]}]}, "messages[1]"),
        ({"messages": HELLO, "n": 2}, "n"),
        ({"messages": HELLO, "logprobs": True}, "logprobs"),
        ({"messages": HELLO, "logit_bias": {"1": 100}}, "logit_bias"),
        ({"messages": HELLO, "beam_width": 3}, "beam_width"),
        ({"messages": HELLO, "temperature": 3}, "temperature"),
        ({"messages": HELLO, "temperature": float("nan")}, "temperature"),
        ({"messages": HELLO, "max_tokens": True}, "max_tokens"),
        ({"messages": HELLO, "stop": ["a"] * 5}, "stop"),
        ({"messages": HELLO, "stop": [""]}, "stop"),
        ({"messages": HELLO, "stream": 1}, "stream"),
        ({"messages": HELLO, "tool_choice": "required"}, "tool_choice"),
        ({"messages": HELLO, "response_format": {"type": "json_schema"}}, "response_format"),
    ],
)
def test_a_chat_that_cannot_be_answered_as_asked_is_refused_by_its_member(body: Any, param: str | None) -> None:
    with pytest.raises(READ.Refused) as refused:
        READ.read_chat(body if isinstance(body, bytes) else json.dumps(body).encode())
    assert refused.value.param == param
    assert json.loads(refused.value.body())["error"]["type"] == "invalid_request_error"


@settings(max_examples=40)
@given(st.binary(max_size=200) | st.recursive(st.none() | st.text() | st.floats() | st.booleans(), st.lists).map(str))
def test_no_body_gives_anything_but_a_reading_or_a_refusal(body: bytes | str) -> None:
    raw = body if isinstance(body, bytes) else body.encode("utf-8", "replace")
    for read in (READ.read_chat, READ.read_completion):
        with pytest.raises(READ.Refused):
            read(raw)


def test_members_that_change_nothing_here_are_taken_and_a_developer_speaks_as_system() -> None:
    body = {
        "messages": [{"role": "developer", "content": "Be brief."}, *HELLO],
        "model": "gpt-4o",
        "user": "me",
        "n": 1,
    }
    asked = READ.read_chat(json.dumps(body | {"logprobs": False, "max_completion_tokens": 3}).encode())
    assert [one["role"] for one in asked.messages] == ["system", "user"]
    assert asked.most == 3


@given(st.lists(st.text("ab", max_size=3), max_size=12), st.lists(st.text("ab", min_size=1, max_size=3), max_size=3))
def test_text_ends_before_the_first_stop_text_however_it_is_cut_into_tokens(
    pieces: list[str], stops: list[str]
) -> None:
    run = STOPPING.Run(iter(pieces), tuple(stops), most=100)
    whole, said = "".join(pieces), "".join(run.pieces())
    assert not any(stop in said for stop in stops)
    assert whole.startswith(said)
    # What follows is a stop text, unless nothing follows.
    assert whole == said or any(whole[len(said) :].startswith(stop) for stop in stops)
    assert run.reason == "stop"


def test_an_answer_of_the_most_tokens_says_that_its_length_ended_it() -> None:
    run = STOPPING.Run(iter("abc"), (), most=3)
    assert ("".join(run.pieces()), run.reason, run.made) == ("abc", "length", 3)


MODEL = models.spelled(models.forest(models.rows(300), models.cost(models.rows(300))))


def scored(*requests: Any) -> None:
    SCORE.serve(Served({"model": memoryview(MODEL)}, {"model_name": "fraud"}, list(requests)))


def width() -> int:
    described = ask("models", b"")
    scored(described)
    return len(described.answer["data"][0]["features"])


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"[]",
        {},
        {"rows": []},
        {"rows": [[]]},
        {"rows": [["a"]]},
        {"rows": [[True]]},
        {"rows": [[1]] * 101},
        {"rows": 1},
    ],
)
def test_rows_that_are_none_are_refused_and_cost_nothing(body: Any) -> None:
    request = ask("score", body)
    scored(request)
    assert request.answer["error"]["type"] == "invalid_request_error"
    assert request.used is not None
    assert request.used[:2] == (0, 0)


def test_a_number_beyond_every_float_is_refused() -> None:
    request = ask("score", {"rows": [[10**400] * width()]})
    scored(request)
    assert request.answer["error"]["param"] == "rows"


def test_rows_are_scored_as_the_bare_model_scores_them_one_unit_each() -> None:
    import onnxruntime

    rows = np.random.default_rng(3).normal(40, 10, (5, width())).astype(np.float32)
    request = ask("score", {"rows": rows.astype(float).tolist()})
    scored(request)
    bare = onnxruntime.InferenceSession(MODEL, providers=["CPUExecutionProvider"])
    expected = bare.run([bare.get_outputs()[0].name], {bare.get_inputs()[0].name: rows})[0][:, 0]
    assert np.array_equal(np.float32(request.answer["scores"]), expected)
    assert request.used is not None
    assert request.used[:2] == (0, 5)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimpleNamespace]:
    """The real engine and the real model, in a process of their own."""
    folder = tmp_path_factory.mktemp("gguf")
    try:
        model, bundle = smollm2(), locked("gguf-chat", folder)
        environment = KEPT.environment(bundle, folder / "gguf-chat")
    except FetchFailed as error:
        pytest.skip(f"the model or its engine cannot be fetched here: {error}")
    values = bundle.manifest.check_parameters({"context": 1024})
    with LocalSession(bundle, environment, {"model": model.read_bytes()}, values) as session:
        yield SimpleNamespace(session=session, environment=environment, model=model)


def said(served: SimpleNamespace, endpoint: str, body: Any, most: int = 1000) -> Any:
    return json.loads(b"".join(served.session.ask(endpoint, json.dumps(body).encode(), most)))


def test_a_prompt_beyond_the_context_or_beyond_what_may_be_charged_costs_nothing(served: SimpleNamespace) -> None:
    long = {"messages": [{"role": "user", "content": "word " * 2000}]}
    for body, most in ((long, 100_000), (FRANCE, 10)):
        assert said(served, "chat", body, most)["error"]["code"] == "context_length_exceeded"
        assert (served.session.used.prompt_units, served.session.used.output_units) == (0, 0)


def test_text_at_temperature_0_is_that_of_the_bare_engine_and_the_same_with_a_kept_start(
    served: SimpleNamespace,
) -> None:
    long = [{"role": "user", "content": "Write about " + "cats and dogs, " * 30}]
    cold, warm = (said(served, "chat", FRANCE | {"messages": long}) for _ in range(2))
    assert cold["choices"] == warm["choices"]
    found = [
        said(served, "chat", FRANCE | {"messages": one})["choices"][0]["message"]["content"] for one in (HELLO, long)
    ]
    sys.path.insert(0, str(served.environment))
    try:
        engine = importlib.import_module("cyllama.api")
    finally:
        sys.path.remove(str(served.environment))
    config = engine.GenerationConfig(temperature=0.0, max_tokens=24, n_ctx=1024, n_batch=64, n_gpu_layers=0)
    with engine.LLM(str(served.model), config=config) as bare:
        expected = [str(bare.chat(one)) for one in (HELLO, long)]
    assert found == expected


def test_a_streamed_answer_is_the_whole_one_in_frames_of_tokens(served: SimpleNamespace) -> None:
    body = FRANCE | {"messages": [{"role": "user", "content": "Count from one to twenty."}], "max_tokens": 40}
    whole = said(served, "chat", body)
    asked = body | {"stream": True, "stream_options": {"include_usage": True}}
    parts = list(served.session.ask("chat", json.dumps(asked).encode(), 1000))
    events = [json.loads(one[6:]) for one in b"".join(parts).decode().split("\n\n") if one not in ("", "data: [DONE]")]
    text = "".join(one["choices"][0]["delta"].get("content", "") for one in events if one["choices"])
    assert text == whole["choices"][0]["message"]["content"]
    assert events[-1]["usage"] == whole["usage"]
    made = whole["usage"]["completion_tokens"]
    assert len(parts) <= 2 + (made + 7) // 8


def test_a_seed_repeats_an_answer_a_stop_text_ends_it_and_a_schema_shapes_it(served: SimpleNamespace) -> None:
    seeded = {"messages": HELLO, "seed": 7, "max_tokens": 12}
    first, second = (said(served, "chat", seeded)["choices"] for _ in range(2))
    assert first == second
    stopped = said(served, "chat", FRANCE | {"stop": [" of"]})["choices"][0]
    assert (stopped["message"]["content"], stopped["finish_reason"]) == ("The capital", "stop")
    schema = {"type": "object", "properties": {"age": {"type": "integer"}}, "required": ["age"]}
    shape = {"type": "json_schema", "json_schema": {"name": "person", "schema": schema}}
    shaped = said(served, "chat", FRANCE | {"response_format": shape, "max_tokens": 40})
    assert isinstance(json.loads(shaped["choices"][0]["message"]["content"])["age"], int)


@pytest.mark.parametrize(
    ("code", "text"),
    [
        ("def run(session):\n    for request in session.requests():\n        1 / 0\n", "ZeroDivisionError"),
        ("import absent\n\ndef run(session):\n    pass\n", "No module named"),
        ("def run(session):\n    return\n", "the entry point returned"),
        ("import os\n\ndef run(session):\n    next(session.requests())\n    os._exit(0)\n", "the process ended"),
    ],
)
def test_a_workload_that_ends_while_it_serves_is_named_with_its_own_error(code: str, text: str, tmp_path: Path) -> None:
    bundle = bundle_of_code(tmp_path, code, SERVES)
    (tmp_path / "environment").mkdir()
    with LocalSession(bundle, tmp_path / "environment", {"rows": b"x"}, {"column": "a"}) as session:
        with pytest.raises(SessionFailed, match=text) as failed:
            list(session.ask("score", b"{}", 1))
        assert str(session._folder) not in failed.value.text
