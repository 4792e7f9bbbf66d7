"""The store as a node reads it: every answer is bounded and held against its name; silence is no answer."""

from __future__ import annotations

from collections.abc import Callable

import httpx
import pytest

from sealmarket.protocol.merkle import root
from sealmarket.protocol.wire import LeafList
from sealmarket_enclave.protocol.codec import Bytes32, canonical_json
from sealmarket_enclave.protocol.hashing import keccak
from sealmarket_enclave.protocol.numbers import JobId
from sealmarket_oracle import store as store_module
from sealmarket_oracle.errors import StoreUnavailable
from sealmarket_oracle.store import HttpStore

JOB = JobId(Bytes32(b"\x01" * 32))


def _store(answer: Callable[[httpx.Request], httpx.Response]) -> HttpStore:
    return HttpStore("http://store", transport=httpx.MockTransport(answer))


def test_a_document_of_another_hash_is_no_answer() -> None:
    with pytest.raises(StoreUnavailable):
        _store(lambda _: httpx.Response(200, content=b"another")).document(keccak(b"this"))


@pytest.mark.parametrize("status", [301, 400, 401, 429, 500, 503])
def test_an_error_is_no_answer(status: int) -> None:
    with pytest.raises(StoreUnavailable):
        _store(lambda _: httpx.Response(status)).document(keccak(b"this"))


def test_a_store_that_does_not_connect_is_no_answer() -> None:
    def refuse(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused", request=request)

    with pytest.raises(StoreUnavailable):
        _store(refuse).evidence(JOB)


def test_an_endless_document_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_module, "MAXIMUM_DOCUMENT", 1000)
    with pytest.raises(StoreUnavailable, match="more than 1000 bytes"):
        _store(lambda _: httpx.Response(200, content=b"x" * 5000)).document(keccak(b"this"))


@pytest.mark.parametrize("content", [b"", b"{}", b"[1]", b'[{"jobId":"0x"}]', b"\xff"])
def test_a_malformed_evidence_list_is_no_answer(content: bytes) -> None:
    with pytest.raises(StoreUnavailable):
        _store(lambda _: httpx.Response(200, content=content)).evidence(JOB)


def test_a_list_of_another_root_is_no_answer() -> None:
    leaves = (Bytes32(b"\x01" * 32), Bytes32(b"\x02" * 32))
    raw = canonical_json(LeafList(leaves=leaves))
    with pytest.raises(StoreUnavailable):
        _store(lambda _: httpx.Response(200, content=raw)).leaves(Bytes32(b"\x09" * 32))
    assert _store(lambda _: httpx.Response(200, content=raw)).leaves(root(leaves)) == frozenset(leaves)


def test_not_there_is_an_answer() -> None:
    absent = _store(lambda _: httpx.Response(404))
    assert absent.document(keccak(b"this")) is None
    assert absent.evidence(JOB) == ()
    assert absent.leaves(keccak(b"root")) is None


def test_a_document_is_read_by_its_hash() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        found = str(keccak(b"this")) in request.url.path
        return httpx.Response(200, content=b"this") if found else httpx.Response(404)

    assert _store(answer).document(keccak(b"this")) == b"this"
