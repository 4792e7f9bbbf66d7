"""Releases of key shares: how long clients wait, how many a committee makes, and what a node computes beside its keys.

Committees of 2 of 2, 2 of 3 and 5 of 7, with 1, 8 and 64 clients at once. The nodes are the product's, each a process
of its own, with journals on disk and real keys; chain and store are twins in memory, and there is no network.
A share set has at least two shares, so there is no committee of 1 of 1. docs/benchmarks.md says what is in a figure.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from scripts.toolchain import ROOT

COMMITTEES = ((2, 2), (2, 3), (5, 7))
RELEASES = 256
MEMORY_RELEASES = 4_000
FLAT = 1.05
P50_MS, OVERHEAD = 10.0, 2.0
SOAK_RELEASES = 100_000
STEADY = 1.1
Found = Mapping[str, Any]


def main(arguments: Sequence[str]) -> int:
    """Measure and report; 1 when a figure misses its target."""
    parser = argparse.ArgumentParser(prog="scripts/bench release", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--json", action="store_true", help="one JSON object instead of a table")
    parser.add_argument("--releases", type=int, default=RELEASES, help=f"at each number of clients ({RELEASES})")
    parser.add_argument("--memory-releases", type=int, default=MEMORY_RELEASES, help=f"for memory ({MEMORY_RELEASES})")
    soak = f"nothing but memory, journal and processor time over N releases ({SOAK_RELEASES})"
    parser.add_argument("--soak", type=int, nargs="?", const=SOAK_RELEASES, metavar="N", help=soak)
    parser.add_argument("--parts", action="store_true", help="nothing but the processor time of each part of a release")
    parser.add_argument("--folder", type=Path, help="where journals are written; the system's folder by default")
    options = parser.parse_args(arguments)
    if options.parts:
        return _report_parts(_measure("parts", 2, 3, options.releases, options.folder), options.json)
    results = soak_of(_measure("soak", 2, 2, options.soak, options.folder)) if options.soak else _figures(options)
    if options.json:
        print(json.dumps({"bench": "release", "results": results}))
    else:
        print(table(results))
    return 0 if all(map(meets, results)) else 1


def _figures(options: argparse.Namespace) -> list[dict[str, Any]]:
    found = {(t, n): _measure("latency", t, n, options.releases, options.folder) for t, n in COMMITTEES}
    memory = _measure("memory", 2, 3, options.memory_releases, options.folder)
    return [
        *(one for (t, n), measured in found.items() for one in waits_of(t, n, measured)),
        overhead_of(found[2, 3]),
        overhead_of(found[2, 3], "64"),
        memory_of(memory),
    ]


def _measure(what: str, threshold: int, members: int, count: int, folder: Path | None) -> Found:
    """What a fresh committee's market found (:mod:`scripts.benchmarks._releases`)."""
    words = (what, str(threshold), str(members), str(count), str(folder or ""))
    command = [sys.executable, "-m", "scripts.benchmarks._releases", *words]
    done = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True)
    found: Found = json.loads(done.stdout)
    return found


# --- reporting ------------------------------------------------------------------------------------------------


def waits_of(threshold: int, members: int, found: Found) -> list[dict[str, Any]]:
    """Percentiles in milliseconds and releases per second, at each number of clients; a client more is in the name."""
    results = []
    for clients, wave in found["waves"].items():
        name = f"release_{threshold}of{members}" + (f"_{clients}_clients" if clients != "1" else "")
        for percent in (50, 95, 99):
            target = P50_MS if name == "release_2of3" and percent == 50 else None
            results.append(_result(f"{name}_p{percent}_ms", percentile(wave["waits"], percent) * 1e3, "ms", target))
        results.append(_result(f"{name}_per_s", len(wave["waits"]) / wave["seconds"], "1/s"))
    return results


def percentile(values: Sequence[float], percent: int) -> float:
    """The smallest value that at least so many of a hundred do not exceed."""
    return sorted(values)[max(0, -(-len(values) * percent // 100) - 1)]


def overhead_of(found: Found, clients: str = "1") -> dict[str, Any]:
    """A node's processor time for a release beside that of its cryptography; medians, by turns, of so many clients."""
    used = found["cpu"][clients]
    node, bare = (statistics.median(used[side]) * 1e3 for side in ("node", "bare"))
    ratio = statistics.median(n / b for n, b in zip(used["node"], used["bare"], strict=True))
    beside = {"beside": "its bare cryptography", "beside_value": round(bare, 3), "ratio": round(ratio, 3)}
    beside["cryptography"] = {name: round(count, 3) for name, count in found["cryptography"][clients].items()}
    name = "release_overhead" + (f"_{clients}_clients" if clients != "1" else "")
    return _result(name, node, "ms of CPU") | beside | {"target": OVERHEAD}


def memory_of(found: Found) -> dict[str, Any]:
    """Resident memory after all releases beside that after half of them."""
    early, late = (found[name] / (1 << 20) for name in ("early", "late"))
    beside = {"beside": f"{found['releases']} releases earlier", "beside_value": round(early, 1)}
    return _result("release_memory", late, "MiB") | beside | {"ratio": round(late / early, 4), "target": FLAT}


def soak_of(found: Found) -> list[dict[str, Any]]:
    """Memory and processor time of the last fifth of many releases beside the second, once caches are full; and bytes
    of one node's journal for each release."""
    samples = found["samples"]
    fifth = len(samples) // 5
    early, late = samples[fifth : 2 * fifth], samples[-fifth:]
    between = f"{late[-1]['releases'] - early[-1]['releases']} releases earlier"
    results = []
    for name, key, unit, one, target in (
        ("release_soak_memory", "memory", "MiB", 1 << 20, FLAT),
        ("release_soak_cpu", "cpu", "ms of CPU", 1e-3, STEADY),
    ):
        was, now = (statistics.median(sample[key] for sample in part) / one for part in (early, late))
        beside = {"beside": between, "beside_value": round(was, 3), "ratio": round(now / was, 4)}
        results.append(_result(name, now, unit) | beside | {"target": target})
    grown = (late[-1]["journal"] - early[0]["journal"]) / (late[-1]["releases"] - early[0]["releases"])
    results.append(_result("release_soak_journal", grown / 1024, "KiB a release"))
    results.append(_result("release_soak_wal", max(sample["wal"] for sample in samples) / (1 << 20), "MiB"))
    return results


def _report_parts(found: Found, as_json: bool) -> int:
    if as_json:
        print(json.dumps({"bench": "release", "parts": found}))
        return 0
    for clients, one in found.items():
        node = one["node"]
        print(f"{clients} clients: {node * 1e3:.2f} ms of CPU, {node / one['bare']:.1f} times its bare cryptography")
        rest = ("threads, and what is in no part", node - sum(one["parts"].values()))
        for part, seconds in sorted([*one["parts"].items(), rest], key=lambda named: -named[1]):
            print(f"  {part:44}{seconds * 1e3:7.3f} ms {seconds / node:5.0%}")
    return 0


def meets(result: Mapping[str, Any]) -> bool:
    """Whether a figure is within its target: its ratio, or its value where it stands beside nothing."""
    if result["target"] is None:
        return True
    found = result["value"] if result["ratio"] is None else result["ratio"]
    return bool(found < result["target"] if result["ratio"] is None else found <= result["target"])


def _result(name: str, value: float, unit: str, target: float | None = None) -> dict[str, Any]:
    return {"name": name, "value": round(value, 3), "unit": unit, "beside": None, "beside_value": None, "ratio": None,
            "target": target}  # fmt: skip


def table(results: Sequence[Mapping[str, Any]]) -> str:
    """The results for people."""
    lines = [f"Each node of a committee a process, on {len(os.sched_getaffinity(0))} processors", ""]
    for one in results:
        line = f"{one['name']:30}{one['value']:11.2f} {one['unit']}"
        if one["ratio"] is not None:
            line += f"  beside {one['beside']}: {one['beside_value']:.2f}, ratio {one['ratio']:.2f}"
        if one["target"] is not None:
            line += f"  (target {one['target']:g}: {'ok' if meets(one) else 'MISSED'})"
        lines.append(line)
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
