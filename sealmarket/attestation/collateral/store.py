"""Collateral kept on disk: by fingerprint, proven before it is kept, served as long as the vendor's
signature holds.

Intel's collateral expires 30 days after issue; its server being down does not matter before. ``refresh``
asks a source for what is due and keeps what it has when the source fails. The clock and the source are
arguments. A bundle carries everything to a machine without network; what it brings is proven there again.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Literal

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from sealmarket.attestation.collateral.documents import IntelCollateral
from sealmarket.attestation.collateral.roots import Roots
from sealmarket.attestation.core.errors import CollateralError, EvidenceRefused
from sealmarket.attestation.core.evidence import Endorsements, Evidence
from sealmarket.attestation.core.model import Tee
from sealmarket.attestation.core.unreadable import NOT_JSON
from sealmarket.attestation.intel.pki import common_name, read_chain, read_pck_extension
from sealmarket.attestation.intel.quote import PCK_CHAIN_PEM, read_quote
from sealmarket.attestation.intel.trust import Trusted, trust_collateral
from sealmarket_enclave.protocol.codec import parse_json, prepared

REFRESH_BEFORE = timedelta(days=7)
"""How long before its end collateral is due: a vendor's outage has to last this long to be felt."""


@dataclass(frozen=True, slots=True, order=True)
class PlatformKind:
    """What Intel issues collateral for: a TEE, an FMSPC in hex, and the CA of its PCK certificates."""

    tee: Tee
    fmspc: str
    ca: Literal["platform", "processor"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One kept collateral, proven, with what status shows."""

    kind: PlatformKind
    collateral: IntelCollateral
    issued: datetime
    expires: datetime
    evaluation_number: int
    grade: str

    def state(self, now: datetime) -> Literal["fresh", "due", "expired", "future"]:
        """Where ``now`` lies in its validity."""
        if now > self.expires:
            return "expired"
        if now < self.issued:
            return "future"
        return "due" if now > self.expires - REFRESH_BEFORE else "fresh"


class Bundle(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything in a store, for machines without network. Certificates and CRLs in hex DER."""

    version: Literal["sealmarket/collateral-bundle/1"] = "sealmarket/collateral-bundle/1"
    intel: tuple[IntelCollateral, ...]
    certificates: tuple[str, ...] = ()
    crls: tuple[str, ...] = ()


Source = Callable[[PlatformKind], IntelCollateral]
"""Where fresh collateral comes from; raises :class:`CollateralError`. ``fetch`` makes one over the
network."""


def kind_of_quote(evidence: Evidence) -> PlatformKind:
    """What collateral a quote needs, by its own word.

    Raises:
        EvidenceRefused: not a quote, or without a PCK chain.
    """
    quote = read_quote(evidence.raw)
    if quote.certification_type != PCK_CHAIN_PEM:
        raise CollateralError("the quote carries no PCK chain", remedy="name --fmspc and --ca yourself")
    leaf = read_chain(quote.certification.rstrip(b"\0").decode("ascii", "replace"), "PCK chain")[0]
    issuer = leaf.issuer.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
    processor = bool(issuer) and str(issuer[0].value).endswith("Processor CA")
    fmspc = read_pck_extension(leaf).fmspc.hex()
    return PlatformKind(quote.tee, fmspc, "processor" if processor else "platform")


def describe(collateral: IntelCollateral, roots: Roots) -> Entry:
    """Prove collateral and say what it is for.

    Raises:
        EvidenceRefused: it does not hold under the roots.
    """
    tee = Tee.SGX if '"SGX"' in collateral.tcb_info[:200] else Tee.TDX
    trusted: Trusted = trust_collateral(collateral, tee, roots)
    return Entry(
        kind=PlatformKind(
            tee,
            trusted.tcb_info.fmspc.lower(),
            "processor" if common_name(trusted.authority).endswith("Processor CA") else "platform",
        ),
        collateral=collateral,
        issued=datetime.fromtimestamp(trusted.valid_from, UTC),
        expires=datetime.fromtimestamp(trusted.valid_to, UTC),
        evaluation_number=min(trusted.tcb_info.tcb_evaluation_data_number, trusted.qe_identity.evaluation_number),
        grade=trusted.grade.value,
    )


class CollateralStore:
    """A folder of collateral. Safe against crashes: a file appears whole or not at all."""

    def __init__(self, folder: Path, roots: Roots | None = None) -> None:
        self.folder = folder
        self.roots = roots or Roots.production()

    def put(self, collateral: IntelCollateral) -> Entry:
        """Prove and keep.

        Raises:
            EvidenceRefused: it does not hold under this store's roots.
        """
        entry = describe(collateral, self.roots)
        self._write("intel", f"{collateral.fingerprint.hex()}.json", collateral.to_json())
        return entry

    def put_certificate(self, certificate: x509.Certificate) -> None:
        """Keep a certificate as a candidate; it counts only where a chain ends in a pinned root."""
        der = certificate.public_bytes(Encoding.DER)
        self._write("certificates", f"{sha256(der).hexdigest()}.der", der)

    def put_crl(self, crl: x509.CertificateRevocationList) -> None:
        """Keep a CRL as a candidate; it counts only under the issuer that signed it."""
        der = crl.public_bytes(Encoding.DER)
        self._write("crls", f"{sha256(der).hexdigest()}.crl", der)

    def entries(self) -> tuple[Entry, ...]:
        """All kept Intel collateral, proven anew, by kind and then newest first.

        Raises:
            CollateralError: a file in the store does not hold; it names the file to remove.
        """
        found = []
        for path in sorted((self.folder / "intel").glob("*.json")):
            try:
                found.append(describe(IntelCollateral.from_json(path.read_bytes()), self.roots))
            except EvidenceRefused as refusal:
                raise CollateralError(f"{path} does not hold: {refusal}", remedy="remove this file") from refusal
        return tuple(sorted(found, key=lambda e: (e.kind, -e.evaluation_number, -e.issued.timestamp())))

    def best(self, kind: PlatformKind, now: datetime) -> Entry | None:
        """The newest evaluation, then the newest issue, that is valid now."""
        valid = (e for e in self.entries() if e.kind == kind and e.issued <= now <= e.expires)
        return next(iter(valid), None)

    def endorsements_for(self, evidence: Evidence, now: datetime) -> Endorsements:
        """What this store holds for a piece of evidence; empty where it holds nothing."""
        if evidence.tee in (Tee.SGX, Tee.TDX):
            try:
                kind = kind_of_quote(evidence)
            except (EvidenceRefused, CollateralError):
                return Endorsements()  # authenticate() names what is wrong with the evidence itself
            entry = self.best(kind, now)
            return Endorsements(collateral=entry.collateral if entry else None)
        return Endorsements.read([*self._files("certificates", "der"), *self._files("crls", "crl")])

    def refresh(self, source: Source, now: datetime, kinds: Iterable[PlatformKind] = ()) -> tuple[str, ...]:
        """Fetch what is due and the named kinds that are absent; what fails stays as it is and is told.

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
                fresh = describe(source(kind), self.roots)
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
                problems.append(f"{kind.tee.value} {kind.fmspc} {kind.ca}: {error}; {until}")
        return tuple(problems)

    def export_bundle(self) -> bytes:
        """Everything here, as one JSON file."""
        bundle = Bundle(
            intel=tuple(IntelCollateral.from_json(raw) for raw in self._files("intel", "json")),
            certificates=tuple(raw.hex() for raw in self._files("certificates", "der")),
            crls=tuple(raw.hex() for raw in self._files("crls", "crl")),
        )
        return msgspec.json.encode(bundle)

    def import_bundle(self, raw: bytes) -> int:
        """Prove and keep everything in a bundle, or nothing.

        Returns:
            How many pieces were taken.

        Raises:
            CollateralError: not a bundle, or a piece that cannot be read.
            EvidenceRefused: a piece that does not hold.
        """
        try:
            bundle = parse_json(raw, prepared(Bundle))
            blobs = [bytes.fromhex(text) for text in (*bundle.certificates, *bundle.crls)]
        except (*NOT_JSON, ValueError) as error:
            raise CollateralError(f"not a collateral bundle: {error}") from error
        loose = Endorsements.read(blobs)
        for collateral in bundle.intel:
            describe(collateral, self.roots)
        for collateral in bundle.intel:
            self.put(collateral)
        for certificate in loose.certificates:
            self.put_certificate(certificate)
        for crl in loose.crls:
            self.put_crl(crl)
        return len(bundle.intel) + len(blobs)

    def _files(self, part: str, suffix: str) -> Iterator[bytes]:
        for path in sorted((self.folder / part).glob(f"*.{suffix}")):
            yield path.read_bytes()

    def _write(self, part: str, name: str, data: bytes) -> None:
        folder = self.folder / part
        folder.mkdir(parents=True, exist_ok=True)
        temporary = folder / f".{name}.{os.getpid()}"
        temporary.write_bytes(data)
        temporary.replace(folder / name)


def default_store() -> CollateralStore:
    """The user's store: ``$SEALMARKET_HOME/collateral``, else below ``~/.local/share/sealmarket``."""
    home = os.environ.get("SEALMARKET_HOME")
    base = Path(home) if home else Path.home() / ".local" / "share" / "sealmarket"
    return CollateralStore(base / "collateral")
