"""``sealmarket oracle init | run | status | post``. Heavy imports wait until a command needs them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from sealmarket.protocol.book import AddressBook

app = typer.Typer(
    help="Run a key oracle node: it verifies evidence for itself and holds one share of each key.",
    no_args_is_help=True,
)
_MAXIMUM_STATUS = 8 << 20
ConfigFile = Annotated[Path | None, typer.Option("--config", help="The node's TOML file (docs/spec/oracle.md).")]


@app.command()
def init(
    folder: Annotated[Path, typer.Argument(help="Where the node's state and keys go; made with mode 0700.")],
    url: Annotated[str, typer.Option(help="Where others reach this node.")] = "http://127.0.0.1:8451",
) -> None:
    """Make a node's keys, and print the member that a committee needs to name it.

    Example: sealmarket oracle init ./oracle-1 --url https://oracle-1.example.org > member.json
    """
    from sealmarket.protocol.book import Member
    from sealmarket_enclave.protocol.codec import HexBytes
    from sealmarket_oracle import keys

    made = keys.generate(folder)
    member = Member(signer=made.signer.address, hpke_public_key=HexBytes(made.hpke.public.raw), url=url)
    typer.echo(member.canonical().decode())
    typer.echo(f"keys are in {folder}: back them up, shares are sealed to them for good", err=True)


@app.command()
def run(config: ConfigFile = None) -> None:
    """Run the node until it is stopped.

    Example: sealmarket oracle run --config oracle-1.toml
    """
    from sealmarket_oracle.main import serve

    serve(config)


@app.command()
def status(
    url: Annotated[str, typer.Argument(help="A node's URL.")],
    job: Annotated[str | None, typer.Option(help="Say what the node did for this job.")] = None,
) -> None:
    """Ask a node who it is and how it is, or what it did for a job. Prints JSON.

    Example: sealmarket oracle status http://127.0.0.1:8451 --job 0x…
    """
    from sealmarket.http import HttpClient, HttpError

    client = HttpClient(seconds=10.0)
    paths = [f"/v1/jobs/{job}"] if job else ["/v1/node", "/healthz"]
    try:
        for path in paths:
            with client.ask("GET", url.rstrip("/") + path, limit=_MAXIMUM_STATUS) as answer:
                typer.echo(answer.body().decode("utf-8", "replace"))
                if answer.status >= 400:
                    raise typer.Exit(1)
    except HttpError as error:
        typer.echo(f"{url} does not answer: {error.message} (check the URL, and that the node runs)", err=True)
        raise typer.Exit(1) from error
    finally:
        client.close()


@app.command()
def post(
    book: Annotated[Path, typer.Option(help="The market's address book.")],
    rpc: Annotated[str, typer.Option(help="A node of the chain.")],
    key: Annotated[Path, typer.Option(help="The key of the account that pays for gas: hex, mode 0600.")],
    job: Annotated[str | None, typer.Option(help="Post for this job and end; without it, follow the chain.")] = None,
    development_chain: Annotated[bool, typer.Option(help="This machine started the chain.")] = False,
) -> None:
    """Post what nodes signed: releases for jobs whose shares were reported missing, and answers to challenges.

    Each release pays its node one fee, each answer its signers one fee out of the bond.

    Nodes have no account on chain: their operators run this beside them, and so may anyone.

    Example: sealmarket oracle post --book book.json --rpc http://127.0.0.1:8545 --key poster.key
    """
    from sealmarket_oracle import posting

    found = _book(book)
    if job is None:
        posting.follow(found, rpc, key, development=development_chain)
    else:
        posted = posting.post(found, rpc, key, job, development=development_chain)
        typer.echo(f"posted {posted.releases} releases, and {'an' if posted.answered else 'no'} answer to a challenge")


def _book(path: Path) -> AddressBook:
    from sealmarket.files import read_file
    from sealmarket.protocol.book import AddressBook
    from sealmarket_enclave.protocol.codec import decode
    from sealmarket_enclave.protocol.errors import MalformedDocument

    try:
        return decode(AddressBook, read_file(path))
    except MalformedDocument as error:
        error.remedy = error.remedy or f"ask the market's operator for its address book; {path} is none"
        raise
