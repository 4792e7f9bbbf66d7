"""AMD's revocation lists travel between nodes: a peer makes good for a mirror that withholds some, none is forged."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import datetime
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding

from sealmarket.attestation.collateral.bundle import MOST_LISTED, Bundle, lists_bundle, read_bundle
from sealmarket.attestation.collateral.own import OwnCollateral
from sealmarket.attestation.collateral.trust_anchors import TrustAnchors
from sealmarket.attestation.core.certificates import load_certificate, load_crl
from sealmarket.attestation.core.collateral import PlatformKind
from sealmarket.attestation.core.evidence import Endorsements
from sealmarket.http import HttpError
from sealmarket_devices.pki import Validity
from sealmarket_enclave.protocol.numbers import Tee
from sealmarket_oracle.collateral import CollateralKeeper, HttpAskPeer
from sealmarket_oracle.outlook import Outlooks
from tests.forge.amd import AmdForge
from tests.oracle.test_own_collateral import _served
from tests.oracle.vendor import DAY, HOUR, MOMENT, Server
from tests.oracle.world import NOW, World

Ask = Callable[[str, PlatformKind | Tee], Bundle]


@pytest.fixture(scope="module")
def amd() -> AmdForge:
    return AmdForge(MOMENT, "Milan")


@pytest.fixture
def roots(amd: AmdForge) -> TrustAnchors:
    return TrustAnchors.production().with_development(amd.ark.der)


def revoking(amd: AmdForge, at: datetime = MOMENT - 2 * DAY) -> bytes:
    """A list of that time, which takes the intermediate authority of all platforms back."""
    validity = Validity(start=at, end=MOMENT + 90 * DAY)
    return amd.crl(amd.ask.certificate.serial_number, validity=validity)


def sent(*certificates: bytes, crls: tuple[bytes, ...] = ()) -> Bundle:
    return Bundle(intel=(), certificates=tuple(map(bytes.hex, certificates)), crls=tuple(map(bytes.hex, crls)))


def holding(amd: AmdForge, *crls: bytes) -> Ask:
    """A peer that keeps these lists."""
    return lambda _url, wanted: sent(amd.ark.der, crls=crls) if wanted is Tee.SNP else Bundle(intel=())


def node(folder: Path, roots: TrustAnchors, ask: Ask, *peers: str, mirror: Server | None = None) -> CollateralKeeper:
    """A node whose mirror of AMD's server sends nothing, as one that withholds a list does."""
    own = OwnCollateral(folder, roots)
    asked = frozenset({Tee.SNP} if mirror is not None else ())
    return CollateralKeeper(own, mirror or Server(), asked, peers or ("peer",), ask, Outlooks(own, roots), lambda: NOW)


def counts(kept: CollateralKeeper) -> list[bytes]:
    return [crl.public_bytes(Encoding.DER) for crl in kept.counting(Tee.SNP, None, NOW).lists]


def files(folder: Path) -> int:
    return sum(path.is_file() for path in folder.rglob("*"))


# --- peers that lie -----------------------------------------------------------------------------------------------


def test_a_list_that_the_vendor_did_not_sign_is_not_kept(tmp_path: Path, amd: AmdForge, roots: TrustAnchors) -> None:
    stranger = AmdForge(MOMENT, "Milan", keys={"ark": rsa.generate_private_key(65537, 2048)})
    forged = revoking(stranger)
    kept = node(tmp_path, roots, lambda *_: sent(stranger.ark.der, amd.ark.der, crls=(forged,)))
    kept.turn()
    assert counts(kept) == []
    assert list((tmp_path / "crls").glob("*")) == []


def test_a_certificate_around_the_vendors_key_that_the_vendor_did_not_make_is_not_kept(
    tmp_path: Path, amd: AmdForge, roots: TrustAnchors
) -> None:
    """The key is pinned and public: anyone writes certificates with it, without number, and none that it signed."""
    stranger = rsa.generate_private_key(65537, 2048)
    true = amd.ark.certificate
    fakes = [
        x509.CertificateBuilder()
        .subject_name(true.subject)
        .issuer_name(true.issuer)
        .public_key(true.public_key())
        .serial_number(number + 1)
        .not_valid_before(MOMENT - DAY)
        .not_valid_after(MOMENT + DAY)
        .sign(stranger, hashes.SHA384())
        .public_bytes(Encoding.DER)
        for number in range(3)
    ]
    kept = node(tmp_path, roots, lambda *_: sent(*fakes, crls=(revoking(amd),)))
    kept.turn()
    assert counts(kept) == []
    assert files(tmp_path) == 0


def test_a_peer_that_spells_one_list_in_many_ways_has_it_kept_once_and_keeps_no_other_out(
    tmp_path: Path, amd: AmdForge, roots: TrustAnchors
) -> None:
    """Bytes around what is signed are no one's word: 64 spellings must not fill the places of all lists."""
    true, later = revoking(amd), revoking(amd, MOMENT - DAY - HOUR)
    spelled = {respelled for number in range(100) if (respelled := _respelled(true, number)) is not None}
    asked = iter([sent(amd.ark.der, crls=(one,)) for one in sorted(spelled)])
    own = OwnCollateral(tmp_path, roots)
    for one in asked:
        own.take_lists(Tee.SNP, _endorsements(one), MOMENT)
    own.take_lists(Tee.SNP, _endorsements(sent(amd.ark.der, crls=(true, later))), MOMENT)
    assert len(own.lists()[Tee.SNP]) == 2
    assert len(list((tmp_path / "crls").iterdir())) == 2


def _respelled(crl: bytes, number: int) -> bytes | None:
    """The same signed list with an outer length of more bytes than it needs, where a reader takes that."""
    head, rest = crl[:4], crl[4:]
    found = head[:1] + bytes([0x83, 0]) + head[2:4] + rest if number % 2 else crl
    try:
        load_crl(found)
    except Exception:  # noqa: BLE001 - then this reader leaves no such room
        return None
    return found


def _endorsements(bundle: Bundle) -> Endorsements:
    return Endorsements(
        certificates=tuple(load_certificate(bytes.fromhex(one)) for one in bundle.certificates),
        crls=tuple(load_crl(bytes.fromhex(one)) for one in bundle.crls),
    )


@pytest.mark.parametrize(
    "bundle",
    [
        Bundle(intel=(), crls=("zz",)),
        Bundle(intel=(), crls=("00",)),
        Bundle(intel=(), certificates=("00",)),
        Bundle(intel=(), crls=("00",) * (MOST_LISTED + 1)),
    ],
    ids=["no hex", "no list", "no certificate", "too many"],
)
def test_an_answer_that_does_not_read_is_that_peers_problem_and_another_is_asked(
    bundle: Bundle, tmp_path: Path, amd: AmdForge, roots: TrustAnchors
) -> None:
    honest = holding(amd, revoking(amd))
    kept = node(tmp_path, roots, lambda url, tee: bundle if url == "odd" else honest(url, tee), "odd", "honest")
    kept.turn()
    assert counts(kept) == [revoking_of(kept)]
    (problem,) = kept.view().problems
    assert problem.startswith("snp: odd: ")


def revoking_of(kept: CollateralKeeper) -> bytes:
    (crl,) = kept._own.lists()[Tee.SNP]
    return crl.public_bytes(Encoding.DER)


# --- peers that help ----------------------------------------------------------------------------------------------


def test_a_mirror_that_withholds_a_revocation_list_is_made_good_by_a_peer(
    tmp_path: Path, amd: AmdForge, roots: TrustAnchors
) -> None:
    true = revoking(amd)
    kept = node(tmp_path, roots, holding(amd, true), mirror=Server())
    kept.turn()
    assert counts(kept) == [true]


def test_a_list_of_a_peer_counts_a_day_after_its_signature_and_no_sooner(
    tmp_path: Path, amd: AmdForge, roots: TrustAnchors
) -> None:
    kept = node(tmp_path, roots, holding(amd, revoking(amd, MOMENT - HOUR)))
    kept.turn()
    assert counts(kept) == []
    assert len(kept.counting(Tee.SNP, None, NOW + 86_400).lists) == 1


def test_nodes_of_which_one_alone_reaches_amd_hold_the_same_lists(
    tmp_path: Path, amd: AmdForge, roots: TrustAnchors
) -> None:
    first = node(tmp_path / "first", roots, lambda *_: Bundle(intel=()))
    first._own.take_lists(Tee.SNP, _endorsements(sent(amd.ark.der, crls=(revoking(amd),))), MOMENT)

    def of_the_first(_url: str, wanted: PlatformKind | Tee) -> Bundle:
        assert isinstance(wanted, Tee)
        return read_bundle(first.share_lists(wanted))

    second = node(tmp_path / "second", roots, of_the_first)
    second.turn()
    third = node(tmp_path / "third", roots, lambda _url, wanted: read_bundle(second.share_lists(Tee.SNP)))
    third.turn()
    assert counts(first) == counts(second) == counts(third) != []


def test_a_list_that_is_over_is_not_shared(tmp_path: Path, amd: AmdForge, roots: TrustAnchors) -> None:
    over = amd.crl(validity=Validity(start=MOMENT - 20 * DAY, end=MOMENT - HOUR))
    own = OwnCollateral(tmp_path, roots)
    own.take_lists(Tee.SNP, _endorsements(sent(amd.ark.der, crls=(over,))), MOMENT)
    assert read_bundle(lists_bundle(own.lists_to_share(Tee.SNP, MOMENT))).crls == ()


@pytest.fixture
def served(tmp_path: Path, amd: AmdForge, roots: TrustAnchors, world: World) -> Iterator[str]:
    first = node(tmp_path / "first", roots, lambda *_: Bundle(intel=()))
    first._own.take_lists(Tee.SNP, _endorsements(sent(amd.ark.der, crls=(revoking(amd),))), MOMENT)
    with _served(world.node(collateral=first)) as url:
        yield url


@pytest.mark.loopback
def test_a_node_gets_the_lists_of_another_over_http(served: str, tmp_path: Path, roots: TrustAnchors) -> None:
    with closing(HttpAskPeer()) as ask:
        second = node(tmp_path / "second", roots, ask, served)
        second.turn()
        assert len(counts(second)) == 1
        assert second.view().problems == ()
        assert ask(served, Tee.TDX).crls == ()
        with pytest.raises(HttpError, match="answered 4"):
            ask(f"{served}/v1/collateral/none", Tee.SNP)
