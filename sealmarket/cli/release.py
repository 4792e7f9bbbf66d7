"""Check releases of the enclave's runtime, before an owner lets their enclaves open data."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer

from sealmarket.cli._options import AsJson, Usage, answer
from sealmarket.files import read_file
from sealmarket.releases.dsse import public_key
from sealmarket.releases.errors import ReleaseRefused
from sealmarket.releases.folder import CheckedRelease, check_release
from sealmarket_enclave.protocol.errors import MalformedDocument

app = typer.Typer(no_args_is_help=True, help="Check releases of the enclave's runtime.")

ReleaseFolder = Annotated[
    Path, typer.Argument(metavar="RELEASE", exists=True, file_okay=False, help="The folder of a release.")
]
ReleaseKeys = Annotated[
    list[Path],
    typer.Option("--release-key", exists=True, help="A publisher's public key in PEM; may be named several times."),
]


_WHOLE = "name the folder that has the release's four files, or get the whole release again"


@app.callback()
def _group() -> None:
    """Check releases of the enclave's runtime."""


@app.command()
def check(release: ReleaseFolder, release_key: ReleaseKeys, as_json: AsJson = False) -> None:
    """Hold a release's files against its signed provenance, and show what its enclaves' evidence will say.

    That the measurements follow from the sources shows `sealmarket worker image reproduce`, which builds them again.

    Example: sealmarket release check release --release-key publisher.pub
    """
    checked = checked_release(release, release_key)
    measured = checked.measured
    lines = [
        f"release     {measured.release}, on Python {measured.interpreter}",
        f"source      {checked.source or 'no commit is named'}",
        f"holds       {', '.join(f'{one.name} {one.version}' for one in checked.components)}",
    ]
    for one in measured.enclaves:
        grade = "SIMULATED" if one.grade == "simulated" else one.grade
        lines.append(f"enclave     {one.measurement.digest()}  {one.kind} on {one.tee} by {one.driver}, {grade}")
    answer(measured, lines, as_json)


def checked_release(folder: Path, keys: Iterable[Path]) -> CheckedRelease:
    """A release that holds under one of the keys in these files.

    Raises:
        Usage: the folder is none of a release.
        ReleaseRefused, and others: as :func:`check_release`.
    """
    named = [public_key(read_file(path)) for path in keys]
    try:
        return check_release(folder, named)
    except FileNotFoundError as error:
        raise Usage(f"{folder} is no release: it has no {Path(error.filename).name}", remedy=_WHOLE) from error
    except MalformedDocument as error:
        raise ReleaseRefused(
            f"{folder} is no release that this version reads: {error.message}", remedy=_WHOLE
        ) from error
