"""Every check that a change can break, one after the other, each with its time; all run, then one verdict.

scripts/test                    everything; further words go to pytest (`scripts/test tests/sealed -k chunk`)
scripts/test --fast             without the tests: format, lint, types, imports, Solidity linter, ABIs
scripts/test --long             adds the long tier: fuzzing, mutation, soak, coverage
scripts/test --only NAME ...    one or some of them; `--list` says what there is
scripts/test --fix              let the formatter and the linter repair what they can, and stop
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from scripts import toolchain
from scripts.toolchain import ROOT

BIN = Path(sys.executable).parent
MOST_TEST_PROCESSES = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One command, with a name for people."""

    name: str
    title: str
    command: Sequence[str]
    environment: dict[str, str] = field(default_factory=dict)
    fast: bool = True
    shown: bool = False
    """Whether its output is shown as it comes, or only when it fails."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How one check ended, and how long it took."""

    check: Check
    passed: bool
    seconds: float


def checks(*, long: bool, pytest_arguments: Sequence[str]) -> list[Check]:
    """All checks, in the order in which they run."""
    contracts = [str(path.relative_to(ROOT)) for path in sorted((ROOT / "contracts").rglob("*.sol"))]
    profile = {"SEALMARKET_FUZZ_PROFILE": "long"} if long else {}
    return [
        Check(name="format", title="Python format", command=_tool("ruff", "format", "--check", "--quiet", ".")),
        Check(
            name="lint",
            title="Python lint",
            command=_tool("ruff", "check", "--quiet", "--output-format", "concise", "."),
        ),
        Check(name="types", title="Python types, strict", command=_tool("mypy", "--no-error-summary")),
        Check(name="imports", title="Imports point one way", command=_tool("lint-imports", "--no-cache")),
        Check(
            name="solhint",
            title="Solidity lint",
            command=toolchain.solhint_command("--disc", "--noPoster", "--max-warnings", "0", *contracts),
        ),
        Check(
            name="abi",
            title="ABIs as the contracts say",
            command=[sys.executable, "-P", "-m", "scripts.abi", "--check"],
        ),
        Check(
            name="gas",
            title="Gas as the snapshot says",
            command=[sys.executable, "-P", "-m", "scripts.benchmarks", "gas", "--check"],
            fast=False,
        ),
        Check(
            name="solidity",
            title="Solidity tests",
            command=toolchain.hardhat_command("test", "solidity"),
            environment=profile,
            fast=False,
        ),
        Check(
            name="pytest",
            title="Python tests",
            command=[sys.executable, "-P", "-m", "pytest", *pytest_options(long), *pytest_arguments],
            fast=False,
            shown=True,
        ),
    ]


def _tool(name: str, *arguments: str) -> list[str]:
    return [str(BIN / name), *arguments]


def pytest_options(long: bool) -> list[str]:
    processes = min(os.cpu_count() or 1, MOST_TEST_PROCESSES)
    # A file's tests share what they started, so a file is dealt whole.
    options = ["--numprocesses", str(processes), "--dist", "loadfile"]
    return [*options, "--long", "--cov", "--cov-report=term:skip-covered"] if long else options


def run(check: Check, headline: str) -> Outcome:
    """Run one check; a quiet one that fails says then what it had to say."""
    print(f"\n{headline}" if check.shown else headline, end="\n" if check.shown else " ", flush=True)
    started = time.monotonic()
    done = subprocess.run(
        check.command,
        cwd=ROOT,
        env=toolchain.node_environment() | check.environment,
        stdin=subprocess.DEVNULL,
        stdout=None if check.shown else subprocess.PIPE,
        stderr=None if check.shown else subprocess.STDOUT,
        check=False,
    )
    seconds = time.monotonic() - started
    passed = done.returncode == 0
    if not check.shown:
        print(f"{'ok' if passed else 'FAILED'} ({seconds:.1f} s)")
        if not passed:
            print(done.stdout.decode(errors="replace"), end="" if done.stdout.endswith(b"\n") else "\n")
    return Outcome(check=check, passed=passed, seconds=seconds)


def verdict(outcomes: Sequence[Outcome]) -> int:
    """Say how it went; 1 when anything failed."""
    failed = [outcome for outcome in outcomes if not outcome.passed]
    total = sum(outcome.seconds for outcome in outcomes)
    times = ", ".join(f"{outcome.check.name} {outcome.seconds:.0f} s" for outcome in outcomes)
    print(f"\n{len(outcomes) - len(failed)} of {len(outcomes)} checks passed in {total:.0f} s ({times})")
    for outcome in failed:
        print(f"FAILED: {outcome.check.title}   again alone: scripts/test --only {outcome.check.name}")
    return 1 if failed else 0


def fix() -> int:
    """Repair what the formatter and the linter can."""
    commands = [_tool("ruff", "check", "--fix", "--quiet", "."), _tool("ruff", "format", "--quiet", ".")]
    return max(subprocess.run(command, cwd=ROOT, check=False).returncode for command in commands)


def main(arguments: Sequence[str]) -> int:
    """Run what was asked for; the exit status."""
    parser = argparse.ArgumentParser(
        prog="scripts/test",
        description="Every check that a change can break.",
        epilog="Other words go to pytest, which then runs alone: scripts/test tests/sealed -k chunk",
    )
    parser.add_argument("--fast", action="store_true", help="the quick checks only, without the tests")
    parser.add_argument("--long", action="store_true", help="the long tier as well")
    parser.add_argument("--only", action="append", metavar="NAME", help="this check only; may be repeated")
    parser.add_argument("--list", action="store_true", help="say what the checks are")
    parser.add_argument("--fix", action="store_true", help="repair format and lint, and stop")
    options, rest = parser.parse_known_args(arguments)
    if options.fix:
        return fix()
    chosen = checks(long=options.long, pytest_arguments=rest)
    known = [check.name for check in chosen]
    if options.list:
        print("\n".join(f"{check.name:10} {check.title}" for check in chosen))
        return 0
    unknown = [name for name in options.only or [] if name not in known]
    if unknown:
        parser.error(f"no check is named {', '.join(unknown)}; there are {', '.join(known)}")
    if options.only:
        chosen = [check for check in chosen if check.name in options.only]
    elif options.fast:
        chosen = [check for check in chosen if check.fast]
    elif rest:
        chosen = [check for check in chosen if check.name == "pytest"]
    width = max(len(check.title) for check in chosen) + 4
    outcomes = []
    for place, check in enumerate(chosen, start=1):
        headline = f"[{place}/{len(chosen)}] {check.title} ".ljust(width + 6, ".")
        outcomes.append(run(check, headline))
    return verdict(outcomes)


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
