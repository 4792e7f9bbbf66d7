"""The driver `guest`: each enclave is a confidential guest of TDX, SEV-SNP or CCA, launched from a guest image.

`image` of the worker's configuration is the folder of the guest (:mod:`sealmarket_worker.drivers.guest_file`), `device`
is the file of the kernel's virtual machines, `/dev/kvm`. The monitor's command is the operator's: what it does wrong
shows in the measurement. The enclave listens on vsock (`sealmarket_enclave.runtime.platforms.guest`).
"""

from __future__ import annotations

import secrets
import shutil
import socket
import tempfile
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import msgspec

from sealmarket.attestation.registry import Measurement
from sealmarket.files import read_text_file
from sealmarket.protocol.wire import BoundDevices
from sealmarket_enclave.protocol.numbers import Tee
from sealmarket_enclave.runtime.channel import Evidence, Load
from sealmarket_enclave.runtime.platforms.guest import CHANNEL_PORT
from sealmarket_worker.drivers.guest_file import GuestFile, read_guest
from sealmarket_worker.drivers.guest_measurement import expected
from sealmarket_worker.drivers.interface import DriverError, DriverSettings
from sealmarket_worker.drivers.program import Program
from sealmarket_worker.machine import Machine
from sealmarket_worker.session import EnclaveSession, host_side

GUEST_ENVIRONMENTS = "/run/sealmarket/environments"
"""Where a guest has mounted the host's folder of environments."""
VSOCK_FILE = "vsock.sock"
_LEAST_CID, _CIDS = 3, (1 << 32) - 4
_POLL_SECONDS = 0.1
_LONGEST_ANSWER = 32
_ANSWER_SECONDS = 10.0
"""For a monitor that has taken a connection and does not say yet that it leads to the guest."""
T = TypeVar("T")


def relocated(value: T, here: Path, there: str) -> T:
    """A message with each path below ``here`` as the guest sees it, below ``there``; everything else as it is."""
    if isinstance(value, str):
        inside = value.startswith(f"{here}/")
        return f"{there}{value[len(str(here)) :]}" if inside else value  # type: ignore[return-value] # a str
    if isinstance(value, tuple):
        return tuple(relocated(one, here, there) for one in value)  # type: ignore[return-value] # of the same shape
    if isinstance(value, msgspec.Struct):
        changed = {name: relocated(getattr(value, name), here, there) for name in value.__struct_fields__}
        return msgspec.structs.replace(value, **changed)
    return value


class GuestSession(EnclaveSession):
    """A session that ends its guest, and names folders as the guest sees them."""

    def __init__(self, stream: socket.socket, program: Program, run: Path, environments: Path) -> None:
        super().__init__(host_side(stream))
        self._program, self._run, self._environments = program, run, environments

    def load(self, load: Load) -> Evidence:
        """As :meth:`EnclaveSession.load`."""
        return super().load(relocated(load, self._environments, GUEST_ENVIRONMENTS))

    def close(self) -> None:
        """End the enclave and its guest."""
        super().close()
        self._program.end()
        shutil.rmtree(self._run, ignore_errors=True)


@dataclass(frozen=True, slots=True)
class GuestDriver:
    """Launches guests of one image. Raises :class:`DriverError`, and ``ConfigInvalid`` for its files."""

    settings: DriverSettings
    machine: Machine = field(default_factory=Machine)

    @property
    def tee(self) -> Tee:
        """The kind of its evidence."""
        return self.settings.tee

    def check(self) -> None:
        """The machine launches guests of this kind, the image is whole, and the monitor is installed."""
        if (lack := next(self.machine.lacks(self.tee), None)) is not None:
            raise DriverError(f"this machine launches no guest of {self.tee.slug}: {lack.found}", remedy=lack.remedy)
        if not self.machine.at(str(self.settings.device)).exists():
            raise DriverError(f"no {self.settings.device} here", remedy="name /dev/kvm as `device`")
        guest = read_guest(self.settings.image)
        if shutil.which(guest.command[0]) is None:
            raise DriverError(f"no program {guest.command[0]} here", remedy="install it, or correct `command`")
        self.endorsements()
        expected(self.tee, self.settings.image)

    def launch(self) -> EnclaveSession:
        """Start a guest, and connect to the enclave in it."""
        guest, environments = read_guest(self.settings.image), self.settings.environments
        run, cid = Path(tempfile.mkdtemp(prefix="sealmarket-guest-")), _LEAST_CID + secrets.randbelow(_CIDS)
        words = {
            "image": str(self.settings.image),
            "cid": str(cid),
            "run": str(run),
            "environments": str(environments),
        }
        try:
            environments.mkdir(mode=0o700, parents=True, exist_ok=True)
            program = Program(_filled(guest.command, words), folder=run)
        except BaseException:
            shutil.rmtree(run, ignore_errors=True)
            raise
        try:
            stream = _connected(guest, program, run / VSOCK_FILE, cid)
        except BaseException:
            program.end()
            shutil.rmtree(run, ignore_errors=True)
            raise
        return GuestSession(stream, program, run, environments)

    def devices(self, session: EnclaveSession) -> BoundDevices | None:  # noqa: ARG002 - a driver's signature
        """None: GPUs beside a guest are not passed yet."""
        return None

    def endorsements(self) -> str:
        """The collateral that the operator keeps beside the image, as it is now."""
        path = self.settings.image / read_guest(self.settings.image).endorsements
        try:
            return read_text_file(path)
        except (OSError, UnicodeDecodeError) as error:
            remedy = "fetch it with `sealmarket collateral fetch`; the guest file names where it lies"
            raise DriverError(f"no collateral for this machine's evidence at {path}: {error}", remedy=remedy) from error


class GuestDriverFactory:
    """What the entry point `guest` of the group `sealmarket.drivers` names."""

    simulated = False
    tees = frozenset({Tee.CCA, Tee.SNP, Tee.TDX})

    def open(self, settings: DriverSettings) -> GuestDriver:
        """The driver of one guest image."""
        return GuestDriver(settings)

    def expected_measurement(self, tee: Tee, image: Path, interpreter: Path) -> Measurement:  # noqa: ARG002 - the same
        """What the evidence of such a guest will say. Its interpreter is inside the image."""
        return expected(tee, image)


GUEST = GuestDriverFactory()


def _filled(command: tuple[str, ...], words: Mapping[str, str]) -> list[str]:
    """Each ``{name}`` of ``words`` replaced; other braces, such as a monitor's own JSON, stay."""
    filled = []
    for argument in command:
        for name, value in words.items():
            argument = argument.replace("{" + name + "}", value)
        filled.append(argument)
    return filled


def _connected(guest: GuestFile, program: Program, path: Path, cid: int) -> socket.socket:
    """The channel to the enclave, once it listens.

    Raises:
        ProgramEnded: the monitor ended, or the enclave does not listen within the guest file's time.
    """

    def connect() -> socket.socket:
        seconds = min(_ANSWER_SECONDS, guest.start_seconds)
        return _over_unix(path, seconds) if guest.channel == "unix" else _over_vsock(cid)

    until, pause = time.monotonic() + guest.start_seconds, threading.Event()
    while True:
        try:
            return connect()
        except OSError:
            if not program.runs:
                raise program.ended() from None
            if time.monotonic() > until:
                raise program.ended(f"has not answered within {guest.start_seconds:g} s") from None
        pause.wait(_POLL_SECONDS)


def _over_vsock(cid: int) -> socket.socket:
    stream = socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM)
    try:
        stream.connect((cid, CHANNEL_PORT))
    except BaseException:
        stream.close()
        raise
    return stream


def _over_unix(path: Path, seconds: float) -> socket.socket:
    """The guest's port through a monitor's socket: `CONNECT <port>`, answered by `OK <number>` on a line of its own,
    within ``seconds`` for each step."""
    stream = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        stream.settimeout(seconds)
        stream.connect(str(path))
        stream.sendall(b"CONNECT %d\n" % CHANNEL_PORT)
        answer = bytearray()
        while not answer.endswith(b"\n") and len(answer) < _LONGEST_ANSWER:
            piece = stream.recv(1)  # one at a time: what follows the line belongs to the channel
            if not piece:
                break
            answer += piece
        if not answer.startswith(b"OK "):
            raise ConnectionError("the monitor did not connect to the guest")
        stream.settimeout(None)
    except BaseException:
        stream.close()
        raise
    return stream
