"""Steps: workload bundles that the runtime runs by itself, before and after the consumer's workload.

A data card names the reader of one asset, an owner's output rules name validators, its rules for services the meter.
All are workload digests in documents that ``policyHash`` covers, so no step is in the enclave's measurement
(docs/spec/steps.md). A meter is a workload of kind session, and runs in services alone
(:mod:`sealmarket_enclave.runtime.kinds.session.metering`). Pure.

==========  ==============================================  ==================
step        inputs                                          output
==========  ==============================================  ==================
reader      ``data``, ``card``                              ``report.json``, and ``table.arrow`` where ``table`` is true
validator   ``output``, ``rules``, with data ``data-1`` …   ``verdict.json``
==========  ==============================================  ==================

Where an owner has rows withheld, the reader writes them as ``withheld.arrow`` and the others as ``table.arrow``; a
validator that demands it is given ``withheld-1`` … beside ``data-1`` ….
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated

from msgspec import UNSET, Meta, UnsetType, field

from sealmarket_enclave.protocol.card import Card
from sealmarket_enclave.protocol.codec import Bytes32, Shape, decode
from sealmarket_enclave.protocol.errors import MalformedDocument
from sealmarket_enclave.protocol.numbers import Kind
from sealmarket_enclave.protocol.policy import OutputRules, PolicyDocument, Serving

MAXIMUM_STEP = 1 << 20
"""Bytes of a step's archive: its own code. Libraries come in locked wheels."""
MAXIMUM_METER = 16 << 20
"""Bytes of a meter's archive: its own code, and the vocabulary by which it counts."""
DATA, CARD, REPORT, TABLE = "data", "card", "report.json", "table.arrow"
WITHHELD, WITHHELD_TABLE = "withheld", "withheld.arrow"
OUTPUT, RULES, VERDICT = "output", "rules", "verdict.json"
TABLE_WANTED = "table"
"""A parameter that a reader may declare: whether the workload takes the table."""
WITHHELD_PERMILLE, WITHHELD_SECRET = "withheld_permille", "withheld_secret"
"""Parameters of a reader that can withhold rows: how many of a thousand; the secret, in hex, that picks them."""
MAXIMUM_VERDICT = 4096


class ValidatorReport(Shape, frozen=True, kw_only=True):
    """``verdict.json`` of a validator. The code is for authors who try it at home: an enclave keeps it to itself."""

    passes: bool = field(name="pass")
    code: Annotated[str, Meta(pattern=r"\A[a-z0-9_]{1,64}\Z")] | None


def read_verdict(raw: bytes) -> ValidatorReport:
    """A validator's verdict. Raises :class:`MalformedDocument` for another shape, or one that contradicts itself."""
    if len(raw) > MAXIMUM_VERDICT:
        raise MalformedDocument(f"a verdict has at most {MAXIMUM_VERDICT} bytes, found {len(raw)}")
    verdict = decode(ValidatorReport, raw)
    if verdict.passes != (verdict.code is None):
        raise MalformedDocument(f"a verdict has a code unless it passes, found pass={verdict.passes}")
    return verdict


def named_steps(
    cards: Iterable[Card | None], rules: Iterable[OutputRules], serving: Iterable[Serving | UnsetType] = ()
) -> tuple[Bytes32, ...]:
    """The digests of all steps of a job, each once: readers in the order of the assets, validators, meters.

    ``serving``: the rules of a service; nothing for a batch job, which runs no meter.
    """
    readers = [card.reader.digest for card in cards if card is not None and card.reader is not None]
    validators = [check.digest for rule in rules for check in rule.checks]
    meters = [rule.meter for rule in serving if rule is not UNSET and rule.meter is not UNSET]
    return tuple(dict.fromkeys([*readers, *validators, *meters]))


def policy_steps(policies: Iterable[PolicyDocument], cards: Iterable[Card | None], kind: Kind) -> tuple[Bytes32, ...]:
    """The same of policies, for a job of this kind."""
    known = tuple(policies)
    serving = [policy.serving for policy in known] if kind is Kind.SESSION else []
    return named_steps(cards, [policy.output for policy in known], serving)
