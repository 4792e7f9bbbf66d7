"""One request under one grant: signed, sealed, sent; its frames opened; its receipt held against all of it, and kept.

In this order, so that a crash anywhere costs at most the one answer, and never uses a number twice:

1. the number is on disk as asked (:mod:`.grants`);
2. the request is sealed to the attested key and sent;
3. bytes of the answer are handed out as their frames open;
4. the receipt is checked and on disk;
5. the grant is on disk as answered.

After a refusal that the enclave sealed, or one by the host before any byte of an answer, the number is free. The host
can deliver the refused request later, so what it may cost stays reserved until the next receipt. Anything else that
goes wrong retires the grant: its answer is lost.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from typing import NoReturn

from msgspec.structs import replace

from sealmarket.inference.errors import AnswerAborted, HostRefused, RequestRefused
from sealmarket.inference.grants import GrantFile, GrantShelf
from sealmarket.inference.host import Carrier
from sealmarket.inference.receipts import KeptReceipt, ReceiptFile, require_about, require_cost, require_signed
from sealmarket.inference.service import Service
from sealmarket_enclave.protocol.codec import Bytes32, HexBytes, Uint64, decode_canonical
from sealmarket_enclave.protocol.hashing import sha256
from sealmarket_enclave.protocol.numbers import Timestamp
from sealmarket_enclave.protocol.session import Abort, Refusal, SessionCode, SessionHeader, SignedReceipt
from sealmarket_enclave.protocol.signing import sign
from sealmarket_enclave.sealed.session import (
    SECRET_BYTES,
    AnswerReader,
    Frame,
    FrameKind,
    request_hash,
    seal_request,
    signed_request,
)

USELESS = frozenset(
    {
        SessionCode.GRANT_REFUSED,
        SessionCode.GRANT_OVER,
        SessionCode.GRANT_SPENT,
        SessionCode.NUMBER_UNEXPECTED,
        SessionCode.NOT_ACKNOWLEDGED,
    }
)
"""Refusals after which the same grant is refused again."""
NEVER_TAKEN = frozenset({SessionCode.GRANT_REFUSED, SessionCode.GRANT_OVER, SessionCode.GRANT_SPENT})
"""Refusals of requests that the enclave takes at no later time either."""


class Asking:
    """One request. Iterate it for the bytes of the response; :attr:`kept` is its receipt when they end.

    Raises while it is iterated:
        InvalidRequest: the body is too large.
        HostRefused, RequestRefused: nothing was charged, and nothing was handed out.
        AnswerAborted: the service broke it off; what came before stands.
        InvalidFrame, AnswerCut, ReceiptRefused, HttpError: the answer must not be used.
    """

    def __init__(self, service: Service, shelf: GrantShelf, receipts: ReceiptFile, carrier: Carrier) -> None:
        self._service, self._shelf, self._receipts, self._carrier = service, shelf, receipts, carrier
        self.kept: KeptReceipt | None = None
        self.grant: GrantFile | None = None

    def ask(self, grant: GrantFile, endpoint: str, body: bytes, most_units: int) -> Iterator[bytes]:
        """Send it; the bytes of the response as their frames open. Once only."""
        secret = os.urandom(SECRET_BYTES)
        asked = replace(grant, number=grant.number + 1)
        sealed = seal_request(
            self._service.key,
            self._service.info,
            secret=secret,
            header=self._header(asked, endpoint, body, most_units, secret),
            body=body,
        )
        self.grant = self._shelf.ask(grant, most_units)
        try:
            yield from self._frames(self.grant, sealed, secret, body, most_units)
        except HostRefused:
            self.grant = self._shelf.refused(self.grant, self.grant.reserved)
            raise
        except RequestRefused as refused:
            never = refused.code in NEVER_TAKEN
            self.grant = self._shelf.refused(self.grant, grant.reserved if never else self.grant.reserved)
            if refused.code in USELESS:
                self.grant = self._shelf.retire(self.grant, refused.code.value)
            raise
        finally:
            if self.grant.state == "asked":
                self.grant = self._shelf.retire(self.grant, "its answer was lost")

    def _header(self, grant: GrantFile, endpoint: str, body: bytes, most: int, secret: bytes) -> SessionHeader:
        unsigned = SessionHeader(
            grant=grant.grant,
            grant_signature=grant.signature,
            number=Uint64(grant.number),
            most_units=Uint64(most),
            acknowledged=grant.acknowledged,
            endpoint=endpoint,
            signature=HexBytes(),
        )
        facts = self._service.facts
        digest = signed_request(unsigned, secret, body).digest(facts.chain_id, facts.market)
        return replace(unsigned, signature=sign(digest, grant.key))

    def _frames(self, grant: GrantFile, sealed: bytes, secret: bytes, body: bytes, most: int) -> Iterator[bytes]:
        reader, final = AnswerReader(secret, sha256(sealed)), None
        with self._carrier.carry(sealed) as pieces:
            for piece in pieces:
                for frame in reader.feed(piece):
                    if frame.final:
                        final = frame
                    else:
                        yield frame.payload
        reader.close()
        assert final is not None
        self._end(grant, final, reader.response_hash, secret, body, most)

    def _end(self, grant: GrantFile, final: Frame, response: Bytes32, secret: bytes, body: bytes, most: int) -> None:
        """What the last frame says, checked and kept."""
        if final.kind is FrameKind.REFUSAL:
            _refuse(decode_canonical(Refusal, final.payload))
        code = None
        if final.kind is FrameKind.ABORT:
            abort = decode_canonical(Abort, final.payload)
            signed, code = (
                SignedReceipt(receipt=abort.receipt, engine=abort.engine, signature=abort.signature),
                abort.code,
            )
        else:
            signed = decode_canonical(SignedReceipt, final.payload)
        require_signed(self._service.facts, signed)
        require_about(
            signed.receipt,
            grant=grant.name,
            number=grant.number,
            request=request_hash(secret, body),
            response=response,
        )
        units = require_cost(signed.receipt, most_units=most, spent=grant.spent)
        self.kept = KeptReceipt(
            service=self._service.facts,
            signed=signed,
            secret=Bytes32(secret),
            kept_at=Timestamp(int(time.time())),
            code=code,
        )
        self._receipts.keep(self.kept)
        self.grant = self._shelf.answered(grant, self.kept.name, units)
        if code is not None:
            raise AnswerAborted(code)


def _refuse(refusal: Refusal) -> NoReturn:
    raise RequestRefused(refusal.code, refusal.message, refusal.remedy)
