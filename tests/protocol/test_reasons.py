"""A reason's number on chain means one thing, for ever."""

import pytest

from sealmarket.attestation.core.reasons import Reason
from sealmarket.protocol.reasons import JobReason, job_reason, reason_bits, reason_codes


@pytest.mark.parametrize("code", [0, -1, 256])
def test_a_number_out_of_range_is_no_reason(code: int) -> None:
    with pytest.raises(ValueError, match="between 1 and 255"):
        reason_bits([code])


def test_no_number_stands_for_two_reasons() -> None:
    evidence, market = [reason.code for reason in Reason], [reason.code for reason in JobReason]
    assert len({*evidence, *market}) == len(evidence) + len(market)
    assert max(evidence) < 220 <= min(market)
    assert max(market) <= 255


def test_no_word_stands_for_two_reasons() -> None:
    words = [reason.value for reason in [*Reason, *JobReason]]
    assert len(set(words)) == len(words)


def test_a_set_of_reasons_comes_back_from_its_word() -> None:
    codes = tuple(sorted(reason.code for reason in JobReason))
    assert reason_codes(reason_bits(codes)) == codes
    assert [job_reason(code) for code in codes] == sorted(JobReason, key=lambda reason: reason.code)
    assert job_reason(1) is None
