"""Builds the backend of one market and serves it on this machine."""

from __future__ import annotations

import logging
import os
import threading
from contextlib import closing
from pathlib import Path

import uvicorn

from sealmarket.chain import Chain, FeeLimits, Sender, Sending
from sealmarket.client.accounts import load_account
from sealmarket.protocol.book import AddressBook
from sealmarket_backend.api import create_app
from sealmarket_backend.service import Backend

OUTBOX = "outbox"
DEFAULT_FEES = FeeLimits()


def serve(
    book: AddressBook,
    rpc: str,
    state: Path,
    key_file: Path,
    *,
    port: int,
    development: bool,
    fees: FeeLimits = DEFAULT_FEES,
) -> None:
    """Keep and serve a market until interrupted. The passphrase of an encrypted key is ``SEALMARKET_PASSPHRASE``.

    Raises:
        AccountFileRefused: a key file that others can read, or that holds no key.
        ChainError: the chain is another one, the account is a publicly known one, or its outbox is damaged.
    """
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    account = load_account(key_file, os.environ.get("SEALMARKET_PASSPHRASE"))
    with closing(Chain(book, rpc)) as chain:
        state.mkdir(parents=True, exist_ok=True)
        sender = Sender(chain, account, development=development, sending=Sending(state / OUTBOX, fees))
        sender.recover()
        with Backend(chain, sender, state) as served:
            _serve(served, port)


def _serve(served: Backend, port: int) -> None:
    config = uvicorn.Config(create_app(served), host="127.0.0.1", port=port, log_level="warning", access_log=False)
    server = uvicorn.Server(config)
    _announce(server)
    served.start()
    server.run()


def _announce(server: uvicorn.Server) -> None:
    """Print the address once it serves: a caller that passed port 0 reads it there."""

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
