"""Cards and steps on the host: fetched and installed before the quote, marked where this host cannot get them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from sealmarket.store.blobs import Store
from sealmarket_enclave.protocol.codec import Bytes32
from sealmarket_enclave.protocol.hashing import keccak
from sealmarket_enclave.protocol.policy import Validator
from sealmarket_enclave.workload.bundle import Bundle, unpack
from sealmarket_worker import materials as materials_module
from sealmarket_worker.environments import Environments
from sealmarket_worker.errors import InputMissing
from sealmarket_worker.journal import JobState
from sealmarket_worker.materials import Materials
from tests.enclave.runtime.test_steps import FITS, PASSES, card_of
from tests.enclave.runtime.twins import StepTwin
from tests.enclave.scene import Scene, write_step
from tests.worker.twins import HostTwin


@pytest.fixture
def host(tmp_path: Path) -> Iterator[HostTwin]:
    """The first asset names one step as its card's reader and as a validator."""
    (tmp_path / "scene").mkdir()
    scene = Scene(tmp_path / "scene")
    step = write_step(scene.folder / "step", "step")
    check = Validator(media_type="application/json", digest=step.digest, rules={})
    scene.steps = (step,)
    scene.reseal(0, card=card_of(step.digest), rules=msgspec.structs.replace(scene.rules, validators=(check,)))
    twin = HostTwin(scene, tmp_path / "host")
    twin.driver.sandbox.steps["step"] = StepTwin({"report.json": FITS, "verdict.json": PASSES})
    yield twin
    twin.close()


def polled(host: HostTwin) -> Materials:
    return host.context.materials.fetcher(host.scene.spec, tuple(asset.seal for asset in host.scene.assets)).poll()


def test_a_step_that_the_store_lacks_is_marked(host: HostTwin) -> None:
    digest = host.scene.steps[0].digest
    del host.store.blobs[f"/v1/workloads/{digest}"]
    found = polled(host)
    assert (set(found.missing), found.steps) == ({digest}, ())


def test_steps_that_are_too_large_together_are_marked_and_asked_for_once(
    host: HostTwin, monkeypatch: pytest.MonkeyPatch
) -> None:
    step, asked = host.scene.steps[0], list[Bytes32]()
    monkeypatch.setattr(materials_module, "STEP_BYTES", len(step.archive) - 1)
    fetch = Store.workload

    def counted(store: Store, digest: Bytes32, **limits: int) -> Bundle:
        asked.append(digest)
        return fetch(store, digest, **limits)

    monkeypatch.setattr(Store, "workload", counted)
    fetcher = host.context.materials.fetcher(host.scene.spec, tuple(asset.seal for asset in host.scene.assets))
    for _ in range(2):
        found = fetcher.poll()
        assert found.steps == ()
        assert "bytes together" in found.missing[step.digest]
        assert found.bundle is not None
    assert asked.count(step.digest) == 1


def test_a_card_that_the_store_lacks_is_marked_and_names_no_reader(host: HostTwin) -> None:
    card = host.scene.assets[0].card
    assert card is not None
    del host.store.blobs[f"/v1/documents/{keccak(card)}"]
    found = polled(host)
    assert (set(found.missing), found.cards) == ({keccak(card)}, (None, None))


def test_a_step_whose_environment_this_host_cannot_provide_is_marked(
    host: HostTwin, monkeypatch: pytest.MonkeyPatch
) -> None:
    step, before = host.scene.steps[0], Environments.hold

    def without(self: Environments, environment: object) -> Path:
        if environment == unpack(step.archive).environment:
            raise InputMissing("the workload's environment", "no wheel for pyarrow")
        return before(self, environment)  # type: ignore[arg-type]

    monkeypatch.setattr(Environments, "hold", without)
    found = polled(host)
    assert found.steps == ()
    assert "no wheel for pyarrow" in found.missing[step.digest]
    assert found.bundle is not None


def test_what_cards_and_policies_name_is_fetched_once_with_its_environment(host: HostTwin) -> None:
    found = polled(host)
    assert (found.missing, found.cards) == ({}, (host.scene.assets[0].card, None))
    ((step, environment),) = found.steps
    assert step.digest == host.scene.steps[0].digest
    assert environment.is_dir()


def test_a_job_with_steps_goes_through_the_host_to_its_settlement(host: HostTwin) -> None:
    job_id = host.match()
    host.run()
    entry = host.journal.job(job_id)
    assert entry.state is JobState.DONE, entry.reason
    assert host.nodes.package(0).missing == ()
    assert [set(call) for call in host.driver.sandbox.steps["step"].seen] == [{"data", "card"}, {"output", "rules"}]
    done = [stage for stage, state in host.story() if state == "done"]
    assert done[-5:] == ["open", "compute", "validate", "seal", "settle"]
