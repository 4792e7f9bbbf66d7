"""The end of a node's epoch: its keys are destroyed once the chain ended it and no job or challenge of it is left.

    sealmarket oracle rotate NOW NEXT     the next epoch's keys, in a folder of their own, beside the present ones
    sealmarket oracle destroy --config F  the keys of an epoch that is over, and those of its backups that are in reach

Both epochs may run side by side, each a process with its own folder, port and journal.
"""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from msgspec.structs import replace

from sealmarket.chain.follow import Follower
from sealmarket.chain.interface import ChainReader, ProvableView
from sealmarket.chain.model import Block
from sealmarket.files import read_file
from sealmarket.protocol.book import AddressBook, Windows
from sealmarket.protocol.timing import LONGEST_WINDOW, longest_hold
from sealmarket.protocol.transitions import Status
from sealmarket_enclave.protocol.codec import ZERO_ADDRESS, Address, Bytes32, Wei
from sealmarket_enclave.protocol.hashing import sha256
from sealmarket_enclave.protocol.job import JobSpec
from sealmarket_enclave.protocol.numbers import JobId
from sealmarket_oracle.errors import EpochGoesOn, EpochNotOver
from sealmarket_oracle.follower import JournalReader
from sealmarket_oracle.journal import Journal
from sealmarket_oracle.node_folder import (
    HPKE_FILE,
    SIGNER_FILE,
    KeyPaths,
    NodeRecord,
    TriedBackup,
    keep_record,
    load_record,
)

LOOK_SECONDS = 60
_TOGETHER = 64
"""Jobs whose slots are read by one call."""
_LONGEST = Windows(LONGEST_WINDOW, LONGEST_WINDOW, LONGEST_WINDOW, LONGEST_WINDOW)


class EpochEnd:
    """When a running node's epoch ends: for its operator, and nothing else rests on it. ``at`` is 0 for no end."""

    def __init__(self, epoch: int, monotonic: Callable[[], float]) -> None:
        self.at = 0
        self._epoch, self._monotonic, self._due = epoch, monotonic, 0.0

    def look(self, chain: ChainReader, final: Block) -> None:
        """Read it at a final block, once a minute. Raises :class:`ChainError`."""
        if self._monotonic() >= self._due:
            self.at = chain.trusted(final).epoch_end(self._epoch)
            self._due = self._monotonic() + LOOK_SECONDS


@dataclass(frozen=True, slots=True)
class Destroyed:
    """What was destroyed, and what the operator destroys elsewhere: backups that are not where they were tried."""

    record: NodeRecord
    files: tuple[Path, ...]
    left: tuple[TriedBackup, ...]


@dataclass(frozen=True, slots=True)
class Over:
    """An epoch that ended at a final block, with no job that is open and no result that can be challenged.

    Of the chain's own coin that its signing key alone can take out of the market: ``free``, and the fees of so many
    ``unclaimed`` signatures.
    """

    epoch: int
    ends_at: int
    free: Wei
    unclaimed: int


@dataclass(frozen=True, slots=True)
class Seat:
    """A node's signing account, and its place in its epoch's committee; None where the address book lacks that."""

    signer: Address
    index: int | None

    @classmethod
    def of(cls, book: AddressBook, record: NodeRecord) -> Seat:
        """Of the node that ``node.json`` describes."""
        signers = [
            member.signer
            for committee in book.committees
            if committee.epoch == record.epoch
            for member in committee.members
        ]
        signer = record.member.signer
        return cls(signer, signers.index(signer) if signer in signers else None)


def require_over(chain: ChainReader, journal: Journal, epoch: int, seat: Seat) -> Over:
    """Follow the chain to its end, and refuse unless the epoch is over for good.

    The market makes no job of an epoch at or after its end. So once a final block lies behind the end, no job can come
    that is not among those that final blocks have shown. A settled job is over once its slot says so, or its deadline
    lies behind that block: until then its result may be challenged, and only these keys can answer.

    Raises:
        EpochGoesOn: no end is announced, or no final block lies behind it.
        EpochNotOver: a job is open, or its result can be challenged, or a challenge waits for an answer.
        ChainError, JournalError: the chain cannot be followed.
    """
    final = Follower(chain, JournalReader(journal)).advance()
    trusted = chain.trusted(final)
    ends_at = trusted.epoch_end(epoch)
    if not 0 < ends_at < final.timestamp:
        raise EpochGoesOn(epoch, ends_at, final.timestamp)
    open_jobs = [record.job_id for record in journal.open_jobs() if record.spec.epoch == epoch]
    if open_jobs:
        raise EpochNotOver(epoch, open_jobs)
    if contestable := dict(_contestable(trusted, journal, epoch)):
        raise EpochNotOver(epoch, list(contestable), max(contestable.values()))
    view = chain.at(final)
    book = view.fee_book(epoch, ZERO_ADDRESS)
    unclaimed = book.unclaimed[seat.index] if book is not None and seat.index is not None else 0
    return Over(epoch, ends_at, view.account(ZERO_ADDRESS, seat.signer).free, unclaimed)


def _contestable(view: ProvableView, journal: Journal, epoch: int) -> Iterator[tuple[JobId, int]]:
    """Settled jobs whose result can be challenged yet, or whose challenge can be answered: each with that deadline.

    A job that has lasted longer than all its windows together is not asked for.
    """
    now = view.block.timestamp
    young = (
        record
        for record in journal.settled_jobs(now - longest_hold(_LONGEST))
        if record.spec.epoch == epoch and record.matched.timestamp + longest_hold(_windows(record.spec)) >= now
    )
    while some := list(islice(young, _TOGETHER)):
        view.prepare([record.spec for record in some])
        for record in some:
            slot = view.job(record.spec.request_hash)
            if slot.status in (Status.SETTLED, Status.CHALLENGED) and slot.deadline >= now:
                yield record.job_id, slot.deadline


def _windows(spec: JobSpec) -> Windows:
    return Windows(spec.quote_window, spec.decide_window, spec.settle_window, spec.challenge_window)


def destroy_keys(paths: KeyPaths) -> Destroyed:
    """Overwrite and remove both keystores and each copy of them that lies where its backup was tried, and note it.

    The journal and ``node.json`` stay for auditors. A file that is another than the one that was tried is left alone.

    Raises:
        KeyFileRefused: the folder does not say who the node is.
        OSError: a file cannot be removed; call it again.
    """
    record = load_record(paths.node)
    copies = [path for backup in record.backups for path in _copies(backup)]
    gone = [path for path in (*copies, paths.signer, paths.hpke) if path.exists()]
    for path in gone:
        _overwrite(path)
        path.unlink()
    destroyed = replace(record, destroyed_at=record.destroyed_at or int(time.time()))
    keep_record(paths.node, destroyed)
    done = {path.parent for path in copies}
    return Destroyed(destroyed, tuple(gone), tuple(one for one in record.backups if Path(one.place) not in done))


def _copies(backup: TriedBackup) -> list[Path]:
    """The keystores of a backup, if both are there as they were tried."""
    found = [Path(backup.place) / name for name in (SIGNER_FILE, HPKE_FILE)]
    return found if all(_digest(path) == backup.files.get(path.name) for path in found) else []


def _digest(path: Path) -> Bytes32 | None:
    try:
        return sha256(read_file(path)) if not path.is_symlink() else None
    except OSError:
        return None


def _overwrite(path: Path) -> None:
    """Random bytes in place of a file's own: what a disk keeps of the old ones is under the passphrase."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        os.pwrite(descriptor, secrets.token_bytes(os.fstat(descriptor).st_size), 0)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
