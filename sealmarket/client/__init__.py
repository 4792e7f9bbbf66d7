"""The SDK: what an owner, a consumer, a provider and an auditor do, each in one call.

    with Owner.connect(account="owner.json", passphrase=…) as owner:      # SEALMARKET_BOOK, SEALMARKET_RPC
        asset = owner.seal_and_publish(Path("patients.csv"), Path("policy.json"), Path("sealed"), passphrase=…)

    with Consumer.connect(account="consumer.json", passphrase=…) as consumer:
        result = consumer.request_and_fetch(workload, parameters, [AssetWish(asset_id=…)], limits, result_key)

    with Provider.connect(account="provider.key") as provider:
        provider.offer_and_serve(offer, Path("worker.toml"), stake=coin("2")).wait()

    with Auditor.connect() as auditor:
        report = auditor.require(result.job_id, evidence=…, at=…)

:mod:`sealmarket.client.aio` has the same for asyncio. docs/sdk.md explains them, and ``examples/`` runs.

A name is imported from its module when it is first used: a script that only seals does not wait for what audits.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sealmarket.client.accounts import create_account, load_account, load_signer
    from sealmarket.client.aio import AsyncAuditor, AsyncConsumer, AsyncOwner, AsyncProvider
    from sealmarket.client.amounts import coin
    from sealmarket.client.asset_card import AssetCard, load_asset_card
    from sealmarket.client.auditor import Auditor, Conclusion, NotProven, Report
    from sealmarket.client.books import load_book
    from sealmarket.client.consumer import Consumer
    from sealmarket.client.draft import DraftTerms, PolicyDraft
    from sealmarket.client.draft_file import load_draft
    from sealmarket.client.errors import ClientError
    from sealmarket.client.job_result import JobResult
    from sealmarket.client.jobs import JobRecord, read_job, reasons_in_words
    from sealmarket.client.limits import JobLimits
    from sealmarket.client.market import Market
    from sealmarket.client.owner import Owner
    from sealmarket.client.progress import Progress
    from sealmarket.client.provider import Offer, Provider, Serving
    from sealmarket.client.quote import Quote
    from sealmarket.client.requests import AssetWish, RequestHandle, UnsignedRequest, Wanted, complete_parameters
    from sealmarket.client.result_keys import create_result_key, load_result_key
    from sealmarket.client.sealed_asset import SealedAsset
    from sealmarket.client.signing import Signer
    from sealmarket.market_api.client import MarketApi
    from sealmarket.protocol.orders import Purpose
    from sealmarket.service.errors import ServiceError
    from sealmarket.store.blobs import Store
    from sealmarket_enclave.protocol.codec import Bytes32, Wei
    from sealmarket_enclave.protocol.numbers import AssetId, Grade, JobId, Tee
    from sealmarket_enclave.sealed.hpke import PrivateKey

__all__ = [
    "AssetCard",
    "AssetId",
    "AssetWish",
    "AsyncAuditor",
    "AsyncConsumer",
    "AsyncOwner",
    "AsyncProvider",
    "Auditor",
    "Bytes32",
    "ClientError",
    "Conclusion",
    "Consumer",
    "DraftTerms",
    "Grade",
    "JobId",
    "JobLimits",
    "JobRecord",
    "JobResult",
    "Market",
    "MarketApi",
    "NotProven",
    "Offer",
    "Owner",
    "PolicyDraft",
    "PrivateKey",
    "Progress",
    "Provider",
    "Purpose",
    "Quote",
    "Report",
    "RequestHandle",
    "SealedAsset",
    "ServiceError",
    "Serving",
    "Signer",
    "Store",
    "Tee",
    "UnsignedRequest",
    "Wanted",
    "Wei",
    "coin",
    "complete_parameters",
    "create_account",
    "create_result_key",
    "load_account",
    "load_asset_card",
    "load_book",
    "load_draft",
    "load_result_key",
    "load_signer",
    "read_job",
    "reasons_in_words",
]

_HOMES = {
    "sealmarket.client.accounts": (
        "create_account",
        "load_account",
        "load_signer",
    ),
    "sealmarket.client.asset_card": (
        "AssetCard",
        "load_asset_card",
    ),
    "sealmarket.client.aio": (
        "AsyncAuditor",
        "AsyncConsumer",
        "AsyncOwner",
        "AsyncProvider",
    ),
    "sealmarket.client.amounts": ("coin",),
    "sealmarket.client.auditor": (
        "Auditor",
        "Conclusion",
        "NotProven",
        "Report",
    ),
    "sealmarket.client.books": ("load_book",),
    "sealmarket.client.consumer": ("Consumer",),
    "sealmarket.client.draft": (
        "DraftTerms",
        "PolicyDraft",
    ),
    "sealmarket.client.draft_file": ("load_draft",),
    "sealmarket.client.errors": ("ClientError",),
    "sealmarket.client.job_result": ("JobResult",),
    "sealmarket.client.jobs": (
        "JobRecord",
        "read_job",
        "reasons_in_words",
    ),
    "sealmarket.client.limits": ("JobLimits",),
    "sealmarket.client.market": ("Market",),
    "sealmarket.client.owner": ("Owner",),
    "sealmarket.client.progress": ("Progress",),
    "sealmarket.client.provider": (
        "Offer",
        "Provider",
        "Serving",
    ),
    "sealmarket.client.quote": ("Quote",),
    "sealmarket.client.requests": (
        "AssetWish",
        "RequestHandle",
        "UnsignedRequest",
        "Wanted",
        "complete_parameters",
    ),
    "sealmarket.client.result_keys": (
        "create_result_key",
        "load_result_key",
    ),
    "sealmarket.client.sealed_asset": ("SealedAsset",),
    "sealmarket.client.signing": ("Signer",),
    "sealmarket.market_api.client": ("MarketApi",),
    "sealmarket.protocol.orders": ("Purpose",),
    "sealmarket.service.errors": ("ServiceError",),
    "sealmarket.store.blobs": ("Store",),
    "sealmarket_enclave.protocol.codec": (
        "Bytes32",
        "Wei",
    ),
    "sealmarket_enclave.protocol.numbers": (
        "AssetId",
        "Grade",
        "JobId",
        "Tee",
    ),
    "sealmarket_enclave.sealed.hpke": ("PrivateKey",),
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_HOME_OF[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
