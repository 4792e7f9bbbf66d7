"""What a job names besides the owners' papers: whose doing it is when it cannot be had, or cannot be run.

A provider quotes whatever is asked of it. What is wrong with the request or an input must end in the row that says so,
never in a penalty of the provider, and never in an acceptance.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx
import pytest
from msgspec.structs import replace

from sealmarket.protocol.decisions import Outcome
from sealmarket.protocol.reasons import JobReason
from sealmarket_enclave.protocol.codec import Bytes32, MicroEpsilon, canonical_json
from sealmarket_enclave.protocol.hashing import keccak
from sealmarket_enclave.protocol.job import Parameters, parameters_digest
from sealmarket_enclave.protocol.policy import OutputRules, PolicyDocument
from sealmarket_oracle.errors import StoreUnavailable
from sealmarket_oracle.store import HttpStore
from tests.oracle.test_gate import _expect
from tests.oracle.world import OTHER_LAUNCH, WORKLOAD, World

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


MISSING: dict[str, tuple[Callable[[World], None], Outcome, JobReason]] = {
    "container": (_without_content, Outcome.INPUT_REFUSED, JobReason.CONTENT_MISSING),
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


@pytest.mark.parametrize("what", MISSING)
def test_what_comes_within_half_the_window_is_accepted(what: str, world: World) -> None:
    arrange, _, reason = MISSING[what]
    arrange(world)
    world.quote()
    node = world.node()
    node.tick()
    assert reason.value in node.status(world.job_id).reason
    world.store.keep(world.result_key)
    world.store.blobs |= {("workloads", WORKLOAD), ("containers", Bytes32(bytes([101]) * 32))}
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
    world.store.keep(b"not a key")
    world.match(world.publish(), result_key_hash=keccak(b"not a key"))
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
def test_a_provider_without_a_working_enclave_earns_no_fee_from_a_missing(what: str, world: World) -> None:
    MISSING[what][0](world)
    world.quote(launch=OTHER_LAUNCH)
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
    world.quote(launch=OTHER_LAUNCH, missing=(WORKLOAD,))
    assert world.decided(world.node()).outcome is Outcome.PLATFORM_REFUSED


# --- the store's answers ------------------------------------------------------------------------------------------


def _store(answer: Callable[[httpx.Request], httpx.Response]) -> HttpStore:
    return HttpStore("http://store", transport=httpx.MockTransport(answer))


@pytest.mark.parametrize("status", [204, 301, 403, 429, 500, 503])
def test_any_answer_but_yes_and_no_is_none(status: int) -> None:
    with pytest.raises(StoreUnavailable):
        _store(lambda _: httpx.Response(status)).has("containers", NAME)


def test_a_store_that_does_not_connect_is_not_one_that_lacks_a_container() -> None:
    def refuse(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused", request=request)

    with pytest.raises(StoreUnavailable):
        _store(refuse).has("workloads", NAME)


def test_whether_a_blob_is_there_is_asked_without_reading_it() -> None:
    asked: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(f"{request.method} {request.url.path}")
        return httpx.Response(200 if "containers" in request.url.path else 404)

    store = _store(answer)
    assert store.has("containers", NAME)
    assert not store.has("workloads", NAME)
    assert asked == [f"HEAD /v1/containers/{NAME}", f"HEAD /v1/workloads/{NAME}"]


def test_parameters_of_another_digest_are_no_answer() -> None:
    document = Parameters(salt=NAME, values={"target": "cost"})
    digest = parameters_digest(NAME, canonical_json(document.values))
    store = _store(lambda _: httpx.Response(200, content=canonical_json(document)))
    assert store.has_parameters(NAME, digest)
    with pytest.raises(StoreUnavailable):
        store.has_parameters(NAME, NAME)
    with pytest.raises(StoreUnavailable):
        _store(lambda _: httpx.Response(200, content=b"{}")).has_parameters(NAME, digest)
    assert not _store(lambda _: httpx.Response(404)).has_parameters(NAME, digest)
