"""Over several owners, of each output rule the strictest holds."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sealmarket_enclave.protocol.policy import OutputRules, PolicyRefused, strictest

KINDS = ("application/json", "application/onnx", "text/csv")


def rules(**changes: object) -> OutputRules:
    base = {"media_types": KINDS, "max_outputs": 3, "max_bytes": 1000, "bucket_bytes": 16}
    return OutputRules(**{**base, **changes})  # type: ignore[arg-type]


def test_a_job_without_owners_has_no_rules_and_is_refused() -> None:
    with pytest.raises(PolicyRefused):
        strictest(())


def test_owners_without_a_format_in_common_refuse_the_job() -> None:
    with pytest.raises(PolicyRefused, match="no output format in common"):
        strictest((rules(media_types=("text/csv",)), rules(media_types=("application/onnx",))))


def test_one_owner_who_demands_privacy_demands_it_for_all() -> None:
    assert strictest((rules(), rules(privacy="dp"))).privacy == "dp"


OUTPUT_RULES = st.builds(
    OutputRules,
    media_types=st.sets(st.sampled_from(KINDS), min_size=1).map(lambda kinds: (KINDS[0], *sorted(kinds))),
    max_outputs=st.integers(1, 255),
    max_bytes=st.integers(1, 1 << 40),
    bucket_bytes=st.integers(1, 1 << 24),
    minimum_owners=st.integers(1, 255),
    privacy=st.sampled_from(("exact", "dp")),
)


@given(st.lists(OUTPUT_RULES, min_size=1, max_size=5))
def test_no_owner_is_granted_less_than_they_asked_for(all_rules: list[OutputRules]) -> None:
    joined = strictest(tuple(all_rules))
    for one in all_rules:
        assert set(joined.media_types) <= set(one.media_types)
        assert joined.max_outputs <= one.max_outputs
        assert joined.max_bytes <= one.max_bytes
        assert joined.bucket_bytes >= one.bucket_bytes
        assert joined.minimum_owners >= one.minimum_owners
        assert one.privacy == "exact" or joined.privacy == "dp"
