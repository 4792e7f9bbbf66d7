"""Two verifiers over the same bytes: ours and dcap-qvl agree on every quote x collateral x moment, and on forgeries.

Ours runs with its second opinion taken away, so that agreement is between independent implementations.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import dcap_qvl
import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sealmarket.attestation.collateral.trust_anchors import TrustAnchors
from sealmarket.attestation.core.errors import EvidenceRefused
from sealmarket.attestation.core.model import TcbStatus
from sealmarket.attestation.core.reasons import Reason
from sealmarket.attestation.intel import authenticate as intel
from sealmarket.attestation.parse import parse
from sealmarket_devices import intel_collateral as genuine
from tests.attestation.support import NOW, endorse, forge_roots
from tests.forge.intel import IntelForge
from tests.vectors import manifest, vector

ENTRIES = [e for e in manifest() if e["tee"] in ("sgx", "tdx") and e["role"] == "evidence"]
COLLATERALS = sorted({v["collateral"] for e in ENTRIES for v in e["verifications"]})

# Reasons for which ours refuses what dcap-qvl lets pass: each is named in the issue or is stricter on purpose.
STRICTER = {Reason.TRAILING_BYTES, Reason.SIGNER_PURPOSE, Reason.PCEID_MISMATCH, Reason.COLLATERAL_TEE}
# What dcap-qvl refuses and ours appraises: authentic, but not acceptable.
POLICY = ("Debug mode", "SEPT_VE_DISABLE", "MR service TD", "Reserved bits", "profiling")


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intel, "_second_opinion", lambda *_: "not asked")


def ours(raw: bytes, collateral: bytes, now: int, roots: TrustAnchors) -> tuple[str, Any]:
    try:
        report = intel.authenticate(parse(raw), endorse(collateral), roots, datetime.fromtimestamp(now, UTC))
    except EvidenceRefused as refusal:
        return "refused", refusal.finding.reason
    return report.tcb.status.value, set(report.tcb.advisories)


def theirs(raw: bytes, collateral: bytes, now: int, root: bytes | None = None) -> tuple[str, Any]:
    parts = dcap_qvl.QuoteCollateralV3.from_json(collateral.decode())
    try:
        if root is None:
            result = dcap_qvl.verify(raw, parts, now)
        else:
            result = dcap_qvl.verify_with_root_ca(raw, parts, root, now)
    except ValueError as error:
        return "refused", str(error)
    return result.status, set(result.advisory_ids)


def agree(a: tuple[str, Any], b: tuple[str, Any]) -> bool:
    if a[0] == "refused":
        return b[0] == "refused" or a[1] in STRICTER
    if b[0] == "refused":
        return any(text in b[1] for text in POLICY) or a[0] in (TcbStatus.REVOKED.value, TcbStatus.NO_LEVEL.value)
    return a == b


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda e: e["file"].split("/")[-1])
def test_every_quote_with_every_collateral_gets_the_same_answer(entry: dict[str, Any]) -> None:
    raw = vector(entry["file"])
    for name in COLLATERALS:
        collateral = vector(name)
        windows = {v["pinned_time"] for e in ENTRIES for v in e["verifications"] if v["collateral"] == name}
        for pinned in windows:
            for now in (pinned - 20 * 86400, pinned, pinned + 2):
                mine = ours(raw, collateral, now, TrustAnchors.production())
                other = theirs(raw, collateral, now)
                assert agree(mine, other), (name, now, mine, other)


FORGE = IntelForge(NOW)
_STATUSES = [s.value for s in TcbStatus if s is TcbStatus.REVOKED or s.severity < TcbStatus.REVOKED.severity]
_STATUSES = [word for word in _STATUSES if not word.startswith("TDRelaunch")]


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    platform=st.sampled_from(_STATUSES),
    qe=st.sampled_from(["UpToDate", "OutOfDate", "Revoked"]),
    module=st.sampled_from(["UpToDate", "OutOfDate", "Revoked"]),
    svn=st.tuples(*[st.integers(0, 6)] * 3),
    pce=st.integers(genuine.PCE_SVN, genuine.PCE_SVN + 1),
    attributes=st.sampled_from([1 << 28, 0, 1 << 28 | 1, 1 << 28 | 1 << 4]),
    older=st.sampled_from(_STATUSES),
    current=st.none() | st.tuples(*[st.integers(0, 6)] * 3),
)
def test_forged_levels_are_joined_alike(
    platform: str,
    qe: str,
    module: str,
    svn: tuple[int, int, int],
    pce: int,
    attributes: int,
    older: str,
    current: tuple[int, int, int] | None,
) -> None:
    info = FORGE.tcb_info("TDX")
    identity = info["tdxModuleIdentities"][0]
    identity["tcbLevels"][0]["tcbStatus"] = module
    identity["tcbLevels"][0]["advisoryIDs"] = ["INTEL-SA-00003"]
    levels = info["tcbLevels"]
    levels[0]["tcb"]["pcesvn"] = pce
    levels[0]["tcbStatus"] = platform
    levels.append({"tcb": {**levels[0]["tcb"], "tdxtcbcomponents": [{"svn": 0}] * 16}})
    levels[1] |= {"tcbDate": levels[0]["tcbDate"], "tcbStatus": older}
    collateral = FORGE.collateral(
        tcb={"tdxModuleIdentities": [identity], "tcbLevels": levels},
        qe_status=qe,
        advisories=("INTEL-SA-00001", "INTEL-SA-00002"),
    ).encode()
    fields: dict[str, Any] = {"tee_tcb_svn": bytes(svn) + bytes(13), "td_attributes": attributes}
    if current is None:
        quote = FORGE.tdx_quote(FORGE.td_report(**fields))
    else:
        report = FORGE.td_report_15(**fields, tee_tcb_svn2=bytes(current) + bytes(13))
        quote = FORGE.tdx_quote(report, version=5)
    now = int(NOW.timestamp())

    mine = ours(quote, collateral, now, forge_roots(FORGE))
    other = theirs(quote, collateral, now, FORGE.root.certificate.public_bytes(Encoding.DER))

    assert agree(mine, other), (mine, other)


@pytest.mark.parametrize("kind", ["sgx", "tdx"])
def test_what_dcap_qvl_lets_pass_is_refused_by_ours(kind: str) -> None:
    """The reasons for checks of our own in front of the engine: each of these passes dcap-qvl 0.7.0."""
    tee = kind.upper()
    quote = FORGE.sgx_quote() if kind == "sgx" else FORGE.tdx_quote()
    now, root = int(NOW.timestamp()), FORGE.root.certificate.public_bytes(Encoding.DER)
    cases = {
        Reason.TRAILING_BYTES: (quote + b"\x01", FORGE.collateral(tee)),
        Reason.PCEID_MISMATCH: (quote, FORGE.collateral(tee, tcb={"pceId": "0001"})),
    }
    for reason, (raw, collateral) in cases.items():
        assert theirs(raw, collateral.encode(), now, root)[0] == "UpToDate"
        assert ours(raw, collateral.encode(), now, forge_roots(FORGE)) == ("refused", reason)
