"""What can go wrong in a key oracle node.

    SealmarketError
    └── OracleError
        ├── InvalidConfig          the configuration is incomplete, unknown or contradictory
        ├── KeyFileRefused         a key file is absent, readable by others, or no key
        ├── JournalError
        │   ├── JournalMismatch    the journal belongs to another chain, market or node
        │   ├── ChainRewritten     a block that was final is no longer on the chain
        │   ├── DecisionConflict   the journal holds another decision for the same evidence
        │   └── PromiseConflict    a release after a stop, or a stop after a release
        ├── ShareMisdealt          a share or share set is not what the owner had to deal
        ├── StaleChain             the newest block is too old to rely on
        ├── QuoteUnseen            no final block has the quote that evidence is handed in for
        ├── EvidenceNotTaken       evidence that this node does not wait for, or another party's
        └── NotOnCommittee         the committee of an epoch is not the one in the address book

A later attempt can succeed only after :class:`StaleChain` and after an error of the store
(:mod:`sealmarket.service.errors`).
"""

from __future__ import annotations

from sealmarket_enclave.protocol.errors import SealmarketError


class OracleError(SealmarketError):
    """A key oracle node refused to do something."""


class InvalidConfig(OracleError):
    """The configuration is incomplete, unknown or contradictory."""


class KeyFileRefused(OracleError):
    """A key file is absent, readable by others, or not a key."""


class JournalError(OracleError):
    """The node's journal forbids the action."""


class JournalMismatch(JournalError):
    """The journal belongs to another chain, market or node."""

    def __init__(self, what: str, expected: object, found: object) -> None:
        super().__init__(
            f"the journal's {what} is {found}, expected {expected}",
            remedy="give each node on each market a state folder of its own",
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
