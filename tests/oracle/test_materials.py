"""What a job names besides the owners' documents: which row applies when it is missing, or when the job cannot run.

A provider quotes whatever is asked of it. What is wrong with the request or an input must end in the row that says so,
never in a penalty of the provider, and never in an acceptance.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from msgspec.structs import replace

from sealmarket.protocol.decisions import Outcome
from sealmarket.protocol.reasons import JobReason
from sealmarket_enclave.protocol.card import MAXIMUM_CARD, Card, Column, ReaderRef
from sealmarket_enclave.protocol.codec import Bytes32, MicroEpsilon
from sealmarket_enclave.protocol.hashing import keccak
from sealmarket_enclave.protocol.job import result_key_names, result_keys_hash
from sealmarket_enclave.protocol.policy import OutputRules, PolicyDocument, Validator
from tests.oracle.test_gate import _expect
from tests.oracle.world import WORKLOAD, World

NAME = Bytes32(b"\x0e" * 32)


def _without_content(world: World) -> None:
    world.match(world.publish(keep_content=False))


def _without_workload(world: World) -> None:
    world.match(world.publish())
    world.store.blobs.discard(("workloads", WORKLOAD))


def _without_parameters(world: World) -> None:
    world.match(world.publish(), keep_parameters=False)


def _without_result_key(world: World) -> None:
    world.match(world.publish())
    del world.store.documents[keccak(world.result_key)]


STEP, READER = Bytes32(b"\x57" * 32), Bytes32(b"\x58" * 32)
CARD = Card(
    kind="table",
    media_type="application/vnd.apache.parquet",
    reader=ReaderRef(name="reader", digest=READER),
    columns=(Column(name="age", type="integer"),),
).canonical()


def _validated(policy: PolicyDocument) -> PolicyDocument:
    check = Validator(media_type="application/onnx", digest=STEP, rules={})
    return replace(policy, output=replace(policy.output, validators=(check,)))


def _with_card(world: World, card: bytes, *, store: bool = True) -> None:
    if store:
        world.store.put_document(card)
    world.match(world.publish(edit_policy=lambda policy: replace(policy, data_card=keccak(card))))


def _without_validator(world: World) -> None:
    world.match(world.publish(edit_policy=_validated))


def _without_card(world: World) -> None:
    _with_card(world, CARD, store=False)


def _without_reader(world: World) -> None:
    _with_card(world, CARD)


MISSING: dict[str, tuple[Callable[[World], None], Outcome, JobReason]] = {
    "container": (_without_content, Outcome.INPUT_REFUSED, JobReason.CONTENT_MISSING),
    "data card": (_without_card, Outcome.INPUT_REFUSED, JobReason.CONTENT_MISSING),
    "reader": (_without_reader, Outcome.INPUT_REFUSED, JobReason.CONTENT_MISSING),
    "validator": (_without_validator, Outcome.INPUT_REFUSED, JobReason.CONTENT_MISSING),
    "workload": (_without_workload, Outcome.REQUEST_REFUSED, JobReason.WORKLOAD_MISSING),
    "parameters": (_without_parameters, Outcome.REQUEST_REFUSED, JobReason.PARAMETERS_MISSING),
    "result key": (_without_result_key, Outcome.REQUEST_REFUSED, JobReason.RESULT_KEY_MISSING),
}


@pytest.mark.parametrize("what", MISSING)
def test_what_the_store_lacks_is_awaited_for_half_the_window_and_then_refused(what: str, world: World) -> None:
    arrange, outcome, reason = MISSING[what]
    arrange(world)
    world.quote()
    node = world.node()
    node.tick()
    status = node.status(world.job_id)
    assert status.decision is None
    assert reason.value in status.reason
    world.chain.mine(3, seconds=200)
    _expect(world.decided(node), outcome, reason)


@pytest.mark.parametrize(
    "card", [b'{"version":"sealmarket/card/1"}', b'{"version":2}', b" " + CARD, b"x" * (MAXIMUM_CARD + 1)]
)
def test_a_data_card_that_is_none_is_the_owners(card: bytes, world: World) -> None:
    _with_card(world, card)
    world.quote()
    _expect(world.decided(world.node()), Outcome.INPUT_REFUSED, JobReason.POLICY_INVALID)


@pytest.mark.parametrize("card", [b"{}", b'{"columns":["age"]}', b"for people only"])
def test_a_data_card_without_a_version_promises_nothing(card: bytes, world: World) -> None:
    _with_card(world, card)
    world.quote()
    _expect(world.decided(world.node()), Outcome.ACCEPTED)


@pytest.mark.parametrize("what", MISSING)
def test_what_comes_within_half_the_window_is_accepted(what: str, world: World) -> None:
    arrange, _, reason = MISSING[what]
    arrange(world)
    world.quote()
    node = world.node()
    node.tick()
    assert reason.value in node.status(world.job_id).reason
    world.store.put_document(world.result_key)
    world.store.put_document(CARD)
    world.store.blobs |= {("workloads", WORKLOAD), ("workloads", STEP), ("workloads", READER)}
    world.store.blobs |= {("containers", Bytes32(bytes([101]) * 32))}
    world.store.parameters[world.spec.request_hash] = world.spec.parameters_digest
    _expect(world.decided(node), Outcome.ACCEPTED)


@pytest.mark.parametrize("what", MISSING)
def test_a_store_that_gives_no_answer_about_it_never_leads_to_a_decision(what: str, world: World) -> None:
    MISSING[what][0](world)
    world.quote()
    node = world.node()
    world.store.fall_silent()
    world.chain.mine(3, seconds=190)
    node.tick()
    assert node.status(world.job_id).decision is None


def test_a_result_key_that_is_no_key_is_the_requests_fault(world: World) -> None:
    world.store.put_document(b"not a key")
    world.store.put_document(result_key_names([b"not a key"]))
    world.match(world.publish(), result_keys_hash=result_keys_hash([b"not a key"]))
    world.quote()
    _expect(world.decided(world.node()), Outcome.REQUEST_REFUSED, JobReason.RESULT_KEY_MISSING)


def _outputs(**changes: Any) -> Callable[[PolicyDocument], PolicyDocument]:
    def edit(document: PolicyDocument) -> PolicyDocument:
        output: OutputRules = replace(document.output, **changes)
        return replace(document, output=output)

    return edit


UNMET: dict[str, dict[str, Any]] = {
    "no format in common": {"media_types": ("text/csv",)},
    "more owners than the job pools": {"minimum_owners": 3},
    "a privacy mode that no runtime provides": {"privacy": "dp"},
}


@pytest.mark.parametrize("what", UNMET)
def test_output_rules_that_cannot_be_met_are_the_requests_fault(what: str, world: World) -> None:
    world.match(world.publish(1), world.publish(2, edit_policy=_outputs(**UNMET[what])))
    world.quote()
    _expect(world.decided(world.node()), Outcome.REQUEST_REFUSED, JobReason.OUTPUT_RULES_UNMET)


def test_a_request_that_spends_privacy_budget_is_refused_as_no_runtime_has_a_mechanism(world: World) -> None:
    asset = world.publish()
    world.match(asset)
    uses = tuple(replace(use, epsilon=MicroEpsilon(1)) for use in world.spec.assets)
    world.match(asset, assets=uses)
    world.quote()
    _expect(world.decided(world.node()), Outcome.REQUEST_REFUSED, JobReason.OUTPUT_RULES_UNMET)


# --- rows against each other --------------------------------------------------------------------------------------


@pytest.mark.parametrize("what", ["workload", "parameters", "result key"])
def test_a_provider_without_a_working_enclave_does_not_escape_by_a_missing(what: str, world: World) -> None:
    MISSING[what][0](world)
    world.quote(debug=True)
    assert world.decided(world.node()).outcome is Outcome.PLATFORM_REFUSED


def test_a_missing_container_comes_before_a_missing_workload_so_that_the_consumer_keeps_the_fee(world: World) -> None:
    _without_content(world)
    world.store.blobs.discard(("workloads", WORKLOAD))
    world.quote()
    world.chain.mine(3, seconds=200)
    _expect(world.decided(world.node()), Outcome.INPUT_REFUSED, JobReason.CONTENT_MISSING)


def test_what_the_host_lacked_and_the_store_has_by_now_is_never_accepted_and_harms_nobody(world: World) -> None:
    world.match(world.publish())
    world.quote(missing=(WORKLOAD,))
    _expect(world.decided(world.node()), Outcome.INPUT_REFUSED, JobReason.MATERIAL_LATE)


def test_what_the_host_lacked_and_the_store_lacks_too_is_refused_in_its_own_row(world: World) -> None:
    _without_workload(world)
    world.quote(missing=(WORKLOAD,))
    node = world.node()
    node.tick()
    assert node.status(world.job_id).decision is None
    world.chain.mine(3, seconds=200)
    _expect(world.decided(node), Outcome.REQUEST_REFUSED, JobReason.WORKLOAD_MISSING)


def test_a_provider_without_a_working_enclave_cannot_talk_itself_out_by_what_it_says_it_lacked(world: World) -> None:
    world.match(world.publish())
    world.quote(debug=True, missing=(WORKLOAD,))
    assert world.decided(world.node()).outcome is Outcome.PLATFORM_REFUSED
