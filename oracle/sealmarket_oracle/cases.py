"""What each job is at one final block, as the gate and the release are given it: state and events, held together.

What all jobs of a look at the chain share, the node's seat and the assets, is read once for all of them.
"""

from __future__ import annotations

from collections.abc import Mapping

from sealmarket.chain.committees import members_hash
from sealmarket.chain.errors import NodeDistrusted
from sealmarket.chain.interface import ProvableView
from sealmarket.protocol.book import Committee
from sealmarket_enclave.protocol.job import AssetUse
from sealmarket_enclave.protocol.numbers import Grade
from sealmarket_oracle.chain_record import JobRecord
from sealmarket_oracle.errors import NotOnCommittee
from sealmarket_oracle.gate.chain_rules import slot_against
from sealmarket_oracle.gate.inputs import AppraisalInput, AssetFacts, MarketRef
from sealmarket_oracle.journal import Journal
from sealmarket_oracle.keys import NodeKeys


class Cases:
    """Makes the cases of one node."""

    def __init__(
        self,
        journal: Journal,
        committees: Mapping[int, Committee],
        keys: NodeKeys,
        market: MarketRef,
        grade_floor: Grade,
    ) -> None:
        self.journal, self._committees, self._keys = journal, committees, keys
        self.market, self.grade_floor = market, grade_floor

    def at(self, view: ProvableView) -> CasesAt:
        """The cases of one final block."""
        return CasesAt(self, view)

    def seat(self, epoch: int, view: ProvableView) -> tuple[Committee, int]:
        """The committee of an epoch and the node's place in it, from 0. Raises :class:`NotOnCommittee`."""
        if epoch != self.journal.identity.epoch:
            raise NotOnCommittee(epoch, f"this node's keys are for epoch {self.journal.identity.epoch}")
        committee = self._committees.get(epoch)
        if committee is None:
            raise NotOnCommittee(epoch, "the address book does not have it")
        on_chain, ours = view.committee_hash(epoch), members_hash(committee, view.removed_members(epoch))
        if on_chain != ours:
            raise NotOnCommittee(epoch, f"the book's hashes to {ours}, the chain's is {on_chain}")
        for index, member in enumerate(committee.members):
            if member.signer == self._keys.signer.address:
                if member.hpke_public_key != self._keys.hpke.public.raw:
                    raise NotOnCommittee(epoch, "it names another HPKE key for this node")
                return committee, index
        raise NotOnCommittee(epoch, f"{self._keys.signer.address} is not a member")


class CasesAt:
    """The cases of one node at one final block."""

    def __init__(self, cases: Cases, view: ProvableView) -> None:
        self._cases, self._view = cases, view
        self._seats: dict[int, tuple[Committee, int]] = {}
        self._assets: dict[AssetUse, AssetFacts] = {}

    def of(self, record: JobRecord) -> AppraisalInput:
        """One quoted job.

        Raises:
            NodeDistrusted: the state contradicts the events.
            NotOnCommittee: this node has no part in the job.
        """
        spec, view = record.spec, self._view
        if record.evidence_hash is None or record.quoted is None:
            raise AssertionError("a case takes a quote")
        committee, index = self._seat(spec.epoch)
        slot = view.job(spec.request_hash)
        events = (record.evidence_hash, record.quoted.timestamp, record.quorum)
        if contradiction := slot_against(spec, record.job_id, slot, *events):
            raise NodeDistrusted("job's slot", *contradiction)
        return AppraisalInput(
            market=self._cases.market,
            job_id=record.job_id,
            spec=spec,
            at=view.block,
            slot=slot,
            matched=record.matched,
            quoted=record.quoted,
            decide_by=record.decide_by,
            evidence_hash=record.evidence_hash,
            assets=tuple(self._asset(use) for use in spec.assets),
            committee=committee,
            index=index,
            grade_floor=self._cases.grade_floor,
        )

    def _seat(self, epoch: int) -> tuple[Committee, int]:
        if (held := self._seats.get(epoch)) is None:
            held = self._seats[epoch] = self._cases.seat(epoch, self._view)
        return held

    def _asset(self, use: AssetUse) -> AssetFacts:
        if (held := self._assets.get(use)) is not None:
            return held
        seal = self._cases.journal.seal(use.asset_id, use.version)
        if seal is None:
            raise NodeDistrusted(f"history of asset {use.asset_id}", f"version {use.version} published", "nothing")
        found = AssetFacts(use=use, seal=seal, state=self._view.asset(use.asset_id, use.version))
        self._assets[use] = found
        return found
