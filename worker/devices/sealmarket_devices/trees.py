"""Private copies of what is launched: a virtual device measures its copy and runs its copy.

A file that its owner edits between the measurement and the start, or while the enclave runs, changes nothing.
Copies lie in a folder of mode 0700, in shared memory where that allows programs, and go away with the device.
Bytecode is made by the device from the measured sources after measuring, so that it needs no measurement of
its own.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import stat
import subprocess
import tempfile
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

from sealmarket_devices.measure import (
    INTERPRETER_FLAGS,
    INTERPRETER_PATH,
    MAX_BYTES,
    ImageRefused,
    InterpreterRefused,
    SourceFile,
    image_files,
    launch_environment,
    runtime_files,
    tree_digest,
)

_ASK_PARTS = (
    "import json,os,sys;"
    "lines=open('/proc/self/maps').read().splitlines();"
    "maps={line[line.index('/'):] for line in lines if '/' in line};"
    "print(json.dumps([sys.prefix,sys.executable,os.__file__,*sys.path,"
    "*(m for m in maps if 'python' in os.path.basename(m) or '/lib-dynload/' in m)]))"
)
_PREFIX = "sealmarket-virtual-"
_LOCK = "in-use"
_SETTLING_SECONDS = 60
"""A folder this young may not have taken its lock yet."""


class TreeStore:
    """Measured copies by digest. One process owns a store; stores of dead processes are removed at start."""

    def __init__(self, state: Path) -> None:
        parent = _place_for_copies(state)
        _remove_abandoned(parent)
        self.folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=parent))
        self._lock = os.open(self.folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        self._by_digest: dict[bytes, Path] = {}
        self._runtimes: dict[Path, bytes] = {}
        self._compilers: list[subprocess.Popen[bytes]] = []

    def image(self, source: Path) -> tuple[bytes, Path]:
        """Copy an image and measure the copy: its digest, and where the copy lies."""
        return self._keep("image", image_files(source))

    def runtime(self, interpreter: Path) -> tuple[bytes, Path]:
        """Copy an interpreter with its standard library and measure the copy, once for each interpreter."""
        binary = interpreter.resolve(strict=False)
        if binary not in self._runtimes:
            digest, folder = self._keep("runtime", runtime_files(binary))
            _check_self_contained(folder)
            self._runtimes[binary] = digest
            self._compile(folder, folder)
        digest = self._runtimes[binary]
        return digest, self._by_digest[digest]

    def compile_image(self, image: Path, runtime: Path) -> None:
        """Make bytecode of an image's copy in the background, for the next launch."""
        if not any(image.rglob("__pycache__")):
            self._compile(image, runtime)

    def close(self) -> None:
        """Remove every copy."""
        for compiler in self._compilers:
            compiler.kill()
            compiler.wait()
        shutil.rmtree(self.folder)
        os.close(self._lock)

    def _keep(self, kind: str, files: Iterable[SourceFile]) -> tuple[bytes, Path]:
        folder = Path(tempfile.mkdtemp(dir=self.folder))
        try:
            digest = tree_digest(kind, _copy(files, folder))
        except BaseException:
            shutil.rmtree(folder)
            raise
        if digest in self._by_digest:
            shutil.rmtree(folder)
        else:
            self._by_digest[digest] = folder
        return digest, self._by_digest[digest]

    def _compile(self, folder: Path, runtime: Path) -> None:
        self._compilers = [compiler for compiler in self._compilers if compiler.poll() is None]
        interpreter = [str(runtime / INTERPRETER_PATH), "-I", "-S"]
        rest = ["-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash", str(folder)]
        self._compilers.append(
            subprocess.Popen(
                ["nice", "-n", "19", *interpreter, *rest] if shutil.which("nice") else [*interpreter, *rest],
                env=launch_environment(runtime),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
        )


def command_line(runtime: Path, image: Path, entry: str, arguments: Sequence[str]) -> list[str]:
    """The command that an enclave is started with."""
    return [str(runtime / INTERPRETER_PATH), *INTERPRETER_FLAGS, str(image / entry), *arguments]


def _check_self_contained(runtime: Path) -> None:
    """Refuse an interpreter whose copy loads its own parts from elsewhere: those would not be measured."""
    command = [str(runtime / INTERPRETER_PATH), *INTERPRETER_FLAGS, "-c", _ASK_PARTS]
    try:
        answer = subprocess.run(command, capture_output=True, env=launch_environment(runtime), timeout=30, check=True)
        parts: list[str] = json.loads(answer.stdout)
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        raise InterpreterRefused(f"the interpreter's copy does not run: {error}") from error
    foreign = [part for part in parts if not Path(part).is_relative_to(runtime)]
    if foreign:
        raise InterpreterRefused(
            f"the interpreter's copy loads {foreign[0]}, which is not measured",
            remedy="use an interpreter without an absolute RPATH",
        )


def _copy(files: Iterable[SourceFile], folder: Path) -> list[SourceFile]:
    copies: list[SourceFile] = []
    total = 0
    for file in files:
        target = folder / file.path
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        total += _copy_file(file.source, target, 0o500 if file.executable else 0o400, MAX_BYTES - total)
        copies.append(SourceFile(file.path, target, file.executable))
    return copies


def _copy_file(source: Path, target: Path, mode: int, room: int) -> int:
    # Non-blocking, so that a pipe that takes a file's place cannot hold the device.
    reader = os.open(source, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(reader, "rb") as incoming:
        status = os.fstat(reader)
        if not stat.S_ISREG(status.st_mode):
            raise ImageRefused(f"only regular files are measured: {source}")
        if status.st_size > room:
            raise ImageRefused(f"an image has at most {MAX_BYTES} bytes, exceeded at {source.name}")
        writer = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
        with os.fdopen(writer, "wb") as outgoing:
            shutil.copyfileobj(incoming, outgoing, 1 << 20)
            return outgoing.tell()


def _place_for_copies(state: Path) -> Path:
    shared_memory = Path("/dev/shm")  # noqa: S108 - the folder made in it is private and has a random name
    if shared_memory.is_dir() and os.access(shared_memory, os.W_OK):
        facts = os.statvfs(shared_memory)
        if not facts.f_flag & os.ST_NOEXEC and facts.f_bavail * facts.f_frsize > 1 << 30:
            return shared_memory
    return state


def _remove_abandoned(parent: Path) -> None:
    for folder in parent.glob(_PREFIX + "*"):
        try:
            lock = os.open(folder / _LOCK, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
        except OSError:
            continue  # Just being made, or another user's.
        try:
            if time.time() - os.fstat(lock).st_mtime < _SETTLING_SECONDS:
                continue
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            continue
        finally:
            os.close(lock)
        shutil.rmtree(folder, ignore_errors=True)
