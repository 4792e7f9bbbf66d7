"""The agent over twins: what it quotes and marks, what it survives, and how a job goes when all is well."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import httpx
import msgspec
import pytest

from sealmarket.chain import ChainUnavailable
from sealmarket.chain.committees import members_hash
from sealmarket.protocol.decisions import Outcome, Stop
from sealmarket.protocol.limits import MAXIMUM_POLICY, MAXIMUM_SHARE_SET
from sealmarket.protocol.reasons import JobReason, reason_bits
from sealmarket.protocol.transitions import Status
from sealmarket.protocol.wire import SignedStop
from sealmarket.sealing.results import open_result
from sealmarket.store.blobs import Store
from sealmarket.workloads.errors import WheelNotLocked
from sealmarket.workloads.folders import read_bundle
from sealmarket_enclave.protocol.codec import ZERO_ADDRESS, Address, Bytes32, Uint, decode
from sealmarket_enclave.protocol.hashing import keccak
from sealmarket_enclave.protocol.job import JobSpec, result_key_names
from sealmarket_enclave.protocol.numbers import FailureCause, JobId
from sealmarket_enclave.protocol.signing import sign
from sealmarket_enclave.runtime.errors import WorkloadFailed
from sealmarket_enclave.sealed.hpke import PUBLIC_KEY_BYTES
from sealmarket_enclave.sealed.result import ResultEnvelope
from sealmarket_enclave.workload.timing import BYTES_PER_SECOND
from sealmarket_worker import limits as limits_of_operators
from sealmarket_worker.errors import JournalConflict
from sealmarket_worker.journal import JobState
from sealmarket_worker.limits import OperatorLimits, outputs_beyond
from sealmarket_worker.session import Outcome as EnclaveWord
from tests.enclave.runtime.twins import EnclaveTwin
from tests.enclave.scene import CHAIN_ID, MARKER, MARKET, Scene
from tests.patience import PATIENCE
from tests.worker.twins import HostTwin, settle


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    (tmp_path / "scene").mkdir()
    return Scene(tmp_path / "scene")


@pytest.fixture
def host(scene: Scene, tmp_path: Path) -> Iterator[HostTwin]:
    twin = HostTwin(scene, tmp_path / "host")
    yield twin
    twin.close()


def status(host: HostTwin) -> Status:
    return host.chain.at(host.chain.head()).job(host.scene.spec.request_hash).status


def _slow_block(host: HostTwin) -> None:
    host.chain.mine(seconds=60)


# --- what only this host lacks is its own matter ----------------------------------------------------------------


def test_a_wheel_that_never_comes_is_named_and_its_job_is_declined_at_no_cost(host: HostTwin) -> None:
    [wheel] = host.scene.wheels.iterdir()
    wheel.unlink()
    _refused_for_what_is_missing(host, host.scene.workload_digest, unread=True)
    assert f"{wheel.name} is not in the folder of wheels" in host.messages()
    assert host.driver.sandbox.loaded == []


def test_a_wheel_that_comes_while_the_window_is_open_is_used(host: HostTwin) -> None:
    [wheel] = host.scene.wheels.iterdir()
    content = wheel.read_bytes()
    wheel.unlink()
    ticks: list[int] = []

    def tick() -> None:
        ticks.append(host.chain.head().number)
        if len(ticks) == 3:
            wheel.write_bytes(content)
        host.decide_when_quoted()

    host.on_tick = tick
    job_id = host.match()
    host.run()
    assert host.journal.job(job_id).state is JobState.DONE
    assert wheel.name in host.messages()


def test_wheels_that_did_not_change_are_not_read_again(host: HostTwin, monkeypatch: pytest.MonkeyPatch) -> None:
    reads: list[Path] = []

    def install(_environment: object, wheels: Path, _target: Path) -> None:
        reads.append(wheels)
        raise WheelNotLocked("torch.whl", b"")

    monkeypatch.setattr("sealmarket_worker.environments.install", install)
    _refused_for_what_is_missing(host, host.scene.workload_digest, unread=True)
    assert len(reads) == 1
    assert host.stop.ticks > 3


def test_an_environment_for_which_this_disk_has_no_room_is_declined(
    host: HostTwin, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("sealmarket_worker.environments.install", full)
    _refused_for_what_is_missing(host, host.scene.workload_digest, unread=True)
    assert "No space left" in host.messages()


def test_a_job_that_the_chain_ends_while_it_is_prepared_frees_its_place(host: HostTwin) -> None:
    host.store.broken = lambda path, raw: None if path.startswith("/v1/containers/") else raw
    job_id = host.match()

    def cancelled() -> None:
        host.chain.end(job_id, Status.CANCELLED)
        host.chain.finalise()

    host.on_tick = cancelled
    host.run()
    assert host.stop.ticks == 1
    assert "the job is cancelled" in host.journal.job(job_id).reason


# --- what cannot be had is quoted with a mark, and left to the nodes --------------------------------------------

NAMED = {
    "container": lambda scene: (
        f"/v1/containers/{scene.assets[0].seal.content_root}",
        scene.assets[0].seal.content_root,
    ),
    "policy": lambda scene: (f"/v1/documents/{scene.assets[0].seal.policy_hash}", scene.assets[0].seal.policy_hash),
    "share set": lambda scene: (f"/v1/documents/{scene.assets[0].seal.share_root}", scene.assets[0].seal.share_root),
    "result keys": lambda scene: (f"/v1/documents/{scene.spec.result_keys_hash}", scene.spec.result_keys_hash),
    "result key": lambda scene: (f"/v1/documents/{scene.consumer_key.public.digest}", scene.spec.result_keys_hash),
    "workload": lambda scene: (f"/v1/workloads/{scene.spec.workload_digest}", scene.spec.workload_digest),
    "parameters": lambda scene: (f"/v1/parameters/{scene.spec.request_hash}", scene.spec.parameters_digest),
}


def _refused_for_what_is_missing(host: HostTwin, name: Bytes32, *, unread: bool = False) -> None:
    """Quoted once, marked, refused; and no data came to the workload.

    ``unread``: the policies are marked as well, since the host sealed to none of the auditors in them.
    """
    host.nodes.outcome = Outcome.INPUT_REFUSED
    host.nodes.reasons = Uint(reason_bits([JobReason.MATERIAL_LATE.code]))
    job_id = host.match()
    host.run()
    assert len(host.transactions.quotes) == 1
    policies = [asset.seal.policy_hash for asset in host.scene.assets] if unread else []
    assert host.nodes.package(0).missing == tuple(sorted({name, *policies}))
    entry = host.journal.job(job_id)
    assert entry.state is JobState.GIVEN_UP
    assert "material_late" in entry.reason
    assert host.driver.sandbox.jobs == []


@pytest.mark.parametrize("what", NAMED)
def test_a_missing_input_is_awaited_then_quoted_and_marked(host: HostTwin, what: str) -> None:
    where, name = NAMED[what](host.scene)
    host.store.broken = lambda path, raw: None if path == where else raw
    _refused_for_what_is_missing(host, name)
    assert "the store has no" in host.messages()
    assert "quoted without" in host.messages()


@pytest.mark.parametrize("what", NAMED)
def test_a_false_input_is_quoted_and_marked(host: HostTwin, what: str) -> None:
    where, name = NAMED[what](host.scene)
    host.store.broken = lambda path, raw: raw[:-2] + bytes([raw[-2] ^ 1, raw[-1]]) if path == where else raw
    _refused_for_what_is_missing(host, name)


@pytest.mark.parametrize(
    ("field", "most"), [("policy_hash", MAXIMUM_POLICY), ("share_root", MAXIMUM_SHARE_SET)], ids=["policy", "share set"]
)
def test_a_document_that_is_larger_than_its_kind_may_be_counts_as_missing(
    host: HostTwin, field: str, most: int
) -> None:
    first, second = (asset.seal for asset in host.scene.assets)
    large = bytes(most + 1)
    host.store.blobs[f"/v1/documents/{keccak(large)}"] = large
    seals = (msgspec.structs.replace(first, **{field: keccak(large)}), second)
    found = host.context.materials.fetcher(host.scene.spec, seals).poll()
    assert found.missing == {keccak(large): f"it has {most + 1} bytes, its kind at most {most}"}
    assert None in (found.policies[0], found.share_sets[0])


def test_a_result_key_that_is_longer_than_a_key_marks_the_list(host: HostTwin) -> None:
    large = bytes(PUBLIC_KEY_BYTES + 1)
    names = result_key_names([large])
    for raw in (large, names):
        host.store.blobs[f"/v1/documents/{keccak(raw)}"] = raw
    spec = msgspec.structs.replace(host.scene.spec, result_keys_hash=keccak(names))
    found = host.context.materials.fetcher(spec, tuple(asset.seal for asset in host.scene.assets)).poll()
    assert found.result_keys is None
    assert f"at most {PUBLIC_KEY_BYTES}" in found.missing[keccak(names)]


@pytest.mark.parametrize("what", NAMED)
def test_a_job_that_is_accepted_although_it_was_marked_is_never_run(host: HostTwin, what: str) -> None:
    where, _ = NAMED[what](host.scene)
    host.store.broken = lambda path, raw: None if path == where else raw
    job_id = host.match()
    host.run()
    entry = host.journal.job(job_id)
    assert entry.state is JobState.GIVEN_UP
    assert ("container_withheld" if what == "container" else "material_missing") in entry.reason
    assert host.driver.sandbox.jobs == []


def test_a_log_that_does_not_read_holds_up_no_job(host: HostTwin) -> None:
    host.chain.tell_unreadable("AssetRegistry", "VersionPublished", Bytes32(bytes(32)))
    host.match()
    host.run()
    assert len(host.transactions.quotes) == 1


def test_a_store_that_is_down_costs_no_quote(host: HostTwin) -> None:
    def away_until_quoted(path: str, raw: bytes) -> bytes | None:
        if path.startswith("/v1/workloads/") and not host.transactions.quotes:
            raise httpx.ConnectError("away")
        return raw

    host.store.broken = away_until_quoted
    _refused_for_what_is_missing(host, host.scene.workload_digest)


def test_a_container_for_which_this_disk_has_no_room_is_quoted_and_marked(
    host: HostTwin, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(store: Store, root: Bytes32, target: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Store, "fetch_container", full)
    host.nodes.outcome = Outcome.INPUT_REFUSED
    host.match()
    host.run()
    assert len(host.transactions.quotes) == 1
    roots = {asset.seal.content_root for asset in host.scene.assets}
    assert set(host.nodes.package(0).missing) == roots
    assert "No space left" in host.messages()


def test_a_result_key_that_is_no_key_is_quoted_and_evidence_is_sealed_to_the_nodes_alone(host: HostTwin) -> None:
    host.scene.consumer_key = _NoKey()  # type: ignore[assignment]
    host.store.fill(host.scene)
    host.nodes.outcome = Outcome.REQUEST_REFUSED
    host.match()
    host.run()
    assert len(host.transactions.quotes) == 1
    assert [name for name, _ in host.nodes.sealed().wraps] == [node.hpke.public.digest for node in host.scene.nodes]
    assert host.nodes.package(0).missing == ()


class _NoKey:
    """Bytes that a consumer signed for a key, and that are none."""

    class public:  # noqa: N801 - stands for the key's attribute
        raw = b"no key"


def test_an_input_that_comes_late_is_waited_for(host: HostTwin) -> None:
    asked: list[str] = []

    def late(path: str, raw: bytes) -> bytes | None:
        asked.append(path)
        return None if path.startswith("/v1/containers/") and len(asked) < 6 else raw

    host.store.broken = late
    job_id = host.match()
    host.run()
    assert host.journal.job(job_id).state is JobState.DONE


def test_the_container_of_another_asset_is_marked_as_missing(host: HostTwin) -> None:
    first, second = host.scene.assets
    host.store.blobs[f"/v1/containers/{first.seal.content_root}"] = second.container
    _refused_for_what_is_missing(host, first.seal.content_root)


def test_a_doomed_job_that_is_accepted_all_the_same_ends_with_the_enclaves_word(scene: Scene, tmp_path: Path) -> None:
    scene.reseal(1, policy_epoch=2)
    host = HostTwin(scene, tmp_path / "host")
    job_id = host.match()
    host.run()
    assert host.journal.job(job_id).state is JobState.DONE
    [posted] = host.transactions.finished
    assert posted.failure is not None
    assert (posted.failure.cause, posted.failure.asset_index) == (FailureCause.INPUT, 1)
    assert host.driver.sandbox.loaded == []
    host.close()


def test_a_doomed_job_ends_without_a_single_release(scene: Scene, tmp_path: Path) -> None:
    """Its window may be too short to wait for one."""
    scene.reseal(1, policy_epoch=2)
    host = HostTwin(scene, tmp_path / "host")
    host.nodes.down = {0, 1, 2}
    job_id = host.match()
    host.run()
    assert host.journal.job(job_id).state is JobState.DONE
    [posted] = host.transactions.finished
    assert posted.failure is not None
    host.close()


# --- beyond the operator's limits -------------------------------------------------------------------------------

OWED = 201
LIMITS = {
    "stake": (OperatorLimits(max_stake={ZERO_ADDRESS: OWED - 1}), "max_stake"),
    "token": (OperatorLimits(max_stake={Address(b"\x01" * 20): 1 << 100}), "max_stake"),
    "window": (OperatorLimits(min_settle_window=601), "min_settle_window"),
    "inputs": (OperatorLimits(max_input_bytes=1), "max_input_bytes"),
}


@pytest.mark.parametrize("what", LIMITS)
def test_a_job_beyond_the_operators_limits_is_quoted_without_its_workload(host: HostTwin, what: str) -> None:
    limits, named = LIMITS[what]
    host.context = replace(host.context, limits=limits)
    assert sum(use.price for use in host.scene.spec.assets) + host.scene.spec.penalty == OWED
    _refused_for_what_is_missing(host, host.scene.workload_digest, unread=what != "inputs")
    assert named in host.messages()
    assert host.driver.sandbox.loaded == []


def test_a_job_within_every_limit_is_run(host: HostTwin) -> None:
    limits = OperatorLimits(max_stake={ZERO_ADDRESS: OWED}, min_settle_window=600, max_input_bytes=1 << 20)
    host.context = replace(host.context, limits=limits)
    job_id = host.match()
    host.run()
    assert host.journal.job(job_id).state is JobState.DONE


def test_an_input_that_does_not_fit_and_takes_too_long_to_read_is_beyond_the_limits(host: HostTwin) -> None:
    manifest = read_bundle(host.scene.bundle).manifest
    limits, room = OperatorLimits(max_input_bytes=1 << 60), manifest.limits.memory_bytes
    size = 31 * BYTES_PER_SECOND
    assert "more than an enclave reads in 30 s" in str(limits.against_inputs(host.scene.spec, manifest, size))
    assert limits.against_inputs(host.scene.spec, manifest, size - BYTES_PER_SECOND) is None
    assert limits.against_inputs(host.scene.spec, manifest, room) is None


def test_outputs_that_this_machine_cannot_hold_are_beyond_the_limits_unless_an_owner_bounds_them(
    host: HostTwin, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits_of_operators, "half_of_memory", lambda: 1 << 30)
    manifest, rules = read_bundle(host.scene.bundle).manifest, host.scene.assets[0].policy.output
    output = msgspec.structs.replace(manifest.outputs[0], max_bytes=1 << 40)
    greedy = msgspec.structs.replace(manifest, outputs=(output,))
    endless = msgspec.structs.replace(rules, max_bytes=1 << 40)
    assert "an enclave here holds 268435456" in str(outputs_beyond(greedy, [endless, endless]))
    assert outputs_beyond(greedy, [endless, rules]) is None
    assert outputs_beyond(manifest, [endless]) is None


# --- nodes that promise never to release ------------------------------------------------------------------------


def _promise(host: HostTwin, place: int, reason: int = 242, signer: int | None = None) -> SignedStop:
    job_id = host.scene.spec.job_id(CHAIN_ID, MARKET)
    reasons = reason_bits([reason])
    stop = Stop(job_id=job_id, evidence_hash=host.transactions.quotes[0], epoch=1, reasons=reasons)
    key = host.scene.nodes[place if signer is None else signer].signing
    return SignedStop(stop=stop, index=place, signature=sign(stop.digest(CHAIN_ID, MARKET), key), findings=())


def _stopping(host: HostTwin, promises: Callable[[HostTwin], dict[int, SignedStop]]) -> JobId:
    """Run a job whose nodes promise to stop once it is accepted; its time to settle is over if nobody ends it."""
    host.nodes.down = {0, 1, 2}

    def tick() -> None:
        if status(host) is Status.ACCEPTED:
            host.nodes.stopping = promises(host)
            host.nodes.down = {0, 1, 2} - host.nodes.stopping.keys()
            host.chain.mine(seconds=20)
        else:
            host.decide_when_quoted()

    host.on_tick = tick
    job_id = host.match()
    host.run()
    return job_id


@pytest.mark.parametrize(
    "promises",
    [
        lambda host: {0: _promise(host, 0)},
        lambda host: {0: _promise(host, 0), 1: _promise(host, 1, reason=225)},
        lambda host: {0: _promise(host, 0), 1: _promise(host, 1, signer=2)},
        lambda host: {0: _promise(host, 0), 1: _promise(host, 0)},
    ],
    ids=["one", "of different reasons", "one forged", "one twice"],
)
def test_too_few_promises_to_stop_are_not_posted(
    host: HostTwin, promises: Callable[[HostTwin], dict[int, SignedStop]]
) -> None:
    job_id = _stopping(host, promises)
    assert host.transactions.stopped == []
    assert "shares_missing" in host.journal.job(job_id).reason


def test_the_promise_of_a_removed_member_counts_for_nothing(host: HostTwin) -> None:
    gone = frozenset({2})
    host.chain.set_committee(1, members_hash(host.chain.book.committees[0], gone), gone)
    _stopping(host, lambda host: {0: _promise(host, 0), 2: _promise(host, 2)})
    assert host.transactions.stopped == []


def test_a_host_posts_the_promises_that_end_its_job_itself(host: HostTwin) -> None:
    job_id = _stopping(host, lambda host: {0: _promise(host, 0), 2: _promise(host, 2)})
    [stops] = host.transactions.stopped
    assert [stop.index for stop in stops] == [0, 2]
    assert "time_to_release_passed" in host.journal.job(job_id).reason


# --- a job that is over on chain keeps no place -----------------------------------------------------------------


def _ends_while_it_computes(host: HostTwin, end: Callable[[JobId], object]) -> str:
    """Why the host gave up a job whose workload would have gone on for ever."""
    job_id, going_on = host.match(), threading.Event()

    def run(inputs: object) -> dict[str, bytes]:
        end(job_id)
        host.chain.finalise()
        assert going_on.wait(10 * PATIENCE), "nobody freed the place"
        return {}

    host.driver.sandbox.during = run
    working = threading.Thread(target=host.run)
    working.start()
    working.join(PATIENCE)
    assert not working.is_alive()
    going_on.set()
    entry = host.journal.job(job_id)
    assert entry.state is JobState.GIVEN_UP
    return entry.reason


def test_a_job_that_is_stopped_on_chain_while_its_workload_runs_frees_its_place(host: HostTwin) -> None:
    reason = _ends_while_it_computes(host, lambda job: host.chain.end(job, Status.STOPPED))
    assert "the job is stopped" in reason


def test_a_job_whose_time_to_settle_is_over_frees_its_place_though_nobody_has_closed_it(host: HostTwin) -> None:
    assert "past its time to settle" in _ends_while_it_computes(host, lambda _job: host.chain.mine(seconds=601))


def test_an_address_book_with_another_committee_than_the_chains_is_refused(host: HostTwin) -> None:
    host.chain.set_committee(1, Bytes32(b"\x77" * 32))
    job_id = host.match()
    host.run()
    assert "committee" in host.journal.job(job_id).reason
    assert host.transactions.quotes == []


def test_jobs_of_other_providers_are_left_alone(host: HostTwin) -> None:
    host.chain.match(msgspec.structs.replace(host.scene.spec, provider=Address(b"\x99" * 20)))
    host.chain.finalise()
    host.run()
    assert host.journal.jobs() == []


# --- decisions against the job ---------------------------------------------------------------------------------


def test_a_refusal_is_told_with_its_reasons(host: HostTwin) -> None:
    host.nodes.outcome = Outcome.REQUEST_REFUSED
    host.nodes.reasons = Uint(reason_bits([JobReason.WORKLOAD_NOT_ALLOWED.code]))
    job_id = host.match()
    host.run()
    entry = host.journal.job(job_id)
    assert entry.state is JobState.GIVEN_UP
    assert "workload_not_allowed" in entry.reason
    assert host.driver.sandbox.jobs == []


def test_a_job_that_is_cancelled_before_the_quote_is_not_quoted(host: HostTwin) -> None:
    job_id = host.match()
    host.chain.end(job_id, Status.CANCELLED)
    host.chain.finalise()
    host.run()
    assert host.transactions.quotes == []
    assert "cancelled" in host.journal.job(job_id).reason


def test_a_silent_committee_does_not_hold_the_enclave_for_ever(host: HostTwin) -> None:
    host.on_tick = lambda: _slow_block(host)
    job_id = host.match()
    host.run()
    assert host.journal.job(job_id).state is JobState.GIVEN_UP


# --- nodes -----------------------------------------------------------------------------------------------------


def test_one_node_down_and_the_job_completes(host: HostTwin) -> None:
    host.nodes.down = {1}
    job_id = host.match()
    host.run()
    assert host.journal.job(job_id).state is JobState.DONE


def test_a_lying_node_is_named_and_the_job_completes_with_the_others(host: HostTwin) -> None:
    host.nodes.lying = {0}
    job_id = host.match()
    host.run()
    assert host.journal.job(job_id).state is JobState.DONE
    assert host.scene.nodes[0].signer.checksum in host.messages()
    assert str(host.scene.nodes[0].signer) in (host.folder / "complaints.jsonl").read_text()


def test_with_two_nodes_down_the_job_waits_and_completes_when_one_returns(host: HostTwin) -> None:
    host.nodes.down = {0, 1}
    ticks = []

    def tick() -> None:
        host.decide_when_quoted()
        ticks.append(status(host))
        if ticks.count(Status.ACCEPTED) > 5:
            host.nodes.down = {0}

    host.on_tick = tick
    job_id = host.match()
    host.run()
    assert host.journal.job(job_id).state is JobState.DONE


def test_with_two_nodes_down_for_good_the_host_ends_the_job_by_missing_shares(host: HostTwin) -> None:
    host.nodes.down = {0, 1}

    def tick() -> None:
        host.decide_when_quoted()
        if status(host) is Status.ACCEPTED:
            host.chain.mine(seconds=60)

    host.on_tick = tick
    job_id = host.match()
    host.run()
    assert "shares_missing" in host.journal.job(job_id).reason


# --- enclaves and crashes --------------------------------------------------------------------------------------


def test_a_device_that_is_away_before_the_quote_is_waited_for(host: HostTwin) -> None:
    host.driver.unreachable = 3
    job_id = host.match()
    host.run()
    assert host.journal.job(job_id).state is JobState.DONE


def test_an_enclave_that_dies_before_its_quote_is_replaced(host: HostTwin) -> None:
    def kill_the_first(twin: EnclaveTwin) -> None:
        if len(host.driver.launched) == 1:
            twin.socket.close()

    host.driver.on_launch = kill_the_first
    job_id = host.match()
    host.run()
    assert host.journal.job(job_id).state is JobState.DONE
    assert len(host.driver.launched) == 2


def test_an_enclave_that_dies_after_its_quote_ends_the_job_on_this_host(host: HostTwin) -> None:
    def kill_when_accepted() -> None:
        host.decide_when_quoted()
        if status(host) is Status.ACCEPTED:
            host.driver.launched[0].socket.shutdown(2)

    host.on_tick = kill_when_accepted
    job_id = host.match()
    host.run()
    entry = host.journal.job(job_id)
    assert entry.state is JobState.GIVEN_UP
    assert "the enclave is gone" in entry.reason
    assert len(host.transactions.quotes) == 1


def test_a_host_that_restarts_after_the_quote_does_not_quote_again(host: HostTwin) -> None:
    host.on_tick = host.stop.set
    job_id = host.match()
    host.run()
    assert len(host.transactions.quotes) == 1
    host.journal.close()
    host.start()
    host.run()
    assert host.journal.job(job_id).state is JobState.GIVEN_UP
    assert len(host.transactions.quotes) == 1


def test_a_host_that_restarts_before_the_quote_starts_afresh(host: HostTwin) -> None:
    host.store.broken = lambda path, raw: None if path.startswith("/v1/containers/") else raw
    host.on_tick = host.stop.set
    job_id = host.match()
    host.run()
    assert host.journal.job(job_id).state is JobState.MATCHED
    host.journal.close()
    host.store.broken = lambda _path, raw: raw
    host.on_tick = host.decide_when_quoted
    host.start()
    host.run()
    assert host.journal.job(job_id).state is JobState.DONE


def test_a_host_that_restarts_with_the_enclaves_word_posts_it(host: HostTwin) -> None:
    def stop_when_finished() -> None:
        host.decide_when_quoted()
        if host.journal.jobs(JobState.FINISHED):
            host.stop.set()

    host.on_tick = stop_when_finished
    host.store.on_result = lambda _posted: host.stop.set()
    job_id = host.match()
    host.run()
    host.journal.close()
    host.on_tick = host.decide_when_quoted
    host.start()
    host.run()
    assert host.journal.job(job_id).state is JobState.DONE
    assert len(host.driver.launched) == 1


def test_a_journal_step_from_the_wrong_state_is_refused(host: HostTwin) -> None:
    job_id = host.match()
    host.run()
    with pytest.raises(JournalConflict, match="is done in the journal"):
        host.journal.quoted(job_id)


# --- a chain that is rewritten ----------------------------------------------------------------------------------


def test_a_rewritten_final_block_is_noticed_and_the_chain_is_read_anew(
    host: HostTwin, caplog: pytest.LogCaptureFixture
) -> None:
    host.on_tick = host.stop.set
    job_id = host.match()
    host.run()
    assert host.journal.job(job_id).matched_block == 4
    host.chain.rewrite(host.chain.head().number - 3)
    host.match()
    host.journal.close()
    host.start()
    host.on_tick = host.decide_when_quoted
    host.run()
    assert "was final as" in caplog.text
    entry, cursor = host.journal.job(job_id), host.journal.cursor()
    assert entry.matched_block == host.chain.head().number - 1
    assert cursor is not None
    assert cursor.hash == host.chain.block(cursor.number).hash


# --- and when all is well --------------------------------------------------------------------------------------


def test_a_whole_job_ends_settled_with_everything_in_the_store(host: HostTwin) -> None:
    job_id = host.match()
    host.run()
    entry = host.journal.job(job_id)
    assert entry.state is JobState.DONE, entry.reason
    assert status(host) is Status.SETTLED
    [posted] = host.transactions.finished
    assert posted.settlement is not None
    raw = host.store.blobs[f"/v1/documents/{posted.settlement.result_hash}"]
    envelope = decode(ResultEnvelope, raw)
    container = host.store.blobs[f"/v1/containers/{envelope.content_root}"]
    outputs = open_result(envelope, container, host.scene.consumer_key, chain_id=CHAIN_ID, market=MARKET, job_id=job_id)
    assert outputs == {"report.json": b'{"rows":5}'}
    assert keccak(host.store.blobs[f"/v1/documents/{posted.receipt}"]) == posted.settlement.receipt_hash
    done = [stage for stage, state in host.story() if state == "done"]
    assert done == ["prepare", "quote", "decision", "release", "load", "open", "compute", "seal", "settle"]


def test_the_keeper_settles_and_the_host_does_not_pay_for_it(host: HostTwin) -> None:
    host.store.on_result = lambda posted: settle(host.chain, posted)
    host.context = replace(host.context, settle_patience_seconds=5.0)
    job_id = host.match()
    host.run()
    assert host.journal.job(job_id).state is JobState.DONE
    assert host.transactions.finished == []


def test_a_failure_that_the_enclave_signed_is_posted(host: HostTwin) -> None:
    host.driver.sandbox.outputs = WorkloadFailed("raised")
    job_id = host.match()
    host.run()
    assert host.journal.job(job_id).state is JobState.DONE
    assert status(host) is Status.FAILED


def test_nothing_on_disk_or_in_the_store_holds_a_row_of_the_data(host: HostTwin) -> None:
    host.match()
    host.run()
    host.driver.close()
    for path in host.folder.rglob("*"):
        assert not path.is_file() or MARKER not in path.read_bytes(), path
    assert all(MARKER not in blob for blob in host.store.blobs.values())
    assert MARKER.decode() not in host.messages()


def test_a_full_disk_delays_the_job_and_loses_nothing(host: HostTwin) -> None:
    host.journal = host.context.journal
    refusals = [sqlite3.OperationalError("database or disk is full")] * 3
    write = host.journal.finished

    def full(job_id: JobId, outcome: EnclaveWord) -> None:
        if refusals:
            raise refusals.pop()
        write(job_id, outcome)

    host.journal.finished = full  # type: ignore[method-assign]
    job_id = host.match()
    host.run()
    assert host.journal.job(job_id).state is JobState.DONE
    assert "disk is full" in host.messages()


# --- a chain that goes away -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("sent", [False, True])
def test_an_answer_lost_while_quoting_costs_neither_the_job_nor_a_second_quote(
    sent: bool, host: HostTwin, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = host.transactions.quote
    lost: list[Bytes32] = []

    def quote(spec: JobSpec, evidence_hash: Bytes32) -> None:
        if not lost:
            lost.append(evidence_hash)
            if sent:
                honest(spec, evidence_hash)
            raise ChainUnavailable("http://chain", "it restarts")
        honest(spec, evidence_hash)

    monkeypatch.setattr(host.transactions, "quote", quote)
    job_id = host.match()
    host.run()
    assert host.journal.job(job_id).state is JobState.DONE
    assert host.transactions.quotes == lost
