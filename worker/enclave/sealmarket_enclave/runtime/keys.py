"""The enclave's two keys: made inside, for one job, and gone with the process."""

from __future__ import annotations

import coincurve

from sealmarket_enclave.protocol.codec import Address, Bytes32, HexBytes
from sealmarket_enclave.protocol.job import enclave_key_hash
from sealmarket_enclave.protocol.signing import address_of, sign
from sealmarket_enclave.sealed.hpke import PrivateKey


class EnclaveKeys:
    """A secp256k1 key that signs what the enclave says, and an HPKE key to which shares are released."""

    __slots__ = ("_signing", "hpke", "signer")

    def __init__(self) -> None:
        self._signing = coincurve.PrivateKey()
        self.signer: Address = address_of(self._signing.public_key)
        self.hpke = PrivateKey.generate()

    @property
    def key_hash(self) -> Bytes32:
        """How decisions and contracts name the HPKE key: Keccak-256 of its wire form."""
        return enclave_key_hash(self.hpke.public.raw)

    def sign(self, digest: Bytes32) -> HexBytes:
        """65 bytes r, s, v over a digest."""
        return sign(digest, self._signing)

    def __repr__(self) -> str:
        return f"EnclaveKeys(signer={self.signer})"
