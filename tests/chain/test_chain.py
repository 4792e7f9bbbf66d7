"""The reader distrusts its node: each lie is named and refused."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from eth_abi.abi import encode as abi_encode
from msgspec.structs import replace

from sealmarket.chain import (
    AbiMismatch,
    Block,
    BlockGone,
    Chain,
    ChainUnavailable,
    NodeDistrusted,
    Reverted,
    RpcRefused,
    WrongChain,
    abi,
)
from sealmarket.chain.errors import AnswerTooLong
from sealmarket.chain.events import (
    AllowListReplaced,
    AssetRevoked,
    ChainEvent,
    JobDecided,
    JobMatched,
    ReleasePosted,
    SharesReportedMissing,
    UnreadableLog,
    VersionPublished,
)
from sealmarket.protocol.book import FinalityRule
from sealmarket.protocol.transitions import Status
from sealmarket_enclave.protocol.codec import ZERO_HASH, Address, Bytes32
from sealmarket_enclave.protocol.hashing import keccak
from tests import samples
from tests.chain.node import BOOK, CHAIN_ID, MARKET, REGISTRY, Node, chain, error, wire

ASSET = keccak(b"asset")
TRANSACTION = keccak(b"transaction")
ORDER = keccak(b"compute order")
SPEC = samples.job()


def topic(contract: str, name: str) -> str:
    return next(str(t) for t, e in abi.load(contract).events.items() if e.name == name)


def log(address: Address, topics: list[str], data: bytes = b"", number: int = 5, index: int = 0) -> dict[str, Any]:
    return {
        "address": str(address),
        "topics": topics,
        "data": "0x" + data.hex(),
        "blockNumber": hex(number),
        "blockHash": str(keccak(b"%d 0" % number)),
        "transactionHash": str(TRANSACTION),
        "logIndex": hex(index),
        "removed": False,
    }


def revoked(number: int = 5, index: int = 0) -> dict[str, Any]:
    version = "0x" + (1).to_bytes(32).hex()
    return log(REGISTRY, [topic("AssetRegistry", "VersionRevoked"), str(ASSET), version], number=number, index=index)


def matched(job_id: Bytes32) -> dict[str, Any]:
    entry = abi.load("Market").events[Bytes32.parse(topic("Market", "JobMatched"))]
    rest = [part for part in entry.inputs if not part.indexed]
    parties = ["0x" + account.rjust(32, b"\0").hex() for account in (SPEC.consumer, SPEC.provider)]
    return log(MARKET, [str(entry.topic), str(job_id), *parties], abi.encode(rest, [SPEC, 7, ORDER], "JobMatched"))


def node(**answers: Any) -> tuple[Node, Chain]:
    made = Node()
    made.answers |= answers
    return made, chain(made)


def test_a_node_of_another_chain_is_refused_before_anything_is_believed() -> None:
    _, reader = node(eth_chainId="0x1")
    with pytest.raises(WrongChain, match="is 1, expected 31337"):
        reader.head()


@pytest.mark.parametrize("value", [None, 7, "7", "0x", "0x07", "latest", {"a": 1}])
def test_a_chain_id_that_is_no_quantity_is_refused(value: object) -> None:
    _, reader = node(eth_chainId=value)
    with pytest.raises((NodeDistrusted, ChainUnavailable)):
        reader.head()


def test_a_block_that_does_not_exist_is_refused() -> None:
    _, reader = node()
    with pytest.raises(NodeDistrusted, match="is none"):
        reader.block(11)


def test_another_block_than_asked_for_is_refused() -> None:
    made, reader = node()
    made.answers["eth_getBlockByNumber"] = lambda _tag, _full: made._block("0x3", False)
    with pytest.raises(NodeDistrusted, match="is 3, expected 4"):
        reader.block(4)


def test_final_is_so_many_blocks_deep_and_never_below_the_first() -> None:
    made, reader = node()
    assert reader.final().number == 8
    made.height = 1
    assert reader.final().number == 0


def test_final_is_what_the_chain_calls_finalized_where_the_book_says_so() -> None:
    made = Node()
    asked: list[str] = []

    def tagged(tag: str, _full: bool) -> object:
        asked.append(tag)
        return made._block("0x6", False)

    made.answers["eth_getBlockByNumber"] = tagged
    reader = chain(made, replace(BOOK, finality=FinalityRule(kind="finalized")))
    assert reader.final().number == 6
    assert asked == ["finalized"]


def slot(status: int) -> str:
    return "0x" + b"".join(word.to_bytes(32) for word in (status, 99, 5)).hex()


def test_a_read_names_the_block_by_its_hash() -> None:
    made, reader = node(eth_call=slot(2))
    block = reader.final()
    assert reader.at(block).job(ZERO_HASH).status is Status.QUOTED
    assert made.asked[-1][1][1] == {"blockHash": str(block.hash), "requireCanonical": True}


def test_where_hashes_are_not_understood_the_block_is_compared_before_and_after() -> None:
    def call(_asked: object, at: object) -> object:
        return error(-32602, "invalid params") if isinstance(at, dict) else slot(1)

    _, reader = node(eth_call=call)
    assert reader.at(reader.final()).job(ZERO_HASH).status is Status.MATCHED


def test_a_read_across_a_reorganisation_is_refused() -> None:
    made = Node()

    def call(_asked: object, at: object) -> object:
        if isinstance(at, dict):
            return error(-32602, "invalid params")
        made.fork = 1
        return slot(1)

    made.answers["eth_call"] = call
    reader = chain(made)
    view = reader.at(reader.final())
    with pytest.raises(BlockGone):
        view.job(ZERO_HASH)


def test_an_address_without_a_contract_is_named() -> None:
    _, reader = node(eth_call="0x")
    view = reader.at(reader.final())
    with pytest.raises(NodeDistrusted, match="nothing at all"):
        view.job(ZERO_HASH)


def test_an_answer_of_another_shape_is_refused() -> None:
    _, reader = node(eth_call="0x" + "00" * 31)
    view = reader.at(reader.final())
    with pytest.raises(AbiMismatch):
        view.job(ZERO_HASH)


def test_an_asset_that_was_never_published_is_refused_in_words() -> None:
    _, reader = node(eth_call="0x" + "00" * 32 * 24)
    view = reader.at(reader.final())
    with pytest.raises(Reverted, match="was never published"):
        view.asset(ASSET, 1)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"removed": True}, "removed"),
        ({"address": str(Address(b"\x44" * 20))}, "this market"),
        ({"blockNumber": "0x63"}, "other blocks"),
        ({"blockHash": str(keccak(b"other"))}, "block 5"),
        ({"logIndex": 0}, "quantity"),
    ],
)
def test_a_log_that_cannot_be_is_refused(change: dict[str, Any], why: str) -> None:
    _, reader = node(eth_getLogs=[revoked() | change])
    with pytest.raises(NodeDistrusted, match=why):
        reader.events(1, 10)


def test_a_log_told_twice_is_refused() -> None:
    _, reader = node(eth_getLogs=[revoked(), revoked()])
    with pytest.raises(NodeDistrusted, match="repeated"):
        reader.events(1, 10)


def test_a_job_whose_specification_is_another_is_refused() -> None:
    _, reader = node(eth_getLogs=[matched(keccak(b"another"))])
    with pytest.raises(NodeDistrusted, match="hashes to"):
        reader.events(1, 10)


def test_events_come_in_the_order_of_the_chain() -> None:
    logs = [revoked(6, 1), revoked(5, 3), revoked(6, 0)]
    _, reader = node(eth_getLogs=logs)
    told = reader.events(1, 10)
    assert [(event.at.block_number, event.at.log_index) for event in told] == [(5, 3), (6, 0), (6, 1)]
    assert all(isinstance(event, AssetRevoked) for event in told)


def test_a_match_carries_the_whole_job() -> None:
    job_id = SPEC.job_id(CHAIN_ID, MARKET)
    _, reader = node(eth_getLogs=[matched(job_id)])
    (told,) = reader.events(1, 10)
    assert isinstance(told, JobMatched)
    assert (told.job_id, told.spec, told.fees_held, told.compute_order) == (job_id, SPEC, 7, ORDER)


def published(location: bytes, *, grade: int = 1, number: int = 5, index: int = 0) -> dict[str, Any]:
    """The log of a publication, with bytes that no client of ours would send."""
    entry = abi.load("AssetRegistry").events[Bytes32.parse(topic("AssetRegistry", "VersionPublished"))]
    rest = [part for part in entry.inputs if not part.indexed]
    seal = (ASSET, 1, ASSET, ASSET, 1)
    terms = (bytes(20), 1, 99, 1, 1, grade, 0, 0, ASSET, bytes(32), 3600, 100)
    kinds = [part.canonical.replace("string", "bytes") for part in rest]
    data = abi_encode(kinds, [seal, terms, location])
    topics = [str(entry.topic), str(ASSET), "0x" + bytes(31).hex() + "07", "0x" + (1).to_bytes(32).hex()]
    return log(REGISTRY, topics, data, number, index)


@pytest.mark.parametrize(
    ("location", "shown"),
    [(b"\xff\xfe", "\\xff\\xfe"), (b"\xed\xa0\x80", "\\xed\\xa0\\x80"), (b"https://\xc3\xa4", "https://ä")],
)
def test_a_location_that_is_no_text_is_shown_in_escapes(location: bytes, shown: str) -> None:
    _, reader = node(eth_getLogs=[published(location)])
    (told,) = reader.events(1, 10)
    assert isinstance(told, VersionPublished)
    assert told.location == shown
    assert told.location.encode()


def cut(whole: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """A log of the same topic that does not read."""
    return {**whole, "data": whole["data"][:-64], **changes}


@pytest.mark.parametrize(
    "spoilt",
    [
        cut(published(b"x", number=4)),
        published(b"x", grade=9, number=4),
        cut(matched(keccak(b"job")), blockNumber="0x4"),
    ],
)
def test_a_log_that_does_not_read_concerns_its_own_subject_and_the_others_are_told(spoilt: dict[str, Any]) -> None:
    spoilt["blockHash"] = str(keccak(b"4 0"))
    _, reader = node(eth_getLogs=[spoilt, revoked()])
    unreadable, told = reader.events(1, 10)
    assert isinstance(unreadable, UnreadableLog)
    assert str(unreadable.subject) == spoilt["topics"][1]
    assert unreadable.reason
    assert isinstance(told, AssetRevoked)


def replaced() -> dict[str, Any]:
    data = b"".join(word.to_bytes(32) for word in (1, 2)) + ASSET
    return log(REGISTRY, [topic("AssetRegistry", "AllowListReplaced"), str(ASSET)], data, number=6)


def test_a_thousand_changes_of_one_allow_list_cost_one_query() -> None:
    """``flood_events``: each change once took a query for all that its asset had before."""
    changes = [{**replaced(), "logIndex": hex(index)} for index in range(1000)]
    asked, reader = node(eth_getLogs=[published(b"x"), *changes])
    told = reader.events(1, 10)
    assert [type(event) for event in told[:2]] == [VersionPublished, AllowListReplaced]
    assert len(told) == 1001
    assert [method for method, _ in asked.asked].count("eth_getLogs") == 1


def told_of(name: str, values: dict[str, object], *topics: int) -> ChainEvent:
    """One event of the market about the sample job, with indexed numbers behind the job's id."""
    entry = abi.load("Market").events[Bytes32.parse(topic("Market", name))]
    rest = [part for part in entry.inputs if not part.indexed]
    data = abi.encode(rest, [values[abi.snake(part.name)] for part in rest], name)
    numbers = ["0x" + number.to_bytes(32).hex() for number in topics]
    _, reader = node(eth_getLogs=[log(MARKET, [str(entry.topic), str(ASSET), *numbers], data)])
    (told,) = reader.events(1, 10)
    return told


def test_a_report_of_missing_shares_names_the_places_left_out_and_both_deadlines() -> None:
    values: dict[str, object] = {"excluded": 5, "shares_deadline": 7, "settle_deadline": 9, "set_aside": 3}
    told = told_of("SharesReportedMissing", values)
    assert isinstance(told, SharesReportedMissing)
    assert (told.job_id, told.excluded) == (ASSET, (0, 2))
    assert (told.shares_deadline, told.settle_deadline, told.set_aside) == (7, 9, 3)


def test_a_posted_release_carries_its_ciphertexts_and_signature() -> None:
    told = told_of("ReleasePosted", {"sealed_": (b"one", b"two"), "r": ASSET, "vs": ORDER}, 2)
    assert isinstance(told, ReleasePosted)
    assert (told.index, told.sealed, told.r, told.vs) == (2, (b"one", b"two"), ASSET, ORDER)


def decided(job_id: Bytes32) -> dict[str, Any]:
    entry = abi.load("Market").events[Bytes32.parse(topic("Market", "JobDecided"))]
    rest = [part for part in entry.inputs if not part.indexed]
    core: dict[str, object] = {
        "evidence_hash": ASSET,
        "enclave_signer": bytes(20),
        "enclave_key_hash": ASSET,
        "terms_digest": ASSET,
    }
    core |= {"outcome": 2, "grade": 0, "reasons": 1, "expiry": 9}
    values: dict[str, object] = {"core": core}
    return log(MARKET, [str(entry.topic), str(job_id)], abi.encode(rest, [values.get(p.name, 0) for p in rest], "x"), 6)


def test_a_decision_on_a_job_whose_match_does_not_read_does_not_read_either() -> None:
    job_id = SPEC.job_id(CHAIN_ID, MARKET)
    _, reader = node(eth_getLogs=[matched(job_id), decided(job_id)])
    assert isinstance(reader.events(1, 10)[1], JobDecided)
    _, reader = node(eth_getLogs=[cut(matched(job_id)), decided(job_id)])
    assert [type(event) for event in reader.events(1, 10)] == [UnreadableLog, UnreadableLog]


def test_a_decision_whose_match_is_among_the_same_logs_costs_no_query_of_its_own() -> None:
    job_id = SPEC.job_id(CHAIN_ID, MARKET)
    asked, reader = node(eth_getLogs=[matched(job_id), decided(job_id)])
    told = reader.events(1, 10)[1]
    assert isinstance(told, JobDecided)
    assert told.core.epoch == SPEC.epoch
    assert [method for method, _ in asked.asked].count("eth_getLogs") == 1


def test_a_decision_before_its_match_is_not_completed_by_it() -> None:
    job_id = SPEC.job_id(CHAIN_ID, MARKET)
    early = {**decided(job_id), "blockNumber": "0x4", "blockHash": str(keccak(b"4 0"))}
    _, reader = node(eth_getLogs=[early, matched(job_id)])
    with pytest.raises(NodeDistrusted):
        reader.events(1, 10)


def test_logs_that_are_too_many_for_one_answer_are_asked_for_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    logs = [published(bytes(2_000), number=number) for number in (3, 4, 8)]

    def within(query: dict[str, Any]) -> list[dict[str, Any]]:
        first, last = int(query["fromBlock"], 16), int(query["toBlock"], 16)
        return [entry for entry in logs if first <= int(entry["blockNumber"], 16) <= last]

    made, reader = node(eth_getLogs=within)
    monkeypatch.setattr("sealmarket.chain.node.MAXIMUM_ANSWER", 8_000)
    assert [event.at.block_number for event in reader.events(1, 10)] == [3, 4, 8]
    assert sum(method == "eth_getLogs" for method, _ in made.asked) > 3
    monkeypatch.setattr("sealmarket.chain.node.MAXIMUM_ANSWER", 1_000)
    with pytest.raises(AnswerTooLong, match="more than 1000 bytes"):
        reader.events(3, 3)


def test_words_of_a_node_that_are_half_characters_are_written_out() -> None:
    made = Chain(BOOK, "http://node.twin")
    raw = b'{"jsonrpc":"2.0","id":0,"error":{"code":"x","message":"no: \\ud800 \xff","data":{}}}'
    made.rpc.mount(httpx.MockTransport(lambda _request: httpx.Response(200, content=raw)))
    with pytest.raises(RpcRefused, match="no: ") as refused:
        made.rpc.call("eth_chainId")
    assert str(refused.value).encode()


@pytest.mark.parametrize("raw", [b"", b"{", b"[" * 200_000, b"7", b"null", b'{"result":' + b"9" * 10_000 + b"}"])
def test_an_answer_that_is_no_json_rpc_is_unavailable(raw: bytes) -> None:
    made = Chain(BOOK, "http://node.twin")
    made.rpc.mount(httpx.MockTransport(lambda _request: httpx.Response(200, content=raw)))
    with pytest.raises(ChainUnavailable):
        made.rpc.call("eth_chainId")


def test_later_is_told_from_no() -> None:
    _, reader = node(eth_getLogs=error(-32005, "limit exceeded"))
    with pytest.raises(ChainUnavailable):
        reader.events(1, 10)
    _, reader = node(eth_getLogs=error(-32000, "unknown"))
    with pytest.raises(RpcRefused):
        reader.events(1, 10)


def test_silence_is_unavailable() -> None:
    made = Node()
    reader = chain(made)

    def silent(_body: dict[str, Any]) -> dict[str, Any]:
        raise httpx.ConnectTimeout("no answer")

    reader.rpc.mount(wire(silent))
    with pytest.raises(ChainUnavailable, match="nothing is lost by trying again"):
        reader.head()


def test_a_block_is_in_the_chain_until_it_is_reorganised() -> None:
    made, reader = node()
    seen: Block = reader.block(4)
    assert reader.contains(seen)
    made.fork = 1
    assert not reader.contains(seen)
