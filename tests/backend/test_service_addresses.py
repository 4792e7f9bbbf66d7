"""Addresses of services in the backend: whose are kept, which one counts, and which services are listed."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import coincurve
import pytest
from msgspec.structs import replace

from sealmarket.protocol.services import ServiceAddress, SignedServiceAddress
from sealmarket.protocol.transitions import Status
from sealmarket_backend.errors import NotFound, Rejected
from sealmarket_backend.listing import Listings
from sealmarket_backend.service_addresses import AHEAD_SECONDS, ServiceAddresses
from sealmarket_backend.signatures import Signatures
from sealmarket_backend.tables import Database
from sealmarket_enclave.protocol.codec import Bytes32, HexBytes, decode
from sealmarket_enclave.protocol.job import JobSpec
from sealmarket_enclave.protocol.numbers import AssetId, JobId, Kind
from sealmarket_enclave.protocol.signing import sign
from tests.backend.orders import ASSET, BOOK, NOW, PROVIDER, STRANGER
from tests.backend.test_index import spec

OTHER = AssetId(Bytes32(b"\x0a" * 32))
WORKLOAD = spec().workload_digest


def job(number: int) -> JobId:
    return JobId(Bytes32(number.to_bytes(32)))


class Market:
    """Jobs, each with its status and specification, in tables and as the index shows them."""

    def __init__(self, database: Database) -> None:
        self._database, self._specs = database, dict[Bytes32, JobSpec]()
        signatures = Signatures(BOOK, lambda _signer, _digest, _signature: False)
        self.addresses = ServiceAddresses(database, signatures, self)  # type: ignore[arg-type]

    def make(self, number: int, status: Status = Status.ACCEPTED, **changes: Any) -> JobId:
        made, job_id = replace(spec(), kind=Kind.SESSION, **changes), job(number)
        self._specs[job_id] = made
        with self._database.write() as connection:
            connection.execute(
                "INSERT INTO jobs (job_id, request_hash, provider, consumer, status, spec, facts, sequence)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (job_id, job_id, made.provider, made.consumer, int(status), made.canonical(), b"{}", number),
            )
        return job_id

    def end(self, number: int) -> None:
        with self._database.write() as connection:
            connection.execute("UPDATE jobs SET status = ? WHERE job_id = ?", (int(Status.SETTLED), job(number)))

    def job(self, job_id: Bytes32) -> Any:
        row = self._database.row("SELECT status FROM jobs WHERE job_id = ?", job_id)
        if row is None:
            raise NotFound("no such job", remedy="wait")
        return SimpleNamespace(spec=self._specs[job_id], status=Status(row["status"]).name.lower())

    def add(self, number: int, key: coincurve.PrivateKey = PROVIDER, **changes: Any) -> SignedServiceAddress:
        made = address(number, key, **changes)
        self.addresses.add(made, NOW)
        return made

    def listed(self, **wanted: Any) -> list[SignedServiceAddress]:
        return [
            decode(SignedServiceAddress, one)
            for one in Listings(self._database).services(None, 100, **wanted).documents
        ]


@pytest.fixture
def market(database: Database) -> Market:
    return Market(database)


def address(number: int, key: coincurve.PrivateKey = PROVIDER, **changes: Any) -> SignedServiceAddress:
    fields: dict[str, Any] = {"job_id": job(number), "url": f"https://s{number}.example", "signed_at": NOW}
    made = ServiceAddress(**(fields | changes))
    return SignedServiceAddress(address=made, signature=HexBytes(sign(made.digest(BOOK.chain_id, BOOK.market), key)))


def test_an_address_that_another_account_signed_is_not_kept(market: Market) -> None:
    market.make(1)
    with pytest.raises(Rejected, match="expected a signature by"):
        market.add(1, STRANGER)
    with pytest.raises(Rejected, match="expected a signature by"):
        market.addresses.add(replace(address(1), address=address(1, url="https://elsewhere.example").address), NOW)
    assert market.listed() == []


def test_a_job_that_does_not_exist_serves_nothing_or_is_not_accepted_has_no_address(market: Market) -> None:
    with pytest.raises(NotFound):
        market.add(1)
    market.make(2, Status.QUOTED)
    market.make(3, Status.SETTLED)
    for number in (2, 3):
        with pytest.raises(Rejected, match="expected an accepted session"):
            market.add(number)
    market._specs[market.make(4)] = spec()
    with pytest.raises(Rejected, match="of kind batch"):
        market.add(4)
    assert market.listed() == []


def test_an_older_address_that_is_posted_again_takes_no_users_back_to_it(market: Market) -> None:
    market.make(1)
    old, new = market.add(1), market.add(1, url="https://new.example", signed_at=NOW + 1)
    with pytest.raises(Rejected, match="a later address of this service is kept"):
        market.addresses.add(old, NOW)
    assert market.listed() == [new] == [market.addresses.of(job(1))]


def test_an_address_that_no_later_one_could_replace_is_not_kept(market: Market) -> None:
    market.make(1)
    market.add(1, signed_at=NOW + AHEAD_SECONDS)
    with pytest.raises(Rejected, match="set the clock"):
        market.add(1, signed_at=NOW + AHEAD_SECONDS + 1)


def test_a_service_that_ended_is_listed_no_more_and_forgotten_with_the_next_address(
    market: Market, database: Database
) -> None:
    for number in (1, 2):
        market.make(number)
        market.add(number)
    market.end(1)
    assert [one.address.job_id for one in market.listed()] == [job(2)]
    assert market.listed(asset_id=ASSET) == market.listed()
    market.add(2, signed_at=NOW + 1)
    with pytest.raises(NotFound, match="its provider names one"):
        market.addresses.of(job(1))
    assert [bytes(row["job_id"]) for row in database.rows("SELECT job_id FROM served_assets")] == [job(2)]


def test_services_are_found_by_workload_and_by_each_of_their_assets(market: Market) -> None:
    both = tuple(replace(spec().assets[0], asset_id=one) for one in (ASSET, OTHER))
    market.make(1)
    market.make(2, assets=both)
    market.make(3, workload_digest=Bytes32(b"\x77" * 32), assets=both[1:])
    made = {number: market.add(number) for number in (1, 2, 3)}
    assert market.listed() == [made[3], made[2], made[1]]
    assert market.listed(asset_id=ASSET) == [made[2], made[1]]
    assert market.listed(asset_id=OTHER, workload=WORKLOAD) == [made[2]]
    assert market.listed(workload=Bytes32(b"\x78" * 32)) == []


def test_pages_name_each_service_once_whatever_its_provider_signs_meanwhile(market: Market, database: Database) -> None:
    for number in range(1, 6):
        market.make(number)
        market.add(number)
    first = Listings(database).services(None, 2)
    market.add(2, signed_at=NOW + 5)
    second = Listings(database).services(first.place, 2)
    last = Listings(database).services(second.place, 2)
    found = [decode(SignedServiceAddress, one) for page in (first, second, last) for one in page.documents]
    assert [one.address.job_id for one in found] == [job(number) for number in (5, 4, 3, 2, 1)]
    assert last.place is None
