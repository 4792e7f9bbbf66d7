"""The progress of the SDK's one-call methods, on the error output."""

from __future__ import annotations

from sealmarket.cli._asking import progress
from sealmarket.client.progress import Progress


def report(said: Progress) -> None:
    """Say when a step starts, and what changes in it; its end shows by the next one's start."""
    if said.state != "done":
        progress(said.about)
