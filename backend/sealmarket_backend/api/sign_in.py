"""Sign-in, and what a route needs that serves one account alone."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, FastAPI, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from sealmarket.protocol.sign_in import LONGEST_SIGNATURE, ROUTE, Nonce, Session, SignedMessage
from sealmarket.serving.requests import peer_in
from sealmarket_backend.api.answers import answer, body_of
from sealmarket_backend.api.documents import Tags, gives, reads_document, refuses
from sealmarket_backend.errors import Private
from sealmarket_backend.sessions import Sessions
from sealmarket_enclave.protocol.codec import Address, decode

TAGS: Tags = ["sign-in"]
MAX_SIGN_IN = 2 * LONGEST_SIGNATURE + 8192
_Bearer = HTTPBearer(auto_error=False, description="The token of a session (POST /v1/sign-in).")
Credentials = Annotated[HTTPAuthorizationCredentials | None, Depends(_Bearer)]
NO_STORE = {"Cache-Control": "no-store"}


def add_routes(app: FastAPI, sessions: Sessions) -> None:
    """The routes of nonces and sessions."""
    _add_beginnings(app, sessions)
    _add_ends(app, sessions)


def _add_beginnings(app: FastAPI, sessions: Sessions) -> None:
    @app.post(
        ROUTE + "/nonces",
        status_code=201,
        tags=TAGS,
        summary="A nonce for one sign-in",
        responses=gives(Nonce, 201),
    )
    def post_nonce() -> Response:
        """It counts once, for five minutes."""
        return _private(answer(sessions.nonce(), 201))

    @app.post(
        ROUTE,
        status_code=201,
        tags=TAGS,
        summary="Sign in with Ethereum (EIP-4361)",
        openapi_extra=reads_document(SignedMessage),
        responses=gives(Session, 201),
    )
    async def post_sign_in(request: Request) -> Response:
        """A signed message with a fresh nonce gives a session of an hour at most."""
        body = await body_of(request, "SignedMessage", MAX_SIGN_IN)

        def sign_in() -> Session:
            return sessions.sign_in(decode(SignedMessage, body), peer_in(request.scope))

        return _private(answer(await run_in_threadpool(sign_in), 201))


def _add_ends(app: FastAPI, sessions: Sessions) -> None:
    @app.delete(
        ROUTE,
        status_code=204,
        tags=TAGS,
        summary="End this session",
        responses={204: {"description": "done"}, **refuses()},
    )
    def delete_session(credentials: Credentials) -> Response:
        """Its token counts no more."""
        sessions.end(token_in(credentials))
        return Response(status_code=204)

    @app.delete(
        ROUTE + "/all",
        status_code=204,
        tags=TAGS,
        summary="End every session of this account",
        responses={204: {"description": "done"}, **refuses()},
    )
    def delete_sessions(credentials: Credentials) -> Response:
        """As after a token was lost."""
        sessions.end_all(token_in(credentials))
        return Response(status_code=204)


def token_in(credentials: HTTPAuthorizationCredentials | None) -> str:
    """The token that a request carries; empty for none."""
    return credentials.credentials if credentials else ""


def require_account(sessions: Sessions, credentials: HTTPAuthorizationCredentials | None, account: Address) -> None:
    """Refuse who is not signed in as this account. Raises :class:`SignInNeeded`, :class:`Private`."""
    if (found := sessions.account(token_in(credentials))) != account:
        raise Private(account.checksum, found.checksum)


def _private(made: Response) -> Response:
    made.headers.update(NO_STORE)
    return made
