"""Each entry of the runbook has drills in the tests; that each exists is held by tests/test_docs.py."""

from __future__ import annotations

import re
from pathlib import Path

RUNBOOK = (Path(__file__).resolve().parents[2] / "docs" / "runbook.md").read_text()


def test_each_entry_of_the_runbook_has_a_drill() -> None:
    entries = set(re.findall(r"^## (.+)$", RUNBOOK, re.MULTILINE)) - {"Alerts", "Drills"}
    rows = re.findall(r"^\| ([^|]+) \| `test_", RUNBOOK.partition("## Drills")[2], re.MULTILINE)
    assert sorted(rows) == sorted(entries)
    assert len(entries) >= 12


def test_each_alert_leads_to_an_entry_or_a_command() -> None:
    alerts = re.findall(r"^\| (Oracle\w+) \| .+ \| (.+) \|$", RUNBOOK, re.MULTILINE)
    assert alerts
    assert [name for name, to in alerts if "](#" not in to and "`sealmarket" not in to and "status" not in to] == [
        "OracleNotDeciding"  # the reason that `status` gives names the entry
    ]
