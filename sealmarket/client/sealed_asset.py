"""One sealed version of an asset: what its folder holds, and that it is of one sealing.

::

    asset.json        what was sealed and under which roots (:class:`SealedAsset`)
    container.sealed  the ciphertext
    policy.json       the policy document, canonical
    data-card.json    what workload authors may know of the data
    shares.json       the share set
    share-N.bin       the sealed share of member N
    data.key          the data key: the owner's only backup (mode 0600)
    reader.workload   the reader that the data card names, if it names one, for the store
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from sealmarket.client.errors import PolicyMismatch
from sealmarket.files import read_file
from sealmarket_enclave.protocol.codec import Address, Bytes32, Shape, decode, decode_canonical
from sealmarket_enclave.protocol.numbers import U32, AssetId
from sealmarket_enclave.protocol.policy import PolicyDocument
from sealmarket_enclave.protocol.terms import Seal, Terms
from sealmarket_enclave.sealed.container import ContainerReader
from sealmarket_enclave.sealed.shares import ShareSet

CONTAINER, POLICY, CARD, SHARES, SUMMARY, KEY, READER = (
    "container.sealed",
    "policy.json",
    "data-card.json",
    "shares.json",
    "asset.json",
    "data.key",
    "reader.workload",
)


class SealedSummary(Shape, frozen=True, kw_only=True):
    """What a sealing made, for its owner: nothing in it is secret."""

    version: Literal["sealmarket/sealed-asset/1"] = "sealmarket/sealed-asset/1"
    chain_id: int
    registry: Address
    creator: Address
    salt: Bytes32
    asset_id: AssetId
    asset_version: U32
    seal: Seal
    container_length: int


@dataclass(frozen=True, slots=True)
class SealedAsset:
    """One sealed version, as it lies in its folder."""

    folder: Path
    summary: SealedSummary
    policy: PolicyDocument
    share_set: ShareSet

    @property
    def asset_id(self) -> AssetId:
        """The asset's id."""
        return self.summary.asset_id

    @property
    def version(self) -> int:
        """The asset's version."""
        return self.summary.asset_version

    @property
    def seal(self) -> Seal:
        """The roots that go on chain."""
        return self.summary.seal

    @property
    def terms(self) -> Terms:
        """The terms that go on chain."""
        return self.policy.terms

    @property
    def container(self) -> Path:
        """The ciphertext."""
        return self.folder / CONTAINER

    @classmethod
    def load(cls, folder: Path) -> SealedAsset:
        """Read a folder back, and hold everything in it against its roots.

        Raises:
            MalformedDocument, PolicyMismatch, SealedError: a file was changed since, or is not of this sealing.
        """
        summary = decode(SealedSummary, read_file(folder / SUMMARY))
        policy_raw = read_file(folder / POLICY)
        policy = decode_canonical(PolicyDocument, policy_raw)
        if policy.digest() != summary.seal.policy_hash:
            raise PolicyMismatch("digest", summary.seal.policy_hash, policy.digest())
        share_set = ShareSet.load(read_file(folder / SHARES), summary.seal.share_root)
        with (folder / CONTAINER).open("rb") as file:
            reader = ContainerReader(file, summary.seal.content_root)
            reader.require_asset(summary.asset_id, summary.seal.content_version)
            reader.verify()
        return cls(folder, summary, policy, share_set)


def link(source: Path, target: Path) -> None:
    """The same ciphertext under a second name; a copy where the file system has no links."""
    try:
        target.hardlink_to(source)
    except OSError:
        shutil.copyfile(source, target)


def write_folder(
    folder: Path,
    policy: PolicyDocument,
    card: bytes,
    share_set: ShareSet,
    sealed: tuple[bytes, ...],
    summary: SealedSummary,
) -> None:
    """Write what is public of a sealing into its folder; ``sealed`` are the shares in the committee's order."""
    (folder / CARD).write_bytes(card)
    (folder / POLICY).write_bytes(policy.canonical())
    (folder / SHARES).write_bytes(share_set.canonical())
    for index, share in enumerate(sealed, 1):
        (folder / f"share-{index}.bin").write_bytes(share)
    (folder / SUMMARY).write_bytes(summary.canonical())
