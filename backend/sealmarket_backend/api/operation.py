"""What operators and their tools ask: whether the backend lives, whether it is ready, and its metrics."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import FastAPI, Query, Request, Response

from sealmarket.protocol.market import WARNS_AHEAD_SECONDS, Readiness, Warnings
from sealmarket.serving.requests import peer_in
from sealmarket_backend.api.answers import Recent, answer, now
from sealmarket_backend.api.documents import Account, Tags, gives, refuses
from sealmarket_backend.api.metrics import MEDIA_TYPE, Metrics
from sealmarket_backend.api.settings import ApiSettings
from sealmarket_backend.api.sign_in import Credentials, require_account
from sealmarket_backend.api.streams import Streams
from sealmarket_backend.errors import NotFound
from sealmarket_backend.readiness import readiness
from sealmarket_backend.service import Backend
from sealmarket_enclave.protocol.codec import Address

TAGS: Tags = ["operation"]
MOST_AHEAD_SECONDS = 366 * 86_400
LOOK_SECONDS = 2.0
"""How old what is said of the chain may be: however often it is asked, the chain is asked this often."""


def add_routes(app: FastAPI, backend: Backend, settings: ApiSettings, metrics: Metrics, streams: Streams) -> None:
    """The routes of liveness, readiness and metrics."""
    found = Recent(lambda: readiness(backend, settings.most_head_age_seconds, settings.most_lag_blocks), LOOK_SECONDS)

    @app.get("/healthz", tags=TAGS, summary="Whether the backend lives", responses=refuses())
    def health() -> dict[str, Any]:
        """Up to which block it has read, what keeps its keeper from working, and the store's room in bytes."""
        return backend.health()

    @app.get(
        "/ready",
        tags=TAGS,
        summary="Whether the backend can do its work",
        responses={**gives(Readiness, 503), **gives(Readiness)},
    )
    def ready() -> Response:
        """200 where it can, 503 where it cannot: send callers elsewhere then, and restart nothing."""
        one = found.get()
        return answer(one, 200 if one.ready else 503)

    @app.get("/v1/warnings", tags=TAGS, summary="What of an account's ends soon", responses=gives(Warnings))
    def get_warnings(
        account: Account,
        credentials: Credentials,
        within: Annotated[
            int, Query(ge=0, le=MOST_AHEAD_SECONDS, description="How many seconds ahead.")
        ] = WARNS_AHEAD_SECONDS,
    ) -> Response:
        """Terms, offers, requests, promises, epochs and platforms that end, or hold no more. Private to the account."""
        named = Address.parse(account)
        require_account(backend.sessions, credentials, named)
        return answer(Warnings(items=backend.expiring.of(named, now(), within)))

    @app.get("/metrics", include_in_schema=False)
    def get_metrics(request: Request) -> Response:
        if peer_in(request.scope) not in settings.metrics_peers:
            raise NotFound("metrics are for the operator's machine", remedy="set SEALMARKET_API_METRICS_PEERS there")
        gas = {"spent": backend.spending.today(), "limit": backend.spending.settings.gas_gwei_per_day}
        text = metrics.text(found.get(), streams.count, backend.blobs.ledger.health(), gas, backend.ending)
        return Response(text, media_type=MEDIA_TYPE)
