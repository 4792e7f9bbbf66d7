"""An honest job's time beside each flood that a stranger can send, over its time on the same market in peace.

For each flood, jobs run first in peace and then while another process floods the market from an address of its own:
the same market, the same call, medians. A job's time goes from the signed request to the opened result. The flooder
runs at the lowest priority, so that what counts is what the listeners let through and what that costs them, and not
that two programs share the processors of one machine. docs/benchmarks.md says what each flood sends.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from scripts.benchmarks._floods import Settings
from sealmarket.protocol.wire import PostedRequest
from sealmarket_enclave.protocol.codec import HexBytes, canonical_json
from sealmarket_enclave.protocol.errors import SealmarketError
from sealmarket_localnet.processes import ProcessError, Supervisor
from tests.acceptance.market import Rehearsal, raise_curtain

ROUNDS = 5
TARGET = 2.0
LEAD_SECONDS = 20.0
"""A flood runs this long before the first job beside it, so that what it leaves behind has grown."""
LONGEST_JOB_SECONDS = 240.0
ORDER = ("connections", "uploads", "evidence", "events", "orders")
"""Orders last: what they leave in the book stays beside every later job."""


@dataclass(frozen=True, slots=True)
class Beside:
    """The seconds of the jobs in peace and under one flood, and how the market answered the flooder."""

    flood: str
    quiet: tuple[float, ...]
    flooded: tuple[float, ...]
    answers: Mapping[str, int]

    @property
    def ratio(self) -> float:
        """How much longer a job takes."""
        return statistics.median(self.flooded) / statistics.median(self.quiet)


def main(arguments: Sequence[str]) -> int:
    """Measure and report; 1 when a flood slows a job beyond the target, 2 when nothing could be measured."""
    parser = argparse.ArgumentParser(prog="scripts/bench attack", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--json", action="store_true", help="one JSON object instead of a table")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"jobs on each side of a flood ({ROUNDS})")
    parser.add_argument("--flood", action="append", choices=ORDER, help="only this one; may be repeated")
    options = parser.parse_args(arguments)
    folder = Path(tempfile.mkdtemp(prefix="sealmarket-"))
    try:
        found = measure(folder, [name for name in ORDER if name in (options.flood or ORDER)], options.rounds)
    except (AssertionError, SealmarketError, ProcessError) as error:
        print(f"nothing was measured: {error}\nThe logs are in {folder / 'logs'}", file=sys.stderr)
        return 2
    shutil.rmtree(folder, ignore_errors=True)
    print(
        json.dumps({"bench": "attack", "results": [result_of(one) for one in found]}) if options.json else table(found)
    )
    return 0 if all(one.ratio <= TARGET for one in found) else 1


def measure(folder: Path, floods: Sequence[str], rounds: int) -> list[Beside]:
    """Bring a market up and flood it in each of the ways."""
    with Supervisor(logs=folder / "logs") as programs:
        stage = raise_curtain(programs, folder)
        try:
            settings = _settings(stage)
            _job(stage)  # the first one installs packages
            return [_beside(programs, stage, settings, name, rounds) for name in floods]
        finally:
            stage.close()


def _settings(stage: Rehearsal) -> Settings:
    """A stranger's account with coin, and what is public of the honest parties to bend."""
    purse, north = stage.market.purse("stranger"), stage.sealed["north"]
    handle = stage.request(post=False)
    [offer, *_] = stage.api.orders.compute_orders()
    return Settings(
        rpc=stage.market.rpc,
        book=str(stage.market.book_file),
        counts="",
        key=HexBytes(bytes(purse.account.key)),
        request=PostedRequest(request=handle.signed, parameters=handle.parameters),
        compute=offer,
        seal=north.seal,
        terms=north.terms,
    )


def _beside(programs: Supervisor, stage: Rehearsal, settings: Settings, name: str, rounds: int) -> Beside:
    quiet = [_job(stage) for _ in range(rounds)]
    counts, file = stage.folder / f"{name}.counts", stage.folder / f"{name}.json"
    file.write_bytes(canonical_json(replace(settings, counts=str(counts))))
    command = [sys.executable, "-m", "scripts.benchmarks._floods", name, str(file)]
    flooder = programs.start(f"flood-{name}", command, ready=lambda _: counts.exists(), timeout=60)
    threading.Event().wait(LEAD_SECONDS)
    flooded = [_job(stage) for _ in range(rounds)]
    if flooder.status is not None:
        raise AssertionError(f"the flooder ended: {flooder.tail()}")
    flooder.stop()
    found = Beside(name, tuple(quiet), tuple(flooded), json.loads(counts.read_text()))
    print(f"{name}: quiet {_spread(quiet)}, flooded {_spread(flooded)}, {found.answers}", file=sys.stderr, flush=True)
    return found


def _job(stage: Rehearsal) -> float:
    """Seconds from the signed request to the opened result."""
    began = time.monotonic()
    job_id = stage.consumer.wait_match(stage.request(), timeout=LONGEST_JOB_SECONDS)
    stage.consumer.wait(job_id, timeout=LONGEST_JOB_SECONDS)
    stage.consumer.open_result(job_id, stage.result_key)
    return time.monotonic() - began


# --- reporting ------------------------------------------------------------------------------------------------


def result_of(one: Beside) -> dict[str, Any]:
    """One result under its stable name."""
    return {
        "name": f"flood_{one.flood}",
        "value": round(statistics.median(one.flooded), 3),
        "unit": "s",
        "beside": "the same job in peace",
        "beside_value": round(statistics.median(one.quiet), 3),
        "ratio": round(one.ratio, 3),
        "target": TARGET,
    }


def table(found: Sequence[Beside]) -> str:
    """For people."""
    lines = [
        f"{'flood':14}{'in peace':>10}{'flooded':>10}{'ratio':>8}   target <= {TARGET:g}; the flooder was answered"
    ]
    for one in found:
        said = ", ".join(f"{count} x {status}" for status, count in sorted(one.answers.items()))
        result = result_of(one)
        outcome = "ok" if one.ratio <= TARGET else "TOO SLOW"
        times = f"{result['beside_value']:>9.2f}s{result['value']:>9.2f}s{result['ratio']:>8.2f}"
        lines.append(f"{one.flood:14}{times}   {outcome}; {said}")
    return "\n".join(lines)


def _spread(seconds: Sequence[float]) -> str:
    return f"{min(seconds):.1f}-{max(seconds):.1f} s"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
