"""Reading proposals: what a server, a store or a file sends counts if it is what was asked for, and nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from eth_account import Account
from msgspec.structs import replace

from sealmarket.chain.memory import MemoryChain
from sealmarket.client import Owner, SealedAsset
from sealmarket.client.answers import GivenAnswers, InspectedProposals
from sealmarket.client.party import Party
from sealmarket.client.proposals import (
    MAXIMUM_ARCHIVE,
    Inspected,
    ProposalFile,
    ProposalFileRefused,
    draft_proposal,
    inspect,
    inspect_file,
    post_proposal,
    proposal_file,
    read_samples,
    sign_answer,
    standings,
    write_proposal,
)
from sealmarket.market_api.memory import MemoryBackend
from sealmarket.protocol.proposals import MOST_SAMPLES, ProposalDetail, ProposalRefused, ProposedAsset, SignedAnswer
from sealmarket.service.errors import ContentMismatch, ItemNotFound
from sealmarket.workloads.folders import read_bundle
from sealmarket.workloads.wheels import build
from sealmarket_enclave.protocol.codec import HexBytes, canonical_json
from sealmarket_enclave.workload.bundle import Bundle, pack
from tests.client.test_owner import BOOK, chain, owner, sealed
from tests.enclave.workload.bundles import bundle as tree

__all__ = ["chain", "owner", "sealed"]
DETAIL = ProposalDetail(parameters={"target": "y"}, note="please")


@pytest.fixture
def source(tmp_path: Path) -> Bundle:
    made = tree(tmp_path / "workload")
    (made / "environment.json").write_bytes(build(b"", []).canonical())
    return read_bundle(made)


@pytest.fixture
def asset(chain: MemoryChain, owner: Owner, sealed: SealedAsset) -> ProposedAsset:
    chain.publish(sealed.asset_id, owner.address, sealed.seal, sealed.terms)
    return ProposedAsset(asset_id=sealed.asset_id, version=1)


@pytest.fixture
def consumer(chain: MemoryChain) -> Party:
    return Party(chain, Account.create())  # type: ignore[arg-type]


@pytest.fixture
def made(chain: MemoryChain, consumer: Party, source: Bundle, asset: ProposedAsset) -> ProposalFile:
    now = chain.head().timestamp
    proposal = draft_proposal(consumer.address, source, [asset], 1, DETAIL, now)
    return proposal_file(consumer, proposal, DETAIL, source, now)


def served(made: ProposalFile, sent: ProposalFile | None = None, source: bytes | None = None) -> MemoryBackend:
    """A server that answers for one proposal with another, and a store with some source."""
    backend, proposal = MemoryBackend(), made.signed.proposal
    backend.answers[f"proposals/{proposal.struct_hash()}"] = canonical_json((sent or made).signed)
    backend.blobs[f"workloads/{proposal.workload_digest}"] = bytes(made.archive) if source is None else source
    return backend


def read(made: ProposalFile, chain: MemoryChain, backend: MemoryBackend) -> Inspected:
    return inspect(made.signed.proposal.struct_hash(), chain, backend.store(), backend.api())


def test_a_server_that_sends_another_proposal_is_refused(chain: MemoryChain, made: ProposalFile) -> None:
    other = replace(made.signed.proposal, purpose=2)
    sent = ProposalFile(signed=replace(made.signed, proposal=other), archive=made.archive)
    with pytest.raises(ProposalRefused, match="the server sent proposal"):
        read(made, chain, served(made, sent))


def test_a_server_that_exchanges_detail_or_signature_is_refused(chain: MemoryChain, made: ProposalFile) -> None:
    note = ProposalFile(signed=replace(made.signed, detail=replace(DETAIL, note="fine")), archive=made.archive)
    with pytest.raises(ProposalRefused, match="expected the detail"):
        read(made, chain, served(made, note))
    unsigned = ProposalFile(signed=replace(made.signed, signature=HexBytes(bytes(65))), archive=made.archive)
    with pytest.raises(ProposalRefused, match="is not signed by"):
        read(made, chain, served(made, unsigned))


def test_a_store_that_sends_another_source_is_refused(
    chain: MemoryChain, made: ProposalFile, source: Bundle, tmp_path: Path
) -> None:
    other = tree(tmp_path / "other")
    (other / "environment.json").write_bytes(build(b"", []).canonical())
    (other / "code" / "more.py").write_text("steal = True\n")
    for sent in (pack(read_bundle(other)), b"", b"garbage"):
        with pytest.raises(ContentMismatch):
            read(made, chain, served(made, source=sent))


def test_a_proposal_of_another_market_is_signed_by_nobody_here(chain: MemoryChain, made: ProposalFile) -> None:
    chain.book = replace(BOOK, market=type(BOOK.market)(b"\x0d" * 20))
    with pytest.raises(ProposalRefused, match="for this market"):
        read(made, chain, served(made))


def test_a_proposal_that_has_ended_is_refused(chain: MemoryChain, made: ProposalFile) -> None:
    chain.mine(1, seconds=31 * 86_400)
    with pytest.raises(ProposalRefused, match="the proposal ends at"):
        read(made, chain, served(made))


@pytest.mark.parametrize("raw", [b"", b"{}", b"[" * 100, b'{"signed":{},"archive":"0x"}', b"\xff" * 100])
def test_a_file_that_is_no_proposal_is_refused(raw: bytes, chain: MemoryChain, tmp_path: Path) -> None:
    path = tmp_path / "p.json"
    path.write_bytes(raw)
    with pytest.raises(ProposalFileRefused):
        inspect_file(path, chain, MemoryBackend().store())


def test_a_file_whose_source_is_another_is_refused(chain: MemoryChain, made: ProposalFile, tmp_path: Path) -> None:
    path = tmp_path / "p.json"
    write_proposal(path, ProposalFile(signed=made.signed, archive=HexBytes(b"SEALWRK")))
    with pytest.raises(ProposalRefused, match="its source is not workload"):
        inspect_file(path, chain, MemoryBackend().store())


def test_more_samples_than_a_proposal_has_are_refused(tmp_path: Path) -> None:
    paths = [tmp_path / f"{n}.json" for n in range(MOST_SAMPLES + 1)]
    with pytest.raises(ProposalRefused, match="choose fewer"):
        read_samples(paths)


def test_a_proposal_travels_by_server_and_as_a_file_with_or_without_its_source(
    chain: MemoryChain, made: ProposalFile, source: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = served(made)
    assert read(made, chain, backend).bundle.digest == source.digest
    write_proposal(tmp_path / "with.json", made)
    assert inspect_file(tmp_path / "with.json", chain, MemoryBackend().store()).signed == made.signed
    monkeypatch.setattr("sealmarket.client.proposals.MAXIMUM_ARCHIVE", 10)
    write_proposal(tmp_path / "without.json", made)
    assert inspect_file(tmp_path / "without.json", chain, backend.store()).bundle.digest == source.digest
    with pytest.raises(ItemNotFound):
        inspect_file(tmp_path / "without.json", chain, MemoryBackend().store())
    assert MAXIMUM_ARCHIVE > 10


def test_a_proposal_about_an_unknown_version_is_not_posted(
    chain: MemoryChain, made: ProposalFile, source: Bundle
) -> None:
    backend = MemoryBackend()
    unknown = replace(made.signed.proposal, assets=(replace(made.signed.proposal.assets[0], version=9),))
    file = ProposalFile(signed=replace(made.signed, proposal=unknown), archive=made.archive)
    with pytest.raises(Exception, match="was never published"):
        post_proposal(chain, backend.store(), backend.api(), file, source)
    assert (backend.blobs, backend.posted) == ({}, {})


# --- answers ------------------------------------------------------------------------------------------------------


def answers(owner: Owner, made: ProposalFile, **changes: Any) -> list[SignedAnswer]:
    proposal = made.signed.proposal
    return [
        sign_answer(owner._party, proposal, proposal.assets[0], version, reason, now)
        for version, reason, now in changes.get("given", [(1, "read it", 10)])
    ]


def test_answers_of_others_and_about_others_do_not_count(
    chain: MemoryChain, owner: Owner, consumer: Party, made: ProposalFile
) -> None:
    proposal = made.signed.proposal
    (good,) = answers(owner, made)
    strangers = sign_answer(consumer, proposal, proposal.assets[0], 1, "", 99)
    other = replace(proposal, purpose=2)
    elsewhere = sign_answer(owner._party, other, proposal.assets[0], 1, "", 99)
    reworded = replace(good, reason="I did not")
    (standing,) = standings(chain, chain.head(), proposal, [strangers, elsewhere, reworded])
    assert (standing.answer, standing.approved, standing.owner) == (None, False, owner.address)
    (standing,) = standings(chain, chain.head(), proposal, [strangers, good, elsewhere])
    assert (standing.answer, standing.approved) == (good, True)


def test_the_latest_answer_of_an_owner_counts(chain: MemoryChain, owner: Owner, made: ProposalFile) -> None:
    given = answers(owner, made, given=[(1, "", 10), (0, "no", 20), (1, "", 5)])
    (standing,) = standings(chain, chain.head(), made.signed.proposal, given)
    assert (standing.answer, standing.approved) == (given[1], False)


def test_an_owners_own_record_holds_what_was_signed_and_shown(owner: Owner, made: ProposalFile, tmp_path: Path) -> None:
    record = GivenAnswers(tmp_path, BOOK, owner.address)
    assert list(record) == []
    given = answers(owner, made, given=[(1, "", 10), (0, "no", 20)])
    for one in given:
        record.keep(one)
    assert {one.signature for one in record} == {one.signature for one in given}
    shown, key = InspectedProposals(tmp_path, BOOK), made.signed.proposal.struct_hash()
    assert key not in shown
    shown.keep(key)
    assert key in InspectedProposals(tmp_path, BOOK)
    assert key not in InspectedProposals(tmp_path, replace(BOOK, chain_id=1))
