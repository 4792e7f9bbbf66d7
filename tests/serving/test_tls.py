"""A listener with TLS of its own: its limits hold from the first packet on."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from sealmarket.serving.errors import CertificateRefused
from sealmarket.serving.limits import ServerLimits
from sealmarket.serving.tls import server_context
from tests.patience import PATIENCE, until
from tests.serving.attacks import PATIENT, Served, read_to_end, served
from tests.serving.test_servers import SHORT, application


def _written(folder: Path, password: bytes | None = None) -> tuple[Path, Path]:
    """A certificate of 127.0.0.1 and its key."""
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "a node")])
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), now, now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    kept = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    raw = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, kept)
    certificate, private = folder / "certificate.pem", folder / "key.pem"
    certificate.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    private.touch(mode=0o600)
    private.write_bytes(raw)
    return certificate, private


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return _written(tmp_path_factory.mktemp("tls"))


@contextmanager
def running(files: tuple[Path, Path], limits: ServerLimits = PATIENT) -> Iterator[tuple[Served, ssl.SSLContext]]:
    with served(application(), limits, server_context(*files)) as found:
        yield found, ssl.create_default_context(cafile=str(files[0]))


@pytest.mark.parametrize("wrong", ["absent", "no PEM", "another key", "readable by others", "encrypted"])
def test_a_certificate_that_cannot_be_served_is_refused_before_the_node_serves(wrong: str, tmp_path: Path) -> None:
    certificate, key = _written(tmp_path, b"a password" if wrong == "encrypted" else None)
    if wrong == "absent":
        certificate.unlink()
    elif wrong == "no PEM":
        certificate.write_bytes(b"\x00" * 100)
    elif wrong == "another key":
        (tmp_path / "other").mkdir()
        key = _written(tmp_path / "other")[1]
    elif wrong == "readable by others":
        key.chmod(0o644)
    with pytest.raises(CertificateRefused, match="no TLS with this certificate"):
        server_context(certificate, key)


@pytest.mark.loopback
def test_plain_http_gets_no_answer_from_a_listener_with_tls(files: tuple[Path, Path]) -> None:
    with running(files) as (found, _):
        assert b"HTTP" not in read_to_end(found.sent(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"))
        until("it is forgotten", lambda: not len(found.connections))


def test_no_older_version_and_no_renegotiation_is_spoken(files: tuple[Path, Path]) -> None:
    context = server_context(*files)
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2
    assert context.options & ssl.OP_NO_RENEGOTIATION


@pytest.mark.loopback
@pytest.mark.parametrize("sent", [b"", b"\x16\x03\x01\x02\x00"])
def test_a_handshake_that_does_not_end_is_ended_at_the_deadline_of_a_request(
    sent: bytes, files: tuple[Path, Path]
) -> None:
    with running(files, replace(PATIENT, header_seconds=SHORT)) as (found, _):
        assert read_to_end(found.sent(sent)) == b""
        until("it is forgotten", lambda: not len(found.connections))


@pytest.mark.loopback
def test_connections_in_a_handshake_count_and_make_room_for_others(files: tuple[Path, Path]) -> None:
    with running(files, replace(PATIENT, connections=2, connections_per_peer=2)) as (found, trusting):
        silent = [found.connect() for _ in range(2)]
        until("both count", lambda: len(found.connections) == 2)
        answer = httpx.get(f"{found.url}/healthz", verify=trusting, timeout=PATIENCE, trust_env=False)
        assert answer.json() == {"peer": "127.0.0.1"}
        assert read_to_end(silent[0]) == b""
        silent[1].close()


@pytest.mark.loopback
def test_requests_and_large_answers_go_through_one_connection_after_another(files: tuple[Path, Path]) -> None:
    with running(files, replace(PATIENT, request_burst=10_000)) as (found, trusting):  # each 32 KiB count as one
        assert found.url.startswith("https://")
        with httpx.Client(verify=trusting, timeout=PATIENCE, trust_env=False) as client:
            assert client.put(f"{found.url}/", content=bytes(50_000)).json() == {"bytes": 50_000}
            assert client.get(f"{found.url}/much").content == bytes(32 << 20)
        with found.connect() as plain, trusting.wrap_socket(plain, server_hostname="127.0.0.1") as secured:
            secured.sendall(
                b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
            )  # with the handshake's end
            assert secured.version() == "TLSv1.3"
            assert _read(secured).startswith(b"HTTP/1.1 200")


def _read(secured: socket.socket) -> bytes:
    answer = b""
    while piece := secured.recv(4096):
        answer += piece
    return answer
