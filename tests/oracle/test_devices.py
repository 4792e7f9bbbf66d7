"""A policy that demands GPUs, held by three nodes: a bound GPU is accepted, one of another machine is refused."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from sealmarket.attestation.collateral.trust_anchors import TrustAnchors
from sealmarket.attestation.core.findings import Finding
from sealmarket.attestation.core.model import Platform
from sealmarket.attestation.core.reasons import Reason
from sealmarket.attestation.nvidia.measurement import NvidiaMeasurement
from sealmarket.attestation.nvidia.rules import NvidiaRules
from sealmarket.attestation.policy.composite import binding_report_data, device_nonce
from sealmarket.protocol.decisions import Outcome
from sealmarket.protocol.reasons import JobReason, reason_codes
from sealmarket.protocol.wire import BoundDevices, DeviceReport
from sealmarket_devices.gpu import DRIVER, PRODUCT, VBIOS, VirtualGpus
from sealmarket_devices.measurements import tdx_measurement
from sealmarket_enclave.protocol.codec import HexBytes, to_builtins
from sealmarket_enclave.protocol.hashing import keccak, sha256
from sealmarket_enclave.protocol.job import report_data
from sealmarket_enclave.protocol.numbers import JobId, Tee
from sealmarket_oracle.gate.notes import note_of
from tests.oracle.test_capability import _allowing, _manifest, _promise
from tests.oracle.world import LAUNCH, OTHER_LAUNCH, World, clock, rules

GPU = NvidiaMeasurement(device=PRODUCT, driver=DRIVER, vbios=VBIOS)
DEMANDED = NvidiaRules(gpus=1, modes=("spt", "mpt"))
DEMANDING = partial(rules, measurements=(tdx_measurement(LAUNCH), GPU), nvidia=DEMANDED)


@dataclass(frozen=True)
class Machine:
    """The market's machine with its GPU, and another machine's GPU under roots that are trusted as well."""

    world: World
    gpus: VirtualGpus
    strangers: VirtualGpus

    def session(self, job: JobId) -> bytes:
        """What the enclave quotes for this job."""
        enclave, named = self.world.enclave, self.world.chain.head()
        return bytes(report_data(job, enclave.address, keccak(bytes(enclave.hpke.public.raw)), named.hash))

    def bound(
        self, job: JobId, *, shown: VirtualGpus | None = None, session: bytes | None = None, launch: Any = LAUNCH
    ) -> BoundDevices:
        """The GPU bound to the job's session; ``shown`` puts another's report in its place."""
        over = session or self.session(job)
        (report,) = self.gpus.reports(device_nonce(over))
        digest = Platform(identity=report.identity).digest(Tee.NVIDIA)
        assert digest is not None
        binding = binding_report_data(over, [report.signed_sha256 + digest])
        (found,) = shown.reports(device_nonce(over)) if shown else (report,)
        documents = (*self.gpus.documents(), *self.strangers.documents())
        return BoundDevices(
            binding=HexBytes(self.world.device.guest(launch, debug=False).quote(binding)),
            devices=(
                DeviceReport(
                    tee=Tee.NVIDIA, report=HexBytes(found.raw), chain=tuple(HexBytes(der) for der in found.chain)
                ),
            ),
            documents=tuple(HexBytes(raw) for raw in documents),
        )


@pytest.fixture
def machine(world: World, tmp_path: Path) -> Machine:
    found = []
    for name in ("ours", "theirs"):
        (tmp_path / name).mkdir()
        found.append(VirtualGpus(tmp_path / name, 1, clock))
    roots = TrustAnchors.production().with_development(world.device.root, *found[0].roots, *found[1].roots)
    world.roots = roots
    return Machine(world, *found)


def decided(
    machine: Machine, devices: BoundDevices | None, number: int = 0, **package: Any
) -> tuple[Outcome, set[int]]:
    """What a node decides about the present job with these devices."""
    machine.world.quote(devices=devices, **package)
    decision = machine.world.decided(machine.world.node(number))
    return decision.outcome, set(reason_codes(decision.reasons))


def match(machine: Machine) -> JobId:
    return machine.world.match(machine.world.publish(evidence=DEMANDING()))


def test_a_machine_without_a_gpu_is_refused_by_an_owner_who_demands_one(machine: Machine) -> None:
    match(machine)
    outcome, reasons = decided(machine, None)
    assert outcome is not Outcome.ACCEPTED
    assert Reason.NVIDIA_GPUS_MISSING.code in reasons


def test_a_gpu_of_another_machine_is_refused(machine: Machine) -> None:
    job = match(machine)
    outcome, reasons = decided(machine, machine.bound(job, shown=machine.strangers))
    assert outcome is Outcome.TERMS_REFUSED
    assert {Reason.DEVICE_BINDING.code, Reason.DEVICE_UNBOUND.code} <= reasons


def test_a_gpu_that_was_bound_to_another_job_is_refused(machine: Machine) -> None:
    job = match(machine)
    outcome, reasons = decided(machine, machine.bound(job, session=b"\x77" * 64))
    assert outcome is not Outcome.ACCEPTED
    assert {Reason.DEVICE_BINDING.code, Reason.REPORT_DATA_MISMATCH.code} <= reasons


def test_a_binding_by_another_image_on_the_same_machine_is_refused(machine: Machine) -> None:
    job = match(machine)
    outcome, reasons = decided(machine, machine.bound(job, launch=OTHER_LAUNCH))
    assert outcome is not Outcome.ACCEPTED
    assert Reason.DEVICE_BINDING.code in reasons


def test_devices_that_cannot_be_read_count_as_absent(machine: Machine) -> None:
    job = match(machine)
    garbled = replace(machine.bound(job), binding=HexBytes(b"no quote"))
    outcome, reasons = decided(machine, garbled)
    assert outcome is not Outcome.ACCEPTED
    assert Reason.NVIDIA_GPUS_MISSING.code in reasons


def test_devices_are_not_looked_at_where_no_owner_demands_any(machine: Machine) -> None:
    job = machine.world.match(machine.world.publish())
    garbled = replace(machine.bound(job), binding=HexBytes(b"no quote"))
    assert decided(machine, garbled) == (Outcome.ACCEPTED, set())


def test_one_owner_who_demands_a_gpu_does_not_hold_the_others_to_it(machine: Machine) -> None:
    world = machine.world
    job = world.match(world.publish(1), world.publish(2, evidence=DEMANDING()))
    assert decided(machine, machine.bound(job)) == (Outcome.ACCEPTED, set())


@pytest.mark.parametrize("number", range(3))
def test_a_job_that_demands_a_bound_gpu_is_accepted_by_each_node(machine: Machine, number: int) -> None:
    job = match(machine)
    assert decided(machine, machine.bound(job), number) == (Outcome.ACCEPTED, set())


def test_no_party_is_charged_where_the_provider_promised_no_gpu(machine: Machine) -> None:
    match(machine)
    outcome, reasons = decided(machine, None)
    assert outcome is Outcome.TERMS_REFUSED
    assert JobReason.OWNER_RULES_UNMET.code not in reasons


def promise(machine: Machine) -> tuple[JobId, HexBytes]:
    """A job whose order names a capability document that promises a GPU, and the manifest of its workload."""
    world, workload = machine.world, _manifest()
    measurements = tuple(to_builtins(measurement) for measurement in DEMANDING().measurements)
    promised = _promise(measurements=measurements, min_tcb={"nvidia": to_builtins(DEMANDED)})
    digest = sha256(workload)
    world.store.blobs.add(("workloads", digest))
    world.store.put_document(promised.canonical())
    asset = world.publish(workloads=(digest,), **_allowing(digest))
    return world.match(asset, capability_hash=promised.digest(), workload_digest=digest), HexBytes(workload)


@pytest.mark.parametrize(("foreign", "reason"), [(False, Reason.NVIDIA_GPUS_MISSING), (True, Reason.DEVICE_BINDING)])
def test_a_provider_who_promised_a_gpu_is_charged_for_none_or_for_another_machines(
    foreign: bool, reason: Reason, machine: Machine
) -> None:
    job, manifest = promise(machine)
    shown = machine.bound(job, shown=machine.strangers) if foreign else None
    assert decided(machine, shown, manifest=manifest) == (Outcome.PLATFORM_REFUSED, {reason.code})


def test_a_provider_who_keeps_its_promise_of_a_gpu_is_accepted(machine: Machine) -> None:
    job, manifest = promise(machine)
    assert decided(machine, machine.bound(job), manifest=manifest) == (Outcome.ACCEPTED, set())


@pytest.mark.parametrize(
    "reason", [Reason.PLATFORM_DUPLICATE, Reason.NVIDIA_DEVICE, Reason.NVIDIA_TOPOLOGY, Reason.DEVICE_BINDING]
)
def test_a_public_detail_names_no_gpu_and_no_switch(reason: Reason) -> None:
    assert "203eb31ad9ed0008" not in note_of(Finding(reason, "another", "203eb31ad9ed0008"), "evidence").found
