"""`scripts/bench seal`: its peer's figure is read right, its names are stable, and what it does is sealing."""

from __future__ import annotations

from pathlib import Path

import pytest

from scripts.benchmarks import _sealing, seal
from scripts.benchmarks.seal import MEASURES, PEAK_MIB, meets, openssl_rate, results_of

SAID = """+DT:AES-256-GCM:1:1048576
+R:5108:AES-256-GCM:1.000000
+H:1048576
+F:25:AES-256-GCM:5356126208.00
"""


def rounds(rate: float, peak: float) -> list[dict[str, dict[str, float]]]:
    return [{one.name: {"rate": rate * factor, "peer": 1e9 * factor, "peak_mib": peak} for one in MEASURES}
            for factor in (1.0, 9.0, 0.1)]  # fmt: skip


def test_a_rate_below_its_target_and_a_peak_above_its_bound_miss() -> None:
    assert [meets(one) for one in results_of(rounds(0.3e9, PEAK_MIB), "peer")] == [False] * 6


def test_a_load_that_slows_a_round_on_both_sides_does_not_count() -> None:
    results = results_of(rounds(0.9e9, 40.0), "peer")
    assert [one["ratio"] for one in results[:5]] == [0.9] * 5
    assert all(map(meets, results))


def test_the_names_of_the_results_are_stable() -> None:
    names = [one["name"] for one in results_of(rounds(1e9, 40.0), "peer")]
    assert names == ["seal_memory", "open_memory", "seal_memory_one_core", "seal_file", "open_file", "seal_peak_mib"]


def test_the_peers_figure_is_in_bytes_per_second() -> None:
    assert openssl_rate(SAID) == 5356126208.0


@pytest.mark.parametrize("work", ["seal_memory", "open_memory", "seal_file", "open_file"])
@pytest.mark.parametrize("threads", [1, None])
def test_each_work_is_done_on_a_small_scale(work: str, threads: int | None, tmp_path: Path) -> None:
    found = _sealing.main(work, 2 << 20, threads, tmp_path)
    assert found["cpu_s"] > 0
    if work == "open_file":
        assert (tmp_path / "opened").stat().st_size == 2 << 20


def test_without_openssl_the_peer_is_the_cipher_of_the_library_that_seals() -> None:
    ticks = iter([0.0, 0.5, 1.0])
    assert seal._bare_here(lambda: next(ticks)) == seal.PIECE
