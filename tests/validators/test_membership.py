"""The membership test withholds a model that knows its rows, and says what chance alone would give."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import pytest
from hypothesis import given as cases
from hypothesis import strategies as st

from tests.validators.bundles import FOLDER, load, verdict
from tests.validators.models import cost, forest, rows, spelled, table

VALIDATOR = load("membership")
withheld = VALIDATOR.withheld
RULES = {"advantagePermille": 100, "seed": "of one job", "withheldPermille": 100}
FEATURES = rows(3000)
TARGET = cost(FEATURES)
TABLE = table(FEATURES, cost=TARGET)
OUT = np.array(withheld("of one job", 100, 0, len(FEATURES)))


def trained(smallest: int, mask: Any = ~OUT, trees: int = 1) -> bytes:
    return spelled(forest(FEATURES[mask], TARGET[mask], trees=trees, smallest=smallest))


def test_a_model_that_remembers_each_row_is_withheld() -> None:
    assert verdict(VALIDATOR, trained(1), RULES, TABLE) == "remembers_rows"


def test_a_sound_model_leaves() -> None:
    assert verdict(VALIDATOR, trained(60, trees=4), RULES, TABLE) is None


def test_a_workload_that_had_the_withheld_rows_fools_the_test_which_is_why_the_runtime_withholds_them() -> None:
    everything = np.ones(len(FEATURES), dtype=bool)
    assert verdict(VALIDATOR, trained(1, everything), RULES, TABLE) is None


@pytest.mark.parametrize(
    ("output", "code"),
    [(b"", "not_readable"), (b"41,1500", "not_readable")],
)
def test_what_is_no_model_is_withheld(output: bytes, code: str) -> None:
    assert verdict(VALIDATOR, output, RULES, TABLE) == code


def test_a_model_that_does_not_say_what_it_was_trained_for_is_withheld() -> None:
    silent = spelled(forest(FEATURES, TARGET), lambda made: made.ClearField("metadata_props"))
    assert verdict(VALIDATOR, silent, RULES, TABLE) == "not_from_data"


@pytest.mark.parametrize(
    "rules", [{"withheldPermille": 0}, {"withheldPermille": 1000}, {"seed": "x" * 1001}, {"more": 1}]
)
def test_rules_that_are_none_let_nothing_leave(rules: dict[str, Any]) -> None:
    assert verdict(VALIDATOR, trained(60), RULES | rules, TABLE) == "rules_invalid"


def test_too_few_withheld_rows_say_nothing_and_let_nothing_leave() -> None:
    few = table(FEATURES[:200], cost=TARGET[:200])
    assert verdict(VALIDATOR, trained(60), RULES, few) == "data_missing"
    assert verdict(VALIDATOR, trained(60), RULES) == "data_missing"


def test_the_split_is_the_one_that_the_specification_states() -> None:
    found = withheld("é", 250, 7, 40)
    for row, out in enumerate(found):
        text = b"sealmarket/withheld/1" + (2).to_bytes(2, "big") + "é".encode() + (7).to_bytes(4, "big")
        digest = hashlib.sha256(text + row.to_bytes(8, "big")).digest()
        assert out == (int.from_bytes(digest[:8], "big") * 1000 < 250 << 64)
    assert 0 < sum(found) < 40


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
