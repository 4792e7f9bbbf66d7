"""`scripts/bench attack`: names that others read are stable, and a ratio is one of medians in one call."""

from __future__ import annotations

from scripts.benchmarks import attack
from scripts.benchmarks._floods import FLOODS


def beside(flood: str = "orders", flooded: tuple[float, ...] = (3.0, 4.0, 90.0)) -> attack.Beside:
    return attack.Beside(flood, (1.0, 2.0, 30.0), flooded, {"201": 5, "429": 7})


def test_the_names_of_the_results_are_stable() -> None:
    names = {attack.result_of(beside(flood))["name"] for flood in attack.ORDER}
    assert names == {"flood_orders", "flood_connections", "flood_evidence", "flood_uploads", "flood_events"}
    assert set(attack.ORDER) == FLOODS.keys()


def test_one_slow_job_on_either_side_does_not_count() -> None:
    result = attack.result_of(beside())
    assert (result["value"], result["beside_value"], result["ratio"], result["target"]) == (4.0, 2.0, 2.0, 2.0)


def test_a_flood_beyond_the_target_is_told() -> None:
    assert "ok; 5 x 201, 7 x 429" in attack.table([beside()])
    assert "TOO SLOW" in attack.table([beside(flooded=(4.1,))])
