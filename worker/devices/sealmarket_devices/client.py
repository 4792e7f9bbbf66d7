"""The host's side of a virtual TEE device: launch an image, fetch the endorsements of its evidence.

DriverError (:mod:`sealmarket_worker.drivers.interface`)
├── DeviceUnreachable     no device listens at the path, or it stopped
└── DeviceRefused         the device refused, with its reason
"""

from __future__ import annotations

import socket
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TypeVar

import msgspec

from sealmarket_devices import wire
from sealmarket_devices.measure import LaunchMeasurement
from sealmarket_enclave.protocol.numbers import Tee
from sealmarket_worker.drivers.interface import DriverError

T = TypeVar("T", bound=wire.Message)


class DeviceUnreachable(DriverError):
    """No virtual device answers at the socket's path."""


class DeviceRefused(DriverError):
    """The device refused a request; the message is its own."""


@dataclass(frozen=True, slots=True)
class LaunchedEnclave:
    """A running enclave: the host's end of its channel, and what the device measured.

    As a context manager it closes the channel, which the enclave sees as the end of its input.
    """

    id: str
    pid: int
    channel: socket.socket
    measured: LaunchMeasurement

    def __enter__(self) -> LaunchedEnclave:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.channel.close()


class VirtualDevice:
    """A connection to a virtual device's control socket; usable as a context manager, by one thread at a time."""

    def __init__(self, path: Path, *, timeout: float = 60.0) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._socket.settimeout(timeout)
        try:
            self._socket.connect(str(path))
        except OSError as error:
            self._socket.close()
            raise DeviceUnreachable(
                f"no virtual device answers at {path}: {error}",
                remedy="start one, see docs/spec/virtual-device.md",
            ) from error

    def launch(self, image: Path, interpreter: Path, arguments: Sequence[str] = ()) -> LaunchedEnclave:
        """Have an image measured and started; the caller keeps one end of a stream socket to it.

        Raises:
            DeviceRefused: the image cannot be measured, or too many enclaves run.
        """
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        request = wire.Launch(
            image=str(image.absolute()), interpreter=str(interpreter.absolute()), arguments=tuple(arguments)
        )
        try:
            with theirs:
                answer = self._ask(request, wire.Launched, theirs.fileno())
        except BaseException:
            ours.close()
            raise
        info = answer.enclave
        measured = LaunchMeasurement(
            image=bytes.fromhex(info.image),
            runtime=bytes.fromhex(info.runtime),
            command=bytes.fromhex(info.command),
        )
        return LaunchedEnclave(info.id, info.pid, ours, measured)

    def endorsements(self) -> str:
        """What goes with this device's evidence: Intel collateral as JSON, or AMD certificates and CRLs as PEM."""
        return self._ask(wire.Collateral(), wire.Endorsements).text

    def tee(self) -> Tee:
        """The kind of TEE that the device stands for. Raises :class:`DeviceRefused` for one of another release."""
        name = self._ask(wire.Root(), wire.RootCertificate).tee
        found = {tee.slug: tee for tee in Tee}.get(name)
        if found is None:
            raise DeviceRefused(f"it is of no kind that is known here: {name!r:.40}", remedy="use one release of both")
        return found

    def root(self) -> bytes:
        """The development root, DER: a verifier that trusts it grades the evidence ``simulated``."""
        return self._ask(wire.Root(), wire.RootCertificate).der

    def roots(self) -> tuple[bytes, ...]:
        """All development roots of the machine, DER: the TEE's first, then those of its GPUs and their manifests."""
        answer = self._ask(wire.Root(), wire.RootCertificate)
        return (answer.der, *answer.beside)

    def enclaves(self) -> tuple[wire.EnclaveInfo, ...]:
        """Those that run, and those that ended lately."""
        return self._ask(wire.List(), wire.Enclaves).enclaves

    def machine(self, enclave_id: str) -> wire.MachineEvidence:
        """The GPUs beside an enclave, bound to what it quoted last; empty on a device without any.

        Raises:
            DeviceRefused: no such enclave runs, or it quoted nothing yet.
        """
        return self._ask(wire.Machine(id=enclave_id), wire.MachineEvidence)

    def stop(self, enclave_id: str) -> None:
        """End an enclave at once."""
        self._ask(wire.Stop(id=enclave_id), wire.Stopped)

    def close(self) -> None:
        """Close the connection. Enclaves go on."""
        self._socket.close()

    def __enter__(self) -> VirtualDevice:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _ask(self, request: wire.Request, expected: type[T], *descriptors: int) -> T:
        try:
            packet = msgspec.msgpack.encode(request)
            if descriptors:
                socket.send_fds(self._socket, [packet], list(descriptors))
            else:
                self._socket.send(packet)
            reply = self._socket.recv(wire.MAX_PACKET)
        except OSError as error:
            raise DeviceUnreachable(f"the virtual device stopped answering: {error}") from error
        if not reply:
            raise DeviceUnreachable("the virtual device closed the connection")
        answer = msgspec.msgpack.decode(reply, type=wire.Answer)
        if isinstance(answer, wire.Failed):
            raise DeviceRefused(answer.message, remedy=answer.remedy)
        if not isinstance(answer, expected):
            raise DriverError(f"expected {expected.__name__} from the device, found {type(answer).__name__}")
        return answer
