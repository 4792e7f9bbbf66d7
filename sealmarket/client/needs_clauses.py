"""What a workload needs of its inputs and the owners' cards do not promise, before a request is signed. Pure.

The rules are those of oracle nodes: :mod:`sealmarket_enclave.workload.needs`.
"""

from __future__ import annotations

from collections.abc import Iterator

from sealmarket.client.clauses import Clause, of_reason
from sealmarket.client.market_facts import MarketFacts
from sealmarket.client.requests import UnsignedRequest
from sealmarket.protocol.fitting import Side
from sealmarket.protocol.reasons import JobReason
from sealmarket_enclave.workload.errors import ParametersRefused
from sealmarket_enclave.workload.manifest import undivided, unmet_needs


def needs_clauses(unsigned: UnsignedRequest, facts: MarketFacts) -> Iterator[Clause]:
    """Every need of the workload that a card does not promise, and every card that breaks its own rules."""
    for asset in facts.assets:
        if asset.broken:
            whose = Side(asset.limit, asset.state).name
            yield of_reason(JobReason.NEEDS_UNMET, whose, "its data card", asset.broken, "a card that keeps its rules")
    cards = [asset.promise for asset in facts.assets]
    withholds = [asset.policy.document.output.withholds if asset.policy else 0 for asset in facts.assets]
    slots = unsigned.workload.manifest.inputs
    try:
        found = list(unmet_needs(slots, cards, unsigned.parameters.values))
        found += undivided(slots, withholds)
    except ParametersRefused:
        return  # a request with too few or too many assets is not composed
    names = [Side(asset.limit, asset.state).name for asset in facts.assets]
    for one in found:
        whose = names[one.asset] if one.asset is not None else "the owners together"
        yield of_reason(JobReason.NEEDS_UNMET, whose, "what its data card promises", one.found, one.expected)
