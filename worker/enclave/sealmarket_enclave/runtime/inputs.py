"""Read sealed containers through the host: whole, in fixed order, and checked before a byte of plaintext exists.

Whose fault it is must not rest on what the host says. So the whole ciphertext is copied into enclave memory first and
held against its root there. Up to then, everything wrong is the host's. Afterwards the very bytes that the owner
committed to are in hand, and whatever does not open is the owner's. A container for which there is no room is checked
as it comes and kept nowhere: its length is in the header that the root covers, so that the request is to blame for it.
"""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from sealmarket_enclave.protocol.codec import Bytes32
from sealmarket_enclave.protocol.job import JobSpec
from sealmarket_enclave.runtime.channel import MAX_PART, Channel, FromHost, Part, Want
from sealmarket_enclave.runtime.errors import Code, HostFault, InputFailed, InputFault, WorkloadFailed
from sealmarket_enclave.sandbox import FailureKind
from sealmarket_enclave.sealed.container import ContainerReader
from sealmarket_enclave.sealed.errors import ContainerError
from sealmarket_enclave.sealed.header import HEADER_BYTES, Header
from sealmarket_enclave.workload.timing import seconds_for_bytes


def read_container(channel: Channel[FromHost], root: Bytes32, limit: int) -> io.FileIO:
    """Copy a container into memory and check it against its root. The caller closes the file.

    Raises:
        HostFault: withheld or altered.
        WorkloadFailed: of more than ``limit`` bytes, and exactly what the owner committed to.
    """
    memory = io.FileIO(os.memfd_create("ciphertext", os.MFD_CLOEXEC), "r+b")
    try:
        if not _copy(channel, root, limit, memory):
            raise WorkloadFailed("input_too_large")
        memory.seek(0)
        ContainerReader(memory, root).verify()
    except ContainerError as error:
        memory.close()
        raise HostFault(Code.CONTAINER_ALTERED, error.message) from error
    except BaseException:
        memory.close()
        raise
    memory.seek(0)
    return memory


def require_granted(sealed: Sequence[io.FileIO], spec: JobSpec) -> tuple[int, ...]:
    """The size of each container's plaintext by its header, if the request that names them grants as much.

    Everyone reads those sizes before a request is signed. A request that grants less than they take is to blame itself,
    or its consumer could have any owner's version suspended.

    Raises:
        WorkloadFailed: more bytes than ``decodedBytes``, or than are opened within ``readSeconds``.
    """
    sizes = []
    for memory in sealed:
        sizes.append(Header.decode(memory.read(HEADER_BYTES)).stream_length)
        memory.seek(0)
    if sum(sizes) > spec.decoded_bytes or seconds_for_bytes(sum(sizes)) > spec.read_seconds:
        raise WorkloadFailed("inputs_beyond_request")
    return tuple(sizes)


@dataclass(frozen=True, slots=True)
class OpenedInputs:
    """Plaintexts of a job by the workload's names: what it is ``given``, and the tables ``withheld`` from it."""

    given: dict[str, bytearray] = field(default_factory=dict)
    withheld: dict[str, bytearray] = field(default_factory=dict)

    @property
    def size(self) -> int:
        """Bytes of all of them."""
        return sum(map(len, (*self.given.values(), *self.withheld.values())))

    def wipe(self) -> None:
        """Overwrite all of them."""
        for content in (*self.given.values(), *self.withheld.values()):
            wipe(content)


class Reading:
    """Opens the inputs of one job within ``seconds``, all together, the readers' time included.

    ``clock`` counts this thread's computing: the time in which the host serves ciphertext is the host's. Of readers,
    for which this thread waits, the time of ``wall_clock`` counts.
    """

    def __init__(self, clock: Callable[[], float], wall_clock: Callable[[], float], seconds: int) -> None:
        self._clock, self._wall_clock, self._until = clock, wall_clock, clock() + seconds

    @property
    def left(self) -> float:
        """Seconds that are left."""
        return self._until - self._clock()

    @contextlib.contextmanager
    def waiting(self) -> Iterator[None]:
        """While a reader runs."""
        began, computed = self._wall_clock(), self._clock()
        try:
            yield
        finally:
            # What this thread computed meanwhile is counted already.
            self._until -= max(0.0, self._wall_clock() - began - (self._clock() - computed))

    def open_container(
        self, memory: io.FileIO, index: int, root: Bytes32, asset: tuple[Bytes32, int], key: bytes
    ) -> bytearray:
        """Decrypt a container that :func:`read_container` checked.

        Raises:
            InputFailed: it is of another asset, or does not open under the committed key.
            WorkloadFailed: it takes longer than the request grants. That is no owner's fault: a host that pauses this
                machine must not have a version suspended.
        """
        plaintext = bytearray()
        try:
            reader = ContainerReader(memory, root, threads=1)  # the clock sees this thread only
            reader.require_asset(*asset)
            for chunk in reader.open_chunks(key):
                plaintext += chunk
                self._require_time()
        except ContainerError as error:
            wipe(plaintext)
            raise InputFailed(index, InputFault.CONTENT_DOES_NOT_OPEN) from error
        except WorkloadFailed:
            wipe(plaintext)
            raise
        return plaintext

    def _require_time(self) -> None:
        if self._clock() > self._until:
            raise WorkloadFailed(FailureKind.OUT_OF_TIME)


def wipe(secret: bytearray) -> None:
    """Overwrite a buffer. Best effort: Python may have made copies."""
    secret[:] = bytes(len(secret))


class _Passing(io.RawIOBase):
    """A container as the host serves it, once and in order."""

    def __init__(self, channel: Channel[FromHost], root: Bytes32, front: bytes, length: int) -> None:
        super().__init__()
        self._channel, self._root, self._length = channel, root, length
        self._part, self._done = memoryview(front), len(front)

    def readinto(self, buffer: Any, /) -> int:
        if not self._part and self._done < self._length:
            size = min(MAX_PART, self._length - self._done)
            self._part = memoryview(_part(self._channel, self._root, self._done, size))
            self._done += size
        size = min(len(buffer), len(self._part))
        buffer[:size], self._part = self._part[:size], self._part[size:]
        return size


def _copy(channel: Channel[FromHost], root: Bytes32, limit: int, memory: io.FileIO) -> bool:
    """Whether it fits; where it does not, it has been held against its root all the same."""
    front = _part(channel, root, 0, HEADER_BYTES)
    length = Header.decode(front).container_length
    if length > limit:
        ContainerReader(_Passing(channel, root, front, length), root).verify()
        return False
    memory.write(front)
    done = HEADER_BYTES
    while done < length:
        part = memoryview(_part(channel, root, done, min(MAX_PART, length - done)))
        done += len(part)
        while part:
            part = part[memory.write(part) :]
    return True


def _part(channel: Channel[FromHost], root: Bytes32, offset: int, length: int) -> bytes:
    channel.send(Want(content_root=root, offset=offset, length=length))
    answer = channel.expect(Part)
    if len(answer.data) != length:
        message = f"{len(answer.data)} bytes came for {length} at offset {offset} of container {root}"
        raise HostFault(Code.CONTAINER_WITHHELD, message)
    return answer.data
