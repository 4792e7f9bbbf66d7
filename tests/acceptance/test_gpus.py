"""Jobs whose owner demands TDX and a GPU that the enclave's TEE commits to, over real processes."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

from msgspec.structs import replace

from sealmarket.attestation.nvidia.measurement import NvidiaMeasurement
from sealmarket.attestation.nvidia.rules import NvidiaRules
from sealmarket.attestation.policy.composite import device_nonce
from sealmarket.attestation.policy.rules import AppraisalPolicy
from sealmarket.chain import Fault
from sealmarket.protocol.transitions import Status
from sealmarket.protocol.wire import BoundDevices, DeviceReport
from sealmarket_devices.gpu import DRIVER, PRODUCT, VBIOS, VirtualGpus
from sealmarket_enclave.protocol.codec import HexBytes, to_builtins
from sealmarket_enclave.protocol.numbers import Tee
from tests.acceptance.host import Bent, Host
from tests.acceptance.market import Rehearsal, names_of
from tests.acceptance.proofs import altered, audit, failed, prove


def demanding(rehearsal: Rehearsal) -> object:
    """The evidence part of a policy that demands this enclave and one GPU beside it."""
    gpu = NvidiaMeasurement(device=PRODUCT, driver=DRIVER, vbios=VBIOS)
    rules = AppraisalPolicy(
        measurements=(rehearsal.measurement, gpu),
        platforms="any",
        lowest_grade="simulated",
        nvidia=NvidiaRules(gpus=1),
    )
    return to_builtins(rules)


class _OtherMachine(Bent):
    """Shows the GPU of another machine, under the binding quote of this one."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self._other = VirtualGpus(folder, 1, lambda: datetime.now(UTC))

    def devices(self, devices: BoundDevices | None) -> BoundDevices | None:
        assert devices is not None
        (report,) = self._other.reports(device_nonce(os.urandom(64)))
        shown = DeviceReport(tee=Tee.NVIDIA, report=HexBytes(report.raw), chain=tuple(map(HexBytes, report.chain)))
        return replace(devices, devices=(shown,))


class _NoGpu(Bent):
    """Shows the CPU alone."""

    def devices(self, devices: BoundDevices | None) -> BoundDevices | None:
        return None


def _refused(rehearsal: Rehearsal, folder: Path, bent: Bent) -> set[str]:
    sealed = rehearsal.publish("north", evidence=demanding(rehearsal))
    with Host(rehearsal, folder, bent):
        record = rehearsal.reach_status(rehearsal.job(sealed, provider="host"), Status.REFUSED)
    assert record.fault is Fault.TERMS_REFUSED
    return names_of(record.reasons)


def test_a_job_is_refused_whose_gpu_belongs_to_another_machine(rehearsal: Rehearsal, tmp_path: Path) -> None:
    assert "device_binding" in _refused(rehearsal, tmp_path / "host", _OtherMachine(tmp_path / "other"))


def test_a_job_is_refused_whose_owner_demands_a_gpu_that_is_not_shown(rehearsal: Rehearsal, tmp_path: Path) -> None:
    assert "nvidia_gpus_missing" in _refused(rehearsal, tmp_path / "host", _NoGpu())


def test_a_job_that_demands_tdx_and_a_bound_gpu_settles(rehearsal: Rehearsal) -> None:
    sealed = rehearsal.publish("north", evidence=demanding(rehearsal))
    job_id = rehearsal.job(sealed)
    rehearsal.reach_status(job_id, Status.SETTLED)
    assert rehearsal.consumer.open_result(job_id, rehearsal.result_key)
    proof = prove(rehearsal, job_id)
    status, report = audit(rehearsal, proof)
    assert (status, failed(report)) == (0, set())
    for place in (("report",), ("chain", 1)):
        status, report = audit(rehearsal, altered(proof, ("evidence", "devices", "devices", 0, *place)))
        assert (status, failed(report)) == (1, {"evidence"})
