"""Evidence for the oracle nodes and the consumer: sealed once to all, since it identifies hardware. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from sealmarket.protocol.book import AddressBook, Committee
from sealmarket.protocol.wire import BoundDevices, EvidencePackage
from sealmarket.sealing.evidence import About, EvidenceSealer
from sealmarket_enclave.protocol.codec import Address, Bytes32, HexBytes
from sealmarket_enclave.protocol.numbers import JobId, Tee
from sealmarket_enclave.protocol.policy import PolicyDocument
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


def sealer_of(content: EvidencePackage, evidence_hash: Bytes32, book: AddressBook, epoch: int) -> EvidenceSealer:
    """The package under one content key, which is wrapped for each reader. Raises :class:`PackageTooLong`."""
    about = About(
        chain_id=book.chain_id, market=book.market, job_id=content.job_id, evidence_hash=evidence_hash, epoch=epoch
    )
    return EvidenceSealer(content.canonical(), about)


def readers_of(
    committee: Committee, result_keys: Iterable[bytes], policies: Iterable[PolicyDocument | None] = ()
) -> list[PublicKey]:
    """Who reads a job's evidence: each member of the committee, and each result key and auditor's key that is one."""
    members = [PublicKey(member.hpke_public_key) for member in committee.members]
    auditors = (raw for policy in policies if policy is not None for raw in policy.evidence_readers)
    return [*members, *(key for raw in (*result_keys, *auditors) if (key := _key(raw)) is not None)]


def _key(raw: bytes) -> PublicKey | None:
    try:
        return PublicKey(raw)
    except InvalidHpkeKey:
        return None
