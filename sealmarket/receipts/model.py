"""What a verification is made of: the reader's context, checks, steps, and the report. Pure.

:mod:`sealmarket.receipts.steps` writes its rules with the functions at the end; :mod:`sealmarket.receipts.verify` runs
them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum

from sealmarket.attestation.collateral.trust_anchors import TrustAnchors
from sealmarket.chain import AssetState, Block
from sealmarket.client.jobs import JobRecord
from sealmarket.protocol.advisories import Advisory
from sealmarket.protocol.book import AddressBook, Committee
from sealmarket.receipts.bundle import ProofBundle
from sealmarket_enclave.protocol.agreement import Difference
from sealmarket_enclave.protocol.codec import Bytes32


class State(StrEnum):
    """The outcome of a check.

    ``UNKNOWN``: something that every reader can have was left out, or there is no chain to ask. ``UNDISCLOSED``: only a
    party could show it, or the reader trusts no root behind it. ``NOTED``: no party's fault, and worth knowing.
    ``NOTHING``: this job has nothing to check there.
    """

    OK = "ok"
    FAILED = "failed"
    UNKNOWN = "unknown"
    UNDISCLOSED = "undisclosed"
    NOTED = "noted"
    NOTHING = "nothing to check"


class Conclusion(StrEnum):
    """The conclusion from all checks."""

    REFUTED = "refuted"
    CONSISTENT = "consistent, not proven"
    INCOMPLETE = "incomplete"
    CONFIRMED = "confirmed by the chain"
    PROVEN = "proven"


_WORST_FIRST = (State.FAILED, State.UNKNOWN, State.UNDISCLOSED, State.NOTED, State.OK, State.NOTHING)


@dataclass(frozen=True, slots=True)
class Check:
    """One comparison and its outcome."""

    what: str
    state: State
    expected: str = ""
    found: str = ""


@dataclass(frozen=True, slots=True)
class Step:
    """One step of the verification, with a sentence that says what it is about."""

    number: int
    name: str
    about: str
    checks: tuple[Check, ...]

    @property
    def state(self) -> State:
        """The worst of its checks."""
        states = {check.state for check in self.checks}
        return next((state for state in _WORST_FIRST if state in states), State.OK)


@dataclass(frozen=True, slots=True)
class ChainFacts:
    """The chain's record of a job at one block. ``final``: the block counts by the address book's rule.

    ``removed_members`` are places in the job's committee. ``quoted_at`` is the time of the block with the evidence
    hash. ``versions`` are the registry's records of the job's assets, in its order. ``slot_proven``: storage proofs
    show the job's slot, the committee and the versions under the hash that the reader named. Otherwise they are as one
    node answers. Amounts and times come from events in either case. ``agreeing`` of several endpoints show the blocks,
    and all of this is proven under them, events too; 0 where one endpoint at a time was asked. ``anchors``: when the
    hashes of the reader's statements about platforms came on chain, 0 for never.
    """

    record: JobRecord
    at: Block
    final: bool
    committee_hash: Bytes32
    removed_members: frozenset[int]
    quoted_at: int
    slot_proven: bool
    versions: tuple[AssetState, ...]
    agreeing: int = 0
    anchors: Mapping[Bytes32, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Trusted:
    """The reader's context: address book, chain facts and trust anchors. What is absent leaves checks unknown.

    ``evidence_content``: the content hash of the sealed evidence, where the reader opened it. ``advisories``: the
    statements about platforms that the reader holds.
    """

    book: AddressBook | None = None
    facts: ChainFacts | None = None
    roots: TrustAnchors | None = None
    evidence_content: Bytes32 | None = None
    advisories: tuple[Advisory, ...] = ()


@dataclass(frozen=True, slots=True)
class Report:
    """All steps of one verification."""

    job_id: Bytes32
    steps: tuple[Step, ...]
    conclusion: Conclusion
    simulated: bool
    block: Block | None

    @property
    def failures(self) -> tuple[Check, ...]:
        """The checks that failed."""
        return self.checks_that_are(State.FAILED)

    def checks_that_are(self, *states: State) -> tuple[Check, ...]:
        """The checks of all steps with one of these outcomes."""
        return tuple(check for step in self.steps for check in step.checks if check.state in states)


@dataclass(frozen=True, slots=True)
class Rule:
    """One step as it stands in the table of steps: its name, what it is about, and the function that checks."""

    name: str
    about: str
    checks: Callable[[ProofBundle, Trusted], Iterable[Check]]


# --- what the rules are written with --------------------------------------------------------------------------


def same(what: str, expected: object, found: object) -> Check:
    """Whether two values are equal."""
    state = State.OK if expected == found else State.FAILED
    return Check(what, state, shown(expected), shown(found))


def holds(what: str, condition: bool, expected: object, found: object) -> Check:
    """Whether a condition holds."""
    return Check(what, State.OK if condition else State.FAILED, shown(expected), shown(found))


def agrees(what: str, differences: Iterable[Difference]) -> Iterator[Check]:
    """One failed check for each difference; one check that holds where there is none."""
    found = tuple(differences)
    for difference in found:
        field = f"{difference.document}: {difference.field}"
        yield Check(what, State.FAILED, shown(f"{field} {difference.expected}"), shown(difference.found))
    if not found:
        yield Check(what, State.OK, "no difference", "none")


def unknown(what: str, why: str) -> Check:
    """What could not be checked, and why."""
    return Check(what, State.UNKNOWN, "", why)


def undisclosed(what: str, why: str) -> Check:
    """What only a party could show, or what the reader has no root for."""
    return Check(what, State.UNDISCLOSED, "", why)


def nothing(what: str, why: str) -> Check:
    """What such a job does not have."""
    return Check(what, State.NOTHING, "", why)


def shown(value: object) -> str:
    """A value for people, at most 300 characters."""
    return str(value)[:300]


def committee_of(bundle: ProofBundle, trusted: Trusted) -> Committee | None:
    """The committee of the job's epoch: by the reader's address book if there is one, else by the bundle's."""
    book = trusted.book or bundle.book
    return next((known for known in book.committees if known.epoch == bundle.spec.epoch), None)


def moment(bundle: ProofBundle, trusted: Trusted) -> datetime:
    """The time at which evidence is appraised: that of the block with its hash; without a chain, that of the match."""
    seconds = trusted.facts.quoted_at if trusted.facts else bundle.spec.matched_at
    return datetime.fromtimestamp(seconds, UTC)
