"""Where every coin of a market is, at one block: invariant 4, read from the chain alone.

    deposits - withdrawals = free + staked + unbonding + locked in jobs + burned + unclaimed fees
                           = the contract's balance

What a job locks follows from its specification and its status (contracts/interfaces/IJobs.sol, "Money").
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from sealmarket.chain import Block, Chain
from sealmarket.chain.events import ChainEvent, JobChallenged, JobEnded, JobMatched, JobSettled
from sealmarket.chain.ledger_events import Deposited, SuspensionPaid, Withdrawn
from sealmarket.client.jobs import read_job
from sealmarket.client.standing import money_of
from sealmarket.client.statement import Who
from sealmarket.protocol.transitions import Status
from sealmarket_enclave.protocol.codec import ZERO_ADDRESS, Address
from tests.patience import until


@dataclass(frozen=True, slots=True, kw_only=True)
class Books:
    """All sums in wei."""

    deposited: int
    withdrawn: int
    free: int
    staked: int
    unbonding: int
    locked: int
    burned: int
    fees: int
    balance: int

    @property
    def accounted(self) -> int:
        """What the ledger knows of."""
        return self.free + self.staked + self.unbonding + self.locked + self.burned + self.fees


def followed(chain: Chain) -> Block:
    """The newest block, once another follows it: Anvil answers reads at the head from the block that it is mining."""
    block = chain.head()
    until(f"a block after {block.number}", lambda: chain.head().number > block.number)
    return block


def books(chain: Chain, at: Block | None = None) -> Books:
    """The native coin's books at a block, by default the newest when it is followed by another."""
    block = at or followed(chain)
    told = chain.events(chain.book.deployed_at, block.number)
    view = chain.at(block)
    holders: set[Address] = set()
    jobs: dict[bytes, JobMatched] = {}
    payable: dict[bytes, int] = {}
    bonds: dict[bytes, int] = {}
    deposited = withdrawn = 0
    for event in told:
        match event:
            case Deposited():
                holders.add(event.holder)
                deposited += event.amount
            case Withdrawn():
                withdrawn += event.amount
            case JobMatched():
                jobs[event.job_id] = event
                spec = event.spec
                holders |= {spec.payer, spec.consumer, spec.provider, *(use.owner for use in spec.assets)}
            case JobSettled():
                payable[event.job_id] = int(event.payable)
            case JobChallenged():
                bonds[event.job_id] = int(event.bond)
            case _:
                pass
    locked = 0
    for job_id, matched in jobs.items():
        status = view.job(matched.spec.request_hash).status
        locked += _locked(matched, status, payable.get(job_id, 0), bonds.get(job_id, 0))
        locked += int(view.interruption(matched.spec.request_hash).unspent)
    accounts = [view.account(ZERO_ADDRESS, holder) for holder in holders]
    fee_books = [view.fee_book(committee.epoch, ZERO_ADDRESS) for committee in chain.book.committees]
    return Books(
        deposited=deposited,
        withdrawn=withdrawn,
        free=sum(account.free for account in accounts),
        staked=sum(account.staked for account in accounts),
        unbonding=sum(view.unbonding(ZERO_ADDRESS, holder).amount for holder in holders),
        locked=locked,
        burned=burned(told),
        fees=sum(int(book.fee) * sum(book.unclaimed) for book in fee_books if book),
        balance=chain.balance(chain.book.market, block),
    )


def burned(told: Iterable[ChainEvent]) -> int:
    """What these events say was burned, of all tokens together: nothing counts it on chain."""
    return sum(map(_burned_by, told))


def _burned_by(event: ChainEvent) -> int:
    if isinstance(event, SuspensionPaid):
        return int(event.burned)
    return int(event.payout.burned) if isinstance(event, JobEnded) else 0


def assert_conserved(chain: Chain) -> Books:
    """Fail unless every coin is where the ledger says; returns the books."""
    found = books(chain)
    assert found.deposited - found.withdrawn == found.accounted, found
    assert found.balance == found.accounted, found
    return found


def assert_explained(chain: Chain, seen: set[bytes]) -> None:
    """Fail unless `consumer explain` accounts for every wei of each job that has ended; ``seen`` are left out."""
    block = chain.final()
    for event in chain.events(chain.book.deployed_at, block.number):
        if isinstance(event, JobEnded) and event.job_id not in seen:
            record = read_job(chain, event.job_id, block)
            statement = money_of(chain, record)
            assert statement.total(Who.UNEXPLAINED) == 0, (record.fault, statement)
            assert sum(entry.amount for entry in statement.entries) == 0
            seen.add(event.job_id)


def _locked(matched: JobMatched, status: Status, payable: int, bond: int) -> int:
    spec = matched.spec
    owners = sum(use.price for use in spec.assets)
    stake = owners + spec.penalty
    escrow = owners + spec.compute_price + spec.unit_price * spec.max_units
    match status:
        case Status.MATCHED | Status.QUOTED:
            return escrow + int(matched.fees_held) + int(spec.hold_fee) + stake
        case Status.ACCEPTED:
            return escrow + stake
        case Status.SETTLED:
            return payable + stake
        case Status.CHALLENGED:
            return payable + stake + bond
        case _:
            return 0
