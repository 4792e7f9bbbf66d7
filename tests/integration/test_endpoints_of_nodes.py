"""An oracle node over real Anvils, behind endpoints that lie, stand still or follow a chain of their own.

No share leaves on what fewer endpoints say than must agree. While enough agree, no liar keeps a release from coming.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from sealmarket.attestation.collateral.trust_anchors import TrustAnchors
from sealmarket.chain import Block, Chain
from sealmarket.chain.agreement import patience_of
from sealmarket.chain.errors import ChainError, Reverted
from sealmarket.chain.logs import topic_of
from sealmarket.chain.quorum import ChainTrust
from sealmarket.client import JobRecord, SealedAsset, read_job
from sealmarket.protocol.book import FinalityRule
from sealmarket.protocol.decisions import Outcome
from sealmarket.protocol.wire import EvidencePackage, NodeStatus
from sealmarket_devices.measure import LaunchMeasurement
from sealmarket_devices.tdx import VirtualTdx
from sealmarket_enclave.protocol.codec import HexBytes
from sealmarket_enclave.protocol.hashing import keccak
from sealmarket_enclave.protocol.job import evidence_hash, report_data, terms_digest
from sealmarket_enclave.protocol.numbers import Grade, Tee
from sealmarket_enclave.protocol.signing import address_of
from sealmarket_localnet import chains
from sealmarket_localnet.processes import Supervisor
from sealmarket_oracle import service
from sealmarket_oracle.errors import JournalError, OracleError
from sealmarket_oracle.journal import Journal, JournalIdentity
from sealmarket_oracle.keys import NodeKeys, Signer
from sealmarket_oracle.service import Node
from tests.chain.faulty_rpc import Asked, Fault, Proxy, Reply, faulty, holds, real, told
from tests.integration.market import EnclaveKeys, Market, development_account
from tests.oracle.world import Agreeing
from tests.patience import until

LAUNCH = LaunchMeasurement(image=b"\x01" * 48, runtime=b"\x02" * 48, command=b"\x03" * 48)


@dataclass
class Town:
    """A market on a chain that mines on demand, and one node of its committee at three endpoints of that chain.

    ``passed`` are seconds that the chain and every clock were moved on by; ``skew`` is how far the node's clock is off.
    """

    market: Market
    device: VirtualTdx
    sealed: SealedAsset
    folder: Path
    opened: ExitStack
    proxies: list[Proxy] = field(default_factory=list)
    passed: list[int] = field(default_factory=list)
    skew: float = 0.0
    started: int = 0

    def node(self, *proxies: Proxy, **trust: Any) -> Node:
        """A node with a journal of its own, which begins at the market's deployment."""
        self.started += 1
        market, keys = self.market, NodeKeys(Signer(self.market.nodes[0].secret), self.market.node_hpke[0])
        chain = Chain(
            market.book,
            ",".join(proxy.url for proxy in proxies),
            trust=ChainTrust(**trust),
            pause=lambda _seconds: None,
            clock=self.clock,
        )
        self.opened.callback(chain.close)
        identity = JournalIdentity(
            chain_id=market.book.chain_id,
            market=market.book.market,
            signer=keys.signer.address,
            hpke_key=market.node_hpke[0].public.digest,
            epoch=1,
            name=keccak(b"journal %d" % self.started),
        )
        journal = self.opened.enter_context(Journal(self.folder / f"node-{self.started}.sqlite", identity, None))
        roots = TrustAnchors.production().with_development(self.device.root)
        held = service.NodePolicy(roots=roots, grade_floor=Grade.SIMULATED, max_head_age_seconds=600)
        return Node(chain, journal, market.backend.store(), keys, held, Agreeing(), clock=self.clock)

    def clock(self) -> float:
        return time.time() + sum(self.passed) + self.skew

    def mine(self, blocks: int = 2) -> None:
        """Blocks without anything in them, so that what came before is final."""
        self.market.chain.rpc.call("anvil_mine", hex(blocks))

    def quoted(self) -> tuple[JobRecord, EnclaveKeys, EvidencePackage]:
        """A job whose quote is final, and whose evidence the store has."""
        market, keys = self.market, EnclaveKeys()
        job_id = market.match(market.request(self.sealed))
        record = read_job(market.chain, job_id, market.chain.head())
        self.mine()
        named: Block = market.chain.final()
        signer, key = address_of(keys.signer.public_key), bytes(keys.hpke.public.raw)
        data = report_data(job_id, signer, keccak(key), named.hash)
        package = EvidencePackage(
            job_id=job_id,
            tee=Tee.TDX,
            quote=HexBytes(self.device.guest(LAUNCH, debug=False).quote(data)),
            collateral=self.device.endorsements(),
            enclave_signer=signer,
            enclave_key=HexBytes(key),
            block_number=named.number,
            block_hash=named.hash,
        )
        posted = evidence_hash(package.quote, signer, keccak(key), named.hash)
        market.provider_sender.send(market.chain.market.quote(record.spec, posted))
        market.show(package, posted)
        self.mine()
        return record, keys, package

    def accept(self, record: JobRecord, keys: EnclaveKeys, package: EvidencePackage) -> None:
        """A quorum's acceptance, final."""
        market = self.market
        posted = evidence_hash(package.quote, package.enclave_signer, keccak(package.enclave_key), package.block_hash)
        seals = [self.sealed.seal, market.second.seal]
        core = market.decision(record.spec, keys, posted, terms_digest=terms_digest(record.spec.assets, seals))
        expiry = record.spec.decide_window + self._quoted_at(record)
        core = msgspec.structs.replace(core, expiry=min(core.expiry, expiry))
        # Not by the node of this test: its next journal knows nothing of what its last one signed.
        signed = market.signed(core, (1, 2))
        market.anybody.send(market.chain.market.decide(record.spec, signed, market.committee))
        self.mine()

    def _quoted_at(self, record: JobRecord) -> int:
        found = read_job(self.market.chain, record.job_id, self.market.chain.head()).quoted
        assert found is not None
        return self.market.chain.block(found.at.block_number).timestamp


@pytest.fixture(scope="module")
def _market(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Town]:
    folder = tmp_path_factory.mktemp("market")
    with Supervisor(folder) as programs, ExitStack() as opened:
        market = Market(chains.anvil(programs).url, folder, FinalityRule(kind="depth", depth=1))
        opened.callback(market.close)
        device = VirtualTdx(folder / "device", lambda: datetime.now(UTC))
        yield Town(market, device, market.ready(), folder, opened)


@pytest.fixture
def town(_market: Town, tmp_path: Path) -> Iterator[Town]:
    with ExitStack() as opened:
        proxies = [opened.enter_context(faulty(real(_market.market.rpc_url))) for _ in range(3)]
        yield Town(_market.market, _market.device, _market.sealed, tmp_path, opened, proxies, _market.passed)


def status(node: Node, record: JobRecord) -> NodeStatus:
    """What a node says after a look; an error of the chain is the reason why it waits."""
    try:
        node.tick()
    except (ChainError, OracleError, JournalError) as error:
        return NodeStatus(job_id=record.job_id, state="waiting", reason=error.message)
    return node.status(record.job_id)


def becomes(node: Node, record: JobRecord, state: str, meanwhile: Callable[[], object] = lambda: None) -> None:
    def look() -> bool:
        meanwhile()
        found = status(node, record)
        last.append(f"{found.state}: {found.reason}")
        return found.state == state

    last: list[str] = []
    try:
        until(f"the node has {state}", look)
    except AssertionError as error:
        raise AssertionError(last[-3:]) from error


def altered(*methods: str, edit: Callable[[Any], Any]) -> Fault:
    """The answers of some methods, changed."""

    def fault(asked: Asked) -> Reply | None:
        if asked.method not in methods:
            return None
        body = asked.upstream(asked.body)
        return told(asked, result=edit(body["result"]))

    return fault


def fabricated(first: int, name: bytes = b"made up") -> Fault:
    """A chain of its own from a block on: other hashes, everything else as it is."""

    def edit(block: Any) -> Any:
        if not isinstance(block, dict) or int(block["number"], 16) < first:
            return block
        made = {"hash": str(keccak(name + bytes.fromhex(block["hash"][2:])))}
        parent = bytes.fromhex(block["parentHash"][2:])
        return block | made | ({"parentHash": str(keccak(name + parent))} if int(block["number"], 16) > first else {})

    return altered("eth_getBlockByNumber", edit=edit)


# --- nothing leaves ---------------------------------------------------------------------------------------------


def test_two_endpoints_of_which_one_fabricates_release_nothing(town: Town) -> None:
    record, keys, package = town.quoted()
    node = town.node(*town.proxies[:2])
    becomes(node, record, "decided")
    town.proxies[1].fault = fabricated(town.market.chain.head().number)
    town.accept(record, keys, package)
    found = status(node, record)
    assert (found.state, "disagree" in found.reason) == ("waiting", True)
    assert node.status(record.job_id).release is None


def test_two_of_three_that_fabricate_one_chain_release_nothing_where_three_must_agree(town: Town) -> None:
    record, keys, package = town.quoted()
    node = town.node(*town.proxies, agree=3)
    becomes(node, record, "decided")
    for proxy in town.proxies[:2]:
        proxy.fault = fabricated(town.market.chain.head().number)
    town.accept(record, keys, package)
    assert "disagree" in status(node, record).reason
    assert node.status(record.job_id).release is None


@pytest.mark.parametrize("skew", [-7200, pytest.param(7200, marks=pytest.mark.long)])
def test_a_clock_that_is_behind_or_ahead_decides_nothing(town: Town, skew: int) -> None:
    """A clock behind would take a stale head for a new one; one ahead sees each head as too old."""
    record, _, _ = town.quoted()
    node = town.node(*town.proxies)
    town.skew = skew
    found = status(node, record)
    assert (found.state, "clock" in found.reason or "seconds old" in found.reason) == ("waiting", True)
    assert node.status(record.job_id).decision is None
    town.skew = 0
    becomes(node, record, "decided")


def test_a_reorganisation_that_takes_the_verdict_back_is_never_released_on(town: Town) -> None:
    """The acceptance was at the head, not final, when it vanished."""
    record, keys, package = town.quoted()
    node = town.node(*town.proxies)
    becomes(node, record, "decided")
    before = town.market.chain.head()
    town.accept(record, keys, package)
    depth = town.market.chain.head().number - before.number
    payer = development_account(9).address
    sent = [[{"from": payer, "to": payer, "value": "0x1", "gas": "0x5208"}, 0]]
    town.market.chain.rpc.call("anvil_reorg", depth, sent)
    town.mine(3)
    found = status(node, record)
    assert (found.state, found.release) == ("decided", None)
    assert "waiting for a quorum" in found.reason
    with suppress(Reverted):  # the sender hands in again what vanished, and finds the job accepted
        town.accept(record, keys, package)
    becomes(node, record, "released", town.mine)


def test_a_final_verdict_that_is_reorganised_away_stops_all_decisions_and_releases(town: Town) -> None:
    """Deeper than what counts as final: the node decides on no second history, until the first is back."""
    record, keys, package = town.quoted()
    node = town.node(*town.proxies)
    becomes(node, record, "decided")
    before = town.market.chain.head()
    town.accept(record, keys, package)
    node._follower.advance()  # the acceptance is in the journal, and nothing is released yet
    depth = town.market.chain.head().number - before.number
    payer = development_account(9).address
    sent = [[{"from": payer, "to": payer, "value": "0x1", "gas": "0x5208"}, 0]]
    town.market.chain.rpc.call("anvil_reorg", depth, sent)
    town.mine(3)
    for _ in range(3):
        found = status(node, record)
        assert (found.state, "was final as" in found.reason) == ("waiting", True)
    assert node.status(record.job_id).release is None


def _standing_still(town: Town) -> Fault:
    """An endpoint whose chain has ended at the present head."""
    last = town.market.chain.head().number

    def fault(asked: Asked) -> Reply | None:
        if asked.method != "eth_getBlockByNumber":
            return None
        tag = asked.body["params"][0]
        number = last if tag == "latest" else int(tag, 16)
        if number > last:
            return told(asked, result=None)
        body = asked.upstream(asked.body | {"params": [hex(number), False]})
        return told(asked, result=body["result"])

    return fault


def _later(town: Town, seconds: int) -> None:
    """The chain and every clock move on."""
    town.market.chain.rpc.call("evm_increaseTime", hex(seconds))
    town.passed.append(seconds)
    town.mine()


@pytest.mark.parametrize("skew", [pytest.param(0, marks=pytest.mark.long), -50])
def test_a_release_comes_while_one_endpoint_of_three_stands_still_whatever_the_clock_says(
    town: Town, skew: int
) -> None:
    """It has no say once the others are ahead of it, also for a node whose clock is behind. It is named."""
    record, keys, package = town.quoted()
    node = town.node(*town.proxies)
    becomes(node, record, "decided")
    town.proxies[0].fault = _standing_still(town)
    town.accept(record, keys, package)
    _later(town, patience_of(town.market.book.timing) + 1)
    town.skew += skew
    becomes(node, record, "released", town.mine)
    assert any(alarm.startswith(town.proxies[0].url) for alarm in node.alarms)


# --- events that one endpoint makes up ---------------------------------------------------------------------------


def _beside(log: Any) -> Fault:
    """One more log than there is, in the newest block that is asked for."""

    def fault(asked: Asked) -> Reply | None:
        if asked.method != "eth_getLogs":
            return None
        found, last = asked.upstream(asked.body)["result"], asked.body["params"][0]["toBlock"]
        block = asked.upstream(asked.body | {"method": "eth_getBlockByNumber", "params": [last, False]})["result"]
        place = {"blockNumber": last, "blockHash": block["hash"], "logIndex": "0x50"}
        return told(asked, result=[*found, log | place])

    return fault


def _decided_by_all(log: Any, job_id: Any) -> Any:
    """The decision on another job, with every node's place among its signers: the third word from the end."""
    words = bytes.fromhex(log["data"][2:])
    signers = (0b111).to_bytes(32)
    topics = [log["topics"][0], str(job_id)]
    return log | {"topics": topics, "data": "0x" + (words[:-96] + signers + words[-64:]).hex()}


def _log_of(town: Town, name: str, job_id: Any) -> Any:
    query = {"address": town.market.book.market.checksum, "topics": [topic_of("Market", name), str(job_id)]}
    (log,) = town.market.chain.rpc.call("eth_getLogs", query | {"fromBlock": "0x0", "toBlock": "latest"})
    return log


@pytest.mark.parametrize("first", [True, pytest.param(False, marks=pytest.mark.long)])
def test_a_decision_in_the_nodes_name_that_one_endpoint_makes_up_does_not_stop_the_node(
    town: Town, first: bool
) -> None:
    """A decision that its journal lacks is the sign of a journal that is lost: the node would sign nothing any more."""
    decided, keys, package = town.quoted()
    town.accept(decided, keys, package)
    made_up = _log_of(town, "JobDecided", decided.job_id)
    record, keys, package = town.quoted()
    node = town.node(*town.proxies)
    liar = town.proxies[0 if first else 2]
    liar.fault = _beside(_decided_by_all(made_up, record.job_id))
    town.accept(record, keys, package)
    becomes(node, record, "released", town.mine)
    assert any(alarm.startswith(liar.url) for alarm in node.alarms)


def test_an_end_that_one_endpoint_makes_up_does_not_end_the_job(town: Town) -> None:
    """A node leaves a job that has ended alone, for good."""
    record, keys, package = town.quoted()
    ended = _log_of(town, "JobMatched", record.job_id)
    node = town.node(*town.proxies)
    becomes(node, record, "decided")
    ended |= {"topics": [topic_of("Market", "JobFailed"), str(record.job_id)], "data": "0x" + "00" * 32 * 12}
    town.proxies[0].fault = _beside(ended)
    town.mine()
    status(node, record)
    town.accept(record, keys, package)
    becomes(node, record, "released", town.mine)


def test_a_node_acts_on_events_that_the_endpoint_it_asks_first_keeps_back(town: Town) -> None:
    record, keys, package = town.quoted()
    town.proxies[0].fault = altered("eth_getLogs", edit=lambda _logs: [])
    node = town.node(*town.proxies)
    becomes(node, record, "decided")
    town.accept(record, keys, package)
    becomes(node, record, "released", town.mine)


# --- and no liar keeps it from coming ---------------------------------------------------------------------------


def _prefix(value: Any) -> Any:
    return value | {"accountProof": value["accountProof"][:1]}


def _false_proof_then_nothing(_town: Town) -> Fault:
    """After each false proof it refuses to say whether the block is still there."""
    due: list[str] = []

    def fault(asked: Asked) -> Reply | None:
        if asked.method == "eth_getProof":
            due.append(asked.method)
            return told(asked, result=_prefix(asked.upstream(asked.body)["result"]))
        if asked.method == "eth_getBlockByNumber" and due:
            due.clear()
            return told(asked, error={"code": -32000, "message": "no"})
        return None

    return fault


def _revert(_town: Town) -> Fault:
    """A contract's own words, in place of its code."""
    words = {"code": 3, "message": "execution reverted", "data": "0x"}
    return lambda asked: told(asked, error=words) if asked.method == "eth_getCode" else None


LIES: dict[str, Callable[[Town], Fault]] = {
    "block hashes": lambda town: fabricated(town.market.chain.head().number),
    "state": lambda _town: altered("eth_call", edit=lambda answer: "0x" + "00" * (len(answer) // 2 - 1)),
    "proofs": lambda _town: altered("eth_getProof", edit=_prefix),
    "the block of a false proof": _false_proof_then_nothing,
    "code, in a contract's words": _revert,
    "headers": lambda _town: altered("eth_getBlockByHash", edit=lambda block: block | {"stateRoot": f"0x{'07' * 32}"}),
    "the future": lambda _town: altered(
        "eth_getBlockByNumber", edit=lambda block: block | {"timestamp": hex(int(block["timestamp"], 16) + 9000)}
    ),
    "nothing at all": lambda _town: lambda asked: told(asked, error={"code": -32000, "message": "no"}),
}


UNNOTICED = {"state", "code, in a contract's words"}
"""What nobody asks for, and what the next endpoint is asked for with no more than a line in the log."""
USUAL = {"block hashes", "proofs", "the future"}


@pytest.mark.parametrize("name", [pytest.param(n, marks=() if n in USUAL else pytest.mark.long) for n in LIES])
def test_a_release_comes_while_one_endpoint_of_three_lies_about(town: Town, name: str) -> None:
    record, keys, package = town.quoted()
    node = town.node(*town.proxies)
    town.proxies[0].fault = LIES[name](town)
    becomes(node, record, "decided")
    found = node.status(record.job_id).decision
    assert found is not None
    assert found.decision.outcome is Outcome.ACCEPTED
    town.accept(record, keys, package)
    becomes(node, record, "released", town.mine)
    if name not in UNNOTICED:
        assert any(alarm.startswith(town.proxies[0].url) for alarm in node.alarms)


@pytest.mark.long
def test_a_release_comes_while_one_endpoint_of_three_holds_every_answer(town: Town) -> None:
    """Each answer is waited for once, as long as a request may take; then the endpoint rests."""
    record, keys, package = town.quoted()
    node = town.node(*town.proxies)
    becomes(node, record, "decided")
    over = threading.Event()
    town.opened.callback(over.set)
    town.proxies[0].fault = holds(over)
    town.accept(record, keys, package)
    becomes(node, record, "released")


def test_an_endpoint_that_makes_a_revocation_up_holds_a_release_for_one_finality_alone(town: Town) -> None:
    """It shows a head of its own: the last block under another hash, whose state no proof can show."""
    record, keys, package = town.quoted()
    node = town.node(*town.proxies)
    becomes(node, record, "decided")
    town.accept(record, keys, package)
    town.proxies[2].fault = fabricated(town.market.chain.head().number)
    becomes(node, record, "released")
    assert any(alarm.startswith(town.proxies[2].url) for alarm in node.alarms)


def test_a_revocation_that_one_endpoint_alone_shows_holds_the_release_back(town: Town) -> None:
    """The other two stand still at the block before it: each head has a say against a release. Last: it is for good."""
    record, keys, package = town.quoted()
    node = town.node(*town.proxies)
    becomes(node, record, "decided")
    town.accept(record, keys, package)
    frozen = town.market.chain.head()

    def at_most(asked: Asked) -> Reply | None:
        if asked.method == "eth_getBlockByNumber" and asked.body["params"][0] == "latest":
            body = asked.upstream(asked.body | {"params": [hex(frozen.number), False]})
            return told(asked, result=body["result"])
        return None

    for proxy in town.proxies[1:]:
        proxy.fault = at_most
    town.market.owner_sender.send(town.market.chain.registry.revoke(town.market.second.asset_id, 1))
    found = status(node, record)
    assert found.release is None
    assert "endpoints speak for different answers" in found.reason
    for proxy in town.proxies[1:]:
        proxy.fault = None
    becomes(node, record, "stopped")
