"""How a job's windows follow from a chain's finality: what the contracts demand, and what is sensible beyond it.

Each step of a job waits until the one before it is final, and has to become final itself. All times are in seconds.
"""

from __future__ import annotations

from sealmarket.protocol.book import Timing, Windows
from sealmarket_enclave.protocol.codec import Uint64

DAY = 86_400
YEAR = 365 * DAY
STEP_SECONDS = 120
"""For the work of one step beside waiting for blocks: an enclave starts, nodes verify, a transaction is sent."""
HOLD_RATE = Uint64(10**18 // 10 // YEAR)
"""10 % a year."""
_LONGEST_WINDOW = 30 * DAY


def least_windows(finality: int, transfer_allowance: int) -> Windows:
    """The shortest windows that the contracts let a deployment admit."""
    shortest = 2 * finality
    return Windows(quote=shortest, decide=shortest, settle=_overhead(finality, transfer_allowance), challenge=shortest)


def minimum_windows(
    finality: int, transfer_allowance: int, *, step: int = STEP_SECONDS, challenge: int = DAY
) -> Windows:
    """The minimum windows of a deployment: time for two blocks to become final, and ``step`` for the work between."""
    least = least_windows(finality, transfer_allowance)
    return Windows(
        quote=least.quote + step,
        decide=least.decide + step,
        settle=least.settle + step,
        challenge=max(challenge, least.challenge),
    )


def too_short(windows: Windows, finality: int, transfer_allowance: int) -> str | None:
    """What of a deployment's minimum windows the contracts refuse, in words; None if they take them."""
    least = least_windows(finality, transfer_allowance)
    sums = {"settle": f"{transfer_allowance} for transfers and 4 x {finality} of finality"}
    for name in Windows.__struct_fields__:
        found, shortest = getattr(windows, name), getattr(least, name)
        if not shortest <= found <= _LONGEST_WINDOW:
            because = sums.get(name, f"2 x {finality} of finality")
            return f"the {name} window is {found} s, expected {shortest} s ({because}) to {_LONGEST_WINDOW} s"
    return None


def least_settle_window(timing: Timing, run: int, read: int, validate: int) -> int:
    """The shortest settle window for a job that asks for these seconds."""
    needed = run + read + validate + _overhead(timing.finality_seconds, timing.transfer_allowance)
    return max(needed, timing.windows.settle)


def longest_use(windows: Windows) -> int:
    """The longest that a job with these windows holds the uses that it took: what a terms' ``maxHold`` bounds."""
    return windows.quote + 2 * windows.decide + 2 * windows.settle


def longest_hold(windows: Windows) -> int:
    """The longest that it holds the provider's stake: what an order's ``maxHold`` bounds."""
    return longest_use(windows) + windows.decide + windows.challenge


def _overhead(finality: int, transfer_allowance: int) -> int:
    return transfer_allowance + 4 * finality
