"""Each command there is, against what goes wrong around it: never a traceback, always a next step, the right code.

The commands are found by walking the program, so that a new one is tried here by itself; where it needs arguments that
:mod:`tests.cli.commands` does not know, these tests fail and say which command it is.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from scripts.toolchain import ROOT
from sealmarket.client.accounts import create_account
from sealmarket.client.verified import VerifiedMarket
from tests.chain.node import Node, error
from tests.cli.commands import LASTING, MORE, Command, all_commands, make_files
from tests.cli.test_adversity import through
from tests.cli.test_market_commands import run

COMMANDS = all_commands()
CALLED = [one for one in COMMANDS if one.name not in LASTING]
ON_CHAIN = [one for one in CALLED if "--rpc" in one.words]
NOT_REACHED = {
    "init": "it asks no node, so that it works before the network does",
    "consumer list": "there is no request to ask about",
    "owner seal": "its policy draft is looked at first",
    "owner publish": "its folder is looked at first",
    "owner sell": "its policy draft is looked at first",
    "owner approve-release": "its release is looked at first",
    "owner withdraw-release": "its release is looked at first",
    "owner rewrap": "its folder is looked at first",
    "consumer card": "its result's proof is looked at first",
    "worker init": "it asks no node: it writes down which one to ask",
    "provider doctor": "it reports what does not answer beside what does, with the next step for each",
}
PAYING = {"account send", "consumer deposit", "provider stake"}


def named(commands: list[Command]) -> Any:
    return pytest.mark.parametrize("command", commands, ids=[one.name for one in commands])


@pytest.fixture(autouse=True)
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for variable in ("XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME", "SEALMARKET_HOME"):
        monkeypatch.setenv(variable, str(tmp_path / variable.lower()))
    for variable in ("SEALMARKET_PROFILE", "SEALMARKET_BOOK", "SEALMARKET_RPC", "SEALMARKET_KEY_FILE"):
        monkeypatch.delenv(variable, raising=False)
    for variable in ("SEALMARKET_PASSPHRASE", "SEALMARKET_PASSPHRASE_FILE"):
        monkeypatch.delenv(variable, raising=False)
    make_files(tmp_path)
    return tmp_path


def require_next_step(code: int, out: str, said: str) -> None:
    assert code in (1, 2, 3, 4), (code, said)
    assert "Traceback" not in said
    assert "what to do:" in said or "Usage:" in said or "--help" in said or "check the URL" in said, said or out


@pytest.mark.loopback
@named(ON_CHAIN)
def test_without_a_network_it_says_which_endpoint_does_not_answer(
    command: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    if command.name in NOT_REACHED:
        pytest.skip(NOT_REACHED[command.name])
    code, out, said = run(command.words, capsys)
    require_next_step(code, out, said)
    assert code == (4 if command.name == "verify" else 1)
    assert "127.0.0.1:9" in said, said


@named(ON_CHAIN)
def test_on_another_chain_it_says_which_one_was_expected(
    command: Command, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    if command.name in NOT_REACHED or command.name.startswith(("backend", "oracle", "market")):
        pytest.skip("it asks no node first, or makes its connection elsewhere")
    node = Node()
    node.answers["eth_chainId"] = "0x1"
    through(monkeypatch, node)
    code, out, said = run(command.words, capsys)
    require_next_step(code, out, said)
    assert "chain id is 1, expected 31337" in said


@named([one for one in CALLED if "--book" in one.options])
@pytest.mark.parametrize("content", ["", "{}", "[]", '{"version":"sealmarket/address-book/9"}', "\x00"], ids=repr)
def test_a_file_that_is_no_address_book_is_refused_before_anything_is_asked(
    command: Command, content: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("market.json").write_text(content)
    code, out, said = run([*command.words, *([] if "--book" in command.words else ["--book", "market.json"])], capsys)
    if command.name == "account show":
        assert code == 1
        return
    require_next_step(code, out, said)


@named([one for one in CALLED if one.name in PAYING])
def test_an_account_without_coin_is_told_where_to_have_it_sent(
    command: Command, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    node = Node()
    node.answers |= {
        "eth_estimateGas": error(-32000, "insufficient funds for gas * price + value"), "eth_getBalance": "0x0"
    }  # fmt: skip
    through(monkeypatch, node)
    monkeypatch.setattr(VerifiedMarket, "require", lambda _self: None)
    code, out, said = run(command.words, capsys)
    require_next_step(code, out, said)
    assert "coin" in said


@named(CALLED)
def test_a_call_without_its_arguments_is_a_wrong_call(command: Command, capsys: pytest.CaptureFixture[str]) -> None:
    if not any(one.required for one in command.leaf.params):
        pytest.skip("it needs none")
    code, out, said = run(command.name.split(), capsys)
    require_next_step(code, out, said)
    assert (code, out) == (2, "")


@named(CALLED)
def test_an_option_that_does_not_exist_is_a_wrong_call(command: Command, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, said = run([*command.words, "--no-such-option"], capsys)
    require_next_step(code, out, said)
    assert code == 2


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """Each command that may ask for a passphrase, with an encrypted account and no terminal."""
    folder = tmp_path_factory.mktemp("locked")
    make_files(folder)
    (folder / "account.key").unlink()
    create_account(folder / "account.key", "a passphrase")
    asking = [one for one in CALLED if "--passphrase-file" in one.options]
    lines = [[word if word != "absent" else "account.key" for word in one.words] for one in asking]
    rows = _called([("no terminal", words) for words in lines], folder)
    return {one.name: row for one, row in zip(asking, rows, strict=True)}


@named([one for one in CALLED if "--passphrase-file" in one.options])
def test_without_a_terminal_a_passphrase_is_not_waited_for(command: Command, locked: Any) -> None:
    row = locked[command.name]
    if "no terminal" in row["err"]:
        assert row["code"] == 2
    require_next_step(row["code"], row["out"], row["err"])
    assert "Warning" not in row["err"]


@pytest.fixture(scope="module")
def helps(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], dict[str, Any]]:
    """The help of every command and group, on each kind of output."""
    names = {one.name for one in COMMANDS}
    prefixes = {" ".join(name.split()[:count]) for name in names for count in range(len(name.split()))}
    asked = [(output, [*name.split(), "--help"]) for name in sorted(names | prefixes) for output in ("ascii", "full")]
    asked += [("closed", [*name.split(), "--help"]) for name in sorted(prefixes)]
    rows = _called(asked, tmp_path_factory.mktemp("helps"))
    return {(row["output"], " ".join(row["words"][:-1])): row for row in rows}


def _called(lines: list[tuple[str, list[str]]], folder: Path) -> list[dict[str, Any]]:
    done = subprocess.run(
        [sys.executable, "-m", "tests.cli.calls"], input=json.dumps(lines), capture_output=True, text=True,
        check=True, cwd=folder, env=os.environ | {"PYTHONPATH": str(ROOT), "HOME": str(folder)},
    )  # fmt: skip
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_the_help_of_every_command_is_written_in_ascii_where_nothing_else_can_be(helps: Any) -> None:
    for (output, name), row in helps.items():
        if output == "ascii":
            assert row["code"] == 0, (name, row["err"])
            assert row["out"].isascii(), name
            assert "Usage" in row["out"], name


def test_the_help_of_every_command_fits_into_forty_columns(helps: Any) -> None:
    wide = {
        name: max(row["out"].splitlines(), key=len)
        for (output, name), row in helps.items()
        if output == "ascii" and max(map(len, row["out"].splitlines())) > 40
    }
    assert wide == {}


@pytest.mark.parametrize("output", ["full", "closed"])
def test_an_output_that_cannot_be_written_is_no_traceback_for_any_command(output: str, helps: Any) -> None:
    for (kind, name), row in helps.items():
        if kind == output:
            assert row["code"] == 1, (name, row)
            assert "Traceback" not in row["err"], name
            assert "Exception ignored" not in row["err"], name


def test_every_command_shows_an_example(helps: Any) -> None:
    lacking = [one.name for one in COMMANDS if "Example" not in helps["ascii", one.name]["out"]]
    assert lacking == []


def test_what_is_not_tried_exists() -> None:
    names = {one.name for one in COMMANDS}
    assert set(LASTING) | set(MORE) | set(NOT_REACHED) | PAYING <= names
