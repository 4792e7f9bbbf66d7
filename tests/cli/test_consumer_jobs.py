"""What the commands about a job print as the next step can be pasted as it stands."""

from __future__ import annotations

import shlex
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import pytest

from sealmarket.chain.deploy import write_book
from sealmarket.chain.events import JobChallenged
from sealmarket.cli import _consumer_jobs
from sealmarket_enclave.protocol.codec import Wei
from tests.cli.test_market_commands import ID, run
from tests.client.bundles import Case


def test_the_next_step_of_a_challenge_is_a_command_that_fetches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    case, book = Case(), tmp_path / "market.json"
    write_book(book, case.book)
    words = ["--book", str(book), "--rpc", "http://127.0.0.1:9", "--key-file", str(tmp_path / "account.key")]
    record = case.facts(case.bundle()).record
    made = JobChallenged(record.matched.at, case.job_id, record.spec.payer, Wei(1), 0)
    mined = SimpleNamespace(events=(made,))
    consumer = SimpleNamespace(challenge=lambda _job: mined)
    monkeypatch.setattr(_consumer_jobs, "market", lambda *_: nullcontext((None, None, None)))
    monkeypatch.setattr(_consumer_jobs, "load_key", lambda *_: None)
    monkeypatch.setattr(_consumer_jobs, "Consumer", lambda *_, **__: consumer)
    code, out, _ = run(["consumer", "challenge", ID, *words], capsys)
    (following,) = (line.removeprefix("next: ") for line in out.splitlines() if line.startswith("next: "))
    told = shlex.split(following)
    assert (code, told[:4]) == (0, ["sealmarket", "consumer", "fetch", ID])
    assert {"--result-key", "--out", "--book"} <= set(told)
