"""The passphrase of a node's keystores: from a file, from a credential of systemd, or asked for. Nowhere else.

It is never in an environment variable or an argument, where other processes and logs find it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

from sealmarket.private_files import NotPrivate, PassphraseRefused, read_passphrase_file, read_private
from sealmarket_oracle.errors import KeyFileRefused, PassphraseMissing

CREDENTIAL = "passphrase"
"""The name under which systemd shows the passphrase to the service (``LoadCredential=passphrase:…``)."""
SHORTEST = 12
_REMEDY = (
    "name a file of mode 0600 with --passphrase-file or passphrase_file, or give systemd's credential"
    f" {CREDENTIAL!r}; a terminal asks"
)


def passphrase(file: Path | None, *, confirm: bool = False, environment: Mapping[str, str] = os.environ) -> str:
    """The first of: the file, systemd's credential, what a person types.

    Raises:
        KeyFileRefused: a file that others can read or without a line, a short passphrase, or nothing to read it from.
    """
    found = _read(file or _credential(environment), confirm=confirm)
    if len(found) < SHORTEST:
        raise KeyFileRefused(
            f"the passphrase has {len(found)} characters, expected at least {SHORTEST}", remedy="use a longer one"
        )
    return found


def _credential(environment: Mapping[str, str]) -> Path | None:
    folder = environment.get("CREDENTIALS_DIRECTORY")
    path = Path(folder) / CREDENTIAL if folder else None
    return path if path is not None and path.is_file() else None


def _read(file: Path | None, *, confirm: bool) -> str:
    if file is None:
        return _asked(confirm=confirm)
    try:
        read_private(file)
        return read_passphrase_file(file)
    except (NotPrivate, PassphraseRefused) as error:
        raise KeyFileRefused(error.message, remedy=error.remedy) from error
    except OSError as error:
        raise KeyFileRefused(f"{file} cannot be read: {error.strerror}", remedy=_REMEDY) from error


def _asked(*, confirm: bool) -> str:
    import typer

    if not sys.stdin.isatty():
        raise PassphraseMissing("there is no terminal to ask for the passphrase of the node's keys", remedy=_REMEDY)
    typed: str = typer.prompt("Passphrase of the node's keys", hide_input=True, confirmation_prompt=confirm, err=True)
    return typed
