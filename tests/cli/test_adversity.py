"""Whatever is down, wrong or closed, a command ends with its exit code and a line for people, never a traceback."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from sealmarket.chain.deploy import write_book
from sealmarket.cli import _options
from sealmarket.client import create_result_key
from sealmarket.workloads.wheels import build
from sealmarket_enclave.protocol.codec import HexBytes
from sealmarket_enclave.protocol.hashing import keccak
from tests.chain.node import Node
from tests.chain.node import chain as chain_through
from tests.cli.test_market_commands import ID, run
from tests.client.bundles import Case
from tests.enclave.workload.bundles import bundle

ACCOUNT = "0x" + "11" * 20
READING = {
    "chain status": "chain status",
    "chain account": f"chain account {ACCOUNT}",
    "consumer status": f"consumer status {ID}",
    "consumer withdraw": "consumer withdraw --key-file account.key",
    "provider balance": "provider balance --key-file account.key",
    "provider unstake": "provider unstake 1 --key-file account.key",
    "provider withdraw": "provider withdraw --key-file account.key",
    "owner revoke": f"owner revoke {ID} 1 --key-file account.key",
    "owner earnings": "owner earnings --key-file account.key",
    "consumer fetch": f"consumer fetch {ID} --result-key result.key --out out --key-file account.key",
    "owner list": "owner list --key-file account.key",
    "owner audit": f"owner audit --account {ACCOUNT}",
    "owner inspect": f"owner inspect {ID}",
    "owner decline": f"owner decline {ID} --key-file account.key",
    "consumer proposal": f"consumer proposal {ID}",
    "consumer quote": (
        f"consumer quote --workload workload --asset {ID} --asset {ID} --parameter target=a --result-key result.key"
        " --max-compute-price 1 --key-file account.key"
    ),
    "consumer watch": f"consumer watch {ID}",
    "consumer explain": f"consumer explain {ID}",
    "provider history": "provider history --key-file account.key",
    "verify": f"verify {ID}",
}
GIVING = {
    "consumer deposit": "consumer deposit 1coin --key-file account.key",
    "consumer request": (
        f"consumer request --workload workload --asset {ID} --asset {ID} --parameter target=a --result-key result.key"
        " --max-compute-price 1 --key-file account.key --yes"
    ),
    "provider stake": "provider stake 1coin --key-file account.key",
    "owner tighten": f"owner tighten {ID} 1 --max-uses 1 --key-file account.key",
    "consumer propose": (
        f"consumer propose --workload workload --asset {ID} --asset {ID}:2 --parameter target=a --key-file account.key"
    ),
    "provider offer": "provider offer --price 1 --penalty 1 --simulated --key-file account.key",
}
COMMANDS = READING | GIVING


@pytest.fixture(autouse=True)
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SEALMARKET_HOME", str(tmp_path / "home"))
    write_book(Path("market.json"), replace(Case().book, deployed_hash=keccak(b"the block of this book")))
    create_result_key(Path("result.key"), confirm_unencrypted=True)
    key = Path("account.key")
    key.write_text("11" * 32)
    key.chmod(0o600)
    tree = bundle(tmp_path / "workload")
    (tree / "environment.json").write_bytes(build(b"", []).canonical())
    return tmp_path


def ask(words: str, capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    return run([*words.split(), "--book", "market.json", "--rpc", "http://127.0.0.1:9"], capsys)


def through(monkeypatch: pytest.MonkeyPatch, node: Node) -> None:
    """Every command reads the chain through this node."""

    def made(book: Any, _url: str, **_trust: Any) -> Any:
        return chain_through(node, book)

    monkeypatch.setattr(_options, "Chain", made)
    monkeypatch.setattr("sealmarket.chain.Chain", made)


@pytest.mark.loopback
@pytest.mark.parametrize("words", COMMANDS.values(), ids=COMMANDS)
def test_an_endpoint_that_is_down_is_told(words: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, said = ask(words, capsys)
    assert (code, out) == (4 if words.startswith("verify") else 1, "")
    assert said.partition("error: ")[2].startswith("the chain at http://127.0.0.1:9 does not answer")
    assert all(line.startswith("... ") for line in said.partition("error: ")[0].splitlines())
    assert "what to do: check that the node runs" in said


@pytest.mark.parametrize("words", COMMANDS.values(), ids=COMMANDS)
def test_another_chain_is_told(words: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    node = Node()
    node.answers["eth_chainId"] = "0x1"
    through(monkeypatch, node)
    code, out, said = ask(words, capsys)
    assert (code, out) == (4 if words.startswith("verify") else 1, "")
    assert "chain id is 1, expected 31337" in said
    assert "what to do: give the RPC URL of the chain that the address book names" in said


@pytest.mark.parametrize("words", GIVING.values(), ids=GIVING)
def test_the_book_of_another_market_gets_nothing(
    words: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    node = Node()
    through(monkeypatch, node)
    code, out, said = ask(words, capsys)
    assert (code, out) == (1, "")
    assert "error: this market is not verified, so nothing was given to it" in said
    assert "what to do: " in said
    assert {"eth_sendRawTransaction", "eth_estimateGas"}.isdisjoint(method for method, _ in node.asked)


def test_code_that_is_accepted_on_the_users_word_is_announced_loudly(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    through(monkeypatch, Node())
    _, _, said = ask(f"{GIVING['consumer deposit']} --accept-code {ID}", capsys)
    assert said.startswith(f"WARNING: code {ID}")
    assert ask(f"{GIVING['consumer deposit']} --accept-code yes", capsys)[0] == 2


def started(words: str, out: Any, error: Any = subprocess.PIPE) -> tuple[int, str]:
    command = [sys.executable, "-m", "sealmarket.cli.main", *words.split()]
    environment = {**os.environ, "PYTHONUNBUFFERED": ""}
    done = subprocess.run(command, stdout=out, stderr=error, text=True, env=environment, check=False)
    return done.returncode, done.stderr or ""


def closed_pipe() -> int:
    reading, writing = os.pipe()
    os.close(reading)
    return writing


def full_disk() -> int:
    return os.open("/dev/full", os.O_WRONLY)


@pytest.mark.parametrize("output", [closed_pipe, full_disk], ids=["closed pipe", "full disk"])
@pytest.mark.parametrize("words", ["chain book --book market.json", "owner policy-schema", "--help"])
def test_an_answer_that_nobody_takes_is_no_traceback(words: str, output: Callable[[], int]) -> None:
    descriptor = output()
    try:
        code, said = started(words, descriptor)
    finally:
        os.close(descriptor)
    assert code == 1
    assert "Traceback" not in said
    assert "Exception ignored" not in said


@pytest.mark.parametrize("output", [closed_pipe, full_disk], ids=["closed pipe", "full disk"])
def test_an_error_that_nobody_takes_keeps_its_exit_code(output: Callable[[], int]) -> None:
    descriptor = output()
    try:
        code, _ = started("chain book --book none.json", subprocess.DEVNULL, descriptor)
        refused, _ = started(f"consumer status 0x12 --book market.json --rpc {HexBytes(b'')}", descriptor, descriptor)
    finally:
        os.close(descriptor)
    assert (code, refused) == (2, 1)
