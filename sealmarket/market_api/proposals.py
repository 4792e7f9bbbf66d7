"""Proposals of workloads, and the owners' answers. The server is not trusted: readers check hashes and signatures."""

from __future__ import annotations

from sealmarket.market_api.paging import all_of, page_of
from sealmarket.market_api.session import ApiSession
from sealmarket.protocol.market import AnswerPage, ProposalPage
from sealmarket.protocol.proposals import (
    MAXIMUM_PROPOSAL,
    ProposalRefused,
    SignedAnswer,
    SignedProposal,
)
from sealmarket.service.connection import Connection
from sealmarket_enclave.protocol.codec import Address, Bytes32

MAXIMUM_PAGE = 512 << 10


class Proposals:
    """The proposals of one market. Every method may raise ItemNotFound, ServiceUnavailable and ServiceRefused."""

    def __init__(self, connection: Connection, session: ApiSession) -> None:
        self._http, self._session = connection, session

    def post(self, signed: SignedProposal) -> None:
        """Put a proposal where the owners of its assets find it. Twice is the same as once."""
        self._http.send("POST", "/v1/proposals", signed, what="proposal")

    def proposal(self, proposal_hash: Bytes32) -> SignedProposal:
        """One proposal. Raises :class:`ProposalRefused` for another than was asked for."""
        path = f"/v1/proposals/{proposal_hash}"
        found = self._http.read(path, SignedProposal, what="proposal", limit=MAXIMUM_PROPOSAL + 4096)
        if (actual := found.proposal.struct_hash()) != proposal_hash:
            raise ProposalRefused(f"the server sent proposal {actual}, expected {proposal_hash}", remedy="ask another")
        return found

    def about(self, owner: Address, cursor: str | None = None) -> ProposalPage:
        """A page of the open proposals about an owner's assets, the senders by turns. Private to the owner: it is for
        the account that :meth:`MarketApi.sign_in_as` named."""
        wanted = {"owner": owner, "cursor": cursor}
        headers = self._session.headers()
        page: ProposalPage = page_of(
            self._http, "/v1/proposals", ProposalPage, wanted, what="proposals", headers=headers
        )
        return page

    def answer(self, signed: SignedAnswer) -> None:
        """Put an owner's answer beside its proposal."""
        self._http.send("POST", "/v1/answers", signed, what="answer")

    def answers(self, proposal_hash: Bytes32) -> tuple[SignedAnswer, ...]:
        """The newest answer about each asset of a proposal, unchecked."""
        path = f"/v1/proposals/{proposal_hash}/answers"
        return self._http.read(path, tuple[SignedAnswer, ...], what="answers", limit=MAXIMUM_PAGE)

    def answers_about(self, owner: Address) -> tuple[SignedAnswer, ...]:
        """The newest answers that an owner has given, unchecked; the last 512. Private to the owner, as above."""
        headers = self._session.headers()
        return all_of(self._http, "/v1/answers", AnswerPage, {"owner": owner}, what="answers", headers=headers)
