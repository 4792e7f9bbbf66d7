"""The route of the streams of changes."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import FastAPI, Header, Query, Request
from fastapi.responses import StreamingResponse

from sealmarket.serving.requests import EVENT_STREAM, peer_in
from sealmarket_backend.api.documents import Responses, refuses
from sealmarket_backend.api.streams import LONGEST_ID, Streams, Wanted
from sealmarket_backend.changes import TOPICS
from sealmarket_enclave.protocol.codec import Bytes32
from sealmarket_enclave.protocol.errors import MalformedDocument

_TEXT: dict[str, Any] = {"schema": {"type": "string", "description": "Events: id, event (the topic), data (JSON)."}}
_EVENTS: Responses = {200: {"description": "events", "content": {"text/event-stream": _TEXT}}, **refuses()}
_HASH = "^0x[0-9a-f]{64}$"


def add_routes(app: FastAPI, streams: Streams) -> None:
    """One route for all topics."""

    @app.get(
        "/v1/events",
        tags=["events"],
        summary="Changes of jobs, requests and offers as they come",
        responses=_EVENTS,
        response_class=StreamingResponse,
    )
    async def get_events(
        request: Request,
        topics: Annotated[str, Query(max_length=100, description="With commas between: " + ", ".join(TOPICS))],
        subject: Annotated[str | None, Query(pattern=_HASH, description="One job, request or offer.")] = None,
        last_event_id: Annotated[
            str | None, Header(max_length=LONGEST_ID, description="The id of the last event that was read.")
        ] = None,
    ) -> StreamingResponse:
        """Server-sent events: each says a subject and the state that it has now."""
        named = frozenset(topics.split(","))
        if unknown := sorted(named - set(TOPICS)):
            raise MalformedDocument(
                f"expected topics among {', '.join(TOPICS)}, found {unknown[0][:40]!r}", remedy="name one of them"
            )
        wanted = Wanted(named, Bytes32.parse(subject) if subject else None)
        found = await streams.begin(wanted, last_event_id, peer_in(request.scope))
        return StreamingResponse(found, media_type=EVENT_STREAM, headers={"Cache-Control": "no-store"})
