"""The image in a real process of the virtual device: the whole job, real sandbox included."""

from __future__ import annotations

from pathlib import Path

import pytest

from sealmarket.receipts.envelope import opened
from sealmarket.sealing.results import open_result
from sealmarket_devices.client import VirtualDevice
from sealmarket_devices.driver import image_arguments
from sealmarket_devices.measure import measure_image
from sealmarket_enclave.protocol.codec import Bytes32, decode
from sealmarket_enclave.protocol.numbers import Tee
from sealmarket_enclave.protocol.receipt import Envelope
from sealmarket_enclave.sealed.result import ResultEnvelope
from sealmarket_worker.errors import EnclaveLost, EnclaveRefused
from sealmarket_worker.image import base_interpreter, build_image
from sealmarket_worker.session import EnclaveSession, host_side
from tests.enclave.runtime.twins import load_of
from tests.enclave.scene import CHAIN_ID, MARKER, MARKET, Scene
from tests.patience import PATIENCE


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    folder = tmp_path / "scene"
    folder.mkdir()
    return Scene(folder)


def launch(device: VirtualDevice, image: Path, scene: Scene) -> EnclaveSession:
    launched = device.launch(image, base_interpreter(), image_arguments(scene.tee))
    launched.channel.settimeout(PATIENCE)
    return EnclaveSession(host_side(launched.channel))


def test_an_enclave_that_is_stopped_after_its_quote_is_lost(device_socket: Path, image: Path, scene: Scene) -> None:
    with VirtualDevice(device_socket) as device, launch(device, image, scene) as session:
        session.load(load_of(scene))
        [running] = [one for one in device.enclaves() if one.exit_code is None]
        device.stop(running.id)
        with pytest.raises(EnclaveLost):
            session.deliver([])


def test_an_edited_dependency_is_refused_by_the_real_process(device_socket: Path, image: Path, scene: Scene) -> None:
    (scene.environment / "tiny" / "__init__.py").chmod(0o600)
    (scene.environment / "tiny" / "__init__.py").write_text("WORD = 'edited'\n")
    refused = pytest.raises(EnclaveRefused, match=r"tiny/__init__\.py")
    with VirtualDevice(device_socket) as device, launch(device, image, scene) as session, refused:
        session.load(load_of(scene))


def test_the_same_tree_gives_the_same_image(image: Path, tmp_path: Path) -> None:
    again = build_image(tmp_path / "again")
    assert measure_image(again, base_interpreter(), image_arguments(Tee.TDX)) == measure_image(
        image, base_interpreter(), image_arguments(Tee.TDX)
    )


def test_a_whole_job_runs_in_a_measured_process_with_the_real_sandbox(
    device_socket: Path, image: Path, scene: Scene, tmp_path: Path
) -> None:
    containers = {}
    for asset in scene.assets:
        path = tmp_path / str(asset.seal.content_root)
        path.write_bytes(asset.container)
        containers[asset.seal.content_root] = path
    stages: list[str] = []
    with VirtualDevice(device_socket) as device:
        launched = device.launch(image, base_interpreter(), image_arguments(scene.tee))
        launched.channel.settimeout(PATIENCE)
        session = EnclaveSession(host_side(launched.channel))
        evidence = session.load(load_of(scene))
        assert launched.measured == measure_image(image, base_interpreter(), image_arguments(scene.tee))
        assert launched.measured.image in evidence.quote
        hash_ = Bytes32(evidence.evidence_hash)
        releases = [scene.release(node, hash_, evidence.enclave_key).canonical() for node in (0, 2)]
        assert session.deliver(releases).missing == 0
        outcome = session.finish(containers, stages.append)
        session.close()
    assert stages == ["importing", "opening", "computing", "sealing"]
    assert outcome.result is not None
    assert outcome.container is not None
    job_id = scene.spec.job_id(CHAIN_ID, MARKET)
    outputs = open_result(
        decode(ResultEnvelope, outcome.result),
        outcome.container,
        scene.consumer_key,
        chain_id=CHAIN_ID,
        market=MARKET,
        job_id=job_id,
    )
    assert outputs["report.json"] == (
        b'{"rows": 5, "inputs": ["rows-1", "rows-2"], "target": "cost", "word": "locked"}'
    )
    statement, _, _ = opened(decode(Envelope, outcome.receipt))
    assert "seccomp" in statement.predicate.sandbox
    assert "simulated" in statement.predicate.platform
    everything = outcome.receipt + outcome.result + outcome.container + evidence.quote
    assert MARKER not in everything
