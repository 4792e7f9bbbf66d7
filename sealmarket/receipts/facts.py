"""Reading from the chain what :mod:`sealmarket.receipts.verify` needs, at one block."""

from __future__ import annotations

from sealmarket.chain import Block, Chain, NodeDistrusted
from sealmarket.chain.proof import mapping_slot, proven_slot
from sealmarket.client.jobs import JobRecord, read_job
from sealmarket.receipts.verify import ChainFacts
from sealmarket_enclave.protocol.codec import Bytes32
from sealmarket_enclave.protocol.numbers import JobId

SLOTS_PLACE = 0
"""Where the market keeps its jobs: the first variable in its storage (docs/spec/contracts.md)."""
_STATUS_BITS, _DEADLINE_BITS = 8, 40


def chain_facts(chain: Chain, job_id: JobId, *, at: Bytes32 | None = None) -> ChainFacts:
    """What the chain says of a job.

    Args:
        at: a block hash that the reader trusts, from elsewhere. The job's slot is then proven under it; without one
            the newest final block is taken at the node's word.

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
        quoted_at=chain.block(quoted.at.block_number).timestamp if quoted else record.spec.matched_at,
        slot_proven=at is not None,
    )


def _prove(chain: Chain, record: JobRecord, block: Block) -> None:
    slot = mapping_slot(record.spec.request_hash, SLOTS_PLACE)
    value = proven_slot(chain.rpc, block.hash, chain.book.market, slot)
    told = record.slot
    packed = int(told.status) | told.deadline << _STATUS_BITS
    packed |= int.from_bytes(told.commitment) << (_STATUS_BITS + _DEADLINE_BITS)
    if value != packed:
        raise NodeDistrusted("job's slot", hex(value), hex(packed))
