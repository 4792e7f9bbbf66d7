"""The channel between an enclave and its host: length-prefixed msgpack frames, the same module on both sides.

A frame is ``u32`` big-endian length, then one msgpack map with ``kind``. Documents travel as their canonical JSON
bytes, since their hashes are what both sides compare. The host sends only :data:`FromHost`, the enclave only
:data:`FromEnclave`; unknown kinds and fields are refused. The order (docs/spec/enclave.md, "States")::

    host     Load -------------- Deliver*, SignMissing* ----------- Part*
    enclave       Evidence|Refused        ShareReport*, MissingSigned*    Stage, Want*, ResultPart*, Finished|Refused

A service goes on after its last :class:`Part` with messages of its own in any order, until :class:`End`
(docs/spec/session.md, "Channel").
"""

from __future__ import annotations

import contextlib
import socket
import struct
from typing import Generic, Literal, TypeVar

import msgspec

from sealmarket_enclave.protocol.errors import SealmarketError
from sealmarket_enclave.runtime.errors import FrameRefused, HostLost, OutOfOrder

MAX_FRAME = 192 << 20
MAX_PART = 4 << 20
_PREFIX = struct.Struct(">I")


class Message(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="kind"):
    """One frame."""


class StepFiles(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A step: its bundle's archive, and a folder with its installed wheels, as of the workload."""

    archive: bytes
    environment: str


class Load(Message, frozen=True, kw_only=True, tag="load"):
    """The job and everything that its specification names, once, first.

    Lists are in the order of the specification's assets, ``result_keys`` in that of the list which it names.
    ``workload`` is the bundle's archive; ``environment`` is a folder with its installed wheels, which the enclave
    copies while it checks them. ``steps`` are those that cards and policies name, in any order. None stands for what
    the host could not get, and a step that it could not get is absent: the enclave quotes all the same, and never goes
    further.
    """

    chain_id: int
    market: bytes
    job_id: bytes
    spec: bytes
    seals: tuple[bytes, ...]
    policies: tuple[bytes | None, ...]
    cards: tuple[bytes | None, ...]
    share_sets: tuple[bytes | None, ...]
    parameters: bytes | None
    result_keys: tuple[bytes, ...] | None
    workload: bytes | None
    environment: str | None
    steps: tuple[StepFiles, ...]
    block_number: int
    block_hash: bytes
    extension: bytes | None = None
    """The document that the specification's ``extensionHash`` names, of kinds that have one."""


class Deliver(Message, frozen=True, kw_only=True, tag="deliver"):
    """Signed releases of oracle nodes, as they wrote them down; may be repeated until enough shares are right."""

    releases: tuple[bytes, ...]


class SignMissing(Message, frozen=True, kw_only=True, tag="sign_missing"):
    """Ask for the signed statement that no key is joined."""


class Part(Message, frozen=True, kw_only=True, tag="part"):
    """The bytes that a :class:`Want` asked for; fewer only at the container's end."""

    data: bytes


class Evidence(Message, frozen=True, kw_only=True, tag="evidence"):
    """The quote, both public keys, and the hash that the provider posts on chain."""

    job_id: bytes
    quote: bytes
    signer: bytes
    enclave_key: bytes
    evidence_hash: bytes
    block_number: int
    block_hash: bytes


class ShareReport(Message, frozen=True, kw_only=True, tag="share_report"):
    """After each delivery: the indices whose shares are right for every asset, and complaints as canonical JSON.

    ``late``: enough shares are there, and the time in which this enclave joins keys has passed.
    """

    held: tuple[int, ...]
    needed: int
    complaints: tuple[bytes, ...]
    late: bool = False


class MissingSigned(Message, frozen=True, kw_only=True, tag="missing_signed"):
    """The canonical :class:`~sealmarket_enclave.protocol.job.SharesMissing` and its signature."""

    missing: bytes
    signature: bytes


class Want(Message, frozen=True, kw_only=True, tag="want"):
    """Ask for bytes of a container by its content root. Always all of it, in order."""

    content_root: bytes
    offset: int
    length: int


class Stage(Message, frozen=True, kw_only=True, tag="stage"):
    """What the enclave does now. Never depends on data."""

    name: Literal["importing", "opening", "computing", "validating", "sealing", "serving"]


class ResultPart(Message, frozen=True, kw_only=True, tag="result_part"):
    """The next bytes of the sealed result's container."""

    data: bytes


class Finished(Message, frozen=True, kw_only=True, tag="finished"):
    """The enclave's signed statement. Exactly one of ``settlement`` and ``failure`` is there, as canonical JSON.

    ``receipt`` is the canonical envelope; ``result`` the canonical :class:`ResultEnvelope` of a completed job.
    """

    settlement: bytes | None
    failure: bytes | None
    signature: bytes
    receipt: bytes
    result: bytes | None


class OpenNonce(Message, frozen=True, kw_only=True, tag="open_nonce"):
    """Of a service: ask for the nonce that the next renewal must answer. An earlier one no longer counts."""


class Renew(Message, frozen=True, kw_only=True, tag="renew"):
    """Of a service: a canonical :class:`~sealmarket_enclave.protocol.session.Renewal`, and nodes' signatures."""

    renewal: bytes
    signatures: tuple[bytes, ...]


class Ask(Message, frozen=True, kw_only=True, tag="ask"):
    """Of a service: a sealed request. ``stream`` is a number that no running answer has."""

    stream: int
    sealed: bytes


class Drop(Message, frozen=True, kw_only=True, tag="drop"):
    """Of a service: the peer of a stream is gone, so that its answer ends."""

    stream: int


class State(Message, frozen=True, kw_only=True, tag="state"):
    """Of a service: ask for a statement with the entries of these accounts, or of those that are due where none is."""

    accounts: tuple[bytes, ...]


class End(Message, frozen=True, kw_only=True, tag="end"):
    """Of a service: end it, once the answers that run are over."""


class Nonce(Message, frozen=True, kw_only=True, tag="nonce"):
    """The open nonce, and accounts that asked lately and had no tab in the newest renewal."""

    nonce: bytes
    wanted: tuple[bytes, ...]


class Renewed(Message, frozen=True, kw_only=True, tag="renewed"):
    """A renewal was taken; ``refused`` says why where it was not."""

    refused: str


class Answer(Message, frozen=True, kw_only=True, tag="answer"):
    """Bytes of an answer. ``last``: nothing follows, and the stream's number is free."""

    stream: int
    data: bytes
    last: bool


class Unopened(Message, frozen=True, kw_only=True, tag="unopened"):
    """A request that does not open: there is no answer."""

    stream: int


class Stated(Message, frozen=True, kw_only=True, tag="stated"):
    """A canonical :class:`~sealmarket_enclave.protocol.session.SignedStatement`, asked for or due."""

    statement: bytes


class Refused(Message, frozen=True, kw_only=True, tag="refused"):
    """The enclave stops, unsigned: a typed code, and a text that holds no data of any asset."""

    code: str
    message: str
    remedy: str


FromHost = Load | Deliver | SignMissing | Part | OpenNonce | Renew | Ask | Drop | State | End
FromEnclave = (
    Evidence
    | ShareReport
    | MissingSigned
    | Want
    | Stage
    | ResultPart
    | Finished
    | Nonce
    | Renewed
    | Answer
    | Unopened
    | Stated
    | Refused
)

T = TypeVar("T")
M = TypeVar("M", bound=Message)


class Channel(Generic[T]):
    """One side of the channel; ``decoder`` knows the messages that the other side may send."""

    def __init__(self, stream: socket.socket, decoder: msgspec.msgpack.Decoder[T]) -> None:
        self._stream, self._decoder = stream, decoder
        self._encoder = msgspec.msgpack.Encoder(enc_hook=_plain)

    def send(self, message: Message) -> None:
        """Send one frame. Raises :class:`HostLost` when the other side is gone."""
        body = self._encoder.encode(message)
        if len(body) > MAX_FRAME:
            raise FrameRefused(f"a frame takes at most {MAX_FRAME} bytes, found {len(body)}", remedy="send less")
        try:
            self._stream.sendall(_PREFIX.pack(len(body)))
            self._stream.sendall(body)
        except OSError as error:
            raise HostLost(f"the other side of the channel is gone: {error.strerror or error}") from error

    def receive(self) -> T:
        """Wait for one frame.

        Raises:
            HostLost: the other side closed the channel.
            FrameRefused: too long, or not a message that may come from there.
        """
        (size,) = _PREFIX.unpack(self._exactly(_PREFIX.size))
        if size > MAX_FRAME:
            raise FrameRefused(f"a frame takes at most {MAX_FRAME} bytes, found {size}", remedy="send less")
        body = self._exactly(size)
        try:
            return self._decoder.decode(body)
        except (msgspec.MsgspecError, SealmarketError, UnicodeDecodeError, RecursionError) as error:
            raise FrameRefused(f"not a message of this side: {error}", remedy="use this release's worker") from error

    def expect(self, kind: type[M]) -> M:
        """Wait for one frame of a kind. Raises as :meth:`receive`, and :class:`OutOfOrder` for another kind."""
        message = self.receive()
        if not isinstance(message, kind):
            raise OutOfOrder(type(message).__name__, kind.__name__)
        return message

    def fileno(self) -> int:
        """The descriptor to wait on for a frame."""
        return self._stream.fileno()

    def hang_up(self) -> None:
        """Close the connection from any thread: a thread in :meth:`receive` gets :class:`HostLost`."""
        with contextlib.suppress(OSError):  # it is over already
            self._stream.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Close this side."""
        self._stream.close()

    def _exactly(self, size: int) -> bytearray:
        body = bytearray(size)
        view = memoryview(body)
        done = 0
        while done < size:
            try:
                got = self._stream.recv_into(view[done:])
            except OSError as error:
                raise HostLost(f"the channel failed: {error.strerror or error}") from error
            if not got:
                raise HostLost("the other side closed the channel")
            done += got
        return body


def _plain(value: object) -> bytes:
    if isinstance(value, bytes):
        return bytes(value)
    raise NotImplementedError(f"no spelling on the channel for {type(value).__name__}")


def enclave_side(stream: socket.socket) -> Channel[FromHost]:
    """The enclave's end."""
    return Channel(stream, msgspec.msgpack.Decoder(FromHost))
