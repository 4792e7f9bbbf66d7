"""Refuse a signature by another account than the expected one."""

from __future__ import annotations

from sealmarket_enclave.protocol.codec import Address, Bytes32
from sealmarket_enclave.protocol.signing import SignatureRefused, recover


def require_signer(digest: Bytes32, signature: bytes, expected: Address, what: str) -> None:
    """Refuse a signature that is not ``expected``'s.

    Raises:
        SignatureRefused: as :func:`recover`, or by another account.
    """
    found = recover(digest, signature)
    if found != expected:
        raise SignatureRefused(
            f"{what} must be signed by {expected.checksum}, found {found.checksum}",
            remedy="sign with that account, on this chain and market",
        )
