"""The routes of services: an address is posted, listed in pages with filters, and read by the service's id."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest
from msgspec.structs import replace

from sealmarket.chain.memory import MemoryChain
from sealmarket.market_api.client import MarketApi
from sealmarket.protocol.decisions import Outcome
from sealmarket.service.errors import ItemNotFound, ServiceRefused
from sealmarket_backend.service import Backend
from sealmarket_enclave.protocol.codec import Bytes32, canonical_json
from sealmarket_enclave.protocol.numbers import AssetId, JobId, Kind
from tests.backend.orders import ASSET, NOW, PROVIDER, STRANGER
from tests.backend.test_api import Client
from tests.backend.test_index import EVIDENCE, core, spec
from tests.backend.test_service_addresses import address


@pytest.fixture
def service(chain: MemoryChain, backend: Backend) -> JobId:
    """An accepted job of kind session, in the index."""
    job_id = chain.match(replace(spec(), kind=Kind.SESSION, settle_window=90_000))
    chain.quote(job_id, EVIDENCE)
    chain.decide(core(job_id, Outcome.ACCEPTED))
    chain.finalise()
    backend.index.advance()
    return job_id


@pytest.fixture
def api(client: Client) -> Iterator[MarketApi]:
    """The library's client before the same application."""

    def sent(request: httpx.Request) -> httpx.Response:
        path = request.url.raw_path.decode()
        found = client.send(request.method, path, request.content, dict(request.headers))
        return httpx.Response(found.status_code, content=found.content, headers=found.headers)

    made = MarketApi("http://backend", transport=httpx.MockTransport(sent))
    yield made
    made.close()


def test_an_address_of_an_unknown_service_of_another_account_or_out_of_shape_is_refused(
    client: Client, service: JobId
) -> None:
    other = canonical_json(address(0, STRANGER, job_id=service))
    misshapen = canonical_json(address(0, job_id=service)).replace(b"https://s0.example", b"file:///etc/passwd")
    for raw, status in ((canonical_json(address(7)), 404), (other, 422), (misshapen, 422), (b"{}", 422)):
        assert client.post("/v1/services", raw).status_code == status, raw
    assert client.get("/v1/services").json() == {"items": [], "next": None}
    assert client.get(f"/v1/services/{service}").status_code == 404
    assert client.get("/v1/services?asset=0x12").status_code == 422


def test_an_address_is_posted_listed_and_read_by_the_client(api: MarketApi, service: JobId) -> None:
    signed = address(0, PROVIDER, job_id=service, signed_at=NOW)
    api.services.post(signed)
    api.services.post(signed)
    workload, asset = spec().workload_digest, AssetId(ASSET)
    assert api.services.address(service) == signed
    for wanted in ({}, {"asset": asset}, {"workload": workload}, {"asset": asset, "workload": workload}):
        assert api.services.list(**wanted).items == (signed,)
    assert api.services.list(workload=Bytes32(b"\x01" * 32)).items == ()
    with pytest.raises(ItemNotFound):
        api.services.address(JobId(Bytes32(b"\x02" * 32)))


def test_an_address_of_another_service_than_was_asked_for_is_refused_by_the_client() -> None:
    transport = httpx.MockTransport(lambda _: httpx.Response(200, content=canonical_json(address(5))))
    lying = MarketApi("http://backend", transport=transport)
    with pytest.raises(ServiceRefused, match="it is about"):
        lying.services.address(JobId(Bytes32(b"\x02" * 32)))
    lying.close()
