"""Who signed: an account's key, or its contract (ERC-1271), which costs a call of the chain and so is rationed.

Nothing counts as signed before this check, so a stranger cannot use up the quota of an account.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from sealmarket.protocol.book import AddressBook
from sealmarket.serving.rates import UNKNOWN_PEER, Rates
from sealmarket_backend.errors import SignatureWrong, TooMany
from sealmarket_enclave.protocol.codec import Address, Bytes32
from sealmarket_enclave.protocol.eip712 import TypedShape, domain_separator
from sealmarket_enclave.protocol.hashing import keccak
from sealmarket_enclave.protocol.signing import SignatureRefused, recover

CHECKS_PER_SECOND, CHECK_BURST = 1.0, 30
"""How many contracts one peer may have asked."""
CHECKS_AT_ONCE = 4
"""By all peers: a slow chain must not hold every thread of the server."""

ContractCheck = Callable[[Address, Bytes32, bytes], bool]


class Signatures:
    """Checks signatures of one market. ``contract_accepts`` asks a contract, and may raise ChainError."""

    def __init__(self, addresses: AddressBook, contract_accepts: ContractCheck, rates: Rates | None = None) -> None:
        self._addresses = addresses
        self._contract_accepts = contract_accepts
        self._rates = rates or Rates(CHECKS_PER_SECOND, CHECK_BURST)
        self._places = threading.BoundedSemaphore(CHECKS_AT_ONCE)

    def require(
        self,
        statement: TypedShape,
        signature: bytes,
        signer: Address,
        peer: str = UNKNOWN_PEER,
        struct_hash: Bytes32 | None = None,
    ) -> bool:
        """Refuse what ``signer`` did not sign; returns whether a contract answered for it. ``struct_hash``: the
        statement's, where it is known.

        Raises:
            SignatureWrong: neither that account's key nor its contract.
            TooMany: this peer, or all together, have had too many contracts asked.
            ChainError: the chain cannot be read.
        """
        digest = self._digest(struct_hash or statement.struct_hash())
        return self.require_digest(digest, signature, signer, peer)

    def require_digest(self, digest: Bytes32, signature: bytes, signer: Address, peer: str = UNKNOWN_PEER) -> bool:
        """As :meth:`require`, of what is hashed already."""
        found = _recovered(digest, signature)
        if found == signer:
            return False
        with self._place(peer):
            if self._contract_accepts(signer, digest, signature):
                return True
        signed_by = found.checksum if found else "no key"
        raise SignatureWrong(
            f"expected a signature by {signer.checksum}, found one by {signed_by}",
            remedy=f"sign for chain {self._addresses.chain_id} and market {self._addresses.market.checksum}",
            expected=signer.checksum,
            found=signed_by,
        )

    def require_key(self, statement: TypedShape, signature: bytes, signer: Address, why: str) -> None:
        """Refuse what the key of ``signer`` did not sign; no contract is asked. ``why`` its answer would not do.

        Raises:
            SignatureWrong: another key, or none.
        """
        found = _recovered(self._digest(statement.struct_hash()), signature)
        if found != signer:
            signed_by = found.checksum if found else "no key"
            raise SignatureWrong(
                f"expected a signature by the key of {signer.checksum}, found one by {signed_by}",
                remedy=f"sign by key for chain {self._addresses.chain_id} and market"
                f" {self._addresses.market.checksum}; {why}",
                expected=signer.checksum,
                found=signed_by,
            )

    def _digest(self, struct_hash: Bytes32) -> Bytes32:
        domain = domain_separator(self._addresses.chain_id, self._addresses.market)
        return keccak(b"\x19\x01" + domain + struct_hash)

    @contextmanager
    def _place(self, peer: str) -> Iterator[None]:
        if wait := self._rates.wait_for(peer):
            raise TooMany(f"{peer} had too many signatures checked by contracts", wait)
        if not self._places.acquire(blocking=False):
            raise TooMany("too many signatures are being checked by contracts", 1)
        try:
            yield
        finally:
            self._places.release()


def _recovered(digest: Bytes32, signature: bytes) -> Address | None:
    try:
        return recover(digest, signature)
    except SignatureRefused:
        return None
