"""What every story runs on: a console, a chain, a market whose parties are processes; and what a story leaves."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from scripts.demo_story.chain import DemoChain
from scripts.demo_story.console import StoryConsole
from sealmarket_localnet.market import LocalMarket
from sealmarket_localnet.processes import Supervisor


class StoryBroken(AssertionError):
    """A result differs from what the story claims."""


class StoryUnavailable(RuntimeError):
    """A story that cannot run on this machine."""

    def __init__(self, why: str, remedy: str) -> None:
        super().__init__(f"This story cannot run here: {why}\n{remedy}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """Where a story happens. ``keep``: everything stays up behind it."""

    console: StoryConsole
    programs: Supervisor
    folder: Path
    chain: DemoChain
    keep: bool

    def start_market(self) -> LocalMarket:
        """Bring contracts, oracle nodes, backend and device up on the chosen chain."""
        chosen = self.chain
        with self.console.step("market", "Contracts, oracle nodes, backend and device come up") as now:
            return LocalMarket.start(
                self.programs,
                self.folder,
                chosen.url,
                finality=chosen.finality,
                final_seconds=chosen.final_seconds,
                bank_key=chosen.bank_key,
                purse=chosen.money.purse,
                signature_fee=chosen.money.signature_fee,
                patience=chosen.patience,
                said=now,
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class StoryResult:
    """What a story leaves behind.

    ``facts`` go into the JSON document. ``outputs`` and ``paths`` are kept by ``--out``. ``show_kept`` prints what
    stays up with ``--keep``. ``next_steps`` is the last line, in rich's markup.
    """

    market: LocalMarket
    facts: dict[str, Any]
    outputs: dict[str, bytes] = field(default_factory=dict)
    paths: tuple[Path, ...] = ()
    show_kept: Callable[[], None]
    next_steps: str


@dataclass(frozen=True, slots=True)
class Story:
    """One story: its headline with what follows it, and how it runs."""

    title: tuple[str, ...]
    perform: Callable[[Stage], StoryResult]
