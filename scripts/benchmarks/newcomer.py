"""From an installation to the first result on one's own table: how many commands, and how long, beyond downloads.

A fresh virtual environment gets the wheels of this checkout with `pip install`, and then four commands start a local
market, sell the use of a table, buy a model that is trained on it, and verify the whole job. All that these would
download is fetched before, and the clock runs without an index, so that no network is in the figures. What each command
prints is kept, and shown when one fails. Anvil comes from the checkout, as `scripts/setup` brings it.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scripts.toolchain import BUILD, DISTRIBUTIONS, ROOT

TARGET_COMMANDS, TARGET_SECONDS = 4, 120
WORKLOAD = ROOT / "workloads" / "train_gradient_boosting"
INSTALLED = "sealmarket[localnet]"
ROWS = 200
WAIT_SECONDS = 600


class StepFailed(RuntimeError):
    """A command of the newcomer's did not end well."""

    def __init__(self, command: str, said: str) -> None:
        super().__init__(f"`{command}` failed:\n{said[-4000:]}")


@dataclass(frozen=True, slots=True)
class Step:
    """One command, and how long it took."""

    command: str
    seconds: float


def main(arguments: Sequence[str]) -> int:
    """Measure and report; 1 when a target is missed, 2 when nothing could be measured."""
    parser = argparse.ArgumentParser(prog="scripts/bench newcomer", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--json", action="store_true", help="one JSON object instead of a table")
    options = parser.parse_args(arguments)
    BUILD.mkdir(exist_ok=True)
    # Inside the checkout, where the market finds Anvil.
    folder = Path(tempfile.mkdtemp(prefix="newcomer-", dir=BUILD))
    try:
        steps = _measure(folder)
    except StepFailed as error:
        print(f"nothing was measured: {error}", file=sys.stderr)
        return 2
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    results = _results(steps)
    if options.json:
        print(json.dumps({"bench": "newcomer", "results": results}))
    else:
        _report(steps, results)
    return 0 if all(result["value"] <= result["target"] for result in results) else 1


def commands(home: Path) -> list[str]:
    """What a newcomer types after the installation, in the folder of their table."""
    ready = home / ".local/share/sealmarket/localnet/market/workloads" / WORKLOAD.name
    return [
        f"sealmarket localnet up --workload {WORKLOAD}",
        f"sealmarket --profile localnet owner sell table.csv --describe --policy {ready}/policy.json --out sealed"
        " --plain-key",
        f"sealmarket --profile localnet consumer buy --workload {ready}/workload --asset sealed/asset-card.json"
        " --parameter target=cost --max-compute-price 1coin --allow-simulated --result-key result.key --plain-key"
        " --out result --yes",
        "sealmarket --profile localnet verify result/*.sealproof.json",
    ]


# --- measuring ------------------------------------------------------------------------------------------------


def _measure(folder: Path) -> list[Step]:
    wheels = folder / "wheels"
    _fetch(wheels)
    home, work = folder / "home", folder / "work"
    for made in (home, work):
        made.mkdir()
    (work / "table.csv").write_text(_table())
    venv = home / "venv"
    environment = {
        "HOME": str(home),
        "PATH": f"{venv / 'bin'}{os.pathsep}{os.environ['PATH']}",
        "PIP_NO_INDEX": "1",
        "PIP_FIND_LINKS": str(wheels),
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "PIP_CACHE_DIR": str(home / "pip-cache"),
    }
    # One installation, in the words of the README: an environment, and what goes into it.
    install = f"{sys.executable} -m venv {venv} && pip install --quiet '{INSTALLED}'"
    steps = [_timed(install, work, environment)]
    try:
        steps += [_timed(command, work, environment) for command in commands(home)]
    finally:
        subprocess.run(["sealmarket", "localnet", "down"], env=environment, cwd=work, capture_output=True, check=False)
    return steps


def _fetch(wheels: Path) -> None:
    """Build our wheels, and download all others: those of the installation, and those of the workload."""
    wheels.mkdir()
    for place in DISTRIBUTIONS:
        _run([sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(wheels)], ROOT / place)
    download = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "-d", str(wheels)]
    _run([*download, "--find-links", str(wheels), INSTALLED], ROOT)
    locked = ["--no-deps", "--only-binary=:all:", "--require-hashes", "-r", str(WORKLOAD / "requirements.lock")]
    _run([*download, *locked], ROOT)


def _table() -> str:
    """A table of numbers with a header line, as a newcomer may have one."""
    chance = random.Random(1)
    rows = [(chance.randint(18, 90), chance.randint(0, 12), chance.randint(0, 1)) for _ in range(ROWS)]
    return "\n".join(["age,visits,cost", *(",".join(map(str, row)) for row in rows)]) + "\n"


def _timed(command: str, folder: Path, environment: Mapping[str, str]) -> Step:
    began = time.monotonic()
    _run(["bash", "-c", command], folder, environment)
    return Step(command, time.monotonic() - began)


def _run(command: Sequence[str], folder: Path, environment: Mapping[str, str] | None = None) -> None:
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            env=None if environment is None else dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=WAIT_SECONDS,
        )
    except subprocess.TimeoutExpired as error:
        raise StepFailed(" ".join(command), f"no end within {error.timeout:g} s") from error
    if done.returncode:
        raise StepFailed(" ".join(command), done.stdout)


# --- reporting ------------------------------------------------------------------------------------------------


def _results(steps: Sequence[Step]) -> list[dict[str, Any]]:
    total = sum(step.seconds for step in steps)
    no_peer = {"beside": None, "beside_value": None, "ratio": None}
    return [
        {"name": "newcomer_commands", "unit": "commands", "value": len(steps) - 1, "target": TARGET_COMMANDS} | no_peer,
        {"name": "newcomer_seconds", "unit": "s", "value": round(total, 2), "target": TARGET_SECONDS} | no_peer,
    ]


def _report(steps: Sequence[Step], results: Sequence[Mapping[str, Any]]) -> None:
    print("One installation and the commands after it, on a table of the reader's own (no downloads in it)\n")
    for step in steps:
        print(f"{step.seconds:8.1f} s  {step.command}")
    print()
    for result in results:
        outcome = "ok" if result["value"] <= result["target"] else "MISSED"
        print(f"{result['name']:20}{result['value']:>9} {result['unit']:9} target <= {result['target']}: {outcome}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
