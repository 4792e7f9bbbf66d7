"""A container comes to this disk, however often its source tears off, and whatever else the source sends.

Rules:

1. What has come is kept beside the target and taken up again by the next call; the target appears only when all of
   it is on disk and gives the content root.
2. Where the source has the leaves, and they give the root with the header, each chunk is held against its leaf as it
   comes: a wrong one is asked for again alone, at most :data:`MOST_LOOKS` times.
3. Without leaves, wrong bytes show at the end. What an earlier call had left is then thrown away, and all of it is
   asked for once more.
4. A source that ignores ranges is read from its beginning, and what is there already is passed over. Where leaves
   are missing, a source that says that it holds another version now is read from the beginning.
5. A call ends: after :data:`MOST_TRIES` questions in a row that brought less than :data:`LEAST_PROGRESS` bytes (or all
   that was missing), and after as many changes of version.

At no time are more than two chunks in memory, beside 32 bytes a chunk.
"""

from __future__ import annotations

import fcntl
import io
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from sealmarket.service.errors import ContentMismatch, ServiceUnavailable
from sealmarket.store.source import MAX_CONTAINER, SealedSource
from sealmarket_enclave.protocol.codec import Bytes32
from sealmarket_enclave.sealed.container import ContainerReader
from sealmarket_enclave.sealed.errors import SealedError
from sealmarket_enclave.sealed.header import HEADER_BYTES, TAG_BYTES, Header
from sealmarket_enclave.sealed.merkle import RootBuilder, header_digest, leaf_digest

MOST_TRIES = 5
MOST_LOOKS = 3
LEAST_PROGRESS = 1 << 20
FIRST_WAIT, LONGEST_WAIT = 0.5, 8.0
_LEAF = Bytes32.length

Wait = Callable[[float], None]


def download(source: SealedSource, root: Bytes32, target: Path, *, wait: Wait = time.sleep) -> None:
    """Fetch a container to a file, and verify all of it without a key.

    Args:
        wait: how seconds pass between two tries.

    Raises:
        ItemNotFound, ServiceRefused: the source has it not, or not so.
        ServiceUnavailable: it answers too seldom; what came is kept for the next call.
        ContentMismatch: what it has under this root is something else.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    with _partial(target, root) as (path, file):
        resumed = file.seek(0, io.SEEK_END) > 0
        one = _Download(source, root, file, wait)
        if not one.run() and not (resumed and one.run()):
            raise ContentMismatch(source.name, "container", root, "other bytes: its content root is another one")
        file.flush()
        os.fsync(file.fileno())
        path.rename(target)


@contextmanager
def _partial(target: Path, root: Bytes32) -> Iterator[tuple[Path, io.FileIO]]:
    """The file that what comes is written to. One that another call writes at this moment is left to that one."""
    path = target.with_name(f".{target.name[:64]}.{root.hex()[:32]}.part")
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    with io.FileIO(os.open(path, flags, 0o600), "r+b") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            mine = os.path.samestat(os.fstat(file.fileno()), path.stat())
        except (BlockingIOError, FileNotFoundError):
            mine = False
        if mine:
            with _nothing_useless(path, file):
                yield path, file
            return
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=".incoming-")
    with io.FileIO(handle, "r+b") as file:
        try:
            yield Path(name), file
        finally:
            Path(name).unlink(missing_ok=True)


@contextmanager
def _nothing_useless(path: Path, file: io.FileIO) -> Iterator[None]:
    """Keep what came for the next call, unless nothing came or it is something else."""
    try:
        yield
    except ContentMismatch:
        path.unlink(missing_ok=True)
        raise
    except BaseException:
        if not file.seek(0, io.SEEK_END):
            path.unlink(missing_ok=True)
        raise


class _Download:
    """One container on its way into one file."""

    def __init__(self, source: SealedSource, root: Bytes32, file: io.FileIO, wait: Wait) -> None:
        self._source, self._root, self._file, self._wait = source, root, file, wait
        self._tries = self._moves = 0
        self._version: str | None = None

    def run(self) -> bool:
        """Fetch what is missing; whether the file gives the root. Where it does not, nothing of it is kept."""
        self._tries, self._version = 0, None
        raw = self._header()
        try:
            header = Header.decode(raw)
        except SealedError as error:
            raise self._other(f"no container: {error.message}") from error
        if header.container_length > MAX_CONTAINER:
            raise self._other(f"{header.container_length} bytes long, and at most {MAX_CONTAINER} are read")
        leaves = self._leaves(header.chunk_count * _LEAF)
        if leaves is not None and _root_of(raw, leaves) != self._root:
            raise self._other("of another content root, by its header and leaves")
        chunks = _Chunks(self._file, raw, header, leaves)
        while (missing := chunks.missing()) is not None:
            asked = chunks.offset(missing[1]) - chunks.offset(missing[0])
            before = chunks.size
            problem = self._fetch(chunks, *missing)
            if (wrong := chunks.hopeless()) is not None:
                raise self._other(f"wrong in chunk {wrong}, each of {MOST_LOOKS} times")
            if self._moves >= MOST_TRIES:
                detail = f"it holds another version at each of {self._moves} looks"
                raise ServiceUnavailable(self._source.name, "its URL", detail)
            self._pause(problem, progress=chunks.size - before >= min(asked, LEAST_PROGRESS))
        return self._holds()

    def _header(self) -> bytes:
        raw = memoryview(bytearray(HEADER_BYTES))
        while True:
            try:
                with self._source.read(0, HEADER_BYTES) as part:
                    if part.start == 0 and _Bytes(part.pieces).fill(raw) == HEADER_BYTES:
                        return bytes(raw)
                problem = None
            except ServiceUnavailable as error:
                problem = error
            self._pause(problem, progress=False)

    def _leaves(self, size: int) -> bytes | None:
        """The leaves, if the source gives them. What it does not answer again and again is done without."""
        for tries in range(MOST_TRIES):
            try:
                return self._source.leaves(size)
            except ServiceUnavailable:
                self._wait(_wait_after(tries))
        return None

    def _fetch(self, chunks: _Chunks, first: int, stop: int) -> ServiceUnavailable | None:
        """Ask once for some chunks, and keep those that come; what the source answered where it was no answer."""
        start = chunks.offset(first)
        try:
            with self._source.read(start, chunks.offset(stop)) as part:
                if chunks.unchecked and self._version is not None and part.version != self._version:
                    chunks.forget()  # the source was exchanged
                    self._version = None
                    self._moves += 1
                    return None
                self._version = part.version
                content = _Bytes(part.pieces)
                if part.start <= start and content.skip(start - part.start):
                    chunks.take(content, first, stop)
        except ServiceUnavailable as error:
            return error
        return None

    def _pause(self, problem: ServiceUnavailable | None, *, progress: bool) -> None:
        """Before the next question: none after one that brought something, longer and longer after others."""
        if progress:
            self._tries = 0
            return
        self._tries += 1
        if self._tries >= MOST_TRIES:
            raise problem or ServiceUnavailable(self._source.name, "its URL", "it sends less than was asked for")
        self._wait(_wait_after(self._tries - 1))

    def _other(self, found: str) -> ContentMismatch:
        return ContentMismatch(self._source.name, "container", self._root, found)

    def _holds(self) -> bool:
        self._file.seek(0)
        try:
            ContainerReader(self._file, self._root).verify()
        except SealedError:
            self._file.truncate(0)
            return False
        return True


class _Chunks:
    """Which chunks are on disk. With leaves, the right ones; without, all up to the last that came."""

    def __init__(self, file: io.FileIO, raw: bytes, header: Header, leaves: bytes | None) -> None:
        self._file, self._header, self._leaves = file, header, leaves
        self._buffer = memoryview(bytearray(header.chunk_size + TAG_BYTES))
        self._have = bytearray(header.chunk_count)
        self._wrong: dict[int, int] = {}
        self._lowest = self.size = 0
        self._look_at_disk(raw)

    @property
    def unchecked(self) -> bool:
        """Whether wrong bytes show at the end only."""
        return self._leaves is None

    def offset(self, index: int) -> int:
        """Where a chunk begins; of the number of chunks, where the container ends."""
        whole = index * (self._header.chunk_size + TAG_BYTES)
        return min(HEADER_BYTES + whole, self._header.container_length)

    def missing(self) -> tuple[int, int] | None:
        """The first run of chunks that are not there: its first, and the one after it."""
        first = self._have.find(0, self._lowest)
        if first < 0:
            return None
        self._lowest = first
        after = self._have.find(1, first)
        return first, len(self._have) if after < 0 else after

    def take(self, content: _Bytes, first: int, stop: int) -> None:
        """Keep chunks as they come, each under its index, until there is no more."""
        for index in range(first, stop):
            chunk = self._buffer[: self.offset(index + 1) - self.offset(index)]
            if content.fill(chunk) < len(chunk):
                return
            if self._is_right(index, chunk):
                _write_at(self._file, self.offset(index), chunk)
                self._mark(index)
            else:
                self._wrong[index] = self._wrong.get(index, 0) + 1

    def hopeless(self) -> int | None:
        """A chunk that came wrong as often as it is looked at."""
        return next(
            (index for index, times in self._wrong.items() if times >= MOST_LOOKS and not self._have[index]), None
        )

    def forget(self) -> None:
        """Begin from nothing."""
        self._have, self._lowest, self.size = bytearray(len(self._have)), 0, 0
        self._file.truncate(HEADER_BYTES)

    def _look_at_disk(self, raw: bytes) -> None:
        """Take up what an earlier call left."""
        size = self._file.seek(0, io.SEEK_END)
        if os.pread(self._file.fileno(), HEADER_BYTES, 0) != raw:
            self._file.truncate(0)
            _write_at(self._file, 0, memoryview(raw))
            return
        if size > self._header.container_length:
            self._file.truncate(self._header.container_length)
        for index in range(self._header.chunk_count):
            if self.offset(index + 1) > size:
                return
            chunk = self._buffer[: self.offset(index + 1) - self.offset(index)]
            if self._leaves is None or self._is_right(index, _read_at(self._file, self.offset(index), chunk)):
                self._mark(index)

    def _is_right(self, index: int, chunk: memoryview) -> bool:
        wanted = None if self._leaves is None else self._leaves[index * _LEAF : (index + 1) * _LEAF]
        return wanted is None or leaf_digest(index, chunk) == wanted

    def _mark(self, index: int) -> None:
        self._have[index] = 1
        self.size += self.offset(index + 1) - self.offset(index)


class _Bytes:
    """Pieces as they come, in the sizes that are asked for."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces, self._rest = pieces, memoryview(b"")

    def fill(self, view: memoryview) -> int:
        """Fill ``view``; how many bytes there were."""
        done = 0
        while done < len(view):
            if not self._rest:
                piece = next(self._pieces, None)
                if piece is None:
                    break
                self._rest = memoryview(piece)
            size = min(len(view) - done, len(self._rest))
            view[done : done + size], self._rest = self._rest[:size], self._rest[size:]
            done += size
        return done

    def skip(self, size: int) -> bool:
        """Pass over so many bytes; false where there are fewer."""
        scratch = memoryview(bytearray(min(size, 1 << 16)))
        while size:
            part = scratch[: min(size, len(scratch))]
            if self.fill(part) < len(part):
                return False
            size -= len(part)
        return True


def _wait_after(tries: int) -> float:
    return min(FIRST_WAIT * (1 << tries), LONGEST_WAIT)


def _root_of(header: bytes, leaves: bytes) -> Bytes32:
    tree = RootBuilder()
    for at in range(0, len(leaves), _LEAF):
        tree.add(leaves[at : at + _LEAF])
    return tree.root(header_digest(header))


def _read_at(file: io.FileIO, offset: int, view: memoryview) -> memoryview:
    got = os.preadv(file.fileno(), [view], offset)
    return view[:got]


def _write_at(file: io.FileIO, offset: int, view: memoryview) -> None:
    while view:
        written = os.pwrite(file.fileno(), view, offset)
        view, offset = view[written:], offset + written
