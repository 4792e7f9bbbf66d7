"""Statements about platforms at one node: which count, which machines its jobs ran on, and which jobs one touches.

1. A statement is a file of the operator's (``advisories/*.json`` in the state folder). It counts if an account that the
   configuration names signed it; others are listed as problems and change nothing.
2. A new one is logged once, by its hash, with the final block that the node stood on. It counts for jobs matched after
   its hash was anchored on chain, read at each look by proof, and at the moment that it names or later.
3. What an operator holds back (:mod:`~sealmarket_oracle.holds`) gets nothing at once, anchored or not.
4. What a job's evidence shows of its machine is kept apart from the journal, for the operator alone.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from pathlib import Path

from sealmarket.chain.interface import ProvableView
from sealmarket.chain.model import Block
from sealmarket.files import read_file
from sealmarket.protocol.advisories import (
    MAXIMUM_ADVISORY,
    Advisory,
    PlatformSeen,
    SignedAdvisory,
    counts_for,
    counts_from,
    touched,
)
from sealmarket.protocol.decisions import Outcome
from sealmarket.sqlite_file import SqliteFile
from sealmarket_enclave.protocol.codec import ZERO_HASH, Address, Bytes32, Shape, decode
from sealmarket_enclave.protocol.errors import SealmarketError
from sealmarket_enclave.protocol.numbers import AssetId, JobId, Timestamp
from sealmarket_oracle.advisory_files import AdvisoryFolder
from sealmarket_oracle.errors import JournalTaken, JournalUnwritable
from sealmarket_oracle.holds import Holds
from sealmarket_oracle.journal import Journal
from sealmarket_oracle.log.entries import EntryKind

_SCHEMA = "CREATE TABLE IF NOT EXISTS sightings (job_id BLOB, seen BLOB, PRIMARY KEY (job_id, seen)) STRICT"
_log = logging.getLogger("sealmarket.oracle")


class Published(Shape, frozen=True, kw_only=True):
    """A statement that a node applies. ``anchored_at``: when its hash came on chain, and ``since``: from when on jobs
    are matched under it, both 0 for one that is not anchored."""

    signed: SignedAdvisory
    issuer: Address
    anchored_at: Timestamp
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
    settled. ``released``: this node gave its shares. ``counts``: it was matched when the statement counted already."""

    job_id: JobId
    provider: Address
    consumer: Address
    matched_at: Timestamp
    counts: bool
    outcome: str
    released: bool
    receipt: Bytes32
    assets: tuple[RecalledAsset, ...]


class Recall(Shape, frozen=True, kw_only=True):
    """What a statement touches, of the jobs that a node looked at. ``anchored_at``: when its hash came on chain, and
    ``since``: from when on jobs are matched under it, both 0 for one that is not anchored."""

    version: str = "sealmarket/recall/1"
    advisory: Bytes32
    anchored_at: Timestamp = Timestamp(0)
    since: Timestamp = Timestamp(0)
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

    def of(self, job_id: JobId) -> tuple[PlatformSeen, ...]:
        """The machines of one job."""
        with self._lock:
            rows = self._db.execute("SELECT seen FROM sightings WHERE job_id = ?", (bytes(job_id),)).fetchall()
        return tuple(decode(PlatformSeen, seen) for (seen,) in rows)

    def all(self) -> Iterator[tuple[JobId, PlatformSeen]]:
        """Every job with each of its machines, a job's together."""
        with self._lock:
            rows = self._db.execute("SELECT job_id, seen FROM sightings ORDER BY job_id").fetchall()
        for job_id, seen in rows:
            yield JobId(Bytes32(job_id)), decode(PlatformSeen, seen)


class Recalls:
    """The statements that count at one node. One thread calls :meth:`look` and :meth:`saw`, any the rest."""

    def __init__(
        self, folder: Path, issuers: frozenset[Address], journal: Journal, sightings: Sightings, holds: Holds
    ) -> None:
        self._folder, self._issuers, self._journal, self._sightings = (
            AdvisoryFolder(folder),
            issuers,
            journal,
            sightings,
        )
        self._holds = holds
        self._logged = {entry.statement for entry in journal.entries_of(EntryKind.ADVISORY)} if issuers else set()
        self._applied: dict[Bytes32, SignedAdvisory] = {}
        self._published: tuple[Published, ...] = ()
        self._at = ZERO_HASH
        """The block at which the anchors were read last."""
        self.problems: tuple[str, ...] = ()

    def look(self, view: ProvableView) -> None:
        """Read the folders, if they changed, and at the final block that the node stands on, what is anchored there.

        Raises:
            AdvisoriesRefused: there are more statements than are read: none is left out in silence.
            AdvisoriesUnlisted: one of the folders is there, and cannot be listed.
            AdvisoryRefused: a file among the holds is no statement, or means no machine by a slip.
            JournalUnwritable, JournalTaken: a new statement is not logged; a later look reads the folder again.
            ChainError: whether a hash is anchored there is not known, so nothing may be decided.
        """
        self._holds.look()
        files = self._folder.changed()
        if files is None and view.block.hash == self._at:
            return
        if files is not None:
            self._read_all(files, view.block)
            self._folder.done()
            self._at = ZERO_HASH
        anchors = view.advisory_anchors(tuple(self._applied))
        self._published = tuple(_published(signed, anchors[name]) for name, signed in self._applied.items())
        self._at = view.block.hash

    def _read_all(self, files: Iterable[Path], block: Block) -> None:
        applied: dict[Bytes32, SignedAdvisory] = {}
        problems: list[str] = []
        for path in files:
            try:
                found = self._read(path, block)
                applied[found.advisory.name()] = found
            except (JournalUnwritable, JournalTaken):
                raise
            except (SealmarketError, OSError) as error:
                problems.append(f"{path.name}: {error}")
        for problem in problems:
            _log.warning("not applied: %s", problem)
        self._applied, self.problems = applied, tuple(problems)

    def _read(self, path: Path, block: Block) -> SignedAdvisory:
        signed = decode(SignedAdvisory, read_file(path, MAXIMUM_ADVISORY))
        issuer, name = signed.issuer(), signed.advisory.name()
        if issuer not in self._issuers:
            raise SealmarketError(
                f"advisory {name} is signed by {issuer}, whose statements this node does not apply",
                remedy="name the issuer in advisory_issuers, or remove the file",
            )
        if name not in self._logged:
            self._journal.log_advisory(name, (block.number, block.hash))
            self._logged.add(name)
            _log.warning("advisory %s of %s is applied from now on: %s", name, issuer, signed.advisory.title)
        return signed

    def published(self) -> PublishedAdvisories:
        """What this node applies, for everyone."""
        return PublishedAdvisories(advisories=self._published)

    def in_force(self, matched_at: int) -> tuple[Advisory, ...]:
        """The statements that count for a job that was matched at this time."""
        found = ((one.signed.advisory, one.anchored_at) for one in self._published)
        return tuple(advisory for advisory, anchored_at in found if counts_for(advisory, anchored_at, matched_at))

    # --- holds ------------------------------------------------------------------------------------------------

    def look_at_holds(self) -> None:
        """Read the operator's holds, if they changed: they wait for no chain. Raises as :meth:`Holds.look`."""
        self._holds.look()

    @property
    def unread(self) -> str:
        """Why nothing is given to any machine, though no statement names it; empty where the holds are read."""
        return self._holds.unread

    @property
    def holds(self) -> tuple[Advisory, ...]:
        """The statements by which the operator holds machines back."""
        return self._holds.statements

    def held(self, machines: Iterable[PlatformSeen]) -> str | None:
        """Why nothing may be given to one of these machines, or None."""
        return self._holds.names(machines)

    def held_job(self, job_id: JobId) -> str | None:
        """Why nothing may be given to the machine of a job that this node accepted, or None.

        A process that has not seen that machine, since another of the node decided or the file is lost, gives it
        nothing as long as there is any hold: it may be the one that is meant.
        """
        if not self._holds.unread and not self._holds.statements:
            return None
        machines = self._sightings.of(job_id)
        if not machines and self._holds.statements:
            return "the operator holds platforms back, and the one of this job is not known here"
        return self._holds.names(machines)

    # --- machines ---------------------------------------------------------------------------------------------

    def saw(self, job_id: JobId, machines: Iterable[PlatformSeen]) -> None:
        """Keep what a job's evidence shows of its machines."""
        self._sightings.keep(job_id, machines)

    def touched_by(self, advisory: Advisory, view: ProvableView) -> Recall:
        """The jobs that a statement touches, by whatever issuer; which it counts for is read at a final block."""
        name = advisory.name()
        anchored_at = view.advisory_anchors((name,))[name]
        sightings = tuple(self._sightings.all())
        found = dict.fromkeys(job_id for job_id, seen in sightings if touched(seen, advisory) is not None)
        jobs = [job for job_id in found if (job := self._job(job_id, advisory, anchored_at)) is not None]
        looked_at = len({job_id for job_id, _ in sightings})
        ordered = tuple(sorted(jobs, key=lambda job: (job.matched_at, job.job_id)))
        return Recall(
            advisory=name,
            anchored_at=Timestamp(anchored_at),
            since=Timestamp(counts_from(advisory, anchored_at)),
            looked_at=looked_at,
            jobs=ordered,
        )

    def _job(self, job_id: JobId, advisory: Advisory, anchored_at: int) -> RecalledJob | None:
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
            counts=counts_for(advisory, anchored_at, spec.matched_at),
            outcome=Outcome(own.decision.outcome).name.lower() if own is not None else "undecided",
            released=promised is not None and promised[0] == "release",
            receipt=settled.receipt_hash if settled is not None else ZERO_HASH,
            assets=tuple(
                RecalledAsset(asset_id=use.asset_id, version=use.version, owner=use.owner) for use in spec.assets
            ),
        )


def _published(signed: SignedAdvisory, anchored_at: int) -> Published:
    since = counts_from(signed.advisory, anchored_at)
    return Published(signed=signed, issuer=signed.issuer(), anchored_at=Timestamp(anchored_at), since=Timestamp(since))
