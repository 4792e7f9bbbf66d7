"""Where things lie in this checkout, and the programs that its set-up brought.

Standard library only, since the set-up itself uses it before anything is installed.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
VENV = ROOT / ".venv"
NODE_MODULES = ROOT / "node_modules"
BUILD = ROOT / "build"
"""What the scripts make and may make again: compiled contracts, caches, logs."""
DISTRIBUTIONS = (".", "backend", "localnet", "oracle", "worker/devices", "worker/enclave", "worker/host")
"""The folders of this repository that are packaged, each with a `pyproject.toml`."""
CACHES = {"XDG_CACHE_HOME": ".cache", "XDG_DATA_HOME": ".local/share", "npm_config_cache": ".npm"}
"""Where pip, uv, Hardhat and npm keep what they can get again: variable, and folder below the home directory."""

# The set-up runs before `sealmarket_localnet` is installed.
sys.path.append(str(ROOT / "localnet"))

from sealmarket_localnet.programs import (  # noqa: E402 - importable from here on
    Node,
    ProgramNotFound,
    anvil_binary,
    hardhat_command,
    node,
    node_environment,
    npm_command,
    package_command,
    system_node,
)

__all__ = [
    "BUILD",
    "DISTRIBUTIONS",
    "NODE_MODULES",
    "ROOT",
    "VENV",
    "Node",
    "ProgramNotFound",
    "anvil_binary",
    "cache_environment",
    "hardhat_command",
    "node",
    "node_environment",
    "npm_command",
    "solhint_command",
    "system_node",
]


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


def solhint_command(*arguments: str) -> list[str]:
    """The command line of the Solidity linter."""
    return package_command("solhint", "solhint.js", *arguments)
