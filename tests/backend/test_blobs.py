"""A name commits to its bytes, so nobody can squat on one; what is kept is whole."""

import asyncio
import io
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from sealmarket.protocol import merkle
from sealmarket.protocol.wire import LeafList
from sealmarket_backend import blobs as blobs_module
from sealmarket_backend.api import problems
from sealmarket_backend.api import store as api_store
from sealmarket_backend.blobs import Blobs, Kind
from sealmarket_backend.errors import NotFound, Rejected, TooLarge
from sealmarket_backend.ledger import Ledger, StoreLimits
from sealmarket_backend.tables import Database
from sealmarket_enclave.protocol.codec import Bytes32
from sealmarket_enclave.protocol.hashing import keccak
from sealmarket_enclave.sealed.container import seal

DOCUMENT = b'{"a":1}'


@pytest.fixture
def database() -> Iterator[Database]:
    """In memory alone: what is tested here are files and what is read of them."""
    with Database(None) as made:
        yield made


@pytest.fixture
def blobs(tmp_path: Path, database: Database) -> Blobs:
    return store(tmp_path, database)


def store(folder: Path, database: Database) -> Blobs:
    return Blobs(folder, Ledger(database, StoreLimits(), folder))


def container() -> tuple[Bytes32, bytes]:
    sink = io.BytesIO()
    sealed = seal(io.BytesIO(b"rows" * 1000), sink, b"\x01" * 32, asset_id=Bytes32(b"\x02" * 32), asset_version=1)
    return sealed.content_root, sink.getvalue()


def test_other_bytes_under_a_documents_name_are_rejected(blobs: Blobs) -> None:
    with pytest.raises(Rejected, match="expected a document with hash"):
        blobs.put(Kind.DOCUMENTS, keccak(DOCUMENT), b'{"a":2}')
    assert not blobs.has(Kind.DOCUMENTS, keccak(DOCUMENT))


def test_a_container_with_one_altered_byte_is_rejected(blobs: Blobs) -> None:
    root, raw = container()
    with pytest.raises(Rejected):
        blobs.put(Kind.CONTAINERS, root, raw[:-1] + bytes([raw[-1] ^ 1]))


def test_a_truncated_container_is_rejected(blobs: Blobs) -> None:
    root, raw = container()
    with pytest.raises(Rejected):
        blobs.put(Kind.CONTAINERS, root, raw[:-1])


def test_what_is_no_workload_is_rejected(blobs: Blobs) -> None:
    with pytest.raises(Rejected, match="not the workload"):
        blobs.put(Kind.WORKLOADS, keccak(b""), b"no archive")


def test_leaves_under_another_root_are_rejected(blobs: Blobs) -> None:
    leaves = tuple(Bytes32(bytes([n]) * 32) for n in range(3))
    listed = LeafList(leaves=leaves).canonical()
    blobs.put(Kind.LISTS, merkle.root(leaves), listed)
    with pytest.raises(Rejected, match="expected the leaves under"):
        blobs.put(Kind.LISTS, merkle.root(leaves[:2]), listed)


def test_more_bytes_than_allowed_are_rejected(blobs: Blobs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(blobs_module.LIMITS, Kind.DOCUMENTS, 3)
    with pytest.raises(TooLarge):
        blobs.put(Kind.DOCUMENTS, keccak(DOCUMENT), DOCUMENT)


def test_an_unknown_name_is_not_found(blobs: Blobs) -> None:
    with pytest.raises(NotFound):
        blobs.path(Kind.CONTAINERS, Bytes32(b"\x09" * 32))


def test_nothing_of_a_rejected_blob_stays(blobs: Blobs, tmp_path: Path) -> None:
    with pytest.raises(Rejected):
        blobs.put(Kind.DOCUMENTS, keccak(b"x"), DOCUMENT)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_what_a_crash_left_half_written_is_swept_away(tmp_path: Path, database: Database) -> None:
    store(tmp_path, database)
    (tmp_path / "incoming" / "half").write_bytes(b"1")
    store(tmp_path, database)
    assert not (tmp_path / "incoming" / "half").exists()


def test_documents_and_containers_come_back_as_they_went_in(blobs: Blobs) -> None:
    root, raw = container()
    blobs.put(Kind.CONTAINERS, root, raw)
    blobs.put(Kind.DOCUMENTS, keccak(DOCUMENT), DOCUMENT)
    assert blobs.path(Kind.CONTAINERS, root).read_bytes() == raw
    assert blobs.path(Kind.DOCUMENTS, keccak(DOCUMENT)).read_bytes() == DOCUMENT


def test_whether_a_blob_is_there_is_said_without_sending_it(blobs: Blobs) -> None:
    blobs.put(Kind.DOCUMENTS, keccak(DOCUMENT), DOCUMENT)
    holder: Any = SimpleNamespace(blobs=blobs)
    app = FastAPI()
    problems.handle_errors(app)
    api_store.add_routes(app, holder)

    async def ask(name: Bytes32) -> tuple[int, bytes]:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://store") as client:
            response = await client.head(f"/v1/documents/{name}")
            return response.status_code, response.content

    assert asyncio.run(ask(keccak(DOCUMENT))) == (200, b"")
    assert asyncio.run(ask(Bytes32(b"\x09" * 32)))[0] == 404
