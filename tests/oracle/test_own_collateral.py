"""A node's own collateral: a host that chooses, servers that withhold, and nodes that fetched at other moments."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import uvicorn

from sealmarket.attestation.collateral.bundle import Bundle, read_bundle
from sealmarket.attestation.collateral.counting import Counting
from sealmarket.attestation.collateral.own import OwnCollateral
from sealmarket.attestation.collateral.store import describe
from sealmarket.attestation.collateral.trust_anchors import TrustAnchors
from sealmarket.attestation.core.certificates import MAXIMUM_CHAIN_BYTES, load_crl
from sealmarket.attestation.core.collateral import PlatformKind
from sealmarket.attestation.core.errors import CollateralError, EvidenceRefused
from sealmarket.attestation.core.findings import Finding
from sealmarket.attestation.core.reasons import Reason
from sealmarket.attestation.intel.collateral import IntelCollateral
from sealmarket.attestation.policy.verify import authenticate
from sealmarket.attestation.raw import parse_raw
from sealmarket.http import HttpError
from sealmarket.protocol.decisions import Decision, Outcome
from sealmarket.protocol.outlook import MOST_OF_PROVIDER
from sealmarket.protocol.reasons import JobReason, reason_codes
from sealmarket.protocol.wire import EvidencePackage
from sealmarket.serving.start import listen, url_of
from sealmarket_devices.tdx import VirtualTdx
from sealmarket_enclave.protocol.codec import ZERO_ADDRESS, ZERO_HASH, Address, Bytes32, HexBytes
from sealmarket_enclave.protocol.numbers import JobId, Tee
from sealmarket_oracle.api import create_app
from sealmarket_oracle.collateral import REFRESH_SECONDS, RETRY_SECONDS, CollateralKeeper, HttpAskPeer
from sealmarket_oracle.gate.collateral_rules import basis_of, excused, kind_of
from sealmarket_oracle.gate.inputs import AppraisalInput, FaultRow, Violation
from sealmarket_oracle.gate.notes import note_of
from sealmarket_oracle.outlook import Judged, Outlooks, OutlookView
from sealmarket_oracle.release import core_of
from sealmarket_oracle.report import NodeReport
from sealmarket_oracle.report_text import collateral_lines, is_well
from sealmarket_oracle.runner import Runner
from sealmarket_oracle.service import Node
from tests.forge.amd import AmdForge, pem
from tests.forge.intel import IntelForge
from tests.oracle.vendor import DAY, HOUR, KIND, MOMENT, Server, device_of_last_month, keeper, signed
from tests.oracle.world import NOW, World
from tests.patience import PATIENCE

OLD = MOMENT - 20 * DAY


@pytest.fixture(scope="module")
def aged(tmp_path_factory: pytest.TempPathFactory) -> VirtualTdx:
    return device_of_last_month(tmp_path_factory.mktemp("aged"))


@pytest.fixture
def market(aged: VirtualTdx, tmp_path: Path) -> Iterator[World]:
    with closing(World(aged, tmp_path)) as made:
        yield made


@pytest.fixture(scope="module")
def old(aged: VirtualTdx) -> IntelCollateral:
    """What a host would like to show: valid, and from before its platform was rated low."""
    return signed(aged, OLD)


def _quote(market: World, shown: IntelCollateral | str, matched_at: int | None = None) -> None:
    """A job whose provider shows this collateral."""
    match: dict[str, Any] = {} if matched_at is None else {"matched_at": matched_at}
    market.match(market.publish(), **match)
    text = shown if isinstance(shown, str) else shown.to_json().decode()
    market.quote(collateral=text)


def _node(market: World, *held: IntelCollateral, index: int = 0, server: Server | None = None) -> Node:
    return market.node(index, collateral=keeper(market.folder / f"own-{index}", market.roots, server, *held))


def _source_of(node: Node, market: World) -> str:
    found = node.status(market.job_id).decision
    assert found is not None
    return found.detail.collateral


def _expect(decision: Decision, outcome: Outcome, *reasons: Reason | JobReason) -> None:
    codes = reason_codes(decision.reasons)
    assert decision.outcome is outcome
    assert {reason.code for reason in reasons} <= set(codes)


# --- a host that chooses ------------------------------------------------------------------------------------------


def test_a_host_with_old_collateral_is_judged_by_the_newer_of_the_node(
    market: World, aged: VirtualTdx, old: IntelCollateral
) -> None:
    _quote(market, old)
    node = _node(market, signed(aged, MOMENT - 2 * DAY, 21, "OutOfDate"))
    _expect(market.decided(node), Outcome.TERMS_REFUSED, Reason.TCB_STATUS_TOO_LOW)
    assert _source_of(node, market) == "own"


def test_a_host_that_leaves_a_revocation_out_is_judged_by_the_nodes_list(
    market: World, aged: VirtualTdx, old: IntelCollateral
) -> None:
    _quote(market, old)
    node = _node(market, signed(aged, MOMENT - 2 * DAY, revoked=True))
    _expect(market.decided(node), Outcome.PLATFORM_REFUSED, Reason.CERTIFICATE_REVOKED)


@pytest.mark.parametrize("how", ["none", "no document", "expired", "a number that is made up"])
def test_a_host_that_shows_no_collateral_that_holds_is_refused_whatever_the_node_has(
    how: str, market: World, aged: VirtualTdx, old: IntelCollateral
) -> None:
    parts = json.loads(old.to_json())
    made_up = parts["tcb_info"].replace('"tcbEvaluationDataNumber":20', '"tcbEvaluationDataNumber":99')
    shown = {
        "none": "",
        "no document": "{}",
        "expired": signed(aged, MOMENT - 28 * DAY, lifetime=20 * DAY).to_json().decode(),
        "a number that is made up": json.dumps(parts | {"tcb_info": made_up}),
    }
    _quote(market, shown[how])
    node = _node(market, signed(aged, MOMENT - 2 * DAY, 21))
    assert market.decided(node).outcome is Outcome.PLATFORM_REFUSED


def test_a_host_that_strips_its_quote_of_its_certificate_is_judged_by_the_nodes_all_the_same() -> None:
    forge = IntelForge(MOMENT)
    roots = TrustAnchors.production().with_development(forge.root.der)
    text = json.dumps(json.loads(forge.collateral()) | {"pck_certificate_chain": forge.chain().decode()})
    package = _package(forge.tdx_quote(chain_type=1, chain=b""), Tee.TDX, text)
    kind = kind_of(package, roots)
    assert kind is not None
    number = {"tcbEvaluationDataNumber": 99}
    newer = IntelCollateral.from_json(forge.collateral(tcb=number, identity=number))
    basis = basis_of(package, Counting(describe(newer, roots)), MOMENT, roots)
    held = basis.endorsements.collateral
    assert basis.source == "own"
    assert isinstance(held, IntelCollateral)
    assert held.tcb_info == newer.tcb_info
    assert held.pck_certificate_chain == forge.chain().decode()


def _paired(rating: IntelCollateral, lists: IntelCollateral) -> IntelCollateral:
    """Genuine collateral of two days in one: its ratings of the one, its revocation lists of the other."""
    parts = json.loads(lists.to_json())
    named = {name: parts[name] for name in ("root_ca_crl", "pck_crl", "pck_crl_issuer_chain")}
    return IntelCollateral.from_json(json.dumps(json.loads(rating.to_json()) | named))


@pytest.mark.parametrize("hours", [1, 47])
def test_a_host_that_pairs_a_new_rating_with_an_old_revocation_list_is_judged_by_the_nodes_list(
    hours: int, market: World, aged: VirtualTdx, old: IntelCollateral
) -> None:
    _quote(market, _paired(signed(aged, MOMENT - hours * HOUR), old))
    node = _node(market, signed(aged, MOMENT - 2 * DAY, revoked=True))
    _expect(market.decided(node), Outcome.PLATFORM_REFUSED, Reason.CERTIFICATE_REVOKED)
    assert _source_of(node, market) == "own"


@pytest.mark.parametrize("first", ["the vendor", "the peer"])
def test_a_peer_that_pairs_new_ratings_with_old_lists_takes_no_revocation_back(
    first: str, market: World, aged: VirtualTdx, old: IntelCollateral
) -> None:
    noon = (MOMENT - 3 * DAY).replace(hour=12)
    honest = signed(aged, noon, revoked=True)
    paired = [_paired(signed(aged, at), old) for at in (noon - HOUR, noon + HOUR, noon + DAY)]
    _quote(market, _paired(signed(aged, MOMENT - HOUR), old))
    node = _node(market, *((honest, *paired) if first == "the vendor" else (*paired, honest)))
    _expect(market.decided(node), Outcome.PLATFORM_REFUSED, Reason.CERTIFICATE_REVOKED)


@pytest.mark.parametrize("first", ["the vendor", "the peer"])
def test_a_peer_that_pairs_new_ratings_with_parts_that_end_soon_takes_nothing_back(
    first: str, market: World, aged: VirtualTdx, old: IntelCollateral
) -> None:
    noon = (MOMENT - 3 * DAY).replace(hour=12)
    honest, ends = signed(aged, noon, revoked=True), signed(aged, noon - 3 * DAY, lifetime=4 * DAY)
    paired = _paired(signed(aged, noon - HOUR), ends)
    _quote(market, _paired(signed(aged, MOMENT - HOUR), old))
    kept = keeper(market.folder / "own", market.roots, None, clock=(noon + HOUR).timestamp)
    for one in (honest, paired) if first == "the vendor" else (paired, honest):
        kept._own.take(one, KIND, noon + HOUR)
    assert _counts(kept) == 20
    _expect(market.decided(market.node(collateral=kept)), Outcome.PLATFORM_REFUSED, Reason.CERTIFICATE_REVOKED)


def test_a_newer_list_of_the_host_is_not_replaced_by_the_nodes(market: World, aged: VirtualTdx) -> None:
    shown, own = signed(aged, MOMENT - HOUR), signed(aged, MOMENT - 2 * DAY)
    package = _package(b"", Tee.TDX, shown.to_json().decode())
    basis = basis_of(package, Counting(describe(own, market.roots)), MOMENT, market.roots)
    assert (basis.source, basis.endorsements.collateral) == ("host", shown)


def test_a_host_that_withholds_a_revocation_list_is_judged_by_the_nodes() -> None:
    forge = AmdForge(MOMENT, "Milan")
    roots = TrustAnchors.production().with_development(forge.ark.der)
    chain = b"".join(pem(one) for one in (forge.vcek, forge.ask, forge.ark)).decode()
    package = _package(forge.evidence(), Tee.SNP, chain)
    revoking = load_crl(forge.crl(forge.ask.certificate.serial_number))
    evidence = parse_raw(Tee.SNP, package.quote)
    assert authenticate(evidence, basis_of(package, Counting(), MOMENT, roots).endorsements, roots, MOMENT)
    basis = basis_of(package, Counting(None, (revoking,)), MOMENT, roots)
    assert basis.source == "own"
    with pytest.raises(EvidenceRefused) as refused:
        authenticate(evidence, basis.endorsements, roots, MOMENT)
    assert refused.value.finding.reason is Reason.CERTIFICATE_REVOKED


def _package(quote: bytes, tee: Tee, collateral: str) -> EvidencePackage:
    return EvidencePackage(
        job_id=JobId(ZERO_HASH),
        tee=tee,
        quote=HexBytes(quote),
        collateral=collateral,
        enclave_signer=ZERO_ADDRESS,
        enclave_key=HexBytes(b""),
        block_number=1,
        block_hash=ZERO_HASH,
    )


def test_newer_collateral_of_the_host_wins(market: World, aged: VirtualTdx) -> None:
    _quote(market, signed(aged, MOMENT - HOUR, 22))
    node = _node(market, signed(aged, MOMENT - 2 * DAY, 21, "OutOfDate"))
    assert market.decided(node).outcome is Outcome.ACCEPTED
    assert _source_of(node, market) == "host"


def test_a_node_without_any_of_its_own_takes_the_hosts_and_says_so(market: World, old: IntelCollateral) -> None:
    _quote(market, old)
    node = _node(market)
    assert market.decided(node).outcome is Outcome.ACCEPTED
    assert _source_of(node, market) == "host"


# --- whose fault --------------------------------------------------------------------------------------------------


def test_what_was_signed_less_than_the_delay_before_the_quote_does_not_count(
    market: World, aged: VirtualTdx, old: IntelCollateral
) -> None:
    _quote(market, old)
    node = _node(market, signed(aged, MOMENT - 23 * HOUR, 21, "OutOfDate"))
    assert market.decided(node).outcome is Outcome.ACCEPTED


def test_what_was_signed_after_the_match_is_no_partys_fault(
    market: World, aged: VirtualTdx, old: IntelCollateral
) -> None:
    _quote(market, old, matched_at=NOW - 3 * 86_400)
    node = _node(market, signed(aged, MOMENT - 2 * DAY, revoked=True))
    _expect(market.decided(node), Outcome.TERMS_REFUSED, Reason.CERTIFICATE_REVOKED, JobReason.COLLATERAL_NEWER)


def test_a_rating_that_the_node_knew_before_the_match_is_excused_by_no_newer_signature(
    market: World, aged: VirtualTdx
) -> None:
    matched_at = NOW - 86_400
    case = cast("AppraisalInput", SimpleNamespace(spec=SimpleNamespace(matched_at=matched_at, tee=Tee.TDX)))
    low = note_of(Finding(Reason.TCB_STATUS_TOO_LOW, "this", "that"), "evidence")
    before, after = (signed(aged, MOMENT - hours * HOUR, 21, "OutOfDate") for hours in (48, 1))
    package = _package(b"", Tee.TDX, after.to_json().decode())

    def rows(*own: IntelCollateral) -> set[FaultRow]:
        entry = describe(own[0], market.roots) if own else None
        basis = basis_of(package, Counting(entry), MOMENT, market.roots)
        assert basis.source == "host"
        return {found.row for found in excused(case, basis, [Violation(FaultRow.PLATFORM, low)])}

    assert rows() == {FaultRow.NO_PARTY}
    assert rows(signed(aged, MOMENT - 48 * HOUR, 20)) == {FaultRow.NO_PARTY}, "rated otherwise before the match"
    assert rows(before) == {FaultRow.PLATFORM}


# --- nodes that fetched at other times ----------------------------------------------------------------------------


def test_nodes_that_fetched_at_different_moments_sign_one_core(
    market: World, aged: VirtualTdx, old: IntelCollateral
) -> None:
    _quote(market, old)
    counts = signed(aged, MOMENT - 3 * DAY, 21, "OutOfDate")
    later = [signed(aged, MOMENT - hours * HOUR, 22) for hours in (20, 10, 1)]
    nodes = [_node(market, counts, one, index=place) for place, one in enumerate(later)]
    cores = [core_of(market.decided(node)) for node in nodes]
    assert cores == [cores[0]] * 3
    assert cores[0].outcome is Outcome.TERMS_REFUSED


def test_nodes_of_which_one_alone_reaches_the_vendor_hold_the_same_by_the_time_it_counts(
    market: World, aged: VirtualTdx, old: IntelCollateral
) -> None:
    server = Server(signed(aged, MOMENT - 2 * DAY, 21, "OutOfDate"))
    first = keeper(market.folder / "own-0", market.roots, server)
    others = [
        keeper(
            market.folder / f"own-{place}",
            market.roots,
            peers=["one"],
            ask=asking(first),
        )
        for place in (1, 2)
    ]
    for one in (first, *others):
        one.learn(KIND)
        one.turn()
    _quote(market, old)
    nodes = [market.node(place, collateral=one) for place, one in enumerate((first, *others))]
    for node in nodes:
        _expect(market.decided(node), Outcome.TERMS_REFUSED, Reason.TCB_STATUS_TOO_LOW)


def asking(peer: CollateralKeeper) -> Callable[[str, PlatformKind | Tee], Bundle]:
    """Ask another node, without a network between."""
    return lambda _url, wanted: read_bundle(peer.share_lists(wanted) if isinstance(wanted, Tee) else peer.share(wanted))


# --- servers and peers --------------------------------------------------------------------------------------------


def _counts(kept: CollateralKeeper, at: int = NOW) -> int | None:
    entry = kept.counting(KIND.tee, KIND, at).entry
    return entry.evaluation_number if entry is not None else None


def test_a_mirror_that_withholds_what_is_new_is_made_good_by_a_peer(
    tmp_path: Path, market: World, aged: VirtualTdx
) -> None:
    withheld = signed(aged, MOMENT - 2 * DAY, 21, "OutOfDate")
    kept = keeper(
        tmp_path / "own",
        market.roots,
        Server(signed(aged, OLD)),
        peers=["honest", "silent"],
        ask=lambda url, _kind: Bundle(intel=(withheld,) if url == "honest" else ()),
    )
    kept.learn(KIND)
    kept.turn()
    assert _counts(kept) == 21


def test_peers_that_lie_or_flood_leave_nothing_behind(tmp_path: Path, market: World, aged: VirtualTdx) -> None:
    stranger = device_of_last_month(tmp_path / "stranger")
    forged = signed(stranger, MOMENT - 2 * DAY, 99, "OutOfDate")
    expired = signed(aged, MOMENT - 28 * DAY + HOUR)

    def ask(url: str, _wanted: PlatformKind | Tee) -> Bundle:
        if url == "away":
            raise CollateralError("it is away")
        return Bundle(intel=(forged,) * 50)

    kept = keeper(tmp_path / "own", market.roots, Server(expired), peers=["liar", "away"], ask=ask)
    kept.learn(KIND)
    kept.turn()
    assert _counts(kept) == 20
    (shown,) = kept.view().kinds
    assert "liar" in shown.problem
    assert "away" in shown.problem
    assert len(list((tmp_path / "own" / "intel").iterdir())) == 1


def test_an_answer_that_nothing_foresaw_keeps_no_other_from_being_asked(
    tmp_path: Path, market: World, aged: VirtualTdx
) -> None:
    withheld = signed(aged, MOMENT - 2 * DAY, 21, "OutOfDate")

    def ask(url: str, _wanted: PlatformKind | Tee) -> Bundle:
        if url == "odd":
            raise ValueError("of a library, about bytes of a stranger")
        return Bundle(intel=(withheld,))

    kept = keeper(tmp_path / "own", market.roots, Server(signed(aged, OLD)), peers=["odd", "honest"], ask=ask)
    kept.learn(KIND)
    kept.turn()
    assert _counts(kept) == 21
    (shown,) = kept.view().kinds
    assert shown.problem == "odd: unexpected ValueError"


def test_a_flood_of_genuine_collateral_takes_the_room_of_a_document_a_day(
    tmp_path: Path, market: World, aged: VirtualTdx
) -> None:
    kept = keeper(
        tmp_path / "own", market.roots, None, *(signed(aged, MOMENT - hours * HOUR) for hours in range(0, 96, 6))
    )
    assert len(list((tmp_path / "own" / "intel").iterdir())) <= 5
    assert _counts(kept) == 20


def test_a_peer_that_makes_documents_long_keeps_no_node_from_sharing_the_newest(
    tmp_path: Path, market: World, aged: VirtualTdx
) -> None:
    def longer(one: IntelCollateral) -> IntelCollateral:
        parts = json.loads(one.to_json())
        chains = ("pck_crl_issuer_chain", "tcb_info_issuer_chain", "qe_identity_issuer_chain")
        longest = {name: parts[name].ljust(MAXIMUM_CHAIN_BYTES) for name in chains}
        return IntelCollateral.from_json(json.dumps(parts | longest | {"pck_certificate_chain": " " * 65_000}))

    sent = [longer(signed(aged, MOMENT - days * DAY)) for days in range(1, 22)]
    kept = keeper(tmp_path / "own", market.roots, None, *sent)
    assert sum(len(one.to_json()) for one in sent) > 4 << 20
    raw = kept.share(KIND)
    assert len(raw) <= 4 << 20
    assert read_bundle(raw).intel[0] == sent[0]


def test_what_has_expired_is_not_shared_and_makes_no_peer_report_a_problem(
    tmp_path: Path, market: World, aged: VirtualTdx
) -> None:
    time = [float(NOW)]
    first = keeper(tmp_path / "first", market.roots, None, signed(aged, OLD), clock=lambda: time[0])
    time[0] += 12 * 86_400
    second = keeper(tmp_path / "second", market.roots, None, peers=["one"], ask=asking(first), clock=lambda: time[0])
    second.learn(KIND)
    second.turn()
    assert read_bundle(first.share(KIND)).intel == ()
    assert [one.problem for one in second.view().kinds] == [""]


def test_a_restart_keeps_the_lists_that_count(tmp_path: Path, market: World, aged: VirtualTdx) -> None:
    noon = (MOMENT - 3 * DAY).replace(hour=12)
    honest = signed(aged, noon, revoked=True)
    early = _paired(signed(aged, noon - HOUR), signed(aged, OLD))
    before = keeper(tmp_path / "own", market.roots, None, honest, early)
    after = keeper(tmp_path / "own", market.roots)
    after.turn()
    counted = [kept.counting(KIND.tee, KIND, NOW).entry for kept in (before, after)]
    assert [entry.collateral.pck_crl for entry in counted if entry is not None] == [honest.pck_crl] * 2  # type: ignore[attr-defined]


def test_an_outage_of_the_vendor_is_served_as_long_as_its_signature_holds(
    tmp_path: Path, market: World, aged: VirtualTdx
) -> None:
    time = [float(NOW)]
    server = Server(signed(aged, MOMENT - 2 * DAY, 21))
    kept = keeper(tmp_path / "own", market.roots, server, clock=lambda: time[0])
    kept.learn(KIND)
    kept.turn()
    server.up = False
    time[0] += 27 * 86_400
    kept.turn()
    assert _counts(kept, int(time[0])) == 21
    assert "the server is down" in kept.view().kinds[0].problem
    time[0] += 2 * 86_400
    assert _counts(kept, int(time[0])) is None


def test_a_server_is_asked_again_long_before_what_it_signed_ends_and_soon_after_it_failed(
    tmp_path: Path, market: World, aged: VirtualTdx
) -> None:
    time = [float(NOW)]
    server = Server(signed(aged, MOMENT - 2 * DAY, 21))
    kept = keeper(tmp_path / "own", market.roots, server, clock=lambda: time[0])
    kept.learn(KIND)
    for moment, asked in ((0, 1), (REFRESH_SECONDS - 1, 1), (REFRESH_SECONDS, 2)):
        time[0] = NOW + moment
        kept.turn()
        assert len(server.asked) == asked
    server.up = False
    for moment, asked in ((2 * REFRESH_SECONDS, 3), (2 * REFRESH_SECONDS + RETRY_SECONDS, 4)):
        time[0] = NOW + moment
        kept.turn()
        assert len(server.asked) == asked


def test_a_peer_that_is_away_has_no_vendor_asked_more_often(tmp_path: Path, market: World, aged: VirtualTdx) -> None:
    time = [float(NOW)]
    server, asked = Server(signed(aged, MOMENT - 2 * DAY, 21)), list[PlatformKind | Tee]()

    def away(_url: str, wanted: PlatformKind | Tee) -> Bundle:
        asked.append(wanted)
        raise CollateralError("it is away")

    kept = keeper(tmp_path / "own", market.roots, server, peers=["one"], ask=away, clock=lambda: time[0])
    kept.learn(KIND)
    for _ in range(4):
        kept.turn()
        time[0] += RETRY_SECONDS
    assert (len(server.asked), asked.count(KIND)) == (1, 4)


def test_a_kind_that_no_vendor_vouches_for_is_not_asked_for(market: World) -> None:
    stranger = device_of_last_month(market.folder / "stranger")
    _quote(market, signed(stranger, OLD))
    server = Server()
    kept = keeper(market.folder / "own", market.roots, server)
    market.decided(market.node(collateral=kept))
    kept.turn()
    assert server.asked == []


def test_a_node_awaits_the_first_answer_about_a_kind_before_it_decides(
    market: World, aged: VirtualTdx, old: IntelCollateral
) -> None:
    _quote(market, old)
    kept = keeper(market.folder / "own", market.roots, Server(signed(aged, MOMENT - 2 * DAY, 21, "OutOfDate")))
    node = market.node(collateral=kept)
    node.tick()
    assert "collateral of its own" in node.status(market.job_id).reason
    kept.turn()
    _expect(market.decided(node), Outcome.TERMS_REFUSED, Reason.TCB_STATUS_TOO_LOW)


def test_what_an_operator_puts_into_the_folder_counts_from_the_next_look(
    tmp_path: Path, market: World, aged: VirtualTdx
) -> None:
    kept = keeper(tmp_path / "own", market.roots)
    keeper(tmp_path / "own", market.roots, None, signed(aged, MOMENT - 2 * DAY, 21))
    assert _counts(kept) is None
    kept.turn()
    assert _counts(kept) == 21


# --- what is coming -----------------------------------------------------------------------------------------------


def _foreseen(market: World, kept: CollateralKeeper, shown: IntelCollateral) -> tuple[OutlookView, ...]:
    _quote(market, shown)
    assert market.decided(market.node(collateral=kept)).outcome is Outcome.ACCEPTED
    kept.turn()
    return kept.view().falling_out


def test_a_platform_that_newer_collateral_refuses_is_told_with_the_moment_from_which_on(
    market: World, aged: VirtualTdx, old: IntelCollateral
) -> None:
    coming = signed(aged, MOMENT - 5 * HOUR, 21, "OutOfDate")
    kept = keeper(market.folder / "own", market.roots, None, old, coming)
    (found,) = _foreseen(market, kept, old)
    assert (found.before, found.after) == ("UpToDate", "OutOfDate")
    assert found.since == NOW + 19 * 3600
    assert found.provider == market.spec.provider
    assert "tcb_status_too_low" in found.reasons
    kept.turn()
    assert kept.view().falling_out == (found,)
    assert not is_well(_report_of(kept))
    text = "\n".join(collateral_lines(_report_of(kept)))
    assert "UpToDate -> OutOfDate in 19 hours" in text


def test_anyone_reads_which_jobs_platform_falls_out_and_nothing_of_the_machine(
    market: World, aged: VirtualTdx, old: IntelCollateral
) -> None:
    kept = keeper(market.folder / "own", market.roots, None, old, signed(aged, MOMENT - 5 * HOUR, 21, "OutOfDate"))
    (shown,) = _foreseen(market, kept, old)
    (found,) = kept.outlook().items
    assert (found.kind, found.job_id, found.provider) == ("rating", market.job_id, market.spec.provider)
    assert (found.until, found.status) == (NOW + 19 * 3600, "OutOfDate")
    assert shown.platform.hex() not in kept.outlook().canonical().decode()


@pytest.mark.parametrize(("days", "told"), [(20, False), (24, True), (29, True)])
def test_a_platform_whose_collateral_lapses_within_a_week_is_told_with_the_moment(
    market: World, aged: VirtualTdx, days: int, told: bool
) -> None:
    shown = signed(aged, MOMENT - days * DAY)
    kept = keeper(market.folder / "own", market.roots)
    assert _foreseen(market, kept, shown) == ()
    found = kept.outlook().items
    assert [(one.kind, one.job_id, one.until) for one in found] == (
        [("lapse", market.job_id, NOW + (30 - days) * 86_400)] if told else []
    )


def test_of_one_provider_a_bounded_number_is_told_and_of_documents_that_hold_for_hours_nothing(
    market: World,
) -> None:
    outlooks = Outlooks(OwnCollateral(market.folder / "own", market.roots), market.roots)

    def judge(number: int, provider: int, tee: Tee = Tee.SNP) -> None:
        platform, job_id = (Bytes32(bytes([tee, kind]) + number.to_bytes(30, "big")) for kind in (1, 2))
        outlooks.judged(Judged(Address(bytes([provider]) * 20), JobId(job_id), tee, platform, NOW + number))

    for number in range(100):
        judge(number, 1)
        judge(number, 2, Tee.NITRO)
    judge(200, 3)
    found = outlooks.public(NOW).items
    assert [one.until for one in found] == [*range(NOW, NOW + MOST_OF_PROVIDER), NOW + 200]
    assert {one.provider for one in found} == {Address(bytes([1]) * 20), Address(bytes([3]) * 20)}
    assert outlooks.public(NOW + 30 * 86_400).items == (), "a platform that was not seen for long"


def test_a_platform_that_newer_collateral_takes_is_not_told(
    market: World, aged: VirtualTdx, old: IntelCollateral
) -> None:
    kept = keeper(market.folder / "own", market.roots, None, old, signed(aged, MOMENT - 5 * HOUR, 21))
    assert _foreseen(market, kept, old) == ()
    assert kept.view().platforms == 1
    assert is_well(_report_of(kept))


def test_evidence_that_is_not_authentic_is_no_platform(market: World, old: IntelCollateral, tmp_path: Path) -> None:
    stranger = device_of_last_month(tmp_path / "stranger")
    kept = keeper(market.folder / "own", market.roots, None, old)
    market.match(market.publish())
    market.quote(device=stranger, collateral=old.to_json().decode())
    market.decided(market.node(collateral=kept))
    kept.turn()
    assert kept.view().platforms == 0


def test_collateral_that_does_not_come_or_does_not_count_is_not_well(tmp_path: Path, market: World) -> None:
    kept = keeper(tmp_path / "own", market.roots, Server())
    kept.learn(KIND)
    kept.turn()
    assert not is_well(_report_of(kept))
    text = "\n".join(collateral_lines(_report_of(kept)))
    assert "NONE OF ITS OWN COUNTS" in text
    assert "the server is down" in text


def _report_of(kept: CollateralKeeper) -> NodeReport:
    return cast("NodeReport", SimpleNamespace(collateral=kept.view(), at=NOW))


# --- between real nodes -------------------------------------------------------------------------------------------


@pytest.mark.loopback
def test_a_node_gets_collateral_of_another_over_http(market: World, aged: VirtualTdx, tmp_path: Path) -> None:
    first = keeper(tmp_path / "first", market.roots, None, signed(aged, MOMENT - 2 * DAY, 21))
    node = market.node(collateral=first)
    with closing(HttpAskPeer()) as ask, _served(node) as url:
        second = keeper(tmp_path / "second", market.roots, peers=[url], ask=ask)
        second.learn(KIND)
        second.turn()
        assert _counts(second) == 21
        assert second.view().kinds[0].problem == ""
        nothing = PlatformKind(Tee.SGX, "00" * 6, "processor")
        assert ask(url, nothing).intel == ()
        with pytest.raises(HttpError, match="422"):
            ask(url, PlatformKind(Tee.TDX, "x" * 33, "platform"))


@contextmanager
def _served(node: Node) -> Iterator[str]:
    """A node behind a socket of this machine."""
    with closing(listen("127.0.0.1", 0)) as listener:
        app = create_app(node, Runner(node, 1.0))
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning"))
        thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
        thread.start()
        try:
            yield url_of(listener)
        finally:
            server.should_exit = True
            thread.join(PATIENCE)
