"""A proposal's hash names every byte that an owner inspects, and an answer is about one proposal, word for word."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import coincurve
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from sealmarket.protocol.proposals import (
    LONGEST_LIFE,
    MAXIMUM_PROPOSAL,
    Proposal,
    ProposalAnswer,
    ProposalDetail,
    ProposalRefused,
    ProposedAsset,
    SampleOutput,
    SignedAnswer,
    SignedProposal,
    require_answer,
    require_whole,
)
from sealmarket_enclave.protocol.codec import Address, Bytes32, HexBytes, Uint, decode
from sealmarket_enclave.protocol.errors import MalformedDocument
from sealmarket_enclave.protocol.hashing import keccak
from sealmarket_enclave.protocol.numbers import AssetId
from sealmarket_enclave.protocol.signing import address_of, recover, sign

NOW = 1_700_000_000
CHAIN, MARKET = 31337, Address(b"\x0c" * 20)
CONSUMER, OWNER = coincurve.PrivateKey(b"\x01" * 32), coincurve.PrivateKey(b"\x03" * 32)
ASSET = AssetId(Bytes32(b"\xa5" * 32))
DETAIL = ProposalDetail(
    parameters={"target": "y"}, note="see the paper", samples=(SampleOutput(name="m.json", content=HexBytes(b"{}")),)
)


def proposal(**changes: Any) -> Proposal:
    base = Proposal(
        consumer=address_of(CONSUMER.public_key),
        workload_digest=Bytes32(b"\x77" * 32),
        purpose=1,
        detail_hash=DETAIL.hash(),
        expiry=NOW + 86_400,
        salt=Uint(5),
        assets=(ProposedAsset(asset_id=ASSET, version=1),),
    )
    return replace(base, **changes)


def signed(made: Proposal | None = None, key: coincurve.PrivateKey = CONSUMER, detail: Any = DETAIL) -> SignedProposal:
    made = made or proposal()
    return SignedProposal(proposal=made, detail=detail, signature=sign(made.digest(CHAIN, MARKET), key))


def answer(of: Proposal | None = None, reason: str = "", **changes: Any) -> SignedAnswer:
    of = of or proposal()
    base = ProposalAnswer(
        proposal_hash=of.struct_hash(),
        asset_id=ASSET,
        version=1,
        workload_digest=of.workload_digest,
        purpose=of.purpose,
        approved=True,
        allowed_version=1,
        reason_hash=keccak(reason.encode()),
        signed_at=NOW,
    )
    made = replace(base, **changes)
    return SignedAnswer(answer=made, reason=reason, signature=sign(made.digest(CHAIN, MARKET), OWNER))


TWICE = (ProposedAsset(asset_id=ASSET, version=1),) * 2


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (lambda: signed(detail=replace(DETAIL, note="another")), "the detail"),
        (lambda: signed(detail=replace(DETAIL, parameters={"target": "z"})), "the detail"),
        (lambda: signed(detail=replace(DETAIL, samples=())), "the detail"),
        (lambda: signed(proposal(assets=TWICE)), "a version is named twice"),
        (lambda: signed(proposal(purpose=0)), "names no purpose"),
        (lambda: signed(proposal(expiry=NOW)), "the proposal ends at"),
        (lambda: signed(proposal(expiry=NOW + LONGEST_LIFE + 1)), "the proposal ends at"),
    ],
)
def test_a_proposal_that_does_not_hold_together_is_refused(made: Callable[[], SignedProposal], said: str) -> None:
    with pytest.raises(ProposalRefused, match=said):
        require_whole(made(), NOW)


def test_a_proposal_of_more_bytes_than_its_bound_is_refused() -> None:
    huge = ProposalDetail(parameters={}, samples=(SampleOutput(name="x", content=HexBytes(bytes(MAXIMUM_PROPOSAL))),))
    with pytest.raises(ProposalRefused, match="at most"):
        require_whole(signed(proposal(detail_hash=huge.hash()), detail=huge), NOW)


@pytest.mark.parametrize(
    "raw",
    [
        b'{"parameters":{},"samples":[' + b",".join([b'{"name":"a","content":"0x"}'] * 9) + b"]}",
        b'{"parameters":{},"note":"' + b"x" * 4097 + b'"}',
        b'{"parameters":{},"samples":[{"name":"","content":"0x"}]}',
    ],
)
def test_a_detail_beyond_its_bounds_is_not_read(raw: bytes) -> None:
    with pytest.raises(MalformedDocument):
        decode(ProposalDetail, raw)


@pytest.mark.parametrize(
    "change",
    [
        {"consumer": Address(b"\x09" * 20)},
        {"workload_digest": Bytes32(b"\x78" * 32)},
        {"purpose": 2},
        {"detail_hash": keccak(b"another")},
        {"expiry": NOW + 1},
        {"salt": Uint(6)},
        {"assets": (ProposedAsset(asset_id=ASSET, version=2),)},
    ],
)
def test_whatever_changes_after_inspection_has_another_hash_and_no_signature(change: dict[str, Any]) -> None:
    changed = proposal(**change)
    assert changed.struct_hash() != proposal().struct_hash()
    assert recover(changed.digest(CHAIN, MARKET), signed().signature) != address_of(CONSUMER.public_key)


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (lambda: answer(workload_digest=Bytes32(b"\x78" * 32)), "workload_digest"),
        (lambda: answer(purpose=2), "purpose"),
        (lambda: answer(proposal(salt=Uint(9))), "proposal_hash"),
        (lambda: answer(version=2), "does not name version 2"),
        (lambda: answer(asset_id=AssetId(Bytes32(b"\xa6" * 32))), "does not name version 1"),
        (lambda: replace(answer(reason="no"), reason="yes"), "reason_hash"),
        (lambda: answer(allowed_version=0), "as allowed"),
        (lambda: answer(approved=False), "as allowed"),
    ],
)
def test_an_answer_replayed_for_another_proposal_digest_or_version_is_refused(
    made: Callable[[], SignedAnswer], said: str
) -> None:
    with pytest.raises(ProposalRefused, match=said):
        require_answer(made(), proposal())


@pytest.mark.parametrize(("chain", "market"), [(1, MARKET), (CHAIN, Address(b"\x0d" * 20))])
def test_an_answer_for_another_market_is_signed_by_nobody_here(chain: int, market: Address) -> None:
    given = answer()
    assert recover(given.answer.digest(chain, market), given.signature) != address_of(OWNER.public_key)


def test_a_whole_proposal_and_both_answers_hold() -> None:
    assert require_whole(signed(), NOW) == proposal().struct_hash()
    require_answer(answer(reason="read it"), proposal())
    require_answer(answer(approved=False, allowed_version=0), proposal())


@given(st.binary(max_size=200))
def test_no_bytes_do_anything_but_read_or_be_refused(raw: bytes) -> None:
    for kind in (SignedProposal, SignedAnswer):
        with pytest.raises(MalformedDocument):
            decode(kind, raw)
