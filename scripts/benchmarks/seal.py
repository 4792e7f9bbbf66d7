"""Sealing and opening beside the bare cipher, `openssl speed -evp aes-256-gcm`, in the same call; and their memory.

Both sides take turns, each in fresh processes; medians of the rounds' ratios count. The bare cipher runs in one
thread on pieces of a MiB, and hashes nothing: a container is hashed too, so that it can be checked without a key.
docs/benchmarks.md says what this does not show.
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
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from scripts.benchmarks import _sealing
from scripts.toolchain import ROOT

ROUNDS = 9
MEMORY_BYTES = 256 << 20
FILE_BYTES = 256 << 20
PIECE = 1 << 20
PEAK_MIB = 64


@dataclass(frozen=True, slots=True)
class Measure:
    """One figure. ``threads`` 0 are the processors of this process; ``target`` the least ratio to the bare cipher."""

    name: str
    work: str
    size: int
    threads: int
    target: float


MEASURES = (
    Measure("seal_memory", "seal_memory", MEMORY_BYTES, 0, 0.8),
    Measure("open_memory", "open_memory", MEMORY_BYTES, 0, 0.8),
    Measure("seal_memory_one_core", "seal_memory", MEMORY_BYTES, 1, 0.45),
    Measure("seal_file", "seal_file", FILE_BYTES, 0, 0.45),
    Measure("open_file", "open_file", FILE_BYTES, 0, 0.4),
)


def main(arguments: Sequence[str]) -> int:
    """Measure and report; 1 when a figure misses its target."""
    parser = argparse.ArgumentParser(prog="scripts/bench seal", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--json", action="store_true", help="one JSON object instead of a table")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"of all measures, by turns ({ROUNDS})")
    parser.add_argument("--folder", type=Path, help="where files are written; the system's folder for such by default")
    options = parser.parse_args(arguments)
    peer = shutil.which("openssl")
    rounds = [_round(peer, options.folder) for _ in range(options.rounds)]
    results = results_of(rounds, "openssl speed -evp aes-256-gcm" if peer else "AES-256-GCM of cryptography, plainly")
    if options.json:
        print(json.dumps({"bench": "seal", "results": results}))
    else:
        _report(results, options.rounds, has_openssl=peer is not None)
    return 0 if all(map(meets, results)) else 1


Round = Mapping[str, Mapping[str, float]]


def _round(openssl: str | None, folder: Path | None) -> Round:
    """Each measure between two looks at the peer: ``rate`` and ``peer`` in bytes per second, ``peak_mib``."""
    found = {}
    for one in MEASURES:
        # One thread is compared by processor time, several by the clock on the wall, and the peer by the same.
        by_wall = one.threads != 1
        before = _bare(openssl, by_wall=by_wall)
        made = _once(one, folder)
        after = _bare(openssl, by_wall=by_wall)
        seconds = made["wall_s" if by_wall else "cpu_s"]
        found[one.name] = {
            "rate": one.size / seconds, "peer": (before + after) / 2, "peak_mib": made["peak_mib"]
        }  # fmt: skip
    return found


def _once(one: Measure, folder: Path | None) -> dict[str, float]:
    with tempfile.TemporaryDirectory(prefix="sealmarket-", dir=folder) as own:
        command = [sys.executable, str(_sealing.__file__), one.work, str(one.size), str(one.threads), own]
        done = subprocess.run(
            command, capture_output=True, text=True, check=True, env=os.environ | {"PYTHONPATH": str(ROOT)}
        )
    found: dict[str, float] = json.loads(done.stdout)
    return found


def _bare(openssl: str | None, *, by_wall: bool) -> float:
    """Bytes per second that the bare cipher encrypts in one thread, in a process of its own."""
    if openssl is None:
        return _bare_here(time.perf_counter if by_wall else time.process_time)
    clock = ["-elapsed"] if by_wall else []
    command = [openssl, "speed", "-mr", *clock, "-seconds", "1", "-bytes", str(PIECE), "-evp", "aes-256-gcm"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return openssl_rate(done.stdout)


def openssl_rate(said: str) -> float:
    """Bytes per second from what `openssl speed -mr` prints: the last field of its line `+F`."""
    lines = [line for line in said.splitlines() if line.startswith("+F:")]
    return float(lines[-1].rsplit(":", 1)[1])


def _bare_here(clock: Callable[[], float]) -> float:
    cipher, plain, sealed = AESGCM(bytes(32)), bytearray(PIECE), bytearray(PIECE + 16)
    began, count = clock(), 0
    while (taken := clock() - began) < 1:
        cipher.encrypt_into(count.to_bytes(12, "big"), plain, b"", sealed)
        count += 1
    return count * PIECE / taken


# --- reporting ------------------------------------------------------------------------------------------------


def results_of(rounds: Sequence[Round], peer: str) -> list[dict[str, Any]]:
    """One result a measure, in MiB per second, and the peak of those that stream from file to file."""
    results = []
    for one in MEASURES:
        mine = [found[one.name] for found in rounds]
        rate, bare = (statistics.median(entry[key] for entry in mine) for key in ("rate", "peer"))
        ratio = statistics.median(entry["rate"] / entry["peer"] for entry in mine)
        results.append(_result(one.name, rate / (1 << 20), "MiB/s", peer, bare / (1 << 20), ratio, one.target))
    peak = max(found[name]["peak_mib"] for found in rounds for name in ("seal_file", "open_file"))
    results.append(_result("seal_peak_mib", peak, "MiB", "the limit", PEAK_MIB, peak / PEAK_MIB, 1.0))
    return results


def meets(result: Mapping[str, Any]) -> bool:
    """Whether a figure meets its target: a rate at least, the peak below it."""
    ratio, target = float(result["ratio"]), float(result["target"])
    return ratio < target if result["name"] == "seal_peak_mib" else ratio >= target


def _result(
    name: str, value: float, unit: str, beside: str, other: float, ratio: float, target: float
) -> dict[str, Any]:
    return {"name": name, "value": round(value, 2), "unit": unit, "beside": beside,
            "beside_value": round(other, 2), "ratio": round(ratio, 4), "target": target}  # fmt: skip


def _report(results: Sequence[Mapping[str, Any]], rounds: int, *, has_openssl: bool) -> None:
    print(f"Medians of {rounds} rounds, by turns, in fresh processes, on {len(os.sched_getaffinity(0))} processors")
    if not has_openssl:
        print("There is no `openssl` here: the same cipher runs through the library that sealing uses.")
    print(f"\n{'':24}{'':>12}{results[0]['beside']:>40}{'ratio':>9}{'target':>9}")
    for one in results:
        bound = "<" if one["name"] == "seal_peak_mib" else ">="
        outcome = "ok" if meets(one) else "MISSED"
        figures = f"{one['value']:9.1f} {one['unit']:6}{one['beside_value']:33.1f} {one['unit']:6}{one['ratio']:9.3f}"
        print(f"{one['name']:24}{figures} {bound:>2} {one['target']:<5} {outcome}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
