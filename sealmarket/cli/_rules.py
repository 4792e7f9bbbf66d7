"""Evidence rules from the files that users have: a measurement, an appraisal policy, a document that holds one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sealmarket.attestation.policy.rules import AppraisalPolicy
from sealmarket.cli._options import Usage
from sealmarket.files import read_file
from sealmarket_enclave.protocol.codec import from_builtins, parse_json


def rules_in(path: str) -> dict[str, Any]:
    """The rules of a file, as a document has them. Raises :class:`Usage`, :class:`MalformedDocument`."""
    try:
        found = parse_json(read_file(Path(path)))
    except ValueError as error:
        raise Usage(f"{path} is no JSON", remedy="name the file of `sealmarket worker image measure`") from error
    found = found if isinstance(found, dict) else {}
    rules: dict[str, Any] = found.get("evidence", found)
    if "measurement" in rules:
        rules = {"measurements": [rules["measurement"]], "platforms": "any"}
    from_builtins(AppraisalPolicy, rules)
    return rules


def graded(rules: dict[str, Any], *, allow_simulated: bool) -> dict[str, Any]:
    """Rules with the lowest grade that the user allows."""
    return rules | {"lowestGrade": "simulated" if allow_simulated else rules.get("lowestGrade", "hardware")}
