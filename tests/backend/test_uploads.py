"""An upload that never ends holds neither a thread nor a file, and the store says where its limits are."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from sealmarket.chain.memory import MemoryChain
from sealmarket.serving.rates import Rates
from sealmarket_backend.api import create_app
from sealmarket_backend.ledger import BLOCK, StoreLimits
from sealmarket_backend.service import Backend
from sealmarket_backend.signatures import CHECK_BURST, CHECKS_PER_SECOND
from sealmarket_enclave.protocol.codec import canonical_json
from sealmarket_enclave.protocol.hashing import keccak
from tests.backend.orders import BOOK, STRANGER, posted_request
from tests.backend.test_api import SOON, Silent
from tests.patience import PATIENCE, until
from tests.serving.attacks import PATIENT, Served, read_to_end, served

LIMITS = replace(PATIENT, body_bytes=64 << 30)
STORE = StoreLimits(peer_bytes=4 * BLOCK, uploads_per_peer=2)


@pytest.fixture
def backend(tmp_path: Path) -> Iterator[Backend]:
    chain = MemoryChain(BOOK)
    chain.code = lambda _account, _block: b""  # type: ignore[method-assign,assignment]
    with Backend(chain, Silent(), tmp_path, store=STORE) as made:  # type: ignore[arg-type]
        yield made


@pytest.fixture
def found(backend: Backend) -> Iterator[Served]:
    with served(create_app(backend), LIMITS) as running:
        yield running


@pytest.fixture
def impatient(backend: Backend) -> Iterator[Served]:
    """The same store, whose server gives up a stalled body after a second."""
    with served(create_app(backend), replace(LIMITS, stall_seconds=1)) as running:
        yield running


def put(found: Served, raw: bytes) -> httpx.Response:
    return httpx.put(f"{found.url}/v1/documents/{keccak(raw)}", content=raw, timeout=PATIENCE, trust_env=False)


def stalled() -> bytes:
    head = b"PUT /v1/containers/0x" + b"00" * 32 + b" HTTP/1.1\r\nHost: x\r\nContent-Length: 60000000000\r\n\r\n"
    return head + bytes(BLOCK)


@pytest.mark.loopback
def test_an_upload_that_stalls_ends_with_a_reason_and_leaves_nothing(
    impatient: Served, backend: Backend, tmp_path: Path
) -> None:
    threads = threading.active_count()
    assert b"the body came too slowly" in read_to_end(impatient.sent(stalled()))
    assert list((tmp_path / "blobs" / "incoming").iterdir()) == []
    assert backend.health()["store"]["bytesUsed"] == 0
    assert threading.active_count() <= threads + 1


@pytest.mark.loopback
def test_an_uploader_who_hangs_up_leaves_nothing(found: Served, backend: Backend, tmp_path: Path) -> None:
    incoming = tmp_path / "blobs" / "incoming"
    with found.sent(stalled()):
        until("an upload's file", lambda: len(list(incoming.iterdir())) == 1)
    until("the file's end", lambda: list(incoming.iterdir()) == [])
    assert backend.health()["store"]["bytesUsed"] == 0


@pytest.mark.loopback
def test_more_uploads_at_once_than_a_peer_may_have_have_to_wait(found: Served, tmp_path: Path) -> None:
    with found.sent(stalled()), found.sent(stalled()):
        until("both uploads' files", lambda: len(list((tmp_path / "blobs" / "incoming").iterdir())) == 2)
        refused = put(found, b"x")
    assert (refused.status_code, refused.headers["retry-after"]) == (429, "5")


@pytest.mark.loopback
def test_a_peer_that_used_up_its_quota_gets_507_and_the_reason(found: Served) -> None:
    assert [put(found, bytes([n])).status_code for n in range(4)] == [201, 201, 201, 507]
    assert "may put 16384" in put(found, b"more").json()["detail"]


@pytest.mark.loopback
def test_the_store_says_how_much_it_holds_and_has_room_for(found: Served) -> None:
    put(found, b"x")
    health = found.get().json()["store"]
    assert health["bytesUsed"] == BLOCK + 1
    assert health["bytesFree"] > 0


@pytest.mark.loopback
def test_a_stranger_who_posts_forged_requests_for_which_contracts_are_asked_is_rationed(
    found: Served, backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backend._signatures, "_rates", Rates(CHECKS_PER_SECOND, CHECK_BURST, clock=lambda: 0.0))
    forged = canonical_json(posted_request(key=STRANGER, expiry=SOON))
    with httpx.Client(timeout=PATIENCE, trust_env=False) as client:
        url = f"{found.url}/v1/requests"
        codes = [client.post(url, content=forged).status_code for _ in range(CHECK_BURST + 1)]
    assert codes == [422] * CHECK_BURST + [429]
