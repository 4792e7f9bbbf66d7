"""The output of the story: text on a terminal, or nothing until the one JSON document."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.padding import Padding
from rich.panel import Panel
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

READING_SECONDS = 2.5
_BAR = 40


class StoryConsole:
    """Prints acts, steps, tables and charts. ``quiet`` shows nothing, ``fast`` does not pause between acts."""

    def __init__(self, *, quiet: bool = False, fast: bool = False, record: bool = False) -> None:
        self.terminal = Console(quiet=quiet, record=record, highlight=False, width=None if not record else 100)
        self._fast = fast or quiet
        self._act = 0
        self.seconds: dict[str, float] = {}
        """How long each named step took."""

    def title(self, headline: str, *lines: str) -> None:
        """The opening."""
        self.terminal.print()
        body = "\n".join((f"[bold]{headline}[/]", "", *lines))
        self.terminal.print(Panel(body, border_style="cyan", padding=(1, 2)))

    def act(self, headline: str, *lines: str) -> None:
        """A new act: what happens now, and why."""
        self.pause()
        self._act += 1
        self.terminal.print(f"\n[bold cyan]{self._act}. {headline}[/]")
        if lines:
            self.say(" ".join(lines))

    def say(self, text: str, *, indent: int = 3) -> None:
        """A sentence or more within an act, indented."""
        self.terminal.print(Padding(Text.from_markup(text), (0, 0, 0, indent)))

    def pause(self) -> None:
        """Time to read."""
        if not self._fast and self.terminal.is_terminal:
            time.sleep(READING_SECONDS)

    @contextmanager
    def step(self, name: str, text: str) -> Iterator[Callable[[str], None]]:
        """Something that takes a while: a spinner while it runs, a tick and its seconds when it is done.

        Yields a function that changes what the spinner says.
        """
        began = time.monotonic()
        with self.terminal.status(f"{text} …") as status:
            yield lambda now: status.update(f"{text}: {now} …")
        took = time.monotonic() - began
        self.seconds[name] = round(took, 3)
        self._done(text, took)

    def _done(self, text: str, took: float) -> None:
        row = Table.grid(padding=(0, 1))
        row.add_row("  ", "[green]✓[/]", f"{text} [dim]({took:.1f} s)[/]")
        self.terminal.print(row)

    @contextmanager
    def progress(self, name: str, text: str, total: int) -> Iterator[Callable[[int], None]]:
        """Work of known size, with a bar. Yields a function that takes how much more is done."""
        began = time.monotonic()
        columns = (TextColumn("   {task.description}"), BarColumn(_BAR), TaskProgressColumn(), TimeElapsedColumn())
        with Progress(*columns, console=self.terminal, transient=True) as bars:
            task = bars.add_task(text, total=total)
            yield lambda more: bars.advance(task, more)
        took = time.monotonic() - began
        self.seconds[name] = round(took, 3)
        self._done(text, took)

    def table(
        self, title: str, heads: Sequence[str], rows: Sequence[Sequence[str]], *, right: Sequence[int] = ()
    ) -> None:
        """A table; ``right`` names the columns that hold numbers."""
        made = Table(title=title, title_justify="left", title_style="bold", border_style="dim", padding=(0, 1))
        for index, head in enumerate(heads):
            made.add_column(head, justify="right" if index in right else "left", overflow="fold")
        for row in rows:
            made.add_row(*row)
        self.terminal.print()
        self.terminal.print(made)

    def bars(self, title: str, rows: Sequence[tuple[str, float, str]], *, low: float, high: float) -> None:
        """A bar chart of numbers between ``low`` and ``high``: name, value, colour."""
        self.terminal.print(f"\n[bold]{title}[/]")
        width = max(len(name) for name, _, _ in rows)
        for name, value, colour in rows:
            full = round((min(max(value, low), high) - low) / (high - low) * _BAR * 8)
            blocks = "█" * (full // 8) + ("", *"▏▎▍▌▋▊▉")[full % 8]
            self.terminal.print(
                Text.assemble(f"   {name:<{width}}  ", (f"{blocks:<{_BAR + 1}}", colour), f" {value:.4f}")
            )
        self.terminal.print(f"   {'':<{width}}  [dim]{low:<{_BAR - 6}.2f}{high:>8.2f}[/]")

    def stream(self, head: str, pieces: Iterable[str]) -> str:
        """Text as it comes, behind a head; returns all of it."""
        said = ""
        self.terminal.print(f"     [bold]{head}[/] ", end="")
        for piece in pieces:
            said += piece
            self.terminal.print(piece.replace("\n", "\n     "), end="", markup=False, soft_wrap=True)
        self.terminal.print()
        return said

    def refusal(self, headline: str, rows: Sequence[tuple[str, str]]) -> None:
        """A refusal, in full."""
        body = Table.grid(padding=(0, 2))
        body.add_column(style="dim", no_wrap=True)
        body.add_column(overflow="fold")
        for name, value in rows:
            body.add_row(name, value)
        self.terminal.print(Panel(body, title=f"[bold red]{headline}[/]", title_align="left", border_style="red"))

    def commands(self, headline: str, lines: Sequence[str]) -> None:
        """Commands to copy: never wrapped, so that a terminal's own wrapping keeps each in one piece."""
        self.terminal.print(f"\n[bold]{headline}[/]")
        for line in lines:
            self.terminal.print(f"   {line}", soft_wrap=True, markup=False)

    def picture(self, path: Path) -> None:
        """Save what was printed as an SVG, in the viewer's monospaced font: nothing is fetched."""
        path.write_text(
            re.sub(r"@font-face \{.*?\}\s*", "", self.terminal.export_svg(title="scripts/demo"), flags=re.DOTALL)
        )
