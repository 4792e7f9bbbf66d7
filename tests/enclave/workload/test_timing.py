"""A workload's declared time against a settle window: what is refused, and that the two halves fit together."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from sealmarket_enclave.protocol.windows import after_release, last_release
from sealmarket_enclave.workload.errors import WindowTooShort
from sealmarket_enclave.workload.manifest import Manifest, parse_manifest
from sealmarket_enclave.workload.timing import BYTES_PER_SECOND, require_time, seconds_needed
from tests.enclave.workload.bundles import MANIFEST

PARSED = parse_manifest(MANIFEST.encode())


def _least(manifest: Manifest) -> int:
    with pytest.raises(WindowTooShort) as refused:
        require_time(manifest, 1)
    return refused.value.expected


def test_one_second_less_than_the_least_window_is_refused_with_what_to_do() -> None:
    least = _least(PARSED)
    with pytest.raises(WindowTooShort, match=f"{least - 1} s leaves .* at least {least} s") as refused:
        require_time(PARSED, least - 1)
    assert "longer settle window" in refused.value.remedy
    require_time(PARSED, least)


@pytest.mark.parametrize("limit", ["wall_seconds", "memory_bytes"])
def test_whatever_is_declared_to_take_longer_asks_for_a_longer_window(limit: str) -> None:
    more = 10 if limit == "wall_seconds" else 10 * BYTES_PER_SECOND
    limits = replace(PARSED.limits, **{limit: getattr(PARSED.limits, limit) + more})
    assert _least(replace(PARSED, limits=limits)) == _least(PARSED) + 20


def test_large_outputs_ask_for_a_longer_window() -> None:
    large = replace(PARSED.outputs[0], max_bytes=PARSED.outputs[0].max_bytes + 10 * BYTES_PER_SECOND)
    assert _least(replace(PARSED, outputs=(large, *PARSED.outputs[1:]))) == _least(PARSED) + 20


@given(window=st.integers(1, 1 << 32), accepted=st.integers(0, 1 << 40))
def test_a_workload_that_is_run_has_its_time_however_late_the_shares_are_released(window: int, accepted: int) -> None:
    deadline = accepted + window
    latest = last_release(deadline, window)
    assert accepted <= latest <= deadline
    try:
        require_time(PARSED, window)
    except WindowTooShort:
        assert seconds_needed(PARSED) > after_release(window)
    else:
        assert latest + seconds_needed(PARSED) <= deadline
