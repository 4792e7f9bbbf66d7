"""The store is believed only where its bytes are what their names say."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from sealmarket.market_api.memory import MemoryBackend
from sealmarket.protocol.problems import Problem
from sealmarket.service.errors import ContentMismatch, ItemNotFound, ServiceRefused, ServiceUnavailable
from sealmarket.store.blobs import Store
from sealmarket.workloads.folders import read_bundle
from sealmarket.workloads.wheels import build
from sealmarket_enclave.protocol.codec import Bytes32, canonical_json
from sealmarket_enclave.protocol.hashing import keccak
from sealmarket_enclave.protocol.job import Parameters
from sealmarket_enclave.protocol.numbers import JobId
from sealmarket_enclave.sealed.container import seal
from tests.enclave.workload.bundles import bundle

NAME = keccak(b"document")


@pytest.fixture
def backend() -> MemoryBackend:
    return MemoryBackend()


def answering(status: int, body: bytes) -> Store:
    return Store("http://store", transport=httpx.MockTransport(lambda _request: httpx.Response(status, content=body)))


def container(path: Path) -> Bytes32:
    with path.open("wb") as sink, (path.parent / "plain").open("w+b") as source:
        source.write(b"rows" * 1000)
        source.seek(0)
        return seal(source, sink, bytes(32), asset_id=NAME, asset_version=1).content_root


def test_a_document_with_other_bytes_is_a_lie(backend: MemoryBackend) -> None:
    backend.blobs[f"documents/{NAME}"] = b"another document"
    with pytest.raises(ContentMismatch, match=str(keccak(b"another document"))):
        backend.store().document(NAME)


def test_an_altered_container_is_a_lie_and_leaves_no_file(backend: MemoryBackend, tmp_path: Path) -> None:
    root = container(tmp_path / "container")
    raw = bytearray((tmp_path / "container").read_bytes())
    raw[-1] ^= 1
    backend.blobs[f"containers/{root}"] = bytes(raw)
    folder = tmp_path / "fetched"
    with pytest.raises(ContentMismatch, match="container"):
        backend.store().fetch_container(root, folder / "data")
    assert list(folder.iterdir()) == []


def test_another_workload_is_a_lie(backend: MemoryBackend, tmp_path: Path) -> None:
    tree = bundle(tmp_path / "workload")
    (tree / "environment.json").write_bytes(build(b"", []).canonical())
    store = backend.store()
    mine = read_bundle(tree)
    store.put_workload(mine)
    (tree / "code/job.py").write_text("def run(inputs, parameters):\n    return {}\n")
    other = read_bundle(tree)
    backend.blobs[f"workloads/{other.digest}"] = backend.blobs[f"workloads/{mine.digest}"]
    with pytest.raises(ContentMismatch, match="workload"):
        store.workload(other.digest)
    assert store.workload(mine.digest).digest == mine.digest


def test_other_parameters_than_were_signed_are_a_lie(backend: MemoryBackend) -> None:
    told = Parameters(salt=NAME, values={"target": "a"})
    backend.answers[f"parameters/{NAME}"] = told.canonical()
    with pytest.raises(ContentMismatch, match="parameters"):
        backend.store().parameters(NAME, keccak(b"signed"))


def test_what_is_not_there_is_told_from_a_server_that_is_down(backend: MemoryBackend) -> None:
    with pytest.raises(ItemNotFound):
        backend.store().document(NAME)
    assert backend.store().find_document(NAME) is None
    backend.down = True
    with pytest.raises(ServiceUnavailable, match="nothing is lost by trying again"):
        backend.store().document(NAME)


@pytest.mark.parametrize("status", [429, 500, 502, 503])
def test_later_is_told_from_no(status: int) -> None:
    with pytest.raises(ServiceUnavailable):
        answering(status, b"").document(NAME)


def test_a_refusal_is_passed_on_with_what_to_do() -> None:
    problem = canonical_json(Problem(title="Rejected", detail="not signed by the consumer", remedy="sign it"))
    with pytest.raises(ServiceRefused, match="not signed by the consumer") as refused:
        answering(422, problem).put_document(b"document")
    assert refused.value.remedy == "sign it"


def test_a_refusal_that_is_no_document_is_still_one() -> None:
    with pytest.raises(ServiceRefused, match="HTTP 400"):
        answering(400, b"<html>").put_document(b"document")


def test_an_answer_of_another_shape_is_refused() -> None:
    with pytest.raises(ServiceRefused, match="another version"):
        answering(200, b'{"state": 1}').result(JobId(NAME))


def test_an_answer_without_end_is_cut() -> None:
    with pytest.raises(ServiceRefused, match="longer than"):
        answering(200, bytes(9 << 20)).document(NAME)


def test_a_redirect_is_not_followed() -> None:
    moved = httpx.MockTransport(lambda _request: httpx.Response(302, headers={"location": "http://elsewhere/"}))
    with pytest.raises(ServiceRefused):
        Store("http://store", transport=moved).document(NAME)


def test_a_container_travels_whole(backend: MemoryBackend, tmp_path: Path) -> None:
    root = container(tmp_path / "container")
    store = backend.store()
    store.put_container(root, tmp_path / "container")
    store.fetch_container(root, tmp_path / "fetched/data")
    assert (tmp_path / "fetched/data").read_bytes() == (tmp_path / "container").read_bytes()
