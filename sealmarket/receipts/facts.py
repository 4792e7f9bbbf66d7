"""Reads from the chain, at one block, what :mod:`sealmarket.receipts.steps` compares a bundle with."""

from __future__ import annotations

from sealmarket.chain import Block, Chain, NodeDistrusted
from sealmarket.chain.proof import mapping_slot, proven_slot
from sealmarket.client.jobs import JobRecord, read_job
from sealmarket.receipts.model import ChainFacts
from sealmarket_enclave.protocol.codec import Bytes32
from sealmarket_enclave.protocol.numbers import JobId

SLOTS_INDEX = 0
"""The storage slot of the market's mapping of jobs: its first variable (docs/spec/contracts.md)."""
_STATUS_BITS, _DEADLINE_BITS = 8, 40


def chain_facts(chain: Chain, job_id: JobId, *, at: Bytes32 | None = None) -> ChainFacts:
    """The chain's record of a job at one block.

    Args:
        at: a block hash that the reader trusts from another source. The job's slot is then proven under it. Without
            one the newest final block counts as the node names it.

    Raises:
        JobNotFound: no such job up to that block.
        ProofRefused, NodeDistrusted: the node contradicts itself or the trusted hash.
    """
    final = chain.final()
    block = chain.block_by_hash(at) if at is not None else final
    record = read_job(chain, job_id, block)
    if at is not None:
        _prove(chain, record, block)
    quoted = record.quoted
    return ChainFacts(
        record=record,
        at=block,
        final=block.number <= final.number and chain.contains(block),
        committee_hash=chain.at(block).committee_hash(record.spec.epoch),
        removed_members=chain.at(block).removed_members(record.spec.epoch),
        quoted_at=chain.block(quoted.at.block_number).timestamp if quoted else record.spec.matched_at,
        slot_proven=at is not None,
    )


def _prove(chain: Chain, record: JobRecord, block: Block) -> None:
    slot = mapping_slot(record.spec.request_hash, SLOTS_INDEX)
    value = proven_slot(chain.rpc, block.hash, chain.book.market, slot)
    claimed = record.slot
    packed = int(claimed.status) | claimed.deadline << _STATUS_BITS
    packed |= int.from_bytes(claimed.commitment) << (_STATUS_BITS + _DEADLINE_BITS)
    if value != packed:
        raise NodeDistrusted("job's slot", hex(value), hex(packed))
