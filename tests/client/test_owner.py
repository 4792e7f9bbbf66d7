"""Sealing: what an owner is kept from doing wrong, and what is noticed when somebody else changes it."""

from __future__ import annotations

from dataclasses import replace as change
from pathlib import Path
from typing import Any

import pytest
from eth_account import Account
from msgspec.structs import replace

from scripts.toolchain import ROOT
from sealmarket.attestation.core.errors import InvalidRules
from sealmarket.attestation.policy.rules import AppraisalPolicy
from sealmarket.chain.committees import members_hash
from sealmarket.chain.interface import ProvableView
from sealmarket.chain.memory import MemoryChain
from sealmarket.chain.model import Block
from sealmarket.client import DraftTerms, Owner, PolicyDraft, SealedAsset
from sealmarket.client.assets import asset_state
from sealmarket.client.committee import current_committee
from sealmarket.client.draft import policy_document
from sealmarket.client.errors import (
    CommitteeEnding,
    CommitteeMismatch,
    PolicyMismatch,
    PolicyUnmeetable,
    SealedFolderExists,
    UnknownAsset,
)
from sealmarket.client.rewrapping import Changes
from sealmarket.client.sealed_asset import READER
from sealmarket.client.windows import terms_hold
from sealmarket.market_api.memory import MemoryBackend
from sealmarket.protocol.book import AddressBook, Committee, FinalityRule, Member
from sealmarket.protocol.limits import MAXIMUM_PAIRS, MAXIMUM_POLICY
from sealmarket.protocol.orders import asset_id
from sealmarket.sealing.keyfile import KeyFileUnconfirmed, KeyKind, read_key_file
from sealmarket.sealing.shares import open_share
from sealmarket.workloads.errors import ContentUnfit
from sealmarket.workloads.folders import read_bundle
from sealmarket.workloads.wheels import build
from sealmarket_enclave.protocol.card import Card, Column, ReaderRef
from sealmarket_enclave.protocol.codec import ZERO_HASH, Address, Bytes32, HexBytes, Wei, to_builtins
from sealmarket_enclave.protocol.errors import MalformedDocument, SealmarketError
from sealmarket_enclave.protocol.hashing import keccak
from sealmarket_enclave.protocol.numbers import AssetId
from sealmarket_enclave.protocol.policy import OutputRules
from sealmarket_enclave.sealed.container import ContainerReader
from sealmarket_enclave.sealed.errors import RootMismatch, ShareRootMismatch
from sealmarket_enclave.sealed.hpke import PrivateKey
from sealmarket_enclave.sealed.shares import join
from sealmarket_enclave.workload.bundle import unpack
from tests.client.bundles import MEASUREMENT, WORKLOAD
from tests.samples import TIMING

NODES = [PrivateKey.generate() for _ in range(3)]
COMMITTEE = Committee(
    epoch=1,
    threshold=2,
    members=tuple(
        Member(signer=Address(bytes([n + 1]) * 20), hpke_public_key=HexBytes(k.public.raw), url="http://node")
        for n, k in enumerate(NODES)
    ),
)
BOOK = AddressBook(
    chain_id=31337,
    registry=Address(b"\x01" * 20),
    committee=Address(b"\x02" * 20),
    market=Address(b"\x03" * 20),
    endings=Address(b"\xe1" * 20),
    extension=Address(b"\xe2" * 20),
    sessions=Address(b"\xe3" * 20),
    deployed_at=0,
    deployed_hash=keccak(b"twin 0"),
    finality=FinalityRule(kind="depth", depth=1),
    timing=TIMING,
    store="http://store",
    backend="http://store",
    committees=(COMMITTEE,),
)
DATA = b"a,b\n1,2\n" * 50


def draft(**changes: Any) -> PolicyDraft:
    rules = AppraisalPolicy(measurements=(MEASUREMENT,), platforms="any", lowest_grade="simulated")
    base = PolicyDraft(
        title="rows",
        evidence=to_builtins(rules),
        workloads=(WORKLOAD,),
        terms=DraftTerms(price=Wei(10), expiry=2_000_000_000, max_uses=5, purposes=("train",), min_grade="simulated"),
        output=OutputRules(media_types=("application/json",), max_outputs=1, max_bytes=1 << 20, bucket_bytes=4096),
        data_card={"columns": ["a", "b"]},
    )
    return replace(base, **changes)


class _Rpc:
    url = "http://127.0.0.1:9"


@pytest.fixture
def chain() -> MemoryChain:
    twin = MemoryChain(BOOK)
    twin.set_committee(1, members_hash(COMMITTEE))
    twin.mine(2)
    twin.rpc = _Rpc()  # type: ignore[attr-defined]
    return twin


@pytest.fixture
def owner(chain: MemoryChain) -> Owner:
    backend = MemoryBackend()
    return Owner(chain, Account.create(), backend.store(), backend.api())  # type: ignore[arg-type]


@pytest.fixture
def sealed(owner: Owner, tmp_path: Path) -> SealedAsset:
    return owner.seal(DATA, draft(), tmp_path / "sealed", confirm_unencrypted_key=True)


def test_keys_are_dealt_to_no_book_without_oracle_nodes(chain: MemoryChain) -> None:
    chain.book = replace(BOOK, committees=())
    with pytest.raises(CommitteeMismatch):
        current_committee(chain)


def test_a_key_is_not_dealt_to_nodes_that_the_chain_does_not_know(chain: MemoryChain) -> None:
    stranger = Member(signer=Address(b"\x09" * 20), hpke_public_key=HexBytes(b"key"), url="http://evil")
    chain.book = replace(BOOK, committees=(replace(COMMITTEE, members=(stranger, *COMMITTEE.members[1:])),))
    with pytest.raises(CommitteeMismatch, match="do not deal keys"):
        current_committee(chain)


def test_a_key_is_not_dealt_to_a_committee_that_was_never_announced(chain: MemoryChain) -> None:
    chain.book = replace(BOOK, committees=(replace(COMMITTEE, epoch=2),))
    with pytest.raises(CommitteeMismatch):
        current_committee(chain)


def test_a_key_is_not_dealt_to_a_committee_whose_end_is_announced(chain: MemoryChain) -> None:
    chain.end_epoch(COMMITTEE.epoch, 2_000_000_000)
    with pytest.raises(CommitteeEnding, match=r"epoch 1.*ends at 2033.*get the address book .* again"):
        current_committee(chain)


def test_what_was_sealed_for_a_committee_that_ends_is_not_published(
    owner: Owner, sealed: SealedAsset, chain: MemoryChain
) -> None:
    chain.end_epoch(COMMITTEE.epoch, 2_000_000_000)
    with pytest.raises(CommitteeEnding, match=r"committee of epoch 1 ends at 2033.*sealmarket owner rewrap"):
        owner.publish(sealed)


def test_a_key_is_dealt_to_an_older_committee_only_where_its_epoch_is_named(chain: MemoryChain, owner: Owner) -> None:
    """Its nodes were followed by others, perhaps for a reason; and an end could be a single endpoint's lie."""
    announced_by_mistake = replace(COMMITTEE, epoch=2)
    chain.book = replace(BOOK, committees=(announced_by_mistake, COMMITTEE))
    chain.end_epoch(2, 2_000_000_000)
    with pytest.raises(CommitteeEnding, match=r"epoch 2 ends at .*address book .* again.*epochs \(1\) with --epoch"):
        current_committee(chain)
    assert current_committee(chain, COMMITTEE.epoch).epoch == COMMITTEE.epoch
    with pytest.raises(CommitteeMismatch, match="epoch 3"):
        current_committee(chain, 3)


def test_the_end_and_the_members_of_a_committee_are_read_as_the_reader_trusts_endpoints(
    chain: MemoryChain, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = list[str]()
    trusted = chain.trusted

    def noted(block: Block) -> ProvableView:
        read.append("trusted")
        return trusted(block)

    monkeypatch.setattr(chain, "trusted", noted)
    assert current_committee(chain) == COMMITTEE
    assert read == ["trusted"]


def test_nothing_is_sealed_without_a_key_that_its_owner_keeps(owner: Owner, tmp_path: Path) -> None:
    with pytest.raises(KeyFileUnconfirmed):
        owner.seal(DATA, draft(), tmp_path / "sealed")
    assert not (tmp_path / "sealed/container.sealed").exists()


def test_a_folder_that_is_there_is_never_written_over(owner: Owner, sealed: SealedAsset) -> None:
    with pytest.raises(SealedFolderExists):
        owner.seal(DATA, draft(), sealed.folder, confirm_unencrypted_key=True)


BAD: list[tuple[str, dict[str, Any]]] = [
    ("no measurement", {"evidence": {"measurements": [], "platforms": "any"}}),
    ("platforms left unsaid", {"evidence": {k: v for k, v in draft().evidence.items() if k != "platforms"}}),
    ("an unknown rule", {"evidence": draft().evidence | {"debug": True}}),
    ("grades that differ", {"terms": replace(draft().terms, min_grade="hardware")}),
]


@pytest.mark.parametrize("changes", [entry[1] for entry in BAD], ids=[entry[0] for entry in BAD])
def test_a_draft_that_could_never_hold_is_refused_before_anything_is_written(
    owner: Owner, tmp_path: Path, changes: dict[str, Any]
) -> None:
    with pytest.raises((InvalidRules, MalformedDocument, PolicyUnmeetable)):
        owner.seal(DATA, draft(**changes), tmp_path / "sealed", confirm_unencrypted_key=True)
    assert not (tmp_path / "sealed").exists()


@pytest.mark.parametrize(
    ("file", "error"),
    [
        ("container.sealed", RootMismatch),
        ("policy.json", SealmarketError),
        ("shares.json", ShareRootMismatch),
        ("asset.json", SealmarketError),
    ],
)
def test_a_file_that_was_changed_is_noticed_before_it_is_published(
    sealed: SealedAsset, file: str, error: type[SealmarketError]
) -> None:
    path = sealed.folder / file
    raw = bytearray(path.read_bytes())
    raw[-10] ^= 1
    path.write_bytes(raw)
    with pytest.raises(error):
        SealedAsset.load(sealed.folder)


def test_plaintext_and_key_are_in_no_file_but_the_key_file(sealed: SealedAsset) -> None:
    key, _ = read_key_file(sealed.folder / "data.key", KeyKind.DATA_KEY)
    for path in sealed.folder.iterdir():
        raw = path.read_bytes()
        assert b"1,2\n1,2" not in raw, path.name
        if path.name != "data.key":
            assert key not in raw, path.name
            assert key.hex().encode() not in raw, path.name


def test_what_was_sealed_opens_with_the_shares_of_enough_nodes(owner: Owner, sealed: SealedAsset) -> None:
    again = SealedAsset.load(sealed.folder)
    opened = [
        open_share(NODES[i], again.share_set, i + 1, (sealed.folder / f"share-{i + 1}.bin").read_bytes())
        for i in (0, 2)
    ]
    key = join(opened, again.share_set.commitments)
    with again.container.open("rb") as file:
        assert b"".join(ContainerReader(file, again.seal.content_root).open_chunks(key)) == DATA
    assert again.asset_id == asset_id(BOOK.chain_id, BOOK.registry, owner.address, again.summary.salt)


def test_a_policy_that_no_node_would_read_is_refused_before_anything_is_sealed() -> None:
    workloads = tuple(Bytes32(n.to_bytes(32, "big")) for n in range(MAXIMUM_PAIRS + 1))
    with pytest.raises(PolicyMismatch, match=f"at most {MAXIMUM_PAIRS}"):
        policy_document(draft(workloads=workloads), AssetId(ZERO_HASH), 1, COMMITTEE, ZERO_HASH, 86_400)
    with pytest.raises(PolicyMismatch, match=f"at most {MAXIMUM_POLICY}"):
        policy_document(draft(title="x" * MAXIMUM_POLICY), AssetId(ZERO_HASH), 1, COMMITTEE, ZERO_HASH, 86_400)


def test_the_terms_allow_exactly_the_pairs_of_the_policy(sealed: SealedAsset) -> None:
    document = policy_document(draft(), AssetId(ZERO_HASH), 1, COMMITTEE, ZERO_HASH, 86_400)
    assert sealed.terms.allow_root == document.terms.allow_root
    more = policy_document(
        draft(workloads=(WORKLOAD, Bytes32(keccak(b"x")))), AssetId(ZERO_HASH), 1, COMMITTEE, ZERO_HASH, 86_400
    )
    assert more.terms.allow_root != document.terms.allow_root


def test_a_successor_keeps_the_asset_and_has_a_key_of_its_own(
    owner: Owner, sealed: SealedAsset, tmp_path: Path
) -> None:
    second = owner.seal(DATA, draft(), tmp_path / "second", confirm_unencrypted_key=True, successor_of=sealed)
    assert (second.asset_id, second.version) == (sealed.asset_id, 2)
    keys = {read_key_file(s.folder / "data.key", KeyKind.DATA_KEY)[0] for s in (sealed, second)}
    assert len(keys) == 2


def test_terms_that_name_no_longest_hold_get_what_the_markets_times_make_sensible(
    owner: Owner, sealed: SealedAsset, tmp_path: Path
) -> None:
    assert sealed.terms.max_hold == terms_hold(BOOK.timing)
    named = replace(draft(), terms=replace(draft().terms, max_hold=4000))
    assert owner.seal(DATA, named, tmp_path / "named", confirm_unencrypted_key=True).terms.max_hold == 4000


def test_an_owners_own_keys_are_in_the_policy(owner: Owner, tmp_path: Path) -> None:
    notice = PrivateKey.generate().public.raw
    keys = replace(draft(), result_keys=(Bytes32(keccak(b"own key")),), notice_key=HexBytes(notice))
    policy = owner.seal(DATA, keys, tmp_path / "keys", confirm_unencrypted_key=True).policy
    assert (policy.result_keys, policy.notice_key) == ((keccak(b"own key"),), notice)


# --- the next version, for a workload that an owner approved ------------------------------------------------------


@pytest.fixture
def published(owner: Owner, sealed: SealedAsset, chain: MemoryChain) -> SealedAsset:
    chain.publish(sealed.asset_id, owner.address, sealed.seal, sealed.terms)
    return sealed


def test_a_version_of_an_asset_that_nobody_published_has_no_next(owner: Owner, sealed: SealedAsset) -> None:
    with pytest.raises(UnknownAsset):
        owner.rewrap(sealed, sealed.folder.parent / "next")
    assert not (sealed.folder.parent / "next").exists()


def test_a_version_whose_uses_are_taken_has_no_next(
    owner: Owner, published: SealedAsset, monkeypatch: pytest.MonkeyPatch
) -> None:
    used_up = change(asset_state(owner._chain, owner._chain.head(), published.asset_id, 1), uses_taken=5)
    monkeypatch.setattr("sealmarket.client.owner.asset_state", lambda *_: used_up)
    with pytest.raises(PolicyMismatch, match="number of uses left"):
        owner.rewrap(published, published.folder.parent / "next")


def test_the_next_version_holds_the_same_ciphertext_under_a_policy_with_the_workload(
    owner: Owner, published: SealedAsset, chain: MemoryChain
) -> None:
    """Its terms are those in force, so that what was tightened stays tight."""
    chain.tighten(published.asset_id, 1, replace(published.terms, price=Wei(77), max_uses=3))
    another = Bytes32(b"\x99" * 32)
    made = owner.rewrap(published, published.folder.parent / "next", Changes(workloads=(WORKLOAD, another)))
    assert SealedAsset.load(made.folder).policy.digest() == made.policy.digest()
    assert (made.version, made.seal.content_root, made.seal.content_version) == (2, published.seal.content_root, 1)
    assert made.policy.workloads == (WORKLOAD, another)
    assert (made.terms.price, made.terms.max_uses) == (77, 3)
    assert to_builtins(made.policy)["evidence"] == to_builtins(published.policy)["evidence"]
    dealt = [
        open_share(NODES[i], made.share_set, i + 1, (made.folder / f"share-{i + 1}.bin").read_bytes()) for i in (0, 2)
    ]
    key, about = read_key_file(made.folder / "data.key", KeyKind.DATA_KEY)
    assert (
        join(dealt, made.share_set.commitments)
        == key
        == read_key_file(published.folder / "data.key", KeyKind.DATA_KEY)[0]
    )
    assert about["version"] == "2"


@pytest.fixture
def reader(tmp_path: Path) -> Path:
    """A reader that takes what begins with `good`."""
    folder = tmp_path / "reader"
    (folder / "code").mkdir(parents=True)
    (folder / "workload.toml").write_text((ROOT / "sealmarket/readers/tables/workload.toml").read_text())
    (folder / "code/read.py").write_text(
        "def run(inputs, parameters):\n"
        "    if bytes(inputs['data'])[:4] == b'good':\n"
        '        return {"report.json": b\'{"fits": true, "code": null, "column": null, "rows": 1}\'}\n'
        '    return {"report.json": b\'{"fits": false, "code": "column_type", "column": "age", "rows": null}\'}\n'
    )
    (folder / "requirements.lock").write_bytes(b"")
    (folder / "environment.json").write_bytes(build(b"", []).canonical())
    return folder


def promising(made: PolicyDraft, digest: Bytes32) -> PolicyDraft:
    """The draft with a card that names this reader."""
    named = ReaderRef(name="own", digest=digest)
    card = Card(
        kind="table",
        media_type="application/jsonl",
        reader=named,
        columns=(Column(name="age", type="integer"),),
    )
    return replace(made, data_card=to_builtins(card))


def test_data_that_breaks_its_cards_promise_is_not_sealed(
    owner: Owner, reader: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SEALMARKET_HOME", str(tmp_path / "home"))
    promised = promising(draft(), read_bundle(reader).digest)
    with pytest.raises(ContentUnfit, match="column_type") as refusal:
        owner.seal(b"bad", promised, tmp_path / "sealed", confirm_unencrypted_key=True, reader=reader)
    assert refusal.value.column == "age"
    assert not (tmp_path / "sealed").exists()
    broken = replace(promised, data_card={"version": "sealmarket/card/1"})
    with pytest.raises(MalformedDocument):
        owner.seal(b"good", broken, tmp_path / "sealed", confirm_unencrypted_key=True, reader=reader)
    assert not (tmp_path / "sealed").exists()


def test_a_sealed_folder_holds_the_reader_for_the_store(
    owner: Owner, reader: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SEALMARKET_HOME", str(tmp_path / "home"))
    bundle = read_bundle(reader)
    promised = promising(draft(), bundle.digest)
    sealed = owner.seal(b"good", promised, tmp_path / "sealed", confirm_unencrypted_key=True, reader=reader)
    assert unpack((sealed.folder / READER).read_bytes()).digest == bundle.digest
