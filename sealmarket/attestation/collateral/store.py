"""The collateral store of a fleet: proven before it is stored, served as long as the vendor's signature is valid.

1. Intel's collateral lies by the kind of platform that it is for. It expires 30 days after issue; until then an outage
   of its server has no effect. ``refresh`` asks a source for what is due, and keeps what is here when the source fails.
2. Certificates of one machine lie on a shelf of their own, which the TEE's module names: a verification reads those of
   its machine and of all machines, however many machines there are. So do documents that evidence names: the manifests
   of a driver, the answers about a certificate. The bounds of hostile input do not apply here.
3. What does not hold (an altered file, collateral under a development root) concerns itself alone:
   :meth:`CollateralStore.unusable` lists it.
4. What was fetched is kept piece by piece, unless it is expired, or older than what is here.

The clock and the source are arguments.
"""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from functools import partial
from hashlib import sha256
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from sealmarket.attestation.collateral.trust_anchors import TrustAnchors
from sealmarket.attestation.core.certificates import load_certificate, load_crl
from sealmarket.attestation.core.collateral import Collateral, Entry, PlatformKind
from sealmarket.attestation.core.errors import CollateralError, EvidenceRefused
from sealmarket.attestation.core.evidence import Endorsements, Evidence
from sealmarket.attestation.core.unreadable import NOT_X509
from sealmarket.attestation.registry import MODULES, CollateralDocument, module_of
from sealmarket.files import read_file
from sealmarket_enclave.protocol.errors import SealmarketError
from sealmarket_enclave.protocol.numbers import Tee

log = logging.getLogger(__name__)
EVERY_MACHINE = "all"
"""The shelf of certificates that concern no one machine: authorities, and keys that several machines share."""
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
        self._write("intel", _name_of(entry), collateral.to_json())
        return entry

    def put_certificate(self, certificate: x509.Certificate) -> None:
        """Store a certificate as a candidate; it counts only where a chain ends in a pinned root."""
        der = certificate.public_bytes(Encoding.DER)
        self._write(f"certificates/{shelf_of(certificate)}", f"{sha256(der).hexdigest()}.der", der)

    def put_document(self, tee: Tee, raw: bytes) -> None:
        """Store a document that the TEE's module reads, as a candidate, unless a later one of its name is here.

        Raises:
            CollateralError: the module does not read it.
        """
        module = module_of(tee)
        for document in documents_in(tee, raw):
            name, issued, shelf = module.document_name(document)
            part = _part_of(tee, shelf)
            held = self.folder / part / name
            if issued is not None and held.exists():
                before = module.document_name(read_file(held)).issued
                if before is not None and before > issued:
                    continue
            self._write(part, name, document)
            if shelf:  # where it lay before there were shelves
                (self.folder / _part_of(tee, "") / name).unlink(missing_ok=True)

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
        """Store a CRL as a candidate, which counts only under the issuer that signed it.

        Of two CRLs that one stored certificate signed the later one is kept.
        """
        signers = [c for c in self._certificates(EVERY_MACHINE) if c.subject == crl.issuer and signed(c, crl)]
        for path, held in self._crls():
            if held.issuer == crl.issuer and any(signed(signer, held) for signer in signers):
                if held.last_update_utc > crl.last_update_utc:
                    return
                path.unlink(missing_ok=True)
        self.add_crl(crl)

    def add_crl(self, crl: x509.CertificateRevocationList) -> None:
        """Store a CRL beside those that are here."""
        self._write("crls", _name_of_crl(crl), crl.public_bytes(Encoding.DER))

    def drop_crl(self, crl: x509.CertificateRevocationList) -> None:
        """Remove a CRL, if it is here."""
        (self.folder / "crls" / _name_of_crl(crl)).unlink(missing_ok=True)

    def entries(self) -> tuple[Entry, ...]:
        """All stored collateral that holds, proven anew, by kind and then newest first."""
        return _sorted(entry for _, entry in self._described("*.json") if isinstance(entry, Entry))

    def unusable(self) -> Mapping[Path, str]:
        """The files of collateral that do not hold, and why."""
        return {path: str(found) for path, found in self._described("*.json") if not isinstance(found, Entry)}

    def of_kind(self, kind: PlatformKind) -> tuple[Entry, ...]:
        """The stored collateral of one kind that holds, proven anew, newest evaluation and issue first."""
        described = self._described(f"{_prefix_of(kind)}*.json")
        return _sorted(entry for _, entry in described if isinstance(entry, Entry) and entry.kind == kind)

    def drop(self, entry: Entry) -> None:
        """Remove collateral, if it is here."""
        (self.folder / "intel" / _name_of(entry)).unlink(missing_ok=True)

    def has(self, entry: Entry) -> bool:
        """Whether this very collateral is here."""
        return (self.folder / "intel" / _name_of(entry)).is_file()

    def best(self, kind: PlatformKind, now: datetime) -> Entry | None:
        """The newest evaluation, then the newest issue, that is valid now."""
        return next((entry for entry in self.of_kind(kind) if entry.issued <= now <= entry.expires), None)

    def endorsements_for(self, evidence: Evidence, now: datetime) -> Endorsements:
        """What this store holds for a piece of evidence; empty where it holds nothing.

        Raises:
            EvidenceRefused: its TEE is not registered.
        """
        module = module_of(evidence.tee)
        try:
            kind, shelf = module.platform_kind(evidence), module.shelf_for(evidence)
        except (EvidenceRefused, CollateralError):
            return Endorsements()  # authenticate() names what is wrong with the evidence itself
        if kind is not None:
            entry = self.best(kind, now)
            return Endorsements(collateral=entry.collateral if entry else None)
        shelves = dict.fromkeys((EVERY_MACHINE, shelf or EVERY_MACHINE))
        certificates = tuple(found for one in shelves for found in self._certificates(one))
        return Endorsements(
            certificates=certificates,
            crls=_without_strangers([crl for _, crl in self._crls()], certificates),
            documents=self._documents_for(evidence, certificates),
        )

    def keep(self, fetched: Endorsements, tee: Tee, now: datetime) -> tuple[str, ...]:
        """Store what a server sent, piece by piece; what is expired or does not hold is left.

        Returns:
            One line for each piece that was left.
        """
        problems = []
        for certificate in fetched.certificates:
            if now > certificate.not_valid_after_utc:
                problems.append(f"a certificate that ended on {certificate.not_valid_after_utc.isoformat()}")
            else:
                self.put_certificate(certificate)
        for crl in fetched.crls:
            if crl.next_update_utc is not None and now > crl.next_update_utc:
                problems.append(f"a CRL that ended on {crl.next_update_utc.isoformat()}")
            else:
                self.put_crl(crl)
        for raw in fetched.documents:
            self.put_document(tee, raw)
        return tuple(problems)

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
                self._take(source(kind), kind, held, now)
            except (CollateralError, EvidenceRefused) as error:
                until = f"served until {held.expires.isoformat()}" if held else "none is here"
                problems.append(f"{kind.tee.slug} {kind.fmspc} {kind.ca}: {error}; {until}")
        return tuple(problems)

    def _take(self, sent: Collateral, kind: PlatformKind, held: Entry | None, now: datetime) -> None:
        fresh = describe(sent, self.anchors)
        if fresh.kind != kind:
            raise CollateralError(f"asked for {kind}, the source sent {fresh.kind}")
        if not fresh.issued <= now <= fresh.expires:
            raise CollateralError(
                f"the source sent collateral that holds from {fresh.issued.isoformat()} to {fresh.expires.isoformat()}",
                remedy="refresh the PCCS (its /sgx/certification/v4/refresh), or ask Intel itself, without --pccs",
            )
        if held is not None and (fresh.evaluation_number, fresh.issued) < (held.evaluation_number, held.issued):
            older = f"evaluation {fresh.evaluation_number} of {fresh.issued.isoformat()}"
            here = f"{held.evaluation_number} of {held.issued.isoformat()}"
            raise CollateralError(f"the source sent {older}, {here} is here", remedy="ask another server")
        self.put(fresh.collateral)

    # --- files ------------------------------------------------------------------------------------------------

    def _described(self, names: str) -> Iterator[tuple[Path, Entry | SealmarketError]]:
        """The collateral in files of these names; for one that does not hold, why."""
        for path, raw in self._files("intel", names):
            try:
                entry = describe(CollateralDocument.from_json(raw), self.anchors)
                if path.name != _name_of(entry):
                    raise CollateralError("it is named for another kind of platform", remedy="import it again")
                yield path, entry
            except (EvidenceRefused, CollateralError) as error:
                yield path, error

    def _certificates(self, shelf: str) -> Iterator[x509.Certificate]:
        for path, raw in self._files(f"certificates/{shelf}", "*.der"):
            try:
                yield load_certificate(raw)
            except CollateralError as error:
                log.warning("%s is passed over: %s", path, error)

    def _crls(self) -> Iterator[tuple[Path, x509.CertificateRevocationList]]:
        for path, raw in self._files("crls", "*.crl"):
            try:
                yield path, load_crl(raw)
            except CollateralError as error:
                log.warning("%s is passed over: %s", path, error)

    def _files(self, part: str, names: str = "*") -> Iterator[tuple[Path, bytes]]:
        """The files of a folder by name; a hidden one was not finished, one that is too large is none of ours."""
        for path in sorted((self.folder / part).glob(names)):
            if path.name.startswith(".") or not path.is_file():
                continue
            try:
                yield path, read_file(path)
            except OSError as error:
                log.warning("%s is passed over: %s", path, error.strerror)

    def everything(self) -> Endorsements:
        """All certificates, CRLs: of every machine."""
        shelves = sorted(path.name for path in (self.folder / "certificates").glob("*") if path.is_dir())
        certificates = tuple(found for shelf in shelves for found in self._certificates(shelf))
        return Endorsements(certificates=certificates, crls=tuple(crl for _, crl in self._crls()))

    def documents(self, tee: Tee) -> tuple[bytes, ...]:
        """All documents that a TEE's module reads: of every machine."""
        shelves = sorted(path.name for path in (self.folder / "shelves" / tee.slug).glob("*") if path.is_dir())
        return tuple(raw for shelf in ("", *shelves) for raw in self._shelf_of_documents(tee, shelf))

    def _shelf_of_documents(self, tee: Tee, shelf: str) -> tuple[bytes, ...]:
        return tuple(raw for _, raw in self._files(_part_of(tee, shelf)))

    def _documents_for(self, evidence: Evidence, certificates: Sequence[x509.Certificate]) -> tuple[bytes, ...]:
        held = partial(self._shelf_of_documents, evidence.tee)
        try:
            return module_of(evidence.tee).documents_for(evidence, certificates, held)
        except EvidenceRefused:
            return ()  # authenticate() names what is wrong with the evidence itself

    def _write(self, part: str, name: str, data: bytes) -> None:
        folder = self.folder / part
        folder.mkdir(parents=True, exist_ok=True)
        temporary = folder / f".{name}.{os.getpid()}"
        temporary.write_bytes(data)
        temporary.replace(folder / name)


def shelf_of(certificate: x509.Certificate) -> str:
    """The shelf of a certificate: its machine's, as the module of its TEE names it, or that of every machine."""
    return next((shelf for module in MODULES.values() if (shelf := module.shelf_of(certificate))), EVERY_MACHINE)


def _part_of(tee: Tee, shelf: str) -> str:
    """The folder of a shelf of documents: no shelf has a place in another, whose files are listed at each reading."""
    return f"shelves/{tee.slug}/{shelf}" if shelf else f"documents/{tee.slug}"


def _sorted(entries: Iterable[Entry]) -> tuple[Entry, ...]:
    return tuple(sorted(entries, key=lambda e: (e.kind, -e.evaluation_number, -e.issued.timestamp())))


def _prefix_of(kind: PlatformKind) -> str:
    return f"{kind.tee.slug}-{kind.fmspc}-{kind.ca}-"


def _name_of(entry: Entry) -> str:
    return f"{_prefix_of(entry.kind)}{entry.collateral.fingerprint.hex()}.json"


def _name_of_crl(crl: x509.CertificateRevocationList) -> str:
    return f"{sha256(crl.public_bytes(Encoding.DER)).hexdigest()}.crl"


def _without_strangers(
    crls: Sequence[x509.CertificateRevocationList], certificates: Sequence[x509.Certificate]
) -> tuple[x509.CertificateRevocationList, ...]:
    """Of several CRLs in one issuer's name, those that a certificate of that name signed."""
    times = Counter(crl.issuer for crl in crls)
    named = {name: [c for c in certificates if c.subject == name] for name, count in times.items() if count > 1}
    return tuple(
        crl for crl in crls if not (signers := named.get(crl.issuer)) or any(signed(signer, crl) for signer in signers)
    )


def signed(signer: x509.Certificate, crl: x509.CertificateRevocationList) -> bool:
    """Whether a certificate's key signed a CRL."""
    try:
        return crl.is_signature_valid(signer.public_key())  # type: ignore[arg-type]
    except NOT_X509:
        return False


def documents_in(tee: Tee, raw: bytes) -> tuple[bytes, ...]:
    """The documents of a file that the TEE's module reads. Raises :class:`CollateralError`: it reads none."""
    if not (found := module_of(tee).read_files([raw]).documents):
        raise CollateralError(f"expected a document that only {tee.slug} reads, found {raw[:8].hex()}...")
    return found


def default_store() -> CollateralStore:
    """The user's store: ``$SEALMARKET_HOME/collateral``, else below ``~/.local/share/sealmarket``."""
    home = os.environ.get("SEALMARKET_HOME")
    base = Path(home) if home else Path.home() / ".local" / "share" / "sealmarket"
    return CollateralStore(base / "collateral")
