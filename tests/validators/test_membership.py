"""The membership test withholds a model that knows its rows, and says what chance alone would give."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given as cases
from hypothesis import strategies as st

from tests.validators.bundles import FOLDER, load, verdict
from tests.validators.models import cost, forest, rows, spelled, table

VALIDATOR = load("membership")
RULES = {"advantagePermille": 100}
FEATURES = rows(3000)
TARGET = cost(FEATURES)
OUT = np.random.default_rng(3).random(len(FEATURES)) < 0.1


def divided(mask: Any) -> bytes:
    return table(FEATURES[mask], cost=TARGET[mask])


TABLE, WITHHELD = divided(~OUT), divided(OUT)


def trained(smallest: int, mask: Any = ~OUT, trees: int = 1) -> bytes:
    return spelled(forest(FEATURES[mask], TARGET[mask], trees=trees, smallest=smallest))


def said(output: bytes, rules: Any = RULES, *, withheld: bytes = WITHHELD) -> str | None:
    return verdict(VALIDATOR, output, rules, TABLE, withheld=[withheld])


def test_a_model_that_remembers_each_row_is_withheld() -> None:
    assert said(trained(1)) == "remembers_rows"


def test_a_sound_model_leaves() -> None:
    assert said(trained(60, trees=4)) is None


def test_a_workload_that_had_the_withheld_rows_fools_the_test_which_is_why_the_runtime_withholds_them() -> None:
    everything = np.ones(len(FEATURES), dtype=bool)
    assert said(trained(1, everything)) is None


def test_rows_of_several_owners_are_judged_together() -> None:
    half = np.arange(len(FEATURES)) < len(FEATURES) // 2
    tables = [divided(~OUT & part) for part in (half, ~half)]
    apart = [divided(OUT & part) for part in (half, ~half)]
    assert verdict(VALIDATOR, trained(1), RULES, *tables, withheld=apart) == "remembers_rows"
    assert verdict(VALIDATOR, trained(60, trees=4), RULES, *tables, withheld=apart) is None


@pytest.mark.parametrize(
    ("output", "code"),
    [(b"", "not_readable"), (b"41,1500", "not_readable")],
)
def test_what_is_no_model_is_withheld(output: bytes, code: str) -> None:
    assert said(output) == code


def test_a_model_that_does_not_say_what_it_was_trained_for_is_withheld() -> None:
    silent = spelled(forest(FEATURES, TARGET), lambda made: made.ClearField("metadata_props"))
    assert said(silent) == "not_from_data"


@pytest.mark.parametrize("rules", [{"advantagePermille": -1}, {"advantagePermille": 1001}, {"more": 1}])
def test_rules_that_are_none_let_nothing_leave(rules: dict[str, Any]) -> None:
    assert said(trained(60), RULES | rules) == "rules_invalid"


def test_too_few_withheld_rows_say_nothing_and_let_nothing_leave() -> None:
    some = OUT & (np.cumsum(OUT) <= 49)
    assert said(trained(60), withheld=divided(some)) == "data_missing"
    assert said(trained(60), withheld=divided(OUT & (np.cumsum(OUT) <= 50))) is None
    assert said(trained(60), withheld=divided(~(OUT | ~OUT))) == "data_missing"
    assert verdict(VALIDATOR, trained(60), RULES, TABLE) == "data_missing"
    assert verdict(VALIDATOR, trained(60), RULES) == "data_missing"


@cases(st.lists(st.floats(0, 9), min_size=1, max_size=40), st.lists(st.floats(0, 9), min_size=1, max_size=40))
def test_the_advantage_is_the_largest_difference_of_shares_below_any_threshold(
    members: list[float], others: list[float]
) -> None:
    def share(losses: list[float], threshold: float) -> float:
        return sum(loss <= threshold for loss in losses) / len(losses)

    expected = max(0.0, *(share(members, at) - share(others, at) for at in members + others))
    assert VALIDATOR.advantage(np.array(members), np.array(others)) == pytest.approx(expected)


def test_losses_of_one_distribution_seldom_exceed_what_chance_gives() -> None:
    random = np.random.default_rng(5)
    beyond = [
        VALIDATOR.advantage(random.random(900), random.random(100)) > VALIDATOR.chance(900, 100) for _ in range(300)
    ]
    assert sum(beyond) <= 10


def test_the_verdict_and_the_tables_are_read_alike_by_all_validators() -> None:
    for name in ("verdict.py", "tables.py"):
        copies = {path.read_bytes() for path in FOLDER.glob(f"*/code/{name}")}
        assert len(copies) == 1, name


def test_a_verdict_is_one_line_of_canonical_json() -> None:
    (raw,) = VALIDATOR.run({"output": memoryview(b""), "rules": memoryview(b"{}")}, {}).values()
    assert raw == b'{"code":"rules_invalid","pass":false}'
