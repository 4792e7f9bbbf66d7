"""The arithmetic of the contracts, for every value: the long tier asks Halmos."""

from __future__ import annotations

import re

import pytest

from scripts import symbolic
from scripts.toolchain import ROOT

ARITHMETIC = (ROOT / "contracts" / "testing" / "Arithmetic.sol").read_text()


def test_every_function_of_the_arithmetic_is_a_check_that_asserts() -> None:
    functions = re.split(r"\n    function ", ARITHMETIC)[1:]
    assert functions
    for function in functions:
        assert function.startswith("check_")
        assert "assert(" in function


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_no_value_breaks_the_arithmetic() -> None:
    assert symbolic.main([]) == 0
