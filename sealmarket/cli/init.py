"""Keep market, chain and account in a profile, so that commands need no options for them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sealmarket.cli._options import AccountFile, AsJson, NewBook, OwnChain, RpcUrl, Usage, answer
from sealmarket.client import profiles

app = typer.Typer(add_completion=False, help="Keep market, chain and account in a profile.")


@app.command("init")
def init(
    book: NewBook,
    rpc: RpcUrl,
    account: AccountFile = None,
    development_root: Annotated[
        list[Path] | None,
        typer.Option(help="A development market's root (DER): its evidence is SIMULATED.", exists=True),
    ] = None,
    development_chain: OwnChain = False,
    name: Annotated[str, typer.Option("--name", help="The profile's name.")] = profiles.DEFAULT,
    replace: Annotated[bool, typer.Option("--replace", help="Replace a profile of that name.")] = False,
    as_json: AsJson = False,
) -> None:
    """Keep market, chain and account in a profile, so that commands need no options for them.

    The book's digest is kept too: commands refuse another book at its place. The profile holds no key.

    Example: sealmarket init --book market.json --rpc https://rpc.example.org --key-file account.json
    """
    path = profiles.path_of(name)
    if path.exists() and not replace:
        raise Usage(f"{path} exists", remedy="name another with --name, or give --replace")
    profile = profiles.Profile(
        book=str(book.absolute()),
        book_digest=profiles.pinned(book),
        rpc=_endpoints(rpc),
        account=str(account.absolute()) if account else "",
        development_roots=tuple(str(root.absolute()) for root in development_root or ()),
        development_chain=development_chain,
    )
    profiles.keep(name, profile)
    chosen = "" if name == profiles.DEFAULT else f" --profile {name}"
    lines = [
        f"kept in {path}",
        f"book {profile.book_digest}",
        *(["DEVELOPMENT: evidence under these roots is SIMULATED"] if profile.development_roots else []),
        *([] if account else ["no account yet: `sealmarket account new FILE`, then init --replace --key-file FILE"]),
        f"next: sealmarket{chosen} chain status",
    ]
    answer({"profile": name, "file": str(path), "bookDigest": profile.book_digest}, lines, as_json)


def _endpoints(rpc: str) -> str:
    """The chain's nodes as commands in any folder find them. Raises :class:`EndpointsRefused`."""
    from sealmarket.chain.endpoints import endpoints_of, relative_to

    endpoints_of(rpc)
    return relative_to(rpc, Path.cwd())
