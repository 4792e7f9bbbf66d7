"""A request grants readers and validators what is fair by default, so that no step of an owner ends at its cost."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sealmarket.client.windows import PROVIDER_STAGES, stages_of
from sealmarket_enclave.protocol.job import MAX_ASSETS
from sealmarket_enclave.workload.manifest import Limits, Manifest
from sealmarket_enclave.workload.timing import seconds_for_bytes, seconds_for_step

MANIFEST = Manifest(
    schema=1,
    name="mine",
    version="1.0.0",
    summary="For a test.",
    entry_point="job:run",
    inputs=(),
    outputs=(),
    limits=Limits(cpu_seconds=1, wall_seconds=1, memory_bytes=1 << 30),
)


@given(st.lists(st.integers(1, 1 << 34), min_size=1, max_size=MAX_ASSETS))
def test_reading_is_granted_the_fair_shares_of_all_readers_however_bytes_are_divided(sizes: list[int]) -> None:
    fair = sum(seconds_for_bytes(size) + seconds_for_step(size) for size in sizes)
    assert stages_of(MANIFEST, sum(sizes), len(sizes)).read >= fair


def test_validators_of_every_asset_have_time_within_what_a_provider_allows() -> None:
    stages = [stages_of(MANIFEST, 1 << 30, assets).validate for assets in range(1, MAX_ASSETS + 1)]
    assert stages == sorted(set(stages))
    assert stages[-1] <= PROVIDER_STAGES.validate
