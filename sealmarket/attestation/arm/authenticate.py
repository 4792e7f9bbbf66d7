"""Arm CCA tokens: authentic? (RMM 1.0, A7.2; draft-ffm-rats-cca-token, section 5)

The steps of :func:`authenticate`, which stops at the first that fails:

1. Both tokens follow their layout to the last byte, and each claim comes once.
2. The platform's key: documents among the endorsements name one for this implementation and instance. It counts if it
   is trusted itself, or if the document that names it is signed by a key that is, and holds at ``now``. Keys whose
   private half is published never count but under a development root that the caller named.
3. The platform's key signed the platform token, under the algorithm of its curve.
4. The platform token commits to the realm's key: the hash that the realm token names, over the key's bytes.
5. The realm's key is a point of P-384, and signed the realm token.
6. Reference values among the endorsements are held against the platform; what follows from that is a rule.

The grade is that of the key or signer. Arm publishes no root and pins none here: until one is pinned, all evidence that
is accepted is ``simulated``. Report data is the challenge, all 64 bytes of it. The token's name is the digest of what
both keys signed, so neither ``n - s`` nor the collection's tag gives it another.

Checks considered and rejected: hash algorithms by the signature's (RMMs name SHA-256 beside ES384), the length of
measurements by their algorithm (some fill registers to 64 bytes), the verification service's address.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey

from sealmarket.attestation.arm.documents import Document, PlatformKey
from sealmarket.attestation.arm.reading import read_document
from sealmarket.attestation.arm.token import CcaToken, read_token, realm_key
from sealmarket.attestation.core.cache import ProvenCache
from sealmarket.attestation.core.cose import Sign1, verify_sign1
from sealmarket.attestation.core.errors import CollateralError, EvidenceRefused, refuse
from sealmarket.attestation.core.evidence import Endorsements, Evidence
from sealmarket.attestation.core.model import _MAKER, AuthenticReport, Platform, Tcb, TcbStatus
from sealmarket.attestation.core.pki import check_windows, seconds, spki_sha256
from sealmarket.attestation.core.reasons import Reason
from sealmarket.attestation.core.tee import Anchors
from sealmarket_enclave.protocol.codec import Bytes32
from sealmarket_enclave.protocol.numbers import Grade, Tee

PUBLISHED_KEYS = frozenset(
    bytes.fromhex(spki)
    for spki in (
        "0928f896cb02326566530a62a1e36329a12d0a4a308f4fc81e8ff5560bca6bca",
        "b523aebcba34bfcd8ee2709d1f34b6e536f060f136b6128bb2939f2cb86904b8",
        "51b944cdfa544d4c3273aa6bf350625a7dd53bbb6a71723274f538b19a207760",
    )
)
"""SPKI hashes of keys whose private half everyone has: TF-M's and TF-A's development CPAK, Veraison's test key, and the
example of RFC 7517."""
_HASHES = {"sha-256": hashlib.sha256, "sha-384": hashlib.sha384, "sha-512": hashlib.sha512}
_MAXIMUM_KEYS = 8
"""Keys of one platform that are tried."""


_proven: ProvenCache[bool] = ProvenCache(4096)


class Reference(NamedTuple):
    """A document of reference values about this platform or realm, as it was held against the token.

    ``grade`` is that of its signer; None where no trusted key signed it. ``difference`` is None where all is equal.
    """

    digest: bytes
    grade: Grade | None
    difference: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CcaBody:
    """What the appraisal of a token needs beyond the common report."""

    token: CcaToken
    platform_references: tuple[Reference, ...]
    realm_references: tuple[Reference, ...]

    def claims(self) -> Mapping[str, Any]:
        """The token's claims, and which documents it matched."""
        references = (*self.platform_references, *self.realm_references)
        return {
            **self.token.claims(),
            "reference_values": [
                {
                    "document": one.digest.hex(),
                    "signed": one.grade.slug if one.grade else None,
                    "difference": one.difference,
                }
                for one in references
            ],
        }


class _Source(NamedTuple):
    """A document with the grade of its signer."""

    document: Document
    grade: Grade | None


def authenticate(evidence: Evidence, endorsements: Endorsements, anchors: Anchors, now: datetime) -> AuthenticReport:
    """Prove a CCA token. See the module's steps.

    Raises:
        EvidenceRefused: the first step that failed, as a finding.
    """
    # 1. Layout.
    token = read_token(evidence.raw)
    # 2. The platform's key, 3. its signature.
    sources = _sources(endorsements, anchors, now)
    grade = _platform_signed(token, sources, anchors)
    # 4. Realm's key.
    name = token.realm.rak_hash_algorithm.value
    bound = _HASHES[name](token.realm.rak).digest()
    if token.platform.rak_hash != bound:
        refuse(Reason.CCA_BINDING, f"{name} of the realm's key {bound.hex()}", token.platform.rak_hash.hex())
    # 5. Realm's signature.
    verify_sign1(token.realm_cose, realm_key(token.realm.rak), "the realm token")
    # 6. Reference values.
    body = CcaBody(
        token=token,
        platform_references=tuple(_held_against_platform(token, sources)),
        realm_references=tuple(_held_against_realm(token, sources)),
    )
    return AuthenticReport(
        maker=_MAKER,
        tee=Tee.CCA,
        grade=grade,
        measurement=token.realm.measurement,
        report_data=token.realm.challenge,
        evidence_digest=_name(token),
        tcb=Tcb(status=TcbStatus.NOT_RATED),
        platform=Platform(identity=token.platform.instance),
        debug=token.debug,
        body=body,
        authenticated_at=now,
    )


def unverified_claims(evidence: Evidence) -> dict[str, Any]:
    """What a token says of itself, without any proof; for looking at evidence only.

    Raises:
        EvidenceRefused: not the layout.
    """
    token = read_token(evidence.raw)
    return {**token.claims(), "report_data": token.realm.challenge.hex(), "debug": token.debug}


def development_keys(endorsements: Endorsements) -> Iterator[bytes]:
    """The platform keys that documents name: what a caller means who names them as development roots.

    Raises:
        CollateralError: a document that cannot be read.
    """
    for raw in endorsements.documents:
        for key in read_document(raw).keys:
            yield key.spki


def _name(token: CcaToken) -> Bytes32:
    platform, realm = token.platform_cose.signed, token.realm_cose.signed
    return Bytes32(hashlib.sha256(len(platform).to_bytes(4, "big") + platform + realm).digest())


def _sources(endorsements: Endorsements, anchors: Anchors, now: datetime) -> list[_Source]:
    """The documents that hold now. One that is signed counts as signed only under a trusted key."""
    signers = []
    for certificate in endorsements.certificates:
        grade, key = anchors.grade_of(Tee.CCA, spki_sha256(certificate)), certificate.public_key()
        if grade is not None and isinstance(key, EllipticCurvePublicKey):
            signers.append((key, grade))
    sources = []
    for raw in endorsements.documents:
        try:
            document = read_document(raw)
        except CollateralError as error:
            refuse(Reason.ENDORSEMENT_MALFORMED, "documents about CCA platforms", error)
        check_windows(document.windows, seconds(now))
        sources.append(_Source(document, _signed_by(document, signers)))
    return sources


def _signed_by(document: Document, signers: Sequence[tuple[EllipticCurvePublicKey, Grade]]) -> Grade | None:
    if document.cose is None:
        return None
    for key, grade in signers:
        try:
            verify_sign1(document.cose, key, "the CoRIM")
        except EvidenceRefused:
            continue
        return grade
    return refuse(Reason.UNTRUSTED_ROOT, "a CoRIM signed by a trusted key", "none of the trusted keys signed it")


def _platform_signed(token: CcaToken, sources: Sequence[_Source], anchors: Anchors) -> Grade:
    """Steps 2 and 3: the grade of the key that signed."""
    named = list(_keys_of(token, sources))
    if not named:
        ids = f"implementation {token.platform.implementation.hex()}, instance {token.platform.instance.hex()}"
        refuse(Reason.CCA_KEY_UNKNOWN, "the key of this implementation and instance", f"none for {ids}")
    trusted = []
    for key, signer in named[:_MAXIMUM_KEYS]:
        own = anchors.grade_of(Tee.CCA, key.spki)
        grade = max((one for one in (own, signer) if one is not None), default=None)
        if grade is not None and (own is Grade.SIMULATED or key.spki not in PUBLISHED_KEYS):
            trusted.append((key, grade))
    if not trusted:
        published = [key for key, _ in named if key.spki in PUBLISHED_KEYS]
        if published:
            refuse(Reason.CCA_DEVELOPMENT_KEY, "a platform key that only its platform has", published[0].spki.hex())
        refuse(
            Reason.UNTRUSTED_ROOT,
            "a platform key, or its document's signer, that is trusted",
            "a key that is no trust anchor",
        )
    refusal: EvidenceRefused | None = None
    for key, grade in trusted:
        try:
            _prove_platform(token.platform_cose, key)
        except EvidenceRefused as error:
            refusal = refusal or error
            continue
        return Grade.SIMULATED if key.spki in PUBLISHED_KEYS else grade
    assert refusal is not None
    raise refusal


def _prove_platform(cose: Sign1, key: PlatformKey) -> None:
    """Step 3, once for each platform token: a platform keeps it while the realm manager keeps its key."""
    name = hashlib.sha256(key.spki + len(cose.signed).to_bytes(4, "big") + cose.signed + cose.signature).digest()
    if _proven.get(name) is None:
        verify_sign1(cose, key.key, "the platform token")
        _proven.put(name, True)


def forget() -> None:
    """Drop everything that is remembered, as in a process that has just started."""
    _proven.clear()


def _keys_of(token: CcaToken, sources: Sequence[_Source]) -> Iterator[tuple[PlatformKey, Grade | None]]:
    ids = (token.platform.implementation, token.platform.instance)
    for document, grade in sources:
        for key in document.keys:
            if (key.implementation, key.instance) == ids:
                yield key, grade


def _held_against_platform(token: CcaToken, sources: Sequence[_Source]) -> Iterator[Reference]:
    """One result for each document about this implementation: equal if one of its alternatives is."""
    for document, grade in sources:
        differences = [
            reference.difference(token.platform)
            for reference in document.platforms
            if reference.implementation == token.platform.implementation
        ]
        if differences:
            yield Reference(document.digest, grade, None if None in differences else differences[0])


def _held_against_realm(token: CcaToken, sources: Sequence[_Source]) -> Iterator[Reference]:
    measured = token.realm.measurement
    rems = (measured.rem0, measured.rem1, measured.rem2, measured.rem3)
    for document, grade in sources:
        if not document.realms:
            continue
        same = any(
            reference.rim == measured.rim
            and reference.rems in ((), rems)
            and reference.personalization in (None, measured.personalization)
            for reference in document.realms
        )
        yield Reference(document.digest, grade, None if same else f"a realm with RIM {measured.rim.hex()}")
