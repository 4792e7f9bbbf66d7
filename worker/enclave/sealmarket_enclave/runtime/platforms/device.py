"""The platform ``virtual``: an enclave under a virtual device.

The enclave finds two sockets when it starts: descriptor 3 leads to the untrusted host, descriptor 4 to the device.
:func:`attach` takes both and closes them to everything that the enclave starts later, so that a workload can reach
neither. Each message is one msgpack map in one packet.
"""

from __future__ import annotations

import os
import socket
import threading

import msgspec

from sealmarket_enclave.runtime.platforms.interface import PlatformLost, PlatformRefused
from sealmarket_enclave.runtime.platforms.process import close_to_others

CHANNEL_FD = 3
QUOTE_FD = 4
REPORT_DATA_SIZE = 64
MAX_PACKET = 1 << 16


class Message(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="kind"):
    """One packet on the quote channel. Unknown fields are refused, so that no request can carry a claim."""


class QuoteRequest(Message, frozen=True, kw_only=True, tag="quote"):
    """Ask for evidence over exactly 64 bytes of report data."""

    report_data: bytes


class ExtendRequest(Message, frozen=True, kw_only=True, tag="extend"):
    """Extend runtime register 2 or 3 by a SHA-384 digest."""

    index: int
    digest: bytes


class Quoted(Message, frozen=True, kw_only=True, tag="quoted"):
    """The evidence, in the TEE's own format."""

    evidence: bytes


class Extended(Message, frozen=True, kw_only=True, tag="extended"):
    """The register's new value."""

    register: bytes


class Refused(Message, frozen=True, kw_only=True, tag="refused"):
    """Why the platform refused."""

    message: str


Request = QuoteRequest | ExtendRequest
Answer = Quoted | Extended | Refused


class DevicePlatform:
    """The quote channel of a virtual device, as a :class:`~sealmarket_enclave.runtime.platforms.interface.Platform`."""

    def __init__(self, channel: socket.socket) -> None:
        self._channel = channel
        self._turn = threading.Lock()

    def quote(self, report_data: bytes) -> bytes:
        """Evidence over 64 bytes of report data."""
        if len(report_data) != REPORT_DATA_SIZE:
            raise PlatformRefused(f"report data takes {REPORT_DATA_SIZE} bytes, found {len(report_data)}")
        answer = self._ask(QuoteRequest(report_data=report_data))
        if not isinstance(answer, Quoted):
            raise PlatformLost(f"expected evidence, found {type(answer).__name__}")
        return answer.evidence

    def extend(self, index: int, digest: bytes) -> bytes:
        """Extend register 2 or 3: SHA-384 over the old value and the digest."""
        answer = self._ask(ExtendRequest(index=index, digest=digest))
        if not isinstance(answer, Extended):
            raise PlatformLost(f"expected a register, found {type(answer).__name__}")
        return answer.register

    def _ask(self, request: Request) -> Quoted | Extended:
        with self._turn:
            try:
                self._channel.send(msgspec.msgpack.encode(request))
                packet = self._channel.recv(MAX_PACKET)
            except OSError as error:
                raise PlatformLost(f"the device's channel failed: {error}") from error
        if not packet:
            raise PlatformLost("the device closed its channel")
        try:
            answer: Answer = msgspec.msgpack.decode(packet, type=Answer)
        except msgspec.MsgspecError as error:
            raise PlatformLost(f"the device answered with something else: {error}") from error
        if isinstance(answer, Refused):
            raise PlatformRefused(answer.message)
        return answer


def attach() -> tuple[socket.socket, DevicePlatform]:
    """Take the two sockets that a virtual device gave at launch: the host's channel, and the platform.

    Call it first. Afterwards neither descriptor is inherited by a child, the process leaves no core, and
    other processes of the same user can neither trace it nor read its memory.

    Raises:
        PlatformLost: the process was not started by a virtual device.
    """
    close_to_others()
    for descriptor in (CHANNEL_FD, QUOTE_FD):
        try:
            os.set_inheritable(descriptor, False)
        except OSError as error:
            raise PlatformLost(f"no socket at descriptor {descriptor}; a virtual device starts this") from error
    return socket.socket(fileno=CHANNEL_FD), DevicePlatform(socket.socket(fileno=QUOTE_FD))
