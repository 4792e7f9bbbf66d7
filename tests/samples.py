"""Sample orders and jobs: the one place in tests and benchmarks that knows every field of them.

Each builder takes the fields that a test is about; the rest has plain values that fit each other.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sealmarket.chain.deploy import timing
from sealmarket.protocol.orders import AssetLimit, AssetOrder, ComputeOrder, Request
from sealmarket_enclave.protocol.codec import ZERO_ADDRESS, ZERO_HASH, Address, MicroEpsilon, Uint, Uint64, Wei
from sealmarket_enclave.protocol.hashing import keccak
from sealmarket_enclave.protocol.job import AssetUse, JobSpec, result_keys_hash
from sealmarket_enclave.protocol.numbers import AssetId, Grade, Kind, Tee

CONSUMER, PROVIDER, OWNER = (Address(bytes([n]) * 20) for n in (0x0C, 0x0D, 0x0A))
ASSET = AssetId(keccak(b"asset"))
TIMING = timing(150)
"""Of a chain whose blocks are final after 150 s."""
WINDOWS = dict.fromkeys(("quote_window", "decide_window", "settle_window", "challenge_window"), 600)


def asset_use(**changes: Any) -> AssetUse:
    """One asset as a job uses it, free of epsilon."""
    fields: dict[str, Any] = {
        "asset_id": ASSET,
        "owner": OWNER,
        "version": 1,
        "terms_version": 1,
        "seal_hash": ZERO_HASH,
        "price": Wei(10),
        "epsilon": MicroEpsilon(0),
    }
    return AssetUse(**(fields | changes))


def asset_limit(**changes: Any) -> AssetLimit:
    """The most that a consumer pays for one asset."""
    fields: dict[str, Any] = {
        "asset_id": ASSET,
        "version": 1,
        "terms_version": 1,
        "max_price": Wei(100),
        "epsilon": MicroEpsilon(0),
    }
    return AssetLimit(**(fields | changes))


def request(*assets: AssetLimit, **changes: Any) -> Request:
    """A request for a job over ``assets``; the consumer pays, unless ``payer`` is given."""
    fields: dict[str, Any] = {
        "kind": Kind.BATCH,
        "extension_hash": ZERO_HASH,
        "consumer": CONSUMER,
        "payer": changes.get("consumer", CONSUMER),
        "token": ZERO_ADDRESS,
        "workload_digest": keccak(b"workload"),
        "parameters_digest": keccak(b"parameters"),
        "result_keys_hash": result_keys_hash([b"result key"]),
        "purpose": 1,
        "tee": Tee.TDX,
        "min_grade": Grade.SIMULATED,
        "providers": ZERO_HASH,
        "capabilities": ZERO_HASH,
        "max_compute_price": Wei(50),
        "max_unit_price": Wei(5),
        "max_units": 10,
        "min_penalty": Wei(0),
        "timeout_limit": Wei(150),
        "run_seconds": 60,
        "read_seconds": 30,
        "validate_seconds": 10,
        "decoded_bytes": Uint64(1 << 30),
        **WINDOWS,
        "expiry": 1_700_001_000,
        "salt": Uint(0),
        "assets": assets or (asset_limit(),),
    }
    return Request(**(fields | changes))


def compute_order(**changes: Any) -> ComputeOrder:
    """A provider's offer that the sample request takes."""
    fields: dict[str, Any] = {
        "kind": Kind.BATCH,
        "provider": PROVIDER,
        "token": ZERO_ADDRESS,
        "tee": Tee.TDX,
        "grade": Grade.SIMULATED,
        "price": Wei(40),
        "unit_price": Wei(1),
        "penalty": Wei(10),
        "max_stake": Wei(10**6),
        "timeout_fee": Wei(20),
        "min_quote_window": 0,
        "min_settle_window": 0,
        "max_hold": 30 * 86_400,
        "max_run_seconds": 3600,
        "max_read_seconds": 3600,
        "max_validate_seconds": 3600,
        "max_decoded_bytes": Uint64(1 << 40),
        "capability_hash": ZERO_HASH,
        "volume": 100,
        "expiry": 1_700_001_000,
        "consumers": ZERO_HASH,
        "salt": Uint(0),
    }
    return ComputeOrder(**(fields | changes))


def asset_order(**changes: Any) -> AssetOrder:
    """An owner's offer to anybody, beside its standing terms."""
    fields: dict[str, Any] = {
        "asset_id": ASSET,
        "version": 1,
        "price": Wei(10),
        "volume": 100,
        "expiry": 1_700_001_000,
        "consumers": ZERO_HASH,
        "providers": ZERO_HASH,
        "salt": Uint(0),
    }
    return AssetOrder(**(fields | changes))


def job_of(asked: Request, order: ComputeOrder, uses: Sequence[AssetUse], **changes: Any) -> JobSpec:
    """The specification that the market makes of a request and a compute order."""
    copied = (
        *("kind", "extension_hash", "consumer", "payer", "token", "workload_digest", "parameters_digest"),
        *("result_keys_hash", "purpose", "tee", "min_grade", "max_units", "timeout_limit", "run_seconds"),
        *("read_seconds", "validate_seconds", "decoded_bytes", *WINDOWS),
    )
    fields: dict[str, Any] = {
        **{name: getattr(asked, name) for name in copied},
        "request_hash": asked.struct_hash(),
        "provider": order.provider,
        "capability_hash": order.capability_hash,
        "epoch": 1,
        "compute_price": order.price,
        "unit_price": order.unit_price,
        "penalty": order.penalty,
        "hold_fee": Wei(7),
        "timeout_fee": order.timeout_fee,
        "matched_at": 1_700_000_000,
        "assets": tuple(uses),
    }
    return JobSpec(**(fields | changes))


def job(*uses: AssetUse, **changes: Any) -> JobSpec:
    """The specification of a job over ``uses``; the consumer pays, unless ``payer`` is given."""
    if "consumer" in changes:
        changes = {"payer": changes["consumer"], **changes}
    return job_of(request(), compute_order(), uses, **changes)
