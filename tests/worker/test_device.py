"""The image in a real process of the virtual device: the whole job, real sandbox included."""

from __future__ import annotations

import queue
import threading
from pathlib import Path

import pytest

from sealmarket.receipts.envelope import opened
from sealmarket.sealing.results import open_result
from sealmarket_devices.client import VirtualDevice
from sealmarket_devices.driver import image_arguments
from sealmarket_devices.measure import measure_image
from sealmarket_enclave.protocol.codec import Bytes32, Uint64, decode
from sealmarket_enclave.protocol.hashing import sha256
from sealmarket_enclave.protocol.numbers import Tee
from sealmarket_enclave.protocol.receipt import Envelope
from sealmarket_enclave.protocol.session import Renewal, SignedStatement, TabState
from sealmarket_enclave.protocol.signing import sign
from sealmarket_enclave.sealed.result import ResultEnvelope
from sealmarket_enclave.sealed.session import AnswerReader, Frame
from sealmarket_worker.errors import EnclaveLost, EnclaveRefused
from sealmarket_worker.image import base_interpreter, build_image
from sealmarket_worker.session import EnclaveSession, Outcome, host_side
from tests.enclave.runtime.twins import load_of
from tests.enclave.scene import CHAIN_ID, MARKER, MARKET, Scene
from tests.enclave.session.services import Account, Users, service_scene
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
        releases = [scene.release(node, hash_, evidence.enclave_key).raw for node in (0, 2)]
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


@pytest.mark.long
def test_an_image_for_batch_jobs_refuses_a_service(device_socket: Path, image: Path, tmp_path: Path) -> None:
    scene = service_scene(tmp_path / "service")
    refused = pytest.raises(EnclaveRefused, match="kind of job is session, expected batch")
    with VirtualDevice(device_socket) as device, launch(device, image, scene) as session, refused:
        session.load(load_of(scene))


@pytest.mark.long
def test_a_service_answers_from_the_image_of_its_kind(device_socket: Path, tmp_path: Path) -> None:
    image, scene = build_image(tmp_path / "session", "session"), service_scene(tmp_path / "service")
    users, alice = Users(scene), Account(0x61)
    kept: list[SignedStatement] = []
    ended: list[Outcome] = []
    heard: queue.SimpleQueue[tuple[bytes | None, bool]] = queue.SimpleQueue()
    with VirtualDevice(device_socket) as device, launch(device, image, scene) as session:
        evidence = session.load(load_of(scene, extension=users.terms.canonical()))
        named = Bytes32(evidence.evidence_hash)
        users.sealed_to = (evidence.enclave_key, named)
        releases = [scene.release(node, named, evidence.enclave_key).raw for node in (0, 1)]
        assert not session.deliver(releases).missing
        link, serving = session.link(kept.append), threading.Event()
        held = {asset.seal.content_root: tmp_path / "container" for asset in scene.assets}
        (tmp_path / "container").write_bytes(scene.assets[0].container)

        def hear() -> None:
            ended.append(session.finish(held, lambda stage: serving.set() if stage == "serving" else None, link))

        hearing = threading.Thread(target=hear, daemon=True)
        hearing.start()
        assert serving.wait(PATIENCE)
        renewal = Renewal(
            job_id=users.job_id,
            nonce=Bytes32(link.nonce().nonce),
            block_number=Uint64(1),
            block_time=1000,
            redeemed=Uint64(0),
            tabs=(TabState(account=alice.address, units=Uint64(500), closing=False),),
        )
        digest = renewal.digest(CHAIN_ID, MARKET)
        signatures = [sign(digest, node.signing) for node in scene.nodes[1:]]
        assert link.renew(renewal.canonical(), signatures) == ""
        sealed, secret = users.seal(users.session(alice), b"hello")
        link.ask(sealed, lambda data, last: heard.put((data, last)))
        reader, frames, last = AnswerReader(secret, sha256(sealed)), list[Frame](), False
        while not last:
            data, last = heard.get(timeout=PATIENCE)
            assert data is not None
            frames += reader.feed(data)
        reader.close()
        assert [frame.payload for frame in frames[:-1]] == [b"hello"]
        link.end()
        hearing.join(PATIENCE)
    assert ended[0].posted.settlement is not None
    assert kept[-1].statement.last
    assert kept[-1].statement.total == 7
