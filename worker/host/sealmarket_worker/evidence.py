"""Evidence for the oracle nodes and the consumer: sealed to each, since it identifies hardware. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from sealmarket.protocol.book import AddressBook, Committee
from sealmarket.protocol.wire import BoundDevices, EvidenceEnvelope, EvidencePackage
from sealmarket.sealing.contexts import EvidenceInfo
from sealmarket_enclave.protocol.codec import Address, Bytes32, HexBytes
from sealmarket_enclave.protocol.numbers import JobId, Tee
from sealmarket_enclave.runtime.channel import Evidence
from sealmarket_enclave.sealed.errors import InvalidHpkeKey
from sealmarket_enclave.sealed.hpke import PublicKey


def package(
    evidence: Evidence,
    tee: Tee,
    collateral: str,
    missing: Iterable[Bytes32] = (),
    manifest: bytes = b"",
    capability: bytes = b"",
    devices: BoundDevices | None = None,
    session_terms: bytes = b"",
) -> EvidencePackage:
    """What the nodes appraise. ``missing`` names what the enclave was not given, or the host cannot serve.

    ``manifest`` is what the workload's digest hashes, ``capability`` the document that the provider's order names,
    ``devices`` the GPUs that the enclave's TEE commits to, ``session_terms`` the terms of a service.
    """
    return EvidencePackage(
        job_id=JobId(Bytes32(evidence.job_id)),
        tee=tee,
        quote=HexBytes(evidence.quote),
        collateral=collateral,
        enclave_signer=Address(evidence.signer),
        enclave_key=HexBytes(evidence.enclave_key),
        block_number=evidence.block_number,
        block_hash=Bytes32(evidence.block_hash),
        missing=tuple(sorted(missing)),
        manifest=HexBytes(manifest),
        capability=HexBytes(capability),
        devices=devices,
        session_terms=HexBytes(session_terms),
    )


def sealed_envelope(
    content: EvidencePackage,
    evidence_hash: Bytes32,
    book: AddressBook,
    committee: Committee,
    result_key: bytes | None,
    signature: HexBytes,
) -> EvidenceEnvelope:
    """The package for every member, in order, and for the first result key if that is available and is one.

    ``signature`` is the provider's over the EIP-712 ``Quote``.
    """
    raw = content.canonical()

    def sealed_to(public: bytes) -> HexBytes:
        key = PublicKey(public)
        info = EvidenceInfo(
            chain_id=book.chain_id,
            market=book.market,
            job_id=content.job_id,
            epoch=committee.epoch,
            hpke_key=key.digest,
        )
        return HexBytes(key.seal(raw, info))

    return EvidenceEnvelope(
        job_id=content.job_id,
        evidence_hash=evidence_hash,
        epoch=committee.epoch,
        sealed=tuple(sealed_to(member.hpke_public_key) for member in committee.members),
        consumer=sealed_to(result_key) if result_key is not None and _is_key(result_key) else HexBytes(),
        signature=signature,
    )


def _is_key(raw: bytes) -> bool:
    try:
        PublicKey(raw)
    except InvalidHpkeKey:
        return False
    return True
