"""A workload bundle in memory, its archive, and the digest that owners allow.

``digest = SHA-256(RFC 8785 manifest)``; the manifest lists every file (path, executable bit, SHA-256), the
entry point, the declared interpreter, the limits, and the inputs with what is needed of them (docs/spec/workload.md,
"Digest"). Same tree, same digest, on any machine. What was read is what is hashed and what :meth:`Bundle.write`
writes: an edit of the directory afterwards changes nothing.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

from msgspec import UNSET, Meta, UnsetType

from sealmarket_enclave.protocol.codec import Bytes32, Shape, decode_canonical
from sealmarket_enclave.protocol.hashing import sha256
from sealmarket_enclave.workload.environment import Environment, Interpreter
from sealmarket_enclave.workload.errors import (
    BundleFileMissing,
    BundleTooLarge,
    DigestMismatch,
    ForbiddenEntry,
    InvalidArchive,
)
from sealmarket_enclave.workload.manifest import (
    MOST_INPUTS,
    InputSlot,
    Limits,
    Manifest,
    SessionLimits,
    parse_manifest,
)
from sealmarket_enclave.workload.tree import check_collisions, check_path

MANIFEST = "workload.toml"
LOCK = "requirements.lock"
ENVIRONMENT = "environment.json"
CODE = "code"
ARCHIVE_MAGIC = b"SEALWRK\x00\x00\x01"
MAX_FILES = 4096
MAX_BYTES = 64 << 20
_FORBIDDEN_SUFFIXES = (".pyc", ".pyo", ".pth", ".so", ".pyd")


@dataclass(frozen=True, slots=True)
class BundleFile:
    """One file of a bundle: whether it is executable, and its bytes."""

    executable: bool
    data: bytes = field(repr=False)


class ListedFile(Shape, frozen=True, kw_only=True):
    """One file in the digest's manifest."""

    path: str
    executable: bool
    sha256: Bytes32


class DigestManifest(Shape, frozen=True, kw_only=True):
    """What is hashed to a workload's digest. Files are sorted by their path's UTF-8 bytes; ``session`` of a batch job
    is absent."""

    version: Literal["sealmarket/workload/2"] = "sealmarket/workload/2"
    entry_point: str
    interpreter: Interpreter
    limits: Limits
    inputs: Annotated[tuple[InputSlot, ...], Meta(min_length=1, max_length=MOST_INPUTS)]
    files: tuple[ListedFile, ...]
    session: SessionLimits | UnsetType = UNSET


@dataclass(frozen=True, slots=True)
class Bundle:
    """A bundle in memory, whole and checked."""

    manifest: Manifest
    environment: Environment
    files: dict[str, BundleFile] = field(repr=False)

    def digest_manifest(self) -> DigestManifest:
        """What :attr:`digest` hashes."""
        listed = sorted(self.files.items(), key=lambda item: item[0].encode("utf-8"))
        return DigestManifest(
            entry_point=self.manifest.entry_point,
            interpreter=self.environment.interpreter,
            limits=self.manifest.limits,
            inputs=self.manifest.inputs,
            session=self.manifest.session,
            files=tuple(
                ListedFile(path=path, executable=file.executable, sha256=sha256(file.data)) for path, file in listed
            ),
        )

    @property
    def digest(self) -> Bytes32:
        """The workload's digest: what policies allow and jobs name."""
        return sha256(self.digest_manifest().canonical())

    def require(self, digest: bytes) -> None:
        """Raise :class:`DigestMismatch` unless this is the workload with that digest."""
        if (found := self.digest) != digest:
            raise DigestMismatch(digest, found)

    def write(self, target: Path) -> None:
        """Write the bundle's code into a new directory that only this user can enter."""
        target.mkdir(mode=0o700)
        for path, file in self.files.items():
            place = target / path
            place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            with os.fdopen(os.open(place, flags, 0o500 if file.executable else 0o400), "wb") as out:
                out.write(file.data)


def pack(bundle: Bundle) -> bytes:
    """One file that holds a bundle: the same bytes for the same digest (docs/spec/workload.md, "Archive")."""
    parts = [ARCHIVE_MAGIC, len(bundle.files).to_bytes(4, "big")]
    for path in sorted(bundle.files, key=lambda name: name.encode("utf-8")):
        file, name = bundle.files[path], path.encode("utf-8")
        parts += [bytes([file.executable]), len(name).to_bytes(2, "big"), name]
        parts += [len(file.data).to_bytes(8, "big"), file.data]
    return b"".join(parts)


def unpack(raw: bytes) -> Bundle:
    """Read an archive that any party may have written. Compare the digest afterwards (:meth:`Bundle.require`).

    Raises:
        InvalidArchive: no archive, cut short, extended, or not the one spelling of its content.
        BundleError, MalformedDocument: as :func:`bundle_of`.
    """
    view, at = memoryview(raw), len(ARCHIVE_MAGIC)
    if raw[:at] != ARCHIVE_MAGIC:
        raise InvalidArchive(f"it starts with {bytes(raw[:at])!r}", f"{ARCHIVE_MAGIC!r}")

    def take(size: int) -> memoryview:
        nonlocal at
        if size > len(view) - at:
            raise InvalidArchive(f"{len(view) - at} bytes left", f"{size}")
        at += size
        return view[at - size : at]

    def number(size: int) -> int:
        return int.from_bytes(take(size), "big")

    files: dict[str, BundleFile] = {}
    count, total = number(4), 0
    for _ in range(count):
        executable, path = number(1), bytes(take(number(2))).decode("utf-8", "surrogateescape")
        data = bytes(take(number(8)))
        total += len(data)
        require_room(len(files) + 1, total)
        files[path] = BundleFile(bool(executable), data)
    check_files(files)
    bundle = bundle_of(files)
    if pack(bundle) != raw:
        raise InvalidArchive("another spelling of its content", "sorted, unique paths and nothing after the last file")
    return bundle


def check_files(files: dict[str, BundleFile]) -> None:
    """The rules that hold wherever a bundle's files come from: plain paths, no compiled code, no collisions."""
    for path in files:
        check_path(path)
        if path.endswith(_FORBIDDEN_SUFFIXES):
            raise ForbiddenEntry(path, "compiled code or a path file", "source; native code comes in locked wheels")
    check_collisions(files)


def bundle_of(files: dict[str, BundleFile]) -> Bundle:
    """A whole, locked bundle from its files. Raises :class:`BundleError`, :class:`MalformedDocument`."""
    for needed in (MANIFEST, LOCK, ENVIRONMENT):
        if needed not in files:
            raise BundleFileMissing(needed)
    manifest = parse_manifest(files[MANIFEST].data)
    require_entry_point(manifest, files)
    return Bundle(manifest, decode_canonical(Environment, files[ENVIRONMENT].data), files)


def require_room(count: int, total: int) -> None:
    """Raise :class:`BundleTooLarge` for more than 4,096 files or 64 MiB."""
    if count > MAX_FILES:
        raise BundleTooLarge("number of files", count, MAX_FILES)
    if total > MAX_BYTES:
        raise BundleTooLarge("size in bytes", total, MAX_BYTES)


def require_entry_point(manifest: Manifest, files: dict[str, BundleFile]) -> None:
    """Raise :class:`BundleFileMissing` unless the entry point's module is a file of the bundle."""
    module = manifest.entry_point.partition(":")[0].replace(".", "/")
    if not any(f"{CODE}/{module}{suffix}" in files for suffix in (".py", "/__init__.py")):
        raise BundleFileMissing(f"{CODE}/{module}.py")
