"""A job's result, sealed to the consumer's result key: a container, and the envelope that the enclave signs.

Rules (docs/spec/container.md, "Result"):

1. The container's key is fresh, its asset id is the job id, its version 0, its plaintext the framing of
   :mod:`sealmarket_enclave.sealed.outputs`, padded to the owners' bucket.
2. The key is sealed by HPKE under a :class:`ResultInfo` that names chain, market, job, result key and content
   root.
3. ``result hash = Keccak-256(canonical envelope)``. It commits to the content root, therefore to every byte
   of the ciphertext. HPKE names no sender: compare the hash with the settlement on chain before opening.
"""

from __future__ import annotations

import io
import secrets
from collections.abc import Mapping
from typing import Literal

from sealmarket_enclave.protocol.codec import Address, Bytes32, HexBytes, Shape
from sealmarket_enclave.protocol.hashing import keccak
from sealmarket_enclave.protocol.numbers import JobId
from sealmarket_enclave.sealed.container import KEY_BYTES, seal
from sealmarket_enclave.sealed.contexts import ResultInfo
from sealmarket_enclave.sealed.hpke import PublicKey
from sealmarket_enclave.sealed.outputs import encode_outputs


class ResultEnvelope(Shape, frozen=True, kw_only=True):
    """What travels beside a result's container: whose job, which content, and the sealed key."""

    version: Literal["sealmarket/result-envelope/1"] = "sealmarket/result-envelope/1"
    job_id: JobId
    content_root: Bytes32
    sealed_key: HexBytes

    @property
    def hash(self) -> Bytes32:
        """The result hash that the enclave signs and the store is asked for (rule 3)."""
        return keccak(self.canonical())


def seal_result(
    outputs: Mapping[str, bytes],
    result_key: PublicKey,
    *,
    chain_id: int,
    market: Address,
    job_id: JobId,
    bucket: int,
) -> tuple[ResultEnvelope, bytes]:
    """Seal outputs for the consumer, padded to a multiple of ``bucket`` bytes. Returns envelope and
    container.

    Raises:
        InvalidOutputs: a name that is not allowed, or too many.
    """
    key, sink = secrets.token_bytes(KEY_BYTES), io.BytesIO()
    source = io.BytesIO(encode_outputs(outputs))
    made = seal(source, sink, key, asset_id=job_id, asset_version=0, pad_to=bucket)
    info = result_info(chain_id, market, job_id, made.content_root, result_key)
    sealed_key = HexBytes(result_key.seal(key, info))
    return ResultEnvelope(job_id=job_id, content_root=made.content_root, sealed_key=sealed_key), sink.getvalue()


def result_info(chain_id: int, market: Address, job_id: JobId, root: Bytes32, key: PublicKey) -> ResultInfo:
    """The context that the key of a result's container is bound to (rule 2)."""
    return ResultInfo(chain_id=chain_id, market=market, job_id=job_id, content_root=root, result_key=key.digest)
