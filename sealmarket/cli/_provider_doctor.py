"""`provider doctor`: what keeps a provider from jobs, a line each with the next step."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from sealmarket.cli._asking import progress
from sealmarket.cli._consumer_request import address_of
from sealmarket.cli._options import AsJson, BookFile, KeyFile, RpcUrl, answer, market
from sealmarket.client.doctor import State
from sealmarket.client.examining import Subject, examine


def doctor(
    book: BookFile,
    rpc: RpcUrl,
    key_file: KeyFile,
    state: Annotated[
        Path | None, typer.Option("--state", help="The worker's state folder, if it is on this machine.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Check chain, clock, market, store, book, gas, stake, offers, TEE devices, worker and collateral.

    Exit 0: nothing failed; 1: something did, and its line says what to do.

    Example: sealmarket provider doctor --book market.json --rpc URL --key-file provider.key --state worker/state
    """
    subject = Subject(provider=address_of(key_file), state=state)
    with market(book, rpc) as (chain, store, api):
        progress("looking at chain, store, book and this machine")
        checks = list(examine(chain, store, api, subject))
    lines = []
    for check in checks:
        lines.append(f"{check.state.value:<8} {check.name}: {check.found}")
        if check.state is not State.OK:
            lines.append(f"         what to do: {check.remedy}")
    failed = any(check.state is State.FAILED for check in checks)
    answer([asdict(check) for check in checks], lines, as_json)
    raise typer.Exit(1 if failed else 0)
