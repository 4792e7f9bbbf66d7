"""Steps: workload bundles that the runtime runs by itself, before and after the consumer's workload.

A data card names the reader of one asset, an owner's output rules name validators. Both are workload digests in
documents that ``policyHash`` covers, so no step is in the enclave's measurement (docs/spec/steps.md). Pure.

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

from msgspec import Meta, field

from sealmarket_enclave.protocol.card import Card
from sealmarket_enclave.protocol.codec import Bytes32, Shape, decode
from sealmarket_enclave.protocol.errors import MalformedDocument
from sealmarket_enclave.protocol.policy import OutputRules

MAXIMUM_STEP = 1 << 20
"""Bytes of a step's archive: its own code. Libraries come in locked wheels."""
DATA, CARD, REPORT, TABLE = "data", "card", "report.json", "table.arrow"
WITHHELD, WITHHELD_TABLE = "withheld", "withheld.arrow"
OUTPUT, RULES, VERDICT = "output", "rules", "verdict.json"
TABLE_WANTED, OUTPUT_NAME = "table", "name"
"""Parameters that a step may declare: whether the table is wanted; the name of the output that is held."""
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


def named_steps(cards: Iterable[Card | None], rules: Iterable[OutputRules]) -> tuple[Bytes32, ...]:
    """The digests of all steps of a job, each once: readers in the order of the assets, then validators."""
    readers = [card.reader.digest for card in cards if card is not None and card.reader is not None]
    return tuple(dict.fromkeys([*readers, *(check.digest for rule in rules for check in rule.checks)]))
