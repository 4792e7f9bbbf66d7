"""The market of real nodes keeps what it promises under any order of steps, and a node with a bug does not.

Each bug is one that a hasty change could bring. It is caught by a short course of steps, which the same machine passes
without the bug; and in the long tier a search among random courses finds it within :data:`LONG` without being told how.

So that a search comes by what takes several things in one order, courses begin at any stage of a job, one node looks
more often than the others, and beside single steps there are steps of several changes and then a look.
It came by the six after 2 to 95 courses of up to 40 steps, of the 150 that it has.
"""

from __future__ import annotations

import dataclasses
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test
from msgspec.structs import replace

from sealmarket.protocol.decisions import Decision
from sealmarket.protocol.transitions import Status
from sealmarket_devices.tdx import VirtualTdx
from sealmarket_enclave.protocol.hashing import keccak
from sealmarket_enclave.protocol.numbers import JobId
from sealmarket_oracle import release as rules_of_release
from sealmarket_oracle import releasing
from sealmarket_oracle.chain_record import JobRecord
from sealmarket_oracle.gate.inputs import AppraisalInput
from sealmarket_oracle.head_clock import HeadClock
from sealmarket_oracle.service import Node
from tests.oracle.market_machine import MOST_AGE, NODES, Broken, Job, Scene
from tests.oracle.world import Agreeing, Enclave

_MEMORY = Path("/dev/shm")
DEFAULT, LONG = (6, 30), (150, 40)
"""Courses and steps."""
_NODE = st.sampled_from([0, 0, 0, 1, 2])
"""A bug shows where one node does two things: most steps are about one node."""
_UNDER_WAY = (Status.MATCHED, Status.QUOTED)


def _folder() -> Path:
    return Path(tempfile.mkdtemp(prefix="machine-", dir=_MEMORY if _MEMORY.is_dir() else None))


@contextmanager
def scene_of(device: VirtualTdx, **options: Any) -> Iterator[Scene]:
    folder = _folder()
    scene = Scene(device, folder, **options)
    try:
        yield scene
    finally:
        scene.close()
        shutil.rmtree(folder, ignore_errors=True)


def _cut_off(scene: Scene, place: int) -> None:
    scene.cut_off ^= {place}


def _of_the_newest_job(attack: Callable[[Scene, Job], None]) -> Callable[[Scene, int], None]:
    return lambda scene, _place: attack(scene, scene.jobs[-1]) if scene.jobs else None


_HEADS = [[0], [0, 0, 0], [0, 1], [1, 1], [2, 2, 2], [3, 0], [4, 4]]
_ATTACKS = [
    Scene.kill,
    Scene.restore_disk,
    _cut_off,
    _of_the_newest_job(Scene.accept_otherwise),
    _of_the_newest_job(Scene.show_other_evidence),
]


def _revoke(scene: Scene, _place: int) -> None:
    if scene.jobs and scene.status(scene.jobs[-1]) is Status.ACCEPTED:
        scene.revoke(scene.jobs[-1].assets[0])


_CHANGES: list[Callable[[Scene, int], None]] = [
    _revoke,
    lambda scene, _place: scene.take_back(1),
    _of_the_newest_job(Scene.show_other_evidence),
    _of_the_newest_job(Scene.accept_otherwise),
    Scene.restore_disk,
    Scene.kill,
    lambda scene, _place: scene.mine(2),
    lambda scene, _place: scene.mine(1, MOST_AGE + 1),
]
"""What can happen between two looks of a node; of several, in this order."""
_WHICH = st.sampled_from([0, 0, 1, 1, 7, 7, *range(2, 7)])
"""Revocations, reorganisations and time are what most rules are about."""
_PARTS = st.lists(st.sets(_WHICH, min_size=1, max_size=3), min_size=1, max_size=2)
MATCHED, SEEN, ACCEPTED = range(3)
_STAGE = st.sampled_from([MATCHED, SEEN, ACCEPTED, ACCEPTED, ACCEPTED, ACCEPTED])


class MarketMachine(RuleBasedStateMachine):
    """Steps in any order; ``device`` and ``options`` are set by the test."""

    device: VirtualTdx
    options: dict[str, Any] = {}  # noqa: RUF012 - set on a subclass

    def __init__(self) -> None:
        super().__init__()
        self._held = scene_of(self.device, **self.options)
        self.scene = self._held.__enter__()

    def teardown(self) -> None:
        """Everything is honest again: each node looks, and each job is done or has a reason."""
        try:
            self.scene.cut_off.clear()
            self.scene.show_heads([0])
            self.scene.mine(3)
            for place in NODES:
                self.scene.look(place)
            self.scene.check_keys()
        finally:
            self._held.__exit__(None, None, None)

    def _job(self) -> Job:
        return self.scene.jobs[-1]

    def _status(self) -> Status:
        return self.scene.status(self._job()) if self.scene.jobs else Status.NONE

    @initialize(both=st.booleans(), stage=_STAGE, place=_NODE, parts=_PARTS, still=st.booleans())
    def begin(self, both: bool, stage: int, place: int, parts: list[set[int]], still: bool) -> None:
        self.scene.match(self.scene.assets[: 1 + both])
        self._bring_to(stage)
        self.see(place, parts, still)

    @precondition(lambda self: self._status() not in _UNDER_WAY)
    @rule(stage=_STAGE, place=_NODE, parts=_PARTS, still=st.booleans())
    def match(self, stage: int, place: int, parts: list[set[int]], still: bool) -> None:
        """Another job, up to a stage, and what one node sees of it then."""
        self.scene.show_heads([0])
        self.scene.match(self.scene.fresh())
        self._bring_to(stage)
        self.see(place, parts, still)

    def _bring_to(self, stage: int) -> None:
        """Seen: quoted, and decided by two nodes. Accepted: on chain and final; no node has looked since."""
        if stage >= SEEN:
            self.scene.quote(self._job())
            self.scene.mine(2)
            for place in NODES[:2]:
                self.scene.look(place)
        if stage >= ACCEPTED:
            self.scene.submit(self._job())
            self.scene.mine(2)

    @precondition(lambda self: self._status() in _UNDER_WAY)
    @rule()
    def go_on(self) -> None:
        """What honest parties do next: quote, decide, submit, and wait until it is final."""
        self._bring_to(SEEN)
        self.scene.submit(self._job())

    @precondition(lambda self: self._status() is Status.ACCEPTED)
    @rule()
    def wait(self) -> None:
        """Until what the chain says of a job is final."""
        self.scene.mine(2)

    @rule()
    def look_all(self) -> None:
        for place in NODES:
            self.scene.look(place)

    @rule(place=_NODE)
    def look(self, place: int) -> None:
        self.scene.look(place)

    @rule(place=_NODE, parts=_PARTS, still=st.booleans())
    def see(self, place: int, parts: list[set[int]], still: bool) -> None:
        """One node looks after each part of the changes; ``still``: no endpoint shows the blocks of that part."""
        for which in parts:
            before = self.scene.chain._blocks[-1].number
            for number in sorted(which):
                _CHANGES[number](self.scene, place)
            behind = self.scene.chain._blocks[-1].number - before if still else 0
            self.scene.show_heads([max(0, behind)] * 3)
            self.scene.look(place)

    @rule(blocks=st.integers(1, 3), seconds=st.sampled_from([1, 20, MOST_AGE + 1]))
    def mine(self, blocks: int, seconds: int) -> None:
        self.scene.mine(blocks, seconds)

    @precondition(lambda self: self._status() is Status.ACCEPTED)
    @rule()
    def revoke(self) -> None:
        self.scene.revoke(self._job().assets[0])

    @rule(blocks=st.integers(1, 2))
    def take_back(self, blocks: int) -> None:
        self.scene.take_back(blocks)

    @rule(behind=st.sampled_from(_HEADS))
    def show_heads(self, behind: list[int]) -> None:
        self.scene.show_heads(behind)

    @rule(place=_NODE, what=st.sampled_from(_ATTACKS))
    def attack(self, place: int, what: Callable[[Scene, int], None]) -> None:
        what(self.scene, place)


def _run(device: VirtualTdx, courses: int, steps: int, **options: Any) -> None:
    machine = type("Run", (MarketMachine,), {"device": device, "options": options})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=courses,
            stateful_step_count=steps,
            deadline=None,
            database=None,
            derandomize=True,
            report_multiple_bugs=False,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        ),
    )


# --- a node without a bug ---------------------------------------------------------------------------------------


def test_whatever_the_adversary_does_nothing_leaves_early_or_twice_and_no_job_is_without_a_reason(
    device: VirtualTdx,
) -> None:
    _run(device, *DEFAULT)


@pytest.mark.long
def test_whatever_the_adversary_does_in_thousands_of_steps(device: VirtualTdx) -> None:
    _run(device, *LONG)


# --- nodes with a bug -------------------------------------------------------------------------------------------


def _accepted(scene: Scene) -> Job:
    """A job that two nodes accepted, final; no node has looked since."""
    scene.match(scene.assets[:1])
    job = scene.jobs[-1]
    scene.quote(job)
    scene.mine(2)
    for place in NODES[:2]:
        scene.look(place)
    scene.submit(job)
    scene.mine(2)
    return job


def _put_back_after_a_release(scene: Scene) -> None:
    """The machine of a node that released is put back; then the owner revokes, and the node would promise to stop."""
    _accepted(scene)
    scene.look(0)
    scene.restore_disk(0)
    scene.revoke(scene.assets[0])
    scene.mine(2)
    scene.look(0)


def _revocation_that_is_taken_back(scene: Scene) -> None:
    _accepted(scene)
    scene.revoke(scene.assets[0])
    scene.look(0)
    scene.take_back(1)
    scene.look(0)


def _endpoints_that_stand_still(scene: Scene) -> None:
    """All show the block before the revocation, which is two minutes old."""
    _accepted(scene)
    scene.revoke(scene.assets[0])
    scene.mine(1, MOST_AGE + 1)
    scene.show_heads([2, 2, 2])
    scene.look(0)


def _two_looks_after_an_acceptance(scene: Scene) -> None:
    job = _accepted(scene)
    scene.look(0)
    scene.show_other_evidence(job)
    scene.mine(1)
    scene.look(0)


def _revocation(scene: Scene) -> None:
    _accepted(scene)
    scene.revoke(scene.assets[0])
    scene.look(0)


def _quorum_for_another_enclave(scene: Scene) -> None:
    scene.match(scene.assets[:1])
    scene.quote(scene.jobs[-1])
    scene.mine(2)
    scene.look(0)
    scene.accept_otherwise(scene.jobs[-1])
    scene.mine(2)
    scene.look(0)


def _no_fence(patch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What peers hold of the journal is not looked at."""
    return {"witnesses": lambda _peers: Agreeing()}


def _stop_forgotten(patch: pytest.MonkeyPatch) -> dict[str, Any]:
    return _forgetting(patch, "stop")


def _stale_heads(patch: pytest.MonkeyPatch) -> dict[str, Any]:
    patch.setattr(HeadClock, "require_recent", lambda _self, _timestamp: None)
    return {}


def _second_release(patch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A release is made anew at each look, and each one after the first to the key of another enclave."""
    seal, other, made = rules_of_release.seal_release, Enclave(), list[JobId]()

    def to_any(case: AppraisalInput, core: Decision, key: bytes, documents: Any, own: Any) -> Any:
        if case.job_id in made:
            key = bytes(other.hpke.public.raw)
            core = replace(core, enclave_key_hash=keccak(key))
        made.append(case.job_id)
        return seal(case, core, key, documents, own)

    patch.setattr(releasing, "seal_release", to_any)
    return {**_forgetting(patch, "release"), "attacker": other}


def _deaf_to_revocations(patch: pytest.MonkeyPatch) -> dict[str, Any]:
    patch.setattr(rules_of_release, "against_release", lambda *_: ())
    return {}


def _trusting_the_quorum(patch: pytest.MonkeyPatch) -> dict[str, Any]:
    patch.setattr(rules_of_release, "core_of", lambda _decision: None)
    return {}


def _forgetting(patch: pytest.MonkeyPatch, kind: str) -> dict[str, Any]:
    """A promise of one kind does not keep a node from the next."""
    step = Node._step

    def forgetful(self: Node, record: JobRecord, final: Any) -> Any:
        held = self._journal.promised(record.job_id)
        if held is not None and held[0] == kind:
            with self._journal.writing():
                self._journal._run("DELETE FROM promises WHERE job_id = ?", (bytes(record.job_id),))
            record = dataclasses.replace(record, promised=False)
        return step(self, record, final)

    patch.setattr(Node, "_step", forgetful)
    return {}


Bug = Callable[[pytest.MonkeyPatch], dict[str, Any]]
BUGS: dict[str, tuple[Bug, Callable[[Scene], None], str]] = {
    "skips the fence": (_no_fence, _put_back_after_a_release, "3: "),
    "releases after a stop": (_stop_forgotten, _revocation_that_is_taken_back, "3: "),
    "accepts a stale head": (_stale_heads, _endpoints_that_stand_still, "2: no revocation is older"),
    "releases twice to different keys": (_second_release, _two_looks_after_an_acceptance, "3: "),
    "ignores a revocation": (_deaf_to_revocations, _revocation, "2: no endpoint's head"),
    "releases what others accepted": (_trusting_the_quorum, _quorum_for_another_enclave, "1: the node accepted"),
}


@pytest.mark.parametrize("name", BUGS)
def test_the_machine_catches_a_node_that(name: str, device: VirtualTdx, monkeypatch: pytest.MonkeyPatch) -> None:
    bug, course, broken = BUGS[name]
    with scene_of(device) as scene:
        course(scene)
    options = bug(monkeypatch)
    with scene_of(device, **options) as scene, pytest.raises(Broken, match=broken):
        course(scene)


@pytest.mark.long
@pytest.mark.parametrize("name", BUGS)
def test_a_search_among_random_courses_finds_a_node_that(
    name: str, device: VirtualTdx, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = BUGS[name][0](monkeypatch)
    with pytest.raises((Broken, ExceptionGroup)):
        _run(device, *LONG, **options)
