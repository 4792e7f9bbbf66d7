"""Asking before what cannot be undone, telling what takes a while, and writing commands that can be pasted."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, TypeVar

import typer

from sealmarket.cli._options import Usage
from sealmarket_enclave.protocol.errors import SealmarketError

T = TypeVar("T")
Yes = Annotated[bool, typer.Option("--yes", help="Do it without being asked; needed where there is no terminal.")]


def require_yes(question: str, *, yes: bool) -> None:
    """Return if the user agrees; ask on a terminal.

    Raises:
        Usage: there is no terminal, and ``--yes`` was not given.
        typer.Abort: the user said no.
    """
    if yes:
        return
    if not sys.stdin.isatty():
        raise Usage("nothing was sent: this has to be agreed to, and there is no terminal to ask", remedy="add --yes")
    typer.confirm(question, abort=True, err=True)


def confirm(consequence: str, *, yes: bool, question: str = "Go on?") -> None:
    """As :func:`require_yes`, for what cannot be undone: ``consequence`` is a sentence that says what will be gone."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise Usage(
            f"{consequence}; there is no terminal to ask on", remedy="repeat the command with --yes if you mean it"
        )
    typer.echo(consequence, err=True)
    typer.confirm(question, abort=True, err=True)


def progress(text: str) -> None:
    """Say on the error output what is being waited for."""
    typer.echo(f"... {text}", err=True)


def pasted(*words: object) -> str:
    """A command that a shell takes as it stands: each word quoted where it has to be."""
    return shlex.join(str(word) for word in words)


@dataclass(frozen=True, slots=True)
class Asker:
    """Takes an answer from its option, from the default, or from the terminal, where a wrong one is asked again."""

    defaults: bool

    def __call__(
        self, option: str, given: str | None, question: str, default: str | None, read: Callable[[str], T]
    ) -> T:
        if given is not None:
            return read(given)
        if self.defaults or not sys.stdin.isatty():
            if default is None:
                raise Usage(f"{option} has no default: {question.lower()}", remedy=f"give {option}")
            return read(default)
        while True:
            try:
                return read(typer.prompt(question, default=default, err=True))
            except SealmarketError as error:
                typer.echo(f"  {error}", err=True)
            except OSError as error:
                typer.echo(f"  {error.filename}: {error.strerror}", err=True)
