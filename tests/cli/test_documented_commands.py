"""Every `sealmarket` command that a page, an example of a help text or the newcomer's benchmark shows exists, with its
options: a page that was not followed after a change is found here."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from scripts.benchmarks import newcomer
from tests.cli.commands import Command, all_commands

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "examples").glob("*.md")])
COMMANDS = {command.name: command for command in all_commands()}
OF_THE_PROGRAM = {"--profile", "--version", "--help"}
_FENCED = re.compile(r"^```\w*\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_EXAMPLE = re.compile(r"Example:\s+(sealmarket .+)", re.DOTALL)


def shown(text: str) -> list[str]:
    """The commands in fenced blocks, each on one line; words after a pipe, a redirection or `&&` are left out."""
    lines = [line.strip() for block in _FENCED.findall(text) for line in block.replace("\\\n", " ").splitlines()]
    return [re.split(r" (?:\||>|&&|#) ?", line)[0] for line in lines if line.startswith("sealmarket ")]


def strange(command: str) -> list[str]:
    """What of a command line does not exist."""
    words = [word for word in shlex.split(command.replace("…", ""), comments=True) if word]
    options = [word.partition("=")[0] for word in words if word.startswith("--")]
    while words[1].startswith("--"):
        del words[1 : 2 if words[1] in {"--version", "--help"} else 3]
        if len(words) == 1:
            return [option for option in options if option not in OF_THE_PROGRAM]
    found = _named(words[1:])
    if found is None:
        return [" ".join(words[1:3])]
    return [option for option in options if option not in found.options | OF_THE_PROGRAM]


def _named(words: list[str]) -> Command | None:
    names = (" ".join(words[:count]) for count in (3, 2, 1))
    return next((COMMANDS[name] for name in names if name in COMMANDS), None)


@pytest.mark.parametrize(
    ("command", "found"),
    [
        ("sealmarket consumer result JOB", ["consumer result"]),
        ("sealmarket owner seal a.csv --polcy p.json", ["--polcy"]),
        ("sealmarket --profile x owner policy new p.json --price 1coin", []),
        ("sealmarket --profle x chain status", ["--profle"]),
    ],
)
def test_what_does_not_exist_is_found(command: str, found: list[str]) -> None:
    assert strange(command) == found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_command_in_a_block_of_a_page_exists(page: Path) -> None:
    assert {command: found for command in shown(page.read_text()) if (found := strange(command))} == {}


def test_pages_show_commands() -> None:
    assert sum(len(shown(page.read_text())) for page in PAGES) > 40


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_the_example_of_a_help_text_is_a_call_of_its_command(name: str) -> None:
    text = COMMANDS[name].leaf.help or ""
    for example in _EXAMPLE.findall(text):
        command = re.split(r" (?:\||>) ", " ".join(example.split()))[0]
        assert command.startswith(f"sealmarket {name}"), command
        assert strange(command) == []


def test_the_newcomers_commands_exist_and_are_no_more_than_its_target(tmp_path: Path) -> None:
    commands = newcomer.commands(tmp_path)
    assert [strange(command) for command in commands] == [[]] * newcomer.TARGET_COMMANDS
    names = [result["name"] for result in newcomer._results([newcomer.Step("a", 1.0), newcomer.Step("b", 2.5)])]
    assert names == ["newcomer_commands", "newcomer_seconds"]
