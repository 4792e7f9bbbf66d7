"""A policy draft as sentences: what it allows, what it does not, and what it leaves open. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import UNSET

from sealmarket.attestation.policy.explain import explain
from sealmarket.client.draft import PolicyDraft
from sealmarket.client.written import coins, moment
from sealmarket.protocol.cards import card_of
from sealmarket.protocol.orders import Purpose
from sealmarket.protocol.purposes import MEANINGS, in_words
from sealmarket_enclave.protocol.codec import ZERO_ADDRESS, Wei
from sealmarket_enclave.protocol.hashing import keccak
from sealmarket_enclave.protocol.policy import Serving


def explain_draft(draft: PolicyDraft, now: int) -> Iterator[str]:
    """One sentence for each thing that the policy decides. Raises as :meth:`PolicyDraft.rules`."""
    yield from _allowed(draft, now)
    yield from _served(draft)
    yield from _forbidden(draft)
    yield from explain(draft.rules())
    for key in draft.auditors:
        yield (
            f"The evidence of each job, which names the provider's machine, is also for the auditor with the key"
            f" {keccak(key)}: compare that with what the auditor says."
        )
    yield "What is public: title, terms, this policy, the data card, and who used the data when. The data is not."


def _allowed(draft: PolicyDraft, now: int) -> Iterator[str]:
    terms = draft.terms
    for name in terms.purposes:
        yield f"Allowed: {name}: {MEANINGS[Purpose[name.upper()]]}."
    for workload in draft.workloads:
        yield f"Allowed: the workload {workload}, byte for byte; any change of it is another workload."
    if terms.consumers:
        yield f"Only these accounts may ask: {', '.join(one.checksum for one in terms.consumers)}."
    else:
        yield "ANYONE may ask: no account is excluded."
    price = _amount(draft, terms.price)
    yield f"Each use costs {price}; {terms.timeout_share} percent of it is due where a job runs out of time."
    yield f"At most {terms.max_uses} uses, until {moment(terms.expiry, now)}."
    rules = draft.output
    yield (
        f"A job hands out at most {rules.max_outputs} files and {rules.max_bytes} bytes together, as "
        f"{', '.join(rules.media_types)}; sizes are rounded up to {rules.bucket_bytes} bytes."
    )
    for check in rules.checks:
        given = ", which is given the data too" if check.takes_data else ""
        yield f"Nothing leaves as {check.media_type} unless the validator {check.digest}{given} lets it pass."
    if rules.withholds:
        yield f"Of a thousand rows {rules.withholds} are withheld from each workload, picked anew for each job."
    for label in card_of(draft.data_card).purposes:
        yield f"Declared, for people and searches; nothing enforces it: {in_words(label)}."


def _amount(draft: PolicyDraft, value: Wei) -> str:
    token = draft.terms.token
    return coins(value) if token == ZERO_ADDRESS else f"{int(value)} of {token.checksum}"


def _served(draft: PolicyDraft) -> Iterator[str]:
    rules = draft.serving
    if not isinstance(rules, Serving):
        yield "Not allowed: a service that answers users from the data."
        return
    yield (
        f"Allowed: a service that answers from the data at {', '.join(rules.endpoints)}, token by token; its users are "
        "held to the accounts that may ask."
    )
    yield (
        f"Each unit served earns {_amount(draft, rules.per_unit)} or more; at most {rules.max_lease} units are served "
        f"and not yet paid, and a request costs at most {rules.max_units}."
    )
    bounds = f"A prompt has at most {rules.max_prompt_units} units, an answer {rules.max_answer_units}"
    if rules.meter is UNSET:
        yield f"{bounds}. The workload itself says how many; each started {rules.unit_bytes} bytes cost one at least."
    else:
        yield f"{bounds}. They are counted by the meter {rules.meter}, whatever the workload says."
    if not rules.per_unit:
        yield "A unit may earn you NOTHING: the price of a use is all that a service pays you."
        return
    covered = min(rules.max_lease, draft.terms.price // rules.per_unit)
    yield (
        f"The price of a use is due when a service opens, and covers {covered} units that are served and never paid "
        "for: a provider's lease is at most that."
    )
    if covered < rules.max_units:
        yield f"NO lease that the price covers holds the largest request: those above {covered} units are refused."


def _forbidden(draft: PolicyDraft) -> Iterator[str]:
    missing = [purpose.name.lower() for purpose in Purpose if purpose.name.lower() not in draft.terms.purposes]
    if missing:
        yield f"Not allowed: {', '.join(missing)}."
    yield f"Not allowed: any other workload than {'this one' if len(draft.workloads) == 1 else 'these'}."
    if draft.output.minimum_owners > 1:
        yield f"Not allowed: a job over the data of fewer than {draft.output.minimum_owners} owners."
    else:
        yield "A job may use your data alone: an output may then tell of your rows only."
    yield "Not stopped: what an allowed workload's output remembers of rows. Read the workload before you allow it."
