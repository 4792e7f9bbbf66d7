"""Which services a node lets go on, and what it says of their tabs."""

from __future__ import annotations

import asyncio
import itertools
import threading
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from sealmarket.chain.sessions import CLOSED, NO_SERVICE, NO_TAB, ServiceState, Tab
from sealmarket.protocol import merkle
from sealmarket.protocol.problems import TYPES, Problem
from sealmarket.protocol.renewals import RenewalRequest
from sealmarket_enclave.protocol.codec import ZERO_HASH, Address, Bytes32, HexBytes, Uint64, Wei, decode
from sealmarket_enclave.protocol.numbers import U8, JobId, Kind
from sealmarket_enclave.protocol.policy import PolicyDocument
from sealmarket_enclave.protocol.session import Renewal, SessionTerms, SignedRenewal, TabState
from sealmarket_enclave.protocol.signing import address_of, recover
from sealmarket_oracle.api import RENEWALS_AT_ONCE, create_app
from sealmarket_oracle.errors import RenewalRefused, StaleChain
from sealmarket_oracle.runner import Runner
from sealmarket_oracle.service import Node
from tests.enclave.session.services import RULES, terms_of
from tests.oracle.test_api import _client
from tests.oracle.test_serving import LEASE
from tests.oracle.world import CHAIN_ID, MARKET, NOW, Dealt, World, terms
from tests.patience import PATIENCE

LEASE_SECONDS = 60
NONCE = Bytes32(b"n" * 32)
ONE, TWO, THREE = (Address(bytes([n]) * 20) for n in (1, 2, 3))


def service(**changes: Any) -> ServiceState:
    """An open service at ten a unit."""
    base = {name: getattr(NO_SERVICE, name) for name in ServiceState.__slots__}
    chosen = {
        "enclave_signer": ONE,
        "lease_seconds": LEASE_SECONDS,
        "end": NOW + 10_000,
        "unit_price": Wei(10),
        "redeemed": Uint64(7),
    }
    return ServiceState(**(base | chosen | changes))


def tab(limit: int, **changes: Any) -> Tab:
    """An open tab."""
    values = {"limit": Wei(limit), "paid": Wei(0), "requested_block": 0, "closes_at": 0}
    return Tab(**(values | changes))


def allowing(document: PolicyDocument) -> PolicyDocument:
    """A policy of an owner that allows services."""
    return replace(document, serving=RULES)


def served(world: World, offered: SessionTerms, kind: Kind) -> dict[str, Any]:
    """What a request for a service has; nothing for a batch job."""
    if kind is not Kind.SESSION:
        return {}
    own = address_of(world.provider.public_key)
    return {
        "kind": U8(kind),
        "extension_hash": offered.struct_hash(),
        "consumer": own,
        "payer": own,
        "compute_price": Wei(0),
    }


class Serving:
    """An accepted service of one asset, and a node that asks nothing but the chain."""

    def __init__(self, world: World, dealt: Dealt | None = None, **changes: Any) -> None:
        self.world = world
        self.asset = dealt or world.publish(edit_policy=allowing)
        offered = replace(terms_of(self.asset.asset_id), lease=LEASE)
        self.job_id: JobId = world.match(self.asset, **served(world, offered, changes.pop("kind", Kind.SESSION)))
        world.quote(session_terms=HexBytes(offered.canonical()))
        self.node: Node = world.node()
        decision = world.decided(self.node)
        world.accept(decision)
        world.chain.set_service(self.job_id, service(**changes), {ONE: tab(1_000), TWO: tab(99)})
        world.chain.finalise()
        self.node.tick()

    def request(self, *accounts: Address, **changes: Any) -> RenewalRequest:
        """A request at the newest final block."""
        base = RenewalRequest(
            nonce=NONCE, block_number=Uint64(self.world.chain.final().number), accounts=accounts or (ONE,)
        )
        return replace(base, **changes)

    def sign(self, *accounts: Address, **changes: Any) -> Renewal:
        """What the node signs; its signature is checked."""
        signed = self.node.renewals.sign(self.job_id, self.request(*accounts, **changes))
        digest = signed.renewal.digest(CHAIN_ID, MARKET)
        assert recover(digest, signed.signature) == self.world.keys[0].signer.address
        return signed.renewal


@pytest.fixture
def serving(world: World) -> Serving:
    return Serving(world)


def test_a_job_that_no_final_block_has_is_refused(serving: Serving) -> None:
    with pytest.raises(RenewalRefused, match="found none"):
        serving.node.renewals.sign(JobId(ZERO_HASH), serving.request())


def test_a_batch_job_is_refused(world: World) -> None:
    with pytest.raises(RenewalRefused, match="kind 2"):
        Serving(world, kind=Kind.BATCH).sign()


def test_a_block_that_is_not_final_is_refused(serving: Serving) -> None:
    above = Uint64(serving.world.chain.final().number + 1)
    with pytest.raises(RenewalRefused, match="a final block"):
        serving.sign(block_number=above)


def test_a_block_older_than_half_a_lease_is_refused(serving: Serving) -> None:
    number = Uint64(serving.world.chain.final().number)
    serving.world.chain.mine(LEASE_SECONDS // 2)
    assert serving.sign(block_number=number).block_number == number
    serving.world.chain.mine()
    with pytest.raises(RenewalRefused, match="at most 30 seconds older"):
        serving.sign(block_number=number)


def test_a_head_that_is_old_is_refused(serving: Serving) -> None:
    serving.world.time += 4_000
    with pytest.raises(StaleChain):
        serving.sign()


def test_a_service_that_was_not_opened_or_is_over_is_refused(serving: Serving) -> None:
    for state in (NO_SERVICE, service(end=NOW - 60)):
        serving.world.chain.set_service(serving.job_id, state, {})
        serving.world.chain.finalise()
        with pytest.raises(RenewalRefused):
            serving.sign()


def test_a_revoked_asset_is_refused_before_the_revocation_is_final(serving: Serving) -> None:
    serving.world.chain.revoke(serving.asset.asset_id)
    with pytest.raises(RenewalRefused, match="revoked"):
        serving.sign()


def test_strictly_tightened_terms_are_refused_at_the_head(serving: Serving) -> None:
    serving.world.chain.tighten(serving.asset.asset_id, 1, terms(consumer_root=Bytes32(b"c" * 32)))
    with pytest.raises(RenewalRefused, match="replaced"):
        serving.sign()


def test_another_endpoint_that_shows_a_revocation_counts(serving: Serving) -> None:
    serving.world.chain.revoke(serving.asset.asset_id)
    serving.world.chain.behind, serving.world.chain.others = 1, [0]
    with pytest.raises(RenewalRefused, match="revoked"):
        serving.sign()


def test_an_endpoint_that_alone_speaks_against_a_renewal_is_doubted(serving: Serving) -> None:
    """Otherwise one endpoint of three ends every service by a head that it makes up."""
    chain = serving.world.chain
    chain.revoke(serving.asset.asset_id)
    chain.behind, chain.others = 1, [1, 0]
    with pytest.raises(RenewalRefused, match="revoked"):
        serving.sign()
    assert [endpoint for endpoint, _ in chain.doubts] == ["twin 2"]
    chain.doubts.clear()
    chain.others = [0, 0]
    with pytest.raises(RenewalRefused, match="revoked"):
        serving.sign()
    assert chain.doubts == []


def test_proofs_for_another_number_of_accounts_are_refused(serving: Serving) -> None:
    with pytest.raises(RenewalRefused, match="proofs"):
        serving.sign(ONE, TWO, proofs=(((),),))


def test_a_renewal_says_what_its_block_says(serving: Serving) -> None:
    found = serving.sign(ONE, TWO, THREE, ONE)
    block = serving.world.chain.final()
    assert (found.job_id, found.nonce, found.redeemed) == (serving.job_id, NONCE, 7)
    assert (int(found.block_number), found.block_time) == (int(block.number), block.timestamp)
    assert found.tabs == (
        TabState(account=ONE, units=Uint64(100), closing=False),
        TabState(account=TWO, units=Uint64(9), closing=False),
    )


@pytest.mark.parametrize("change", [{"requested_block": 5}, {"closes_at": NOW}, {"closes_at": CLOSED}])
def test_a_tab_that_closes_is_named_as_closing(serving: Serving, change: dict[str, int]) -> None:
    serving.world.chain.set_service(serving.job_id, service(), {ONE: tab(1_000, **change)})
    serving.world.chain.finalise()
    assert serving.sign().tabs[0].closing


def test_an_account_outside_a_consumer_set_is_left_out(world: World) -> None:
    leaves = [merkle.account_leaf(account) for account in (ONE, THREE)]
    granted = terms(consumer_root=merkle.root(leaves))
    world.chain.finality_lag = 1
    serving = Serving(world, world.publish(policy_terms=terms(), chain_terms=granted, edit_policy=allowing))
    path = merkle.proof(leaves, leaves[0])
    assert serving.sign(ONE, TWO).tabs == ()
    found = serving.sign(ONE, TWO, proofs=((path,), (path,)))
    assert [state.account for state in found.tabs] == [ONE]


def test_all_nodes_sign_the_same(serving: Serving) -> None:
    others = [serving.world.node(index) for index in (1, 2)]
    for node in others:
        node.tick()
    signed = [node.renewals.sign(serving.job_id, serving.request()).renewal for node in (serving.node, *others)]
    assert len(set(signed)) == 1


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30, deadline=None)
@given(limit=st.integers(0, 2**88 - 1), price=st.integers(1, 2**88 - 1))
def test_units_never_cost_more_than_the_limit(limit: int, price: int) -> None:
    units = tab(limit).units(Wei(price))
    assert units * price <= limit
    assert units == 2**64 - 1 or (units + 1) * price > limit


def test_a_closed_tab_and_no_tab_have_nothing_left() -> None:
    assert tab(10, closes_at=CLOSED).left == NO_TAB.left == 0
    assert tab(10, paid=Wei(4)).left == 6


def test_a_renewal_is_asked_for_over_http(serving: Serving) -> None:
    client, _ = _client(serving.node)
    path = f"/v1/sessions/{serving.job_id}/renewals"
    answer = client.send("POST", path, content=serving.request().canonical())
    assert decode(SignedRenewal, answer.content).renewal == serving.sign()
    for body, code in ((b"{}", 422), (b"x" * (1 << 20 | 1), 422)):
        refused = client.send("POST", path, content=body)
        assert refused.status_code == code
        assert decode(Problem, refused.content).remedy
    serving.world.chain.revoke(serving.asset.asset_id)
    request = serving.request().canonical()
    assert client.send("POST", path, content=request).status_code == 409
    serving.world.chain.fall_silent()
    assert client.send("POST", path, content=request).status_code == 503


def test_no_service_is_renewed_on_a_machine_that_its_operator_holds_back(
    serving: Serving, monkeypatch: pytest.MonkeyPatch
) -> None:
    serving.sign()
    why = {serving.job_id: "the operator holds platforms back"}
    monkeypatch.setattr(serving.node, "recalls", SimpleNamespace(held_job=why.get))
    with pytest.raises(RenewalRefused, match="the operator holds platforms back"):
        serving.sign()


def test_requests_for_renewals_that_wait_for_the_chain_leave_threads_for_what_the_journal_answers(
    serving: Serving, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Anyone may ask, as often as the listener lets him."""
    busy, over, running = threading.Event(), threading.Event(), itertools.count(1)

    def wait(_job: object, _request: object) -> SignedRenewal:
        if next(running) == RENEWALS_AT_ONCE:
            busy.set()
        over.wait(PATIENCE)
        raise RenewalRefused(serving.job_id, "a chain that answers", "none")

    monkeypatch.setattr(serving.node.renewals, "sign", wait)
    asked = serving.request().canonical()

    async def ask() -> tuple[int, set[int]]:
        transport = httpx.ASGITransport(create_app(serving.node, Runner(serving.node, 1.0)))
        async with httpx.AsyncClient(transport=transport, base_url="http://node") as client:
            path = f"/v1/sessions/{serving.job_id}/renewals"
            waiting = [asyncio.create_task(client.post(path, content=asked)) for _ in range(64)]
            try:
                await asyncio.to_thread(busy.wait, PATIENCE)
                found = await asyncio.wait_for(client.get(f"/v1/jobs/{serving.job_id}"), PATIENCE)
            finally:
                over.set()
            return found.status_code, {answer.status_code for answer in await asyncio.gather(*waiting)}

    assert asyncio.run(ask()) == (200, {TYPES["renewal-refused"].status})
