"""What ``sealmarket oracle status FOLDER`` prints of a report."""

from __future__ import annotations

from collections.abc import Iterator

from sealmarket.protocol.moments import beside, moment
from sealmarket_enclave.protocol.codec import ZERO_HASH
from sealmarket_oracle.recalls import Recall
from sealmarket_oracle.report import NodeReport

_MEBIBYTE, _MINUTE, _HOUR, _DAY = 1 << 20, 60, 3600, 86_400


def lines(report: NodeReport) -> Iterator[str]:
    """A report for people."""
    health = report.health
    yield f"node {report.signer}, epoch {report.epoch}, release {report.software}"
    if report.epoch_ends_at:
        yield f"epoch    {report.epoch} ends {beside(report.epoch_ends_at, report.at)}: no job of it may last longer"
    yield f"keys     {report.keystore}; {_backups(report)}"
    yield f"chain    {report.chain_id}, market {report.market}: final {health.final_block}, head {report.head_block}"
    yield f"health   {health.status}{': ' + health.problem if health.problem else ''}"
    yield from (f"ALARM    {alarm}" for alarm in health.alarms)
    log = report.log
    yield (
        f"journal  {log.head.journal}: {log.decisions} decisions, {log.releases} releases, {log.stops} stops;"
        f" {log.head.size} entries, {log.witnessed} witnessed, {log.anchored} anchored"
    )
    for peer in report.peers:
        yield f"peer     {peer.signer} at {peer.url}: {peer.problem or f'holds {peer.holds} entries'}"
    yield f"disk     {report.disk.free // _MEBIBYTE} MiB free, journal {report.disk.journal // _MEBIBYTE} MiB"
    yield from collateral_lines(report)
    for one in report.advisories:
        yield f"advisory {one.signed.advisory.name()} of {one.issuer}, {_counts(one.since, report.at)}"
    yield from (f"advisory NOT APPLIED: {problem}" for problem in report.advisory_problems)
    yield from (f"HOLD     {hold}" for hold in report.holds)
    yield f"jobs     {len(report.jobs)} open"
    for job in report.jobs:
        yield f"  {job.job_id} {job.state}: {job.reason or 'nothing is left to wait for'}"


def collateral_lines(report: NodeReport) -> Iterator[str]:
    """The node's own collateral: what counts now, how old it is, when it is looked for again."""
    view = report.collateral
    asked = ", ".join(view.asked) or "no vendor"
    yield f"collateral asks {asked} and {view.peers} peers"
    for kind in view.kinds:
        name = f"{kind.tee} {kind.fmspc} {kind.ca}"
        if kind.issued:
            held = (
                f"evaluation {kind.evaluation}, {_age(report.at - kind.issued)} old, {_left(kind.expires - report.at)}"
            )
        else:
            held = "NONE OF ITS OWN COUNTS: what a host shows decides"
        pending = f"; {kind.pending} more, from {_until(kind.pending_from - report.at)}" if kind.pending else ""
        problem = f"; {kind.problem}" if kind.problem else ""
        yield f"  {name}: {held}{pending}; next look {_until(kind.next_refresh - report.at)}{problem}"
    for crl in view.lists:
        ends = _left(crl.expires - report.at) if crl.expires else "for good"
        yield f"  {crl.tee} revocation list of {crl.issuer}: {_age(report.at - crl.issued)} old, {ends}"
    yield from (f"  {problem}" for problem in view.problems)
    yield f"platforms {view.platforms} seen, {len(view.falling_out)} fall out"
    for one in view.falling_out:
        change = f"{one.before} -> {one.after} {_until(one.since - report.at)} ({', '.join(one.reasons)})"
        yield f"  {one.tee} {one.platform} of {one.provider}: {change}, last quoted {_age(report.at - one.seen)} ago"


def recall_lines(found: Recall) -> Iterator[str]:
    """What an advisory touches, for people."""
    yield f"advisory {found.advisory} touches {len(found.jobs)} of {found.looked_at} jobs; {_counts(found.since)}"
    for job in found.jobs:
        receipt = job.receipt if job.receipt != ZERO_HASH else "none"
        shares = "shares released" if job.released else "no share released"
        when = "matched under it" if job.counts else "matched before it counted"
        yield f"  job {job.job_id}: {job.outcome}, {when}, {shares}, receipt {receipt}, provider {job.provider}"
    yield from (f"  asset {one.asset_id} version {one.version} of {one.owner}" for one in found.assets)


def _counts(since: int, now: int | None = None) -> str:
    if not since:
        return "counts for no job: not anchored (sealmarket chain anchor-advisory)"
    return f"counts for jobs matched from {moment(since) if now is None else beside(since, now)} on"


def is_well(report: NodeReport) -> bool:
    """Whether the node's own collateral needs no operator: it comes, it counts, and no platform falls out."""
    view = report.collateral
    return not view.problems and not view.falling_out and all(one.issued and not one.problem for one in view.kinds)


def _left(seconds: int) -> str:
    return f"{_age(seconds)} left" if seconds > 0 else "EXPIRED"


def _until(seconds: int) -> str:
    return f"in {_age(seconds)}" if seconds > 0 else "now"


def _backups(report: NodeReport) -> str:
    if not report.backups:
        return "NO BACKUP"
    last = max(report.backups, key=lambda one: one.tried_at)
    return f"{len(report.backups)} backups, the last tried {_age(report.at - last.tried_at)} ago at {last.place}"


def _age(seconds: int) -> str:
    if seconds >= 2 * _DAY:
        return f"{seconds // _DAY} days"
    return f"{seconds // _HOUR} hours" if seconds >= 2 * _HOUR else f"{max(0, seconds) // _MINUTE} minutes"
