"""A challenged result: one answer, "available" only for bytes that are served, silence where nothing is known."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from msgspec import structs

from sealmarket.chain.contracts import SettledResult
from sealmarket.protocol.decisions import ChallengeAnswer
from sealmarket.protocol.wire import ChallengeStatus
from sealmarket.service.errors import ContentMismatch
from sealmarket.store.memory import MemoryStore
from sealmarket_enclave.protocol.codec import ZERO_HASH, Bytes32, Wei, decode
from sealmarket_enclave.protocol.hashing import keccak
from sealmarket_enclave.protocol.job import Settlement
from sealmarket_enclave.protocol.numbers import JobId
from sealmarket_enclave.protocol.signing import recover
from sealmarket_enclave.sealed.hpke import PrivateKey
from sealmarket_enclave.sealed.result import seal_result
from sealmarket_oracle.api import create_app
from sealmarket_oracle.journal import Journal
from sealmarket_oracle.log.entries import EntryKind
from sealmarket_oracle.release import core_of
from sealmarket_oracle.results import FREE_BYTES, KEPT_SECONDS, MOST_BYTES, Kept, KeptResults
from sealmarket_oracle.runner import Runner
from sealmarket_oracle.service import Node
from tests.oracle.test_api import Client
from tests.oracle.world import CHAIN_ID, CONSUMER, MARKET, World
from tests.patience import until

KEY = PrivateKey.generate()
DECIDE_WINDOW = 600


class Scene:
    """A settled job whose consumer has challenged the result, and one node."""

    def __init__(self, world: World, folder: Path) -> None:
        self.world, self.folder = world, folder
        asset = world.publish()
        world.match(asset, decide_window=DECIDE_WINDOW)
        world.quote()
        core = core_of(world.decided(world.node()))
        world.accept(core)
        self.envelope, self.container = seal_result(
            {"model": b"weights"}, [KEY.public], chain_id=CHAIN_ID, market=MARKET, job_id=world.job_id, bucket=4096
        )
        self.result = SettledResult(self.envelope.hash, keccak(b"receipt"), 0)
        self.opened: list[KeptResults] = []
        self.node = self.another()

    def another(self, name: str = "node-0.sqlite", most_bytes: int = MOST_BYTES) -> Node:
        results = KeptResults(
            self.folder / name.removesuffix(".sqlite"), self.world.store, monotonic=self._later, most_bytes=most_bytes
        )
        self.opened.append(results)
        return self.world.node(journal=name, results=results)

    def _later(self) -> float:
        self.now = getattr(self, "now", 0.0) + 100.0
        return self.now

    def keep(self) -> None:
        """The store has the result."""
        self.world.store.put_document(self.envelope.canonical())
        self.world.store.containers[self.envelope.content_root] = self.container

    def settle(self) -> None:
        self.world.chain.settle(
            Settlement(
                job_id=self.world.job_id,
                result_hash=self.result.result_hash,
                receipt_hash=self.result.receipt_hash,
                units=0,
                last=True,
            )
        )

    def challenge(self) -> None:
        self.settle()
        self.world.chain.challenge(self.world.job_id, CONSUMER, Wei(6))
        self.world.chain.finalise()

    def status(self, node: Node | None = None) -> ChallengeStatus:
        """What the node says once its fetch has come to something."""
        node = node or self.node
        until("a fetch that has come to something", lambda: self._looked(node))
        return node.challenge(self.world.job_id)

    def _looked(self, node: Node) -> bool:
        node.tick()
        return "being fetched" not in node.challenge(self.world.job_id).reason

    def half_of_the_time_passes(self) -> None:
        self.world.chain.mine(1, seconds=DECIDE_WINDOW // 2 + 1)
        self.world.chain.finalise()


@pytest.fixture
def scene(world: World, tmp_path: Path) -> Iterator[Scene]:
    made = Scene(world, tmp_path)
    yield made
    for results in made.opened:
        results.close()


# --- nothing is signed ------------------------------------------------------------------------------------------


def test_a_job_that_nobody_challenged_is_not_looked_for(scene: Scene) -> None:
    scene.settle()
    scene.world.chain.finalise()
    scene.node.tick()
    assert scene.node.challenge(scene.world.job_id).state == "none"


def test_a_challenge_that_is_not_final_is_not_looked_at(scene: Scene) -> None:
    scene.settle()
    scene.world.chain.challenge(scene.world.job_id, CONSUMER, Wei(6))
    scene.node.tick()
    assert scene.node.challenge(scene.world.job_id).state == "none"


def test_a_missing_result_is_waited_for_during_half_of_the_time(scene: Scene) -> None:
    scene.challenge()
    found = scene.status()
    assert (found.state, found.answer) == ("waiting", None)
    assert "the store has no document of the result's hash" in found.reason


def test_a_store_without_an_answer_makes_a_node_silent_and_not_a_liar(scene: Scene) -> None:
    scene.keep()
    scene.challenge()
    scene.node.tick()
    scene.world.store.fall_silent()
    other = scene.another("silent.sqlite")
    scene.half_of_the_time_passes()
    found = scene.status(other)
    assert (found.state, found.answer) == ("waiting", None)


def test_a_result_that_is_larger_than_the_node_keeps_makes_it_silent(scene: Scene) -> None:
    scene.keep()
    scene.challenge()
    node = scene.another("small.sqlite", most_bytes=len(scene.container) - 1)
    scene.half_of_the_time_passes()
    found = scene.status(node)
    assert (found.state, found.answer) == ("waiting", None)


def test_a_node_without_room_is_silent(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    scene.keep()
    scene.challenge()
    monkeypatch.setattr(
        "sealmarket_oracle.results.shutil.disk_usage",
        lambda _path: type("Usage", (), {"free": FREE_BYTES})(),
    )
    found = scene.status(scene.another("full.sqlite"))
    assert (found.state, "no room" in found.reason) == ("waiting", True)


def test_an_error_that_nothing_foresaw_silences_one_challenge_and_ends_no_look(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    def odd(_name: object) -> bytes:
        raise ValueError("of a library, about bytes of a stranger")

    monkeypatch.setattr(scene.world.store, "find_document", odd)
    scene.challenge()
    node = scene.another("odd.sqlite")
    found = scene.status(node)
    assert (found.state, found.reason) == ("waiting", "unexpected ValueError, nothing was answered")


def test_a_challenge_that_the_jobs_slot_contradicts_is_not_answered(scene: Scene) -> None:
    """An endpoint made the challenger, or the result, up."""
    scene.keep()
    scene.challenge()
    scene.node.tick()
    journal = scene.world.journal("edited.sqlite")
    for made_up in (SettledResult(keccak(b"another"), ZERO_HASH, 0), scene.result):
        job_id = scene.world.job_id
        journal.add_result(job_id, made_up)
    node = scene.another("edited.sqlite")
    found = scene.status(node)
    assert (found.state, "job's slot" in found.reason) == ("waiting", True)


def test_a_challenge_of_another_epochs_job_is_neither_looked_for_nor_answered(scene: Scene) -> None:
    """Nodes of two epochs run side by side, each with its own keys: what this one signed would count for nothing."""
    scene.keep()
    scene.challenge()
    identity = replace(scene.world.identity(), epoch=2)
    with Journal(scene.folder / "second.sqlite", identity, None) as journal:
        results = KeptResults(scene.folder / "second", scene.world.store)
        scene.opened.append(results)
        node = scene.world.node(journal_of=journal, results=results)
        node.tick()
        found = Client(create_app(node, Runner(node, 1.0))).get(f"/v1/jobs/{scene.world.job_id}/challenge")
        status = decode(ChallengeStatus, found.content)
        assert (found.status_code, status.state, status.answer) == (200, "none", None)
        assert "epoch 1" in status.reason
        assert [record.available for record in journal.open_challenges()] == [None]
    results.close()
    assert list((scene.folder / "second").iterdir()) == []


def test_an_answer_is_given_once(scene: Scene) -> None:
    scene.challenge()
    scene.node.tick()
    journal: Journal = scene.world.journal()
    answer = ChallengeAnswer(job_id=scene.world.job_id, result_hash=scene.result.result_hash, available=False)
    block = scene.world.chain.final()
    assert journal.answer_challenge(answer, block) is False
    size = journal.head().size
    assert journal.answer_challenge(structs.replace(answer, available=True), block) is False
    assert journal.head().size == size
    scene.keep()
    found = scene.status(scene.another())
    assert found.answer is not None
    assert not found.answer.answer.available


def test_an_answer_is_an_entry_of_the_audit_log(scene: Scene) -> None:
    scene.keep()
    scene.challenge()
    found = scene.status()
    assert found.answer is not None
    journal, answer = scene.world.journal(), found.answer.answer
    [entry] = [entry for entry in journal.entries(0, 100) if entry.kind is EntryKind.ANSWER]
    assert (entry.job_id, entry.inputs) == (scene.world.job_id, scene.result.result_hash)
    assert entry.statement == answer.struct_hash()
    final = scene.world.chain.final()
    assert (entry.block_number, entry.block_hash) == (final.number, final.hash)


# --- what is signed ---------------------------------------------------------------------------------------------


def test_a_result_that_is_there_is_available_and_served_as_a_store_serves_it(scene: Scene) -> None:
    scene.keep()
    scene.challenge()
    until("the answer", lambda: scene.status().state == "answered")
    client = Client(create_app(scene.node, Runner(scene.node, 0.05)))
    answer = client.get(f"/v1/jobs/{scene.world.job_id}/challenge")
    signed = decode(ChallengeStatus, answer.content).answer
    assert signed is not None
    expected = ChallengeAnswer(job_id=scene.world.job_id, result_hash=scene.result.result_hash, available=True)
    assert signed.answer == expected
    assert recover(expected.digest(CHAIN_ID, MARKET), signed.signature) == scene.world.keys[0].signer.address
    assert client.get(f"/v1/documents/{scene.result.result_hash}").content == scene.envelope.canonical()
    assert client.get(f"/v1/containers/{scene.envelope.content_root}").content == scene.container
    assert client.get(f"/v1/containers/{keccak(b'other')}").status_code == 404
    assert client.get("/v1/documents/..%2f..%2fsigner.key").status_code in (404, 422)


@pytest.mark.parametrize("how", ["no document", "no container", "other bytes", "another job's", "no envelope"])
def test_what_the_store_does_not_have_is_not_available_after_half_of_the_time(
    scene: Scene, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = scene.world.store
    if how in ("no container", "other bytes"):
        store.put_document(scene.envelope.canonical())
    if how == "other bytes":

        def wrong(root: Bytes32, *_rest: object, **_options: object) -> None:
            raise ContentMismatch("store", "container", root, "others")

        monkeypatch.setattr(store, "fetch_container", wrong)
    if how == "no envelope":
        scene.result = SettledResult(store.put_document(b"no envelope"), ZERO_HASH, 0)
    if how == "another job's":
        other, _ = seal_result(
            {"model": b""}, [KEY.public], chain_id=CHAIN_ID, market=MARKET, job_id=JobId(keccak(b"job")), bucket=4096
        )
        scene.result = SettledResult(store.put_document(other.canonical()), ZERO_HASH, 0)
    scene.challenge()
    assert scene.status().answer is None
    scene.half_of_the_time_passes()
    until("the answer", lambda: scene.status().state == "answered")
    found = scene.node.challenge(scene.world.job_id).answer
    assert found is not None
    assert not found.answer.available


def test_a_result_that_arrives_in_time_is_available(scene: Scene) -> None:
    scene.challenge()
    assert scene.status().state == "waiting"
    scene.keep()
    until("the answer", lambda: scene.status().state == "answered")
    found = scene.node.challenge(scene.world.job_id).answer
    assert found is not None
    assert found.answer.available


def test_a_node_that_starts_again_serves_what_it_found(scene: Scene) -> None:
    scene.keep()
    scene.challenge()
    until("the answer", lambda: scene.status().state == "answered")
    scene.world.store.documents.clear()
    scene.world.store.containers.clear()
    again = scene.another()
    assert again.results is not None
    assert again.results.document(scene.result.result_hash) == scene.envelope.canonical()
    assert again.challenge(scene.world.job_id).state == "answered"


def test_what_nobody_fetched_for_long_leaves(scene: Scene) -> None:
    now = 1_000_000.0
    store = MemoryStore()
    store.put_document(scene.envelope.canonical())
    store.containers[scene.envelope.content_root] = scene.container
    results = KeptResults(scene.folder / "aged", store, clock=lambda: now, monotonic=scene._later)
    scene.opened.append(results)
    job_id, name = scene.world.job_id, scene.result.result_hash
    until("the fetch", lambda: isinstance(results.look(job_id, name), Kept))
    for path in (scene.folder / "aged").iterdir():
        os.utime(path, (now, now))
    results.forget(set())
    assert results.document(name) is not None
    now += KEPT_SECONDS + 1
    results.forget(set())
    assert (results.document(name), results.container(scene.envelope.content_root)) == (None, None)


def test_a_file_that_a_fetch_moves_at_that_moment_stops_neither_the_node_nor_another_fetch(scene: Scene) -> None:
    scene.keep()
    scene.challenge()
    folder = scene.folder / "moving"
    folder.mkdir()
    (folder / "moved").symlink_to("nowhere")  # it is listed, and is not there when it is looked at
    results = KeptResults(folder, scene.world.store, monotonic=scene._later)
    scene.opened.append(results)
    results.forget(set())
    job_id, name = scene.world.job_id, scene.result.result_hash
    until("the fetch", lambda: isinstance(results.look(job_id, name), Kept))
    assert results.document(name) == scene.envelope.canonical()
