"""The last act: an auditor checks the whole job from its proof bundle."""

from __future__ import annotations

from scripts.demo_story.story import Story


def prove(story: Story) -> None:
    """Write the consumer's proof bundle, and verify it as an auditor would."""
