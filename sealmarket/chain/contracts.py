"""One class per contract: what can be sent to it, in the protocol's own shapes. Each method makes a :class:`Call`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from sealmarket.chain.bargain import Bargain, JobKey
from sealmarket.chain.calls import Call, Contract, joined
from sealmarket.chain.committees import (
    NONE_REMOVED,
    common_core,
    compact,
    evidence_of,
    first_by_place,
    members_of,
    node_signature,
    promise_of,
    release_of,
)
from sealmarket.chain.errors import AbiMismatch
from sealmarket.chain.model import Enclave
from sealmarket.protocol.book import Committee
from sealmarket.protocol.decisions import Outcome
from sealmarket.protocol.orders import AssetOrder, Request
from sealmarket.protocol.wire import (
    SignedAssetOrder,
    SignedChallengeAnswer,
    SignedComputeOrder,
    SignedDecision,
    SignedRequest,
    SignedStop,
)
from sealmarket_enclave.protocol.codec import ZERO_ADDRESS, ZERO_HASH, Address, Bytes32, HexBytes, Uint, Wei
from sealmarket_enclave.protocol.job import Failure, JobSpec, Settlement, SharesMissing
from sealmarket_enclave.protocol.numbers import AssetId
from sealmarket_enclave.protocol.release import Release
from sealmarket_enclave.protocol.terms import Seal, Terms

Proof = tuple[Bytes32, ...]
NO_ENCLAVE = Enclave(ZERO_HASH, ZERO_ADDRESS, ZERO_HASH)
BATCH_GAS = 1_500_000
"""What one entry of a batch gets. The end of a job over 16 assets takes less."""
_TRANSACTION_GAS, _BYTE_GAS, _COPY_GAS, _BATCH_RESERVE = 21_000, 16, 4, 50_000
"""What goes beside the entries: the transaction, each byte of calldata and its copy, and what the batch keeps."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AssetOffer:
    """One asset's side of a match. Without an order the standing terms hold."""

    order: SignedAssetOrder | None = None
    consumer_proof: Proof = ()
    provider_proof: Proof = ()
    terms_proof: Proof = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """Everything that makes a job; anyone may submit it. ``offers`` stand in the order of the request's assets."""

    request: SignedRequest
    compute: SignedComputeOrder
    offers: tuple[AssetOffer, ...]
    provider_proof: Proof = ()
    consumer_proof: Proof = ()
    capability_proof: Proof = ()


@dataclass(frozen=True, slots=True)
class SettledResult:
    """What the enclave signed at the end, as the market takes it."""

    result_hash: Bytes32
    receipt_hash: Bytes32
    units: int

    @classmethod
    def of(cls, settlement: Settlement) -> SettledResult:
        """From the signed settlement."""
        return cls(settlement.result_hash, settlement.receipt_hash, settlement.units)


class RegistryContract(Contract):
    """The asset registry."""

    NAME = "AssetRegistry"

    def publish(self, salt: Bytes32, seal: Seal, terms: Terms, location: str = "") -> Call:
        """Record a new asset and its version 1; the sender becomes its owner."""
        return self._call("publish", salt, seal, terms, location)

    def add_version(self, asset_id: AssetId, version: int, seal: Seal, terms: Terms, location: str = "") -> Call:
        """Record the next version, with shares and terms of its own."""
        return self._call("addVersion", asset_id, version, seal, terms, location)

    def tighten(self, asset_id: AssetId, version: int, terms: Terms) -> Call:
        """Replace the terms in force by tighter ones."""
        return self._call("tighten", asset_id, version, terms)

    def replace_allow_list(self, asset_id: AssetId, version: int, allow_root: Bytes32) -> Call:
        """Replace the root of the allowed (measurement, workload) leaves."""
        return self._call("replaceAllowList", asset_id, version, allow_root)

    def revoke(self, asset_id: AssetId, version: int) -> Call:
        """Stop every later match, acceptance and release of a version, for good."""
        return self._call("revoke", asset_id, version)


class CommitteeContract(Contract):
    """The oracle committees."""

    NAME = "OracleCommittee"

    def announce(self, signers: Sequence[Address], hpke_key_hashes: Sequence[Bytes32], threshold: int) -> Call:
        """Announce the next epoch. Committee owner only."""
        return self._call("announce", tuple(signers), tuple(hpke_key_hashes), threshold)

    def end(self, epoch: int, ends_at: int) -> Call:
        """Committee owner: announce the last second of an epoch, once and for good."""
        return self._call("end", epoch, ends_at)

    def anchor_advisory(self, statement: Bytes32) -> Call:
        """Note that the hash of a statement about platforms exists, once and for good. Anyone, for any hash."""
        return self._call("anchorAdvisory", statement)

    def remove_equivocator(
        self,
        committee: Committee,
        first: SignedDecision,
        second: SignedDecision,
        *,
        removed: frozenset[int] = NONE_REMOVED,
    ) -> Call:
        """Remove a member by two decisions of its own that contradict each other."""
        members = members_of(committee, removed)
        decisions = map(evidence_of, (first, second))
        return self._call("removeEquivocator", committee.epoch, members, first.index, *decisions)

    def remove_for_broken_promise(
        self, committee: Committee, stop: SignedStop, release: Release, *, removed: frozenset[int] = NONE_REMOVED
    ) -> Call:
        """Remove a member that promised not to release for a job, and released."""
        members = members_of(committee, removed)
        return self._call(
            "removeForBrokenPromise", committee.epoch, members, stop.index, promise_of(stop), release_of(release)
        )


class MarketContract(Contract):
    """Orders, jobs, and the ledger that they move.

    Steps that take signatures of nodes name the committee and the places of its ``removed`` members, as the chain has
    them (:meth:`View.removed_members`). Signatures of removed members are not sent.
    """

    NAME = "Market"

    def __init__(self, address: Address, chain_id: int) -> None:
        super().__init__(address)
        self._chain_id = chain_id

    # --- jobs -------------------------------------------------------------------------------------------------

    def match(self, deal: Match) -> Call:
        """Make a job of signed orders."""
        request, compute = deal.request, deal.compute
        return self._call(
            "matchJob",
            {
                "request": request.request,
                "consumer_signature": request.signature,
                "payer_signature": request.payer_signature,
                "compute": compute.order,
                "provider_signature": compute.signature,
                "provider_proof": deal.provider_proof,
                "consumer_proof": deal.consumer_proof,
                "capability_proof": deal.capability_proof,
                "offers": [_offer(offer) for offer in deal.offers],
            },
        )

    def quote(self, spec: JobSpec, evidence_hash: Bytes32, signature: bytes = b"") -> Call:
        """Post the evidence hash; ``signature`` is the provider's over ``Quote`` when another account sends."""
        key, bargain = self._opening(spec)
        return self._call("quote", key, bargain.struct_hash(), evidence_hash, signature)

    def decide(
        self,
        spec: JobSpec,
        decisions: Sequence[SignedDecision],
        committee: Committee,
        *,
        removed: frozenset[int] = NONE_REMOVED,
    ) -> Call:
        """Carry out a quorum's decision. Of more signatures than the quorum takes, the first by place are sent.

        Raises:
            AbiMismatch: decisions that do not share one core.
        """
        core = common_core(decisions)
        accepts = core.outcome is Outcome.ACCEPTED
        needed = committee.threshold if accepts else committee.refusal_threshold
        chosen = first_by_place(decisions, removed, needed)
        signatures = [node_signature(signed.index, signed.decision.detail, signed.signature) for signed in chosen]
        return self._call("decide", *self._opening(spec), core, members_of(committee, removed), signatures)

    def stop(
        self,
        spec: JobSpec,
        enclave: Enclave,
        stops: Sequence[SignedStop],
        committee: Committee,
        *,
        removed: frozenset[int] = NONE_REMOVED,
    ) -> Call:
        """Record that enough nodes promise never to release for an accepted job."""
        reasons = {signed.stop.reasons for signed in stops}
        if len(reasons) != 1:
            raise AbiMismatch("Market.stop", f"the promises name {len(reasons)} sets of reasons, expected one")
        chosen = first_by_place(stops, removed, committee.refusal_threshold)
        signatures = [node_signature(signed.index, ZERO_HASH, signed.signature) for signed in chosen]
        members = members_of(committee, removed)
        return self._call("stop", *self._opening(spec), enclave, reasons.pop(), members, signatures)

    def report_missing(self, spec: JobSpec, enclave: Enclave, missing: SharesMissing, signature: bytes) -> Call:
        """Post the enclave's statement that it has joined no key. Sets the provider's money aside for the nodes."""
        return self._call("reportMissing", *self._opening(spec), enclave, missing.excluded, signature)

    def post_release(
        self,
        spec: JobSpec,
        enclave: Enclave,
        release: Release,
        committee: Committee,
        *,
        removed: frozenset[int] = NONE_REMOVED,
    ) -> Call:
        """Post a node's signed release with its ciphertexts, after shares were reported missing. Anyone."""
        sealed = tuple(share.sealed for share in release.shares)
        members, signature = members_of(committee, removed), compact(release.signature)
        return self._call("postRelease", *self._opening(spec), enclave, members, release.index, sealed, *signature)

    def end_interrupted(self, spec: JobSpec, enclave: Enclave) -> Call:
        """End a job that was stopped (provider), or whose shares are missing and were not posted in time (anyone)."""
        return self._call("endInterrupted", *self._opening(spec), enclave)

    def return_unspent(self, request_hash: Bytes32) -> Call:
        """Give the provider what was set aside for nodes that did not post in time. Anyone."""
        return self._call("returnUnspent", request_hash)

    def settle(
        self, spec: JobSpec, enclave: Enclave, settlement: Settlement, signature: bytes, acknowledgement: bytes = b""
    ) -> Call:
        """Settle by the enclave's signature; with the consumer's acknowledgement the provider is paid at once."""
        return self._call(
            "settle", *self._opening(spec), enclave, SettledResult.of(settlement), signature, acknowledgement
        )

    def fail(self, spec: JobSpec, enclave: Enclave, failure: Failure, signature: bytes) -> Call:
        """End a job by the failure that the enclave signed."""
        return self._call("fail", *self._opening(spec), enclave, failure, signature)

    def close(self, spec: JobSpec, enclave: Enclave = NO_ENCLAVE) -> Call:
        """End a job whose window has passed. ``enclave``: nothing if Matched, the evidence hash only if Quoted."""
        return self._call("close", *self._opening(spec), enclave)

    def cancel(self, spec: JobSpec) -> Call:
        """Withdraw a job before it was quoted. Consumer or payer."""
        return self._call("cancel", *self._opening(spec))

    def acknowledge(self, spec: JobSpec, result: SettledResult, signature: bytes = b"") -> Call:
        """Say that the result arrived: pays the provider."""
        return self._call("acknowledge", *self._opening(spec), result, signature)

    def mature(self, spec: JobSpec, result: SettledResult) -> Call:
        """Pay the provider of a settled job whose challenge window has passed."""
        return self._call("mature", *self._opening(spec), result)

    def challenge(self, spec: JobSpec, result: SettledResult) -> Call:
        """Claim, against a bond, that the ciphertext is not available. Consumer or payer."""
        return self._call("challenge", *self._opening(spec), result)

    def answer_challenge(
        self,
        spec: JobSpec,
        result: SettledResult,
        challenger: Address,
        available: bool,
        answers: Sequence[SignedChallengeAnswer],
        committee: Committee,
        *,
        removed: frozenset[int] = NONE_REMOVED,
    ) -> Call:
        """Answer a challenge. Of the answers that say ``available``, as many as the quorum takes are sent, by place.

        Raises:
            AbiMismatch: an answer about another job or another result.
        """
        key, bargain = self._opening(spec)
        for given in answers:
            subject, expected = (given.answer.job_id, given.answer.result_hash), (key.job_id, result.result_hash)
            if subject != expected:
                detail = f"the answer of member {given.index} is about {subject}, expected {expected}"
                raise AbiMismatch("Market.answerChallenge", detail)
        needed = committee.threshold if available else committee.refusal_threshold
        chosen = first_by_place([given for given in answers if given.answer.available is available], removed, needed)
        signatures = [node_signature(given.index, ZERO_HASH, given.signature) for given in chosen]
        members = members_of(committee, removed)
        return self._call("answerChallenge", key, bargain, result, challenger, available, members, signatures)

    def close_challenge(self, spec: JobSpec, result: SettledResult, challenger: Address) -> Call:
        """End a challenge that the committee left unanswered: the provider is paid, the bond returns. Anyone."""
        return self._call("closeChallenge", *self._opening(spec), result, challenger)

    def _opening(self, spec: JobSpec) -> tuple[JobKey, Bargain]:
        return JobKey.of(spec, spec.job_id(self._chain_id, self.address)), Bargain.of(spec)

    def lift_suspension(self, asset_id: AssetId, version: int) -> Call:
        """Let a suspended version be matched again, for a quorum's fees, which are burned. Owner of the asset only."""
        return self._call("liftSuspension", asset_id, version)

    # --- orders -----------------------------------------------------------------------------------------------

    def cancel_order(self, order_hash: Bytes32) -> Call:
        """Void one compute or asset order of the sender."""
        return self._call("cancelOrder", order_hash)

    def cancel_all_orders(self, token: Address) -> Call:
        """Void every order that the sender has signed so far in a token."""
        return self._call("cancelAllOrders", token)

    def cancel_request(self, request: Request) -> Call:
        """Void a request before it is matched."""
        return self._call("cancelRequest", request)

    # --- money ------------------------------------------------------------------------------------------------

    def deposit(self, token: Address, amount: Wei, holder: Address | None = None) -> Call:
        """Deposit for the sender, or for ``holder``. The native coin goes along; a token must be approved before."""
        value = int(amount) if token == ZERO_ADDRESS else 0
        if holder is None:
            return self._call("deposit", token, amount, value=value)
        return self._call("depositFor", token, holder, amount, value=value)

    def withdraw(self, token: Address, amount: Wei, to: Address) -> Call:
        """Take free balance out."""
        return self._call("withdraw", token, amount, to)

    def transfer(self, token: Address, to: Address, amount: Wei) -> Call:
        """Move free balance to another account of the ledger."""
        return self._call("transfer", token, to, amount)

    def transfer_and_call(self, token: Address, to: Address, amount: Wei, data: bytes) -> Call:
        """Move free balance to a contract that acts on it; ``data`` is for that contract."""
        return self._call("transferAndCall", token, to, amount, data)

    def stake(self, token: Address, amount: Wei) -> Call:
        """Move free balance to stake."""
        return self._call("stake", token, amount)

    def unstake(self, token: Address, amount: Wei) -> Call:
        """Begin to unbond stake."""
        return self._call("unstake", token, amount)

    def finish_unstake(self, token: Address) -> Call:
        """Move what has unbonded to the free balance."""
        return self._call("finishUnstake", token)

    def claim_fees(
        self, committee: Committee, token: Address, index: int, *, removed: frozenset[int] = NONE_REMOVED
    ) -> Call:
        """Credit one node with the fees of its used signatures."""
        return self._call("claimFees", committee.epoch, token, members_of(committee, removed), index)

    def batch(self, calls: Sequence[Call], gas_each: int = BATCH_GAS) -> Call:
        """Several calls as one transaction; each gets ``gas_each`` and one that fails does not spoil the others."""
        data = joined(calls)
        return self._call("batch", tuple(data), gas_each, least_gas=_batch_gas(data, gas_each))

    def set_paused(self, paused: bool) -> Call:
        """Stop or resume new matches. Guardian only."""
        return self._call("setPaused", paused)


def _batch_gas(calls: Sequence[bytes], gas_each: int) -> int:
    """What a batch needs so that each entry gets its gas: it runs none for which too little is left."""
    sent = _TRANSACTION_GAS + sum(len(call) for call in calls) * (_BYTE_GAS + _COPY_GAS)
    return sent + len(calls) * (gas_each + gas_each // 32) + _BATCH_RESERVE


_NO_ORDER = AssetOrder(
    asset_id=AssetId(ZERO_HASH),
    version=0,
    price=Wei(0),
    volume=0,
    expiry=0,
    consumers=ZERO_HASH,
    providers=ZERO_HASH,
    salt=Uint(0),
)


@dataclass(frozen=True, slots=True)
class _Offer:
    order: AssetOrder
    signature: HexBytes
    consumer_proof: Proof = field(default=())
    provider_proof: Proof = field(default=())
    terms_proof: Proof = field(default=())


def _offer(offer: AssetOffer) -> _Offer:
    order = offer.order.order if offer.order else _NO_ORDER
    signature = offer.order.signature if offer.order else HexBytes()
    return _Offer(order, signature, offer.consumer_proof, offer.provider_proof, offer.terms_proof)
