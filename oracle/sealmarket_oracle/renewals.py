"""Renewals: whether a service may go on, and for whom (docs/spec/session.md, Nodes).

1. The job is one that this node knows from a final block, and of the kind of services.
2. The block is final, no later than the node's own, and not older than half a lease.
3. The job is Accepted there, the service is open, and its end has not passed.
4. The terms of every asset allow it there: not revoked, expired or suspended, and no root, purpose or grade replaced
   since the match.
5. The operator does not hold the service's machine back.
6. Nothing at the head speaks against it, at each endpoint that keeps up: rules 3 and 4 again, and no stop.
7. An account is named if it has a tab there and is in each asset's consumer set there; who is not is left out.

A renewal says what one block says, so all honest nodes sign the same. Nothing is written down: a renewal that was
signed once grants nothing beyond what its block shows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from sealmarket.chain.interface import ChainReader, ProvableView, SessionsReader
from sealmarket.chain.model import AssetState, Block
from sealmarket.chain.sessions import KIND, ServiceState
from sealmarket.protocol.merkle import account_leaf, verify
from sealmarket.protocol.renewals import RenewalRequest
from sealmarket.protocol.transitions import Status
from sealmarket_enclave.protocol.codec import ZERO_HASH, Address, Bytes32, Uint64
from sealmarket_enclave.protocol.job import JobSpec
from sealmarket_enclave.protocol.numbers import JobId
from sealmarket_enclave.protocol.session import Renewal, SignedRenewal, TabState
from sealmarket_oracle.errors import RenewalRefused
from sealmarket_oracle.gate.chain_rules import terms_against
from sealmarket_oracle.gate.inputs import MarketRef
from sealmarket_oracle.head_clock import HeadClock
from sealmarket_oracle.journal import Journal
from sealmarket_oracle.keys import NodeKeys

_Proofs = tuple[tuple[Bytes32, ...], ...]


@dataclass(frozen=True, slots=True)
class _Seen:
    """What one block says of a service."""

    service: ServiceState
    states: tuple[AssetState, ...]


class Renewals:
    """Signs renewals. Threads may share it."""

    def __init__(
        self,
        chain: ChainReader,
        journal: Journal,
        market: MarketRef,
        keys: NodeKeys,
        present: HeadClock,
        held: Callable[[JobId], str | None],
    ) -> None:
        """``held``: why the operator holds the machine of a job back, or None."""
        self._chain, self._journal, self._market, self._keys = chain, journal, market, keys
        self._present, self._held = present, held

    def sign(self, job_id: JobId, request: RenewalRequest) -> SignedRenewal:
        """This node's renewal of a service.

        Raises:
            RenewalRefused: a rule does not hold; the error says which.
            ChainError, StaleChain: the chain cannot be read, or not as it is now.
        """
        record = self._journal.job(job_id)
        if record is None or record.spec.kind != KIND:
            raise RenewalRefused(
                job_id, f"a job of kind {KIND} at a final block", "none" if record is None else "another"
            )
        if request.proofs and len(request.proofs) != len(request.accounts):
            expected = f"proofs for each of {len(request.accounts)} accounts, or none"
            raise RenewalRefused(job_id, expected, len(request.proofs))
        spec = record.spec
        block = self._block(job_id, request)
        view, sessions = self._chain.trusted(block), self._chain.trusted_sessions(block)
        view.prepare([spec])
        sessions.prepare(job_id, dict.fromkeys(request.accounts))
        seen = _standing(job_id, spec, view, sessions)
        self._check_recent(job_id, block, seen.service)
        if (why := self._held(job_id)) is not None:
            raise RenewalRefused(job_id, "a platform that the operator does not hold back", why)
        self._require_heads(job_id, spec)
        renewal = Renewal(
            job_id=job_id,
            nonce=request.nonce,
            block_number=Uint64(block.number),
            block_time=block.timestamp,
            redeemed=seen.service.redeemed,
            tabs=tuple(_tabs(job_id, request, seen, sessions)),
        )
        signature = self._keys.signer.sign_statement(renewal, self._market.chain_id, self._market.address)
        return SignedRenewal(renewal=renewal, signature=signature)

    def _block(self, job_id: JobId, request: RenewalRequest) -> Block:
        final = self._chain.final()
        if request.block_number > final.number:
            raise RenewalRefused(job_id, f"a final block, at most {final.number}", request.block_number)
        number = int(request.block_number)
        return final if number == int(final.number) else self._chain.block(number)

    def _check_recent(self, job_id: JobId, block: Block, service: ServiceState) -> None:
        age, most = self._chain.final().timestamp - block.timestamp, service.lease_seconds // 2
        if age > most:
            raise RenewalRefused(job_id, f"a block at most {most} seconds older than the final one", f"{age} seconds")

    def _require_heads(self, job_id: JobId, spec: JobSpec) -> None:
        """Rule 6. An endpoint that alone, among several, speaks against a renewal is remembered: it may have lied."""
        heads = self._chain.heads(lambda view: self._against(job_id, spec, view))
        refusing = [head for head in heads if head.value is not None]
        for head in refusing if 2 * len(refusing) < len(heads) else ():
            self._chain.doubt(head.endpoint, head.block)
        for head in heads:
            self._present.require_recent(head.block.timestamp)
            if head.value is not None:
                raise head.value

    def _against(self, job_id: JobId, spec: JobSpec, view: ProvableView) -> RenewalRefused | None:
        try:
            self._check_head(job_id, spec, view)
        except RenewalRefused as error:
            return error
        return None

    def _check_head(self, job_id: JobId, spec: JobSpec, view: ProvableView) -> None:
        view.prepare([spec])
        _standing(job_id, spec, view, self._chain.trusted_sessions(view.block))
        if view.interruption(spec.request_hash).stopped:
            raise RenewalRefused(job_id, "a job that was not stopped", "a stop at the head of the chain")


def _standing(job_id: JobId, spec: JobSpec, view: ProvableView, sessions: SessionsReader) -> _Seen:
    """Rules 3 and 4 at one block."""
    status, service = view.job(spec.request_hash).status, sessions.service(job_id)
    if status is not Status.ACCEPTED:
        raise RenewalRefused(job_id, f"an accepted job at block {view.block.number}", status.name.lower())
    if not service.exists:
        raise RenewalRefused(job_id, f"an open service at block {view.block.number}", "none")
    if view.block.timestamp >= service.end:
        raise RenewalRefused(job_id, f"a service that ends after {view.block.timestamp}", service.end)
    states = tuple(view.asset(use.asset_id, use.version) for use in spec.assets)
    for use, state in zip(spec.assets, states, strict=True):
        for finding in terms_against(use, state, view.block.timestamp):
            raise RenewalRefused(job_id, finding.expected, f"asset {use.asset_id}: {finding.found}")
        if state.suspended or spec.purpose & ~state.terms.purposes:
            found = "suspended" if state.suspended else f"purposes {state.terms.purposes}"
            raise RenewalRefused(job_id, f"asset {use.asset_id} for purposes {spec.purpose}", found)
    return _Seen(service, states)


def _tabs(job_id: JobId, request: RenewalRequest, seen: _Seen, sessions: SessionsReader) -> Iterator[TabState]:
    """Rule 7: each account once, in the order of the request."""
    proofs: tuple[_Proofs, ...] = request.proofs or ((),) * len(request.accounts)
    named: set[Address] = set()
    for account, paths in zip(request.accounts, proofs, strict=True):
        if account in named or not _admitted(account, paths, seen.states):
            continue
        named.add(account)
        tab = sessions.tab(job_id, account)
        if tab.limit:
            units = tab.units(seen.service.unit_price)
            yield TabState(account=account, units=units, closing=tab.closing)


def _admitted(account: Address, paths: _Proofs, states: tuple[AssetState, ...]) -> bool:
    """Whether an account is in the consumer set of each asset. A path that is not there proves nothing."""
    leaf = account_leaf(account)
    given = paths or ((),) * len(states)
    return len(given) == len(states) and all(
        state.terms.consumer_root == ZERO_HASH or verify(state.terms.consumer_root, leaf, path)
        for state, path in zip(states, given, strict=True)
    )
