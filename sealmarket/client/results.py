"""A job's result and evidence, held against what the chain names, and opened with the consumer's result key."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing, suppress
from typing import NamedTuple

from sealmarket.chain import Chain
from sealmarket.client.explain import ended_otherwise
from sealmarket.client.jobs import JobRecord, read_job
from sealmarket.protocol.orders import EvidenceSeal
from sealmarket.protocol.signatures import require_signer
from sealmarket.protocol.wire import EvidencePackage
from sealmarket.sealing.evidence import About, read_evidence
from sealmarket.sealing.results import open_result
from sealmarket.service.errors import ItemNotFound, ServiceError
from sealmarket.store.blobs import STORE, Store
from sealmarket_enclave.protocol.codec import Bytes32, decode_canonical
from sealmarket_enclave.protocol.errors import MalformedDocument
from sealmarket_enclave.protocol.hashing import keccak
from sealmarket_enclave.protocol.job import evidence_hash
from sealmarket_enclave.protocol.numbers import JobId
from sealmarket_enclave.protocol.signing import SignatureRefused
from sealmarket_enclave.sealed.errors import ContainerError, SealedError
from sealmarket_enclave.sealed.hpke import PrivateKey
from sealmarket_enclave.sealed.result import ResultEnvelope


def fetch_result(
    chain: Chain, store: Store, job_id: JobId, result_key: PrivateKey, node_store: Callable[[str], Store] = Store
) -> dict[str, bytes]:
    """Fetch the result that the chain names and open it: output name to bytes.

    Where the store does not have it, the job's oracle nodes are asked: they keep what they found after a challenge.

    Raises:
        JobEndedOtherwise: there is no result.
        ItemNotFound: the ciphertext is not available; challenge it before the window closes.
        SealedError: another key, or not the bytes that the enclave signed.
    """
    record = read_job(chain, job_id)
    if record.settled is None:
        raise ended_otherwise(record)
    try:
        return _opened_from(chain, store, record, result_key)
    except (ServiceError, ContainerError) as error:
        for url in _nodes_of(chain, record):
            with closing(node_store(url)) as node, suppress(ServiceError, ContainerError):
                return _opened_from(chain, node, record, result_key)
        raise error


def _opened_from(chain: Chain, store: Store, record: JobRecord, result_key: PrivateKey) -> dict[str, bytes]:
    settled, book = record.settled, chain.book
    assert settled is not None
    envelope = decode_canonical(ResultEnvelope, store.document(settled.result_hash))
    container = store.container(envelope.content_root)
    return open_result(
        envelope, container, result_key, chain_id=book.chain_id, market=book.market, job_id=record.job_id
    )


def _nodes_of(chain: Chain, record: JobRecord) -> list[str]:
    committees = (found for found in chain.book.committees if found.epoch == record.spec.epoch)
    return [member.url for committee in committees for member in committee.members]


class OpenedEvidence(NamedTuple):
    """What a reader opened. ``content`` is the content hash of the sealed bytes, which nodes that opened them name."""

    package: EvidencePackage
    content: Bytes32


def fetch_evidence(chain: Chain, store: Store, job_id: JobId, key: PrivateKey) -> OpenedEvidence:
    """The evidence of the job's enclave, for one's own check: for each reader to whom its provider sealed it.

    The provider's signature counts, since the hash on chain covers the quote and not what is shown beside it: a store
    and one reader could make another package for the same hash.

    Raises:
        ItemNotFound: nothing was quoted, or the store has no evidence of the hash on chain that the job's provider
            signed and that opens with this key.
    """
    record, book = read_job(chain, job_id), chain.book
    quoted = record.evidence_hash
    raw = store.find_evidence(job_id, quoted) if quoted is not None else None
    if quoted is None or raw is None:
        raise ItemNotFound(STORE, "sealed evidence", str(job_id))
    about = About(
        chain_id=book.chain_id, market=book.market, job_id=job_id, evidence_hash=quoted, epoch=record.spec.epoch
    )
    try:
        sealed = read_evidence(raw)
        seal = EvidenceSeal(job_id=job_id, evidence_hash=quoted, sealed_hash=sealed.sealed_hash)
        require_signer(seal.digest(book.chain_id, book.market), sealed.signature, record.spec.provider, "the package")
        package = decode_canonical(EvidencePackage, sealed.opened(key, about))
    except (SealedError, MalformedDocument, SignatureRefused) as error:
        raise ItemNotFound(
            STORE, f"evidence of the provider that opens with this key ({error.message})", str(job_id)
        ) from error
    if not _is_of(package, record):
        raise ItemNotFound(STORE, "evidence of the hash on chain", str(job_id))
    return OpenedEvidence(package, sealed.content_hash)


def _is_of(package: EvidencePackage, record: JobRecord) -> bool:
    key_hash = keccak(package.enclave_key)
    found = evidence_hash(package.quote, package.enclave_signer, key_hash, package.block_hash)
    return found == record.evidence_hash
