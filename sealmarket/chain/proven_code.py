"""Whether the code behind a proven account is a market's own: the state proves its hash, any endpoint shows it."""

from __future__ import annotations

from sealmarket.chain.bytecode import carried
from sealmarket.chain.comparison import CodeReader, compare_one, immutable_words, places_of
from sealmarket.chain.errors import NodeDistrusted
from sealmarket.chain.model import Block
from sealmarket.chain.proof import ProofRefused
from sealmarket_enclave.protocol.codec import Bytes32
from sealmarket_enclave.protocol.hashing import keccak


class ProvenCodes:
    """The contracts of one address book. Each code hash is looked at once."""

    def __init__(self, chain: CodeReader) -> None:
        self._chain = chain
        self._known: dict[str, tuple[Bytes32, bytes]] = {}

    def require(self, contract: str, code_hash: Bytes32, block: Block) -> None:
        """Return if this is the hash of the code that the library carries, with the address book's immutables.

        Raises:
            ProofRefused: the endpoint shows code of another hash.
            NodeDistrusted: the contract is another one.
        """
        known = self._known.get(contract)
        if known is not None and known[0] == code_hash:
            return
        code = self._chain.code(places_of(self._chain.book)[contract], block)
        if (found := keccak(code)) != code_hash:
            raise ProofRefused(f"the code of {contract}", code_hash, found)
        for finding in compare_one(self._chain.book, contract, code, carried()):
            if not finding.holds:
                raise NodeDistrusted(f"{contract}, {finding.what}", finding.expected, finding.found)
        self._known[contract] = (code_hash, code)

    def fixed(self, contract: str) -> frozenset[bytes]:
        """The words that the constructor wrote into a contract's code, once :meth:`require` has accepted it."""
        return immutable_words(carried().codes[contract], self._known[contract][1])
