"""The data that an owner's commands seal: a file, or `-` for what another program writes into a pipe."""

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


def data_of(file: Path) -> Data:
    """The file that was named, or the standard input."""
    return io.BufferedReader(io.FileIO(sys.stdin.fileno(), closefd=False)) if str(file) == "-" else file
