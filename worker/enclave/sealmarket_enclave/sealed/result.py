"""A job's result, sealed to its result keys: a container, and the envelope that the enclave signs.

Rules (docs/spec/container.md, "Result"):

1. The container's key is fresh, its asset id is the job id, its version 0, its plaintext the framing of
   :mod:`sealmarket_enclave.sealed.outputs`, padded to the owners' bucket.
2. The key is sealed by HPKE to each result key, in their order, under a :class:`ResultInfo` that names chain, market,
   job, that result key and content root.
3. ``result hash = Keccak-256(canonical envelope)``. It commits to the content root, therefore to every byte
   of the ciphertext. HPKE names no sender: compare the hash with the settlement on chain before opening.
"""

from __future__ import annotations

import io
import secrets
from collections.abc import Mapping, Sequence
from typing import Annotated, Literal

from msgspec import UNSET, Meta, UnsetType

from sealmarket_enclave.protocol.codec import Address, Bytes32, HexBytes, Shape
from sealmarket_enclave.protocol.hashing import keccak
from sealmarket_enclave.protocol.job import MAX_RESULT_KEYS
from sealmarket_enclave.protocol.numbers import JobId
from sealmarket_enclave.sealed.container import KEY_BYTES, seal
from sealmarket_enclave.sealed.contexts import ResultInfo
from sealmarket_enclave.sealed.hpke import PublicKey
from sealmarket_enclave.sealed.outputs import encode_outputs

_FurtherKeys = Annotated[tuple[HexBytes, ...], Meta(min_length=1, max_length=MAX_RESULT_KEYS - 1)]


class ResultEnvelope(Shape, frozen=True, kw_only=True):
    """What travels beside a result's container: whose job, which content, and the sealed key.

    ``sealed_key`` is for the first result key; ``further_keys`` for the others, absent where there is one.
    """

    version: Literal["sealmarket/result-envelope/1"] = "sealmarket/result-envelope/1"
    job_id: JobId
    content_root: Bytes32
    sealed_key: HexBytes
    further_keys: _FurtherKeys | UnsetType = UNSET

    @property
    def sealed_keys(self) -> tuple[HexBytes, ...]:
        """The container's key, sealed to each result key."""
        return (self.sealed_key, *(() if self.further_keys is UNSET else self.further_keys))

    @property
    def hash(self) -> Bytes32:
        """The result hash that the enclave signs and the store is asked for (rule 3)."""
        return keccak(self.canonical())


def seal_result(
    outputs: Mapping[str, bytes],
    result_keys: Sequence[PublicKey],
    *,
    chain_id: int,
    market: Address,
    job_id: JobId,
    bucket: int,
) -> tuple[ResultEnvelope, bytes]:
    """Seal outputs to 1 to 8 keys, padded to a multiple of ``bucket`` bytes. Returns envelope and container.

    Raises:
        InvalidOutputs: a name that is not allowed, or too many.
    """
    key, sink = secrets.token_bytes(KEY_BYTES), io.BytesIO()
    source = io.BytesIO(encode_outputs(outputs))
    made = seal(source, sink, key, asset_id=job_id, asset_version=0, pad_to=bucket)
    first, *others = (
        HexBytes(public.seal(key, result_info(chain_id, market, job_id, made.content_root, public)))
        for public in result_keys
    )
    envelope = ResultEnvelope(
        job_id=job_id, content_root=made.content_root, sealed_key=first, further_keys=tuple(others) or UNSET
    )
    return envelope, sink.getvalue()


def result_info(chain_id: int, market: Address, job_id: JobId, root: Bytes32, key: PublicKey) -> ResultInfo:
    """The context that the key of a result's container is bound to (rule 2)."""
    return ResultInfo(chain_id=chain_id, market=market, job_id=job_id, content_root=root, result_key=key.digest)
