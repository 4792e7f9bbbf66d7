"""The HTTP boundary against servers that mean ill: each is refused in time, in few bytes, with a type of its own."""

from __future__ import annotations

import gzip
import importlib
import select
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing

import httpx
import pytest

from sealmarket.attestation.collateral.fetch import Fetcher
from sealmarket.attestation.core.errors import CollateralError
from sealmarket.chain.errors import ChainUnavailable
from sealmarket.chain.rpc import Rpc
from sealmarket.http import (
    MAXIMUM_ERROR_BODY,
    AnswerTooLarge,
    DeadlineExceeded,
    EncodedAnswer,
    HttpClient,
    NoAnswer,
    is_loopback,
    redacted,
)
from sealmarket.service.connection import Connection
from sealmarket.service.errors import ItemNotFound, ServiceRefused, ServiceUnavailable
from sealmarket.store.blobs import Store
from sealmarket_enclave.protocol.codec import Bytes32
from sealmarket_enclave.protocol.errors import SealmarketError
from tests.patience import PATIENCE

pytestmark = pytest.mark.loopback
SECONDS = 0.6
"""The deadline of clients that have to reach it; all others are patient."""
SOON = PATIENCE / 2
"""What a busy machine may add to it. A server here holds a client for ever."""
PACE, PACED_SECONDS = 2_000, 2.0
"""Bytes a second, and the deadline of a client whose transfer may take longer at that pace."""
NAME = Bytes32(bytes(32))
OK = b"HTTP/1.1 200 OK\r\nconnection: close\r\n"
Behaviour = Callable[[socket.socket], None]


class Server:
    """Takes connections, reads a request's head and hands each to one behaviour. ``heads`` is what was asked."""

    def __init__(self) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        self.behave: Behaviour = lambda _connection: None
        self.heads: list[bytes] = []
        self.closing = threading.Event()
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while not self.closing.is_set():
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection:
            try:
                self.heads.append(connection.recv(1 << 16))
                self.behave(connection)
            except OSError:
                pass  # the client has gone, which is what it should do

    def close(self) -> None:
        self.closing.set()
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    yield made
    made.close()


@pytest.fixture
def client() -> Iterator[HttpClient]:
    made = HttpClient(seconds=PATIENCE)
    yield made
    made.close()


@pytest.fixture
def hasty() -> Iterator[HttpClient]:
    """A client with a deadline that servers here let pass."""
    made = HttpClient(seconds=SECONDS)
    yield made
    made.close()


def get(client: HttpClient, url: str, *, limit: int = 1000, pace: int | None = None) -> bytes:
    with client.ask("GET", url, limit=limit, pace=pace) as answer:
        return answer.body()


def bomb(connection: socket.socket) -> None:
    body = gzip.compress(gzip.compress(bytes(1 << 24)))
    connection.sendall(OK + b"content-encoding: gzip, gzip\r\ncontent-length: %d\r\n\r\n" % len(body) + body)


def drip(head: bytes) -> Behaviour:
    def behave(connection: socket.socket) -> None:
        connection.sendall(head)
        while True:  # until the client is gone
            connection.sendall(b"x")
            time.sleep(0.05)

    return behave


def flood(head: bytes) -> Behaviour:
    def behave(connection: socket.socket) -> None:
        connection.sendall(head)
        for _ in range(1 << 10):
            connection.sendall(bytes(1 << 20))

    return behave


def hang(connection: socket.socket) -> None:
    """Read and say nothing until the client is gone."""
    gone = select.poll()
    gone.register(connection, select.POLLRDHUP)
    gone.poll()


DRIPS = {
    "a body": drip(OK + b"content-length: 1000000\r\n\r\n"),
    "a body in chunks": drip(OK + b"transfer-encoding: chunked\r\n\r\n"),
    "headers": drip(OK + b"x-long: "),
    "a status line": drip(b"HTTP/1.1 200 "),
    "nothing": hang,
}


@pytest.mark.parametrize("what", DRIPS)
def test_a_server_that_drips_is_left_at_the_deadline(what: str, server: Server, hasty: HttpClient) -> None:
    server.behave = DRIPS[what]
    begun = time.monotonic()
    with pytest.raises(DeadlineExceeded, match=r"not complete after 0\.6 s"):
        get(hasty, server.url, limit=1 << 20)
    assert time.monotonic() - begun < SECONDS + SOON


def test_a_server_that_takes_no_body_is_left_at_the_deadline(server: Server, hasty: HttpClient) -> None:
    server.behave = hang
    begun = time.monotonic()
    with pytest.raises(NoAnswer), hasty.ask("PUT", server.url, limit=10, content=bytes(64 << 20)):
        pass
    assert time.monotonic() - begun < SECONDS + SOON


def test_a_compressed_answer_is_refused_and_was_not_asked_for(server: Server, client: HttpClient) -> None:
    server.behave = bomb
    with pytest.raises(EncodedAnswer, match="gzip"):
        get(client, server.url, limit=1 << 30)
    assert b"accept-encoding: identity\r\n" in server.heads[0].lower()


@pytest.mark.parametrize("head", [OK + b"\r\n", OK + b"content-length: 999999999\r\n\r\n"])
def test_an_answer_without_end_is_refused_at_its_limit(head: bytes, server: Server, client: HttpClient) -> None:
    server.behave = flood(head)
    with pytest.raises(AnswerTooLarge, match="more than 1000 bytes"):
        get(client, server.url)


def test_an_errors_body_is_read_up_to_a_bound(server: Server, client: HttpClient) -> None:
    server.behave = flood(b"HTTP/1.1 500 no\r\n\r\n")
    with client.ask("GET", server.url, limit=1 << 30) as answer:
        assert answer.status == 500
        assert len(answer.error_body()) == MAXIMUM_ERROR_BODY


def test_a_transfer_that_keeps_its_pace_may_take_longer(server: Server) -> None:
    def steady(connection: socket.socket) -> None:
        connection.sendall(OK + b"content-length: 30000\r\n\r\n")
        for _ in range(30):
            connection.sendall(bytes(1000))
            time.sleep(1.5 * PACED_SECONDS / 30)

    with closing(HttpClient(seconds=PACED_SECONDS)) as paced:
        server.behave = steady
        with pytest.raises(DeadlineExceeded):
            get(paced, server.url, limit=30_000)
        assert get(paced, server.url, limit=30_000, pace=PACE) == bytes(30_000)


def test_a_transfer_that_falls_behind_its_pace_is_left(server: Server, hasty: HttpClient) -> None:
    server.behave = DRIPS["a body"]
    with pytest.raises(DeadlineExceeded):
        get(hasty, server.url, limit=1 << 20, pace=PACE)


def test_no_cookie_of_one_answer_goes_into_the_next_request(server: Server, client: HttpClient) -> None:
    server.behave = lambda connection: connection.sendall(OK + b"set-cookie: who=you\r\ncontent-length: 0\r\n\r\n")
    for _ in range(2):
        with client.ask("GET", server.url, limit=10) as answer:
            assert answer.body() == b""
    assert [b"cookie" in head.lower() for head in server.heads] == [False, False]


def test_name_and_password_of_a_url_are_sent_as_its_servers_expect_them(server: Server, client: HttpClient) -> None:
    server.behave = lambda connection: connection.sendall(OK + b"content-length: 0\r\n\r\n")
    with client.ask("GET", server.url.replace("://", "://user:pass@"), limit=10) as answer:
        assert answer.status == 200
    assert b"authorization: basic dxnlcjpwyxnz" in server.heads[0].lower()


def test_a_redirect_is_an_answer_and_not_followed(server: Server, client: HttpClient) -> None:
    server.behave = lambda connection: connection.sendall(
        b"HTTP/1.1 302 Found\r\nlocation: /elsewhere\r\ncontent-length: 0\r\n\r\n"
    )
    with client.ask("GET", server.url, limit=10) as answer:
        assert answer.status == 302
    assert len(server.heads) == 1


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:9", "http://[::1", "http://xn--a", "http://" + "a" * 70 + ".invalid", "ftp://x"]
)
def test_a_url_that_leads_nowhere_is_no_answer(url: str, client: HttpClient) -> None:
    with pytest.raises(NoAnswer):
        get(client, url)


@pytest.mark.parametrize(
    ("url", "ours"),
    [
        ("http://localhost:1", True),
        ("http://127.0.0.9", True),
        ("http://[::1]:2", True),
        ("http://[::ffff:127.0.0.1]", True),
        ("http://a.localhost.", True),
        ("http://10.0.0.1", False),
    ],
)
def test_what_is_on_this_machine_is_known_by_its_host(url: str, ours: bool) -> None:
    assert is_loopback(url) is ours


# --- each client says it in its own words ------------------------------------------------------------------------


def _oracle(url: str, seconds: float) -> object:
    with closing(Store(url, timeout=seconds)) as store:
        return store.find_document(NAME)


def _oracle_head(url: str, seconds: float) -> object:
    with closing(Store(url, timeout=seconds)) as store:
        return store.has("containers", NAME)


def _oracle_put(url: str, seconds: float) -> None:
    with closing(Store(url, timeout=seconds)) as store:
        store.put_document(b"document")


def _client(url: str, seconds: float) -> object:
    with closing(Connection(url, service="store", timeout=seconds)) as connection:
        return connection.get("/v1/documents/x", what="document", limit=1000)


def _client_post(url: str, seconds: float) -> object:
    with closing(Connection(url, service="store", timeout=seconds)) as connection:
        return connection.send("POST", "/v1/requests", b"{}", what="request")


def _rpc(url: str, seconds: float) -> object:
    with closing(Rpc(url, timeout=seconds)) as rpc:
        return rpc.call("eth_chainId")


def _collateral(url: str, monkeypatch: pytest.MonkeyPatch) -> object:
    monkeypatch.setattr("sealmarket.attestation.collateral.fetch.SECONDS", SECONDS)
    with Fetcher() as fetcher:
        return fetcher.get(f"{url}/vcek/v1/Milan/cert_chain", {})


CLIENTS: dict[str, tuple[Callable[[str, float], object], tuple[type[SealmarketError], ...]]] = {
    "a node reads a document": (_oracle, (ServiceUnavailable, ServiceRefused)),
    "a node asks for a blob": (_oracle_head, (ServiceUnavailable, ServiceRefused)),
    "a node keeps a document": (_oracle_put, (ServiceUnavailable, ServiceRefused)),
    "a client reads": (_client, (ServiceUnavailable, ServiceRefused)),
    "a client posts": (_client_post, (ServiceUnavailable, ServiceRefused)),
    "anybody reads the chain": (_rpc, (ChainUnavailable,)),
}


READS_A_BODY = CLIENTS.keys() - {"a node asks for a blob", "a node keeps a document"}


@pytest.mark.parametrize(
    ("who", "what"),
    [
        *((who, what) for who in sorted(CLIENTS) for what in ("headers", "nothing")),
        *((who, what) for who in sorted(READS_A_BODY) for what in ("a body", "a bomb")),
    ],
)
def test_every_client_is_out_in_time_with_its_own_error(who: str, what: str, server: Server) -> None:
    server.behave = bomb if what == "a bomb" else DRIPS[what]
    call, errors = CLIENTS[who]
    importlib.import_module("web3")  # takes seconds on a busy machine, and is none of the request's
    begun = time.monotonic()
    with pytest.raises(errors):
        call(server.url, PATIENCE if what == "a bomb" else SECONDS)
    assert time.monotonic() - begun < SECONDS + SOON


@pytest.mark.parametrize("what", ["a body", "a bomb"])
def test_a_vendors_server_is_bounded_too(what: str, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    server.behave = bomb if what == "a bomb" else DRIPS[what]
    with pytest.raises(CollateralError):
        _collateral(server.url, monkeypatch)


def test_a_client_reads_little_of_a_long_error_and_still_says_what_it_is(server: Server) -> None:
    server.behave = flood(b"HTTP/1.1 404 no\r\n\r\n")
    with pytest.raises(ItemNotFound):
        _client(server.url, PATIENCE)
    server.behave = flood(b"HTTP/1.1 500 no\r\n\r\n")
    with pytest.raises(ServiceUnavailable, match="HTTP 500"):
        _client(server.url, PATIENCE)


# --- keys in URLs, and proxies -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://user:secret@host:8443/v3/secret?key=secret#secret", "https://host:8443/…"),
        ("http://[::1]:8545", "http://[::1]:8545"),
        ("http://host/", "http://host"),
        ("secret", "(no URL)"),
        ("http://[secret", "(no URL)"),
        ("http://host:secret/", "(no URL)"),
    ],
)
def test_a_url_is_printed_without_what_may_be_a_key(url: str, shown: str) -> None:
    assert redacted(url) == shown
    assert "secret" not in str(NoAnswer(url, "why")) + str(AnswerTooLarge(url, 1)) + str(EncodedAnswer(url, "gzip"))


@pytest.mark.parametrize(
    ("url", "proxied"),
    [
        ("http://far.example/x", True),
        ("http://127.0.0.1:1", False),
        ("http://localhost.:1", False),
    ],
)
def test_a_proxy_of_the_environment_is_asked_for_everything_but_this_machine(
    url: str, proxied: bool, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.behave = lambda connection: connection.sendall(OK + b"content-length: 2\r\n\r\nok")
    monkeypatch.setenv("http_proxy", server.url)
    with closing(HttpClient(seconds=PATIENCE)) as client:
        if proxied:
            assert get(client, url) == b"ok"
        else:
            with pytest.raises(NoAnswer):
                get(client, url)
    assert bool(server.heads) is proxied


def test_a_proxy_that_cannot_be_used_is_told_without_its_password(
    client: HttpClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "gopher://user:secret@proxy.example")
    with pytest.raises(NoAnswer, match=r"proxy gopher://proxy\.example cannot be used") as refused:
        get(client, "http://far.example")
    assert "secret" not in str(refused.value)


def test_an_error_of_the_callers_own_is_not_said_to_be_the_servers() -> None:
    """Bytes that the caller cannot decode are its own matter: the server has answered."""
    transport = httpx.MockTransport(lambda _: httpx.Response(200, stream=httpx.ByteStream(b"\xff")))
    asking = HttpClient(seconds=PATIENCE, transport=transport).ask("GET", "http://node.test", limit=10)
    with pytest.raises(UnicodeDecodeError), asking:
        b"\xff".decode()
