"""HPKE public keys of enclaves, consumers and auditors. The gate asks whether bytes are one, the release seals to it:
each is read once. Pure."""

from __future__ import annotations

from functools import lru_cache

from sealmarket_enclave.sealed.hpke import PublicKey


@lru_cache(maxsize=256)
def public_key(raw: bytes) -> PublicKey:
    """The key that bytes are. Raises :class:`InvalidHpkeKey`: they are none to which anything can be sealed."""
    return PublicKey(raw)
