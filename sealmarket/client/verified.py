"""Value goes only to a market that was held against its address book and against the code that this library carries.

An address book may come from anywhere, and a look-alike at its addresses takes a deposit as gladly as the market does.
Looked at, once for each chain that a process reads, at a final block:

1. the node's chain id, and the hash of the block that the deployment began with;
2. the code of registry, committee, market and its two other parts, but for the places of immutables;
3. the immutables that link them: registry, committee, market, its parts, chain id and signing domain;
4. the committee that the chain stores for the book's newest epoch.

These are ten reads of the chain beside the chain id, which every command asks for.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol
from weakref import WeakKeyDictionary

from sealmarket.chain import ChainReader
from sealmarket.chain.bytecode import CONTRACTS, carried
from sealmarket.chain.committees import members_hash
from sealmarket.chain.comparison import CodeReader, Finding, codes_of, compare, places_of
from sealmarket.chain.errors import BlockGone, NodeDistrusted, WrongChain
from sealmarket.chain.model import Block
from sealmarket.client.errors import MarketNotVerified
from sealmarket_enclave.protocol.codec import Bytes32
from sealmarket_enclave.protocol.hashing import keccak

_NO_HASH = "get the address book from the market's publisher again: this one does not say which block it began with"
_OTHER_CHAIN = "use a node of the chain that the market was deployed on; another one may carry the same chain id"
_NO_CODE = "wait until the deployment is final, or get the address book from the market's publisher again"
_OTHER_CODE = (
    "send nothing there; if you compiled and verified this build yourself, name its code with --accept-code {found}"
)
_OTHER_LINK = "send nothing there: the contracts belong to another market; get the address book again"
_OTHER_NODES = "do not rely on these oracle nodes; get the address book from its publisher again"


class MarketReader(ChainReader, CodeReader, Protocol):
    """A chain of which code can be read."""


@dataclass(slots=True)
class _Known:
    """What was found out through one chain object."""

    accepted: set[Bytes32] = field(default_factory=set)
    verified: bool = False
    lock: threading.Lock = field(default_factory=threading.Lock)


_KNOWN: WeakKeyDictionary[MarketReader, _Known] = WeakKeyDictionary()
_LOCK = threading.Lock()


class VerifiedMarket:
    """One market as it is read through one chain object: what was looked at is not looked at again. Threads may share
    it."""

    def __init__(self, chain: MarketReader) -> None:
        self._chain = chain
        with _LOCK:
            self._known = _KNOWN.setdefault(chain, _Known())

    def accept_code(self, code_hash: Bytes32) -> None:
        """Take contracts whose :func:`code_hash` is this, unread: the caller has verified them by other means."""
        self._known.accepted.add(code_hash)

    def require(self) -> None:
        """Return if this is the market of its address book; looks once.

        Raises:
            MarketNotVerified: with what differs.
            WrongChain: the node follows another chain.
            ChainError: it could not be checked, which counts as a no.
        """
        with self._known.lock:
            if not self._known.verified:
                self._look()
                self._known.verified = True

    def _look(self) -> None:
        self._require_beginning()
        block = self._chain.final()
        codes = codes_of(self._chain, block)
        self._require_contracts(codes)
        if code_hash(codes) not in self._known.accepted:
            self._require_codes(codes)
        self._require_committee(block)

    def _require_beginning(self) -> None:
        book = self._chain.book
        what = f"hash of block {book.deployed_at}"
        if book.deployed_hash is None:
            raise MarketNotVerified(what, "a hash in the address book", "none", _NO_HASH)
        found = _hash_at(self._chain, book.deployed_at)
        if found != book.deployed_hash:
            raise MarketNotVerified(what, book.deployed_hash, found, _OTHER_CHAIN)

    def _require_contracts(self, codes: Mapping[str, bytes]) -> None:
        for name, address in places_of(self._chain.book).items():
            if not codes[name]:
                raise MarketNotVerified(f"code of {name}", f"a contract at {address.checksum}", "nothing", _NO_CODE)

    def _require_codes(self, codes: Mapping[str, bytes]) -> None:
        for finding in _differences(self._chain, codes):
            remedy = _OTHER_CODE.format(found=code_hash(codes)) if finding.what == "code" else _OTHER_LINK
            raise MarketNotVerified(f"{finding.what} of {finding.contract}", finding.expected, finding.found, remedy)

    def _require_committee(self, block: Block) -> None:
        newest = max(self._chain.book.committees, key=lambda known: known.epoch, default=None)
        if newest is None:
            raise MarketNotVerified("committee", "one in the address book", "none", _OTHER_NODES)
        view = self._chain.at(block)
        stored, ours = view.committee_hash(newest.epoch), members_hash(newest, view.removed_members(newest.epoch))
        if stored != ours:
            raise MarketNotVerified(f"committee of epoch {newest.epoch}", ours, stored, _OTHER_NODES)


def code_hash(codes: Mapping[str, bytes]) -> Bytes32:
    """What names all code of one deployment, immutables included: Keccak-256 over the Keccak-256 of each contract."""
    return keccak(b"".join(keccak(codes[name]) for name in CONTRACTS if name in codes))


def _differences(chain: MarketReader, codes: Mapping[str, bytes]) -> Iterator[Finding]:
    return (finding for finding in compare(chain.book, codes, carried()) if not finding.holds)


def _hash_at(chain: MarketReader, number: int) -> object:
    try:
        return chain.block(number).hash
    except (WrongChain, BlockGone):
        raise
    except NodeDistrusted:
        return "no such block"
