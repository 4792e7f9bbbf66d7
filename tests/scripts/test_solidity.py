"""The contracts are compiled again with whichever compiler is to be had, from exactly what they are built from."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
import requests
import solcx

from scripts import solidity
from scripts.solidity import NotCompiled
from scripts.toolchain import ROOT
from sealmarket.chain.bytecode import CONTRACTS
from sealmarket.chain.bytecode import carried as carried_code


@pytest.fixture
def nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """No native compiler is to be had."""

    def refuse(*_: object) -> None:
        raise requests.ConnectionError("no network")

    monkeypatch.setattr(solcx, "install_solc", refuse)


@pytest.mark.usefixtures("nowhere")
def test_asking_for_a_native_compiler_where_none_is_to_be_had_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NotCompiled, match=r"no native solc 0\.8\.34"):
        solidity._compiler("native", "0.8.34", tmp_path)


def test_an_import_from_anywhere_else_is_refused() -> None:
    with pytest.raises(NotCompiled, match="neither ours"):
        solidity._found("hardhat/console.sol", "project/contracts/A.sol", ROOT / "contracts/A.sol", "npm/x")


@pytest.mark.usefixtures("nowhere")
def test_npms_compiler_stands_in_behind_a_native_command_line(tmp_path: Path) -> None:
    title, program = solidity._compiler("auto", "0.8.34", tmp_path)
    assert title == "npm's solc"
    said = subprocess.run([program, "--version"], capture_output=True, text=True, check=True, env=dict(os.environ))
    assert "Version: 0." in said.stdout
    assert subprocess.run([program, "--bin"], capture_output=True, check=False).returncode == 1


def test_the_input_holds_every_contract_and_what_it_imports_and_no_test() -> None:
    given = solidity.standard_input({"viaIR": True}, {})
    names = set(given["sources"])
    assert {f"project/contracts/{name}.sol" for name in CONTRACTS} <= names
    assert not any(name.endswith(".t.sol") for name in names)
    assert any(name.startswith("npm/@openzeppelin/contracts@") for name in names)
    assert given["settings"]["viaIR"] is True


def test_the_settings_are_those_of_the_build() -> None:
    found = solidity._configuration()
    assert found["settings"]["evmVersion"] == "shanghai"
    assert found["version"]


@pytest.mark.long
@pytest.mark.usefixtures("nowhere")
def test_compiling_again_gives_the_code_that_the_library_carries() -> None:
    again, carried = solidity.compile_again(), carried_code()
    for name in CONTRACTS:
        assert again.codes[name].runtime == carried.codes[name].runtime, name
        assert {i.places for i in again.codes[name].immutables} == {i.places for i in carried.codes[name].immutables}
