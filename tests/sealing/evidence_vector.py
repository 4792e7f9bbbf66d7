"""The vector of a sealed evidence package; sealing draws random bytes, so the file is checked by opening it.

python -m tests.sealing.evidence_vector        write docs/spec/vectors/evidence.json
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import coincurve

from sealmarket.protocol.orders import EvidenceSeal
from sealmarket.sealing.evidence import About, EvidenceSealer
from sealmarket_enclave.protocol.codec import Address, Bytes32, HexBytes
from sealmarket_enclave.protocol.hashing import keccak
from sealmarket_enclave.protocol.numbers import JobId
from sealmarket_enclave.protocol.signing import address_of, sign
from sealmarket_enclave.sealed.hpke import PRIVATE_KEY_BYTES, PrivateKey

FILE = Path(__file__).resolve().parents[2] / "docs/spec/vectors/evidence.json"
ABOUT = About(
    chain_id=31337,
    market=Address.parse("0x5ea100000000000000000000000000000000a4e7"),
    job_id=JobId(keccak(b"job")),
    evidence_hash=keccak(b"evidence"),
    epoch=1,
)
PLAINTEXT = "an evidence package, in its canonical spelling"


def vector() -> dict[str, Any]:
    """A package for three readers, under a provider's signature."""
    provider, keys = coincurve.PrivateKey(b"\x01" * 32), [PrivateKey(bytes([n]) * PRIVATE_KEY_BYTES) for n in (2, 3, 4)]

    def seal(sealed_hash: Bytes32) -> EvidenceSeal:
        return EvidenceSeal(job_id=ABOUT.job_id, evidence_hash=ABOUT.evidence_hash, sealed_hash=sealed_hash)

    def signed(sealed_hash: Bytes32) -> HexBytes:
        return sign(seal(sealed_hash).digest(ABOUT.chain_id, ABOUT.market), provider)

    made = EvidenceSealer(PLAINTEXT.encode(), ABOUT).wrapped([key.public for key in keys], signed)
    return {
        "chainId": ABOUT.chain_id,
        "market": str(ABOUT.market),
        "jobId": str(ABOUT.job_id),
        "evidenceHash": str(ABOUT.evidence_hash),
        "epoch": ABOUT.epoch,
        "plaintext": PLAINTEXT,
        "commitment": str(made.commitment),
        "contentHash": str(made.content_hash),
        "sealedHash": str(made.sealed_hash),
        "digest": str(seal(made.sealed_hash).digest(ABOUT.chain_id, ABOUT.market)),
        "provider": str(address_of(provider.public_key)),
        "readers": [{"name": str(key.public.digest), "privateKey": str(HexBytes(key.secret_bytes()))} for key in keys],
        "sealed": str(HexBytes(made.raw)),
    }


if __name__ == "__main__":
    FILE.write_text(json.dumps(vector(), indent=1) + "\n")
