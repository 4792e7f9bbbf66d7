"""A whole job beside the same training done plainly, and where the time of a job goes.

`job_vs_plain`: opening, computing and sealing in the enclave, in seconds, beside the same training on the same rows in
a plain process. Real jobs on a market of this machine and plain runs take turns, each in fresh processes; medians
count, and both sides must give the same bytes. Waits for the chain are not in it, nor, on either side, the loading of
modules. `stage_…_s`: how long each stage of those jobs took, waits included, from the worker's own log.
`job_minute_vs_plain` and `checks_share`: the same with as many rows as keep the plain run busy for a minute, by
processor time (:mod:`scripts.benchmarks._minute`). docs/benchmarks.md says what this does not show.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from scripts.benchmarks import _cpu, _minute, _plain
from scripts.benchmarks._minute import MinutePair
from scripts.demo_story import setup, story
from scripts.demo_story.baseline import table_of
from scripts.demo_story.console import StoryConsole
from scripts.demo_story.data import parts
from scripts.demo_story.money import Money
from scripts.demo_story.stage import StoryBroken
from scripts.demo_story.story import PARAMETERS, Story
from sealmarket.client import AssetWish
from sealmarket.workloads.folders import read_bundle
from sealmarket.workloads.wheels import install
from sealmarket_enclave.protocol.errors import SealmarketError
from sealmarket_enclave.protocol.numbers import JobId
from sealmarket_localnet import chains
from sealmarket_localnet.market import LocalMarket
from sealmarket_localnet.processes import ProcessError, Supervisor

PAIRS = 9
TARGET = 1.05
BLOCK_SECONDS = 2.0
"""Long enough that a workload has loaded its modules before its data may be opened, as on any public chain."""
TRAINING = PARAMETERS | {"n_estimators": 400}
"""Twice the trees of the demo: long beside the noise of the machine, and short for a training run."""
STAGES = ("match", "prepare", "quote", "decision", "release", "load", "open", "compute", "validate", "seal", "settle")
"""In their order; a job of which no owner demands a validator has no `validate`."""
SEALED_WORK = ("open", "compute", "validate", "seal")
WAIT_SECONDS = 600.0
POLL_SECONDS = 0.2

Seconds = Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Pair:
    """One job and one plain run."""

    stages: Seconds
    plain: float
    plain_cpu: float = 0.0
    began: Seconds = field(default_factory=dict)
    """When each stage began, in Unix time."""

    @property
    def job(self) -> float:
        """Seconds that the enclave had plaintext for, or made or opened ciphertext."""
        return sum(self.stages.get(name, 0.0) for name in SEALED_WORK)


def main(arguments: Sequence[str]) -> int:
    """Measure and report; 1 when a job takes more than the target allows, 2 when nothing could be measured."""
    parser = argparse.ArgumentParser(prog="scripts/bench job", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--json", action="store_true", help="one JSON object instead of a table")
    parser.add_argument("--pairs", type=int, default=PAIRS, help=f"jobs and plain runs, by turns ({PAIRS})")
    parser.add_argument(
        "--minute-pairs", type=int, default=PAIRS, help=f"of a minute each ({PAIRS}); 0 leaves them out"
    )
    parser.add_argument(
        "--minute-seconds",
        type=float,
        default=_minute.MINUTE_SECONDS,
        help="of a processor, for the plain run of these",
    )
    options = parser.parse_args(arguments)
    folder = Path(tempfile.mkdtemp(prefix="sealmarket-"))
    try:
        pairs = _measure(folder / "short", options.pairs)
        minutes = _measure_minutes(folder / "minute", options.minute_pairs, options.minute_seconds, pairs)
    except (StoryBroken, SealmarketError, ProcessError) as error:
        print(f"nothing was measured: {error}\nThe logs are below {folder}", file=sys.stderr)
        return 2
    shutil.rmtree(folder, ignore_errors=True)
    results = _results(pairs) + _minute.results_of(minutes)
    if options.json:
        print(json.dumps({"bench": "job", "results": results}))
    else:
        _report(results, options.pairs)
    return 0 if all(one["target"] is None or one["ratio"] <= one["target"] for one in results) else 1


def _measure_minutes(folder: Path, count: int, seconds: float, pairs: Sequence[Pair]) -> list[MinutePair]:
    """The same with so many times the rows that a plain run takes about ``seconds`` of processor time."""
    if not count:
        return []
    times = _minute.times(statistics.median(pair.plain_cpu for pair in pairs), seconds)
    found = []
    with _cpu.watched() as enclaves:
        for pair in _measure(folder, count, times):
            found.append(_minute.pair_of(enclaves, pair.began, pair.stages, pair.plain_cpu))
            said = f"of a minute: job {found[-1].job:.2f} s of a processor, plain {pair.plain_cpu:.2f} s"
            print(said, file=sys.stderr, flush=True)
    return found


def _measure(folder: Path, count: int, times: int = 1) -> list[Pair]:
    pairs = []
    with Supervisor(folder / "logs") as programs:
        world = _start_market(programs, folder, times)
        for number in range(1, count + 1):
            pair = _pair(world, folder / f"pair-{number}")
            said = f"pair {number}: job {pair.job:.2f} s, plain {pair.plain:.2f} s, ratio {pair.job / pair.plain:.3f}"
            print(said, file=sys.stderr, flush=True)
            pairs.append(pair)
    return pairs


def _start_market(programs: Supervisor, folder: Path, times: int) -> Story:
    """The market of the demo, with both assets published and the worker up. ``times`` repeats the rows."""
    chain = chains.start(programs, "anvil", block_time=BLOCK_SECONDS, said=lambda note: print(note, file=sys.stderr))
    market = LocalMarket.start(programs, folder, chain.url, finality=chain.finality, final_seconds=chain.final_seconds)
    image, measurement = setup.prepare_image(folder / "image")
    demo = Story(
        console=StoryConsole(quiet=True, fast=True),
        market=market,
        folder=folder,
        parts={name: replace(part, rows=part.rows * times) for name, part in parts().items()},
        workload=setup.prepare_workload(story.WORKLOAD, folder / "workload"),
        image=image,
        measurement=measurement,
        parties=setup.create_parties(market),
        result_key=story.result_key(folder),
        money=Money(),
        patience=0.0,
    )
    story.seal_and_publish(demo)
    story.offer_compute(demo)
    bundle = read_bundle(demo.workload.folder)
    bundle.write(folder / "plain")
    install(bundle.environment, demo.workload.wheels, folder / "environment")
    return demo


# --- one pair -----------------------------------------------------------------------------------------------


def _pair(world: Story, folder: Path) -> Pair:
    """The job, then the plain run; neither runs, nor loads, while the other is timed."""
    folder.mkdir()
    insurer = world.parties.insurer
    insurer.deposit(world.money.deposit)
    began = time.monotonic()
    wishes = [AssetWish(asset_id=sealed.asset_id) for sealed in world.sealed.values()]
    handle = insurer.request(world.workload.folder, TRAINING, wishes, story.limits(world), world.result_key)
    job_id = insurer.wait_match(handle, timeout=WAIT_SECONDS)
    matched = time.monotonic() - began
    _progress(world, job_id, lambda event: event["stage"] == "settle")
    with _plain_process(world, folder) as plain:
        # It loads while the settlement becomes final.
        insurer.wait(job_id, timeout=WAIT_SECONDS)
        events = _progress(world, job_id, lambda event: event["stage"] == "settle" and event["state"] == "done")
        outputs = insurer.open_result(job_id, world.result_key)
        insurer.acknowledge(job_id)
        insurer.withdraw()
        seconds, used = _run_plainly(plain, folder, outputs)
    began_at = {event["stage"]: float(event["at"]) for event in events if event["state"] == "started"}
    stages = {event["stage"]: float(event["seconds"]) for event in events if event["state"] == "done"}
    return Pair({"match": matched, **stages}, seconds, used, began_at)


Event = Mapping[str, Any]


def _progress(world: Story, job_id: JobId, awaited: Callable[[Event], bool]) -> list[Event]:
    """The events of a job in the worker's log, once the awaited one is among them."""
    log = world.folder / "worker" / "progress.jsonl"
    deadline = time.monotonic() + WAIT_SECONDS
    while time.monotonic() < deadline:
        events = [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
        events = [event for event in events if event["job_id"] == str(job_id)]
        if broken := [event["message"] for event in events if event["state"] == "failed"]:
            raise StoryBroken(f"the worker lost job {job_id}: {broken[-1]}")
        if any(map(awaited, events)):
            return events
        time.sleep(POLL_SECONDS)
    raise StoryBroken(f"the worker's log has no end of job {job_id}: {log}")


@contextmanager
def _plain_process(world: Story, folder: Path) -> Iterator[subprocess.Popen[str]]:
    """The same training in a plain process that has begun to load its modules."""
    bundle = read_bundle(world.workload.folder)
    slots = bundle.manifest.input_names(len(setup.HOSPITALS))
    inputs = {}
    for slot, name in zip(slots, setup.HOSPITALS, strict=True):
        inputs[slot] = str(folder / slot)
        table = world.folder / f"table-{name}"
        if not table.exists():
            table.write_bytes(table_of(bundle, slot, world.parts[name].csv()))
        (folder / slot).symlink_to(table)
    settings = {
        "code": str(world.folder / "plain" / "code"),
        "environment": str(world.folder / "environment"),
        "entryPoint": bundle.manifest.entry_point,
        "inputs": inputs,
        "parameters": bundle.manifest.check_parameters(TRAINING),
        "out": str(folder),
    }
    (folder / "settings.json").write_text(json.dumps(settings))
    limits = bundle.manifest.limits
    threads, seed = str(limits.threads), str(limits.seed)
    environment = {"LC_ALL": "C.UTF-8", "PYTHONHASHSEED": seed, "SEALMARKET_SEED": seed}
    environment |= dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), threads)
    environment |= {name: os.environ[name] for name in ("LD_LIBRARY_PATH",) if name in os.environ}
    interpreter = str(Path(sys.executable).resolve())
    command = [interpreter, "-P", "-s", "-S", "-B", str(_plain.__file__), str(folder / "settings.json")]
    with subprocess.Popen(
        command,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def _run_plainly(process: subprocess.Popen[str], folder: Path, expected: Mapping[str, bytes]) -> tuple[float, float]:
    """Seconds, and those of processor time, of a plain process from its rows to its files, which must be the job's."""
    assert process.stdout is not None
    process.stdout.readline()  # it has loaded
    answer, trouble = process.communicate("go\n")
    if process.returncode != 0:
        raise StoryBroken(f"the plain run failed: {trouble[-1000:]}")
    for name, content in expected.items():
        if (folder / name).read_bytes() != content:
            raise StoryBroken(f"{name} of the plain run is not the job's: the two did not do the same work")
    seconds, used = map(float, answer.split())
    return seconds, used


# --- reporting ------------------------------------------------------------------------------------------------


def _results(pairs: Sequence[Pair]) -> list[dict[str, Any]]:
    job, plain = (statistics.median(values) for values in ([p.job for p in pairs], [p.plain for p in pairs]))
    # Each pair is one ratio: a load that slows both sides of a pair cancels out.
    ratio = statistics.median(pair.job / pair.plain for pair in pairs)
    results = [_result("job_vs_plain", job, "the same training, plainly", plain, ratio, TARGET)]
    for name in STAGES:
        seconds = statistics.median(pair.stages.get(name, 0.0) for pair in pairs)
        results.append(_result(f"stage_{name}_s", seconds, None, None, None, None))
    return results


def _result(
    name: str, value: float, beside: str | None, other: float | None, ratio: float | None, target: float | None
) -> dict[str, Any]:
    rounded = {"value": value, "beside_value": other, "ratio": ratio}
    return {
        "name": name,
        "unit": "s",
        "beside": beside,
        "target": target,
        **{key: None if number is None else round(number, 4) for key, number in rounded.items()},
    }


def _report(results: Sequence[Mapping[str, Any]], pairs: int) -> None:
    first = results[0]
    print(f"Medians of {pairs} jobs and {pairs} plain runs, by turns, in fresh processes (software mode, no TEE)\n")
    print(f"{'opening, computing and sealing in the enclave':50}{first['value']:9.3f} s")
    print(f"{first['beside']:50}{first['beside_value']:9.3f} s")
    outcome = "ok" if first["ratio"] <= TARGET else "TOO SLOW"
    print(f"{'ratio, the median of the pairs':50}{first['ratio']:9.3f}   target <= {TARGET}: {outcome}\n")
    print(f"Where a job's time goes (a block each {BLOCK_SECONDS:g} s, final after two; waits for blocks included)\n")
    for result in results[1:]:
        if result["name"].startswith("stage_"):
            print(f"  {result['name']:48}{result['value']:9.3f} s")
    _minute.report(results)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
