"""The process that stands for a machine with a TEE: it launches, measures, and quotes what it measured.

States of an enclave: ``running -> ended``. One thread serves everything, because the kernel ends an enclave
with the *thread* that started it. Packets are whole (``SOCK_SEQPACKET``), so that no peer can hold the device
with half a message; an answer that a peer does not take is dropped with the connection.

    DeviceError
    └── LaunchRefused       the request does not describe something that can be launched
"""

from __future__ import annotations

import contextlib
import os
import secrets
import selectors
import signal
import socket
import stat
import struct
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import msgspec

from sealmarket.attestation.core.model import Platform
from sealmarket.attestation.policy.composite import binding_report_data, device_nonce
from sealmarket_devices import wire
from sealmarket_devices.launch import spawn
from sealmarket_devices.measure import ENTRY_POINT, LaunchMeasurement, command_digest, launch_environment
from sealmarket_devices.trees import TreeStore, command_line
from sealmarket_enclave.protocol.errors import SealmarketError
from sealmarket_enclave.protocol.numbers import Tee
from sealmarket_enclave.runtime.platforms import device as platform

if TYPE_CHECKING:
    from sealmarket_devices.gpu import VirtualGpus

_MAX_CONNECTIONS = 64
_MAX_ENCLAVES = 64
_REMEMBERED = 64


class DeviceError(SealmarketError):
    """A virtual device cannot do what was asked."""


class LaunchRefused(DeviceError):
    """A request to launch an enclave is refused."""


class GuestTee(Protocol):
    """One running enclave as its TEE sees it: its registers, and evidence about them."""

    def quote(self, report_data: bytes) -> bytes:
        """Evidence over 64 bytes."""

    def extend(self, index: int, digest: bytes) -> bytes:
        """Extend a runtime register. Raises :class:`DeviceError` where there is none."""


class VirtualTee(Protocol):
    """One kind of simulated TEE."""

    name: str

    @property
    def root(self) -> bytes:
        """The development root, DER."""

    def endorsements(self) -> str:
        """What a verifier needs besides the evidence and the root."""

    def guest(self, measured: LaunchMeasurement, *, debug: bool) -> GuestTee:
        """A new enclave with these measurements."""


@dataclass(slots=True)
class _Enclave:
    info: wire.EnclaveInfo
    guest: GuestTee
    pidfd: int
    quotes: socket.socket
    machine: wire.MachineEvidence | None = None
    """The GPUs bound to what the enclave quoted last: a binding quote commits to nothing else."""


class Device:
    """A device that listens on ``socket_path``. ``debug`` shows the enclaves' output, and their evidence says so."""

    def __init__(
        self,
        tee: VirtualTee,
        store: TreeStore,
        socket_path: Path,
        *,
        debug: bool = False,
        gpus: VirtualGpus | None = None,
    ) -> None:
        self._tee = tee
        self._gpus = gpus
        self._store = store
        self._debug = debug
        self._enclaves: dict[str, _Enclave] = {}
        self._ended: deque[wire.EnclaveInfo] = deque(maxlen=_REMEMBERED)
        self._connections: set[socket.socket] = set()
        self._selector = selectors.DefaultSelector()
        self._socket_path = socket_path
        self._listener = _listen(socket_path)
        self._selector.register(self._listener, selectors.EVENT_READ, self._accept)
        self._wake_read, self._wake_write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._selector.register(self._wake_read, selectors.EVENT_READ, lambda: None)
        self._stopping = False

    def run(self) -> None:
        """Serve until :meth:`stop`; then end every enclave and remove every copy."""
        try:
            while not self._stopping:
                for key, _ in self._selector.select():
                    handler: Callable[[], None] = key.data
                    handler()
        finally:
            self._close()

    def stop(self) -> None:
        """Leave :meth:`run`. May be called from a signal handler or another thread."""
        self._stopping = True
        os.write(self._wake_write, b"x")

    # Hosts.

    def _accept(self) -> None:
        connection, _ = self._listener.accept()
        if len(self._connections) >= _MAX_CONNECTIONS or not _is_own_user(connection):
            connection.close()
            return
        connection.setblocking(False)
        self._connections.add(connection)
        self._selector.register(connection, selectors.EVENT_READ, lambda: self._serve_host(connection))

    def _serve_host(self, connection: socket.socket) -> None:
        if connection not in self._connections:
            return  # Dropped by an earlier event of the same round.
        try:
            packet, descriptors, _, _ = socket.recv_fds(connection, wire.MAX_PACKET, 4, socket.MSG_CMSG_CLOEXEC)
        except OSError:
            self._drop(connection)
            return
        try:
            if not packet:
                self._drop(connection)
                return
            answer = self._answer_host(packet, descriptors)
        finally:
            for descriptor in descriptors:
                os.close(descriptor)
        try:
            connection.send(msgspec.msgpack.encode(answer))
        except OSError:
            self._drop(connection)

    def _answer_host(self, packet: bytes, descriptors: list[int]) -> wire.Answer:
        try:
            request: wire.Request = msgspec.msgpack.decode(packet, type=wire.Request)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            return wire.Failed(message=f"not a request: {error}", remedy="the device takes no claim from a caller")
        try:
            match request:
                case wire.Launch():
                    return wire.Launched(enclave=self._launch(request, descriptors))
                case wire.Collateral():
                    return wire.Endorsements(tee=self._tee.name, text=self._tee.endorsements())
                case wire.Root():
                    beside = self._gpus.roots if self._gpus is not None else ()
                    return wire.RootCertificate(tee=self._tee.name, der=self._tee.root, beside=beside)
                case wire.List():
                    running = tuple(enclave.info for enclave in self._enclaves.values())
                    return wire.Enclaves(enclaves=running + tuple(self._ended))
                case wire.Stop():
                    return self._stop_enclave(request.id)
                case wire.Machine():
                    return self._machine(request.id)
        except SealmarketError as error:
            return wire.Failed(message=error.message, remedy=error.remedy)
        except OSError as error:
            return wire.Failed(message=f"the launch failed: {error}", remedy="look at the image and at free memory")

    def _drop(self, connection: socket.socket) -> None:
        self._selector.unregister(connection)
        self._connections.discard(connection)
        connection.close()

    # Enclaves.

    def _launch(self, request: wire.Launch, descriptors: list[int]) -> wire.EnclaveInfo:
        if len(descriptors) != 1 or not stat.S_ISSOCK(os.fstat(descriptors[0]).st_mode):
            raise LaunchRefused("a launch brings exactly one descriptor, the host's channel, which is a socket")
        if len(self._enclaves) >= _MAX_ENCLAVES:
            raise LaunchRefused(f"at most {_MAX_ENCLAVES} enclaves run at once", remedy="stop one first")
        command = command_digest(request.arguments)
        runtime_digest, runtime = self._store.runtime(_absolute(request.interpreter))
        image_digest, image = self._store.image(_absolute(request.image))
        measured = LaunchMeasurement(image=image_digest, runtime=runtime_digest, command=command)
        guest = self._tee.guest(measured, debug=self._debug)
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        console = os.dup(2) if self._debug else os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
        try:
            pid = spawn(
                command_line(runtime, image, ENTRY_POINT, request.arguments),
                launch_environment(runtime),
                channel=descriptors[0],
                quote=theirs.fileno(),
                console=console,
            )
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
            os.close(console)
        self._store.compile_image(image, runtime)
        return self._watch(pid, guest, ours, measured)

    def _watch(self, pid: int, guest: GuestTee, quotes: socket.socket, measured: LaunchMeasurement) -> wire.EnclaveInfo:
        info = wire.EnclaveInfo(
            id=secrets.token_hex(8),
            pid=pid,
            exit_code=None,
            image=measured.image.hex(),
            runtime=measured.runtime.hex(),
            command=measured.command.hex(),
        )
        enclave = _Enclave(info, guest, os.pidfd_open(pid), quotes)
        quotes.setblocking(False)
        self._enclaves[info.id] = enclave
        self._selector.register(enclave.pidfd, selectors.EVENT_READ, lambda: self._reap(enclave))
        self._selector.register(quotes, selectors.EVENT_READ, lambda: self._serve_enclave(enclave))
        return info

    def _serve_enclave(self, enclave: _Enclave) -> None:
        if enclave.info.id not in self._enclaves:
            return  # Ended by an earlier event of the same round.
        try:
            packet = enclave.quotes.recv(platform.MAX_PACKET)
            if not packet:
                self._selector.unregister(enclave.quotes)
                return
            enclave.quotes.send(msgspec.msgpack.encode(self._answer_enclave(enclave, packet)))
        except OSError:
            # The enclave ends, or does not read its answers; its exit is seen on the pidfd.
            self._selector.unregister(enclave.quotes)

    def _machine(self, name: str) -> wire.MachineEvidence:
        enclave = self._running(name)
        if self._gpus is None:
            return wire.MachineEvidence()
        if enclave.machine is None:
            raise DeviceError("this enclave has quoted nothing yet", remedy="ask once its evidence is there")
        return enclave.machine

    def _bind(self, enclave: _Enclave, quoted: bytes) -> None:
        """What a quoting service in the measured guest does on real hardware, for what the enclave quoted and at once.

        An enclave that extends a register afterwards measures otherwise, and a later quote would bind nothing.
        """
        if self._gpus is None:
            return
        reports = self._gpus.reports(device_nonce(quoted))
        names = [
            report.signed_sha256 + (Platform(identity=report.identity).digest(Tee.NVIDIA) or b"") for report in reports
        ]
        enclave.machine = wire.MachineEvidence(
            binding=enclave.guest.quote(binding_report_data(quoted, names)),
            gpus=tuple(wire.GpuEvidence(report=report.raw, chain=report.chain) for report in reports),
            documents=self._gpus.documents(),
        )

    def _running(self, name: str) -> _Enclave:
        enclave = self._enclaves.get(name)
        if enclave is None:
            raise DeviceError(f"no enclave {name!r} runs here", remedy="ask for the list")
        return enclave

    def _answer_enclave(self, enclave: _Enclave, packet: bytes) -> platform.Answer:
        guest = enclave.guest
        try:
            request = msgspec.msgpack.decode(packet, type=platform.Request)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            return platform.Refused(message=f"not a request: {error}")
        try:
            if isinstance(request, platform.ExtendRequest):
                return platform.Extended(register=guest.extend(request.index, request.digest))
            if len(request.report_data) != platform.REPORT_DATA_SIZE:
                return platform.Refused(message=f"report data takes 64 bytes, found {len(request.report_data)}")
            evidence = guest.quote(request.report_data)
            self._bind(enclave, request.report_data)
            return platform.Quoted(evidence=evidence)
        except SealmarketError as error:
            return platform.Refused(message=error.message)

    def _stop_enclave(self, name: str) -> wire.Stopped:
        enclave = self._running(name)
        signal.pidfd_send_signal(enclave.pidfd, signal.SIGKILL)
        self._reap(enclave)
        return wire.Stopped(id=name)

    def _reap(self, enclave: _Enclave) -> None:
        if self._enclaves.pop(enclave.info.id, None) is None:
            return
        # Before the process is reaped its group cannot belong to anyone else. There is none yet when the
        # child ended before it made its own session.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(enclave.info.pid, signal.SIGKILL)
        _, status = os.waitpid(enclave.info.pid, 0)
        code = os.waitstatus_to_exitcode(status)
        self._ended.append(msgspec.structs.replace(enclave.info, exit_code=code))
        self._selector.unregister(enclave.pidfd)
        os.close(enclave.pidfd)
        if enclave.quotes in self._selector.get_map():
            self._selector.unregister(enclave.quotes)
        enclave.quotes.close()

    def _close(self) -> None:
        for enclave in list(self._enclaves.values()):
            signal.pidfd_send_signal(enclave.pidfd, signal.SIGKILL)
            self._reap(enclave)
        for connection in list(self._connections):
            self._drop(connection)
        self._listener.close()
        self._socket_path.unlink(missing_ok=True)
        self._selector.close()
        self._store.close()


def _absolute(path: str) -> Path:
    if not path.startswith("/") or "\0" in path:
        raise LaunchRefused(f"paths are absolute, found {path!r}", remedy="resolve it before asking")
    return Path(path)


def _listen(path: Path) -> socket.socket:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if path.exists():
        _refuse_live_socket(path)
        path.unlink()
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    mask = os.umask(0o177)
    try:
        listener.bind(str(path))
    finally:
        os.umask(mask)
    listener.listen(16)
    return listener


def _refuse_live_socket(path: Path) -> None:
    if not stat.S_ISSOCK(path.stat().st_mode):
        raise DeviceError(f"{path.name} exists and is not a socket", remedy="name another path")
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as probe:
        try:
            probe.connect(str(path))
        except OSError:
            return
    raise DeviceError(f"another device listens on {path.name}", remedy="stop it, or name another path")


def _is_own_user(connection: socket.socket) -> bool:
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    _, user, _ = struct.unpack("3i", credentials)
    return bool(user == os.geteuid())
