"""A user's tab on a real chain: opened, filled up, asked to close, closed by a statement, and the rest taken back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass

import pytest
from eth_account import Account
from eth_account.signers.local import LocalAccount
from msgspec.structs import replace

from scripts.benchmarks._gas_accounts import ETHER
from scripts.benchmarks._gas_world import NO_DETAIL, Job
from scripts.benchmarks._session_gas import LEASE, PER_UNIT, UNIT_PRICE, SessionWorld
from sealmarket.chain import Chain, Reverted
from sealmarket.chain.contracts import CommitteeContract
from sealmarket.chain.deploy import contract_address
from sealmarket.client.renewals import Ask
from sealmarket.client.tabs import Closing, TabRefused, Tabs
from sealmarket.client.verified import VerifiedMarket
from sealmarket.protocol.book import Committee, FinalityRule
from sealmarket.protocol.decisions import Outcome
from sealmarket.protocol.renewals import RenewalRequest
from sealmarket.protocol.wire import SignedDecision
from sealmarket_enclave.protocol.codec import ZERO_ADDRESS, ZERO_HASH, Bytes32, HexBytes, Uint64, Wei, decode_canonical
from sealmarket_enclave.protocol.job import JobSpec
from sealmarket_enclave.protocol.numbers import U8, JobId
from sealmarket_enclave.protocol.session import (
    Entry,
    Renewal,
    SessionTerms,
    SignedRenewal,
    SignedStatement,
    Statement,
    TabState,
)
from sealmarket_localnet import chains
from sealmarket_localnet.processes import Supervisor
from tests.client.bundles import Case

pytestmark = [pytest.mark.loopback, pytest.mark.timeout(300)]


COMMITTEE_NONCE = 1
"""The committee's contract is the world's second."""


class OpenLists:
    """A store without any list: every consumer set is open here."""

    def find_leaves(self, root: Bytes32) -> frozenset[Bytes32] | None:
        return None


class Served(SessionWorld):
    """A market with one open service."""

    def begin(self) -> tuple[Job, SessionTerms]:
        job, terms = self._accepted_service()
        self._send(self.sessions.open_service(self._spec(job), self._enclave(job), terms))
        self._send(self.sessions.bond(ZERO_ADDRESS, self._job_id(job), Wei(LEASE * PER_UNIT)), job.provider)
        return job, terms

    @property
    def named(self) -> Committee:
        """The committee, of which each node has an address of its own."""
        members = self.committee.members
        return replace(
            self.committee,
            members=tuple(replace(one, url=f"http://node-{place}") for place, one in enumerate(members)),
        )

    def chain(self, url: str) -> Chain:
        book = replace(
            Case().book,
            registry=self.registry.address,
            committee=contract_address(self.sender, COMMITTEE_NONCE),
            market=self.market.address,
            sessions=self.sessions.address,
            finality=FinalityRule(kind="depth", depth=1),
            committees=(self.named,),
        )
        return Chain(book, url)

    def user(self, chain: Chain, seed: bytes = b"\x5a") -> Tabs:
        """An account with free balance in the market."""
        account: LocalAccount = Account.from_key(seed * 32)
        tabs = Tabs(chain, account, OpenLists())
        self._give(tabs.address)
        tabs._party.give(self.market.deposit(ZERO_ADDRESS, Wei(ETHER)))
        return tabs

    def state(self, job: Job, account: Tabs, units: int, *, last: bool) -> None:
        """The enclave's statement, posted by its host."""
        entry = Entry(account=account.address, units=Uint64(units), last=last)
        statement = Statement(job_id=self._job_id(job), total=Uint64(units), last=False, entries=(entry,))
        signed = SignedStatement(statement=statement, signature=HexBytes(self._sign(job.enclave, statement)))
        self._send(self.sessions.redeem(signed))

    def ask(self, job: Job, tab: TabState, *, silent: int = 0) -> Ask:
        """Oracle nodes that say this of a tab; the first ``silent`` of them say nothing."""
        by_url = {member.url: node for member, node in zip(self.named.members, self.nodes, strict=True)}

        def answer(url: str, body: bytes) -> bytes | None:
            request, where = decode_canonical(RenewalRequest, body), url.partition("/v1/")[0]
            if where in list(by_url)[:silent]:
                return None
            renewal = Renewal(
                job_id=self._job_id(job),
                nonce=request.nonce,
                block_number=request.block_number,
                block_time=1,
                redeemed=Uint64(0),
                tabs=(tab,),
            )
            return SignedRenewal(renewal=renewal, signature=self._sign(by_url[where], renewal)).canonical()

        return answer

    def remove(self, job: Job, place: int) -> None:
        """Remove a node, which signed two decisions on one piece of evidence."""
        first, second = (
            SignedDecision(
                decision=core, index=U8(place), signature=self._sign(self.nodes[place], core), detail=NO_DETAIL
            )
            for core in (self._decision(job, outcome, ZERO_HASH, ZERO_HASH) for outcome in list(Outcome)[:2])
        )
        contract = CommitteeContract(contract_address(self.sender, COMMITTEE_NONCE))
        self._send(contract.remove_equivocator(self.committee, first, second))

    def facts(self, job: Job) -> tuple[JobSpec, JobId]:
        return self._spec(job), self._job_id(job)


@dataclass
class Scene:
    world: Served
    job: Job
    terms: SessionTerms
    tabs: Tabs


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    with Supervisor(tmp_path_factory.mktemp("chain")) as programs, pytest.MonkeyPatch.context() as patched:
        patched.setattr(VerifiedMarket, "require", lambda _self: None)
        url = chains.anvil(programs).url
        world = Served(url)
        try:
            world.warm_up()
            job, terms = world.begin()
            with closing(world.chain(url)) as chain:
                yield Scene(world, job, terms, world.user(chain))
        finally:
            world.disconnect()


def test_a_tab_lives_from_its_opening_to_its_rest_and_each_wrong_step_is_refused(scene: Scene) -> None:
    tabs, terms, (spec, job_id) = scene.tabs, scene.terms, scene.world.facts(scene.job)
    with pytest.raises(TabRefused, match="an open service"):
        tabs.status(JobId(Bytes32(b"\x77" * 32)))
    with pytest.raises(TabRefused, match="terms with hash"):
        tabs.open(spec, replace(terms, bucket=Uint64(7)), Wei(ETHER // 2))
    with pytest.raises(TabRefused, match="by the terms"):
        tabs.open(spec, terms, Wei(1))
    for too_early in (lambda: tabs.add(spec, terms, Wei(5)), lambda: tabs.close(job_id)):
        with pytest.raises(TabRefused, match="found none"):
            too_early()
    with pytest.raises(Reverted):
        tabs.open(spec, terms, Wei(2 * ETHER))  # more than is free

    tabs.open(spec, terms, Wei(ETHER // 2))
    with pytest.raises(TabRefused, match="add to it"):
        tabs.open(spec, terms, Wei(ETHER // 2))
    tabs.add(spec, terms, Wei(ETHER // 4))
    assert tabs.status(job_id).tab.limit == 3 * ETHER // 4

    assert tabs.close(job_id)[0] is Closing.REQUESTED
    assert tabs.close(job_id)[0] is Closing.WAITS
    with pytest.raises(TabRefused, match="stays open"):
        tabs.add(spec, terms, Wei(5))
    scene.world.state(scene.job, tabs, 1_000, last=True)
    what, found = tabs.close(job_id)
    assert (what, found.returned, found.tab.paid) == (Closing.RETURNED, True, 1_000 * UNIT_PRICE)
    free = tabs._chain.at(tabs._chain.head()).account(ZERO_ADDRESS, tabs.address).free
    assert free == ETHER - 1_000 * UNIT_PRICE
    with pytest.raises(TabRefused, match="one that is closed"):
        tabs.close(job_id)


def test_a_wish_to_close_is_confirmed_by_enough_nodes_that_see_it_and_returns_a_window_later(scene: Scene) -> None:
    world, (spec, job_id) = scene.world, scene.world.facts(scene.job)
    tabs = world.user(scene.tabs._chain, b"\x5b")
    closing_tab = TabState(account=tabs.address, units=Uint64(1), closing=True)
    tabs.open(spec, scene.terms, Wei(ETHER // 2))
    with pytest.raises(TabRefused, match="a wish to close"):
        tabs.confirm(spec, world.ask(scene.job, closing_tab))
    assert tabs.close(job_id)[0] is Closing.REQUESTED
    assert not tabs.confirm(spec, world.ask(scene.job, closing_tab)), "the wish is in no final block yet"
    world.pass_time(1)
    other = replace(closing_tab, account=scene.tabs.address)
    for ask in (
        world.ask(scene.job, closing_tab, silent=2),
        world.ask(scene.job, replace(closing_tab, closing=False)),
        world.ask(scene.job, other),
    ):
        assert not tabs.confirm(spec, ask)
    assert tabs.close(job_id)[0] is Closing.WAITS
    assert tabs.confirm(spec, world.ask(scene.job, closing_tab, silent=1))
    what, found = tabs.close(job_id)
    assert (what, found.closable_at - found.now <= scene.terms.redemption_window) == (Closing.CONFIRMED, True)
    assert tabs.confirm(spec, world.ask(scene.job, closing_tab, silent=3)), "the chain has it already"
    world.pass_time(scene.terms.redemption_window + 1)
    assert tabs.close(job_id)[0] is Closing.RETURNED


def test_what_a_node_says_of_a_service_from_the_chain_reads_as_it_was_written(scene: Scene) -> None:
    chain, (_, job_id) = scene.tabs._chain, scene.world.facts(scene.job)
    found = chain.sessions_at(chain.head()).service(job_id)
    renewal = Renewal(
        job_id=job_id, nonce=ZERO_HASH, block_number=Uint64(1), block_time=1, redeemed=found.redeemed, tabs=()
    )
    assert decode_canonical(Renewal, renewal.canonical()) == renewal


def test_a_removed_node_holds_up_no_wish_to_close_that_enough_others_confirm(scene: Scene) -> None:
    world, (spec, job_id) = scene.world, scene.world.facts(scene.job)
    tabs = world.user(scene.tabs._chain, b"\x5c")
    tabs.open(spec, scene.terms, Wei(ETHER // 2))
    tabs.close(job_id)
    world.remove(scene.job, 0)
    world.pass_time(1)
    closing_tab = TabState(account=tabs.address, units=Uint64(1), closing=True)
    assert tabs.confirm(spec, world.ask(scene.job, closing_tab))
    assert tabs.close(job_id)[0] is Closing.CONFIRMED
