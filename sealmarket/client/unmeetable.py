"""What of a policy no job could ever meet, found before anything is sealed under it. Pure: the clock is an argument.

1. The terms end in the future.
2. The grade of the terms is that of the evidence rules.
3. A job may hold a use for as long as the market's shortest windows take.
4. No more owners are demanded than a job has assets.
5. Exact outputs: no enclave has a mechanism for differential privacy, so jobs under ``dp`` are refused.
6. A list of consumers names an account that exists.
7. The terms name a purpose of this market.
8. Rows are withheld of a table whose data card names a reader.
9. A service has a lease and requests of a unit at least, a royalty within what a unit may cost, and a price of one use
   that covers it.
"""

from __future__ import annotations

from collections.abc import Iterator

from sealmarket.attestation.policy.rules import AppraisalPolicy
from sealmarket.client.draft import DraftTerms, PolicyDraft
from sealmarket.client.errors import PolicyUnmeetable
from sealmarket.client.written import moment
from sealmarket.protocol.book import Timing
from sealmarket.protocol.orders import Purpose
from sealmarket.protocol.timing import longest_use
from sealmarket_enclave.protocol.codec import ZERO_ADDRESS, Wei
from sealmarket_enclave.protocol.job import MAX_ASSETS
from sealmarket_enclave.protocol.numbers import Grade
from sealmarket_enclave.protocol.policy import OutputRules, PolicyDocument, Serving
from sealmarket_enclave.protocol.terms import Terms
from sealmarket_enclave.sealed.errors import InvalidHpkeKey
from sealmarket_enclave.sealed.hpke import PublicKey

EVERY_PURPOSE = sum(Purpose)
MOST_UNIT_PRICE = (1 << 88) - 1
"""The contract's bound, in the token's smallest unit."""


def require_meetable(policy: PolicyDraft | PolicyDocument, now: int, timing: Timing | None = None) -> None:
    """Return if a job could meet this policy at ``now``, in seconds since 1970.

    Raises:
        PolicyUnmeetable: with everything that none could.
        InvalidRules, MalformedDocument: a draft whose evidence rules are none.
    """
    if found := tuple(objections(policy, now, timing)):
        raise PolicyUnmeetable(found)


def objections(policy: PolicyDraft | PolicyDocument, now: int, timing: Timing | None = None) -> Iterator[str]:
    """Everything that no job could meet, a clause for each. ``timing`` None leaves rule 3 out. Raises as above."""
    yield from _terms(policy.terms, now, timing)
    if isinstance(policy, PolicyDraft):
        yield from _draft(policy.terms, policy.rules())
        yield from _divided(policy)
    yield from _output(policy.output)
    yield from _auditors(policy)
    if isinstance(policy.serving, Serving):
        yield from _serving(policy.serving, policy.terms.price)


def expired(expiry: int, now: int) -> str | None:
    """That terms are over, in words; None while they hold."""
    return None if expiry > now else f"the terms ended at {moment(expiry, now)}: name a later expiry"


def _terms(terms: DraftTerms | Terms, now: int, timing: Timing | None) -> Iterator[str]:
    if over := expired(terms.expiry, now):
        yield over
    if timing is not None and terms.max_hold is not None:
        needed = longest_use(timing.windows)
        if terms.max_hold < needed:
            yield f"maxHold is {terms.max_hold} s, and the shortest job of this market takes {needed} s: leave it out"
    if isinstance(terms, Terms) and not terms.purposes & EVERY_PURPOSE:
        yield f"purposes are {terms.purposes:#x}, and no request can name one of them: allow train, for one"


def _draft(terms: DraftTerms, rules: AppraisalPolicy) -> Iterator[str]:
    if Grade.from_slug(rules.lowest_grade) is not Grade.from_slug(terms.min_grade):
        yield f"terms.minGrade is {terms.min_grade}, evidence.lowestGrade {rules.lowest_grade}: name one grade in both"
    if terms.consumers and set(terms.consumers) == {ZERO_ADDRESS}:
        yield "only the zero address may ask, which has no key: name accounts, or leave consumers out for anyone"


def _divided(draft: PolicyDraft) -> Iterator[str]:
    table = draft.data_card.get("kind") == "table" and draft.data_card.get("reader")
    if draft.output.withholds and not table:
        yield "a validator has rows withheld, and the data card is none of a table with a reader: describe the table"


def _auditors(policy: PolicyDraft | PolicyDocument) -> Iterator[str]:
    keys = policy.evidence_readers if isinstance(policy, PolicyDocument) else policy.auditors
    for place, raw in enumerate(keys, 1):
        try:
            PublicKey(raw)
        except InvalidHpkeKey as error:
            yield f"key {place} of auditors is none, and no evidence is sealed to it: {error.message}"


def _output(output: OutputRules) -> Iterator[str]:
    if output.minimum_owners > MAX_ASSETS:
        yield f"output.minimumOwners is {output.minimum_owners}, a job has at most {MAX_ASSETS} assets: demand fewer"
    if output.privacy != "exact":
        yield "output.privacy is dp, and no enclave has a mechanism for it yet: enclaves refuse such jobs; write exact"


def _serving(rules: Serving, price: Wei) -> Iterator[str]:
    if not rules.max_lease:
        yield "serving.maxLease is 0, and no unit can be served: name the most units that may be served unpaid"
    if not rules.max_units:
        yield "serving allows no unit of prompt or answer, and each request costs one at least: allow some"
    if rules.per_unit > MOST_UNIT_PRICE:
        yield f"serving.perUnit is {rules.per_unit}, and a unit costs {MOST_UNIT_PRICE} at most: ask for less"
    elif price < rules.per_unit:
        yield (
            f"one use costs {price}, less than the royalty of one unit, {rules.per_unit}, and has to cover a lease "
            f"({rules.per_unit * rules.max_lease} for the longest): name a higher price, or a lower royalty"
        )
