"""The money of one job: every amount that its events moved, to whom and why, exact to the smallest unit.

Pure. What a job holds at the match, and what each later event pays from it, follows docs/spec/contracts.md ("The fault
table"). Amounts are signed: negative where a party gives. All of them sum to zero: while a job runs, what it holds is
an entry of its own, and after its end nothing is left. What does not sum is an entry too, never dropped.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from sealmarket.chain.events import (
    ChallengeAnswered,
    JobChallenged,
    JobDecided,
    JobEnded,
    JobSettled,
    ReleasePosted,
    SharesReportedMissing,
)
from sealmarket.chain.model import Fault, Interruption
from sealmarket.client.jobs import JobRecord
from sealmarket.protocol.book import Committee
from sealmarket.protocol.decisions import Outcome
from sealmarket.protocol.transitions import ENDS
from sealmarket_enclave.protocol.codec import Address
from sealmarket_enclave.protocol.job import JobSpec


class Who(StrEnum):
    """Who gives or gets."""

    PAYER = "payer"
    PROVIDER = "provider"
    OWNER = "owner"
    NODES = "oracle nodes"
    CHALLENGER = "challenger"
    BURNED = "burned"
    HELD = "held by the job"
    UNEXPLAINED = "unexplained"


@dataclass(frozen=True, slots=True)
class Entry:
    """One amount. ``account`` is None where no single account is behind it."""

    who: Who
    account: Address | None
    amount: int
    why: str


@dataclass(frozen=True, slots=True)
class Statement:
    """All entries of one job, in the order of its events. They sum to zero."""

    entries: tuple[Entry, ...]

    def total(self, who: Who, account: Address | None = None) -> int:
        """What one party has more after all of it, or less; of one account where one is named."""
        return sum(e.amount for e in self.entries if e.who is who and account in (None, e.account))

    def parties(self) -> tuple[tuple[Who, Address | None, int], ...]:
        """Each party with its total, in the order in which it first appears; of those with 0 the payer alone."""
        keys = dict.fromkeys((entry.who, entry.account) for entry in self.entries)
        sums = ((who, account, self._of(who, account)) for who, account in keys)
        return tuple(row for row in sums if row[2] or row[0] is Who.PAYER)

    def _of(self, who: Who, account: Address | None) -> int:
        return sum(e.amount for e in self.entries if (e.who, e.account) == (who, account))


def statement_of(record: JobRecord, committee: Committee | None, interruption: Interruption) -> Statement:
    """The money of a job at the block of its record.

    Args:
        committee: of the job's epoch; without one what its signatures cost shows as unexplained.
        interruption: as the chain has it at that block.
    """
    entries = list(_moved(record, committee, interruption))
    if rest := -sum(entry.amount for entry in entries):
        who = Who.UNEXPLAINED if record.status in ENDS else Who.HELD
        entries.append(
            Entry(who, None, rest, "until the job ends" if who is Who.HELD else "does not follow from events")
        )
    return Statement(tuple(entries))


def _moved(record: JobRecord, committee: Committee | None, interruption: Interruption) -> Iterator[Entry]:
    yield from _locked(record)
    bond = 0
    for event in record.history:
        match event:
            case JobDecided():
                yield from _decided(record, event, committee)
            case JobSettled():
                yield from _settled(record.spec, event)
            case JobChallenged():
                bond = int(event.bond)
                yield Entry(Who.CHALLENGER, event.challenger, -bond, "bond of the challenge")
            case ChallengeAnswered():
                yield from _answered(record, event)
            case JobEnded():
                yield from _ended(record, event)
            case _:
                pass
    yield from _reported(record, committee, interruption)


def _locked(record: JobRecord) -> Iterator[Entry]:
    spec, owners = record.spec, _owners(record.spec)
    parts = (
        (owners, "the owners' prices, set aside at the match"),
        (int(spec.compute_price), "the compute price, set aside"),
        (spec.unit_price * spec.max_units, "the most that units can cost, set aside"),
        (int(record.matched.fees_held), "the oracle's fees, set aside"),
        (int(spec.hold_fee), "the hold fee, set aside"),
    )
    yield from (Entry(Who.PAYER, spec.payer, -amount, why) for amount, why in parts if amount)
    yield Entry(Who.PROVIDER, spec.provider, -owners - int(spec.penalty), "stake that backs the job")


def _decided(record: JobRecord, event: JobDecided, committee: Committee | None) -> Iterator[Entry]:
    spec, held = record.spec, int(record.matched.fees_held)
    if committee is not None:
        used = held * len(event.signers) // committee.refusal_threshold
        yield Entry(Who.NODES, None, used, f"fees of {len(event.signers)} signatures")
    if event.outcome is Outcome.ACCEPTED:
        yield Entry(Who.PAYER, spec.payer, int(event.fees_returned), "the hold fee and unused oracle fees return")


def _settled(spec: JobSpec, event: JobSettled) -> Iterator[Entry]:
    if event.refunded:
        yield Entry(Who.PAYER, spec.payer, int(event.refunded), "units that were not used")
    for use in spec.assets:
        yield Entry(Who.OWNER, use.owner, int(use.price), f"price of asset {use.asset_id} version {use.version}")


def _answered(record: JobRecord, event: ChallengeAnswered) -> Iterator[Entry]:
    challenger = next(e.challenger for e in record.history if isinstance(e, JobChallenged))
    if event.fees:
        yield Entry(Who.NODES, None, int(event.fees), "fees of the answer to the challenge")
    if event.bond_returned:
        yield Entry(Who.CHALLENGER, challenger, int(event.bond_returned), "the bond returns")


def _ended(record: JobRecord, event: JobEnded) -> Iterator[Entry]:
    spec, payout = record.spec, event.payout
    fault = event.fault.name.lower().replace("_", " ")
    if payout.refunded:
        yield Entry(Who.PAYER, spec.payer, int(payout.refunded), f"returns: {fault}")
    if payout.paid:
        why = "compute price and units" if event.fault is Fault.NONE else f"pay: {fault}"
        yield Entry(Who.PROVIDER, spec.provider, int(payout.paid), why)
    if payout.stake_returned:
        yield Entry(Who.PROVIDER, spec.provider, int(payout.stake_returned), "stake returns")
    yield from _owners_paid(spec, event)
    if payout.burned:
        yield Entry(Who.BURNED, None, int(payout.burned), fault)


def _owners_paid(spec: JobSpec, event: JobEnded) -> Iterator[Entry]:
    """``ownersTotal`` in proportion to the prices; the rounding of one is made up for by the next (Endings.sol)."""
    paid = [use for place, use in enumerate(spec.assets) if place in event.payout.owners_paid]
    owed, total = sum(use.price for use in paid), int(event.payout.owners_total)
    seen = given = 0
    for use in paid:
        seen += use.price
        due = seen * total // owed if owed else 0
        yield Entry(Who.OWNER, use.owner, due - given, f"for asset {use.asset_id} version {use.version}")
        given = due


def _reported(record: JobRecord, committee: Committee | None, interruption: Interruption) -> Iterator[Entry]:
    """What the provider set aside for nodes that post their releases, and what came back of it."""
    spec = record.spec
    aside = sum(int(event.set_aside) for event in record.history if isinstance(event, SharesReportedMissing))
    if not aside or committee is None:
        return
    posted = sum(isinstance(event, ReleasePosted) for event in record.history)
    spent = posted * aside // len(committee.members)
    yield Entry(Who.PROVIDER, spec.provider, -aside, "set aside for nodes that post their shares")
    if spent:
        yield Entry(Who.NODES, None, spent, f"fees of {posted} posted shares")
    if interruption.unspent:
        yield Entry(Who.HELD, None, int(interruption.unspent), "of it, until the window for shares is over")
    if back := aside - spent - int(interruption.unspent):
        yield Entry(Who.PROVIDER, spec.provider, back, "of it returns")


def _owners(spec: JobSpec) -> int:
    return sum(use.price for use in spec.assets)
