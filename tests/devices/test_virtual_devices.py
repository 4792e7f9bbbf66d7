"""Each virtual device gives evidence that the production verifier takes, and grades as simulated."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from hashlib import sha512
from pathlib import Path

import pytest

from sealmarket.attestation.collateral.trust_anchors import TrustAnchors
from sealmarket.attestation.core.model import AppraisalResult
from sealmarket.attestation.core.reasons import Reason
from sealmarket.attestation.parse import parse
from sealmarket.attestation.policy.rules import AppraisalPolicy
from sealmarket.attestation.policy.verify import Expected, verify
from sealmarket.attestation.raw import parse_endorsements
from sealmarket.attestation.registry import Measurement
from sealmarket_devices.client import VirtualDevice
from sealmarket_devices.measure import LaunchMeasurement, measure_image
from sealmarket_devices.measurements import (
    cca_measurement,
    nitro_measurement,
    sgx_measurement,
    snp_measurement,
    tdx_measurement,
)
from sealmarket_enclave.protocol.numbers import Grade, Tee
from tests.devices.conftest import device_process, interpreter, tell, told_bytes

REPORT_DATA = bytes(range(64))
TYPED: dict[str, Callable[[LaunchMeasurement], Measurement]] = {
    "tdx": tdx_measurement,
    "sgx": sgx_measurement,
    "snp": snp_measurement,
    "cca": cca_measurement,
    "nitro": nitro_measurement,
}


def judge(
    tee: str, evidence: bytes, device: VirtualDevice, allowed: Measurement, *, production: bool = False
) -> AppraisalResult:
    """The production verifier's verdict, with the device's root as a development root unless told otherwise."""
    text = device.endorsements()
    endorsements = parse_endorsements(Tee.from_slug(tee), text)
    now = datetime.now(UTC)
    roots = TrustAnchors.production() if production else TrustAnchors.production().with_development(device.root())
    rules = AppraisalPolicy(measurements=(allowed,), platforms="any", lowest_grade="simulated")
    return verify(parse(evidence), endorsements, roots, now, Expected(report_data=REPORT_DATA), rules)


@pytest.fixture(scope="module")
def states(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One state folder for each TEE, since a development ARK takes seconds to make."""
    return {tee: tmp_path_factory.mktemp(tee) for tee in TYPED}


@pytest.mark.parametrize("tee", ["sgx", "snp", "nitro"])
def test_a_device_without_runtime_registers_refuses_to_extend(tee: str, image: Path, states: dict[str, Path]) -> None:
    with (
        device_process(tee, states[tee]) as (_, path),
        VirtualDevice(path) as device,
        device.launch(image, interpreter()) as enclave,
    ):
        assert str(tell(enclave, "extend", 2, "00" * 48)).startswith(("PlatformRefused: S", "PlatformRefused: Nitro"))


@pytest.mark.parametrize("tee", ["tdx", "sgx", "snp", "cca", "nitro"])
def test_a_debug_device_is_refused_whatever_the_rules(tee: str, image: Path, states: dict[str, Path]) -> None:
    with (
        device_process(tee, states[tee], "--debug") as (_, path),
        VirtualDevice(path) as device,
        device.launch(image, interpreter()) as enclave,
    ):
        evidence = told_bytes(enclave, "quote", REPORT_DATA.hex())
        verdict = judge(tee, evidence, device, TYPED[tee](measure_image(image, interpreter())))
        assert Reason.DEBUG in verdict.reasons


@pytest.mark.parametrize("tee", ["tdx", "sgx", "snp", "cca", "nitro"])
def test_evidence_of_a_virtual_device_is_accepted_only_as_simulated(
    tee: str, image: Path, states: dict[str, Path]
) -> None:
    allowed = TYPED[tee](measure_image(image, interpreter(), ["--job", "1"]))
    with device_process(tee, states[tee]) as (_, path), VirtualDevice(path) as device:
        with device.launch(image, interpreter(), ["--job", "1"]) as enclave:
            evidence = told_bytes(enclave, "quote", REPORT_DATA.hex())
        verdict = judge(tee, evidence, device, allowed)
        assert verdict.reasons == ()
        assert verdict.grade is Grade.SIMULATED
        assert judge(tee, evidence, device, allowed, production=True).reasons == (Reason.UNTRUSTED_ROOT,)
        with device.launch(image, interpreter(), ["--job", "2"]) as other:
            evidence = told_bytes(other, "quote", REPORT_DATA.hex())
        assert judge(tee, evidence, device, allowed).reasons == (Reason.MEASUREMENT_NOT_ALLOWED,)


def test_a_realms_registers_two_and_three_belong_to_the_enclave(image: Path, states: dict[str, Path]) -> None:
    with (
        device_process("cca", states["cca"]) as (_, path),
        VirtualDevice(path) as device,
        device.launch(image, interpreter()) as enclave,
    ):
        for index in (0, 1, 4):
            assert "REM 2 or 3" in str(tell(enclave, "extend", index, "00" * 48))
        assert "48 bytes" in str(tell(enclave, "extend", 2, "00" * 32))
        register = sha512(bytes(64) + b"\x01" * 48).hexdigest()
        assert tell(enclave, "extend", 3, "01" * 48) == register
        evidence = told_bytes(enclave, "quote", REPORT_DATA.hex())
        verdict = judge("cca", evidence, device, cca_measurement(measure_image(image, interpreter())))
        assert verdict.reasons == (Reason.MEASUREMENT_NOT_ALLOWED,)
        assert verdict.claims["rems"] == ["00" * 64, "00" * 64, "00" * 64, register]
