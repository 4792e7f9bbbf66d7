"""Streams of changes: bounded in number, ended with a reason, and taken up again without a gap."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from typing import Any

import msgspec
import pytest
from fastapi import FastAPI
from fastapi.responses import StreamingResponse
from hypothesis import given, settings
from hypothesis import strategies as st

from sealmarket.chain.memory import MemoryChain
from sealmarket.chain.model import Account
from sealmarket.serving.requests import EVENT_STREAM
from sealmarket_backend.api import create_app, streams
from sealmarket_backend.api.streams import Streams, Wanted
from sealmarket_backend.changes import TOPICS, Change, Changes
from sealmarket_backend.database import migrate, triggers
from sealmarket_backend.errors import StorageFailed, TooMany
from sealmarket_backend.service import Backend
from sealmarket_backend.tables import Database
from sealmarket_enclave.protocol.codec import Bytes32, Wei, canonical_json
from sealmarket_enclave.protocol.errors import MalformedDocument
from sealmarket_enclave.protocol.hashing import keccak
from tests import samples
from tests.backend.orders import compute
from tests.backend.test_api import SOON, Client
from tests.patience import PATIENCE, until
from tests.serving.attacks import PATIENT, served

ALL = Wanted(frozenset(TOPICS))
PEER = "10.0.0.1"
SHORT = 0.4
Event = tuple[str, str, dict[str, str]]


_OFFER = "INSERT INTO asset_orders (order_hash, asset_id, version, body, sequence, expiry) VALUES (?, ?, 1, ?, ?, 1)"


def insert(database: Database, *numbers: int) -> None:
    """An offer each."""
    with database.write() as connection:
        for number in numbers:
            connection.execute(_OFFER, (keccak(b"%d" % number), bytes(32), b"", number))


def events(raw: bytes) -> list[Event]:
    """Id, topic and data of each event; comments are left out."""
    found = []
    for block in raw.decode().split("\n\n"):
        lines = dict(line.split(": ", 1) for line in block.splitlines() if not line.startswith(":"))
        if "event" in lines:
            found.append((lines["id"], lines["event"], msgspec.json.decode(lines["data"])))
    return found


async def soon(found: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not found():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)


async def read(stream: AsyncIterator[bytes], count: int) -> list[Event]:
    """So many events, or those up to the end."""
    found: list[Event] = []
    async with asyncio.timeout(PATIENCE):
        while len(found) < count:
            try:
                found += events(await anext(stream))
            except StopAsyncIteration:
                break
    return found


def run(made: Callable[[], Awaitable[None]]) -> None:
    async def inner() -> None:
        await made()

    asyncio.run(inner())


def test_an_id_that_is_none_and_topics_that_are_none_are_refused(database: Database, client: Client) -> None:
    async def refused() -> None:
        for bad in ("x", "ab-", "ab-x", "-1", "ab-" + "1" * 60, "ab-²"):
            with pytest.raises(MalformedDocument):
                await Streams(Changes(database)).begin(ALL, bad, PEER)

    run(refused)
    for path in ("/v1/events", "/v1/events?topics=", "/v1/events?topics=jobs,all", "/v1/events?topics=jobs&subject=0x"):
        assert client.get(path).status_code == 422, path


def test_streams_are_bounded_in_number_and_for_each_peer(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "MOST_OF_PEER", 2)
    monkeypatch.setattr(streams, "MOST_STREAMS", 3)

    async def fill() -> None:
        found = Streams(Changes(database))
        held = [await found.begin(ALL, None, peer) for peer in (PEER, PEER, "10.0.0.2")]
        late = await found.begin(ALL, None, "10.0.0.3")
        for one in held:
            await anext(one)
        for peer in (PEER, "10.0.0.3"):
            with pytest.raises(TooMany):
                await found.begin(ALL, None, peer)
        [(_, name, data)] = await read(late, 1)  # it was let in while there was room, and comes too late
        assert (name, "too many" in data["reason"]) == ("end", True)
        await held[0].aclose()  # type: ignore[attr-defined]
        assert found.count == 2
        await anext(await found.begin(ALL, None, PEER))

    run(fill)


def test_a_reader_that_falls_behind_is_told_so_and_ended(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "MOST_BEHIND", 5)
    monkeypatch.setattr(streams, "BATCH", 2)

    async def fall_behind() -> None:
        found = Streams(Changes(database))
        slow = await found.begin(ALL, None, PEER)
        await anext(slow)
        insert(database, *range(20))
        await soon(lambda: found._newest == 20)
        *told, (_, name, data) = await read(slow, 99)
        assert (len(told), name, "too slow" in data["reason"]) == (2, "end", True)
        again = await read(await found.begin(ALL, told[-1][0], PEER), 18)
        assert [one[0].split("-")[1] for one in again] == [str(number) for number in range(3, 21)]

    run(fall_behind)


@pytest.mark.parametrize(
    "last", ["00000000-3", "{epoch}-{gone}", "{epoch}-{future}"], ids=["another database's", "gone", "future"]
)
def test_where_what_came_since_is_not_kept_the_reader_is_told_to_read_the_lists_again(
    database: Database, last: str
) -> None:
    found = Changes(database)
    insert(database, *range(5))
    newest = found.newest()
    with database.write() as connection:
        connection.execute("DELETE FROM changes WHERE id <= ?", (newest - 2,))

    async def again() -> None:
        made = Streams(found)
        last_id = last.format(epoch=found.epoch, gone=newest - 4, future=newest + 90)
        stream = await made.begin(ALL, last_id, PEER)
        [(number, name, _)] = await read(stream, 1)
        assert (number, name) == (f"{found.epoch}-{newest}", "reset")
        insert(database, 6)
        assert [one[1] for one in await read(stream, 1)] == ["asset-orders"]

    run(again)


@given(cuts=st.lists(st.integers(0, 12), max_size=4), batch=st.integers(1, 5))
@settings(max_examples=10, deadline=None)
def test_however_often_a_stream_is_cut_every_change_comes_once_and_in_order(cuts: list[int], batch: int) -> None:
    async def cut(database: Database) -> None:
        found = Changes(database)
        last, seen = f"{found.epoch}-0", list[str]()
        for number, size in enumerate([*cuts, 99]):
            insert(database, *range(number * 3, number * 3 + 3))
            left = found.newest() - len(seen)
            stream = await Streams(found).begin(ALL, last, PEER)
            for one in (await read(stream, min(size, left)))[: min(size, left)]:
                seen.append(one[2]["subject"])
                last = one[0]
            await stream.aclose()  # type: ignore[attr-defined]
        assert seen == [str(keccak(b"%d" % number)) for number in range(3 * len(cuts) + 3)]

    with pytest.MonkeyPatch.context() as patch, Database(None) as database:
        patch.setattr(streams, "BATCH", batch)
        run(lambda: cut(database))


def test_the_lines_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    assert triggers.KEPT >= streams.MOST_BEHIND
    monkeypatch.setattr(triggers, "KEPT", 10)
    monkeypatch.setattr(migrate, "statements", migrate.statements.__wrapped__)
    with Database(None) as database:
        found = Changes(database)
        insert(database, *range(47))
        assert [one.id for one in found.after(0, 99)] == list(range(31, 48))
        assert not found.reaches(29)
        assert found.reaches(30)


def test_a_change_that_was_taken_back_leaves_a_gap_that_hides_no_later_one(database: Database) -> None:
    def lose(number: int) -> None:
        with database.write() as connection:
            connection.execute("SAVEPOINT lost")
            connection.execute(_OFFER, (keccak(b"%d" % number), bytes(32), b"", number))
            connection.execute("ROLLBACK TO lost")

    async def follow() -> None:
        stream = await Streams(Changes(database)).begin(ALL, None, PEER)
        await anext(stream)
        for number in range(1, 6):
            lose(90 + number)
            insert(database, number)
            [(_, _, data)] = await read(stream, 1)
            assert data["subject"] == str(keccak(b"%d" % number))

    run(follow)


class Away(Changes):
    """Lines of a database that goes away for so many readings."""

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self.away = 0

    def after(self, number: int, limit: int) -> list[Change]:
        if self.away:
            self.away -= 1
            raise StorageFailed("the connection is gone")
        return super().after(number, limit)


def test_a_stream_goes_on_once_a_database_that_went_away_answers_again(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "POLL_SECONDS", 0.0)

    async def come_back() -> None:
        changes = Away(database)
        stream = await Streams(changes).begin(ALL, None, PEER)
        await anext(stream)
        changes.away = 3
        await soon(lambda: not changes.away)
        insert(database, 1)
        assert [one[1] for one in await read(stream, 1)] == ["asset-orders"]

    run(come_back)


def test_when_the_server_stops_streams_end_with_a_reason(database: Database) -> None:
    async def stop() -> None:
        found = Streams(Changes(database))
        stream = await found.begin(ALL, None, PEER)
        await anext(stream)
        found.end()
        [(_, name, data)] = await read(stream, 1)
        assert (name, "the server stops" in data["reason"]) == ("end", True)

    run(stop)


def test_a_stream_ends_after_its_longest_time(database: Database) -> None:
    now = [0.0]

    async def grow_old() -> None:
        stream = await Streams(Changes(database), clock=lambda: now[0]).begin(ALL, None, PEER)
        await anext(stream)
        now[0] = streams.LONGEST_SECONDS + 1
        insert(database, 1)
        assert (await read(stream, 9))[-1][1] == "end"

    run(grow_old)


def test_orders_jobs_and_what_a_reorganisation_takes_away_are_told(
    client: Client, backend: Backend, chain: MemoryChain
) -> None:
    lines = Changes(backend.database)
    signed = compute(expiry=SOON)
    chain.set_account(signed.order.token, signed.order.provider, Account(Wei(0), signed.order.penalty))
    for _ in range(2):
        assert client.post("/v1/compute-orders", canonical_json(signed)).status_code == 201
    backend.orders.close_expired(SOON)
    job_id = chain.match(samples.job(samples.asset_use()))
    chain.finalise()
    backend.index.advance()
    chain.rewrite(3)
    chain.finalise()
    backend.index.advance()
    order = Bytes32(signed.order.struct_hash())
    assert [(one.topic, one.subject, one.state) for one in lines.after(0, 99)] == [
        ("compute-orders", order, "open"),
        ("compute-orders", order, "expired"),
        ("jobs", job_id, "matched"),
        ("jobs", job_id, "gone"),
    ]
    assert [one.subject for one in lines.after(0, 99) if Wanted(frozenset({"jobs"}), job_id).has(one)] == [job_id] * 2


def test_numbers_go_on_after_a_restart_and_another_database_has_another_epoch(tmp_path: Any) -> None:
    with Database(tmp_path / "one.sqlite") as database:
        first = Changes(database)
        insert(database, 1)
    with Database(tmp_path / "one.sqlite") as database, Database(None) as other:
        again = Changes(database)
        assert (again.epoch, again.newest()) == (first.epoch, 1)
        assert Changes(other).epoch != first.epoch


def endless() -> FastAPI:
    """An application with a stream that always has more."""
    app = FastAPI()

    async def pieces() -> AsyncIterator[bytes]:
        while True:
            yield b"data: " + b"x" * 65536 + b"\n\n"

    @app.get("/events")
    async def stream() -> StreamingResponse:
        return StreamingResponse(pieces(), media_type=EVENT_STREAM)

    return app


ASKED = b"GET /events HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.mark.loopback
def test_a_stream_outlasts_the_time_of_an_answer() -> None:
    with served(endless(), replace(PATIENT, body_seconds=SHORT, body_pace=1 << 40)) as found, found.sent(ASKED) as one:
        end = time.monotonic() + 3 * SHORT
        while time.monotonic() < end:
            assert one.recv(65536)
        assert one.recv(65536)


@pytest.mark.loopback
def test_a_reader_who_takes_nothing_of_a_stream_loses_the_connection() -> None:
    with served(endless(), replace(PATIENT, stall_seconds=SHORT)) as found, found.sent(ASKED) as one:
        assert one.recv(1) == b"H"
        until("the connection's end", lambda: len(found.connections) == 0)


@pytest.mark.loopback
def test_an_accepted_offer_reaches_a_reader_over_http(backend: Backend, chain: MemoryChain) -> None:
    signed = compute(expiry=SOON)
    chain.set_account(signed.order.token, signed.order.provider, Account(Wei(0), signed.order.penalty))
    with served(create_app(backend), PATIENT) as found, found.connect() as one:
        one.sendall(b"GET /v1/events?topics=compute-orders HTTP/1.1\r\nHost: x\r\n\r\n")
        raw = b""
        while b": open" not in raw:
            raw += one.recv(4096)
        assert b"content-type: text/event-stream" in raw
        backend.orders.add_compute_order(signed, 0)
        while b"compute-orders" not in raw:
            raw += one.recv(4096)
        assert str(signed.order.struct_hash()).encode() in raw
