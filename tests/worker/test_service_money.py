"""A service's money: what a host sends for it, where the chain stands, and what is sent again after a kill: nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from msgspec.structs import replace as with_terms

from sealmarket.chain import Reverted
from sealmarket.chain.calls import Call
from sealmarket.chain.contracts import MarketContract
from sealmarket.chain.errors import ChainUnavailable
from sealmarket.chain.model import Fault
from sealmarket.chain.sessions import NO_SERVICE, ServiceState, SessionsContract
from sealmarket.client.consumer_sets import ConsumerSets
from sealmarket.client.renewals import SignedRenewals
from sealmarket.protocol.merkle import Tree, account_leaf, verify
from sealmarket.protocol.transitions import Status
from sealmarket.service.errors import ServiceUnavailable
from sealmarket_enclave.protocol.codec import ZERO_HASH, Address, Bytes32, HexBytes, Uint64, Wei
from sealmarket_enclave.protocol.numbers import JobId
from sealmarket_enclave.protocol.session import Entry, Renewal, SessionTerms, SignedStatement, Statement
from sealmarket_worker.hosting import StatementLog
from sealmarket_worker.service_money import RECORDS, STATEMENTS, ServiceMoney, ServiceRecord, Treasury
from tests.enclave.scene import CHAIN_ID, MARKET
from tests.enclave.session.services import service_scene, terms_of
from tests.worker.twins import HostTwin

ONE, TWO = Address(b"\x01" * 20), Address(b"\x02" * 20)
SIGNER, PROVIDER = Address(b"\x0e" * 20), Address(b"\x0f" * 20)


class World:
    """A host's chain, on which the test says what `Sessions` has recorded, and what was sent."""

    def __init__(self, folder: Path) -> None:
        self.scene = service_scene(folder / "scene")
        self.host = HostTwin(self.scene, folder / "host")
        self.chain, self.folder = self.host.chain, self.host.folder
        self.job_id = self.host.match()
        self.terms: SessionTerms = terms_of(self.scene.spec.assets[0].asset_id)
        self.record = ServiceRecord(
            spec=self.scene.spec,
            terms=self.terms,
            evidence_hash=Bytes32(b"\x11" * 32),
            enclave_signer=SIGNER,
            enclave_key_hash=Bytes32(b"\x22" * 32),
        )
        self.statements = StatementLog(self.folder / STATEMENTS, self.job_id)
        self.sent: list[str] = []
        self.takes: Callable[[str], None] = lambda _what: None
        self.treasury = Treasury(self.chain, self.send, self.folder)
        book = self.chain.book
        assert book.sessions is not None
        self.contract = SessionsContract(book.sessions, MarketContract(book.market, book.chain_id))

    @property
    def money(self) -> ServiceMoney:
        return self.treasury.of(self.record)

    def send(self, call: Call) -> None:
        self.takes(call.describe())
        self.sent.append(call.describe())

    def state(self, **changes: object) -> None:
        """The service as it stands on chain, beside what a fresh one of these terms has."""
        fresh: dict[str, object] = {
            "provider": PROVIDER,
            "enclave_signer": SIGNER,
            "lease": self.terms.lease,
            "lease_seconds": 600,
            "redemption_window": 6000,
            "end": self.chain.head().timestamp + 10_000,
            "epoch": 1,
            "unit_price": Wei(2),
            "royalties": Wei(1),
        }
        self.set(replace(NO_SERVICE, **(fresh | changes)))  # type: ignore[arg-type]

    def set(self, service: ServiceState) -> None:
        self.chain.set_service(self.job_id, service, {})

    def keep(self, total: int, *entries: tuple[Address, int]) -> None:
        made = tuple(Entry(account=who, units=Uint64(units), last=False) for who, units in entries)
        statement = Statement(job_id=JobId(self.job_id), total=Uint64(total), last=False, entries=made)
        self.statements.keep(SignedStatement(statement=statement, signature=HexBytes(bytes(65))))

    def tend(self, *, served: bool = False) -> list[str]:
        """One look at services that are over; what was sent in it, and which records are left."""
        self.sent.clear()
        self.treasury.tend(lambda _job: served)
        return self.sent

    @property
    def records(self) -> int:
        return len(list((self.folder / RECORDS).glob("*.json")))


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    yield made
    made.host.close()


def refuse(name: str) -> Callable[[str], None]:
    def takes(_what: str) -> None:
        raise Reverted(name, {}, f"{name} was raised", "look")

    return takes


def silent(_what: str) -> None:
    raise ChainUnavailable("http://node", "no answer")


def test_a_service_that_cannot_be_opened_now_is_not_open_and_is_tried_again(world: World) -> None:
    world.takes = silent
    assert not world.money.open()
    world.takes = refuse("UnexpectedStatus")
    assert not world.money.open()


def test_a_service_is_opened_and_its_bond_filled_up_and_neither_again_after_a_kill(world: World) -> None:
    def opened(what: str) -> None:
        if what == "Sessions.openService":
            world.state()

    world.takes = opened
    assert world.money.open()
    assert world.sent == ["Sessions.openService", "Market.transferAndCall"]
    world.sent.clear()
    world.state(bond=Wei(400))  # the host was killed after an earlier bond of less
    assert world.money.open()
    assert world.sent == ["Market.transferAndCall"]
    world.sent.clear()
    world.state(bond=Wei(1000))
    assert world.money.open()
    assert world.sent == []


def test_a_statement_that_the_chain_refuses_is_not_posted_and_one_that_it_has_is(world: World) -> None:
    world.keep(10, (ONE, 10))
    (signed,) = world.statements.all()
    for takes, posted in ((refuse("WrongEnclave"), False), (silent, False), (refuse("NothingToDo"), True)):
        world.takes = takes
        assert world.money.post(signed) is posted


@pytest.mark.parametrize(("fee", "state", "pays"), [
    (0, {}, False),
    (5, {"bond": Wei(1009)}, False),  # 2 fees of 5 would leave less than tabs ask for
    (5, {"bond": Wei(2000), "renewed_at": 1 << 39}, False),
    (5, {"bond": Wei(2000), "renewed_block": 9}, False),
    (5, {"bond": Wei(1010)}, True),
])  # fmt: skip
def test_nodes_are_paid_once_in_half_a_lease_from_what_is_above_the_least_bond(
    world: World, fee: int, state: dict[str, object], pays: bool
) -> None:
    world.record = with_terms(world.record, terms=with_terms(world.terms, renewal_fee=Wei(fee)))
    world.state(renewal_fee=Wei(fee), **state)
    renewal = Renewal(
        job_id=JobId(world.job_id), nonce=ZERO_HASH, block_number=Uint64(9), block_time=1, redeemed=Uint64(0), tabs=()
    )
    signature = bytes(64) + b"\x1b"
    found = SignedRenewals(renewal.canonical(), (signature, signature), (0, 2))
    world.money.claim(found, world.chain.book.committees[0])
    assert world.sent == (["Sessions.claimRenewal"] if pays else [])


def test_a_service_that_is_served_is_left_alone(world: World) -> None:
    world.money  # noqa: B018 - writes the record
    world.state(last=True, bond=Wei(7))
    assert world.tend(served=True) == []
    assert world.records == 1


def test_after_a_lost_enclave_each_accounts_last_entry_is_posted_and_the_bond_waits_for_the_window(
    world: World,
) -> None:
    world.money  # noqa: B018 - writes the record
    world.keep(10, (ONE, 10))
    world.keep(20, (ONE, 20))
    world.keep(25, (TWO, 5))
    world.keep(30, (TWO, 10))
    world.state(redeemed=Uint64(0), bond=Wei(1000))
    world.chain.end(JobId(world.job_id), Status.EXPIRED, Fault.PROVIDER_SILENT)
    assert world.tend() == ["Sessions.redeem", "Sessions.redeem", "Sessions.endService"]
    assert world.records == 1
    now = world.chain.head().timestamp
    world.state(redeemed=Uint64(30), credited=Uint64(30), bond=Wei(1000), end=now - 6001)
    assert world.tend() == ["Sessions.takeBond"]
    assert world.records == 0


def test_after_its_last_statement_owners_are_paid_and_the_bond_returns_at_once(world: World) -> None:
    world.money  # noqa: B018 - writes the record
    world.keep(30, (ONE, 30))
    world.state(redeemed=Uint64(30), bond=Wei(1000), last=True, end=world.chain.head().timestamp)
    assert world.tend() == ["Sessions.redeem", "Sessions.payRoyalties", "Sessions.takeBond"]
    assert world.records == 0
    assert list(world.statements.all()) == []


def test_a_last_statement_that_the_chain_did_not_take_keeps_the_bond_and_the_record_until_it_does(world: World) -> None:
    world.money  # noqa: B018 - writes the record
    world.keep(30, (ONE, 20))
    world.keep(30, (TWO, 10))
    world.state(redeemed=Uint64(30), credited=Uint64(30), bond=Wei(1000), last=True, end=world.chain.head().timestamp)
    calls: list[str] = []

    def takes_the_newest_alone(what: str) -> None:
        calls.append(what)
        if len(calls) > 1:
            raise ChainUnavailable("http://node", "no answer")

    world.takes = takes_the_newest_alone
    assert world.tend() == ["Sessions.redeem"]
    assert calls == ["Sessions.redeem", "Sessions.redeem"], "nothing else is tried before the chain has both"
    assert world.records == 1
    world.takes = lambda _what: None
    assert world.tend() == ["Sessions.redeem", "Sessions.redeem", "Sessions.takeBond"]
    assert world.records == 0


def test_a_silent_chain_leaves_the_record_for_the_next_look(world: World) -> None:
    world.money  # noqa: B018 - writes the record
    world.state(bond=Wei(1000), last=True, end=0)
    world.takes = silent
    assert world.tend() == []
    assert world.records == 1


def test_a_job_that_never_opened_a_service_leaves_nothing_behind_once_it_is_over(world: World) -> None:
    world.money  # noqa: B018 - writes the record
    assert world.tend() == []
    assert world.records == 0


class Lists:
    """A store with one list."""

    def __init__(self, tree: Tree) -> None:
        self.tree, self.silent = tree, False

    def find_leaves(self, root: Bytes32) -> frozenset[Bytes32] | None:
        if self.silent:
            raise ServiceUnavailable("store", "http://store", "no answer")
        return frozenset(self.tree.leaves) if root == self.tree.root else None


def test_accounts_outside_a_consumer_set_have_no_path_and_those_in_it_have_one(world: World) -> None:
    spec, tree = world.scene.spec, Tree(map(account_leaf, (ONE, PROVIDER)))
    lists = Lists(tree)
    sets = ConsumerSets(world.chain, lists, spec)
    assert sets.paths([ONE]) == ()  # every set is open
    use, asset = spec.assets[0], world.scene.assets[0]
    world.chain.publish(use.asset_id, use.owner, asset.seal, with_terms(asset.policy.terms, consumer_root=tree.root))
    world.chain.finalise()
    lists.silent = True
    assert sets.paths([ONE]) == (((),),)
    lists.silent = False
    (inside,), (outside,) = sets.paths([ONE, TWO])
    assert verify(tree.root, account_leaf(ONE), inside)
    assert outside == ()
    assert world.job_id == spec.job_id(CHAIN_ID, MARKET)
