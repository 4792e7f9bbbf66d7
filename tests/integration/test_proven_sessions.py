"""Services and tabs by storage proof on a real chain: what a renewal says of them, no endpoint can alter."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import pytest
from msgspec.structs import replace

from scripts.benchmarks._gas_accounts import ETHER
from scripts.benchmarks._gas_world import Job
from scripts.benchmarks._session_gas import LEASE, PER_UNIT, WINDOW, SessionWorld
from sealmarket.chain import Chain, NodeDistrusted
from sealmarket.chain.deploy import contract_address
from sealmarket.chain.errors import NoProofs, NoSessions
from sealmarket.chain.proof import MOST_SLOTS, ProofRefused
from sealmarket.chain.quorum import ChainTrust
from sealmarket.chain.session_events import (
    CloseRequested,
    RoyaltiesPaid,
    ServiceOpened,
    StatementRedeemed,
    TabClosed,
    TabFunded,
)
from sealmarket.chain.sessions import NO_SERVICE, NO_TAB, ServiceState, Tab
from sealmarket.client.tabs import TabRefused, opened_terms
from sealmarket.protocol.book import AddressBook, FinalityRule
from sealmarket_enclave.protocol.codec import ZERO_ADDRESS, Address, Bytes32, HexBytes, Uint64, Wei
from sealmarket_enclave.protocol.hashing import keccak
from sealmarket_enclave.protocol.numbers import JobId
from sealmarket_enclave.protocol.session import MAX_TABS, Entry, SignedStatement, Statement
from sealmarket_localnet import chains
from sealmarket_localnet.processes import Supervisor
from tests.chain.faulty_rpc import Proxy, faulty, real, says
from tests.client.bundles import Case
from tests.integration.test_proven_view import LIES, edited

pytestmark = [pytest.mark.loopback, pytest.mark.timeout(300)]


class Served(SessionWorld):
    """A market with one service: a tab that pays, one whose account asked to close, one that has returned."""

    def begin(self) -> Job:
        job, terms = self._accepted_service()
        spec, job_id = self._spec(job), self._job_id(job)
        self._send(self.sessions.open_service(spec, self._enclave(job), terms))
        self._send(self.sessions.bond(ZERO_ADDRESS, job_id, Wei(LEASE * PER_UNIT)), job.provider)
        self.users = [self._consumer() for _ in range(3)]
        for user in self.users:
            self._send(self.sessions.fund_tab(spec, terms, user.address, Wei(ETHER)), user)
        self.take(job, 5_000, last=False)
        self._send(self.sessions.request_close(job_id), self.users[1])
        self._send(self.sessions.pay_royalties(spec, terms))
        self.take(job, 7_000, last=True)
        self._send(self.sessions.close_tab(job_id, self.users[2].address))
        self._rpc.call("anvil_mine", "0x2")
        return job

    def take(self, job: Job, units: int, *, last: bool) -> None:
        """The enclave's statement over the first and the third account, the third's entry last where asked."""
        entries = tuple(
            Entry(account=self.users[place].address, units=Uint64(units), last=last and place == 2) for place in (0, 2)
        )
        made = Statement(job_id=self._job_id(job), total=Uint64(2 * units), last=False, entries=entries)
        self._send(
            self.sessions.redeem(SignedStatement(statement=made, signature=HexBytes(self._sign(job.enclave, made))))
        )

    def id_of(self, job: Job) -> JobId:
        return self._job_id(job)

    def book(self) -> AddressBook:
        registry, committee, extension, endings, market, sessions = (
            contract_address(self.sender, nonce) for nonce in range(6)
        )
        return replace(
            Case().book,
            chain_id=self.chain_id,
            registry=registry,
            committee=committee,
            extension=extension,
            endings=endings,
            market=market,
            sessions=sessions,
            finality=FinalityRule(kind="depth", depth=1),
        )


@dataclass
class Scene:
    url: str
    world: Served
    book: AddressBook
    job_id: JobId
    accounts: tuple[Address, ...]
    """Of the three tabs, and one that never had one."""

    def reader(self, *urls: str, **trust: Any) -> Chain:
        return Chain(self.book, ",".join(urls or (self.url,)), trust=ChainTrust(**trust), pause=lambda _seconds: None)

    def said(self, chain: Chain) -> tuple[ServiceState, list[Tab]]:
        """What the chain's reader says of the service and of each account, at its final block."""
        sessions = chain.trusted_sessions(chain.final())
        sessions.prepare(self.job_id, self.accounts)
        return sessions.service(self.job_id), [sessions.tab(self.job_id, account) for account in self.accounts]


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    with Supervisor(tmp_path_factory.mktemp("chain")) as programs:
        url = chains.anvil(programs, "--block-time", "3600").url
        world = Served(url)
        try:
            world.warm_up()
            job_id = world.id_of(world.begin())
            accounts = (*(user.address for user in world.users), Address(b"\x77" * 20))
            yield Scene(url, world, world.book(), job_id, accounts)
        finally:
            world.disconnect()


@pytest.fixture
def proxy(scene: Scene) -> Iterator[Proxy]:
    with faulty(real(scene.url)) as made:
        yield made


# --- refusals ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", LIES)
def test_an_endpoint_that_alters_what_proves_a_service_is_refused(scene: Scene, proxy: Proxy, name: str) -> None:
    proxy.fault = edited(*LIES[name])
    with closing(scene.reader(proxy.url)) as chain, pytest.raises(ProofRefused):
        scene.said(chain)


def test_an_endpoint_that_answers_calls_falsely_cannot_raise_a_limit(scene: Scene, proxy: Proxy) -> None:
    """The case of an endpoint that says of every tab that it is large and open, and that all was redeemed."""
    proxy.fault = edited("eth_call", lambda _asked, answer: "0x" + "00" * 31 + "7f" + answer[66:])
    with closing(scene.reader(scene.url)) as honest, closing(scene.reader(proxy.url)) as lied_to:
        assert scene.said(lied_to) == scene.said(honest)
        assert not [asked for asked in proxy.asked if asked.method == "eth_call"]
    with closing(scene.reader(proxy.url, proofs=False)) as believing:
        assert believing.trusted_sessions(believing.final()).tab(scene.job_id, scene.accounts[3]).limit == 0x7F


def test_another_contract_in_the_place_of_sessions_is_not_read(scene: Scene) -> None:
    """The storage of another contract could hold any limit at these places."""
    book = replace(scene.book, sessions=scene.book.registry)
    with closing(Chain(book, scene.url)) as chain, pytest.raises(NodeDistrusted, match="Sessions, code"):
        chain.trusted_sessions(chain.final()).service(scene.job_id)


def test_sessions_of_another_market_are_not_read(scene: Scene) -> None:
    book = replace(scene.book, market=scene.book.registry)
    with closing(Chain(book, scene.url)) as chain, pytest.raises(NodeDistrusted, match="Sessions"):
        chain.trusted_sessions(chain.final()).service(scene.job_id)


def test_a_market_without_sessions_has_none_to_prove(scene: Scene) -> None:
    with closing(Chain(replace(scene.book, sessions=None), scene.url)) as chain, pytest.raises(NoSessions):
        chain.trusted_sessions(chain.final())


def test_an_endpoint_without_proofs_says_nothing_of_services(scene: Scene, proxy: Proxy) -> None:
    refuse = says(-32601, "the method does not exist")
    proxy.fault = lambda asked: refuse(asked) if asked.method == "eth_getProof" else None
    with closing(scene.reader(proxy.url)) as chain, pytest.raises(NoProofs, match="gives no storage proof"):
        scene.said(chain)


# --- what is proven ---------------------------------------------------------------------------------------------


def test_what_is_proven_of_a_service_and_its_tabs_is_what_the_contract_answers(scene: Scene) -> None:
    with closing(scene.reader()) as chain:
        block = chain.final()
        proven, called = chain.trusted_sessions(block), chain.sessions_at(block)
        found = proven.service(scene.job_id)
        assert found == called.service(scene.job_id)
        assert (found.redeemed, found.credited, found.redemption_window) == (14_000, 10_000, WINDOW)
        tabs = [proven.tab(scene.job_id, account) for account in scene.accounts]
        assert tabs == [called.tab(scene.job_id, account) for account in scene.accounts]
        paying, asked, returned, never = tabs
        assert (bool(paying.paid), paying.closing) == (True, False)
        assert (asked.requested_block > 0, asked.closing) == (True, True)
        assert (returned.left, returned.closing, never) == (0, True, NO_TAB)


def test_what_was_never_written_is_proven_absent(scene: Scene) -> None:
    with closing(scene.reader()) as chain:
        sessions = chain.trusted_sessions(chain.final())
        other = JobId(Bytes32(keccak(b"no service")))
        assert (sessions.service(other), sessions.tab(other, scene.accounts[0])) == (NO_SERVICE, NO_TAB)


def test_a_whole_renewal_takes_no_more_calls_than_its_slots_fill(scene: Scene, proxy: Proxy) -> None:
    accounts = [Address(place.to_bytes(20)) for place in range(1, MAX_TABS + 1)]
    with closing(scene.reader(proxy.url)) as chain:
        sessions = chain.trusted_sessions(chain.final())
        sessions.prepare(scene.job_id, accounts)
        sessions.service(scene.job_id)
        for account in accounts:
            sessions.tab(scene.job_id, account)
    asked = [one.method for one in proxy.asked]
    assert asked.count("eth_getProof") == -(-(MAX_TABS + 5) // MOST_SLOTS)
    assert asked.count("eth_call") == 0


@pytest.mark.parametrize("name", LIES)
def test_one_lying_endpoint_of_three_changes_nothing_of_a_renewal(scene: Scene, proxy: Proxy, name: str) -> None:
    """It is passed over for a block on which the others agree, and left out where it shows its own head."""
    proxy.fault = edited(*LIES[name])
    with closing(scene.reader(proxy.url, scene.url, scene.url)) as chain, closing(scene.reader()) as honest:
        assert scene.said(chain) == scene.said(honest)
        found = chain.heads(lambda view: chain.trusted_sessions(view.block).service(scene.job_id))
        expected = honest.trusted_sessions(honest.head()).service(scene.job_id)
        assert {one.value for one in found} == {expected}
        assert len([one for one in found if one.endpoint != proxy.url]) == 2


def test_a_node_that_proves_logs_follows_the_chain_beyond_the_opening_of_a_service(scene: Scene) -> None:
    with closing(scene.reader(proofs=False)) as plain, closing(scene.reader()) as proving:
        last = plain.final().number
        told, proven = plain.events(0, last), proving.events(0, last)
    assert proven == told
    kinds = {type(event) for event in proven}
    assert {ServiceOpened, TabFunded, StatementRedeemed, CloseRequested, RoyaltiesPaid, TabClosed} <= kinds


def test_the_terms_of_a_service_are_those_of_its_opening(scene: Scene) -> None:
    with closing(scene.reader()) as chain:
        found = chain.service_opened(scene.job_id, chain.final())
        assert found is not None
        assert (found.job_id, found.terms.lease) == (scene.job_id, LEASE)
        assert opened_terms(chain, scene.job_id) == found.terms
        with pytest.raises(TabRefused, match="an open service"):
            opened_terms(chain, JobId(Bytes32(b"\x09" * 32)))
    with closing(Chain(replace(scene.book, sessions=None), scene.url)) as chain, pytest.raises(NoSessions):
        chain.service_opened(scene.job_id, chain.final())
