"""Jobs that can never run, through no fault of the platform: quoted, so that the nodes can say whose it is; never run.

Releases are handed over all the same, as a corrupt committee might: no share of a unrunnable job is opened, and no
plaintext comes into being.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest

from sealmarket.receipts.envelope import opened
from sealmarket.workloads.folders import read_bundle
from sealmarket_enclave.protocol.codec import Bytes32, MicroEpsilon
from sealmarket_enclave.protocol.hashing import keccak
from sealmarket_enclave.protocol.job import Parameters, report_data, result_keys_hash
from sealmarket_enclave.protocol.numbers import FailureCause
from sealmarket_enclave.protocol.receipt import Envelope
from sealmarket_enclave.runtime.bundle import PreparedBundle
from sealmarket_enclave.runtime.channel import Deliver, Evidence, Part, Refused, ShareReport
from sealmarket_enclave.runtime.errors import Code, JobRefused
from sealmarket_enclave.sealed.hpke import PrivateKey
from sealmarket_enclave.workload.bundle import pack
from tests.enclave.runtime.test_runtime import failure_of, refusal, run_with
from tests.enclave.runtime.twins import EnclaveTwin, SandboxTwin, deliver, load_of, loaded, serve
from tests.enclave.scene import CHAIN_ID, MANIFEST, MARKET, Scene, write_workload

Changes = dict[str, object]


def _without(what: str) -> Callable[[Scene], Changes]:
    def change(scene: Scene) -> Changes:
        whole = load_of(scene)
        left = tuple(getattr(whole, what))[1:] if what in ("policies", "share_sets") else ()
        value = (None, *left) if left else None
        return {what: value, "environment": None} if what == "workload" else {what: value}

    return change


ABSENT = ("policies", "share_sets", "parameters", "result_keys", "workload")


# --- what the platform is to blame for is still refused before the quote --------------------------------------------


@pytest.mark.parametrize("what", ABSENT)
def test_a_machine_that_cannot_confine_a_workload_quotes_nothing_for_a_unrunnable_job_either(
    what: str, scene: Scene, enclave: EnclaveTwin, sandbox: SandboxTwin
) -> None:
    sandbox.refusal = JobRefused(Code.SANDBOX_UNAVAILABLE, "no seccomp", "use another kernel")
    enclave.host.send(load_of(scene, **_without(what)(scene)))
    assert refusal(enclave).code == Code.SANDBOX_UNAVAILABLE
    assert enclave.platform.events == []


def test_a_false_document_is_refused_though_another_is_absent(scene: Scene, enclave: EnclaveTwin) -> None:
    swapped = (None, scene.assets[0].share_set.canonical())
    enclave.host.send(load_of(scene, share_sets=swapped))
    assert refusal(enclave).code == Code.SHARES_MISMATCH
    assert enclave.platform.events == []


def test_an_edited_specification_is_refused_though_everything_else_is_absent(
    scene: Scene, enclave: EnclaveTwin
) -> None:
    nothing: Changes = {"policies": (None, None), "share_sets": (None, None), "parameters": None, "workload": None}
    edited = msgspec.structs.replace(scene.spec, max_units=500).canonical()
    enclave.host.send(load_of(scene, spec=edited, result_keys=None, environment=None, **nothing))
    assert refusal(enclave).code == Code.JOB_MISMATCH


# --- what was absent: quoted, and refused without a signature -------------------------------------------------------


@pytest.mark.parametrize("what", ABSENT)
def test_a_job_without_its(what: str, scene: Scene, enclave: EnclaveTwin, sandbox: SandboxTwin) -> None:
    """It is quoted over the same job, and goes no further: the host's word alone blames nobody."""
    evidence = loaded(scene, enclave, **_without(what)(scene))
    job_id = scene.spec.job_id(CHAIN_ID, MARKET)
    bound = report_data(job_id, evidence.signer, keccak(evidence.enclave_key), scene.block_hash)  # type: ignore[arg-type]
    assert enclave.platform.report_data == bound
    assert enclave.platform.events == ["quote", "extend 3"]
    deliver(scene, enclave, evidence)
    refused = refusal(enclave)
    assert refused.code == Code.MATERIAL_MISSING
    assert (sandbox.loaded, sandbox.jobs) == ([], [])


def test_an_absent_workload_cannot_be_brought_in_later(scene: Scene, enclave: EnclaveTwin) -> None:
    loaded(scene, enclave, **_without("workload")(scene))
    enclave.host.send(load_of(scene))
    assert refusal(enclave).code == Code.OUT_OF_ORDER


def test_a_unrunnable_job_takes_nothing_but_a_delivery(scene: Scene, enclave: EnclaveTwin) -> None:
    loaded(scene, enclave, **_without("policies")(scene))
    enclave.host.send(Part(data=b""))
    assert refusal(enclave).code == Code.OUT_OF_ORDER


def test_a_host_that_leaves_something_out_cannot_have_the_consumer_charged(scene: Scene, enclave: EnclaveTwin) -> None:
    scene.reseal(0, rules=msgspec.structs.replace(scene.rules, media_types=("text/csv",)))
    deliver(scene, enclave, loaded(scene, enclave, **_without("parameters")(scene)))
    assert refusal(enclave).code == Code.MATERIAL_MISSING


# --- what a signature can prove: the owner's documents --------------------------------------------------------------


def _policy_of_the_other(scene: Scene) -> None:
    scene.reseal(1, policy_asset=scene.assets[0].use.asset_id)


def _dealing_of_another_epoch(scene: Scene) -> None:
    scene.reseal(1, policy_epoch=2)


def _dealing_of_another_threshold(scene: Scene) -> None:
    scene.reseal(1, threshold=3)


def _shares_of_another_version(scene: Scene) -> None:
    scene.reseal(1, mangle=lambda dealt: msgspec.structs.replace(dealt, asset_version=2))


def ended(scene: Scene, enclave: EnclaveTwin, evidence: Evidence):  # type: ignore[no-untyped-def]
    deliver(scene, enclave, evidence)
    return serve(scene, enclave.host)


@pytest.mark.parametrize(
    "wrong",
    [_policy_of_the_other, _dealing_of_another_epoch, _dealing_of_another_threshold, _shares_of_another_version],
    ids=lambda wrong: wrong.__name__.strip("_").replace("_", " "),
)
def test_an_owners_documents_that_contradict_each_other_are_quoted_and_signed_as_that_owners_failure(
    wrong: Callable[[Scene], None], scene: Scene, enclave: EnclaveTwin, sandbox: SandboxTwin
) -> None:
    wrong(scene)
    evidence = loaded(scene, enclave)
    ran = ended(scene, enclave, evidence)
    failure = failure_of(ran, evidence)
    assert (failure.cause, failure.asset_index, failure.units) == (FailureCause.INPUT, 1, 0)
    assert ran.reports == [ShareReport(held=(), needed=0, complaints=())]
    assert (ran.wants, sandbox.loaded, sandbox.jobs) == ([], [], [])
    statement, signer, _ = opened(msgspec.json.decode(ran.finished.receipt, type=Envelope))
    assert (statement.predicate.outcome, signer) == ("input_failed", evidence.signer)


def test_an_owners_failure_comes_before_what_the_host_left_out(scene: Scene, enclave: EnclaveTwin) -> None:
    _dealing_of_another_epoch(scene)
    evidence = loaded(scene, enclave, **_without("workload")(scene))
    assert failure_of(ended(scene, enclave, evidence), evidence).cause is FailureCause.INPUT


# --- what a signature can prove: the request ------------------------------------------------------------------------


def _more_owners_than_the_job_pools(scene: Scene) -> Changes:
    scene.reseal(0, rules=msgspec.structs.replace(scene.rules, minimum_owners=3))
    return {}


def _no_format_in_common(scene: Scene) -> Changes:
    scene.reseal(0, rules=msgspec.structs.replace(scene.rules, media_types=("text/csv",)))
    return {}


def _differential_privacy(scene: Scene) -> Changes:
    scene.reseal(0, rules=msgspec.structs.replace(scene.rules, privacy="dp"))
    return {}


def _privacy_budget(scene: Scene) -> Changes:
    use = msgspec.structs.replace(scene.spec.assets[0], epsilon=MicroEpsilon(1))
    spec = msgspec.structs.replace(scene.spec, assets=(use, scene.spec.assets[1]))
    return {"spec": spec.canonical(), "job_id": spec.job_id(CHAIN_ID, MARKET)}


def _parameters_outside_the_schema(scene: Scene) -> Changes:
    scene.parameters = Parameters(salt=Bytes32(b"\x05" * 32), values={"goal": "cost"})
    return {}


def _fewer_inputs_than_the_workload_takes(scene: Scene) -> Changes:
    folder = scene.folder / "other"
    folder.mkdir()
    manifest = MANIFEST.replace("minimum = 1", "minimum = 3")
    scene.bundle, scene.environment = folder / "bundle", folder / "environment"
    scene.workload_digest = write_workload(scene.bundle, folder / "wheels", scene.environment, manifest=manifest)
    return {"workload": pack(read_bundle(scene.bundle)), "environment": str(scene.environment)}


def _a_result_key_that_is_no_key(scene: Scene) -> Changes:
    spec = msgspec.structs.replace(scene.spec, result_keys_hash=result_keys_hash([b"no key"]))
    return {"spec": spec.canonical(), "job_id": spec.job_id(CHAIN_ID, MARKET), "result_keys": (b"no key",)}


def _a_result_key_that_an_owner_demands_is_not_among_the_jobs(scene: Scene) -> Changes:
    scene.reseal(1, policy_keys=(keccak(b"the owner's key"),))
    return {}


def _too_little_time(scene: Scene) -> Changes:
    spec = msgspec.structs.replace(scene.spec, run_seconds=19)
    return {"spec": spec.canonical(), "job_id": spec.job_id(CHAIN_ID, MARKET)}


@pytest.mark.parametrize(
    "wrong",
    [
        _more_owners_than_the_job_pools,
        _no_format_in_common,
        _differential_privacy,
        _privacy_budget,
        _parameters_outside_the_schema,
        _fewer_inputs_than_the_workload_takes,
        _a_result_key_that_is_no_key,
        _a_result_key_that_an_owner_demands_is_not_among_the_jobs,
        _too_little_time,
    ],
    ids=lambda wrong: wrong.__name__.strip("_").replace("_", " "),
)
def test_a_request_that_can_never_run_is_quoted_and_never_run(
    wrong: Callable[[Scene], Changes], scene: Scene, enclave: EnclaveTwin, sandbox: SandboxTwin
) -> None:
    evidence = loaded(scene, enclave, **wrong(scene))
    assert enclave.platform.events == ["quote", "extend 3"]
    ran = ended(scene, enclave, evidence)
    failure = failure_of(ran, evidence)
    assert (failure.cause, failure.asset_index, failure.units) == (FailureCause.WORKLOAD, 0, 0)
    assert (ran.wants, ran.container, sandbox.loaded, sandbox.jobs) == ([], b"", [], [])


# --- an input for which there is no room ----------------------------------------------------------------------------


@pytest.fixture
def _little_memory(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    room = len(scene.assets[0].container) + len(scene.assets[1].container) - 1
    monkeypatch.setattr(PreparedBundle, "max_input_bytes", room)


@pytest.mark.usefixtures("_little_memory")
def test_an_input_for_which_the_workload_has_no_room_is_signed_as_the_requests_failure(
    scene: Scene, enclave: EnclaveTwin, sandbox: SandboxTwin
) -> None:
    evidence, ran = run_with(scene, enclave)
    assert failure_of(ran, evidence).cause is FailureCause.WORKLOAD_TIME
    assert sandbox.jobs == []


@pytest.mark.usefixtures("_little_memory")
@pytest.mark.parametrize("at", [0, 48, 69, -1], ids=["magic", "length", "salt", "last byte"])
def test_an_altered_container_is_the_hosts_fault_though_there_is_no_room_for_it(
    at: int, scene: Scene, enclave: EnclaveTwin
) -> None:
    held = {asset.seal.content_root: bytearray(asset.container) for asset in scene.assets}
    held[scene.assets[1].seal.content_root][at] ^= 1
    _, ran = run_with(scene, enclave, {root: bytes(raw) for root, raw in held.items()})
    assert isinstance(ran.refused, Refused)
    assert ran.refused.code in (Code.CONTAINER_ALTERED, Code.CONTAINER_WITHHELD)


def test_shares_for_another_enclave_end_a_unrunnable_job_as_well_since_none_is_looked_at(
    scene: Scene, enclave: EnclaveTwin
) -> None:
    _dealing_of_another_epoch(scene)
    evidence = loaded(scene, enclave)
    other = scene.release(0, Bytes32(evidence.evidence_hash), PrivateKey.generate().public.raw)
    enclave.host.send(Deliver(releases=(other.raw, b"nonsense")))
    assert failure_of(serve(scene, enclave.host), evidence).cause is FailureCause.INPUT
