"""Asks before what cannot be undone: on a terminal by a question, without one by ``--yes``."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from sealmarket.cli._options import Usage

Yes = Annotated[bool, typer.Option("--yes", help="Do it without being asked: it cannot be undone.")]


def confirm(consequence: str, *, yes: bool, question: str = "Go on?") -> None:
    """Return if the user agrees to ``consequence``, a sentence that says what will be gone.

    Raises:
        Usage: there is no terminal to ask on, and ``--yes`` was not given.
        typer.Abort: the user said no.
    """
    if yes:
        return
    if not sys.stdin.isatty():
        raise Usage(
            f"{consequence}; there is no terminal to ask on", remedy="repeat the command with --yes if you mean it"
        )
    typer.echo(consequence, err=True)
    typer.confirm(question, abort=True, err=True)
