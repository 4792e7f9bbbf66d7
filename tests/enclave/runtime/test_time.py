"""The enclave's clocks: when it joins no key any more, what it signs of missing shares, and whose a used-up time is."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from sealmarket_enclave.protocol.codec import Address, Bytes32, Uint64, decode_canonical
from sealmarket_enclave.protocol.job import Failure, SharesMissing
from sealmarket_enclave.protocol.numbers import FailureCause
from sealmarket_enclave.protocol.signing import recover
from sealmarket_enclave.runtime.channel import Deliver, MissingSigned, Refused, ShareReport, SignMissing
from sealmarket_enclave.runtime.errors import Code, WorkloadFailed
from tests.enclave.runtime.twins import EnclaveTwin, Said, SandboxTwin, deliver, loaded, serve
from tests.enclave.scene import CHAIN_ID, MARKET, Scene


@dataclass
class Clock:
    """A clock that a test sets, in seconds; ``step`` passes at each look."""

    now: float = 1000.0
    step: float = 0.0

    def __call__(self) -> float:
        self.now += self.step
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def cpu_clock() -> Clock:
    return Clock()


@pytest.fixture
def enclave(tmp_path: Path, sandbox: SandboxTwin, clock: Clock, cpu_clock: Clock) -> Iterator[EnclaveTwin]:
    with closing(EnclaveTwin(tmp_path / "scratch", sandbox=sandbox, clock=clock, cpu_clock=cpu_clock)) as twin:
        yield twin


def _report(enclave: EnclaveTwin) -> ShareReport:
    answer = enclave.host.receive()
    assert isinstance(answer, ShareReport), answer
    return answer


def _missing(enclave: EnclaveTwin) -> MissingSigned:
    enclave.host.send(SignMissing())
    answer = enclave.host.receive()
    assert isinstance(answer, MissingSigned), answer
    return answer


def _failure(scene: Scene, enclave: EnclaveTwin) -> Failure:
    evidence = loaded(scene, enclave)
    deliver(scene, enclave, evidence)
    ran = serve(scene, enclave.host)
    assert ran.finished is not None, ran
    assert ran.finished.failure is not None, ran
    return decode_canonical(Failure, ran.finished.failure)


# --- no key after the cut-off -----------------------------------------------------------------------------------


def _in_time(scene: Scene) -> int:
    return scene.spec.settle_window - scene.spec.stage_seconds


def test_no_key_is_joined_once_the_stages_do_not_fit_the_settle_window_any_more(
    scene: Scene, enclave: EnclaveTwin, sandbox: SandboxTwin, clock: Clock
) -> None:
    evidence = loaded(scene, enclave)
    clock.now += _in_time(scene) + 1
    deliver(scene, enclave, evidence)
    report = _report(enclave)
    assert (report.needed, report.late) == (0, True)
    assert sandbox.jobs == []
    clock.now -= 1
    enclave.host.send(Deliver(releases=()))
    assert serve(scene, enclave.host).finished is not None


def test_a_report_of_missing_shares_gives_the_enclave_what_the_market_gives_the_job_once(
    scene: Scene, enclave: EnclaveTwin, clock: Clock
) -> None:
    evidence = loaded(scene, enclave)
    clock.now += _in_time(scene) + 1
    first = _missing(enclave)
    clock.now += scene.spec.decide_window + _in_time(scene) + 1
    assert _missing(enclave) == first
    deliver(scene, enclave, evidence)
    assert _report(enclave).late
    clock.now -= 1
    enclave.host.send(Deliver(releases=()))
    ran = serve(scene, enclave.host)
    assert ran.finished is not None
    assert ran.finished.settlement is not None


# --- missing shares ---------------------------------------------------------------------------------------------


def test_the_statement_names_job_and_evidence_and_is_signed_by_the_attested_key(
    scene: Scene, enclave: EnclaveTwin
) -> None:
    evidence = loaded(scene, enclave)
    signed = _missing(enclave)
    statement = decode_canonical(SharesMissing, signed.missing)
    job_id = scene.spec.job_id(CHAIN_ID, MARKET)
    assert statement == SharesMissing(job_id=job_id, evidence_hash=Bytes32(evidence.evidence_hash), excluded=0)
    assert recover(statement.digest(CHAIN_ID, MARKET), signed.signature) == Address(evidence.signer)


def test_the_statement_excludes_the_nodes_that_sent_false_shares(scene: Scene, enclave: EnclaveTwin) -> None:
    evidence = loaded(scene, enclave)
    hash_ = Bytes32(evidence.evidence_hash)
    false = scene.release(2, hash_, evidence.enclave_key, spoil=1)
    right = scene.release(0, hash_, evidence.enclave_key)
    enclave.host.send(Deliver(releases=(false.raw, right.raw)))
    assert _report(enclave).needed == 1
    assert decode_canonical(SharesMissing, _missing(enclave).missing).excluded == 0b100


def test_an_enclave_that_has_joined_its_keys_does_not_sign_that_it_has_not(scene: Scene, enclave: EnclaveTwin) -> None:
    evidence = loaded(scene, enclave)
    deliver(scene, enclave, evidence)
    enclave.host.send(SignMissing())
    ran = _until_refused(scene, enclave)
    assert ran.missing == []
    assert ran.refused is not None
    assert ran.refused.code == Code.OUT_OF_ORDER


def _until_refused(scene: Scene, enclave: EnclaveTwin) -> Said:
    said = Said()
    while said.refused is None:
        message = enclave.host.receive()
        if isinstance(message, MissingSigned):
            said.missing.append(message)
        if isinstance(message, Refused):
            said.refused = message
    return said


def test_a_job_goes_on_after_it_reported_missing_shares(scene: Scene, enclave: EnclaveTwin) -> None:
    evidence = loaded(scene, enclave)
    _missing(enclave)
    deliver(scene, enclave, evidence)
    ran = serve(scene, enclave.host)
    assert ran.finished is not None
    assert ran.finished.settlement is not None


# --- stages -----------------------------------------------------------------------------------------------------


def test_an_input_that_takes_longer_to_open_than_granted_is_no_owners_failure(
    scene: Scene, enclave: EnclaveTwin, sandbox: SandboxTwin, cpu_clock: Clock
) -> None:
    cpu_clock.step = scene.spec.read_seconds * 0.6
    failure = _failure(scene, enclave)
    assert (failure.cause, failure.asset_index, failure.units) == (FailureCause.WORKLOAD_TIME, 0, 0)
    assert sandbox.jobs == []


def test_time_in_which_the_host_serves_ciphertext_blames_no_owner(
    scene: Scene, enclave: EnclaveTwin, clock: Clock
) -> None:
    evidence = loaded(scene, enclave)
    deliver(scene, enclave, evidence)
    assert not _report(enclave).late
    clock.now += 1_000_000
    ran = serve(scene, enclave.host)
    assert ran.finished is not None
    assert ran.finished.settlement is not None


@pytest.mark.parametrize("changes", [{"decoded_bytes": Uint64(3)}, {"read_seconds": 0}], ids=["bytes", "seconds"])
def test_a_request_that_grants_less_than_the_containers_say_is_at_fault_and_no_owner(
    scene: Scene, enclave: EnclaveTwin, sandbox: SandboxTwin, changes: dict[str, object]
) -> None:
    scene.changes = changes
    failure = _failure(scene, enclave)
    assert (failure.cause, failure.asset_index, failure.units) == (FailureCause.WORKLOAD_TIME, 0, 0)
    assert sandbox.jobs == []


def test_a_workload_that_uses_its_time_up_is_signed_as_timed_out(
    scene: Scene, enclave: EnclaveTwin, sandbox: SandboxTwin
) -> None:
    sandbox.outputs = WorkloadFailed("out_of_time")
    failure = _failure(scene, enclave)
    assert (failure.cause, failure.asset_index, failure.units) == (FailureCause.WORKLOAD_TIME, 0, 1)


def test_outputs_that_take_longer_to_validate_than_granted_are_signed_as_timed_out(
    scene: Scene, enclave: EnclaveTwin, sandbox: SandboxTwin, clock: Clock
) -> None:
    sandbox.during = lambda _inputs: setattr(clock, "step", scene.spec.validate_seconds + 1)
    assert _failure(scene, enclave).cause is FailureCause.WORKLOAD_TIME
