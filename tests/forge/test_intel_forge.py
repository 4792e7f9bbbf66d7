"""The Intel forge's defaults are right, so that a refusal test refuses for its one change only."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import dcap_qvl
import pytest

from sealmarket_devices.intel_format import TdReport
from tests.forge.intel import IntelForge, intel_root_name, malleate, new_key

NOW = datetime(2026, 3, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def forge() -> IntelForge:
    return IntelForge(NOW)


def engine(quote: bytes, collateral: str, forge: IntelForge) -> Any:
    parsed = dcap_qvl.QuoteCollateralV3.from_json(collateral)
    return dcap_qvl.verify_with_root_ca(quote, parsed, forge.root.der, int(NOW.timestamp()))


@pytest.mark.parametrize(
    "settings",
    [
        {"bound": False},
        {"quote_key": new_key()},
        {"qe_key": new_key()},
        {"qe": {"mr_signer": bytes(32)}},
        {"qe": {"isv_prod_id": 9}},
        {"qe": {"flags": 0x17}},
        {"tee_type": 0},
        {"key_type": 3},
        {"vendor": bytes(16)},
    ],
    ids="-".join,
)
def test_a_quote_with_one_thing_wrong_is_refused_by_the_engine(forge: IntelForge, settings: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        engine(forge.tdx_quote(**settings), forge.collateral(), forge)


@pytest.mark.parametrize(
    "changes",
    [
        {"status": "Revoked"},
        {"revoked_by_root": "pck_ca"},
        {"revoked_by_pck_ca": "pck"},
        {"tee": "SGX"},
        {"tcb": {"fmspc": "0123456789AB"}},
        {"tcb": {"tcbLevels": []}},
        {"identity": {"mrsigner": "00" * 32}},
    ],
    ids=str,
)
def test_collateral_with_one_thing_wrong_is_refused_by_the_engine(forge: IntelForge, changes: dict[str, Any]) -> None:
    serials = {k: (getattr(forge, v).certificate.serial_number,) for k, v in changes.items() if k.startswith("revoked")}
    with pytest.raises(ValueError):
        engine(forge.tdx_quote(), forge.collateral(**{**changes, **serials}), forge)


def test_a_debug_domain_is_refused_by_the_engine(forge: IntelForge) -> None:
    with pytest.raises(ValueError, match=r"(?i)debug"):
        engine(forge.tdx_quote(forge.td_report(td_attributes=1 << 28 | 1)), forge.collateral(), forge)


def test_another_root_with_the_same_name_is_refused_by_the_engine(forge: IntelForge) -> None:
    look_alike = IntelForge(NOW, root_name=intel_root_name())
    with pytest.raises(ValueError):
        dcap_qvl.verify(
            look_alike.tdx_quote(),
            dcap_qvl.QuoteCollateralV3.from_json(look_alike.collateral()),
            int(NOW.timestamp()),
        )


@pytest.mark.parametrize("ca", ["Platform", "Processor"])
def test_the_defaults_are_accepted_by_the_engine(ca: str) -> None:
    forge = IntelForge(NOW, pck_ca=ca)
    cases = [
        ("SGX", forge.sgx_quote()),
        ("TDX", forge.tdx_quote()),
        ("TDX", forge.tdx_quote(version=5)),
        ("TDX", forge.tdx_quote(forge.td_report_15(), version=5)),
    ]
    for tee, quote in cases:
        assert engine(quote, forge.collateral(tee), forge).status == "UpToDate"


@pytest.mark.parametrize("status", ["SWHardeningNeeded", "OutOfDate", "ConfigurationNeeded"])
def test_a_status_and_its_advisories_come_through(forge: IntelForge, status: str) -> None:
    report = engine(forge.tdx_quote(), forge.collateral(status=status, advisories=("INTEL-SA-00001",)), forge)
    assert (report.status, report.advisory_ids) == (status, ["INTEL-SA-00001"])


def test_a_malleated_signature_is_another_spelling_of_the_same(forge: IntelForge) -> None:
    assert malleate(malleate(b"\x01" * 64)) == b"\x01" * 64
    quote = forge.tdx_quote(n_minus_s=frozenset({"quote"}))
    assert engine(quote, forge.collateral(), forge).status == "UpToDate"


def test_report_bodies_have_the_sizes_of_the_format(forge: IntelForge) -> None:
    assert len(TdReport().pack()) == 584
    assert len(forge.td_report_15().pack()) == 648
