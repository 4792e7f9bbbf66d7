"""The table of corrupt parties in the threat model has no cell that only asserts something."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PARTIES = ("host", "store", "t - 1 nodes", "RPC provider", "owner of another asset", "consumer", "committee's owner")
COLUMNS = 5


def _rows() -> list[list[str]]:
    """The rows of both tables of the section, without their heads."""
    text = (ROOT / "docs/threat-model.md").read_text().partition("## Who can do what to a release")[2]
    lines = [line for line in text.partition("\n## ")[0].splitlines() if line.startswith("| ")]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return [row for row in rows if row[0] not in ("corrupt", "what happens")]


def test_each_cell_names_a_test_or_a_limitation() -> None:
    """That each named test exists is held by tests/test_docs.py."""
    proven = ("`test_", "(limitations.md)")
    parties = [row for row in _rows() if len(row) == COLUMNS]
    silent = [(row[0], cell) for row in parties for cell in row[1:] if not any(one in cell for one in proven)]
    events = [row[0] for row in _rows() if len(row) != COLUMNS and "`test_" not in row[2]]
    assert (silent, events) == ([], [])


def test_each_party_that_may_be_corrupt_has_its_row() -> None:
    named = [row[0] for row in _rows() if len(row) == COLUMNS]
    assert [party for party in PARTIES if not any(party in name for name in named)] == []
    assert len(named) == len(PARTIES)
