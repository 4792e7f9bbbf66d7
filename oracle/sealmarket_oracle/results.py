"""The ciphertexts of challenged results: fetched from the store, verified without a key, kept on disk and served.

Each fetch runs in a thread of its own, so that a store that answers slowly holds up no decision. What it comes to:

- :class:`Kept`: envelope and container are here and are the result's;
- :class:`Absent`: the store says that it has not got them, or has other bytes under their names;
- :class:`NotTold`: nothing can be said: the store gives no answer, or this node has no room.

Bounds: :data:`FETCHES` at once, ``most_bytes`` for one container, ``disk_bytes`` for all, :data:`FREE_BYTES` of the
disk stay free, and what is older than :data:`KEPT_SECONDS` leaves.
"""

from __future__ import annotations

import logging
import os
import shutil
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from sealmarket.private_files import replace_private
from sealmarket.service.errors import ContentMismatch, ItemNotFound, ServiceError
from sealmarket.store.interface import NodeStore
from sealmarket_enclave.protocol.codec import Bytes32, decode_canonical
from sealmarket_enclave.protocol.errors import MalformedDocument
from sealmarket_enclave.protocol.hashing import keccak
from sealmarket_enclave.protocol.numbers import JobId
from sealmarket_enclave.sealed.result import ResultEnvelope

FETCHES = 2
MOST_BYTES = 256 << 20
DISK_BYTES = 8 << 30
FREE_BYTES = 256 << 20
KEPT_SECONDS = 7 * 86_400.0
"""A consumer has this long to fetch what nodes found."""
RETRY_SECONDS = 5.0
_log = logging.getLogger("sealmarket.oracle")


@dataclass(frozen=True, slots=True)
class Kept:
    """The ciphertext is here."""


@dataclass(frozen=True, slots=True)
class Absent:
    """The store does not have it."""

    why: str


@dataclass(frozen=True, slots=True)
class NotTold:
    """Nothing can be said yet."""

    why: str


Found = Kept | Absent | NotTold


class KeptResults:
    """One node's ciphertexts of challenged results. Threads may share it."""

    def __init__(
        self,
        folder: Path,
        store: NodeStore,
        *,
        most_bytes: int = MOST_BYTES,
        disk_bytes: int = DISK_BYTES,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._folder, self._store = folder, store
        self._most, self._disk = most_bytes, disk_bytes
        self._clock, self._monotonic = clock, monotonic
        self._pool = ThreadPoolExecutor(FETCHES, thread_name_prefix="challenged")
        self._work: dict[JobId, Future[Found]] = {}
        self._last: dict[JobId, tuple[Found, float]] = {}

    def look(self, job_id: JobId, result_hash: Bytes32) -> Found:
        """What is known of a challenged result; begins or repeats the fetch where that is due."""
        work = self._work.get(job_id)
        if work is not None and work.done():
            del self._work[job_id]
            self._last[job_id] = (work.result(), self._monotonic())
        last, at = self._last.get(job_id, (NotTold("its ciphertext is being fetched"), float("-inf")))
        due = not isinstance(last, Kept) and self._monotonic() - at >= RETRY_SECONDS
        if due and job_id not in self._work:
            self._work[job_id] = self._pool.submit(self._fetched, job_id, result_hash)
        return last

    def forget(self, still_open: set[JobId]) -> None:
        """Drop what is known of challenges that are over, and files whose time is over."""
        for job_id in self._last.keys() - still_open:
            del self._last[job_id]
        oldest = self._clock() - KEPT_SECONDS
        for path, about in self._files():
            if about.st_mtime < oldest:
                path.unlink(missing_ok=True)

    def document(self, name: Bytes32) -> bytes | None:
        """The envelope of a result that is kept here."""
        path = self._envelope(name)
        return path.read_bytes() if path.is_file() else None

    def container(self, root: Bytes32) -> Path | None:
        """The file of a container that is kept here."""
        path = self._container(root)
        return path if path.is_file() else None

    def close(self) -> None:
        """Begin no fetch any more; one under way ends by itself."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    # --- in a thread of its own -------------------------------------------------------------------------------

    def _fetched(self, job_id: JobId, result_hash: Bytes32) -> Found:
        try:
            return self._fetch(job_id, result_hash)
        except (ItemNotFound, ContentMismatch) as error:
            return Absent(error.message)
        except ServiceError as error:
            return NotTold(error.message)
        except OSError as error:
            return NotTold(f"this node's disk does not take it: {error}")

    def _fetch(self, job_id: JobId, result_hash: Bytes32) -> Found:
        raw = self._store.find_document(result_hash)
        if raw is None:
            return Absent("the store has no document of the result's hash")
        if (found := keccak(raw)) != result_hash:
            return Absent(f"the store has {found} under the result's hash")
        try:
            envelope = decode_canonical(ResultEnvelope, raw)
        except MalformedDocument as error:
            return Absent(f"what the enclave signed is no result: {error.message}")
        if envelope.job_id != job_id:
            return Absent(f"what the enclave signed is a result of job {envelope.job_id}")
        target = self._container(envelope.content_root)
        if not target.is_file():
            if (most := self._room()) <= 0:
                return NotTold("this node has no room for another ciphertext")
            self._store.fetch_container(envelope.content_root, target, most=most)
        replace_private(self._envelope(result_hash), raw)
        _log.info("job %s: the challenged result is here, and is served", job_id)
        return Kept()

    def _room(self) -> int:
        """Bytes that one container may have, while others are fetched beside it."""
        held = sum(about.st_size for _, about in self._files())
        room = min(self._disk - held, shutil.disk_usage(self._folder).free - FREE_BYTES)
        return min(self._most, room // FETCHES)

    def _files(self) -> Iterator[tuple[Path, os.stat_result]]:
        """What is in the folder; a fetch in another thread may rename or remove a file meanwhile."""
        for path in self._folder.iterdir():
            with suppress(FileNotFoundError):
                yield path, path.stat()

    def _envelope(self, name: Bytes32) -> Path:
        return self._folder / f"{name.hex()}.envelope"

    def _container(self, root: Bytes32) -> Path:
        return self._folder / f"{root.hex()}.container"
