"""Builds a node from its configuration and serves it: one process, one thread that decides, one server that answers."""

from __future__ import annotations

import ctypes
import gc
import logging
import os
import resource
import signal
import ssl
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.h11_impl import H11Protocol

from sealmarket.attestation.collateral.fetch import Fetcher
from sealmarket.attestation.collateral.own import OwnCollateral
from sealmarket.chain import Chain
from sealmarket.protocol.book import Committee
from sealmarket.protocol.limits import MAXIMUM_HANDED
from sealmarket.serving.connections import Connections
from sealmarket.serving.limits import ServerLimits, from_environment
from sealmarket.serving.lock import only_process
from sealmarket.serving.logs import configure_logs
from sealmarket.serving.requests import BoundedRequests
from sealmarket.serving.start import listen, require_descriptors, server_settings, url_of
from sealmarket.serving.tls import server_context
from sealmarket.store.blobs import Store
from sealmarket_enclave.protocol.hashing import keccak
from sealmarket_enclave.protocol.numbers import Grade
from sealmarket_oracle.admin import serving_admin
from sealmarket_oracle.api import create_app
from sealmarket_oracle.backup import require_tried
from sealmarket_oracle.collateral import CollateralKeeper, HttpAskPeer
from sealmarket_oracle.config import Config, load
from sealmarket_oracle.ear import KEY_FILE, Ears, own_key
from sealmarket_oracle.epochs import Destroyed, Over, Seat, destroy_keys, require_over
from sealmarket_oracle.holds import Holds
from sealmarket_oracle.journal import Journal, JournalIdentity
from sealmarket_oracle.keys import NodeKeys, Signer
from sealmarket_oracle.mark import TailMark
from sealmarket_oracle.node_folder import NodeRecord, load_keys, load_record
from sealmarket_oracle.outlook import Outlooks
from sealmarket_oracle.passphrase import passphrase
from sealmarket_oracle.peers import HttpTell, Peers
from sealmarket_oracle.recalls import Recalls, Sightings
from sealmarket_oracle.report import Reporter
from sealmarket_oracle.results import KeptResults
from sealmarket_oracle.runner import Runner
from sealmarket_oracle.service import Node, NodePolicy
from sealmarket_oracle.storage.postgres import PostgresDatabase
from sealmarket_oracle.tail_slots import TailSlots

_PR_SET_DUMPABLE = 4
JOURNAL_FILE, MARK_FILE, TAILS_FILE = "journal.sqlite", "journal.mark", "journal.tails"
SIGHTINGS_FILE = "platforms.sqlite"
RESULTS_FOLDER = "challenged"
STORE_SECONDS = 10.0
"""How long one request may hold the thread that decides."""
_log = logging.getLogger("sealmarket.oracle")


@dataclass(frozen=True, slots=True)
class Built:
    """A node and what its operator's surface reports on."""

    node: Node
    journal: Journal
    peers: Peers
    record: NodeRecord
    keys: NodeKeys


@contextmanager
def build(config: Config) -> Iterator[Built]:
    """A node as configured; its journal and connections are closed with the block.

    Raises:
        OracleError: keys or a journal that are not this node's, or keys without a tried backup.
        StateInUse: another process runs on its state folder.
    """
    record = load_record(config.keys.node)
    require_tried(config.keys, record)
    keys = load_keys(config.keys, record, passphrase(config.passphrase_file))
    with only_process(config.state), _built(config, record, keys) as built:
        yield built


def open_journal(config: Config, record: NodeRecord) -> Journal:
    """The journal of a node. Raises :class:`JournalError`, as ``JournalTaken`` while another process writes it."""
    identity = JournalIdentity(
        chain_id=config.book.chain_id,
        market=config.book.market,
        signer=record.member.signer,
        hpke_key=keccak(record.member.hpke_public_key),
        epoch=record.epoch,
        name=record.journal,
    )
    mark = TailMark(config.state / MARK_FILE)
    if config.journal:
        return Journal(PostgresDatabase(config.journal), identity, mark)  # several processes read the tails of peers
    tails = TailSlots(config.state / TAILS_FILE, identity.digest())
    return Journal(config.state / JOURNAL_FILE, identity, mark, tails=tails)


@contextmanager
def _built(config: Config, record: NodeRecord, keys: NodeKeys) -> Iterator[Built]:
    book = config.book
    committee = next((one for one in book.committees if one.epoch == record.epoch), None)
    journal = open_journal(config, record)
    policy = NodePolicy(
        roots=config.roots, grade_floor=config.grade_floor, max_head_age_seconds=config.max_head_age_seconds
    )
    with (
        journal,
        closing(Chain(book, config.rpc, trust=config.trust)) as chain,
        closing(Store(config.store, timeout=STORE_SECONDS)) as store,
        closing(HttpTell()) as tell,
        closing(KeptResults(config.state / RESULTS_FOLDER, store)) as results,
        _collateral(config, committee, keys) as collateral,
        Sightings(config.state / SIGHTINGS_FILE) as sightings,
    ):
        ears = Ears(journal, keys.signer, own_key(config.state / KEY_FILE))
        recalls = Recalls(config.advisories, config.advisory_issuers, journal, sightings, Holds(config.holds))
        peers = Peers(book, committee, journal, keys.signer, tell)
        peers.start()
        try:
            parts = (chain, journal, store, keys, policy, peers)
            node = Node(*parts, results=results, collateral=collateral, recalls=recalls, ears=ears)
            yield Built(node, journal, peers, record, keys)
        finally:
            peers.stop()


@contextmanager
def _collateral(config: Config, committee: Committee | None, keys: NodeKeys) -> Iterator[CollateralKeeper]:
    """The node's own collateral, kept fresh until the block ends."""
    settings = config.collateral
    members = committee.members if committee is not None and settings.peers else ()
    peers = [member.url for member in members if member.signer != keys.signer.address]
    own = OwnCollateral(settings.folder, config.roots)
    with Fetcher(settings.endpoints) as fetcher, closing(HttpAskPeer()) as ask:
        keeper = CollateralKeeper(own, fetcher, settings.asked, peers, ask, Outlooks(own, config.roots))
        keeper.start()
        try:
            yield keeper
        finally:
            keeper.stop()


def destroy(path: Path | None, agreed: Callable[[Over], None]) -> Destroyed:
    """Destroy the keys of a node whose epoch is over. ``agreed`` is asked with what they could still take out.

    Raises:
        EpochGoesOn: the chain has not ended the epoch.
        EpochNotOver: a job of the epoch is open, or its result can be challenged yet.
        StateInUse: the node runs.
    """
    config = load(path)
    record = load_record(config.keys.node)
    with (
        only_process(config.state),
        open_journal(config, record) as journal,
        closing(Chain(config.book, config.rpc, trust=config.trust)) as chain,
    ):
        agreed(require_over(chain, journal, record.epoch, Seat.of(config.book, record)))
        return destroy_keys(config.keys)


def serve(path: Path | None) -> None:
    """Run a node until it is interrupted.

    Raises:
        JournalTaken: another process of the node writes its journal, or does now.
    """
    configure_logs()
    config = load(path)
    _keep_memory_private()
    signal.signal(signal.SIGTERM, _end)
    with build(config) as built:
        _serve(built, config)


def _serve(built: Built, config: Config) -> None:
    node = built.node
    if config.grade_floor is Grade.SIMULATED:
        _log.warning(
            "DEVELOPMENT profile: this node accepts SIMULATED evidence, behind which no hardware stands (%d roots)",
            len(config.roots.development),
        )
    limits = from_environment(ServerLimits(body_bytes=MAXIMUM_HANDED))
    require_descriptors(limits)
    tls = server_context(*config.tls) if config.tls is not None else None
    with closing(listen(config.host, config.port)) as listener:
        runner = Runner(node, config.poll_seconds)
        app = create_app(node, runner, built.record.signed_member())
        server = _server(app, limits, tls)
        gc.collect()
        gc.freeze()  # libraries and the journal's index: no collection looks at them again
        runner.start(lambda: setattr(server, "should_exit", True))
        try:
            with serving_admin(_reporter(built, runner, config), *config.admin):
                _log.info("node %s serves %s", node.info().signer, url_of(listener, tls=tls is not None))
                server.run([listener])
        finally:
            runner.stop()
            _log.info("node %s has stopped", node.info().signer)
    if runner.taken is not None:
        raise runner.taken


def _reporter(built: Built, runner: Runner, config: Config) -> Reporter:
    keystore = "keystore" if isinstance(built.keys.signer, Signer) else repr(built.keys.signer)
    return Reporter(built.node, runner, built.journal, built.peers, built.record, config.state, keystore)


def _server(app: FastAPI, limits: ServerLimits, tls: ssl.SSLContext | None) -> uvicorn.Server:
    connections = Connections(limits, H11Protocol, tls)
    bounded = BoundedRequests(app, connections)
    return uvicorn.Server(uvicorn.Config(bounded, **server_settings(limits, connections)))


def _end(*_: object) -> NoReturn:
    """End by the blocks that are open, as Ctrl-C does: the journal is closed and the socket is removed.

    The server takes the signal first, finishes its answers, and raises it again.
    """
    raise SystemExit(0)


def _keep_memory_private() -> None:
    """No core dump, no file that others read, and on Linux no look into this process by others of the same user."""
    os.umask(0o077)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
