"""``sealmarket localnet up | down | resume | status``: a whole market on this machine that keeps its state."""

from __future__ import annotations

import shlex
import signal
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from sealmarket.cli._options import AsJson, Usage, answer
from sealmarket_localnet.state import Folder, LocalnetRefused, Running, default_folder

app = typer.Typer(no_args_is_help=True, help="A whole market on this machine, which keeps its state.")

PROFILE = "localnet"
_FolderOption = Annotated[
    Path | None, typer.Option("--folder", envvar="SEALMARKET_LOCALNET", help="Where it keeps its state.")
]
_Workload = Annotated[
    list[Path] | None,
    typer.Option(
        "--workload", exists=True, file_okay=False, help="Prepare this workload, and a policy that allows it."
    ),
]
_Foreground = Annotated[bool, typer.Option("--foreground", help="Stay here; Ctrl-C stops it, and its state is kept.")]


@app.command()
def up(
    folder: _FolderOption = None, workload: _Workload = None, foreground: _Foreground = False, as_json: AsJson = False
) -> None:
    """Start a local market, or go on with the one that is kept: chain, backend, oracle nodes, device, worker.

    Everything in it is SIMULATED. Its accounts and keys lie in the state folder; nothing of value belongs into it.

    Example: sealmarket localnet up
    """
    _start(Folder(folder or default_folder()), workload or [], foreground=foreground, as_json=as_json)


@app.command()
def resume(folder: _FolderOption = None, foreground: _Foreground = False, as_json: AsJson = False) -> None:
    """Go on with the local market that is kept, after a stop, a crash or a reboot; jobs under way go on.

    Example: sealmarket localnet resume
    """
    found = Folder(folder or default_folder())
    if not found.exists():
        raise Usage(f"no local market is kept in {found.path}", remedy="make one: `sealmarket localnet up`")
    _start(found, [], foreground=foreground, as_json=as_json)


@app.command()
def down(
    folder: _FolderOption = None,
    delete: Annotated[bool, typer.Option("--delete", help="Remove its state too: chain, keys, accounts.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Delete without asking.")] = False,
    as_json: AsJson = False,
) -> None:
    """Stop the local market; nothing is left running. Its state is kept unless it is deleted.

    Example: sealmarket localnet down
    """
    from sealmarket_localnet import control

    found = Folder(folder or default_folder())
    if delete and not yes:
        _confirm(found)
    stopped = control.stop(found)
    if delete and found.path.is_dir():
        _forget_profile(found)
        found.delete()
    lines = ["stopped; nothing is left running" if stopped else "nothing was running"]
    if delete:
        lines.append(f"deleted: {found.path}")
    elif found.exists():
        lines.append(f"kept in {found.path}; next: sealmarket localnet resume{_option(found)}")
    answer({"stopped": stopped, "deleted": delete, "folder": str(found.path)}, lines, as_json)


@app.command()
def status(folder: _FolderOption = None, as_json: AsJson = False) -> None:
    """Say whether the local market runs, and where it is. Exit 0: it runs; 1: it does not.

    Example: sealmarket localnet status
    """
    found = Folder(folder or default_folder())
    running = found.reported() if found.keeper() is not None else None
    answer(_payload(found, running), _state_lines(found, running), as_json)
    raise typer.Exit(0 if running else 1)


def _start(folder: Folder, workloads: list[Path], *, foreground: bool, as_json: bool) -> None:
    from sealmarket_localnet import control

    process = None
    if folder.keeper() is None:
        try:
            process = control.start(folder, lambda step: typer.echo(f"  {step}", err=True), bound=foreground)
        except KeyboardInterrupt:
            typer.echo(f"stopped; `sealmarket localnet up{_option(folder)}` goes on", err=True)
            raise typer.Exit(130) from None
    running = folder.reported()
    if running is None:
        raise LocalnetRefused(folder.path, "is starting or stopping", "wait, then `sealmarket localnet status`")
    prepared = [_prepared(folder, source) for source in workloads]
    reach = _reach(folder, running)
    lines = [*_state_lines(folder, running), *_next_lines(prepared, reach)]
    answer(_payload(folder, running), lines, as_json)
    if foreground and process is not None:
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        try:
            raise typer.Exit(process.wait())
        except KeyboardInterrupt:
            control.stop(folder)
            typer.echo(f"stopped; `sealmarket localnet resume{_option(folder)}` goes on", err=True)


def _prepared(folder: Folder, source: Path) -> Any:
    import time

    from sealmarket_localnet.ready_made import prepare

    typer.echo(f"  the workload {source} is prepared", err=True)
    return prepare(source, folder.market, int(time.time()))


def _reach(folder: Folder, running: Running) -> dict[str, str]:
    """The environment in which every command reaches this market: the profile ``localnet``, which is kept for it.

    Where the user has a profile of that name for another market, that one stays, and three variables do.
    """
    from sealmarket.client import profiles

    account = str(folder.market / "you.key")
    if profiles.path_of(PROFILE).exists() and not _is_ours(folder):
        typer.echo(f"profile {PROFILE!r} names another market, and stays as it is", err=True)
        return {"SEALMARKET_BOOK": str(folder.book), "SEALMARKET_RPC": running.rpc, "SEALMARKET_KEY_FILE": account}
    wanted = profiles.Profile(
        book=str(folder.book),
        book_digest=profiles.pinned(folder.book),
        rpc=running.rpc,
        account=account,
        development_roots=(str(folder.market / "development-root.der"),),
        development_chain=True,
    )
    profiles.keep(PROFILE, wanted)
    return {"SEALMARKET_PROFILE": PROFILE}


def _is_ours(folder: Folder) -> bool:
    from sealmarket.client import profiles

    found = profiles.find(PROFILE)
    return found is not None and found.book == str(folder.book)


def _forget_profile(folder: Folder) -> None:
    from sealmarket.client import profiles

    if profiles.path_of(PROFILE).exists() and _is_ours(folder):
        profiles.path_of(PROFILE).unlink()


def _confirm(folder: Folder) -> None:
    if not sys.stdin.isatty():
        raise Usage("deleting keys asks first, and there is no terminal", remedy="give --yes")
    typer.confirm(f"Delete the market in {folder.path} with all its keys and accounts?", abort=True, err=True)


def _payload(folder: Folder, running: Running | None) -> dict[str, Any]:
    return {
        "running": running is not None,
        "kept": folder.exists(),
        "folder": str(folder.path),
        "rpc": running.rpc if running else None,
        "backend": running.backend if running else None,
        "book": str(folder.book) if folder.exists() else None,
        "processes": running.processes if running else {},
    }


def _state_lines(folder: Folder, running: Running | None) -> list[str]:
    if running is None:
        if not folder.exists():
            return [f"no local market is kept in {folder.path}", "next: sealmarket localnet up"]
        return [f"it does not run; kept in {folder.path}", f"next: sealmarket localnet resume{_option(folder)}"]
    return [
        f"runs as {len(running.processes)} processes; everything in it is SIMULATED",
        f"state    {folder.path}",
        f"book     {folder.book}",
        f"page     {running.backend}/",
        f"chain    {running.rpc}",
        f"account  {folder.market / 'you.key'}",
        f"logs     {folder.logs}",
    ]


def _next_lines(prepared: list[Any], reach: dict[str, str]) -> list[str]:
    exports = [f"  export {name}={shlex.quote(value)}" for name, value in reach.items()]
    lines = ["next:", *exports, "  sealmarket chain status"]
    for one in prepared:
        policy, workload = shlex.quote(str(one.policy)), shlex.quote(str(one.workload))
        lines += [
            "or sell the use of a table of numbers, and buy it:",
            f"  sealmarket owner sell YOURS.csv --policy {policy} --out sealed --plain-key",
            f"  sealmarket consumer buy --workload {workload} --asset sealed/asset-card.json \\",
            "      --parameter target=COLUMN --max-compute-price 0.5coin --allow-simulated \\",
            "      --result-key result.key --plain-key --out result",
            "  sealmarket verify result/*.sealproof.json",
        ]
    return lines


def _option(folder: Folder) -> str:
    return "" if folder.path == default_folder().absolute() else f" --folder {shlex.quote(str(folder.path))}"
