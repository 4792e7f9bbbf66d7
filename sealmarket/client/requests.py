"""A request before and after it is signed: what is wanted, what follows from it and the chain, and what was posted."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from msgspec.structs import replace

from sealmarket.chain import Block, ChainReader, ViewReader
from sealmarket.client.errors import RequestInvalid
from sealmarket.client.limits import JobLimits, JobTime, time_of, timeout_limit_of
from sealmarket.client.pending import PendingRequest
from sealmarket.protocol import merkle
from sealmarket.protocol.orders import AssetLimit, Purpose, Request
from sealmarket.protocol.salts import Generations, new_salt
from sealmarket.protocol.wire import SignedRequest
from sealmarket.store.blobs import digest_of
from sealmarket_enclave.protocol.codec import ZERO_HASH, Address, Bytes32, MicroEpsilon, Uint, Wei
from sealmarket_enclave.protocol.errors import MalformedDocument
from sealmarket_enclave.protocol.job import MAX_ASSETS, Parameters, result_keys_hash
from sealmarket_enclave.protocol.numbers import AssetId, Kind
from sealmarket_enclave.protocol.policy import OutputRules
from sealmarket_enclave.workload.bundle import Bundle
from sealmarket_enclave.workload.manifest import Value

EXACT = MicroEpsilon(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class AssetWish:
    """One asset that a job shall use. ``max_price`` None: its price now. ``epsilon`` 0: an exact output."""

    asset_id: AssetId
    version: int = 1
    max_price: Wei | None = None
    epsilon: MicroEpsilon = EXACT

    @staticmethod
    def parse(text: str) -> AssetWish:
        """``0xID``, or ``0xID:VERSION``. Raises :class:`RequestInvalid`."""
        asset, colon, version = text.partition(":")
        try:
            found = AssetId(Bytes32.parse(asset.lower()))
            if colon and not (version.isascii() and version.isdigit()):
                raise ValueError(version)
            return AssetWish(asset_id=found, version=int(version) if colon else 1)
        except (ValueError, MalformedDocument) as error:
            raise RequestInvalid(f"{text!r} is no asset", "write 0xID, or 0xID:2 for version 2") from error


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What a consumer asks for. ``parameters`` may leave out those with a default."""

    workload: Bundle
    parameters: Mapping[str, object]
    assets: Sequence[AssetWish]
    limits: JobLimits
    purpose: Purpose = Purpose.TRAIN


@dataclass(frozen=True, slots=True, kw_only=True)
class UnsignedRequest:
    """A request over the terms in force at block ``at``.

    ``result_keys`` are raw HPKE public keys, ``capabilities`` the hashes behind the request's root of them.
    """

    request: Request
    parameters: Parameters
    workload: Bundle
    capabilities: tuple[Bytes32, ...]
    result_keys: tuple[bytes, ...]
    at: Block


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestHandle:
    """A request that was signed and posted. ``since``: its job is matched after this block."""

    request_hash: Bytes32
    request: Request
    signed: SignedRequest
    parameters: Parameters
    since: int

    @staticmethod
    def noted(noted: PendingRequest) -> RequestHandle:
        """The request that a file holds."""
        signed = noted.posted.request
        return RequestHandle(
            request_hash=signed.request.struct_hash(),
            request=signed.request,
            signed=signed,
            parameters=noted.posted.parameters,
            since=noted.since,
        )


def compose(
    wanted: Wanted,
    consumer: Address,
    result_keys: Sequence[bytes],
    chain: ChainReader,
    rules: Sequence[OutputRules] | None = None,
) -> UnsignedRequest:
    """The request that the terms in force at the head make of what is wanted. Nothing is signed or sent.

    ``rules`` are those of the owners for outputs, by which validators have time; None where they are not known.

    Raises:
        ParametersRefused: not what the workload's schema takes.
        RequestInvalid: too few or too many assets, or windows in which the workload does not fit.
        Reverted: an asset that was never published.
        ChainError: the chain cannot be read.
    """
    if not 1 <= len(wanted.assets) <= MAX_ASSETS:
        raise RequestInvalid(f"a job uses 1 to {MAX_ASSETS} assets, found {len(wanted.assets)}", "choose other assets")
    values = complete_parameters(wanted.workload, wanted.parameters, len(wanted.assets))
    parameters = Parameters(salt=Bytes32(secrets.token_bytes(32)), values=values)
    head = chain.head()
    figures = time_of(wanted.limits, wanted.workload.manifest, chain.book.timing, len(wanted.assets), rules)
    request = _request(wanted, consumer, parameters, result_keys_hash(result_keys), figures, chain.at(head), head)
    return UnsignedRequest(
        request=request,
        parameters=parameters,
        workload=wanted.workload,
        capabilities=wanted.limits.capabilities,
        result_keys=tuple(result_keys),
        at=head,
    )


def _request(
    wanted: Wanted,
    consumer: Address,
    parameters: Parameters,
    keys: Bytes32,
    figures: JobTime,
    view: ViewReader,
    head: Block,
) -> Request:
    limits = wanted.limits
    bought = tuple(_limit(wish, view) for wish in wanted.assets)
    return Request(
        kind=Kind.BATCH,
        extension_hash=ZERO_HASH,
        consumer=consumer,
        payer=limits.payer or consumer,
        token=limits.token,
        workload_digest=wanted.workload.digest,
        parameters_digest=digest_of(parameters),
        result_keys_hash=keys,
        purpose=int(wanted.purpose),
        tee=limits.tee,
        min_grade=limits.min_grade,
        providers=limits.providers,
        capabilities=merkle.root(map(merkle.capability_leaf, limits.capabilities)),
        max_compute_price=limits.max_compute_price,
        max_unit_price=limits.max_unit_price,
        max_units=limits.max_units,
        min_penalty=limits.min_penalty,
        timeout_limit=timeout_limit_of(limits, (asset.max_price for asset in bought)),
        run_seconds=figures.stages.run,
        read_seconds=figures.stages.read,
        validate_seconds=figures.stages.validate,
        decoded_bytes=figures.decoded_bytes,
        quote_window=figures.windows.quote,
        decide_window=figures.windows.decide,
        settle_window=figures.windows.settle,
        challenge_window=figures.windows.challenge,
        expiry=head.timestamp + limits.valid_for,
        salt=new_salt(_generations(limits, consumer, view)),
        assets=bought,
    )


def _generations(limits: JobLimits, consumer: Address, view: ViewReader) -> Generations:
    ours = view.account(limits.token, consumer).generation
    if limits.payer in (None, consumer):
        return Generations(ours)
    return Generations(ours, view.account(limits.token, limits.payer).generation)


def _limit(wish: AssetWish, view: ViewReader) -> AssetLimit:
    state = view.asset(wish.asset_id, wish.version)
    return AssetLimit(
        asset_id=wish.asset_id,
        version=wish.version,
        terms_version=state.terms_version,
        max_price=state.terms.price if wish.max_price is None else wish.max_price,
        epsilon=wish.epsilon,
    )


def intent(request: Request, parameters: Parameters) -> tuple[Request, Mapping[str, Value]]:
    """What a request asks for, without what differs between two that ask for the same."""
    return replace(request, parameters_digest=ZERO_HASH, expiry=0, salt=Uint(0)), parameters.values


def complete_parameters(bundle: Bundle, parameters: Mapping[str, object], asset_count: int) -> dict[str, Value]:
    """A job's parameters with the workload's defaults; asked before a request is signed.

    The enclave finds the same, but by then the job is accepted, and its consumer pays for it in full.

    Raises:
        ParametersRefused: not what the workload's schema takes, or another number of assets.
    """
    values = bundle.manifest.check_parameters(parameters)
    bundle.manifest.input_names(asset_count)
    return values
