"""A workload's declared time against what a job allows for running it."""

from __future__ import annotations

import pytest

from sealmarket_enclave.workload.errors import RunTooLong
from sealmarket_enclave.workload.manifest import parse_manifest
from sealmarket_enclave.workload.timing import BYTES_PER_SECOND, require_time, seconds_for_bytes
from tests.enclave.workload.bundles import MANIFEST

PARSED = parse_manifest(MANIFEST.encode())
DECLARED = PARSED.limits.wall_seconds


def test_one_second_less_than_a_workload_declares_is_refused_with_what_to_do() -> None:
    with pytest.raises(RunTooLong, match=f"allows {DECLARED - 1} s .* declares {DECLARED} s") as refused:
        require_time(PARSED, DECLARED - 1)
    assert "more run seconds" in refused.value.remedy
    require_time(PARSED, DECLARED)


@pytest.mark.parametrize(("size", "seconds"), [(0, 0), (1, 1), (BYTES_PER_SECOND, 1), (BYTES_PER_SECOND + 1, 2)])
def test_each_started_second_of_opening_counts(size: int, seconds: int) -> None:
    assert seconds_for_bytes(size) == seconds
