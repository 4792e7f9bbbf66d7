"""Statements about platforms at one node: which count, which machines its jobs ran on, and which jobs one touches.

1. A statement is a file of the operator's (``advisories/*.json`` in the state folder). It counts if an account that the
   configuration names signed it; others are listed as problems and change nothing.
2. A new one is logged once, by its hash, with the final block that the node stood on. It counts for jobs matched
   :data:`~sealmarket_oracle.gate.advisory_rules.NOTICE` later, or at the moment that it names if that is later still.
3. What a job's evidence shows of its machine is kept apart from the journal, for the operator alone.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from pathlib import Path

import coincurve

from sealmarket.attestation.registry import MODULES
from sealmarket.files import read_file
from sealmarket.protocol.advisories import (
    MAXIMUM_ADVISORY,
    PARTS,
    Advisory,
    PlatformSeen,
    SignedAdvisory,
    Target,
    touched,
)
from sealmarket.protocol.decisions import Outcome
from sealmarket.sqlite_file import SqliteFile
from sealmarket_enclave.protocol.codec import ZERO_HASH, Address, Bytes32, Shape, decode
from sealmarket_enclave.protocol.errors import MalformedDocument, SealmarketError
from sealmarket_enclave.protocol.numbers import AssetId, JobId, Tee, Timestamp
from sealmarket_enclave.protocol.signing import sign
from sealmarket_oracle.errors import AdvisoriesRefused, AdvisoryRefused, JournalTaken, JournalUnwritable
from sealmarket_oracle.gate.advisory_rules import NOTICE, in_force
from sealmarket_oracle.gate.inputs import InForce
from sealmarket_oracle.journal import Journal
from sealmarket_oracle.log.entries import EntryKind

MOST_ADVISORIES = 256
"""Files that are read. With more a node decides nothing: one that is left out would let its machines pass."""
_SCHEMA = "CREATE TABLE IF NOT EXISTS sightings (job_id BLOB, seen BLOB, PRIMARY KEY (job_id, seen)) STRICT"
_State = tuple[str, int, int, int]
"""Name, time of the last change of content or mode, size, mode."""
_log = logging.getLogger("sealmarket.oracle")


class Published(Shape, frozen=True, kw_only=True):
    """A statement that a node applies, and from when on jobs are matched under it."""

    signed: SignedAdvisory
    issuer: Address
    since: Timestamp


class PublishedAdvisories(Shape, frozen=True, kw_only=True):
    """All statements that a node applies."""

    version: str = "sealmarket/advisories/1"
    advisories: tuple[Published, ...] = ()


class RecalledAsset(Shape, frozen=True, kw_only=True):
    """A version of an asset that a touched job used."""

    asset_id: AssetId
    version: int
    owner: Address


class RecalledJob(Shape, frozen=True, kw_only=True):
    """A job whose evidence is of a machine that a statement names. ``receipt``: the hash of its receipt, 0 before it
    settled. ``released``: this node gave its shares."""

    job_id: JobId
    provider: Address
    consumer: Address
    matched_at: Timestamp
    outcome: str
    released: bool
    receipt: Bytes32
    assets: tuple[RecalledAsset, ...]


class Recall(Shape, frozen=True, kw_only=True):
    """What a statement touches, of the jobs that a node looked at."""

    version: str = "sealmarket/recall/1"
    advisory: Bytes32
    looked_at: int
    jobs: tuple[RecalledJob, ...]

    @classmethod
    def nothing(cls, advisory: Advisory) -> Recall:
        """Of a node that keeps no machines."""
        return cls(advisory=advisory.name(), looked_at=0, jobs=())

    @property
    def assets(self) -> tuple[RecalledAsset, ...]:
        """The versions of assets that all touched jobs used, each once."""
        return tuple(dict.fromkeys(asset for job in self.jobs for asset in job.assets))


def read_advisory(path: Path) -> Advisory:
    """A statement in a file, signed or not; who signed it is not looked at.

    Raises:
        AdvisoryRefused: it is none.
        OSError: the file cannot be read.
    """
    raw = read_file(path, MAXIMUM_ADVISORY)
    try:
        return decode(SignedAdvisory, raw).advisory
    except MalformedDocument as error:
        why = error.message
    try:
        return decode(Advisory, raw)
    except MalformedDocument as error:
        raise AdvisoryRefused(path, why if b'"signature"' in raw else error.message) from error


def sign_advisory(path: Path, key: coincurve.PrivateKey) -> SignedAdvisory:
    """Sign the statement in a file.

    Raises:
        AdvisoryRefused: it is none, or a target of it is :func:`mistaken`.
        OSError: the file cannot be read.
    """
    try:
        advisory = decode(Advisory, read_file(path, MAXIMUM_ADVISORY))
    except MalformedDocument as error:
        raise AdvisoryRefused(path, error.message) from error
    for number, target in enumerate(advisory.targets):
        if (why := mistaken(target)) is not None:
            raise AdvisoryRefused(path, f"target {number}: {why}")
    return SignedAdvisory(advisory=advisory, signature=sign(advisory.digest(), key))


def mistaken(target: Target) -> str | None:
    """Why a target means no machine at all, or all of its TEE by a floor that no evidence reaches; None for others."""
    tees, floor = [tee.slug for tee in MODULES], target.floor
    if target.tee not in tees:
        return f"tee is {target.tee!r}, expected one of {', '.join(tees)}"
    if floor is None:
        return None
    if not floor.levels and not floor.level_date:
        return "a floor that names nothing, below which no machine is: leave it out to mean all"
    if floor.levels and target.tee != Tee.SNP.slug:
        return f"a floor of levels for {target.tee}, whose evidence shows none: name levelDate, or snp"
    if unknown := sorted(set(floor.levels) - set(PARTS)):
        return f"a floor of {unknown[0]!r}, expected parts out of {', '.join(PARTS)}"
    if floor.level_date and target.tee not in (Tee.SGX.slug, Tee.TDX.slug):
        return f"a levelDate for {target.tee}, whose evidence shows none: name levels"
    return None


class Sightings(SqliteFile):
    """The machine of each job, in a file apart from the journal."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, _SCHEMA)
        path.chmod(0o600)

    def keep(self, job_id: JobId, machines: Iterable[PlatformSeen]) -> None:
        """Note the machines of a job: its CPU's and its devices'."""
        rows = [(bytes(job_id), machine.canonical()) for machine in machines]
        with self._lock:
            self._db.executemany("INSERT OR IGNORE INTO sightings VALUES (?, ?)", rows)

    def all(self) -> Iterator[tuple[JobId, PlatformSeen]]:
        """Every job with each of its machines, a job's together."""
        with self._lock:
            rows = self._db.execute("SELECT job_id, seen FROM sightings ORDER BY job_id").fetchall()
        for job_id, seen in rows:
            yield JobId(Bytes32(job_id)), decode(PlatformSeen, seen)


def _state_of(path: Path) -> _State:
    """What changes with a file and with who may read it; of one that is gone by now, its name alone."""
    try:
        found = path.stat()
    except OSError:
        return path.name, 0, 0, 0
    return path.name, found.st_ctime_ns, found.st_size, found.st_mode


class Recalls:
    """The statements that count at one node. One thread calls :meth:`look` and :meth:`saw`, any the rest."""

    def __init__(self, folder: Path, issuers: frozenset[Address], journal: Journal, sightings: Sightings) -> None:
        self._folder, self._issuers, self._journal, self._sightings = folder, issuers, journal, sightings
        self._files: tuple[_State, ...] | None = None
        logged = journal.entries_of(EntryKind.ADVISORY) if issuers else ()
        self._logged: dict[Bytes32, int] = {entry.statement: entry.at for entry in logged}
        self._published: tuple[Published, ...] = ()
        self.problems: tuple[str, ...] = ()

    def look(self, block: tuple[int, Bytes32]) -> None:
        """Read the folder, if it changed. ``block``: the final block that the node stands on, by number and hash.

        Raises:
            AdvisoriesRefused: there are more statements than :data:`MOST_ADVISORIES`: none is left out in silence.
            JournalUnwritable, JournalTaken: a new statement is not logged; a later look reads the folder again.
        """
        files = sorted(self._folder.glob("*.json"))
        if len(files) > MOST_ADVISORIES:
            raise AdvisoriesRefused(self._folder, len(files), MOST_ADVISORIES)
        state = tuple(map(_state_of, files))
        if state == self._files:
            return
        published: dict[Bytes32, Published] = {}
        problems: list[str] = []
        for path in files:
            try:
                found = self._read(path, block)
                published[found.signed.advisory.name()] = found
            except (JournalUnwritable, JournalTaken):
                raise
            except (SealmarketError, OSError) as error:
                problems.append(f"{path.name}: {error}")
        for problem in problems:
            _log.warning("not applied: %s", problem)
        self._published, self.problems, self._files = tuple(published.values()), tuple(problems), state

    def _read(self, path: Path, block: tuple[int, Bytes32]) -> Published:
        signed = decode(SignedAdvisory, read_file(path, MAXIMUM_ADVISORY))
        issuer, name = signed.issuer(), signed.advisory.name()
        if issuer not in self._issuers:
            raise SealmarketError(
                f"advisory {name} is signed by {issuer}, whose statements this node does not apply",
                remedy="name the issuer in advisory_issuers, or remove the file",
            )
        if name not in self._logged:
            at = self._journal.log_advisory(name, block)
            self._logged[name] = at
            _log.warning("advisory %s of %s is public from now on: %s", name, issuer, signed.advisory.title)
        since = max(signed.advisory.applies_from, self._logged[name] + NOTICE)
        return Published(signed=signed, issuer=issuer, since=since)

    def published(self) -> PublishedAdvisories:
        """What this node applies, for everyone."""
        return PublishedAdvisories(advisories=self._published)

    def in_force(self, matched_at: int) -> tuple[InForce, ...]:
        """The statements that count for a job that was matched at this time."""
        return in_force((InForce(one.signed.advisory, one.since) for one in self._published), matched_at)

    def saw(self, job_id: JobId, machines: Iterable[PlatformSeen]) -> None:
        """Keep what a job's evidence shows of its machines."""
        self._sightings.keep(job_id, machines)

    def touched_by(self, advisory: Advisory) -> Recall:
        """The jobs that a statement touches, by whatever issuer and from whenever it counts."""
        sightings = tuple(self._sightings.all())
        found = dict.fromkeys(job_id for job_id, seen in sightings if touched(seen, advisory) is not None)
        jobs = [job for job_id in found if (job := self._job(job_id)) is not None]
        looked_at = len({job_id for job_id, _ in sightings})
        ordered = tuple(sorted(jobs, key=lambda job: (job.matched_at, job.job_id)))
        return Recall(advisory=advisory.name(), looked_at=looked_at, jobs=ordered)

    def _job(self, job_id: JobId) -> RecalledJob | None:
        record = self._journal.job(job_id)
        if record is None or record.evidence_hash is None:
            return None
        spec = record.spec
        own = self._journal.own_decision(job_id, record.evidence_hash, spec.epoch)
        promised, settled = self._journal.promised(job_id), self._journal.settled(job_id)
        return RecalledJob(
            job_id=job_id,
            provider=spec.provider,
            consumer=spec.consumer,
            matched_at=spec.matched_at,
            outcome=Outcome(own.decision.outcome).name.lower() if own is not None else "undecided",
            released=promised is not None and promised[0] == "release",
            receipt=settled.receipt_hash if settled is not None else ZERO_HASH,
            assets=tuple(
                RecalledAsset(asset_id=use.asset_id, version=use.version, owner=use.owner) for use in spec.assets
            ),
        )
