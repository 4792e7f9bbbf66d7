"""The fault table is printed in the interface and in the specification, and tested in Solidity: all three agree."""

from __future__ import annotations

import re

from scripts.toolchain import ROOT
from sealmarket.chain.model import Fault
from sealmarket.protocol.transitions import TRANSITIONS
from tests.contracts.fault_rows import Row, of_interface, value

SPECIFICATION = ROOT / "docs/spec/contracts.md"
TESTS = ROOT / "contracts/FaultTable.t.sol"
EXAMPLE = {"O": 600, "C": 50, "U": 40, "u": 15, "P": 70, "H": 8, "F": 15, "f": 6, "B": 30, "a": 11, "T": 30, "X": 300}
"""The amounts of `FaultTable.t.sol`; what a decision leaves of the fees is 9."""
UNDECIDED = {"NoQuote": 9, "CommitteeSilent": 9, "Withdrawn": 9}
"""The fees set aside where no decision has used any."""
OWNERS = {0: {"0", "-"}, 7: {"O", "X"}}
"""Bitmap of the owners paid of three -> how the tables print it."""


def of_specification() -> dict[str, tuple[str, Row]]:
    """Fault -> end state, and the same columns; as the specification prints them."""
    found = {}
    for line in SPECIFICATION.read_text().splitlines():
        cells = [cell.strip(" `") for cell in line.strip("|").split("|")]
        if len(cells) == 9 and cells[1] in {end.name.title() for end in {row.after for row in TRANSITIONS}}:
            amounts = (cell or "-" for cell in cells[2:8])
            found[cells[0]] = (cells[1], (*amounts, cells[8].removesuffix(" taken")))
    return found


def of_tests() -> dict[str, list[int]]:
    """Fault -> payer, provider, stake, burned, bitmap of the owners paid, what they get; as the Solidity tests do."""
    rows = re.findall(r"_assertRow\(Fault\.(\w+), \[uint256\((\d+)\)([^\]]*)\]\)", TESTS.read_text())
    return {name: [_value(cell) for cell in (first + rest).split(",")] for name, first, rest in rows}


def _value(expression: str, fees: int = EXAMPLE["F"]) -> int:
    """What a formula comes to in the example, F being ``fees``."""
    return value(expression, EXAMPLE | {"F": fees})


def test_interface_specification_and_tests_have_every_row() -> None:
    names = {fault.name.replace("_", "") for fault in Fault}
    for table in (of_interface(), of_specification(), of_tests()):
        assert {name.upper() for name in table} == names


def test_interface_and_specification_print_the_same_rows() -> None:
    assert of_interface() == {name: row for name, (_, row) in of_specification().items()}


def test_the_specification_names_the_end_states_of_the_transitions() -> None:
    drawn = {row.fault: row.after.name.title() for row in TRANSITIONS if row.fault}
    assert {name: status for name, (status, _) in of_specification().items()} == drawn


def test_the_solidity_tests_expect_the_amounts_that_the_tables_print() -> None:
    expected = of_tests()
    for name, (*amounts, owners, _counter, _uses) in of_interface().items():
        *numbers, bitmap, sum_of_owners = expected[name]
        fees = UNDECIDED.get(name, EXAMPLE["F"])
        assert [_value(amount, fees) for amount in amounts] == numbers, name
        assert _value(owners) == sum_of_owners, name
        assert owners in OWNERS[bitmap], name
