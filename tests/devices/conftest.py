"""A virtual device in its own process, and a tiny enclave image that does what a test tells it."""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from sealmarket_devices.client import DeviceRefused, LaunchedEnclave, VirtualDevice
from tests.patience import PATIENCE

Launch = Callable[..., LaunchedEnclave]
WORKER = Path(__file__).resolve().parents[2] / "worker"

ENTRY = """
import json, os, sys
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from sealmarket_enclave.runtime.platforms import device
channel, tee = device.attach()
lines = channel.makefile("rw", encoding="utf-8")
for line in lines:
    name, *rest = json.loads(line)
    try:
        if name == "quote":
            answer = tee.quote(bytes.fromhex(rest[0])).hex()
        elif name == "extend":
            answer = tee.extend(rest[0], bytes.fromhex(rest[1])).hex()
        elif name == "raw":
            tee._channel.send(bytes.fromhex(rest[0]))
            answer = tee._channel.recv(65536).hex()
        elif name == "facts":
            answer = {
                "argv": sys.argv[1:],
                "environment": dict(os.environ),
                "descriptors": sorted(int(n) for n in os.listdir("/proc/self/fd")),
                "session": os.getsid(0) == os.getpid(),
                "entry": os.path.abspath(__file__),
                "executable": sys.executable,
                "stdlib": os.__file__,
                "path": sys.path,
            }
        elif name == "child":
            import subprocess
            code = (
                "import json, os; d = '/proc/self/fd'; names = os.listdir(d);"
                "print(json.dumps([os.readlink(f'{d}/{n}') for n in names if os.path.exists(f'{d}/{n}')]))"
            )
            command = [sys.executable, "-I", "-S", "-c", code]
            answer = json.loads(subprocess.run(command, capture_output=True, close_fds=False).stdout)
        elif name == "exit":
            os._exit(rest[0])
    except Exception as error:
        answer = f"{type(error).__name__}: {error}"
    lines.write(json.dumps(answer) + "\\n")
    lines.flush()
"""


def write_image(folder: Path, *, extra: bytes = b"payload") -> Path:
    """An image that is complete without any installed package."""
    folder.mkdir(parents=True)
    (folder / "__main__.py").write_text(ENTRY)
    (folder / "payload.bin").write_bytes(extra)
    for name in (
        "__init__",
        "runtime/__init__",
        *(f"runtime/platforms/{n}" for n in ("__init__", "interface", "process", "device")),
    ):
        target = folder / "sealmarket_enclave" / f"{name}.py"
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(WORKER / "enclave" / target.relative_to(folder), target)
    source = Path(msgspec.__file__).parent
    shutil.copytree(source, folder / "msgspec", ignore=shutil.ignore_patterns("__pycache__", "*.pyi"))
    return folder


@pytest.fixture
def image(tmp_path: Path) -> Path:
    return write_image(tmp_path / "image")


@contextlib.contextmanager
def device_process(module: str, state: Path, *options: str) -> Iterator[tuple[subprocess.Popen[str], Path]]:
    """Start a device and wait until it says that it is ready."""
    path = state / "control.sock"
    command = [
        sys.executable,
        "-m",
        f"sealmarket_devices.{module}",
        "--state",
        str(state),
        "--socket",
        str(path),
    ]
    process = subprocess.Popen([*command, *options], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        assert "Ready" in process.stdout.readline()
        yield process, path
    finally:
        process.terminate()
        process.wait(timeout=PATIENCE)
        process.stdout.close()


@pytest.fixture(scope="session")
def tdx(tmp_path_factory: pytest.TempPathFactory) -> Iterator[VirtualDevice]:
    """One TDX device for the whole session."""
    with device_process("tdx", tmp_path_factory.mktemp("tdx")) as (_, path), VirtualDevice(path) as device:
        yield device


@pytest.fixture
def launch(tdx: VirtualDevice) -> Iterator[Launch]:
    """Launch on the session's device; what still runs is stopped after the test."""
    with contextlib.ExitStack() as running:
        yield lambda *arguments: running.enter_context(tdx.launch(*arguments))
    for info in tdx.enclaves():
        # It may end by itself in between, since its channel is closed.
        if info.exit_code is None:
            with contextlib.suppress(DeviceRefused):
                tdx.stop(info.id)


def tell(enclave: LaunchedEnclave, *command: object) -> object:
    """Give the test image one command and read its one answer."""
    with enclave.channel.makefile("rw", encoding="utf-8") as lines:
        lines.write(json.dumps(command) + "\n")
        lines.flush()
        answer: object = json.loads(lines.readline())
    return answer


def told_bytes(enclave: LaunchedEnclave, *command: object) -> bytes:
    """As :func:`tell`, for an answer in hex."""
    answer = tell(enclave, *command)
    assert isinstance(answer, str), answer
    return bytes.fromhex(answer)


def interpreter() -> Path:
    return Path(sys.executable)


def wait_until_gone(pid: int) -> None:
    """Wait for a process that is not our child to end."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        readable, _, _ = select.select([descriptor], [], [], 20)
        assert readable, f"process {pid} is still alive"
    finally:
        os.close(descriptor)
