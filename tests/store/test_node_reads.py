"""The store as a node reads it: every answer is bounded and compared with its name; silence is no answer."""

from __future__ import annotations

from collections.abc import Callable

import httpx
import pytest

from sealmarket.protocol.limits import MAXIMUM_PARAMETERS
from sealmarket.protocol.merkle import root
from sealmarket.protocol.wire import LeafList
from sealmarket.service.errors import AnswerTooLong, ServiceError
from sealmarket.store import blobs
from sealmarket.store.blobs import Store
from sealmarket_enclave.protocol.codec import ZERO_HASH, Bytes32, canonical_json
from sealmarket_enclave.protocol.hashing import keccak
from sealmarket_enclave.protocol.job import Parameters, parameters_digest
from sealmarket_enclave.protocol.numbers import JobId

JOB = JobId(Bytes32(b"\x01" * 32))
NAME = keccak(b"name")


def _store(answer: Callable[[httpx.Request], httpx.Response]) -> Store:
    return Store("http://store", transport=httpx.MockTransport(answer))


def test_a_document_of_another_hash_is_no_answer() -> None:
    with pytest.raises(ServiceError):
        _store(lambda _: httpx.Response(200, content=b"another")).find_document(keccak(b"this"))


@pytest.mark.parametrize("status", [301, 400, 401, 429, 500, 503])
def test_an_error_is_no_answer(status: int) -> None:
    with pytest.raises(ServiceError):
        _store(lambda _: httpx.Response(status)).find_document(keccak(b"this"))


def test_a_store_that_does_not_connect_is_no_answer() -> None:
    def refuse(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused", request=request)

    with pytest.raises(ServiceError):
        _store(refuse).find_evidence(JOB, NAME)


def test_an_endless_document_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blobs, "MAX_DOCUMENT", 1000)
    with pytest.raises(AnswerTooLong, match="longer than 1000 bytes"):
        _store(lambda _: httpx.Response(200, content=b"x" * 5000)).find_document(keccak(b"this"))


def test_an_endless_evidence_package_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blobs, "MAXIMUM_PACKAGE", 1000)
    with pytest.raises(AnswerTooLong, match="longer than 1000 bytes"):
        _store(lambda _: httpx.Response(200, content=b"x" * 5000)).find_evidence(JOB, NAME)


def test_a_list_of_another_root_is_no_answer() -> None:
    leaves = (Bytes32(b"\x01" * 32), Bytes32(b"\x02" * 32))
    raw = canonical_json(LeafList(leaves=leaves))
    with pytest.raises(ServiceError):
        _store(lambda _: httpx.Response(200, content=raw)).find_leaves(Bytes32(b"\x09" * 32))
    assert _store(lambda _: httpx.Response(200, content=raw)).find_leaves(root(leaves)) == frozenset(leaves)


def test_not_there_is_an_answer() -> None:
    absent = _store(lambda _: httpx.Response(404))
    assert absent.find_document(keccak(b"this")) is None
    assert absent.find_evidence(JOB, NAME) is None
    assert absent.find_leaves(keccak(b"root")) is None


def test_a_document_is_read_by_its_hash() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        found = str(keccak(b"this")) in request.url.path
        return httpx.Response(200, content=b"this") if found else httpx.Response(404)

    assert _store(answer).find_document(keccak(b"this")) == b"this"


@pytest.mark.parametrize("status", [204, 301, 403, 429, 500, 503])
def test_any_answer_but_yes_and_no_is_none(status: int) -> None:
    with pytest.raises(ServiceError):
        _store(lambda _: httpx.Response(status)).has("containers", NAME)


def test_a_store_that_does_not_connect_is_not_one_that_lacks_a_container() -> None:
    def refuse(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused", request=request)

    with pytest.raises(ServiceError):
        _store(refuse).has("workloads", NAME)


def test_whether_a_blob_is_there_is_asked_without_reading_it() -> None:
    asked: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(f"{request.method} {request.url.path}")
        return httpx.Response(200 if "containers" in request.url.path else 404)

    store = _store(answer)
    assert store.has("containers", NAME)
    assert not store.has("workloads", NAME)
    assert asked == [f"HEAD /v1/containers/{NAME}", f"HEAD /v1/workloads/{NAME}"]


def test_parameters_of_another_digest_are_no_answer() -> None:
    document = Parameters(salt=NAME, values={"target": "cost"})
    digest = parameters_digest(NAME, canonical_json(document.values))
    store = _store(lambda _: httpx.Response(200, content=canonical_json(document)))
    assert store.find_parameters(NAME, digest)
    with pytest.raises(ServiceError):
        store.find_parameters(NAME, NAME)
    with pytest.raises(ServiceError):
        _store(lambda _: httpx.Response(200, content=b"{}")).find_parameters(NAME, digest)
    assert not _store(lambda _: httpx.Response(404)).find_parameters(NAME, digest)


def test_parameters_longer_than_a_node_reads_are_told_from_absent_ones() -> None:
    with pytest.raises(AnswerTooLong, match=str(MAXIMUM_PARAMETERS)):
        _store(lambda _: httpx.Response(200, content=b" " * (MAXIMUM_PARAMETERS + 1))).find_parameters(
            ZERO_HASH, ZERO_HASH
        )
