"""``sealmarket backend run``: the untrusted matcher. Heavy imports wait until a command needs them."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from sealmarket.cli._groups import takes

app = typer.Typer(no_args_is_help=True, help="The untrusted backend: order book, matching, store, index and page.")


@app.callback()
def backend() -> None:
    """The untrusted backend: order book, matching, store, index and page."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountOptions:
    """The options of `backend run` about the account that pays for transactions."""

    key_file: Annotated[
        Path, typer.Option(help="Account that pays for transactions: a keystore, or a hex key in a file of mode 0600.")
    ]
    passphrase_file: Annotated[
        Path | None,
        typer.Option(
            envvar="SEALMARKET_PASSPHRASE_FILE", help="A file with the key's passphrase (or SEALMARKET_PASSPHRASE)."
        ),
    ] = None
    max_fee: Annotated[
        str | None, typer.Option(help="Most for one gas, tip included: 30gwei, or 1500 in wei (1000gwei).")
    ] = None
    priority_fee: Annotated[
        str | None, typer.Option(help="The tip for one gas; without it, what recent blocks paid.")
    ] = None
    development_chain: Annotated[
        bool, typer.Option(help="You started this chain on this machine: well-known keys may be used.")
    ] = False


@dataclass(frozen=True, slots=True, kw_only=True)
class PlaceOptions:
    """The options of `backend run` about where its tables and blobs are."""

    state: Annotated[Path, typer.Option(help="Folder for database and blobs.")]
    database: Annotated[
        str | None,
        typer.Option(
            envvar="SEALMARKET_DATABASE",
            help="The tables: sqlite:///PATH, or postgresql+psycopg://USER@HOST/NAME. By default a file in the state"
            " folder. A password belongs into the variable, or into PGPASSFILE.",
        ),
    ] = None
    blobs: Annotated[
        str | None,
        typer.Option(
            envvar="SEALMARKET_BLOBS",
            help="The store's blobs: s3://BUCKET/PREFIX; credentials and endpoint as other S3 programs take them. By"
            " default a folder in the state folder.",
        ),
    ] = None


@app.command()
@takes(AccountOptions, PlaceOptions)
def run(
    account: AccountOptions,
    places: PlaceOptions,
    book: Annotated[Path, typer.Option(help="Address book of the market (JSON).", exists=True, dir_okay=False)],
    rpc: Annotated[
        str,
        typer.Option(
            envvar="SEALMARKET_RPC",
            help="The chain's nodes: a URL, several with commas between them, or a TOML file with URLs and headers.",
        ),
    ],
    host: Annotated[
        str, typer.Option(help="Address to listen on. Beyond this machine: only behind a proxy that has TLS.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port there; 0 chooses one.")] = 8400,
) -> None:
    """Serve one market, on this machine unless a host is named.

    Example:

        sealmarket backend run --book market.json --rpc http://127.0.0.1:8545 --state backend --key-file keeper.key

        SEALMARKET_DATABASE=postgresql+psycopg://market@db/market sealmarket backend run --book market.json
        --rpc http://127.0.0.1:8545 --state backend --key-file keeper.key
    """
    from sealmarket.chain.fees import parse_limits
    from sealmarket.client.books import load_book
    from sealmarket_backend.main import serve

    serve(
        load_book(book),
        rpc,
        places.state,
        account.key_file,
        host=host,
        port=port,
        passphrase=_passphrase(account.passphrase_file),
        development=account.development_chain,
        fees=parse_limits(account.max_fee, account.priority_fee),
        database=places.database,
        blobs=places.blobs,
    )


def _passphrase(file: Path | None) -> str | None:
    """Never asked for: a server has no terminal."""
    from sealmarket.private_files import read_passphrase_file

    return read_passphrase_file(file) if file else os.environ.get("SEALMARKET_PASSPHRASE")
