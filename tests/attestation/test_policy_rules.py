"""Evidence rules: what is not usable as written is refused, and everything is said in words."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from sealmarket.attestation.core.errors import AttestationError, InvalidRules
from sealmarket.attestation.core.reasons import Reason
from sealmarket.attestation.policy.explain import explain
from sealmarket.attestation.policy.rules import AppraisalPolicy, read_rules, rules_schema
from sealmarket.attestation.policy.simulate import read_cases, simulate
from sealmarket_enclave.protocol.codec import canonical_json
from tests.attestation.support import NOW, report_of
from tests.forge.intel import IntelForge

ZERO = "0x" + "00" * 48
MEASUREMENT: dict[str, Any] = {
    "tee": "tdx",
    **dict.fromkeys(("mrTd", "rtmr0", "rtmr1", "rtmr2", "rtmr3", "mrConfigId", "mrOwner", "mrOwnerConfig"), ZERO),
    "tdAttributes": "0x0000001000000000",
    "xfam": "0xe702060000000000",
}
SMALLEST: dict[str, Any] = {"measurements": [MEASUREMENT], "platforms": "any"}


def read(document: Any) -> AppraisalPolicy:
    return read_rules(json.dumps(document).encode())


@pytest.mark.parametrize(
    "document",
    [
        {},
        [],
        None,
        {"measurements": [MEASUREMENT]},
        {"platforms": "any"},
        {"measurements": [], "platforms": "any"},
        {"measurements": [MEASUREMENT, MEASUREMENT], "platforms": "any"},
        {"measurements": [MEASUREMENT], "platforms": []},
        {"measurements": [MEASUREMENT], "platforms": "all"},
        {**SMALLEST, "debug": True},
        {**SMALLEST, "lowestCustody": "audited"},
        {**SMALLEST, "lowestGrade": "none"},
        {**SMALLEST, "maximumAgeSeconds": 0},
        {**SMALLEST, "maximumAgeSeconds": "600"},
        {**SMALLEST, "intel": {"lowestTcbStatus": "Revoked"}},
        {**SMALLEST, "intel": {"lowestTcbStatus": "NotRated"}},
        {**SMALLEST, "intel": {"tdAttributesAllowed": ["MIGRATABLE"]}},
        {**SMALLEST, "intel": {"tdAttributesAllowed": ["DEBUG"]}},
        {**SMALLEST, "intel": {"advisoriesAllowed": ["*"]}},
        {**SMALLEST, "intel": {"tcbGraceSeconds": -1}},
        {**SMALLEST, "intel": {"unknown": 1}},
        {**SMALLEST, "snp": {"maximumVmpl": 4}},
        {"measurements": [{**MEASUREMENT, "rtmr3": None}], "platforms": "any"},
        {"measurements": [{k: v for k, v in MEASUREMENT.items() if k != "xfam"}], "platforms": "any"},
        {"measurements": [{**MEASUREMENT, "mrTd": "0x00"}], "platforms": "any"},
        {"measurements": [{**MEASUREMENT, "tee": "nitro"}], "platforms": "any"},
    ],
)
def test_rules_that_are_not_usable_as_written_are_refused(document: Any) -> None:
    with pytest.raises(InvalidRules):
        read(document)


def test_the_smallest_rules_are_the_strictest() -> None:
    rules = read(SMALLEST)

    assert rules.intel.lowest_tcb_status.value == "UpToDate"
    assert rules.intel.advisories_allowed == ()
    assert rules.lowest_grade == "hardware"
    assert rules.intel.sept_ve_disable == "required"
    assert read({"title": "a policy", "evidence": SMALLEST}) == rules


def test_rules_have_one_canonical_spelling_and_a_schema() -> None:
    rules = read(SMALLEST)

    assert read_rules(canonical_json(rules)) == rules
    schema = rules_schema()
    assert schema["$defs"]["AppraisalPolicy"]["additionalProperties"] is False
    assert set(schema["$defs"]["AppraisalPolicy"]["required"]) == {"measurements", "platforms"}


def test_what_rules_leave_open_is_said_aloud() -> None:
    words = "\n".join(explain(read({**SMALLEST, "lowestGrade": "simulated"})))

    assert "SIMULATED" in words
    assert "ANY platform" in words
    assert "Debug is always refused" in words


@pytest.mark.parametrize("field", [f for f in MEASUREMENT if f != "tee"])
def test_each_field_of_a_measurement_counts_in_its_digest(field: str) -> None:
    rules = read(SMALLEST)
    changed = dict(MEASUREMENT)
    changed[field] = changed[field][:-1] + ("1" if changed[field][-1] == "0" else "0")

    other = read({"measurements": [changed], "platforms": "any"})

    assert other.measurements[0].digest() != rules.measurements[0].digest()


def test_simulation_shows_what_would_have_been_refused_and_by_which_rule(tmp_path: Path) -> None:
    forge = IntelForge(NOW)
    quote, debug = forge.tdx_quote(), forge.tdx_quote(forge.td_report(td_attributes=1 << 28 | 1))
    (tmp_path / "good.bin").write_bytes(quote)
    (tmp_path / "debug.bin").write_bytes(debug)
    (tmp_path / "collateral.json").write_text(forge.collateral())
    (tmp_path / "root.pem").write_text(forge.root.pem)
    common = {"at": NOW.isoformat(), "collateral": "collateral.json", "developmentRoots": ["root.pem"]}
    cases = tmp_path / "cases.json"
    cases.write_text(json.dumps([{"evidence": name, **common} for name in ("good.bin", "debug.bin")]))
    rules = AppraisalPolicy(
        measurements=tuple(report_of(forge, q).measurement for q in (quote, debug)),
        platforms="any",
        lowest_grade="simulated",
    )

    outcomes = [simulate(rules, case) for case in read_cases(cases)]

    assert [o.result.reasons for o in outcomes] == [(), (Reason.DEBUG,)]
    cases.write_text('[{"evidence": "good.bin"}]')
    with pytest.raises(AttestationError, match=r"cases\.json"):
        read_cases(cases)
