"""Whether statements about platforms that the reader holds name the machine of a job. Pure.

A node is not at fault that accepted such a job: operators choose whose statements they apply. So nothing here refutes.
"""

from __future__ import annotations

from collections.abc import Iterator

from sealmarket.attestation.collateral.trust_anchors import TrustAnchors
from sealmarket.attestation.policy.composite import endorsing, prove
from sealmarket.attestation.policy.verify import authenticate
from sealmarket.attestation.raw import parse_endorsements, parse_machine, parse_raw
from sealmarket.attestation.seen import seen_of
from sealmarket.protocol.advisories import Advisory, PlatformSeen, counts_for, counts_from, names_one
from sealmarket.protocol.moments import moment as written
from sealmarket.protocol.wire import EvidencePackage
from sealmarket.receipts.bundle import ProofBundle
from sealmarket.receipts.model import Check, State, Trusted, moment, undisclosed, unknown
from sealmarket_enclave.protocol.errors import SealmarketError


def recall_checks(bundle: ProofBundle, trusted: Trusted) -> Iterator[Check]:
    """One check for each statement of the reader's."""
    if not trusted.advisories:
        return
    try:
        machines: tuple[PlatformSeen, ...] | str = _machines(bundle, trusted)
    except SealmarketError as error:
        machines = error.message
    for advisory in trusted.advisories:
        what = f"advisory {str(advisory.name())[:10]}… does not name the machine"
        if isinstance(machines, str):
            yield undisclosed(what, machines)
        elif not names_one(machines, advisory):
            yield Check(what, State.OK, "another machine", "another machine")
        elif trusted.facts is None:
            yield unknown(what, "it names the machine; whether it is anchored takes a chain: give --rpc and --book")
        else:
            anchored_at = trusted.facts.anchors.get(advisory.name(), 0)
            yield Check(what, State.NOTED, "another machine", _named(advisory, anchored_at, bundle.spec.matched_at))


def _machines(bundle: ProofBundle, trusted: Trusted) -> tuple[PlatformSeen, ...] | str:
    """What the evidence proves of its CPU and devices, or why it proves nothing."""
    package = bundle.evidence
    if package is None:
        return "the evidence names hardware and is sealed to the parties: ask one to add it"
    if trusted.roots is None:
        return "no trust anchors were given"
    return _proven(package, trusted.roots, bundle, trusted)


def _proven(
    package: EvidencePackage, roots: TrustAnchors, bundle: ProofBundle, trusted: Trusted
) -> tuple[PlatformSeen, ...]:
    now, endorsements = moment(bundle, trusted), parse_endorsements(package.tee, package.collateral)
    evidence, bound = parse_raw(package.tee, package.quote), package.devices
    reports = [authenticate(evidence, endorsements, roots, now)]
    if bound is not None:
        machine = parse_machine(evidence, bound.binding, ((one.tee, one.report, one.chain) for one in bound.devices))
        reports += prove(machine, endorsing(package.tee, endorsements, bound.documents), roots, now).reports
    return tuple(map(seen_of, reports))


def _named(advisory: Advisory, anchored_at: int, matched_at: int) -> str:
    if not anchored_at:
        return f"this one, of {advisory.title!r}; it is not anchored, so it counts for no job"
    since = written(counts_from(advisory, anchored_at))
    if counts_for(advisory, anchored_at, matched_at):
        return f"this one, of {advisory.title!r}; it counted since {since}: a node whose operator applies it refuses"
    return f"this one, of {advisory.title!r}; it counts for jobs matched from {since} on, and not for this one"
