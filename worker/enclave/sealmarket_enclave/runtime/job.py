"""Hold what the host handed over against the job specification. Pure.

What is not what the specification names is the host's: *refused*, and nothing is quoted. What is exactly what it
names, and still cannot make a job, is the owner's or the consumer's: the job is *doomed*. The enclave quotes, so that
the oracle nodes can say whose fault it is, remembers why, and goes no further.

Rules, in order (docs/spec/enclave.md, "Loading"):

1. The specification is canonical, and its EIP-712 digest under chain and market is the job id that the host named.
2. The specification promises this kind of TEE.
3. Each seal hashes to the word that the specification holds for its asset.
4. Each policy document hashes to its seal's policy hash (refused); it is one, of that asset and version (doomed).
5. Each share set hashes to its seal's share root (refused); it is one, of that chain, asset, version, content, policy;
   its epoch is the job's, its threshold and size are the policy's (doomed).
6. The result key hashes to the word in the specification (refused), and is an HPKE key (doomed).
7. The parameters, under their salt, hash to the word in the specification (refused).
8. The owners' output rules leave an output that all of them allow; there are as many different owners as each demands;
   none demands differential privacy, for which this runtime has no mechanism, and the job spends no privacy budget
   (doomed).

Of several reasons a job is doomed for an input first, since nobody is charged for that; then for what is absent; then
for the request. So a host that leaves something out cannot have a consumer charged.

Considered and rejected: whether the owners allow this workload and measurement. The oracle nodes decide that.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from sealmarket_enclave.protocol.codec import Address, Bytes32, Shape, canonical_json, decode_canonical
from sealmarket_enclave.protocol.errors import MalformedDocument
from sealmarket_enclave.protocol.hashing import keccak
from sealmarket_enclave.protocol.job import AssetUse, JobSpec, Parameters, parameters_digest, terms_digest
from sealmarket_enclave.protocol.numbers import FailureCause, JobId, Tee
from sealmarket_enclave.protocol.policy import OutputRules, PolicyDocument, PolicyRefused, strictest
from sealmarket_enclave.protocol.terms import Seal
from sealmarket_enclave.runtime.channel import Load
from sealmarket_enclave.runtime.errors import Code, JobDoomed, JobRefused
from sealmarket_enclave.sealed.errors import InvalidHpkeKey, ShareError
from sealmarket_enclave.sealed.hpke import PublicKey
from sealmarket_enclave.sealed.shares import ShareSet

MAX_ASSETS = 64
ParameterValue = str | int | float | bool
T = TypeVar("T", bound=Shape)
R = TypeVar("R")


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedAsset:
    """One asset of a job after rules 3 to 5."""

    use: AssetUse
    seal: Seal
    policy: PolicyDocument
    share_set: ShareSet


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


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedJob:
    """A job after every rule above. Only :func:`check_load` makes one."""

    bound: BoundJob
    assets: tuple[LoadedAsset, ...]
    rules: OutputRules
    parameters: Mapping[str, ParameterValue]
    result_key: PublicKey
    workload: bytes
    environment: str


def check_load(load: Load, tee: Tee) -> tuple[BoundJob, LoadedJob | JobDoomed]:
    """Apply rules 1 to 8. Raises :class:`JobRefused` with the first that the host broke."""
    bound = _bound(load, tee)
    dooms: list[JobDoomed] = []

    def checked(check: Callable[[], R]) -> R | None:
        try:
            return check()
        except JobDoomed as doom:
            dooms.append(doom)
            return None

    given = zip(load.policies, load.share_sets, strict=True)
    found = [checked(partial(_asset, bound, place, *raw)) for place, raw in enumerate(given)]
    assets = tuple(asset for asset in found if asset is not None)
    result_key = checked(lambda: _result_key(load.result_key, bound.spec))
    parameters = checked(lambda: _parameters(load.parameters, bound.spec))
    workload = checked(lambda: _given(load.workload, "the workload"))
    rules = checked(lambda: _rules(bound.spec, assets)) if len(assets) == len(found) else None
    if rules is None or result_key is None or parameters is None or workload is None:
        return bound, min(dooms, key=_precedence)
    job = LoadedJob(
        bound=bound,
        assets=assets,
        rules=rules,
        parameters=parameters,
        result_key=result_key,
        workload=workload,
        environment=load.environment or "",
    )
    return bound, job


def _precedence(doom: JobDoomed) -> int:
    return (FailureCause.INPUT, None, FailureCause.WORKLOAD).index(doom.cause)


def _bound(load: Load, tee: Tee) -> BoundJob:
    spec = _document(JobSpec, load.spec, Code.SPEC_MALFORMED, "job specification")
    market = _word(Address, load.market, Code.SPEC_MALFORMED, "market")
    job_id = spec.job_id(load.chain_id, market)
    _require(job_id, load.job_id, Code.JOB_MISMATCH, "the job id of this specification")
    _require(spec.tee, tee, Code.TEE_MISMATCH, "the specification's kind of TEE")
    count = len(spec.assets)
    if not 1 <= count <= MAX_ASSETS:
        raise JobRefused(Code.SPEC_MALFORMED, f"a job uses 1 to {MAX_ASSETS} assets, found {count}", _FETCH)
    for what, given in (("seals", load.seals), ("policies", load.policies), ("share sets", load.share_sets)):
        if len(given) != count:
            raise JobRefused(Code.SEAL_MISMATCH, f"expected {count} {what}, found {len(given)}", _FETCH)
    seals = []
    for place, (use, raw) in enumerate(zip(spec.assets, load.seals, strict=True)):
        seal = _document(Seal, raw, Code.SEAL_MISMATCH, f"asset {place}: seal")
        _require(seal.hash(), use.seal_hash, Code.SEAL_MISMATCH, f"asset {place}: the seal's hash")
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


def _asset(bound: BoundJob, place: int, raw_policy: bytes | None, raw_shares: bytes | None) -> LoadedAsset:
    use, seal, name = bound.spec.assets[place], bound.seals[place], f"asset {place}"
    # Both are held against their names before either is read: another document is the host's, whatever the other says.
    for raw, word, code, what in (
        (raw_policy, seal.policy_hash, Code.POLICY_MISMATCH, "policy"),
        (raw_shares, seal.share_root, Code.SHARES_MISMATCH, "share set"),
    ):
        if raw is not None:
            _require(keccak(raw), word, code, f"{name}: the {what}'s hash")
    policy = _policy(place, bound.spec, raw_policy) if raw_policy is not None else None
    shares = _shares(place, bound, raw_shares) if raw_shares is not None else None
    if policy is None or shares is None:
        raise _absent(f"{name}: the {'policy' if policy is None else 'share set'}")
    for what, found, wanted in (
        ("threshold", shares.commitments.threshold, policy.dealing.threshold),
        ("number of members", shares.commitments.total, policy.dealing.members),
    ):
        _blame(place, found, wanted, Code.SHARES_MISMATCH, f"the share set's {what}")
    return LoadedAsset(use=use, seal=seal, policy=policy, share_set=shares)


def _policy(place: int, spec: JobSpec, raw: bytes) -> PolicyDocument:
    use = spec.assets[place]
    try:
        policy = decode_canonical(PolicyDocument, raw)
    except MalformedDocument as error:
        raise _owners_fault(place, Code.POLICY_MISMATCH, f"policy: {error.message}") from error
    _blame(place, policy.asset_id, use.asset_id, Code.POLICY_MISMATCH, "the policy's asset")
    _blame(place, policy.asset_version, use.version, Code.POLICY_MISMATCH, "the policy's asset version")
    _blame(place, policy.dealing.epoch, spec.epoch, Code.EPOCH_MISMATCH, "the epoch of the policy's dealing")
    return policy


def _shares(place: int, bound: BoundJob, raw: bytes) -> ShareSet:
    use, seal = bound.spec.assets[place], bound.seals[place]
    try:
        shares = ShareSet.load(raw, seal.share_root)
    except (ShareError, MalformedDocument) as error:
        raise _owners_fault(place, Code.SHARES_MISMATCH, f"share set: {error.message}") from error
    expected = {
        "chain": (shares.chain_id, bound.chain_id),
        "asset": (shares.asset_id, use.asset_id),
        "version": (shares.asset_version, use.version),
        "content root": (shares.content_root, seal.content_root),
        "policy": (shares.policy_hash, seal.policy_hash),
    }
    for what, (found, wanted) in expected.items():
        _blame(place, found, wanted, Code.SHARES_MISMATCH, f"the share set's {what}")
    _blame(place, shares.epoch, bound.spec.epoch, Code.EPOCH_MISMATCH, "the epoch of its dealing")
    return shares


def _rules(spec: JobSpec, assets: tuple[LoadedAsset, ...]) -> OutputRules:
    try:
        rules = strictest(tuple(asset.policy.output for asset in assets))
    except PolicyRefused as error:
        raise JobDoomed(Code.OUTPUT_RULES, error.message, error.remedy, FailureCause.WORKLOAD) from error
    owners = len({use.owner for use in spec.assets})
    if owners < rules.minimum_owners:
        message = f"an owner demands data of {rules.minimum_owners} different owners, found {owners}"
        remedy = "request a job over assets of more owners"
        raise JobDoomed(Code.TOO_FEW_OWNERS, message, remedy, FailureCause.WORKLOAD)
    if rules.privacy != "exact" or any(use.epsilon for use in spec.assets):
        message = "differential privacy is demanded, and this runtime has no mechanism for it"
        remedy = "choose a runtime that adds noise itself"
        raise JobDoomed(Code.PRIVACY_UNSUPPORTED, message, remedy, FailureCause.WORKLOAD)
    return rules


def _parameters(raw: bytes | None, spec: JobSpec) -> Mapping[str, ParameterValue]:
    document = _document(Parameters, _given(raw, "the parameters"), Code.PARAMETERS_MISMATCH, "parameters")
    digest = parameters_digest(document.salt, canonical_json(document.values))
    _require(digest, spec.parameters_digest, Code.PARAMETERS_MISMATCH, "the parameters' digest")
    return document.values


def _result_key(raw: bytes | None, spec: JobSpec) -> PublicKey:
    given = _given(raw, "the result key")
    _require(keccak(given), spec.result_key_hash, Code.RESULT_KEY_MISMATCH, "the result key's hash")
    try:
        return PublicKey(given)
    except InvalidHpkeKey as error:
        raise JobDoomed(Code.RESULT_KEY_MISMATCH, error.message, error.remedy, FailureCause.WORKLOAD) from error


def _given(raw: bytes | None, what: str) -> bytes:
    if raw is None:
        raise _absent(what)
    return raw


def _absent(what: str) -> JobDoomed:
    message = f"{what} was not handed over when the job was loaded"
    remedy = "put everything that the job names into the store, and request again"
    return JobDoomed(Code.MATERIAL_MISSING, message, remedy, None)


def _owners_fault(place: int, code: Code, message: str) -> JobDoomed:
    remedy = "the owner must publish a version whose documents agree"
    return JobDoomed(code, f"asset {place}: {message}", remedy, FailureCause.INPUT, place)


def _blame(place: int, found: object, expected: object, code: Code, what: str) -> None:
    if found != expected:
        raise _owners_fault(place, code, f"{what} is {_show(found)}, expected {_show(expected)}")


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
