"""A command that needs no chain does not wait for what talks to one: it takes seconds to import."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = {"web3", "eth_account", "eth_abi", "eth_utils", "rlp", "sklearn", "fastapi", "uvicorn"}


@pytest.mark.parametrize(
    "module",
    [
        "sealmarket.cli",
        "sealmarket.cli.main",
        "sealmarket.cli.chain",
        "sealmarket.cli.collateral",
        "sealmarket.cli.consumer",
        "sealmarket.cli.evidence",
        "sealmarket.cli.infer",
        "sealmarket.cli.owner",
        "sealmarket.cli.policy",
        "sealmarket.cli.provider",
        "sealmarket.cli.verify",
        "sealmarket_backend.cli",
        "sealmarket_oracle.cli",
        "sealmarket_worker.cli",
        "sealmarket_enclave.runtime.main",
        "sealmarket_worker.main",
        "sealmarket_enclave.sandbox.runner",
    ],
)
def test_an_import_is_light(module: str) -> None:
    program = f"import sys, {module}; print(*sorted({HEAVY!r} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, "", "")
