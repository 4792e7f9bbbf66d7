"""A text that the engine's regular expressions cannot cut is refused, and reaches no engine; others are not refused."""

from __future__ import annotations

import time
from typing import Any

import pytest

from sealmarket.workloads.cuts import CUTS
from tests.workloads.learning import load as load_template

RUNS = load_template("gguf-chat", "runs")
OVER = RUNS.LONGEST + 1
BREAKS = " a1!\n/é"


@pytest.mark.parametrize("cut", [*sorted(RUNS.BY_CLASS), "another", ""])
@pytest.mark.parametrize(
    "unit", [" ", "a", "aA", "1", "!", "\n", "\n ", "\r\n", "\n/", "中", "é", "\u3000", "\u0301", "中a", "é "]
)
def test_a_run_that_ends_the_engines_process_is_refused(cut: str, unit: str) -> None:
    """Thirty thousand blanks ended it, for nothing, and the next request waited for a new one."""
    text = (unit * OVER)[:OVER]
    assert RUNS.too_long(text, "gpt2", cut)
    assert RUNS.too_long("before " + text + " 1", "gpt2", cut)
    assert RUNS.too_long("x " + " " * 30_000 + "1", "gpt2", cut)


@pytest.mark.parametrize("text", ["a1" * OVER, "a!" * OVER])
def test_of_a_way_to_cut_that_is_not_known_a_run_of_anything_but_blanks_is_refused(text: str) -> None:
    assert RUNS.too_long(text, "gpt2", "viking")
    assert not RUNS.too_long(text, "gpt2", "gpt-4o")


def test_shorter_runs_and_vocabularies_that_are_cut_by_code_or_not_at_all_are_taken() -> None:
    for unit in BREAKS:
        assert not RUNS.too_long(unit * RUNS.LONGEST, "gpt2", "gpt-4o")
    words: Any = "Some words, and 12 numbers; 漢字 too.\n" * 5_000
    assert not RUNS.too_long(words, "gpt2", "another")
    for kind, cut in (("gpt2", "llama-bpe"), ("gpt2", "qwen2"), ("llama", "default"), ("", "default")):
        assert not RUNS.too_long(" " * 100_000, kind, cut)


def test_each_way_to_cut_that_a_meter_knows_is_known_to_the_workload() -> None:
    assert RUNS.BY_CODE.isdisjoint(RUNS.BY_CLASS)
    assert CUTS.keys() == RUNS.BY_CODE | RUNS.BY_CLASS


@pytest.mark.long
def test_looking_for_runs_costs_no_more_than_in_proportion() -> None:
    costs = []
    for times in (1 << 18, 1 << 20):
        start = time.process_time()
        RUNS.too_long("a " * times, "gpt2", "another")
        costs.append(time.process_time() - start)
    assert costs[1] < 9 * costs[0]
