"""Events that the index stores as typed rows, per second of CPU, beside bare decoding of the same logs by `eth_abi`.

The logs are those of a market in use: jobs that settle, with what their parties deposit, stake and cancel, some that
are challenged, and a service with its tabs. Each becomes a typed value, a row of `events`, and a change of the job or
asset that it is about, in a SQLite file, a range of blocks in one durable transaction. Beside it stands `eth_abi` on
the same topics and data. Each round is a fresh process in which both take turns, a range each. Not in it, on either
side: what the JSON of a node takes to read.

`index_job_bytes` is the size of that file for each of its jobs: rows, their indexes and what can be taken back.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from sealmarket_backend.tables import Database

ROOT = Path(__file__).resolve().parents[2]
TARGET = 0.6
JOBS, RANGES = 400, 20


def main(arguments: Sequence[str]) -> int:
    """Measure, print a table or JSON; 1 when the ratio is below its target."""
    parser = argparse.ArgumentParser(prog="scripts/bench index", description=__doc__.partition("\n")[0])
    parser.add_argument("--json", action="store_true", help="one JSON object instead of a table")
    parser.add_argument("--rounds", type=int, default=5, help="fresh processes")
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    chosen = parser.parse_args(arguments)
    if chosen.one:
        print(json.dumps(measured()))
        return 0
    command = [sys.executable, "-m", "scripts.benchmarks.index", "--one"]
    found: list[tuple[float, float, float]] = []
    for _ in range(chosen.rounds):
        done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
        found.append(tuple(json.loads(done.stdout)))
    ours, bare, size = (statistics.median(side) for side in zip(*found, strict=True))
    ratio = statistics.median(one / other for one, other, _ in found)
    results = [
        {
            "name": "index_events", "value": ours, "unit": "1/s per core", "beside": "eth_abi decoding",
            "beside_value": bare, "ratio": ratio, "target": TARGET,
        },
        {
            "name": "index_job_bytes", "value": size, "unit": "B", "beside": None,
            "beside_value": None, "ratio": None, "target": None,
        },
    ]  # fmt: skip
    if chosen.json:
        print(json.dumps({"bench": "index", "results": results}))
    else:
        print(f"index_events {ours:.0f} 1/s per core  beside eth_abi {bare:.0f}  ratio {ratio:.2f} (>= {TARGET})")
        print(f"index_job_bytes {size:.0f} B")
    return 0 if ratio >= TARGET else 1


def measured(jobs: int = JOBS, ranges: int = RANGES) -> tuple[float, float, float]:
    """Events per CPU second: ours into a SQLite file, and bare decoding; bytes of the file for each job."""
    from eth_abi.abi import decode

    from scripts.benchmarks._events import Market, logs_of
    from sealmarket.chain import abi
    from sealmarket.chain.interface import ChainReader
    from sealmarket_backend.index import Index
    from sealmarket_backend.tables import Database

    logs = list(logs_of(jobs))
    kinds = {
        topic: tuple([part.canonical for part in entry.inputs if part.indexed is yes] for yes in (True, False))
        for contract in ("AssetRegistry", "OracleCommittee", "Market", "Sessions")
        for topic, entry in abi.load(contract).events.items()
    }
    spent = [0.0, 0.0]
    with tempfile.TemporaryDirectory() as folder, Database(Path(folder) / "backend.sqlite") as database:
        market = Market(logs, ranges)
        index = Index(database, cast(ChainReader, market), start=1)
        for part in market.parts():
            began = time.process_time()
            index.advance()
            spent[0] += time.process_time() - began
            began = time.process_time()
            for log in part:
                indexed, rest = kinds[log.topics[0]]
                for kind, topic in zip(indexed, log.topics[1:], strict=True):
                    decode([kind], topic)
                decode(rest, log.data)
            spent[1] += time.process_time() - began
        size = math.prod(_pragma(database, name) for name in ("page_count", "page_size"))
    return len(logs) / spent[0], len(logs) / spent[1], size / jobs


def _pragma(database: Database, name: str) -> int:
    row = database.row(f"PRAGMA {name}")
    assert row is not None
    return int(row[0])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
