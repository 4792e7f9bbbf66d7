"""A folder as a place for sealed containers: a disk, a network mount. Each lies under its content root."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sealmarket.files import pieces
from sealmarket.service.errors import ItemNotFound, ServiceUnavailable
from sealmarket.store.source import Part
from sealmarket_enclave.protocol.codec import Bytes32
from sealmarket_enclave.sealed.container import ContainerReader

LEAVES = ".leaves"
"""What a container's leaves are called behind its name, in a folder, in a bucket and on a web server."""


class FileSource:
    """A container in a file, with its leaves beside it where there are any."""

    def __init__(self, path: Path) -> None:
        self._path = path

    @property
    def name(self) -> str:
        """As :attr:`SealedSource.name`."""
        return f"file {self._path}"

    @contextmanager
    def read(self, start: int, stop: int) -> Iterator[Part]:
        """As :meth:`SealedSource.read`."""
        try:
            with self._path.open("rb") as file:
                version = str(os.fstat(file.fileno()).st_mtime_ns)
                yield Part(start, version, pieces(file.fileno(), start, stop))
        except FileNotFoundError as error:
            raise ItemNotFound(self.name, "container", self._path.name) from error
        except OSError as error:
            raise ServiceUnavailable(self.name, str(self._path), error.strerror or str(error)) from error

    def leaves(self, size: int) -> bytes | None:
        """As :meth:`SealedSource.leaves`."""
        try:
            with self._path.with_name(self._path.name + LEAVES).open("rb") as file:
                found = file.read(size + 1)
        except OSError:
            return None
        return found if len(found) == size else None


def put_in_folder(container: Path, root: Bytes32, folder: Path) -> Path:
    """Copy a container into a folder under its root, with its leaves; what is copied is what is checked.

    Raises:
        ContainerError: the file is not the container of this root. Nothing is left in the folder then.
        OSError: it cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / root.hex()
    with container.open("rb", buffering=0) as source, _written(target) as copy:
        length = ContainerReader(source, root).header.container_length
        for piece in pieces(source.fileno(), 0, length + 1):  # one more, so that what follows is refused
            copy.write(piece)
        copy.seek(0)
        leaves = ContainerReader(copy.file, root).leaves  # type: ignore[arg-type]  # a file, wrapped
    with _written(target.with_name(target.name + LEAVES)) as file:
        file.write(leaves)
    return target


@contextmanager
def _written(target: Path) -> Iterator[tempfile._TemporaryFileWrapper[bytes]]:
    """A file that appears under its name once it is whole and on disk."""
    with tempfile.NamedTemporaryFile(dir=target.parent, prefix=".incoming-", delete=False) as file:
        try:
            yield file
            file.flush()
            os.fsync(file.fileno())
            Path(file.name).chmod(0o644)
            Path(file.name).rename(target)
        except BaseException:
            Path(file.name).unlink(missing_ok=True)
            raise
