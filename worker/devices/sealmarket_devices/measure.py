"""What a virtual TEE device measures, as plain functions: an owner reproduces a measurement without a device.

The rules, which ``docs/spec/virtual-device.md`` states in bytes:

1. The image is a directory of regular files. A link, a special file, bytecode, a name that is not UTF-8 or that
   collides with another after NFC, an image without ``__main__.py``: refused.
2. Image digest = SHA-384 over the RFC 8785 manifest (path in NFC, executable bit, SHA-256 of each file).
3. Runtime digest = the same over the interpreter's binary, its shared library and its standard library, without what
   is never copied (bytecode, site-packages, tests).
4. Command digest = the same over the interpreter's flags, the arguments and the fixed environment.

The device measures its own private copy, so a file that is edited after the measurement changes nothing.

    VirtualMeasurementError
    ├── ImageRefused           the image holds something that is not measured
    └── InterpreterRefused     the interpreter cannot be laid out for measuring
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
import subprocess
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from sealmarket_enclave.protocol.codec import canonical_json
from sealmarket_enclave.protocol.errors import SealmarketError

ENTRY_POINT = "__main__.py"
INTERPRETER_FLAGS = ("-I", "-S", "-B")
RUNTIME = "{runtime}"
"""Stands for the private copy of the interpreter, whose path differs from launch to launch."""
FIXED_ENVIRONMENT = {"LANG": "C.UTF-8", "LD_LIBRARY_PATH": f"{RUNTIME}/lib", "TZ": "UTC"}
INTERPRETER_PATH = "bin/python"

MAX_FILES = 50_000
MAX_BYTES = 2 << 30
_MAX_ARGUMENTS = 64
_MAX_ARGUMENT_BYTES = 64 << 10

_NEVER_COPIED = frozenset(
    {"__pycache__", "site-packages", "dist-packages", "test", "tests", "idlelib", "ensurepip", "turtledemo"}
)
_ASK_LAYOUT = (
    "import json,sys,sysconfig as s;g=s.get_config_var;"
    "print(json.dumps([s.get_path('stdlib'),sys.platlibdir,'python%d.%d'%sys.version_info[:2],"
    "g('LIBDIR') or '',(g('INSTSONAME') or '') if g('Py_ENABLE_SHARED') else '']))"
)


class VirtualMeasurementError(SealmarketError):
    """What was to be launched cannot be measured."""


class ImageRefused(VirtualMeasurementError):
    """The image holds something that is not measured."""


class InterpreterRefused(VirtualMeasurementError):
    """The interpreter cannot be laid out for measuring."""


@dataclass(frozen=True, slots=True)
class SourceFile:
    """One file to measure: its path in the tree (NFC, ``/``), where it lies now, and its executable bit."""

    path: str
    source: Path
    executable: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class LaunchMeasurement:
    """The three SHA-384 digests of a launch, 48 bytes each, before any TEE gives them names."""

    image: bytes
    runtime: bytes
    command: bytes


def measure_image(image: Path, interpreter: Path, arguments: Sequence[str] = ()) -> LaunchMeasurement:
    """What a virtual device will report for this launch.

    Args:
        image: directory with ``__main__.py``, as for a launch.
        interpreter: a CPython binary; a virtual environment's link is followed to the real one.
        arguments: what the entry point finds in ``sys.argv[1:]``.

    Raises:
        ImageRefused, InterpreterRefused: a launch of this would be refused as well.
    """
    return LaunchMeasurement(
        image=tree_digest("image", list(image_files(image))),
        runtime=tree_digest("runtime", list(runtime_files(interpreter))),
        command=command_digest(arguments),
    )


def extend_register(register: bytes, digest: bytes) -> bytes:
    """A TDX runtime register after one extension: SHA-384 over the old value and the digest, 48 bytes each."""
    if len(register) != 48 or len(digest) != 48:
        raise VirtualMeasurementError(f"a register takes 48 bytes, found {len(register)} and {len(digest)}")
    return hashlib.sha384(register + digest).digest()


def command_digest(arguments: Sequence[str]) -> bytes:
    """Rule 4. Raises :class:`ImageRefused` for arguments that the kernel or JSON would alter."""
    if len(arguments) > _MAX_ARGUMENTS or sum(len(a) for a in arguments) > _MAX_ARGUMENT_BYTES:
        raise ImageRefused(f"at most {_MAX_ARGUMENTS} arguments of {_MAX_ARGUMENT_BYTES} characters together")
    for argument in arguments:
        if "\0" in argument or not _is_utf8(argument):
            raise ImageRefused(f"an argument must be UTF-8 without NUL, found {argument!r}")
    command = {
        "arguments": list(arguments),
        "environment": FIXED_ENVIRONMENT,
        "flags": list(INTERPRETER_FLAGS),
        "kind": "sealmarket virtual command",
        "version": 1,
    }
    return hashlib.sha384(canonical_json(command)).digest()


def tree_digest(kind: str, files: Sequence[SourceFile]) -> bytes:
    """Rules 2 and 3: SHA-384 over the canonical manifest of the files, sorted by path."""
    manifest = {
        "files": [
            {"executable": f.executable, "path": f.path, "sha256": _sha256(f.source)}
            for f in sorted(files, key=lambda f: f.path)
        ],
        "kind": f"sealmarket virtual {kind}",
        "version": 1,
    }
    return hashlib.sha384(canonical_json(manifest)).digest()


def image_files(image: Path) -> Iterator[SourceFile]:
    """Rule 1: every file of the image, or :class:`ImageRefused`. Nothing is skipped."""
    seen: set[str] = set()
    for path, source, mode in _walk_strict(image, ""):
        if path in seen:
            raise ImageRefused(f"two files are named {path!r} after NFC", remedy="rename one of them")
        seen.add(path)
        if len(seen) > MAX_FILES:
            raise ImageRefused(f"an image has at most {MAX_FILES} files")
        yield SourceFile(path, source, bool(mode & 0o100))
    if ENTRY_POINT not in seen:
        raise ImageRefused(f"an image starts at {ENTRY_POINT}, found none in {image.name!r}")


def runtime_files(interpreter: Path) -> Iterator[SourceFile]:
    """Rule 3: the interpreter's binary, shared library and standard library, laid out as ``bin`` and ``lib``."""
    binary = interpreter.resolve(strict=False)
    if not binary.is_file():
        raise InterpreterRefused(f"no interpreter at {interpreter}", remedy="name a CPython 3.11+ binary")
    stdlib, libdir, version, shared_dir, shared = _layout(binary)
    yield SourceFile(INTERPRETER_PATH, binary, True)
    if shared and (library := Path(shared_dir) / shared).is_file():
        yield SourceFile(f"lib/{shared}", library, False)
    if not (stdlib / "os.py").is_file():
        raise InterpreterRefused(f"the interpreter names {stdlib} as its standard library; no os.py is there")
    yield from _walk_lenient(stdlib, f"{libdir}/{version}/")


def launch_environment(runtime: Path) -> dict[str, str]:
    """The fixed environment with the place of the private copy filled in."""
    return {name: value.replace(RUNTIME, str(runtime)) for name, value in FIXED_ENVIRONMENT.items()}


def _layout(binary: Path) -> tuple[Path, str, str, str, str]:
    # The real binary is asked, in the mode in which it will run; it is measured itself, so that a binary that
    # lies here has another measurement.
    try:
        answer = subprocess.run(
            [str(binary), *INTERPRETER_FLAGS, "-c", _ASK_LAYOUT],
            capture_output=True,
            env={},
            timeout=30,
            check=True,
        )
        stdlib, libdir, version, shared_dir, shared = json.loads(answer.stdout)
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        raise InterpreterRefused(f"{binary} did not say where its standard library is: {error}") from error
    return Path(stdlib), libdir, version, shared_dir, shared


def _walk_strict(directory: Path, prefix: str) -> Iterator[tuple[str, Path, int]]:
    for entry in _entries(directory):
        if not _is_utf8(entry.name):
            raise ImageRefused(f"a file name is not UTF-8: {entry.name!r}")
        path = prefix + unicodedata.normalize("NFC", entry.name)
        mode = entry.stat(follow_symlinks=False).st_mode
        if entry.name == "__pycache__" or entry.name.endswith((".pyc", ".pyo")):
            raise ImageRefused(f"bytecode in the image: {path}", remedy="remove __pycache__ before measuring")
        if stat.S_ISDIR(mode):
            yield from _walk_strict(Path(entry.path), path + "/")
        elif stat.S_ISREG(mode):
            yield path, Path(entry.path), mode
        else:
            raise ImageRefused(
                f"only regular files are measured, found a link or special file: {path}",
                remedy="copy the file that the link names into the image",
            )


def _walk_lenient(directory: Path, prefix: str) -> Iterator[SourceFile]:
    # Distributions link files of the standard library; their content is what is copied and measured. What is
    # skipped here is not copied either, so that it cannot be imported.
    for entry in _entries(directory):
        if entry.name in _NEVER_COPIED or entry.name.startswith("config-") or entry.name.endswith((".pyc", ".a")):
            continue
        path = prefix + unicodedata.normalize("NFC", entry.name)
        if entry.is_dir(follow_symlinks=False):
            yield from _walk_lenient(Path(entry.path), path + "/")
        elif entry.is_file():
            yield SourceFile(path, Path(entry.path), bool(entry.stat().st_mode & 0o100))


def _entries(directory: Path) -> Iterable[os.DirEntry[str]]:
    try:
        with os.scandir(directory) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except OSError as error:
        raise ImageRefused(f"{directory} cannot be read: {error.strerror}") from error


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
