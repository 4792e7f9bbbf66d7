"""The key under which owners let you read their jobs' evidence."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from sealmarket.cli._options import AsJson, PassphraseFile, Usage, answer, read_passphrase
from sealmarket.cli._request_options import open_result_key
from sealmarket.client.public_keys import PublicKeyRefused, public_key_in, write_public_key
from sealmarket.client.result_keys import create_result_key
from sealmarket_enclave.sealed.hpke import PublicKey

app = typer.Typer(no_args_is_help=True, help="The key under which owners let you read their jobs' evidence.")
keys = typer.Typer(no_args_is_help=True, help="Make an auditor's key, and show its public half.")
app.add_typer(keys, name="key")


@keys.command()
def new(
    file: Annotated[Path, typer.Argument(help="The new key file. It is never overwritten.")],
    public: Annotated[
        Path | None, typer.Option(help="Where its public half goes, for owners; by default beside it, as FILE.public.")
    ] = None,
    passphrase_file: PassphraseFile = None,
    plain: Annotated[bool, typer.Option("--plain", help="Keep it unencrypted in its file (mode 0600).")] = False,
    as_json: AsJson = False,
) -> None:
    """Make an auditor's key: evidence of jobs over data whose owner names it is sealed to it, and its file opens that.

    Example: sealmarket auditor key new auditor.key
    """
    out = public or file.with_name(f"{file.name}.public")
    for one in (file, out):
        if one.exists():
            raise Usage(f"{one} exists", remedy="name a new file")
    passphrase = None if plain else read_passphrase(passphrase_file, "Passphrase for the auditor's key", confirm=True)
    made = create_result_key(file, passphrase=passphrase, confirm_unencrypted=plain, about="auditor")
    write_public_key(out, made.public)
    lines = [
        f"{file} written: keep it, evidence cannot be read without it",
        f"{out} is its public half: owners name it by `owner policy new --auditor {shlex.quote(str(out))}`",
        f"fingerprint {made.public.digest}: tell it to owners by another way than the file",
    ]
    answer({"file": str(file), "public": str(out), "fingerprint": str(made.public.digest)}, lines, as_json)


@keys.command()
def show(
    file: Annotated[Path, typer.Argument(help="A key file of yours, or the file of a public half.")],
    passphrase_file: PassphraseFile = None,
    as_json: AsJson = False,
) -> None:
    """Show the public half of a key, and the fingerprint by which auditor and owner compare it.

    Example: sealmarket auditor key show auditor.key
    """
    key = _public(file, passphrase_file)
    answer(
        {"publicKey": str(key.raw), "fingerprint": str(key.digest)},
        [str(key.raw), f"fingerprint {key.digest}"],
        as_json,
    )


def _public(file: Path, passphrase_file: Path | None) -> PublicKey:
    try:
        return public_key_in(file)
    except PublicKeyRefused:
        return open_result_key(file, passphrase_file).public
