"""The collateral store: by fingerprint, proven before it is stored, served as long as the vendor's signature is valid.

Intel's collateral expires 30 days after issue; until then an outage of its server has no effect. ``refresh``
asks a source for what is due and keeps the stored collateral when the source fails. The clock and the source are
arguments. A bundle moves a store to a machine without network, which proves every piece again.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from typing import Literal

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from sealmarket.attestation.collateral.trust_anchors import TrustAnchors
from sealmarket.attestation.core.collateral import Collateral, Entry, PlatformKind
from sealmarket.attestation.core.errors import CollateralError, EvidenceRefused
from sealmarket.attestation.core.evidence import Endorsements, Evidence
from sealmarket.attestation.core.unreadable import NOT_JSON
from sealmarket.attestation.registry import MODULES, CollateralDocument, module_of
from sealmarket_enclave.protocol.codec import parse_json, prepared
from sealmarket_enclave.protocol.numbers import Tee


class Bundle(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything in a store, for machines without network: certificates and CRLs in hex DER, documents by TEE."""

    version: Literal["sealmarket/collateral-bundle/1"] = "sealmarket/collateral-bundle/1"
    intel: tuple[CollateralDocument, ...]
    certificates: tuple[str, ...] = ()
    crls: tuple[str, ...] = ()
    documents: Mapping[str, tuple[str, ...]] = {}


Source = Callable[[PlatformKind], Collateral]
"""Where fresh collateral comes from; raises :class:`CollateralError`. ``Fetcher.collateral`` asks over the network."""


def describe(collateral: Collateral, anchors: TrustAnchors) -> Entry:
    """Prove collateral and state what it is for.

    Raises:
        EvidenceRefused: it does not hold under the anchors.
    """
    return module_of(collateral.tee).describe(collateral, anchors)


class CollateralStore:
    """A folder of collateral. Safe against crashes: a file appears whole or not at all."""

    def __init__(self, folder: Path, anchors: TrustAnchors | None = None) -> None:
        self.folder = folder
        self.anchors = anchors or TrustAnchors.production()

    def put(self, collateral: Collateral) -> Entry:
        """Prove and store.

        Raises:
            EvidenceRefused: it does not hold under this store's anchors.
        """
        entry = describe(collateral, self.anchors)
        self._write("intel", f"{collateral.fingerprint.hex()}.json", collateral.to_json())
        return entry

    def put_certificate(self, certificate: x509.Certificate) -> None:
        """Store a certificate as a candidate; it counts only where a chain ends in a pinned root."""
        der = certificate.public_bytes(Encoding.DER)
        self._write("certificates", f"{sha256(der).hexdigest()}.der", der)

    def put_document(self, tee: Tee, raw: bytes) -> None:
        """Store a document that the TEE's module reads, as a candidate, unless a later one of its name is here.

        Raises:
            CollateralError: the module does not read it.
        """
        module = module_of(tee)
        part = f"documents/{tee.slug}"
        for document in _documents(tee, raw):
            name, issued = module.document_name(document)
            held = self.folder / part / name
            if issued is not None and held.exists():
                before = module.document_name(held.read_bytes()).issued
                if before is not None and before > issued:
                    continue
            self._write(part, name, document)

    def put_all(self, endorsements: Endorsements, tee: Tee) -> None:
        """Store a TEE's endorsements: collateral after proof, certificates, CRLs and documents as candidates.

        Raises:
            EvidenceRefused: the collateral does not hold under this store's anchors.
        """
        if endorsements.collateral is not None:
            self.put(endorsements.collateral)
        self.put_certificates(endorsements)
        for raw in endorsements.documents:
            self.put_document(tee, raw)

    def put_certificates(self, endorsements: Endorsements) -> None:
        """Store certificates and CRLs as candidates."""
        for certificate in endorsements.certificates:
            self.put_certificate(certificate)
        for crl in endorsements.crls:
            self.put_crl(crl)

    def put_crl(self, crl: x509.CertificateRevocationList) -> None:
        """Store a CRL as a candidate; it counts only under the issuer that signed it."""
        der = crl.public_bytes(Encoding.DER)
        self._write("crls", f"{sha256(der).hexdigest()}.crl", der)

    def entries(self) -> tuple[Entry, ...]:
        """All stored collateral, proven anew, by kind and then newest first.

        Raises:
            CollateralError: a file in the store does not hold; it names the file to remove.
        """
        found = []
        for path in sorted((self.folder / "intel").glob("*.json")):
            try:
                found.append(describe(CollateralDocument.from_json(path.read_bytes()), self.anchors))
            except EvidenceRefused as refusal:
                raise CollateralError(f"{path} does not hold: {refusal}", remedy="remove this file") from refusal
        return tuple(sorted(found, key=lambda e: (e.kind, -e.evaluation_number, -e.issued.timestamp())))

    def best(self, kind: PlatformKind, now: datetime) -> Entry | None:
        """The newest evaluation, then the newest issue, that is valid now."""
        valid = (e for e in self.entries() if e.kind == kind and e.issued <= now <= e.expires)
        return next(iter(valid), None)

    def endorsements_for(self, evidence: Evidence, now: datetime) -> Endorsements:
        """What this store holds for a piece of evidence; empty where it holds nothing.

        Raises:
            EvidenceRefused: its TEE is not registered.
        """
        module = module_of(evidence.tee)
        try:
            kind = module.platform_kind(evidence)
        except (EvidenceRefused, CollateralError):
            return Endorsements()  # authenticate() names what is wrong with the evidence itself
        if kind is None:
            kept = Endorsements.read([*self._files("certificates", "der"), *self._files("crls", "crl")])
            return kept.and_also(Endorsements(documents=tuple(self._files(f"documents/{evidence.tee.slug}"))))
        entry = self.best(kind, now)
        return Endorsements(collateral=entry.collateral if entry else None)

    def refresh(self, source: Source, now: datetime, kinds: Iterable[PlatformKind] = ()) -> tuple[str, ...]:
        """Fetch what is due and the named kinds that are absent; what fails stays as it is and is reported.

        Returns:
            One line for each kind that could not be refreshed.
        """
        problems = []
        wanted = {entry.kind for entry in self.entries()} | set(kinds)
        for kind in sorted(wanted):
            held = self.best(kind, now)
            if held is not None and held.state(now) == "fresh":
                continue
            try:
                fresh = describe(source(kind), self.anchors)
                if fresh.kind != kind:
                    raise CollateralError(f"asked for {kind}, the source sent {fresh.kind}")
                if held is None or fresh.evaluation_number >= held.evaluation_number:
                    self.put(fresh.collateral)
                else:
                    raise CollateralError(
                        f"the source sent evaluation {fresh.evaluation_number}, {held.evaluation_number} is here"
                    )
            except (CollateralError, EvidenceRefused) as error:
                until = f"served until {held.expires.isoformat()}" if held else "none is here"
                problems.append(f"{kind.tee.slug} {kind.fmspc} {kind.ca}: {error}; {until}")
        return tuple(problems)

    def export_bundle(self) -> bytes:
        """Everything here, as one JSON file."""
        bundle = Bundle(
            intel=tuple(CollateralDocument.from_json(raw) for raw in self._files("intel", "json")),
            certificates=tuple(raw.hex() for raw in self._files("certificates", "der")),
            crls=tuple(raw.hex() for raw in self._files("crls", "crl")),
            documents={
                tee.slug: kept
                for tee in MODULES
                if (kept := tuple(raw.hex() for raw in self._files(f"documents/{tee.slug}")))
            },
        )
        return msgspec.json.encode(bundle)

    def import_bundle(self, raw: bytes) -> int:
        """Prove and store everything in a bundle, or nothing.

        Returns:
            How many pieces were stored.

        Raises:
            CollateralError: not a bundle, or a piece that cannot be read.
            EvidenceRefused: a piece that does not hold.
        """
        try:
            bundle = parse_json(raw, prepared(Bundle))
            blobs = [bytes.fromhex(text) for text in (*bundle.certificates, *bundle.crls)]
            documents = [
                (Tee.from_slug(slug), bytes.fromhex(text)) for slug, texts in bundle.documents.items() for text in texts
            ]
        except (*NOT_JSON, ValueError) as error:
            raise CollateralError(f"not a collateral bundle: {error}") from error
        loose = Endorsements.read(blobs)
        for collateral in bundle.intel:
            describe(collateral, self.anchors)
        for tee, raw in documents:
            _documents(tee, raw)
        for collateral in bundle.intel:
            self.put(collateral)
        self.put_certificates(loose)
        for tee, raw in documents:
            self.put_document(tee, raw)
        return len(bundle.intel) + len(blobs) + len(documents)

    def _files(self, part: str, suffix: str = "*") -> Iterator[bytes]:
        """The files of a folder by name; a hidden one was not finished."""
        for path in sorted((self.folder / part).glob(f"[!.]*.{suffix}")):
            yield path.read_bytes()

    def _write(self, part: str, name: str, data: bytes) -> None:
        folder = self.folder / part
        folder.mkdir(parents=True, exist_ok=True)
        temporary = folder / f".{name}.{os.getpid()}"
        temporary.write_bytes(data)
        temporary.replace(folder / name)


def _documents(tee: Tee, raw: bytes) -> tuple[bytes, ...]:
    if not (found := module_of(tee).read_files([raw]).documents):
        raise CollateralError(f"expected a document that only {tee.slug} reads, found {raw[:8].hex()}...")
    return found


def default_store() -> CollateralStore:
    """The user's store: ``$SEALMARKET_HOME/collateral``, else below ``~/.local/share/sealmarket``."""
    home = os.environ.get("SEALMARKET_HOME")
    base = Path(home) if home else Path.home() / ".local" / "share" / "sealmarket"
    return CollateralStore(base / "collateral")
