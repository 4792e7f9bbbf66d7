"""What a job brings the operator's own accounts, and for whom the keeper's steps are."""

from __future__ import annotations

from dataclasses import dataclass

from sealmarket.protocol.fitting import Rules
from sealmarket.protocol.matching import Proposal
from sealmarket_backend.spending import Cause
from sealmarket_enclave.protocol.codec import ZERO_ADDRESS, Address, Bytes32
from sealmarket_enclave.protocol.job import JobSpec


@dataclass(frozen=True, slots=True)
class Income:
    """``own``: the operator's accounts. Gas is paid in the native coin, so income in another token counts as none."""

    own: frozenset[Address]
    rules: Rules

    def of_job(self, request_hash: Bytes32, spec: JobSpec) -> Cause:
        """What a job that goes well brings: the price of a provider or owner, one fee of each node."""
        earned = 0
        if self.own and spec.token == ZERO_ADDRESS:
            earned += spec.compute_price if spec.provider in self.own else 0
            earned += sum(use.price for use in spec.assets if use.owner in self.own)
            earned += self._fees(spec.epoch)
        return Cause((spec.consumer, spec.provider), earned, request=request_hash, payer=spec.payer)

    def of_match(self, found: Proposal) -> Cause:
        """What a match is certain to bring if its job goes well; owners' prices are not counted before it."""
        request, order = found.request.request, found.compute.order
        earned = 0
        if self.own and order.token == ZERO_ADDRESS:
            earned += order.price if order.provider in self.own else 0
            earned += self._fees(self.rules.newest_epoch)
        parties = (request.consumer, order.provider)
        return Cause(parties, earned, matching=True, request=request.struct_hash(), payer=request.payer)

    def _fees(self, epoch: int) -> int:
        committee, fee = self.rules.committees.get(epoch), self.rules.fee_of(ZERO_ADDRESS)
        signers = [member.signer for member in committee.members] if committee else []
        return sum(fee or 0 for signer in signers if signer in self.own)
