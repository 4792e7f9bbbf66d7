"""The commands of a role's page, and a party that does them: in a folder, a home and an environment of its own.

In a page, a block of shell commands is run as it stands, unless the line before it is one of these comments:

    <!-- of your own -->       what each reader adapts: installation and values; the test sets the same variables
    <!-- keeps running -->     a server: it is started, and runs until the end
    <!-- for a table -->       done by a party whose data are a table, in place of the next:
    <!-- for other data -->    done by a party whose data are anything else
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from sealmarket_localnet.processes import Process, Ready, Supervisor
from tests.patience import PATIENCE

ROOT = Path(__file__).resolve().parents[2]
PAGES = ROOT / "docs" / "roles"
OWN, RUNS = "<!-- of your own -->", "<!-- keeps running -->"
TABLE, OTHER = "<!-- for a table -->", "<!-- for other data -->"
_SESSION = ".session"
SECONDS = 2 * PATIENCE


@dataclass(frozen=True, slots=True)
class Block:
    """A block of shell commands. ``kind``: the comment before it, or nothing."""

    section: str
    kind: str
    commands: str


def blocks(page: str) -> list[Block]:
    """All blocks of a page, in its order."""
    return list(_read((PAGES / f"{page}.md").read_text().splitlines()))


def _read(lines: list[str]) -> Iterator[Block]:
    section, before = "", ""
    inside: list[str] | None = None
    for line in lines:
        if inside is not None and line == "```":
            yield Block(section, before if before in (OWN, RUNS, TABLE, OTHER) else "", "\n".join(inside))
            before, inside = "", None
        elif inside is not None:
            inside.append(line)
        elif line == "```sh":
            inside = []
        elif line.startswith("#"):
            section, before = line.lstrip("# "), ""
        elif line:
            before = line


@dataclass
class Party:
    """Someone who has read one page only. ``left``: what of it was not done yet. ``table``: what it sells is one."""

    name: str
    folder: Path
    left: list[Block]
    variables: Mapping[str, str]
    programs: Supervisor
    said: dict[str, str] = field(default_factory=dict)
    table: bool = False

    def __post_init__(self) -> None:
        self.folder.mkdir(mode=0o700)

    def do(self, section: str, ready: Ready | None = None) -> str:
        """Go on with the page up to the end of a section; what the section's own commands printed.

        ``ready``: when the server of the section has started.
        """
        assert section in {block.section for block in self.left}, (section, self.left)
        last = max(place for place, block in enumerate(self.left) if block.section == section)
        done, self.left = self.left[: last + 1], self.left[last + 1 :]
        for block in done:
            if block.kind == RUNS:
                self._start(block.commands, ready if block.section == section else None)
            elif block.kind not in (OWN, OTHER if self.table else TABLE):
                self.said[block.section] = self.said.get(block.section, "") + self._run(block.commands)
        return self.said.get(section, "")

    def take(self, source: Path, name: str | None = None) -> None:
        """Get a file or a folder from another party."""
        target = self.folder / (name or source.name)
        command = ["cp", "-r", str(source), str(target)]
        subprocess.run(command, check=True)

    def _run(self, commands: str) -> str:
        script = f"set -euo pipefail; [ ! -f {_SESSION} ] || . ./{_SESSION}\n{commands}\nexport -p > {_SESSION}\n"
        done = subprocess.run(
            ["bash", "-c", script],
            cwd=self.folder,
            env=self._environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
        assert done.returncode == 0, (self.name, commands, done.returncode, done.stdout[-3000:], done.stderr[-3000:])
        return done.stdout

    def _start(self, command: str, ready: Ready | None) -> Process:
        script = f"[ ! -f {_SESSION} ] || . ./{_SESSION}\nexec {command}\n"
        name = f"{self.name}-{len(self.programs.processes)}"
        environment = self._environment() | {"PYTHONUNBUFFERED": "1"}
        return self.programs.start(
            name, ["bash", "-c", script], ready=ready, timeout=SECONDS, env=environment, cwd=self.folder
        )

    def _environment(self) -> dict[str, str]:
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        return {"PATH": path, "HOME": str(self.folder), "LANG": "C.UTF-8", **self.variables}
