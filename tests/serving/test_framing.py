"""An answer leaves in as few pieces as it can, and in the same bytes as without."""

from __future__ import annotations

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sealmarket.serving.framing import StrictConnection

REQUEST = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
Connection = h11.Connection


def asked(connection: Connection, request: bytes = REQUEST) -> Connection:
    """A connection whose request was read."""
    connection.receive_data(request)
    while connection.next_event() is not h11.NEED_DATA:
        if connection.their_state is h11.DONE:
            break
    return connection


def written(connection: Connection, head: h11.Response, parts: list[bytes]) -> list[bytes]:
    """What each part of an answer makes the server write."""
    events = [head, *(h11.Data(data=part) for part in parts), h11.EndOfMessage()]
    return [connection.send(event) or b"" for event in events]


def answer(*parts: bytes, status: int = 200) -> h11.Response:
    length = str(sum(map(len, parts))).encode()
    return h11.Response(status_code=status, headers=[(b"content-length", length)], reason=b"OK")


def test_an_answer_that_states_its_length_leaves_in_one_piece() -> None:
    pieces = written(asked(StrictConnection(1 << 14)), answer(b"body"), [b"body"])
    assert [bool(piece) for piece in pieces] == [False, True, False]
    assert pieces[1].endswith(b"\r\n\r\nbody")


def test_the_head_of_a_stream_leaves_at_once() -> None:
    head = h11.Response(status_code=200, headers=[(b"content-type", b"text/event-stream")], reason=b"OK")
    pieces = written(asked(StrictConnection(1 << 14)), head, [b"id: 1\n\n"])
    assert pieces[0].startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"id: 1" in pieces[1]


@pytest.mark.parametrize("request_line", [REQUEST, REQUEST.replace(b"GET", b"HEAD")], ids=["GET", "HEAD"])
@pytest.mark.parametrize("status", [200, 204, 304])
def test_an_answer_without_a_body_leaves_whole(request_line: bytes, status: int) -> None:
    pieces = written(asked(StrictConnection(1 << 14), request_line), answer(status=status), [b""])
    assert b"".join(pieces).startswith(f"HTTP/1.1 {status} OK\r\n".encode())


@given(st.lists(st.binary(max_size=64), min_size=1, max_size=4), st.integers(1, 3))
def test_the_bytes_are_those_of_the_parser_itself_request_after_request(parts: list[bytes], requests: int) -> None:
    ours, plain = StrictConnection(1 << 14), h11.Connection(h11.SERVER, 1 << 14)
    for _ in range(requests):
        found, expected = (b"".join(written(asked(one), answer(*parts), parts)) for one in (ours, plain))
        assert found == expected
        ours.start_next_cycle()
        plain.start_next_cycle()
