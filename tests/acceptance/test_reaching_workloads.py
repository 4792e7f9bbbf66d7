"""A workload that the owners allowed reaches for everything around it, inside a real enclave of a real job."""

from __future__ import annotations

import json

from sealmarket.chain import Fault
from sealmarket.protocol.transitions import Status
from tests.acceptance import workloads
from tests.acceptance.market import PRICES, Rehearsal, changes


def test_a_workload_reaches_neither_quotes_host_processes_network_nor_earlier_jobs(rehearsal: Rehearsal) -> None:
    earlier = rehearsal.job()
    job_id = rehearsal.job(workload=rehearsal.reach)
    rehearsal.reach_status(earlier, Status.SETTLED)
    rehearsal.reach_status(job_id, Status.SETTLED)
    found = json.loads(rehearsal.consumer.open_result(job_id, rehearsal.result_key)["model.json"])
    assert len(found) > 100
    assert {name: answer for name, answer in found.items() if answer.startswith("REACHED")} == {}


def test_a_workload_that_starts_programs_ends_its_job_as_the_workloads_failure(rehearsal: Rehearsal) -> None:
    code = "import os\n\ndef run(inputs, parameters):\n    os.execv('/bin/sh', ['sh', '-c', 'cat /proc/1/environ'])\n"
    hostile = workloads.other(rehearsal.workload, rehearsal.folder / "hostile", code)
    asset = rehearsal.publish("north", workloads=(hostile.digest,))
    before = rehearsal.still()
    job_id = rehearsal.job(asset, workload=hostile)
    record = rehearsal.reach_status(job_id, Status.FAILED)
    assert record.fault is Fault.WORKLOAD_FAILED
    assert record.settled is None
    moved = changes(before, rehearsal.balances())
    assert moved["north"] == PRICES["north"]
    assert set(moved) == {"north", "provider", "consumer"}
