"""The runtime over a socket pair: what it refuses, whom it blames, and what it says when all is well."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path

import msgspec
import pytest

from sealmarket.receipts.envelope import opened
from sealmarket.sealing.results import open_result
from sealmarket_enclave.protocol.codec import Address, Bytes32, decode, decode_canonical
from sealmarket_enclave.protocol.hashing import keccak
from sealmarket_enclave.protocol.job import (
    MAX_ASSETS,
    AssetUse,
    Failure,
    Settlement,
    enclave_key_hash,
    evidence_hash,
    report_data,
    result_keys_hash,
)
from sealmarket_enclave.protocol.numbers import FailureCause, JobId, Tee
from sealmarket_enclave.protocol.receipt import Envelope, Statement, signing_hash
from sealmarket_enclave.protocol.release import SignedComplaint
from sealmarket_enclave.protocol.signing import recover
from sealmarket_enclave.runtime.channel import Deliver, Evidence, Refused, ShareReport, Stage, Want
from sealmarket_enclave.runtime.errors import Code, HostLost, JobRefused, WorkloadFailed
from sealmarket_enclave.sealed.errors import NotOpened
from sealmarket_enclave.sealed.hpke import PrivateKey
from sealmarket_enclave.sealed.result import ResultEnvelope
from tests.enclave.runtime.twins import EnclaveTwin, SandboxTwin, deliver, load_of, loaded, serve
from tests.enclave.scene import CHAIN_ID, MARKER, MARKET, Scene
from tests.patience import PATIENCE


def refusal(enclave: EnclaveTwin) -> Refused:
    answer = enclave.host.receive()
    assert isinstance(answer, Refused), answer
    return answer


# --- before the quote ------------------------------------------------------------------------------------------


def edited_spec(scene: Scene) -> dict[str, object]:
    return {"spec": msgspec.structs.replace(scene.spec, max_units=500).canonical()}


def spec_with_other_result_key(scene: Scene) -> dict[str, object]:
    return {"spec": msgspec.structs.replace(scene.spec, result_keys_hash=Bytes32(b"\x66" * 32)).canonical()}


def spec_not_canonical(scene: Scene) -> dict[str, object]:
    return {"spec": b" " + scene.spec.canonical()}


def other_chain(scene: Scene) -> dict[str, object]:
    return {"chain_id": CHAIN_ID + 1}


def other_result_key(scene: Scene) -> dict[str, object]:
    return {"result_keys": (PrivateKey.generate().public.raw,)}


def other_parameters(scene: Scene) -> dict[str, object]:
    return {"parameters": msgspec.structs.replace(scene.parameters, values={"target": "name"}).canonical()}


def parameters_under_another_salt(scene: Scene) -> dict[str, object]:
    return {"parameters": msgspec.structs.replace(scene.parameters, salt=Bytes32(b"\x06" * 32)).canonical()}


def one_asset_too_many(scene: Scene) -> dict[str, object]:
    return with_assets(scene, scene.spec.assets[:1] * (MAX_ASSETS + 1))


def no_assets(scene: Scene) -> dict[str, object]:
    return with_assets(scene, ())


def with_assets(scene: Scene, assets: tuple[AssetUse, ...]) -> dict[str, object]:
    spec = msgspec.structs.replace(scene.spec, assets=assets)
    return {"spec": spec.canonical(), "job_id": spec.job_id(CHAIN_ID, MARKET)}


def swapped_seals(scene: Scene) -> dict[str, object]:
    return {"seals": tuple(asset.seal.canonical() for asset in reversed(scene.assets))}


def one_seal_missing(scene: Scene) -> dict[str, object]:
    return {"seals": (scene.assets[0].seal.canonical(),)}


def loosened_policy(scene: Scene) -> dict[str, object]:
    loose = msgspec.structs.replace(scene.assets[0].policy.output, max_bytes=1 << 30)
    policy = msgspec.structs.replace(scene.assets[0].policy, output=loose)
    return {"policies": (policy.canonical(), scene.assets[1].policy.canonical())}


def share_set_of_the_other_asset(scene: Scene) -> dict[str, object]:
    return {"share_sets": (scene.assets[1].share_set.canonical(),) * 2}


@pytest.mark.parametrize(
    ("edit", "code"),
    [
        (edited_spec, Code.JOB_MISMATCH),
        (spec_with_other_result_key, Code.JOB_MISMATCH),
        (spec_not_canonical, Code.SPEC_MALFORMED),
        (one_asset_too_many, Code.SPEC_MALFORMED),
        (no_assets, Code.SPEC_MALFORMED),
        (other_chain, Code.JOB_MISMATCH),
        (other_result_key, Code.RESULT_KEY_MISMATCH),
        (other_parameters, Code.PARAMETERS_MISMATCH),
        (parameters_under_another_salt, Code.PARAMETERS_MISMATCH),
        (swapped_seals, Code.SEAL_MISMATCH),
        (one_seal_missing, Code.SEAL_MISMATCH),
        (loosened_policy, Code.POLICY_MISMATCH),
        (share_set_of_the_other_asset, Code.SHARES_MISMATCH),
    ],
    ids=lambda value: value.__name__ if callable(value) else str(value),
)
def test_what_the_host_edits_is_refused_before_anything_is_quoted(
    scene: Scene, enclave: EnclaveTwin, edit: object, code: Code
) -> None:
    assert callable(edit)
    enclave.host.send(load_of(scene, **edit(scene)))
    assert refusal(enclave).code == code
    assert enclave.platform.events == []


def test_a_job_id_of_the_hosts_own_spec_gives_evidence_for_that_other_job_only(
    scene: Scene, enclave: EnclaveTwin
) -> None:
    spec = msgspec.structs.replace(scene.spec, max_units=500)
    evidence = loaded(scene, enclave, spec=spec.canonical(), job_id=spec.job_id(CHAIN_ID, MARKET))
    assert evidence.job_id != scene.spec.job_id(CHAIN_ID, MARKET)


def test_a_job_for_another_kind_of_tee_is_refused(scene: Scene, enclave: EnclaveTwin) -> None:
    scene.tee = Tee.SNP
    enclave.host.send(load_of(scene))
    assert refusal(enclave).code == Code.TEE_MISMATCH


def test_an_edited_workload_is_refused(scene: Scene, enclave: EnclaveTwin) -> None:
    code = scene.bundle / "code" / "count.py"
    code.write_text(code.read_text() + "# leaks\n")
    enclave.host.send(load_of(scene))
    assert refusal(enclave).code == Code.WORKLOAD_MISMATCH


def test_an_edited_dependency_is_refused_by_name(scene: Scene, enclave: EnclaveTwin) -> None:
    (scene.environment / "tiny" / "__init__.py").chmod(0o600)
    (scene.environment / "tiny" / "__init__.py").write_text("WORD = 'edited'\n")
    enclave.host.send(load_of(scene))
    refused = refusal(enclave)
    assert refused.code == Code.ENVIRONMENT_MISMATCH
    assert "tiny/__init__.py" in refused.message


@pytest.mark.parametrize("name", ["sitecustomize.py", "extra.pth", "tiny/__init__.pyc"])
def test_a_file_that_no_wheel_lists_is_refused(scene: Scene, enclave: EnclaveTwin, name: str) -> None:
    (scene.environment / name).write_text("import os\n")
    enclave.host.send(load_of(scene))
    assert refusal(enclave).code == Code.ENVIRONMENT_MISMATCH


def test_a_machine_that_cannot_confine_a_workload_quotes_nothing(
    scene: Scene, enclave: EnclaveTwin, sandbox: SandboxTwin
) -> None:
    sandbox.refusal = JobRefused(Code.SANDBOX_UNAVAILABLE, "no seccomp", "use another kernel")
    enclave.host.send(load_of(scene))
    assert refusal(enclave).code == Code.SANDBOX_UNAVAILABLE
    assert enclave.platform.events == []


def test_a_dependency_that_is_edited_after_the_check_is_not_the_one_that_runs(
    scene: Scene, enclave: EnclaveTwin, sandbox: SandboxTwin
) -> None:
    evidence = loaded(scene, enclave)
    (scene.environment / "tiny" / "__init__.py").chmod(0o600)
    (scene.environment / "tiny" / "__init__.py").write_text("WORD = 'edited'\n")
    deliver(scene, enclave, evidence)
    assert serve(scene, enclave.host).finished is not None
    assert sandbox.dependency == "WORD = 'locked'\n"


# --- frames and order ------------------------------------------------------------------------------------------


def test_releases_before_a_job_are_out_of_order(enclave: EnclaveTwin) -> None:
    enclave.host.send(Deliver(releases=()))
    assert refusal(enclave).code == Code.OUT_OF_ORDER


def test_a_second_job_to_the_same_enclave_is_out_of_order(scene: Scene, enclave: EnclaveTwin) -> None:
    loaded(scene, enclave)
    enclave.host.send(load_of(scene))
    assert refusal(enclave).code == Code.OUT_OF_ORDER


def test_a_second_job_in_place_of_a_chunk_is_out_of_order(scene: Scene, enclave: EnclaveTwin) -> None:
    deliver(scene, enclave, loaded(scene, enclave))
    while not isinstance(enclave.host.receive(), Want):
        pass
    enclave.host.send(load_of(scene))
    assert refusal(enclave).code == Code.OUT_OF_ORDER


@pytest.mark.parametrize(
    "frame",
    [b"\x00\x00\x00\x01\xc0", b"\xff\xff\xff\xff", b"\x00\x00\x00\x02\x81\xa4", b"\x00\x00\x00\x00"],
    ids=["no map", "endless", "cut short", "empty"],
)
def test_a_frame_that_is_no_message_is_refused(enclave: EnclaveTwin, frame: bytes) -> None:
    enclave.socket.sendall(frame)
    assert refusal(enclave).code == Code.FRAME_REFUSED


def test_a_message_of_the_enclaves_own_side_is_refused(enclave: EnclaveTwin) -> None:
    enclave.host.send(Want(content_root=b"", offset=0, length=1))
    assert refusal(enclave).code == Code.FRAME_REFUSED


def test_a_host_that_goes_away_ends_the_enclave(scene: Scene, enclave: EnclaveTwin) -> None:
    loaded(scene, enclave)
    enclave.close()
    assert not enclave.thread.is_alive()


# --- shares ----------------------------------------------------------------------------------------------------


def complaints_of(raw: tuple[bytes, ...]) -> list[SignedComplaint]:
    return [decode_canonical(SignedComplaint, one) for one in raw]


def test_a_node_that_sends_a_false_share_is_named_under_signature_and_the_job_completes_without_it(
    scene: Scene, enclave: EnclaveTwin
) -> None:
    evidence = loaded(scene, enclave)
    false = scene.release(0, Bytes32(evidence.evidence_hash), evidence.enclave_key, spoil=1)
    enclave.host.send(Deliver(releases=(false.raw,)))
    report = enclave.host.receive()
    [complaint] = complaints_of(report.complaints)  # type: ignore[union-attr]
    assert complaint.complaint.node == scene.nodes[0].signer
    assert complaint.complaint.asset_id == scene.assets[1].use.asset_id
    assert recover(complaint.complaint.digest(CHAIN_ID, MARKET), complaint.signature) == evidence.signer
    deliver(scene, enclave, evidence, nodes=(1, 2))
    ran = serve(scene, enclave.host)
    assert ran.finished is not None
    assert ran.reports[-1].held == (1, 2)


@pytest.mark.parametrize(
    "change",
    [
        {"job_id": Bytes32(b"\x01" * 32)},
        {"evidence_hash": Bytes32(b"\x02" * 32)},
        {"terms_digest": Bytes32(b"\x03" * 32)},
        {"asset_version": 2},
        {"epoch": 2},
        {"chain_id": 1},
    ],
    ids=lambda change: next(iter(change)),
)
def test_a_share_that_was_released_under_another_context_does_not_count(
    scene: Scene, enclave: EnclaveTwin, change: dict[str, object]
) -> None:
    evidence = loaded(scene, enclave)
    release = scene.release(0, Bytes32(evidence.evidence_hash), evidence.enclave_key, **change)  # type: ignore[arg-type]
    enclave.host.send(Deliver(releases=(release.raw,)))
    report = enclave.host.receive()
    assert report.needed == 2  # type: ignore[union-attr]
    assert len(report.complaints) == 2  # type: ignore[union-attr]


def test_a_release_that_no_member_signed_is_dropped_and_blames_nobody(scene: Scene, enclave: EnclaveTwin) -> None:
    evidence = loaded(scene, enclave)
    hash_ = Bytes32(evidence.evidence_hash)
    honest = scene.release(0, hash_, evidence.enclave_key)
    other = scene.release(1, hash_, evidence.enclave_key)
    forged = msgspec.structs.replace(honest, signature=other.signature)
    mixed = msgspec.structs.replace(honest, shares=other.shares)
    late = msgspec.structs.replace(honest, job_id=JobId(Bytes32(b"\x01" * 32)))
    raw = (forged.raw, mixed.raw, late.raw, b"{}", b"")
    enclave.host.send(Deliver(releases=raw))
    report = enclave.host.receive()
    assert (report.held, report.needed, report.complaints) == ((), 2, ())  # type: ignore[union-attr]


def test_a_job_may_use_one_asset_twice(scene: Scene, enclave: EnclaveTwin, sandbox: SandboxTwin) -> None:
    scene.use_twice()
    _, ran = run_with(scene, enclave)
    assert ran.finished is not None
    assert ran.reports[-1].complaints == ()
    assert tuple(sandbox.seen.values()) == (scene.plaintexts[0],) * 2


def test_a_release_with_its_shares_in_another_order_counts_for_nothing(scene: Scene, enclave: EnclaveTwin) -> None:
    evidence = loaded(scene, enclave)
    scene.assets = scene.assets[::-1]
    release = scene.release(0, Bytes32(evidence.evidence_hash), evidence.enclave_key, job_of=evidence.job_id)
    enclave.host.send(Deliver(releases=(release.raw,)))
    report = enclave.host.receive()
    assert report.needed == 2  # type: ignore[union-attr]
    assert len(report.complaints) == 2  # type: ignore[union-attr]


def test_one_node_twice_is_one_share(scene: Scene, enclave: EnclaveTwin) -> None:
    evidence = loaded(scene, enclave)
    deliver(scene, enclave, evidence, nodes=(0, 0, 0))
    report = enclave.host.receive()
    assert (report.held, report.needed) == ((0,), 1)  # type: ignore[union-attr]


def test_releases_for_another_enclave_do_not_open_here(scene: Scene, tmp_path: Path, enclave: EnclaveTwin) -> None:
    other = EnclaveTwin(tmp_path / "other")
    theirs = loaded(scene, other)
    loaded(scene, enclave)
    deliver(scene, enclave, theirs)
    report = enclave.host.receive()
    assert (report.held, report.needed) == ((), 2)  # type: ignore[union-attr]
    other.close()


# --- containers ------------------------------------------------------------------------------------------------


def run_with(scene: Scene, enclave: EnclaveTwin, containers: Mapping[Bytes32, bytes] | None = None):  # type: ignore[no-untyped-def]
    evidence = loaded(scene, enclave)
    deliver(scene, enclave, evidence)
    return evidence, serve(scene, enclave.host, containers)


def altered(scene: Scene, at: int) -> dict[Bytes32, bytes]:
    held = {asset.seal.content_root: bytearray(asset.container) for asset in scene.assets}
    held[scene.assets[1].seal.content_root][at] ^= 1
    return {root: bytes(container) for root, container in held.items()}


@pytest.mark.parametrize("at", [0, 20, 69, 100, -1], ids=["magic", "asset", "salt", "first byte", "tag"])
def test_an_altered_container_is_the_hosts_fault_and_no_plaintext_reaches_the_workload(
    scene: Scene, enclave: EnclaveTwin, sandbox: SandboxTwin, at: int
) -> None:
    _, ran = run_with(scene, enclave, altered(scene, at))
    assert ran.refused is not None
    assert ran.refused.code == Code.CONTAINER_ALTERED
    assert sandbox.jobs == []


def test_a_withheld_chunk_is_the_hosts_fault(scene: Scene, enclave: EnclaveTwin, sandbox: SandboxTwin) -> None:
    short = {asset.seal.content_root: asset.container[:-5] for asset in scene.assets}
    _, ran = run_with(scene, enclave, short)
    assert ran.refused is not None
    assert ran.refused.code == Code.CONTAINER_WITHHELD
    assert sandbox.jobs == []


def test_the_container_of_another_asset_is_the_hosts_fault(scene: Scene, enclave: EnclaveTwin) -> None:
    root, other = scene.assets[0].seal.content_root, scene.assets[1]
    _, ran = run_with(scene, enclave, {root: other.container, other.seal.content_root: other.container})
    assert ran.refused is not None
    assert ran.refused.code == Code.CONTAINER_ALTERED


def test_chunks_are_asked_for_in_one_fixed_order(scene: Scene, enclave: EnclaveTwin) -> None:
    _, ran = run_with(scene, enclave)
    roots = [asset.seal.content_root for asset in scene.assets]
    assert [want.content_root for want in ran.wants] == [roots[0], roots[0], roots[1], roots[1]]
    assert [want.offset for want in ran.wants] == [0, 100, 0, 100]


def failure_of(ran, evidence: Evidence) -> Failure:  # type: ignore[no-untyped-def]
    assert ran.finished is not None, ran.refused
    assert ran.finished.settlement is None
    failure = decode_canonical(Failure, ran.finished.failure)
    assert recover(failure.digest(CHAIN_ID, MARKET), ran.finished.signature) == evidence.signer
    assert failure.receipt_hash == keccak(ran.finished.receipt)
    return failure


def test_a_later_version_opens_the_content_of_an_earlier_one(
    scene: Scene, enclave: EnclaveTwin, sandbox: SandboxTwin
) -> None:
    scene.reseal(1, version=2)
    assert scene.spec.assets[1].version == 2
    assert scene.assets[1].seal.content_version == 1
    _, ran = run_with(scene, enclave)
    assert ran.finished is not None
    assert ran.finished.settlement is not None
    assert len(sandbox.jobs) == 1


def test_garbage_under_a_valid_root_is_signed_as_that_owners_failure(
    scene: Scene, enclave: EnclaveTwin, sandbox: SandboxTwin
) -> None:
    scene.reseal(1, seal_key=b"\x77" * 32)
    evidence, ran = run_with(scene, enclave)
    failure = failure_of(ran, evidence)
    assert (failure.cause, failure.asset_index, failure.units) == (FailureCause.INPUT, 1, 0)
    assert sandbox.jobs == []


def test_shares_that_match_but_do_not_join_are_signed_as_that_owners_failure(
    scene: Scene, enclave: EnclaveTwin
) -> None:
    def mangle(share_set):  # type: ignore[no-untyped-def]
        commitments = msgspec.structs.replace(share_set.commitments, key=Bytes32(b"\x88" * 32))
        return msgspec.structs.replace(share_set, commitments=commitments)

    scene.reseal(0, mangle=mangle)
    evidence, ran = run_with(scene, enclave)
    failure = failure_of(ran, evidence)
    assert (failure.cause, failure.asset_index) == (FailureCause.INPUT, 0)


# --- the workload ----------------------------------------------------------------------------------------------

DATA = MARKER * 3


@pytest.mark.parametrize(
    "outputs",
    [
        WorkloadFailed("out_of_memory"),
        {},
        {"rows.csv": DATA},
        {"report.json": DATA * 400},
        {"../report.json": DATA},
    ],
    ids=["failed", "nothing", "not declared", "too large", "a path"],
)
def test_what_the_rules_do_not_allow_is_a_signed_failure_without_data(
    scene: Scene, enclave: EnclaveTwin, sandbox: SandboxTwin, outputs: object
) -> None:
    sandbox.outputs = outputs  # type: ignore[assignment]
    evidence, ran = run_with(scene, enclave)
    failure = failure_of(ran, evidence)
    assert (failure.cause, failure.units) == (FailureCause.WORKLOAD, 1)
    assert ran.container == b""
    assert MARKER not in ran.finished.receipt


def test_the_strictest_owner_decides_what_leaves(scene: Scene, enclave: EnclaveTwin, sandbox: SandboxTwin) -> None:
    scene.reseal(1, rules=msgspec.structs.replace(scene.rules, max_bytes=10))
    sandbox.outputs = {"report.json": b"eleven char"}
    evidence, ran = run_with(scene, enclave)
    assert failure_of(ran, evidence).cause is FailureCause.WORKLOAD


def test_a_workload_that_makes_a_format_which_no_owner_allows_does_not_start(
    scene: Scene, enclave: EnclaveTwin, sandbox: SandboxTwin
) -> None:
    for place in (0, 1):
        scene.reseal(place, rules=msgspec.structs.replace(scene.rules, media_types=("text/csv",)))
    evidence, ran = run_with(scene, enclave)
    assert failure_of(ran, evidence).cause is FailureCause.WORKLOAD
    assert sandbox.jobs == []


def test_an_unforeseen_error_says_nothing_but_that_the_enclave_stopped(
    scene: Scene, enclave: EnclaveTwin, sandbox: SandboxTwin
) -> None:
    sandbox.outputs = RuntimeError(MARKER.decode())
    _, ran = run_with(scene, enclave)
    assert ran.refused is not None
    assert ran.refused.code == Code.INTERNAL
    assert MARKER.decode() not in ran.refused.message + ran.refused.remedy


# --- and when all is well --------------------------------------------------------------------------------------


def test_the_quote_binds_job_keys_and_block_and_the_job_goes_into_the_register_after_it(
    scene: Scene, enclave: EnclaveTwin
) -> None:
    evidence = loaded(scene, enclave)
    signer, key_hash = Address(evidence.signer), enclave_key_hash(evidence.enclave_key)
    job_id = scene.spec.job_id(CHAIN_ID, MARKET)
    assert enclave.platform.report_data == report_data(job_id, signer, key_hash, scene.block_hash)
    assert evidence.evidence_hash == evidence_hash(evidence.quote, signer, key_hash, scene.block_hash)
    assert enclave.platform.events == ["quote", "extend 3"]


def test_a_whole_job_gives_the_consumer_the_result_and_a_receipt_that_the_attested_key_signed(
    scene: Scene, enclave: EnclaveTwin, sandbox: SandboxTwin
) -> None:
    evidence, ran = run_with(scene, enclave)
    finished, job_id = ran.finished, scene.spec.job_id(CHAIN_ID, MARKET)
    settlement = decode_canonical(Settlement, finished.settlement)
    assert recover(settlement.digest(CHAIN_ID, MARKET), finished.signature) == evidence.signer
    assert settlement.result_hash == keccak(finished.result)
    assert settlement.receipt_hash == keccak(finished.receipt)
    envelope = decode_canonical(ResultEnvelope, finished.result)
    assert envelope.job_id == job_id
    outputs = open_result(envelope, ran.container, scene.consumer_key, chain_id=CHAIN_ID, market=MARKET, job_id=job_id)
    assert outputs == {"report.json": b'{"rows":5}'}
    statement, signer, signature = opened(decode(Envelope, finished.receipt))
    assert recover(signing_hash(statement), signature) == signer == evidence.signer
    assert isinstance(statement, Statement)
    assert statement.predicate.outcome == "completed"
    assert statement.predicate.sandbox == ("twin",)
    assert "simulated" in statement.predicate.platform
    assert ran.stages == ["importing", "opening", "computing", "sealing"]
    assert list(sandbox.seen) == ["rows-1", "rows-2"]
    assert tuple(sandbox.seen.values()) == scene.plaintexts


def test_each_of_a_jobs_result_keys_opens_the_result_and_no_other_does(scene: Scene, enclave: EnclaveTwin) -> None:
    others = [PrivateKey.generate() for _ in range(2)]
    keys = [scene.consumer_key, *others]
    publics = tuple(key.public.raw for key in keys)
    scene.changes = {"result_keys_hash": result_keys_hash(publics)}
    scene.reseal(0, policy_keys=(others[1].public.digest,))
    evidence = loaded(scene, enclave, result_keys=publics)
    deliver(scene, enclave, evidence)
    ran = serve(scene, enclave.host)
    assert ran.finished is not None
    assert ran.finished.result is not None
    envelope = decode_canonical(ResultEnvelope, ran.finished.result)
    open_with = partial(open_result, chain_id=CHAIN_ID, market=MARKET, job_id=scene.spec.job_id(CHAIN_ID, MARKET))
    for key in keys:
        assert "report.json" in open_with(envelope, ran.container, key)
    with pytest.raises(NotOpened):
        open_with(envelope, ran.container, PrivateKey.generate())


def test_an_envelope_for_one_key_has_no_field_for_others(scene: Scene, enclave: EnclaveTwin) -> None:
    _, ran = run_with(scene, enclave)
    assert ran.finished is not None
    assert ran.finished.result is not None
    assert b"furtherKeys" not in ran.finished.result


@pytest.mark.parametrize("count", [0, 9])
def test_a_list_of_no_result_key_or_of_too_many_is_refused(count: int, scene: Scene, enclave: EnclaveTwin) -> None:
    enclave.host.send(load_of(scene, result_keys=(scene.consumer_key.public.raw,) * count))
    assert refusal(enclave).code == Code.RESULT_KEY_MISMATCH


def test_inputs_are_wiped_after_the_workload(scene: Scene, enclave: EnclaveTwin, sandbox: SandboxTwin) -> None:
    run_with(scene, enclave)
    enclave.thread.join(PATIENCE)
    assert all(not any(data) for data in sandbox.inputs.values())


def test_a_workload_loads_after_the_quote_and_holds_no_data_until_the_keys_are_joined(
    scene: Scene, enclave: EnclaveTwin, sandbox: SandboxTwin
) -> None:
    evidence = loaded(scene, enclave)
    deliver(scene, enclave, evidence, nodes=(0,))
    enclave.host.receive()
    assert (len(sandbox.loaded), sandbox.jobs) == (1, [])
    enclave.close()
    assert sandbox.open == 0


def test_nothing_is_asked_for_or_opened_before_the_workload_has_loaded(
    scene: Scene, enclave: EnclaveTwin, sandbox: SandboxTwin
) -> None:
    sandbox.may_load.clear()
    deliver(scene, enclave, loaded(scene, enclave))
    assert isinstance(enclave.host.receive(), ShareReport)
    assert enclave.host.receive() == Stage(name="importing")
    assert sandbox.waited.wait(PATIENCE)
    assert (sandbox.jobs, sandbox.inputs) == ([], {})
    sandbox.may_load.set()
    assert serve(scene, enclave.host).stages == ["opening", "computing", "sealing"]


def test_an_enclave_that_finished_takes_nothing_more_and_leaves_no_files(
    scene: Scene, enclave: EnclaveTwin, tmp_path: Path
) -> None:
    run_with(scene, enclave)
    with pytest.raises(HostLost):
        enclave.host.receive()
    enclave.thread.join(PATIENCE)
    assert list((tmp_path / "scratch").iterdir()) == []


def test_results_of_different_sizes_look_alike_up_to_the_bucket(scene: Scene, tmp_path: Path) -> None:
    sizes = set()
    for number, text in enumerate((b"1", b"2" * 500, b"3" * 2000)):
        twin = EnclaveTwin(tmp_path / str(number), sandbox=SandboxTwin(outputs={"report.json": text}))
        _, ran = run_with(scene, twin)
        sizes.add(len(ran.container))
        twin.close()
    assert len(sizes) == 1
