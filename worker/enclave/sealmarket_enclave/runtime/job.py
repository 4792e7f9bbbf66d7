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
   its epoch is the job's, its threshold and size are the policy's (doomed). Rules 4, 5 and 8 stand in
   :mod:`sealmarket_enclave.protocol.agreement`.
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

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from sealmarket_enclave.protocol.agreement import (
    Difference,
    Document,
    hash_differences,
    output_differences,
    policy_differences,
    share_set_differences,
    size_differences,
)
from sealmarket_enclave.protocol.codec import Address, Bytes32, Shape, canonical_json, decode_canonical
from sealmarket_enclave.protocol.errors import MalformedDocument
from sealmarket_enclave.protocol.hashing import keccak
from sealmarket_enclave.protocol.job import AssetUse, JobSpec, Parameters, parameters_digest, terms_digest
from sealmarket_enclave.protocol.numbers import FailureCause, JobId, Tee
from sealmarket_enclave.protocol.policy import OutputRules, PolicyDocument, strictest
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
    for document, raw, named in (
        (Document.POLICY, raw_policy, seal.policy_hash),
        (Document.SHARE_SET, raw_shares, seal.share_root),
    ):
        if raw is not None:
            _refuse(place, hash_differences(document, raw, named))
    policy = _policy(place, bound.spec, raw_policy) if raw_policy is not None else None
    shares = _shares(place, bound, raw_shares) if raw_shares is not None else None
    if policy is None or shares is None:
        raise _absent(f"{name}: the {'policy' if policy is None else 'share set'}")
    _blame(place, size_differences(shares, policy.dealing))
    return LoadedAsset(use=use, seal=seal, policy=policy, share_set=shares)


def _policy(place: int, spec: JobSpec, raw: bytes) -> PolicyDocument:
    policy = _read(place, Document.POLICY, PolicyDocument, raw)
    _blame(place, policy_differences(policy, spec.assets[place], spec.epoch))
    return policy


def _shares(place: int, bound: BoundJob, raw: bytes) -> ShareSet:
    use, seal = bound.spec.assets[place], bound.seals[place]
    shares = _read(place, Document.SHARE_SET, ShareSet, raw)
    _blame(place, share_set_differences(shares, bound.chain_id, use, seal, bound.spec.epoch))
    return shares


def _read(place: int, document: Document, kind: type[T], raw: bytes) -> T:
    try:
        return decode_canonical(kind, raw)
    except (ShareError, MalformedDocument) as error:
        raise _owners_fault(place, _CODES[document], f"{document}: {error.message}") from error


def _rules(spec: JobSpec, assets: tuple[LoadedAsset, ...]) -> OutputRules:
    rules = tuple(asset.policy.output for asset in assets)
    for difference in output_differences(spec.assets, rules):
        code = _OUTPUT_CODES.get(difference.field, Code.OUTPUT_RULES)
        raise JobDoomed(code, str(difference), _ANOTHER_REQUEST, FailureCause.WORKLOAD)
    return strictest(rules)


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


def _blame(place: int, differences: Iterable[Difference]) -> None:
    """The first difference between an owner's documents makes the job unrunnable, by that owner's doing."""
    for difference in differences:
        raise _owners_fault(place, _code(difference), str(difference))


def _refuse(place: int, differences: Iterable[Difference]) -> None:
    """The first difference from what the chain names is the host's."""
    for difference in differences:
        raise JobRefused(_code(difference), f"asset {place}: {difference}", _FETCH)


def _code(difference: Difference) -> Code:
    return _EPOCHS.get(difference.field, _CODES[difference.document])


_CODES = {Document.POLICY: Code.POLICY_MISMATCH, Document.SHARE_SET: Code.SHARES_MISMATCH}
_EPOCHS = {"epoch": Code.EPOCH_MISMATCH, "dealing.epoch": Code.EPOCH_MISMATCH}
_OUTPUT_CODES = {
    "minimum_owners": Code.TOO_FEW_OWNERS,
    "privacy": Code.PRIVACY_UNSUPPORTED,
    "epsilon": Code.PRIVACY_UNSUPPORTED,
}
_ANOTHER_REQUEST = "request a job whose owners' output rules agree, over as many owners as each demands"


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
