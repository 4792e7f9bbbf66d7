"""Which cards and steps a job's policies name, as the enclave reads them. Pure.

A policy or card that does not read names nothing here: the enclave and the nodes say whose fault that is.
"""

from __future__ import annotations

from collections.abc import Iterable

from sealmarket_enclave.protocol.card import Card, CardRefused, promised
from sealmarket_enclave.protocol.codec import ZERO_HASH, Bytes32, decode_canonical
from sealmarket_enclave.protocol.errors import MalformedDocument
from sealmarket_enclave.protocol.numbers import Kind
from sealmarket_enclave.protocol.policy import PolicyDocument
from sealmarket_enclave.protocol.steps import policy_steps


def read_policies(policies: Iterable[bytes | None]) -> list[PolicyDocument | None]:
    """The policies, None for one that is absent or does not read."""
    return [None if raw is None else _policy(raw) for raw in policies]


def card_name(policy: PolicyDocument | None) -> Bytes32 | None:
    """The data card that a policy names, if any."""
    return None if policy is None or policy.data_card == ZERO_HASH else policy.data_card


def steps_of(
    policies: Iterable[PolicyDocument | None], cards: Iterable[bytes | None], kind: Kind
) -> tuple[Bytes32, ...]:
    """The digests of the steps that these documents name for a job of a kind, each once."""
    known = [policy for policy in policies if policy is not None]
    return policy_steps(known, [None if raw is None else _card(raw) for raw in cards], kind)


def _policy(raw: bytes) -> PolicyDocument | None:
    try:
        return decode_canonical(PolicyDocument, raw)
    except MalformedDocument:
        return None


def _card(raw: bytes) -> Card | None:
    try:
        return promised(raw)
    except (CardRefused, MalformedDocument):
        return None
