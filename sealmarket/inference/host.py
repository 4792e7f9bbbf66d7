"""The provider's host, over HTTP. It carries sealed bytes and public documents; nothing that it says is trusted."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

import httpx

from sealmarket.http import Answer, HttpClient, NoAnswer
from sealmarket.inference.errors import HostRefused, ServiceNotProven
from sealmarket.protocol.limits import MAXIMUM_PACKAGE
from sealmarket.protocol.services import MAX_SERVICE, EvidenceRequest, ServiceDocument
from sealmarket.protocol.wire import EvidencePackage
from sealmarket.sealing.evidence import About, read_evidence
from sealmarket_enclave.protocol.codec import Address, Bytes32, HexBytes, decode_canonical, require_shallow
from sealmarket_enclave.protocol.errors import MalformedDocument
from sealmarket_enclave.protocol.job import JobSpec
from sealmarket_enclave.protocol.numbers import JobId
from sealmarket_enclave.sealed.errors import NotOpened
from sealmarket_enclave.sealed.hpke import PrivateKey

MOST_ANSWER = 64 << 20
"""Bytes of one sealed answer, frames and padding included."""
ANSWER_SECONDS = 900.0
"""For one request from its first byte to its answer's last."""
_BYTES = {"content-type": "application/octet-stream"}


class Carrier(Protocol):
    """What carries a sealed request to an enclave, and the bytes of its answer back as they come."""

    @contextmanager
    def carry(self, sealed: bytes) -> Iterator[Iterator[bytes]]:
        """Raises :class:`HostRefused` where the host refuses before the enclave sees it, :class:`HttpError`."""


class ServiceHost:
    """One service of one provider. Threads may share it."""

    def __init__(self, url: str, job_id: JobId, client: HttpClient | None = None) -> None:
        self._base = f"{url.rstrip('/')}/v1/services/{job_id}"
        self._job_id = job_id
        self._client = client or HttpClient(seconds=ANSWER_SECONDS)

    def document(self) -> ServiceDocument:
        """What is public of the service, unchecked. Raises :class:`HostRefused`, :class:`ServiceNotProven`."""
        with self._client.ask("GET", self._base, limit=MAX_SERVICE) as answer:
            raw = _taken(answer)
        try:
            return decode_canonical(ServiceDocument, raw)
        except MalformedDocument as error:
            raise ServiceNotProven("what the host says of it", "a service document", error.message) from error

    def evidence(self, spec: JobSpec, evidence_hash: Bytes32, chain_id: int, market: Address) -> EvidencePackage:
        """The evidence, sealed to a key of this call, unchecked. Raises as :meth:`document`."""
        key = PrivateKey.generate()
        asked = EvidenceRequest(key=HexBytes(key.public.raw)).canonical()
        headers = {"content-type": "application/json"}
        with self._client.ask(
            "POST", f"{self._base}/evidence", limit=MAXIMUM_PACKAGE, content=asked, headers=headers
        ) as answer:
            sealed = _taken(answer)
        about = About(
            chain_id=chain_id, market=market, job_id=self._job_id, evidence_hash=evidence_hash, epoch=spec.epoch
        )
        try:
            return decode_canonical(EvidencePackage, read_evidence(sealed).opened(key, about))
        except (MalformedDocument, NotOpened) as error:
            raise ServiceNotProven("its evidence", "a package sealed to this user", error.message) from error

    @contextmanager
    def carry(self, sealed: bytes) -> Iterator[Iterator[bytes]]:
        """One sealed request; the answer's bytes as they come."""
        try:
            with self._client.ask(
                "POST", f"{self._base}/requests", limit=MOST_ANSWER, content=sealed, headers=_BYTES
            ) as answer:
                if answer.status != 200:
                    raise _refusal(answer)
                yield answer.pieces()
        except NoAnswer as error:
            if isinstance(error.__cause__, httpx.ConnectError | httpx.ConnectTimeout):
                raise HostRefused(503, f"no connection to {error.url}") from error
            raise

    def close(self) -> None:
        """Close the connections."""
        self._client.close()


def _taken(answer: Answer) -> bytes:
    if answer.status != 200:
        raise _refusal(answer)
    return answer.body()


def _refusal(answer: Answer) -> HostRefused:
    try:
        raw = answer.error_body()
        require_shallow(raw)
        problem = json.loads(raw)
        detail = str(problem["detail"])
    except (ValueError, TypeError, KeyError):
        detail = "no reason"
    text = answer.headers.get("retry-after", "")
    wait = int(text) if text.isascii() and text.isdigit() and len(text) < 6 else None
    return HostRefused(answer.status, "".join(c if c.isprintable() else "?" for c in detail), wait)
