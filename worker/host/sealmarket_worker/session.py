"""The host's side of one enclave: load a job, take evidence, deliver releases, serve ciphertext, take what it signs."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import msgspec

from sealmarket.protocol.wire import PostedResult
from sealmarket_enclave.protocol.codec import Address, Bytes32, HexBytes, decode_canonical
from sealmarket_enclave.protocol.hashing import keccak
from sealmarket_enclave.protocol.job import Failure, Settlement, SharesMissing, enclave_key_hash
from sealmarket_enclave.protocol.numbers import JobId
from sealmarket_enclave.protocol.release import SignedComplaint
from sealmarket_enclave.protocol.session import SignedStatement
from sealmarket_enclave.runtime.channel import (
    MAX_PART,
    Channel,
    Deliver,
    Evidence,
    Finished,
    FromEnclave,
    FromHost,
    Load,
    MissingSigned,
    Part,
    Refused,
    ResultPart,
    ShareReport,
    SignMissing,
    Stage,
    Want,
)
from sealmarket_enclave.runtime.errors import ChannelError, HostLost
from sealmarket_worker.errors import EnclaveLost, EnclaveRefused
from sealmarket_worker.link import ServiceLink

T = TypeVar("T", Evidence, ShareReport, MissingSigned)


@dataclass(frozen=True, slots=True)
class Shares:
    """How many shares are still missing, and which nodes the enclave complains about.

    ``late``: none is missing, and the enclave joins no key any more.
    """

    missing: int
    complaints: tuple[SignedComplaint, ...]
    late: bool


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the enclave signed, with what belongs into the store. ``container`` is None after a failure."""

    posted: PostedResult
    receipt: bytes
    result: bytes | None
    container: bytes | None


class EnclaveSession:
    """One job in one enclave. Steps go in order; each raises :class:`EnclaveRefused` or :class:`EnclaveLost`."""

    def __init__(self, channel: Channel[FromEnclave], name: str = "") -> None:
        self._channel = channel
        self.name = name
        """Under which the driver knows this enclave."""
        self._evidence: Evidence | None = None

    def load(self, load: Load) -> Evidence:
        """Hand the job over and take the evidence."""
        self._send(load)
        self._evidence = self._expect(Evidence)
        return self._evidence

    def deliver(self, releases: Sequence[bytes]) -> Shares:
        """Hand over signed releases, as canonical JSON."""
        self._send(Deliver(releases=tuple(releases)))
        report = self._expect(ShareReport)
        complaints = tuple(decode_canonical(SignedComplaint, raw) for raw in report.complaints)
        return Shares(report.needed, complaints, report.late)

    def report_missing(self) -> tuple[SharesMissing, HexBytes]:
        """The enclave's signed statement that it has joined no key."""
        self._send(SignMissing())
        signed = self._expect(MissingSigned)
        return decode_canonical(SharesMissing, signed.missing), HexBytes(signed.signature)

    def link(self, keep: Callable[[SignedStatement], None]) -> ServiceLink:
        """The host's half of a service in this enclave; :meth:`finish` passes on what the enclave says."""
        return ServiceLink(self._say, keep)

    def finish(
        self,
        containers: Mapping[Bytes32, Path],
        on_stage: Callable[[str], None],
        link: ServiceLink | None = None,
    ) -> Outcome:
        """Serve ciphertext, by content root, until the enclave has signed the end. ``link`` is that of a service."""
        result = bytearray()
        files: dict[Bytes32, int] = {}
        try:
            while True:
                match message := self._receive():
                    case Stage():
                        on_stage(message.name)
                    case Want():
                        self._send(Part(data=_read(files, containers, message)))
                    case ResultPart():
                        result += message.data
                    case Finished():
                        return self._outcome(message, bytes(result))
                    case _ if link is not None and link.hear(message):
                        continue
                    case _:
                        raise EnclaveLost(f"it sent {type(message).__name__} while it was served")
        finally:
            for descriptor in files.values():
                os.close(descriptor)

    def hang_up(self) -> None:
        """End the enclave from any thread: the step that waits for it raises :class:`EnclaveLost`."""
        self._channel.hang_up()

    def close(self) -> None:
        """End the enclave by closing its channel."""
        self._channel.close()

    def __enter__(self) -> EnclaveSession:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _outcome(self, finished: Finished, container: bytes) -> Outcome:
        assert self._evidence is not None
        posted = PostedResult(
            job_id=JobId(Bytes32(self._evidence.job_id)),
            enclave_signer=Address(self._evidence.signer),
            settlement=decode_canonical(Settlement, finished.settlement) if finished.settlement else None,
            failure=decode_canonical(Failure, finished.failure) if finished.failure else None,
            signature=HexBytes(finished.signature),
            receipt=keccak(finished.receipt),
            result=keccak(finished.result) if finished.result else None,
        )
        return Outcome(posted, finished.receipt, finished.result, container if finished.result else None)

    def _send(self, message: Load | Deliver | SignMissing | Part) -> None:
        try:
            self._channel.send(message)
        except HostLost as error:
            # It may have sent the reason before it ended.
            self._receive()
            raise EnclaveLost(error.message) from error

    def _say(self, message: FromHost) -> None:
        """From any thread, while another one hears the enclave."""
        try:
            self._channel.send(message)
        except ChannelError as error:
            raise EnclaveLost(error.message) from error

    def _receive(self) -> FromEnclave:
        try:
            message = self._channel.receive()
        except ChannelError as error:
            raise EnclaveLost(error.message) from error
        if isinstance(message, Refused):
            raise EnclaveRefused(message.code, message.message, message.remedy)
        return message

    def _expect(self, kind: type[T]) -> T:
        message = self._receive()
        if not isinstance(message, kind):
            raise EnclaveLost(f"it sent {type(message).__name__} in place of {kind.__name__}")
        return message


def host_side(stream: socket.socket) -> Channel[FromEnclave]:
    """The host's end."""
    return Channel(stream, msgspec.msgpack.Decoder(FromEnclave))


def key_hash_of(evidence: Evidence) -> Bytes32:
    """How the chain names the enclave's HPKE key."""
    return enclave_key_hash(evidence.enclave_key)


def _read(files: dict[Bytes32, int], containers: Mapping[Bytes32, Path], want: Want) -> bytes:
    root = Bytes32(want.content_root)
    if root not in containers or not 0 < want.length <= MAX_PART or want.offset < 0:
        return b""
    if root not in files:
        files[root] = os.open(containers[root], os.O_RDONLY | os.O_CLOEXEC)
    return os.pread(files[root], want.length, want.offset)
