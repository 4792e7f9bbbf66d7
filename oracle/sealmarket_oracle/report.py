"""What a node says to its operator: one report, as JSON and as Prometheus metrics. No secret and no data are in it."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

from sealmarket.protocol.advisories import Advisory
from sealmarket.protocol.wire import LogHead
from sealmarket_enclave.protocol.codec import Address, Bytes32, Shape
from sealmarket_enclave.protocol.numbers import JobId
from sealmarket_oracle.collateral import NO_COLLATERAL, CollateralView
from sealmarket_oracle.errors import JournalUnwritable
from sealmarket_oracle.journal import Journal
from sealmarket_oracle.log.entries import EntryKind
from sealmarket_oracle.node_folder import NodeRecord, TriedBackup
from sealmarket_oracle.peers import Peers
from sealmarket_oracle.recalls import Published, Recall
from sealmarket_oracle.runner import Health, Runner
from sealmarket_oracle.service import Node

MOST_JOBS = 1000
_PREFIX = "sealmarket_oracle_"


class OpenJob(Shape, frozen=True, kw_only=True):
    """A job that the node has something left to do for, and what it waits for."""

    job_id: JobId
    matched_block: int
    quoted: bool
    accepted: bool
    state: str
    reason: str


class PeerView(Shape, frozen=True, kw_only=True):
    """One other member of the committee. ``holds``: entries of this node's log whose tail it holds; -1: not known."""

    signer: Address
    url: str
    holds: int
    problem: str


class DiskView(Shape, frozen=True, kw_only=True):
    """The file system of the state folder, in bytes."""

    free: int
    journal: int


class LogView(Shape, frozen=True, kw_only=True):
    """The audit log. ``witnessed``: entries that enough peers hold the tail of. ``anchored``: entries before the last
    own decision with which a quorum's took effect, in ``anchor_block``; 0 before the first.
    """

    head: LogHead
    witnessed: int
    anchored: int
    anchor_block: int
    decisions: int
    releases: int
    stops: int


class NodeReport(Shape, frozen=True, kw_only=True):
    """All that an operator is shown. ``alarms``: how many stand, about the machine's clock and then about each endpoint
    of the chain in the order of ``rpc``; ``health`` has their texts."""

    version: str = "sealmarket/oracle-report/1"
    software: str
    signer: Address
    hpke_key: Bytes32
    epoch: int
    epoch_ends_at: int
    chain_id: int
    market: Address
    keystore: str
    at: int
    health: Health
    alarms: tuple[int, ...]
    head_block: int
    jobs: tuple[OpenJob, ...]
    peers: tuple[PeerView, ...]
    log: LogView
    disk: DiskView
    backups: tuple[TriedBackup, ...]
    collateral: CollateralView
    advisories: tuple[Published, ...]
    advisory_problems: tuple[str, ...]
    holds: tuple[str, ...] = ()
    """The statements by which the operator holds machines back, each by hash and title; before them, why none reads."""


class Reporter:
    """Makes reports of one running node. Threads may share it."""

    def __init__(
        self, node: Node, runner: Runner, journal: Journal, peers: Peers, record: NodeRecord, state: Path, keystore: str
    ) -> None:
        self._node, self._runner, self._journal, self._peers = node, runner, journal, peers
        self._record, self._state, self._keystore = record, state, keystore
        self._read: tuple[tuple[OpenJob, ...], LogView] | None = None
        """What was read of the journal last."""

    def report(self) -> NodeReport:
        """How the node is now."""
        info, identity = self._node.info(), self._journal.identity
        jobs, log = self._of_journal()
        return NodeReport(
            software=version("sealmarket-oracle"),
            signer=info.signer,
            hpke_key=identity.hpke_key,
            epoch=identity.epoch,
            epoch_ends_at=self._node.epoch_end.at,
            chain_id=info.chain_id,
            market=info.market,
            keystore=self._keystore,
            at=int(time.time()),
            health=self._runner.health,
            alarms=self._node.alarms_by_place,
            head_block=self._node.newest_head,
            jobs=jobs,
            peers=tuple(
                PeerView(signer=member.signer, url=member.url, holds=holds, problem=problem)
                for member, holds, problem in self._peers.view()
            ),
            log=log,
            disk=self._disk(),
            backups=self._record.backups,
            collateral=self._node.collateral.view() if self._node.collateral is not None else NO_COLLATERAL,
            advisories=self._node.recalls.published().advisories if self._node.recalls is not None else (),
            advisory_problems=self._node.recalls.problems if self._node.recalls is not None else (),
            holds=tuple(self._holds()),
        )

    def _holds(self) -> Iterator[str]:
        if (recalls := self._node.recalls) is None:
            return
        if recalls.unread:
            yield f"every machine: {recalls.unread}"
        yield from (f"{one.name()}: {one.title}" for one in recalls.holds)

    def recall(self, advisory: Advisory) -> Recall:
        """What a statement touches. Raises :class:`ChainError`: whether it is anchored is not known."""
        recalls = self._node.recalls
        return recalls.touched_by(advisory, self._node.at_final()) if recalls is not None else Recall.nothing(advisory)

    def _of_journal(self) -> tuple[tuple[OpenJob, ...], LogView]:
        """Open jobs and the log; as they were read last where the journal cannot be read now, which health says."""
        try:
            self._read = tuple(self._jobs()), self._log()
        except JournalUnwritable:
            if self._read is None:
                return (), LogView(
                    head=self._journal.head(), witnessed=0, anchored=0, anchor_block=0, decisions=0, releases=0, stops=0
                )
        return self._read

    def _jobs(self) -> Iterator[OpenJob]:
        for record in self._journal.open_jobs()[:MOST_JOBS]:
            status = self._node.answers.of(record, self._node.waits_for(record.job_id))
            yield OpenJob(
                job_id=record.job_id,
                matched_block=record.matched.number,
                quoted=record.quoted is not None,
                accepted=record.quorum is not None,
                state=status.state,
                reason=status.reason,
            )

    def _log(self) -> LogView:
        anchored, block = self._journal.last_anchor()
        counts = self._journal.counts()
        return LogView(
            head=self._journal.head(),
            witnessed=self._journal.witnessed,
            anchored=anchored,
            anchor_block=block,
            decisions=counts[EntryKind.DECISION],
            releases=counts[EntryKind.RELEASE],
            stops=counts[EntryKind.STOP],
        )

    def _disk(self) -> DiskView:
        space = os.statvfs(self._state)
        journal = sum(path.stat().st_size for path in self._state.glob("journal.sqlite*"))
        return DiskView(free=space.f_bavail * space.f_frsize, journal=journal)


def metrics(report: NodeReport) -> str:
    """A report in Prometheus' text format, version 0.0.4: of each metric its help, its type and all its samples."""
    families: dict[str, list[str]] = {name: [] for name in _METRICS}
    for name, labels, value in _samples(report):
        families[name].append(f"{_PREFIX}{name}{labels} {value}")
    return "\n".join([*(line for name, samples in families.items() for line in _family(name, samples)), ""])


def _family(name: str, samples: list[str]) -> Iterator[str]:
    yield f"# HELP {_PREFIX}{name} {_METRICS[name]}"
    yield f"# TYPE {_PREFIX}{name} {'counter' if name.endswith('_total') else 'gauge'}"
    yield from samples


_METRICS = {
    "deciding": "1 while the node decides, else 0.",
    "ticks_total": "Looks at the chain since the process began.",
    "final_block": "The final block that the node stands on.",
    "head_block": "The newest block that it saw.",
    "endpoint_alarms": "Alarms that stand: place 0 is this machine's clock, then the endpoints in the order of rpc.",
    "open_jobs": "Jobs that the node has something left to do for.",
    "waiting_jobs": "Quoted jobs that wait for this node's decision.",
    "decisions_total": "Decisions in the journal.",
    "promises_total": "Promises in the journal, by their kind: release or stop.",
    "log_entries": "Entries of the audit log.",
    "log_witnessed_entries": "Entries whose tail enough peers hold.",
    "log_anchored_entries": "Entries before the last decision that a quorum's transaction carried.",
    "peer_holds": "1 while a peer answers and holds the journal's tail, else 0.",
    "state_free_bytes": "Free bytes of the state folder's file system.",
    "journal_bytes": "Bytes of the journal's SQLite files.",
    "last_backup_timestamp_seconds": "When a backup of the keys was tried last.",
    "collateral_issued_timestamp_seconds": "When the collateral that counts was issued.",
    "collateral_expires_timestamp_seconds": "When the collateral that counts ends.",
    "collateral_pending": "Documents of a kind of platform that do not count yet.",
    "collateral_failing": "1 while the last look for a kind's collateral failed, else 0.",
    "collateral_own": "1 while collateral of the node's own counts for a kind of platform, else 0.",
    "platforms_seen": "Platforms that were seen since the process began.",
    "platforms_falling_out": "Platforms that collateral which does not count yet will refuse.",
}


def _samples(report: NodeReport) -> Iterator[tuple[str, str, int]]:
    size = report.log.head.size
    yield "deciding", "", int(report.health.status == "ok")
    yield "ticks_total", "", report.health.ticks
    yield "final_block", "", report.health.final_block
    yield "head_block", "", report.head_block
    for place, count in enumerate(report.alarms):
        yield "endpoint_alarms", f'{{place="{place}"}}', count
    yield "open_jobs", "", len(report.jobs)
    yield "waiting_jobs", "", sum(job.state == "waiting" and job.quoted for job in report.jobs)
    yield "decisions_total", "", report.log.decisions
    yield "promises_total", '{kind="release"}', report.log.releases
    yield "promises_total", '{kind="stop"}', report.log.stops
    yield "log_entries", "", size
    yield "log_witnessed_entries", "", report.log.witnessed
    yield "log_anchored_entries", "", report.log.anchored
    for peer in report.peers:
        yield "peer_holds", f'{{peer="{peer.signer}"}}', int(not peer.problem)
    yield "state_free_bytes", "", report.disk.free
    yield "journal_bytes", "", report.disk.journal
    yield "last_backup_timestamp_seconds", "", max((one.tried_at for one in report.backups), default=0)
    yield from _collateral_samples(report.collateral)


def _collateral_samples(view: CollateralView) -> Iterator[tuple[str, str, int]]:
    """Of each kind of platform; ``collateral_own`` is 0 where nothing of the node's own counts."""
    yield "platforms_seen", "", view.platforms
    yield "platforms_falling_out", "", len(view.falling_out)
    for kind in view.kinds:
        labels = f'{{tee="{kind.tee}",fmspc="{kind.fmspc}",ca="{kind.ca}"}}'
        yield "collateral_own", labels, int(kind.issued > 0)
        yield "collateral_pending", labels, kind.pending
        yield "collateral_failing", labels, int(bool(kind.problem))
        if kind.issued:
            yield "collateral_issued_timestamp_seconds", labels, kind.issued
            yield "collateral_expires_timestamp_seconds", labels, kind.expires
    for place, crl in enumerate(view.lists):
        labels = f'{{tee="{crl.tee}",list="{place}"}}'
        yield "collateral_issued_timestamp_seconds", labels, crl.issued
        if crl.expires:
            yield "collateral_expires_timestamp_seconds", labels, crl.expires
