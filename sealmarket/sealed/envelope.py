"""A job's result as it travels: a sealed container by its content root, and one small document that opens it.

The container is padded to the owners' bucket, its asset id is the job id, its version 0, its plaintext the
framing of :mod:`sealmarket.sealed.outputs`. Its key is fresh; HPKE seals it to the consumer's result key
under a :class:`ResultInfo` that names chain, market, job, content root and result key. ``resultHash`` on
chain is Keccak-256 of the canonical :class:`ResultEnvelope`, so it commits to the container as well.
"""

from __future__ import annotations

import io
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from sealmarket.protocol.codec import Address, Bytes32, HexBytes, Shape, decode_canonical
from sealmarket.protocol.hashing import keccak
from sealmarket.sealed.container import KEY_BYTES, ContainerReader, seal
from sealmarket.sealed.contexts import ResultInfo
from sealmarket.sealed.errors import WrongAsset
from sealmarket.sealed.hpke import PrivateKey, PublicKey
from sealmarket.sealed.outputs import decode_outputs, encode_outputs


class ResultEnvelope(Shape, frozen=True, kw_only=True):
    """What opens a result's container: the container's key, sealed to the consumer's result key."""

    version: Literal["sealmarket/result/1"] = "sealmarket/result/1"
    job_id: Bytes32
    content_root: Bytes32
    sealed_key: HexBytes

    @property
    def hash(self) -> Bytes32:
        """``resultHash``: Keccak-256 of the canonical document, which is also its name in a store."""
        return keccak(self.canonical())


@dataclass(frozen=True, slots=True)
class SealedOutputs:
    """A sealed result: its envelope, and the container's bytes. Nothing here is secret."""

    envelope: ResultEnvelope
    container: bytes


def seal_outputs(
    outputs: Mapping[str, bytes], result_key: PublicKey, *, chain_id: int, market: Address, job_id: Bytes32, bucket: int
) -> SealedOutputs:
    """Seal outputs to the consumer, padded to a multiple of ``bucket`` bytes.

    Raises:
        InvalidOutputs: a name that is not allowed, or too many.
    """
    key, sink = secrets.token_bytes(KEY_BYTES), io.BytesIO()
    source = io.BytesIO(encode_outputs(outputs))
    made = seal(source, sink, key, asset_id=job_id, asset_version=0, pad_to=bucket)
    info = _info(chain_id, market, job_id, made.content_root, result_key)
    sealed_key = HexBytes(result_key.seal(key, info))
    envelope = ResultEnvelope(job_id=job_id, content_root=made.content_root, sealed_key=sealed_key)
    return SealedOutputs(envelope, sink.getvalue())


def open_outputs(
    envelope: bytes, container: bytes, private: PrivateKey, *, chain_id: int, market: Address, job_id: Bytes32
) -> dict[str, bytes]:
    """Open a sealed result. Hold Keccak-256 of ``envelope`` against the chain first: HPKE names no sender.

    Raises:
        MalformedDocument: the envelope is not one.
        WrongAsset: it is another job's.
        NotOpened: sealed to another key, or for another job or content.
        ContainerError: the container is not the one that the envelope names.
        InvalidOutputs: the enclave wrote something that is no set of outputs.
    """
    document = decode_canonical(ResultEnvelope, envelope)
    if document.job_id != job_id:
        raise WrongAsset(document.job_id, 0, job_id, 0)
    info = _info(chain_id, market, job_id, document.content_root, private.public)
    key = private.open(document.sealed_key, info)
    reader = ContainerReader(io.BytesIO(container), document.content_root)
    reader.require_asset(job_id, 0)
    return decode_outputs(reader.read_all(key, limit=len(container)))


def _info(chain_id: int, market: Address, job_id: Bytes32, root: Bytes32, result_key: PublicKey) -> ResultInfo:
    return ResultInfo(chain_id=chain_id, market=market, job_id=job_id, content_root=root, result_key=result_key.digest)
