"""Giving a signed transaction to a node, and telling its refusal from an answer that only sounds like one."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from sealmarket.chain.errors import (
    ChainError,
    ChainUnavailable,
    NodeDistrusted,
    Replaced,
    RpcRefused,
    SendRefused,
)
from sealmarket.chain.landing import Taken, known, taken
from sealmarket.chain.outbox import Entry, Outbox, State
from sealmarket.chain.reverts import revert_of
from sealmarket_enclave.protocol.codec import Address

if TYPE_CHECKING:
    from sealmarket.chain.chain import Chain

log = logging.getLogger(__name__)

_HELD_ALREADY = ("already known", "known transaction", "already imported", "already exists", "alreadyknown")
_LATER = ("in-flight transaction limit", "pool is full", "replacement")
"""The node has no room now (a delegated account, EIP-7702, has one place), or holds another of that nonce."""


class NonceTaken(Exception):
    """Another program's transaction has the nonce of one that no node took."""


class HandingIn:
    """Hands in the transactions of one account."""

    def __init__(self, chain: Chain, address: Address, outbox: Outbox) -> None:
        self._chain = chain
        self._address = address
        self._outbox = outbox

    def hand_in(self, entry: Entry) -> None:
        """Give an entry to the node. Returns also where the answer leaves open whether the node has it."""
        try:
            said = self._chain.rpc.call("eth_sendRawTransaction", entry.raw)
        except RpcRefused as error:
            self._not_taken(entry, error)
        except ChainUnavailable as error:
            log.warning("%s: no clear answer about transaction %s, waiting for it: %s", entry.what, entry.hash, error)
        else:
            if str(said).lower() != str(entry.hash):
                wrong = NodeDistrusted("transaction hash", entry.hash, str(said)[:80])
                wrong.about(entry.hash)
                raise wrong

    def remind(self, entry: Entry) -> bool:
        """Hand it in again: its nonce lets it count once. Returns whether the node takes it."""
        try:
            self._chain.rpc.call("eth_sendRawTransaction", entry.raw)
        except RpcRefused as error:
            log.info("the node does not take transaction %s again: %s", entry.hash, error.detail)
            return False
        return True

    def has(self, entry: Entry) -> bool:
        """Whether the node has it; yes where that cannot be learnt."""
        try:
            return known(self._chain, entry.hash)
        except ChainError:
            return True

    def require_not_replaced(self, entry: Entry) -> None:
        """Raise :class:`Replaced` where a final block gave its nonce to a transaction that is not of its family."""
        gone = self._taken(entry.nonce)
        if gone is None or self._ours(entry, gone) or gone.block.number > self._chain.final().number:
            return
        for one in self._outbox.family(entry):
            self._outbox.mark(one, State.REPLACED)
        raise Replaced(str(entry.hash), entry.nonce, gone.by or f"an authorisation in block {gone.block.number}")

    def _not_taken(self, entry: Entry, error: RpcRefused) -> None:
        """Tell a refusal from an answer that only sounds like one."""
        said = error.detail.lower()
        if any(words in said for words in _HELD_ALREADY) or self.has(entry):
            return
        if _nonce_taken(said):
            gone = None if entry.resumed else self._taken(entry.nonce)
            if gone is not None and not self._ours(entry, gone):
                self._outbox.mark(entry, State.REPLACED)
                raise NonceTaken from error
            return
        if any(words in said for words in _LATER):
            return
        self._outbox.mark(entry, State.REFUSED)
        refusal = revert_of(error) or SendRefused(str(entry.hash), error.detail)
        refusal.about(entry.hash)
        raise refusal from error

    def _taken(self, nonce: int) -> Taken | None:
        try:
            return taken(self._chain, self._address, nonce)
        except ChainError as error:
            log.info("who took nonce %d cannot be read: %s", nonce, error)
            return None

    def _ours(self, entry: Entry, gone: Taken) -> bool:
        return any(str(one.hash) in gone.contents for one in self._outbox.family(entry))


def _nonce_taken(said: str) -> bool:
    return "nonce" in said and any(word in said for word in ("too low", "already", "used", "expected"))
