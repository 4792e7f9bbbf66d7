"""``sealmarket worker init | doctor | prepare | attest``: from nothing to a worker that can run."""

from __future__ import annotations

import json
import os
import tempfile
from dataclasses import asdict
from pathlib import Path
from shlex import quote
from typing import Annotated

import typer

from sealmarket.cli._options import AsJson

LISTEN = "127.0.0.1:8600"


def init(
    path: Annotated[Path, typer.Argument(help="The file to write.")] = Path("worker.toml"),
    rpc: Annotated[str | None, typer.Option("--rpc", help="A node of the chain.", envvar="SEALMARKET_RPC")] = None,
    book: Annotated[str | None, typer.Option("--book", help="The market's address book.")] = None,
    key: Annotated[str | None, typer.Option("--key", help="The provider's account file.")] = None,
    passphrase_file: Annotated[str | None, typer.Option("--passphrase-in", help="A file with its passphrase.")] = None,
    state: Annotated[str | None, typer.Option("--state", help="The state folder.")] = None,
    device: Annotated[str | None, typer.Option("--device", help="How the driver reaches the TEE.")] = None,
    outbox: Annotated[
        str | None, typer.Option("--outbox", help="The folder of sent transactions, if another worker has the account.")
    ] = None,
    wheels: Annotated[str | None, typer.Option("--wheels", help="The folder of wheels.")] = None,
    driver: Annotated[str | None, typer.Option("--driver", help="virtual, guest or gramine.")] = None,
    tee: Annotated[str | None, typer.Option("--tee", help="tdx, snp, cca, sgx or nitro.")] = None,
    kind: Annotated[str | None, typer.Option("--kind", help="batch, or session for services.")] = None,
    listen: Annotated[
        str | None, typer.Option("--listen", help="Of kind session: where users reach it; 127.0.0.1:8600 by default.")
    ] = None,
    url: Annotated[
        str | None, typer.Option("--url", help="Of kind session: the address that the market lists; none by default.")
    ] = None,
    development: Annotated[
        bool,
        typer.Option(
            "--development-chain", help="You started this chain on this machine: well-known keys may be used."
        ),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Write a worker's configuration, with every key and what it means. A file that is there is left alone.

    Example: sealmarket worker init worker.toml --rpc https://rpc.example.org --book market.json --key account.json

    Example: sealmarket worker init session.toml --kind session --state session --url https://models.example.org
    """
    from sealmarket_worker.config import read_book, require_reached
    from sealmarket_worker.template import written

    if book is not None:
        read_book(path, Path(book))
    files = {"book": book, "key": key, "passphrase_file": passphrase_file}
    files |= {"state": state, "device": device, "outbox": outbox, "wheels": wheels}
    given = {name: _seen_from(path, value) for name, value in files.items() if value is not None}
    others = {"rpc": rpc, "driver": driver, "tee": tee, "kind": kind, "listen": listen, "url": url}
    if kind == "session" and listen is None:
        others["listen"] = LISTEN
    require_reached(path, kind or "batch", others["listen"] or "", url or "")
    given |= {name: value for name, value in others.items() if value is not None}
    _write_new(path, written(**given, development_chain=development))
    typer.echo(json.dumps({"written": str(path)}) if as_json else f"{path} is written")
    if not as_json:
        typer.echo(f"next: sealmarket worker doctor --config {quote(str(path))}")


def _write_new(path: Path, text: str) -> None:
    """Write a file that is not there yet. Raises :class:`ConfigInvalid`."""
    from sealmarket_worker.errors import ConfigInvalid

    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        raise ConfigInvalid(path, "it is there already", "name another file, or edit that one") from None
    except OSError as error:
        raise ConfigInvalid(path, str(error), "name a file in a folder that you may write to") from error
    with os.fdopen(handle, "w", encoding="utf-8") as out:
        out.write(text)


def _seen_from(file: Path, named: str) -> str:
    """A path that was named here, as a configuration file names it: relative to the file's own folder."""
    here, there = Path.cwd(), file.absolute().parent
    return named if here == there or Path(named).is_absolute() else str(here / named)


def doctor(
    config: Annotated[Path | None, typer.Option("--config", help="The worker's TOML file.")] = None,
    as_json: AsJson = False,
) -> None:
    """Say what this machine has for enclaves, what is missing, and the next step; with --config, what the file names.

    Exit 0: nothing failed; 1: something did, and its line says what to do.

    Example: sealmarket worker doctor --config worker.toml
    """
    from sealmarket.client.doctor import Check, State
    from sealmarket_enclave.protocol.errors import SealmarketError
    from sealmarket_worker.config import load_config
    from sealmarket_worker.examination import Here, examine_config, examine_machine

    here = Here()
    checks = list(examine_machine(here))
    if config is not None:
        try:
            checks += examine_config(load_config(config), here)
        except SealmarketError as error:
            checks.append(Check("configuration", State.FAILED, error.message, error.remedy))
    if as_json:
        typer.echo(json.dumps([asdict(check) for check in checks]))
    else:
        for check in checks:
            typer.echo(f"{check.state.value:<8} {check.name}: {check.found}")
            if check.remedy:
                typer.echo(f"         {'what to do' if check.state is not State.OK else 'to have it'}: {check.remedy}")
        if config is None:
            typer.echo("next: sealmarket worker init, then sealmarket worker doctor --config worker.toml")
    raise typer.Exit(1 if any(check.state is State.FAILED for check in checks) else 0)


def prepare(
    workload: Annotated[list[str], typer.Argument(help="Folders of workloads, or their digests in the store.")],
    config: Annotated[Path, typer.Option("--config", help="The worker's TOML file.")],
    fetch: Annotated[bool, typer.Option("--fetch", help="Download missing wheels, by the hashes of the lock.")] = False,
    as_json: AsJson = False,
) -> None:
    """Install the environments of workloads before you offer compute; name each wheel that is missing.

    Exit 0: all can run here; 1: a wheel is missing.

    Example: sealmarket worker prepare workloads/train_gradient_boosting --config worker.toml --fetch
    """
    from sealmarket_worker.config import load_config
    from sealmarket_worker.preparing import prepare as prepare_one

    loaded = load_config(config)
    found = [prepare_one(loaded, one, fetch=fetch) for one in workload]
    if as_json:
        rows = [
            {"workload": str(one.workload), "environment": str(one.environment), "missing": one.missing}
            for one in found
        ]
        typer.echo(json.dumps(rows))
    for one in found if not as_json else []:
        if one.missing:
            typer.echo(f"missing   {one.workload}: {', '.join(one.missing)}")
            typer.echo(f"          what to do: put them into {loaded.wheels}, or repeat this with --fetch")
        else:
            typer.echo(f"prepared  {one.workload} (environment {one.environment})")
    raise typer.Exit(1 if any(one.missing for one in found) else 0)


def attest(config: Annotated[Path, typer.Option("--config", help="The worker's TOML file.")]) -> None:
    """Launch an enclave on this host's device, and print its evidence: on it `provider offer` names the grade.

    Example: sealmarket worker attest --config worker.toml > platform.json
    """
    from sealmarket_worker.attesting import attest as attest_device
    from sealmarket_worker.config import load_config
    from sealmarket_worker.image import build_image
    from sealmarket_worker.main import opened

    loaded = load_config(config)
    with tempfile.TemporaryDirectory() as folder:
        driver = opened(loaded, loaded.image or build_image(Path(folder) / "image", loaded.kind.slug))
        driver.check()
        found = attest_device(driver, loaded.book)
    typer.echo(found.canonical().decode())
