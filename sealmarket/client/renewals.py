"""Asks the oracle nodes of a committee for one renewal of a service, and uses only what enough of them signed alike.

A host asks so to have its service go on, an account to have its wish to close a tab confirmed (docs/spec/session.md).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import closing
from dataclasses import dataclass

from sealmarket.http import HttpClient, HttpError
from sealmarket.protocol.book import AddressBook, Committee
from sealmarket.protocol.renewals import RenewalRequest
from sealmarket.service.connection import MAX_JSON
from sealmarket_enclave.protocol.codec import Address, Bytes32, HexBytes, decode_canonical
from sealmarket_enclave.protocol.errors import MalformedDocument
from sealmarket_enclave.protocol.numbers import JobId
from sealmarket_enclave.protocol.session import Renewal, SignedRenewal
from sealmarket_enclave.protocol.signing import SignatureRefused, recover

log = logging.getLogger(__name__)
NODE_SECONDS = 10.0
"""For one answer of a node."""
_MOST_SHOWN = 600
"""Bytes of a refusal that go into the log."""
Ask = Callable[[str, bytes], bytes | None]
"""POST a body to a URL; the answer's body, or None."""


@dataclass(frozen=True, slots=True)
class SignedRenewals:
    """A canonical renewal, and signatures of enough nodes."""

    renewal: bytes
    signatures: tuple[bytes, ...]
    places: tuple[int, ...] = ()
    """The members who signed, by their place in the committee; in the order of the signatures."""

    def read(self) -> Renewal:
        """The renewal."""
        return decode_canonical(Renewal, self.renewal)

    def by_place(self) -> list[tuple[int, SignedRenewal]]:
        """What the contract takes: each member's place with what it signed."""
        renewal = self.read()
        return [
            (place, SignedRenewal(renewal=renewal, signature=HexBytes(signature)))
            for place, signature in zip(self.places, self.signatures, strict=True)
        ]


def fetch_renewal(
    book: AddressBook,
    committee: Committee,
    job_id: JobId,
    request: RenewalRequest,
    ask: Ask,
    *,
    removed: frozenset[int] = frozenset(),
) -> SignedRenewals | None:
    """Ask every node at once; None where not enough of them say the same. Slow nodes hold up no other.

    ``removed``: the places of members whose signatures the contract refuses. What they say counts for nothing.
    """
    found: dict[bytes, dict[int, bytes]] = {}
    with closing(_answers(committee, job_id, request.canonical(), ask)) as answers:
        for place, raw in answers:
            signer = committee.members[place].signer
            signed = None if raw is None or place in removed else _checked(raw, book, signer, job_id, request.nonce)
            if signed is None:
                continue
            same = found.setdefault(signed.renewal.canonical(), {})
            same[place] = signed.signature
            if len(same) >= committee.threshold:
                places = tuple(sorted(same))
                return SignedRenewals(signed.renewal.canonical(), tuple(same[one] for one in places), places)
    return None


def post(client: HttpClient, url: str, body: bytes) -> bytes | None:
    """What a node answers (an :data:`Ask` over HTTP); None where it does not, or refuses."""
    headers = {"content-type": "application/json"}
    try:
        with client.ask("POST", url, limit=MAX_JSON, content=body, headers=headers) as answer:
            raw = answer.body()
            if answer.status == 200:
                return raw
            log.warning("%s gives no renewal: %s", url, raw[:_MOST_SHOWN].decode("ascii", "backslashreplace"))
            return None
    except HttpError as error:
        log.warning("%s gives no renewal: %s", url, error)
        return None


def _answers(
    committee: Committee, job_id: JobId, body: bytes, ask: Ask
) -> Generator[tuple[int, bytes | None], None, None]:
    """What each node answers, with its place, as answers come."""
    members = committee.members
    urls = [f"{member.url.rstrip('/')}/v1/sessions/{job_id}/renewals" for member in members]
    pool = ThreadPoolExecutor(len(members), "renewals")
    try:
        asked = {pool.submit(ask, url, body): place for place, url in enumerate(urls)}
        for done in as_completed(asked):
            yield asked[done], done.result()
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _checked(raw: bytes, book: AddressBook, signer: Address, job_id: JobId, nonce: Bytes32) -> SignedRenewal | None:
    """What a node signed, if it is about this service and nonce."""
    try:
        signed = decode_canonical(SignedRenewal, raw)
        renewal = signed.renewal
        by = recover(renewal.digest(book.chain_id, book.market), signed.signature)
    except (MalformedDocument, SignatureRefused):
        return None
    return signed if (renewal.job_id, renewal.nonce, by) == (job_id, nonce, signer) else None
