"""The SDK: what an owner, a consumer, a provider and a reader of receipts do, as plain calls.

chain, store, api = Chain(book, rpc_url), Store(book.store), MarketApi(book.backend)
sealed = Owner(chain, account, store, api).seal(Path("patients.csv"), draft, Path("sealed"), passphrase="…")
handle = Consumer(chain, account, store, api).request(workload, parameters, [AssetWish(asset_id=…)], limits, key)
"""

from __future__ import annotations

from sealmarket.client.accounts import create_account, load_account
from sealmarket.client.books import load_book
from sealmarket.client.consumer import Consumer
from sealmarket.client.draft import DraftTerms, PolicyDraft
from sealmarket.client.errors import ClientError
from sealmarket.client.jobs import JobRecord, read_job, reasons_in_words
from sealmarket.client.limits import JobLimits
from sealmarket.client.owner import Owner, SealedAsset
from sealmarket.client.provider import Offer, Provider
from sealmarket.client.quote import Quote
from sealmarket.client.requests import AssetWish, RequestHandle, UnsignedRequest, Wanted, complete_parameters
from sealmarket.client.result_keys import create_result_key, load_result_key
from sealmarket.market_api.client import MarketApi
from sealmarket.service.errors import ServiceError
from sealmarket.store.blobs import Store

__all__ = [
    "AssetWish",
    "ClientError",
    "Consumer",
    "DraftTerms",
    "JobLimits",
    "JobRecord",
    "MarketApi",
    "Offer",
    "Owner",
    "PolicyDraft",
    "Provider",
    "Quote",
    "RequestHandle",
    "SealedAsset",
    "ServiceError",
    "Store",
    "UnsignedRequest",
    "Wanted",
    "complete_parameters",
    "create_account",
    "create_result_key",
    "load_account",
    "load_book",
    "load_result_key",
    "read_job",
    "reasons_in_words",
]
