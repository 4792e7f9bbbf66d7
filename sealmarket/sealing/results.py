"""Open a job's sealed result with one of its result keys (docs/spec/container.md, "Result")."""

from __future__ import annotations

import io

from sealmarket_enclave.protocol.codec import Address
from sealmarket_enclave.protocol.numbers import JobId
from sealmarket_enclave.sealed.container import ContainerReader
from sealmarket_enclave.sealed.contexts import ResultInfo
from sealmarket_enclave.sealed.errors import NotOpened
from sealmarket_enclave.sealed.hpke import PrivateKey
from sealmarket_enclave.sealed.outputs import decode_outputs
from sealmarket_enclave.sealed.result import ResultEnvelope, result_info


def open_result(
    envelope: ResultEnvelope,
    container: bytes,
    private: PrivateKey,
    *,
    chain_id: int,
    market: Address,
    job_id: JobId,
) -> dict[str, bytes]:
    """Open a sealed result whose envelope's hash is the one on chain.

    Raises:
        NotOpened: sealed to another key, or for another job or content.
        ContainerError: the container is altered, or another one.
        InvalidOutputs: the enclave wrote something that is no set of outputs.
    """
    if envelope.job_id != job_id:
        raise NotOpened(f"job {envelope.job_id}")
    info = result_info(chain_id, market, job_id, envelope.content_root, private.public)
    key = _opened(envelope, private, info)
    reader = ContainerReader(io.BytesIO(container), envelope.content_root)
    reader.require_asset(job_id, 0)
    reader.verify()
    return decode_outputs(b"".join(reader.open_chunks(key)))


def _opened(envelope: ResultEnvelope, private: PrivateKey, info: ResultInfo) -> bytes:
    *others, last = envelope.sealed_keys
    for sealed in others:
        try:
            return private.open(sealed, info)
        except NotOpened:
            continue  # it is sealed to another result key
    return private.open(last, info)
