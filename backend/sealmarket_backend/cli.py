"""``sealmarket backend``: run the untrusted matcher."""

from __future__ import annotations

import logging
import threading
from pathlib import Path
from typing import Annotated

import typer
import uvicorn
from eth_account import Account

from sealmarket import lifeline
from sealmarket.chain import Chain, Sender
from sealmarket.protocol.book import AddressBook
from sealmarket.protocol.codec import decode
from sealmarket_backend.api import create_app
from sealmarket_backend.service import Backend

app = typer.Typer(no_args_is_help=True, help="The untrusted backend: order book, matching, store, index and page.")


@app.callback()
def backend() -> None:
    """The untrusted backend: order book, matching, store, index and page."""


@app.command()
def run(
    book: Annotated[Path, typer.Option(help="Address book of the market (JSON).", exists=True, dir_okay=False)],
    rpc: Annotated[str, typer.Option(help="URL of the chain's node.")],
    state: Annotated[Path, typer.Option(help="Folder for database and blobs.")],
    key_file: Annotated[Path, typer.Option(help="Private key (hex) of the account that pays for transactions.")],
    port: Annotated[int, typer.Option(help="Port on 127.0.0.1; 0 chooses one.")] = 8400,
    development_chain: Annotated[
        bool, typer.Option(help="This chain was started by us: publicly known keys are allowed.")
    ] = False,
    lifeline_parent: Annotated[int, typer.Option(hidden=True)] = 0,
) -> None:
    """Serve one market on 127.0.0.1.

    Example:

        sealmarket backend run --book market.json --rpc http://127.0.0.1:8545 --state backend --key-file keeper.key
    """
    if lifeline_parent:
        lifeline.bind_to_parent(lifeline_parent)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    chain = Chain(decode(AddressBook, book.read_bytes()), rpc)
    account = Account.from_key(key_file.read_text().strip())
    sender = Sender(chain, account, development=development_chain)
    state.mkdir(parents=True, exist_ok=True)
    served = Backend(chain, sender, state)
    config = uvicorn.Config(create_app(served), host="127.0.0.1", port=port, log_level="warning", access_log=False)
    server = uvicorn.Server(config)
    _announce(server)
    served.start()
    try:
        server.run()
    finally:
        served.stop()


def _announce(server: uvicorn.Server) -> None:
    """Say the address once it serves: whoever started us with port 0 reads it from the log."""

    def wait() -> None:
        pause = threading.Event()
        while not server.started:
            if server.should_exit:
                return
            pause.wait(0.02)
        for listener in server.servers:
            host, port = listener.sockets[0].getsockname()[:2]
            print(f"backend serves on http://{host}:{port}", flush=True)

    threading.Thread(target=wait, name="announce", daemon=True).start()
