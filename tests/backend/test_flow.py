"""Reorganisations while orders flow: afterwards the book is what one is that never saw the blocks that are gone."""

from __future__ import annotations

import pytest

from sealmarket.chain.events import ChainEvent
from sealmarket.chain.ledger_events import OrderCancelled, OrderUsed
from sealmarket.chain.model import EventRef
from sealmarket_backend.tables import Database
from sealmarket_enclave.protocol.codec import Bytes32, Uint
from tests.backend.orders import NOW, PROVIDER, account, compute, offer_state, posted_request
from tests.backend.test_honesty import LATER, NEVER_AGAIN, Market
from tests.backend.test_index import EVIDENCE, spec

BLOCKS = 70
DEPTHS = [2, 64]


class Flow(Market):
    """A market in which each block uses, fills or cancels an order, and others come."""

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self.keys: list[Bytes32] = []

    def come(self, number: int) -> None:
        self.keys.append(self.orders.add_compute_order(compute(expiry=LATER, salt=Uint(number), volume=2), NOW))
        self.orders.add_request(posted_request(expiry=LATER, salt=Uint(number)), NOW)

    def use(self, number: int) -> None:
        key, kind = self.keys[number // 2], OrderUsed if number % 5 else OrderCancelled

        def change(state: object, at: EventRef) -> list[ChainEvent]:
            used = state.used  # type: ignore[attr-defined]
            before = used.get((account(PROVIDER), key), 0)
            used[account(PROVIDER), key] = NEVER_AGAIN if kind is OrderCancelled else min(before + 1, NEVER_AGAIN)
            return [kind(at, account(PROVIDER), key)]

        self.chain._mine(change)

    def turn(self) -> None:
        self.index.advance()
        self.settle()

    def states(self) -> list[tuple[str, int]]:
        return [(offer_state(self.orders, key).state, self.orders.offers.left(key)) for key in self.keys]


@pytest.mark.parametrize(
    "depth", [pytest.param(n, marks=() if n in DEPTHS else pytest.mark.long) for n in range(1, 65)]
)
def test_a_reorganisation_while_orders_flow_leaves_what_a_backend_knows_that_saw_none(
    database: Database, depth: int
) -> None:
    flow = Flow(database)
    job_id = flow.chain.match(spec())
    flow.chain.quote(job_id, EVIDENCE)
    for number in range(BLOCKS):
        flow.come(number)
        flow.use(number)
        flow.turn()
    before = flow.states()
    flow.chain.rewrite(depth + flow.chain.finality_lag)
    flow.come(BLOCKS)
    flow.turn()
    flow.chain.finalise()
    flow.turn()
    with Database(None) as empty:
        fresh = Flow(empty)
        fresh.chain = fresh.honesty._chain = flow.chain
        for number in range(BLOCKS + 1):
            fresh.come(number)
        fresh.index = type(fresh.index)(empty, flow.chain, start=0, listener=fresh.honesty)
        for key in fresh.keys:
            fresh.honesty.suspect(key)
        fresh.turn()
        assert flow.states() == fresh.states()
        assert flow.index.jobs() == fresh.index.jobs()
    assert {state for state, _ in flow.states()} >= {"open"}
    assert before != flow.states()[:-1]
