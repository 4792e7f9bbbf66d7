"""The rows of the fault table for accepted jobs, as amounts: what a job's end must have paid to whom.

`contracts/libraries/FaultTable.sol` is the same table, and the only code that moves the money; this is for readers who
hold an end against it. Rows are named as there.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from sealmarket_enclave.protocol.job import JobSpec


class Amounts(NamedTuple):
    """What an end pays, in the token's smallest unit."""

    payer: int
    provider: int
    stake: int
    burned: int
    owners: int


def _locked(spec: JobSpec) -> tuple[int, int, int]:
    """O, C and U."""
    return sum(use.price for use in spec.assets), int(spec.compute_price), spec.unit_price * spec.max_units


def _everything_returns(spec: JobSpec, _units: int, _fees: int) -> Amounts:
    owners, compute, metered = _locked(spec)
    return Amounts(owners + compute + metered, 0, owners + spec.penalty, 0, 0)


def _workload_failed(spec: JobSpec, units: int, _fees: int) -> Amounts:
    owners, compute, metered = _locked(spec)
    used = spec.unit_price * units
    return Amounts(metered - used, compute + used, owners + spec.penalty, 0, owners)


def _timed_out(spec: JobSpec, _units: int, _fees: int) -> Amounts:
    owners, compute, metered = _locked(spec)
    provider = min(spec.timeout_fee, compute + metered, spec.timeout_limit)
    shared = min(owners, spec.timeout_limit - provider)
    return Amounts(owners + compute + metered - provider - shared, provider, owners + spec.penalty, 0, shared)


def _provider_silent(spec: JobSpec, _units: int, fees: int) -> Amounts:
    owners, compute, metered = _locked(spec)
    return Amounts(owners + compute + metered + fees, 0, 0, spec.penalty - fees, owners)


ROWS: dict[str, Callable[[JobSpec, int, int], Amounts]] = {
    "STOPPED_BEFORE_RELEASE": _everything_returns,
    "SHARES_MISSING": _everything_returns,
    "INPUT_FAILED": _everything_returns,
    "WORKLOAD_FAILED": _workload_failed,
    "READER_TIMED_OUT": _everything_returns,
    "WORKLOAD_TIMED_OUT": _timed_out,
    "VALIDATOR_TIMED_OUT": _timed_out,
    "PROVIDER_SILENT": _provider_silent,
}
"""Each row of an accepted job that did not settle: from the job, the units that its enclave reported, and the fees that
its acceptance used, to what the end pays."""
