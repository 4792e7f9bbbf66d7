"""A job whose shares do not come: the host reports it, takes what is posted, and ends unharmed in time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from sealmarket.chain.events import JobEnded
from sealmarket.chain.memory import FINALITY_SECONDS, TRANSFER_SECONDS
from sealmarket.chain.model import Fault
from sealmarket.protocol.reasons import reason_bits
from sealmarket.protocol.transitions import Status
from sealmarket_enclave.protocol.codec import Uint
from sealmarket_enclave.protocol.numbers import JobId
from sealmarket_worker.journal import JobState
from sealmarket_worker.releasing import report_at
from tests.enclave.scene import CHAIN_ID, MARKET, Scene
from tests.worker.twins import HostTwin


@pytest.fixture
def host(tmp_path: Path) -> Iterator[HostTwin]:
    folder = tmp_path / "scene"
    folder.mkdir()
    with closing(HostTwin(Scene(folder), tmp_path / "host")) as made:
        yield made


def _status(host: HostTwin) -> Status:
    return host.chain.at(host.chain.head()).job(host.scene.spec.request_hash).status


def _run(host: HostTwin, accepted: Callable[[], object]) -> JobId:
    """Run a job whose nodes are all silent after their decision; ``accepted`` is the world's step from then on."""
    host.nodes.down = {0, 1, 2}

    def tick() -> None:
        if _status(host) is Status.ACCEPTED:
            accepted()
        else:
            host.decide_when_quoted()

    host.on_tick = tick
    job_id = host.match()
    host.run()
    return job_id


def _fault(host: HostTwin, job_id: JobId) -> Fault:
    events = host.chain.events(0, host.chain.head().number)
    return next(event.fault for event in events if isinstance(event, JobEnded) and event.job_id == job_id)


def _post(host: HostTwin, place: int, spoil: int | None = None) -> None:
    """Another account posts a node's release."""
    key = host.nodes.package(place).enclave_key
    host.chain.post_release(host.scene.release(place, host.transactions.quotes[0], key, spoil=spoil))


def test_a_host_whose_committee_falls_silent_reports_it_and_ends_the_job_unharmed(host: HostTwin) -> None:
    job_id = _run(host, lambda: host.chain.mine(seconds=20))
    [missing] = host.transactions.reported
    assert (missing.job_id, missing.evidence_hash, missing.excluded) == (job_id, host.transactions.quotes[0], 0)
    assert _fault(host, job_id) is Fault.SHARES_MISSING
    assert "expired" in host.journal.job(job_id).reason
    assert host.transactions.returned >= 1
    assert host.driver.sandbox.jobs == []


def test_missing_shares_are_reported_in_time_and_not_before_the_nodes_have_had_theirs(host: HostTwin) -> None:
    times: list[int] = []
    deadline: list[int] = []

    def tick() -> None:
        slot = host.chain.at(host.chain.head()).job(host.scene.spec.request_hash)
        deadline.append(slot.deadline)
        if not host.transactions.reported:
            times.append(host.chain.head().timestamp)
        host.chain.mine(seconds=5)

    _run(host, tick)
    due = report_at(host.scene.spec, deadline[0], FINALITY_SECONDS, TRANSFER_SECONDS)
    assert due - 5 <= times[-1] <= due + 10
    assert due + FINALITY_SECONDS < deadline[0]


def test_releases_that_are_posted_in_time_let_the_job_go_on(host: HostTwin) -> None:
    posted: list[int] = []

    def tick() -> None:
        if host.transactions.reported and len(posted) < 2:
            _post(host, len(posted))
            posted.append(1)
        host.chain.mine(seconds=20)

    job_id = _run(host, tick)
    assert host.journal.job(job_id).state is JobState.DONE
    assert len(host.transactions.finished) == 1
    assert host.driver.sandbox.jobs


def test_one_posted_release_is_too_few_and_the_job_ends_unharmed(host: HostTwin) -> None:
    posted: list[int] = []

    def tick() -> None:
        if host.transactions.reported and not posted:
            _post(host, 2)
            posted.append(1)
        host.chain.mine(seconds=20)

    assert _fault(host, _run(host, tick)) is Fault.SHARES_MISSING


def test_a_false_release_that_is_posted_is_excluded_and_does_not_cost_the_stake(host: HostTwin) -> None:
    posted: list[int] = []

    def tick() -> None:
        if host.transactions.reported and len(posted) < 2:
            _post(host, len(posted), spoil=0 if posted else None)
            posted.append(1)
        host.chain.mine(seconds=20)

    job_id = _run(host, tick)
    assert [missing.excluded for missing in host.transactions.reported] == [0, 0b10]
    assert _fault(host, job_id) is Fault.SHARES_MISSING
    assert host.scene.nodes[1].signer.checksum in host.messages()


def test_a_job_that_another_account_stopped_is_ended_at_once(host: HostTwin) -> None:
    def tick() -> None:
        job_id = host.scene.spec.job_id(CHAIN_ID, MARKET)
        if not host.chain.at(host.chain.head()).interruption(host.scene.spec.request_hash).stopped:
            host.chain.stop(job_id, host.transactions.quotes[0], _reasons())
        host.chain.mine(seconds=1)

    job_id = _run(host, tick)
    assert _fault(host, job_id) is Fault.STOPPED_BEFORE_RELEASE
    assert host.transactions.reported == []


def _reasons() -> Uint:
    return reason_bits([225])


def test_a_stop_after_the_keys_are_joined_does_not_end_the_job(host: HostTwin) -> None:
    job_id = host.match()
    host.driver.sandbox.during = lambda _inputs: host.chain.stop(job_id, host.transactions.quotes[0], _reasons())
    host.run()
    assert host.journal.job(job_id).state is JobState.DONE
