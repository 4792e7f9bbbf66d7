"""Whether a contract accepts a signature in its own name (ERC-1271), by the rule of ``Signatures.sol``.

The market tries ECDSA first, and so do callers of this module: an account with a key and code (EIP-7702) is asked for
its contract's answer only where the signature is not its key's.
"""

from __future__ import annotations

from eth_abi.abi import encode

from sealmarket.chain.chain import Chain
from sealmarket.chain.errors import Reverted
from sealmarket_enclave.protocol.codec import Address, Bytes32

SELECTOR = bytes.fromhex("1626ba7e")
"""``isValidSignature(bytes32,bytes)``, and what it returns for a signature that holds."""
GAS = 400_000
"""As much as the market gives such a contract."""
MOST_SIGNATURE_BYTES = 16 << 10
_INTRINSIC_GAS, _GAS_PER_BYTE = 21_000, 40


def contract_accepts(chain: Chain, signer: Address, digest: Bytes32, signature: bytes) -> bool:
    """Ask the signer's contract at the newest block; false where there is none, or where it refuses.

    Raises:
        ChainError: the chain cannot be read, so it is not known.
    """
    block = chain.head()
    if len(signature) > MOST_SIGNATURE_BYTES or not chain.code(signer, block):
        return False
    payload = SELECTOR + encode(["bytes32", "bytes"], [bytes(digest), bytes(signature)])
    gas = GAS + _INTRINSIC_GAS + _GAS_PER_BYTE * len(payload)
    try:
        return chain.read(signer, payload, block, gas=gas) == SELECTOR.ljust(32, b"\0")
    except Reverted:
        return False
