"""Proposals of workloads, and the owners' answers."""

from __future__ import annotations

from typing import Annotated

from fastapi import FastAPI, Query, Request, Response

from sealmarket.protocol.market import (
    MOST_ANSWERS,
    MOST_PROPOSALS,
    Accepted,
    AcceptedProposal,
    AnswerPage,
    ProposalPage,
)
from sealmarket.protocol.proposals import MAXIMUM_PROPOSAL, SignedAnswer, SignedProposal
from sealmarket_backend.api.answers import answer, now, page_of
from sealmarket_backend.api.cursors import cursor_of, places_in
from sealmarket_backend.api.documents import Account, Hash, PageCursor, Tags, gives, reads
from sealmarket_backend.api.posting import CREATED, Posting
from sealmarket_backend.api.sign_in import Credentials, require_account
from sealmarket_backend.listing import Listings
from sealmarket_backend.service import Backend
from sealmarket_enclave.protocol.codec import Address, Bytes32

TAGS: Tags = ["proposals"]


def add_routes(app: FastAPI, backend: Backend, posting: Posting, listings: Listings) -> None:
    """The routes of proposals and answers."""
    _proposals(app, backend, posting, listings)
    _answers(app, backend, posting, listings)


def _proposals(app: FastAPI, backend: Backend, posting: Posting, listings: Listings) -> None:
    @app.post(
        "/v1/proposals",
        status_code=CREATED,
        tags=TAGS,
        summary="Propose a workload to the owners of assets",
        openapi_extra=reads(SignedProposal),
        responses=gives(AcceptedProposal, CREATED),
    )
    async def post_proposal(request: Request) -> Response:
        """Signed by a consumer who has coin in the market."""

        def add(signed: SignedProposal, peer: str) -> dict[str, str]:
            return {"proposalHash": str(backend.add_proposal(signed, now(), peer))}

        return await posting.post(request, SignedProposal, add, MAXIMUM_PROPOSAL)

    @app.get("/v1/proposals", tags=TAGS, summary="Open proposals about an owner", responses=gives(ProposalPage))
    def get_proposals(
        owner: Account,
        credentials: Credentials,
        cursor: PageCursor = None,
        limit: Annotated[int, Query(ge=1, le=MOST_PROPOSALS, description="Most items of the page.")] = MOST_PROPOSALS,
    ) -> Response:
        """A page of them, the senders by turns. Private to the owner."""
        require_account(backend.sessions, credentials, Address.parse(owner))
        query = ("proposals", owner)
        newest, after = places_in(cursor, query, 2) or (None, 0)
        found, newest, place = listings.proposals(Address.parse(owner), now(), newest, after, limit)
        following = None if place is None else cursor_of(query, newest, place)
        return answer(ProposalPage(items=tuple(signed.proposal for signed in found), next=following))

    @app.get("/v1/proposals/{proposal_hash}", tags=TAGS, summary="One proposal", responses=gives(SignedProposal))
    def get_proposal(proposal_hash: Hash) -> Response:
        """With its details."""
        return answer(backend.proposals.proposal(Bytes32.parse(proposal_hash)))


def _answers(app: FastAPI, backend: Backend, posting: Posting, listings: Listings) -> None:
    @app.get(
        "/v1/proposals/{proposal_hash}/answers",
        tags=TAGS,
        summary="The answers to a proposal",
        responses=gives(SignedAnswer, many=True),
    )
    def get_answers(proposal_hash: Hash) -> Response:
        """The newest about each of its assets, at most 16."""
        return answer(backend.proposals.answers(Bytes32.parse(proposal_hash)))

    @app.post(
        "/v1/answers",
        status_code=CREATED,
        tags=TAGS,
        summary="Answer a proposal",
        openapi_extra=reads(SignedAnswer),
        responses=gives(Accepted, CREATED),
    )
    async def post_answer(request: Request) -> Response:
        """Signed by the owner of the asset that it is about."""
        return await posting.post(request, SignedAnswer, backend.proposals.add_answer)

    @app.get("/v1/answers", tags=TAGS, summary="The answers that an owner has given", responses=gives(AnswerPage))
    def get_answers_about(
        owner: Account,
        credentials: Credentials,
        cursor: PageCursor = None,
        limit: Annotated[int, Query(ge=1, le=MOST_ANSWERS, description="Most items of the page.")] = MOST_ANSWERS,
    ) -> Response:
        """A page of them, the last posted first. Private to the owner."""
        require_account(backend.sessions, credentials, Address.parse(owner))
        query = ("answers", owner)
        places = places_in(cursor, query)
        found = listings.answers_about(Address.parse(owner), places[0] if places else None, limit)
        return page_of(found.documents, None if found.place is None else cursor_of(query, found.place))
