"""Hold what the host handed over against the job specification. Pure; every mismatch is a refusal with a code.

Rules, in order (docs/spec/enclave.md, "Loading"):

1. The specification is canonical, and its EIP-712 digest under chain and market is the job id that the host named.
2. The specification promises this kind of TEE.
3. Each seal hashes to the word that the specification holds for its asset.
4. Each policy document hashes to its seal's policy hash, and is of that asset and version.
5. Each share set hashes to its seal's share root, and is of that chain, asset, version, content, policy; its epoch is
   the job's, its threshold and size are the policy's.
6. The result key hashes to the word in the specification, and is an HPKE key.
7. The parameters, under their salt, hash to the word in the specification.
8. The owners' output rules leave an output that all of them allow; there are as many different owners as each demands;
   none demands differential privacy, for which this runtime has no mechanism, and the job spends no privacy budget.

Considered and rejected: whether the owners allow this workload and measurement. The oracle nodes decide that; an
enclave that stopped here would turn a refusal of the request into a missing quote of the provider.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

from sealmarket.protocol.codec import Address, Bytes32, Shape, canonical_json, decode_canonical
from sealmarket.protocol.errors import MalformedDocument
from sealmarket.protocol.hashing import keccak
from sealmarket.protocol.job import AssetUse, JobSpec, parameters_digest, terms_digest
from sealmarket.protocol.numbers import JobId, Tee
from sealmarket.protocol.orders import Seal
from sealmarket.protocol.policy import OutputRules, PolicyDocument, PolicyRefused, strictest
from sealmarket.protocol.wire import Parameters
from sealmarket.sealed.errors import InvalidHpkeKey, ShareError
from sealmarket.sealed.hpke import PublicKey
from sealmarket.sealed.shares import ShareSet
from sealmarket_worker.enclave.channel import Load
from sealmarket_worker.enclave.errors import Code, JobRefused

MAX_ASSETS = 64
ParameterValue = str | int | float | bool
T = TypeVar("T", bound=Shape)


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedAsset:
    """One asset of a job after rules 3 to 5."""

    use: AssetUse
    seal: Seal
    policy: PolicyDocument
    share_set: ShareSet


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedJob:
    """A job after every rule above. Only :func:`check_load` makes one."""

    spec: JobSpec
    job_id: JobId
    chain_id: int
    market: Address
    block_number: int
    block_hash: Bytes32
    assets: tuple[LoadedAsset, ...]
    rules: OutputRules
    parameters: Mapping[str, ParameterValue]
    result_key: PublicKey

    @property
    def terms_digest(self) -> Bytes32:
        """The terms under which shares are released."""
        return terms_digest(self.spec.assets, [asset.seal for asset in self.assets])


def check_load(load: Load, tee: Tee) -> LoadedJob:
    """Apply rules 1 to 8. Raises :class:`JobRefused` with the first that fails."""
    spec = _document(JobSpec, load.spec, Code.SPEC_MALFORMED, "job specification")
    market = _word(Address, load.market, Code.SPEC_MALFORMED, "market")
    job_id = spec.job_id(load.chain_id, market)
    _require(job_id, load.job_id, Code.JOB_MISMATCH, "the job id of this specification")
    _require(spec.tee, tee, Code.TEE_MISMATCH, "the specification's kind of TEE")
    assets = _assets(load, spec)
    _require(keccak(load.result_key), spec.result_key_hash, Code.RESULT_KEY_MISMATCH, "the result key's hash")
    return LoadedJob(
        spec=spec,
        job_id=job_id,
        chain_id=load.chain_id,
        market=market,
        block_number=load.block_number,
        block_hash=_word(Bytes32, load.block_hash, Code.SPEC_MALFORMED, "block hash"),
        assets=assets,
        rules=_rules(spec, assets),
        parameters=_parameters(load, spec),
        result_key=_result_key(load.result_key),
    )


def _assets(load: Load, spec: JobSpec) -> tuple[LoadedAsset, ...]:
    count = len(spec.assets)
    if not 1 <= count <= MAX_ASSETS:
        raise JobRefused(Code.SPEC_MALFORMED, f"a job uses 1 to {MAX_ASSETS} assets, found {count}", _FETCH)
    for what, given in (("seals", load.seals), ("policies", load.policies), ("share sets", load.share_sets)):
        if len(given) != count:
            raise JobRefused(Code.SEAL_MISMATCH, f"expected {count} {what}, found {len(given)}", _FETCH)
    return tuple(
        _asset(place, load.chain_id, spec, seal, policy, shares)
        for place, (seal, policy, shares) in enumerate(zip(load.seals, load.policies, load.share_sets, strict=True))
    )


def _asset(
    place: int, chain_id: int, spec: JobSpec, raw_seal: bytes, raw_policy: bytes, raw_shares: bytes
) -> LoadedAsset:
    use, name = spec.assets[place], f"asset {place}"
    seal = _document(Seal, raw_seal, Code.SEAL_MISMATCH, f"{name}: seal")
    _require(seal.hash(), use.seal_hash, Code.SEAL_MISMATCH, f"{name}: the seal's hash")
    _require(keccak(raw_policy), seal.policy_hash, Code.POLICY_MISMATCH, f"{name}: the policy's hash")
    policy = _document(PolicyDocument, raw_policy, Code.POLICY_MISMATCH, f"{name}: policy")
    _require(policy.asset_id, use.asset_id, Code.POLICY_MISMATCH, f"{name}: the policy's asset")
    _require(policy.asset_version, use.version, Code.POLICY_MISMATCH, f"{name}: the policy's asset version")
    try:
        shares = ShareSet.load(raw_shares, seal.share_root)
    except (ShareError, MalformedDocument) as error:
        raise JobRefused(Code.SHARES_MISMATCH, f"{name}: {error.message}", error.remedy or _FETCH) from error
    expected = {
        "chain": (shares.chain_id, chain_id),
        "asset": (shares.asset_id, use.asset_id),
        "version": (shares.asset_version, use.version),
        "content root": (shares.content_root, seal.content_root),
        "policy": (shares.policy_hash, seal.policy_hash),
        "threshold": (shares.commitments.threshold, policy.dealing.threshold),
        "number of members": (shares.commitments.total, policy.dealing.members),
    }
    for what, (found, wanted) in expected.items():
        _require(found, wanted, Code.SHARES_MISMATCH, f"{name}: the share set's {what}")
    for epoch in (shares.epoch, policy.dealing.epoch):
        _require(epoch, spec.epoch, Code.EPOCH_MISMATCH, f"{name}: the epoch of its dealing")
    return LoadedAsset(use=use, seal=seal, policy=policy, share_set=shares)


def _rules(spec: JobSpec, assets: tuple[LoadedAsset, ...]) -> OutputRules:
    try:
        rules = strictest(tuple(asset.policy.output for asset in assets))
    except PolicyRefused as error:
        raise JobRefused(Code.OUTPUT_RULES, error.message, error.remedy) from error
    owners = len({use.owner for use in spec.assets})
    if owners < rules.minimum_owners:
        message = f"an owner demands data of {rules.minimum_owners} different owners, found {owners}"
        raise JobRefused(Code.TOO_FEW_OWNERS, message, "request a job over assets of more owners")
    if rules.privacy != "exact" or any(use.epsilon for use in spec.assets):
        message = "differential privacy is demanded, and this runtime has no mechanism for it"
        raise JobRefused(Code.PRIVACY_UNSUPPORTED, message, "choose a runtime that adds noise itself")
    return rules


def _parameters(load: Load, spec: JobSpec) -> Mapping[str, ParameterValue]:
    document = _document(Parameters, load.parameters, Code.PARAMETERS_MISMATCH, "parameters")
    digest = parameters_digest(document.salt, canonical_json(document.values))
    _require(digest, spec.parameters_digest, Code.PARAMETERS_MISMATCH, "the parameters' digest")
    return document.values


def _result_key(raw: bytes) -> PublicKey:
    try:
        return PublicKey(raw)
    except InvalidHpkeKey as error:
        raise JobRefused(Code.RESULT_KEY_MISMATCH, error.message, error.remedy) from error


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
