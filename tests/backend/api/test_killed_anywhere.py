"""The process is killed at every step that any request takes to the disk, and its client sends the same thing again.

Afterwards tables and store hold what they hold where nothing was killed. :mod:`.test_killed` says the same of orders
under an idempotency key, at each transaction.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from sealmarket.chain.memory import MemoryChain
from sealmarket.chain.model import Account
from sealmarket.protocol.merkle import Tree
from sealmarket.protocol.orders import Acknowledgement
from sealmarket.protocol.wire import LeafList, PostedResult, SignedAcknowledgement
from sealmarket_backend.api import create_app
from sealmarket_backend.database.schema import metadata
from sealmarket_backend.service import Backend
from sealmarket_backend.tables import Database
from sealmarket_enclave.protocol.codec import ZERO_ADDRESS, Wei, canonical_json
from sealmarket_enclave.protocol.hashing import keccak
from sealmarket_enclave.protocol.job import Settlement
from tests.backend.orders import (
    ASSET,
    BOOK,
    CONSUMER,
    OWNER,
    PARAMETERS,
    PROVIDER,
    STRANGER,
    account,
    asset_order,
    compute,
    indexed,
    posted_request,
    signature,
)
from tests.backend.test_api import SOON, Client, Silent, _sealed
from tests.backend.test_blobs import container
from tests.backend.test_index import EVIDENCE, RECEIPT, RESULT, core, spec
from tests.backend.test_proposals import answered
from tests.backend.test_proposals import proposal as signed_proposal
from tests.patience import PATIENCE

pytestmark = pytest.mark.long
ENCLAVE = STRANGER
_OF_A_MOMENT = {"stored_at", "id", "object", "sequence", "peer"}
"""``sequence`` counts how often evidence was put; a file that a crash left without its row is nobody's."""
_BESIDE = {
    "changes",
    "changes_epoch",
    "idempotency_keys",
    "leadership",
    "undo",
    "cursor",
    "cursors",
    "nonces",
    "events",
}
"""What tells of the process and not of what was sent."""


@contextmanager
def running(folder: Path) -> Iterator[Client]:
    """A backend on a folder, which knows a version and an accepted job, as after each start."""
    chain = MemoryChain(BOOK)
    chain.code = lambda _account, _block: b""  # type: ignore[method-assign,assignment]
    order = compute().order
    chain.set_account(order.token, order.provider, Account(Wei(0), order.penalty))
    chain.set_account(ZERO_ADDRESS, account(CONSUMER), Account(free=Wei(10**18), staked=Wei(0)))
    chain.publish(ASSET, account(OWNER), indexed().seal, indexed().terms)
    job_id = chain.match(spec())
    chain.quote(job_id, EVIDENCE)
    chain.decide(replace(core(job_id), enclave_signer=account(ENCLAVE)))
    chain.finalise()
    with Backend(chain, Silent(), folder) as backend:  # type: ignore[arg-type]
        backend.index.advance()
        yield Client(create_app(backend))


JOB = spec().job_id(BOOK.chain_id, BOOK.market)
SETTLED = Settlement(job_id=JOB, result_hash=RESULT, receipt_hash=RECEIPT, units=0, last=True)
HELD = Acknowledgement(job_id=JOB, result_hash=RESULT)
PROPOSED = signed_proposal(expiry=int(time.time()) + 86_400)
LEAVES = (keccak(b"1"), keccak(b"2"))
ROOT, CONTAINER = container()
EVIDENCE_PACKAGE = _sealed(JOB, PROVIDER).raw
WRITES: dict[str, tuple[str, str, bytes]] = {
    "request": ("POST", "requests", canonical_json(posted_request(expiry=SOON))),
    "compute order": ("POST", "compute-orders", canonical_json(compute(expiry=SOON))),
    "asset order": ("POST", "asset-orders", canonical_json(asset_order(expiry=SOON))),
    "parameters": ("POST", f"parameters/{spec().request_hash}", canonical_json(PARAMETERS)),
    "evidence": ("PUT", f"evidence/{JOB}/{EVIDENCE}", EVIDENCE_PACKAGE),
    "result": (
        "POST",
        "results",
        canonical_json(
            PostedResult(
                job_id=JOB,
                enclave_signer=account(ENCLAVE),
                settlement=SETTLED,
                signature=signature(SETTLED, ENCLAVE),
                receipt=RECEIPT,
                result=ROOT,
            )
        ),
    ),
    "acknowledgement": (
        "POST",
        "acknowledgements",
        canonical_json(SignedAcknowledgement(acknowledgement=HELD, signature=signature(HELD, CONSUMER))),
    ),
    "proposal": ("POST", "proposals", canonical_json(PROPOSED)),
    "answer": ("POST", "answers", canonical_json(answered(PROPOSED))),
    "document": ("PUT", f"documents/{keccak(b'{}')}", b"{}"),
    "container": ("PUT", f"containers/{ROOT}", CONTAINER),
    "list": ("PUT", f"lists/{Tree(LEAVES).root}", canonical_json(LeafList(leaves=LEAVES))),
}
BEFORE = {"answer": ("proposal",)}
"""What has to be there first."""


def send(client: Client, name: str) -> int:
    method, path, body = WRITES[name]
    return client.send(method, f"/v1/{path}", body).status_code


def post_and_die(folder: Path, name: str, at: int) -> None:
    """Send, and end at the given step, as if the power went: before or behind a commit, an fsync, a rename. Exits with
    the number of steps where there are fewer."""
    with running(folder) as client:
        for one in BEFORE.get(name, ()):
            assert send(client, one) == 201
        taken = [0]

        def step() -> None:
            taken[0] += 1
            if taken[0] == at:
                os.kill(os.getpid(), signal.SIGKILL)

        def around(call: Callable[..., Any]) -> Callable[..., Any]:
            def stepped(*arguments: Any, **named: Any) -> Any:
                step()
                found = call(*arguments, **named)
                step()
                return found

            return stepped

        write = Database.write

        @contextmanager
        def stepping(database: Database) -> Iterator[Any]:
            with write(database) as connection:
                yield connection
                step()
            step()

        Database.write = stepping  # type: ignore[method-assign,assignment]
        os.fsync, os.rename = around(os.fsync), around(os.rename)
        assert send(client, name) == 201
        os._exit(taken[0])


def held(folder: Path) -> tuple[dict[str, list[Any]], list[str]]:
    """What tables and store hold, but for what is of the moment or the process."""
    with Database(folder / "backend.sqlite") as database:
        rows = {
            table.name: sorted(
                [str([row[column.name] for column in table.columns if column.name not in _OF_A_MOMENT])]
                for row in database.rows(f"SELECT * FROM {table.name}")
            )
            for table in metadata.sorted_tables
            if table.name not in _BESIDE
        }
    return rows, sorted(str(path.relative_to(folder)) for path in (folder / "blobs").rglob("*") if path.is_file())


@pytest.mark.parametrize("name", WRITES)
@pytest.mark.timeout(300)
def test_wherever_it_is_killed_sending_again_leaves_what_is_there_where_nothing_was_killed(
    name: str, tmp_path: Path
) -> None:
    fork = multiprocessing.get_context("fork")

    def child(folder: Path, at: int) -> int:
        folder.mkdir()
        process = fork.Process(target=post_and_die, args=(folder, name, at))
        process.start()
        process.join(PATIENCE)
        assert process.exitcode is not None
        return process.exitcode

    steps = child(tmp_path / "whole", 0)
    assert steps >= 2, "it takes no step"
    expected = held(tmp_path / "whole")
    for at in range(1, steps + 1):
        folder = tmp_path / f"step{at}"
        assert child(folder, at) == -signal.SIGKILL, at
        with running(folder) as client:
            assert send(client, name) == 201, at
            assert send(client, name) == 201, at
        found = held(folder)
        assert {name: rows for name, rows in found[0].items() if rows != expected[0][name]} == {}, at
        assert found[1] == expected[1], at
