"""What a market holds, as lines for people and as JSON for programs."""

from __future__ import annotations

from typing import Any

from sealmarket.client.browsing import FoundAsset, FoundProvider
from sealmarket.protocol.amounts import written
from sealmarket.protocol.moments import beside, duration
from sealmarket.protocol.orders import ComputeOrder
from sealmarket.protocol.purposes import in_words, purposes_in_words
from sealmarket.protocol.transitions import Status
from sealmarket.protocol.wire import JobView

MOST_COLUMNS = 12


def asset_lines(found: FoundAsset, now: int) -> list[str]:
    """One asset: its owner's text first, then what the chain says."""
    terms = found.state.terms
    left = terms.max_uses - found.state.uses_taken
    lines = [
        f"{found.title or '(no title)'}",
        f"  {found.asset_id} version {found.version}",
        f"  {written(terms.price, terms.token)} a job, for {purposes_in_words(terms.purposes)}",
        f"  owner {found.state.owner.checksum}",
        f"  {left} of {terms.max_uses} uses left, until {beside(terms.expiry, now)}",
        f"  evidence: {terms.min_grade.slug} or better",
    ]
    if found.card.kind:
        lines.append(f"  kind: {found.card.kind}")
    if columns := found.card.columns:
        more = f" and {len(columns) - MOST_COLUMNS} more" if len(columns) > MOST_COLUMNS else ""
        lines.append(f"  columns: {', '.join(columns[:MOST_COLUMNS])}{more}")
    lines += [f"  label: {in_words(code)}" for code in found.card.purposes]
    return lines + [f"  {why}" for why in found.not_on_sale(now)]


def asset_payload(found: FoundAsset) -> dict[str, Any]:
    """For programs."""
    terms, state = found.state.terms, found.state
    return {
        "asset": str(found.asset_id),
        "version": found.version,
        "title": found.title,
        "owner": state.owner.checksum,
        "price": str(int(terms.price)),
        "token": terms.token.checksum,
        "purposes": purposes_in_words(terms.purposes),
        "labels": list(found.card.purposes),
        "kind": found.card.kind,
        "columns": list(found.card.columns),
        "expiry": terms.expiry,
        "usesLeft": terms.max_uses - state.uses_taken,
        "minGrade": terms.min_grade.slug,
        "revoked": state.revoked,
        "suspended": state.suspended,
    }


def provider_lines(found: FoundProvider) -> list[str]:
    """One provider."""
    account, tees = found.account, ", ".join(f"{grade.slug} {tee.slug}" for tee, grade in found.tees)
    return [
        f"{found.address.checksum}",
        f"  {tees}, from {written(found.cheapest)} a job, {found.offers} offer{'s' if found.offers != 1 else ''}",
        f"  {written(account.staked)} of free stake",
        f"  jobs: {account.settled} settled, {account.failed} failed, {account.refused} refused for its evidence,",
        f"    {account.expired} expired by its silence",
    ]


def order_lines(order: ComputeOrder, used: int, now: int) -> list[str]:
    """One compute order."""
    return [
        f"{written(order.price, order.token)} a job, {order.grade.slug} {order.tee.slug}",
        f"  {order.struct_hash()}",
        f"  provider {order.provider.checksum}",
        f"  {max(0, order.volume - used)} of {order.volume} jobs left, until {beside(order.expiry, now)}",
        f"  runs at most {duration(order.max_run_seconds)}; penalty {written(order.penalty, order.token)}",
    ]


def job_lines(job: JobView, status: Status) -> list[str]:
    """One job. ``status`` is the chain's."""
    said = "" if job.status == status.name.lower() else f" (the backend says {job.status})"
    return [
        f"{job.job_id}",
        f"  {status.name.lower()}{said}, {len(job.spec.assets)} asset{'s' if len(job.spec.assets) != 1 else ''}",
        f"  consumer {job.spec.consumer.checksum}",
        f"  provider {job.spec.provider.checksum}",
    ]


def job_payload(job: JobView, status: Status) -> dict[str, Any]:
    """For programs. ``status`` is the chain's, ``backendSays`` the backend's."""
    return {
        "job": str(job.job_id),
        "status": status.name.lower(),
        "backendSays": job.status,
        "consumer": job.spec.consumer.checksum,
        "provider": job.spec.provider.checksum,
        "assets": [str(use.asset_id) for use in job.spec.assets],
    }
