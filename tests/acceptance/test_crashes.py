"""Every party is killed with SIGKILL at every step; disks fill; the chain restarts. Invariants 4 and 8.

The steps are those that the worker itself tells (its progress log), so a new step is covered by itself.
"""

from __future__ import annotations

import json
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from typing import get_args

import httpx
import pytest

from sealmarket.chain import Fault
from sealmarket.chain.events import JobEnded, JobSettled
from sealmarket.client.jobs import JobRecord
from sealmarket.protocol.transitions import Status
from sealmarket.service.errors import ServiceError
from sealmarket_enclave.protocol.numbers import JobId
from sealmarket_worker.progress import StageName
from tests.acceptance.market import WINDOWS, Rehearsal, by_the_table, changes, names_of, node_names
from tests.acceptance.money import assert_conserved
from tests.patience import PATIENCE, until

STEPS = tuple(step for step in get_args(StageName) if step != "match")
"""A match is made by others; the worker begins with ``prepare``."""
SERVERS = ("backend", *node_names())
"""Whoever of these is lost comes back to where it was, and the job completes."""
LOST_WITH_ENCLAVE = {Fault.NONE, Fault.NO_QUOTE, Fault.EVIDENCE_WITHHELD, Fault.PROVIDER_SILENT}
"""How a job may end whose worker or device was lost: as it should, or at the provider's cost, never at another's."""


LOST_SECONDS = 12
"""How long a job whose enclave may be lost can go on by itself. Either end of it is allowed."""


def _at_step(rehearsal: Rehearsal, job_id: JobId, step: str) -> bool:
    log = rehearsal.folder / "worker" / "progress.jsonl"
    told = [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
    return any(one.get("jobId", one.get("job_id")) == str(job_id) and one["stage"] == step for one in told)


def _ends_by_the_clock(rehearsal: Rehearsal, job_id: JobId) -> None:
    """Let time pass for a job that nobody may move any more."""

    def settled_or_over() -> bool:
        return rehearsal.read(job_id).status >= Status.SETTLED

    # First past half of a window, when the nodes take what was not shown for withheld; one leap over the whole of it
    # would leave them no time to say so.
    for seconds in (WINDOWS["decide_window"] // 2 + 1, WINDOWS["decide_window"] + 1):
        try:
            until("an end without the clock", settled_or_over, timeout=LOST_SECONDS)
            break
        except AssertionError:
            rehearsal.pass_time(seconds)


def _kill_at(rehearsal: Rehearsal, victims: tuple[str, ...], step: str, *, lost: bool = False) -> JobRecord:
    """Kill the victims at a step, start them again, and hold the job's end against the fault table.

    ``lost``: the job may have lost its enclave, so time passes where it does not end. Else it has to settle by itself.
    """
    before = rehearsal.still()
    handle = rehearsal.request()
    job_id = rehearsal.consumer.wait_match(handle)
    until(f"step {step}", lambda: _at_step(rehearsal, job_id, step) or rehearsal.read(job_id).status >= Status.SETTLED)
    for victim in victims:
        rehearsal.kill(victim)
    rehearsal.mend()
    if lost:
        _ends_by_the_clock(rehearsal, job_id)
    else:
        rehearsal.reach_status(job_id, Status.SETTLED, Status.MATURED)
    rehearsal.still()
    record = rehearsal.reach_status(job_id, Status.MATURED, Status.REFUSED, Status.EXPIRED)
    story = f"{victims} killed at {step}: {record.fault.name} {names_of(record.reasons)}"
    signatures = 2 if record.decided is not None else 0
    after = rehearsal.balances()
    assert changes(before, after) == by_the_table(record.fault, rehearsal.fees(signatures)), story
    assert sum(isinstance(event, JobEnded) for event in record.history) <= 1, story
    assert sum(isinstance(event, JobSettled) for event in record.history) <= 1, story
    assert_conserved(rehearsal.chain)
    return record


@pytest.mark.parametrize("step", ["decision"])
def test_a_job_completes_though_backend_and_all_nodes_are_killed_while_it_is_decided(
    step: str, rehearsal: Rehearsal
) -> None:
    assert _kill_at(rehearsal, SERVERS, step).fault is Fault.NONE


@pytest.mark.parametrize(("victim", "step"), [("worker", "decision"), ("device", "release")])
def test_an_enclave_that_is_lost_after_the_quote_ends_its_job_by_the_table(
    victim: str, step: str, rehearsal: Rehearsal
) -> None:
    assert _kill_at(rehearsal, (victim,), step, lost=True).fault in LOST_WITH_ENCLAVE


def test_a_result_that_the_worker_has_written_down_is_settled_after_its_crash(rehearsal: Rehearsal) -> None:
    assert _kill_at(rehearsal, ("worker",), "settle").fault is Fault.NONE


@pytest.mark.long
@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("victim", [*SERVERS, "worker", "device"])
def test_whoever_is_killed_at_whatever_step_the_job_ends_by_the_table(
    victim: str, step: str, rehearsal: Rehearsal
) -> None:
    lost = victim in ("worker", "device")
    record = _kill_at(rehearsal, (victim,), step, lost=lost)
    assert record.fault in (LOST_WITH_ENCLAVE if lost else {Fault.NONE})


@contextmanager
def _full_disk(rehearsal: Rehearsal, *parties: str) -> Iterator[None]:
    """These processes can write to no file: every write fails, as on a disk without room."""
    pids = [rehearsal.market.parties[party].pid for party in parties]
    before = [resource.prlimit(pid, resource.RLIMIT_FSIZE) for pid in pids]
    for pid, (_soft, hard) in zip(pids, before, strict=True):
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (0, hard))
    try:
        yield
    finally:
        for pid, limits in zip(pids, before, strict=True):
            resource.prlimit(pid, resource.RLIMIT_FSIZE, limits)


def test_nodes_with_full_disks_decide_nothing_say_so_and_go_on_when_there_is_room(rehearsal: Rehearsal) -> None:
    urls = [member.url for member in rehearsal.market.book.committees[0].members]
    with _full_disk(rehearsal, *node_names()):
        job_id = rehearsal.job()
        rehearsal.reach_status(job_id, Status.QUOTED)
        for url in urls:
            health = until("an unhealthy node", lambda url=url: _unhealthy(url))  # type: ignore[misc]
            assert "disk" in health["problem"].lower(), health
        assert rehearsal.read(job_id).status is Status.QUOTED
    rehearsal.reach_status(job_id, Status.SETTLED)


def test_a_backend_with_a_full_disk_refuses_what_it_cannot_keep_and_loses_nothing(rehearsal: Rehearsal) -> None:
    handle = rehearsal.request(post=False)
    kept = rehearsal.store.put_document(b"kept before")
    with _full_disk(rehearsal, "backend"):
        with pytest.raises(ServiceError) as document:
            rehearsal.store.put_document(b"comes while the disk is full")
        with pytest.raises(ServiceError) as request:
            rehearsal.consumer.post(handle)
    assert "disk" in str(document.value).lower()
    assert "disk" in str(request.value).lower()
    assert rehearsal.store.document(kept) == b"kept before"
    rehearsal.consumer.post(handle)
    rehearsal.reach_status(rehearsal.consumer.wait_match(handle), Status.SETTLED)


def test_a_chain_that_restarts_with_its_state_loses_no_job(rehearsal: Rehearsal) -> None:
    job_id = rehearsal.job()
    rehearsal.reach_status(job_id, Status.QUOTED, Status.ACCEPTED, Status.SETTLED)
    head = rehearsal.chain.head()
    rehearsal.market.parties["chain"].stop()
    rehearsal.start("chain")
    again = rehearsal.chain.head()
    until("a new block", lambda: rehearsal.chain.head().number > again.number)
    behind = head.timestamp - rehearsal.chain.head().timestamp
    if behind > 0:
        # The node forgets how far its clock was moved; a chain's time never goes back.
        rehearsal.pass_time(behind)
    # States of blocks from before are not kept, so nobody can read at a final block until one is new.
    until("a new final block", lambda: rehearsal.chain.final().number > max(head.number, again.number))
    rehearsal.reach_status(job_id, Status.SETTLED)


def _unhealthy(url: str) -> dict[str, str] | None:
    answer = httpx.get(f"{url}/healthz", timeout=PATIENCE)
    return dict(answer.json()) if answer.status_code == 503 else None
