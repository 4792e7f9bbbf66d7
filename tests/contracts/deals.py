"""Orders of all parties that just fit each other, or miss by one in one limit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hypothesis import strategies as st

from sealmarket.protocol.fitting import Side, windows_of
from sealmarket.protocol.orders import AssetLimit, ComputeOrder, Request
from sealmarket.protocol.timing import least_settle_window, longest_hold
from sealmarket_enclave.protocol.codec import ZERO_ADDRESS, ZERO_HASH, MicroEpsilon, Uint64, Wei
from sealmarket_enclave.protocol.hashing import keccak
from sealmarket_enclave.protocol.numbers import AssetId, Grade
from sealmarket_enclave.protocol.terms import Terms
from tests import samples
from tests.contracts.economy import START, TIMING, Market

LATER = START + 10**9
_WINDOW = st.sampled_from((60, 120, 300, 1_000))
TERMS = st.fixed_dictionaries(
    {
        "price": st.sampled_from((1_000, 333, 1, 0)),
        "max_hold": st.sampled_from((30_000, 30_000, 6_000, 2_500)),
        "timeout_share": st.sampled_from((40, 33, 40, 100, 0)),
    }
)
LIMITS = (
    *("settle_window", "timeout_limit", "max_compute_price", "max_unit_price", "min_penalty", "max_price"),
    *("max_stake", "max_hold", "min_quote_window", "min_settle_window"),
    *("max_run_seconds", "max_read_seconds", "max_validate_seconds", "max_decoded_bytes"),
)
"""Which the drawn orders keep by ``slack``; one of them, ``missed``, they miss by one."""
DEALS = st.fixed_dictionaries(
    {
        "quote_window": _WINDOW,
        "decide_window": _WINDOW,
        "challenge_window": _WINDOW,
        "run_seconds": st.sampled_from((60, 0, 300)),
        "read_seconds": st.sampled_from((50, 0, 100)),
        "validate_seconds": st.sampled_from((0, 100)),
        "max_units": st.integers(0, 20),
        "price": st.integers(0, 500),
        "unit_price": st.integers(0, 10),
        "penalty": st.integers(70, 600),
        "timeout_fee": st.integers(0, 800),
        "discounts": st.tuples(*(st.sampled_from((None, 0, 1, 2)),) * 2),
        "epsilon": st.sampled_from((0, 250_000)),
        "slack": st.sampled_from((0, 0, 1, 500)),
        "missed": st.sampled_from((*(None,) * len(LIMITS), *LIMITS)),
    }
)


def terms_of(**changes: Any) -> Terms:
    """Terms of an asset that sells often."""
    fields: dict[str, Any] = {
        "token": ZERO_ADDRESS,
        "price": Wei(1_000),
        "expiry": LATER,
        "max_uses": 500,
        "purposes": 3,
        "min_grade": Grade.SIMULATED,
        "budget": MicroEpsilon(10**8),
        "per_job_cap": MicroEpsilon(250_000),
        "allow_root": keccak(b"allowed"),
        "consumer_root": ZERO_HASH,
        "max_hold": 30_000,
        "timeout_share": 40,
    }
    return Terms(**(fields | changes))


def _slack(drawn: dict[str, Any], limit: str) -> int:
    return -1 if drawn["missed"] == limit else int(drawn["slack"])


def sides_of(market: Market, assets: Sequence[AssetId], drawn: dict[str, Any]) -> list[Side]:
    """Each asset at its standing price, or at its owner's order."""
    sides = []
    for asset, discount in zip(assets, drawn["discounts"], strict=True):
        version = market.version(asset)
        price = Wei(version.terms.price // (1 + (discount or 0)))
        order = None if discount is None else samples.asset_order(asset_id=asset, price=price, expiry=LATER)
        limit = samples.asset_limit(
            asset_id=asset,
            terms_version=version.terms_version,
            max_price=Wei(max(0, price + _slack(drawn, "max_price"))),
            epsilon=MicroEpsilon(drawn["epsilon"]),
        )
        sides.append(Side(limit, version, order))
    return sides


def request_of(sides: Sequence[Side], drawn: dict[str, Any]) -> Request:
    """A request whose limits are as near as drawn to what the other orders are about to ask."""
    seconds = {name: drawn[name] for name in ("run_seconds", "read_seconds", "validate_seconds")}
    windows = {name: drawn[name] for name in ("quote_window", "decide_window", "challenge_window")}
    share = max(side.version.terms.timeout_share for side in sides if side.version)
    least = drawn["timeout_fee"] - -sum(side.price for side in sides) * share // 100
    settle = least_settle_window(TIMING, *seconds.values()) + _slack(drawn, "settle_window")
    limits: tuple[AssetLimit, ...] = tuple(side.limit for side in sides)
    return samples.request(
        *limits,
        **seconds,
        **windows,
        settle_window=settle,
        max_units=drawn["max_units"],
        max_compute_price=_above(drawn, "price", "max_compute_price"),
        max_unit_price=_above(drawn, "unit_price", "max_unit_price"),
        min_penalty=Wei(max(0, drawn["penalty"] - _slack(drawn, "min_penalty"))),
        timeout_limit=Wei(max(0, least + _slack(drawn, "timeout_limit"))),
        expiry=LATER,
    )


def order_of(request: Request, sides: Sequence[Side], drawn: dict[str, Any]) -> ComputeOrder:
    """A provider's order that the request just fits, as far as drawn."""
    locked = sum(side.price for side in sides) + drawn["penalty"]
    seconds = {
        f"max_{name}": max(0, drawn[name] + _slack(drawn, f"max_{name}"))
        for name in ("run_seconds", "read_seconds", "validate_seconds")
    }
    return samples.compute_order(
        **seconds,
        price=Wei(drawn["price"]),
        unit_price=Wei(drawn["unit_price"]),
        penalty=Wei(drawn["penalty"]),
        timeout_fee=Wei(drawn["timeout_fee"]),
        max_stake=Wei(locked + _slack(drawn, "max_stake")),
        max_hold=longest_hold(windows_of(request)) + _slack(drawn, "max_hold"),
        min_quote_window=max(0, request.quote_window - _slack(drawn, "min_quote_window")),
        min_settle_window=max(0, request.settle_window - _slack(drawn, "min_settle_window")),
        max_decoded_bytes=Uint64(request.decoded_bytes + _slack(drawn, "max_decoded_bytes")),
        expiry=LATER,
    )


def _above(drawn: dict[str, Any], price: str, limit: str) -> Wei:
    return Wei(max(0, drawn[price] + _slack(drawn, limit)))
