"""The whole demo on each local chain, and on a chain that is known by its address only."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from eth_account import Account

from scripts.toolchain import ROOT
from sealmarket.chain.rpc import Rpc
from sealmarket_localnet import chains
from sealmarket_localnet.processes import Supervisor

pytestmark = [pytest.mark.long, pytest.mark.timeout(0)]
DEMO_SECONDS = 900


def play(*words: str) -> Any:
    """What the demo prints with ``--json``."""
    done = subprocess.run(
        [sys.executable, "-m", "scripts.demo_story", "--json", *words],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=DEMO_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout)


@pytest.mark.parametrize("chain", chains.LOCAL)
def test_the_demo_comes_true_on_every_local_chain(chain: str) -> None:
    told = play("--chain", chain)
    assert told["ok"]
    deep = "the chain's finalized block" if chain == "anvil" else f"{chains.DEPTH} blocks deep"
    assert told["chain"] == {"id": chains.CHAIN_ID, "finality": deep}


def test_the_demo_comes_true_on_a_chain_of_somebody_elses_and_hands_back_what_is_left(tmp_path: Path) -> None:
    bank = Account.create()
    key = tmp_path / "bank.key"
    key.write_text(bank.key.hex())
    key.chmod(0o600)
    with Supervisor(tmp_path / "logs") as programs:
        chain = chains.anvil(programs)
        rpc = Rpc(chain.url)
        rpc.call("anvil_setBalance", bank.address, hex(10**18))
        told = play("--chain", chain.url, "--key-file", str(key), "--finality", "depth:3")
        left = int(rpc.call("eth_getBalance", bank.address, "latest"), 16)
        rpc.close()
    assert told["chain"]["finality"] == "3 blocks deep"
    assert left > 9 * 10**17
