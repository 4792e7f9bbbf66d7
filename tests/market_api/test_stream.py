"""A reader of changes is cut off and goes on: each change comes once, and a server that sends anything else is left."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import islice

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sealmarket.chain.memory import MemoryChain
from sealmarket.chain.model import Account
from sealmarket.market_api.stream import LONGEST_LINE, MOST_FAILURES, Changed, ChangeStream, Missed, messages
from sealmarket.protocol.problems import Problem
from sealmarket.service.errors import ServiceRefused, ServiceUnavailable
from sealmarket_backend.api import create_app
from sealmarket_backend.service import Backend
from sealmarket_enclave.protocol.codec import Bytes32, Uint, Wei
from sealmarket_enclave.protocol.hashing import keccak
from tests.backend.api.conftest import backend, chain
from tests.backend.orders import compute
from tests.backend.test_api import SOON
from tests.serving.attacks import PATIENT, served

__all__ = ["backend", "chain"]
URL = "http://market"


def line(number: int) -> bytes:
    """The event of one change."""
    return b'id: e-%d\nevent: jobs\ndata: {"subject":"%s","state":"quoted"}\n\n' % (
        number,
        str(keccak(b"%d" % number)).encode(),
    )


def number_in(asked: str | None) -> int:
    return int(asked.partition("-")[2]) if asked else 0


class Server:
    """Answers each request as a test says; remembers from which id it was asked."""

    def __init__(self, answer: Callable[[int], httpx.Response]) -> None:
        self._answer = answer
        self.asked: list[str | None] = []
        self.paused: list[float] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request.headers.get("last-event-id"))
        return self._answer(number_in(self.asked[-1]))

    def stream(self) -> ChangeStream:
        """A reader of it that does not wait."""
        return ChangeStream(URL, transport=httpx.MockTransport(self), pause=self.paused.append)


def unreachable(_position: int) -> httpx.Response:
    raise httpx.ConnectError("no route")


def test_a_server_that_does_not_answer_is_reported_at_once() -> None:
    server = Server(unreachable)
    with pytest.raises(ServiceUnavailable, match="no route"):
        next(server.stream().follow())
    assert len(server.asked) == 1


@pytest.mark.parametrize("body", [b"{}", b"<html>", b"\xff" * 9999])
def test_a_refusal_in_any_form_ends_the_stream(body: bytes) -> None:
    server = Server(lambda _position: httpx.Response(422, content=body))
    with pytest.raises(ServiceRefused, match="HTTP 422"):
        next(server.stream().follow())


def test_a_refusal_says_what_the_server_found_and_what_it_takes() -> None:
    problem = Problem(title="Malformed document", status=422, detail="found 'blah'", remedy="give the id of an event")
    server = Server(lambda _position: httpx.Response(422, content=problem.canonical()))
    with pytest.raises(ServiceRefused, match="Malformed document: found 'blah'") as refused:
        next(server.stream().follow(last_id="blah-0"))
    assert refused.value.remedy == problem.remedy


@pytest.mark.parametrize(
    "body",
    [
        b"event: jobs\ndata: no JSON\n\n",
        b"event: jobs\ndata: {}\n\n",
        b"id: \xff\n\n",
        b"data: " + b"x" * 9999,
        "id: é\n\n".encode(),
        b"id: a\rplanted: b\n\n",
        b"id: " + b"1" * 41 + b"\n\n",
    ],
    ids=["no JSON", "no change", "no text", "a line without end", "no ASCII", "a header of its own", "a long id"],
)
def test_what_is_no_stream_of_changes_is_refused(body: bytes) -> None:
    with pytest.raises(ServiceRefused):
        next(Server(lambda _position: httpx.Response(200, content=body)).stream().follow())


def test_topics_that_the_server_refuses_are_refused() -> None:
    with pytest.raises(ServiceRefused, match="HTTP 422"):
        next(Server(lambda _position: httpx.Response(422)).stream().follow(["planted"]))


def test_a_server_that_ends_each_stream_at_once_is_given_up() -> None:
    server = Server(lambda position: httpx.Response(200, content=line(1) if not position else b""))
    stream = server.stream().follow()
    assert isinstance(next(stream), Changed)
    with pytest.raises(ServiceUnavailable, match="at once"):
        next(stream)
    assert len(server.asked) == MOST_FAILURES + 1
    assert server.paused == sorted(server.paused)


def test_a_reader_goes_on_behind_the_last_id_also_before_the_first_change() -> None:
    answers = iter([b": open\nid: e-7\n\n", b": still here\nid: e-9\n\n" + line(12), line(13)])
    server = Server(lambda _position: httpx.Response(200, content=next(answers)))
    found = list(islice(server.stream().follow(), 2))
    assert [one.id for one in found] == ["e-12", "e-13"]
    assert server.asked == [None, "e-7", "e-12"]


def test_a_server_that_says_where_it_is_and_ends_is_not_asked_again_at_once() -> None:
    ends = b': open\nid: e-7\n\nevent: end\ndata: {"reason":"the server stops"}\n\n'
    answers = iter([line(6), ends, ends, line(8)])
    server = Server(lambda _position: httpx.Response(200, content=next(answers)))
    assert [one.id for one in islice(server.stream().follow(), 2)] == ["e-6", "e-8"]
    assert server.paused == [0.0, 1.0, 1.0]


def test_what_the_server_no_longer_knows_is_said() -> None:
    body = b'id: e-9\nevent: reset\ndata: {"reason":"read the lists again"}\n\n' + line(10)
    stream = Server(lambda _position: httpx.Response(200, content=body)).stream().follow(last_id="old-3")
    assert list(islice(stream, 2)) == [
        Missed("e-9", "read the lists again"),
        Changed("e-10", "jobs", Bytes32(keccak(b"10")), "quoted"),
    ]


@settings(max_examples=40, deadline=None)
@given(cuts=st.lists(st.integers(0, 400), min_size=1, max_size=12), count=st.integers(1, 12))
def test_wherever_a_line_is_cut_each_change_comes_once_and_in_order(cuts: list[int], count: int) -> None:
    left = iter(cuts)

    def answer(position: int) -> httpx.Response:
        whole = b": open\nid: e-%d\n\n" % position + b"".join(map(line, range(position + 1, count + 1)))
        cut = next(left, None)
        return httpx.Response(200, content=whole if cut is None else whole[: max(20, cut)])

    found = islice(Server(answer).stream().follow(last_id="e-0"), count)
    assert [one.id for one in found] == [f"e-{number}" for number in range(1, count + 1)]


@given(body=st.binary(max_size=600), size=st.integers(1, 50))
def test_any_bytes_are_messages_or_refused(body: bytes, size: int) -> None:
    def pieces() -> Iterator[bytes]:
        yield from (body[at : at + size] for at in range(0, len(body), size))

    with suppress(ServiceRefused):
        assert all(len(message.data) <= LONGEST_LINE for message in messages(pieces()))


@pytest.mark.loopback
def test_an_offer_that_is_accepted_between_two_parts_reaches_its_reader(backend: Backend, chain: MemoryChain) -> None:
    offers = [compute(expiry=SOON, salt=Uint(salt)) for salt in range(3)]
    for signed in offers:
        chain.set_account(signed.order.token, signed.order.provider, Account(Wei(0), Wei(10**18)))
    with served(create_app(backend), PATIENT) as server:
        stream = ChangeStream(server.url)
        first = stream.follow(["compute-orders"], last_id=f"{_epoch(backend)}-0")
        backend.orders.add_compute_order(offers[0], 0)
        one = next(first)
        first.close()
        for signed in offers[1:]:
            backend.orders.add_compute_order(signed, 0)
        rest = list(islice(stream.follow(["compute-orders"], last_id=one.id), 2))
        stream.close()
    found = [change.subject for change in (one, *rest) if isinstance(change, Changed)]
    assert found == [signed.order.struct_hash() for signed in offers]


def _epoch(backend: Backend) -> str:
    (row,) = backend.database.rows("SELECT epoch FROM changes_epoch")
    return str(row["epoch"])
