"""What keeps a provider from getting jobs, or from finishing them: one line for each thing, with the next step. Pure.

:mod:`sealmarket.client.examining` reads what is examined here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from sealmarket.chain.model import Account
from sealmarket.protocol.amounts import written
from sealmarket.protocol.fitting import Rules, unmet_by_order
from sealmarket.protocol.moments import beside, duration
from sealmarket.protocol.orders import ComputeOrder
from sealmarket.protocol.salts import generations_of
from sealmarket_enclave.protocol.numbers import Grade, Tee

MOST_SKEW = 60
"""Seconds by which this machine's clock may differ from the newest block's time, beyond the time between blocks."""
STANDS_STILL = 600
"""Seconds without a block after which the chain, or the node, counts as standing still."""
QUOTES_OF_GAS = 20
"""For how many posted quotes an account should have coin."""
QUOTE_GAS = 40_000
SOON = 86_400
DEVICES = {
    Tee.SGX: "/dev/sgx_enclave",
    Tee.TDX: "/dev/tdx_guest",
    Tee.SNP: "/dev/sev-guest",
    Tee.CCA: "/dev/kvm",
    Tee.NITRO: "/dev/nitro_enclaves",
}
"""Without which the kernel of a host offers no enclave of a kind."""


class State(StrEnum):
    """How a check went. A warning is no fault yet."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "FAILED"


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at: what it is, how it is, and what to do where it is not as it should be."""

    name: str
    state: State
    found: str
    remedy: str = ""


def ok(name: str, found: str) -> Check:
    """A check without complaint."""
    return Check(name, State.OK, found)


def clock_check(now: int, head_time: int) -> Check:
    """This machine's clock against the newest block. ``now`` in seconds."""
    ahead = head_time - now
    if ahead > MOST_SKEW:
        remedy = "set this machine's clock (NTP): jobs are judged by their deadlines"
        return Check("clock", State.FAILED, f"{duration(ahead)} behind the newest block", remedy)
    if -ahead > STANDS_STILL:
        remedy = "compare with another node: the chain or this node stands still, or this machine's clock is ahead"
        return Check("clock", State.FAILED, f"the newest block is {duration(-ahead)} old", remedy)
    return ok("clock", f"within {duration(abs(ahead))} of the newest block")


def gas_check(coin: int, gas_price: int) -> Check:
    """Whether the account can pay for its transactions. Both in wei."""
    needed = QUOTES_OF_GAS * QUOTE_GAS * gas_price
    if coin < needed:
        remedy = f"send it coin: {QUOTES_OF_GAS} quotes cost about {written(needed)} in gas"
        return Check("gas", State.FAILED if coin * QUOTES_OF_GAS < needed else State.WARNING, written(coin), remedy)
    return ok("gas", f"{written(coin)} outside the market")


def offer_checks(order: ComputeOrder, account: Account, used: int, rules: Rules, now: int) -> Iterator[Check]:
    """One open offer: what no match could use, and what it will soon lack."""
    name = f"offer {str(order.struct_hash())[:10]}…"
    complaints = list(_complaints(order, account, used, rules, now))
    yield from (Check(name, state, found, remedy) for state, found, remedy in complaints)
    if not complaints:
        left = f"{order.volume - used} jobs left" if order.volume < 2**32 - 1 else "no volume"
        yield ok(name, f"{written(order.price, order.token)} a job, {left}, until {beside(order.expiry, now)}")


def _complaints(
    order: ComputeOrder, account: Account, used: int, rules: Rules, now: int
) -> Iterator[tuple[State, str, str]]:
    for unmet in unmet_by_order(order, rules, now):
        found = f"{unmet.limit} is {unmet.offered}, expected {unmet.required}"
        yield State.FAILED, found, "sealmarket provider offer, within these limits"
    if generations_of(order.salt).signer != account.generation:
        yield State.FAILED, "cancelled with all orders of before", "sealmarket provider offer"
    if used >= order.volume:
        yield State.FAILED, f"used up (volume {order.volume}), or cancelled", "sealmarket provider offer"
    if account.staked < order.penalty:
        missing = written(order.penalty - account.staked, order.token)
        yield State.FAILED, f"{missing} of stake are missing for its penalty alone", "sealmarket provider stake AMOUNT"
    elif account.staked < order.max_stake:
        free = written(account.staked, order.token)
        found = f"{free} of stake are free, and one job may lock {written(order.max_stake, order.token)}"
        yield State.WARNING, found, "sealmarket provider stake AMOUNT, or jobs over dear assets pass you by"
    if now < order.expiry <= now + SOON:
        yield State.WARNING, f"it expires {beside(order.expiry, now)}", "sealmarket provider offer"


def no_offer_check(orders: Iterable[ComputeOrder]) -> Check | None:
    """An account without an open offer gets no job."""
    if any(True for _ in orders):
        return None
    return Check("offers", State.FAILED, "none of yours is in the book", "sealmarket provider offer")


def device_checks(orders: Iterable[ComputeOrder], present: Iterable[str]) -> Iterator[Check]:
    """Whether this machine has what the offered TEEs need. ``present`` are the device files that exist."""
    there, kinds = set(present), {(order.tee, order.grade) for order in orders}
    for tee, grade in sorted(kinds):
        name = f"device for {tee.slug}"
        if grade is Grade.SIMULATED:
            yield Check(
                name, State.WARNING, "SIMULATED: no hardware is needed, none stands behind it", "for tests only"
            )
        elif DEVICES[tee] in there:
            yield ok(name, DEVICES[tee])
        else:
            remedy = "run this on the worker's machine, as its user; or enable the TEE in firmware and kernel"
            yield Check(name, State.FAILED, f"no {DEVICES[tee]} here", remedy)


def worker_check(holder: str | None, waiting: int) -> Check:
    """Whether a worker runs: by its state folder where one was named, and by jobs that wait for a quote too long.

    Args:
        holder: the process that holds the state folder; empty where no folder was named.
        waiting: jobs whose quote window is more than half over.
    """
    if waiting:
        found = f"{waiting} matched job{'s wait' if waiting > 1 else ' waits'} for an enclave, half of the time is over"
        return Check("worker", State.FAILED, found, "sealmarket worker run; each such job costs the penalty")
    if holder is None:
        return Check("worker", State.FAILED, "no process holds its state folder", "sealmarket worker run")
    if not holder:
        return ok("worker", "no job waits too long; name --state to see whether its process runs")
    return ok("worker", f"process {holder} holds the state folder")
