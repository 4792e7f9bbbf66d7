"""A store for a fleet: many machines, servers that throttle or are behind, files that do not hold."""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import IPv4Address
from pathlib import Path
from urllib.parse import quote

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from sealmarket.attestation.collateral.bundle import export_bundle, import_bundle
from sealmarket.attestation.collateral.fetch import Fetcher, pccs
from sealmarket.attestation.collateral.store import CollateralStore
from sealmarket.attestation.collateral.trust_anchors import TrustAnchors
from sealmarket.attestation.core.certificates import load_certificate, load_crl
from sealmarket.attestation.core.errors import CollateralError
from sealmarket.attestation.core.evidence import Endorsements, Evidence
from sealmarket.attestation.intel.collateral import IntelCollateral
from sealmarket.attestation.intel.platform import platform_kind
from sealmarket.attestation.parse import parse
from sealmarket.attestation.policy.verify import UNCHECKED, Expected, verify
from sealmarket.cli.main import main
from sealmarket_devices.pki import Validity
from sealmarket_enclave.protocol.numbers import Tee
from tests.attestation.support import NOW, forge_roots
from tests.forge.amd import AmdForge
from tests.forge.intel import IntelForge

DAY = timedelta(days=1)
CHIPS = 100
pytestmark = pytest.mark.enable_socket


@pytest.fixture(scope="module")
def amd() -> AmdForge:
    return AmdForge(NOW, "Milan")


@pytest.fixture(scope="module")
def intel() -> IntelForge:
    return IntelForge(NOW)


@pytest.fixture
def store(tmp_path: Path, amd: AmdForge, intel: IntelForge) -> CollateralStore:
    return CollateralStore(tmp_path / "store", anchors(amd, intel))


def anchors(amd: AmdForge, intel: IntelForge) -> TrustAnchors:
    return forge_roots(intel).with_development(amd.ark.der)


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as ended:
        main([str(argument) for argument in arguments])
    out, error = capsys.readouterr()
    return int(ended.value.code or 0), out, error


def chip(number: int) -> bytes:
    return number.to_bytes(2, "big") * 32


def evidence_of(amd: AmdForge, number: int) -> Evidence:
    return Evidence(tee=Tee.SNP, raw=amd.evidence(chip_id=chip(number)))


def fill(store: CollateralStore, amd: AmdForge) -> None:
    for raw in (amd.ask.der, amd.asvk.der, amd.ark.der):
        store.put_certificate(load_certificate(raw))
    for number in range(1, CHIPS + 1):
        store.put_certificate(load_certificate(amd.new_vcek(hwid=chip(number)).der))
    store.put_crl(load_crl(amd.crl()))


def is_accepted(store: CollateralStore, evidence: Evidence) -> bool:
    result = verify(
        evidence, store.endorsements_for(evidence, NOW), store.anchors, NOW, Expected(report_data=UNCHECKED)
    )
    return result.accepted


# --- many machines ----------------------------------------------------------------------------------------------


def test_each_of_many_machines_is_verified_from_one_store(store: CollateralStore, amd: AmdForge) -> None:
    fill(store, amd)
    for number in (1, 50, CHIPS):
        evidence = evidence_of(amd, number)
        assert is_accepted(store, evidence)
        assert len(store.endorsements_for(evidence, NOW).certificates) == 4, "its own and the three authorities"
    assert not is_accepted(store, evidence_of(amd, CHIPS + 1))


@pytest.mark.parametrize("product", ["Milan", "Genoa", "Turin"])
def test_the_certificate_of_a_chip_is_found_by_its_report(product: str, tmp_path: Path) -> None:
    forge = AmdForge(NOW, product)
    store = CollateralStore(tmp_path, TrustAnchors.production().with_development(forge.ark.der))
    store.put_certificates(Endorsements.read(forge.endorsements(forge.vcek, forge.vlek)))
    store.put_certificate(load_certificate(forge.new_vcek(hwid=forge.hwid[::-1]).der))
    assert is_accepted(store, Evidence(tee=Tee.SNP, raw=forge.evidence()))
    assert is_accepted(store, Evidence(tee=Tee.SNP, raw=forge.vlek_evidence()))
    assert len(list((tmp_path / "certificates").iterdir())) == 3, "two chips, and what is of no chip"


def test_a_bundle_of_a_fleet_moves_whole(store: CollateralStore, amd: AmdForge, tmp_path: Path) -> None:
    fill(store, amd)
    other = CollateralStore(tmp_path / "other", store.anchors)
    assert import_bundle(other, export_bundle(store)) == CHIPS + 4
    assert is_accepted(other, evidence_of(amd, 77))


def test_of_two_revocation_lists_of_one_issuer_the_later_is_kept(store: CollateralStore, amd: AmdForge) -> None:
    fill(store, amd)
    for days in (3, 1, 2):
        store.put_crl(load_crl(amd.crl(validity=Validity(start=NOW - days * DAY, end=NOW + DAY))))
    (kept,) = store.everything().crls
    assert kept.last_update_utc == NOW - DAY


def test_a_list_under_a_strangers_key_displaces_none(store: CollateralStore, amd: AmdForge) -> None:
    fill(store, amd)
    stranger = AmdForge(NOW, "Milan", keys={"ark": stranger_key()})
    store.put_crl(load_crl(stranger.crl(validity=Validity(start=NOW, end=NOW + DAY))))
    assert len(store.everything().crls) == 2
    assert is_accepted(store, evidence_of(amd, 1))


def stranger_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=4096)


# --- what does not hold -----------------------------------------------------------------------------------------


def test_a_bad_or_a_development_entry_concerns_itself_alone(
    store: CollateralStore, amd: AmdForge, intel: IntelForge
) -> None:
    fill(store, amd)
    store.put(IntelCollateral.from_json(intel.collateral()))
    other = IntelForge(NOW)
    CollateralStore(store.folder, forge_roots(other)).put(IntelCollateral.from_json(other.collateral()))
    for part, name in (("certificates/all", "bad.der"), ("crls", "bad.crl"), ("intel", "bad.json")):
        (store.folder / part / name).write_bytes(b"no such thing")
    (store.folder / "intel" / "huge.json").write_bytes(bytes(1))
    with (store.folder / "intel" / "huge.json").open("r+b") as file:
        file.truncate(1 << 34)
    kind = platform_kind(parse(intel.tdx_quote()))
    assert store.best(kind, NOW) is not None
    assert len(store.entries()) == 1
    assert len(store.unusable()) == 2, "the bad one, and the one under another root"
    assert is_accepted(store, evidence_of(amd, 1))
    assert len(json.loads(export_bundle(store))["intel"]) == 1


# --- servers that throttle or are behind ------------------------------------------------------------------------


Pages = Callable[[str], tuple[int, bytes, Mapping[str, str]]]


@contextmanager
def served(pages: Pages, certificate: tuple[Path, Path] | None = None) -> Iterator[str]:
    """A server on loopback, over TLS where it has a certificate and its key."""

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None: ...

        def do_GET(self) -> None:
            status, body, headers = pages(self.path.split("?")[0])
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"{'https' if certificate else 'http'}://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def kds(amd: AmdForge, throttled: str = "") -> Pages:
    chain = f"{amd.ask.pem}{amd.ark.pem}".encode()

    def answer(path: str) -> tuple[int, bytes, Mapping[str, str]]:
        if throttled and path.endswith(throttled):
            return 429, b"", {"retry-after": "10"}
        body = amd.crl() if path.endswith("/crl") else chain if path.endswith("/cert_chain") else amd.vcek.der
        return 200, body, {}

    return answer


@pytest.mark.parametrize(("throttled", "kept"), [("/crl", (3, 0)), ("/cert_chain", (1, 1)), ("0" * 2, (2, 1))])
def test_what_came_is_kept_when_another_step_is_throttled(
    amd: AmdForge, store: CollateralStore, throttled: str, kept: tuple[int, int]
) -> None:
    evidence = Evidence(tee=Tee.SNP, raw=amd.evidence(chip_id=amd.hwid))
    ending = amd.hwid.hex() if throttled == "00" else throttled
    with served(kds(amd, ending)) as url, Fetcher({"amd": url}) as fetcher:
        found, (problem,) = fetcher.endorsements(evidence)
    assert problem.remedy == "try again in 10 s"
    assert store.keep(found, Tee.SNP, NOW) == ()
    here = store.everything()
    assert (len(here.certificates), len(here.crls)) == kept
    with served(kds(amd)) as url, Fetcher({"amd": url}) as fetcher:
        again, problems = fetcher.endorsements(evidence)
    assert problems == ()
    assert store.keep(again, Tee.SNP, NOW) == ()
    assert is_accepted(store, evidence)


def test_the_command_says_what_came_and_what_to_do_about_the_rest(
    capsys: pytest.CaptureFixture[str], amd: AmdForge, tmp_path: Path
) -> None:
    now = datetime.now(UTC)
    forge = AmdForge(now, "Milan")
    (tmp_path / "report.bin").write_bytes(forge.evidence())
    arguments = ("collateral", "fetch", tmp_path / "report.bin", "--store", tmp_path / "store", "--amd")
    with served(kds(forge, "/crl")) as url:
        code, out, error = run(capsys, *arguments, url)
    assert (code, "came: 3 certificates, 0 revocation lists" in out) == (1, True)
    assert "try again in 10 s" in error
    with served(kds(forge)) as url:
        code, out, error = run(capsys, *arguments, url)
    assert (code, error) == (0, "")
    assert "1 revocation lists" in out


def test_what_is_expired_is_not_kept(amd: AmdForge, store: CollateralStore) -> None:
    past = Validity(start=NOW - 3 * DAY, end=NOW - DAY)
    older = AmdForge(NOW, "Milan", validity={"vcek": past})
    fetched = Endorsements.read([older.vcek.der, amd.ask.der, amd.crl(validity=past)])
    left = store.keep(fetched, Tee.SNP, NOW)
    assert [line.split(" that ended")[0] for line in left] == ["a certificate", "a CRL"]
    assert len(store.everything().certificates) == 1
    assert store.everything().crls == ()


def cache(collateral: str) -> Pages:
    """A PCCS that serves this collateral."""
    parts = json.loads(collateral)

    def answer(path: str) -> tuple[int, bytes, Mapping[str, str]]:
        if path.endswith("/tcb"):
            body = f'{{"tcbInfo":{parts["tcb_info"]},"signature":"{parts["tcb_info_signature"]}"}}'
            return 200, body.encode(), {"TCB-Info-Issuer-Chain": quote(parts["tcb_info_issuer_chain"])}
        if path.endswith("/qe/identity"):
            body = f'{{"enclaveIdentity":{parts["qe_identity"]},"signature":"{parts["qe_identity_signature"]}"}}'
            return 200, body.encode(), {"SGX-Enclave-Identity-Issuer-Chain": quote(parts["qe_identity_issuer_chain"])}
        if path.endswith("/pckcrl"):
            headers = {"SGX-PCK-CRL-Issuer-Chain": quote(parts["pck_crl_issuer_chain"])}
            return 200, bytes.fromhex(parts["pck_crl"]), headers
        return 200, parts["root_ca_crl"].encode(), {}

    return answer


def self_signed(folder: Path) -> tuple[Path, Path]:
    """A certificate for loopback, as a PCCS makes its own at installation, and its key."""
    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name.from_rfc4514_string("CN=pccs")
    address = x509.SubjectAlternativeName([x509.IPAddress(IPv4Address("127.0.0.1"))])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, now - DAY, now + DAY)
    certificate = builder.add_extension(address, critical=False).sign(key, hashes.SHA256())
    (folder / "pccs.pem").write_bytes(certificate.public_bytes(Encoding.PEM))
    (folder / "pccs.key").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return folder / "pccs.pem", folder / "pccs.key"


def test_a_cache_with_its_own_certificate_is_asked_once_that_is_trusted(
    intel: IntelForge, store: CollateralStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    certificate, kind = self_signed(tmp_path), platform_kind(parse(intel.tdx_quote()))
    with served(cache(intel.collateral()), certificate) as url:
        with Fetcher(pccs(url)) as fetcher, pytest.raises(CollateralError) as refused:
            fetcher.collateral(kind)
        assert "SSL_CERT_FILE" in refused.value.remedy
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate[0]))
        with Fetcher(pccs(url)) as fetcher:
            assert store.refresh(fetcher.collateral, NOW, [kind]) == ()
    assert store.best(kind, NOW) is not None


def test_a_cache_that_is_behind_displaces_nothing(intel: IntelForge, store: CollateralStore) -> None:
    kind = platform_kind(parse(intel.tdx_quote()))
    numbers = ({"tcbEvaluationDataNumber": number} for number in (19, 20))
    older, newer = (IntelCollateral.from_json(intel.collateral(tcb=one, identity=one)) for one in numbers)
    (problem,) = store.refresh(lambda _: older, NOW + 60 * DAY, [kind])
    assert "holds from" in problem
    assert "refresh the PCCS" in problem
    assert store.entries() == (), "expired collateral is not kept"
    store.put(newer)
    (problem,) = store.refresh(lambda _: older, NOW + 9 * DAY, [kind])
    assert "20 of" in problem
    assert [entry.evaluation_number for entry in store.entries()] == [20]
