"""The folder of one node in one epoch: its keys, who it is, and which backup of the keys was tried.

    signer.json    Web3 keystore version 3 of the signing key; or the program that holds it (:mod:`remote_signer`)
    hpke.json      the HPKE key under scrypt and AES-256-GCM (:mod:`sealmarket.sealing.keyfile`)
    node.json      :class:`NodeRecord`: public, no secret

Both keystores take one passphrase. Nothing is overwritten, all files have mode 0600.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import coincurve
import msgspec

from sealmarket.private_files import normalised, replace_private, write_private
from sealmarket.protocol.book import Member, is_reachable
from sealmarket.protocol.members import SignedMember, member_text
from sealmarket.sealing.keyfile import KeyFileError, KeyKind, read_key_file, write_key_file
from sealmarket_enclave.protocol.codec import Bytes32, HexBytes, Shape, decode
from sealmarket_enclave.protocol.errors import MalformedDocument
from sealmarket_enclave.protocol.numbers import U32, Timestamp
from sealmarket_enclave.sealed.errors import InvalidHpkeKey
from sealmarket_enclave.sealed.hpke import PrivateKey
from sealmarket_oracle.errors import KeyFileRefused
from sealmarket_oracle.keys import NodeKeys, NodeSigner, Signer, read, unlocked
from sealmarket_oracle.remote_signer import RemoteSigner, signer_of

SIGNER_FILE, HPKE_FILE, NODE_FILE, SOCKET_FILE = "signer.json", "hpke.json", "node.json", "admin.sock"
_SCRYPT_LOG_N, LIGHT_LOG_N = 17, 14
"""The cost of scrypt: half a second and 128 MiB, or a sixteenth for a passphrase that a machine chose."""


class TriedBackup(Shape, frozen=True, kw_only=True):
    """A copy of both key files that was restored, signed with and opened with. ``files``: SHA-256 of each by name."""

    place: str
    tried_at: int
    files: dict[str, Bytes32]


class NodeRecord(Shape, frozen=True, kw_only=True):
    """Who a node is. ``journal`` is the random name of the one journal that these keys ever have.

    ``signature``: the signing key's, over the member (:mod:`sealmarket.protocol.members`); empty in older folders.
    ``destroyed_at``: when the keys were destroyed; 0 while they exist.
    """

    version: Literal["sealmarket/oracle-node/1"] = "sealmarket/oracle-node/1"
    epoch: U32
    member: Member
    signature: HexBytes = HexBytes()
    journal: Bytes32
    backups: tuple[TriedBackup, ...] = ()
    destroyed_at: Timestamp = 0

    def signed_member(self) -> SignedMember | None:
        """What a committee's owner takes; None in a folder that an older release made."""
        if not self.signature:
            return None
        return SignedMember(epoch=self.epoch, member=self.member, signature=self.signature)


@dataclass(frozen=True, slots=True)
class KeyPaths:
    """Where a node's files are; by default all in its folder."""

    signer: Path
    hpke: Path
    node: Path

    @classmethod
    def in_folder(cls, folder: Path) -> KeyPaths:
        """The files of one folder."""
        return cls(folder / SIGNER_FILE, folder / HPKE_FILE, folder / NODE_FILE)

    def key_files(self) -> tuple[tuple[str, Path], ...]:
        """The files that a backup holds, by their names there."""
        return (SIGNER_FILE, self.signer), (HPKE_FILE, self.hpke), (NODE_FILE, self.node)


def make(
    folder: Path, url: str, epoch: int, passphrase: str, *, external: RemoteSigner | None = None, light: bool = False
) -> NodeRecord:
    """Make both keys in a folder of mode 0700, or the HPKE key alone beside an external signer.

    Where that fails, as on a full disk, no file that was made stays: no share was sealed to it.

    Raises:
        KeyFileRefused: a key file is there already, or no one could reach the node at the URL.
        SignerFailed: the program that holds the signing key does not sign.
    """
    _require_reachable(url)
    require_no_keys(folder)
    hpke, secret = PrivateKey.generate(), coincurve.PrivateKey().secret
    signer: NodeSigner = external or Signer(secret)
    member = Member(signer=signer.address, hpke_public_key=HexBytes(hpke.public.raw), url=url)
    signature = signer.sign_text(member_text(epoch, member))  # before any file: a program that is away leaves none
    record = NodeRecord(epoch=epoch, member=member, signature=signature, journal=Bytes32(secrets.token_bytes(32)))
    log_n = LIGHT_LOG_N if light else _SCRYPT_LOG_N
    with _all_or_none(folder) as made:
        paths = KeyPaths.in_folder(folder)
        if external is not None:
            write_private(paths.signer, msgspec.json.encode(external.file))
        else:
            _write_signer(paths.signer, secret, passphrase, log_n)
        made.append(paths.signer)
        about = {"node": str(signer.address), "epoch": str(epoch)}
        key = hpke.secret_bytes()
        write_key_file(paths.hpke, KeyKind.NODE_KEY, key, about=about, passphrase=passphrase, log_n=log_n)
        made.append(paths.hpke)
        write_private(paths.node, record.canonical())
    return record


@contextmanager
def _all_or_none(folder: Path) -> Iterator[list[Path]]:
    """A folder of mode 0700 for files that are noted once each is on disk, so that none is another process's.

    Where the block fails they go, and the folder with them if it is new.
    """
    new, made = not folder.exists(), list[Path]()
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        yield made
    except BaseException:
        for path in made:
            path.unlink(missing_ok=True)
        if new:
            with suppress(OSError):
                folder.rmdir()
        raise


def require_next_signer(signer: Path, present: NodeRecord, external: RemoteSigner | None) -> None:
    """Refuse another epoch's keys that move the signing key out of its program unasked, or take the present one again.

    ``signer``: the file of the present signing key.

    Raises:
        KeyFileRefused: another program holds the present key and no other account of it is named; or the file is
            absent, so that it does not say who holds the key.
    """
    if external is not None and external.address == present.member.signer:
        raise KeyFileRefused(
            f"{external.address} signs for epoch {present.epoch}", remedy="make another account in the signer"
        )
    if external is None and not signer.exists():
        raise KeyFileRefused(
            f"{signer} is absent, so it does not say who holds the signing key of epoch {present.epoch}",
            remedy="name the present node's TOML file, which says where signer_key is: --config; or --signer",
        )
    if external is None and (held := signer_of(read(signer))) is not None:
        raise KeyFileRefused(
            f"the signing key of {signer} is in another program, {held!r}",
            remedy="name the account that it has for the next epoch: --signer URL --signer-address 0x…;"
            f" or `sealmarket oracle init --epoch {present.epoch + 1}` keeps the next key in a keystore",
        )


def require_no_keys(folder: Path) -> None:
    """Refuse a folder that has keys already. Raises :class:`KeyFileRefused`."""
    for _, path in KeyPaths.in_folder(folder).key_files():
        if path.exists():
            raise KeyFileRefused(f"{path} exists", remedy="keep it: shares are sealed to it; or name another folder")


def _require_reachable(url: str) -> None:
    """The URL stands in every address book, and cannot be changed there."""
    if not is_reachable(url):
        raise KeyFileRefused(
            f"{url!r:.200} is no URL where others reach a node",
            remedy="name one with --url: https://oracle-1.example.org, or http and a port on this machine",
        )


def _write_signer(path: Path, secret: bytes, passphrase: str, log_n: int) -> None:
    from sealmarket.eth import Account

    keystore = dict(Account.encrypt(secret, normalised(passphrase), kdf="scrypt", iterations=1 << log_n))
    write_private(path, msgspec.json.encode(keystore))


def load_record(path: Path) -> NodeRecord:
    """Who a node is. Raises :class:`KeyFileRefused`."""
    try:
        return decode(NodeRecord, read(path))
    except MalformedDocument as error:
        raise KeyFileRefused(f"{path} does not say who the node is: {error}", remedy="restore it") from error


def keep_record(path: Path, record: NodeRecord) -> None:
    """Replace what a node's file says, at once."""
    replace_private(path, record.canonical())


def load_keys(paths: KeyPaths, record: NodeRecord, passphrase: str) -> NodeKeys:
    """Read both keys, and hold them against who the node is.

    Raises:
        KeyFileRefused: a file is absent, open to others, no keystore, under another passphrase, or another node's.
        SignerFailed: the signer that it names cannot be used.
    """
    signer = _signer(paths.signer, passphrase)
    try:
        secret, about = read_key_file(paths.hpke, KeyKind.NODE_KEY, passphrase=passphrase)
        keys = NodeKeys(signer, PrivateKey(secret))
    except KeyFileError as error:
        raise KeyFileRefused(error.message, remedy=error.remedy) from error
    except OSError as error:
        raise KeyFileRefused(f"{paths.hpke} cannot be read: {error.strerror}", remedy="restore it") from error
    except InvalidHpkeKey:
        raise KeyFileRefused(f"{paths.hpke} holds no HPKE key", remedy="restore it from its backup") from None
    _require_own(paths, record, keys, about)
    return keys


def _require_own(paths: KeyPaths, record: NodeRecord, keys: NodeKeys, about: dict[str, str]) -> None:
    own = (
        (paths.signer, "account", record.member.signer, keys.signer.address),
        (paths.hpke, "HPKE key", record.member.hpke_public_key, HexBytes(keys.hpke.public.raw)),
        (paths.hpke, "epoch", str(record.epoch), about.get("epoch")),
        (paths.hpke, "node", str(record.member.signer), about.get("node")),
    )
    for path, what, expected, found in own:
        if expected != found:
            raise KeyFileRefused(
                f"{path} is of another node: {what} {found!s:.80}, expected {expected!s:.80}",
                remedy="keep the three files of one node in one epoch together",
            )


def _signer(path: Path, passphrase: str) -> NodeSigner:
    raw = read(path)
    if (external := signer_of(raw)) is not None:
        return external
    if (secret := unlocked(raw, passphrase)) is not None:
        return Signer(secret)
    raise KeyFileRefused(
        f"{path} holds no signing key, or the passphrase is another",
        remedy="give the passphrase under which `sealmarket oracle init` made it",
    )
