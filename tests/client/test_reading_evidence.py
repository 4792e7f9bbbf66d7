"""Evidence out of a store, for a reader to whom it is sealed: that of the job's provider, and no other package."""

from __future__ import annotations

from types import SimpleNamespace
from typing import cast

import coincurve
import pytest
from msgspec.structs import replace

from sealmarket.chain import Chain
from sealmarket.client.results import fetch_evidence
from sealmarket.protocol.orders import EvidenceSeal
from sealmarket.protocol.wire import EvidencePackage
from sealmarket.sealing.evidence import About, EvidenceSealer, Sign, read_evidence
from sealmarket.service.errors import ItemNotFound
from sealmarket.store.blobs import Store
from sealmarket_enclave.protocol.codec import Address, Bytes32, HexBytes
from sealmarket_enclave.protocol.hashing import keccak
from sealmarket_enclave.protocol.job import evidence_hash
from sealmarket_enclave.protocol.numbers import JobId, Tee
from sealmarket_enclave.protocol.signing import address_of, sign
from sealmarket_enclave.sealed.hpke import PrivateKey

PROVIDER, STRANGER = coincurve.PrivateKey(b"\x21" * 32), coincurve.PrivateKey(b"\x22" * 32)
READER = PrivateKey.generate()
JOB, MARKET = JobId(Bytes32(b"\x01" * 32)), Address(b"\x02" * 20)
SHOWN = EvidencePackage(
    job_id=JOB,
    tee=Tee.TDX,
    quote=HexBytes(b"quote"),
    collateral="shown",
    enclave_signer=Address(b"\x03" * 20),
    enclave_key=HexBytes(b"key"),
    block_number=1,
    block_hash=Bytes32(b"\x04" * 32),
)
QUOTED = evidence_hash(SHOWN.quote, SHOWN.enclave_signer, keccak(SHOWN.enclave_key), SHOWN.block_hash)


@pytest.fixture
def chain(monkeypatch: pytest.MonkeyPatch) -> Chain:
    """A chain with one quoted job."""
    spec = SimpleNamespace(provider=address_of(PROVIDER.public_key), epoch=1)
    record = SimpleNamespace(spec=spec, evidence_hash=QUOTED)
    monkeypatch.setattr("sealmarket.client.results.read_job", lambda *_: record)
    return cast("Chain", SimpleNamespace(book=SimpleNamespace(chain_id=1, market=MARKET)))


def _store(package: EvidencePackage, sign_with: Sign | None) -> Store:
    """A store that has this package, whoever signed it."""
    about = About(chain_id=1, market=MARKET, job_id=JOB, evidence_hash=QUOTED, epoch=1)
    raw = EvidenceSealer(package.canonical(), about).wrapped([READER.public], sign_with).raw
    return cast("Store", SimpleNamespace(find_evidence=lambda *_: raw))


def _by(key: coincurve.PrivateKey, chain_id: int = 1) -> Sign:
    def signed(sealed_hash: Bytes32) -> HexBytes:
        seal = EvidenceSeal(job_id=JOB, evidence_hash=QUOTED, sealed_hash=sealed_hash)
        return HexBytes(sign(seal.digest(chain_id, MARKET), key))

    return signed


def test_a_reader_opens_what_the_provider_signed(chain: Chain) -> None:
    store = _store(SHOWN, _by(PROVIDER))
    sealed = read_evidence(store.find_evidence(JOB, QUOTED) or b"")
    assert fetch_evidence(chain, store, JOB, READER) == (SHOWN, sealed.content_hash)


@pytest.mark.parametrize("by", [None, _by(STRANGER), _by(PROVIDER, chain_id=2)], ids=["none", "stranger", "elsewhere"])
def test_a_store_shows_no_reader_another_package_of_the_same_hash(by: Sign | None, chain: Chain) -> None:
    other = replace(SHOWN, collateral="old")
    with pytest.raises(ItemNotFound, match="evidence of the provider"):
        fetch_evidence(chain, _store(other, by), JOB, READER)
