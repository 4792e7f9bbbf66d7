"""Tells the other nodes of the committee how far this node's journal reaches, and reads what they held before.

One thread for each peer, so that one that hangs holds up no other. ``POST /v1/tails`` with a :class:`TailStep`
answers with the tail that the peer held before, a :class:`HeldTail`: it must be of this journal. A peer takes a tail
only if it is shown to grow out of the one that it holds, so that a copy of a node does not displace the node.

A peer that holds an older tail than it took was put back as it was, or lies. It is shown the log from there on, once at
any time and then after a wait that doubles: a peer that lies makes no node read its own log again and again.

A peer that holds everything is shown the same tail again once a minute, so that one that is away is seen before a
promise waits for it.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from sealmarket.http import HttpClient, HttpError
from sealmarket.protocol.book import AddressBook, Committee, Member
from sealmarket_enclave.protocol.codec import decode
from sealmarket_enclave.protocol.errors import MalformedDocument, SealmarketError
from sealmarket_enclave.protocol.signing import SignatureRefused, recover
from sealmarket_oracle.errors import JournalLost
from sealmarket_oracle.journal import Journal
from sealmarket_oracle.keys import NodeSigner
from sealmarket_oracle.log.entries import MOST_LEAVES_SHOWN, HeldTail, JournalTail, SignedTail, TailStep
from sealmarket_oracle.log.tree import Frontier
from sealmarket_oracle.witnesses import holders_for_serving

Tell = Callable[[Member, TailStep], HeldTail]
_log = logging.getLogger("sealmarket.oracle")
_ANSWER_BYTES = 1 << 14
_ANSWER_SECONDS = 5.0
_FIRST_PAUSE, _LONGEST_PAUSE, _LOOK_SECONDS = 0.2, 10.0, 2.0
_FIRST_WAIT, _LONGEST_WAIT = 10.0, 3600.0
_SILENT_SECONDS = 60.0
"""After this long without an answer of a peer it is shown the tail again that it holds."""


@dataclass
class _Peer:
    member: Member
    due: threading.Event = field(default_factory=threading.Event)
    held: int = -1
    """The size of the tail that it certainly holds; -1 before its first answer that is of this journal."""
    base: Frontier | None = None
    """The tree whose tail it is known to hold."""
    announced: SignedTail | None = None
    """The tail that this process announced to it last."""
    went_back: int = 0
    """How often it held less than it took."""
    asked_after: float = 0.0
    """When it is asked again, in monotonic seconds."""
    answered: float = 0.0
    """When it answered last, in monotonic seconds."""
    problem: str = "not asked yet"


class Peers:
    """The other members of one committee, as :class:`~sealmarket_oracle.witnesses.Witnesses`."""

    def __init__(
        self, book: AddressBook, committee: Committee | None, journal: Journal, signer: NodeSigner, tell: Tell
    ) -> None:
        self._book, self._journal, self._signer, self._tell = book, journal, signer, tell
        self._needed = holders_for_serving(committee) if committee is not None else 0
        members: Sequence[Member] = committee.members if committee is not None else ()
        self._peers = [_Peer(member) for member in members if member.signer != signer.address]
        self._lost: JournalLost | None = None
        self._last_signed: SignedTail | None = None
        self._signing = threading.Lock()
        self._stopped = threading.Event()
        self._monotonic: Callable[[], float] = time.monotonic
        self._threads = [
            threading.Thread(target=self._run, args=(peer,), name="peer", daemon=True) for peer in self._peers
        ]

    def start(self) -> None:
        """Begin to tell the peers, from now on as soon as the journal has grown."""
        self._journal.on_disk = self._announce
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """End; waits for answers that are under way."""
        self._stopped.set()
        self._announce()
        until = time.monotonic() + _ANSWER_SECONDS
        for thread in self._threads:
            thread.join(max(0.0, until - time.monotonic()))

    # --- what the node asks -----------------------------------------------------------------------------------

    def require_sound(self) -> None:
        """See :class:`Witnesses`."""
        if self._lost is not None:
            raise self._lost

    def holders(self, size: int) -> int:
        """See :class:`Witnesses`."""
        return sum(peer.held >= size for peer in self._peers)

    @property
    def confirmed(self) -> int:
        """See :class:`Witnesses`."""
        return self.holders(0)

    def view(self) -> list[tuple[Member, int, str]]:
        """Each peer, the size of the tail that it holds (-1: not known), and what is wrong with it."""
        return [(peer.member, peer.held, peer.problem) for peer in self._peers]

    # --- telling ----------------------------------------------------------------------------------------------

    def _announce(self) -> None:
        for peer in self._peers:
            peer.due.set()

    def _run(self, peer: _Peer) -> None:
        pause = _FIRST_PAUSE
        while not self._stopped.is_set():
            if self.tell(peer):
                pause = _FIRST_PAUSE
                peer.due.wait(_LOOK_SECONDS)
            else:
                self._stopped.wait(pause)
                pause = min(_LONGEST_PAUSE, pause * 1.5)
            peer.due.clear()

    def tell_all(self) -> None:
        """Tell each peer once, one after the other, in this thread."""
        for peer in self._peers:
            self.tell(peer)

    def tell(self, peer: _Peer) -> bool:
        """Bring one peer to hold everything, if it may not. Returns whether it does now."""
        try:
            while peer.held < self._journal.head().size or self._is_silent(peer):
                if self._waits(peer):
                    self._note(peer, f"it held less than it took, {peer.went_back} times: it is asked again later")
                    return False
                # The first answer may show what the peer holds; the second step grows out of that.
                if not self._step(peer) and not self._waits(peer) and not self._step(peer):
                    self._note(peer, "it does not take the tail that grows out of the one that it shows")
                    return False
        except JournalLost as error:
            self._lost = error
            self._note(peer, error.message)
            return False
        except SealmarketError as error:
            self._note(peer, error.message)
            return False
        except Exception as error:  # noqa: BLE001 - a thread that ended would never ask this peer again
            self._note(peer, f"unexpected {type(error).__name__}")
            return False
        self._note(peer, "")
        return True

    def _step(self, peer: _Peer) -> bool:
        """Announce the tail once. A peer takes it if it holds none, or the tail that it is shown to grow from.

        Returns whether it did. Raises :class:`JournalLost` if what it held is not of this journal.
        """
        base = peer.base or Frontier()
        leaves = () if peer.base is None else self._journal.leaves(base.size + MOST_LEAVES_SHOWN, base.size)
        grown = self._journal.frontier_at(self._journal.head().size) if peer.base is None else base
        grown = grown.append(*leaves)
        tail = self._signed(grown)
        step = TailStep(tail=tail, old=base.size, peaks=base.peaks, leaves=tuple(leaves))
        before = self._tell(peer.member, step).held
        peer.answered = self._monotonic()
        self._require_own(before, base, peer.announced)
        peer.announced = tail
        # What it held is of this journal, so its size tells which tree it is.
        if before is None or before.tail == tail.tail or (leaves and before.tail.size == base.size):
            peer.base, peer.held = grown, grown.size
            self._keep_witnessed()
            return True
        if before.tail.size < peer.held:
            self._goes_back(peer)
            peer.held = before.tail.size
        peer.base = self._journal.frontier_at(before.tail.size)
        return False

    def _is_silent(self, peer: _Peer) -> bool:
        return self._monotonic() - peer.answered >= _SILENT_SECONDS

    def _waits(self, peer: _Peer) -> bool:
        return self._monotonic() < peer.asked_after

    def _goes_back(self, peer: _Peer) -> None:
        """Let a peer that holds less than it took wait, the second time twice as long as the first, and so on."""
        if peer.went_back:
            wait = min(_LONGEST_WAIT, _FIRST_WAIT * 2 ** min(peer.went_back - 1, 16))
            peer.asked_after = self._monotonic() + wait
        peer.went_back += 1

    def _signed(self, frontier: Frontier) -> SignedTail:
        """The tail with the node's signature, which is made once for all peers."""
        identity = self._journal.identity
        tail = JournalTail(journal=identity.name, epoch=identity.epoch, size=frontier.size, root=frontier.root)
        with self._signing:  # the thread of one peer signs, the others wait for it
            if (last := self._last_signed) is not None and last.tail == tail:
                return last
            signature = self._signer.sign_statement(tail, self._book.chain_id, self._book.market)
            self._last_signed = signed = SignedTail(tail=tail, signature=signature)
            return signed

    def _require_own(self, before: SignedTail | None, base: Frontier, announced: SignedTail | None) -> None:
        """Hold what a peer held against the journal. Only a tail under this node's own signature counts.

        ``base`` is a tree over this journal's first entries, ``announced`` the tail that this process announced to the
        peer last. A peer that holds just these, as it does while both run, costs no pass over the log and no signature
        check.
        """
        if before is None:
            return
        tail = before.tail
        digest = tail.digest(self._book.chain_id, self._book.market) if before != announced else None
        if digest is not None and recover(digest, before.signature) != self._signer.address:
            raise SignatureRefused("the tail that a peer shows was signed by another node", remedy="see to that peer")
        own = self._journal.head()
        if tail.journal != own.journal:
            raise JournalLost(f"its name is {own.journal}", f"{tail.journal}, which a peer has a tail of")
        if tail.size > own.size:
            raise JournalLost(f"it has {own.size} entries", f"the {tail.size} that a peer has a tail of")
        root = base.root if base.size == tail.size else self._journal.root_at(tail.size)
        if root != tail.root:
            raise JournalLost("it has other entries", f"the first {tail.size} that a peer has a tail of")

    def _keep_witnessed(self) -> None:
        held = sorted((peer.held for peer in self._peers), reverse=True)
        if 0 < self._needed <= len(held) and (size := held[self._needed - 1]) > self._journal.witnessed:
            self._journal.keep_witnessed(size)

    def _note(self, peer: _Peer, problem: str) -> None:
        if peer.problem != problem:
            _log.log(
                logging.WARNING if problem else logging.INFO,
                "peer %s %s",
                peer.member.signer,
                f"does not hold this journal's tail: {problem}" if problem else "holds this journal's tail",
            )
        peer.problem = problem


class HttpTell:
    """Tells peers over HTTP. Threads may share it."""

    def __init__(self) -> None:
        self._client = HttpClient(seconds=_ANSWER_SECONDS)

    def __call__(self, member: Member, step: TailStep) -> HeldTail:
        """Raises :class:`HttpError` or :class:`MalformedDocument`: no answer, or none that reads."""
        url = member.url.rstrip("/") + "/v1/tails"
        headers = {"content-type": "application/json"}
        with self._client.ask("POST", url, limit=_ANSWER_BYTES, content=step.canonical(), headers=headers) as answer:
            if answer.status != 200:
                raise HttpError(f"{member.signer} answered {answer.status}", remedy="see to that peer")
            return decode(HeldTail, answer.body())

    def close(self) -> None:
        """Close the connections."""
        self._client.close()


def take_tail(journal: Journal, book: AddressBook, step: TailStep) -> HeldTail:
    """Hold what a peer says of its journal. Returns what was held before.

    Raises:
        MalformedDocument: it is signed by no member of the committee of its epoch.
    """
    shown = step.tail
    committee = next((one for one in book.committees if one.epoch == shown.tail.epoch), None)
    try:
        signer = recover(shown.tail.digest(book.chain_id, book.market), shown.signature)
    except SignatureRefused as error:
        raise MalformedDocument(f"a tail is signed by its node: {error.message}") from error
    if committee is None or signer not in {member.signer for member in committee.members}:
        raise MalformedDocument(f"{signer} is no member of the committee of epoch {shown.tail.epoch}")
    return HeldTail(held=journal.keep_peer_tail(signer, step))
