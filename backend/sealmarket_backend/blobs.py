"""Content-addressed files in a folder: documents, sealed containers, workload archives.

Nothing here is secret and nothing is trusted: a name commits to the bytes, the store checks them once on the way in
so that nobody can squat on a name, and every reader checks them again. A file appears under its name only when it is
whole and on disk (write beside, fsync, rename).
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from sealmarket.protocol.codec import Bytes32
from sealmarket.protocol.hashing import keccak
from sealmarket.sealed.container import ContainerReader
from sealmarket.sealed.errors import SealedError
from sealmarket_backend.errors import NotFound, Rejected, TooLarge

MAX_DOCUMENT = 8 << 20
MAX_WORKLOAD = 64 << 20
MAX_CONTAINER = 64 << 30


class Blobs:
    """One folder of blobs, one sub-folder for each kind."""

    def __init__(self, root: Path) -> None:
        self._root = root
        for kind in ("documents", "containers", "workloads", "incoming"):
            (root / kind).mkdir(parents=True, exist_ok=True)

    def put_document(self, name: Bytes32, data: Iterable[bytes]) -> None:
        """Keep a document under Keccak-256 of its bytes.

        Raises:
            Rejected: the bytes have another hash.
            TooLarge: more than 8 MiB.
        """
        with self._incoming(data, MAX_DOCUMENT) as (path, file):
            found = keccak(file.read())
            if found != name:
                raise Rejected(f"expected a document with hash {name}, found {found}", remedy="name it by its hash")
            self._keep(path, "documents", name)

    def put_container(self, root: Bytes32, data: Iterable[bytes]) -> None:
        """Keep a sealed container under its content root, which is computed over all of it.

        Raises:
            Rejected: not a container, or one with another root.
            TooLarge: more than 64 GiB.
        """
        with self._incoming(data, MAX_CONTAINER) as (path, file):
            try:
                ContainerReader(file, root).verify()
            except SealedError as error:
                raise Rejected(f"not the container {root}: {error.message}", remedy=error.remedy) from error
            self._keep(path, "containers", root)

    def put_workload(self, digest: Bytes32, data: Iterable[bytes]) -> None:
        """Keep a workload's archive under its digest, which is measured over what it unpacks to.

        Raises:
            Rejected: not an archive, or one with another digest.
            TooLarge: more than 64 MiB.
        """
        from sealmarket.workload import WorkloadError, digest_of_archive

        with self._incoming(data, MAX_WORKLOAD) as (path, file):
            try:
                found = digest_of_archive(file.read())
            except WorkloadError as error:
                raise Rejected(f"not the workload {digest}: {error.message}", remedy=error.remedy) from error
            if found != digest:
                raise Rejected(f"expected a workload with digest {digest}, found {found}", remedy="pack it again")
            self._keep(path, "workloads", digest)

    def path(self, kind: str, name: Bytes32) -> Path:
        """Where a blob lies.

        Raises:
            NotFound: nothing is kept under this name.
        """
        path = self._root / kind / name.hex()
        if not path.is_file():
            raise NotFound(f"no {kind.removesuffix('s')} {name}", remedy="ask its owner to put it back")
        return path

    def read_document(self, name: Bytes32) -> bytes:
        """A document's bytes. Raises :class:`NotFound`."""
        return self.path("documents", name).read_bytes()

    def has(self, kind: str, name: Bytes32) -> bool:
        """Whether a blob is kept."""
        return (self._root / kind / name.hex()).is_file()

    @contextmanager
    def _incoming(self, data: Iterable[bytes], limit: int) -> Iterator[tuple[Path, BinaryIO]]:
        handle, name = tempfile.mkstemp(dir=self._root / "incoming")
        path = Path(name)
        try:
            with os.fdopen(handle, "w+b") as file:
                size = 0
                for piece in data:
                    size += len(piece)
                    if size > limit:
                        raise TooLarge(f"at most {limit} bytes are kept under one name, more came")
                    file.write(piece)
                file.flush()
                os.fsync(file.fileno())
                file.seek(0)
                yield path, file
        finally:
            path.unlink(missing_ok=True)

    def _keep(self, path: Path, kind: str, name: Bytes32) -> None:
        folder = self._root / kind
        path.rename(folder / name.hex())
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
