"""A provider's order carries its own limits, and none is signed that no match could use."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from sealmarket.client import Offer, Provider
from sealmarket.client.errors import OfferInvalid
from sealmarket.client.platform_evidence import PlatformEvidence, PlatformNotProven, require_hardware
from sealmarket.client.provider import MOST_BYTES, STAKE_MULTIPLE
from sealmarket.client.windows import PROVIDER_STAGES, Stages, order_hold, request_windows
from sealmarket.protocol import fitting
from sealmarket.protocol.fitting import unmet_between
from sealmarket.protocol.orders import ComputeOrder
from sealmarket.protocol.wire import SignedComputeOrder
from sealmarket_enclave.protocol.codec import Bytes64, HexBytes, Uint64, Wei, decode
from sealmarket_enclave.protocol.hashing import keccak
from sealmarket_enclave.protocol.numbers import Grade, Tee
from tests.client.test_consumer import Stage
from tests.client.test_owner import BOOK
from tests.vectors import first, manifest, vector

PLAIN = Offer(tee=Tee.TDX, grade=Grade.SIMULATED, price=Wei(7), penalty=Wei(100), volume=3)


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    made = Stage(tmp_path)
    made.chain.finalise()
    return made


def offered(stage: Stage, offer: Offer) -> ComputeOrder:
    return Provider(stage.chain, stage.account, stage.backend.api()).offer(offer)  # type: ignore[arg-type]


def test_an_offers_own_limits_follow_from_its_price_and_the_market(stage: Stage) -> None:
    order = offered(stage, PLAIN)
    assert order.max_stake == 100 + STAKE_MULTIPLE * 7
    assert order.timeout_fee == 7
    assert (order.min_quote_window, order.min_settle_window) == (BOOK.timing.windows.quote, BOOK.timing.windows.settle)
    assert order.max_hold == order_hold(BOOK.timing, PROVIDER_STAGES)
    assert (order.max_run_seconds, order.max_decoded_bytes) == (PROVIDER_STAGES.run, MOST_BYTES)


def test_what_a_provider_names_is_in_its_order(stage: Stage) -> None:
    named = Offer(
        tee=Tee.SNP,
        grade=Grade.SIMULATED,
        price=Wei(7),
        penalty=Wei(9),
        volume=3,
        max_stake=Wei(50),
        timeout_fee=Wei(0),
        min_quote_window=1,
        min_settle_window=2,
        max_hold=3,
        stages=Stages(4, 5, 6),
        max_decoded_bytes=Uint64(7),
        capability_hash=keccak(b"document"),
    )
    order = offered(stage, named)
    assert (order.tee, order.max_stake, order.timeout_fee) == (Tee.SNP, 50, 0)
    assert (order.min_quote_window, order.min_settle_window, order.max_hold) == (1, 2, 3)
    assert (order.max_run_seconds, order.max_read_seconds, order.max_validate_seconds) == (4, 5, 6)
    assert (order.max_decoded_bytes, order.capability_hash) == (7, keccak(b"document"))
    posted = decode(SignedComputeOrder, stage.backend.posted["compute-orders"][0])
    assert posted.order == order


def test_a_penalty_that_cannot_pay_the_oracle_is_refused_before_it_is_signed(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fitting.Rules, "least_penalty", lambda *_: 101)
    with pytest.raises(OfferInvalid, match="penalty is 100 wei, expected at least 101 wei"):
        offered(stage, PLAIN)
    assert stage.backend.posted == {}


def test_a_request_with_the_usual_figures_fits_an_order_with_the_usual_limits(stage: Stage) -> None:
    order, request = offered(stage, PLAIN), stage.ask().request
    assert list(unmet_between(request, order, stage.chain.head().timestamp)) == []
    longest = replace(
        request, run_seconds=PROVIDER_STAGES.run, settle_window=request_windows(BOOK.timing, PROVIDER_STAGES).settle
    )
    assert list(unmet_between(longest, order, stage.chain.head().timestamp)) == []


# --- the grade follows from the device's own evidence -----------------------------------------------------------------


def recorded(tee: Tee = Tee.TDX) -> tuple[PlatformEvidence, datetime]:
    """Evidence from hardware, with a time at which its collateral holds."""
    candidates = (
        (entry, check)
        for entry in manifest()
        for check in entry.get("verifications", ())
        if entry["tee"] == tee.slug and entry["role"] == "evidence" and "error" not in check["verdict"]
    )
    entry, check = first(candidates)
    document = PlatformEvidence(
        tee=tee,
        evidence=HexBytes(vector(entry["file"])),
        report_data=Bytes64(bytes.fromhex(entry["report_data"])),
        collateral=vector(check["collateral"]).decode(),
        collected_at=check["pinned_time"],
    )
    return document, datetime.fromtimestamp(check["pinned_time"], UTC)


def test_hardware_is_not_offered_without_evidence_of_it(stage: Stage) -> None:
    with pytest.raises(PlatformNotProven, match="there is none"):
        offered(stage, dataclasses.replace(PLAIN, grade=Grade.HARDWARE))
    assert stage.backend.posted == {}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"evidence": HexBytes(b"")}, "proves no hardware"),
        ({"evidence": HexBytes(bytes(5000))}, "proves no hardware"),
        ({"report_data": Bytes64(b"\x01" * 64)}, "other report data"),
        ({"collateral": "{}"}, "proves no hardware"),
        ({"tee": Tee.SGX}, "it is of sgx, expected tdx"),
    ],
)
def test_evidence_that_was_changed_proves_nothing(changes: dict[str, Any], said: str) -> None:
    document, now = recorded()
    with pytest.raises(PlatformNotProven, match=said):
        require_hardware(replace(document, **changes), Tee.TDX, now)


def test_evidence_from_hardware_is_of_the_grade_hardware() -> None:
    document, now = recorded()
    assert require_hardware(document, Tee.TDX, now) is Grade.HARDWARE
