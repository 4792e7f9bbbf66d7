"""Signers of nodes, for tests."""

from __future__ import annotations

from sealmarket_enclave.protocol.codec import Address, HexBytes
from sealmarket_enclave.protocol.eip712 import TypedShape
from sealmarket_oracle.keys import NodeSigner


class Counting:
    """A signer that counts what it signs."""

    def __init__(self, signer: NodeSigner) -> None:
        self._signer, self.address, self.count = signer, signer.address, 0

    def sign_statement(self, statement: TypedShape, chain_id: int, market: Address) -> HexBytes:
        self.count += 1
        return self._signer.sign_statement(statement, chain_id, market)

    def sign_text(self, message: bytes) -> HexBytes:
        self.count += 1
        return self._signer.sign_text(message)
