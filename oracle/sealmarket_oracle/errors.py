"""What can go wrong in a key oracle node.

    SealmarketError
    └── OracleError
        ├── InvalidConfig          the configuration is incomplete, unknown or contradictory
        ├── KeyFileRefused         a key file is absent, readable by others, or no key
        │   └── PassphraseMissing  no file, credential or terminal gives the passphrase
        ├── AdvisoriesRefused      more statements than a node reads
        ├── AdvisoriesUnlisted     a folder of statements that is there and does not say what is in it
        ├── BackupRefused          a node's keys have no backup that was tried, or one that is not theirs
        ├── SignerFailed           the program that holds the signing key did not sign what it was shown
        ├── JournalError
        │   ├── JournalMismatch    the journal belongs to another chain, market, node or epoch
        │   ├── JournalLost        the journal is absent, a copy, or older than what this node signed
        │   ├── JournalUnwritable  nothing is written now: a full disk, or a database that is away
        │   ├── JournalTaken       another process of this node writes the journal
        │   ├── ChainRewritten     a block that was final is no longer on the chain
        │   ├── DecisionConflict   the journal holds another decision for the same evidence
        │   └── PromiseConflict    a release after a stop, or a stop after a release
        ├── ShareMisdealt          a share or share set is not what the owner had to deal
        ├── StaleChain             the newest block is too old to rely on
        ├── QuoteUnseen            no final block has the quote that evidence is handed in for
        ├── EvidenceNotTaken       evidence that this node does not wait for, or another party's
        ├── NotRunning             no node answers its operator there
        ├── NotAgreed              what cannot be undone has to be agreed to
        ├── EpochGoesOn            the chain has not ended the epoch, so its keys are not destroyed
        ├── EpochNotOver           a job or challenge of the epoch is open, so its keys are not destroyed
        ├── AuditRefused           what a node shows of its audit log cannot be held against anything
        └── NotOnCommittee         the committee of an epoch is not the one in the address book

A later attempt can succeed only after :class:`StaleChain`, :class:`JournalUnwritable` and after an error of the store
(:mod:`sealmarket.service.errors`).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from sealmarket.protocol.moments import moment
from sealmarket_enclave.protocol.errors import SealmarketError


class OracleError(SealmarketError):
    """A key oracle node refused to do something."""


class InvalidConfig(OracleError):
    """The configuration is incomplete, unknown or contradictory."""


class KeyFileRefused(OracleError):
    """A key file is absent, readable by others, or not a key."""


class PassphraseMissing(KeyFileRefused):
    """No file, credential or terminal gives the passphrase."""

    exit_code = 2


class NotRunning(OracleError):
    """No node answers its operator on the folder or socket that was named."""


class AdvisoriesRefused(OracleError):
    """The folder has more statements than a node reads: it decides nothing rather than leave one out."""

    def __init__(self, folder: Path, found: int, most: int) -> None:
        super().__init__(
            f"{folder} has {found} statements about platforms, expected at most {most}",
            remedy="move those that later ones replace out of it, or ask an issuer for one statement of many targets",
        )


class AdvisoriesUnlisted(OracleError):
    """A folder of statements is there, and its names cannot be read: the node decides nothing until they can be."""

    def __init__(self, folder: Path, error: OSError) -> None:
        super().__init__(
            f"{folder} cannot be listed ({error.strerror}): expected a folder of statements about platforms, or none",
            remedy="let the node read the folder, or put the folder back: nothing is decided until then",
        )


class BackupRefused(OracleError):
    """A node's keys have no backup that was tried, or a backup is not theirs."""


class SignerFailed(OracleError):
    """The program that holds the signing key did not sign what it was shown."""

    def __init__(self, what: str, expected: str, found: str) -> None:
        super().__init__(
            f"{what} of the external signer: expected {expected}, found {found}",
            remedy="start and unlock the signer, and see that it holds this account and may sign typed data",
        )


class JournalError(OracleError):
    """The node's journal forbids the action."""


class JournalMismatch(JournalError):
    """The journal belongs to another chain, market or node."""

    def __init__(self, what: str, expected: object, found: object) -> None:
        super().__init__(
            f"the journal's {what} is {found}, expected {expected}",
            remedy="give each node on each market a state folder of its own",
        )


class JournalLost(JournalError):
    """The journal is absent, a copy, or older than what this node signed: nothing is signed with these keys."""

    def __init__(self, found: str, expected: str) -> None:
        super().__init__(
            f"this is not the journal that the node's keys signed from: {found}, expected {expected}",
            remedy="put the node's own journal into its state folder; if it is lost, make new keys with `sealmarket"
            " oracle init`, and have a later epoch name them",
        )


class JournalUnwritable(JournalError):
    """Nothing is written now, so nothing is signed; what was not written is written by a later tick."""

    def __init__(self, found: str, remedy: str) -> None:
        super().__init__(found, remedy=remedy)


class TailsDamaged(JournalError):
    """What this node holds of a peer's journal is unreadable, as no torn write of a slot leaves it, or not its own."""

    def __init__(self, path: Path, place: int) -> None:
        super().__init__(
            f"{path} is damaged from byte {place} on, or of another node or journal:"
            " expected a peer's tail in one of two slots",
            remedy="put this journal's own file back, or see to the disk; where no other node's journal was put back,"
            " move the file away: peers show their tails again",
        )


class JournalTaken(JournalError):
    """Another process of this node writes the journal, so this one signs nothing."""

    def __init__(self, found: str, expected: str) -> None:
        super().__init__(
            f"another process of this node writes the journal: {found}, expected {expected}",
            remedy="leave that process to it, or stop it and start this one again",
        )


class ChainRewritten(JournalError):
    """A block that was final is no longer on the chain."""

    def __init__(self, number: int, expected: object, found: object) -> None:
        super().__init__(
            f"block {number} was final as {expected} and is now {found}",
            remedy="use another chain node; if the chain was really started anew, use a new state folder",
        )


class DecisionConflict(JournalError):
    """The journal holds another decision for the same evidence."""

    def __init__(self, job_id: object) -> None:
        super().__init__(
            f"job {job_id} was decided otherwise for this evidence and epoch",
            remedy="nothing to do: a node decides once",
        )


class PromiseConflict(JournalError):
    """A release after a stop, or a stop after a release."""

    def __init__(self, job_id: object, held: str, wanted: str) -> None:
        super().__init__(
            f"job {job_id} already has this node's {held}; a {wanted} is impossible for good",
            remedy="nothing to do: releases and stops exclude each other",
        )


class ShareMisdealt(OracleError):
    """A share or share set differs from what the owner had to deal. ``expected`` and ``found`` are for people."""

    def __init__(self, expected: object, found: object) -> None:
        super().__init__(
            f"expected {expected}, found {found}",
            remedy="the owner must seal the shares again, for this committee and version",
        )
        self.expected, self.found = str(expected), str(found)


class StaleChain(OracleError):
    """The newest block is too old to rely on."""

    def __init__(self, age: int, limit: int) -> None:
        super().__init__(
            f"the newest block is {age} seconds old, expected at most {limit}",
            remedy="check the chain node and this machine's clock; a node that is cut off never sees a revocation",
        )


class NotOnCommittee(OracleError):
    """The committee of an epoch is not the one in the address book, or does not name this node."""

    def __init__(self, epoch: int, detail: str) -> None:
        super().__init__(
            f"the committee of epoch {epoch} is not usable: {detail}",
            remedy="update the address book, and run this node with the keys that its committee names",
        )


class NotAgreed(OracleError):
    """What cannot be undone has to be agreed to."""

    exit_code = 2

    def __init__(self, consequence: str) -> None:
        super().__init__(
            f"{consequence}; there is no terminal to ask on", remedy="repeat the command with --yes if you mean it"
        )


class EpochGoesOn(OracleError):
    """The chain has not ended the epoch, so its keys are not destroyed: the market may still make jobs of it."""

    def __init__(self, epoch: int, ends_at: int, final: int) -> None:
        if not ends_at:
            found, remedy = "has no end", "have the committee's owner announce one: `sealmarket chain end-epoch`"
        else:
            found = f"ends at {moment(ends_at)}, and the newest final block is of {moment(final)}"
            remedy = "run the node until then, and until its last job has ended"
        super().__init__(f"epoch {epoch} {found}", remedy=remedy)


class EpochNotOver(OracleError):
    """A job of the epoch is open, or a result of it can be challenged yet, so its keys are not destroyed.

    ``until`` is given for settled jobs: until then one of their results may be challenged, or a challenge answered.
    """

    def __init__(self, epoch: int, jobs: Sequence[object], until: int = 0) -> None:
        if until:
            super().__init__(
                f"{len(jobs)} results of epoch {epoch} can be challenged, or are, until {moment(until)}; one is of"
                f" job {jobs[0]}",
                remedy="run the node, which alone answers with these keys, until a final block lies behind that",
            )
            return
        super().__init__(
            f"{len(jobs)} jobs of epoch {epoch} are open, the first is {jobs[0]}",
            remedy="run the node until they have ended; `sealmarket oracle status FOLDER` lists them, and any account"
            " may close one whose window is over",
        )


class AuditRefused(OracleError):
    """What a node shows of its audit log cannot be held against anything."""

    def __init__(self, detail: str) -> None:
        super().__init__(detail, remedy="ask again; if it stays so, do not rely on this node, and tell its committee")


class QuoteUnseen(OracleError):
    """No final block has the quote that evidence is handed in for."""

    def __init__(self, job_id: object) -> None:
        super().__init__(
            f"no final block that this node has seen quotes job {job_id}",
            remedy="hand the evidence in again once the quote is final",
        )


class EvidenceNotTaken(OracleError):
    """Evidence that this node does not wait for, or another party's."""

    def __init__(self, job_id: object, expected: str, found: object) -> None:
        super().__init__(
            f"evidence of job {job_id}: expected {expected}, found {found}",
            remedy="only the job's provider hands its evidence in, before the node has decided",
        )


class RenewalRefused(OracleError):
    """A service may not go on, or what was asked is not of one."""

    def __init__(self, job_id: object, expected: str, found: object) -> None:
        super().__init__(
            f"renewal of {job_id}: expected {expected}, found {found}",
            remedy="ask again with a recent final block; a service whose terms or job no longer stand is over",
        )
