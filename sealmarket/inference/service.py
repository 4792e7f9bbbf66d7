"""Is this the enclave that the committee accepted, and would the user accept it too? Asked once for each service.

1. The market is the one of the address book, by its code (the caller's :class:`VerifiedMarket`).
2. The job is of kind session, Accepted at a final block, and not over.
3. The session terms have the hash that the job names, and are within every owner's rules for services.
4. Policies, match, evidence and decision hold, by the same rules as ``sealmarket verify`` (:mod:`sealmarket.receipts`).
5. The evidence is right under the user's own policy, where there is one.
6. The key to which requests are sealed has the attested hash; the enclave's signer is the accepted one.

A check that cannot be made counts as failed, but for one: the nodes' single signatures, which the market counted.
"""

from __future__ import annotations

from dataclasses import dataclass

from msgspec import UNSET, UnsetType
from msgspec.structs import replace

from sealmarket.attestation.policy.rules import AppraisalPolicy
from sealmarket.attestation.policy.verify import authenticate
from sealmarket.attestation.raw import parse_endorsements, parse_raw
from sealmarket.chain import Block
from sealmarket.inference.errors import ServiceNotProven
from sealmarket.protocol.decisions import grade_name
from sealmarket.protocol.services import ServiceDocument
from sealmarket.protocol.transitions import Status
from sealmarket.protocol.wire import EvidencePackage
from sealmarket.receipts.bundle import ProofBundle
from sealmarket.receipts.evidence import appraise_disclosed
from sealmarket.receipts.model import State, Step, Trusted, moment
from sealmarket.receipts.steps import STEPS
from sealmarket_enclave.protocol.agreement import serving_differences
from sealmarket_enclave.protocol.codec import Address, Bytes32, Bytes48, Shape
from sealmarket_enclave.protocol.hashing import sha256
from sealmarket_enclave.protocol.job import JobSpec
from sealmarket_enclave.protocol.numbers import Grade, JobId, Kind, Tee
from sealmarket_enclave.protocol.policy import Serving, strictest_serving
from sealmarket_enclave.protocol.session import SessionTerms, weights_hash
from sealmarket_enclave.sealed.contexts import SessionInfo
from sealmarket_enclave.sealed.errors import InvalidHpkeKey
from sealmarket_enclave.sealed.hpke import PublicKey

_CHECKED = 4
"""Of the steps of a receipt: policy, match, evidence, decision. The others are about a job's end."""
_COUNTED_BY_MARKET = "a quorum signed it"


class ServiceFacts(Shape, frozen=True, kw_only=True):
    """What was proven of a service, for receipts and for people. It holds nothing secret."""

    chain_id: int
    market: Address
    job_id: JobId
    evidence_hash: Bytes32
    enclave_signer: Address
    enclave_key_hash: Bytes32
    workload: Bytes32
    weights: Bytes32
    provider: Address
    grade: str
    tee: str
    quote_sha256: Bytes32
    registers: tuple[Bytes48, ...] = ()
    """What an Attested Inference Receipt names: MRTD, RTMR0 and RTMR1 of TDX, PCR0 to PCR2 of Nitro; else nothing."""
    meter: Bytes32 | UnsetType = UNSET
    """What counts the units of prompts and answers; absent where the workload's own count is taken."""
    unit_price: str
    end: int
    proven_at: int
    """The final block's time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """A service that may be asked."""

    facts: ServiceFacts
    spec: JobSpec
    terms: SessionTerms
    serving: Serving
    """The strictest of the owners' rules for requests."""
    key: PublicKey
    steps: tuple[Step, ...]
    block: Block

    @property
    def info(self) -> SessionInfo:
        """What each request is bound to."""
        return SessionInfo(
            chain_id=self.facts.chain_id,
            market=self.facts.market,
            job_id=self.facts.job_id,
            evidence_hash=self.facts.evidence_hash,
            enclave_key=self.facts.enclave_key_hash,
        )

    @property
    def simulated(self) -> bool:
        """Whether no hardware stands behind it."""
        return self.facts.grade == Grade.SIMULATED.name.lower()


def prove_service(
    document: ServiceDocument,
    package: EvidencePackage,
    trusted: Trusted,
    *,
    own: AppraisalPolicy | None = None,
    allow_simulated: bool = False,
) -> Service:
    """Hold what a host says of a service against the chain. Pure.

    Args:
        trusted: address book, chain facts at a final block, and trust anchors; all three are needed.
        own: the user's policy for evidence.

    Raises:
        ServiceNotProven: naming the check.
    """
    if trusted.book is None or trusted.facts is None or trusted.roots is None:
        raise ServiceNotProven("what to compare with", "address book, chain and trust anchors", "not all of them")
    record = trusted.facts.record
    _require("status of the job", Status.ACCEPTED.name, record.status.name)
    _require("kind of the job", Kind.SESSION.name, record.spec.kind.name)
    _require("specification", record.spec, document.spec)
    _require("hash of the session terms", record.spec.extension_hash, document.terms.struct_hash())
    now = trusted.facts.at.timestamp
    if now >= document.terms.end:
        raise ServiceNotProven("end of the service", f"after the block's time {now}", document.terms.end)
    bundle = _bundle(document, package, trusted)
    steps = _steps(bundle, trusted)
    serving = _serving(document)
    if bundle.core.grade == Grade.SIMULATED and not allow_simulated:
        raise ServiceNotProven("grade", "hardware", "simulated", "say --allow-simulated to try a virtual device")
    if own is not None:
        for check in appraise_disclosed(bundle, package, trusted, "your own policy", own):
            if check.state is not State.OK:
                raise ServiceNotProven(check.what, check.expected, check.found)
    try:
        key = PublicKey(document.enclave_key)
    except InvalidHpkeKey as error:
        raise ServiceNotProven("key of the enclave", "an HPKE public key", error.message) from error
    _require("hash of the enclave's key", bundle.core.enclave_key_hash, key.digest)
    facts = _facts(bundle, document, trusted.facts.at, _registers(bundle, package, trusted))
    facts = replace(facts, meter=serving.meter)
    return Service(
        facts=facts,
        spec=document.spec,
        terms=document.terms,
        serving=serving,
        key=key,
        steps=steps,
        block=trusted.facts.at,
    )


def owners_rules(document: ServiceDocument, spec: JobSpec) -> Serving:
    """The owners' rules for requests, of the policies that a job's specification names by hash. Pure.

    Raises:
        ServiceNotProven: a host shows other policies, or terms that they do not allow.
    """
    shown = list(zip(document.seals, document.policies, strict=False))
    _require("number of policies", len(spec.assets), min(len(document.seals), len(document.policies)))
    for use, (seal, policy) in zip(spec.assets, shown, strict=True):
        _require("hash of a seal", use.seal_hash, seal.hash())
        _require("hash of a policy", seal.policy_hash, policy.digest())
    return _serving(replace(document, spec=spec))


def _serving(document: ServiceDocument) -> Serving:
    """The owners' rules for requests, once the policies are proven."""
    rules = [policy.serving for policy in document.policies]
    for difference in serving_differences(document.spec, document.terms, rules):
        what = f"{difference.document}: {difference.field}"
        raise ServiceNotProven(what, difference.expected, difference.found)
    return strictest_serving(tuple(rule for rule in rules if rule is not UNSET))


def _registers(bundle: ProofBundle, package: EvidencePackage, trusted: Trusted) -> tuple[Bytes48, ...]:
    """The registers of evidence that was appraised, where an Attested Inference Receipt has names for them."""
    assert trusted.roots is not None
    endorsements = parse_endorsements(package.tee, package.collateral)
    evidence = parse_raw(package.tee, package.quote)
    claims = authenticate(evidence, endorsements, trusted.roots, moment(bundle, trusted)).claims()
    if package.tee is Tee.TDX:
        return tuple(Bytes48(bytes.fromhex(claims[name])) for name in ("mr_td", "rtmr0", "rtmr1"))
    if package.tee is Tee.NITRO:
        return tuple(Bytes48(bytes.fromhex(claims["pcrs"][name])) for name in ("0", "1", "2"))
    return ()


def _require(what: str, expected: object, found: object) -> None:
    if expected != found:
        raise ServiceNotProven(what, str(expected)[:200], str(found)[:200])


def _bundle(document: ServiceDocument, package: EvidencePackage, trusted: Trusted) -> ProofBundle:
    """The documents of the service as those of a job that has not ended."""
    facts = trusted.facts
    assert facts is not None
    assert trusted.book is not None
    core = facts.record.decision
    if core is None:
        raise ServiceNotProven("decision", "one on chain", "none")
    _require("hash of the evidence", core.evidence_hash, document.evidence_hash)
    return ProofBundle(
        book=trusted.book,
        job_id=facts.record.job_id,
        spec=document.spec,
        seals=document.seals,
        policies=document.policies,
        evidence_hash=document.evidence_hash,
        evidence=package,
        core=core,
        decisions=(),
        releases=(),
        capability=package.capability or None,
    )


def _steps(bundle: ProofBundle, trusted: Trusted) -> tuple[Step, ...]:
    steps = tuple(
        Step(number, rule.name, rule.about, tuple(rule.checks(bundle, trusted)))
        for number, rule in enumerate(STEPS[:_CHECKED], 1)
    )
    for step in steps:
        for check in step.checks:
            counted = check.state is State.UNKNOWN and check.what == _COUNTED_BY_MARKET
            if check.state not in (State.OK, State.NOTHING) and not counted:
                raise ServiceNotProven(f"{step.name}: {check.what}", check.expected or "a check", check.found)
    return steps


def _facts(
    bundle: ProofBundle, document: ServiceDocument, block: Block, registers: tuple[Bytes48, ...]
) -> ServiceFacts:
    core, spec, package = bundle.core, bundle.spec, bundle.evidence
    assert package is not None
    return ServiceFacts(
        chain_id=bundle.book.chain_id,
        market=bundle.book.market,
        job_id=bundle.job_id,
        evidence_hash=core.evidence_hash,
        enclave_signer=core.enclave_signer,
        enclave_key_hash=core.enclave_key_hash,
        workload=spec.workload_digest,
        weights=weights_hash(seal.content_root for seal in bundle.seals),
        provider=spec.provider,
        grade=grade_name(core.grade),
        tee=package.tee.slug,
        quote_sha256=sha256(package.quote),
        registers=registers,
        unit_price=str(int(document.terms.unit_price)),
        end=document.terms.end,
        proven_at=block.timestamp,
    )
