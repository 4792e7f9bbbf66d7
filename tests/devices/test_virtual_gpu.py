"""A virtual machine with GPUs: its evidence is accepted as a whole, and a GPU of another machine is refused."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from sealmarket.attestation.collateral.trust_anchors import TrustAnchors
from sealmarket.attestation.core.evidence import CompositeEvidence, Endorsements, Evidence
from sealmarket.attestation.core.model import CompositeResult
from sealmarket.attestation.core.reasons import Reason
from sealmarket.attestation.nvidia.documents import read_files
from sealmarket.attestation.nvidia.measurement import NvidiaMeasurement
from sealmarket.attestation.nvidia.rules import NvidiaRules
from sealmarket.attestation.policy.composite import verify_composite
from sealmarket.attestation.policy.rules import AppraisalPolicy
from sealmarket.attestation.policy.verify import Expected
from sealmarket.attestation.raw import parse_endorsements, parse_raw
from sealmarket_devices import wire
from sealmarket_devices.client import DeviceRefused, VirtualDevice
from sealmarket_devices.gpu import DRIVER, PRODUCT, VBIOS
from sealmarket_devices.measure import measure_image
from sealmarket_devices.measurements import tdx_measurement
from sealmarket_enclave.protocol.numbers import Tee
from tests.devices.conftest import device_process, interpreter, told_bytes, write_image

SESSION = b"\x5e" * 64


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("gpu")


@pytest.fixture(scope="module")
def image(folder: Path) -> Path:
    return write_image(folder / "image")


@contextlib.contextmanager
def machine_with(folder: Path, gpus: int) -> Iterator[VirtualDevice]:
    with device_process("tdx", folder, "--gpus", str(gpus)) as (_, path), VirtualDevice(path) as device:
        yield device


@pytest.fixture(scope="module")
def machine(folder: Path) -> Iterator[VirtualDevice]:
    (folder / "one").mkdir()
    with machine_with(folder / "one", 2) as device:
        yield device


@pytest.fixture(scope="module")
def other(folder: Path) -> Iterator[VirtualDevice]:
    (folder / "other").mkdir()
    with machine_with(folder / "other", 2) as device:
        yield device


@dataclass(frozen=True)
class Shown:
    """What a host shows of one enclave, and the roots that its owner names."""

    evidence: CompositeEvidence
    endorsements: Endorsements
    documents: Endorsements
    anchors: TrustAnchors

    def verdict(self, image: Path, *, gpus: int = 2) -> CompositeResult:
        """The result under a policy that names the image and demands GPUs."""
        gpu = NvidiaMeasurement(device=PRODUCT, driver=DRIVER, vbios=VBIOS)
        enclave = tdx_measurement(measure_image(image, interpreter(), ()))
        rules = NvidiaRules(gpus=gpus, modes=("spt", "mpt"))
        policy = AppraisalPolicy(measurements=(enclave, gpu), platforms="any", lowest_grade="simulated", nvidia=rules)
        expected = Expected(report_data=SESSION, tee=Tee.TDX)

        def endorse(part: Evidence) -> Endorsements:
            return self.documents if part.tee is Tee.NVIDIA else self.endorsements

        return verify_composite(self.evidence, endorse, self.anchors, datetime.now(UTC), expected, policy)


def show(device: VirtualDevice, image: Path, session: bytes = SESSION) -> Shown:
    with device.launch(image, interpreter()) as enclave:
        quote = told_bytes(enclave, "quote", session.hex())
        found = device.machine(enclave.id)
        device.stop(enclave.id)
    devices = tuple(Evidence(tee=Tee.NVIDIA, raw=gpu.report, certificates=gpu.chain) for gpu in found.gpus)
    return Shown(
        CompositeEvidence(cpu=parse_raw(Tee.TDX, quote), binding=parse_raw(Tee.TDX, found.binding), devices=devices),
        parse_endorsements(Tee.TDX, device.endorsements()),
        read_files(found.documents),
        TrustAnchors.production().with_development(*device.roots()),
    )


def test_a_gpu_of_another_machine_in_place_of_a_bound_one_is_refused(
    machine: VirtualDevice, other: VirtualDevice, image: Path
) -> None:
    ours, theirs = show(machine, image), show(other, image)
    anchors = TrustAnchors.production().with_development(*ours.anchors.development, *theirs.anchors.development)
    devices = (ours.evidence.devices[0], theirs.evidence.devices[1])
    mixed = Shown(
        replace(ours.evidence, devices=devices),
        ours.endorsements,
        ours.documents.and_also(theirs.documents),
        anchors,
    )
    reasons = set(mixed.verdict(image).reasons)
    assert {Reason.DEVICE_BINDING, Reason.DEVICE_UNBOUND} <= reasons


def test_the_binding_of_another_enclave_of_the_same_image_is_refused(machine: VirtualDevice, image: Path) -> None:
    ours, earlier = show(machine, image), show(machine, image, b"\x77" * 64)
    evidence = replace(ours.evidence, binding=earlier.evidence.binding, devices=earlier.evidence.devices)
    assert Reason.DEVICE_BINDING in replace(ours, evidence=evidence).verdict(image).reasons


def test_fewer_gpus_than_the_policy_demands_are_refused(machine: VirtualDevice, image: Path) -> None:
    assert Reason.NVIDIA_GPUS_MISSING in show(machine, image).verdict(image, gpus=3).reasons


def test_simulated_gpus_are_refused_in_production(machine: VirtualDevice, image: Path) -> None:
    shown = replace(show(machine, image), anchors=TrustAnchors.production())
    assert Reason.UNTRUSTED_ROOT in shown.verdict(image).reasons


def test_a_device_binds_nothing_before_its_enclave_has_quoted(machine: VirtualDevice, image: Path) -> None:
    with machine.launch(image, interpreter()) as enclave, pytest.raises(DeviceRefused, match="quoted nothing yet"):
        machine.machine(enclave.id)
    with pytest.raises(DeviceRefused, match="no enclave"):
        machine.machine("absent")


def test_a_request_that_names_a_claim_is_refused(machine: VirtualDevice) -> None:
    request = {"kind": "machine", "id": "absent", "report_data": bytes(64)}
    with pytest.raises(DeviceRefused, match="unknown field"):
        machine._ask(request, wire.MachineEvidence)  # type: ignore[arg-type]


def test_a_device_without_gpus_says_so(tdx: VirtualDevice, image: Path) -> None:
    with tdx.launch(image, interpreter()) as enclave:
        assert tdx.machine(enclave.id) == wire.MachineEvidence()


def test_a_machine_with_its_gpus_is_accepted_as_a_whole(machine: VirtualDevice, image: Path) -> None:
    result = show(machine, image).verdict(image)
    assert (result.accepted, result.reasons) == (True, ())
    assert list(result.parts) == ["tdx", "tdx-binding", "nvidia-0", "nvidia-1"]
    assert result.as_json()["grade"] == "simulated"


def test_the_gpus_stay_the_same_over_a_restart(folder: Path, image: Path) -> None:
    (folder / "again").mkdir()
    chains = []
    for _ in range(2):
        with machine_with(folder / "again", 1) as device:
            chains.append([part.certificates for part in show(device, image).evidence.devices])
    assert chains[0] == chains[1]
