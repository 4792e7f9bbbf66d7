"""The times that orders, requests and terms have unless their signer names others: all follow from the address book.

A market's shortest windows are what its finality makes possible. A request by default gives every party ten minutes
more for its step, so that a provider with a queue or a node that restarts does not lose the job. All times are in
seconds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sealmarket.protocol.book import Timing, Windows
from sealmarket.protocol.timing import DAY, LONGEST_WINDOW, least_settle_window, longest_hold, longest_use
from sealmarket_enclave.protocol.policy import OutputRules, Validator
from sealmarket_enclave.workload.manifest import Manifest
from sealmarket_enclave.workload.timing import seconds_for_bytes, seconds_for_step

ROOM_SECONDS = 600
"""What each step gets beyond the market's shortest window for it."""
IMPORT_SECONDS, OPEN_SECONDS, VALIDATE_SECONDS = 60, 60, 60
"""For loading a workload's modules, for opening inputs however small, and for the owners' validators."""
VALIDATE_SECONDS_EACH = 30
"""For the validators of each asset besides, where the owners' rules are not known."""
VALIDATED_BYTES = 256 << 20
"""Of data, for which each validator that reads them is granted time: nothing public says how large a table becomes."""
_HOLD_FACTOR = 2
"""Orders and terms let a job hold things twice as long as a request does by default."""


@dataclass(frozen=True, slots=True)
class Stages:
    """Seconds of the enclave's three stages: the workload, reading the inputs, the owners' validators."""

    run: int
    read: int
    validate: int


PROVIDER_STAGES = Stages(run=4 * 3600, read=3600, validate=600)
"""The most that a provider allows unless it says otherwise."""
OWNER_STAGES = Stages(run=DAY, read=3 * 3600, validate=600)
"""For which an owner's terms leave time unless they say otherwise."""


def stages_of(
    manifest: Manifest, decoded_bytes: int, assets: int, rules: Sequence[OutputRules] | None = None
) -> Stages:
    """What a workload takes by its own manifest, with so many bytes of input in so many assets.

    Reading opens containers and runs each asset's reader: at least what an enclave counts as fair, however the bytes
    are divided among the assets. ``rules`` are the owners', whose validators get what is fair; None where unknown.
    """
    readers = seconds_for_step(decoded_bytes) + (assets - 1) * seconds_for_step(1)
    return Stages(
        run=manifest.limits.wall_seconds + IMPORT_SECONDS,
        read=OPEN_SECONDS + seconds_for_bytes(decoded_bytes) + readers,
        validate=VALIDATE_SECONDS
        + (VALIDATE_SECONDS_EACH * assets if rules is None else _validating(manifest, decoded_bytes, rules)),
    )


def _validating(manifest: Manifest, decoded_bytes: int, rules: Sequence[OutputRules]) -> int:
    """The fair shares of all validators over outputs that are as large as workload and owners let them be."""
    most = min((one.max_bytes for one in rules), default=0)
    checks = {check.canonical(): check for one in rules for check in one.checks}.values()
    return sum(
        seconds_for_step(min(output.max_bytes, most) + _read_beside(check, decoded_bytes))
        for output in manifest.outputs
        for check in checks
        if check.media_type == output.media_type
    )


def _read_beside(check: Validator, decoded_bytes: int) -> int:
    data = min(decoded_bytes, VALIDATED_BYTES) if check.takes_data else 0
    return len(check.rules_text) + data


def request_windows(timing: Timing, stages: Stages) -> Windows:
    """The windows of a request for these stages."""
    shortest = timing.windows
    settle = least_settle_window(timing, stages.run, stages.read, stages.validate)
    return Windows(
        quote=_bounded(shortest.quote + ROOM_SECONDS),
        decide=_bounded(shortest.decide + ROOM_SECONDS),
        settle=_bounded(settle + ROOM_SECONDS),
        challenge=shortest.challenge,
    )


def order_hold(timing: Timing, stages: Stages) -> int:
    """``maxHold`` of a compute order: how long one job may hold the provider's stake."""
    return _HOLD_FACTOR * longest_hold(request_windows(timing, stages))


def terms_hold(timing: Timing) -> int:
    """``maxHold`` of an owner's terms: how long one job may hold a use before it ends or settles."""
    return _HOLD_FACTOR * longest_use(request_windows(timing, OWNER_STAGES))


def _bounded(window: int) -> int:
    return min(window, LONGEST_WINDOW)
