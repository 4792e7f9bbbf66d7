"""Reads from the chain, at one block, what :mod:`sealmarket.receipts.steps` compares a bundle with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from sealmarket.chain import Block, Chain, NodeDistrusted
from sealmarket.chain.interface import ProvableView
from sealmarket.client.jobs import JobRecord, read_job
from sealmarket.receipts.model import ChainFacts
from sealmarket_enclave.protocol.codec import Bytes32
from sealmarket_enclave.protocol.numbers import JobId


def chain_facts(
    chain: Chain, job_id: JobId, *, at: Bytes32 | None = None, advisories: Sequence[Bytes32] = ()
) -> ChainFacts:
    """The chain's record of a job at one block.

    With a chain that is read through several endpoints that must agree, blocks are those on which they do, and events,
    slot, committee and versions are proven under them.

    Args:
        at: a block hash that the reader trusts from another source. The job's slot, its committee and the versions of
            its assets are then proven under it. Without one the newest final block counts as the node names it.
        advisories: hashes of statements about platforms, of which is read when they were anchored.

    Raises:
        JobNotFound: no such job up to that block.
        ProofRefused, NodeDistrusted: the node contradicts itself or the trusted hash.
        EndpointsDisagree, TooFewAgree: the endpoints show no block on which enough of them agree.
    """
    final = chain.final()
    block = chain.block_by_hash(at) if at is not None else final
    record = read_job(chain, job_id, block)
    if at is not None or chain.agreeing:
        view = _proven(chain, record, block)
        record = replace(record, slot=view.job(record.spec.request_hash))
    else:
        view = chain.at(block)
    quoted, spec = record.quoted, record.spec
    return ChainFacts(
        record=record,
        at=block,
        final=block.number <= final.number and chain.contains(block),
        committee_hash=view.committee_hash(spec.epoch),
        removed_members=view.removed_members(spec.epoch),
        quoted_at=chain.block(quoted.at.block_number).timestamp if quoted else spec.matched_at,
        slot_proven=at is not None,
        versions=tuple(view.asset(use.asset_id, use.version) for use in spec.assets),
        agreeing=chain.agreeing,
        anchors=view.advisory_anchors(advisories),
    )


def _proven(chain: Chain, record: JobRecord, block: Block) -> ProvableView:
    """Raises :class:`NodeDistrusted` where the one endpoint that was asked for the slot named another."""
    view = chain.proven(block)
    view.prepare([record.spec])
    found = view.job(record.spec.request_hash)
    if found != record.slot and not chain.agreeing:
        raise NodeDistrusted("job's slot", f"{found}, as a storage proof shows", record.slot)
    return view
