"""What one market costs at 10^2 to 10^7 jobs a day, from figures that were measured: a model on paper.

Each figure says where it was measured. Processor times and sizes are read from what the benches printed with ``--json``
(docs/measured), those of gas from the gas report. What is no figure of this repository (a chain's blocks and prices,
the size of a container) is a setting with a default, and can be changed on the command line. The model adds and
multiplies; it knows no queues and no peaks but :attr:`Settings.peak`.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
MEASURED = ROOT / "docs" / "measured"
DAY = 86_400
SCALES = tuple(10**power for power in range(2, 8))
BATCHED = 16
"""Entries of a batch, above which a batch saves no more: `job_total_batch16` of the gas report."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """Measured here. Processor times in microseconds of one core, sizes in bytes."""

    gas_alone: int
    """A job whose steps are transactions of their own (contracts/gas.json, job_total)."""
    gas_batched: int
    """The same where 16 jobs share each transaction of the keeper (job_total_batch16)."""
    order_us: int
    """One order accepted (scripts/bench orders, orders_accepted)."""
    match_us: int
    """One search in a book of a million offers, median (scripts/bench match)."""
    event_us: int
    """One event stored in the index, in SQLite, without reading it from a node (scripts/bench index, index_events)."""
    row_bytes: int
    """Of tables for each job, with indexes and what can be taken back (scripts/bench index, index_job_bytes)."""
    evidence_us: int
    """One first sight of a TDX machine's evidence, verification alone (scripts/bench verify, verify_tdx_first)."""
    events: int = 5
    """Of a job that ends well: matched, quoted, decided, settled, matured."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What is assumed."""

    block_gas: int = 45_000_000
    """Of a block of layer 1."""
    block_seconds: float = 12.0
    rollup_gas_per_second: int = 10_000_000
    """That a rollup takes in all."""
    share: float = 0.1
    """Of a chain's gas that one market can have before its own fees rise."""
    gwei: float = 2.0
    """For one gas of layer 1."""
    rollup_gwei: float = 0.01
    peak: float = 5.0
    """The busiest minute beside the mean."""
    requests: float = 1.2
    """Requests for each job: some are not matched."""
    nodes: int = 5
    evidence_bytes: int = 60_000
    """Of a job's evidence and its collateral, as each node reads it."""
    container_bytes: int = 100_000_000
    """That a host fetches for each job it has no copy for."""
    fetched: float = 0.1
    """Jobs whose container no cache has."""
    result_bytes: int = 5_000_000
    kept_days: float = 7.0
    """How long the store keeps evidence and results."""
    calls: int = 15
    """Of a chain's node for each job by the keeper: where it stands, a simulation and a submission for each step."""
    call_ms: float = 5.0
    """Each, one after the other."""


@dataclass(frozen=True, slots=True)
class Row:
    """What one scale costs. ``limits``: each part's use of what it has at the peak; above 1 it gives way."""

    jobs: int
    gas_per_job: int
    coin_l1: float
    coin_rollup: float
    backend_cores: float
    matcher: float
    node_cores: float
    rows_gb_year: float
    blobs_gb: float
    moved_mbit: float
    limits: dict[str, float]

    @property
    def first(self) -> str:
        """The part that gives way first."""
        return max(self.limits, key=lambda name: self.limits[name])


def measured() -> Figures:
    """The figures, as benches and gas report have them."""
    gas = json.loads((ROOT / "contracts" / "gas.json").read_text())
    return Figures(
        gas_alone=gas["job_total"],
        gas_batched=gas["job_total_batch16"],
        order_us=round(1e6 / _value("orders", "orders_accepted")),
        match_us=round(_recorded("match")["sizes"][-1]["whole_p50_us"]),
        event_us=round(1e6 / _value("index", "index_events")),
        row_bytes=round(_value("index", "index_job_bytes")),
        evidence_us=round(1e6 / _value("verify", "verify_tdx_first")),
    )


def _recorded(bench: str) -> dict[str, Any]:
    """What a bench printed with ``--json``."""
    found: dict[str, Any] = json.loads((MEASURED / f"{bench}.json").read_text())
    return found


def _value(bench: str, name: str) -> float:
    return next(float(one["value"]) for one in _recorded(bench)["results"] if one["name"] == name)


def gas_of(jobs: int, figures: Figures, settings: Settings) -> int:
    """Gas for each job: as many share a transaction as come in one block."""
    together = min(BATCHED, max(1.0, jobs * settings.block_seconds / DAY))
    saved = (1 - 1 / together) / (1 - 1 / BATCHED)
    return round(figures.gas_alone - saved * (figures.gas_alone - figures.gas_batched))


def row_of(jobs: int, figures: Figures, settings: Settings) -> Row:
    """One scale."""
    gas, second = gas_of(jobs, figures, settings), jobs / DAY
    peak = second * settings.peak
    order_us = settings.requests * figures.order_us
    keeper_us = settings.requests * figures.match_us + figures.events * figures.event_us
    node_us = figures.evidence_us
    l1 = settings.block_gas / settings.block_seconds * settings.share
    keeper = keeper_us / 1e6 + settings.calls * settings.call_ms / 1e3
    blobs = settings.evidence_bytes + settings.result_bytes
    moved = settings.fetched * settings.container_bytes + settings.nodes * settings.evidence_bytes + blobs
    moved += settings.result_bytes
    return Row(
        jobs=jobs,
        gas_per_job=gas,
        coin_l1=jobs * gas * settings.gwei / 1e9,
        coin_rollup=jobs * gas * settings.rollup_gwei / 1e9,
        backend_cores=peak * (order_us + keeper_us) / 1e6,
        matcher=peak * keeper,
        node_cores=peak * node_us / 1e6,
        rows_gb_year=jobs * 365 * figures.row_bytes / 1e9,
        blobs_gb=jobs * settings.kept_days * blobs / 1e9,
        moved_mbit=peak * 8 * moved / 1e6,
        limits={
            "gas of layer 1": peak * gas / l1,
            "gas of a rollup": peak * gas / (settings.rollup_gas_per_second * settings.share),
            "one matcher and keeper": peak * keeper,
            "one core of each oracle node": peak * node_us / 1e6,
            "one writer of the tables": peak * (order_us + keeper_us) / 1e6,
            "a store on 10 Gbit/s": peak * 8 * moved / 1e10,
        },
    )


def table(rows: Sequence[Row]) -> str:
    """As docs/scale.md shows it."""
    lines = [
        "| jobs a day | gas a job | coin a day on layer 1 | on a rollup | cores of backends | cores of each node"
        " | tables a year | blobs | bandwidth at the peak |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {row.jobs:,} | {row.gas_per_job:,} | {row.coin_l1:,.3g} | {row.coin_rollup:,.3g} | {row.backend_cores:.2g}"
        f" | {row.node_cores:.2g} | {row.rows_gb_year:,.3g} GB | {row.blobs_gb:,.3g} GB"
        f" | {row.moved_mbit:,.3g} Mbit/s |"
        for row in rows
    ]
    names = list(rows[0].limits)
    lines += ["", f"| jobs a day | {' | '.join(names)} |", f"|---|{'---|' * len(names)}"]
    for row in rows:
        cells = (f"**{used:.2g}**" if used > 1 else f"{used:.2g}" for used in row.limits.values())
        lines.append(f"| {row.jobs:,} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main(arguments: Sequence[str]) -> int:
    """Print the tables, or JSON."""
    parser = argparse.ArgumentParser(prog="scripts/simulate_scale", description=__doc__.partition("\n")[0])
    parser.add_argument("--json", action="store_true", help="one JSON object instead of tables")
    for one in fields(Settings):
        kind, name = (int if one.type == "int" else float), f"--{one.name.replace('_', '-')}"
        parser.add_argument(name, type=kind, default=one.default, help=f"default {one.default}")
    chosen = vars(parser.parse_args(arguments))
    as_json = chosen.pop("json")
    figures, settings = measured(), Settings(**chosen)
    rows = [row_of(jobs, figures, settings) for jobs in SCALES]
    if as_json:
        shown = [{one.name: getattr(row, one.name) for one in fields(Row)} | {"first": row.first} for row in rows]
        print(json.dumps({"scale": shown}))
    else:
        print(table(rows))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
