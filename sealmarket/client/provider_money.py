"""A provider's money: what is free, staked, locked by which jobs, lost to which, and earned. Read from the chain."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from sealmarket.chain import Account, Block, Chain
from sealmarket.chain.events import ChainEvent
from sealmarket.chain.ledger_events import Deposited, Staked, UnstakeBegun, Unstaked, Withdrawn
from sealmarket.chain.model import Unbonding
from sealmarket.client.explain import meaning
from sealmarket.client.jobs import JobRecord, read_job
from sealmarket.client.standing import money_of
from sealmarket.client.statement import Statement, Who
from sealmarket.protocol.transitions import ENDS, Status
from sealmarket_enclave.protocol.codec import ZERO_ADDRESS, Address
from sealmarket_enclave.protocol.numbers import JobId

MOST_JOBS = 200
"""How many of a provider's newest jobs are read; each takes a few questions to the node."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobMoney:
    """One job of a provider, in the token's smallest unit.

    ``locked`` is what the job holds of the provider now, ``lost`` what the provider has less for good, ``earned`` what
    it was paid. ``ended_at`` in seconds, 0 while the job runs. ``why`` says what the job waits for, or how it ended.
    """

    job_id: JobId
    status: Status
    ended_at: int
    locked: int
    lost: int
    earned: int
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Moved:
    """One amount of the ledger: negative where it left the market. To stake moves it from free to staked, no more."""

    block: int
    what: str
    amount: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderMoney:
    """The account at the newest block, the jobs at the newest final one. ``older`` jobs were not read."""

    head: Block
    at: Block
    account: Account
    unbonding: Unbonding
    jobs: tuple[JobMoney, ...]
    older: int

    @property
    def locked(self) -> int:
        """What jobs hold now."""
        return sum(job.locked for job in self.jobs)

    @property
    def lost(self) -> int:
        """What jobs that were read cost for good."""
        return sum(job.lost for job in self.jobs)

    @property
    def earned(self) -> int:
        """What jobs that were read paid."""
        return sum(job.earned for job in self.jobs)


def read_money(
    chain: Chain,
    provider: Address,
    token: Address = ZERO_ADDRESS,
    *,
    most: int = MOST_JOBS,
    on_job: Callable[[int, int], None] = lambda _done, _all: None,
) -> ProviderMoney:
    """A provider's money in one token, its jobs at the newest final block.

    ``on_job`` hears how many of how many jobs are read.

    Raises:
        ChainError: the chain cannot be read.
    """
    block, head = chain.final(), chain.head()
    view = chain.at(head)
    matched = [job for job in chain.jobs_of(provider, chain.book.deployed_at, block) if job.spec.token == token]
    newest, jobs = matched[-most:] if most else [], []
    for done, job in enumerate(newest, 1):
        record = read_job(chain, job.job_id, block)
        ended_at = chain.block(record.ended.at.block_number).timestamp if record.ended else 0
        jobs.append(job_money(record, money_of(chain, record), ended_at))
        on_job(done, len(newest))
    return ProviderMoney(
        head=head,
        at=block,
        account=view.account(token, provider),
        unbonding=view.unbonding(token, provider),
        jobs=tuple(jobs),
        older=len(matched) - len(newest),
    )


def job_money(record: JobRecord, statement: Statement, ended_at: int) -> JobMoney:
    """The provider's part of one job's statement."""
    provider, over = record.spec.provider, record.status in ENDS
    total = statement.total(Who.PROVIDER, provider)
    earned = int(record.ended.payout.paid) if record.ended else 0
    left = statement.total(Who.HELD) if over else 0  # set aside for nodes, and not back yet
    return JobMoney(
        job_id=record.job_id,
        status=record.status,
        ended_at=ended_at,
        locked=left if over else -total,
        lost=max(0, earned - total - left) if over else 0,
        earned=earned,
        why=meaning(record),
    )


def moves(events: Sequence[ChainEvent]) -> Iterator[Moved]:
    """What the account itself put in, took out, staked and unstaked."""
    for event in events:
        match event:
            case Deposited():
                yield Moved(block=event.at.block_number, what="deposited", amount=int(event.amount))
            case Withdrawn():
                what = f"withdrawn to {event.to.checksum}"
                yield Moved(block=event.at.block_number, what=what, amount=-int(event.amount))
            case Staked() | UnstakeBegun() | Unstaked():
                yield Moved(block=event.at.block_number, what=_STAKE[type(event)], amount=int(event.amount))
            case _:
                continue


_STAKE: dict[type, str] = {Staked: "staked", UnstakeBegun: "began to unstake", Unstaked: "unstaked"}
