"""One answer: what was released of it, what it costs, and its signed end.

Rules (docs/spec/session.md, "Answer" and "Workload"):

1. A part leaves only while the response is within ``mostUnits * unitBytes`` and the owners' ``maxBytes``.
2. With a meter an answer costs what that counts: a whole one prompt and answer, within the owners' bounds, and at
   least one unit, since each takes the enclave's time; one that is broken off the prompt and what left of it, where
   anything left. A prompt that is too large costs one unit for its count. Without a meter a whole answer costs what the
   workload counts, within the owners' bounds, and at least one unit for each started ``unitBytes`` bytes. One that is
   broken off, and of which no meter gave a count, costs the latter alone. None costs more than was reserved.
3. The receipt's engine is what the workload says, but for ``meter``: the digest of the meter that counted.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

from msgspec import UNSET

from sealmarket_enclave.protocol.codec import Bytes32, HexBytes, Uint64
from sealmarket_enclave.protocol.errors import MalformedDocument
from sealmarket_enclave.protocol.policy import Serving
from sealmarket_enclave.protocol.session import (
    Abort,
    Refusal,
    SessionCode,
    SessionReceipt,
    SignedReceipt,
    engine_hash,
)
from sealmarket_enclave.runtime.kinds.session.ledger import Ledger, Reservation
from sealmarket_enclave.runtime.kinds.session.refusals import AnswerBroken
from sealmarket_enclave.runtime.receipts import ReceiptSigner
from sealmarket_enclave.sandbox.session import Done
from sealmarket_enclave.sealed.session import SALT_BYTES, AnswerWriter, FrameKind, OpenedRequest, request_hash

METER = "meter"
"""The name in a receipt's engine under which the enclave says what counted."""
_NO_ENGINE: Mapping[str, str | int | float | bool] = {}


@dataclass(frozen=True, slots=True)
class Notary:
    """What all answers of a service have in common: who signs, who counts, and the owners' bounds."""

    signer: ReceiptSigner
    ledger: Ledger
    rules: Serving
    max_bytes: int
    weights: Bytes32


class Answer:
    """An answer to one opened request. ``stream`` is the host's number for it."""

    def __init__(self, stream: int, opened: OpenedRequest, notary: Notary) -> None:
        self.stream, self.opened, self._notary = stream, opened, notary
        self._writer = AnswerWriter(opened.secret, opened.sealed_hash, os.urandom(SALT_BYTES))
        self._sent = 0
        self._begun = False

    @property
    def most_units(self) -> int:
        """The most that it may cost."""
        return self.opened.header.most_units

    def part(self, data: bytes) -> bytes:
        """The frames of the next bytes of the response (rule 1). Raises :class:`AnswerBroken`; nothing leaves then."""
        if self._sent + len(data) > min(self.most_units * self._notary.rules.unit_bytes, self._notary.max_bytes):
            raise AnswerBroken(SessionCode.OUTPUT_TOO_LONG)
        self._sent += len(data)
        return self._opening() + self._writer.data(data)

    def refuse(self, refusal: Refusal) -> bytes:
        """The whole answer of a request that was not taken."""
        return self._opening() + self._writer.end(FrameKind.REFUSAL, refusal.canonical())

    def finish(self, reservation: Reservation, done: Done) -> bytes:
        """The last frame of a whole answer (rule 2). Raises :class:`AnswerBroken` for an engine without spelling."""
        prompt, output = self._cost(reservation, done, self._released() if self._notary.rules.meter is UNSET else 1)
        engine = self._engine(done.engine)
        receipt, signature = self._settled(reservation, prompt, output, engine)
        signed = SignedReceipt(receipt=receipt, engine=engine, signature=signature)
        return self._opening() + self._writer.end(FrameKind.RECEIPT, signed.canonical())

    def abort(self, reservation: Reservation, code: SessionCode, counted: Done | None = None) -> bytes:
        """The last frame of an answer that is broken off (rule 2). ``counted``: what it costs, by the meter."""
        released = (0, min(reservation.most, self._released()))
        prompt, output = released if counted is None else self._cost(reservation, counted, 0)
        engine = self._engine(_NO_ENGINE)
        receipt, signature = self._settled(reservation, prompt, output, engine)
        abort = Abort(receipt=receipt, engine=engine, signature=signature, code=code)
        return self._opening() + self._writer.end(FrameKind.ABORT, abort.canonical())

    def _cost(self, reservation: Reservation, counted: Done, least: int) -> tuple[int, int]:
        """The units of prompt and answer, within the owners' bounds and what was reserved."""
        rules = self._notary.rules
        prompt = min(counted.prompt_units, rules.max_prompt_units)
        units = min(reservation.most, max(prompt + min(counted.output_units, rules.max_answer_units), least))
        prompt = min(prompt, units)
        return prompt, units - prompt

    def _settled(
        self, reservation: Reservation, prompt: int, output: int, engine: Mapping[str, str | int | float | bool]
    ) -> tuple[SessionReceipt, HexBytes]:
        signer = self._notary.signer
        job, header = signer.job, self.opened.header
        try:
            engine_name = engine_hash(engine)
        except MalformedDocument:
            raise AnswerBroken(SessionCode.WORKLOAD_FAILED) from None
        receipt = SessionReceipt(
            job_id=job.job_id,
            evidence_hash=signer.evidence_hash,
            grant_hash=reservation.grant_hash,
            number=header.number,
            workload=job.spec.workload_digest,
            weights=self._notary.weights,
            request_hash=request_hash(self.opened.secret, self.opened.body),
            response_hash=self._writer.response_hash,
            engine_hash=engine_name,
            prompt_units=Uint64(prompt),
            output_units=Uint64(output),
            cumulative=Uint64(self._notary.ledger.cumulative(reservation, prompt + output)),
        )
        self._notary.ledger.settle(reservation, prompt + output, receipt.struct_hash())
        return receipt, signer.keys.sign(receipt.digest(job.chain_id, job.market))

    def _engine(self, said: Mapping[str, str | int | float | bool]) -> dict[str, str | int | float | bool]:
        """Rule 3."""
        meter = self._notary.rules.meter
        kept = {name: value for name, value in said.items() if name != METER}
        return kept if meter is UNSET else kept | {METER: str(meter)}

    def _released(self) -> int:
        return -(-self._sent // self._notary.rules.unit_bytes)

    def _opening(self) -> bytes:
        if self._begun:
            return b""
        self._begun = True
        return self._writer.opening
