"""A meter made of the real model counts what the bare engine counts, in the sandbox of an enclave."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from scripts.models import smollm2
from sealmarket.workloads.errors import FetchFailed
from sealmarket.workloads.fetch import lock_environment
from sealmarket.workloads.folders import read_bundle
from sealmarket.workloads.local_session import LocalSession
from sealmarket.workloads.meters import make_meter, meter_name
from sealmarket_enclave.protocol.steps import MAXIMUM_METER
from sealmarket_enclave.workload.bundle import pack
from tests.workloads.trained import KEPT, locked

pytestmark = pytest.mark.long
HELLO = [{"role": "user", "content": "What is the capital of France? Answer in one sentence."}]
LONG = [
    {"role": "system", "content": "You answer <|im_end|> in 123 words, naïvely — 漢字 and 😀 included.\n\n\tAlways."},
    {"role": "user", "content": [{"type": "text", "text": "It's 12:45,  isn't it?"}, {"type": "text", "text": "\r\n"}]},
    {"role": "assistant", "content": "It is."},
    {"role": "user", "content": "And now?   "},
]


@dataclass
class Counts:
    """The workload with the real model, and the meter that was made of it."""

    workload: LocalSession
    meter: LocalSession

    def both(self, endpoint: str, asked: dict[str, Any]) -> tuple[tuple[int, int], tuple[int, int]]:
        """What the engine says that it used, and what the meter counts."""
        request = json.dumps(asked).encode()
        response = b"".join(self.workload.ask(endpoint, request, 1000))
        assert self.workload.used is not None
        said = (self.workload.used.prompt_units, self.workload.used.output_units)
        framed = len(request).to_bytes(4) + request
        assert list(self.meter.ask(f"prompt/{endpoint}", framed, 1000)) == []
        assert self.meter.used is not None
        prompt = self.meter.used.prompt_units
        assert list(self.meter.ask(f"answer/{endpoint}", framed + response, 0)) == []
        assert self.meter.used is not None
        assert b'"error"' in response or prompt == self.meter.used.prompt_units
        return said, (self.meter.used.prompt_units, self.meter.used.output_units)


@pytest.fixture(scope="module")
def counts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Counts]:
    folder = tmp_path_factory.mktemp("metered")
    try:
        model, bundle = smollm2(), locked("gguf-chat", folder)
        environment = KEPT.environment(bundle, folder / "gguf-chat")
        make_meter(folder / "meter", model)
        lock_environment(folder / "meter", KEPT.wheels(folder / "meter"))
    except FetchFailed as error:
        pytest.skip(f"the model, its engine or the tokenizer cannot be fetched here: {error}")
    meter = read_bundle(folder / "meter")
    assert meter_name(meter) == "tokens"
    assert len(pack(meter)) < MAXIMUM_METER
    counting = KEPT.environment(meter, folder / "meter")
    values = bundle.manifest.check_parameters({"context": 1024})
    with (
        LocalSession(bundle, environment, {"model": model.read_bytes()}, values) as served,
        LocalSession(meter, counting, {}, {}) as counter,
    ):
        yield Counts(served, counter)


@pytest.mark.parametrize("messages", [HELLO, LONG])
@pytest.mark.parametrize("stream", [False, True])
def test_a_chat_has_as_many_tokens_by_the_meter_as_by_the_engine(
    counts: Counts, messages: list[dict[str, Any]], stream: bool
) -> None:
    asked = {"messages": messages, "temperature": 0, "max_tokens": 20, "stream": stream}
    said, counted = counts.both("chat", asked)
    assert counted == said
    assert said[0] > 20
    assert said[1] > 0


@pytest.mark.parametrize("echo", [False, True])
def test_so_has_a_completion_with_its_prompt_repeated_or_not(counts: Counts, echo: bool) -> None:
    asked = {"prompt": "Once upon a time, in 1984,", "temperature": 0, "max_tokens": 12, "echo": echo}
    said, counted = counts.both("completions", asked)
    assert counted == said


def test_a_refusal_and_a_list_of_models_cost_nothing(counts: Counts) -> None:
    assert counts.both("chat", {"messages": HELLO, "logprobs": True}) == ((0, 0), (0, 0))
    assert counts.both("models", {}) == ((0, 0), (0, 0))
