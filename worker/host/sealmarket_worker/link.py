"""The host's half of a service's channel: answers to their streams, and one question to the enclave at a time.

The thread that hears the enclave (:meth:`EnclaveSession.finish`) passes every message to :meth:`ServiceLink.hear`; any
other thread may ask. What is asked after the enclave is gone raises :class:`ServiceOver`.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TypeVar

from sealmarket_enclave.protocol.codec import Address, decode_canonical
from sealmarket_enclave.protocol.session import SignedStatement
from sealmarket_enclave.runtime.channel import (
    Answer,
    Ask,
    Drop,
    End,
    FromEnclave,
    FromHost,
    Nonce,
    OpenNonce,
    Renew,
    Renewed,
    State,
    Stated,
    Unopened,
)
from sealmarket_worker.errors import EnclaveLost, ServiceOver

MOST_STREAMS = 256
"""Answers that run at once. The enclave takes more."""
ANSWER_SECONDS = 60.0
"""Within which an enclave answers a question of its host; one that does not is lost."""
T = TypeVar("T", Nonce, Renewed, Stated)


class Stream:
    """One answer. ``heard`` is called in the thread that hears the enclave, and must not wait."""

    def __init__(self, link: ServiceLink, number: int, heard: Callable[[bytes | None, bool], None]) -> None:
        self._link, self.number, self.heard = link, number, heard

    def drop(self) -> None:
        """The peer is gone; nothing where the answer is over."""
        self._link.drop(self)


class ServiceLink:
    """A service in an enclave. ``keep`` writes a statement down before any other party learns of it."""

    def __init__(self, send: Callable[[FromHost], None], keep: Callable[[SignedStatement], None]) -> None:
        self._send, self._keep = send, keep
        self._lock, self._asking = threading.Lock(), threading.Lock()
        # Apart from the first: an enclave that is about to say something must be heard while another thread sends.
        self._sending = threading.Lock()
        self._streams: dict[int, Stream] = {}
        self._answers: queue.SimpleQueue[Nonce | Renewed | Stated | None] = queue.SimpleQueue()
        self._awaited: type[Nonce | Renewed | Stated] | None = None
        self._numbers = 0
        self._over = self._ended = False
        self.statement: SignedStatement | None = None
        """The newest, for anyone who asks."""

    @property
    def serving(self) -> bool:
        """Whether requests are taken."""
        return not self._over and not self._ended

    def ask(self, sealed: bytes, heard: Callable[[bytes | None, bool], None]) -> Stream:
        """Hand a sealed request over. ``heard(data, last)``: bytes of the answer; None where there is no answer.

        Raises:
            ServiceOver: the service takes none any more, or too many answers run.
        """
        with self._lock:
            if not self.serving:
                raise ServiceOver("it takes no request any more")
            if len(self._streams) >= MOST_STREAMS:
                raise ServiceOver(f"{MOST_STREAMS} answers run already", "too-many")
            self._numbers += 1
            stream = self._streams[self._numbers] = Stream(self, self._numbers, heard)
        self._say(Ask(stream=stream.number, sealed=sealed))
        return stream

    def drop(self, stream: Stream) -> None:
        """End an answer whose peer is gone. The stream's number stays taken until the enclave's last word of it."""
        with self._lock:
            runs = stream.number in self._streams and not self._over
            stream.heard = _nobody
        if runs:
            self._say(Drop(stream=stream.number))

    def nonce(self) -> Nonce:
        """The nonce that the next renewal must answer."""
        return self._question(OpenNonce(), Nonce)

    def renew(self, renewal: bytes, signatures: Sequence[bytes]) -> str:
        """Deliver a renewal. What the enclave says against it, or nothing."""
        return self._question(Renew(renewal=renewal, signatures=tuple(signatures)), Renewed).refused

    def state(self, accounts: Sequence[Address] = ()) -> SignedStatement:
        """A statement with the entries of these accounts, or of those that are due."""
        stated = self._question(State(accounts=tuple(accounts)), Stated)
        return decode_canonical(SignedStatement, stated.statement)

    def end(self) -> None:
        """End the service: answers that run go on to their ends. Called again, or too late, it does nothing."""
        with self._lock:
            first, self._ended = self.serving, True
        if first:
            self._say(End())

    def hear(self, message: FromEnclave) -> bool:
        """Take a message of a service; False for any other."""
        match message:
            case Answer():
                self._heard(message.stream, message.data, last=message.last)
            case Unopened():
                self._heard(message.stream, None, last=True)
            case Nonce() | Renewed() | Stated():
                self._take(message)
            case _:
                return False
        return True

    def close(self) -> None:
        """The enclave is gone: every answer that runs ends without a last frame."""
        with self._lock:
            self._over = True
            left, self._streams = list(self._streams.values()), {}
        self._answers.put(None)
        for stream in left:
            stream.heard(b"", True)

    def _heard(self, number: int, data: bytes | None, *, last: bool) -> None:
        with self._lock:
            stream = self._streams.get(number)
            if last:
                self._streams.pop(number, None)
        if stream is not None:
            stream.heard(data, last)

    def _take(self, message: Nonce | Renewed | Stated) -> None:
        if isinstance(message, Stated):
            signed = decode_canonical(SignedStatement, message.statement)
            self._keep(signed)
            self.statement = signed
        if isinstance(message, self._awaited or ()):
            self._answers.put(message)

    def _question(self, message: FromHost, kind: type[T]) -> T:
        with self._asking:
            self._forget_late_answers()
            if not self.serving:
                raise ServiceOver("it is over")
            self._awaited = kind
            try:
                self._say(message)
                answer = self._answers.get(timeout=ANSWER_SECONDS)
            except queue.Empty:
                raise EnclaveLost(f"it did not answer within {ANSWER_SECONDS:g} s") from None
            finally:
                self._awaited = None
            if not isinstance(answer, kind):
                raise ServiceOver("its enclave is gone")
            return answer

    def _forget_late_answers(self) -> None:
        """An answer to a question that was given up is no answer to the next one."""
        with suppress(queue.Empty):
            while True:
                self._answers.get_nowait()

    def _say(self, message: FromHost) -> None:
        try:
            with self._sending:
                self._send(message)
        except EnclaveLost as error:
            raise ServiceOver("its enclave is gone") from error


def _nobody(_data: bytes | None, _last: bool) -> None:
    """Of an answer whose peer is gone."""
