"""Gate, step 4: are the data card and the steps that an owner names available, and is the card one?

Pure. An enclave runs the reader of each card and the validators of each policy; a host that cannot get one marks it as
missing. What an owner names and does not put into the store is the owner's, as a container is.
"""

from __future__ import annotations

from collections.abc import Iterator

from sealmarket.protocol.reasons import JobReason
from sealmarket_enclave.protocol.card import MAXIMUM_CARD, Card, promised
from sealmarket_enclave.protocol.codec import ZERO_HASH, Bytes32
from sealmarket_enclave.protocol.errors import SealmarketError
from sealmarket_enclave.protocol.numbers import Kind
from sealmarket_enclave.protocol.policy import PolicyDocument
from sealmarket_enclave.protocol.steps import policy_steps
from sealmarket_oracle.gate.chain_rules import note
from sealmarket_oracle.gate.inputs import AssetFacts, FaultRow, JobDocuments, Violation


def step_violations(
    asset: AssetFacts, policy: PolicyDocument | None, documents: JobDocuments, kind: Kind
) -> Iterator[Violation]:
    """4f: the store has the data card of the policy; 4g it is one, if it says so; 4h the store has each step.

    Nothing without a policy: step 3 names what is wrong with it.
    """
    if policy is None:
        return
    subject, card = asset.use.asset_id, None
    if policy.data_card != ZERO_HASH:
        raw = documents.cards.get(policy.data_card)
        if raw is None:
            yield _missing(subject, f"data card {policy.data_card}")
            return
        try:
            card = _promise(raw)
        except SealmarketError as error:
            finding = note(JobReason.POLICY_INVALID, subject, "a data card that keeps its own rules", error.message)
            yield Violation(FaultRow.INPUT, finding)
    for digest in policy_steps([policy], [card], kind):
        if digest not in documents.present:
            yield _missing(subject, f"step {digest}")


def readable_steps(policy: PolicyDocument, raw_card: bytes | None, kind: Kind) -> tuple[Bytes32, ...]:
    """The steps that an owner names for a job of a kind. A card that does not read names nothing."""
    try:
        return policy_steps([policy], [_promise(raw_card) if raw_card is not None else None], kind)
    except SealmarketError:
        return policy_steps([policy], [None], kind)


def _promise(raw: bytes) -> Card | None:
    if len(raw) > MAXIMUM_CARD:
        raise SealmarketError(f"it has {len(raw)} bytes, a data card at most {MAXIMUM_CARD}", remedy="shorten it")
    return promised(raw)


def _missing(subject: Bytes32, what: str) -> Violation:
    return Violation(FaultRow.INPUT, note(JobReason.CONTENT_MISSING, subject, what, "nothing in the store"), waits=True)
