"""Events suffice for services too: the state rebuilt from them is what the contract holds, and so is its account."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pytest

from scripts.benchmarks._gas_accounts import ETHER
from scripts.benchmarks._gas_world import Job
from scripts.benchmarks._session_gas import SERVES, WINDOW, SessionWorld
from sealmarket.chain import Chain, abi
from sealmarket_enclave.protocol.codec import ZERO_ADDRESS, ZERO_HASH, Address, HexBytes, Uint64, Wei
from sealmarket_enclave.protocol.numbers import JobId
from sealmarket_enclave.protocol.session import Entry, Renewal, SignedRenewal, SignedStatement, Statement, TabState
from sealmarket_localnet import chains
from sealmarket_localnet.processes import Supervisor
from tests.contracts import retold, session_replay
from tests.contracts.replay import read

pytestmark = [pytest.mark.loopback, pytest.mark.timeout(300)]


class BusyService(SessionWorld):
    """One service in which everything happens once."""

    def live(self) -> None:
        """Tabs, statements in the wrong order, closings, renewals, the end."""
        job, terms = self._accepted_service()
        spec, job_id = self._spec(job), self._job_id(job)
        self._send(self.sessions.open_service(spec, self._enclave(job), terms))
        self._send(self.sessions.bond(ZERO_ADDRESS, job_id, Wei(ETHER)), job.provider)
        one, two, three = accounts = [self._consumer() for _ in range(3)]
        for account in accounts:
            self._send(self.sessions.fund_tab(spec, terms, account.address, Wei(ETHER)), account)
        self._send(self.sessions.fund_tab(spec, terms, one.address, Wei(77)), two)
        early = [(one.address, 10_000, False), (self.sender, 5, False)]
        self._take(job, 40_000, [(one.address, 9_000, False), (two.address, 20_000, False)])
        self._take(job, 30_000, early)
        self._send(self.sessions.request_close(job_id), two)
        renewal = self._renewals(job_id, TabState(account=two.address, units=Uint64(1), closing=True))
        self._send(self.sessions.confirm_close(renewal, self.committee))
        self._send(self.sessions.claim_renewal(renewal, self.committee))
        self._take(job, 60_000, [(three.address, 20_000, True)])
        self._send(self.sessions.close_tab(job_id, three.address))
        self._send(self.sessions.pay_royalties(spec, terms))
        self._take(job, 70_000, [(one.address, 30_000, False)], last=True)
        self._send(self.sessions.take_bond(job_id, Wei(12_345)), job.provider)
        self.pass_time(WINDOW + 1)
        self._send(self.sessions.close_tab(job_id, one.address))

    def _take(self, job: Job, total: int, entries: Sequence[tuple[Address, int, bool]], *, last: bool = False) -> None:
        made = tuple(Entry(account=who, units=Uint64(units), last=closes) for who, units, closes in entries)
        statement = Statement(job_id=self._job_id(job), total=Uint64(total), last=last, entries=made)
        signed = SignedStatement(statement=statement, signature=HexBytes(self._sign(job.enclave, statement)))
        self._send(self.sessions.redeem(signed))

    def _renewals(self, job_id: JobId, *tabs: TabState) -> list[tuple[int, SignedRenewal]]:
        number = int(str(self._rpc.call("eth_blockNumber")), 16)
        renewal = Renewal(
            job_id=job_id,
            nonce=ZERO_HASH,
            block_number=Uint64(number),
            block_time=self._time(),
            redeemed=Uint64(0),
            tabs=tabs,
        )
        return [
            (place, SignedRenewal(renewal=renewal, signature=HexBytes(self._sign(node, renewal))))
            for place, node in enumerate(self.nodes)
        ]

    def replayed(self) -> session_replay.Sessions:
        """The state that all events so far add up to."""
        state = session_replay.Sessions()
        for name, fields, time in self.told():
            state.apply(name, fields, time)
        return state

    def told(self) -> Iterator[tuple[str, session_replay.Fields, int]]:
        """Name, fields and time of every event of the service so far."""
        logs = {"fromBlock": "0x0", "toBlock": "latest", "address": self.sessions.address.checksum}
        for log in self._rpc.call("eth_getLogs", logs):
            name, fields = read("Sessions", log)
            block = self._rpc.call("eth_getBlockByNumber", log["blockNumber"], False)
            yield name, fields, int(block["timestamp"], 16)

    def view(self, contract: str, function: str, *arguments: object) -> dict[str, object]:
        """What a view function answers now: its only result."""
        to = self.market.address if contract == "Market" else self.sessions.address
        entry = abi.load(contract).function(function, len(arguments))
        asked = {"to": to.checksum, "data": "0x" + abi.encode_call(entry, arguments).hex()}
        raw = bytes.fromhex(str(self._rpc.call("eth_call", asked, "latest"))[2:])
        (found,) = abi.decode(entry.outputs, raw, function).values()
        return dict(found)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BusyService]:
    with Supervisor(tmp_path_factory.mktemp("chain")) as programs:
        world = BusyService(chains.anvil(programs).url)
        try:
            world.warm_up()
            world.live()
            world.pass_time(1)
            yield world
        finally:
            world.disconnect()


def test_every_service_and_tab_is_what_the_events_say(world: BusyService) -> None:
    state = world.replayed()
    assert SERVES > WINDOW
    for job_id, service in state.services.items():
        found = world.view("Sessions", "serviceOf", job_id)
        for name in vars(service).keys() - {"terms"}:
            assert found[name] == getattr(service, name), name
        assert found["royalties"] == service.royalties
    assert len(state.tabs) == 3
    for (job_id, account), tab in state.tabs.items():
        assert world.view("Sessions", "tabOf", job_id, account) == vars(tab)


def test_the_rows_of_the_index_say_all_of_a_service(world: BusyService) -> None:
    chain = Chain(retold.book_of(world), world.url)
    try:
        rows = [row for row in retold.rows_of(chain) if type(row.event).__module__.endswith("session_events")]
    finally:
        chain.close()
    rebuilt = session_replay.Sessions()
    for row, (name, fields, time) in zip(rows, world.told(), strict=True):
        assert (row.name, row.time) == (name, time)
        assert retold.lacks(retold.abi_fields(row.event), fields) == [], name
        rebuilt.apply(row.name, retold.abi_fields(row.event), row.time)
    assert rebuilt.held(ZERO_ADDRESS) == world.replayed().held(ZERO_ADDRESS)


def test_the_contract_s_account_in_the_ledger_is_what_bonds_tabs_and_royalties_are(world: BusyService) -> None:
    found = world.view("Market", "accountOf", ZERO_ADDRESS, world.sessions.address)
    assert found["free"] == world.replayed().held(ZERO_ADDRESS) > 0
