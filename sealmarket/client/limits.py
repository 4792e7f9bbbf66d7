"""What a consumer pays at most and waits for, and the figures of a request that follow where it names none."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sealmarket.client.errors import RequestInvalid
from sealmarket.client.windows import Stages, request_windows, stages_of
from sealmarket.protocol.book import Timing, Windows
from sealmarket_enclave.protocol.codec import ZERO_ADDRESS, ZERO_HASH, Address, Bytes32, Uint64, Wei
from sealmarket_enclave.protocol.numbers import Grade, Tee
from sealmarket_enclave.protocol.policy import OutputRules
from sealmarket_enclave.workload.manifest import Manifest

DAY = 86_400
NOTHING = Wei(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class JobLimits:
    """Prices are in the token's smallest unit, times in seconds. None: it follows from the workload and the market.

    The windows are those of the job's steps. ``run_seconds``, ``read_seconds`` and ``validate_seconds`` are for the
    workload, for reading the inputs and for the owners' validators; ``decoded_bytes`` is what the inputs take once
    decoded. ``min_penalty`` is the least that a provider at fault must lose, beside what the market demands of all.
    ``timeout_limit`` is the most that owners and provider together get when a limit of time is used up: by default the
    owners' prices and the compute price. ``capabilities`` are hashes of the capability documents that are accepted, the
    zero hash for offers without one: if an owner then refuses the machine, each side loses the cost of one decision. An
    empty tuple accepts any document, also one that no owner accepts, and the consumer then loses the hold fee too.
    ``payer`` funds the job and signs too (None: the consumer).
    """

    max_compute_price: Wei
    max_unit_price: Wei = NOTHING
    max_units: int = 0
    min_penalty: Wei = NOTHING
    timeout_limit: Wei | None = None
    quote_window: int | None = None
    decide_window: int | None = None
    settle_window: int | None = None
    challenge_window: int | None = None
    run_seconds: int | None = None
    read_seconds: int | None = None
    validate_seconds: int | None = None
    decoded_bytes: Uint64 | None = None
    valid_for: int = DAY
    token: Address = ZERO_ADDRESS
    tee: Tee = Tee.TDX
    min_grade: Grade = Grade.HARDWARE
    providers: Bytes32 = ZERO_HASH
    capabilities: tuple[Bytes32, ...] = (ZERO_HASH,)
    payer: Address | None = None


@dataclass(frozen=True, slots=True)
class JobTime:
    """The figures of one request: all are set."""

    windows: Windows
    stages: Stages
    decoded_bytes: Uint64


def time_of(
    limits: JobLimits, manifest: Manifest, timing: Timing, assets: int, rules: Sequence[OutputRules] | None = None
) -> JobTime:
    """The figures of a request for a workload over so many assets on a market. ``rules``: the owners', if known.

    Raises:
        RequestInvalid: fewer seconds than the workload says that it may take.
    """
    decoded = limits.decoded_bytes
    if decoded is None:
        decoded = Uint64(manifest.limits.memory_bytes)
    derived = stages_of(manifest, decoded, assets, rules)
    stages = Stages(
        run=_chosen(limits.run_seconds, derived.run),
        read=_chosen(limits.read_seconds, derived.read),
        validate=_chosen(limits.validate_seconds, derived.validate),
    )
    if stages.run < manifest.limits.wall_seconds:
        raise RequestInvalid(
            f"the workload may run {manifest.limits.wall_seconds} s by its manifest, run_seconds is {stages.run}",
            "allow it the time that it asks for, or lower its limit; other limits make another workload",
        )
    usual = request_windows(timing, stages)
    windows = Windows(
        quote=_chosen(limits.quote_window, usual.quote),
        decide=_chosen(limits.decide_window, usual.decide),
        settle=_chosen(limits.settle_window, usual.settle),
        challenge=_chosen(limits.challenge_window, usual.challenge),
    )
    return JobTime(windows, stages, decoded)


def timeout_limit_of(limits: JobLimits, prices: Iterable[int]) -> Wei:
    """The most that owners with these prices and the provider together get when a limit of time is used up."""
    if limits.timeout_limit is not None:
        return limits.timeout_limit
    return Wei(sum(prices) + limits.max_compute_price)


def _chosen(named: int | None, usual: int) -> int:
    return usual if named is None else named
