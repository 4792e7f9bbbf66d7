"""Copies of a node's key files, each tried: restored elsewhere, signed with, opened with. The journal is never in one.

A backup holds the encrypted keystores and the public record. It opens with the node's passphrase, which is kept apart.
A node whose keys have no tried backup does not run.
"""

from __future__ import annotations

import hashlib
import secrets
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from msgspec.structs import replace

from sealmarket.private_files import write_private
from sealmarket_enclave.protocol.codec import Bytes32
from sealmarket_enclave.protocol.signing import SignatureRefused, personal_digest, recover
from sealmarket_enclave.sealed.contexts import Context
from sealmarket_enclave.sealed.errors import NotOpened
from sealmarket_enclave.sealed.hpke import PublicKey
from sealmarket_oracle.errors import BackupRefused, KeyFileRefused
from sealmarket_oracle.keys import NodeKeys, read
from sealmarket_oracle.node_folder import (
    HPKE_FILE,
    NODE_FILE,
    SIGNER_FILE,
    KeyPaths,
    NodeRecord,
    TriedBackup,
    keep_record,
    load_keys,
    load_record,
)


class BackupTrial(Context, frozen=True, kw_only=True, tag="sealmarket/backup-trial/1"):
    """What is sealed and signed to try a backup: a random word. No market takes a signature over it."""

    word: Bytes32


def back_up(paths: KeyPaths, to: Path, passphrase: str) -> TriedBackup:
    """Copy a node's key files into a new folder, try the copy, and note it in the node's record.

    A copy that was not tried is removed again.

    Raises:
        BackupRefused: the folder has one of the files, or the copy does not do what the keys do.
        KeyFileRefused, SignerFailed: the node's own files cannot be read, or its signer does not sign.
    """
    record = load_record(paths.node)
    files = {name: read(path) for name, path in paths.key_files()}
    require_free(to)
    with _all_or_none(to) as made:
        for name, raw in files.items():
            _copy(to / name, raw)
            made.append(to / name)
        tried = try_out(to, record, passphrase)
    keep_record(paths.node, replace(record, backups=(*record.backups, tried)))
    return tried


def require_free(to: Path) -> None:
    """Make the folder of a backup, and refuse one that has a file of one already. Raises :class:`BackupRefused`."""
    try:
        to.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise BackupRefused(f"{to} cannot be made: {error.strerror}", remedy="name another place") from error
    for name, path in KeyPaths.in_folder(to).key_files():
        if path.exists():
            raise BackupRefused(
                f"{to} has the {name} of a backup", remedy="name a new folder: backups are never overwritten"
            )


@contextmanager
def _all_or_none(to: Path) -> Iterator[list[Path]]:
    """Remove what was written into a folder if the block fails: what was not tried is not taken for a backup."""
    made: list[Path] = []
    try:
        yield made
    except BaseException:
        for path in made:
            path.unlink(missing_ok=True)
        with suppress(OSError):
            to.rmdir()
        raise


def _copy(path: Path, raw: bytes) -> None:
    try:
        write_private(path, raw)
    except FileExistsError:
        raise BackupRefused(f"{path} exists", remedy="name a new folder: backups are never overwritten") from None
    except OSError as error:
        raise BackupRefused(f"{path} cannot be written: {error.strerror}", remedy="name another place") from error


def try_out(place: Path, record: NodeRecord, passphrase: str) -> TriedBackup:
    """Restore a backup into a scratch folder, sign and open with it there. Raises as :func:`back_up`."""
    with tempfile.TemporaryDirectory(prefix="sealmarket-backup-") as scratch:
        restored = KeyPaths.in_folder(Path(scratch))
        for name, path in restored.key_files():
            write_private(path, read(place / name))
        found = load_record(restored.node)
        if (found.member, found.epoch, found.journal) != (record.member, record.epoch, record.journal):
            raise BackupRefused(f"{place} is of another node", remedy="name a backup of this node and epoch")
        try:
            require_working(record, load_keys(restored, record, passphrase))
        except KeyFileRefused as error:
            message = error.message.replace(scratch, str(place))
            raise BackupRefused(f"the backup in {place} does not work: {message}", remedy=error.remedy) from error
    return TriedBackup(place=str(place.absolute()), tried_at=int(time.time()), files=_digests(place))


def require_working(record: NodeRecord, keys: NodeKeys) -> None:
    """Sign and open with keys, and hold both against the public member.

    Raises:
        BackupRefused: the signature is another account's, or what is sealed to the member does not open.
    """
    trial = BackupTrial(word=Bytes32(secrets.token_bytes(32)))
    message = trial.canonical()
    try:
        signer = recover(personal_digest(message), keys.signer.sign_text(message))
        opened = keys.hpke.open(PublicKey(record.member.hpke_public_key).seal(trial.word, trial), trial)
    except (SignatureRefused, NotOpened) as error:
        raise BackupRefused(f"the keys do not work: {error.message}", remedy="use another backup") from error
    if signer != record.member.signer or opened != trial.word:
        raise BackupRefused(f"the keys sign as {signer}, expected {record.member.signer}", remedy="use another backup")


def require_tried(paths: KeyPaths, record: NodeRecord) -> None:
    """Refuse to run with keys that exist once. Raises :class:`BackupRefused`."""
    present = {SIGNER_FILE: _digest(read(paths.signer)), HPKE_FILE: _digest(read(paths.hpke))}
    if not any(backup.files == present for backup in record.backups):
        raise BackupRefused(
            f"the keys of {record.member.signer} have no backup that was tried, and shares are sealed to them for good",
            remedy=f"run `sealmarket oracle backup {paths.node.parent} TO`, with TO on another disk",
        )


def restore(place: Path, folder: Path, passphrase: str) -> NodeRecord:
    """Put a node's key files from a backup into a folder that has none, and try them.

    Raises:
        BackupRefused, KeyFileRefused, SignerFailed: as :func:`back_up`.
    """
    if not KeyPaths.in_folder(place).node.exists():
        raise BackupRefused(f"{place} is no backup: it has no {NODE_FILE}", remedy="name the folder of a backup")
    paths = KeyPaths.in_folder(folder)
    for _, path in paths.key_files():
        if path.exists():
            raise BackupRefused(f"{path} exists", remedy="move it away, or restore into another folder")
    record = load_record(KeyPaths.in_folder(place).node)
    tried = try_out(place, record, passphrase)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for name, path in paths.key_files():
        if path != paths.node:
            _copy(path, read(place / name))
    restored = replace(record, backups=(tried,))
    _copy(paths.node, restored.canonical())
    return restored


def _digests(place: Path) -> dict[str, Bytes32]:
    return {name: _digest(read(place / name)) for name in (SIGNER_FILE, HPKE_FILE)}


def _digest(raw: bytes) -> Bytes32:
    return Bytes32(hashlib.sha256(raw).digest())
