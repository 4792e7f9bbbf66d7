"""Every check that a change can break, each with its time; all run, then one verdict.

Those that read or compile the contracts run one after the other beside the rest, and are reported once they have ended.

scripts/test                    everything; further words go to pytest (`scripts/test tests/enclave/sealed -k chunk`)
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
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
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
    beside: bool = False
    """Whether it runs beside the others: it uses one core for long."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How one check ended, how long it took, and what it said unless that was shown."""

    check: Check
    passed: bool
    seconds: float
    said: bytes = b""


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
        Check(name="words", title="Replaced words stay out", command=[sys.executable, "-P", "-m", "scripts.words"]),
        Check(
            name="abi",
            title="ABIs as the contracts say",
            command=[sys.executable, "-P", "-m", "scripts.abi", "--check"],
            beside=True,
        ),
        Check(
            name="solhint",
            title="Solidity lint",
            command=toolchain.solhint_command("--disc", "--noPoster", "--max-warnings", "0", *contracts),
            beside=True,
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
            command=[sys.executable, "-P", "-m", "scripts.abi", "--test"],
            environment=profile,
            fast=False,
            beside=True,
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
    # A file's tests share what they started, so a file is dealt whole, and in the order of tests/conftest.py.
    options = ["--numprocesses", str(processes), "--dist", "loadfile", "--no-loadscope-reorder"]
    return [*options, "--long", "--cov", "--cov-report=term:skip-covered"] if long else options


class Runner:
    """Runs checks. Inside :meth:`beside`, the ones given there run in a thread of their own, one after the other."""

    def __init__(self) -> None:
        self._started: dict[str, Future[Outcome]] = {}
        self._running: set[subprocess.Popen[bytes]] = set()

    @contextmanager
    def beside(self, chosen: Sequence[Check]) -> Iterator[None]:
        """Start these beside the others; whatever still runs when the block ends is ended."""
        pool = ThreadPoolExecutor(max_workers=1)
        self._started = {check.name: pool.submit(self._execute, check) for check in chosen}
        try:
            yield
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
            for process in list(self._running):
                process.terminate()

    def is_over(self, check: Check) -> bool:
        """Whether a check that was begun beside the others has ended."""
        return self._started[check.name].done()

    def run(self, check: Check, headline: str) -> Outcome:
        """Run one check, or wait for it; a quiet one that fails says then what it had to say."""
        print(f"\n{headline}" if check.shown else headline, end="\n" if check.shown else " ", flush=True)
        begun = self._started.get(check.name)
        outcome = begun.result() if begun else self._execute(check)
        if not check.shown:
            print(f"{'ok' if outcome.passed else 'FAILED'} ({outcome.seconds:.1f} s)", flush=True)
            if not outcome.passed:
                said = outcome.said.decode(errors="replace")
                print(said, end="" if said.endswith("\n") else "\n", flush=True)
        return outcome

    def _execute(self, check: Check) -> Outcome:
        sink = None if check.shown else subprocess.PIPE
        environment = toolchain.node_environment() | check.environment
        started = time.monotonic()
        with subprocess.Popen(
            check.command,
            cwd=ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=subprocess.STDOUT if sink else None,
        ) as process:
            self._running.add(process)
            said, _ = process.communicate()
            self._running.discard(process)
        return Outcome(
            check=check, passed=process.returncode == 0, seconds=time.monotonic() - started, said=said or b""
        )


def run_all(chosen: Sequence[Check]) -> list[Outcome]:
    """Run all checks and report each; those that run beside the others, between two of these."""
    width = max(len(check.title) for check in chosen) + 4
    headlines = {
        check.name: f"[{place}/{len(chosen)}] {check.title} ".ljust(width + 6, ".")
        for place, check in enumerate(chosen, start=1)
    }
    beside = [check for check in chosen if check.beside]
    runner, outcomes = Runner(), []
    with runner.beside(beside):
        for check in [check for check in chosen if not check.beside]:
            while beside and runner.is_over(beside[0]):
                outcomes.append(runner.run(beside[0], headlines[beside.pop(0).name]))
            outcomes.append(runner.run(check, headlines[check.name]))
        outcomes += [runner.run(check, headlines[check.name]) for check in beside]
    return outcomes


def verdict(outcomes: Sequence[Outcome], seconds: float) -> int:
    """Say how it went, and how long all of it took; 1 when anything failed."""
    failed = [outcome for outcome in outcomes if not outcome.passed]
    times = ", ".join(f"{outcome.check.name} {outcome.seconds:.0f} s" for outcome in outcomes)
    print(f"\n{len(outcomes) - len(failed)} of {len(outcomes)} checks passed in {seconds:.0f} s ({times})")
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
        epilog="Other words go to pytest, which then runs alone: scripts/test tests/enclave/sealed -k chunk",
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
    started = time.monotonic()
    return verdict(run_all(chosen), time.monotonic() - started)


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
