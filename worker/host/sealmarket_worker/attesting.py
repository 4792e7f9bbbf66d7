"""Evidence of this host's own device: an enclave quotes over a job that no party asked for, and ends.

The job names no market, no owner and no money, and lacks everything that it names. An enclave quotes such a job, since
a provider with a working enclave can always quote (docs/spec/enclave.md, "Unrunnable jobs"), and never runs it.
"""

from __future__ import annotations

import time

from sealmarket.chain import Block
from sealmarket.client.platform_evidence import PlatformEvidence
from sealmarket.protocol.book import AddressBook
from sealmarket_enclave.protocol.codec import (
    ZERO_ADDRESS,
    Address,
    Bytes32,
    Bytes64,
    HexBytes,
    MicroEpsilon,
    Uint64,
    Wei,
)
from sealmarket_enclave.protocol.hashing import keccak
from sealmarket_enclave.protocol.job import AssetUse, JobSpec, enclave_key_hash, report_data
from sealmarket_enclave.protocol.numbers import AssetId, Grade, JobId, Kind, Tee
from sealmarket_enclave.protocol.terms import Seal
from sealmarket_worker.drivers.interface import Driver
from sealmarket_worker.materials import nothing

_NAME = Bytes32(keccak(b"sealmarket/platform-evidence/1"))
_NOTHING = Wei(0)


def attest(driver: Driver, book: AddressBook) -> PlatformEvidence:
    """Launch an enclave, take its evidence, and end it.

    Raises:
        DriverError: the device cannot be used.
        EnclaveRefused, EnclaveLost: the enclave gives no evidence; the message is its own.
    """
    spec, seal = _job(driver.tee)
    block = Block(number=0, hash=_NAME, timestamp=0, parent=_NAME)  # type: ignore[arg-type] # no block of any chain
    with driver.launch() as session:
        found = session.load(nothing(spec, (seal,)).load(book, block))
        collateral = driver.endorsements()
    job_id, block_hash = JobId(Bytes32(found.job_id)), Bytes32(found.block_hash)
    data = report_data(job_id, Address(found.signer), enclave_key_hash(found.enclave_key), block_hash)
    return PlatformEvidence(
        tee=driver.tee,
        evidence=HexBytes(found.quote),
        report_data=Bytes64(data),
        collateral=collateral,
        collected_at=int(time.time()),
    )


def _job(tee: Tee) -> tuple[JobSpec, Seal]:
    """A job over one asset, which no chain has."""
    seal = Seal(content_root=_NAME, content_version=1, share_root=_NAME, policy_hash=_NAME, epoch=1)
    use = AssetUse(
        asset_id=AssetId(_NAME),
        owner=ZERO_ADDRESS,
        version=1,
        terms_version=1,
        seal_hash=seal.hash(),
        price=_NOTHING,
        epsilon=MicroEpsilon(0),
    )
    spec = JobSpec(
        request_hash=_NAME,
        kind=Kind.BATCH,
        extension_hash=_NAME,
        consumer=ZERO_ADDRESS,
        payer=ZERO_ADDRESS,
        provider=ZERO_ADDRESS,
        token=ZERO_ADDRESS,
        workload_digest=_NAME,
        parameters_digest=_NAME,
        result_keys_hash=_NAME,
        capability_hash=_NAME,
        purpose=0,
        tee=tee,
        min_grade=Grade.SIMULATED,
        epoch=1,
        compute_price=_NOTHING,
        unit_price=_NOTHING,
        max_units=1,
        penalty=_NOTHING,
        hold_fee=_NOTHING,
        timeout_fee=_NOTHING,
        timeout_limit=_NOTHING,
        run_seconds=1,
        read_seconds=1,
        validate_seconds=1,
        decoded_bytes=Uint64(0),
        matched_at=0,
        quote_window=1,
        decide_window=1,
        settle_window=1,
        challenge_window=1,
        assets=(use,),
    )
    return spec, seal
