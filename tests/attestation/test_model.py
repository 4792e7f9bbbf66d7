"""Only authenticate makes an authentic report, and reasons keep their numbers."""

from __future__ import annotations

import copy
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from sealmarket.attestation.core import model
from sealmarket.attestation.core.errors import AttestationError
from sealmarket.attestation.core.findings import Finding
from sealmarket.attestation.core.model import AuthenticReport, Platform, Tcb, TcbStatus
from sealmarket.attestation.core.reasons import Reason
from sealmarket_enclave.protocol.codec import Bytes32
from sealmarket_enclave.protocol.numbers import Grade, Tee

ROOT = Path(model.__file__).parents[3]
VENDORS = ("intel", "amd", "arm", "nitro", "azure", "nvidia")
MAKERS = {f"{vendor}/authenticate.py" for vendor in VENDORS} | {"core/model.py"}


def test_nobody_else_makes_an_authentic_report() -> None:
    fields: dict[str, Any] = {
        "tee": Tee.TDX,
        "grade": Grade.HARDWARE,
        "measurement": None,
        "report_data": bytes(64),
        "evidence_digest": Bytes32(bytes(32)),
        "tcb": Tcb(status=TcbStatus.UP_TO_DATE),
        "platform": Platform(identity=None),
        "debug": False,
        "body": None,
        "authenticated_at": datetime(2026, 1, 1, tzinfo=UTC),
    }
    for maker in (None, object(), "maker"):
        with pytest.raises(AttestationError, match="only by authenticate"):
            AuthenticReport(**fields, maker=maker)
    with pytest.raises(TypeError):
        AuthenticReport(**fields)


def test_the_makers_token_is_named_only_where_reports_are_made() -> None:
    for folder in ("sealmarket", "backend", "oracle", "worker", "scripts"):
        for path in (ROOT / folder).rglob("*.py"):
            if re.search(r"\b_MAKER\b", path.read_text(encoding="utf-8")):
                assert path.relative_to(ROOT / "sealmarket/attestation").as_posix() in MAKERS, path


def test_reasons_have_one_number_and_one_word_each_and_say_what_to_do() -> None:
    codes = [reason.code for reason in Reason]

    assert len(codes) == len(set(codes))
    assert all(0 < code < 256 for code in codes)
    assert all(re.fullmatch(r"[a-z][a-z0-9_]*", reason.value) for reason in Reason)
    assert all(reason.remedy for reason in Reason)
    assert copy.copy(Reason.DEBUG) is Reason.DEBUG


def test_a_findings_remedy_defaults_to_its_reasons() -> None:
    finding = Finding(Reason.DEBUG, "off", "on")

    assert finding.as_json() == {
        "reason": "debug",
        "expected": "off",
        "found": "on",
        "remedy": Reason.DEBUG.remedy,
    }
    assert Finding(Reason.DEBUG, "off", "on", "relaunch").remedy == "relaunch"


def test_revoked_and_unlevelled_are_worse_than_everything_that_can_be_allowed() -> None:
    order = [status.severity for status in TcbStatus]

    assert order == sorted(order)
    assert TcbStatus.REVOKED.severity > TcbStatus.OUT_OF_DATE_CONFIGURATION_NEEDED.severity
