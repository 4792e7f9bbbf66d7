"""State and events by proof on a real chain: a reader sees what the contracts did, and no endpoint can alter it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from sealmarket.chain import Block, Chain, NodeDistrusted, Reverted, Sender
from sealmarket.chain.deploy import write_book
from sealmarket.chain.errors import BlockGone, EndpointsDisagree, NoProofs, TooFewAgree
from sealmarket.chain.events import AdvisoryAnchored, ChainEvent, EpochEndAnnounced
from sealmarket.chain.proof import ProofRefused
from sealmarket.chain.quorum import ChainTrust
from sealmarket.cli.main import main
from sealmarket.client import JobRecord, SealedAsset, read_job
from sealmarket.client.accounts import create_account
from sealmarket.protocol.advisories import Advisory, Target
from sealmarket.protocol.book import FinalityRule
from sealmarket.protocol.transitions import Status
from sealmarket.receipts.facts import chain_facts
from sealmarket_enclave.protocol.codec import Address, MicroEpsilon
from sealmarket_enclave.protocol.hashing import keccak
from sealmarket_localnet import chains
from sealmarket_localnet.processes import Supervisor
from tests.chain.faulty_rpc import Asked, Body, Fault, Proxy, Reply, faulty, real, says
from tests.integration.market import Market, development_account

Edit = Callable[[Asked, Any], Any]


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Market]:
    folder = tmp_path_factory.mktemp("market")
    with Supervisor(folder) as programs:
        made = Market(chains.anvil(programs).url, folder, FinalityRule(kind="depth", depth=1))
        yield made
        made.close()


@pytest.fixture(scope="module")
def sealed(market: Market) -> SealedAsset:
    return market.ready()


@pytest.fixture(scope="module")
def job(market: Market, sealed: SealedAsset) -> JobRecord:
    job_id = market.match(market.request(sealed))
    market.anybody.send(market.chain.market.cancel_all_orders(Address(bytes(20))))  # a block behind the match
    return read_job(market.chain, job_id, market.chain.head())


@pytest.fixture
def proxy(market: Market) -> Iterator[Proxy]:
    with faulty(real(market.rpc_url)) as made:
        yield made


def edited(method: str, edit: Edit) -> Fault:
    """Answers of one method are changed on their way."""

    def fault(asked: Asked) -> Reply | None:
        if asked.method != method:
            return None
        body = asked.upstream(asked.body)
        body["result"] = edit(asked, body["result"])
        return Reply(200, msgspec.json.encode(body))

    return fault


def reader(market: Market, *urls: str, **trust: Any) -> Chain:
    return Chain(market.book, ",".join(urls), trust=ChainTrust(**trust), pause=lambda _seconds: None)


# --- refusals ---------------------------------------------------------------------------------------------------


def test_a_version_that_was_never_published_is_proven_absent(market: Market, job: JobRecord) -> None:
    view = market.chain.proven(market.chain.final())
    with pytest.raises(Reverted, match="was never published"):
        view.asset(job.spec.assets[0].asset_id, 9)
    assert view.job(keccak(b"no request")).status is Status.NONE
    assert (view.committee_hash(7), view.removed_members(7)) == (bytes(32), frozenset())


def test_a_contract_of_other_code_is_not_read(market: Market, job: JobRecord) -> None:
    """The store of another contract could hold anything at these places."""
    book = replace(market.book, registry=market.book.committee)
    other = Chain(book, market.rpc_url)
    with pytest.raises(NodeDistrusted, match="AssetRegistry, code"):
        other.proven(other.final()).asset(job.spec.assets[0].asset_id, 1)
    other.close()


def test_an_address_books_time_that_the_code_does_not_hold_is_refused(market: Market, job: JobRecord) -> None:
    wrong = replace(market.book, timing=replace(market.book.timing, finality_seconds=12_345))
    other = Chain(wrong, market.rpc_url)
    with pytest.raises(NodeDistrusted, match="the market's finality is another value, expected 12345 s"):
        other.proven(other.final()).finality()
    other.close()


def _other_word(_asked: Asked, proof: Body) -> Body:
    for entry in proof["storageProof"]:
        entry["proof"] = entry["proof"][:-1]
    return proof


def _other_account(_asked: Asked, proof: Body) -> Body:
    last = bytearray.fromhex(proof["accountProof"][-1][2:])
    last[-1] ^= 1
    return proof | {"accountProof": [*proof["accountProof"][:-1], "0x" + last.hex()]}


def _other_root(_asked: Asked, header: Body) -> Body:
    return {**header, "stateRoot": f"0x{'11' * 32}"}


LIES: dict[str, tuple[str, Edit]] = {
    "a proof that ends early": ("eth_getProof", _other_word),
    "an account that is altered": ("eth_getProof", _other_account),
    "fewer slots than asked": ("eth_getProof", lambda _asked, proof: {**proof, "storageProof": []}),
    "no proof": ("eth_getProof", lambda _asked, _proof: None),
    "another state root": ("eth_getBlockByHash", _other_root),
    "another time": ("eth_getBlockByHash", lambda _asked, header: {**header, "timestamp": "0x1"}),
    "other code": ("eth_getCode", lambda _asked, code: f"{code}00"),
}


@pytest.mark.parametrize("name", LIES)
def test_an_endpoint_that_alters_what_proves_state_is_refused(
    market: Market, job: JobRecord, proxy: Proxy, name: str
) -> None:
    proxy.fault = edited(*LIES[name])
    chain = reader(market, proxy.url)
    with pytest.raises(ProofRefused):
        chain.proven(chain.final()).asset(job.spec.assets[0].asset_id, 1)
    chain.close()


def test_an_endpoint_that_answers_calls_falsely_is_not_asked_by_call(
    market: Market, job: JobRecord, proxy: Proxy
) -> None:
    """The case of an endpoint that says of a revoked asset that it stands."""
    proxy.fault = edited("eth_call", lambda _asked, answer: "0x" + "00" * (len(answer) // 2 - 1))
    chain = reader(market, proxy.url)
    view = chain.trusted(chain.final())
    view.prepare([job.spec])
    assert view.job(job.spec.request_hash).status is Status.MATCHED
    assert not [asked for asked in proxy.asked if asked.method == "eth_call"]
    chain.close()


def test_an_endpoint_without_proofs_is_named_and_the_way_out(market: Market, job: JobRecord, proxy: Proxy) -> None:
    refuse = says(-32601, "the method does not exist")
    proxy.fault = lambda asked: refuse(asked) if asked.method == "eth_getProof" else None
    chain = reader(market, proxy.url)
    with pytest.raises(NoProofs, match="gives no storage proof") as refused:
        chain.proven(chain.final()).job(job.spec.request_hash)
    assert 'proofs = "none"' in str(refused.value.remedy)
    unproven = reader(market, proxy.url, proofs=False)
    assert unproven.trusted(unproven.final()).job(job.spec.request_hash).status is Status.MATCHED
    for one in (chain, unproven):
        one.close()


def test_a_block_that_was_reorganised_away_is_gone_and_no_lie(market: Market, job: JobRecord) -> None:
    before = market.chain.head()
    market.chain.rpc.call("anvil_mine", "0x1")
    head = market.chain.head()
    payer = str(Address(bytes(19) + b"\x09").checksum)
    sent = {"from": market.consumer.address.checksum, "to": payer, "value": "0x1", "gas": "0x5208"}
    market.chain.rpc.call("anvil_reorg", 1, [[sent, 0]])
    market.chain.rpc.call("anvil_mine", "0x1")
    gone = Block(head.number, head.hash, head.timestamp, before.hash)
    with pytest.raises((BlockGone, NodeDistrusted)):
        market.chain.proven(gone).job(job.spec.request_hash)


# --- what is proven ---------------------------------------------------------------------------------------------


def test_a_proven_view_says_what_the_contracts_answer(market: Market, sealed: SealedAsset, job: JobRecord) -> None:
    """Before and after terms change in every field that an owner can change."""
    chain, asset = market.chain, market.second.asset_id
    for change in (None, "tighten", "list", "revoke"):
        if change is not None:
            market.owner_sender.send(_change(market, change))
        block = chain.head()
        called, proven = chain.at(block), chain.proven(block)
        assert proven.asset(asset, 1) == called.asset(asset, 1)
        assert proven.asset(sealed.asset_id, 1) == called.asset(sealed.asset_id, 1)
        assert proven.job(job.spec.request_hash) == called.job(job.spec.request_hash)
        assert proven.committee_hash(1) == called.committee_hash(1)
        assert proven.removed_members(1) == called.removed_members(1)
        assert (proven.finality(), proven.transfer_allowance()) == (called.finality(), called.transfer_allowance())
    assert proven.asset(asset, 1).revoked


def _change(market: Market, change: str) -> Any:
    contract, asset = market.chain.registry, market.second.asset_id
    found = market.chain.at(market.chain.head()).asset(asset, 1).terms
    if change == "tighten":
        tighter = replace(
            found,
            price=found.price + 1,
            expiry=found.expiry - 1,
            max_uses=found.max_uses - 1,
            purposes=1,
            consumer_root=keccak(b"some"),
            max_hold=found.max_hold - 1,
            timeout_share=100,
            budget=MicroEpsilon(0),
        )
        return contract.tighten(asset, 1, tighter)
    return contract.replace_allow_list(asset, 1, keccak(b"list")) if change == "list" else contract.revoke(asset, 1)


def test_what_belongs_to_jobs_takes_one_proof_for_each_contract(market: Market, job: JobRecord, proxy: Proxy) -> None:
    chain = reader(market, proxy.url)
    view = chain.proven(chain.final())
    view.prepare([job.spec, job.spec])
    for use in job.spec.assets:
        view.asset(use.asset_id, use.version)
    view.job(job.spec.request_hash)
    view.removed_members(job.spec.epoch)
    again = chain.proven(view.block)
    again.prepare([job.spec])
    asked = [one.method for one in proxy.asked]
    assert (asked.count("eth_getProof"), asked.count("eth_call"), asked.count("eth_getCode")) == (3, 0, 3)
    chain.close()


@pytest.mark.parametrize("liar", [0, *(pytest.param(place, marks=pytest.mark.long) for place in (1, 2))])
@pytest.mark.parametrize("name", LIES)
def test_one_lying_endpoint_of_three_changes_nothing(
    market: Market, job: JobRecord, proxy: Proxy, name: str, liar: int
) -> None:
    """It is left out and named where it shows its own head, and passed over where another proves the same block."""
    proxy.fault = edited(*LIES[name])
    urls = [market.rpc_url, market.rpc_url]
    urls.insert(liar, proxy.url)
    chain = reader(market, *urls)
    final = chain.final()
    assert chain.trusted(final).asset(market.second.asset_id, 1) == market.chain.at(final).asset(
        market.second.asset_id, 1
    )
    found = chain.heads(lambda view: view.job(job.spec.request_hash))
    honest = [one.endpoint for one in found if one.endpoint != proxy.url]
    assert len(honest) == 2
    assert {one.value for one in found} == {market.chain.at(market.chain.head()).job(job.spec.request_hash)}
    if len(found) == 2:
        assert proxy.url in {alarm.endpoint for alarm in chain.alarms}
    chain.close()


def test_the_end_of_an_epoch_is_proven_once_its_owner_announced_it(market: Market) -> None:
    owner, committee = Sender(market.chain, development_account(0), development=True), market.chain.committee_contract
    assert market.chain.proven(market.chain.final()).epoch_end(1) == 0
    soon, ends_at = (market.chain.head().timestamp + days * 86_400 for days in (13, 365))
    with pytest.raises(Reverted, match=r"only .* may announce committees and their ends"):
        market.anybody.send(committee.end(1, ends_at))
    with pytest.raises(Reverted, match="name a moment that leaves owners the whole notice"):
        owner.send(committee.end(1, soon))
    mined = owner.send(committee.end(1, ends_at))
    assert [(event.epoch, event.ends_at) for event in mined.events if isinstance(event, EpochEndAnnounced)] == [
        (1, ends_at)
    ]
    with pytest.raises(Reverted, match=r"is announced for second .* already"):
        owner.send(committee.end(1, ends_at + 1))
    market.anybody.send(market.chain.market.cancel_all_orders(Address(bytes(20))))  # a block behind the announcement
    final = market.chain.final()
    assert market.chain.proven(final).epoch_end(1) == market.chain.at(final).epoch_end(1) == ends_at


def test_the_first_anchor_of_a_hash_is_proven_and_so_is_that_there_is_none(market: Market) -> None:
    stated, other = keccak(b"a statement"), keccak(b"another")
    committee, chain = market.chain.committee_contract, market.chain
    assert chain.proven(chain.final()).advisory_anchors((stated, other)) == {stated: 0, other: 0}
    mined = market.anybody.send(committee.anchor_advisory(stated))
    first = mined.block.timestamp
    assert [event.anchored_at for event in mined.events if isinstance(event, AdvisoryAnchored)] == [first]
    with pytest.raises(Reverted, match=rf"was anchored before, at second {first}"):
        Sender(chain, development_account(0), development=True).send(committee.anchor_advisory(stated))
    market.anybody.send(chain.market.cancel_all_orders(Address(bytes(20))))  # a block behind the anchor
    final = chain.final()
    expected = {stated: first, other: 0}
    assert chain.proven(final).advisory_anchors((stated, other)) == expected
    assert chain.at(final).advisory_anchors((stated, other)) == expected


def test_a_statement_is_anchored_by_command_once_and_the_command_says_from_when_on_it_counts(
    market: Market, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stated = Advisory(title="t", applies_from=0, targets=(Target(tee="tdx"),))
    book, key, file = tmp_path / "market.json", tmp_path / "issuer.key", tmp_path / "advisory.json"
    write_book(book, market.book)
    market.anybody.transfer(Address.parse(create_account(key).address.lower()), 10**18)

    def run() -> tuple[object, str]:
        words = ["--book", str(book), "--rpc", market.rpc_url, "--key-file", str(key), "--json"]
        with pytest.raises(SystemExit) as ended:
            main(["chain", "anchor-advisory", str(file), *words])
        return ended.value.code, capsys.readouterr().out

    file.write_text('{"title": "no statement"}')
    assert run() == (1, "")
    file.write_bytes(stated.canonical())
    first, again = (json.loads(said) for code, said in (run(), run()) if code in (0, None))
    assert first == {
        "advisory": str(stated.name()),
        "anchoredAt": market.chain.at(market.chain.head()).advisory_anchors((stated.name(),))[stated.name()],
        "since": first["anchoredAt"] + 1,
        "anchoredBefore": False,
    }
    assert again == first | {"anchoredBefore": True}


# --- events -----------------------------------------------------------------------------------------------------


def _events(chain: Chain, job: JobRecord) -> list[ChainEvent]:
    """Up to the block of the match."""
    return chain.events(chain.book.deployed_at, job.matched.at.block_number)


def _made_up(_asked: Asked, logs: list[Body]) -> list[Body]:
    """An event of the market in a block that has none: the one before the first."""
    at = {"blockNumber": hex(int(logs[0]["blockNumber"], 16) + 1), "logIndex": "0x3"} if logs else {}
    return [*logs, {**logs[-1], **at}] if logs else []


def _beside(_asked: Asked, logs: list[Body]) -> list[Body]:
    return [*logs, {**logs[-1], "logIndex": "0x63"}] if logs else []


def _altered(_asked: Asked, logs: list[Body]) -> list[Body]:
    return [{**log, "data": "0x" + "11" * (len(log["data"]) // 2 - 1)} for log in logs]


def _elsewhere(_asked: Asked, logs: list[Body]) -> list[Body]:
    """Each event in the place of the one before it."""
    places = [{name: log[name] for name in ("blockNumber", "blockHash", "logIndex")} for log in logs]
    return [{**log, **place} for log, place in zip(logs, places[1:] + places[:1], strict=True)]


def _without_receipts_logs(_asked: Asked, receipts: list[Body]) -> list[Body]:
    return [{**receipt, "logs": receipt["logs"][:-1]} for receipt in receipts]


FALSE: dict[str, tuple[str, Edit]] = {
    "an event in another block": ("eth_getLogs", _made_up),
    "an event beside a true one": ("eth_getLogs", _beside),
    "events with other words": ("eth_getLogs", _altered),
    "events in each other's places": ("eth_getLogs", _elsewhere),
}
SILENT: dict[str, tuple[str, Edit]] = {
    "nothing at all": ("eth_getLogs", lambda _asked, _logs: []),
    "all but the first event": ("eth_getLogs", lambda _asked, logs: logs[:1]),
    "answers that are no logs": ("eth_getLogs", lambda _asked, _logs: {"no": "logs"}),
}


@pytest.mark.parametrize("name", FALSE)
def test_an_endpoint_that_makes_events_up_is_left_out_and_named_and_the_events_are_true(
    market: Market, job: JobRecord, proxy: Proxy, name: str
) -> None:
    proxy.fault = edited(*FALSE[name])
    chain = reader(market, proxy.url, market.rpc_url, market.rpc_url)
    assert _events(chain, job) == _events(market.chain, job)
    assert {alarm.endpoint for alarm in chain.alarms} == {proxy.url}
    chain.close()


@pytest.mark.parametrize("name", SILENT)
def test_an_endpoint_that_keeps_events_back_hides_none(market: Market, job: JobRecord, proxy: Proxy, name: str) -> None:
    proxy.fault = edited(*SILENT[name])
    chain = reader(market, proxy.url, market.rpc_url, market.rpc_url)
    assert _events(chain, job) == _events(market.chain, job)
    chain.close()


def test_an_endpoint_whose_receipts_are_not_the_blocks_is_left_out_and_named(
    market: Market, job: JobRecord, proxy: Proxy
) -> None:
    proxy.fault = edited("eth_getBlockReceipts", _without_receipts_logs)
    chain = reader(market, proxy.url, market.rpc_url, market.rpc_url)
    assert _events(chain, job) == _events(market.chain, job)
    (alarm,) = chain.alarms
    assert (alarm.endpoint, "receipts of block" in alarm.what) == (proxy.url, True)
    chain.close()


def test_one_endpoint_alone_makes_no_event_up_either(market: Market, job: JobRecord, proxy: Proxy) -> None:
    """It is the chain to its reader, and its blocks have receipts."""
    proxy.fault = edited(*FALSE["an event beside a true one"])
    chain = reader(market, proxy.url)
    assert _events(chain, job) == _events(market.chain, job)
    chain.close()


def test_one_endpoint_alone_must_show_receipts_of_its_own_blocks(market: Market, job: JobRecord, proxy: Proxy) -> None:
    proxy.fault = edited("eth_getBlockReceipts", _without_receipts_logs)
    chain = reader(market, proxy.url)
    with pytest.raises(ProofRefused, match="receipts of block"):
        _events(chain, job)
    chain.close()


def test_of_two_endpoints_both_must_answer_for_events(market: Market, job: JobRecord, proxy: Proxy) -> None:
    proxy.fault = edited(*SILENT["answers that are no logs"])
    chain = reader(market, proxy.url, market.rpc_url)
    with pytest.raises(TooFewAgree):
        _events(chain, job)
    chain.close()


def test_receipts_are_asked_for_one_by_one_where_a_node_has_no_list(
    market: Market, job: JobRecord, proxy: Proxy
) -> None:
    refuse = says(-32601, "the method does not exist")
    proxy.fault = lambda asked: refuse(asked) if asked.method == "eth_getBlockReceipts" else None
    chain = reader(market, proxy.url)
    assert _events(chain, job) == _events(market.chain, job)
    assert [asked for asked in proxy.asked if asked.method == "eth_getTransactionReceipt"]
    chain.close()


def test_events_of_one_job_are_proven_as_well(market: Market, job: JobRecord, proxy: Proxy) -> None:
    proxy.fault = edited("eth_getLogs", _altered)
    chain = reader(market, proxy.url, market.rpc_url, market.rpc_url)
    final = chain.final()
    assert chain.about_job(job.job_id, final) == market.chain.about_job(job.job_id, final)
    chain.close()


TOLD = {**FALSE, **SILENT, **LIES, "calls": ("eth_call", lambda _asked, answer: "0x" + "00" * (len(answer) // 2 - 1))}


@pytest.mark.parametrize("name", [pytest.param(n, marks=() if n == "calls" else pytest.mark.long) for n in TOLD])
def test_a_job_is_verified_through_three_endpoints_whichever_lie_one_tells(
    market: Market, job: JobRecord, proxy: Proxy, name: str
) -> None:
    proxy.fault = edited(*TOLD[name])
    chain = reader(market, proxy.url, market.rpc_url, market.rpc_url)
    found = chain_facts(chain, job.job_id)
    true = chain_facts(market.chain, job.job_id, at=found.at.hash)
    assert found.record == true.record
    assert (found.committee_hash, found.versions, found.quoted_at) == (
        true.committee_hash,
        true.versions,
        true.quoted_at,
    )
    assert (found.final, found.slot_proven, found.agreeing) == (True, False, 2)
    chain.close()


def test_through_two_endpoints_of_which_one_lies_nothing_is_verified(
    market: Market, job: JobRecord, proxy: Proxy
) -> None:
    proxy.fault = edited("eth_getBlockByNumber", lambda _asked, block: {**block, "hash": f"0x{'22' * 32}"})
    chain = reader(market, proxy.url, market.rpc_url)
    with pytest.raises(EndpointsDisagree):
        chain_facts(chain, job.job_id)
    chain.close()
