"""A job's result, sealed to the consumer's result key: what the enclave signs the hash of.

Bytes (docs/spec/container.md, "Result"): ``"SEALRES\\0" || u16(1) || content root (32) || u32(k) || sealed
key (k)
|| container``. The container's key is fresh, sealed by HPKE under a :class:`ResultInfo` that names job,
result key and content root. The container is padded to the owners' bucket, its asset id is the job id, its
version 0, its plaintext the framing of :mod:`sealmarket.sealed.outputs`.
"""

from __future__ import annotations

import io
import secrets
from collections.abc import Mapping

from sealmarket.protocol.codec import Address, Bytes32
from sealmarket.protocol.hashing import keccak
from sealmarket.sealed.container import KEY_BYTES, ContainerReader, seal
from sealmarket.sealed.contexts import ResultInfo
from sealmarket.sealed.errors import InvalidHeader, NotAContainer, Truncated, UnsupportedVersion
from sealmarket.sealed.hpke import OVERHEAD_BYTES, PrivateKey, PublicKey
from sealmarket.sealed.outputs import decode_outputs, encode_outputs

MAGIC = b"SEALRES\x00"
VERSION = 1
_SEALED_KEY_BYTES = KEY_BYTES + OVERHEAD_BYTES
_FRONT_BYTES = len(MAGIC) + 2 + 32 + 4 + _SEALED_KEY_BYTES


def result_hash(sealed: bytes) -> Bytes32:
    """Keccak-256 of the sealed result: what the enclave signs and the store is asked for."""
    return keccak(sealed)


def seal_result(
    outputs: Mapping[str, bytes], result_key: PublicKey, *, chain_id: int, market: Address, job_id: Bytes32, bucket: int
) -> bytes:
    """Seal outputs for the consumer, padded to a multiple of ``bucket`` bytes.

    Raises:
        InvalidOutputs: a name that is not allowed, or too many.
    """
    key, sink = secrets.token_bytes(KEY_BYTES), io.BytesIO()
    source = io.BytesIO(encode_outputs(outputs))
    made = seal(source, sink, key, asset_id=job_id, asset_version=0, pad_to=bucket)
    info = ResultInfo(
        chain_id=chain_id,
        market=market,
        job_id=job_id,
        content_root=made.content_root,
        result_key=result_key.digest,
    )
    sealed_key = result_key.seal(key, info)
    front = MAGIC + VERSION.to_bytes(2, "big") + made.content_root + len(sealed_key).to_bytes(4, "big")
    return front + sealed_key + sink.getvalue()


def open_result(
    sealed: bytes, private: PrivateKey, *, chain_id: int, market: Address, job_id: Bytes32
) -> dict[str, bytes]:
    """Open a sealed result. Compare :func:`result_hash` with the chain first: HPKE names no sender.

    Raises:
        NotAContainer, UnsupportedVersion, Truncated, InvalidHeader: not a sealed result.
        NotOpened: sealed to another key, or for another job or content.
        WrongAsset, ChunkAltered, RootMismatch, TrailingBytes: the container is altered or another job's.
        InvalidOutputs: the enclave wrote something that is no set of outputs.
    """
    if sealed[: len(MAGIC)] != MAGIC:
        raise NotAContainer(bytes(sealed[: len(MAGIC)]), MAGIC)
    if len(sealed) < _FRONT_BYTES:
        raise Truncated("the result's front", len(sealed), _FRONT_BYTES)
    if (version := int.from_bytes(sealed[8:10], "big")) != VERSION:
        raise UnsupportedVersion(version, VERSION)
    if (size := int.from_bytes(sealed[42:46], "big")) != _SEALED_KEY_BYTES:
        raise InvalidHeader("sealed key length", size, _SEALED_KEY_BYTES)
    root = Bytes32(bytes(sealed[10:42]))
    info = ResultInfo(
        chain_id=chain_id, market=market, job_id=job_id, content_root=root, result_key=private.public.digest
    )
    key = private.open(bytes(sealed[46:_FRONT_BYTES]), info)
    reader = ContainerReader(io.BytesIO(sealed[_FRONT_BYTES:]), root)
    reader.require_asset(job_id, 0)
    return decode_outputs(reader.read_all(key, limit=len(sealed)))
