"""What an owner's commands take: the data, as a file or `-` for a pipe, and the folders of steps."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import Annotated

import typer

from sealmarket.sealing.spool import Data

DataFile = Annotated[
    Path,
    typer.Argument(help="The data; `-` reads it from a pipe, once.", exists=True, dir_okay=False, allow_dash=True),
]
Steps = Annotated[
    list[Path] | None,
    typer.Option("--step", help="The folder of a validator or meter that does not come with Sealmarket; repeat."),
]


def data_of(file: Path) -> Data:
    """The file that was named, or the standard input."""
    return io.BufferedReader(io.FileIO(sys.stdin.fileno(), closefd=False)) if str(file) == "-" else file
