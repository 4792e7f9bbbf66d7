"""A machine is accepted as a whole: a CPU TEE commits to its devices, each once, in the topology that they report."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from sealmarket.attestation.azure.rules import AzureRules, VtpmPcr
from sealmarket.attestation.collateral.trust_anchors import TrustAnchors
from sealmarket.attestation.composite import MAXIMUM_DEVICES, VERSION, parse_any
from sealmarket.attestation.core.errors import NotEvidence
from sealmarket.attestation.core.evidence import CompositeEvidence, Endorsements, Evidence
from sealmarket.attestation.core.model import CompositeResult
from sealmarket.attestation.core.reasons import Reason
from sealmarket.attestation.intel.measurement import TdxMeasurement
from sealmarket.attestation.nvidia.documents import read_files
from sealmarket.attestation.nvidia.measurement import NvidiaMeasurement
from sealmarket.attestation.nvidia.rules import NvidiaRules
from sealmarket.attestation.parse import parse
from sealmarket.attestation.policy.composite import (
    binding_report_data,
    device_name,
    device_nonce,
    verify_composite,
)
from sealmarket.attestation.policy.ear import read_ear, sign_ear
from sealmarket.attestation.policy.rules import AppraisalPolicy
from sealmarket.attestation.policy.verify import Expected, appraise, authenticate
from sealmarket_devices.nvidia_format import SWITCH_PDI
from sealmarket_enclave.protocol.codec import Bytes32
from sealmarket_enclave.protocol.numbers import Tee
from tests.attestation.support import NOW, endorse, report_of
from tests.forge.azure import PCRS, AzureForge
from tests.forge.intel import IntelForge
from tests.forge.nvidia import DRIVER, SWITCH_VBIOS, VBIOS, ForgedDevice, NvidiaForge

SESSION = b"\x5e" * 64
GPU = NvidiaMeasurement(device="GH100", driver=DRIVER, vbios=VBIOS)
SWITCH = NvidiaMeasurement(device="LS10", driver="", vbios=SWITCH_VBIOS)


class Machine:
    """A forged TD with forged devices beside it, and the policy that it meets."""

    def __init__(self) -> None:
        self.intel = IntelForge(NOW)
        self.nvidia = NvidiaForge(NOW)
        self.gpu = self.nvidia.gpu()
        self.anchors = TrustAnchors.production().with_development(
            self.intel.root.der, self.nvidia.root.der, self.nvidia.rim_root.der
        )
        self.collateral = endorse(self.intel.collateral())

    def quote(self, report_data: bytes, intel: IntelForge | None = None, **changes: Any) -> Evidence:
        """The TD's quote over this report data."""
        forge = intel or self.intel
        return parse(forge.tdx_quote(forge.td_report(report_data=report_data, **changes)))

    def device(self, device: ForgedDevice, nonce: bytes | None = None) -> Evidence:
        """A device's report over the session's nonce."""
        raw = device.report(nonce=device_nonce(SESSION) if nonce is None else nonce)
        return Evidence(tee=Tee.NVIDIA, raw=raw, certificates=tuple(device.chain()))

    def names(self, devices: tuple[Evidence, ...]) -> list[bytes]:
        """What the TD computes over the reports that it took."""
        return [device_name(authenticate(one, Endorsements(), self.anchors, NOW)) for one in devices]

    def evidence(self, *devices: Evidence) -> CompositeEvidence:
        """The TD with these devices, bound."""
        found = devices or (self.device(self.gpu),)
        binding = binding_report_data(SESSION, self.names(found))
        return CompositeEvidence(cpu=self.quote(SESSION), binding=self.quote(binding), devices=found)

    def policy(self, **nvidia: Any) -> AppraisalPolicy:
        """What the machine meets."""
        measurement = report_of(self.intel, self.quote(SESSION).raw).measurement
        assert isinstance(measurement, TdxMeasurement)
        return AppraisalPolicy(
            measurements=(measurement, GPU, SWITCH),
            platforms="any",
            lowest_grade="simulated",
            nvidia=NvidiaRules(**{"gpus": 1, "ocsp": "warn", **nvidia}),
        )

    def verify(self, evidence: CompositeEvidence, policy: AppraisalPolicy | None = None) -> CompositeResult:
        """The result on evidence of this session under the policy, with everything supplied."""
        documents = read_files([*self.nvidia.manifests(), self.nvidia.switch_manifest()])
        return verify_composite(
            evidence,
            lambda part: documents if part.tee is Tee.NVIDIA else self.collateral,
            self.anchors,
            NOW,
            Expected(report_data=SESSION, tee=Tee.TDX),
            policy or self.policy(),
        )

    def reasons(self, evidence: CompositeEvidence, **nvidia: Any) -> set[Reason]:
        """Everything that is refused."""
        return set(self.verify(evidence, self.policy(**nvidia)).reasons)


@pytest.fixture(scope="module")
def machine() -> Machine:
    return Machine()


def test_a_cpu_with_a_bound_gpu_is_accepted(machine: Machine) -> None:
    result = machine.verify(machine.evidence())
    assert (result.accepted, result.reasons) == (True, ())
    assert list(result.parts) == ["tdx", "tdx-binding", "nvidia-0"]


def test_several_gpus_are_accepted_in_the_order_in_which_they_are_bound(machine: Machine) -> None:
    devices = [machine.device(machine.nvidia.gpu(number, mode=1)) for number in (1, 2, 3)]
    evidence = machine.evidence(*devices)
    assert machine.reasons(evidence, gpus=3, modes=("mpt",)) == set()
    assert machine.reasons(replace(evidence, devices=tuple(devices[::-1])), modes=("mpt",)) == {
        Reason.DEVICE_BINDING,
        Reason.DEVICE_UNBOUND,
        Reason.REPORT_DATA_MISMATCH,
    }


# 73: only what a CPU TEE commits to.


def test_a_gpu_without_a_binding_quote_is_refused(machine: Machine) -> None:
    evidence = replace(machine.evidence(), binding=None)
    assert machine.reasons(evidence) == {Reason.DEVICE_BINDING, Reason.DEVICE_UNBOUND}


def test_a_gpu_without_a_cpu_is_refused(machine: Machine) -> None:
    evidence = CompositeEvidence(cpu=None, binding=None, devices=(machine.device(machine.gpu, SESSION[:32]),))
    expected = Expected(report_data=SESSION[:32].ljust(64, b"\0"), tee=Tee.NVIDIA)
    documents = read_files(machine.nvidia.manifests())
    result = verify_composite(evidence, lambda _: documents, machine.anchors, NOW, expected, machine.policy())
    assert result.reasons == (Reason.DEVICE_UNBOUND,)


def test_a_gpu_of_another_machine_is_refused(machine: Machine) -> None:
    """The other machine's GPU answered the other machine's nonce; its report is put in place of the bound one."""
    stranger = machine.device(machine.nvidia.gpu(7), device_nonce(b"\x77" * 64))
    evidence = replace(machine.evidence(), devices=(stranger,))
    assert {Reason.DEVICE_BINDING, Reason.REPORT_DATA_MISMATCH} <= machine.reasons(evidence)


def test_a_gpu_of_another_machine_that_was_asked_with_this_nonce_is_refused(machine: Machine) -> None:
    """The nonce is no secret; what the CPU committed to is another report."""
    relayed = machine.device(machine.nvidia.gpu(7))
    evidence = replace(machine.evidence(), devices=(relayed,))
    assert Reason.DEVICE_BINDING in machine.reasons(evidence)


def test_a_bound_gpu_that_answered_another_nonce_is_refused(machine: Machine) -> None:
    evidence = machine.evidence(machine.device(machine.gpu, b"\x01" * 32))
    assert machine.reasons(evidence) == {Reason.REPORT_DATA_MISMATCH}


def test_a_binding_of_another_session_is_refused(machine: Machine) -> None:
    other = binding_report_data(b"\x77" * 64, machine.names((machine.device(machine.gpu),)))
    evidence = replace(machine.evidence(), binding=machine.quote(other))
    assert Reason.DEVICE_BINDING in machine.reasons(evidence)


def test_a_binding_quote_of_another_image_is_refused_although_both_are_allowed(machine: Machine) -> None:
    found = machine.evidence()
    assert found.binding is not None
    binding = binding_report_data(SESSION, machine.names(found.devices))
    other = machine.quote(binding, mr_td=b"\x0d" * 48)
    measurement = report_of(machine.intel, other.raw).measurement
    assert isinstance(measurement, TdxMeasurement)
    policy = machine.policy()
    policy = msgspec.structs.replace(policy, measurements=(*policy.measurements, measurement))
    result = machine.verify(replace(found, binding=other), policy)
    assert set(result.reasons) == {Reason.DEVICE_BINDING, Reason.DEVICE_UNBOUND}


def test_a_binding_quote_of_another_tee_or_of_a_device_is_refused(machine: Machine) -> None:
    found = machine.evidence()
    device = machine.device(machine.gpu)
    assert Reason.DEVICE_BINDING in machine.reasons(replace(found, binding=device))
    assert Reason.DEVICE_BINDING in machine.reasons(replace(found, cpu=device, binding=device))


def test_a_binding_quote_of_another_machine_is_refused(machine: Machine) -> None:
    found = machine.evidence()
    for identity in (b"\x01" * 16, None):
        result = _with_identity(machine, found, identity)
        assert set(result.reasons) == {Reason.DEVICE_BINDING, Reason.DEVICE_UNBOUND}


def _with_identity(machine: Machine, evidence: CompositeEvidence, identity: bytes | None) -> CompositeResult:
    """The result where the binding quote's platform has another identity, or both have none."""
    from sealmarket.attestation.policy import composite

    genuine = authenticate
    assert evidence.binding is not None
    masked = {evidence.binding.raw} if identity is not None else {evidence.binding.raw, _raw(evidence.cpu)}

    def changed(part: Evidence, *arguments: Any) -> Any:
        report = genuine(part, *arguments)
        if part.raw in masked:
            object.__setattr__(report, "platform", replace(report.platform, identity=identity))
        return report

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(composite, "authenticate", changed)
        return machine.verify(evidence)


@pytest.mark.parametrize("other", [True, False])
def test_a_binding_quote_of_another_guest_behind_the_same_paravisor_is_refused(machine: Machine, other: bool) -> None:
    """The paravisor measures the same for every guest; the guest's registers tell them apart."""
    azure = AzureForge(intel=machine.intel)
    device = machine.device(machine.gpu)
    binding = binding_report_data(SESSION, machine.names((device,)))
    pcrs = (*PCRS[:7], b"\x0d" * 32, *PCRS[8:]) if other else PCRS
    evidence = CompositeEvidence(
        cpu=parse(azure.document(quote=azure.quote(extra=SESSION))),
        binding=parse(azure.document(quote=azure.quote(extra=binding, pcrs=pcrs, shown=pcrs))),
        devices=(device,),
    )
    rules = AzureRules(paravisor="allowed", pcrs=(VtpmPcr(index=4, value=Bytes32(PCRS[4])),))
    result = machine.verify(evidence, msgspec.structs.replace(machine.policy(), azure=rules))
    assert set(result.reasons) == ({Reason.DEVICE_BINDING, Reason.DEVICE_UNBOUND} if other else set())


def _raw(evidence: Evidence | None) -> bytes:
    assert evidence is not None
    return evidence.raw


def test_a_refused_cpu_binds_nothing(machine: Machine) -> None:
    evidence = machine.evidence()
    other = report_of(machine.intel, machine.quote(SESSION, mr_td=b"\x0d" * 48).raw).measurement
    assert isinstance(other, TdxMeasurement)
    policy = msgspec.structs.replace(machine.policy(), measurements=(other, GPU))
    result = machine.verify(evidence, policy)
    assert not result.parts["nvidia-0"].accepted
    assert set(result.reasons) == {Reason.MEASUREMENT_NOT_ALLOWED, Reason.DEVICE_UNBOUND}


def test_the_cpus_report_data_is_still_the_expected_one(machine: Machine) -> None:
    found = machine.evidence()
    other = b"\x77" * 64
    device = machine.device(machine.gpu, device_nonce(other))
    binding = machine.quote(binding_report_data(other, machine.names((device,))))
    evidence = replace(found, cpu=machine.quote(other), binding=binding, devices=(device,))
    assert machine.reasons(evidence) == {Reason.REPORT_DATA_MISMATCH, Reason.DEVICE_UNBOUND}


def test_a_part_that_is_not_authentic_refuses_the_whole(machine: Machine) -> None:
    found = machine.evidence()
    broken = replace(found.devices[0], raw=found.devices[0].raw[:-1] + b"\0")
    result = machine.verify(replace(found, devices=(broken,)))
    assert (result.accepted, result.as_json()["authentic"], result.as_json()["grade"]) == (False, False, None)


def test_a_cpu_without_devices_is_no_composite_evidence(machine: Machine) -> None:
    evidence = CompositeEvidence(
        cpu=machine.quote(SESSION), binding=machine.quote(binding_report_data(SESSION, [])), devices=()
    )
    assert Reason.DEVICE_BINDING in machine.reasons(evidence, gpus=0)


# 11: each device once.


def test_a_device_twice_is_refused(machine: Machine) -> None:
    gpu = machine.nvidia.gpu(mode=1)
    twice = (machine.device(gpu), machine.device(gpu))
    assert machine.reasons(machine.evidence(*twice), modes=("mpt",)) == {
        Reason.PLATFORM_DUPLICATE,
        Reason.DEVICE_UNBOUND,
    }


# A policy that demands GPUs.


def test_fewer_gpus_than_the_policy_demands_are_refused(machine: Machine) -> None:
    assert Reason.NVIDIA_GPUS_MISSING in machine.reasons(machine.evidence(), gpus=2)


def test_a_cpu_alone_is_refused_under_a_policy_that_demands_a_gpu(machine: Machine) -> None:
    report = report_of(machine.intel, machine.quote(SESSION).raw)
    result = appraise(report, machine.policy(), NOW, Expected(report_data=SESSION))
    assert result.reasons == (Reason.NVIDIA_GPUS_MISSING,)
    assert appraise(report, machine.policy(gpus=0), NOW, Expected(report_data=SESSION)).accepted


def test_a_switch_is_no_gpu(machine: Machine) -> None:
    assert Reason.NVIDIA_GPUS_MISSING in machine.reasons(machine.evidence(machine.device(machine.nvidia.switch())))


# 72: modes and topology.


def connected(machine: Machine, number: int, switches: list[ForgedDevice]) -> Evidence:
    """A GPU in protected PCIe with its 18 links over these switches, whose identities it writes in reverse."""
    links = b"".join((switches[link % len(switches)].pdi[::-1] if switches else bytes(8)) for link in range(18))
    return machine.device(machine.nvidia.gpu(number, mode=2, more={SWITCH_PDI: links}))


@pytest.fixture(scope="module")
def switches(machine: Machine) -> list[ForgedDevice]:
    return [machine.nvidia.switch(number) for number in (1, 2, 3)]


def fabric(machine: Machine, gpus: list[Evidence], switches: list[ForgedDevice]) -> set[Reason]:
    evidence = machine.evidence(*gpus, *(machine.device(switch) for switch in switches))
    return machine.reasons(evidence, modes=("ppcie", "mpt"), gpus=len(gpus))


TOPOLOGY = {Reason.NVIDIA_TOPOLOGY, Reason.DEVICE_UNBOUND}


def test_gpus_with_all_their_switches_are_accepted(machine: Machine, switches: list[ForgedDevice]) -> None:
    gpus = [connected(machine, number, switches[:2]) for number in (1, 2)]
    assert fabric(machine, gpus, switches[:2]) == set()


def test_a_switch_that_is_absent_or_of_another_machine_is_refused(
    machine: Machine, switches: list[ForgedDevice]
) -> None:
    gpus = [connected(machine, number, switches[:2]) for number in (1, 2)]
    assert fabric(machine, gpus, switches[:1]) == TOPOLOGY
    assert fabric(machine, gpus, switches) == TOPOLOGY


def test_a_switch_in_the_byte_order_of_its_own_report_is_another(
    machine: Machine, switches: list[ForgedDevice]
) -> None:
    gpu = machine.nvidia.gpu(mode=2, more={SWITCH_PDI: switches[0].pdi * 18})
    assert fabric(machine, [machine.device(gpu)], switches[:1]) == TOPOLOGY


def test_gpus_that_name_different_switches_or_none_are_refused(machine: Machine, switches: list[ForgedDevice]) -> None:
    gpus = [connected(machine, 1, switches[:2]), connected(machine, 2, switches[:1])]
    assert fabric(machine, gpus, switches[:2]) == TOPOLOGY
    assert fabric(machine, [connected(machine, 1, [])], []) == TOPOLOGY


def test_a_switch_beside_gpus_with_encrypted_links_is_refused(machine: Machine, switches: list[ForgedDevice]) -> None:
    assert fabric(machine, [machine.device(machine.nvidia.gpu(mode=1))], switches[:1]) == TOPOLOGY


def test_gpus_in_different_modes_are_refused(machine: Machine, switches: list[ForgedDevice]) -> None:
    gpus = [connected(machine, 1, switches[:1]), machine.device(machine.nvidia.gpu(2, mode=1))]
    assert fabric(machine, gpus, switches[:1]) == {Reason.NVIDIA_MODE, Reason.DEVICE_UNBOUND}


# The binding is one value for one set of inputs.


@given(
    st.tuples(st.binary(min_size=64, max_size=64), st.lists(st.binary(min_size=64, max_size=64), max_size=4)),
    st.tuples(st.binary(min_size=64, max_size=64), st.lists(st.binary(min_size=64, max_size=64), max_size=4)),
)
def test_two_sessions_or_lists_of_devices_have_two_bindings(
    one: tuple[bytes, list[bytes]], other: tuple[bytes, list[bytes]]
) -> None:
    assert (binding_report_data(*one) == binding_report_data(*other)) is (one == other)
    assert len(binding_report_data(*one)) == 64
    assert len(device_nonce(one[0])) == 32


# One EAR with submodules.


def test_one_ear_holds_every_part_and_none_is_affirming_where_the_machine_is_refused(machine: Machine) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    good, policy = machine.evidence(), machine.policy()
    claims = read_ear(sign_ear(machine.verify(good), key, NOW, policy), key.public_key(), NOW)
    assert {label: part["ear.status"] for label, part in claims["submods"].items()} == {
        "tdx": "affirming",
        "tdx-binding": "affirming",
        "nvidia-0": "affirming",
    }
    result = machine.verify(replace(good, binding=None))
    claims = read_ear(sign_ear(result, key, NOW, policy), key.public_key(), NOW)
    assert set(claims["submods"]) == {"tdx", "nvidia-0"}
    assert all(part["ear.status"] != "affirming" for part in claims["submods"].values())


def test_an_ear_affirms_no_code_whose_manifest_is_absent(machine: Machine) -> None:
    """The policy takes the device's word for its driver; the result for a third party says so."""
    key, policy = ec.generate_private_key(ec.SECP256R1()), machine.policy(manifests="warn")
    result = verify_composite(
        machine.evidence(),
        lambda part: Endorsements() if part.tee is Tee.NVIDIA else machine.collateral,
        machine.anchors,
        NOW,
        Expected(report_data=SESSION, tee=Tee.TDX),
        policy,
    )
    assert result.accepted
    claims = read_ear(sign_ear(result, key, NOW, policy), key.public_key(), NOW)
    assert claims["submods"]["nvidia-0"]["ear.status"] == "warning"
    assert claims["submods"]["nvidia-0"]["ear.trustworthiness-vector"]["executables"] == 33


# Files.


def entry(evidence: Evidence) -> dict[str, str]:
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import Encoding

    chain = [x509.load_der_x509_certificate(der).public_bytes(Encoding.PEM) for der in evidence.certificates]
    return {"evidence": evidence.raw.hex(), "certificate": b"".join(chain).decode(), "arch": "HOPPER"}


def document(evidence: CompositeEvidence, **changes: Any) -> bytes:
    found = {
        "version": VERSION,
        "cpu": _raw(evidence.cpu).hex(),
        "binding": {"quote": _raw(evidence.binding).hex()},
        "devices": [entry(device) for device in evidence.devices],
    }
    return json.dumps({**found, **changes}).encode()


def test_a_file_is_read_as_what_it_holds(machine: Machine) -> None:
    evidence = machine.evidence()
    found = parse_any(document(evidence), Tee.TDX)
    assert isinstance(found, CompositeEvidence)
    assert machine.reasons(found) == set()
    one = parse_any(json.dumps([entry(evidence.devices[0])]).encode())
    assert isinstance(one, Evidence)
    assert one.certificates == evidence.devices[0].certificates
    two = parse_any(json.dumps({"evidence_list": [entry(evidence.devices[0])] * 2}).encode())
    assert isinstance(two, CompositeEvidence)
    assert two.cpu is None
    assert parse_any(evidence.devices[0].raw) == Evidence(tee=Tee.NVIDIA, raw=evidence.devices[0].raw)


@pytest.mark.parametrize(
    "changes",
    [
        {"cpu": None},
        {"cpu": "00"},
        {"binding": 7},
        {"devices": []},
        {"devices": {}},
        {"devices": [{}]},
        {"devices": [{"evidence": "00", "certificate": ""}]},
        {"more": 1},
    ],
)
def test_a_file_of_another_shape_is_no_evidence(machine: Machine, changes: dict[str, Any]) -> None:
    with pytest.raises(NotEvidence):
        parse_any(document(machine.evidence(), **changes))


def test_more_devices_than_the_bound_are_no_evidence(machine: Machine) -> None:
    with pytest.raises(NotEvidence, match=f"1 to {MAXIMUM_DEVICES} devices"):
        parse_any(json.dumps([{"evidence": "00"}] * (MAXIMUM_DEVICES + 1)).encode())


def test_a_single_reader_refuses_several_devices_by_name(machine: Machine) -> None:
    device = entry(machine.device(machine.gpu))
    with pytest.raises(NotEvidence, match="one device, found 2"):
        parse(json.dumps([device, device]).encode())
    with pytest.raises(NotEvidence, match="expected tdx evidence, found nvidia"):
        parse_any(json.dumps([device, device]).encode(), Tee.TDX)
