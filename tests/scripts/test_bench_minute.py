"""Processor time of a job by its stages: whose it is, what counts as a check, and what nine pairs say."""

from __future__ import annotations

import math
import os
import subprocess
import sys

import pytest

from scripts.benchmarks import _minute
from scripts.benchmarks._cpu import Enclaves, Sample, Stat, _is_enclave, _processes, sampled
from scripts.benchmarks._minute import MinutePair, interval, pair_of, results_of, times


def test_a_programs_name_does_not_shift_the_numbers_of_its_line() -> None:
    ticks = os.sysconf("SC_CLK_TCK")
    found = Stat.parse("7 (a) b (c d) S 3 7 7 0 -1 0 1 0 2 0 100 50 30 20 20 0 1 0 99\n")
    assert found.parent == 3
    assert (found.own, found.ended) == (150 / ticks, 50 / ticks)


def test_sandboxes_count_for_the_tree_whether_they_run_or_have_ended() -> None:
    processes = {10: Stat(1, 5.0, 2.0), 11: Stat(10, 3.0, 0.5), 12: Stat(11, 1.0, 0.0), 20: Stat(1, 99.0, 0.0)}
    assert sampled(processes, 10, 7.0) == Sample(7.0, 5.0, 11.5)


def test_an_enclave_of_another_market_is_not_ours() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        processes = dict(_processes())
        assert child.pid in processes
        assert not _is_enclave(child.pid, processes)
        assert not _is_enclave(1, processes)
        child.communicate(b"\n")


def enclaves() -> Enclaves:
    """One that opens from 10 to 12 with a reader, computes to 20, validates to 21 and seals to 22; and an older one."""

    def sample(at: float, own: float, tree: float) -> Sample:
        return Sample(at, own, tree)

    mine = [sample(9, 1, 4), sample(10, 1, 4), sample(12, 2, 6), sample(20, 2, 14), sample(21, 2, 15),
            sample(22, 3, 16), sample(23, 3, 16)]  # fmt: skip
    return Enclaves({1: [sample(0, 0, 0), sample(5, 9, 99)], 2: mine})


def test_checks_are_readers_while_inputs_open_and_the_stage_of_validating() -> None:
    began = {"open": 10.0, "compute": 12.0, "validate": 20.0, "seal": 21.0}
    found = pair_of(enclaves(), began, {"seal": 1.0}, 10.0)
    assert (found.job, found.checks, found.ratio) == (12.0, 1.0 + 1.0, 1.2)


def test_without_a_stage_of_validating_only_readers_count() -> None:
    found = pair_of(enclaves(), {"open": 10.0, "compute": 12.0, "seal": 21.0}, {"seal": 1.0}, 10.0)
    assert found.checks == 1.0


def test_a_job_whose_enclave_was_not_seen_gives_no_figure() -> None:
    with pytest.raises(LookupError):
        pair_of(enclaves(), {"open": 6.0, "compute": 7.0, "seal": 8.0}, {"seal": 1.0}, 10.0)


def test_the_rows_are_repeated_up_to_a_minute_and_a_bound() -> None:
    assert [times(seconds) for seconds in (0.0, 1.0, 7.0, 61.0)] == [_minute.MOST_TIMES, 60, 9, 1]


def test_the_interval_is_students_over_logarithms() -> None:
    middle, low, high = interval([1.0, 1.0, 1.0])
    assert (middle, low, high) == (1.0, 1.0, 1.0)
    middle, low, high = interval([0.5, 2.0])
    assert middle == pytest.approx(1.0)
    assert low * high == pytest.approx(1.0)
    assert high == pytest.approx(math.exp(12.706 * math.log(2)))
    assert math.isinf(interval([1.1])[2])


def test_the_names_of_the_results_are_stable_and_none_is_there_without_pairs() -> None:
    assert results_of([]) == []
    first, second = results_of([MinutePair(61.0, 0.6, 60.0)] * 9)
    assert (first["name"], first["target"], first["ci_low"]) == ("job_minute_vs_plain", 1.02, first["ratio"])
    assert (second["name"], second["target"], second["ratio"]) == ("checks_share", 0.1, round(0.6 / 61, 4))
