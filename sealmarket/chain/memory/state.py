"""The tables of the market as the twin keeps them: the state at one block."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace

from sealmarket.chain.model import Account, AssetState, FeeBook, Interruption, JobSlot, Unbonding
from sealmarket.chain.sessions import ServiceState, Tab
from sealmarket.protocol.transitions import Status
from sealmarket_enclave.protocol.codec import Address, Bytes32
from sealmarket_enclave.protocol.job import JobSpec
from sealmarket_enclave.protocol.numbers import AssetId, JobId


@dataclass(slots=True)
class State:
    """One table of each kind that readers ask for."""

    jobs: dict[Bytes32, JobSlot] = field(default_factory=dict)
    specs: dict[JobId, JobSpec] = field(default_factory=dict)
    assets: dict[tuple[AssetId, int], AssetState] = field(default_factory=dict)
    committees: dict[int, tuple[Bytes32, frozenset[int]]] = field(default_factory=dict)
    ends: dict[int, int] = field(default_factory=dict)
    anchors: dict[Bytes32, int] = field(default_factory=dict)
    fee_books: dict[tuple[int, Address], FeeBook] = field(default_factory=dict)
    interruptions: dict[Bytes32, Interruption] = field(default_factory=dict)
    accounts: dict[tuple[Address, Address], Account] = field(default_factory=dict)
    unbonding: dict[tuple[Address, Address], Unbonding] = field(default_factory=dict)
    used: dict[tuple[Address, Bytes32], int] = field(default_factory=dict)
    paused: bool = False
    services: dict[JobId, ServiceState] = field(default_factory=dict)
    tabs: dict[tuple[JobId, Address], Tab] = field(default_factory=dict)

    def copied(self) -> State:
        """The same, to be changed: what the tables hold is never changed in place."""
        copied = replace(self)
        for one in fields(self):
            if isinstance(table := getattr(self, one.name), dict):
                setattr(copied, one.name, table.copy())
        return copied

    def forget_ended(self) -> None:
        """Drop the jobs that have ended: nothing about them can change."""
        kept_on = (Status.SETTLED, Status.CHALLENGED)
        statuses = {job: self.jobs[spec.request_hash].status for job, spec in self.specs.items()}
        for job in [job for job, found in statuses.items() if found > Status.ACCEPTED and found not in kept_on]:
            del self.jobs[self.specs.pop(job).request_hash]
