"""Sending transactions from one account, and knowing what became of each.

1. The call is simulated first; a revert becomes :class:`Reverted` with its reason in words, and nothing is sent.
2. Gas is estimated, with a margin; :mod:`fees` reads what the chain asks, within limits.
3. The signed transaction is in the :mod:`outbox` before a node sees it. From then on it is pending, mined or replaced:
   no error of a node ends that, and a caller who wants the same again gets this one until its end was reported.
4. Its receipt is waited for, in a block that the chain still has; meanwhile it is handed in again where a node forgot
   it, replaced by one that offers more where it is stuck, and what its nonce waits for is filled.
5. A transaction that reverts in its block is simulated there again, for its reason.

What is signed stands in :mod:`signing`, what nodes answer in :mod:`handing_in`, what a transaction needs while no block
has it in :mod:`tending`, and what one did in its block in :mod:`outcomes`.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sealmarket.chain.calls import Call
from sealmarket.chain.errors import ChainError, NotMined, Replaced, Reverted, RpcRefused, SendRefused
from sealmarket.chain.fees import FeeLimits
from sealmarket.chain.handing_in import NonceTaken
from sealmarket.chain.keys import DEVELOPMENT_CHAIN_IDS, TransactionSigner, refuse_publicly_known
from sealmarket.chain.landing import Landed, count, known, landed, taken
from sealmarket.chain.outbox import Entry, Outbox, State, open_outbox
from sealmarket.chain.outcomes import Mined, outcome
from sealmarket.chain.signing import Signing, body_of, intent_of
from sealmarket.chain.tending import Tending
from sealmarket.chain.watch import Watch
from sealmarket_enclave.protocol.codec import Address, Bytes32
from sealmarket_enclave.protocol.hashing import keccak

if TYPE_CHECKING:
    from sealmarket.chain.chain import Chain

log = logging.getLogger(__name__)

RECEIPT_TIMEOUT_SECONDS = 120.0
_NONCE_TRIES = 3


@dataclass(frozen=True, slots=True)
class Sending:
    """How to send. ``state`` is the folder of the outbox; None remembers in memory only."""

    state: Path | None = None
    limits: FeeLimits = field(default_factory=FeeLimits)


IN_MEMORY = Sending()


class Sender:
    """Sends from one account. Threads may share it, and processes that name the same folder."""

    def __init__(
        self,
        chain: Chain,
        account: TransactionSigner,
        *,
        development: bool = False,
        timeout: float = RECEIPT_TIMEOUT_SECONDS,
        pause: Callable[[float], None] = time.sleep,
        sending: Sending = IN_MEMORY,
    ) -> None:
        """Raises :class:`DevelopmentKeyRefused` for a publicly known key, unless ``development`` says that the caller
        has started this chain."""
        self.address = Address.parse(account.address.lower())
        refuse_publicly_known(self.address, chain_id=chain.chain_id, url=chain.rpc.url, development=development)
        self._chain = chain
        self._signing = Signing(chain, account, sending.limits)
        self._timeout = timeout
        self._pause = pause
        self._sending = sending
        self._watches: dict[Bytes32, Watch] = {}
        self._opened: Tending | None = None
        self._opening = threading.Lock()

    @property
    def _tending(self) -> Tending:
        """Opened when something is sent, so that those who only read leave no file."""
        with self._opening:
            if self._opened is None:
                outbox = open_outbox(self._sending.state, chain_id=self._chain.chain_id, account=self.address)
                self._bind(outbox)
                self._opened = Tending(self._chain, self._signing, outbox)
            return self._opened

    @property
    def _outbox(self) -> Outbox:
        return self._tending.outbox

    def _bind(self, outbox: Outbox) -> None:
        try:
            first = self._chain.rpc.call("eth_getBlockByNumber", "0x0", False)
        except RpcRefused:
            return  # a node without its first block
        if isinstance(first, dict) and first.get("hash"):
            outbox.bind(str(first["hash"]).lower(), development=self._chain.chain_id in DEVELOPMENT_CHAIN_IDS)

    # --- what callers do ----------------------------------------------------------------------------------------

    def send(self, call: Call, *, final: bool = False) -> Mined:
        """Send one call and wait until it is in a block; ``final``: in one that counts by the address book's rule.

        Raises:
            Reverted: the contract refuses; nothing was sent, or it was refused in its block.
            NotMined: handed in, and in no block (or not final) in time; its hash is in the error.
            SendRefused: the node would not take it.
            Replaced: another transaction of this account took its nonce.
            FeeAboveLimit, ChainUnavailable: nothing was sent.
        """
        return self._await(self._call(call), final=final)

    def send_in_order(self, *calls: Call) -> tuple[Mined, ...]:
        """Send calls that belong together, each once the one before it is in a block.

        Their ends are reported together: the same calls after a crash go on where they stopped, and none is made twice.
        Where one is refused although those before it are final, they are over; the next time begins anew.

        Raises:
            ChainError: as :meth:`send`.
        """
        together = keccak(b"".join(call.to + call.data for call in calls))
        entries: list[Entry] = []
        found: list[Landed] = []
        try:
            for call in calls:
                entries.append(self._call(call, together))
                found.append(self._land_unreported(entries[-1]))
            self._outbox.report(self._members(entries, found))
        except Reverted:
            if found and self._chain.final().number >= found[-1].block.number:
                self._outbox.report(self._members(entries, found))
            raise
        finally:
            for entry in entries:
                self._end(entry)
        return tuple(
            outcome(self._chain, self.address, entry, landed) for entry, landed in zip(entries, found, strict=True)
        )

    def _land_unreported(self, entry: Entry) -> Landed:
        found = self._land(entry, False)
        if not found.succeeded:
            self._report(entry, found)
        self._outbox.mined(self._member(entry, found), final=False, reported=False)
        return found

    def _members(self, entries: Sequence[Entry], found: Sequence[Landed]) -> list[Entry]:
        return [self._member(entry, landed) for entry, landed in zip(entries, found, strict=False)]

    def gas_of(self, call: Call) -> int:
        """Simulate a call: the gas that it takes now, without a margin. Raises :class:`Reverted`; nothing is sent."""
        return self._signing.simulate(body_of(call))

    def price(self) -> int:
        """The most that one gas of a new transaction may cost now, in wei. Raises :class:`FeeAboveLimit`."""
        return self._signing.price()

    def submit(self, call: Call) -> Bytes32:
        """Simulate, sign, write down and hand in; returns the transaction's hash at once."""
        return self._call(call).hash

    def transfer(self, to: Address, amount: int) -> Mined:
        """Send native coin, in wei."""
        return self._await(self._submit({"to": to.checksum, "value": amount}, "a transfer"))

    def create(self, code: bytes) -> Mined:
        """Deploy a contract from its creation code."""
        return self._await(self._submit({"data": "0x" + code.hex(), "value": 0}, "a creation"))

    def wait(self, transaction: Bytes32, *, final: bool = False) -> Mined:
        """Wait for the block of a transaction that was submitted here, and read what happened in it."""
        return self._await(self._submitted(transaction), final=final)

    def look(self, transaction: Bytes32) -> Mined | None:
        """What became of a transaction that was submitted here; None while no block has it. Does not wait.

        A caller that looks now and then need not wait: what a transaction needs meanwhile is done here too.

        Raises:
            Reverted: it was refused in its block.
            Replaced: another transaction of this account took its nonce.
        """
        entry = self._submitted(transaction)
        watch = self._watches.setdefault(transaction, Watch(self._timeout))
        try:
            found = self._glance(entry, watch)
        except Replaced:
            self._end(entry)
            raise
        return self._report(entry, found) if found else None

    def recover(self, *, perishable: Collection[str] = ()) -> None:
        """Hand in again what an earlier process signed and no block has. Nothing new is signed.

        Call it before anything is sent. ``perishable`` names calls (``Market.quote``) that an earlier process made for
        something that ended with it: where no node has them they stay unsent, and the next transaction takes the nonce.
        """
        for entry in self._outbox.pending():
            # Of another process that lives and shares the outbox nothing is given up.
            if entry.what in perishable and not self._outbox.awaited(entry) and not self._tending.handing.has(entry):
                log.warning("%s: transaction %s of before is given up, no node has it", entry.what, entry.hash)
                self._outbox.mark(entry, State.REFUSED)
        self._tending.heal(at_once=True)

    def _submitted(self, transaction: Bytes32) -> Entry:
        entry = self._outbox.find(transaction)
        if entry is None:
            raise NotMined(str(transaction), 0.0, "it was not sent by this account's outbox")
        return entry

    def _call(self, call: Call, together: bytes = b"") -> Entry:
        return self._submit(body_of(call), call.describe(), call.least_gas, together)

    # --- submitting ---------------------------------------------------------------------------------------------

    def _submit(self, body: dict[str, Any], what: str, least_gas: int = 0, together: bytes = b"") -> Entry:
        intent = intent_of(body, together)
        self._tending.heal()
        for _ in range(_NONCE_TRIES):
            entry = self._outbox.adopt(intent) or self._fresh(body, intent, what, least_gas)
            if entry.resumed:
                log.warning("%s: transaction %s was sent before and is gone on with", what, entry.hash)
            try:
                self._tending.handing.hand_in(entry)
            except NonceTaken:
                continue
            except BaseException:
                self._outbox.release(entry)
                raise
            return entry
        raise SendRefused(str(entry.hash), f"its nonce {entry.nonce} is taken, and so were those before")

    def _fresh(self, body: dict[str, Any], intent: Bytes32, what: str, least_gas: int) -> Entry:
        """Signed and written down; no node has seen it. An earlier one of the same intent may come instead."""
        if found := self._refused_before(intent):
            return found
        gas = max(least_gas, self._signing.estimate(body))
        fees = self._signing.fees()
        mined, free_from = (count(self._chain, self.address, tag) for tag in ("latest", "pending"))

        def sign(nonce: int) -> Entry:
            return self._signing.sign({**body, **fees, "gas": gas}, nonce, intent, what)

        return self._outbox.reserve(intent, mined, max(mined, free_from), sign)

    def _refused_before(self, intent: Bytes32) -> Entry | None:
        """One that a node refused and took all the same; what can never count any more is marked."""
        for entry in self._outbox.refused(intent):
            if known(self._chain, entry.hash):
                self._outbox.mark(entry, State.PENDING)
            elif (gone := taken(self._chain, self.address, entry.nonce)) is not None:
                ours = str(entry.hash) in gone.contents
                self._outbox.mark(entry, State.PENDING if ours else State.REPLACED)
        return self._outbox.adopt(intent)

    # --- waiting ------------------------------------------------------------------------------------------------

    def _await(self, entry: Entry, *, final: bool = False) -> Mined:
        try:
            found = self._land(entry, final)
        except BaseException:
            self._end(entry)
            raise
        return self._report(entry, found, final=final)

    def _report(self, entry: Entry, found: Landed, *, final: bool = False) -> Mined:
        """What happened in its block, for the caller who learns its end now."""
        try:
            self._outbox.mined(self._member(entry, found), final=final, reported=True)
        finally:
            self._end(entry)
        if entry.resumed:
            log.warning("transaction %s of before is in block %d; nothing was sent now", entry.hash, found.block.number)
        try:
            return outcome(self._chain, self.address, entry, found)
        except ChainError as error:
            error.about(found.transaction)
            raise

    def _end(self, entry: Entry) -> None:
        """No caller here waits for it any more."""
        self._outbox.release(entry)
        self._watches.pop(entry.hash, None)

    def _land(self, entry: Entry, final: bool) -> Landed:
        """The one of its family that is in a block; a final one takes as long again as the chain's blocks do."""
        watch = Watch(self._timeout + (self._chain.book.timing.finality_seconds if final else 0))
        while (found := self._glance(entry, watch, final)) is None:
            if watch.over():
                last = watch.last.message if watch.last else ""
                raise NotMined(str(entry.hash), self._timeout, last, final=final) from watch.last
            self._pause(watch.next_pause())
        return found

    def _glance(self, entry: Entry, watch: Watch, final: bool = False) -> Landed | None:
        """Look once, and do what it needs where no block has it. A node's trouble ends no transaction."""
        try:
            found = self._look(entry)
            if found and (not final or self._chain.final().number >= found.block.number):
                return found
            if not found and watch.due():
                self._tending.tend(entry, watch)
        except Replaced:
            raise
        except ChainError as error:
            watch.last = error
        return None

    def _look(self, entry: Entry) -> Landed | None:
        for one in reversed(self._outbox.family(entry)):
            if found := landed(self._chain, one.hash):
                return found
        return None

    def _member(self, entry: Entry, found: Landed) -> Entry:
        return next(one for one in self._outbox.family(entry) if one.hash == found.transaction)
