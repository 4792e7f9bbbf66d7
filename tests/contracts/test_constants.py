"""Numbers that the contracts and the Python packages state twice are the same."""

from __future__ import annotations

import re

from scripts.toolchain import ROOT
from sealmarket_enclave.protocol.job import MAX_ASSETS


def constant(file: str, name: str) -> int:
    """The value of an internal constant, which no call returns, from the contract's source."""
    values: list[str] = re.findall(rf"\bconstant {name} = (\d+);", (ROOT / "contracts" / file).read_text())
    assert len(values) == 1, f"{name} is defined {len(values)} times in {file}"
    return int(values[0])


def test_contracts_enclaves_and_clients_allow_equally_many_assets() -> None:
    assert constant("market/Matching.sol", "MAX_ASSETS") == MAX_ASSETS


def test_the_specification_names_the_same_most_assets() -> None:
    for document in ("enclave.md", "job.md"):
        text = (ROOT / "docs/spec" / document).read_text()
        assert re.findall(r"\b1 to (\d+) assets\b", text) == [str(MAX_ASSETS)], document
