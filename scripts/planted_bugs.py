"""Bugs of the kinds that audits found in markets like this one, planted one at a time: each must turn the tests red.

    python -m scripts.planted_bugs              plant them all, one after the other
    python -m scripts.planted_bugs NAME ...     some of them
    python -m scripts.planted_bugs --list
    python -m scripts.planted_bugs NAME ... --tests Sessions.t.sol,Sessions.invariant.t.sol

All are written into one copy of the contracts, each behind a switch, so that one compilation serves them all; the
address of the block's producer says which of them is on. First the copy is run with none on, and must pass. A bug
that no test notices fails the run. The bugs stand in planted_bugs.toml.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from scripts import toolchain
from scripts.toolchain import ROOT


@dataclass(frozen=True, slots=True)
class Bug:
    """One bug: in ``file`` (under `contracts/`), a whole expression or statement that stands there once, and what
    replaces it while the bug is planted (nothing, for a statement that is left out)."""

    name: str
    file: str
    right: str
    wrong: str = ""


BUGS = tuple(
    Bug(name, file, *texts)
    for file, listed in tomllib.loads((ROOT / "scripts" / "planted_bugs.toml").read_text(encoding="utf-8")).items()
    for name, texts in listed.items()
)
NONE = 0
_SWITCH = """// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.27;

library Planted {
    function on(uint256 bug) internal view returns (bool) {
        return uint160(address(block.coinbase)) == bug;
    }
}
"""
_CONFIG = """import base from "./contracts.config.js";

const tests = base.test.solidity;
const fuzz = { ...tests.fuzz, runs: 50 };
const invariant = { ...tests.invariant, runs: 16 };
const solidity = { ...tests, coinbase: process.env.PLANTED_BUG, fuzz, invariant };
export default { ...base, test: { solidity } };
"""
_RUN_SECONDS, _COMPILE_SECONDS = 1800, 7200


def planted(bugs: Iterable[tuple[int, Bug]], text: str) -> str:
    """A file's text with its bugs, each behind its number.

    Raises:
        ValueError: what is right does not stand there exactly once.
    """
    for number, bug in bugs:
        found = text.count(bug.right)
        if found != 1:
            raise ValueError(f"{bug.name}: {bug.right!r} stands {found} times in contracts/{bug.file}, expected once")
        on = f"Planted.on({number})"
        if bug.right.endswith(";"):
            switched = f"if ({on}) {{ {bug.wrong} }} else {{ {bug.right} }}"
        else:
            switched = f"({on} ? ({bug.wrong}) : ({bug.right}))"
        text = text.replace(bug.right, switched)
    return text


def copy_with_all(folder: Path) -> None:
    """Make ``folder``, which is empty, a project whose contracts carry every bug."""
    shutil.copytree(ROOT / "contracts", folder / "contracts")
    shutil.copy(ROOT / "package.json", folder / "package.json")
    shutil.copy(ROOT / "hardhat.config.js", folder / "contracts.config.js")
    (folder / "hardhat.config.js").write_text(_CONFIG)
    (folder / "node_modules").symlink_to(ROOT / "node_modules")
    contracts = folder / "contracts"
    (contracts / "Planted.sol").write_text(_SWITCH)
    for path in {contracts / bug.file for bug in BUGS}:
        name = str(path.relative_to(contracts))
        text = planted(((n, bug) for n, bug in enumerate(BUGS, start=1) if bug.file == name), path.read_text())
        up = "../" * (len(Path(name).parts) - 1) or "./"
        path.write_text(re.sub(r"(?m)^(pragma .*)$", rf'\1\nimport {{Planted}} from "{up}Planted.sol";', text, count=1))
    for path in contracts.rglob("*.sol"):
        # The switch reads the block: what was pure no longer is.
        path.write_text(re.sub(r"\bpure\b", "view", path.read_text()))


def goes_red(number: int, folder: Path, tests: Sequence[str] = (), *, compiled: bool) -> bool:
    """Whether the Solidity tests notice that a bug is on. Raises ValueError when they could not be run."""
    with subprocess.Popen(
        toolchain.hardhat_command("test", "solidity", *tests, *(["--no-compile"] if compiled else [])),
        cwd=folder,
        env=toolchain.node_environment() | {"PLANTED_BUG": f"0x{number:040x}"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as running:
        try:
            said, _ = running.communicate(timeout=_RUN_SECONDS if compiled else _COMPILE_SECONDS)
        except BaseException:
            os.killpg(running.pid, signal.SIGKILL)  # with the compiler that it started
            raise
    if " passing" not in said and " failing" not in said:
        raise ValueError(f"the tests did not run:\n{said}")
    return running.returncode != 0 and " failing" in said


def main(arguments: Sequence[str]) -> int:
    """Plant and test; 1 when one was not noticed, or when the copy fails with none on."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help="which; all when none is named")
    parser.add_argument("--list", action="store_true", help="say what there is")
    parser.add_argument("--tests", default="", metavar="FILE,...", help="of contracts/, where these are enough")
    chosen = parser.parse_args(arguments)
    unknown = set(chosen.names) - {bug.name for bug in BUGS}
    if unknown:
        parser.error(f"no such bug: {', '.join(sorted(unknown))}; --list says what there is")
    bugs = [(n, bug) for n, bug in enumerate(BUGS, start=1) if not chosen.names or bug.name in chosen.names]
    if chosen.list:
        print("\n".join(f"{bug.name:28} contracts/{bug.file}" for _, bug in bugs))
        return 0
    tests = [f"contracts/{name}" for name in chosen.tests.split(",") if name]
    with tempfile.TemporaryDirectory(prefix="sealmarket-bugs-") as name:
        folder = Path(name)
        copy_with_all(folder)
        print("compiling, and running with no bug on: minutes", flush=True)
        if goes_red(NONE, folder, tests, compiled=False):
            print("the tests fail with no bug on: mend them first", file=sys.stderr)
            return 1
        missed = [bug.name for number, bug in bugs if not _caught(number, bug, folder, tests)]
    print(f"{len(bugs) - len(missed)} of {len(bugs)} planted bugs were caught")
    return 1 if missed else 0


def _caught(number: int, bug: Bug, folder: Path, tests: Sequence[str]) -> bool:
    started = time.monotonic()
    caught = goes_red(number, folder, tests, compiled=True)
    print(f"{'caught' if caught else 'MISSED'}  {bug.name} ({time.monotonic() - started:.0f} s)", flush=True)
    return caught


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
