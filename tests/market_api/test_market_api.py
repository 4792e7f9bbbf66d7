"""Orders go to the market's API and blobs to the store, each at its own address."""

from __future__ import annotations

from collections.abc import Callable

import httpx
import pytest

from sealmarket.market_api import MarketApi
from sealmarket.market_api.memory import MemoryBackend
from sealmarket.protocol.orders import Acknowledgement
from sealmarket.protocol.problems import Problem
from sealmarket.protocol.transitions import Status
from sealmarket.service.errors import ItemNotFound, ServiceRefused, ServiceUnavailable
from sealmarket_enclave.protocol.codec import Address, canonical_json
from sealmarket_enclave.protocol.hashing import keccak
from sealmarket_enclave.protocol.numbers import JobId
from tests.backend.orders import posted_request

JOB = JobId(keccak(b"job"))
PROVIDER = Address(b"\x0d" * 20)


def answering(answer: Callable[[httpx.Request], httpx.Response]) -> MarketApi:
    return MarketApi("http://market", transport=httpx.MockTransport(answer))


def test_an_unknown_request_is_told_from_an_api_that_is_down() -> None:
    backend = MemoryBackend()
    with pytest.raises(ItemNotFound, match="the market's API has no request"):
        backend.api().orders.request(keccak(b"unknown"))
    backend.down = True
    with pytest.raises(ServiceUnavailable, match=r"the market's API at http://market\.twin does not answer"):
        backend.api().orders.request(keccak(b"unknown"))


def test_a_refused_order_keeps_the_servers_reason_and_remedy() -> None:
    problem = canonical_json(Problem(title="Rejected", detail="the order expired", remedy="sign one that lasts longer"))
    with pytest.raises(ServiceRefused, match="the order expired") as refused:
        answering(lambda _: httpx.Response(422, content=problem)).orders.post_request(posted_request())
    assert refused.value.remedy == "sign one that lasts longer"


@pytest.mark.parametrize("content", [b"", b"{}", b"[1]", b'[{"assetId": NaN}]', b"\xff"])
def test_malformed_lists_are_refused(content: bytes) -> None:
    api = answering(lambda _: httpx.Response(200, content=content))
    with pytest.raises(ServiceRefused):
        api.catalogue()
    with pytest.raises(ServiceRefused):
        api.jobs.list()
    with pytest.raises(ServiceRefused):
        api.orders.compute_orders()


def test_jobs_are_asked_for_by_what_is_given() -> None:
    asked: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(str(request.url))
        return httpx.Response(200, content=b'{"items":[]}')

    api = answering(answer)
    assert api.jobs.list(provider=PROVIDER, status=Status.QUOTED).items == ()
    assert asked == [f"http://market/v1/jobs?provider={PROVIDER}&status=quoted"]


def test_requests_and_acknowledgements_reach_the_backend() -> None:
    backend = MemoryBackend()
    posted = posted_request()
    api = backend.api()
    api.orders.post_request(posted)
    assert api.orders.request(posted.request.request.struct_hash()).state == "open"
    api.jobs.post_acknowledgement(Acknowledgement(job_id=JOB, result_hash=keccak(b"result")), bytes(65))
    assert [len(backend.posted[kind]) for kind in ("requests", "acknowledgements")] == [1, 1]
    assert backend.blobs == {}
