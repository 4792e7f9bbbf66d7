"""NVIDIA's answers about revocation (OCSP, RFC 6960), signed by a responder of the issuer's own.

NVIDIA's certificates never expire, or live for years: a certificate is withdrawn by OCSP alone. :func:`check_path` asks
for each certificate of a path whether an answer is there and what it says:

1. The answer is about this certificate: its serial number, and the hashes of its issuer's name and key.
2. The issuer signed it with ECDSA and SHA-384, or a responder whose certificate the issuer signed for that purpose and
   that is valid now.
3. It is valid now. Of several the newest counts; what any of them calls revoked stays revoked.
4. The certificate is neither revoked, nor on hold, nor unknown.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from hashlib import sha256
from itertools import pairwise

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA
from cryptography.hazmat.primitives.hashes import SHA384
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509 import ocsp
from cryptography.x509.oid import ExtendedKeyUsageOID

from sealmarket.attestation.core.cache import ProvenCache
from sealmarket.attestation.core.errors import EvidenceRefused, refuse
from sealmarket.attestation.core.pki import Window, check_windows, seconds
from sealmarket.attestation.core.reasons import Reason
from sealmarket.attestation.core.unreadable import NOT_X509
from sealmarket.attestation.nvidia.certificates import Link, is_signed, read_link

MAXIMUM_BYTES = 16 << 10
"""One answer. Genuine ones have 1 KiB."""
_HASHES = ("sha1", "sha256", "sha384", "sha512")
_HOLD = x509.ReasonFlags.certificate_hold


@dataclass(frozen=True, slots=True)
class Answer:
    """What one answer says, unproven until it is held against an issuer."""

    raw: bytes
    fingerprint: bytes
    serial: int
    issuer: tuple[str, bytes, bytes]
    status: ocsp.OCSPCertStatus
    reason: x509.ReasonFlags | None
    start: int
    end: int
    response: ocsp.OCSPResponse


_proven: ProvenCache[tuple[Window, ...]] = ProvenCache(1024)
_names: ProvenCache[tuple[str, bytes, bytes]] = ProvenCache(1024)


@lru_cache(maxsize=4096)
def read_answer(raw: bytes) -> Answer:
    """Read one answer.

    Raises:
        EvidenceRefused: no OCSP answer about one certificate with an end of its validity.
    """
    if len(raw) > MAXIMUM_BYTES:
        refuse(Reason.NVIDIA_OCSP_INVALID, f"at most {MAXIMUM_BYTES} bytes of an OCSP answer", len(raw))
    try:
        response = ocsp.load_der_ocsp_response(raw)
        if len(list(response.responses)) != 1:
            refuse(Reason.NVIDIA_OCSP_INVALID, "an OCSP answer about one certificate", "another number")
        if response.next_update_utc is None:
            refuse(Reason.NVIDIA_OCSP_INVALID, "an OCSP answer with an end of its validity", "none")
        return Answer(
            raw=raw,
            fingerprint=sha256(raw).digest(),
            serial=response.serial_number,
            issuer=(response.hash_algorithm.name, response.issuer_name_hash, response.issuer_key_hash),
            status=response.certificate_status,
            reason=response.revocation_reason,
            start=seconds(response.this_update_utc),
            end=seconds(response.next_update_utc),
            response=response,
        )
    except NOT_X509 as error:
        return refuse(Reason.NVIDIA_OCSP_INVALID, "an OCSP answer that can be read", str(error)[:200])


Answers = Mapping[int, Sequence[Answer]]
"""Answers by the serial number of the certificate that they are about."""


def by_serial(answers: Iterable[Answer]) -> Answers:
    """Answers in the form in which :func:`check_path` takes them."""
    found: dict[int, list[Answer]] = {}
    for answer in answers:
        found.setdefault(answer.serial, []).append(answer)
    return found


def check_path(links: Sequence[Link], answers: Answers, now: datetime) -> tuple[str, ...]:
    """Hold each certificate of a path but the root against the answers about it.

    Args:
        links: certificates, each issued by the next.
        answers: all that were supplied; those about other certificates are passed over.
        now: the time of verification.

    Returns:
        The names of the certificates that no answer is about.

    Raises:
        EvidenceRefused: an answer that does not hold, or that does not say good.
    """
    return tuple(link.name for link, issuer in pairwise(links) if not _check(link, issuer, answers, now))


def _check(link: Link, issuer: Link, answers: Answers, now: datetime) -> bool:
    own = sorted(_about(link, issuer, answers), key=lambda answer: answer.start)
    if not own:
        return False
    for answer in own:
        responders = _prove(answer, issuer)
        if answer.status is ocsp.OCSPCertStatus.REVOKED and answer.reason is not _HOLD:
            refuse(Reason.CERTIFICATE_REVOKED, f"{link.name} not revoked", answer.reason)
        if answer is own[-1]:
            _check_time(link, answer, responders, now)
            _check_status(link, answer)
    return True


def _about(link: Link, issuer: Link, answers: Answers) -> Iterator[Answer]:
    for answer in answers.get(link.serial, ()):
        if answer.issuer == _name_of(issuer, answer.issuer[0]):
            yield answer


def _name_of(issuer: Link, algorithm: str) -> tuple[str, bytes, bytes]:
    """The hashes by which an answer names its issuer (RFC 6960, 4.1.1)."""
    if algorithm not in _HASHES:
        return algorithm, b"", b""
    name = (issuer.fingerprint, algorithm)
    known = _names.get(name)
    if known is None:
        subject = issuer.certificate.subject.public_bytes()
        point = issuer.key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
        known = (algorithm, hashlib.new(algorithm, subject).digest(), hashlib.new(algorithm, point).digest())
        _names.put(name, known)
    return known


def _prove(answer: Answer, issuer: Link) -> tuple[Window, ...]:
    """The validity of the responder's certificate; nothing where the issuer signed itself."""
    name = issuer.fingerprint + answer.fingerprint
    known = _proven.get(name)
    if known is not None:
        return known
    response = answer.response
    responder, windows = _responder(response, issuer)
    try:
        responder.key.verify(response.signature, response.tbs_response_bytes, ECDSA(SHA384()))
    except (InvalidSignature, *NOT_X509):
        refuse(Reason.NVIDIA_OCSP_INVALID, f"an OCSP answer signed by {responder.name}", "another signature")
    return _proven.put(name, windows)


def _responder(response: ocsp.OCSPResponse, issuer: Link) -> tuple[Link, tuple[Window, ...]]:
    try:
        certificates = list(response.certificates)
        responder = read_link(certificates[0]) if certificates else issuer
    except (EvidenceRefused, *NOT_X509) as error:
        refuse(Reason.NVIDIA_OCSP_INVALID, "a responder's certificate that can be read", str(error)[:200])
    if responder.der == issuer.der:
        return issuer, ()
    usages = [e.value for e in responder.certificate.extensions if isinstance(e.value, x509.ExtendedKeyUsage)]
    if not any(ExtendedKeyUsageOID.OCSP_SIGNING in usage for usage in usages):
        refuse(Reason.NVIDIA_OCSP_INVALID, "a responder's certificate made for that purpose", responder.name)
    if responder.certificate.issuer != issuer.certificate.subject or not is_signed(responder, issuer):
        refuse(Reason.NVIDIA_OCSP_INVALID, f"a responder of {issuer.name}", responder.name)
    return responder, (responder.window,)


def _check_time(link: Link, answer: Answer, responders: tuple[Window, ...], now: datetime) -> None:
    moment = seconds(now)
    if not answer.start <= moment <= answer.end:
        found = f"{datetime.fromtimestamp(answer.start, UTC)} to {datetime.fromtimestamp(answer.end, UTC)}"
        refuse(Reason.NVIDIA_OCSP_INVALID, f"an OCSP answer about {link.name} valid at {now.isoformat()}", found)
    check_windows(responders, moment)


def _check_status(link: Link, answer: Answer) -> None:
    if answer.status is ocsp.OCSPCertStatus.REVOKED:
        refuse(Reason.NVIDIA_ON_HOLD, f"{link.name} not on hold", "certificateHold")
    if answer.status is not ocsp.OCSPCertStatus.GOOD:
        refuse(Reason.NVIDIA_OCSP_UNKNOWN, f"{link.name} known to its issuer's responder", answer.status.name.lower())


def forget() -> None:
    """Drop everything that is remembered."""
    _proven.clear()
    _names.clear()
    read_answer.cache_clear()
