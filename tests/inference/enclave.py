"""An enclave of a service in the test's own process: session.md by the shared core, and lies that a host may tell."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import coincurve
from msgspec import UNSET, UnsetType
from msgspec.structs import replace

from sealmarket.chain import Block
from sealmarket.inference.grants import GrantShelf
from sealmarket.inference.pool import Asker, Spending
from sealmarket.inference.receipts import ReceiptFile
from sealmarket.inference.service import Service, ServiceFacts
from sealmarket_enclave.protocol.codec import ZERO_HASH, Address, Bytes32, Bytes48, HexBytes, Uint64, Wei
from sealmarket_enclave.protocol.hashing import keccak
from sealmarket_enclave.protocol.numbers import AssetId, BlockNumber, JobId
from sealmarket_enclave.protocol.policy import Serving
from sealmarket_enclave.protocol.session import (
    Abort,
    Grant,
    Refusal,
    Royalty,
    SessionCode,
    SessionReceipt,
    SessionTerms,
    SignedReceipt,
    engine_hash,
)
from sealmarket_enclave.protocol.signing import address_of, recover, sign
from sealmarket_enclave.sealed.hpke import PrivateKey
from sealmarket_enclave.sealed.session import (
    AnswerWriter,
    FrameKind,
    OpenedRequest,
    open_request,
    request_hash,
    signed_request,
)
from tests import samples

CHAIN_ID, MARKET = 31337, Address(b"\x03" * 20)
JOB, EVIDENCE, WORKLOAD, WEIGHTS = (keccak(word) for word in (b"job", b"evidence", b"workload", b"weights"))
END = 2_000_000_000
SERVING = Serving(
    per_unit=Wei(1),
    max_lease=Uint64(1000),
    max_prompt_units=Uint64(1 << 20),
    max_answer_units=Uint64(1 << 20),
    unit_bytes=64,
    endpoints=("chat", "completions", "models", "score"),
)
Answer = tuple[Iterable[bytes], int, int]
"""Pieces of a response, and the units of prompt and answer."""
Workload = Callable[[str, bytes, int], Answer]


def echo(endpoint: str, body: bytes, most: int) -> Answer:
    """Answers with what it was asked, piece by piece."""
    text = endpoint.encode() + b":" + body
    return [text[at : at + 7] for at in range(0, len(text), 7)], 3, 2


@dataclass
class FakeEnclave:
    """Serves one account. ``refuses`` gives the code with which a request is refused, if it is."""

    workload: Workload = echo
    refuses: Callable[[OpenedRequest], SessionCode | None] = lambda _: None
    aborts: SessionCode | None = None
    used: Callable[[], tuple[int, int]] | None = None
    """What an answer took, where the workload knows it only at its end."""
    receipt_changes: dict[str, Any] = field(default_factory=dict)
    meter: Bytes32 | UnsetType = UNSET
    """What counts its units, by its owners' policies."""
    engine: dict[str, Any] = field(default_factory=lambda: {"engine": "fake"})
    signer: coincurve.PrivateKey = field(default_factory=coincurve.PrivateKey)
    other_signer: coincurve.PrivateKey | None = None
    wallet: coincurve.PrivateKey = field(default_factory=coincurve.PrivateKey)
    private: PrivateKey = field(default_factory=PrivateKey.generate)

    def __post_init__(self) -> None:
        self.numbers: dict[Bytes32, int] = {}
        self.spent: dict[Bytes32, int] = {}
        self.last: dict[Bytes32, Bytes32] = {}
        self.seen: list[tuple[Bytes32, int]] = []
        self._lock = threading.Lock()
        self.service = self._service()

    def _service(self) -> Service:
        facts = ServiceFacts(
            chain_id=CHAIN_ID,
            market=MARKET,
            job_id=JobId(JOB),
            evidence_hash=EVIDENCE,
            enclave_signer=address_of(self.signer.public_key),
            enclave_key_hash=self.private.public.digest,
            workload=WORKLOAD,
            weights=WEIGHTS,
            provider=Address(b"\x09" * 20),
            grade="simulated",
            tee="tdx",
            quote_sha256=keccak(b"quote"),
            registers=tuple(Bytes48(bytes([n]) * 48) for n in (1, 2, 3)),
            meter=self.meter,
            unit_price="5",
            end=END,
            proven_at=1_700_000_000,
        )
        terms = SessionTerms(
            sessions=Address(b"\x05" * 20),
            lease=Uint64(1000),
            lease_seconds=60,
            redemption_window=60,
            end=END,
            bucket=Uint64(10),
            unit_price=Wei(5),
            least_tab=Wei(1),
            renewal_fee=Wei(1),
            royalties=(Royalty(asset_id=AssetId(keccak(b"asset")), per_unit=Wei(1)),),
        )
        block = Block(BlockNumber(9), keccak(b"block"), 1_700_000_000, ZERO_HASH)
        spec = samples.job(samples.asset_use())
        return Service(
            facts=facts, spec=spec, terms=terms, serving=SERVING, key=self.private.public, steps=(), block=block
        )

    def answer(self, sealed: bytes) -> Iterator[bytes]:
        """Opening and frames, each piece as an enclave releases it."""
        return (piece for piece, _ in self.answered(sealed))

    def answered(self, sealed: bytes) -> Iterator[tuple[bytes, bool]]:
        """Each piece as an enclave tells its host, and whether it is the last. The opening comes with the first."""
        opened = open_request(self.private, self.service.info, sealed)
        writer = AnswerWriter(opened.secret, opened.sealed_hash, os.urandom(32))
        opening = writer.opening
        if (code := self._refusal(opened)) is not None:
            refusal = Refusal(code=code, message="no", remedy="ask otherwise")
            yield opening + writer.end(FrameKind.REFUSAL, refusal.canonical()), True
            return
        pieces, prompt, output = self.workload(opened.header.endpoint, opened.body, int(opened.header.most_units))
        for piece in pieces:
            yield opening + writer.data(piece), False
            opening = b""
        if self.used is not None:
            prompt, output = self.used()
        yield opening + writer.end(*self._last_frame(opened, writer, prompt, output)), True

    def _refusal(self, opened: OpenedRequest) -> SessionCode | None:
        header, grant = opened.header, opened.header.grant
        name = grant.struct_hash()
        self.seen.append((name, int(header.number)))
        if (code := self.refuses(opened)) is not None:
            return code
        if recover(grant.digest(CHAIN_ID, MARKET), header.grant_signature) != address_of(self.wallet.public_key):
            return SessionCode.GRANT_REFUSED
        digest = signed_request(header, opened.secret, opened.body).digest(CHAIN_ID, MARKET)
        if recover(digest, header.signature) != grant.session_key:
            return SessionCode.GRANT_REFUSED
        with self._lock:
            if int(header.number) != self.numbers.get(name, 0) + 1:
                return SessionCode.NUMBER_UNEXPECTED
            if header.acknowledged != self.last.get(name, ZERO_HASH):
                return SessionCode.NOT_ACKNOWLEDGED
            if self.spent.get(name, 0) + int(header.most_units) > int(grant.cap):
                return SessionCode.GRANT_SPENT
            self.numbers[name] = int(header.number)
        return None

    def _last_frame(
        self, opened: OpenedRequest, writer: AnswerWriter, prompt: int, output: int
    ) -> tuple[FrameKind, bytes]:
        name, engine = opened.header.grant.struct_hash(), self.engine
        self.spent[name] = self.spent.get(name, 0) + prompt + output
        receipt = SessionReceipt(
            job_id=JobId(JOB),
            evidence_hash=EVIDENCE,
            grant_hash=name,
            number=opened.header.number,
            workload=WORKLOAD,
            weights=WEIGHTS,
            request_hash=request_hash(opened.secret, opened.body),
            response_hash=writer.response_hash,
            engine_hash=engine_hash(engine),
            prompt_units=Uint64(prompt),
            output_units=Uint64(output),
            cumulative=Uint64(self.spent[name]),
        )
        receipt = replace(receipt, **self.receipt_changes)
        self.last[name] = receipt.struct_hash()
        signature = sign(receipt.digest(CHAIN_ID, MARKET), self.other_signer or self.signer)
        signed = SignedReceipt(receipt=receipt, engine=dict(engine), signature=signature)
        if self.aborts is not None:
            abort = Abort(receipt=receipt, engine=dict(engine), signature=signature, code=self.aborts)
            return FrameKind.ABORT, abort.canonical()
        return FrameKind.RECEIPT, signed.canonical()

    @contextmanager
    def carry(self, sealed: bytes) -> Iterator[Iterator[bytes]]:
        """An honest host."""
        yield self.answer(sealed)

    def sign_grant(self, grant: Grant) -> HexBytes:
        """The user's wallet."""
        return sign(grant.digest(CHAIN_ID, MARKET), self.wallet)

    def asker(self, folder: Path, carrier: Any = None, **spending: int) -> Asker:
        """A user of this service with an empty folder."""
        parts = partial(Asker, self.service, GrantShelf(folder), ReceiptFile(folder), carrier or self)
        return parts(self.sign_grant, Spending(**({"cap": 1000, "budget": 10_000} | spending)), wait=0.0)


@dataclass
class LyingHost:
    """A host that changes the bytes of an answer."""

    enclave: FakeEnclave
    change: Callable[[bytes], bytes]

    @contextmanager
    def carry(self, sealed: bytes) -> Iterator[Iterator[bytes]]:
        yield iter([self.change(b"".join(self.enclave.answer(sealed)))])


def said(asker: Asker, body: bytes = b"hello", endpoint: str = "chat", most: int = 50) -> bytes:
    """One whole answer."""
    return b"".join(asker.ask(endpoint, body, most, lambda _: None))


def frames_of(answer: bytes) -> list[bytes]:
    """The opening of an answer, and its frames, as they travel."""
    parts, at = [answer[:32]], 32
    while at < len(answer):
        size = 5 + int.from_bytes(answer[at : at + 4])
        parts.append(answer[at : at + size])
        at += size
    return parts
