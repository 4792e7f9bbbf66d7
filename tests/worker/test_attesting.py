"""A device's own evidence says of which grade it is offered: a virtual one is never sold as hardware."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner

from sealmarket.attestation.collateral.trust_anchors import TrustAnchors
from sealmarket.attestation.policy.verify import authenticate
from sealmarket.attestation.raw import parse_endorsements, parse_raw
from sealmarket.client.platform_evidence import PlatformEvidence, PlatformNotProven, require_hardware
from sealmarket_devices.client import DeviceUnreachable, VirtualDevice
from sealmarket_enclave.protocol.codec import decode_canonical
from sealmarket_enclave.protocol.numbers import Grade, Tee
from sealmarket_worker.cli import app
from tests.enclave.scene import Scene
from tests.worker.test_setup import file as file
from tests.worker.test_setup import scene as scene


def test_a_device_that_does_not_exist_gives_no_evidence(file: Callable[..., Path], scene: Scene) -> None:
    result = CliRunner().invoke(app, ["attest", "--config", str(file())])
    assert isinstance(result.exception, DeviceUnreachable)
    assert result.stdout == ""


def test_a_virtual_device_cannot_be_offered_as_hardware(file: Callable[..., Path], device_socket: Path) -> None:
    result = CliRunner().invoke(app, ["attest", "--config", str(file(device=str(device_socket)))])
    assert result.exit_code == 0, result.output
    document = decode_canonical(PlatformEvidence, result.stdout.strip().encode())
    with pytest.raises(PlatformNotProven) as refused:
        require_hardware(document, Tee.TDX, datetime.now(UTC))
    assert "--simulated" in refused.value.remedy
    with VirtualDevice(device_socket) as device:
        anchors = TrustAnchors.production().with_development(device.root())
    evidence, endorsements = parse_raw(Tee.TDX, document.evidence), parse_endorsements(Tee.TDX, document.collateral)
    report = authenticate(evidence, endorsements, anchors, datetime.now(UTC) + timedelta(seconds=1))
    assert (report.grade, report.report_data) == (Grade.SIMULATED, document.report_data)
