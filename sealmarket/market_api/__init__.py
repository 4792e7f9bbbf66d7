"""The market's API: the order book, and jobs as the backend sees them.

api = MarketApi(book.backend)
api.orders.post_request(PostedRequest(request=signed, parameters=parameters))
api.jobs.list(provider=address)

What it says is for orientation; what matters is read from the chain.
"""

from __future__ import annotations

from sealmarket.market_api.client import MarketApi
from sealmarket.market_api.jobs import Jobs
from sealmarket.market_api.orders import Orders
from sealmarket.market_api.session import Identity
from sealmarket.protocol.market import RequestState

__all__ = ["Identity", "Jobs", "MarketApi", "Orders", "RequestState"]
