"""A decision is public: what it says of evidence names no machine."""

from __future__ import annotations

import pytest

from sealmarket.attestation.core.findings import Finding
from sealmarket.attestation.core.reasons import Reason
from sealmarket_oracle.gate.notes import note_of


@pytest.mark.parametrize(
    "reason",
    [
        Reason.PLATFORM_NOT_ALLOWED,
        Reason.SNP_CHIP_MISMATCH,
        Reason.CERTIFICATE_REVOKED,
        Reason.CCA_KEY_UNKNOWN,
        Reason.NITRO_PCR,
    ],
)
def test_what_may_name_one_machine_is_left_out_of_a_decision(reason: Reason) -> None:
    note = note_of(Finding(reason, "what was expected", "instance 0102"), "asset")
    assert "0102" not in str(note)
    assert note.expected == "what was expected"


def test_what_names_no_machine_is_said_as_it_was_found() -> None:
    assert note_of(Finding(Reason.DEBUG, "debug off", "debug on"), "asset").found == "debug on"
