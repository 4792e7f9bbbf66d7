"""Lists come in pages: cursors are refused where they are none of the list, and nothing is left out or comes twice."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sealmarket.chain.memory import MemoryChain
from sealmarket.chain.model import Account
from sealmarket.protocol.market import AssetOrderPage, ComputeOrderPage, JobPage
from sealmarket.protocol.problems import Problem
from sealmarket_backend.api.cursors import cursor_of, places_in
from sealmarket_backend.errors import CursorInvalid
from sealmarket_backend.service import Backend
from sealmarket_enclave.protocol.codec import Bytes32, Uint, Wei, canonical_json, decode
from sealmarket_enclave.protocol.hashing import keccak
from tests import samples
from tests.backend.orders import ASSET, CONSUMER, account, asset_order, compute, indexed
from tests.backend.test_api import SOON, Client, signed_in

QUERY = ("jobs", None, "0xaa", None)
LISTS = (
    *("/v1/compute-orders?", f"/v1/asset-orders?asset={ASSET}&version=1&", "/v1/jobs?", "/v1/catalogue?"),
    *(f"/v1/proposals?owner={account(CONSUMER)}&", f"/v1/answers?owner={account(CONSUMER)}&"),
)


def test_what_is_no_cursor_of_a_list_is_refused(client: Client, backend: Backend) -> None:
    session = {"Authorization": f"Bearer {signed_in(backend, CONSUMER)}"}
    types = ("/v1/problems/cursor-invalid", "/v1/problems/parameter-invalid")
    for path in LISTS:
        for cursor in ("x", "AAAA", "%00", "%F0%9F%98%80", "a" * 201, cursor_of(("others",), 1)):
            answer = client.get(f"{path}cursor={cursor}", session)
            assert answer.status_code == 422, (path, cursor)
            assert decode(Problem, answer.content).type in types, (path, cursor)


def test_a_cursor_of_other_filters_is_refused() -> None:
    with pytest.raises(CursorInvalid, match="other filters"):
        places_in(cursor_of(QUERY, 7), ("jobs", "0xaa", None, None))


@given(st.text(max_size=210))
def test_any_text_is_refused_or_names_a_place(text: str) -> None:
    try:
        places = places_in(text, QUERY)
    except CursorInvalid:
        return
    assert places is not None
    assert cursor_of(QUERY, *places)


@given(st.lists(st.integers(0, 2**62 - 1), min_size=1, max_size=2))
def test_a_cursor_holds_the_places_that_were_put_in(places: list[int]) -> None:
    assert places_in(cursor_of(QUERY, *places), QUERY, len(places)) == tuple(places)
    with pytest.raises(CursorInvalid):
        places_in(cursor_of(QUERY, *places), QUERY, len(places) + 1)


def offers(client: Client, chain: MemoryChain, salts: range) -> list[Bytes32]:
    """Post one offer for each salt."""
    made = [compute(expiry=SOON, salt=Uint(salt)) for salt in salts]
    chain.set_account(made[0].order.token, made[0].order.provider, Account(Wei(0), made[0].order.penalty))
    for signed in made:
        assert client.post("/v1/compute-orders", canonical_json(signed)).status_code == 201
    return [signed.order.struct_hash() for signed in made]


def test_offers_that_stand_all_the_while_come_once_whatever_comes_and_goes(
    client: Client, chain: MemoryChain, backend: Backend
) -> None:
    keys = offers(client, chain, range(6))
    gone, seen, pages = {keys[0], keys[4]}, list[Bytes32](), 0
    cursor: str | None = ""
    while cursor is not None:
        page = decode(ComputeOrderPage, client.get(f"/v1/compute-orders?limit=2{cursor}").content)
        seen += [one.order.struct_hash() for one in page.items]
        cursor = None if page.next is None else f"&cursor={page.next}"
        if not pages:
            with backend.database.write() as connection:
                for key in gone:
                    connection.execute("UPDATE compute_orders SET state = 'cancelled' WHERE order_hash = ?", (key,))
            late = offers(client, chain, range(6, 8))
        pages += 1
    assert [key for key in seen if key not in gone] == [key for key in keys if key not in gone] + late
    assert len(seen) == len(set(seen))


def test_asset_orders_come_in_pages_by_version(client: Client, backend: Backend) -> None:
    orders = [asset_order(expiry=SOON, salt=Uint(salt)) for salt in range(3)]
    for signed in orders:
        backend.orders.add_asset_order(signed, indexed(), 0)
    path = f"/v1/asset-orders?asset={ASSET}&version=1&limit=2"
    first = decode(AssetOrderPage, client.get(path).content)
    second = decode(AssetOrderPage, client.get(f"{path}&cursor={first.next}").content)
    assert [*first.items, *second.items] == orders
    assert second.next is None
    assert decode(AssetOrderPage, client.get(path.replace("version=1", "version=2")).content).items == ()
    assert client.get(path.replace("version=1", "version=0")).status_code == 422


def jobs(chain: MemoryChain, salts: range) -> list[Bytes32]:
    """Match one job for each salt, each in a block of its own."""
    return [chain.match(samples.job(samples.asset_use(), request_hash=keccak(b"%d" % salt))) for salt in salts]


def read(client: Client, cursor: str | None, limit: int = 2) -> JobPage:
    return decode(JobPage, client.get(f"/v1/jobs?limit={limit}" + (f"&cursor={cursor}" if cursor else "")).content)


def rest(client: Client, cursor: str | None) -> Iterator[Bytes32]:
    while cursor is not None:
        page = read(client, cursor)
        yield from (view.job_id for view in page.items)
        cursor = page.next


def test_jobs_come_in_pages_and_new_ones_do_not_move_them(client: Client, chain: MemoryChain, backend: Backend) -> None:
    ids = jobs(chain, range(5))
    chain.finalise()
    backend.index.advance()
    first = read(client, None)
    later = jobs(chain, range(5, 8))
    chain.finalise()
    backend.index.advance()
    assert [view.job_id for view in first.items] + list(rest(client, first.next)) == ids[::-1]
    assert [view.job_id for view in read(client, None).items] == later[:0:-1]
    assert client.get("/v1/jobs?limit=0").status_code == 422


def test_jobs_below_a_reorganisation_come_once_also_when_it_comes_between_two_pages(
    client: Client, chain: MemoryChain, backend: Backend
) -> None:
    """The job at which a page ended may be gone: what is older is listed all the same."""
    ids = jobs(chain, range(4))
    chain.finalise()
    backend.index.advance()
    jobs(chain, range(10, 14))
    chain.finalise()
    backend.index.advance()
    first = read(client, None)
    chain.rewrite(5)
    jobs(chain, range(20, 22))
    chain.finalise()
    backend.index.advance()
    found = list(rest(client, first.next))
    assert [one for one in found if one in ids] == ids[::-1]
    assert len(found) == len(set(found))
