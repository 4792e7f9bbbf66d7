"""What the page on scale says is what its figures give."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scripts.scale import BATCHED, MEASURED, SCALES, Settings, gas_of, main, measured, row_of, table

PAGE = Path(__file__).resolve().parents[2] / "docs" / "scale.md"
FIGURES = measured()
JOBS = st.integers(1, 10**8)


def test_the_page_has_the_tables_that_the_figures_of_today_give() -> None:
    rows = [row_of(jobs, FIGURES, Settings()) for jobs in SCALES]
    for part in table(rows).split("\n\n"):
        assert part in PAGE.read_text(), "write what scripts/simulate_scale prints into docs/scale.md"


def test_the_pages_name_the_figures_that_the_benches_recorded() -> None:
    benchmarks, scale = (PAGE.parent / "benchmarks.md").read_text(), PAGE.read_text()
    orders = {one["name"]: one for one in json.loads((MEASURED / "orders.json").read_text())["results"]}
    for one in orders.values():
        shown = f"{one['value']:,.0f} beside {one['beside_value']:,.0f}, {one['ratio']:.2f}"
        assert shown in benchmarks, f"write what scripts/bench orders recorded into docs/benchmarks.md: {shown}"
    for size in json.loads((MEASURED / "match.json").read_text())["sizes"]:
        shown = f"| {size['size']:,} | {size['whole_p50_us']:.0f} us | {size['whole_p99_us']:.0f} us |"
        assert shown in benchmarks, f"write what scripts/bench match recorded into docs/benchmarks.md: {shown}"
    for shown in (
        f"| one order accepted | {FIGURES.order_us} us of a core |",
        f"| one search among a million offers | {FIGURES.match_us} us, median |",
        f"| one event stored in the index | {FIGURES.event_us} us, {FIGURES.events} events a job,",
        f"what can be taken back | {FIGURES.row_bytes / 1000:.1f} kB |",
        f"verification alone | {FIGURES.evidence_us / 1000:.1f} ms of a core |",
    ):
        assert shown in scale, f"write it into docs/scale.md: {shown}"


@given(JOBS, JOBS)
def test_a_job_among_more_costs_no_more_gas(one: int, other: int) -> None:
    few, many = sorted((one, other))
    assert gas_of(many, FIGURES, Settings()) <= gas_of(few, FIGURES, Settings())


@given(JOBS)
def test_a_job_costs_between_what_one_alone_and_one_in_a_full_batch_does(jobs: int) -> None:
    assert FIGURES.gas_batched <= gas_of(jobs, FIGURES, Settings()) <= FIGURES.gas_alone


@pytest.mark.parametrize("jobs", SCALES)
def test_every_part_is_used_the_more_the_busier_the_peak_is(jobs: int) -> None:
    calm, busy = (row_of(jobs, FIGURES, replace(Settings(), peak=peak)) for peak in (1.0, 10.0))
    assert all(busy.limits[name] == pytest.approx(10 * used) for name, used in calm.limits.items())
    assert busy.coin_l1 == calm.coin_l1


def test_a_full_batch_is_reached_where_so_many_jobs_come_in_a_block() -> None:
    jobs = BATCHED * 86_400 // 12
    assert gas_of(jobs, FIGURES, Settings()) == FIGURES.gas_batched < gas_of(jobs // 2, FIGURES, Settings())


def test_the_command_prints_one_object_and_takes_other_settings(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--json", "--rollup-gas-per-second", "1000"]) == 0
    shown = json.loads(capsys.readouterr().out)["scale"]
    assert [row["jobs"] for row in shown] == list(SCALES)
    assert {row["first"] for row in shown} == {"gas of a rollup"}
