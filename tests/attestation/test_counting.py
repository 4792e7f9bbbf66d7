"""Which collateral of its own a verifier counts: the same for all who exchanged it, whenever each of them fetched."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sealmarket.attestation.amd.fetch import PRODUCTS
from sealmarket.attestation.collateral.counting import (
    DELAY,
    PAST,
    Counting,
    counting,
    rank,
    superfluous,
    superfluous_carriers,
    with_newer_lists,
)
from sealmarket.attestation.collateral.fetch import Fetcher
from sealmarket.attestation.collateral.own import OwnCollateral
from sealmarket.attestation.collateral.store import describe
from sealmarket.attestation.collateral.trust_anchors import TrustAnchors
from sealmarket.attestation.core.collateral import Entry, PlatformKind
from sealmarket.attestation.core.errors import CollateralError, EvidenceRefused
from sealmarket.attestation.core.evidence import Endorsements
from sealmarket.attestation.intel.collateral import IntelCollateral
from sealmarket_devices.pki import Validity
from sealmarket_enclave.protocol.numbers import Grade, Tee
from tests.attestation.support import NOW
from tests.forge.amd import AmdForge, pem, rsa_key
from tests.vectors import vector

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
KIND = PlatformKind(Tee.TDX, "00806f050000", "platform")


@dataclass(frozen=True)
class Named:
    """Collateral of which its name alone matters here."""

    fingerprint: bytes


def entry(hours: int, number: int = 20, lifetime: timedelta = 30 * DAY) -> Entry:
    """Collateral that was signed so many hours before :data:`NOW`."""
    issued = NOW - hours * HOUR
    return Entry(
        kind=KIND,
        collateral=cast("Any", Named(b"%d %d" % (hours, number))),
        issued=issued,
        expires=issued + lifetime,
        evaluation_number=number,
        grade=Grade.HARDWARE,
    )


SIGNED = st.builds(entry, st.integers(0, 24 * 40), st.integers(18, 22))
Fetched = tuple[Entry, int, int]
"""Collateral, and after how many hours each of two verifiers had it."""
FETCHED = st.lists(st.tuples(SIGNED, st.integers(0, 23), st.integers(0, 23)), max_size=25)


def kept_by(
    arrivals: list[tuple[datetime, Entry]],
    rule: Callable[[list[Entry], datetime], tuple[Entry, ...]] = superfluous,
) -> list[Entry]:
    """What a verifier holds at :data:`NOW` to which these came, each at a moment, and which dropped what it may."""
    held: list[Entry] = []
    for moment, one in sorted(arrivals, key=lambda arrival: arrival[0]):
        held = [*(other for other in held if other.collateral.fingerprint != one.collateral.fingerprint), one]
        needless = rule(held, min(moment, NOW))
        held = [other for other in held if other not in needless]
    return held


@given(FETCHED, st.integers(0, int(PAST / HOUR)))
def test_verifiers_to_whom_the_same_came_within_the_delay_count_the_same(fetched: list[Fetched], hours: int) -> None:
    first = kept_by([(one.issued + after * HOUR, one) for one, after, _ in fetched])
    second = kept_by([(one.issued + after * HOUR, one) for one, _, after in fetched])
    at = NOW - hours * HOUR
    assert counting(first, at) == counting(second, at)


def listed(hours: int, number: int, older: int) -> Entry:
    """The same with a revocation list that was signed so many hours before it."""
    made = entry(hours, number)
    signed = made.issued - older * HOUR
    name = cast("Any", Named(b"%d %d %d" % (hours, number, older)))
    return replace(made, collateral=name, lists=(signed,), expires=signed + 30 * DAY)


LISTED = st.builds(listed, st.integers(0, 24 * 40), st.integers(18, 22), st.integers(0, 24 * 29))


NO_LIST = replace(entry(0), lists=(NOW - 400 * DAY,))


def newest_list(carriers: list[Entry], at: datetime) -> datetime:
    """When the list was signed that counts at a time, whatever it came with."""
    (signed,) = with_newer_lists(NO_LIST, carriers, at, lambda one, _other, _place: one).lists
    return signed


@given(st.lists(st.tuples(LISTED, st.integers(0, 23), st.integers(0, 23)), max_size=25), st.integers(0, 7 * 24))
def test_verifiers_to_whom_the_same_came_within_the_delay_count_the_same_lists(
    fetched: list[Fetched], hours: int
) -> None:
    first = kept_by([(one.issued + after * HOUR, one) for one, after, _ in fetched], superfluous_carriers)
    second = kept_by([(one.issued + after * HOUR, one) for one, _, after in fetched], superfluous_carriers)
    at = NOW - hours * HOUR
    assert newest_list(first, at) == newest_list(second, at)


@given(st.lists(LISTED, max_size=40, unique_by=lambda one: one.collateral.fingerprint))
def test_no_flood_takes_more_than_a_document_for_each_days_list(entries: list[Entry]) -> None:
    needless = superfluous_carriers(entries, NOW)
    days = sorted(one.lists[0].date() for one in entries if one not in needless)
    assert all(one < other for one, other in pairwise(days))


@given(st.lists(LISTED, max_size=25))
def test_the_list_that_counts_is_of_the_day_of_the_newest_that_came(entries: list[Entry]) -> None:
    kept = [one for one in entries if one not in superfluous_carriers(entries, NOW)]
    signed = [one.lists[0] for one in entries if one.lists[0] + DELAY <= NOW <= one.expires]
    if signed:
        assert newest_list(kept, NOW).date() == max(signed).date()


@given(st.lists(SIGNED, max_size=25), st.integers(-40 * 24, 40 * 24))
def test_nothing_counts_before_its_delay_or_beyond_its_validity(entries: list[Entry], hours: int) -> None:
    at = NOW - hours * HOUR
    found = counting(entries, at)
    if found is not None:
        assert found.issued + DELAY <= at <= found.expires
        assert all(rank(one) <= rank(found) for one in entries if one.issued + DELAY <= at <= one.expires)


@given(st.lists(SIGNED, max_size=40, unique_by=lambda one: one.collateral.fingerprint))
def test_no_flood_takes_more_than_a_document_a_day(entries: list[Entry]) -> None:
    needless = superfluous(entries, NOW)
    days = sorted(one.issued.date() for one in entries if one not in needless)
    assert all(one < other for one, other in pairwise(days))


def test_of_one_day_the_earliest_of_the_highest_evaluation_is_kept() -> None:
    noon = int((NOW - (NOW - 2 * DAY).replace(hour=12)) / HOUR)
    early, late, higher = entry(noon + 3), entry(noon), entry(noon - 3, 21)
    assert superfluous([early, late], NOW) == (late,)
    assert set(superfluous([early, late, higher], NOW)) == {early, late}


def test_what_replaced_another_for_every_quote_that_may_be_judged_is_kept_alone() -> None:
    oldest = int((PAST + DELAY) / HOUR)
    assert superfluous([entry(oldest + 48), entry(oldest + 24)], NOW) == (entry(oldest + 48),)
    assert superfluous([entry(oldest + 24), entry(oldest - 1)], NOW) == ()


# --- collateral that Intel signed -----------------------------------------------------------------------------------


def recorded() -> IntelCollateral:
    return IntelCollateral.from_json(vector("tdx/dcap-qvl-tdx_quote_collateral.json"))


def test_recorded_collateral_counts_a_day_after_intel_signed_it_and_until_it_ends(tmp_path: Path) -> None:
    collateral, anchors = recorded(), TrustAnchors.production()
    found = describe(collateral, anchors)
    own = OwnCollateral(tmp_path, anchors)
    own.take(collateral, found.kind, found.issued)

    def held(at: datetime) -> Counting:
        return own.counting(found.kind.tee, found.kind, at)

    assert held(found.issued + DELAY - HOUR).entry is None
    assert held(found.issued + DELAY).entry == found
    assert held(found.expires).entry == found
    assert held(found.expires + HOUR).entry is None
    with pytest.raises(CollateralError, match="asked for"):
        own.take(collateral, replace(found.kind, tee=Tee.SGX), found.issued)
    with pytest.raises(CollateralError, match="holds"):
        own.take(collateral, found.kind, found.expires + HOUR)


def test_recorded_collateral_under_another_root_is_not_kept(tmp_path: Path) -> None:
    own = OwnCollateral(tmp_path, TrustAnchors(pins={}))
    with pytest.raises(EvidenceRefused):
        own.take(recorded(), KIND, NOW)
    assert own.kinds() == ()


# --- revocation lists -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def amd() -> AmdForge:
    return AmdForge(NOW, "Milan")


def lists(amd: AmdForge, *days: int, revoked: tuple[int, ...] = ()) -> Endorsements:
    """AMD's chain, and its lists of so many days ago, each valid for 30 days."""
    periods = [Validity(start=NOW - ago * DAY, end=NOW + (30 - ago) * DAY) for ago in days]
    return Endorsements.read([*amd.endorsements(), *(amd.crl(*revoked, validity=period) for period in periods)])


def test_a_list_that_no_pinned_root_signed_is_not_kept(tmp_path: Path, amd: AmdForge) -> None:
    own = OwnCollateral(tmp_path, TrustAnchors.production())
    assert own.take_lists(Tee.SNP, lists(amd, 3), NOW) == 0
    impostor = AmdForge(NOW, "Milan", keys={"ark": rsa_key("impostor")})
    own = OwnCollateral(tmp_path, TrustAnchors.production().with_development(amd.ark.der))
    assert own.take_lists(Tee.SNP, lists(impostor, 3), NOW) == 0
    assert own.counting(Tee.SNP, None, NOW).lists == ()


def test_the_newest_list_that_is_a_day_old_counts_and_a_restart_keeps_it(tmp_path: Path, amd: AmdForge) -> None:
    anchors = TrustAnchors.production().with_development(amd.ark.der)
    first = OwnCollateral(tmp_path, anchors)
    assert first.take_lists(Tee.SNP, lists(amd, 0, 2, 3), NOW) == 3
    again = OwnCollateral(tmp_path, anchors)
    again.reload(NOW)
    for own in (first, again):
        (counts,) = own.counting(Tee.SNP, None, NOW).lists
        assert counts.last_update_utc == NOW - 2 * DAY
        (counts,) = own.counting(Tee.SNP, None, NOW + DAY).lists
        assert counts.last_update_utc == NOW
    assert again.take_lists(Tee.SNP, lists(amd, 12, 20), NOW) == 2
    assert len(again.lists()[Tee.SNP]) == 4, "what another list replaced for every quote is dropped"


def test_amds_lists_are_asked_for_by_product_without_any_machine(amd: AmdForge) -> None:
    asked = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.path)
        if "Milan" not in request.url.path:
            return httpx.Response(503)
        content = amd.crl() if request.url.path.endswith("/crl") else pem(amd.ask, amd.ark)
        return httpx.Response(200, content=content)

    with Fetcher(transport=httpx.MockTransport(answer)) as fetcher:
        found, problems = fetcher.shared(Tee.SNP)
    assert (len(found.certificates), len(found.crls), len(problems)) == (2, 1, 4)
    assert set(asked) == {f"/vcek/v1/{one}/{what}" for one in PRODUCTS for what in ("cert_chain", "crl")}
