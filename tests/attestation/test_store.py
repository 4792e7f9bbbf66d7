"""Collateral is proven before it is kept, and served through an outage exactly as long as its signatures
hold."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from sealmarket.attestation.amd.fetch import kds_request
from sealmarket.attestation.amd.report import read_report
from sealmarket.attestation.collateral.bundle import export_bundle, import_bundle
from sealmarket.attestation.collateral.fetch import Fetcher, pccs
from sealmarket.attestation.collateral.store import CollateralStore
from sealmarket.attestation.collateral.trust_anchors import TrustAnchors
from sealmarket.attestation.core.collateral import PlatformKind
from sealmarket.attestation.core.errors import CollateralError, EvidenceRefused
from sealmarket.attestation.core.model import TcbStatus
from sealmarket.attestation.core.reasons import Reason
from sealmarket.attestation.intel.collateral import IntelCollateral
from sealmarket.attestation.intel.platform import platform_kind
from sealmarket.attestation.intel.trust import trust_collateral
from sealmarket.attestation.parse import parse
from sealmarket.attestation.policy.forecast import Running, forecast
from sealmarket_enclave.protocol.numbers import Tee
from tests.attestation.support import NOW, endorse, forge_roots
from tests.forge.intel import IntelForge
from tests.vectors import vector

DAY = timedelta(days=1)


@pytest.fixture(scope="module")
def forge() -> IntelForge:
    return IntelForge(NOW)


@pytest.fixture
def store(tmp_path: Path, forge: IntelForge) -> CollateralStore:
    return CollateralStore(tmp_path / "store", forge_roots(forge))


def kind(forge: IntelForge) -> PlatformKind:
    return platform_kind(parse(forge.tdx_quote()))


def fresh(forge: IntelForge, number: int = 20, **settings: Any) -> IntelCollateral:
    text = forge.collateral(
        tcb={"tcbEvaluationDataNumber": number}, identity={"tcbEvaluationDataNumber": number}, **settings
    )
    return IntelCollateral.from_json(text)


def down(_: PlatformKind) -> IntelCollateral:
    raise CollateralError("the vendor's server is down")


def test_collateral_that_does_not_hold_is_not_kept(store: CollateralStore, forge: IntelForge) -> None:
    stranger = IntelForge(NOW)

    with pytest.raises(EvidenceRefused):
        store.put(fresh(stranger))
    with pytest.raises(EvidenceRefused):
        store.put(IntelCollateral.from_json(forge.collateral(parts={"tcb_info_signature": "00" * 64})))
    assert store.entries() == ()


def test_a_file_altered_in_the_store_is_told_and_not_served(store: CollateralStore, forge: IntelForge) -> None:
    store.put(fresh(forge))
    path = next((store.folder / "intel").iterdir())
    path.write_text(path.read_text().replace("UpToDate", "UpToDatE"))

    store.put(fresh(forge, 21))

    assert [found.name for found in store.unusable()] == [path.name]
    assert [entry.evaluation_number for entry in store.entries()] == [21], "the other one serves"


def test_an_outage_is_not_felt_while_the_vendors_signature_holds(store: CollateralStore, forge: IntelForge) -> None:
    store.put(fresh(forge))

    problems = store.refresh(down, NOW + 14 * DAY)

    assert "served until" in problems[0]
    assert store.best(kind(forge), NOW + 14 * DAY) is not None
    assert store.best(kind(forge), NOW + 16 * DAY) is None


def test_what_is_fresh_is_not_fetched_again(store: CollateralStore, forge: IntelForge) -> None:
    store.put(fresh(forge))

    assert store.refresh(down, NOW) == ()


def test_what_is_due_is_fetched_before_it_ends(store: CollateralStore, forge: IntelForge) -> None:
    store.put(fresh(forge))
    asked: list[PlatformKind] = []

    def source(wanted: PlatformKind) -> IntelCollateral:
        asked.append(wanted)
        return fresh(forge, 21)

    assert store.refresh(source, NOW + 9 * DAY) == ()
    assert asked == [kind(forge)]
    best = store.best(kind(forge), NOW + 9 * DAY)
    assert best is not None
    assert best.evaluation_number == 21


def test_a_source_that_sends_an_older_evaluation_or_another_platform_is_told(
    store: CollateralStore, forge: IntelForge
) -> None:
    store.put(fresh(forge))
    other = forge.tcb_info("TDX", fmspc="F0F0F0000009")

    assert "evaluation 19" in store.refresh(lambda _: fresh(forge, 19), NOW + 9 * DAY)[0]
    text, signature = forge.sign_text(other)
    foreign = fresh(forge, parts={"tcb_info": text, "tcb_info_signature": signature})
    assert "the source sent" in store.refresh(lambda _: foreign, NOW + 9 * DAY)[0]


def test_the_newest_valid_evaluation_is_served(store: CollateralStore, forge: IntelForge) -> None:
    for number in (21, 19, 20):
        store.put(fresh(forge, number))

    endorsements = store.endorsements_for(parse(forge.tdx_quote()), NOW)

    assert isinstance(endorsements.collateral, IntelCollateral)
    assert json.loads(endorsements.collateral.tcb_info)["tcbEvaluationDataNumber"] == 21


def test_a_signer_reissued_under_the_same_serial_is_another_piece_of_collateral(forge: IntelForge) -> None:
    """Intel reissued its TCB signing certificate under one serial in 2025: only fingerprints tell them
    apart."""
    first, second = fresh(forge), fresh(forge)

    assert first.fingerprint != second.fingerprint
    a = trust_collateral(first, Tee.TDX, forge_roots(forge))
    b = trust_collateral(second, Tee.TDX, forge_roots(forge))
    assert a.tcb_info == b.tcb_info
    assert a is not b


def test_a_bundle_carries_everything_to_another_machine(
    store: CollateralStore, forge: IntelForge, tmp_path: Path
) -> None:
    store.put(fresh(forge))
    store.put_certificate(forge.pck.certificate)
    elsewhere = CollateralStore(tmp_path / "elsewhere", store.anchors)

    assert import_bundle(elsewhere, export_bundle(store)) == 2
    assert export_bundle(elsewhere) == export_bundle(store)


def test_a_bundle_with_one_false_piece_brings_nothing(
    store: CollateralStore, forge: IntelForge, tmp_path: Path
) -> None:
    store.put(fresh(forge))
    elsewhere = CollateralStore(tmp_path / "elsewhere", TrustAnchors.production())
    bundle = json.loads(export_bundle(store))

    with pytest.raises(EvidenceRefused):
        import_bundle(elsewhere, export_bundle(store))
    with pytest.raises(CollateralError, match="not a collateral bundle"):
        import_bundle(store, json.dumps({**bundle, "surprise": 1}).encode())
    assert elsewhere.entries() == ()


# The network.


def pcs(forge: IntelForge, change: Callable[[httpx.Request, httpx.Response], httpx.Response] | None = None) -> Any:
    """Intel's server, as its API v4 answers."""
    parts = json.loads(forge.collateral())

    def answer(request: httpx.Request) -> httpx.Response:
        path = request.url.path
        if path.endswith("/tcb"):
            body = f'{{"tcbInfo":{parts["tcb_info"]},"signature":"{parts["tcb_info_signature"]}"}}'
            headers = {"TCB-Info-Issuer-Chain": _quoted(parts["tcb_info_issuer_chain"])}
        elif path.endswith("/qe/identity"):
            body = f'{{"enclaveIdentity":{parts["qe_identity"]},"signature":"{parts["qe_identity_signature"]}"}}'
            headers = {"SGX-Enclave-Identity-Issuer-Chain": _quoted(parts["qe_identity_issuer_chain"])}
        elif path.endswith("/pckcrl"):
            headers = {"SGX-PCK-CRL-Issuer-Chain": _quoted(parts["pck_crl_issuer_chain"])}
            return httpx.Response(200, content=bytes.fromhex(parts["pck_crl"]), headers=headers)
        else:
            return httpx.Response(200, content=bytes.fromhex(parts["root_ca_crl"]))
        response = httpx.Response(200, content=body, headers=headers)
        return change(request, response) if change else response

    return httpx.MockTransport(answer)


def _quoted(text: str) -> str:
    from urllib.parse import quote

    return quote(text)


def test_collateral_is_fetched_as_signed(store: CollateralStore, forge: IntelForge) -> None:
    with Fetcher(transport=pcs(forge)) as fetcher:
        assert store.refresh(fetcher.collateral, NOW, [kind(forge)]) == ()

    assert store.best(kind(forge), NOW) is not None


@pytest.mark.parametrize(
    "change",
    [
        lambda _, r: httpx.Response(503, headers={"retry-after": "7"}),
        lambda _, r: httpx.Response(302, headers={"location": "https://elsewhere.example"}),
        lambda _, r: httpx.Response(200, content=b"[]"),
        lambda _, r: httpx.Response(200, content=r.content),
        lambda _, r: httpx.Response(200, content=b"x" * (5 << 20)),
        lambda _, r: httpx.Response(200, content=r.content.replace(b"UpToDate", b"UpToDatE"), headers=r.headers),
    ],
    ids=["unavailable", "redirect", "other shape", "no chain", "too large", "altered"],
)
def test_a_server_can_withhold_but_not_lie(store: CollateralStore, forge: IntelForge, change: Any) -> None:
    with Fetcher(transport=pcs(forge, change)) as fetcher:
        problems = store.refresh(fetcher.collateral, NOW, [kind(forge)])

    assert len(problems) == 1
    assert store.entries() == ()


def test_an_endpoint_without_tls_is_refused(forge: IntelForge) -> None:
    fetcher = Fetcher(pccs("http://pccs.example"), transport=pcs(forge))

    with fetcher, pytest.raises(CollateralError, match="neither https"):
        fetcher.collateral(kind(forge))


def test_a_vcek_is_asked_for_by_the_reported_tcb() -> None:
    report = read_report(vector("snp/TEE-Attestation-Verification-ms-turin-v5.report.bin"))

    product, chip, levels = kds_request(report)

    assert product == "Turin"
    assert len(chip) == 8
    assert set(levels) == {"blSPL", "teeSPL", "snpSPL", "ucodeSPL", "fmcSPL"}
    with pytest.raises(CollateralError, match="VCEKs"):
        kds_request(read_report(vector("snp/trustee-aws-vlek-vmpl1-v3.report.bin")))


# Forecast.


def test_a_tcb_recovery_is_seen_before_it_bites(forge: IntelForge) -> None:
    evidence = parse(forge.tdx_quote())
    used, newer = fresh(forge), fresh(forge, 21, status="OutOfDate")
    running = [Running(name="one", evidence=evidence, collateral=used)]

    (outlook,) = forecast(running, newer, forge_roots(forge), NOW)

    assert outlook.falls_out
    assert outlook.reasons == (Reason.TCB_STATUS_TOO_LOW,)
    assert outlook.after is not None
    assert outlook.after.status is TcbStatus.OUT_OF_DATE
    assert outlook.last_day is not None
    assert outlook.last_day > NOW
    (unchanged,) = forecast(running, used, forge_roots(forge), NOW)
    assert not unchanged.falls_out


def test_collateral_round_trips_as_json(forge: IntelForge) -> None:
    collateral = endorse(forge.collateral()).collateral
    assert collateral is not None

    assert IntelCollateral.from_json(collateral.to_json()).fingerprint == collateral.fingerprint
    with pytest.raises(CollateralError):
        IntelCollateral.from_json(json.dumps({**json.loads(collateral.to_json()), "more": "x"}))
