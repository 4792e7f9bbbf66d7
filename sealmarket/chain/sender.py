"""Sending transactions from one account, and knowing what became of each.

1. The call is simulated first; a revert becomes :class:`Reverted` with its reason in words, and nothing is sent.
2. Gas is estimated, with a margin; :mod:`fees` reads what the chain asks, within limits.
3. The signed transaction is in the :mod:`outbox` before a node sees it. From then on it is pending, mined or replaced:
   no error of a node ends that, and a caller who wants the same again gets this one until its end was reported.
4. Its receipt is waited for, in a block that the chain still has; meanwhile it is handed in again where a node forgot
   it, replaced by one that offers more where it is stuck, and what its nonce waits for is filled.
5. A transaction that reverts in its block is simulated there again, for its reason.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sealmarket.chain.calls import Call
from sealmarket.chain.errors import (
    ChainError,
    ChainUnavailable,
    FeeAboveLimit,
    NodeDistrusted,
    NotEnoughCoin,
    NotMined,
    Replaced,
    Reverted,
    RpcRefused,
    SendRefused,
)
from sealmarket.chain.events import ChainEvent
from sealmarket.chain.fees import FeeLimits, Fees, raised, suggest
from sealmarket.chain.keys import DEVELOPMENT_CHAIN_IDS, TransactionSigner, refuse_publicly_known
from sealmarket.chain.landing import Landed, Taken, count, known, landed, taken
from sealmarket.chain.model import Block
from sealmarket.chain.outbox import Entry, Outbox, State, open_outbox
from sealmarket.chain.reverts import revert_of
from sealmarket.chain.rpc import quantity
from sealmarket_enclave.protocol.codec import Address, Bytes32
from sealmarket_enclave.protocol.hashing import keccak

if TYPE_CHECKING:
    from sealmarket.chain.chain import Chain

log = logging.getLogger(__name__)

RECEIPT_TIMEOUT_SECONDS = 120.0
POLL_SECONDS = 0.1
SLOWEST_POLL_SECONDS = 0.5
RELOOK_SECONDS = 2.0
"""How often a transaction without a receipt is looked up: nodes forget what is in no block when they restart."""
STUCK_SECONDS = 30.0
"""After which a transaction that the node holds, while blocks go by without it, is replaced by one that offers more."""
HEAL_SECONDS = 30.0
_GAS_MARGIN_PERCENT = 25
_NONCE_TRIES = 3
_HELD_ALREADY = ("already known", "known transaction", "already imported", "already exists", "alreadyknown")
_TOO_POOR = ("insufficient funds", "insufficient balance", "exceeds allowance")
_LATER = ("in-flight transaction limit", "pool is full", "replacement")
"""The node has no room now (a delegated account, EIP-7702, has one place), or holds another of that nonce."""


@dataclass(frozen=True, slots=True)
class Sending:
    """How to send. ``state`` is the folder of the outbox; None remembers in memory only."""

    state: Path | None = None
    limits: FeeLimits = field(default_factory=FeeLimits)


IN_MEMORY = Sending()


@dataclass(frozen=True, slots=True)
class Mined:
    """A transaction in a block. ``cost`` is what its gas cost, in wei.

    ``resumed``: it was sent by an earlier call that never reported its end, and nothing was sent now.
    """

    transaction: Bytes32
    block: Block
    gas_used: int
    cost: int
    events: tuple[ChainEvent, ...]
    created: Address | None = None
    resumed: bool = False


class _NonceTaken(Exception):
    """Another program's transaction has the nonce of one that no node took."""


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
        self._account = account
        self._timeout = timeout
        self._pause = pause
        self._sending = sending
        self._healed = float("-inf")
        self._watches: dict[Bytes32, _Watch] = {}
        self._opened: Outbox | None = None
        self._opening = threading.Lock()

    @property
    def _outbox(self) -> Outbox:
        """Opened when something is sent, so that those who only read leave no file."""
        with self._opening:
            if self._opened is None:
                outbox = open_outbox(self._sending.state, chain_id=self._chain.chain_id, account=self.address)
                self._bind(outbox)
                self._opened = outbox
            return self._opened

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
        return tuple(self._mined(entry, landed) for entry, landed in zip(entries, found, strict=True))

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
        return self._simulate({**_asked(_body_of(call)), "from": self.address.checksum})

    def price(self) -> int:
        """The most that one gas of a new transaction may cost now, in wei. Raises :class:`FeeAboveLimit`."""
        return max(suggest(self._chain.rpc, self._sending.limits).values())

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
        watch = self._watches.setdefault(transaction, _Watch(self._timeout))
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
            if entry.what in perishable and not self._outbox.awaited(entry) and not self._has(entry):
                log.warning("%s: transaction %s of before is given up, no node has it", entry.what, entry.hash)
                self._outbox.mark(entry, State.REFUSED)
        self._healed = float("-inf")
        self._heal()

    def _submitted(self, transaction: Bytes32) -> Entry:
        entry = self._outbox.find(transaction)
        if entry is None:
            raise NotMined(str(transaction), 0.0, "it was not sent by this account's outbox")
        return entry

    def _call(self, call: Call, together: bytes = b"") -> Entry:
        return self._submit(_body_of(call), call.describe(), call.least_gas, together)

    # --- submitting ---------------------------------------------------------------------------------------------

    def _submit(self, body: dict[str, Any], what: str, least_gas: int = 0, together: bytes = b"") -> Entry:
        intent = _intent(body, together)
        self._heal()
        for _ in range(_NONCE_TRIES):
            entry = self._outbox.adopt(intent) or self._fresh(body, intent, what, least_gas)
            if entry.resumed:
                log.warning("%s: transaction %s was sent before and is gone on with", what, entry.hash)
            try:
                self._hand_in(entry)
            except _NonceTaken:
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
        gas = max(least_gas, self._estimate({**_asked(body), "from": self.address.checksum}))
        fees = suggest(self._chain.rpc, self._sending.limits)
        mined, free_from = (count(self._chain, self.address, tag) for tag in ("latest", "pending"))

        def sign(nonce: int) -> Entry:
            return self._sign({**body, **fees, "gas": gas}, nonce, intent, what)

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

    def _sign(self, fields: dict[str, Any], nonce: int, intent: Bytes32, what: str) -> Entry:
        signed = self._account.sign_transaction({**fields, "nonce": nonce, "chainId": self._chain.chain_id})
        raw = "0x" + bytes(signed.raw_transaction).hex()
        return Entry(hash=Bytes32(bytes(signed.hash)), nonce=nonce, intent=intent, what=what, fields=fields, raw=raw)

    def _estimate(self, asked: dict[str, Any]) -> int:
        gas = self._simulate(asked)
        return gas + gas * _GAS_MARGIN_PERCENT // 100

    def _simulate(self, asked: dict[str, Any]) -> int:
        try:
            return quantity(self._chain.rpc.call("eth_estimateGas", asked), "gas estimate")
        except RpcRefused as error:
            if any(words in error.detail.lower() for words in _TOO_POOR):
                raise NotEnoughCoin(self.address.checksum, error.detail[:200]) from error
            # Simulation says no: say why in the contract's words.
            raise revert_of(error) or error from error

    # --- handing in ---------------------------------------------------------------------------------------------

    def _hand_in(self, entry: Entry) -> None:
        """Give it to the node. Returns also where the answer leaves open whether the node has it."""
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

    def _not_taken(self, entry: Entry, error: RpcRefused) -> None:
        """Tell a refusal from an answer that only sounds like one."""
        said = error.detail.lower()
        if any(words in said for words in _HELD_ALREADY) or self._has(entry):
            return
        if _nonce_taken(said):
            gone = None if entry.resumed else self._taken(entry.nonce)
            if gone is not None and not self._ours(entry, gone):
                self._outbox.mark(entry, State.REPLACED)
                raise _NonceTaken from error
            return
        if any(words in said for words in _LATER):
            return
        self._outbox.mark(entry, State.REFUSED)
        refusal = revert_of(error) or SendRefused(str(entry.hash), error.detail)
        refusal.about(entry.hash)
        raise refusal from error

    def _has(self, entry: Entry) -> bool:
        """Whether the node has it; yes where that cannot be learnt."""
        try:
            return known(self._chain, entry.hash)
        except ChainError:
            return True

    def _taken(self, nonce: int) -> Taken | None:
        try:
            return taken(self._chain, self.address, nonce)
        except ChainError as error:
            log.info("who took nonce %d cannot be read: %s", nonce, error)
            return None

    def _ours(self, entry: Entry, gone: Taken) -> bool:
        return any(str(one.hash) in gone.contents for one in self._outbox.family(entry))

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
            return self._mined(entry, found)
        except ChainError as error:
            error.about(found.transaction)
            raise

    def _end(self, entry: Entry) -> None:
        """No caller here waits for it any more."""
        self._outbox.release(entry)
        self._watches.pop(entry.hash, None)

    def _land(self, entry: Entry, final: bool) -> Landed:
        """The one of its family that is in a block."""
        watch = _Watch(self._timeout)
        while (found := self._glance(entry, watch, final)) is None:
            if watch.over():
                last = watch.last.message if watch.last else ""
                raise NotMined(str(entry.hash), self._timeout, last, final=final) from watch.last
            self._pause(watch.next_pause())
        return found

    def _glance(self, entry: Entry, watch: _Watch, final: bool = False) -> Landed | None:
        """Look once, and do what it needs where no block has it. A node's trouble ends no transaction."""
        try:
            found = self._look(entry)
            if found and (not final or self._chain.final().number >= found.block.number):
                return found
            if not found and watch.due():
                self._tend(entry, watch)
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

    def _tend(self, entry: Entry, watch: _Watch) -> None:
        """What a transaction without a block needs."""
        mined = count(self._chain, self.address, "latest")
        if mined > entry.nonce:
            self._require_not_replaced(entry)
            return
        self._look_after(range(mined, entry.nonce), mined)
        newest = self._outbox.family(entry)[-1]
        held = known(self._chain, newest.hash)
        refused = not held and not self._remind(newest)
        if not watch.stuck(self._chain.head().number):
            return
        if mined < entry.nonce:
            self._fill(mined)
        elif held or (refused and count(self._chain, self.address, "pending") <= entry.nonce):
            self._offer_more(newest)  # never over a transaction of another program, which would be lost

    def _require_not_replaced(self, entry: Entry) -> None:
        gone = self._taken(entry.nonce)
        if gone is None or self._ours(entry, gone) or gone.block.number > self._chain.final().number:
            return
        for one in self._outbox.family(entry):
            self._outbox.mark(one, State.REPLACED)
        raise Replaced(str(entry.hash), entry.nonce, gone.by or f"an authorisation in block {gone.block.number}")

    def _remind(self, entry: Entry) -> bool:
        """Hand it in again: its nonce lets it count once. Whether the node takes it."""
        try:
            self._chain.rpc.call("eth_sendRawTransaction", entry.raw)
        except RpcRefused as error:
            log.info("the node does not take transaction %s again: %s", entry.hash, error.detail)
            return False
        return True

    def _offer_more(self, entry: Entry) -> None:
        """Replace a stuck transaction, within the limit; the first of the two to be mined counts."""
        offered = {name: value for name, value in entry.fields.items() if name in _FEES}
        fees = raised(offered, self._present(), self._sending.limits)
        if fees is None:
            log.warning("transaction %s is stuck, and offering more would pass the limit", entry.hash)
            return
        more = self._sign({**entry.fields, **fees}, entry.nonce, entry.intent, entry.what)
        self._outbox.add(more)
        log.warning("transaction %s is stuck; %s offers more in its place", entry.hash, more.hash)
        self._remind(more)

    def _present(self) -> Fees:
        try:
            return suggest(self._chain.rpc, self._sending.limits)
        except FeeAboveLimit:
            return {}

    def _fill(self, nonce: int) -> None:
        """Take a nonce that nothing has, and that later ones wait for, by sending nothing to ourselves."""
        if count(self._chain, self.address, "pending") > nonce:
            return
        body = {"to": self.address.checksum, "value": 0}
        fees, gas = suggest(self._chain.rpc, self._sending.limits), self._estimate({**_asked(body)})

        def sign(free: int) -> Entry:
            return self._sign({**body, **fees, "gas": gas}, free, keccak(b"fill %d" % free), "a filled gap")

        if entry := self._outbox.fill(nonce, sign):
            log.warning("nonce %d is missing; transaction %s fills it", nonce, entry.hash)
            self._remind(entry)
            self._outbox.release(entry)

    # --- healing ------------------------------------------------------------------------------------------------

    def _heal(self) -> None:
        """Look after what no block has, of other processes too; now and then."""
        now = time.monotonic()
        if now < self._healed + HEAL_SECONDS:
            return
        self._healed = now
        try:
            mined = count(self._chain, self.address, "latest")
        except ChainError as error:
            log.info("what was sent before is looked after later: %s", error)
            return
        self._look_after(range(1 << 64), mined)

    def _look_after(self, nonces: range, mined: int) -> None:
        """Hand in again what of these nonces lost its block, or was forgotten by the node; ``mined`` have one there.

        A reorganisation may go deeper than what counts as final: the account's count tells, whatever was noted.
        """
        for step, rows in (
            (self._recheck, partial(self._outbox.unsettled, mined)),
            (self._settle, self._outbox.pending),
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
            self._outbox.mark(entry, State.PENDING)
        elif found.block.number <= self._chain.final().number:
            self._outbox.mined(entry, final=True, reported=False)

    def _settle(self, entry: Entry) -> None:
        if not known(self._chain, entry.hash):
            log.warning("%s: handing transaction %s in again", entry.what, entry.hash)
            self._remind(entry)
            self._require_not_replaced(entry)
        elif landed(self._chain, entry.hash):
            self._outbox.mined(entry, final=False, reported=False)

    # --- reading ------------------------------------------------------------------------------------------------

    def _mined(self, entry: Entry, found: Landed) -> Mined:
        receipt, block = found.receipt, found.block
        gas = quantity(receipt.get("gasUsed"), "gas used")
        price = receipt.get("effectiveGasPrice")
        cost = gas * (0 if price is None else quantity(price, "gas price"))
        if not found.succeeded:
            error = self._reason(entry, block.number)
            if isinstance(error, Reverted):
                error.cost = cost
            raise error
        made = receipt.get("contractAddress")
        return Mined(
            transaction=found.transaction,
            block=block,
            gas_used=gas,
            cost=cost,
            events=tuple(self._chain.decode_logs(receipt.get("logs", []), block)),
            created=Address.parse(made.lower()) if isinstance(made, str) else None,
            resumed=entry.resumed,
        )

    def _reason(self, entry: Entry, number: int) -> ChainError:
        asked = {**_asked({name: value for name, value in entry.fields.items() if name in _BODY})}
        if "to" not in asked or "data" not in asked:
            said = "the contract could not be created, or the receiver refused the coin"
            return Reverted("", {}, said, "read the constructor's requirements; send coin to an account that takes it")
        try:
            self._chain.rpc.call("eth_call", {**asked, "from": self.address.checksum}, hex(number))
        except RpcRefused as error:
            return revert_of(error) or error
        return Reverted(
            "",
            {},
            f"{entry.what} was refused in its block, and no longer says why",
            "another transaction came first; read the present state and try again if it still makes sense",
        )


_BODY = ("to", "data", "value")
_FEES = ("gasPrice", "maxFeePerGas", "maxPriorityFeePerGas")


class _Watch:
    """The times of one wait."""

    def __init__(self, timeout: float) -> None:
        self._begun = self._looked = time.monotonic()
        self._end = self._begun + timeout
        self._every = POLL_SECONDS / 1.5
        self._since: tuple[float, int] | None = None
        self.last: ChainError | None = None

    def over(self) -> bool:
        return time.monotonic() > self._end

    def next_pause(self) -> float:
        self._every = min(SLOWEST_POLL_SECONDS, self._every * 1.5)
        return self._every

    def due(self) -> bool:
        """Whether to look beyond the receipt."""
        if time.monotonic() < self._looked + RELOOK_SECONDS:
            return False
        self._looked = time.monotonic()
        return True

    def stuck(self, head: int) -> bool:
        """Whether it has been long, and blocks went by; asked again, only after as long again."""
        now = time.monotonic()
        if self._since is None:
            self._since = (now, head)
        since, seen = self._since
        if now < since + STUCK_SECONDS or head <= seen + 1:
            return False
        self._since = (now, head)
        return True


def _body_of(call: Call) -> dict[str, Any]:
    return {"to": call.to.checksum, "data": "0x" + call.data.hex(), "value": call.value}


def _asked(body: dict[str, Any]) -> dict[str, Any]:
    return {key: hex(value) if isinstance(value, int) else value for key, value in body.items()}


def _intent(body: dict[str, Any], together: bytes) -> Bytes32:
    """What a transaction does, as a hash; ``together`` names the calls of which it is one."""
    return keccak(repr([(name, body.get(name)) for name in _BODY]).encode() + together)


def _nonce_taken(said: str) -> bool:
    return "nonce" in said and any(word in said for word in ("too low", "already", "used", "expected"))
