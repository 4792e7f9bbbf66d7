"""What owners' public documents refuse: the rules that oracle nodes and enclaves apply once money is locked. Pure.

The rules are theirs: :mod:`sealmarket_enclave.protocol.agreement` for documents and output rules, the enclave's own
``check_declared`` for what a workload makes, :mod:`sealmarket.attestation.policy.owners` for the listed pairs.
"""

from __future__ import annotations

from collections.abc import Iterator

from sealmarket.attestation.policy.owners import OwnersPolicy
from sealmarket.attestation.policy.rules import enclaves
from sealmarket.client.clauses import Clause, of_reason
from sealmarket.client.market_facts import AssetFacts, MarketFacts
from sealmarket.client.requests import UnsignedRequest
from sealmarket.protocol.fitting import Side
from sealmarket.protocol.merkle import account_leaf, allowed_leaf
from sealmarket.protocol.orders import Request
from sealmarket.protocol.purposes import purposes_in_words
from sealmarket.protocol.reasons import JobReason
from sealmarket_enclave.protocol.agreement import (
    Difference,
    committee_differences,
    key_differences,
    output_differences,
    policy_differences,
    terms_differences,
)
from sealmarket_enclave.protocol.codec import ZERO_HASH
from sealmarket_enclave.protocol.job import AssetUse, enclave_key_hash
from sealmarket_enclave.protocol.policy import OutputRules, strictest
from sealmarket_enclave.runtime.errors import WorkloadFailed
from sealmarket_enclave.runtime.outputs import DeclaredOutput, check_declared


def owners_clauses(unsigned: UnsignedRequest, facts: MarketFacts) -> Iterator[Clause]:
    """Every clause of the owners' policies, of each alone and of all together, that the request does not keep."""
    for asset in facts.assets:
        yield from _of_one(unsigned, asset, facts)
    policies = [asset.policy for asset in facts.assets if asset.policy is not None]
    if len(policies) == len(facts.assets):
        yield from _of_all(unsigned, facts, [policy.document.output for policy in policies])


def _of_one(unsigned: UnsignedRequest, asset: AssetFacts, facts: MarketFacts) -> Iterator[Clause]:
    whose = Side(asset.limit, asset.state).name
    for what in asset.lacking:
        yield of_reason(JobReason.CONTENT_MISSING, whose, f"its {what}", "not in the store", "in the store")
    policy = asset.policy
    if policy is None:
        expected = "a policy that reads"
        yield of_reason(JobReason.POLICY_MISSING, whose, "its policy", asset.missing or "not in the store", expected)
        return
    request, document = unsigned.request, policy.document
    for difference in _disagreements(asset, policy, facts):
        yield _difference(JobReason.POLICY_INVALID, whose, difference)
    allowed = asset.state.terms.purposes & document.terms.purposes
    if not request.purpose or request.purpose & ~allowed:
        found, expected = purposes_in_words(request.purpose), purposes_in_words(allowed)
        yield of_reason(JobReason.PURPOSE_NOT_ALLOWED, whose, "the purpose", found, expected)
    if request.workload_digest not in document.workloads:
        expected = f"one of the {len(document.workloads)} that its policy lists"
        yield of_reason(JobReason.WORKLOAD_NOT_ALLOWED, whose, "the workload", request.workload_digest, expected)
    else:
        yield from _pair(request, asset, policy, whose)
    for difference in key_differences(document, [enclave_key_hash(key) for key in unsigned.result_keys]):
        yield _difference(JobReason.OWNER_KEY_MISSING, whose, difference)
    yield from _consumer(request, asset, policy, facts, whose)


def _disagreements(asset: AssetFacts, policy: OwnersPolicy, facts: MarketFacts) -> Iterator[Difference]:
    document, epoch = policy.document, asset.state.epoch
    yield from policy_differences(document, use_of(asset), epoch)
    if (committee := facts.rules.committees.get(epoch)) is not None:
        yield from committee_differences(document, committee.ref)
    yield from terms_differences(asset.state.terms, document.terms)


def _pair(request: Request, asset: AssetFacts, policy: OwnersPolicy, whose: str) -> Iterator[Clause]:
    """The enclaves of the requested TEE that the owner allows, and whether one is listed with the workload on chain."""
    of_tee = [found for found in enclaves(policy.rules) if found.tee == request.tee]
    if not of_tee:
        kinds = ", ".join(sorted({found.tee.slug for found in enclaves(policy.rules)}))
        remedy = "request a TEE of which its owner allows an enclave"
        yield Clause("tee_not_allowed", whose, "the TEE", request.tee.slug, f"one of {kinds}", remedy)
        return
    leaves = {allowed_leaf(found.tee, found.digest(), request.workload_digest) for found in of_tee}
    if asset.pairs is not None and asset.pairs.isdisjoint(leaves):
        expected = "the workload with an enclave of that TEE on its list on chain"
        yield of_reason(JobReason.PAIR_NOT_ON_CHAIN, whose, "the workload", request.workload_digest, expected)


def _consumer(
    request: Request, asset: AssetFacts, policy: OwnersPolicy, facts: MarketFacts, whose: str
) -> Iterator[Clause]:
    root = policy.document.terms.consumer_root
    if root in (ZERO_HASH, asset.state.terms.consumer_root):
        return
    if facts.prove(root, account_leaf(request.consumer)) is None:
        expected = "among those whom its policy admits"
        yield of_reason(JobReason.POLICY_INVALID, whose, "the consumer", request.consumer.checksum, expected)


def _of_all(unsigned: UnsignedRequest, facts: MarketFacts, rules: list[OutputRules]) -> Iterator[Clause]:
    uses = [use_of(asset) for asset in facts.assets]
    differences = list(output_differences(uses, rules))
    for difference in differences:
        yield _difference(JobReason.OUTPUT_RULES_UNMET, "the owners together", difference)
    if any(difference.field in ("media_types", "validators") for difference in differences):
        return
    together = strictest(tuple(rules))
    for output in unsigned.workload.manifest.outputs:
        try:
            check_declared({output.name: DeclaredOutput(output.media_type, output.max_bytes)}, together)
        except WorkloadFailed:
            expected = f"one of {', '.join(together.media_types)}"
            remedy = "choose a workload whose outputs every owner allows: the job would fail, and be paid in full"
            what = f"output {output.name} of the workload"
            yield Clause("outputs_not_allowed", "the owners together", what, output.media_type, expected, remedy)


def use_of(asset: AssetFacts) -> AssetUse:
    """An asset as the job would use it, at its standing price."""
    limit, state = asset.limit, asset.state
    return AssetUse(
        asset_id=limit.asset_id,
        owner=state.owner,
        version=limit.version,
        terms_version=limit.terms_version,
        seal_hash=state.seal_hash,
        price=state.terms.price,
        epsilon=limit.epsilon,
    )


def _difference(reason: JobReason, whose: str, difference: Difference) -> Clause:
    what = f"{difference.field.replace('_', ' ')} of the {str(difference.document).replace('_', ' ')}"
    return of_reason(reason, whose, what, difference.found, difference.expected)
