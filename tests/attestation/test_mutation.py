"""Switching off one rule of the verifier fails the test that holds it: each mutant is killed."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.attestation.mutants import azure, cca, formats, intel, nitro, nvidia, snp
from tests.attestation.mutation import LIBRARY, Mutant, copy_library, killers_of, run_tests

TABLES = (azure, cca, formats, intel, nitro, nvidia, snp)
MUTANTS = [
    Mutant(module, old, new, killer, table.TESTS)
    for table in TABLES
    for module, rows in table.TABLE.items()
    for old, new, killer in rows
]


@pytest.mark.parametrize("mutant", MUTANTS, ids=str)
def test_a_mutant_still_applies_to_the_code(mutant: Mutant) -> None:
    source = (LIBRARY / f"{mutant.module}.py").read_text()
    assert source.count(mutant.old) == 1, f"{mutant.old!r} occurs {source.count(mutant.old)} times"


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return copy_library(tmp_path_factory.mktemp("mutants"))


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize("tests", sorted({table.TESTS for table in TABLES}))
def test_the_copy_passes_while_nothing_is_switched_off(copy: Path, tests: tuple[str, ...]) -> None:
    code, output = run_tests(copy, *tests)
    assert code == 0, output


@pytest.mark.long
@pytest.mark.parametrize("mutant", MUTANTS, ids=str)
def test_a_rule_that_is_switched_off_fails_its_test(copy: Path, mutant: Mutant) -> None:
    killed_by = killers_of(copy, mutant)
    assert any(mutant.killer in test for test in killed_by), f"survived; failing: {killed_by}"
