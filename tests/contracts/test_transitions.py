"""The Python table of a job's transitions and the drawing in the contract's interface are the same."""

from __future__ import annotations

import re
from pathlib import Path

from sealmarket.chain import abi
from sealmarket.protocol.transitions import ENDS, REFUSALS, TRANSITIONS, Status, Transition

INTERFACE = Path(__file__).resolve().parents[2] / "contracts/interfaces/IJobs.sol"
ROW = re.compile(r"^///   (\w+)\s+--(\w.*?)-*>\s*(\w+)\s*(.*)$")


def drawn() -> set[Transition]:
    """What the interface's documentation draws."""
    found: set[Transition] = set()
    for line in INTERFACE.read_text().splitlines():
        if line.startswith("///   none"):
            found |= _path(line)
        elif row := ROW.match(line):
            before, words, after, fault = row.groups()
            steps = [word for word in re.findall(r"\w+", words) if word in abi.load("Market").functions]
            faults = REFUSALS if fault.startswith("by the outcome") else (fault.split(",")[0],)
            found |= {Transition(_status(before), step, _status(after), ending) for step in steps for ending in faults}
    return found


def _path(line: str) -> set[Transition]:
    """The first line is a chain of states: none --step--> Matched --step--> ..."""
    parts = re.split(r"\s*-+>\s*|\s+-+(?=\w)", line.removeprefix("///").strip())
    states, steps = parts[::2], parts[1::2]
    pairs = zip(states, steps, states[1:], strict=False)
    return {Transition(_status(before), step, _status(after)) for before, step, after in pairs}


def _status(word: str) -> Status:
    return Status[word.upper()]


def test_the_table_is_what_the_interface_draws() -> None:
    assert drawn() == TRANSITIONS


def test_an_end_is_never_left_and_every_other_state_can_be_left_by_anybody() -> None:
    by_the_clock = {"close", "mature", "closeChallenge"}
    for status in Status:
        ways_out = {row.step for row in TRANSITIONS if row.before is status}
        if status in ENDS:
            assert not ways_out
        elif status is not Status.NONE:
            assert ways_out & by_the_clock, status


def test_every_ending_names_its_row_and_nothing_else_does() -> None:
    for row in TRANSITIONS:
        assert bool(row.fault) == (row.after in ENDS), row
