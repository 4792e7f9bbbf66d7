"""Services that a backend lists: each is held against the chain, and what does not hold is not offered."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import coincurve
import pytest
from msgspec.structs import replace

from sealmarket.chain.memory import MemoryChain
from sealmarket.chain.sessions import NO_SERVICE, ServiceState, Tab
from sealmarket.cli._infer_choice import LONGEST_WAIT, cheapest, places, service_lines, service_payload
from sealmarket.cli._infer_service import Named
from sealmarket.client.offered_services import MOST_LOOKED_AT, ServiceFinder, ServiceNotOffered, ServiceWish
from sealmarket.protocol.decisions import Decision, Outcome
from sealmarket.protocol.market import ServicePage
from sealmarket.protocol.services import ServiceAddress, SignedServiceAddress
from sealmarket_enclave.protocol.codec import ZERO_HASH, Address, Bytes32, HexBytes, Uint, Uint64, Wei
from sealmarket_enclave.protocol.job import JobSpec
from sealmarket_enclave.protocol.numbers import AssetId, Grade, JobId, Kind
from sealmarket_enclave.protocol.signing import sign
from tests.backend.orders import ASSET, BOOK, PROVIDER, STRANGER, indexed
from tests.backend.test_index import spec as batch_spec

SIGNER, USER = Address(b"\x05" * 20), Address(b"\x0a" * 20)
OTHER = AssetId(Bytes32(b"\x0b" * 32))
ANY = ServiceWish(simulated=True)


class Listing:
    """A backend that lists what a test says, in pages of two."""

    def __init__(self) -> None:
        self.signed: list[SignedServiceAddress] = []
        self.services = self

    def list(self, *, cursor: str | None = None, **_: Any) -> ServicePage:
        at = int(cursor or 0)
        following = str(at + 2) if at + 2 < len(self.signed) else None
        return ServicePage(items=tuple(self.signed[at : at + 2]), next=following)

    def address(self, job_id: JobId) -> SignedServiceAddress:
        return next(one for one in self.signed if one.address.job_id == job_id)


class World:
    """Services on a chain in memory, and in a list."""

    def __init__(self) -> None:
        self.chain, self.listing, self._made = MemoryChain(BOOK), Listing(), 0
        for asset in (ASSET, OTHER):
            self.chain.publish(asset, indexed().owner, indexed().seal, indexed().terms)
        self.finder = ServiceFinder(self.chain, self.listing)  # type: ignore[arg-type]

    def spec(self, **changes: Any) -> JobSpec:
        self._made += 1
        unique = Bytes32(self._made.to_bytes(32))
        fields = {"kind": Kind.SESSION, "request_hash": unique, "min_grade": Grade.SIMULATED, "settle_window": 90_000}
        return replace(batch_spec(), **(fields | changes))

    def accept(self, spec: JobSpec) -> JobId:
        job_id = self.chain.match(spec)
        self.chain.quote(job_id, Bytes32(b"\xe1" * 32))
        self.chain.decide(
            Decision(
                job_id=job_id,
                evidence_hash=Bytes32(b"\xe1" * 32),
                enclave_signer=SIGNER,
                enclave_key_hash=ZERO_HASH,
                terms_digest=ZERO_HASH,
                epoch=1,
                outcome=Outcome.ACCEPTED,
                grade=Grade.SIMULATED,
                reasons=Uint(0),
                expiry=2_000_000_000,
                detail=ZERO_HASH,
            )
        )
        return job_id

    def serve(self, state: dict[str, Any] | None = None, tab: Tab | None = None, **changes: Any) -> JobId:
        job_id = self.accept(self.spec(**changes))
        self.open(job_id, state or {}, tab)
        self.announce(job_id)
        return job_id

    def open(self, job_id: JobId, state: dict[str, Any], tab: Tab | None = None) -> None:
        usual: dict[str, Any] = {"enclave_signer": SIGNER, "unit_price": Wei(5), "lease": Uint64(10)}
        usual |= {"royalties": Wei(1), "bond": Wei(10), "end": self.chain.head().timestamp + 10_000}
        fields = {name: getattr(NO_SERVICE, name) for name in ServiceState.__dataclass_fields__}
        self.chain.set_service(job_id, ServiceState(**(fields | usual | state)), {USER: tab} if tab else {})
        self.chain.finalise()

    def announce(self, job_id: JobId, key: coincurve.PrivateKey = PROVIDER, url: str = "https://a.example") -> None:
        made = ServiceAddress(job_id=job_id, url=url, signed_at=1)
        signature = HexBytes(sign(made.digest(BOOK.chain_id, BOOK.market), key))
        self.listing.signed.append(SignedServiceAddress(address=made, signature=signature))

    def found(self, wish: ServiceWish = ANY) -> Sequence[JobId]:
        return [one.job_id for one in self.finder.find(wish)]


@pytest.fixture
def world() -> World:
    return World()


def held(limit: int = 100, **changes: Any) -> Tab:
    fields: dict[str, Any] = {"limit": Wei(limit), "paid": Wei(0), "requested_block": 0, "closes_at": 0}
    return Tab(**(fields | changes))


def test_an_address_that_the_provider_did_not_sign_leads_nowhere(world: World) -> None:
    job_id = world.accept(world.spec())
    world.open(job_id, {})
    world.announce(job_id, STRANGER)
    assert world.found() == []
    with pytest.raises(ServiceNotOffered, match="its provider's signature"):
        world.finder.of(job_id)


@pytest.mark.parametrize(
    ("state", "why"),
    [
        ({"enclave_signer": Address(b"\x00" * 20)}, "a service that is open"),
        ({"enclave_signer": USER}, "a service that is open"),
        ({"end": 1}, "before its end"),
        ({"last": True}, "before its end"),
    ],
)
def test_a_service_that_the_chain_does_not_show_open_is_not_offered(
    state: dict[str, Any], why: str, world: World
) -> None:
    job_id = world.serve(state)
    assert world.found() == []
    with pytest.raises(ServiceNotOffered, match=why):
        world.finder.of(job_id)


def test_a_batch_job_a_job_that_is_not_there_and_a_revoked_model_are_not_offered(world: World) -> None:
    world.serve(kind=Kind.BATCH)
    world.announce(JobId(Bytes32(b"\x99" * 32)))
    world.serve()
    world.chain.revoke(ASSET, 1)
    world.chain.finalise()
    assert world.found() == []


def test_a_virtual_device_is_offered_to_nobody_who_did_not_ask_for_it(world: World) -> None:
    simulated = world.serve()
    hardware = world.serve(min_grade=Grade.HARDWARE)
    assert world.found(ServiceWish()) == [hardware]
    assert set(world.found()) == {simulated, hardware}


def test_what_a_backend_lists_beside_the_wish_is_left_out(world: World) -> None:
    use = batch_spec().assets[0]
    mine = world.serve(assets=(replace(use, asset_id=OTHER),))
    world.serve()
    workload = world.serve(workload_digest=Bytes32(b"\x77" * 32))
    assert world.found(ServiceWish(asset=OTHER, simulated=True)) == [mine]
    assert world.found(ServiceWish(asset=OTHER, version=2, simulated=True)) == []
    assert world.found(ServiceWish(workload=Bytes32(b"\x77" * 32), simulated=True)) == [workload]


def test_a_list_without_end_is_read_for_so_long_only(world: World) -> None:
    job_id = world.accept(world.spec())
    for _ in range(MOST_LOOKED_AT + 10):
        world.announce(job_id, STRANGER)
    world.serve()
    assert world.found() == []


def test_the_cheapest_comes_first_with_what_the_chain_says_of_it(world: World) -> None:
    dear, cheap = world.serve({"unit_price": Wei(9)}), world.serve({"unit_price": Wei(3), "bond": Wei(9)})
    assert world.found() == [cheap, dear]
    found = world.finder.of(cheap)
    assert (found.url, found.takes_tabs, found.state.unit_price) == ("https://a.example", False, 3)
    assert found.model == world.finder.of(dear).model


def test_the_cheapest_is_found_behind_many_that_were_listed_before_it_and_take_no_tab(world: World) -> None:
    for _ in range(MOST_LOOKED_AT - 1):
        world.serve({"unit_price": Wei(5), "token": Address(b"\x70" * 20)})
    cheap = world.serve({"unit_price": Wei(2)})
    assert world.found()[0] == cheap
    assert cheapest(world.finder, world.chain, USER, ANY).job_id == cheap  # type: ignore[arg-type]


def test_a_tab_opens_at_the_cheapest_service_that_takes_one_and_has_none(world: World) -> None:
    with pytest.raises(ServiceNotOffered, match="found none"):
        cheapest(world.finder, world.chain, USER, ANY)  # type: ignore[arg-type]
    world.serve({"unit_price": Wei(1), "bond": Wei(0)})
    world.serve({"unit_price": Wei(1), "token": Address(b"\x70" * 20)})
    world.serve({"unit_price": Wei(1), "redemption_window": LONGEST_WAIT + 1})
    world.serve({"unit_price": Wei(2)}, held())
    third = world.serve({"unit_price": Wei(3)})
    world.serve({"unit_price": Wei(4)})
    assert cheapest(world.finder, world.chain, USER, ANY).job_id == third  # type: ignore[arg-type]


def test_a_proxy_asks_the_services_of_one_model_at_which_its_account_has_an_open_tab(world: World) -> None:
    named = Named(asset=str(ASSET))

    def chosen() -> list[JobId]:
        return list(places(named, world.chain, world.listing, USER, simulated=True))  # type: ignore[arg-type]

    world.serve()
    world.serve({}, held(limit=4))
    world.serve({}, held(requested_block=7))
    with pytest.raises(ServiceNotOffered, match="none of 3"):
        chosen()
    second = world.serve({"unit_price": Wei(4)}, held())
    first = world.serve({"unit_price": Wei(3)}, held())
    world.serve({"unit_price": Wei(6)}, held(), workload_digest=Bytes32(b"\x77" * 32))
    assert chosen() == [first, second]


def test_services_named_by_id_are_found_where_their_provider_says_or_where_the_user_says(world: World) -> None:
    job_id = world.serve()
    for named, url in (
        (Named(service=[str(job_id)]), "https://a.example"),
        (Named(service=[str(job_id)], provider=["http://127.0.0.1:1"]), "http://127.0.0.1:1"),
    ):
        found = places(named, world.chain, world.listing, USER, simulated=True)  # type: ignore[arg-type]
        assert found == {job_id: url}


def test_a_service_is_shown_with_price_royalties_provider_tee_end_and_whether_a_tab_opens(world: World) -> None:
    found = world.finder.of(world.serve({"bond": Wei(9), "redeemed": Uint64(3)}))
    said = "\n".join(service_lines(found))
    for words in (
        "for each unit, of which",
        "at https://a.example",
        "tdx, simulated or better",
        "takes no new tab now",
    ):
        assert words in said
    payload = service_payload(found)
    assert (payload["service"], payload["unitPrice"], payload["royalties"]) == (str(found.job_id), "5", "1")
    assert (payload["redeemed"], payload["takesTabs"], payload["minGrade"]) == (3, False, "simulated")
