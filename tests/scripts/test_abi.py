"""The ABI export: what is missing, old or left over is named, and the files are canonical."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from scripts import abi
from tests.patience import PATIENCE

SET = {
    "type": "function",
    "name": "set",
    "inputs": [{"name": "id", "type": "bytes32", "internalType": "JobId"}],
    "outputs": [],
}
GET = {"type": "function", "name": "get", "inputs": [], "outputs": []}


def artifact(folder: Path, source: str, name: str, **changes: Any) -> None:
    path = folder / source / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    document = {"contractName": name, "abi": [SET, GET], "bytecode": "0x60", "deployedBytecode": "0x61"}
    path.write_text(json.dumps(document | changes))


def test_two_contracts_of_one_name_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(abi, "ROOT", tmp_path)
    artifact(tmp_path, "A.sol", "Market")
    artifact(tmp_path, "B.sol", "Market")
    with pytest.raises(SystemExit, match="two contracts are named Market"):
        abi.exported(tmp_path)


def test_differences_are_named_one_by_one(tmp_path: Path) -> None:
    abi.write({"Old": "1\n", "Gone": "1\n", "Same": "1\n"}, tmp_path)
    assert abi.differences({"Old": "2\n", "New": "1\n", "Same": "1\n"}, tmp_path) == [
        "New.json is missing",
        "Gone.json is left over: no such contract",
        "Old.json is not what the contract says",
    ]


def test_writing_leaves_no_difference(tmp_path: Path) -> None:
    abi.write({"Gone": "1\n"}, tmp_path)
    abi.write({"New": "1\n"}, tmp_path)
    assert abi.differences({"New": "1\n"}, tmp_path) == []


def test_tests_mocks_abstract_parts_and_empty_interfaces_are_left_out(tmp_path: Path) -> None:
    artifact(tmp_path, "Market.sol", "Market")
    artifact(tmp_path, "Market.t.sol", "MarketTest")
    artifact(tmp_path, "mocks/Token.sol", "Token")
    artifact(tmp_path, "libraries/Leaf.sol", "Leaf", abi=[])
    artifact(tmp_path, "market/Closing.sol", "Closing", bytecode="0x", deployedBytecode="0x")
    assert list(abi.exported(tmp_path)) == ["Market"]


def test_an_export_is_canonical_and_an_interface_has_no_code(tmp_path: Path) -> None:
    artifact(tmp_path, "interfaces/IMarket.sol", "IMarket", bytecode="0x", deployedBytecode="0x")
    text = abi.exported(tmp_path)["IMarket"]
    plain = SET | {"inputs": [{"name": "id", "type": "bytes32"}]}
    assert text == json.dumps({"abi": [GET, plain]}, sort_keys=True, separators=(",", ":")) + "\n"


def test_an_edited_source_asks_for_a_new_build_and_an_edited_test_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(abi, "ROOT", tmp_path)
    (tmp_path / "contracts").mkdir()
    for name in ("hardhat.config.js", "package-lock.json", "contracts/Market.sol", "contracts/Market.t.sol"):
        (tmp_path / name).write_text(name)
    before = abi._digest_of_sources()
    (tmp_path / "contracts/Market.t.sol").write_text("changed")
    assert abi._digest_of_sources() == before
    (tmp_path / "contracts/Market.sol").write_text("changed")
    assert abi._digest_of_sources() != before


def test_what_is_half_built_is_read_by_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(abi, "BUILD", tmp_path)
    monkeypatch.setattr(abi, "ARTIFACTS", tmp_path / "artifacts")
    monkeypatch.setattr(abi, "BUILT_FROM", tmp_path / "sources.sha256")
    assert abi.built("Market.sol", "Market") is None
    with ThreadPoolExecutor() as beside:
        with abi._alone():
            artifact(tmp_path / "artifacts", "Market.sol", "Market")
            asked = beside.submit(abi.built, "Market.sol", "Market")
            artifact(tmp_path / "artifacts", "Market.sol", "Market", bytecode="0x62")
            (tmp_path / "sources.sha256").write_text("these")
        found = asked.result(PATIENCE)
    assert found is not None
    assert found["bytecode"] == "0x62"
