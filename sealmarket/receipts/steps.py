"""The rules of the eight steps of :mod:`sealmarket.receipts.verify`, from a bundle and a reader's context to checks.

Pure. Whether policies, committee and output rules agree is decided in :mod:`sealmarket_enclave.protocol.agreement`,
whether evidence is authentic and acceptable in :mod:`sealmarket.attestation`.
"""

from __future__ import annotations

from collections.abc import Iterator

from sealmarket.chain.bargain import commitment
from sealmarket.chain.committees import core_of, members_hash
from sealmarket.chain.events import JobChallenged
from sealmarket.client.draft import allow_root
from sealmarket.client.jobs import JobRecord
from sealmarket.protocol.book import Committee, Timing, Windows
from sealmarket.protocol.decisions import Outcome, grade_name
from sealmarket.protocol.timing import least_settle_window, longest_use
from sealmarket.protocol.transitions import Status
from sealmarket.receipts.bundle import ProofBundle, ReleaseProof
from sealmarket.receipts.endings import NO_RESULT, OUTCOMES, ended_checks, failure_checks
from sealmarket.receipts.envelope import opened
from sealmarket.receipts.evidence import NO_CHAIN, evidence_checks, signed_by_member
from sealmarket.receipts.model import (
    Check,
    Rule,
    State,
    Trusted,
    agrees,
    committee_of,
    holds,
    nothing,
    same,
    shown,
    unknown,
)
from sealmarket.receipts.recalls import recall_checks
from sealmarket_enclave.protocol.agreement import (
    Document,
    committee_differences,
    hash_differences,
    output_differences,
    policy_differences,
)
from sealmarket_enclave.protocol.codec import Bytes32, decode_canonical, from_builtins
from sealmarket_enclave.protocol.errors import SealmarketError
from sealmarket_enclave.protocol.hashing import Word, keccak, words
from sealmarket_enclave.protocol.job import terms_digest
from sealmarket_enclave.protocol.numbers import Grade, JobId
from sealmarket_enclave.protocol.receipt import Statement, signing_hash
from sealmarket_enclave.protocol.release import release_digest
from sealmarket_enclave.protocol.signing import SignatureRefused, personal_digest, recover
from sealmarket_enclave.sealed.result import ResultEnvelope


def _policy(bundle: ProofBundle, trusted: Trusted) -> Iterator[Check]:
    from sealmarket.attestation.policy.rules import AppraisalPolicy

    spec, committee = bundle.spec, committee_of(bundle, trusted)
    counts = (len(bundle.seals), len(bundle.policies))
    yield holds("every asset has its seal and policy", set(counts) == {len(spec.assets)}, len(spec.assets), counts)
    for use, seal, policy in zip(spec.assets, bundle.seals, bundle.policies, strict=False):
        name = f"asset {str(use.asset_id)[:10]}… version {use.version}"
        yield same(f"{name}: the seal is the one that the job names", use.seal_hash, seal.hash())
        sealed = hash_differences(Document.POLICY, policy.canonical(), seal.policy_hash)
        yield from agrees(f"{name}: the policy is the one that was sealed", sealed)
        yield from agrees(f"{name}: the policy is about it", policy_differences(policy, use, spec.epoch))
        if committee is not None:
            dealt = committee_differences(policy, committee.ref)
            yield from agrees(f"{name}: the policy names the committee of the job", dealt)
        allowed = spec.workload_digest in policy.workloads
        yield holds(
            f"{name}: the workload is allowed", allowed, spec.workload_digest, f"{len(policy.workloads)} allowed"
        )
        outside = spec.purpose & ~policy.terms.purposes
        yield holds(
            f"{name}: the purpose is allowed",
            bool(spec.purpose) and outside == 0,
            f"within {policy.terms.purposes:#x}",
            f"{spec.purpose:#x}",
        )
        yield _reached(f"{name}: the evidence reaches its grade", policy.terms.min_grade, bundle.core.grade)
        try:
            rules = from_builtins(AppraisalPolicy, policy.evidence)
            root: object = allow_root(rules, policy.workloads)
        except SealmarketError as error:
            root = error.message
        yield same(f"{name}: its list of allowed pairs is its terms' root", policy.terms.allow_root, root)
    yield from _registered(bundle, trusted)
    met = output_differences(spec.assets, [policy.output for policy in bundle.policies])
    yield from agrees("the owners' output rules can hold together", met)


def _registered(bundle: ProofBundle, trusted: Trusted) -> Iterator[Check]:
    """What the registry recorded of each version, which no owner can change."""
    versions = trusted.facts.versions if trusted.facts is not None else ()
    for use, state in zip(bundle.spec.assets, versions, strict=False):
        name = f"asset {str(use.asset_id)[:10]}… version {use.version}: the registry"
        yield same(f"{name} recorded this seal", use.seal_hash, state.seal_hash)
        yield same(f"{name} recorded this owner", use.owner, state.owner)
        yield same(f"{name} recorded the job's epoch", bundle.spec.epoch, state.epoch)


def _match(bundle: ProofBundle, trusted: Trusted) -> Iterator[Check]:
    book, spec = bundle.book, bundle.spec
    yield same("the job's id is that of its specification", spec.job_id(book.chain_id, book.market), bundle.job_id)
    if trusted.book is None:
        yield unknown("this is the market that you know", "no address book was given: give --book")
    else:
        wanted = (trusted.book.chain_id, trusted.book.market, trusted.book.registry, trusted.book.committee)
        found = (book.chain_id, book.market, book.registry, book.committee)
        yield same("this is the market that you know", wanted, found)
    if trusted.facts is None:
        yield unknown("the market matched exactly this job", NO_CHAIN)
        return
    yield same("the market matched exactly this job", trusted.facts.record.spec, spec)
    yield from _limits(bundle, (trusted.book or book).timing)
    rule = (trusted.book or book).finality.describe()
    where = f"block {trusted.facts.at.number} {trusted.facts.at.hash}; what counts: {rule}"
    yield holds("it is read at a final block", trusted.facts.final, f"a block that counts: {rule}", where)


def _limits(bundle: ProofBundle, timing: Timing) -> Iterator[Check]:
    """What the match had to keep, as far as the job and the sealed policies show it."""
    spec = bundle.spec
    least = least_settle_window(timing, spec.run_seconds, spec.read_seconds, spec.validate_seconds)
    yield _at_least("the settle window leaves time for every stage", least, spec.settle_window)
    windows = Windows(spec.quote_window, spec.decide_window, spec.settle_window, spec.challenge_window)
    for policy in bundle.policies:
        held, most = longest_use(windows), policy.terms.max_hold
        name = f"asset {str(policy.asset_id)[:10]}…: the job holds its use no longer than its terms allow"
        yield holds(name, held <= most, f"at most {most} s", f"{held} s")
    share = max((policy.terms.timeout_share for policy in bundle.policies), default=0)
    owners = sum(use.price for use in spec.assets)
    due = spec.timeout_fee + -(-owners * share // 100)
    yield _at_least("the timeout limit covers the provider's fee and the owners' share", due, spec.timeout_limit)
    assets = {use.asset_id for use in spec.assets}
    yield same("each asset stands in it once", len(spec.assets), len(assets))


def _at_least(what: str, least: int, found: int) -> Check:
    return holds(what, found >= least, f"at least {int(least)}", str(int(found)))


def _evidence(bundle: ProofBundle, trusted: Trusted) -> Iterator[Check]:
    yield from evidence_checks(bundle, trusted)
    yield from recall_checks(bundle, trusted)


def _decision(bundle: ProofBundle, trusted: Trusted) -> Iterator[Check]:
    core = bundle.core
    yield same("it is about this job", bundle.job_id, core.job_id)
    yield same("it is about this evidence", bundle.evidence_hash, core.evidence_hash)
    yield same("it accepts", Outcome.ACCEPTED.name, core.outcome.name)
    yield _reached("its grade is the one that the job demands", bundle.spec.min_grade, core.grade)
    if len(bundle.seals) == len(bundle.spec.assets):
        yield same("it binds these terms", terms_digest(bundle.spec.assets, bundle.seals), core.terms_digest)
    committee = committee_of(bundle, trusted)
    if committee is None:
        yield Check("the committee is known", State.FAILED, f"a committee of epoch {bundle.spec.epoch}", "none")
        return
    yield from _signatures(bundle, committee)
    if trusted.facts is None:
        yield unknown("the market carried this decision out", NO_CHAIN)
        return
    ours = members_hash(committee, trusted.facts.removed_members)
    yield same("these nodes are the committee on chain", ours, trusted.facts.committee_hash)
    found = trusted.facts.record.decision
    yield same("the market carried this decision out", core_of(core), core_of(found) if found else None)


def _signatures(bundle: ProofBundle, committee: Committee) -> Iterator[Check]:
    if not bundle.decisions:
        yield unknown("a quorum signed it", "no node disclosed its signature; the market counted them when it decided")
        return
    good = _signers(bundle, committee)
    enough = len(good) >= committee.threshold
    yield holds(
        "a quorum signed it", enough, f"{committee.threshold} of {len(committee.members)}", f"{len(good)} signed"
    )
    for signed in bundle.decisions:
        detail = keccak(signed.detail.canonical())
        yield same(f"node {signed.index}: its detail is the one that it signed", signed.decision.detail, detail)


def _signers(bundle: ProofBundle, committee: Committee) -> frozenset[int]:
    """The members who signed the decision; each signature in the bundle is looked at once."""
    return frozenset(signed.index for signed in bundle.decisions if signed_by_member(bundle, signed, committee))


def _release(bundle: ProofBundle, trusted: Trusted) -> Iterator[Check]:
    committee = committee_of(bundle, trusted)
    if _has_no_word(trusted):
        yield nothing("enough nodes released", NO_RESULT)
        return
    if not bundle.releases or committee is None:
        yield unknown("enough nodes released", "no node disclosed what it sent; without shares there is no result")
        return
    wanted = [use.asset_id for use in bundle.spec.assets]
    accepters = _signers(bundle, committee)
    good = set()
    for release in bundle.releases:
        right = _released_by_member(bundle, release, committee)
        yield holds(f"node {release.index} signed what it sent", right, "its signature over these ciphertexts", right)
        assets = [share.asset_id for share in release.sent]
        yield same(f"node {release.index} sent a share of each asset", wanted, assets)
        accepted = not bundle.decisions or release.index in accepters
        yield holds(f"node {release.index} had accepted itself", accepted, "its own acceptance", accepted)
        if right:
            good.add(release.index)
    if len(good) < committee.threshold:
        yield unknown("enough nodes released", f"{len(good)} disclose it, {committee.threshold} are needed for a key")
    else:
        yield holds("enough nodes released", True, f"at least {committee.threshold}", len(good))


def _released_by_member(bundle: ProofBundle, release: ReleaseProof, committee: Committee) -> bool:
    if release.index >= len(committee.members):
        return False
    sent = [(share.asset_id, share.sent_hash) for share in release.sent]
    digest = release_digest(bundle.job_id, bundle.evidence_hash, release.index, sent)
    try:
        return recover(personal_digest(digest), release.signature) == committee.members[release.index].signer
    except SignatureRefused:
        return False


def _statement(bundle: ProofBundle) -> tuple[Statement, object, object]:
    statement, named, signature = opened(bundle.envelope)
    return statement, named, recover(signing_hash(statement), signature)


def _has_no_word(trusted: Trusted) -> bool:
    """Whether the chain says that the job ended by a row for which its enclave signs nothing."""
    record = trusted.facts.record if trusted.facts else None
    return record is not None and record.ended is not None and record.settled is None and record.failed is None


def _receipt(bundle: ProofBundle, trusted: Trusted) -> Iterator[Check]:
    if bundle.receipt is None:
        missing = nothing if _has_no_word(trusted) else unknown
        yield missing("the enclave's statement", f"{NO_RESULT}, or its receipt was left out")
        return
    try:
        statement, named, signer = _statement(bundle)
    except SealmarketError as error:
        yield Check("the receipt is a signed statement", State.FAILED, "one statement, one signature", error.message)
        return
    predicate, spec, core = statement.predicate, bundle.spec, bundle.core
    yield same("the accepted enclave signed it", core.enclave_signer, signer)
    yield same("it names its signer", signer, named)
    pairs: list[tuple[str, object, object]] = [
        ("chain", bundle.book.chain_id, predicate.chain_id),
        ("market", bundle.book.market, predicate.market),
        ("job", bundle.job_id, predicate.job_id),
        ("evidence", bundle.evidence_hash, predicate.evidence_hash),
        ("enclave key", core.enclave_key_hash, predicate.enclave_key_hash),
        ("workload", spec.workload_digest, predicate.workload_digest),
        ("parameters", spec.parameters_digest, predicate.parameters_digest),
        ("terms", core.terms_digest, predicate.terms_digest),
        ("outcome", _outcome(bundle), predicate.outcome),
    ]
    for what, expected, found in pairs:
        yield same(f"it names the right {what}", expected, found)
    inputs = [
        (use.asset_id, use.version, seal.content_root, seal.policy_hash)
        for use, seal in zip(spec.assets, bundle.seals, strict=False)
    ]
    named_inputs = [(i.asset_id, i.asset_version, i.content_root, i.policy_hash) for i in predicate.inputs]
    yield same("it names exactly the job's inputs", inputs, named_inputs)
    simulated = "simulated" in predicate.platform.lower() or "virtual" in predicate.platform.lower()
    honest = simulated == (core.grade == Grade.SIMULATED)
    yield holds("it calls simulated evidence simulated", honest, grade_name(core.grade), predicate.platform)


def _outcome(bundle: ProofBundle) -> str:
    return OUTCOMES[bundle.failure.failure.cause] if bundle.failure else "completed"


def _result(bundle: ProofBundle, trusted: Trusted) -> Iterator[Check]:
    if bundle.failure is not None or bundle.receipt is None:
        yield same("there is no result of a job that failed", None, bundle.result)
        if _has_no_word(trusted):
            yield nothing("why there is no result", "the enclave signed nothing; the market's record has the row")
        else:
            yield from failure_checks(bundle)
        return
    try:
        statement, _, _ = _statement(bundle)
        digests = statement.subject[0].digest if len(statement.subject) == 1 else {}
        named = Bytes32(bytes.fromhex(digests.get("keccak256", "")))
    except (SealmarketError, ValueError) as error:
        yield Check("the receipt names its result", State.FAILED, "one Keccak-256 digest", shown(error))
        return
    if bundle.result is None:
        yield unknown("the sealed result itself", "it is not in the bundle; its hash is in the receipt")
    else:
        yield same("the sealed result is the receipt's", named, keccak(bundle.result))
        try:
            envelope = decode_canonical(ResultEnvelope, bundle.result)
            yield same("it is this job's", bundle.job_id, envelope.job_id)
            yield same(
                "its content is the receipt's", digests.get("sealmarketContentRoot"), envelope.content_root.hex()
            )
        except SealmarketError as error:
            yield Check("it is a sealed result", State.FAILED, "a result envelope", shown(error.message))
    if bundle.settlement is None:
        yield unknown("the enclave's settlement", "not in the bundle; the market checked it when it settled")
        return
    settlement, signature = bundle.settlement.settlement, bundle.settlement.signature
    try:
        signer: object = recover(settlement.digest(bundle.book.chain_id, bundle.book.market), signature)
    except SignatureRefused as error:
        signer = error.message
    yield same("the accepted enclave signed the settlement", bundle.core.enclave_signer, signer)
    wanted = (bundle.job_id, named, keccak(bundle.receipt), statement.predicate.units, True)
    found = (settlement.job_id, settlement.result_hash, settlement.receipt_hash, settlement.units, settlement.last)
    yield same("it is for this job, result, receipt and usage", wanted, found)


def _settled(bundle: ProofBundle, trusted: Trusted) -> Iterator[Check]:
    if trusted.facts is None:
        yield unknown("the market settled exactly this", NO_CHAIN)
        return
    record, spec = trusted.facts.record, bundle.spec
    settled = record.settled
    if settled is None:
        yield from ended_checks(bundle, record)
        return
    yield same("the market recorded this receipt", keccak(bundle.receipt or b""), settled.receipt_hash)
    if bundle.result is not None:
        yield same("the market recorded this result", keccak(bundle.result), settled.result_hash)
    yield same("the market's slot commits to both", settled_commitment(bundle, record), record.slot.commitment)
    good = record.status in {Status.SETTLED, Status.MATURED, Status.CHALLENGED}
    yield holds("the settlement stands", good, "settled or matured", record.status.name.lower())
    earned = spec.compute_price + spec.unit_price * settled.units
    yield same("the provider earns its price and what was metered", earned, int(settled.payable))
    unused = spec.unit_price * (spec.max_units - settled.units)
    yield same("the payer gets back what was not metered", unused, int(settled.refunded))
    if record.payout is not None and record.status is Status.MATURED:
        yield holds("the provider was paid", record.payout.paid >= earned, earned, int(record.payout.paid))
    if trusted.facts.slot_proven:
        yield holds(
            "the slot is proven under the block hash that you named", True, trusted.facts.at.hash, "a storage proof"
        )
    if agreeing := trusted.facts.agreeing:
        what = f"slot and events are proven under blocks on which {agreeing} of your endpoints agree"
        yield holds(what, True, trusted.facts.at.hash, "storage proofs and receipts")


def _reached(what: str, least: int, found: int) -> Check:
    return holds(what, found >= least, f"{grade_name(least)} or better", grade_name(found))


def settled_commitment(bundle: ProofBundle, record: JobRecord) -> bytes:
    """What a settled job's slot commits to: the bundle's job, the receipt, and the challenger if there was one.

    It stays through acknowledgement and maturity (docs/spec/typed-data.md, "On the chain's side").
    """
    settled = record.settled
    assert settled is not None
    stage: list[Word] = [settled.result_hash, settled.receipt_hash, settled.units]
    stage += [event.challenger for event in record.history if isinstance(event, JobChallenged)][-1:]
    return commitment(bundle.spec, JobId(bundle.job_id), keccak(words(*stage)))


STEPS: tuple[Rule, ...] = (
    Rule("policy", "Each owner's policy, under the seal that the job names.", _policy),
    Rule("match", "The job's id, and that this market matched the job.", _match),
    Rule("evidence", "The evidence of the provider's enclave, and its time.", _evidence),
    Rule("decision", "The enclave that the committee accepted, and the terms.", _decision),
    Rule("release", "The nodes that sent their shares to that enclave.", _release),
    Rule("receipt", "The enclave's signed statement.", _receipt),
    Rule("result", "The result, sealed to the consumer.", _result),
    Rule("settlement", "The hashes and amounts that the market recorded.", _settled),
)
