"""Asking before what cannot be undone, telling what takes a while, and writing commands that can be pasted."""

from __future__ import annotations

import shlex
import sys
from typing import Annotated

import typer

from sealmarket.cli._options import Usage

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
