"""One field of one document is wrong: node, enclave and verifier find exactly that difference, each in its terms."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from types import SimpleNamespace
from typing import Any, TypeVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from sealmarket.chain.model import AssetState
from sealmarket.protocol.book import Committee, Member
from sealmarket.protocol.reasons import JobReason
from sealmarket.receipts.model import State, Trusted
from sealmarket.receipts.steps import STEPS
from sealmarket_enclave.protocol.agreement import (
    Difference,
    Document,
    committee_differences,
    hash_differences,
    member_differences,
    output_differences,
    policy_differences,
    share_set_differences,
    size_differences,
    terms_differences,
)
from sealmarket_enclave.protocol.codec import Address, Bytes32, HexBytes, MicroEpsilon, canonical_json
from sealmarket_enclave.protocol.hashing import keccak
from sealmarket_enclave.protocol.job import JobSpec, Parameters, parameters_digest, result_keys_hash
from sealmarket_enclave.protocol.numbers import AssetId, FailureCause, Grade
from sealmarket_enclave.protocol.policy import OutputRules, PolicyDocument
from sealmarket_enclave.protocol.terms import Seal, Terms
from sealmarket_enclave.runtime.channel import Load
from sealmarket_enclave.runtime.errors import JobRefused
from sealmarket_enclave.runtime.job import LoadedJob, Unrunnable, check_load
from sealmarket_enclave.sealed.hpke import PrivateKey
from sealmarket_enclave.sealed.shares import Commitments, ShareMember, ShareSet
from sealmarket_oracle.errors import ShareMisdealt
from sealmarket_oracle.gate.document_rules import load_share_set, read_policy
from sealmarket_oracle.gate.inputs import AssetFacts, JobDocuments, MarketRef
from sealmarket_oracle.gate.material_rules import request_violations
from tests import samples
from tests.client.bundles import CHAIN_ID, MARKET, REGISTRY, Case
from tests.client.bundles import policy as policy_for

CASE = Case()
RESULT_KEY = bytes(PrivateKey.generate().public.raw)
PARAMETERS = Parameters(salt=Bytes32(b"\x05" * 32), values={})
MEMBERS = tuple(
    Member(signer=Address(bytes([n]) * 20), hpke_public_key=HexBytes(b"key %d" % n), url="http://node")
    for n in (1, 2, 3)
)
COMMITTEE = Committee(epoch=1, threshold=2, members=MEMBERS)
FAR = 2**52
T = TypeVar("T", Address, Bytes32)


def _policy(asset: AssetId) -> PolicyDocument:
    document = policy_for(asset, COMMITTEE)
    return replace(document, terms=replace(document.terms, min_grade=Grade.HARDWARE))


def _share_set(asset: AssetId, content: Bytes32) -> ShareSet:
    return ShareSet(
        chain_id=CHAIN_ID,
        registry=REGISTRY,
        asset_id=asset,
        asset_version=1,
        content_root=content,
        policy_hash=Bytes32(bytes(32)),
        epoch=1,
        commitments=Commitments(
            threshold=2, key_salt=Bytes32(bytes(32)), key=Bytes32(bytes(32)), shares=(keccak(b"1"),) * 3
        ),
        members=tuple(
            ShareMember(node=m.signer, hpke_key=keccak(m.hpke_public_key), sealed=keccak(b"sealed")) for m in MEMBERS
        ),
    )


@dataclass
class Job:
    """A job over two owners' assets. ``edits`` change the second owner's documents before they are hashed."""

    edits: dict[str, Callable[[Any], Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.policies: list[PolicyDocument] = []
        self.share_sets: list[ShareSet] = []
        self.seals: list[Seal] = []
        self.terms: list[Terms] = []
        uses = []
        for number in (0, 1):
            edit = self.edits.get if number else dict[str, Callable[[Any], Any]]().get
            asset, content = AssetId(keccak(b"asset %d" % number)), keccak(b"content %d" % number)
            policy = edit("policy", _same)(_policy(asset))
            shares = edit("share set", _same)(replace(_share_set(asset, content), policy_hash=policy.digest()))
            seal = Seal(
                content_root=content, content_version=1, share_root=shares.root, policy_hash=policy.digest(), epoch=1
            )
            owner = Address(bytes([0xA0 + number]) * 20)
            use = samples.asset_use(asset_id=asset, owner=owner, seal_hash=seal.hash(), price=policy.terms.price)
            self.policies.append(policy)
            self.share_sets.append(shares)
            self.seals.append(seal)
            self.terms.append(edit("terms", _same)(_policy(asset).terms))
            uses.append(edit("use", _same)(use))
        self.spec: JobSpec = replace(
            CASE.spec,
            assets=tuple(uses),
            result_keys_hash=result_keys_hash([RESULT_KEY]),
            parameters_digest=parameters_digest(PARAMETERS.salt, canonical_json(PARAMETERS.values)),
        )
        self.raw_policy = self.edits.get("raw policy", _same)(self.policies[1].canonical())
        self.raw_shares = self.edits.get("raw share set", _same)(self.share_sets[1].canonical())


def _same(value: Any) -> Any:
    return value


# --- the three callers ------------------------------------------------------------------------------------------------


def node(job: Job) -> list[tuple[object, ...]]:
    """The violations that a node finds: reason, expected, found."""
    state = AssetState(
        owner=job.spec.assets[1].owner,
        seal_hash=job.seals[1].hash(),
        epoch=1,
        terms=job.terms[1],
        terms_version=1,
        revoked=False,
        suspended=False,
        strict_version=1,
        uses_taken=0,
        budget_taken=MicroEpsilon(0),
    )
    asset = AssetFacts(use=job.spec.assets[1], seal=job.seals[1], state=state)
    documents = JobDocuments(
        policies={asset.seal.policy_hash: job.raw_policy},
        present=frozenset({job.spec.workload_digest, job.spec.parameters_digest, job.spec.result_keys_hash}),
    )
    policy, violations = read_policy(asset, documents, COMMITTEE, job.spec.consumer)
    try:
        load_share_set(
            MarketRef(chain_id=CHAIN_ID, address=MARKET, registry=REGISTRY), asset, COMMITTEE, job.raw_shares
        )
        misdealt = []
    except ShareMisdealt as error:
        misdealt = [(JobReason.SHARE_MISDEALT.value, error.expected, error.found)]
    first = SimpleNamespace(document=job.policies[0])
    case: Any = SimpleNamespace(spec=job.spec, assets=(asset, asset))
    violations += request_violations(case, documents, (first, policy))  # type: ignore[arg-type]
    return [*((v.note.reason, v.note.expected, v.note.found) for v in violations), *misdealt]


def node_terms(difference: Difference) -> tuple[object, ...]:
    """The same difference as a node names it."""
    if difference.document is Document.OUTPUT_RULES:
        expected = f"{difference.field}: {difference.expected}"
        return JobReason.OUTPUT_RULES_UNMET.value, expected, difference.found
    reason = JobReason.SHARE_MISDEALT if difference.document is Document.SHARE_SET else JobReason.POLICY_INVALID
    return reason.value, f"{difference.document}: {difference.field} {difference.expected}", difference.found


def enclave(job: Job) -> list[tuple[object, ...]]:
    """What an enclave does: kind of outcome, asset that is blamed, message."""
    load = Load(
        chain_id=CHAIN_ID,
        market=MARKET,
        job_id=job.spec.job_id(CHAIN_ID, MARKET),
        spec=job.spec.canonical(),
        seals=tuple(seal.canonical() for seal in job.seals),
        policies=(job.policies[0].canonical(), job.raw_policy),
        cards=(None, None),
        share_sets=(job.share_sets[0].canonical(), job.raw_shares),
        parameters=PARAMETERS.canonical(),
        result_keys=(RESULT_KEY,),
        workload=b"bundle",
        environment="",
        steps=(),
        block_number=7,
        block_hash=bytes(32),
    )
    try:
        _, found = check_load(load, job.spec.tee)
    except JobRefused as error:
        return [("refused", None, error.message)]
    if isinstance(found, LoadedJob):
        return []
    assert isinstance(found, Unrunnable)
    return [(found.cause, found.index, found.message)]


def enclave_terms(difference: Difference) -> tuple[object, ...]:
    """The same difference as an enclave names it."""
    if difference.document is Document.OUTPUT_RULES:
        return FailureCause.WORKLOAD, 0, str(difference)
    if difference.field == "hash":
        return "refused", None, f"asset 1: {difference}"
    return FailureCause.INPUT, 1, f"asset 1: {difference}"


def verifier(job: Job) -> list[tuple[object, ...]]:
    """The checks that fail for a reader of the receipt: expected, found."""
    bundle: Any = SimpleNamespace(
        spec=job.spec,
        seals=job.seals,
        policies=job.policies,
        core=SimpleNamespace(grade=Grade.HARDWARE),
        book=SimpleNamespace(committees=(COMMITTEE,)),
    )
    checks = STEPS[0].checks(bundle, Trusted())
    return [(check.expected, check.found) for check in checks if check.state is not State.OK]


def verifier_terms(difference: Difference) -> tuple[object, ...]:
    """The same difference as a verifier names it."""
    return f"{difference.document}: {difference.field} {difference.expected}"[:300], difference.found[:300]


# --- one field at a time ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Alteration:
    """One edit of one document, and the one difference that it makes. ``seen_by``: who holds that document.

    ``to_enclave``: an enclave compares the share set with the policy, so it names the share set for a policy's size.
    """

    edits: dict[str, Callable[[Any], Any]]
    difference: Difference
    seen_by: frozenset[str] = frozenset({"node", "enclave", "verifier"})
    to_enclave: Difference | None = None


def _other(value: T) -> st.SearchStrategy[T]:
    return st.binary(min_size=len(value), max_size=len(value)).map(type(value)).filter(lambda other: other != value)


HONEST = Job()
POLICY, SHARES, USE = HONEST.policies[1], HONEST.share_sets[1], HONEST.spec.assets[1]
SHARE_HOLDERS, CHAIN_READERS = frozenset({"node", "enclave"}), frozenset({"node"})


def _policy_field(name: str, value: Any) -> Alteration:
    expected = {"asset_id": USE.asset_id, "asset_version": USE.version}[name]
    found = Difference(Document.POLICY, name, str(expected), str(value))
    return Alteration({"policy": lambda document: replace(document, **{name: value})}, found)


def _dealing_field(name: str, value: int) -> Alteration:
    expected = getattr(POLICY.dealing, name)
    edit = lambda document: replace(document, dealing=replace(document.dealing, **{name: value}))  # noqa: E731
    found = Difference(Document.POLICY, f"dealing.{name}", str(expected), str(value))
    size = Difference(Document.SHARE_SET, name, str(value), str(expected)) if name != "epoch" else None
    return Alteration({"policy": edit}, found, to_enclave=size)


def _share_field(name: str, value: Any) -> Alteration:
    found = Difference(Document.SHARE_SET, name, str(getattr(SHARES, name)), str(value))
    seen_by = CHAIN_READERS if name == "registry" else SHARE_HOLDERS
    return Alteration({"share set": lambda shares: replace(shares, **{name: value})}, found, seen_by)


def _terms_field(name: str, value: Any, expected: str, found: str) -> Alteration:
    difference = Difference(Document.TERMS, name, expected, found)
    return Alteration({"terms": lambda terms: replace(terms, **{name: value})}, difference, CHAIN_READERS)


def _looser(name: str, excess: int) -> Alteration:
    allowed = int(getattr(POLICY.terms, name))
    kind = type(getattr(POLICY.terms, name))
    return _terms_field(name, kind(allowed + excess), f"at most {allowed}", str(allowed + excess))


def _output_field(change: dict[str, Any], difference: Difference) -> Alteration:
    edit = lambda document: replace(document, output=replace(document.output, **change))  # noqa: E731
    return Alteration({"policy": edit}, difference)


def _outputs(field_: str, expected: str, found: str) -> Difference:
    return Difference(Document.OUTPUT_RULES, field_, expected, found)


def _renamed_member(index: int, node_: Address) -> Alteration:
    member = SHARES.members[index]
    changed = replace(member, node=node_)
    members = (*SHARES.members[:index], changed, *SHARES.members[index + 1 :])
    key = member.hpke_key
    found = Difference(
        Document.SHARE_SET, f"member {index + 1}", f"{member.node} with key {key}", f"{node_} with key {key}"
    )
    return Alteration({"share set": lambda shares: replace(shares, members=members)}, found, CHAIN_READERS)


def _spent(epsilon: int) -> Alteration:
    found = _outputs("epsilon", "no privacy budget spent", f"{epsilon} micro-epsilon")
    return Alteration({"use": lambda use: replace(use, epsilon=MicroEpsilon(epsilon))}, found)


def _other_bytes(name: str, document: Document, named: Bytes32, raw: bytes) -> Alteration:
    found = Difference(document, "hash", str(named), str(keccak(raw)))
    return Alteration({name: lambda _: raw}, found, SHARE_HOLDERS)


ADDRESSES = _other(REGISTRY).filter(lambda other: other not in {m.signer for m in MEMBERS})
COUNTS = st.integers(1, 255)
EXCESS = st.integers(1, FAR)
OF_THREE = replace(SHARES.commitments, threshold=3)
OF_TWO = {"commitments": replace(SHARES.commitments, shares=SHARES.commitments.shares[:2])}
ALTERATIONS: dict[str, st.SearchStrategy[Alteration]] = {
    "policy.hash": st.binary(max_size=40).map(
        partial(_other_bytes, "raw policy", Document.POLICY, POLICY.digest()),
    ),
    "policy.asset_id": _other(USE.asset_id).map(partial(_policy_field, "asset_id")),
    "policy.asset_version": st.integers(2, 2**32 - 1).map(partial(_policy_field, "asset_version")),
    "policy.dealing.epoch": st.integers(2, 2**32 - 1).map(partial(_dealing_field, "epoch")),
    "policy.dealing.threshold": COUNTS.filter(lambda n: n != 2).map(partial(_dealing_field, "threshold")),
    "policy.dealing.members": COUNTS.filter(lambda n: n != 3).map(partial(_dealing_field, "members")),
    "share set.hash": st.binary(max_size=40).map(
        partial(_other_bytes, "raw share set", Document.SHARE_SET, SHARES.root)
    ),
    "share set.chain_id": st.integers(1, 2**32).filter(lambda n: n != CHAIN_ID).map(partial(_share_field, "chain_id")),
    "share set.registry": ADDRESSES.map(partial(_share_field, "registry")),
    "share set.asset_id": _other(SHARES.asset_id).map(partial(_share_field, "asset_id")),
    "share set.asset_version": st.integers(2, 2**32 - 1).map(partial(_share_field, "asset_version")),
    "share set.content_root": _other(SHARES.content_root).map(partial(_share_field, "content_root")),
    "share set.policy_hash": _other(SHARES.policy_hash).map(partial(_share_field, "policy_hash")),
    "share set.epoch": st.integers(2, 2**32 - 1).map(partial(_share_field, "epoch")),
    "share set.threshold": st.just(
        Alteration(
            {"share set": lambda shares: replace(shares, commitments=OF_THREE)},
            Difference(Document.SHARE_SET, "threshold", "2", "3"),
            SHARE_HOLDERS,
        )
    ),
    "share set.members": st.just(
        Alteration(
            {"share set": lambda shares: replace(shares, members=shares.members[:2], **OF_TWO)},
            Difference(Document.SHARE_SET, "members", "3", "2"),
            SHARE_HOLDERS,
        )
    ),
    "share set.member": st.builds(_renamed_member, st.integers(0, 2), ADDRESSES),
    "terms.expiry": EXCESS.map(partial(_looser, "expiry")),
    "terms.max_uses": st.integers(1, 2**31).map(partial(_looser, "max_uses")),
    "terms.budget": EXCESS.map(partial(_looser, "budget")),
    "terms.per_job_cap": EXCESS.map(partial(_looser, "per_job_cap")),
    "terms.purposes": st.integers(1, 2**31 - 1)
    .map(lambda bits: POLICY.terms.purposes | bits << 1)
    .map(lambda wide: _terms_field("purposes", wide, f"within {POLICY.terms.purposes:#x}", f"{wide:#x}")),
    "terms.min_grade": st.just(_terms_field("min_grade", Grade.SIMULATED, "HARDWARE or better", "SIMULATED")),
    "terms.token": _other(POLICY.terms.token).map(
        lambda token: _terms_field("token", token, str(POLICY.terms.token), str(token))
    ),
    "terms.timeout_share": st.integers(0, 99).map(
        lambda share: _terms_field("timeout_share", share, "100 percent or more", str(share))
    ),
    "terms.max_hold": st.integers(1, 2**31).map(partial(_looser, "max_hold")),
    "output.media_types": st.sampled_from(["text/csv", "application/onnx"]).map(
        lambda kind: _output_field(
            {"media_types": (kind,)},
            _outputs("media_types", "a format that every owner allows", "the owners allow no output format in common"),
        )
    ),
    "output.minimum_owners": st.integers(3, 255).map(
        lambda least: _output_field(
            {"minimum_owners": least}, _outputs("minimum_owners", f"assets of {least} different owners", "2")
        )
    ),
    "output.privacy": st.just(
        _output_field({"privacy": "dp"}, _outputs("privacy", "exact outputs", "differential privacy"))
    ),
    "use.epsilon": EXCESS.map(_spent),
}


@pytest.mark.parametrize("where", ALTERATIONS)
@given(st.data())
@settings(max_examples=8, deadline=None)
def test_one_altered_field_is_exactly_one_difference_to_every_caller_that_holds_it(
    where: str, data: st.DataObject
) -> None:
    altered = data.draw(ALTERATIONS[where])
    job, expected = Job(altered.edits), altered.difference
    assert node(job) == ([node_terms(expected)] if "node" in altered.seen_by else [])
    to_enclave = altered.to_enclave or expected
    assert enclave(job) == ([enclave_terms(to_enclave)] if "enclave" in altered.seen_by else [])
    assert verifier(job) == ([verifier_terms(expected)] if "verifier" in altered.seen_by else [])


def test_a_policy_under_another_hash_than_the_seals_is_refuted_by_a_verifier() -> None:
    job = Job()
    job.policies[1] = replace(POLICY, title="another")
    (difference,) = hash_differences(Document.POLICY, job.policies[1].canonical(), job.seals[1].policy_hash)
    assert verifier(job) == [verifier_terms(difference)]


def test_a_job_without_assets_has_no_output_rules_that_hold() -> None:
    assert list(output_differences((), ())) == [_outputs("assets", "1 or more", "0")]


def test_a_share_set_with_fewer_members_than_the_committee_is_not_taken_for_a_part_of_it() -> None:
    seats = [(member.node, member.hpke_key) for member in SHARES.members]
    assert list(member_differences(SHARES, REGISTRY, [*seats, seats[0]])) == [
        Difference(Document.SHARE_SET, "members", "4", "3")
    ]


@given(st.sampled_from([1, 0]), st.integers(0, FAR))
def test_tighter_terms_on_chain_differ_in_nothing_that_matters(uses: int, expiry: int) -> None:
    tight = replace(POLICY.terms, expiry=min(expiry, POLICY.terms.expiry), max_uses=uses, purposes=0)
    assert list(terms_differences(tight, POLICY.terms)) == []


def test_documents_that_agree_differ_in_nothing_and_no_caller_finds_anything() -> None:
    job, ref = Job(), COMMITTEE.ref
    seats = [(member.signer, keccak(member.hpke_public_key)) for member in MEMBERS]
    for use, seal, policy, shares in zip(job.spec.assets, job.seals, job.policies, job.share_sets, strict=True):
        assert list(policy_differences(policy, use, 1)) + list(committee_differences(policy, ref)) == []
        assert list(share_set_differences(shares, CHAIN_ID, use, seal, 1)) + list(size_differences(shares, ref)) == []
        assert list(member_differences(shares, REGISTRY, seats)) == []
    assert (node(job), enclave(job), verifier(job)) == ([], [], [])


def test_every_rule_about_outputs_is_altered_above() -> None:
    """A new output rule fails here until it is altered above, or is one that other owners only tighten."""
    tightened = {"max_outputs", "max_bytes", "bucket_bytes", "validators"}
    altered = {name.removeprefix("output.") for name in ALTERATIONS if name.startswith("output.")}
    assert set(OutputRules.__struct_fields__) == altered | tightened
