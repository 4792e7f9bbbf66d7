"""What an owner does: seal, publish, tighten, revoke, collect. No server has to be kept running for any of it.

Sealing is local and can be looked at before anything is published. It makes one folder
(:mod:`sealmarket.client.sealed_asset`).
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Self

import msgspec

from sealmarket.chain import IN_MEMORY, Block, Chain, Mined, Sending
from sealmarket.client.approvals import Allowed, pairs_in_force
from sealmarket.client.assets import asset_state
from sealmarket.client.committee import current_committee
from sealmarket.client.content import hold_content, steps_to_store
from sealmarket.client.draft import PolicyDraft, policy_document
from sealmarket.client.draft_file import load_draft
from sealmarket.client.errors import (
    AlreadyPublished,
    CommitteeEnding,
    OtherSealing,
    SealedFolderExists,
    UnknownAsset,
)
from sealmarket.client.market import Connected, Market
from sealmarket.client.party import Party
from sealmarket.client.progress import OnProgress, quiet, step
from sealmarket.client.rewrapping import UNCHANGED, Changes, next_policy
from sealmarket.client.rules import rules_of
from sealmarket.client.sealed_asset import CARD, CONTAINER, KEY, READER, SealedAsset, SealedSummary, link, write_folder
from sealmarket.client.signing import Signer
from sealmarket.client.unmeetable import require_meetable
from sealmarket.client.windows import terms_hold
from sealmarket.files import read_file
from sealmarket.market_api.client import MarketApi
from sealmarket.protocol.book import Committee
from sealmarket.protocol.orders import AssetOrder, asset_id
from sealmarket.protocol.salts import Generations, new_salt
from sealmarket.protocol.wire import SignedAssetOrder
from sealmarket.sealing import shares
from sealmarket.sealing.keyfile import KeyFileMalformed, KeyKind, read_key_file, write_key_file
from sealmarket.sealing.spool import Data, opened
from sealmarket.store.blobs import Store
from sealmarket_enclave.protocol.codec import (
    ZERO_ADDRESS,
    ZERO_HASH,
    Address,
    Bytes32,
    Wei,
    canonical_json,
)
from sealmarket_enclave.protocol.hashing import keccak
from sealmarket_enclave.protocol.numbers import AssetId
from sealmarket_enclave.protocol.policy import PolicyDocument
from sealmarket_enclave.protocol.steps import MAXIMUM_STEP
from sealmarket_enclave.protocol.terms import Seal
from sealmarket_enclave.sealed.container import seal
from sealmarket_enclave.sealed.errors import WrongKey
from sealmarket_enclave.sealed.hpke import PublicKey
from sealmarket_enclave.sealed.shares import ShareSet
from sealmarket_enclave.workload.bundle import pack, unpack


class Owner(Connected):
    """One owner's account on one market."""

    def __init__(
        self,
        chain: Chain,
        account: Signer,
        store: Store,
        api: MarketApi,
        *,
        development: bool = False,
        sending: Sending = IN_MEMORY,
    ) -> None:
        """``development``: the caller has started this chain, so its well-known keys may be used.

        ``sending``: where transactions are remembered, and the most that is paid for gas.
        """
        self._chain = chain
        self._store, self._api = store, api
        self._party = Party(chain, account, development=development, sending=sending)

    @classmethod
    def at(cls, market: Market, account: Signer, *, development: bool = False, sending: Sending = IN_MEMORY) -> Self:
        """As :meth:`Connected.at`."""
        return cls(market.chain, account, market.store, market.api, development=development, sending=sending)

    @property
    def address(self) -> Address:
        """The owner's account."""
        return self._party.address

    # --- seal and publish -------------------------------------------------------------------------------------

    def seal_and_publish(
        self,
        source: Data,
        draft: PolicyDraft | Path,
        folder: Path,
        *,
        passphrase: str | None = None,
        confirm_unencrypted_key: bool = False,
        successor_of: SealedAsset | None = None,
        steps: Sequence[Path] = (),
        on_progress: OnProgress = quiet,
    ) -> SealedAsset:
        """Encrypt data at home and put its terms on chain: :meth:`seal` with these arguments, then :meth:`publish`.

        ``draft`` may be the file of one. A call that was interrupted after sealing goes on with
        ``publish(SealedAsset.load(folder))``.

        Raises:
            DraftRefused: the file holds no policy draft.
            Whatever :meth:`seal` and :meth:`publish` raise.
        """
        wanted = load_draft(draft) if isinstance(draft, Path) else draft
        with step(on_progress, "seal", f"encrypting, and sealing key shares into {folder}") as now:
            sealed = self.seal(
                source,
                wanted,
                folder,
                passphrase=passphrase,
                confirm_unencrypted_key=confirm_unencrypted_key,
                successor_of=successor_of,
            )
            now.found(asset=sealed.asset_id, version=sealed.version)
        with step(on_progress, "publish", "uploading ciphertext, shares and policy, and publishing the terms") as now:
            mined = self.publish(sealed, steps=steps)
            now.found(block=mined.block.number, transaction=mined.transaction)
        return sealed

    def seal(
        self,
        source: Data,
        draft: PolicyDraft,
        folder: Path,
        *,
        committee: Committee | None = None,
        epoch: int | None = None,
        passphrase: str | None = None,
        confirm_unencrypted_key: bool = False,
        successor_of: SealedAsset | None = None,
        now: int | None = None,
        reader: Path | None = None,
    ) -> SealedAsset:
        """Encrypt data under a new key, deal the key to the committee, and write all of it to a new folder.

        Args:
            source: a file, bytes, or an open file; a pipe is read once, and waits encrypted beside ``folder``.
            committee: None takes that of ``epoch`` from the address book, by default the newest, held against the
                chain.
            passphrase: for the key's backup file; without one ``confirm_unencrypted_key`` must be said.
            successor_of: make the next version of this asset instead of a new one.
            now: seconds since 1970 by which terms are over; None takes the chain's clock.
            reader: the folder of the reader that the data card names; None for one that comes with Sealmarket.

        Raises:
            CardRefused, MalformedDocument: a data card with a version that breaks a rule of cards.
            ContentUnfit: the data is not what the card promises, with the column named.
            StepUnknown, ReaderFailed: the card's reader is not here, or gives no report.
            PolicyUnmeetable, PolicyMismatch, InvalidRules: a draft that could never be met.
            CommitteeMismatch: the address book's oracle nodes are not the chain's.
            CommitteeEnding: the end of the committee's epoch is announced.
            KeyFileUnconfirmed: neither a passphrase nor a confirmation.
            SealedFolderExists: the folder is there already.
        """
        book = self._chain.book
        if folder.exists():
            raise SealedFolderExists(folder)
        require_meetable(draft, self._now() if now is None else now, book.timing)
        committee = committee or current_committee(self._chain, epoch)
        salt = successor_of.summary.salt if successor_of else Bytes32(secrets.token_bytes(32))
        version = successor_of.version + 1 if successor_of else 1
        asset = asset_id(book.chain_id, book.registry, self.address, salt)
        card = canonical_json(draft.data_card)
        policy = policy_document(draft, asset, version, committee, keccak(card), terms_hold(book.timing))
        folder.parent.mkdir(parents=True, exist_ok=True)
        with opened(source, folder.parent) as file:
            held = hold_content(source if isinstance(source, bytes) else file, card, reader)
            folder.mkdir(mode=0o700)
            key = shares.generate_key()
            # The backup comes first: no ciphertext without a key that its owner still has.
            about = {"asset": str(asset), "version": str(version), "chain": str(book.chain_id)}
            kind, plain = KeyKind.DATA_KEY, confirm_unencrypted_key
            write_key_file(folder / KEY, kind, key, about=about, passphrase=passphrase, confirm_unencrypted=plain)
            with (folder / CONTAINER).open("xb", buffering=0) as sink:
                made = seal(file, sink, key, asset_id=asset, asset_version=version)
        share_set, sealed = self._deal(key, made.content_root, policy, committee)
        roots = Seal(
            content_root=made.content_root,
            content_version=version,
            share_root=share_set.root,
            policy_hash=policy.digest(),
            epoch=committee.epoch,
        )
        summary = self._summary(salt, policy, roots, made.container_length)
        write_folder(folder, policy, card, share_set, sealed, summary)
        if held is not None:
            (folder / READER).write_bytes(pack(held))
        return SealedAsset(folder, summary, policy, share_set)

    def _summary(self, salt: Bytes32, policy: PolicyDocument, roots: Seal, container_length: int) -> SealedSummary:
        return SealedSummary(
            chain_id=self._chain.book.chain_id,
            registry=self._chain.book.registry,
            creator=self.address,
            salt=salt,
            asset_id=policy.asset_id,
            asset_version=policy.asset_version,
            seal=roots,
            container_length=container_length,
        )

    def _deal(
        self, key: bytes, content_root: Bytes32, policy: PolicyDocument, committee: Committee
    ) -> tuple[ShareSet, tuple[bytes, ...]]:
        """Split the key among the committee; each share is bound to the market, the content and the policy."""
        dealing = shares.Dealing(
            chain_id=self._chain.book.chain_id,
            registry=self._chain.book.registry,
            asset_id=policy.asset_id,
            asset_version=policy.asset_version,
            content_root=content_root,
            policy_hash=policy.digest(),
            epoch=committee.epoch,
        )
        nodes = [(member.signer, PublicKey(member.hpke_public_key)) for member in committee.members]
        return shares.deal(key, committee.threshold, nodes, dealing)

    def publish(
        self, sealed: SealedAsset, *, location: str = "", now: int | None = None, steps: Sequence[Path] = ()
    ) -> Mined:
        """Upload container, shares, policy and steps, then record the version on chain. ``now`` as for :meth:`seal`.

        ``steps``: folders of validators or a meter that the policy names, not of Sealmarket's and not in the store.

        Raises:
            AlreadyPublished, PolicyUnmeetable, CommitteeEnding, MarketNotVerified: nothing was uploaded.
            StepUnknown, StepTooLarge: a validator that is not here, or larger than an enclave takes.
            ServiceUnavailable, ServiceRefused: nothing is on chain then.
            Reverted: the registry refused it.
        """
        self._party.require_market()
        self._require_publishable(sealed, now)
        for bundle in steps_to_store(sealed.policy, self._store, steps):
            self._store.put_workload(bundle)
        self.upload(sealed)
        registry, version = self._chain.registry, sealed.version
        place = location or self._store.url
        if version == 1:
            call = registry.publish(sealed.summary.salt, sealed.seal, sealed.terms, place)
        else:
            call = registry.add_version(sealed.asset_id, version, sealed.seal, sealed.terms, place)
        return self._party.give(call)

    def _require_publishable(self, sealed: SealedAsset, now: int | None) -> None:
        head = self._chain.head()
        require_meetable(sealed.policy, head.timestamp if now is None else now, self._chain.book.timing)
        self._require_absent(head, sealed.asset_id, sealed.version)
        if ends_at := self._chain.at(head).epoch_end(sealed.seal.epoch):
            remedy = "deal the key to the committee that follows: sealmarket owner rewrap FOLDER --out NEXT"
            raise CommitteeEnding(sealed.seal.epoch, ends_at, remedy)

    def _require_absent(self, head: Block, asset_id: AssetId, version: int) -> None:
        with suppress(UnknownAsset):
            asset_state(self._chain, head, asset_id, version)
            raise AlreadyPublished(asset_id, version)

    def _now(self) -> int:
        return self._chain.head().timestamp

    def upload(self, sealed: SealedAsset) -> None:
        """Put a sealed version into the store, or back into one that lost it."""
        self._store.put_document(read_file(sealed.folder / CARD))
        if (sealed.folder / READER).is_file():
            self._store.put_workload(unpack(read_file(sealed.folder / READER, MAXIMUM_STEP)))
        self._store.put_document(sealed.policy.canonical())
        for index in range(1, len(sealed.share_set.members) + 1):
            self._store.put_document(read_file(sealed.folder / f"share-{index}.bin"))
        self._store.put_document(sealed.share_set.canonical())
        earlier = sealed.seal.content_version < sealed.version
        if not (earlier and self._store.has("containers", sealed.seal.content_root)):
            self._store.put_container(sealed.seal.content_root, sealed.container)

    def rewrap(
        self,
        sealed: SealedAsset,
        folder: Path,
        changes: Changes = UNCHANGED,
        *,
        epoch: int | None = None,
        passphrase: str | None = None,
    ) -> SealedAsset:
        """The same ciphertext under the next version: its key, dealt anew to the newest committee; in a new folder.

        What ``changes`` does not name is as it is in force, with the uses that are left. ``epoch`` names another
        committee of the address book than the newest. :meth:`publish` it then.

        Raises:
            SealedFolderExists, UnknownAsset, PolicyMismatch, PolicyUnmeetable, InvalidRules.
            AlreadyPublished: there is a next version; nothing was written.
            ListUnknown: the list of allowed pairs in force is in no store.
            CommitteeMismatch: the address book's oracle nodes are not the chain's.
            CommitteeEnding: the end of the committee's epoch is announced.
            OtherSealing: the folder is not of the sealing that was published as this version.
            KeyFileError: the data key cannot be read, or is another sealing's.
        """
        if folder.exists():
            raise SealedFolderExists(folder)
        head = self._chain.head()
        state = asset_state(self._chain, head, sealed.asset_id, sealed.version)
        if sealed.seal.hash() != state.seal_hash:
            raise OtherSealing(sealed.folder, state.seal_hash, sealed.seal.hash())
        allowed = Allowed(sealed.policy, state, pairs_in_force(self._store, sealed.policy, state.terms.allow_root))
        committee = current_committee(self._chain, epoch)
        policy = next_policy(allowed, changes, committee)
        require_meetable(policy, head.timestamp, self._chain.book.timing)
        self._require_absent(head, sealed.asset_id, policy.asset_version)
        key, about = _key_of(sealed, passphrase)
        share_set, dealt = self._deal(key, sealed.seal.content_root, policy, committee)
        roots = msgspec.structs.replace(
            sealed.seal, share_root=share_set.root, policy_hash=policy.digest(), epoch=committee.epoch
        )
        summary = self._summary(sealed.summary.salt, policy, roots, sealed.summary.container_length)
        folder.mkdir(parents=True, mode=0o700)
        about = about | {"version": str(policy.asset_version)}
        plain = passphrase is None
        write_key_file(
            folder / KEY, KeyKind.DATA_KEY, key, about=about, passphrase=passphrase, confirm_unencrypted=plain
        )
        link(sealed.container, folder / CONTAINER)
        if (sealed.folder / READER).is_file():
            link(sealed.folder / READER, folder / READER)
        write_folder(folder, policy, read_file(sealed.folder / CARD), share_set, dealt, summary)
        return SealedAsset(folder, summary, policy, share_set)

    # --- terms ------------------------------------------------------------------------------------------------

    def tighten(self, /, asset: AssetId, version: int, **changes: object) -> Mined:
        """Change terms of a version in force: higher price, earlier expiry, fewer uses or purposes, and the like.

        Keywords are the fields of :class:`Terms`. Raises :class:`UnknownAsset`, and :class:`Reverted` for a change that
        would loosen.
        """
        self._party.require_market()
        present = asset_state(self._chain, self._chain.head(), asset, version).terms
        return self._party.give(
            self._chain.registry.tighten(asset, version, msgspec.structs.replace(present, **changes))
        )

    def replace_allow_list(self, asset: AssetId, version: int, leaves: Iterable[Bytes32]) -> Mined:
        """Put another list of allowed pairs into force; with what the policy allows, never more.

        ``leaves`` are :func:`~sealmarket.protocol.merkle.allowed_leaf`; any number stands behind one root on chain.
        """
        self._party.require_market()
        root = self._store.put_list(leaves)
        return self._party.give(self._chain.registry.replace_allow_list(asset, version, root))

    def revoke(self, asset: AssetId, version: int) -> Mined:
        """Stop every later match, acceptance and release of a version, for good. Raises :class:`UnknownAsset`."""
        asset_state(self._chain, self._chain.head(), asset, version)
        return self._party.take(self._chain.registry.revoke(asset, version))

    def lift_price(self, asset: AssetId, version: int) -> Wei:
        """What lifting the suspension of a version costs, from the free balance: a quorum's fees, which are burned."""
        state = asset_state(self._chain, self._chain.head(), asset, version)
        rules = rules_of(self._chain)
        committee, fee = rules.committees.get(state.epoch), rules.fee_of(state.terms.token)
        return Wei(fee * committee.refusal_threshold if committee and fee else 0)

    def lift(self, asset: AssetId, version: int) -> Mined:
        """Pay for new matches of a suspended version. Raises :class:`Reverted` for one that is not suspended."""
        return self._party.give(self._chain.market.lift_suspension(asset, version))

    def offer(
        self,
        asset: AssetId,
        version: int,
        *,
        price: Wei,
        volume: int,
        expiry: int,
        consumers: Bytes32 = ZERO_HASH,
        providers: Bytes32 = ZERO_HASH,
    ) -> AssetOrder:
        """Offer a version at another price than the standing one; signed, free, and in the book at once."""
        self._party.require_market()
        view = self._chain.at(self._chain.head())
        token = asset_state(self._chain, view.block, asset, version).terms.token
        order = AssetOrder(
            asset_id=asset,
            version=version,
            price=price,
            volume=volume,
            expiry=expiry,
            consumers=consumers,
            providers=providers,
            salt=new_salt(Generations(view.account(token, self.address).generation)),
        )
        self._api.orders.post_asset_order(SignedAssetOrder(order=order, signature=self._party.sign(order)))
        return order

    # --- money ------------------------------------------------------------------------------------------------

    def earnings(self, token: Address = ZERO_ADDRESS) -> Wei:
        """What the owner may withdraw now."""
        return self._chain.at(self._chain.head()).account(token, self.address).free

    def withdraw(self, token: Address = ZERO_ADDRESS, amount: Wei | None = None, to: Address | None = None) -> Mined:
        """Take earnings out; all of them unless an amount is named."""
        return self._party.take(
            self._chain.market.withdraw(token, self.earnings(token) if amount is None else amount, to or self.address)
        )


def _key_of(sealed: SealedAsset, passphrase: str | None) -> tuple[bytes, dict[str, str]]:
    """The data key of a sealing and the notes beside it. Raises :class:`KeyFileError`."""
    path = sealed.folder / KEY
    key, about = read_key_file(path, KeyKind.DATA_KEY, passphrase=passphrase)
    try:
        sealed.share_set.commitments.check_key(key)
    except WrongKey:
        raise KeyFileMalformed(path, "it holds another key", "the sealing in its folder") from None
    return key, about
