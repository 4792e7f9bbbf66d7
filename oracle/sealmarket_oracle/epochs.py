"""The end of a node's epoch: its keys are destroyed once no job of the epoch is left.

    sealmarket oracle rotate NOW NEXT     the next epoch's keys, in a folder of their own, beside the present ones
    sealmarket oracle destroy --config F  the keys of an epoch that is over, and a list of the backups to destroy

Both epochs may run side by side, each a process with its own folder, port and journal.
"""

from __future__ import annotations

import os
import secrets
import time
from dataclasses import dataclass
from pathlib import Path

from msgspec.structs import replace

from sealmarket.chain.events import JobMatched
from sealmarket.chain.follow import Follower
from sealmarket.chain.interface import ChainReader
from sealmarket_oracle.errors import EpochNotOver
from sealmarket_oracle.follower import JournalReader
from sealmarket_oracle.journal import Journal
from sealmarket_oracle.node_folder import KeyPaths, NodeRecord, TriedBackup, keep_record, load_record


@dataclass(frozen=True, slots=True)
class Destroyed:
    """What was destroyed here, and what the operator destroys elsewhere."""

    record: NodeRecord
    files: tuple[Path, ...]
    backups: tuple[TriedBackup, ...]


def require_over(chain: ChainReader, journal: Journal, epoch: int) -> int:
    """Follow the chain to its end, and refuse while a job of the epoch is open or a version can still be matched.

    Returns how many versions were sealed for the epoch: after this no share of theirs is released any more.

    Raises:
        EpochNotOver: a job is open, or was matched in a block that is not final.
        ChainError, JournalError: the chain cannot be followed.
    """
    final = Follower(chain, JournalReader(journal)).advance()
    open_jobs = [record.job_id for record in journal.open_jobs() if record.spec.epoch == epoch]
    head = chain.head()
    fresh = [
        event.job_id
        for event in chain.events(final.number + 1, head.number)
        if isinstance(event, JobMatched) and event.spec.epoch == epoch
    ]
    if open_jobs or fresh:
        raise EpochNotOver(epoch, [*open_jobs, *fresh])
    return journal.versions_of(epoch)


def destroy_keys(paths: KeyPaths) -> Destroyed:
    """Overwrite and remove both keystores, and note it. The journal and ``node.json`` stay for auditors.

    Raises:
        KeyFileRefused: the folder does not say who the node is.
        OSError: a file cannot be removed; call it again.
    """
    record = load_record(paths.node)
    gone = []
    for path in (paths.signer, paths.hpke):
        if path.exists():
            _overwrite(path)
            path.unlink()
            gone.append(path)
    destroyed = replace(record, destroyed_at=record.destroyed_at or int(time.time()))
    keep_record(paths.node, destroyed)
    return Destroyed(destroyed, tuple(gone), record.backups)


def _overwrite(path: Path) -> None:
    """Random bytes in place of a file's own: what a disk keeps of the old ones is under the passphrase."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.pwrite(descriptor, secrets.token_bytes(os.fstat(descriptor).st_size), 0)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
