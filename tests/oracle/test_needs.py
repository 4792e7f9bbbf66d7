"""A node compares what a workload needs with what the owners' cards promise, and reads no archive for it."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec import UNSET, UnsetType
from msgspec.structs import replace

from sealmarket.protocol.decisions import Decision, Outcome
from sealmarket.protocol.merkle import allowed_leaf
from sealmarket.protocol.reasons import JobReason, reason_codes
from sealmarket_devices.measurements import tdx_measurement
from sealmarket_enclave.protocol.card import ARROW, Card, Column, Dialect, ReaderRef
from sealmarket_enclave.protocol.codec import ZERO_HASH, Bytes32, HexBytes, canonical_json
from sealmarket_enclave.protocol.hashing import keccak, sha256
from sealmarket_enclave.protocol.job import Parameters
from sealmarket_enclave.protocol.numbers import Tee
from sealmarket_enclave.protocol.policy import Validator
from sealmarket_enclave.workload.bundle import DigestManifest
from sealmarket_enclave.workload.environment import Interpreter
from sealmarket_enclave.workload.manifest import InputSlot, Limits
from sealmarket_enclave.workload.needs import ColumnNeed, Needs
from tests.oracle.world import LAUNCH, World, terms

READER = Bytes32(b"\x0d" * 32)
NEEDS = Needs(kind="table", columns=(ColumnNeed(parameter="target", types=("category",)),))
CARD = Card(
    kind="table",
    media_type="text/csv",
    reader=ReaderRef(name="tables", digest=READER),
    dialect=Dialect(),
    columns=(Column(name="ward", type="category", classes=("a", "b")), Column(name="age", type="integer")),
)


def offered(
    world: World,
    card: bytes,
    *,
    needs: Needs | None = NEEDS,
    keep: bool = True,
    assets: int = 1,
    media_type: str = "text/csv",
    withheld: int | UnsetType = UNSET,
    **values: Any,
) -> None:
    """A job over assets with this card, quoted by a provider that shows the workload's manifest."""
    manifest = DigestManifest(
        entry_point="train:run",
        interpreter=Interpreter.current(),
        limits=Limits(cpu_seconds=1, wall_seconds=1, memory_bytes=1 << 30),
        inputs=(InputSlot(name="rows", media_type=media_type, needs=needs),),
        files=(),
    ).canonical()
    digest = sha256(manifest)
    check = Validator(media_type="application/onnx", digest=READER, rules={}, withheld=withheld)
    world.store.blobs |= {("workloads", digest), ("workloads", READER)}
    if keep:
        world.store.put_document(card)
    allowing = terms(allow_root=allowed_leaf(Tee.TDX, tdx_measurement(LAUNCH).digest(), digest))
    published = [
        world.publish(
            number,
            workloads=(digest,),
            policy_terms=allowing,
            edit_policy=lambda document: replace(
                document, data_card=keccak(card), output=replace(document.output, validators=(check,))
            ),
        )
        for number in range(1, assets + 1)
    ]
    world.match(*published, workload_digest=digest)
    world.store.values[world.spec.request_hash] = Parameters(salt=ZERO_HASH, values={"target": "ward"} | values)
    world.quote(manifest=HexBytes(manifest))


def expect(decision: Decision, outcome: Outcome, *reasons: JobReason) -> None:
    assert decision.outcome is outcome
    assert set(reason_codes(decision.reasons)) == {reason.code for reason in reasons}


UNMET: dict[str, dict[str, Any]] = {
    "another column": {"target": "age"},
    "no such column": {"target": "price"},
    "another kind": {"card": Card(kind="bytes", media_type="text/csv").canonical()},
    "a card that promises nothing": {"card": canonical_json({"columns": ["ward"]})},
    "more assets than the slot takes": {"assets": 2},
    "the original bytes of a table whose rows are withheld": {"withheld": 100},
    "such bytes for a workload without needs": {"withheld": 100, "needs": None},
}


@pytest.mark.parametrize("what", UNMET)
def test_a_pair_that_cannot_fit_is_the_requests_fault(what: str, world: World) -> None:
    offered(world, **({"card": CARD.canonical()} | UNMET[what]))
    expect(world.decided(world.node()), Outcome.REQUEST_REFUSED, JobReason.NEEDS_UNMET)


@pytest.mark.parametrize(
    "card", [replace(CARD, columns=()).canonical(), canonical_json({"version": "sealmarket/card/9"})]
)
def test_a_card_that_claims_to_promise_and_breaks_the_rules_of_cards_is_its_owners_fault(
    card: bytes, world: World
) -> None:
    offered(world, card)
    expect(world.decided(world.node()), Outcome.INPUT_REFUSED, JobReason.POLICY_INVALID)


def test_a_card_that_is_needed_and_not_in_the_store_is_awaited_and_then_its_owners_fault(world: World) -> None:
    offered(world, CARD.canonical(), keep=False)
    with pytest.raises(AssertionError, match="content_missing"):
        world.decided(world.node())
    world.chain.mine(3, seconds=200)
    expect(world.decided(world.node()), Outcome.INPUT_REFUSED, JobReason.CONTENT_MISSING)


def test_a_card_that_promises_what_is_needed_is_accepted(world: World) -> None:
    offered(world, CARD.canonical())
    assert world.decided(world.node()).outcome is Outcome.ACCEPTED


def test_a_table_whose_rows_are_withheld_is_taken_as_a_table(world: World) -> None:
    offered(world, CARD.canonical(), withheld=100, media_type=ARROW)
    assert world.decided(world.node()).outcome is Outcome.ACCEPTED


def test_a_workload_without_needs_takes_an_asset_whose_card_promises_nothing(world: World) -> None:
    offered(world, b"any", needs=None)
    assert world.decided(world.node()).outcome is Outcome.ACCEPTED
