"""Requests as attackers write them, sent to the real applications: none moves more than its own connection."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from fastapi import FastAPI

from sealmarket.chain.memory import MemoryChain
from sealmarket.serving.framing import BYTES_A_CHUNK, FREE_CHUNKS
from sealmarket_backend.api import create_app as backend_app
from sealmarket_backend.service import Backend
from sealmarket_devices.tdx import VirtualTdx
from sealmarket_oracle.api import create_app as node_app
from sealmarket_oracle.runner import Runner
from tests.backend.orders import BOOK
from tests.oracle.world import World, clock
from tests.serving.attacks import PATIENT, Served, read_to_end, served

HASH = "0x" + "11" * 32
PLAIN = b"Host: x\r\nConnection: close\r\n"
LIMITS = replace(PATIENT, body_bytes=8 << 20)
SELDOM = 0.001
"""Requests a second, where a test counts a burst."""
CHUNKED = b"POST /v1/requests HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"


@contextmanager
def backend(folder: Path) -> Iterator[FastAPI]:
    chain = MemoryChain(BOOK)
    chain.code = lambda _account, _block: b""  # type: ignore[method-assign,assignment]
    with Backend(chain, object(), folder) as made:  # type: ignore[arg-type]
        yield backend_app(made)


@contextmanager
def node(folder: Path) -> Iterator[FastAPI]:
    with closing(World(VirtualTdx(folder / "device", clock), folder)) as world:
        made = world.node()
        yield node_app(made, Runner(made, 1.0))


@pytest.fixture(params=[backend, node], scope="module")
def found(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Either server; no test leaves a trace in it."""
    application: Callable[[Path], AbstractContextManager[FastAPI]] = request.param
    with application(tmp_path_factory.mktemp("server")) as app, served(app, LIMITS) as made:
        yield made


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """The backend, whose bodies are read."""
    with backend(tmp_path_factory.mktemp("backend")) as app, served(app, LIMITS) as made:
        yield made


def answers(found: Served, raw: bytes) -> list[int]:
    """The statuses of what is answered until the server hangs up."""
    read = read_to_end(found.sent(raw))
    return [int(part[:3]) for part in read.split(b"HTTP/1.1 ")[1:]]


@pytest.mark.loopback
@pytest.mark.parametrize(
    "framing",
    [
        b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n",
        b"Transfer-Encoding: chunked\r\ncontent-length: 4\r\n",
        b"Content-Length: 4\r\nContent-Length: 5\r\n",
        b"Content-Length: +4\r\n",
        b"Transfer-Encoding: gzip, chunked\r\n",
        b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        "Content-Length: \u0664\r\n".encode(),
        b"Content-Length: 4\r\n folded: yes\r\n",
    ],
)
def test_a_body_of_two_lengths_ends_the_connection_and_hides_no_second_request(found: Served, framing: bytes) -> None:
    second = b"GET /healthz HTTP/1.1\r\n" + PLAIN + b"\r\n"
    [status] = answers(found, b"POST /v1/requests HTTP/1.1\r\nHost: x\r\n" + framing + b"\r\n0\r\n\r\n" + second)
    assert 400 <= status < 502


@pytest.mark.loopback
def test_a_body_of_tiny_chunks_is_cut_off_before_it_costs_anybody_time(found: Served) -> None:
    """A body of single bytes held the loop of a server at 60 KB/s."""
    chunks = 2 * FREE_CHUNKS
    [*_, status] = answers(found, CHUNKED + b"1\r\nx\r\n" * chunks)
    assert status == 400


@pytest.mark.loopback
def test_a_body_of_whole_chunks_is_read(store: Served) -> None:
    piece = b"%x\r\n" % BYTES_A_CHUNK + b" " * BYTES_A_CHUNK + b"\r\n"
    raw = CHUNKED.replace(b"Host: x\r\n", PLAIN) + piece * 2 * FREE_CHUNKS + b"0\r\n\r\n"
    assert answers(store, raw) == [422]


@pytest.mark.loopback
@pytest.mark.parametrize(
    "upgrade",
    [
        b"Connection: Upgrade, close\r\nUpgrade: websocket\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
        b"Sec-WebSocket-Version: 13\r\n",
        b"Connection: Upgrade, HTTP2-Settings, close\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n",
    ],
)
def test_no_connection_becomes_one_of_another_protocol(found: Served, upgrade: bytes) -> None:
    assert 101 not in answers(found, b"GET /healthz HTTP/1.1\r\nHost: x\r\n" + upgrade + b"\r\n")


@pytest.mark.loopback
@pytest.mark.parametrize(
    "line", [b"PRI * HTTP/2.0", b"GET /healthz", b"CONNECT 127.0.0.1:22 HTTP/1.1", b"\x16\x03\x01"]
)
def test_another_protocol_than_http_1_1_reaches_nothing(found: Served, line: bytes) -> None:
    statuses = answers(found, line + b"\r\n" + PLAIN + b"\r\n")
    assert statuses
    assert all(400 <= status < 500 for status in statuses)


@pytest.mark.loopback
@pytest.mark.parametrize("path", [f"/v1/jobs/{HASH}/", "/healthz/", "//evil.example/", "/v1//jobs"])
def test_no_answer_leads_to_a_host_that_the_request_names(found: Served, path: str) -> None:
    read = read_to_end(found.sent(f"GET {path} HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n".encode()))
    assert b"evil.example" not in read
    assert read.split()[1] == b"404"


@pytest.mark.loopback
@pytest.mark.parametrize(
    "name",
    [
        "..%2f..%2f..%2fetc%2fpasswd",
        "%2e%2e",
        "0x%00",
        "%ff%fe",
        "0x" + "%EF%BC%91" * 64,
        HASH.upper(),
        HASH + "%0a",
        HASH + "%20",
        "0x" + "1" * 10_000,
    ],
)
@pytest.mark.parametrize("kind", ["jobs", "documents", "containers", "requests", "evidence"])
def test_a_name_that_is_no_hash_reaches_no_file_and_no_table(found: Served, kind: str, name: str) -> None:
    [status] = answers(found, f"GET /v1/{kind}/{name} HTTP/1.1\r\n".encode() + PLAIN + b"\r\n")
    assert status in (400, 404, 422)


@pytest.mark.loopback
def test_pipelined_requests_count_one_by_one(tmp_path: Path) -> None:
    limits = replace(PATIENT, requests_per_second=SELDOM, request_burst=5)
    with node(tmp_path) as app, served(app, limits) as found:
        statuses = answers(found, b"GET /v1/node HTTP/1.1\r\nHost: x\r\n\r\n" * 300)
    assert statuses == [200] * 5 + [429]


@pytest.mark.loopback
def test_a_compressed_body_is_not_unpacked(store: Served) -> None:
    body = gzip.compress(bytes(1 << 20))
    head = b"POST /v1/requests HTTP/1.1\r\n" + PLAIN + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n"
    assert answers(store, head % len(body) + body) == [422]


JSON = {
    "a key twice": b'{"request":{},"request":{}}',
    "a number beyond all": b'{"request":{"request":{"expiry":1e999}}}',
    "a number below all": b'{"request":1e-999999999}',
    "no number": b'{"parameters":{"values":{"x":NaN}}}',
    "half a surrogate": b'{"request":"\\ud800"}',
    "a mark of order": b"\xef\xbb\xbf{}",
    "another encoding": '{"request":{}}'.encode("utf-16"),
    "bytes that are no text": b'{"\xff":1}',
    "endless arrays": b"[" * (1 << 19),
    "endless objects": b'{"a":' * (1 << 17),
    "arrays that close": b"[" * (1 << 18) + b"]" * (1 << 18),
    "a long number": b'{"request":' + b"9" * (1 << 19) + b"}",
    "many keys": b"{" + b",".join(b'"%d":1' % key for key in range(50_000)) + b"}",
}


@pytest.mark.loopback
@pytest.mark.parametrize("body", JSON.values(), ids=JSON.keys())
def test_json_of_any_kind_is_one_refusal(store: Served, body: bytes) -> None:
    head = b"POST /v1/requests HTTP/1.1\r\n" + PLAIN + b"Content-Length: %d\r\n\r\n" % len(body)
    assert answers(store, head + body) == [422]


@pytest.mark.loopback
@pytest.mark.parametrize("path", ["/v1/compute-orders", "/v1/asset-orders", "/v1/acknowledgements", "/v1/results"])
def test_a_small_document_has_a_small_bound(store: Served, path: str) -> None:
    body = b" " * (1 << 17)
    head = f"POST {path} HTTP/1.1\r\n".encode() + PLAIN + b"Content-Length: %d\r\n\r\n" % len(body)
    assert answers(store, head + body) == [413]


@pytest.mark.loopback
def test_long_bodies_count_as_many_requests_that_change_something(tmp_path: Path) -> None:
    limits = replace(LIMITS, writes_per_second=SELDOM, write_burst=8, bytes_a_write=16 << 10)
    body = b"[" * (128 << 10)
    raw = b"POST /v1/requests HTTP/1.1\r\n" + PLAIN + b"Content-Length: %d\r\n\r\n" % len(body) + body
    with backend(tmp_path) as app, served(app, limits) as found:
        assert [answers(found, raw) for _ in range(2)] == [[422], [429]]


@pytest.mark.loopback
@pytest.mark.parametrize(
    ("kind", "second"), [("lists", 429), ("documents", 429), ("workloads", 429), ("containers", 422)]
)
def test_uploads_that_cost_time_to_check_count_by_their_size(tmp_path: Path, kind: str, second: int) -> None:
    limits = replace(LIMITS, writes_per_second=SELDOM, write_burst=8, bytes_a_write=16 << 10)
    body = b"[" * (128 << 10)
    raw = f"PUT /v1/{kind}/{HASH} HTTP/1.1\r\n".encode() + PLAIN + b"Content-Length: %d\r\n\r\n" % len(body) + body
    with backend(tmp_path) as app, served(app, limits) as found:
        assert [answers(found, raw) for _ in range(2)] == [[422], [second]]
