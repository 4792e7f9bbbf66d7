"""Private inference whole, with the real model: the story of `scripts/demo`, whose own checks end it where one fails.

A model's owner, a provider and two users, each with an `infer proxy` of its own and OpenAI's unmodified client.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from scripts.demo_story.inference.parts import LEASE_SECONDS, OPENING_PRICE, ROYALTY, UNIT_PRICE
from scripts.toolchain import ROOT

pytestmark = [pytest.mark.long, pytest.mark.timeout(0)]
STORY_SECONDS = 1800
CANNOT = 3
"""The exit status of a story for which this machine lacks the model, its engine or the client."""


def play(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "scripts.demo_story", "--story", "inference", *words]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=STORY_SECONDS, check=False)


@pytest.fixture(scope="module")
def story_result(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Path]:
    """The story's document, and the folder with what it leaves."""
    folder = tmp_path_factory.mktemp("out")
    done = play("--json", "--out", str(folder))
    if done.returncode == CANNOT:
        pytest.skip(done.stderr)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout), folder


def test_a_chain_of_somebody_elses_is_refused_before_anything_starts(tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_text("11" * 32)
    done = play("--chain", "http://127.0.0.1:9", "--key-file", str(key))
    assert (done.returncode, "a chain that the demo starts" in done.stderr) == (2, True)


def test_both_users_read_the_text_of_plain_serving_under_receipts_that_hold(story_result: tuple[Any, Path]) -> None:
    story, folder = story_result
    assert story["equalToPlain"]
    for user, text in story["answers"].items():
        assert (folder / f"{user}.txt").read_text() == text
        assert text
        assert story["receipts"][user] >= 2
    assert len(set(story["answers"].values())) == 2


def test_a_revoked_model_answers_no_more_after_its_lease(story_result: tuple[Any, Path]) -> None:
    assert story_result[0]["goneAfterSeconds"] <= LEASE_SECONDS


def test_users_pay_their_receipts_and_the_owner_gets_its_terms_to_the_coin(story_result: tuple[Any, Path]) -> None:
    story, _ = story_result
    changes = {name: int(value) for name, value in story["changes"].items()}
    units = sum(story["tokens"].values())
    for user, count in story["tokens"].items():
        assert changes[user] == -count * int(UNIT_PRICE)
    assert changes["owner"] == int(OPENING_PRICE) + units * int(ROYALTY)
    assert 0 < -sum(changes.values()) < int(OPENING_PRICE), "what is left went to the oracle nodes"
    assert 0 < story["redeemed"] <= units


def test_model_and_engine_are_no_part_of_the_installation() -> None:
    assert not any("cyllama" in path.read_text() for path in (ROOT / "requirements").glob("*.txt"))
