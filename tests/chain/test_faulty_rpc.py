"""Chains as people have them: whatever an endpoint does, readers end right or say what is wrong, and print no key."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from sealmarket.chain import Chain, ChainUnavailable, NodeDistrusted, WrongChain, spans
from sealmarket.chain.deploy import write_book
from sealmarket.chain.endpoints import EndpointAddress, endpoints_of, printable
from sealmarket.chain.errors import (
    AccessDenied,
    BlockGone,
    EndpointsRefused,
    LogsMissing,
    NotAnEndpoint,
    RateLimited,
    RpcRefused,
)
from sealmarket.chain.follow import Follower
from sealmarket.chain.logs import LogReader
from sealmarket.chain.rpc import Rpc
from sealmarket.cli.main import main
from sealmarket_backend.index import Index
from sealmarket_backend.tables import Database
from sealmarket_enclave.protocol.hashing import keccak
from tests.chain.faulty_rpc import (
    Fault,
    Ledger,
    Proxy,
    Reply,
    faulty,
    holds,
    http,
    lagging,
    needs_key,
    on,
    says,
    told,
    wide,
)
from tests.chain.node import BOOK, CHAIN_ID, block
from tests.chain.test_chain import SPEC, matched, revoked
from tests.chain.test_follow import Reader

pytestmark = pytest.mark.loopback

KEY = "0123456789SECRETKEY0123456789"
LOGGED = (3, 4, 17, 33, 38)
PAGE = b"<!DOCTYPE html><html><body>Just a moment...</body></html>"


@pytest.fixture
def ledger() -> Ledger:
    made = Ledger()
    for number in LOGGED:
        made.add(revoked(number))
    return made


@pytest.fixture
def proxy(ledger: Ledger) -> Iterator[Proxy]:
    with faulty(ledger.handle) as made:
        yield made


@pytest.fixture
def chain(proxy: Proxy) -> Iterator[Chain]:
    with closing(Chain(BOOK, proxy.url, pause=lambda _seconds: None)) as made:
        yield made


def blocks(chain: Chain, last: int = 38) -> list[int]:
    return [event.at.block_number for event in chain.events(1, last)]


# --- ranges -----------------------------------------------------------------------------------------------------

REFUSALS = {
    "range exceeds": says(-32602, "range 38 exceeds limit of 3"),
    "too many results": says(-32005, "query returned more than 10000 results"),
    "block range": says(-32000, "block range is too wide"),
    "rate limit by range": says(-32005, "limit exceeded"),
    "code in words": says("RANGE_TOO_WIDE", "no more than 3 blocks"),
    "400": http(400, b'{"jsonrpc":"2.0","id":1,"error":{"code":-32600,"message":"invalid"}}'),
    "400 without words": http(400),
    "413": http(413),
    "429": http(429),
    "502": http(502, PAGE),
    "504": http(504),
}


def test_a_block_that_one_replica_lacks_is_asked_for_again(proxy: Proxy, chain: Chain) -> None:
    proxy.fault = on("eth_getBlockByNumber", lambda asked: told(asked, result=None), times=2)
    assert chain.block(3).number == 3
    assert sum(one.method == "eth_getBlockByNumber" for one in proxy.asked) == 3


@pytest.mark.parametrize("most", [1, 7])
@pytest.mark.parametrize("refusal", REFUSALS)
def test_a_range_is_narrowed_whatever_the_refusal(proxy: Proxy, chain: Chain, refusal: str, most: int) -> None:
    proxy.fault = wide(most, REFUSALS[refusal])
    assert blocks(chain) == list(LOGGED)
    assert [event.at.block_number for event in chain.about_asset(keccak(b"asset"), chain.block(38))] == list(LOGGED)


def test_a_range_that_takes_too_long_is_narrowed(proxy: Proxy, ledger: Ledger) -> None:
    over = threading.Event()
    proxy.fault = wide(8, holds(over))
    rpc = Rpc(proxy.url, timeout=1.0)
    with closing(rpc), closing(Chain(BOOK, proxy.url)) as chain:
        reader = LogReader(BOOK, rpc, chain._header)
        try:
            assert [event.at.block_number for event in reader.events(1, 38)] == list(LOGGED)
        finally:
            over.set()


def test_a_range_that_is_too_long_in_bytes_is_narrowed(chain: Chain, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sealmarket.chain.node.MAXIMUM_ANSWER", 1_200)
    assert blocks(chain) == list(LOGGED)


def test_a_refusal_of_one_block_is_told_and_ends(proxy: Proxy, chain: Chain) -> None:
    proxy.fault = on("eth_getLogs", says(-32000, "no"))
    with pytest.raises(RpcRefused, match="no"):
        blocks(chain)
    assert sum(one.method == "eth_getLogs" for one in proxy.asked) < 10


def test_ranges_widen_again_while_the_node_agrees() -> None:
    span, limit, asked = spans.Span(64), 4, []

    def ask(first: int, last: int) -> None:
        asked.append(last - first + 1)
        if last - first + 1 > limit:
            raise RpcRefused("eth_getLogs", -32000, "too wide")

    list(span.read(ask, 1, 200))
    limit = 64
    list(span.read(ask, 1, 4000))
    assert asked[-2] == 64


def test_a_node_that_refuses_every_range_is_given_up_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spans, "PATIENCE_SECONDS", -1.0)

    def ask(_first: int, _last: int) -> None:
        raise RateLimited("http://node", "later")

    with pytest.raises(RateLimited):
        list(spans.Span(1 << 40).read(ask, 1, 1 << 40))


# --- absence ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("receipts", [True, False])
def test_logs_that_a_replica_has_not_seen_are_missed_and_read_later(
    proxy: Proxy, chain: Chain, ledger: Ledger, receipts: bool
) -> None:
    ledger.receipts_method = receipts
    proxy.fault = lagging(2)
    with Database(None) as database:
        index = Index(database, chain, start=1)
        for _ in range(2):
            with pytest.raises(LogsMissing, match="logs of block 3 is without them"):
                index.advance()
            assert index.position() == 0
        assert index.advance().number == index.position() == 38
    reader = Reader()
    proxy.fault = None
    Follower(chain, reader).advance()
    assert [event.at.block_number for event in reader.events] == list(LOGGED)


def test_one_log_that_is_kept_back_is_missed(proxy: Proxy, chain: Chain, ledger: Ledger) -> None:
    some = [log for log in ledger.logs if log["blockNumber"] != hex(17)]
    proxy.fault = on("eth_getLogs", lambda asked: told(asked, result=some))
    with pytest.raises(LogsMissing, match="block 17"):
        chain.events(1, 38)


def test_a_job_is_not_called_unknown_by_a_replica_that_is_behind(proxy: Proxy, chain: Chain, ledger: Ledger) -> None:
    job_id = SPEC.job_id(CHAIN_ID, BOOK.market)
    ledger.add(matched(job_id))
    proxy.fault = lagging(1)
    with pytest.raises(LogsMissing, match="block 5"):
        chain.about_job(job_id, chain.block(38))
    assert len(chain.about_job(job_id, chain.block(38))) == 1
    assert chain.about_job(keccak(b"no job"), chain.block(38)) == []


def test_a_filter_that_matches_by_accident_stops_nobody(chain: Chain, ledger: Ledger) -> None:
    noise = revoked(9) | {"topics": [str(keccak(b"another event of a stranger"))], "address": "0x" + "77" * 20}
    ledger.logs.append(noise | {"blockHash": ledger._name(9)})
    everything = (1 << 2048) - 1
    plain = ledger._block
    ledger.answers["eth_getBlockByNumber"] = lambda tag, full: (
        plain(tag, full) | {"logsBloom": "0x" + everything.to_bytes(256).hex()}
    )
    assert blocks(chain) == list(LOGGED)


def test_a_node_without_the_last_block_of_a_range_is_behind(chain: Chain) -> None:
    with pytest.raises(NodeDistrusted, match="is none"):
        chain.events(1, 41)


def test_a_range_that_is_reorganised_while_it_is_read_is_refused(proxy: Proxy, chain: Chain, ledger: Ledger) -> None:
    def reorganise(asked: object) -> Reply:
        reply = told(asked, result=ledger._logs(asked.body["params"][0]))  # type: ignore[arg-type, attr-defined]
        ledger.reorganise(20)
        return reply

    proxy.fault = on("eth_getLogs", reorganise)
    with pytest.raises(BlockGone):
        chain.events(1, 38)


def test_headers_of_two_chains_are_no_answer(chain: Chain, ledger: Ledger) -> None:
    plain = ledger._block
    ledger.answers["eth_getBlockByNumber"] = lambda tag, full: block(7, 9) if tag == hex(7) else plain(tag, full)
    with pytest.raises(BlockGone):
        chain.events(1, 38)


@pytest.mark.parametrize("depth", [1, 64])
def test_an_index_follows_a_reorganisation_of_any_depth(ledger: Ledger, chain: Chain, depth: int) -> None:
    ledger.height = 60
    with Database(None) as database:
        index = Index(database, chain, start=1)
        for _ in range(70):
            ledger.height += 1
            index.advance()
        ledger.reorganise(128 - depth + 1)
        ledger.add(revoked(128))
        assert index.advance().number == 128
        assert index.cursor() is not None
        assert str(index.cursor().hash) == ledger._name(128)  # type: ignore[union-attr]


# --- answers that are none --------------------------------------------------------------------------------------

BROKEN: dict[str, tuple[Fault, type[Exception], str]] = {
    "a page": (on(None, http(200, PAGE, content_type="text/html")), NotAnEndpoint, "HTTP 200 with a page in HTML"),
    "nothing": (on(None, http(200)), NotAnEndpoint, "HTTP 200 with an empty body"),
    "words": (on(None, http(200, b"hello", content_type="text/plain")), NotAnEndpoint, "HTTP 200 with text/plain"),
    "half": (on(None, http(200, b'{"jsonrpc":')), NotAnEndpoint, "no JSON-RPC endpoint"),
    "a redirect": (on(None, http(308, location="https://elsewhere")), NotAnEndpoint, "HTTP 308"),
    "not found": (on(None, http(404, PAGE)), NotAnEndpoint, "HTTP 404"),
    "no key": (on(None, http(401, b'{"message":"no key"}')), AccessDenied, "check the key"),
    "forbidden": (on(None, http(403, PAGE)), AccessDenied, "check the key"),
    "a word for an error": (
        on(None, lambda asked: told(asked, error="invalid api key")), AccessDenied, "invalid api key",
    ),
    "a code that is null": (on(None, says(None, "upstream busy")), ChainUnavailable, "upstream busy"),
    "a code in words": (on(None, says("RATE_LIMITED", "slow down")), RateLimited, "slow down"),
    "a code that is a list": (on(None, says([], "?")), ChainUnavailable, r"\?"),
    "429": (on(None, http(429)), RateLimited, "HTTP 429"),
    "come back tomorrow": (on(None, http(429, retry_after="86400")), RateLimited, "HTTP 429"),
    "500": (on(None, http(500, PAGE)), ChainUnavailable, "HTTP 500"),
    "another chain": (on("eth_chainId", lambda asked: told(asked, result="0x1")), WrongChain, "chain id is 1"),
}  # fmt: skip


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_wrong_is_said_and_index_follower_and_command_stop_in_order(
    proxy: Proxy, name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    proxy.fault, kind, words = BROKEN[name]
    where = f"{proxy.url}/v3/{KEY}?key={KEY}"
    with closing(Chain(BOOK, where, pause=lambda _seconds: None)) as chain, Database(None) as database:
        with pytest.raises(kind, match=words) as refused:
            Index(database, chain, start=1).advance()
        with pytest.raises(kind):
            Follower(chain, Reader()).advance()
    write_book(tmp_path / "market.json", BOOK)
    with pytest.raises(SystemExit) as ended:
        main(["chain", "status", "--book", str(tmp_path / "market.json"), "--rpc", where])
    said = capsys.readouterr()
    assert ended.value.code == 1
    assert "Traceback" not in said.err
    assert KEY not in said.err + said.out + str(refused.value) + repr(refused.value) + caplog.text
    assert len(proxy.asked) <= 20


def test_a_node_that_asks_for_patience_gets_it(proxy: Proxy, chain: Chain) -> None:
    proxy.fault = on("eth_getLogs", http(429, retry_after="1"), times=3)
    assert blocks(chain) == list(LOGGED)


# --- several endpoints, headers, keys -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", BROKEN)
def test_the_next_endpoint_is_asked_where_one_fails(
    proxy: Proxy, ledger: Ledger, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    proxy.fault = BROKEN[name][0]
    with faulty(ledger.handle) as second:
        where = f"{proxy.url}/{KEY},{second.url}/{KEY}"
        with closing(Chain(BOOK, where, pause=lambda _seconds: None)) as chain, Database(None) as database:
            with caplog.at_level(logging.WARNING):
                assert Index(database, chain, start=1).advance().number == 38
            asked = len(proxy.asked)
            assert blocks(chain) == list(LOGGED)
    assert len(proxy.asked) == asked
    assert "from now on" in caplog.text
    assert KEY not in caplog.text


def test_an_endpoint_that_keeps_logs_back_is_left_for_the_next(proxy: Proxy, ledger: Ledger) -> None:
    proxy.fault = lagging(1 << 30)
    with faulty(ledger.handle) as second, closing(Chain(BOOK, f"{proxy.url},{second.url}")) as chain:
        assert blocks(chain) == list(LOGGED)


def test_an_endpoint_that_is_behind_is_left_for_the_next(proxy: Proxy, ledger: Ledger) -> None:
    with faulty(ledger.handle) as second, closing(Chain(BOOK, f"{second.url},{proxy.url}")) as chain:
        assert chain.final().number == 38
        old = Ledger(10)
        second.upstream = old.handle
        assert chain.final().number == 38


def test_a_transaction_is_sent_to_one_endpoint_only(proxy: Proxy, ledger: Ledger) -> None:
    proxy.fault = on("eth_sendRawTransaction", http(502))
    with faulty(ledger.handle) as second, closing(Rpc(f"{proxy.url},{second.url}")) as rpc:
        with pytest.raises(ChainUnavailable):
            rpc.call("eth_sendRawTransaction", "0x00")
        assert [one.method for one in second.asked] == []


def endpoints_file(folder: Path, url: str, *, mode: int = 0o600, value: str = KEY) -> Path:
    (folder / "rpc.key").write_text(value + "\n")
    (folder / "rpc.key").chmod(mode)
    file = folder / "rpc.toml"
    file.write_text(f'[[endpoint]]\nurl = "{url}"\nheaders = {{ x-api-key = "rpc.key" }}\n')
    return file


def test_a_key_goes_in_a_header_from_a_file(proxy: Proxy, tmp_path: Path) -> None:
    proxy.fault = needs_key("x-api-key", KEY)
    with closing(Chain(BOOK, str(endpoints_file(tmp_path, proxy.url)))) as chain:
        assert blocks(chain) == list(LOGGED)
    proxy.fault = needs_key("x-api-key", "another")
    with closing(Chain(BOOK, str(tmp_path / "rpc.toml"))) as chain:
        with pytest.raises(AccessDenied) as refused:
            chain.head()
        assert KEY not in str(refused.value)


@pytest.mark.parametrize(
    ("where", "words"),
    [
        ("127.0.0.1:8545", "neither a URL nor a file"),
        ("", "neither a URL nor a file"),
        ("nowhere.toml", "neither a URL nor a file"),
        (f"ftp://host/{KEY}", "ftp://host/… is no http"),
        ("http://", "is no http"),
        ("http://host:99999", "is no http"),
        (",".join(["http://a"] * 17), "17 endpoints"),
    ],
)
def test_what_names_no_nodes_is_refused(where: str, words: str) -> None:
    with pytest.raises(EndpointsRefused, match=words) as refused:
        endpoints_of(where)
    assert KEY not in str(refused.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "required field `endpoint`"),
        ("[[endpoint]]\nurl = 7", "Expected `str`"),
        ("endpoint = []", "0 endpoints"),
        ('[[endpoint]]\nurl = "http://a"\nkey = "x"', "unknown field `key`"),
        ('[[endpoint]]\nurl = "http://a"\nheaders = { host = "rpc.key" }', "no header that can be set"),
        ('[[endpoint]]\nurl = "http://a"\nheaders = { "a b" = "rpc.key" }', "no header that can be set"),
        ('[[endpoint]]\nurl = "http://a"\nheaders = { a = "none" }', "neither a URL nor a file"),
        ("#" * 70_000, "more than 65536 bytes"),
    ],
)
def test_an_endpoints_file_that_is_none_is_refused(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "rpc.toml").write_text(text)
    with pytest.raises(EndpointsRefused, match=words):
        endpoints_of("rpc.toml", tmp_path)


@pytest.mark.parametrize(
    ("mode", "value", "words"),
    [(0o644, KEY, "chmod 600"), (0o600, "a\nb: c", "one line"), (0o600, "", "one line"), (0o600, "x" * 5000, "4096")],
)
def test_a_header_that_others_can_read_or_that_is_none_is_refused(
    tmp_path: Path, mode: int, value: str, words: str
) -> None:
    file = endpoints_file(tmp_path, "http://a", mode=mode, value=value)
    with pytest.raises(EndpointsRefused, match=words):
        endpoints_of(str(file))


def test_endpoints_do_not_show_their_keys() -> None:
    where = f"https://user:{KEY}@host:1/{KEY}, http://b?key={KEY}"
    assert KEY not in repr(endpoints_of(where))
    assert [one.url for one in endpoints_of(where)] == [f"https://user:{KEY}@host:1/{KEY}", f"http://b?key={KEY}"]
    assert printable(where) == "https://host:1/…,http://b/…"
    assert EndpointAddress("http://a").headers == {}
