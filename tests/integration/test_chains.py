"""The three local chains start, answer for themselves, and are gone afterwards."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest

from scripts import chains
from scripts.chains import Chain
from scripts.processes import Supervisor


def ask(url: str, method: str) -> str:
    """The result of a JSON-RPC call without parameters."""
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": []}).encode()
    request = urllib.request.Request(url, body, {"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=10) as response:
        result: str = json.load(response)["result"]
        return result


@pytest.mark.parametrize("start", [chains.anvil, chains.hardhat, chains.ganache])
def test_a_local_chain_answers_on_loopback_and_stops(start: Callable[[Supervisor], Chain], tmp_path: Path) -> None:
    with Supervisor(tmp_path) as programs:
        chain = start(programs)
        assert chain.url.startswith("http://127.0.0.1:")
        assert ask(chain.url, "eth_chainId") == hex(chains.CHAIN_ID)
    assert chain.process.status is not None
