"""The seal between a user and the enclave of a service: one request, and the frames of its answer.

Rules (docs/spec/session.md, "Request" and "Answer"):

1. A request is one HPKE message to the attested key, bound to chain, market, service, evidence and key
   (:class:`SessionInfo`). Its plaintext is ``secret (32) || u32 length || header || u32 length || body || zeros``, of
   a size in :data:`REQUEST_BUCKETS`.
2. An answer begins with 32 random bytes of the enclave. The key of its frames is HKDF-SHA-256 of the request's secret
   under a salt of those bytes and the sealed request: a request that the host delivers twice has its two answers under
   two keys, so that no nonce is used twice.
3. A frame is ``u32 length || u8 final || AES-256-GCM ciphertext``. The nonce is the frame's number from 0, the
   associated data are the number and ``final``; the plaintext is ``u8 kind || u32 length || payload || zeros``, of a
   size in :data:`FRAME_BUCKETS`. Exactly the last frame is final, and its kind is not :attr:`FrameKind.DATA`.
4. Hashes of request and response are salted with the secret.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import IntEnum

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from sealmarket_enclave.protocol.codec import Bytes32, decode_canonical
from sealmarket_enclave.protocol.hashing import sha256
from sealmarket_enclave.protocol.session import SessionHeader, SessionRequest
from sealmarket_enclave.sealed.contexts import SessionInfo
from sealmarket_enclave.sealed.errors import AnswerCut, InvalidFrame, InvalidRequest
from sealmarket_enclave.sealed.hpke import PrivateKey, PublicKey

SECRET_BYTES = 32
SALT_BYTES = 32
REQUEST_BUCKETS = tuple(1024 << 2 * step for step in range(6))
"""Sizes of a request's plaintext: 1, 4, 16, 64, 256 and 1,024 KiB."""
FRAME_BUCKETS = tuple(256 << 2 * step for step in range(5))
"""Sizes of a frame's plaintext: 256 bytes to 64 KiB."""
MAX_HEADER = 4096
MAX_SEALED = REQUEST_BUCKETS[-1] + 1120 + 16
"""Bytes of a sealed request: the largest plaintext, the encapsulated secret and the tag."""
_ANSWER_INFO = b"sealmarket/session-answer/1"
_LENGTH = 4
_HEAD = _LENGTH + 1
_TAG = 16
MAX_PAYLOAD = FRAME_BUCKETS[-1] - _HEAD
"""Bytes of one frame's payload."""
MAX_BODY = REQUEST_BUCKETS[-1] - SECRET_BYTES - 2 * _LENGTH - MAX_HEADER
"""Bytes of a request's body beside a header of any size that is allowed."""


class FrameKind(IntEnum):
    """What a frame holds. All but the first end the answer."""

    DATA = 0
    RECEIPT = 1
    REFUSAL = 2
    ABORT = 3


@dataclass(frozen=True, slots=True)
class OpenedRequest:
    """A request after its seal. ``sealed_hash`` is the SHA-256 of what was sealed."""

    secret: bytes = field(repr=False)
    header: SessionHeader
    body: bytes = field(repr=False)
    sealed_hash: Bytes32


@dataclass(frozen=True, slots=True)
class Frame:
    """One opened frame."""

    kind: FrameKind
    payload: bytes = field(repr=False)

    @property
    def final(self) -> bool:
        """Whether nothing may follow it."""
        return self.kind is not FrameKind.DATA


def signed_request(header: SessionHeader, secret: bytes, body: bytes) -> SessionRequest:
    """What the session key signs for a request; the header's own ``signature`` has no part in it."""
    return SessionRequest(
        grant_hash=header.grant.struct_hash(),
        number=header.number,
        most_units=header.most_units,
        acknowledged=header.acknowledged,
        endpoint=header.endpoint,
        body_hash=sha256(body),
        secret_hash=sha256(secret),
    )


def seal_request(key: PublicKey, info: SessionInfo, *, secret: bytes, header: SessionHeader, body: bytes) -> bytes:
    """Seal one request. ``secret``: 32 fresh random bytes, for this request alone.

    Raises:
        InvalidRequest: a secret of another length, or more than a request may hold.
    """
    if len(secret) != SECRET_BYTES:
        raise InvalidRequest("secret", f"{len(secret)} bytes", f"{SECRET_BYTES}")
    text = header.canonical()
    if len(text) > MAX_HEADER:
        raise InvalidRequest("header", f"{len(text)} bytes", f"at most {MAX_HEADER}")
    plain = b"".join((secret, len(text).to_bytes(_LENGTH), text, len(body).to_bytes(_LENGTH), body))
    size = next((size for size in REQUEST_BUCKETS if size >= len(plain)), None)
    if size is None:
        raise InvalidRequest("length", f"{len(plain)} bytes", f"at most {REQUEST_BUCKETS[-1]}")
    return key.seal(plain.ljust(size, b"\0"), info)


def open_request(private: PrivateKey, info: SessionInfo, sealed: bytes) -> OpenedRequest:
    """Open a request. Signatures are not looked at.

    Raises:
        InvalidRequest: too long, or not of the one form.
        NotOpened: sealed to another key or for another service, or altered.
        MalformedDocument: a header that is none.
    """
    if len(sealed) > MAX_SEALED:
        raise InvalidRequest("length", f"{len(sealed)} bytes", f"at most {MAX_SEALED}")
    plain = memoryview(private.open(sealed, info))
    if len(plain) not in REQUEST_BUCKETS:
        raise InvalidRequest("padded length", len(plain), f"one of {REQUEST_BUCKETS}")
    header, rest = _taken(plain[SECRET_BYTES:], "header", MAX_HEADER)
    body, padding = _taken(rest, "body", len(plain))
    if bytes(padding).count(0) != len(padding):
        raise InvalidRequest("padding", "other bytes", "zeros")
    return OpenedRequest(
        secret=bytes(plain[:SECRET_BYTES]),
        header=decode_canonical(SessionHeader, bytes(header)),
        body=bytes(body),
        sealed_hash=sha256(sealed),
    )


def request_hash(secret: bytes, body: bytes) -> Bytes32:
    """How a receipt names a request's body (rule 4)."""
    return sha256(secret + b"\0" + body)


class AnswerWriter:
    """Seals the frames of one answer, in order. ``opening`` goes first; it is public.

    Args:
        secret: of the request.
        sealed_hash: SHA-256 of the sealed request.
        salt: 32 random bytes, for this answer alone.
    """

    def __init__(self, secret: bytes, sealed_hash: Bytes32, salt: bytes) -> None:
        self.opening = salt
        self._cipher, self._response = _answer(secret, sealed_hash, salt)
        self._number, self._ended = 0, False

    @property
    def response_hash(self) -> Bytes32:
        """How a receipt names the response as far as it was written (rule 4)."""
        return Bytes32(self._response.digest())

    def data(self, payload: bytes) -> bytes:
        """The frames of some bytes of the response; none for no bytes."""
        view = memoryview(payload)
        self._response.update(view)
        parts = range(0, len(view), MAX_PAYLOAD)
        return b"".join(self._frame(FrameKind.DATA, bytes(view[at : at + MAX_PAYLOAD])) for at in parts)

    def end(self, kind: FrameKind, payload: bytes) -> bytes:
        """The final frame."""
        return self._frame(kind, payload)

    def _frame(self, kind: FrameKind, payload: bytes) -> bytes:
        final = kind is not FrameKind.DATA
        if self._ended or len(payload) > MAX_PAYLOAD:
            raise InvalidFrame(self._number, f"{len(payload)} bytes", f"at most {MAX_PAYLOAD} before the final frame")
        plain = bytes([kind]) + len(payload).to_bytes(_LENGTH) + payload
        size = next(size for size in FRAME_BUCKETS if size >= len(plain))
        sealed = self._cipher.encrypt(
            _nonce(self._number), plain.ljust(size, b"\0"), _associated(self._number, final=final)
        )
        self._number, self._ended = self._number + 1, final
        return len(sealed).to_bytes(_LENGTH) + bytes([final]) + sealed


class AnswerReader:
    """Opens the frames of one answer as bytes of it come. It keeps less than one frame."""

    def __init__(self, secret: bytes, sealed_hash: Bytes32) -> None:
        self._secret, self._sealed_hash = secret, sealed_hash
        self._cipher: AESGCM | None = None
        self._response = hashlib.sha256()
        self._buffer = bytearray()
        self._number, self._ended = 0, False

    @property
    def response_hash(self) -> Bytes32:
        """What the receipt of this answer must name (rule 4), once the final frame was read."""
        return Bytes32(self._response.digest())

    def feed(self, data: bytes) -> Iterator[Frame]:
        """The frames that are complete now.

        Raises:
            InvalidFrame: altered, moved, repeated, out of order, of another answer, or after the final frame. What came
                before it stands; nothing behind it is read.
        """
        self._buffer += data
        if self._cipher is None:
            if len(self._buffer) < SALT_BYTES:
                return
            salt = bytes(self._buffer[:SALT_BYTES])
            del self._buffer[:SALT_BYTES]
            self._cipher, self._response = _answer(self._secret, self._sealed_hash, salt)
        at = 0
        try:
            while (frame := self._next(self._cipher, at)) is not None:
                opened, at = frame
                yield opened
        finally:
            del self._buffer[:at]
        if self._ended and self._buffer:
            raise InvalidFrame(self._number, "more bytes", "nothing after the final frame")

    def close(self) -> None:
        """The stream is over. Raises :class:`AnswerCut` before its final frame."""
        if not self._ended:
            raise AnswerCut(self._number)

    def _next(self, cipher: AESGCM, at: int) -> tuple[Frame, int] | None:
        """The frame at a place of the buffer, and where the next one begins; None while it is not complete."""
        if self._ended or len(self._buffer) - at < _HEAD:
            return None
        size, final = int.from_bytes(self._buffer[at : at + _LENGTH]), self._buffer[at + _LENGTH]
        if size - _TAG not in FRAME_BUCKETS or final > 1:
            raise InvalidFrame(self._number, f"{size} bytes with flag {final}", f"one of {FRAME_BUCKETS} and a tag")
        if len(self._buffer) - at < _HEAD + size:
            return None
        end = at + _HEAD + size
        frame = self._opened(cipher, bytes(self._buffer[at + _HEAD : end]), final=bool(final))
        self._number, self._ended = self._number + 1, frame.final
        if frame.kind is FrameKind.DATA:
            self._response.update(frame.payload)
        return frame, end

    def _opened(self, cipher: AESGCM, sealed: bytes, *, final: bool) -> Frame:
        try:
            plain = cipher.decrypt(_nonce(self._number), sealed, _associated(self._number, final=final))
        except InvalidTag:
            expected = "the next frame of the answer to this request"
            raise InvalidFrame(self._number, "bytes that do not open", expected) from None
        kind, length = plain[0], int.from_bytes(plain[1:_HEAD])
        if (
            kind > max(FrameKind)
            or length > len(plain) - _HEAD
            or plain.count(0, _HEAD + length) != len(plain) - _HEAD - length
        ):
            raise InvalidFrame(self._number, f"kind {kind} of {length} bytes", "a kind, its payload and zeros")
        if (kind != FrameKind.DATA) != final:
            raise InvalidFrame(self._number, f"kind {kind} with flag {final:d}", "a flag on all kinds but 0")
        return Frame(FrameKind(kind), plain[_HEAD : _HEAD + length])


def _taken(view: memoryview, what: str, most: int) -> tuple[memoryview, memoryview]:
    """A part with its length before it, and what follows."""
    length = int.from_bytes(view[:_LENGTH])
    if len(view) < _LENGTH or length > min(most, len(view) - _LENGTH):
        raise InvalidRequest(what, f"{length} bytes", f"at most {min(most, max(0, len(view) - _LENGTH))}")
    return view[_LENGTH : _LENGTH + length], view[_LENGTH + length :]


def _answer(secret: bytes, sealed_hash: Bytes32, salt: bytes) -> tuple[AESGCM, hashlib._Hash]:
    """The cipher of an answer (rule 2), and the hash of its response before the first byte (rule 4)."""
    derived = HKDF(algorithm=SHA256(), length=32, salt=sha256(sealed_hash + salt), info=_ANSWER_INFO).derive(secret)
    return AESGCM(derived), hashlib.sha256(secret + b"\x01")


def _nonce(number: int) -> bytes:
    return number.to_bytes(12)


def _associated(number: int, *, final: bool) -> bytes:
    return number.to_bytes(8) + bytes([final])
