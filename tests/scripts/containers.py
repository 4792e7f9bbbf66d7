"""Reads container files and the compose file as their programs do, as far as these ones go."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import yaml

from scripts.toolchain import ROOT

DEPLOY = ROOT / "deploy"
ROLES = ("backend", "oracle", "worker")


@dataclass(frozen=True, slots=True)
class Image:
    """A container file: its instructions in order, each a word and the rest of its line."""

    instructions: tuple[tuple[str, str], ...]

    @classmethod
    def of(cls, role: str) -> Image:
        """The file of a server's image."""
        text = (DEPLOY / f"{role}.Containerfile").read_text()
        lines = "\n".join(line for line in text.splitlines() if not line.startswith("#")).replace("\\\n", " ")
        pairs = (line.split(maxsplit=1) for line in lines.splitlines() if line.strip())
        return cls(tuple((word, rest.strip()) for word, rest in pairs))

    def all(self, word: str) -> list[str]:
        """What follows each instruction of that word."""
        return [rest for found, rest in self.instructions if found == word]

    def last_stage(self) -> Image:
        """From the last FROM on."""
        starts = [place for place, (word, _) in enumerate(self.instructions) if word == "FROM"]
        return Image(self.instructions[starts[-1] :])

    def command(self) -> list[str]:
        """What runs in a container that is given no command: the entry point, then the default arguments."""
        return [*self.entry_point(), *json.loads(self.all("CMD")[-1])]

    def entry_point(self) -> list[str]:
        """The program with its fixed arguments."""
        found: list[str] = json.loads(self.all("ENTRYPOINT")[-1])
        return found

    def health_check(self) -> list[str]:
        """The command that says whether the container is well."""
        found: list[str] = json.loads(self.all("HEALTHCHECK")[-1].partition("CMD ")[2])
        return found


def compose() -> dict[str, Any]:
    """The compose file, with YAML's merge keys resolved."""
    found: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    return found


def role_of(service: str) -> str:
    """The server that a service of the compose file runs."""
    return service.partition("-")[0]
