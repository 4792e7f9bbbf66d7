"""A host that is killed, drained or without room on its disk: nothing is lost, sent twice or left behind."""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sealmarket.protocol.transitions import Status
from sealmarket.service.errors import ServiceUnavailable
from sealmarket.store.blobs import Store
from sealmarket_enclave.protocol.codec import Bytes32
from sealmarket_enclave.protocol.numbers import JobId
from sealmarket_worker.agent import Agent
from sealmarket_worker.journal import JobState, Journal
from sealmarket_worker.main import _sweep
from sealmarket_worker.share import Share
from tests.enclave.scene import MARKER, Scene
from tests.worker.twins import HostTwin

WRITES = ("advance", "quoting", "quoted", "finished", "done")
"""What the journal is told in the course of a job that goes well, in this order."""


@pytest.fixture
def host(tmp_path: Path) -> Iterator[HostTwin]:
    (tmp_path / "scene").mkdir()
    twin = HostTwin(Scene(tmp_path / "scene"), tmp_path / "host")
    yield twin
    twin.close()


def status(host: HostTwin) -> Status:
    return host.chain.at(host.chain.head()).job(host.scene.spec.request_hash).status


class Killed(BaseException):
    """Stands for SIGKILL: no handler of the host may run on it, and what it would still write is refused."""


class KilledJournal(Journal):
    """A journal whose process dies at one write, before it or right after it is on disk."""

    def __init__(self, path: Path, write: str, *, written: bool) -> None:
        super().__init__(path)
        self._write, self._written, self.dead = write, written, False
        for name in (*WRITES, "give_up"):
            setattr(self, name, self._wrapped(name, getattr(self, name)))

    def _wrapped(self, name: str, honest: Callable[..., None]) -> Callable[..., None]:
        def write(*arguments: Any) -> None:
            if self.dead:
                raise Killed
            if name == self._write:
                if self._written:
                    honest(*arguments)
                self.dead = True
                raise Killed
            honest(*arguments)

        return write


def _killed_at(host: HostTwin, write: str, *, written: bool) -> JobId:
    """The host dies at a write of its journal; its enclaves die with it, and it starts again until nothing is open."""
    host.journal.close()
    dying = KilledJournal(host.folder / "journal.sqlite", write, written=written)
    host.context = replace(host.context, journal=dying)
    job_id = host.match()
    agent = Agent(host.context, host.scene.spec.provider, max_jobs=1)
    with contextlib.suppress(Killed):
        agent.turn()
    agent.join()
    assert dying.dead
    host.driver.close()
    dying.close()
    host.start()
    host.run()
    host.driver.close()
    return job_id


@pytest.mark.parametrize("written", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("write", WRITES)
def test_a_host_that_is_killed_at_any_write_of_its_journal_quotes_and_settles_once(
    host: HostTwin, write: str, written: bool
) -> None:
    job_id = _killed_at(host, write, written=written)
    entry = host.journal.job(job_id)
    assert entry.state in (JobState.DONE, JobState.GIVEN_UP), "nothing is left open"
    assert len(host.transactions.quotes) <= 1
    assert len(host.transactions.finished) <= 1
    survives = write in ("advance", "done") or (write, written) in {("quoting", False), ("finished", True)}
    assert (entry.state is JobState.DONE) == (survives or (write, written) == ("quoting", True)), entry.reason
    assert all(MARKER not in path.read_bytes() for path in host.folder.rglob("*") if path.is_file())


@pytest.mark.parametrize("write", WRITES)
def test_a_disk_without_room_at_any_write_of_the_journal_delays_the_job_and_loses_nothing(
    host: HostTwin, write: str
) -> None:
    journal = host.context.journal
    honest, refusals = getattr(journal, write), [sqlite3.OperationalError("database or disk is full")] * 3

    def full(*arguments: Any) -> None:
        if refusals:
            raise refusals.pop()
        honest(*arguments)

    setattr(journal, write, full)
    job_id = host.match()
    agent = Agent(host.context, host.scene.spec.provider, max_jobs=1)
    while refusals or not journal.jobs():
        try:
            agent.turn()
        except sqlite3.OperationalError:
            assert write == "advance"
        if write != "advance":
            break
    agent.join()
    assert not refusals
    assert journal.job(job_id).state is JobState.DONE
    assert (len(host.transactions.quotes), status(host)) == (1, Status.SETTLED)


def test_the_reason_of_a_job_that_is_given_up_waits_for_room(host: HostTwin) -> None:
    journal = host.context.journal
    honest, refusals = journal.give_up, [sqlite3.OperationalError("database or disk is full")] * 3

    def full(job_id: JobId, reason: str) -> None:
        if refusals:
            raise refusals.pop()
        honest(job_id, reason)

    journal.give_up = full  # type: ignore[method-assign]
    job_id = host.match()
    host.chain.end(job_id, Status.CANCELLED)
    host.chain.finalise()
    host.run()
    assert "the job is cancelled" in journal.job(job_id).reason


def test_a_complaint_that_cannot_be_written_down_does_not_cost_the_job(host: HostTwin) -> None:
    host.nodes.lying = {0}
    (host.folder / "complaints.jsonl").mkdir()
    job_id = host.match()
    host.run()
    assert host.journal.job(job_id).state is JobState.DONE
    assert "the complaint is not written down" in host.messages()


# --- a store that goes away, and what a crash leaves of a download ----------------------------------------------------


@pytest.mark.parametrize("part", [0.0, 0.5, 1.0], ids=["empty", "half", "altered"])
def test_what_a_crash_left_of_a_container_is_fetched_again(host: HostTwin, part: float) -> None:
    asset = host.scene.assets[0]
    torn = asset.container[: int(len(asset.container) * part)] if part < 1 else b"\xff" + asset.container[1:]
    path = host.folder / "containers" / asset.seal.content_root.hex()
    path.parent.mkdir(parents=True)
    path.write_bytes(torn)
    job_id = host.match()
    host.run()
    assert host.journal.job(job_id).state is JobState.DONE
    assert path.read_bytes() == asset.container


def test_a_download_that_breaks_off_is_begun_again_and_leaves_nothing(host: HostTwin) -> None:
    breaks = [b"", b"half"]

    def broken(path: str, raw: bytes) -> bytes | None:
        if path.startswith("/v1/containers/") and breaks:
            return raw[: len(raw) // 2] if breaks.pop() else b""
        return raw

    host.store.broken = broken
    job_id = host.match()
    host.run()
    assert host.journal.job(job_id).state is JobState.DONE
    left = {path.name for path in (host.folder / "containers").iterdir()}
    assert left == {asset.seal.content_root.hex() for asset in host.scene.assets}


def test_a_store_that_goes_away_before_the_result_is_handed_in_delays_the_settlement_and_loses_nothing(
    host: HostTwin, monkeypatch: pytest.MonkeyPatch
) -> None:
    refusals = [1, 2, 3]
    honest = Store.put_container_bytes

    def away(store: Store, root: Bytes32, raw: bytes) -> None:
        if refusals:
            refusals.pop()
            raise ServiceUnavailable("store", "http://store", "away")
        honest(store, root, raw)

    monkeypatch.setattr(Store, "put_container_bytes", away)
    job_id = host.match()
    host.run()
    assert host.journal.job(job_id).state is JobState.DONE
    assert (len(host.transactions.finished), status(host)) == (1, Status.SETTLED)


# --- draining -------------------------------------------------------------------------------------------------------


def test_a_host_that_drains_leaves_what_it_has_not_quoted_to_its_next_start(host: HostTwin) -> None:
    host.store.broken = lambda path, raw: None if path.startswith("/v1/containers/") else raw
    host.on_tick = host.context.drain.set
    job_id = host.match()
    host.run()
    assert host.journal.job(job_id).state is JobState.MATCHED
    assert host.transactions.quotes == []
    assert "for the next start" in host.messages()
    host.store.broken = lambda _path, raw: raw
    host.on_tick = host.decide_when_quoted
    host.journal.close()
    host.start()
    host.run()
    assert host.journal.job(job_id).state is JobState.DONE


def test_a_host_that_drains_carries_what_it_has_quoted_to_its_end_and_then_ends(host: HostTwin) -> None:
    def drain_when_quoted() -> None:
        if status(host) is Status.QUOTED:
            host.context.drain.set()
        host.decide_when_quoted()

    host.stop.by_jobs, host.on_tick = True, drain_when_quoted
    job_id = host.match()
    Agent(host.context, host.scene.spec.provider, max_jobs=1).run()
    assert host.context.drain.is_set()
    assert not host.stop.is_set()
    assert host.journal.job(job_id).state is JobState.DONE


def test_a_host_that_drains_begins_no_job(host: HostTwin, caplog: pytest.LogCaptureFixture) -> None:
    host.context.drain.set()
    agent = Agent(host.context, host.scene.spec.provider, max_jobs=1)
    job_id = host.match()
    agent.turn()
    agent.run()
    assert host.journal.jobs() == []
    host.context.drain.clear()
    host.run()
    assert host.journal.job(job_id).state is JobState.DONE


def test_a_host_that_stops_while_an_enclave_computes_does_not_wait_for_it(
    host: HostTwin, caplog: pytest.LogCaptureFixture
) -> None:
    held = threading.Event()

    def run(_inputs: object) -> dict[str, bytes]:
        host.stop.set()
        assert held.wait(60), "the host waited for the workload"
        return {}

    host.driver.sandbox.during = run
    host.stop.by_jobs = True
    job_id = host.match()
    Agent(host.context, host.scene.spec.provider, max_jobs=1).run()
    held.set()
    assert host.journal.job(job_id).state is JobState.QUOTED
    assert "1 jobs are left" in caplog.text


# --- several workers of one account, and what a killed one leaves -----------------------------------------------------


def test_workers_of_one_account_take_each_job_once(tmp_path: Path) -> None:
    ids = [JobId(Bytes32(bytes([number]) * 32)) for number in range(256)]
    shares = [Share(workers=3, worker=number) for number in range(3)]
    assert all(sum(share.has(job_id) for share in shares) == 1 for job_id in ids)
    assert all(any(share.has(job_id) for job_id in ids) for share in shares)


def test_a_job_of_another_worker_of_the_account_is_left_alone(host: HostTwin) -> None:
    job_id = host.match()
    mine = next(number for number in range(2) if Share(workers=2, worker=number).has(job_id))
    for worker, jobs in ((1 - mine, 0), (mine, 1)):
        host.journal.forget_cursor()
        share = Share(workers=2, worker=worker)
        agent = Agent(host.context, host.scene.spec.provider, max_jobs=1, share=share)
        agent.turn()
        agent.join()
        assert len(host.journal.jobs()) == jobs


def test_what_a_killed_worker_had_begun_to_write_is_removed_and_nothing_else_is(tmp_path: Path) -> None:
    begun = ("containers/.incoming-1", "environments/.installing-1/numpy/a.py", ".image-1/__main__.py")
    kept = ("containers/ab", "environments/cd/numpy/a.py", "image/__main__.py", "journal.sqlite")
    for name in (*begun, *kept):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    _sweep(tmp_path)
    left = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()}
    assert left == set(kept)
