"""The demo's path across real processes, with a workload small enough to repeat."""

from __future__ import annotations

import json

from sealmarket.protocol.numbers import Grade, Status
from tests.acceptance.market import COMPUTE_PRICE, OWNERS, PRICES, Rehearsal, changes
from tests.acceptance.money import assert_conserved


def test_a_job_goes_from_sealing_to_payment_and_every_coin_is_where_it_belongs(rehearsal: Rehearsal) -> None:
    before = rehearsal.balances()
    job_id = rehearsal.job()
    record = rehearsal.reach_status(job_id, Status.SETTLED)
    assert record.decision is not None
    assert record.decision.grade == Grade.SIMULATED
    model = json.loads(rehearsal.consumer.open_result(job_id, rehearsal.result_key)["model.json"])
    assert model["rows"] == 5
    assert 1.8 < model["slope"] < 2.1
    rehearsal.consumer.acknowledge(job_id)
    rehearsal.reach_status(job_id, Status.MATURED)
    moved = changes(before, rehearsal.balances())
    fees = -sum(moved.values())
    assert {name: moved[name] for name in OWNERS} == {name: int(PRICES[name]) for name in OWNERS}
    assert moved["provider"] == COMPUTE_PRICE
    assert fees == 2 * (rehearsal.chain.at(rehearsal.chain.head()).signature_fee(record.spec.token) or 0)
    assert assert_conserved(rehearsal.chain).locked == 0
