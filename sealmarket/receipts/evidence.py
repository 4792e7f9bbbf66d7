"""Step 3 of :mod:`sealmarket.receipts.verify`: the evidence of the provider's enclave. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING

from sealmarket.attestation.collateral.trust_anchors import TrustAnchors
from sealmarket.attestation.core.model import AppraisalResult, CompositeResult
from sealmarket.attestation.policy.verify import Expected, demands_devices, verify
from sealmarket.attestation.raw import parse_endorsements, parse_machine, parse_raw
from sealmarket.chain.committees import core_of
from sealmarket.protocol.book import Committee
from sealmarket.protocol.capability import Capability
from sealmarket.protocol.wire import EvidencePackage, SignedDecision
from sealmarket.receipts.bundle import ProofBundle
from sealmarket.receipts.model import (
    Check,
    State,
    Trusted,
    committee_of,
    holds,
    moment,
    same,
    shown,
    undisclosed,
    unknown,
)
from sealmarket_enclave.protocol.codec import ZERO_HASH, decode_canonical, from_builtins
from sealmarket_enclave.protocol.errors import SealmarketError
from sealmarket_enclave.protocol.hashing import keccak
from sealmarket_enclave.protocol.job import enclave_key_hash, evidence_hash, report_data
from sealmarket_enclave.protocol.numbers import Grade
from sealmarket_enclave.protocol.signing import SignatureRefused, recover

if TYPE_CHECKING:
    from sealmarket.attestation.policy.rules import AppraisalPolicy

_APPRAISED, _APPRAISABLE = "authentic, and acceptable", "evidence that can be appraised"
NO_CHAIN = "no chain to compare with: give --rpc and --book"


def evidence_checks(bundle: ProofBundle, trusted: Trusted) -> Iterator[Check]:
    """Its hash and time on chain; what is disclosed of it, and whether the nodes judged by that."""
    if trusted.facts is None:
        yield unknown("its hash was on chain before the decision", NO_CHAIN)
    else:
        record = trusted.facts.record
        yield same("the provider posted this hash", bundle.evidence_hash, record.evidence_hash)
        if record.quoted and record.decided:
            earlier = record.quoted.at.block_number < record.decided.at.block_number
            found = f"blocks {record.quoted.at.block_number} and {record.decided.at.block_number}"
            yield holds("its hash was on chain before the decision", earlier, "an earlier block", found)
    yield from _promise(bundle)
    package = bundle.evidence
    if package is None:
        yield undisclosed("the evidence itself", "it names hardware and is sealed to the parties: ask one to add it")
        return
    opened = _opened_by_nodes(bundle, trusted)
    if opened is not None:
        yield opened
        if opened.state is not State.OK:
            return  # nothing that another package shows is about what the nodes judged
    yield from _disclosed_evidence(bundle, package)
    if trusted.roots is None:
        yield undisclosed("the evidence is authentic and acceptable", "no trust anchors were given")
        return
    yield from _appraised_evidence(bundle, package, trusted)


def _promise(bundle: ProofBundle) -> Iterator[Check]:
    """The provider's capability document, if its order named one. The nodes held the evidence against it."""
    named = bundle.spec.capability_hash
    if named == ZERO_HASH:
        return
    what = "the capability document is the one that the provider promised"
    if bundle.capability is None:
        yield unknown(what, "it is not in the bundle; its hash is in the job")
        return
    yield same(what, named, keccak(bundle.capability))
    try:
        promised: object = decode_canonical(Capability, bundle.capability).tee.name
    except SealmarketError as error:
        promised = error.message
    yield same("it promises the job's kind of TEE", bundle.spec.tee.name, promised)


def _disclosed_evidence(bundle: ProofBundle, package: EvidencePackage) -> Iterator[Check]:
    key_hash = enclave_key_hash(package.enclave_key)
    hashed = evidence_hash(package.quote, package.enclave_signer, key_hash, package.block_hash)
    yield same("the evidence is the one that was hashed", bundle.evidence_hash, hashed)
    yield same("it names this job", bundle.job_id, package.job_id)
    yield same("it is of the promised kind of TEE", bundle.spec.tee.name, package.tee.name)
    yield same("it names the accepted signer", bundle.core.enclave_signer, package.enclave_signer)
    yield same("it names the accepted key", bundle.core.enclave_key_hash, key_hash)


def _opened_by_nodes(bundle: ProofBundle, trusted: Trusted) -> Check | None:
    """Whether a quorum judged by the package that the reader opened: the evidence hash covers the quote alone.

    A provider may put another package with the same quote once the nodes have decided. That says nothing of the job: it
    refutes nothing, and proves nothing. Nor does one node alone that names another package.
    """
    committee = committee_of(bundle, trusted)
    if trusted.evidence_content is None or committee is None or not bundle.decisions:
        return None  # a package that a party passed on has no sealed bytes to compare
    signed = {one.index: one.detail for one in bundle.decisions if signed_by_member(bundle, one, committee)}
    same_package = [detail for detail in signed.values() if detail.evidence_content == trusted.evidence_content]
    expected = f"{committee.threshold} nodes that opened {trusted.evidence_content}"
    found = f"{len(same_package)} of {len(signed)} that signed"
    enough = len(same_package) >= committee.threshold
    return Check("a quorum opened this package", State.OK if enough else State.UNKNOWN, expected, found)


def _appraised_evidence(bundle: ProofBundle, package: EvidencePackage, trusted: Trusted) -> Iterator[Check]:
    from sealmarket.attestation.policy.rules import AppraisalPolicy

    for policy in bundle.policies:
        whose = f"the policy of asset {str(policy.asset_id)[:10]}…"
        try:
            rules = from_builtins(AppraisalPolicy, policy.evidence)
        except SealmarketError as error:
            yield Check(f"{_APPRAISED} to {whose}", State.FAILED, _APPRAISABLE, shown(error.message))
            continue
        yield from appraise_disclosed(bundle, package, trusted, whose, rules)


def appraise_disclosed(
    bundle: ProofBundle, package: EvidencePackage, trusted: Trusted, whose: str, rules: AppraisalPolicy
) -> Iterator[Check]:
    """Whether disclosed evidence is authentic, about this job, and acceptable to a policy: ``whose`` names it."""
    what = f"{_APPRAISED} to {whose}"
    if trusted.roots is None:
        yield undisclosed(what, "no trust anchors were given")
        return
    expected = Expected(
        report_data=report_data(
            bundle.job_id, package.enclave_signer, enclave_key_hash(package.enclave_key), package.block_hash
        ),
        tee=bundle.spec.tee,
        collected_at=moment(bundle, trusted),
    )
    try:
        verdict = _verdict(package, trusted.roots, moment(bundle, trusted), expected, rules)
    except SealmarketError as error:
        yield Check(what, State.FAILED, _APPRAISABLE, shown(error.message))
        return
    if bundle.core.grade == Grade.SIMULATED and not trusted.roots.development:
        yield undisclosed(what, "no hardware stands behind it: give its market's root by --development-root")
        return
    found = "; ".join(f"{f.reason.value}: expected {f.expected}, found {f.found}" for f in verdict.findings)
    yield holds(what, verdict.accepted, "no findings", found or "none")


def _verdict(
    package: EvidencePackage, roots: TrustAnchors, now: datetime, expected: Expected, rules: AppraisalPolicy
) -> AppraisalResult | CompositeResult:
    """As oracle nodes appraise it: with the devices of the package where the policy demands some."""
    from sealmarket.attestation.policy.composite import endorsing, verify_composite

    endorsements = parse_endorsements(package.tee, package.collateral)
    evidence, bound = parse_raw(package.tee, package.quote), package.devices
    if bound is None or not demands_devices(rules):
        return verify(evidence, endorsements, roots, now, expected, rules)
    machine = parse_machine(evidence, bound.binding, ((one.tee, one.report, one.chain) for one in bound.devices))
    endorse = endorsing(package.tee, endorsements, bound.documents)
    return verify_composite(machine, endorse, roots, now, expected, rules)


def signed_by_member(bundle: ProofBundle, signed: SignedDecision, committee: Committee) -> bool:
    """Whether a member of the committee signed this core; what its detail says is looked at apart."""
    if signed.index >= len(committee.members) or core_of(signed.decision) != core_of(bundle.core):
        return False
    try:
        signer = recover(signed.decision.digest(bundle.book.chain_id, bundle.book.market), signed.signature)
    except SignatureRefused:
        return False
    return signer == committee.members[signed.index].signer
