"""Proposals of workloads and the owners' answers: what is kept of whom, and in which order owners see it.

1. Kept is what its consumer signed, about versions that are on chain at a final block, by an account that has coin in
   the market: an account costs nothing, coin in it does.
2. At most :data:`MOST_OF_ACCOUNT` open proposals of one account, and :data:`MOST_OF_PEER` that one peer has sent.
3. At most :data:`MOST_ABOUT_OWNER` about one owner's assets. When they are full, the newest of the peer that has sent
   the most gives way to the next of another peer, and that peer's own are refused.
4. An owner's pages (``listing.py``) take the senders by turns: a flood from one peer stands behind the first of each
   other.
5. What is over is gone with the next proposal; answers stay, the newest :data:`MOST_ANSWERS` of each owner.
"""

from __future__ import annotations

from collections.abc import Callable

from sealmarket.protocol.proposals import (
    Proposal,
    ProposalRefused,
    SignedAnswer,
    SignedProposal,
    require_answer,
    require_whole,
)
from sealmarket.serving.rates import UNKNOWN_PEER
from sealmarket_backend.errors import NotFound, Rejected, TooMany
from sealmarket_backend.index import Index
from sealmarket_backend.quotas import Count, count_nothing
from sealmarket_backend.signatures import Signatures
from sealmarket_backend.tables import Connection, Database
from sealmarket_enclave.protocol.codec import Address, Bytes32, canonical_json, decode

HasCoin = Callable[[Address], bool]
MOST_OF_ACCOUNT = 16
MOST_OF_PEER = 64
MOST_ABOUT_OWNER = 256
MOST_ANSWERS = 512
_LATER_SECONDS = 3600
_FLOODER = """
SELECT senders.peer AS peer, COUNT(*) AS sent FROM proposals AS senders JOIN proposed USING (proposal_hash)
WHERE proposed.owner = ? GROUP BY senders.peer ORDER BY sent DESC, senders.peer LIMIT 1
"""


class Proposals:
    """Adds and lists them. ``has_coin`` says whether an account has enough in the market; it may raise ChainError."""

    def __init__(
        self,
        database: Database,
        signatures: Signatures,
        index: Index,
        has_coin: HasCoin,
        count: Count = count_nothing,
    ) -> None:
        """``count`` counts bytes of a peer, and may raise StoreFull."""
        self._database, self._signatures, self._index, self._has_coin = database, signatures, index, has_coin
        self._count = count

    def add(self, signed: SignedProposal, now: int, peer: str = UNKNOWN_PEER) -> Bytes32:
        """Keep a proposal. Posting it twice is the same as once.

        Raises:
            Rejected: it does not hold together, is over, names a version that is not on chain at a final block, or is
                not signed by its consumer, who has coin here.
            TooMany: its account, its peer or an owner has no room for another.
            StoreFull: the peer's quota of the tables has no room.
        """
        key = _held(signed, now)
        if self._database.row("SELECT 1 FROM proposals WHERE proposal_hash = ?", key) is not None:
            return key
        proposal = signed.proposal
        owners = self._owners(proposal)
        self._signatures.require(proposal, signed.signature, proposal.consumer, peer)
        if not self._has_coin(proposal.consumer):
            raise Rejected(
                f"{proposal.consumer.checksum} has less coin in the market than one oracle signature costs",
                remedy="deposit some first (sealmarket consumer deposit); a proposal itself costs nothing",
            )
        document = canonical_json(signed)
        with self._count(peer, len(document)):
            self._keep(key, proposal, document, owners, peer, now)
        return key

    def _keep(
        self, key: Bytes32, proposal: Proposal, document: bytes, owners: set[Address], peer: str, now: int
    ) -> None:
        with self._database.write() as connection:
            _forget_ended(connection, now)
            _require_room(connection, proposal.consumer, peer)
            for owner in owners:
                _make_room(connection, owner, peer)
            connection.execute(
                "INSERT INTO proposals (proposal_hash, body, account, peer, expiry, sequence)"
                " VALUES (?, ?, ?, ?, ?, (SELECT COALESCE(MAX(sequence), 0) + 1 FROM proposals))",
                (key, document, proposal.consumer, peer, proposal.expiry),
            )
            rows = [(key, owner) for owner in owners]
            connection.executemany("INSERT INTO proposed (proposal_hash, owner) VALUES (?, ?)", rows)

    def knows(self, proposal: Proposal) -> bool:
        """Whether all of its versions are in the index."""
        try:
            return bool(self._owners(proposal))
        except Rejected:
            return False

    def _owners(self, proposal: Proposal) -> set[Address]:
        try:
            return {self._index.asset(one.asset_id, one.version).owner for one in proposal.assets}
        except NotFound as error:
            raise Rejected(
                error.message, remedy="check id and version; or wait until its publication is final"
            ) from error

    def proposal(self, proposal_hash: Bytes32) -> SignedProposal:
        """One proposal. Raises :class:`NotFound`."""
        row = self._database.row("SELECT body FROM proposals WHERE proposal_hash = ?", proposal_hash)
        if row is None:
            raise NotFound(f"no proposal {proposal_hash}", remedy="its consumer posts it; those that ended are gone")
        return decode(SignedProposal, row["body"])

    def add_answer(self, signed: SignedAnswer, peer: str = UNKNOWN_PEER) -> None:
        """Keep an owner's newest answer about one asset of a proposal.

        Raises:
            NotFound: no such proposal.
            Rejected: it is about something else, older than the one that is kept, or not signed by the asset's owner.
        """
        answer = signed.answer
        proposal = self.proposal(answer.proposal_hash).proposal
        try:
            require_answer(signed, proposal)
        except ProposalRefused as error:
            raise Rejected(error.message, remedy=error.remedy) from error
        owner = self._index.asset(answer.asset_id, answer.version).owner
        self._signatures.require(answer, signed.signature, owner, peer)
        key = (answer.proposal_hash, answer.asset_id, answer.version)
        with self._database.write() as connection:
            newer = connection.execute(
                "SELECT 1 FROM answers WHERE proposal_hash = ? AND asset_id = ? AND version = ? AND signed_at > ?",
                (*key, answer.signed_at),
            ).fetchone()
            if newer:
                raise Rejected("a later answer of this owner is kept", remedy="sign a new one to change your mind")
            connection.execute(
                "INSERT INTO answers (proposal_hash, asset_id, version, owner, signed_at, body, sequence)"
                " VALUES (?, ?, ?, ?, ?, ?, (SELECT COALESCE(MAX(sequence), 0) + 1 FROM answers))"
                " ON CONFLICT (proposal_hash, asset_id, version) DO UPDATE"
                " SET owner = excluded.owner, signed_at = excluded.signed_at, body = excluded.body",
                (*key, owner, answer.signed_at, canonical_json(signed)),
            )
            connection.execute(
                "DELETE FROM answers WHERE owner = ? AND (proposal_hash, asset_id, version) NOT IN (SELECT"
                " proposal_hash, asset_id, version FROM answers WHERE owner = ? ORDER BY signed_at DESC LIMIT ?)",
                (owner, owner, MOST_ANSWERS),
            )

    def answers(self, proposal_hash: Bytes32) -> tuple[SignedAnswer, ...]:
        """The newest answer about each asset of a proposal."""
        rows = self._database.rows("SELECT body FROM answers WHERE proposal_hash = ? ORDER BY signed_at", proposal_hash)
        return tuple(decode(SignedAnswer, row["body"]) for row in rows)


def _held(signed: SignedProposal, now: int) -> Bytes32:
    try:
        return require_whole(signed, now)
    except ProposalRefused as error:
        raise Rejected(error.message, remedy=error.remedy) from error


def _forget_ended(connection: Connection, now: int) -> None:
    """Answers stay: owners' records of what they decided outlive a proposal."""
    connection.execute(
        "DELETE FROM proposed WHERE proposal_hash IN (SELECT proposal_hash FROM proposals WHERE expiry <= ?)", (now,)
    )
    connection.execute("DELETE FROM proposals WHERE expiry <= ?", (now,))


def _require_room(connection: Connection, account: Address, peer: str) -> None:
    for column, value, most, whose in (
        ("account", account, MOST_OF_ACCOUNT, account.checksum),
        ("peer", peer, MOST_OF_PEER, peer),
    ):
        query = f"SELECT COUNT(*) FROM proposals WHERE {column} = ?"  # noqa: S608 - the columns are ours
        if connection.execute(query, (value,)).fetchone()[0] >= most:
            raise TooMany(f"{whose} has {most} open proposals already", _LATER_SECONDS)


def _make_room(connection: Connection, owner: Address, peer: str) -> None:
    """Room for one more about an owner's assets, at the cost of the peer that has sent the most."""
    count = connection.execute("SELECT COUNT(*) FROM proposed WHERE owner = ?", (owner,)).fetchone()[0]
    if count < MOST_ABOUT_OWNER:
        return
    flooder = connection.execute(_FLOODER, (owner,)).fetchone()
    own = connection.execute(
        "SELECT COUNT(*) FROM proposals JOIN proposed USING (proposal_hash) WHERE owner = ? AND peer = ?", (owner, peer)
    ).fetchone()[0]
    if own + 1 >= flooder["sent"]:
        raise TooMany(f"{owner.checksum} has {MOST_ABOUT_OWNER} open proposals already", _LATER_SECONDS)
    (last,) = connection.execute(
        "SELECT proposal_hash FROM proposals JOIN proposed USING (proposal_hash) WHERE owner = ? AND peer = ?"
        " ORDER BY sequence DESC LIMIT 1",
        (owner, flooder["peer"]),
    ).fetchone()
    connection.execute("DELETE FROM proposed WHERE proposal_hash = ?", (last,))
    connection.execute("DELETE FROM proposals WHERE proposal_hash = ?", (last,))
