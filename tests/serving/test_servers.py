"""Whoever opens connections, sends slowly or sends much costs themselves their connection, and nobody an answer."""

from __future__ import annotations

import resource
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from fastapi import FastAPI, Request
from fastapi.responses import Response

from sealmarket.serving.errors import AddressTaken, LimitInvalid, TooFewDescriptors
from sealmarket.serving.limits import ServerLimits, from_environment
from sealmarket.serving.rates import MOST_PEERS, Rates, forwarded_peer, peer_of
from sealmarket.serving.requests import peer_in
from sealmarket.serving.start import ACCEPTED_AT_ONCE, BACKLOG, listen, require_descriptors
from tests.patience import PATIENCE, until
from tests.serving.attacks import PATIENT, Served, busy, read_to_end, served

SOMAXCONN = Path("/proc/sys/net/core/somaxconn")
SHORT = 0.4
"""The limit that a test is about, in seconds."""
SELDOM = 0.001
"""Requests a second, where a test counts a burst: the next one takes a quarter of an hour."""
HEAD = b"PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: "


def application() -> FastAPI:
    app = FastAPI()

    @app.get("/healthz")
    async def health(request: Request) -> dict[str, str]:
        return {"peer": peer_in(request.scope)}

    @app.put("/")
    async def put(request: Request) -> dict[str, int]:
        return {"bytes": sum([len(piece) async for piece in request.stream()])}

    @app.get("/much")
    async def much() -> Response:
        return Response(bytes(32 << 20))

    return app


@contextmanager
def running(limits: ServerLimits = PATIENT) -> Iterator[Served]:
    with served(application(), limits) as found:
        yield found


def drips_until_hang_up(one: socket.socket) -> bool:
    """Send a byte every now and then for as long as the server takes it."""
    pause = threading.Event()

    def is_over() -> bool:
        try:
            one.sendall(b"x")
        except OSError:
            return True
        return pause.wait(SHORT / 10)

    return until("the end of a connection that drips", is_over)


def status(answer: bytes) -> bytes:
    return answer.split(b"\r\n")[0]


@pytest.mark.loopback
def test_1100_idle_connections_silence_nobody() -> None:
    with running() as found, ExitStack() as held:
        for _ in range(1100):
            held.enter_context(found.connect())
        assert found.get().status_code == 200  # long before any of them is given up
        assert len(found.connections) <= PATIENT.connections_per_peer


@pytest.mark.loopback
def test_a_thousand_connections_may_wait_and_few_are_accepted_before_the_others_are_served() -> None:
    """``flood_connections``: each step of a request waited for all newcomers, up to a thousand."""
    with running() as found:
        assert found.get().status_code == 200  # it has started
        [server] = found.server.servers
        [bound] = server.sockets
        assert server._backlog == ACCEPTED_AT_ONCE  # type: ignore[attr-defined]
        # Linux shows the length of a listening socket's queue in the field of its selectively acknowledged segments.
        shown = bound.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104)
        assert int.from_bytes(shown[28:32], "little") == min(BACKLOG, int(SOMAXCONN.read_text()))


@pytest.mark.loopback
def test_of_all_connections_the_largest_peers_make_room() -> None:
    with running(replace(PATIENT, connections=8)) as found, ExitStack() as held:
        for _ in range(20):
            held.enter_context(found.connect())
        assert found.get().status_code == 200
        assert len(found.connections) <= 8


@pytest.mark.loopback
def test_where_every_connection_is_busy_the_next_has_to_come_later() -> None:
    with running(replace(PATIENT, connections=2)) as found, ExitStack() as held:
        for _ in range(2):
            held.enter_context(found.sent(HEAD + b"10\r\n\r\n"))
        until("both to be busy", lambda: busy(found) == 2)
        assert status(read_to_end(found.connect())) == b"HTTP/1.1 503 Service Unavailable"


@pytest.mark.loopback
@pytest.mark.parametrize("raw", [b"", b"GET / HT", b"GET /healthz HTTP/1.1\r\nHost: x\r\nX: "])
def test_a_connection_without_whole_headers_ends_at_the_deadline(raw: bytes) -> None:
    with running(replace(PATIENT, header_seconds=SHORT)) as found:
        assert read_to_end(found.sent(raw)) == b""


@pytest.mark.loopback
def test_headers_that_drip_end_at_the_same_deadline() -> None:
    limits = replace(PATIENT, header_seconds=SHORT)
    with running(limits) as found, found.sent(b"GET /healthz HTTP/1.1\r\nHost: x\r\nX: ") as one:
        assert drips_until_hang_up(one)


@pytest.mark.loopback
def test_headers_beyond_their_size_are_refused() -> None:
    with running() as found:
        assert status(read_to_end(found.sent(b"GET / HTTP/1.1\r\nX: " + b"x" * 20_000))).startswith(b"HTTP/1.1 400")


@pytest.mark.loopback
def test_a_body_that_stalls_is_cut_off_with_a_reason() -> None:
    with running(replace(PATIENT, stall_seconds=SHORT)) as found:
        answer = read_to_end(found.sent(HEAD + b"60000\r\n\r\nfirst"))
        assert status(answer) == b"HTTP/1.1 408 Request Timeout"
        assert b"the body came too slowly" in answer


@pytest.mark.loopback
def test_a_body_that_drips_is_cut_off_as_well() -> None:
    limits = replace(PATIENT, body_seconds=SHORT, body_pace=1 << 20)
    with running(limits) as found, found.sent(HEAD + b"60000\r\n\r\n") as one:
        assert drips_until_hang_up(one)


@pytest.mark.loopback
def test_a_body_that_says_or_shows_that_it_is_too_large_is_refused() -> None:
    with running(replace(PATIENT, body_bytes=10)) as found:
        assert status(read_to_end(found.sent(HEAD + b"11\r\n\r\n"))).startswith(b"HTTP/1.1 413")
        chunked = b"PUT / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nb\r\n" + b"x" * 11 + b"\r\n0\r\n\r\n"
        assert status(read_to_end(found.sent(chunked))).startswith(b"HTTP/1.1 413")


def ask_for_much(one: socket.socket) -> None:
    """Ask for more than the system buffers, and wait for the first byte of it."""
    one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    one.sendall(b"GET /much HTTP/1.1\r\nHost: x\r\n\r\n")
    assert one.recv(1) == b"H"


@pytest.mark.loopback
def test_a_reader_that_takes_nothing_of_an_answer_loses_the_connection() -> None:
    with running(replace(PATIENT, stall_seconds=SHORT)) as found, found.connect() as one:
        ask_for_much(one)
        until("the connection's end", lambda: len(found.connections) == 0)


@pytest.mark.loopback
def test_a_reader_that_takes_an_answer_a_little_at_a_time_loses_the_connection() -> None:
    limits = replace(PATIENT, body_seconds=SHORT, body_pace=64 << 20)
    with running(limits) as found, found.connect() as one:
        ask_for_much(one)
        pause = threading.Event()

        def is_over() -> bool:
            if len(found.connections):
                one.recv(4096)
                pause.wait(SHORT / 10)
            return len(found.connections) == 0

        until("the connection's end", is_over)


@pytest.mark.loopback
def test_an_answer_in_progress_outlasts_the_time_between_requests() -> None:
    with running(replace(PATIENT, idle_seconds=SHORT)) as found, found.connect() as one:
        one.sendall(b"GET /much HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        taken, pause = 0, threading.Event()
        while piece := one.recv(1 << 20):
            taken += len(piece)
            pause.wait(SHORT / 10)  # of each MiB at most: four seconds in all
        assert taken > 32 << 20


@pytest.mark.loopback
def test_a_server_that_has_to_stop_waits_for_no_request_longer_than_its_bound() -> None:
    with running(replace(PATIENT, shutdown_seconds=1)) as found, found.sent(HEAD + b"60000\r\n\r\nfirst"):
        until("the request to be under way", lambda: busy(found) == 1)
        found.stop()
        assert busy(found) == 0


@pytest.mark.loopback
def test_too_many_requests_get_a_time_to_come_back() -> None:
    with running(replace(PATIENT, requests_per_second=SELDOM, request_burst=2)) as found:
        answers = [found.get() for _ in range(3)]
        assert [answer.status_code for answer in answers] == [200, 200, 429]
        assert 1 / SELDOM - PATIENCE < int(answers[2].headers["retry-after"]) <= 1 / SELDOM


@pytest.mark.loopback
def test_large_answers_count_as_many_requests_and_files_do_not() -> None:
    """``flood_orders``: whoever asked for long lists kept the processor for themselves."""
    app = application()

    @app.get("/list")
    async def long_list() -> Response:
        return Response(bytes(64 << 10), media_type="application/json")

    @app.get("/file")
    async def file() -> Response:
        return Response(bytes(64 << 10), media_type="application/octet-stream")

    limits = replace(PATIENT, requests_per_second=SELDOM, request_burst=8, bytes_a_request=16 << 10)
    for path, allowed in (("/list", 2), ("/file", 8)):
        with served(app, limits) as found:
            codes = [found.get(path).status_code for _ in range(9)]
            assert codes == [200] * allowed + [429] * (9 - allowed), path


@pytest.mark.loopback
def test_what_changes_something_has_a_rate_of_its_own() -> None:
    with running(replace(PATIENT, writes_per_second=SELDOM, write_burst=1)) as found:
        puts = [read_to_end(found.sent(HEAD + b"0\r\nConnection: close\r\n\r\n")) for _ in range(2)]
        assert [status(one).split()[1] for one in puts] == [b"200", b"429"]
        assert found.get().status_code == 200


@pytest.mark.loopback
def test_a_header_about_the_peer_is_believed_from_trusted_proxies_only() -> None:
    claimed = {"x-forwarded-for": "203.0.113.9, 198.51.100.7"}
    with running() as found:
        assert found.get(headers=claimed).json() == {"peer": "127.0.0.1"}
    with running(replace(PATIENT, trusted_proxies=("127.0.0.1",))) as found:
        assert found.get(headers=claimed).json() == {"peer": "198.51.100.7"}


@pytest.mark.loopback
def test_a_connection_serves_one_request_after_another() -> None:
    with running() as found, found.connect() as one:
        for _ in range(2):
            one.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
            answer = b""
            while not answer.endswith(b"}"):
                answer += one.recv(65536)
            assert answer.startswith(b"HTTP/1.1 200")


@pytest.mark.loopback
def test_a_connection_that_asks_for_nothing_more_ends() -> None:
    with running(replace(PATIENT, idle_seconds=SHORT)) as found:
        assert read_to_end(found.sent(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")).endswith(b"}")


@pytest.mark.loopback
def test_an_address_that_is_taken_is_named() -> None:
    with listen("127.0.0.1", 0) as first, pytest.raises(AddressTaken, match=r"cannot listen on 127\.0\.0\.1"):
        listen("127.0.0.1", first.getsockname()[1])


def test_more_connections_than_the_system_has_descriptors_for_are_refused() -> None:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    with pytest.raises(TooFewDescriptors, match=f"the system allows {hard}"):
        require_descriptors(ServerLimits(connections=hard))


@pytest.mark.parametrize("text", ["", "many", "-1", "0", "1e400", "nan"])
def test_a_limit_that_is_no_number_in_range_is_refused(text: str) -> None:
    with pytest.raises(LimitInvalid, match="SEALMARKET_SERVER_IDLE_SECONDS"):
        from_environment(ServerLimits(), {"SEALMARKET_SERVER_IDLE_SECONDS": text})


def test_limits_come_from_the_environment() -> None:
    found = from_environment(
        ServerLimits(), {"SEALMARKET_SERVER_CONNECTIONS": "9", "SEALMARKET_SERVER_TRUSTED_PROXIES": "10.0.0.1, ::1"}
    )
    assert (found.connections, found.trusted_proxies) == (9, ("10.0.0.1", "::1"))


def test_a_peer_is_an_address_or_a_network_of_which_anybody_has_plenty() -> None:
    assert peer_of("192.0.2.1") == peer_of("::ffff:192.0.2.1") == "192.0.2.1"
    assert peer_of("2001:db8::1") == peer_of("2001:db8::ffff") == "2001:db8::/64"
    assert peer_of("nonsense") == "unknown"
    assert forwarded_peer("192.0.2.1", "203.0.113.9", ()) == "192.0.2.1"


def test_who_was_given_much_waits_no_longer_than_a_burst_takes() -> None:
    now = [0.0]
    rates = Rates(1, 10, clock=lambda: now[0])
    rates.charge("one", 10**9)
    assert rates.wait_for("one") == 11.0
    assert rates.wait_for("other") == 0.0
    now[0] = 11.0
    assert rates.wait_for("one") == 0.0


def test_peers_beyond_the_memory_of_a_rate_are_forgotten() -> None:
    rates = Rates(1, 1, clock=lambda: 0.0)
    assert [rates.wait_for("first"), rates.wait_for("first")] == [0.0, 1.0]
    for number in range(MOST_PEERS):
        rates.wait_for(str(number))
    assert rates.wait_for("first") == 0.0
