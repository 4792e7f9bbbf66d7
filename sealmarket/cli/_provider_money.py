"""`provider balance` and `provider history`: where a provider's coin is, and how it came there, from the chain."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from sealmarket.chain import Chain
from sealmarket.cli._asking import progress
from sealmarket.cli._consumer_request import address_of
from sealmarket.cli._options import AsJson, BookFile, KeyFile, RpcUrl, answer, market
from sealmarket.client.provider_money import MOST_JOBS, JobMoney, ProviderMoney, moves, read_money
from sealmarket.protocol.amounts import written
from sealmarket.protocol.moments import beside, moment
from sealmarket_enclave.protocol.codec import ZERO_ADDRESS, Address

Most = Annotated[int, typer.Option("--jobs", help="How many of your newest jobs are read.", min=0, max=10_000)]
_EACH = 25
"""After how many jobs the progress is said."""


def balance(book: BookFile, rpc: RpcUrl, key_file: KeyFile, jobs: Most = MOST_JOBS, as_json: AsJson = False) -> None:
    """What is free, what is staked, what which jobs lock, what you lost to which and why, and what you earned.

    Example: sealmarket provider balance --book market.json --rpc URL --key-file provider.key
    """
    provider = address_of(key_file)
    with market(book, rpc) as (chain, *_):
        found = _read(chain, provider, jobs)
    answer(_payload(provider, found), _balance_lines(provider, found), as_json)


def history(book: BookFile, rpc: RpcUrl, key_file: KeyFile, jobs: Most = MOST_JOBS, as_json: AsJson = False) -> None:
    """What you put in and took out, and each job with what it earned or cost, the latest last.

    Example: sealmarket provider history --book market.json --rpc URL --key-file provider.key
    """
    provider = address_of(key_file)
    with market(book, rpc) as (chain, *_):
        found = _read(chain, provider, jobs)
        moved = list(moves(chain.ledger_of(provider, ZERO_ADDRESS, found.at)))
    payload: dict[str, object] = {"account": provider.checksum, "ledger": [asdict(one) for one in moved]}
    payload |= {"jobs": [_job_payload(job) for job in found.jobs], "olderJobs": found.older}
    lines = ["ledger", *(f"  block {one.block}  {one.what} {written(abs(one.amount))}" for one in moved), "jobs"]
    for job in found.jobs:
        lines += _job_lines(job)
    answer(payload, [*lines, *_older(found)], as_json)


def _read(chain: Chain, provider: Address, most: int) -> ProviderMoney:
    def said(done: int, of: int) -> None:
        if done % _EACH == 0:
            progress(f"{done} of {of} jobs read")

    return read_money(chain, provider, most=most, on_job=said)


def _balance_lines(provider: Address, found: ProviderMoney) -> list[str]:
    account, unbonding = found.account, found.unbonding
    rows: list[tuple[int, str]] = [
        (account.free, "free: sealmarket provider withdraw"),
        (account.staked, "staked, and backs the next jobs"),
    ]
    if unbonding.amount:
        rows.append((unbonding.amount, f"unbonding until {beside(unbonding.ready_at, found.head.timestamp)}"))
    rows += [
        (found.locked, "locked by jobs that run"),
        (found.earned, "earned"),
        (-found.lost, "lost"),
    ]
    lines = [f"account {provider.checksum}", *(f"  {written(int(sum_))}  {what}" for sum_, what in rows)]
    for job in found.jobs:
        if job.locked or job.lost:
            lines += _job_lines(job)
    read = f"balances of block {found.head.number}, jobs of final block {found.at.number}, {moment(found.at.timestamp)}"
    return [*lines, *_older(found), read]


def _job_lines(job: JobMoney) -> list[str]:
    lines = [f"job {job.job_id}", f"  {job.status.name.lower()}: {job.why}"]
    if job.ended_at:
        lines.append(f"  ended {moment(job.ended_at)}")
    parts = ((job.locked, "locked"), (job.earned, "earned"), (-job.lost, "lost"))
    return lines + [f"  {written(sum_)} {what}" for sum_, what in parts if sum_]


def _older(found: ProviderMoney) -> list[str]:
    if not found.older:
        return []
    return [
        f"{found.older} older jobs are left out of earned and lost: --jobs {found.older + len(found.jobs)} reads all"
    ]


def _payload(provider: Address, found: ProviderMoney) -> dict[str, object]:
    return {
        "account": provider.checksum,
        "block": found.at.number,
        "free": str(int(found.account.free)),
        "staked": str(int(found.account.staked)),
        "unbonding": {"amount": str(int(found.unbonding.amount)), "readyAt": found.unbonding.ready_at},
        "locked": str(found.locked),
        "lost": str(found.lost),
        "earned": str(found.earned),
        "jobs": [_job_payload(job) for job in found.jobs],
        "olderJobs": found.older,
    }


def _job_payload(job: JobMoney) -> dict[str, object]:
    amounts = {name: str(getattr(job, name)) for name in ("locked", "lost", "earned")}
    return {
        "job": str(job.job_id),
        "status": job.status.name.lower(),
        "endedAt": job.ended_at,
        "why": job.why,
    } | amounts
