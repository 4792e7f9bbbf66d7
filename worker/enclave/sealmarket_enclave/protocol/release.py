"""An enclave's word against an oracle node that released a share which is not the one it was dealt.

A complaint names the node's signed release, so a node that the enclave wrongs can show what it sent. Nobody is slashed
by it: what HPKE hid cannot be shown to a contract. It leaves the node out of the job, and is counted.
"""

from __future__ import annotations

from typing import ClassVar

from sealmarket_enclave.protocol.codec import Address, Bytes32, HexBytes, Shape
from sealmarket_enclave.protocol.eip712 import TypedShape
from sealmarket_enclave.protocol.numbers import AssetId, JobId, U8


class Complaint(TypedShape, frozen=True, kw_only=True):
    """One share of one node did not open, or did not match its commitment. ``index`` is the share's, from 1."""

    EIP712: ClassVar[str] = (
        "Complaint(bytes32 jobId,bytes32 evidenceHash,bytes32 assetId,address node,uint8 index,bytes32 sentHash)"
    )

    job_id: JobId
    evidence_hash: Bytes32
    asset_id: AssetId
    node: Address
    index: U8
    sent_hash: Bytes32


class SignedComplaint(Shape, frozen=True, kw_only=True):
    """A complaint with the attested key's signature."""

    complaint: Complaint
    signature: HexBytes
