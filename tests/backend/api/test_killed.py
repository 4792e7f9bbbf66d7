"""The process is killed before and behind the transaction of a POST; its client sends the same thing again.

Afterwards the order is there once, whatever the first process had done, and the key belongs to it alone.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest

from sealmarket.chain.memory import MemoryChain
from sealmarket.chain.model import Account
from sealmarket_backend.api import create_app
from sealmarket_backend.api.idempotency import HEADER
from sealmarket_backend.changes import Changes
from sealmarket_backend.service import Backend
from sealmarket_enclave.protocol.codec import Uint, Wei, canonical_json
from tests.backend.orders import BOOK, compute, posted_request
from tests.backend.test_api import SOON, Client, Silent
from tests.patience import PATIENCE

KEY = {HEADER: "0f" * 16}


@contextmanager
def running(folder: Path) -> Iterator[tuple[Backend, Client]]:
    """A backend on a folder, as after each start."""
    chain = MemoryChain(BOOK)
    chain.code = lambda _account, _block: b""  # type: ignore[method-assign,assignment]
    order = compute(expiry=SOON).order
    chain.set_account(order.token, order.provider, Account(Wei(0), order.penalty))
    with Backend(chain, Silent(), folder) as backend:  # type: ignore[arg-type]
        yield backend, Client(create_app(backend))


def post_and_die(folder: Path, path: str, body: bytes, *, written: bool) -> None:
    """Post, and end before or behind the first transaction, as if the power went; with success where there is none."""
    with running(folder) as (backend, client):
        write = backend.database.write

        @contextmanager
        def dying() -> Iterator[object]:
            with write() as connection:
                yield connection
                if not written:
                    os.kill(os.getpid(), signal.SIGKILL)
            os.kill(os.getpid(), signal.SIGKILL)

        backend.database.write = dying  # type: ignore[method-assign,assignment]
        client.send("POST", path, body, KEY)
    os._exit(0)


@pytest.mark.parametrize(("path", "table"), [("requests", "requests"), ("compute-orders", "compute_orders")])
def test_wherever_it_is_killed_no_accepted_order_is_lost_and_none_is_there_twice(
    path: str, table: str, tmp_path: Path
) -> None:
    documents = {
        "requests": [canonical_json(posted_request(expiry=SOON, salt=Uint(salt))) for salt in (1, 2)],
        "compute-orders": [canonical_json(compute(expiry=SOON, salt=Uint(salt))) for salt in (1, 2)],
    }
    body, other = documents[path]
    fork = multiprocessing.get_context("fork")
    for written in (False, True):
        folder = tmp_path / f"{written}"
        folder.mkdir()
        process = fork.Process(target=post_and_die, args=(folder, f"/v1/{path}", body), kwargs={"written": written})
        process.start()
        process.join(PATIENCE)
        assert process.exitcode == -signal.SIGKILL, written
        with running(folder) as (backend, client):
            assert len(backend.database.rows("SELECT name FROM idempotency_keys")) == written
            if written:
                assert client.send("POST", f"/v1/{path}", other, KEY).status_code == 422
            answers = [client.send("POST", f"/v1/{path}", body, KEY) for _ in range(2)]
            assert [answer.status_code for answer in answers] == [201, 201], written
            assert answers[0].content == answers[1].content
            rows = backend.database.rows(f"SELECT state FROM {table}")
            assert [row["state"] for row in rows] == ["open"], written
            told = [one for one in Changes(backend.database).after(0, 99) if one.topic == path]
            [named] = msgspec.json.decode(answers[0].content).values()
            assert [str(one.subject) for one in told] == [named]
