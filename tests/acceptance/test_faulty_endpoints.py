"""Backend and worker read and send by an endpoint with one fault at a time: the job settles all the same."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from sealmarket.protocol.transitions import Status
from tests.acceptance.market import Rehearsal
from tests.chain.faults import CASES
from tests.chain.faulty_rpc import Proxy, faulty, real
from tests.patience import PATIENCE, until

BEHIND = ("backend", "worker")
USUAL = {
    "replica behind",
    "code null",
    "page",
    "transaction swallowed",
    "transaction taken, answer lost",
    "no base fee",
}
"""The others belong to the long tier here; the keeper alone meets each in every run."""


@pytest.fixture(scope="module")
def proxy(_stage: Rehearsal) -> Iterator[Proxy]:
    """Backend and worker started anew, behind a proxy."""
    direct = _stage.market.rpc
    with faulty(real(direct)) as made:
        _restart(_stage, made.url)
        yield made
        made.fault = None
        _restart(_stage, direct)


def _restart(stage: Rehearsal, rpc: str) -> None:
    for party in BEHIND:
        stage.kill(party)
    stage.market.rpc = rpc
    stage.mend()


def _healthy(stage: Rehearsal) -> bool:
    return bool(httpx.get(f"{stage.market.book.backend}/healthz", timeout=PATIENCE, trust_env=False).json()["ok"])


@pytest.mark.parametrize("name", [pytest.param(n, marks=() if n in USUAL else pytest.mark.long) for n in CASES])
def test_backend_and_worker_bring_a_job_to_its_end_behind_each_fault(
    rehearsal: Rehearsal, proxy: Proxy, name: str
) -> None:
    """The case ``faulty_rpc``."""
    case = CASES[name]
    proxy.asked.clear()
    proxy.fault = case.fault(proxy)
    try:
        handle = rehearsal.request()
        if case.lasting:
            until("the backend says that it waits", lambda: not _healthy(rehearsal))
            proxy.fault = None
        record = rehearsal.reach_status(rehearsal.consumer.wait_match(handle), Status.SETTLED)
        assert rehearsal.consumer.open_result(record.job_id, rehearsal.result_key)
    finally:
        proxy.fault = None
