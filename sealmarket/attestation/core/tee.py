"""The interface of a TEE: what a vendor's package implements and the registry lists.

``authenticate`` runs numbered steps, stops at the first that fails with
:class:`~sealmarket.attestation.core.errors.EvidenceRefused`, and is the only maker of an authentic report. It judges
nothing that a policy may judge: a debug TD under Intel's root is authentic, and appraisal refuses it. ``findings``
yields everything about this TEE that its part of the policy refuses; what is common to all TEEs (grade, measurement,
platform, age, report data) is appraised by :func:`sealmarket.attestation.policy.verify.appraise`. Neither does I/O or
reads a clock. Methods import the package's heavy modules when they are called, so that a verifier of one TEE loads one.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from hashlib import sha256
from types import MappingProxyType
from typing import Any, ClassVar, NamedTuple, Protocol

from cryptography import x509

from sealmarket.attestation.core.collateral import Collateral, Entry, PlatformKind
from sealmarket.attestation.core.errors import CollateralError, NotEvidence
from sealmarket.attestation.core.evidence import Endorsements, Evidence
from sealmarket.attestation.core.findings import Finding
from sealmarket.attestation.core.model import AuthenticReport, MeasurementTuple
from sealmarket_enclave.protocol.codec import Shape
from sealmarket_enclave.protocol.numbers import Grade, Tee


class Anchors(Protocol):
    """The trust anchors of one verification."""

    def grade_of(self, tee: Tee, spki: bytes) -> Grade | None:
        """The grade of evidence of ``tee`` under a root with this SPKI hash; None when the root is not trusted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetched:
    """The answer of a vendor's server with status 200. Header names are in lower case."""

    url: str
    headers: Mapping[str, str]
    content: bytes


class Issued(NamedTuple):
    """When a vendor signed the newest of its documents about TCB levels and about revocations; None without any."""

    levels: datetime | None
    revocations: datetime | None


class DocumentName(NamedTuple):
    """Where a document lies in a store, and when it was issued; of two with one name the one issued later is kept.

    ``shelf`` is what evidence names it by, in lower-case letters, digits and hyphens; empty where evidence names none.
    """

    name: str
    issued: datetime | None
    shelf: str = ""


class Harvest(NamedTuple):
    """What servers sent about a machine, and why other pieces did not come."""

    endorsements: Endorsements
    problems: tuple[CollateralError, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ForeignClaims:
    """How other verifiers name what a TEE's evidence shows, without the prefix that they put in front.

    Attributes:
        kinds: the values by which they name the TEE itself.
        prefixes: what stands before a claim's name; longer ones first.
        measured: claims, and the claim of evidence that says the same; the measurement pins each.
        keys: claims about keys, the claim of evidence that says the same, and the list in the vendor's section.
        levels: claims, and the part of a level that the vendor's rules bound from below.
        statuses: claims that hold an overall level by name, of which the strictest is the default here.
    """

    kinds: frozenset[str] = frozenset()
    prefixes: tuple[str, ...] = ()
    measured: Mapping[str, str] = field(default_factory=dict)
    keys: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    levels: Mapping[str, str] = field(default_factory=dict)
    statuses: frozenset[str] = frozenset()

    def short(self, name: str) -> str:
        """A claim's name without its prefix."""
        return next((name[len(prefix) :] for prefix in self.prefixes if name.startswith(prefix)), name)


class Get(Protocol):
    """A request to a URL with a query, bounded in size and time: GET, or POST of a body of that media type."""

    def __call__(self, url: str, query: Mapping[str, str], body: bytes | None = None, kind: str = "") -> Fetched:
        """The answer. Raises :class:`CollateralError`."""


class TeeModule(ABC):
    """One TEE.

    Attributes:
        tee: its number and name.
        pins: SPKI hashes of the vendor's roots.
        measurement: the shape of its measurement tuple; a document names it by the tag ``tee.slug``.
        section: the field of the appraisal policy that holds the vendor's rules; empty if it has none.
        without_policy: the vendor's rules for inspection, where no policy is given; None for their defaults.
        is_device: whether it is a device beside a CPU, whose evidence counts only where a CPU TEE commits to it.
        oldest_without_policy: the age that inspection lets pass where evidence says when it was signed.
        issues_by_kind: whether the vendor issues collateral by kind of platform.
        endpoints: the vendor's servers by name.
        foreign: how other verifiers name what its evidence shows.
        tsm_provider: the provider's name in the kernel's TSM reports; empty where it has none.
    """

    tee: ClassVar[Tee]
    pins: ClassVar[frozenset[bytes]]
    measurement: ClassVar[type[Shape]]
    section: ClassVar[str] = ""
    without_policy: ClassVar[Shape | None] = None
    is_device: ClassVar[bool] = False
    oldest_without_policy: ClassVar[timedelta] = timedelta(minutes=15)
    issues_by_kind: ClassVar[bool] = False
    endpoints: ClassVar[Mapping[str, str]] = MappingProxyType({})
    foreign: ClassVar[ForeignClaims] = ForeignClaims()
    tsm_provider: ClassVar[str] = ""

    @abstractmethod
    def recognises(self, data: bytes) -> bool:
        """Whether raw bytes start like this TEE's evidence. At most one module recognises any bytes."""

    def unwrap(self, data: bytes) -> Evidence | None:
        """This TEE's evidence in an agent's binary file; None where the file is none that the module knows.

        Raises:
            NotEvidence: such a file that is not well-formed.
        """
        del data
        return None

    def read_document(self, document: Mapping[str, Any]) -> Evidence | None:
        """This TEE's evidence in an agent's JSON of a shape that only this module knows; None for other documents.

        Raises:
            NotEvidence: such a document that is not well-formed.
        """
        del document
        return None

    def floor(self, claims: Mapping[str, Any], levels: Mapping[str, int]) -> dict[str, Any]:
        """The fields of the vendor's section that demand at least these levels of a platform like the evidence's.

        ``claims`` are those of the evidence, ``levels`` by the parts that ``foreign.levels`` names.
        """
        del claims, levels
        return {}

    def levels(self, report: AuthenticReport) -> dict[str, int]:
        """The parts of the reported firmware level by name; empty where the vendor rates levels as a whole."""
        del report
        return {}

    def certificates_beside(self, data: bytes) -> tuple[bytes, ...]:
        """The certificates, in DER, that a host hands out beside evidence (the kernel's ``auxblob``).

        Raises:
            NotEvidence: no host hands out any beside this TEE's evidence, or they are not well-formed.
        """
        raise NotEvidence(f"{len(data)} bytes beside {self.tee.slug} evidence are of no form that is known")

    @abstractmethod
    def authenticate(
        self, evidence: Evidence, endorsements: Endorsements, anchors: Anchors, now: datetime
    ) -> AuthenticReport:
        """Prove evidence up to a trust anchor.

        Raises:
            EvidenceRefused: the first step that failed, as a finding.
        """

    @abstractmethod
    def findings(
        self, report: AuthenticReport, rules: Shape | None, allowed: Sequence[MeasurementTuple], now: datetime
    ) -> Iterator[Finding]:
        """What the vendor's rules refuse; ``rules`` is the policy's section, ``allowed`` its measurements."""

    @abstractmethod
    def claims(self, evidence: Evidence) -> dict[str, Any]:
        """What evidence claims, without any proof.

        Raises:
            EvidenceRefused: it does not follow its layout.
        """

    @abstractmethod
    def explain(self, rules: Shape | None) -> Iterator[str]:
        """One sentence for each of the vendor's rules, and for each thing that they leave open."""

    def beside(self, devices: Sequence[AuthenticReport], rules: Shape | None) -> Iterator[Finding]:
        """What the rules refuse about all devices of a machine, taken together. Called for devices' modules only.

        ``devices`` are the authentic reports of this TEE that a CPU TEE commits to, none for a CPU alone.
        """
        del devices, rules
        return iter(())

    def read_endorsements(self, raw: bytes) -> Endorsements:
        """Endorsements from a file or from an evidence package: by default certificates and CRLs.

        Raises:
            CollateralError: the bytes cannot be read.
        """
        return Endorsements.read([raw])

    def read_files(self, files: Iterable[bytes]) -> Endorsements:
        """Endorsements from files of the user's, in any order: by default certificates and CRLs.

        Raises:
            CollateralError: one cannot be read, or there are too many.
        """
        return Endorsements.read(files)

    def shelf_of(self, certificate: x509.Certificate) -> str:
        """The machine that a certificate is for, as a name in a store; empty where it is for none or for several."""
        del certificate
        return ""

    def shelf_for(self, evidence: Evidence) -> str:
        """The machine that made evidence, under the name of :meth:`shelf_of`; empty where certificates name none.

        Raises:
            EvidenceRefused: it does not follow its layout.
        """
        del evidence
        return ""

    def document_name(self, raw: bytes) -> DocumentName:
        """The name of a document that this module reads, in a store: by default its hash.

        Raises:
            CollateralError: it cannot be read.
        """
        return DocumentName(f"{sha256(raw).hexdigest()}.bin", None)

    def documents_for(
        self, evidence: Evidence, certificates: Sequence[x509.Certificate], held: Callable[[str], tuple[bytes, ...]]
    ) -> tuple[bytes, ...]:
        """Of a store's documents those that evidence names: by default those of the shelf without a name.

        Args:
            evidence: of this TEE.
            certificates: those that the store holds for it.
            held: the documents of a shelf.

        Raises:
            EvidenceRefused: the evidence does not follow its layout.
        """
        del evidence, certificates
        return held("")

    def development_keys(self, endorsements: Endorsements) -> frozenset[bytes]:
        """SPKI hashes of keys that endorsements name and no certificate holds.

        A caller who trusts these endorsements as development roots means them.

        Raises:
            CollateralError: the endorsements cannot be read.
        """
        del endorsements
        return frozenset()

    def issued(self, endorsements: Endorsements) -> Issued:
        """When endorsements that were proven were signed.

        Raises:
            CollateralError, EvidenceRefused: they cannot be read.
        """
        return Issued(None, max((crl.last_update_utc for crl in endorsements.crls), default=None))

    def platform_kind(self, evidence: Evidence) -> PlatformKind | None:
        """The kind of platform that the vendor issues collateral for; None if it issues none by kind.

        Raises:
            CollateralError, EvidenceRefused: the evidence does not show it.
        """
        del evidence
        return None

    def describe(self, collateral: Collateral, anchors: Anchors) -> Entry:
        """Prove collateral and state what it is for.

        Raises:
            EvidenceRefused: it does not hold under the anchors.
        """
        del anchors
        raise CollateralError(f"{self.tee.slug} has no collateral by kind of platform, found {collateral!r:.80}")

    def fetch_collateral(self, kind: PlatformKind, get: Get, endpoints: Mapping[str, str]) -> Collateral:
        """Fetch collateral of a kind of platform. Raises :class:`CollateralError`."""
        del get, endpoints
        raise CollateralError(f"{kind.tee.slug} has no collateral by kind of platform", remedy="pass evidence instead")

    def renewed(self, shown: Endorsements, own: Collateral) -> Endorsements:
        """Endorsements that came with evidence, with a verifier's own collateral in the place of theirs."""
        return replace(shown, collateral=own)

    def with_list(self, collateral: Collateral, other: Collateral, place: int) -> Collateral:
        """Collateral with one revocation list of another's of its kind; ``place`` as in ``Entry.lists``."""
        del other, place
        return collateral

    def fetch_shared(self, get: Get, endpoints: Mapping[str, str]) -> Harvest:
        """Fetch what the vendor signs for all machines: revocation lists with their issuers, as much as comes.

        Nothing where the vendor signs none.
        """
        del get, endpoints
        return Harvest(Endorsements())

    def fetch_endorsements(self, evidence: Evidence, get: Get, endpoints: Mapping[str, str]) -> Harvest:
        """Fetch what the vendor signed about the machine that made this evidence, as much of it as comes.

        Raises:
            CollateralError: nothing can be asked for.
        """
        del evidence, get, endpoints
        raise CollateralError(f"no server answers for {self.tee.slug} evidence", remedy="pass endorsements as files")
