"""The order book: signed requests and orders. An order is cancelled on chain, never here."""

from __future__ import annotations

from sealmarket.market_api.paging import all_of
from sealmarket.protocol.market import AssetOrderPage, ComputeOrderPage, OrderState, RequestState
from sealmarket.protocol.wire import PostedRequest, SignedAssetOrder, SignedComputeOrder
from sealmarket.service.connection import Connection
from sealmarket_enclave.protocol.codec import Bytes32
from sealmarket_enclave.protocol.numbers import AssetId


class Orders:
    """The order book of one market."""

    def __init__(self, connection: Connection) -> None:
        self._http = connection

    def post_request(self, posted: PostedRequest) -> None:
        """Put a request and its parameters into the book; both are there then, or neither. Twice is the same as once.

        Raises:
            ServiceRefused: among others for parameters of another digest than the request signs.
            ServiceUnavailable: it may be there or not; :meth:`request` tells.
        """
        self._http.send("POST", "/v1/requests", posted, what="request")

    def request(self, request_hash: Bytes32) -> RequestState:
        """Where a request stands."""
        return self._http.read(f"/v1/requests/{request_hash}", RequestState, what="request")

    def post_compute_order(self, signed: SignedComputeOrder) -> None:
        """Put a compute order into the book."""
        self._http.send("POST", "/v1/compute-orders", signed, what="compute order")

    def compute_orders(self) -> tuple[SignedComputeOrder, ...]:
        """The compute orders that are open, oldest first."""
        return all_of(self._http, "/v1/compute-orders", ComputeOrderPage, {}, what="compute orders")

    def order(self, order_hash: Bytes32) -> OrderState:
        """Where an offer of compute or of an asset stands."""
        return self._http.read(f"/v1/orders/{order_hash}", OrderState, what="order")

    def post_asset_order(self, signed: SignedAssetOrder) -> None:
        """Put an asset order into the book."""
        self._http.send("POST", "/v1/asset-orders", signed, what="asset order")

    def asset_orders(self, asset_id: AssetId, version: int) -> tuple[SignedAssetOrder, ...]:
        """The owner's open orders for one version of an asset, oldest first."""
        wanted = {"asset": asset_id, "version": version}
        return all_of(self._http, "/v1/asset-orders", AssetOrderPage, wanted, what="asset orders")
