"""One job walked from its policies to its settlement, each step explained: what was expected, what was found.

    1. policy       the documents behind the seals, and that they allow this workload and purpose
    2. match        the job's id from its specification; that this market matched it
    3. evidence     its hash on chain before anybody judged it; the evidence itself where a party shows it
    4. decision     a quorum of the committee signed one core that accepts this enclave
    5. release      enough nodes signed what they sent to this enclave, and none that had not accepted
    6. receipt      signed by the accepted enclave, about this job and these inputs
    7. result       the sealed result that the receipt is about, and the enclave's last word for it
    8. settlement   what the market recorded, and who got what

A check is ``ok``, ``failed`` or ``unknown``; unknown is never counted as ok. The conclusion is the weakest that holds:

    refuted         a check failed
    consistent      everything fits together, and nothing outside the bundle was asked: not proven
    confirmed       the chain says the same, as one node tells it, in a market that the reader named
    proven          as confirmed, and the market's slot is shown under a block hash that the reader named

The rules are here and pure; :mod:`sealmarket.receipts.facts` reads what they need from the chain.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

from sealmarket.attestation.collateral.trust_anchors import TrustAnchors
from sealmarket.chain import Block
from sealmarket.client.jobs import JobRecord
from sealmarket.protocol.book import AddressBook, Committee
from sealmarket.receipts.bundle import ProofBundle
from sealmarket_enclave.protocol.codec import Bytes32
from sealmarket_enclave.protocol.numbers import Grade


class State(StrEnum):
    """How a check came out."""

    OK = "ok"
    FAILED = "failed"
    UNKNOWN = "unknown"


class Conclusion(StrEnum):
    """What all checks together amount to."""

    REFUTED = "refuted"
    CONSISTENT = "consistent, not proven"
    CONFIRMED = "confirmed by the chain"
    PROVEN = "proven"


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at."""

    what: str
    state: State
    expected: str = ""
    found: str = ""


@dataclass(frozen=True, slots=True)
class Step:
    """One step of the walk, with a sentence that says what it is about."""

    number: int
    name: str
    about: str
    checks: tuple[Check, ...]

    @property
    def state(self) -> State:
        """The worst of its checks."""
        states = {check.state for check in self.checks}
        return next((state for state in (State.FAILED, State.UNKNOWN) if state in states), State.OK)


@dataclass(frozen=True, slots=True)
class ChainFacts:
    """What the chain says, at one block. ``final``: the block counts by the address book's rule.

    ``quoted_at`` is the time of the block with the evidence hash. ``slot_proven``: the job's slot was shown under the
    hash that the reader named, not only told.
    """

    record: JobRecord
    at: Block
    final: bool
    committee_hash: Bytes32
    quoted_at: int
    slot_proven: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Trusted:
    """What the reader brings along. Everything absent leaves something unknown."""

    book: AddressBook | None = None
    facts: ChainFacts | None = None
    roots: TrustAnchors | None = None


@dataclass(frozen=True, slots=True)
class Report:
    """The whole walk."""

    job_id: Bytes32
    steps: tuple[Step, ...]
    conclusion: Conclusion
    simulated: bool
    block: Block | None

    @property
    def failures(self) -> tuple[Check, ...]:
        """Everything that failed."""
        return tuple(check for step in self.steps for check in step.checks if check.state is State.FAILED)


def verify_receipt(bundle: ProofBundle, trusted: Trusted) -> Report:
    """Walk one job. Never raises for what a bundle says: that is a failed check."""
    from sealmarket.receipts import steps as rules

    steps = tuple(
        Step(number, name, about, tuple(_all(checks, bundle, trusted)))
        for number, (name, about, checks) in enumerate(rules.STEPS, 1)
    )
    return Report(
        job_id=bundle.job_id,
        steps=steps,
        conclusion=_conclusion(steps, trusted),
        simulated=bundle.core.grade == Grade.SIMULATED,
        block=trusted.facts.at if trusted.facts else None,
    )


def _all(
    checks: Callable[[ProofBundle, Trusted], Iterable[Check]], bundle: ProofBundle, trusted: Trusted
) -> Iterator[Check]:
    yield from checks(bundle, trusted)


def _conclusion(steps: tuple[Step, ...], trusted: Trusted) -> Conclusion:
    checks = [check for step in steps for check in step.checks]
    if any(check.state is State.FAILED for check in checks):
        return Conclusion.REFUTED
    facts = trusted.facts
    if facts is None or trusted.book is None or not facts.final:
        return Conclusion.CONSISTENT
    return Conclusion.PROVEN if facts.slot_proven else Conclusion.CONFIRMED


# --- what the rules are written with --------------------------------------------------------------------------


def same(what: str, expected: object, found: object) -> Check:
    """Whether two values are equal."""
    state = State.OK if expected == found else State.FAILED
    return Check(what, state, shown(expected), shown(found))


def holds(what: str, condition: bool, expected: object, found: object) -> Check:
    """Whether a condition holds."""
    return Check(what, State.OK if condition else State.FAILED, shown(expected), shown(found))


def unknown(what: str, why: str) -> Check:
    """What could not be looked at, and why."""
    return Check(what, State.UNKNOWN, "", why)


def shown(value: object) -> str:
    """A value for people, at most a line."""
    return str(value)[:300]


def committee_of(bundle: ProofBundle, trusted: Trusted) -> Committee | None:
    """The committee of the job's epoch: by the reader's address book if there is one, else by the bundle's."""
    book = trusted.book or bundle.book
    return next((known for known in book.committees if known.epoch == bundle.spec.epoch), None)


def moment(bundle: ProofBundle, trusted: Trusted) -> datetime:
    """When evidence was judged: the time of the block with its hash; without a chain, the time of the match."""
    seconds = trusted.facts.quoted_at if trusted.facts else bundle.spec.matched_at
    return datetime.fromtimestamp(seconds, UTC)
