"""Where things lie in this checkout, and the programs that its set-up brought.

Standard library only, since the set-up itself uses it before anything is installed.
"""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
VENV = ROOT / ".venv"
NODE_MODULES = ROOT / "node_modules"
BUILD = ROOT / "build"
"""What the scripts make and may make again: compiled contracts, caches, logs."""
DISTRIBUTIONS = (".", "backend", "localnet", "oracle", "worker/devices", "worker/enclave", "worker/host")
"""The folders of this repository that are packaged, each with a `pyproject.toml`."""

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
    "hardhat_command",
    "node",
    "node_environment",
    "npm_command",
    "solhint_command",
    "system_node",
]


def solhint_command(*arguments: str) -> list[str]:
    """The command line of the Solidity linter."""
    return package_command("solhint", "solhint.js", *arguments)
