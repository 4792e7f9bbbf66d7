"""The policy of an asset's next version over the same ciphertext: what its owner changes, and what stays as it is.

A key share opens under the policy that it was dealt under, to the node that it was dealt to. So a new runtime, new
terms or a new committee take new shares, under a next version; the data stays sealed as it is, and so does its content
version. What an owner does not change is taken as it is in force, so that a withdrawal is not undone in passing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from msgspec.structs import replace

from sealmarket.attestation.policy.rules import AppraisalPolicy, check_rules, enclaves
from sealmarket.attestation.registry import Measurement
from sealmarket.chain import AssetState
from sealmarket.client.approvals import Allowed, ListUnknown
from sealmarket.client.draft import allow_root
from sealmarket.client.errors import PolicyMismatch
from sealmarket.protocol.book import Committee
from sealmarket.protocol.merkle import allowed_leaf
from sealmarket_enclave.protocol.codec import Bytes32, MicroEpsilon, from_builtins, to_builtins
from sealmarket_enclave.protocol.policy import PolicyDocument


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """What the next version says otherwise. None, and what ``terms`` does not name, stays as it is in force.

    ``enclaves`` are measurements; those of devices stay. ``terms`` holds fields of ``Terms`` by their names.
    """

    workloads: tuple[Bytes32, ...] | None = None
    enclaves: tuple[Measurement, ...] | None = None
    terms: Mapping[str, Any] = field(default_factory=dict)


UNCHANGED = Changes()
"""Another committee alone."""


def enclaves_in_force(allowed: Allowed) -> tuple[Measurement, ...]:
    """The enclaves that policy and list both allow. Raises :class:`ListUnknown`."""
    if allowed.pairs is None:
        raise ListUnknown(allowed.state.terms.allow_root)
    return tuple(one for one in enclaves(allowed.rules()) if allowed.pairs & _pairs_of(one, allowed.policy.workloads))


def without_enclaves(allowed: Allowed, withdrawn: Iterable[Measurement]) -> frozenset[Bytes32]:
    """The pairs in force but those of these enclaves; empty where nothing is left. Raises :class:`ListUnknown`."""
    if allowed.pairs is None:
        raise ListUnknown(allowed.state.terms.allow_root)
    gone = (_pairs_of(one, allowed.policy.workloads) for one in withdrawn)
    return allowed.pairs.difference(*gone)


def next_policy(allowed: Allowed, changes: Changes, committee: Committee) -> PolicyDocument:
    """The policy of the version after that of ``allowed``, with what is left of uses and privacy budget unless
    ``changes`` names some.

    Raises:
        PolicyMismatch: no use is left, or the list in force holds some pairs and not all of its enclaves and workloads,
            which no policy says.
        ListUnknown: what stays is not known.
        InvalidRules: no enclave would be left.
    """
    if changes.enclaves is None or changes.workloads is None:
        _require_every_pair(allowed)
    images = enclaves_in_force(allowed) if changes.enclaves is None else changes.enclaves
    workloads = allowed.workloads() if changes.workloads is None else changes.workloads
    same = images == enclaves(allowed.rules())
    rules = allowed.rules() if same else _with_enclaves(allowed.rules(), images)
    left = _uses_left(allowed.state, changes.terms)
    budget = MicroEpsilon(max(0, allowed.state.terms.budget - allowed.state.budget_taken))
    changed = {"budget": budget, **changes.terms, "allow_root": allow_root(rules, workloads), "max_uses": left}
    return replace(
        allowed.policy,
        asset_version=allowed.policy.asset_version + 1,
        evidence=allowed.policy.evidence if same else to_builtins(rules),
        workloads=workloads,
        terms=replace(allowed.state.terms, **changed),
        dealing=committee.ref,
    )


def _with_enclaves(rules: AppraisalPolicy, images: tuple[Measurement, ...]) -> AppraisalPolicy:
    devices = tuple(one for one in rules.measurements if one not in enclaves(rules))
    changed = replace(rules, measurements=(*images, *devices))
    check_rules(changed)
    return from_builtins(AppraisalPolicy, to_builtins(changed))


def _require_every_pair(allowed: Allowed) -> None:
    """Nothing may run under the next version that the list in force leaves out."""
    images, workloads = enclaves_in_force(allowed), allowed.workloads()
    every = {pair for image in images for pair in _pairs_of(image, workloads)}
    if absent := every - (allowed.pairs or frozenset()):
        expected = "every pair of its enclaves and workloads"
        raise PolicyMismatch("list of allowed pairs in force", expected, f"one without {len(absent)} of {len(every)}")


def _uses_left(state: AssetState, terms: Mapping[str, Any]) -> int:
    left = int(terms.get("max_uses", state.terms.max_uses - state.uses_taken))
    if left <= 0:
        raise PolicyMismatch("number of uses left", "1 or more", left)
    return left


def _pairs_of(image: Measurement, workloads: Iterable[Bytes32]) -> frozenset[Bytes32]:
    return frozenset(allowed_leaf(image.tee, image.digest(), workload) for workload in workloads)
