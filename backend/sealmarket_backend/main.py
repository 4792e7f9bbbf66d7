"""Builds the backend of one market and serves it on this machine."""

from __future__ import annotations

import gc
import logging
from contextlib import closing
from pathlib import Path
from types import FrameType

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from sealmarket.chain import Chain, FeeLimits, Sender, Sending
from sealmarket.client.accounts import load_signer
from sealmarket.http import is_loopback
from sealmarket.protocol.book import AddressBook
from sealmarket.serving.connections import Connections
from sealmarket.serving.limits import PREFIX as SERVER_PREFIX
from sealmarket.serving.limits import ServerLimits, from_environment
from sealmarket.serving.lock import only_process
from sealmarket.serving.logs import configure_logs
from sealmarket.serving.requests import BoundedRequests
from sealmarket.serving.start import listen, require_descriptors, server_settings, url_of
from sealmarket_backend.api import create_app
from sealmarket_backend.api.settings import PREFIX as API_PREFIX
from sealmarket_backend.api.settings import ApiSettings
from sealmarket_backend.api.streams import Streams
from sealmarket_backend.blobs import LIMITS
from sealmarket_backend.bucket import bucket_at
from sealmarket_backend.changes import Changes
from sealmarket_backend.ledger import PREFIX, SERVED
from sealmarket_backend.service import Backend
from sealmarket_backend.spending import PREFIX as KEEPER_PREFIX
from sealmarket_backend.spending import KeeperSettings

log = logging.getLogger(__name__)
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
    host: str = "127.0.0.1",
    passphrase: str | None = None,
    fees: FeeLimits = DEFAULT_FEES,
    database: str | None = None,
    blobs: str | None = None,
) -> None:
    """Keep and serve a market until interrupted. ``passphrase`` is the one of an encrypted key, ``database`` the URL of
    the tables, ``blobs`` the bucket of the blobs; by default both are in the state folder.

    Raises:
        AccountFileRefused: a key file that others can read, or that holds no key.
        ChainError: the chain is another one, the account is a publicly known one, or its outbox is damaged.
        UnknownPlace, S3NotInstalled, S3Unusable: the bucket cannot be used.
        UnknownDatabase, ForeignTables, StorageFailed: the tables cannot be used.
        ServingError: another process runs on the state folder, or the port is taken.
    """
    configure_logs()
    settings = from_environment(ApiSettings(), prefix=API_PREFIX)
    store = from_environment(SERVED, prefix=PREFIX)
    keeping = from_environment(KeeperSettings(), prefix=KEEPER_PREFIX)
    account = load_signer(key_file, passphrase)
    bucket = bucket_at(blobs) if blobs else None
    with only_process(state), closing(Chain(book, rpc)) as chain:
        sender = Sender(chain, account, development=development, sending=Sending(state / OUTBOX, fees))
        sender.recover()
        with Backend(chain, sender, state, database=database, bucket=bucket, store=store, keeping=keeping) as served:
            _serve(served, settings, host, port)


def _serve(served: Backend, settings: ApiSettings, host: str, port: int) -> None:
    limits = from_environment(ServerLimits(body_bytes=max(LIMITS.values())))
    _warn_of_strangers(host, limits)
    require_descriptors(limits)
    with closing(listen(host, port)) as listener:
        connections = Connections(limits, H11Protocol)
        streams = Streams(Changes(served.database))
        app = BoundedRequests(create_app(served, streams, settings), connections)
        server = _Server(uvicorn.Config(app, **server_settings(limits, connections)), streams)
        gc.collect()
        gc.freeze()  # the book as it was loaded: no collection looks at it again
        served.start()
        # A caller that passed port 0 reads it here; connections are taken from now on.
        print(f"backend serves on {url_of(listener)}", flush=True)
        server.run([listener])


class _Server(uvicorn.Server):
    """Ends the streams as soon as it has to stop, so that it waits for none of them."""

    def __init__(self, config: uvicorn.Config, streams: Streams) -> None:
        super().__init__(config)
        self._streams = streams

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """As uvicorn does on SIGTERM and SIGINT."""
        self._streams.end()
        super().handle_exit(sig, frame)


def _warn_of_strangers(host: str, limits: ServerLimits) -> None:
    """Beyond this machine a proxy has to give what this server does not: TLS, and the name of each caller."""
    if is_loopback(f"http://[{host}]" if ":" in host else f"http://{host}"):
        return
    log.warning(
        "http on %s, without TLS: put a reverse proxy with TLS before it, and let no other machine reach it", host
    )
    if not limits.trusted_proxies:
        log.warning(
            "no proxy is trusted, so all callers behind one share its limits: name its address in %sTRUSTED_PROXIES",
            SERVER_PREFIX,
        )
