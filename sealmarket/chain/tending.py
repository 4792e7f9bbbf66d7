"""What a transaction without a block needs: handed in again, replaced by one that offers more, its gap filled."""

from __future__ import annotations

import logging
import time
from functools import partial
from typing import TYPE_CHECKING, Any

from sealmarket.chain.errors import (
    ChainError,
    Replaced,
)
from sealmarket.chain.handing_in import HandingIn
from sealmarket.chain.landing import count, known, landed
from sealmarket.chain.outbox import Entry, Outbox, State
from sealmarket.chain.signing import Signing
from sealmarket.chain.watch import Watch
from sealmarket_enclave.protocol.hashing import keccak

if TYPE_CHECKING:
    from sealmarket.chain.chain import Chain

log = logging.getLogger(__name__)

HEAL_SECONDS = 30.0


class Tending:
    """Looks after the transactions in one account's outbox."""

    def __init__(self, chain: Chain, signing: Signing, outbox: Outbox) -> None:
        self.outbox = outbox
        self.handing = HandingIn(chain, signing.address, outbox)
        self._chain = chain
        self._signing = signing
        self._healed = float("-inf")

    def heal(self, *, at_once: bool = False) -> None:
        """Look after what no block has, of other processes too: now and then, or ``at_once``."""
        now = time.monotonic()
        if now < self._healed + HEAL_SECONDS and not at_once:
            return
        self._healed = now
        try:
            mined = count(self._chain, self._signing.address, "latest")
        except ChainError as error:
            log.info("what was sent before is looked after later: %s", error)
            return
        self._look_after(range(1 << 64), mined)

    def tend(self, entry: Entry, watch: Watch) -> None:
        """What a transaction without a block needs."""
        mined = count(self._chain, self._signing.address, "latest")
        if mined > entry.nonce:
            self.handing.require_not_replaced(entry)
            return
        self._look_after(range(mined, entry.nonce), mined)
        newest = self.outbox.family(entry)[-1]
        held = known(self._chain, newest.hash)
        refused = not held and not self.handing.remind(newest)
        if not watch.stuck(self._chain.head().number):
            return
        if mined < entry.nonce:
            self._fill(mined)
        elif held or (refused and count(self._chain, self._signing.address, "pending") <= entry.nonce):
            self._offer_more(newest)  # never over a transaction of another program, which would be lost

    def _offer_more(self, entry: Entry) -> None:
        """Replace a stuck transaction, within the limit; the first of the two to be mined counts."""
        fees = self._signing.more_than(entry)
        if fees is None:
            log.warning("transaction %s is stuck, and offering more would pass the limit", entry.hash)
            return
        more = self._signing.sign({**entry.fields, **fees}, entry.nonce, entry.intent, entry.what)
        self.outbox.add(more)
        log.warning("transaction %s is stuck; %s offers more in its place", entry.hash, more.hash)
        self.handing.remind(more)

    def _fill(self, nonce: int) -> None:
        """Take a nonce that nothing has, and that later ones wait for, by sending nothing to ourselves."""
        if count(self._chain, self._signing.address, "pending") > nonce:
            return
        body: dict[str, Any] = {"to": self._signing.address.checksum, "value": 0}
        fees, gas = self._signing.fees(), self._signing.estimate(body)

        def sign(free: int) -> Entry:
            return self._signing.sign({**body, **fees, "gas": gas}, free, keccak(b"fill %d" % free), "a filled gap")

        if entry := self.outbox.fill(nonce, sign):
            log.warning("nonce %d is missing; transaction %s fills it", nonce, entry.hash)
            self.handing.remind(entry)
            self.outbox.release(entry)

    def _look_after(self, nonces: range, mined: int) -> None:
        """Hand in again what of these nonces lost its block, or was forgotten by the node; ``mined`` have one there.

        A reorganisation may go deeper than what counts as final: the account's count tells, whatever was noted.
        """
        for step, rows in (
            (self._recheck, partial(self.outbox.unsettled, mined)),
            (self._settle, self.outbox.pending),
        ):
            for entry in (row for row in rows() if row.nonce in nonces):
                try:
                    step(entry)
                except Replaced as error:
                    log.warning("%s: %s", entry.what, error.message)
                except ChainError as error:
                    log.info("transaction %s is looked after later: %s", entry.hash, error)

    def _recheck(self, entry: Entry) -> None:
        """What was mined and is not final may have lost its block."""
        found = landed(self._chain, entry.hash)
        if found is None:
            self.outbox.mark(entry, State.PENDING)
        elif found.block.number <= self._chain.final().number:
            self.outbox.mined(entry, final=True, reported=False)

    def _settle(self, entry: Entry) -> None:
        if not known(self._chain, entry.hash):
            log.warning("%s: handing transaction %s in again", entry.what, entry.hash)
            self.handing.remind(entry)
            self.handing.require_not_replaced(entry)
        elif landed(self._chain, entry.hash):
            self.outbox.mined(entry, final=False, reported=False)
