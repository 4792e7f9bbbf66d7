"""What a host does while an enclave serves: it fetches renewals, keeps statements, and ends the service in time.

1. Every statement is on disk before any other party learns of it.
2. A renewal is asked for when half a lease's seconds are over, and again soon where the last one did not come.
3. The service ends when its terms say so, when the host drains, or when :attr:`ServiceRun.over` is set.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from sealmarket.protocol.book import AddressBook, Committee
from sealmarket_enclave.protocol.codec import Address, Bytes32, canonical_json, decode_canonical, to_builtins
from sealmarket_enclave.protocol.errors import MalformedDocument
from sealmarket_enclave.protocol.numbers import JobId
from sealmarket_enclave.protocol.session import MAX_TABS, SessionTerms, SignedRenewal, SignedStatement
from sealmarket_enclave.protocol.signing import SignatureRefused, recover
from sealmarket_worker.errors import EnclaveLost, ServiceOver
from sealmarket_worker.link import ServiceLink

log = logging.getLogger(__name__)
_RETRY_SECONDS = 2.0


class StatementLog:
    """The statements of one service, one a line. A line that a crash cut off is left out."""

    def __init__(self, folder: Path, job_id: JobId) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._path = folder / f"{job_id.hex()}.jsonl"

    def keep(self, signed: SignedStatement) -> None:
        """Write one down, for good. Raises ``OSError``."""
        with self._path.open("ab") as file:
            file.write(b"\n" + signed.canonical())
            file.flush()
            os.fsync(file.fileno())

    def all(self) -> Iterator[SignedStatement]:
        """Every statement, in the order in which they came."""
        if not self._path.exists():
            return
        for line in self._path.read_bytes().split(b"\n"):
            try:
                yield decode_canonical(SignedStatement, line)
            except MalformedDocument:
                continue


@dataclass(frozen=True, slots=True)
class SignedRenewals:
    """A canonical renewal, and signatures of enough nodes."""

    renewal: bytes
    signatures: tuple[bytes, ...]


class Renewals(Protocol):
    """Where renewals come from."""

    def fetch(self, nonce: Bytes32, wanted: Sequence[Address]) -> SignedRenewals | None:
        """A renewal that answers the nonce, for these accounts and those whose tabs are known; None for now."""


Ask = Callable[[str, bytes], bytes | None]
"""POST a body to a URL; the answer's body, or None."""


class NodeRenewals:
    """Renewals of the oracle nodes of a committee, by HTTP.

    Args:
        accounts: whose tabs are open, the most important first.
        block: the final block that is asked about.
    """

    def __init__(
        self,
        book: AddressBook,
        committee: Committee,
        job_id: JobId,
        accounts: Callable[[], Sequence[Address]],
        block: Callable[[], int],
        ask: Ask,
    ) -> None:
        self._book, self._committee, self._job_id = book, committee, job_id
        self._accounts, self._block, self._ask = accounts, block, ask

    def fetch(self, nonce: Bytes32, wanted: Sequence[Address]) -> SignedRenewals | None:
        """Ask every node. Enough of them must say the same."""
        accounts = list(dict.fromkeys((*self._accounts(), *wanted)))[:MAX_TABS]
        body = canonical_json(
            {"nonce": nonce, "blockNumber": self._block(), "accounts": to_builtins(accounts), "proofs": []}
        )
        found: dict[bytes, dict[Address, bytes]] = {}
        for member in self._committee.members:
            raw = self._ask(f"{member.url.rstrip('/')}/v1/sessions/{self._job_id}/renewals", body)
            if raw is not None and (signed := self._checked(raw, member.signer, nonce)) is not None:
                same = found.setdefault(signed.renewal.canonical(), {})
                same[member.signer] = signed.signature
                if len(same) >= self._committee.threshold:
                    return SignedRenewals(signed.renewal.canonical(), tuple(same.values()))
        return None

    def _checked(self, raw: bytes, signer: Address, nonce: Bytes32) -> SignedRenewal | None:
        """What a node signed, if it is about this service and nonce."""
        try:
            signed = decode_canonical(SignedRenewal, raw)
            renewal = signed.renewal
            by = recover(renewal.digest(self._book.chain_id, self._book.market), signed.signature)
        except (MalformedDocument, SignatureRefused):
            return None
        right = (renewal.job_id, renewal.nonce, by) == (self._job_id, nonce, signer)
        return signed if right else None


class ServiceRun:
    """Keeps one service going, in a thread of its own: usable as a context manager.

    Args:
        chain_time: the time of the chain's newest block, in seconds.
        drain: set when the host ends.
    """

    def __init__(
        self,
        link: ServiceLink,
        renewals: Renewals,
        terms: SessionTerms,
        chain_time: Callable[[], int],
        drain: threading.Event,
        poll_seconds: float,
    ) -> None:
        self._link, self._renewals, self._terms = link, renewals, terms
        self._chain_time, self._drain, self._poll = chain_time, drain, poll_seconds
        self.over = threading.Event()
        self.renewed = 0
        """How many renewals the enclave took."""
        self._thread = threading.Thread(target=self._run, name="service", daemon=True)

    def __enter__(self) -> ServiceRun:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        self._link.close()
        self._thread.join()

    def _run(self) -> None:
        due = 0.0
        while not self.over.is_set():
            try:
                if self._is_over():
                    self._link.end()
                    return
                if time.monotonic() >= due:
                    due = time.monotonic() + (self._terms.lease_seconds / 2 if self._renew() else _RETRY_SECONDS)
            except (ServiceOver, EnclaveLost) as error:
                log.warning("the service ends here: %s", error)
                return
            self.over.wait(self._poll)

    def _renew(self) -> bool:
        nonce = self._link.nonce()
        wanted = [Address(account) for account in nonce.wanted]
        found = self._renewals.fetch(Bytes32(nonce.nonce), wanted)
        if found is None:
            log.warning("no renewal of enough oracle nodes came; the service goes on while its lease lasts")
            return False
        if refused := self._link.renew(found.renewal, found.signatures):
            log.warning("the enclave does not take a renewal: %s", refused)
            return False
        self.renewed += 1
        return True

    def _is_over(self) -> bool:
        return self._drain.is_set() or self._chain_time() >= self._terms.end
