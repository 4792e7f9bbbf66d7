"""Builds a node from its configuration and serves it: one process, one thread that decides, one server that answers."""

from __future__ import annotations

import ctypes
import logging
import resource
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from sealmarket.chain import Chain
from sealmarket.protocol.limits import MAXIMUM_HANDED
from sealmarket.serving.connections import Connections
from sealmarket.serving.limits import ServerLimits, from_environment
from sealmarket.serving.lock import only_process
from sealmarket.serving.requests import BoundedRequests
from sealmarket.serving.start import listen, require_descriptors, server_settings, url_of
from sealmarket.store.blobs import Store
from sealmarket_enclave.protocol.numbers import Grade
from sealmarket_oracle import keys as key_files
from sealmarket_oracle.api import create_app
from sealmarket_oracle.config import Config, load
from sealmarket_oracle.journal import Journal
from sealmarket_oracle.results import KeptResults
from sealmarket_oracle.runner import Runner
from sealmarket_oracle.service import Node, NodePolicy

_PR_SET_DUMPABLE = 4
JOURNAL_FILE = "journal.sqlite"
RESULTS_FOLDER = "challenged"
STORE_SECONDS = 10.0
"""How long one request may hold the thread that decides."""
_log = logging.getLogger("sealmarket.oracle")


@contextmanager
def build(config: Config) -> Iterator[Node]:
    """A node as configured; its journal and connections are closed with the block.

    Raises:
        OracleError: keys or a journal that are not this node's.
        StateInUse: another process runs on its state folder.
    """
    keys = key_files.load(config.signer_key, config.hpke_key)
    with only_process(config.state), _built(config, keys) as node:
        yield node


@contextmanager
def _built(config: Config, keys: key_files.NodeKeys) -> Iterator[Node]:
    journal = Journal(
        config.state / JOURNAL_FILE,
        chain_id=config.book.chain_id,
        market=config.book.market,
        signer=keys.signer.address,
    )
    policy = NodePolicy(
        roots=config.roots, grade_floor=config.grade_floor, max_head_age_seconds=config.max_head_age_seconds
    )
    with (
        journal,
        closing(Chain(config.book, config.rpc, trust=config.trust)) as chain,
        closing(Store(config.store, timeout=STORE_SECONDS)) as store,
    ):
        results = KeptResults(config.state / RESULTS_FOLDER, store)
        with closing(results):
            yield Node(chain, journal, store, keys, policy, results=results)


def serve(path: Path | None) -> None:
    """Run a node until it is interrupted."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    config = load(path)
    _keep_memory_private()
    with build(config) as node:
        _serve(node, config)


def _serve(node: Node, config: Config) -> None:
    if config.grade_floor is Grade.SIMULATED:
        _log.warning(
            "DEVELOPMENT profile: this node accepts SIMULATED evidence, behind which no hardware stands (%d roots)",
            len(config.roots.development),
        )
    limits = from_environment(ServerLimits(body_bytes=MAXIMUM_HANDED))
    require_descriptors(limits)
    with closing(listen(config.host, config.port)) as listener:
        runner = Runner(node, config.poll_seconds)
        server = _server(node, runner, limits)
        runner.start()
        _log.info("node %s serves %s", node.info().signer, url_of(listener))
        try:
            server.run([listener])
        finally:
            runner.stop()


def _server(node: Node, runner: Runner, limits: ServerLimits) -> uvicorn.Server:
    connections = Connections(limits, H11Protocol)
    app = BoundedRequests(create_app(node, runner), connections)
    return uvicorn.Server(uvicorn.Config(app, **server_settings(limits, connections)))


def _keep_memory_private() -> None:
    """No core dump, and on Linux no look into this process by others of the same user: it holds keys and shares."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
