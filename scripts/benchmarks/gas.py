"""Gas of each step of a job, from real transactions with slots that are used for the first time.

On Anvil at Shanghai rules, with a committee of three and threshold two; what three signatures of a committee of five
cost stands beside it. Every party, asset, order and request is
fresh; digests, salts and keys are random-looking words, prices have wei in them: no zero byte that a real call would
not have. What a deployment touches once only (the fee book of an epoch, its members) is touched before.
Other figures of the same kind stand beside the named ones: the rarer paths.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from scripts.benchmarks._gas_world import SETTLE_WINDOW, Job, World
from scripts.benchmarks._session_gas import SessionWorld
from sealmarket.protocol.decisions import Outcome
from sealmarket_localnet import chains
from sealmarket_localnet.processes import Supervisor

ROOT = Path(__file__).resolve().parents[2]
SNAPSHOT = ROOT / "contracts" / "gas.json"
BATCH = 16
CLOCK_GAS = 100
"""What a figure may differ by: the clock's bytes are part of the calldata, and zero bytes are cheaper."""
TARGETS = {
    "publish_asset": 155_000,
    "match_two_assets": 195_000,
    "quote_and_verdict": 115_000,
    "settle_three_way": 115_000,
    "close_overdue": 64_000,
    "refuse_and_refund": 95_000,
    "job_total": 360_000,
    "job_total_batch16_shared": 215_000,
    "replace_allow_list": 35_000,
    "statement_16": 10_000,
    "statement_100": 7_000,
}


def measure(url: str) -> dict[str, int]:
    """Every figure, on a fresh Anvil."""
    world = World(url)
    world.warm_up()
    figures = world.publishing()
    figures |= _one_job(world)
    figures |= _three_way(world)
    figures |= _ends(world)
    figures |= _batches(world)
    figures |= world.anchoring()
    return figures


def _one_job(world: World) -> dict[str, int]:
    job = world.job(assets=1)
    steps = {
        "match_one_asset": world.match(job),
        "quote": world.quote(job),
        "verdict": world.decide(job, Outcome.ACCEPTED),
    }
    world.work()
    steps["settle_acknowledged"] = world.settle(job, acknowledged=True)
    return {
        **steps,
        "quote_and_verdict": steps["quote"] + steps["verdict"],
        "job_total": sum(steps.values()),
    }


def _larger_committee(url: str) -> dict[str, int]:
    world = World(url, members=5, threshold=3)
    world.warm_up()
    job = world.job(assets=1)
    world.match(job)
    return {"quote_and_verdict_3_of_5": world.quote(job) + world.decide(job, Outcome.ACCEPTED)}


def _services(url: str) -> dict[str, int]:
    """A service of a hundred accounts; a statement's figure is for each of its entries."""
    world = SessionWorld(url)
    world.warm_up()
    return world.figures()


def _three_way(world: World) -> dict[str, int]:
    job = world.job(assets=2)
    matched = world.match(job)
    world.quote(job)
    world.decide(job, Outcome.ACCEPTED)
    world.work()
    return {"match_two_assets": matched, "settle_three_way": world.settle(job, acknowledged=True)}


def _ends(world: World) -> dict[str, int]:
    refused = world.job(assets=1)
    world.match(refused)
    world.quote(refused)
    figures = {"refuse_and_refund": world.decide(refused, Outcome.PLATFORM_REFUSED)}
    withdrawn = world.job(assets=1)
    world.match(withdrawn)
    figures["cancel"] = world.cancel(withdrawn)
    unquoted, silent = world.job(assets=1), world.job(assets=1)
    world.match(unquoted)
    world.match(silent)
    world.quote(silent)
    world.decide(silent, Outcome.ACCEPTED)
    matured = world.job(assets=1)
    world.match(matured)
    world.quote(matured)
    world.decide(matured, Outcome.ACCEPTED)
    world.work()
    figures["settle_unacknowledged"] = world.settle(matured, acknowledged=False)
    world.pass_time(SETTLE_WINDOW)
    figures["close_overdue"] = world.close(unquoted)
    figures["close_silent_provider"] = world.close(silent)
    figures["mature"] = world.mature(matured)
    return figures


def _batches(world: World) -> dict[str, int]:
    """Sixteen jobs a transaction: of strangers to each other, and under the same orders of provider and owner; and two
    strangers' jobs, the fewest that make a batch."""
    first = world.job(assets=1)
    return {
        "job_total_batch16": _batched(world, [world.job(assets=1) for _ in range(BATCH)]),
        "job_total_batch16_shared": _batched(world, [first, *(world.job_like(first) for _ in range(BATCH - 1))]),
        "job_total_batch2": _batched(world, [world.job(assets=1) for _ in range(2)]),
    }


def _batched(world: World, jobs: Sequence[Job]) -> int:
    """Gas for each of the jobs."""
    total = world.match_batch(jobs)
    total += world.quote_batch(jobs)
    total += world.decide_batch(jobs)
    world.work()
    total += world.settle_batch(jobs)
    return total // len(jobs)


def main(arguments: Sequence[str]) -> int:
    """Measure and print; 1 when a target or the snapshot is missed."""
    parser = argparse.ArgumentParser(prog="scripts/bench gas", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--json", action="store_true", help="one JSON object instead of a table")
    parser.add_argument("--write", action="store_true", help=f"write {SNAPSHOT.relative_to(ROOT)}")
    parser.add_argument("--check", action="store_true", help="fail when a figure differs from the snapshot")
    chosen = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="sealmarket-") as logs, Supervisor(Path(logs)) as programs:
        figures = measure(chains.anvil(programs).url)
        figures |= _larger_committee(chains.anvil(programs, name="anvil-5").url)
        figures |= _services(chains.anvil(programs, name="anvil-sessions").url)
    if chosen.write:
        SNAPSHOT.write_text(json.dumps(figures, indent=2, sort_keys=True) + "\n")
    results = [
        {"name": name, "value": value, "unit": "gas"} | ({"target": TARGETS[name]} if name in TARGETS else {})
        for name, value in sorted(figures.items(), key=lambda item: (item[0] not in TARGETS, item[0]))
    ]
    if chosen.json:
        print(json.dumps({"bench": "gas", "results": results}))
    else:
        for r in results:
            target = f"  target {r['target']:7,}" if "target" in r else ""
            print(f"{r['name']:24} {r['value']:9,}{target}")
    if chosen.check:
        return _compare(figures)
    return 0 if all(figures[name] <= target for name, target in TARGETS.items()) else 1


def _compare(figures: dict[str, int]) -> int:
    recorded = json.loads(SNAPSHOT.read_text())
    names = figures.keys() | recorded.keys()
    differing = sorted(name for name in names if abs(figures.get(name, 0) - recorded.get(name, 0)) > CLOCK_GAS)
    for name in differing:
        print(f"{name}: measured {figures.get(name)}, snapshot {recorded.get(name)}", file=sys.stderr)
    if differing:
        print("if this is meant: scripts/bench gas --write", file=sys.stderr)
    return 1 if differing else 0
