"""The host of a service: what its users, its nodes and its end do over a real enclave and a real listener."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import httpx
import pytest

from sealmarket.chain.errors import ChainUnavailable
from sealmarket.client.renewals import SignedRenewals
from sealmarket.protocol.book import AddressBook, Committee, Member
from sealmarket.protocol.problems import PREFIX, TYPES
from sealmarket.protocol.renewals import RenewalRequest
from sealmarket.protocol.services import EvidenceRequest
from sealmarket_enclave.protocol.codec import Address, Bytes32, HexBytes, Uint64, decode
from sealmarket_enclave.protocol.errors import SealmarketError
from sealmarket_enclave.protocol.hashing import sha256
from sealmarket_enclave.protocol.numbers import JobId
from sealmarket_enclave.protocol.session import (
    MAX_TABS,
    Entry,
    SessionCode,
    SignedRenewal,
    SignedStatement,
    Statement,
    TabState,
)
from sealmarket_enclave.protocol.signing import address_of, sign
from sealmarket_enclave.runtime.channel import Finished, FromEnclave, FromHost, Nonce
from sealmarket_enclave.runtime.errors import ChannelError
from sealmarket_enclave.sealed.hpke import PrivateKey
from sealmarket_enclave.sealed.session import MAX_SEALED, AnswerReader, FrameKind
from sealmarket_worker.errors import EnclaveLost, ServiceOver
from sealmarket_worker.gateway import MOST_OF_PEER, Gateway, Hosted, Refused
from sealmarket_worker.hosting import NEWCOMERS, NodeRenewals, Redeeming, ServiceRun, StatementLog
from sealmarket_worker.link import ServiceLink
from sealmarket_worker.listener import Server
from tests.enclave.scene import CHAIN_ID, MARKET
from tests.enclave.session.services import Account, Service, Session, scratch, service_scene
from tests.patience import PATIENCE, until

pytestmark = pytest.mark.loopback

CODE = """\
import time
def serve(session):
    for request in session.requests():
        request.send(request.body)
        if request.body == b"wait":
            time.sleep(1000)
        request.done(1, 1)
"""
ALICE = Account(0x61)


class TwinNodes:
    """Nodes that sign what they are asked for, for the accounts that have tabs."""

    def __init__(self, service: Service) -> None:
        self._service, self.block, self.silent = service, 0, False
        self.asked: list[list[Address]] = []
        self.fails: list[SealmarketError] = []

    def fetch(self, nonce: Bytes32, wanted: Sequence[Address]) -> SignedRenewals | None:
        self.asked.append(list(wanted))
        if self.fails:
            raise self.fails.pop()
        if self.silent:
            return None
        self.block += 1
        tab = TabState(account=ALICE.address, units=Uint64(500), closing=False)
        renewal = self._service.renewal(nonce, tab, block=self.block)
        digest = renewal.digest(CHAIN_ID, MARKET)
        signatures = tuple(sign(digest, self._service.scene.nodes[node].signing) for node in (0, 1))
        return SignedRenewals(renewal.canonical(), signatures)


class Host:
    """An enclave that serves, its link, its gateway and its listener."""

    def __init__(self, folder: Path) -> None:
        self.service = Service(scratch(folder), service_scene(folder / "scene", CODE))
        self.service.open()
        self.log = StatementLog(folder / "statements", self.service.job_id)
        self.link = ServiceLink(self.service.host.send, self.log.keep)
        self.nodes, self.drain, self.time = TwinNodes(self.service), threading.Event(), 1000
        self.run = ServiceRun(
            self.link, self.nodes, self.service.terms, lambda: self.time, self.drain, poll_seconds=0.02
        )
        self.rest: list[FromEnclave] = []
        self.hearing = threading.Thread(target=self._hear, daemon=True)
        gateway = Gateway()
        gateway.add(self.service.job_id, Hosted(self.link, lambda: b"{}", lambda key: key.raw))
        self.server = Server(gateway, "127.0.0.1", 0)
        self.base = f"{self.server.url}/v1/services/{self.service.job_id}"

    def _hear(self) -> None:
        try:
            while not (self.rest and isinstance(self.rest[-1], Finished)):
                message = self.service.host.receive()
                if not self.link.hear(message):
                    self.rest.append(message)
        except ChannelError:
            self.link.close()

    def __enter__(self) -> Host:
        self.hearing.start()
        self.server.__enter__()
        self.run.__enter__()
        until("a renewal was taken", lambda: self.run.renewed)
        return self

    def __exit__(self, *_: object) -> None:
        self.run.__exit__()
        self.server.__exit__()
        self.service.host.hang_up()
        self.hearing.join(PATIENCE)
        self.service.close()

    def ask(self, given: Session, body: bytes) -> FrameKind:
        """Ask over HTTP, and check the answer."""
        sealed, secret = self.service.seal(given, body)
        answer = httpx.post(f"{self.base}/requests", content=sealed, timeout=PATIENCE)
        assert answer.status_code == 200, answer.text
        reader = AnswerReader(secret, sha256(sealed))
        frames = list(reader.feed(answer.content))
        reader.close()
        return frames[-1].kind


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    with Host(tmp_path_factory.mktemp("host")) as made:
        yield made


@pytest.mark.parametrize(("method", "path", "status"), [
    ("GET", "/v1/other", 404),
    ("GET", "/v1/services/0x12", 422),
    ("GET", f"/v1/services/0x{'00' * 32}", 404),
    ("DELETE", "", 405),
    ("GET", "/requests", 405),
    ("POST", "/nothing", 405),
])  # fmt: skip
def test_what_is_no_request_of_a_user_is_refused(host: Host, method: str, path: str, status: int) -> None:
    where = f"{host.server.url}{path}" if path.startswith("/v1") else host.base + path
    answer = httpx.request(method, where, timeout=PATIENCE)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    said = answer.json()
    assert said["type"].removeprefix(PREFIX) in TYPES
    assert said["status"] == status
    assert said["detail"]


def test_a_request_that_does_not_open_or_is_too_long_is_refused_with_a_problem(host: Host) -> None:
    assert httpx.post(f"{host.base}/requests", content=b"x" * 2000, timeout=PATIENCE).status_code == 400
    assert httpx.post(f"{host.base}/requests", content=bytes(MAX_SEALED + 1), timeout=PATIENCE).status_code == 413


def test_evidence_is_sealed_to_a_users_key_and_to_nothing_else(host: Host) -> None:
    key = PrivateKey.generate().public
    right = EvidenceRequest(key=HexBytes(key.raw)).canonical()
    assert httpx.post(f"{host.base}/evidence", content=right, timeout=PATIENCE).content == key.raw
    for wrong in (b"{}", b"", b"x" * 5000, EvidenceRequest(key=HexBytes(bytes(32))).canonical()):
        assert httpx.post(f"{host.base}/evidence", content=wrong, timeout=PATIENCE).status_code in (413, 422)


def test_a_sealed_request_is_answered_over_http_and_refusals_are_sealed_too(host: Host) -> None:
    given = host.service.session(ALICE)
    assert host.ask(given, b"hello") is FrameKind.RECEIPT
    assert host.ask(given, b"the same number again") is FrameKind.REFUSAL


def test_a_user_that_hangs_up_ends_its_answer(host: Host) -> None:
    given = host.service.session(ALICE)
    sealed, _ = host.service.seal(given, b"wait")
    with httpx.stream("POST", f"{host.base}/requests", content=sealed, timeout=PATIENCE) as answer:
        next(answer.iter_raw())
    # Its process is gone with it, and the account's next request is answered.
    assert host.ask(host.service.session(ALICE), b"next") is FrameKind.RECEIPT


def test_a_peer_has_a_bounded_number_of_answers_and_others_have_theirs() -> None:
    gateway = Gateway()
    with ExitStack() as places:
        for _ in range(MOST_OF_PEER):
            places.enter_context(gateway._place("peer"))
        with pytest.raises(Refused, match="run already"):
            places.enter_context(gateway._place("peer"))
        places.enter_context(gateway._place("another peer"))
    assert not gateway._running


def test_a_statement_is_on_disk_before_it_is_passed_on_and_a_torn_line_is_left_out(host: Host, tmp_path: Path) -> None:
    signed = host.link.state([ALICE.address])
    assert list(host.log.all())[-1] == signed == host.link.statement
    other = StatementLog(tmp_path, host.service.job_id)
    other.keep(signed)
    (path,) = tmp_path.iterdir()
    path.write_bytes(path.read_bytes() + b"\n" + signed.canonical()[:50])
    other.keep(signed)
    assert list(other.all()) == [signed]
    restarted = StatementLog(tmp_path, host.service.job_id)
    restarted.keep(signed)
    assert list(restarted.all()) == [signed, signed]
    assert isinstance(signed, SignedStatement)
    assert isinstance(signed.statement, Statement)


def test_a_log_that_grew_keeps_the_newest_statement_and_each_accounts_last_entry(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sealmarket_worker.hosting.MOST_GROWTH", 20_000)
    log = StatementLog(tmp_path, JobId(Bytes32(bytes(32))))
    link, accounts = LinkTwin(), [Address(bytes([place]) * 20) for place in range(1, 11)]
    for units in range(1, 21):
        for account in accounts:
            link.units[account] = units
            log.keep(link.state([account]))
    assert len(list(log.all())) < 100, "200 were kept one after the other"
    found = {entry.account: int(entry.units) for one in log.needed() for entry in one.statement.entries}
    assert (found, len(log.needed())) == (dict.fromkeys(accounts, 20), len(accounts))
    assert log.needed()[-1] == link.statement
    log.remove()
    assert list(log.all()) == []


class LinkTwin:
    """A link to an enclave that served so many units to each account; an entry is due once after it rose."""

    def __init__(self, most: int = 1_000) -> None:
        self.most = most
        self.units: dict[Address, int] = {}
        self.closing: set[Address] = set()
        self.statement: SignedStatement | None = None
        self._said: dict[Address, int] = {}

    def state(self, accounts: Sequence[Address] = ()) -> SignedStatement:
        due = [one for one, units in self.units.items() if units > self._said.get(one, 0)]
        named = list(accounts or due)[: self.most]
        self._said |= {one: self.units[one] for one in named}
        entries = tuple(Entry(account=one, units=Uint64(self.units[one]), last=one in self.closing) for one in named)
        total = Uint64(sum(self.units.values()))
        statement = Statement(job_id=JobId(Bytes32(bytes(32))), total=total, last=False, entries=entries)
        self.statement = SignedStatement(statement=statement, signature=HexBytes(bytes(65)))
        return self.statement

    def close(self, account: Address) -> None:
        """A renewal came in which the tab closes: the enclave says so by itself."""
        self.closing.add(account)
        self.state([account])


def test_a_statement_is_posted_in_time_with_every_account_that_no_posted_one_has(host: Host) -> None:
    link, posted, takes = LinkTwin(), list[Statement](), [False]

    def post(signed: SignedStatement) -> bool:
        posted.append(signed.statement)
        return takes[0]

    redeeming = Redeeming(cast("ServiceLink", link), host.service.terms, post)  # a lease of 1,000 units and 600 s
    assert not redeeming.turn(1.0)
    assert posted == []
    link.units[ALICE.address] = 10
    assert not redeeming.turn(2.0)
    assert [one.total for one in posted] == [10]  # the first is due at once; the chain does not take it
    takes[0] = True
    link.units[Address(b"\x02" * 20)] = 5
    assert redeeming.turn(3.0)
    assert [(entry.account, entry.units) for entry in posted[-1].entries] == [
        (ALICE.address, 10),
        (Address(b"\x02" * 20), 5),
    ]
    link.units[ALICE.address] = 20
    assert not redeeming.turn(4.0)
    link.units[ALICE.address] = 515
    assert redeeming.turn(5.0)
    link.units[ALICE.address] = 516
    assert not redeeming.turn(304.0)
    assert redeeming.turn(305.0)
    assert posted[-1].total == 521


def test_a_tab_that_closes_is_posted_at_once_and_once_only_though_nothing_more_was_served(host: Host) -> None:
    link, posted = LinkTwin(), list[Statement]()

    def post(signed: SignedStatement) -> bool:
        posted.append(signed.statement)
        return True

    redeeming = Redeeming(cast("ServiceLink", link), host.service.terms, post)
    link.units[ALICE.address] = 10
    assert redeeming.turn(1.0)
    link.close(ALICE.address)
    assert redeeming.turn(2.0)
    assert [(entry.account, entry.last) for entry in posted[-1].entries] == [(ALICE.address, True)]
    assert not redeeming.turn(3.0)


def test_accounts_beyond_those_of_one_statement_are_posted_by_further_ones_and_closing_ones_first(host: Host) -> None:
    link, posted, left = LinkTwin(most=MAX_TABS), list[Statement](), [0]

    def post(signed: SignedStatement) -> bool:
        left[0] -= 1
        if left[0] >= 0:
            posted.append(signed.statement)
        return left[0] >= 0

    redeeming = Redeeming(cast("ServiceLink", link), host.service.terms, post)
    accounts = [Address(place.to_bytes(20)) for place in range(1, 2 * MAX_TABS + 11)]
    link.units = dict.fromkeys(accounts, 1)
    left[0] = 2  # the chain takes two of three now
    assert redeeming.turn(1.0)
    assert [len(one.entries) for one in posted] == [MAX_TABS, MAX_TABS]
    left[0] = 9
    assert redeeming.turn(2.0)  # nothing more was served, and none is due by the clock
    assert [len(one.entries) for one in posted] == [MAX_TABS, MAX_TABS, 10]
    assert {entry.account for one in posted for entry in one.entries} == set(accounts)
    assert not redeeming.turn(3.0)

    link.units = dict.fromkeys(accounts, 2)
    link.close(accounts[-1])
    assert redeeming.turn(4.0)
    first = posted[3].entries[0]
    assert (first.account, first.last) == (accounts[-1], True)
    assert [len(one.entries) for one in posted[3:]] == [MAX_TABS, MAX_TABS, 10]


@pytest.mark.long
def test_a_host_that_drains_ends_the_service_with_its_last_statement(tmp_path: Path) -> None:
    with Host(tmp_path) as host:
        given = host.service.session(ALICE)
        assert host.ask(given, b"hello") is FrameKind.RECEIPT
        host.drain.set()
        host.hearing.join(PATIENCE)
        assert isinstance(host.rest[-1], Finished)
        assert host.rest[-1].settlement is not None
        last = list(host.log.all())[-1].statement
        assert (last.last, last.total) == (True, 2)
        with pytest.raises(ServiceOver):
            host.link.ask(b"", lambda _data, _last: None)
        assert httpx.post(f"{host.base}/requests", content=b"x", timeout=PATIENCE).status_code == 503


@pytest.mark.long
def test_an_enclave_that_is_gone_ends_every_answer_and_every_question(tmp_path: Path) -> None:
    with Host(tmp_path) as host:
        given = host.service.session(ALICE)
        sealed, _ = host.service.seal(given, b"wait")
        heard: list[tuple[bytes | None, bool]] = []
        host.link.ask(sealed, lambda data, last: heard.append((data, last)))
        until("it answers", lambda: heard)
        host.service.host.hang_up()
        until("the answer ended", lambda: heard[-1][1])
        with pytest.raises(ServiceOver):
            host.link.state()


def test_an_account_without_a_tab_is_named_to_the_nodes(host: Host) -> None:
    stranger = Account(0x77)
    given = host.service.session(stranger)
    sealed, secret = host.service.seal(given, b"hello")
    answer = httpx.post(f"{host.base}/requests", content=sealed, timeout=PATIENCE)
    reader = AnswerReader(secret, sha256(sealed))
    (refusal,) = reader.feed(answer.content)
    assert SessionCode.NO_TAB.encode() in refusal.payload
    assert stranger.address in [Address(one) for one in host.link.nonce().wanted]


def test_a_chain_or_an_enclave_that_is_silent_for_a_moment_ends_no_service(host: Host) -> None:
    before = host.run.renewed
    host.nodes.fails = [EnclaveLost("it did not answer"), ChainUnavailable("http://node", "it is silent")]
    host.run.renew_soon()
    until("the chain was silent, then the enclave", lambda: not host.nodes.fails)
    host.run.renew_soon()
    until("the service is renewed again", lambda: host.run.renewed > before)


def test_an_answer_to_a_question_that_was_given_up_is_no_answer_to_a_later_one(monkeypatch: pytest.MonkeyPatch) -> None:
    says: list[list[bytes]] = [[], [b"first", b"second"], [b"third"]]

    def send(_message: FromHost) -> None:
        for nonce in says.pop(0):
            link.hear(Nonce(nonce=nonce, wanted=()))

    monkeypatch.setattr("sealmarket_worker.link.ANSWER_SECONDS", 0.0)
    link = ServiceLink(send, lambda _signed: None)
    with pytest.raises(EnclaveLost):
        link.nonce()
    link.nonce()
    assert link.nonce().nonce == b"third"


def test_strangers_that_ask_push_no_account_with_a_tab_out_of_a_renewal(host: Host) -> None:
    asked: list[RenewalRequest] = []
    paying = [Address(place.to_bytes(20)) for place in range(1, MAX_TABS - NEWCOMERS + 1)]

    def ask(_url: str, body: bytes) -> bytes:
        asked.append(decode(RenewalRequest, body))
        tabs = (TabState(account=one, units=Uint64(1), closing=False) for one in asked[-1].accounts if one in paying)
        renewal = host.service.renewal(asked[-1].nonce, *tabs)
        signature = sign(renewal.digest(CHAIN_ID, MARKET), node.signing)
        return SignedRenewal(renewal=renewal, signature=signature).canonical()

    node = host.service.scene.nodes[0]
    member = Member(signer=address_of(node.signing.public_key), hpke_public_key=HexBytes(), url="http://node")
    committee = Committee(epoch=1, threshold=1, members=(member,))
    book = cast("AddressBook", SimpleNamespace(chain_id=CHAIN_ID, market=MARKET))
    renewals = NodeRenewals(book, committee, host.service.job_id, lambda: 1, ask)
    assert renewals.fetch(Bytes32(bytes(32)), paying) is not None
    strangers = [Address(b"\xff" * 16 + place.to_bytes(4)) for place in range(MAX_TABS)]
    assert renewals.fetch(Bytes32(bytes(32)), strangers) is not None
    assert set(paying) <= set(asked[-1].accounts)
    assert asked[-1].accounts[:NEWCOMERS] == tuple(reversed(strangers))[:NEWCOMERS]
    more = [Address(b"\xee" * 20), *paying]
    assert renewals.fetch(Bytes32(bytes(32)), more) is not None
    assert set(more) <= set(asked[-1].accounts)


def test_nodes_that_do_not_answer_hold_up_no_renewal_that_enough_others_sign(host: Host) -> None:
    over, nodes = threading.Event(), host.service.scene.nodes[:3]
    by_url = {f"http://node-{place}": node for place, node in enumerate(nodes)}

    def ask(url: str, body: bytes) -> bytes | None:
        where = url.partition("/v1/")[0]
        if where == "http://node-0":
            over.wait(PATIENCE)
            return None
        renewal = host.service.renewal(decode(RenewalRequest, body).nonce)
        signature = sign(renewal.digest(CHAIN_ID, MARKET), by_url[where].signing)
        return SignedRenewal(renewal=renewal, signature=signature).canonical()

    members = tuple(
        Member(signer=address_of(node.signing.public_key), hpke_public_key=HexBytes(), url=url)
        for url, node in by_url.items()
    )
    book = cast("AddressBook", SimpleNamespace(chain_id=CHAIN_ID, market=MARKET))
    committee = Committee(epoch=1, threshold=2, members=members)
    try:
        found = NodeRenewals(book, committee, host.service.job_id, lambda: 1, ask).fetch(Bytes32(bytes(32)), [])
        assert found is not None
        assert found.places == (1, 2)
        assert len(set(found.signatures)) == 2
    finally:
        over.set()


def test_what_a_removed_node_signs_is_in_no_renewal_however_fast_it_answers(host: Host) -> None:
    answered, nodes = threading.Event(), host.service.scene.nodes[:2]
    by_url = {f"http://node-{place}": node for place, node in enumerate(nodes)}

    def ask(url: str, body: bytes) -> bytes | None:
        where = url.partition("/v1/")[0]
        if where == "http://node-1":
            assert answered.wait(PATIENCE)
        renewal = host.service.renewal(decode(RenewalRequest, body).nonce)
        signature = sign(renewal.digest(CHAIN_ID, MARKET), by_url[where].signing)
        answered.set()
        return SignedRenewal(renewal=renewal, signature=signature).canonical()

    members = tuple(
        Member(signer=address_of(node.signing.public_key), hpke_public_key=HexBytes(), url=url)
        for url, node in by_url.items()
    )
    book = cast("AddressBook", SimpleNamespace(chain_id=CHAIN_ID, market=MARKET))
    committee = Committee(epoch=1, threshold=1, members=members)
    renewals = NodeRenewals(book, committee, host.service.job_id, lambda: 1, ask, removed=lambda: frozenset({0}))
    found = renewals.fetch(Bytes32(bytes(32)), [])
    assert found is not None
    assert found.places == (1,)
