"""Compare what the host passed with the job specification. Pure.

What is not what the specification names is the host's: *refused*, and nothing is quoted. What is exactly what it
names, and still cannot make a job, is the owner's or the consumer's: the job is *unrunnable*. The enclave quotes, so
that the oracle nodes can say whose fault it is, remembers why, and goes no further.

Rules, in order (docs/spec/enclave.md, "Loading"):

1. The specification is canonical, and its EIP-712 digest under chain and market is the job id that the host named.
2. The specification promises this kind of TEE, and is of the kind of job that this image is for.
3. Each seal hashes to the value that the specification holds for its asset.
4. Each policy document hashes to its seal's policy hash (refused); it is one, of that asset and version (unrunnable).
5. Each share set hashes to its seal's share root (refused); it is one, of that chain, asset, version, content, policy;
   its epoch is the job's, its threshold and size are the policy's (unrunnable). Rules 4, 5 and 8 stand in
   :mod:`sealmarket_enclave.protocol.agreement`. Each data card hashes to the policy's ``dataCard`` (refused); one that
   claims to be a promise is one, and of an asset whose rows are withheld it is a table's with a reader (unrunnable).
6. The 1 to 8 result keys hash to the value in the specification (refused), and are HPKE keys; those that a policy
   demands are among them (unrunnable).
7. The parameters, under their salt, hash to the value in the specification (refused).
8. The owners' output rules leave an output that all of them allow; there are as many different owners as each demands;
   none demands differential privacy, for which this runtime has no mechanism, and the job spends no privacy budget
   (unrunnable).

Of several reasons an input counts first, since no party is charged for that; then what is absent; then the
request. So a host that leaves something out cannot have a consumer charged.

Considered and rejected: whether the owners allow this workload and measurement. The oracle nodes decide that.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from msgspec import UNSET

from sealmarket_enclave.protocol.agreement import (
    Difference,
    Document,
    hash_differences,
    key_differences,
    output_differences,
    policy_differences,
    share_set_differences,
    size_differences,
)
from sealmarket_enclave.protocol.card import Card, CardRefused, promised
from sealmarket_enclave.protocol.codec import ZERO_HASH, Address, Bytes32, Shape, canonical_json, decode_canonical
from sealmarket_enclave.protocol.errors import MalformedDocument
from sealmarket_enclave.protocol.hashing import keccak
from sealmarket_enclave.protocol.job import (
    MAX_ASSETS,
    AssetUse,
    JobSpec,
    Parameters,
    parameters_digest,
    result_keys_hash,
    terms_digest,
)
from sealmarket_enclave.protocol.numbers import FailureCause, JobId, Kind, Tee
from sealmarket_enclave.protocol.policy import OutputRules, PolicyDocument, strictest
from sealmarket_enclave.protocol.steps import policy_steps
from sealmarket_enclave.protocol.terms import Seal
from sealmarket_enclave.runtime.channel import Load
from sealmarket_enclave.runtime.errors import Code, JobRefused
from sealmarket_enclave.sealed.errors import InvalidHpkeKey, ShareError
from sealmarket_enclave.sealed.hpke import PublicKey
from sealmarket_enclave.sealed.shares import ShareSet

ParameterValue = str | int | float | bool
T = TypeVar("T", bound=Shape)


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedAsset:
    """One asset of a job after rules 3 to 5. ``card`` is None where its data card promises nothing."""

    use: AssetUse
    seal: Seal
    policy: PolicyDocument
    share_set: ShareSet
    card: Card | None

    def steps(self, kind: Kind) -> tuple[Bytes32, ...]:
        """The digests of the steps that its owner names for a job of a kind."""
        return policy_steps([self.policy], [self.card], kind)


@dataclass(frozen=True, slots=True, kw_only=True)
class BoundJob:
    """What the specification and its seals say: all that evidence is about. Rules 1 to 3 hold."""

    spec: JobSpec
    job_id: JobId
    chain_id: int
    market: Address
    block_number: int
    block_hash: Bytes32
    seals: tuple[Seal, ...]

    @property
    def terms_digest(self) -> Bytes32:
        """The terms under which shares are released."""
        return terms_digest(self.spec.assets, self.seals)


@dataclass(frozen=True, slots=True)
class Unrunnable:
    """Why a job can never run, through no fault of host or platform.

    ``cause`` and ``index`` (of the asset) are what a signature can blame, since every reader of the job's documents
    comes to the same end. ``cause`` is None where the enclave has only its host's statement that something is absent.
    """

    code: Code
    message: str
    remedy: str
    cause: FailureCause | None
    index: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedJob:
    """A job after every rule above. Only :func:`check_load` makes one."""

    bound: BoundJob
    assets: tuple[LoadedAsset, ...]
    rules: OutputRules
    parameters: Mapping[str, ParameterValue]
    result_keys: tuple[PublicKey, ...]
    workload: bytes
    environment: str
    extension: bytes | None

    @property
    def step_owners(self) -> dict[Bytes32, int]:
        """The digest of each step with the index of the first asset whose owner names it."""
        kind = self.bound.spec.kind
        return {digest: index for index, asset in reversed([*enumerate(self.assets)]) for digest in asset.steps(kind)}

    @property
    def meter(self) -> tuple[int, Bytes32] | None:
        """The meter of a service, with the first asset whose owner names it; None without one."""
        if self.bound.spec.kind is not Kind.SESSION:
            return None
        named = ((index, asset.policy.serving) for index, asset in enumerate(self.assets))
        found = ((index, rule.meter) for index, rule in named if rule is not UNSET)
        return next(((index, meter) for index, meter in found if meter is not UNSET), None)


def check_load(load: Load, tee: Tee, kind: Kind = Kind.BATCH) -> tuple[BoundJob, LoadedJob | Unrunnable]:
    """Apply rules 1 to 8 to a job of a kind. Raises :class:`JobRefused` with the first that the host broke."""
    bound = _bound(load, tee, kind)
    given = zip(load.policies, load.share_sets, load.cards, strict=True)
    found = [_asset(bound, index, *raw) for index, raw in enumerate(given)]
    assets = tuple(asset for asset in found if isinstance(asset, LoadedAsset))
    result_keys = _result_keys(load.result_keys, bound.spec)
    parameters = _parameters(load.parameters, bound.spec)
    workload = load.workload if load.workload is not None else absent("the workload")
    rules = _rules(bound.spec, assets) if len(assets) == len(found) else None
    demanded = None if isinstance(result_keys, Unrunnable) else _demanded(assets, result_keys)
    everything = (*found, result_keys, parameters, workload, rules, demanded)
    reasons = [reason for reason in everything if isinstance(reason, Unrunnable)]
    if reasons:
        return bound, min(reasons, key=precedence)
    assert isinstance(rules, OutputRules)
    assert isinstance(parameters, Mapping)
    assert isinstance(result_keys, tuple)
    assert isinstance(workload, bytes)
    job = LoadedJob(
        bound=bound,
        assets=assets,
        rules=rules,
        parameters=parameters,
        result_keys=result_keys,
        workload=workload,
        environment=load.environment or "",
        extension=load.extension,
    )
    return bound, job


def precedence(reason: Unrunnable) -> int:
    """Which of several reasons counts: an input's, then what is absent, then the request's."""
    return (FailureCause.INPUT, None, FailureCause.WORKLOAD).index(reason.cause)


def _bound(load: Load, tee: Tee, kind: Kind) -> BoundJob:
    spec = _document(JobSpec, load.spec, Code.SPEC_MALFORMED, "job specification")
    market = _word(Address, load.market, Code.SPEC_MALFORMED, "market")
    job_id = spec.job_id(load.chain_id, market)
    _require(job_id, load.job_id, Code.JOB_MISMATCH, "the job id of this specification")
    _require(spec.tee, tee, Code.TEE_MISMATCH, "the specification's kind of TEE")
    _require(spec.kind.slug, kind.slug, Code.KIND_MISMATCH, "the specification's kind of job")
    count = len(spec.assets)
    if not 1 <= count <= MAX_ASSETS:
        raise JobRefused(Code.SPEC_MALFORMED, f"a job uses 1 to {MAX_ASSETS} assets, found {count}", _FETCH)
    lists: dict[str, Sequence[object]] = {
        "seals": load.seals,
        "policies": load.policies,
        "cards": load.cards,
        "share sets": load.share_sets,
    }
    for what, given in lists.items():
        if len(given) != count:
            raise JobRefused(Code.SEAL_MISMATCH, f"expected {count} {what}, found {len(given)}", _FETCH)
    seals = []
    for index, (use, raw) in enumerate(zip(spec.assets, load.seals, strict=True)):
        seal = _document(Seal, raw, Code.SEAL_MISMATCH, f"asset {index}: seal")
        _require(seal.hash(), use.seal_hash, Code.SEAL_MISMATCH, f"asset {index}: the seal's hash")
        seals.append(seal)
    return BoundJob(
        spec=spec,
        job_id=job_id,
        chain_id=load.chain_id,
        market=market,
        block_number=load.block_number,
        block_hash=_word(Bytes32, load.block_hash, Code.SPEC_MALFORMED, "block hash"),
        seals=tuple(seals),
    )


def _asset(
    bound: BoundJob, index: int, raw_policy: bytes | None, raw_shares: bytes | None, raw_card: bytes | None
) -> LoadedAsset | Unrunnable:
    use, seal, name = bound.spec.assets[index], bound.seals[index], f"asset {index}"
    # Both are held against their names before either is read: another document is the host's, whatever the other says.
    for document, raw, named in (
        (Document.POLICY, raw_policy, seal.policy_hash),
        (Document.SHARE_SET, raw_shares, seal.share_root),
    ):
        if raw is not None:
            _refuse(index, hash_differences(document, raw, named))
    policy = _policy(index, bound.spec, raw_policy) if raw_policy is not None else absent(f"{name}: the policy")
    shares = _shares(index, bound, raw_shares) if raw_shares is not None else absent(f"{name}: the share set")
    card = _card(index, policy.data_card, raw_card) if isinstance(policy, PolicyDocument) else None
    reasons = [reason for reason in (policy, shares, card) if isinstance(reason, Unrunnable)]
    if reasons:
        return min(reasons, key=precedence)
    assert isinstance(policy, PolicyDocument)
    assert isinstance(shares, ShareSet)
    assert not isinstance(card, Unrunnable)
    blame = _blame(index, size_differences(shares, policy.dealing))
    return (
        blame
        or _undivided(index, policy, card)
        or LoadedAsset(use=use, seal=seal, policy=policy, share_set=shares, card=card)
    )


def _card(index: int, named: Bytes32, raw: bytes | None) -> Card | Unrunnable | None:
    """The promise of a data card. A policy that names none has the zero hash."""
    if raw is None:
        return None if named == ZERO_HASH else absent(f"asset {index}: the data card")
    _require(keccak(raw), named, Code.CARD_MISMATCH, f"asset {index}: the data card's hash")
    try:
        return promised(raw)
    except (CardRefused, MalformedDocument) as error:
        return owners_fault(index, Code.CARD_MISMATCH, error.message)


def _undivided(index: int, policy: PolicyDocument, card: Card | None) -> Unrunnable | None:
    """A policy that has rows withheld, of content that no reader divides into rows."""
    if not policy.output.withholds or (card is not None and card.kind == "table" and card.reader is not None):
        return None
    message = "its output rules have rows withheld, and its data card is none of a table with a reader"
    return owners_fault(index, Code.CARD_MISMATCH, message)


def _policy(index: int, spec: JobSpec, raw: bytes) -> PolicyDocument | Unrunnable:
    policy = _read(index, Document.POLICY, PolicyDocument, raw)
    if isinstance(policy, Unrunnable):
        return policy
    return _blame(index, policy_differences(policy, spec.assets[index], spec.epoch)) or policy


def _shares(index: int, bound: BoundJob, raw: bytes) -> ShareSet | Unrunnable:
    use, seal = bound.spec.assets[index], bound.seals[index]
    shares = _read(index, Document.SHARE_SET, ShareSet, raw)
    if isinstance(shares, Unrunnable):
        return shares
    return _blame(index, share_set_differences(shares, bound.chain_id, use, seal, bound.spec.epoch)) or shares


def _read(index: int, document: Document, kind: type[T], raw: bytes) -> T | Unrunnable:
    try:
        return decode_canonical(kind, raw)
    except (ShareError, MalformedDocument) as error:
        return owners_fault(index, _CODES[document], f"{document}: {error.message}")


def _rules(spec: JobSpec, assets: tuple[LoadedAsset, ...]) -> OutputRules | Unrunnable:
    rules = tuple(asset.policy.output for asset in assets)
    for difference in output_differences(spec.assets, rules):
        code = _OUTPUT_CODES.get(difference.field, Code.OUTPUT_RULES)
        return Unrunnable(code, str(difference), _ANOTHER_REQUEST, FailureCause.WORKLOAD)
    return strictest(rules)


def _parameters(raw: bytes | None, spec: JobSpec) -> Mapping[str, ParameterValue] | Unrunnable:
    if raw is None:
        return absent("the parameters")
    document = _document(Parameters, raw, Code.PARAMETERS_MISMATCH, "parameters")
    digest = parameters_digest(document.salt, canonical_json(document.values))
    _require(digest, spec.parameters_digest, Code.PARAMETERS_MISMATCH, "the parameters' digest")
    return document.values


def _result_keys(raw: tuple[bytes, ...] | None, spec: JobSpec) -> tuple[PublicKey, ...] | Unrunnable:
    if raw is None:
        return absent("a result key")
    try:
        found = result_keys_hash(raw)
    except MalformedDocument as error:
        raise JobRefused(Code.RESULT_KEY_MISMATCH, error.message, _FETCH) from error
    _require(found, spec.result_keys_hash, Code.RESULT_KEY_MISMATCH, "the hash of the job's result keys")
    try:
        return tuple(PublicKey(key) for key in raw)
    except InvalidHpkeKey as error:
        return Unrunnable(Code.RESULT_KEY_MISMATCH, error.message, error.remedy, FailureCause.WORKLOAD)


def _demanded(assets: Sequence[LoadedAsset], keys: Sequence[PublicKey]) -> Unrunnable | None:
    names = [key.digest for key in keys]
    for asset in assets:
        for difference in key_differences(asset.policy, names):
            return Unrunnable(Code.OWNER_KEY_MISSING, str(difference), _ANOTHER_REQUEST, FailureCause.WORKLOAD)
    return None


def absent(what: str) -> Unrunnable:
    """What the host says that it could not get. No signature rests on that."""
    message = f"{what} was not passed when the job was loaded"
    remedy = "put everything that the job names into the store, and request again"
    return Unrunnable(Code.MATERIAL_MISSING, message, remedy, None)


def owners_fault(index: int, code: Code, message: str) -> Unrunnable:
    """Documents of one asset that cannot make a job, as every reader of them finds."""
    remedy = "the owner must publish a version whose documents agree"
    return Unrunnable(code, f"asset {index}: {message}", remedy, FailureCause.INPUT, index)


def _blame(index: int, differences: Iterable[Difference]) -> Unrunnable | None:
    """The first difference between an owner's documents makes the job unrunnable, by that owner's doing."""
    first = next(iter(differences), None)
    return None if first is None else owners_fault(index, _code(first), str(first))


def _refuse(index: int, differences: Iterable[Difference]) -> None:
    """The first difference from what the chain names is the host's."""
    for difference in differences:
        raise JobRefused(_code(difference), f"asset {index}: {difference}", _FETCH)


def _code(difference: Difference) -> Code:
    return _EPOCHS.get(difference.field, _CODES[difference.document])


_CODES = {Document.POLICY: Code.POLICY_MISMATCH, Document.SHARE_SET: Code.SHARES_MISMATCH}
_EPOCHS = {"epoch": Code.EPOCH_MISMATCH, "dealing.epoch": Code.EPOCH_MISMATCH}
_OUTPUT_CODES = {
    "minimum_owners": Code.TOO_FEW_OWNERS,
    "privacy": Code.PRIVACY_UNSUPPORTED,
    "epsilon": Code.PRIVACY_UNSUPPORTED,
}
_ANOTHER_REQUEST = (
    "request a job whose owners' output rules agree, over as many owners as each demands, with the result keys that "
    "they ask for"
)


_FETCH = "fetch what the chain names for this job, and start a new enclave"


def _document(kind: type[T], raw: bytes, code: Code, what: str) -> T:
    try:
        return decode_canonical(kind, raw)
    except MalformedDocument as error:
        raise JobRefused(code, f"{what}: {error.message}", _FETCH) from error


W = TypeVar("W", Address, Bytes32)


def _word(kind: type[W], raw: bytes, code: Code, what: str) -> W:
    try:
        return kind(raw)
    except MalformedDocument as error:
        raise JobRefused(code, f"{what}: {error.message}", _FETCH) from error


def _require(found: object, expected: object, code: Code, what: str) -> None:
    if found != expected:
        raise JobRefused(code, f"{what} is {_show(found)}, expected {_show(expected)}", _FETCH)


def _show(value: object) -> str:
    return "0x" + value.hex() if isinstance(value, bytes | bytearray) else str(value)
