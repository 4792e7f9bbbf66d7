"""OpenAI's own client, unmodified, asks the local proxy; the real model's text is that of the workload alone."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from scripts.isolated import install
from scripts.models import smollm2
from scripts.toolchain import ROOT
from sealmarket.inference.receipts import FILE, check_kept, read_receipts
from sealmarket.workloads.errors import FetchFailed
from sealmarket.workloads.local_session import LocalSession
from tests.patience import PATIENCE
from tests.workloads.trained import KEPT, locked

ASKS = """
import json, sys
from openai import OpenAI
client = OpenAI(base_url=sys.argv[1], api_key="none", max_retries=0)
asked = {"model": "m", "messages": [{"role": "user", "content": sys.argv[2]}], "temperature": 0, "max_tokens": 16}
whole = client.chat.completions.create(**asked).choices[0].message.content
with client.chat.completions.create(stream=True, **asked) as stream:
    streamed = "".join(event.choices[0].delta.content or "" for event in stream if event.choices)
print(json.dumps([[one.id for one in client.models.list()], whole, streamed]))
"""
QUESTION = "What is the capital of France?"


@pytest.fixture(scope="module")
def client() -> Path:
    """The interpreter that has the client."""
    try:
        return install(ROOT / "requirements/openai.txt", ROOT / "build/openai") / "python"
    except subprocess.CalledProcessError as error:
        pytest.skip(f"OpenAI's client cannot be fetched here: {error}")


@contextmanager
def proxy(*words: object) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """A proxy in a process of its own, and its address."""
    command = [sys.executable, "-m", "tests.inference.program", *map(str, words)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            assert line.startswith("proxy serves on ")
            yield line.split()[-1], process
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(PATIENCE)


def answers(client: Path, url: str) -> list[object]:
    done = subprocess.run(
        [client, "-I", "-c", ASKS, url, QUESTION], capture_output=True, text=True, check=False, timeout=PATIENCE
    )
    assert done.returncode == 0, done.stderr
    found: list[object] = json.loads(done.stdout)
    return found


def test_an_unmodified_client_lists_asks_and_streams_and_each_answer_leaves_a_receipt(
    client: Path, tmp_path: Path
) -> None:
    with proxy(tmp_path) as (url, process):
        assert answers(client, url) == [["m"], "one two three", "one two three"]
        refused = httpx.post(
            f"{url}/chat/completions", json={}, headers={"origin": "https://evil.example"}, timeout=PATIENCE
        )
        assert refused.status_code == 403
    assert process.returncode in (0, -signal.SIGTERM)
    kept = list(read_receipts(tmp_path / FILE))
    assert len(kept) == 3
    for one in kept:
        check_kept(one)


def test_the_real_models_text_comes_through_unchanged(client: Path, tmp_path: Path) -> None:
    try:
        model, bundle = smollm2(), locked("gguf-chat", tmp_path)
        environment = KEPT.environment(bundle, tmp_path / "gguf-chat")
    except FetchFailed as error:
        pytest.skip(f"the model or its engine cannot be fetched here: {error}")
    with proxy(tmp_path, model, tmp_path / "gguf-chat", environment) as (url, _):
        names, whole, streamed = answers(client, url)
    values = bundle.manifest.check_parameters({"context": 1024})
    asked = {"messages": [{"role": "user", "content": QUESTION}], "temperature": 0, "max_tokens": 16}
    with LocalSession(bundle, environment, {"model": model.read_bytes()}, values) as session:
        body = b"".join(session.ask("chat", json.dumps(asked).encode(), 1000))
    assert (names, whole) == (["sealed-model"], json.loads(body)["choices"][0]["message"]["content"])
    assert streamed == whole
    assert (tmp_path / FILE).stat().st_size
