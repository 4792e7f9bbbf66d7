"""A statement about platforms beside a proof: it is told whether it names the machine, and refutes nothing."""

from __future__ import annotations

from dataclasses import replace as change
from typing import Any

import pytest

from sealmarket.attestation.collateral.trust_anchors import TrustAnchors
from sealmarket.protocol.advisories import Advisory, Floor, Target
from sealmarket.receipts.bundle import ProofBundle
from sealmarket.receipts.model import Check, State, Step
from sealmarket.receipts.recalls import recall_checks
from tests.inference.proven import ServiceCase

WHOLE = Advisory(title="a leaked key", applies_from=0, targets=(Target(tee="tdx"),))


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> ServiceCase:
    return ServiceCase(tmp_path_factory.mktemp("device"))


def _check(
    case: ServiceCase, advisory: Advisory = WHOLE, after: int | None = None, shown: bool = True, **trusted: Any
) -> Check:
    """``after``: seconds from the anchor to the match; None: it is not anchored."""
    known = case.trusted()
    assert known.facts is not None
    anchors = {} if after is None else {advisory.name(): case.spec.matched_at - after}
    fields: dict[str, Any] = {"advisories": (advisory,), "facts": change(known.facts, anchors=anchors)} | trusted
    (found,) = recall_checks(_bundle(case, shown), change(known, **fields))
    return found


def _bundle(case: ServiceCase, shown: bool) -> ProofBundle:
    return case.bundle(evidence=case.package if shown else None)


def test_without_a_statement_nothing_is_said_of_any(case: ServiceCase) -> None:
    assert tuple(recall_checks(_bundle(case, True), case.trusted())) == ()


def test_of_evidence_that_is_not_shown_or_not_proven_no_machine_is_known(case: ServiceCase) -> None:
    hidden, rootless = _check(case, shown=False, after=1), _check(case, roots=None, after=1)
    strange = _check(case, roots=TrustAnchors.production(), after=1)
    assert {check.state for check in (hidden, rootless, strange)} == {State.UNDISCLOSED}


def test_whether_a_statement_counted_takes_a_chain(case: ServiceCase) -> None:
    found = _check(case, facts=None)
    assert found.state is State.UNKNOWN
    assert "give --rpc" in found.found


@pytest.mark.parametrize(
    ("after", "said"),
    [
        (None, "it is not anchored, so it counts for no job"),
        (0, "and not for this one"),
        (-1, "and not for this one"),
        (1, "a node whose operator applies it refuses"),
    ],
)
def test_a_machine_that_is_named_is_noted_with_whether_that_counted_for_the_job(
    after: int | None, said: str, case: ServiceCase
) -> None:
    found = _check(case, after=after)
    assert found.state is State.NOTED
    assert said in found.found
    assert "a leaked key" in found.found


def test_a_statement_about_other_machines_is_answered_with_ok(case: ServiceCase) -> None:
    other = Advisory(title="t", applies_from=0, targets=(Target(tee="snp", floor=Floor(levels={"snp": 9})),))
    assert _check(case, other, after=1).state is State.OK


def test_a_note_makes_a_step_neither_false_nor_incomplete(case: ServiceCase) -> None:
    noted, fine = _check(case, after=1), Check("another", State.OK)
    assert Step(3, "evidence", "", (fine, noted)).state is State.NOTED
    missing = Check("another", State.UNKNOWN)
    assert Step(3, "evidence", "", (noted, missing)).state is State.UNKNOWN
