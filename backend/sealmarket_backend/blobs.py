"""Content-addressed files, in a folder or a bucket: documents, sealed containers, workload archives, lists of leaves.

Nothing here is secret and nothing is trusted: a name commits to the bytes, the store checks them once on the way in
so that no party can occupy a name, and every reader checks them again. A file appears under its name only when it is
whole and on disk (write beside, fsync, rename).

Where there is a bucket, blobs lie there, the table ``uploads`` says which, and the folder is a cache: what is not in it
is fetched, and held against its name again.
"""

from __future__ import annotations

import io
import logging
import os
import re
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path

from sealmarket.protocol import merkle
from sealmarket.protocol.wire import LeafList
from sealmarket.serving.rates import UNKNOWN_PEER
from sealmarket_backend.bucket import Objects, new_key
from sealmarket_backend.cache import Cache
from sealmarket_backend.errors import NotFound, Rejected, TooLarge
from sealmarket_backend.ledger import Ledger, Upload
from sealmarket_enclave.protocol.codec import Bytes32, decode
from sealmarket_enclave.protocol.errors import MalformedDocument
from sealmarket_enclave.protocol.hashing import keccak
from sealmarket_enclave.sealed.container import ContainerReader
from sealmarket_enclave.sealed.errors import SealedError
from sealmarket_enclave.workload.bundle import unpack
from sealmarket_enclave.workload.errors import WorkloadError

log = logging.getLogger(__name__)


class Kind(StrEnum):
    """The kinds of blobs, which are also the names of their folders and routes."""

    DOCUMENTS = "documents"
    CONTAINERS = "containers"
    WORKLOADS = "workloads"
    LISTS = "lists"


LIMITS = {Kind.DOCUMENTS: 8 << 20, Kind.CONTAINERS: 64 << 30, Kind.WORKLOADS: 64 << 20, Kind.LISTS: 4 << 20}
"""The most bytes that one blob of a kind may have."""

_FILE_NAME = re.compile("[0-9a-f]{64}")
_LEAVES = ".leaves"
"""Behind a container's name: the leaf digests of its chunks, so that a reader tells which chunk came wrong."""


class Incoming:
    """A blob on its way in: a file without a name yet."""

    def __init__(self, kind: Kind, file: io.BufferedRandom, path: Path, upload: Upload) -> None:
        self.kind = kind
        self.file = file
        self.path = path
        self.upload = upload
        self._room = LIMITS[kind] - os.fstat(file.fileno()).st_size

    def write(self, piece: bytes) -> None:
        """Add bytes. Raises :class:`TooLarge` and :class:`StoreFull`."""
        self._room -= len(piece)
        if self._room < 0:
            raise TooLarge(f"{self.kind} have at most {LIMITS[self.kind]} bytes each, more came")
        self.upload.take(len(piece))
        self.file.write(piece)


class Blobs:
    """One folder of blobs, one sub-folder for each kind; with ``bucket``, the blobs of all processes that share it."""

    def __init__(self, root: Path, ledger: Ledger, bucket: Objects | None = None) -> None:
        self._root, self.ledger, self._bucket = root, ledger, bucket
        self._lock = threading.Lock()
        for folder in (*Kind, "incoming"):
            (root / folder).mkdir(parents=True, exist_ok=True)
        for left_over in (root / "incoming").iterdir():
            left_over.unlink()
        for leaves in (root / Kind.CONTAINERS).glob(f"*{_LEAVES}"):
            if not leaves.with_suffix("").exists():
                leaves.unlink()
        if bucket is None:
            ledger.adopt(self._files())
        files = (self.file(Kind(kind), name) for kind, name, _ in self._files()) if bucket is not None else ()
        self._cache = Cache(files, ledger.limits.cache_bytes)

    def _files(self) -> Iterator[tuple[str, Bytes32, int]]:
        for kind in Kind:
            for path in (self._root / kind).iterdir():
                if _FILE_NAME.fullmatch(path.name):
                    yield kind, Bytes32(bytes.fromhex(path.name)), path.stat().st_size

    @contextmanager
    def incoming(self, kind: Kind, peer: str = UNKNOWN_PEER) -> Iterator[Incoming]:
        """A place for a peer's bytes that come in; gone again unless :meth:`keep` took them.

        Raises:
            TooMany, StoreFull: as :meth:`Ledger.upload`.
        """
        with self.ledger.upload(peer) as upload:
            handle, name = tempfile.mkstemp(dir=self._root / "incoming")
            path = Path(name)
            try:
                with os.fdopen(handle, "w+b") as file:
                    yield Incoming(kind, file, path, upload)
            finally:
                path.unlink(missing_ok=True)

    def keep(self, incoming: Incoming, name: Bytes32) -> None:
        """Give what came in its name, if the name commits to it.

        Raises:
            Rejected: the bytes belong to another name, or are not of their kind at all.
        """
        incoming.file.flush()
        os.fsync(incoming.file.fileno())
        incoming.file.seek(0)
        leaves = _CHECKS[incoming.kind](incoming.file, name)
        key = self._put(incoming, name)
        folder = self._root / incoming.kind
        with self._lock:
            self._name(incoming.path, folder / name.hex(), leaves)
            before = self.ledger.keep(incoming.upload, incoming.kind, name, key)
        if self._bucket is not None:
            self._cache.use(folder / name.hex())
            if before:
                self._bucket.remove(before)
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def _put(self, incoming: Incoming, name: Bytes32) -> str:
        """Write what came to the bucket, if there is one; its key there."""
        if self._bucket is None:
            return ""
        key = new_key(incoming.kind, name, self.ledger.mark)
        self._bucket.put(key, incoming.path)
        return key

    def _name(self, incoming: Path, path: Path, leaves: bytes | None) -> None:
        incoming.rename(path)
        if leaves is not None:
            self._keep_leaves(path, leaves)

    def _keep_leaves(self, container: Path, leaves: bytes) -> None:
        # Made of bytes that were checked. One that a crash left short has another length, which its readers refuse.
        beside = self._root / "incoming" / (container.name + _LEAVES)
        beside.write_bytes(leaves)
        beside.rename(container.with_name(container.name + _LEAVES))

    def put(self, kind: Kind, name: Bytes32, data: bytes) -> None:
        """Keep bytes that are at hand. Raises :class:`Rejected` and :class:`TooLarge`."""
        with self.incoming(kind) as incoming:
            incoming.write(data)
            self.keep(incoming, name)

    def remove(self, kind: Kind, name: Bytes32, since: int) -> bool:
        """Take a blob out, unless it was put again after ``since``; whether it is gone."""
        with self._lock:
            if (key := self.ledger.drop(kind, name, since)) is None:
                return False
            self.file(kind, name).unlink(missing_ok=True)
            self.leaves_file(name).unlink(missing_ok=True)
        if self._bucket is not None:
            self._cache.forget(self.file(kind, name))
            if key:
                self._bucket.remove(key)
        return True

    def file(self, kind: Kind, name: Bytes32) -> Path:
        """Where a blob lies, if it is there."""
        return self._root / kind / name.hex()

    def leaves_file(self, root: Bytes32) -> Path:
        """Where the leaves of a container lie, if they are there."""
        return self._root / Kind.CONTAINERS / (root.hex() + _LEAVES)

    def leaves(self, root: Bytes32) -> Path:
        """Where the leaves of a container lie. Raises :class:`NotFound`."""
        path = self.leaves_file(root)
        if self._bucket is not None:
            self.path(Kind.CONTAINERS, root)
        if not path.is_file():
            raise NotFound(f"the leaves of {root} are not here", remedy="read the whole container")
        return path

    def new_file(self) -> Path:
        """A file for bytes that come in several requests; gone at the next start."""
        handle, name = tempfile.mkstemp(dir=self._root / "incoming")
        os.close(handle)
        return Path(name)

    def path(self, kind: Kind, name: Bytes32) -> Path:
        """Where a blob lies, once it is in the folder. Raises :class:`NotFound`, and what a bucket raises."""
        path = self.file(kind, name)
        if self._bucket is not None:
            if (key := self.ledger.key(kind, name)) is None:
                raise _absent(kind, name)  # what the folder still has is named by nothing
            if not path.is_file():
                self._fetch(self._bucket, key, kind, name)
            self._cache.use(path)
        if not path.is_file():
            raise _absent(kind, name)
        return path

    def has(self, kind: Kind, name: Bytes32) -> bool:
        """Whether a blob is kept."""
        return self.file(kind, name).is_file() if self._bucket is None else self.ledger.key(kind, name) is not None

    def size(self, kind: Kind, name: Bytes32) -> int:
        """How many bytes a blob has; 0 where there is none."""
        try:
            return self.path(kind, name).stat().st_size
        except (NotFound, FileNotFoundError):
            return 0

    def _fetch(self, bucket: Objects, key: str, kind: Kind, name: Bytes32) -> None:
        """Bring a blob from the bucket into the folder. Raises :class:`NotFound` where the bucket has none, or lies."""
        path = self.new_file()
        try:
            with path.open("w+b") as file:
                if not bucket.fetch(key, file, LIMITS[kind]):
                    log.error("the bucket lacks %s, which a row names", key)
                    raise _absent(kind, name)
                file.seek(0)
                leaves = _CHECKS[kind](file, name)
            with self._lock:
                self._name(path, self.file(kind, name), leaves)
        except Rejected as error:
            log.error("the bucket has other bytes at %s: %s", key, error)
            raise _absent(kind, name) from error
        finally:
            path.unlink(missing_ok=True)


def _absent(kind: Kind, name: Bytes32) -> NotFound:
    return NotFound(f"{name} is not among the {kind}", remedy="ask its owner to put it back")


def _check_document(file: io.BufferedRandom, name: Bytes32) -> None:
    found = keccak(file.read())
    if found != name:
        raise Rejected(f"expected a document with hash {name}, found {found}", remedy="name it by its Keccak-256")


def _check_container(file: io.BufferedRandom, root: Bytes32) -> bytes:
    try:
        return ContainerReader(file, root, threads=1).leaves  # uploads at once share the processors
    except SealedError as error:
        raise Rejected(f"not the container {root}: {error.message}", remedy=error.remedy) from error


def _check_workload(file: io.BufferedRandom, digest: Bytes32) -> None:
    try:
        found = unpack(file.read()).digest
    except (WorkloadError, MalformedDocument) as error:
        raise Rejected(f"not the workload {digest}: {error.message}", remedy=error.remedy) from error
    if found != digest:
        raise Rejected(f"expected a workload with digest {digest}, found {found}", remedy="pack and measure it again")


def _check_list(file: io.BufferedRandom, root: Bytes32) -> None:
    try:
        found = merkle.root(decode(LeafList, file.read()).leaves)
    except MalformedDocument as error:
        raise Rejected(f"not the list {root}: {error.message}", remedy=error.remedy) from error
    if found != root:
        raise Rejected(f"expected the leaves under {root}, found those under {found}", remedy="post the whole list")


_CHECKS: dict[Kind, Callable[[io.BufferedRandom, Bytes32], bytes | None]] = {
    Kind.DOCUMENTS: _check_document,
    Kind.CONTAINERS: _check_container,
    Kind.WORKLOADS: _check_workload,
    Kind.LISTS: _check_list,
}
