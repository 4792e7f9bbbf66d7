"""The end of a node's epoch: its keys are destroyed once no job of the epoch is left.

    sealmarket oracle rotate NOW NEXT     the next epoch's keys, in a folder of their own, beside the present ones
    sealmarket oracle destroy --config F  the keys of an epoch that is over, and those of its backups that are in reach

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
from sealmarket.files import read_file
from sealmarket_enclave.protocol.codec import Bytes32
from sealmarket_enclave.protocol.hashing import sha256
from sealmarket_oracle.errors import EpochNotOver
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


@dataclass(frozen=True, slots=True)
class Destroyed:
    """What was destroyed, and what the operator destroys elsewhere: backups that are not where they were tried."""

    record: NodeRecord
    files: tuple[Path, ...]
    left: tuple[TriedBackup, ...]


@dataclass(frozen=True, slots=True)
class Over:
    """An epoch without open jobs. ``matchable``: of its versions those whose owners neither revoked them nor let them
    expire, so that the market matches jobs that find no share any more."""

    epoch: int
    versions: int
    matchable: int


def require_over(chain: ChainReader, journal: Journal, epoch: int) -> Over:
    """Follow the chain to its end, and refuse while a job of the epoch is open.

    An epoch does not end on chain. The operator is asked with the versions that it leaves without them.

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
    sealed, view = journal.sealed_for(epoch), chain.trusted(head)
    states = [view.asset(asset_id, version) for asset_id, version in sealed]
    matchable = sum(not state.revoked and state.terms.expiry > head.timestamp for state in states)
    return Over(epoch, len(sealed), matchable)


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
