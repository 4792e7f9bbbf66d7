"""What ``sealmarket oracle status FOLDER`` prints of a report."""

from __future__ import annotations

from collections.abc import Iterator

from sealmarket_oracle.report import NodeReport

_MEBIBYTE, _HOUR, _DAY = 1 << 20, 3600, 86_400


def lines(report: NodeReport) -> Iterator[str]:
    """A report for people."""
    health = report.health
    yield f"node {report.signer}, epoch {report.epoch}, release {report.software}"
    yield f"keys     {report.keystore}; {_backups(report)}"
    yield f"chain    {report.chain_id}, market {report.market}: final {health.final_block}, head {report.head_block}"
    yield f"health   {health.status}{': ' + health.problem if health.problem else ''}"
    log = report.log
    yield (
        f"journal  {log.head.journal}: {log.decisions} decisions, {log.releases} releases, {log.stops} stops;"
        f" {log.head.size} entries, {log.witnessed} witnessed, {log.anchored} anchored"
    )
    for peer in report.peers:
        yield f"peer     {peer.signer} at {peer.url}: {peer.problem or f'holds {peer.holds} entries'}"
    yield f"disk     {report.disk.free // _MEBIBYTE} MiB free, journal {report.disk.journal // _MEBIBYTE} MiB"
    yield f"jobs     {len(report.jobs)} open"
    for job in report.jobs:
        yield f"  {job.job_id} {job.state}: {job.reason or 'nothing is left to wait for'}"


def _backups(report: NodeReport) -> str:
    if not report.backups:
        return "NO BACKUP"
    last = max(report.backups, key=lambda one: one.tried_at)
    return f"{len(report.backups)} backups, the last tried {_age(report.at - last.tried_at)} ago at {last.place}"


def _age(seconds: int) -> str:
    return f"{seconds // _DAY} days" if seconds >= 2 * _DAY else f"{max(0, seconds) // _HOUR} hours"
