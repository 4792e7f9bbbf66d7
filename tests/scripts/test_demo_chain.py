"""The chain of the demo is chosen so that nothing is left to chance: what counts as final, and who pays."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from scripts.demo_story import chain
from scripts.demo_story.money import Money
from sealmarket.chain.errors import RpcRefused
from sealmarket.operate import inspect
from sealmarket.operate.inspect import UnsuitableChain
from sealmarket_localnet import chains
from sealmarket_localnet.programs import ProgramNotFound


def options(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    chain.add_options(parser)
    found = parser.parse_args(words)
    chain.check_options(parser, found)
    return found


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--chain", "geth"), "expected anvil, hardhat, ganache"),
        (("--chain", "ftp://example.org"), "expected anvil"),
        (("--chain", "https://rpc.example"), "--key-file"),
        (("--chain", "https://rpc.example", "--key-file", "k", "--block-time", "2"), "--block-time"),
        (("--key-file", "k"), "local ones have accounts"),
        (("--chain", "hardhat", "--finality", "finalized"), "no finality of its own"),
        (("--chain", "ganache", "--finality", "finalized"), "no finality of its own"),
        (("--finality", "depth:0"), "no finality rule"),
        (("--finality", "depth"), "no finality rule"),
        (("--finality", "finalized:3"), "no finality rule"),
        (("--finality", "latest"), "no finality rule"),
        (("--block-time", "0"), "above 0"),
    ],
)
def test_options_that_make_no_sense_together_are_refused(
    words: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        options(*words)
    assert said in capsys.readouterr().err


class Node:
    """Answers as a node would; ``final`` None refuses the tag."""

    def __init__(self, final: int | None, balance: int = 0) -> None:
        self.final, self.balance = final, balance

    def call(self, method: str, *params: Any) -> Any:
        if method == "eth_chainId":
            return hex(5)
        if method == "eth_gasPrice":
            return hex(10**9)
        if method == "eth_getBalance":
            return hex(self.balance)
        number = {"latest": 100, "finalized": self.final}.get(params[0], int(params[0], 16) if "x" in params[0] else 0)
        if number is None:
            raise RpcRefused(method, -32602, "unknown tag", None)
        return {"number": hex(number), "timestamp": hex(1000 + 12 * number)}

    def close(self) -> None:
        """Nothing is open."""


@pytest.fixture
def node(monkeypatch: pytest.MonkeyPatch) -> Callable[[Node], None]:
    def use(node: Node) -> None:
        for module in (inspect, chain):
            monkeypatch.setattr(module, "Rpc", lambda _url: node)

    return use


def test_a_chain_that_names_no_final_block_needs_an_explicit_depth(node: Callable[[Node], None]) -> None:
    node(Node(final=None))
    with pytest.raises(UnsuitableChain, match=r"no finalized block.*depth:N"):
        inspect.inspect("http://n", inspect.FINALIZED)
    assert inspect.inspect("http://n", chains.DEEP).final_seconds == 24


def test_an_account_with_too_little_coin_is_told_before_anything_is_sent(
    node: Callable[[Node], None], tmp_path: Path
) -> None:
    key = tmp_path / "bank.key"
    key.write_text("11" * 32)
    key.chmod(0o600)
    node(Node(final=36, balance=10**15))
    chosen = options("--chain", "http://n", "--key-file", str(key))
    with pytest.raises(UnsuitableChain, match=r"has 0\.001 coins"):
        chain.choose(chosen, None, print)  # type: ignore[arg-type]


def test_a_chain_of_somebody_elses_is_played_for_small_coin_and_with_patience(
    node: Callable[[Node], None], tmp_path: Path
) -> None:
    key = tmp_path / "bank.key"
    key.write_text("11" * 32)
    key.chmod(0o600)
    node(Node(final=36, balance=10**18))
    found = chain.choose(options("--chain", "http://n", "--key-file", str(key)), None, print)  # type: ignore[arg-type]
    assert found.bank_key == "0x" + "11" * 32
    assert found.money.stake < Money().stake / 1000
    assert found.patience > 64 * 12


def test_without_anvil_hardhats_node_is_started_and_a_note_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> Path:
        raise ProgramNotFound("anvil", "everywhere")

    monkeypatch.setattr(chains, "anvil_binary", missing)
    monkeypatch.setattr(chains, "hardhat", lambda _programs, *, block_time: ("hardhat", block_time))
    said: list[str] = []
    assert chains.start(None, "anvil", block_time=2, said=said.append) == ("hardhat", 2)  # type: ignore[arg-type, comparison-overlap]
    assert "Hardhat's node is started instead" in said[0]


def test_finality_rules_are_read() -> None:
    assert inspect.parse_finality("finalized") == inspect.FINALIZED
    assert inspect.parse_finality("depth:12").depth == 12
