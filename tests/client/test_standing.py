"""A hash is found as a job or as a request, by the chain first; what only the backend knows is called that."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from sealmarket.client.errors import JobNotFound
from sealmarket.client.jobs import JobRecord
from sealmarket.client.requests import RequestHandle
from sealmarket.client.sent import SentRequests
from sealmarket.client.standing import RequestStanding, Standing, money_of
from sealmarket.client.statement import Who
from sealmarket_enclave.protocol.hashing import keccak
from tests.client.test_consumer import Stage


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stage:
    made = Stage(tmp_path)
    monkeypatch.setattr(type(made.chain), "has_code", lambda _self, _account: False, raising=False)
    return made


def standing(stage: Stage, tmp_path: Path, *signed: RequestHandle) -> Standing:
    sent = SentRequests(tmp_path, stage.chain.book, stage.consumer.address)
    for handle in signed:
        sent.keep(handle)
    return Standing(stage.chain, stage.backend.store(), stage.backend.api(), sent)  # type: ignore[arg-type]


def test_a_hash_that_no_party_knows_is_not_found(stage: Stage, tmp_path: Path) -> None:
    with pytest.raises(JobNotFound):
        standing(stage, tmp_path).find(keccak(b"nothing"))


def test_a_request_of_another_machine_stands_as_the_backend_says(stage: Stage, tmp_path: Path) -> None:
    handle = stage.ask()
    answer = msgspec.json.encode({"state": "open", "explanation": ["no offer fits"]})
    stage.backend.answers[f"requests/{handle.request_hash}"] = answer
    found = standing(stage, tmp_path).find(handle.request_hash)
    assert isinstance(found, RequestStanding)
    assert (found.state, found.explanation, found.quote) == ("unknown", ("no offer fits",), None)


def test_an_open_request_of_this_machine_is_quoted_again(stage: Stage, tmp_path: Path) -> None:
    handle = stage.ask()
    found = standing(stage, tmp_path, handle).find(handle.request_hash)
    assert isinstance(found, RequestStanding)
    assert found.state == "open"
    assert found.quote is not None
    assert "no_offer" in {clause.code for clause in found.quote.clauses}


def test_a_backend_that_is_down_hides_no_state_of_the_chain(stage: Stage, tmp_path: Path) -> None:
    handle = stage.ask()
    stage.backend.down = True
    found = standing(stage, tmp_path, handle).find(handle.request_hash)
    assert isinstance(found, RequestStanding)
    assert (found.state, found.quote) == ("open", None)


def test_a_job_is_found_by_its_id_and_by_its_requests_hash(stage: Stage, tmp_path: Path) -> None:
    handle = stage.ask()
    job_id = stage.matched(handle.request)
    stage.chain.finalise()
    for name in (job_id, handle.request_hash):
        found = standing(stage, tmp_path, handle).find(name)
        assert isinstance(found, JobRecord)
        assert found.job_id == job_id
    assert money_of(stage.chain, found).total(Who.HELD) > 0  # type: ignore[arg-type]


def test_the_backends_word_for_a_job_counts_where_the_chain_agrees(stage: Stage, tmp_path: Path) -> None:
    handle, other = stage.ask(), stage.ask()
    job_id, foreign = stage.matched(handle.request), stage.matched(other.request)
    stage.chain.finalise()
    for named, expected in ((job_id, JobRecord), (foreign, RequestStanding)):
        answer = msgspec.json.encode({"state": "matched", "explanation": [], "jobId": str(named)})
        stage.backend.answers[f"requests/{handle.request_hash}"] = answer
        assert isinstance(standing(stage, tmp_path).find(handle.request_hash), expected)


def test_a_request_is_watched_until_its_match_is_final(stage: Stage, tmp_path: Path) -> None:
    handle = stage.ask()
    heard: list[str] = []

    def pass_time(_seconds: float) -> None:
        if len(heard) == 1 and stage.chain.at(stage.chain.head()).job(handle.request_hash).status == 0:
            stage.matched(handle.request)
        stage.chain.finalise()

    watching = standing(stage, tmp_path, handle)
    found = watching.until_matched(handle.request_hash, 60, lambda at: heard.append(at.state), pass_time)
    assert isinstance(found, JobRecord)
    assert heard[0] == "open"
    assert isinstance(watching.until_matched(stage.ask().request_hash, 0, lambda _at: None, pass_time), RequestStanding)
