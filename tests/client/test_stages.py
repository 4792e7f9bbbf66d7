"""A request grants readers and validators what is fair by default, so that no step of an owner ends at its cost."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET
from msgspec.structs import replace

from sealmarket.client.windows import PROVIDER_STAGES, VALIDATED_BYTES, stages_of
from sealmarket_enclave.protocol.codec import Bytes32
from sealmarket_enclave.protocol.job import MAX_ASSETS
from sealmarket_enclave.protocol.policy import OutputRules, Validator
from sealmarket_enclave.workload.manifest import Limits, Manifest, Output
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
JSON = "application/json"
VALIDATORS = tuple(
    Validator(media_type=media_type, digest=Bytes32(bytes([number]) * 32), rules={"most": number}, data=number > 2)
    for number, media_type in enumerate((JSON, JSON, "text/csv", JSON, JSON))
)


@given(st.lists(st.integers(1, 1 << 34), min_size=1, max_size=MAX_ASSETS))
def test_reading_is_granted_the_fair_shares_of_all_readers_however_bytes_are_divided(sizes: list[int]) -> None:
    fair = sum(seconds_for_bytes(size) + seconds_for_step(size) for size in sizes)
    assert stages_of(MANIFEST, sum(sizes), len(sizes)).read >= fair


RULES = OutputRules(media_types=(JSON,), max_outputs=9, max_bytes=1 << 26, bucket_bytes=1)


def output(number: int, size: int) -> Output:
    return Output(name=f"out-{number}", media_type=JSON, max_bytes=size)


@given(
    sizes=st.lists(st.integers(1, 1 << 28), min_size=1, max_size=3),
    used=st.lists(st.integers(0, 100), min_size=3, max_size=3),
    named=st.lists(st.sets(st.integers(0, len(VALIDATORS) - 1)), min_size=1, max_size=MAX_ASSETS),
    data=st.integers(0, VALIDATED_BYTES),
)
def test_validating_is_granted_the_fair_shares_of_all_validators_over_outputs_of_any_allowed_size(
    sizes: list[int], used: list[int], named: list[set[int]], data: int
) -> None:
    rules = [replace(RULES, validators=tuple(VALIDATORS[place] for place in one) if one else UNSET) for one in named]
    outputs = [min(size * part // 100, 1 << 26) for size, part in zip(sizes, used, strict=False)]
    checks = {check.canonical(): check for one in rules for check in one.checks}.values()
    fair = sum(
        seconds_for_step(size + len(check.rules_text) + (data if check.takes_data else 0))
        for size in outputs
        for check in checks
        if check.media_type == JSON
    )
    declared = replace(MANIFEST, outputs=tuple(output(place, size) for place, size in enumerate(sizes)))
    assert stages_of(declared, data, len(named), rules).validate >= fair


def test_one_validator_that_many_owners_name_alike_and_one_of_another_format_take_no_time_twice() -> None:
    declared = replace(MANIFEST, outputs=(output(1, 1 << 20),))
    one = replace(RULES, validators=VALIDATORS[:1])
    other = replace(one, validators=(replace(VALIDATORS[0], media_type="text/csv"),))
    alone = stages_of(declared, 1 << 30, 1, [one]).validate
    assert stages_of(declared, 1 << 30, 3, [one, one, other]).validate == alone
    assert stages_of(declared, 1 << 30, 1, [replace(one, validators=UNSET)]).validate < alone


def test_validators_of_every_asset_have_time_within_what_a_provider_allows() -> None:
    stages = [stages_of(MANIFEST, 1 << 30, assets).validate for assets in range(1, MAX_ASSETS + 1)]
    assert stages == sorted(set(stages))
    assert stages[-1] <= PROVIDER_STAGES.validate
