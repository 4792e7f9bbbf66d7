"""A search finds what is on sale by chain and documents, and one page costs a bounded look."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from sealmarket.chain.memory import MemoryChain
from sealmarket.market_api import MarketApi
from sealmarket.protocol.market import AssetPage
from sealmarket.protocol.orders import Purpose
from sealmarket.protocol.problems import Problem
from sealmarket.protocol.wire import AssetView
from sealmarket_backend import catalogue
from sealmarket_backend.api import create_app
from sealmarket_backend.blobs import Kind
from sealmarket_backend.catalogue import LOOK_SECONDS, MOST_LOOKED, AssetQuery, Catalogue, matches
from sealmarket_backend.service import Backend
from sealmarket_enclave.protocol.codec import Address, Bytes32, Wei, canonical_json, decode
from sealmarket_enclave.protocol.hashing import keccak
from sealmarket_enclave.protocol.numbers import AssetId
from sealmarket_enclave.protocol.terms import Seal, Terms
from tests.backend.orders import BOOK, indexed
from tests.backend.test_api import Client, Silent
from tests.client.bundles import policy
from tests.client.test_owner import COMMITTEE

NORTH, SOUTH = Address(b"\x0a" * 20), Address(b"\x0b" * 20)
CARD = canonical_json({"kind": "table", "columns": ["age", {"name": "sex"}], "purposes": ["DUO:0000042"]})


@pytest.fixture
def chain() -> MemoryChain:
    return MemoryChain(BOOK)


@pytest.fixture
def backend(chain: MemoryChain, tmp_path: Path) -> Iterator[Backend]:
    made = Backend(chain, Silent(), tmp_path)  # type: ignore[arg-type]
    yield made
    made.stop()


@pytest.fixture
def client(backend: Backend) -> Client:
    return Client(create_app(backend))


def publish(backend: Backend, chain: MemoryChain, number: int, owner: Address = NORTH, **terms: object) -> AssetId:
    """An asset with a policy and a card in the store."""
    asset = AssetId(keccak(b"%d" % number))
    document = replace(policy(asset, COMMITTEE), title=f"Rows {number}", data_card=keccak(CARD)).canonical()
    for raw in (document, CARD):
        backend.blobs.put(Kind.DOCUMENTS, keccak(raw), raw)
    seal = Seal(
        content_root=Bytes32(bytes(32)),
        content_version=1,
        share_root=Bytes32(bytes(32)),
        policy_hash=keccak(document),
        epoch=1,
    )
    chain.publish(asset, owner, seal, replace(indexed().terms, **terms))
    chain.finalise()
    backend.index.advance()
    return asset


def page(client: Client, query: str = "") -> AssetPage:
    answer = client.get(f"/v1/catalogue{query}")
    assert answer.status_code == 200, answer.content
    return decode(AssetPage, answer.content)


@pytest.mark.parametrize(
    "query", ["?limit=0", "?limit=101", "?least=-1", "?most=1.5", "?owner=0x12", "?cursor=-1", f"?text={'x' * 201}"]
)
def test_what_is_no_search_is_refused(query: str, client: Client) -> None:
    assert client.get(f"/v1/catalogue{query}").status_code == 422


def test_a_malformed_price_is_a_problem_that_says_what_is_expected(client: Client) -> None:
    assert "in the smallest unit" in decode(Problem, client.get("/v1/catalogue?least=1coin").content).detail


def test_a_search_goes_by_title_column_purpose_code_kind_owner_and_price(
    backend: Backend, chain: MemoryChain, client: Client
) -> None:
    one = publish(backend, chain, 1, NORTH, price=Wei(10))
    two = publish(backend, chain, 2, SOUTH, price=Wei(20), purposes=int(Purpose.QUERY))
    for query, expected in {
        "": [two, one],
        "?text=ROWS": [two, one],
        "?text=rows%202": [two],
        "?column=SEX": [two, one],
        "?column=weight": [],
        "?purpose=train": [one],
        "?purpose=query": [two],
        "?purpose=DUO:0000042": [two, one],
        "?purpose=DUO:0000004": [],
        "?kind=Table": [two, one],
        f"?owner={SOUTH}": [two],
        "?least=11": [two],
        "?most=10": [one],
    }.items():
        assert [view.asset_id for view in page(client, query).items] == expected, query


def test_an_asset_whose_documents_are_not_in_the_store_is_found_without_them_and_with_them_later(
    backend: Backend, chain: MemoryChain, client: Client
) -> None:
    publish(backend, chain, 1)
    (view,) = page(client).items
    assert (view.title, view.columns) == ("Rows 1", ("age", "sex"))
    seal = replace(view.seal, policy_hash=keccak(b"elsewhere"))
    chain.publish(AssetId(keccak(b"other")), NORTH, seal, view.terms)
    chain.finalise()
    backend.index.advance()
    assert [one.title for one in page(client).items] == ["", "Rows 1"]


def test_pages_follow_each_other_without_a_gap(backend: Backend, chain: MemoryChain, client: Client) -> None:
    published = [publish(backend, chain, number) for number in range(5)]
    seen: list[Bytes32] = []
    following: str | None = None
    for _ in range(3):
        found = page(client, "?limit=2" + (f"&cursor={following}" if following is not None else ""))
        seen += [view.asset_id for view in found.items]
        following = found.next
    assert seen == published[::-1]
    assert following is None


def test_a_page_looks_at_a_bounded_number_of_versions_for_a_bounded_time(
    backend: Backend, chain: MemoryChain, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(4):
        publish(backend, chain, number)
    monkeypatch.setattr(catalogue, "MOST_LOOKED", 3)
    found = backend.catalogue.search(AssetQuery(text="nothing of the kind"))
    assert (found[0], found[1] is not None) == ((), True)
    ticks = iter(range(100))
    slow = Catalogue(backend._database, backend.blobs, clock=lambda: next(ticks) * LOOK_SECONDS)
    assert len(slow.search(AssetQuery())[0]) < 4
    assert MOST_LOOKED <= 500


def _view(price: int, owner: Address, title: str, purposes: int) -> AssetView:
    terms: Terms = replace(indexed().terms, price=Wei(price), purposes=purposes)
    one = indexed()
    return AssetView(
        asset_id=AssetId(one.asset_id),
        version=1,
        owner=owner,
        seal=one.seal,
        terms=terms,
        terms_version=1,
        revoked=False,
        suspended=False,
        title=title,
    )


@given(
    price=st.integers(0, 5),
    least=st.integers(0, 5),
    most=st.none() | st.integers(0, 5),
    owner=st.sampled_from([NORTH, SOUTH]),
    wanted=st.sampled_from([None, NORTH, SOUTH]),
    purposes=st.integers(1, 15),
    purpose=st.sampled_from(["", *(one.name.lower() for one in Purpose)]),
)
@settings(suppress_health_check=[HealthCheck.too_slow])
def test_what_is_found_is_what_was_asked_for_and_nothing_of_it_is_left_out(
    price: int, least: int, most: int | None, owner: Address, wanted: Address | None, purposes: int, purpose: str
) -> None:
    expected = least <= price and (most is None or price <= most) and wanted in (None, owner)
    expected = expected and (not purpose or bool(Purpose[purpose.upper()] & purposes))
    query = AssetQuery(least=least, most=most, owner=wanted, purpose=purpose)
    assert matches(_view(price, owner, "t", purposes), query) is expected


def test_the_client_asks_only_for_what_was_named() -> None:
    import httpx

    asked: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(str(request.url))
        return httpx.Response(200, content=b'{"items": [], "next": "AB-c"}')

    api = MarketApi("http://market.twin", transport=httpx.MockTransport(answer))
    assert api.catalogue(text="a b", owner=None, limit=5).next == "AB-c"
    assert asked == ["http://market.twin/v1/catalogue?text=a+b&limit=5"]
