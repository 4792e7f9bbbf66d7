"""Whether a contract accepts a signature in its own name (ERC-1271), by the rule of ``Signatures.sol``.

The market tries ECDSA first, and so do callers of this module: an account with a key and code (EIP-7702) is asked for
its contract's answer only where the signature is not its key's.

The contract belongs to a stranger. It may use up its gas, stop, or return megabytes, and nodes report each of these in
their own words, which cannot be distinguished from a fault of the node. So a few instructions of ours call it: its
failure is a value that they return, and only a fault of the node is an error.
"""

from __future__ import annotations

from eth_abi.abi import encode

from sealmarket.chain.chain import Chain
from sealmarket_enclave.protocol.codec import Address, Bytes32

SELECTOR = bytes.fromhex("1626ba7e")
"""``isValidSignature(bytes32,bytes)``, and what it returns for a signature that holds."""
GAS = 400_000
"""As much as the market gives such a contract."""
MOST_SIGNATURE_BYTES = 16 << 10
_OWN_GAS, _OWN_GAS_PER_BYTE = 100_000, 40
"""For the instructions of ours: creation, their own steps, and the 1/64 that a call keeps back (EIP-150)."""
_ACCEPTED = (1).to_bytes(32) + (32).to_bytes(32) + SELECTOR.ljust(32, b"\0")


def contract_accepts(chain: Chain, signer: Address, digest: Bytes32, signature: bytes) -> bool:
    """Ask the signer's contract at the newest block; false where there is none, or where it refuses or fails.

    Raises:
        ChainError: the chain cannot be read, so it is not known.
    """
    block = chain.head()
    if len(signature) > MOST_SIGNATURE_BYTES or not chain.code(signer, block):
        return False
    payload = SELECTOR + encode(["bytes32", "bytes"], [bytes(digest), bytes(signature)])
    gas = GAS + _OWN_GAS + _OWN_GAS_PER_BYTE * len(payload)
    return chain.run(call_of(signer, payload), block, gas=gas) == _ACCEPTED


def call_of(signer: Address, payload: bytes) -> bytes:
    """Instructions that call ``signer`` and return three words: success, length of its answer, the answer's first word.

    Source: the opcodes of the Shanghai hard fork and before (Yellow Paper, appendix H).
    """
    length = len(payload).to_bytes(2)
    code = b"".join(
        (
            b"\x61" + length + b"\x61\x00\x00\x60\x00\x39",  # CODECOPY(0, offset, length)
            b"\x60\x20\x60\x40\x61" + length + b"\x60\x00",  # answer: 32 bytes at 64; input: length bytes at 0
            b"\x73" + signer + b"\x62" + GAS.to_bytes(3) + b"\xfa",  # STATICCALL(gas, signer, ...)
            b"\x60\x00\x52\x3d\x60\x20\x52",  # success at 0, RETURNDATASIZE at 32
            b"\x60\x60\x60\x00\xf3",  # RETURN(0, 96)
        )
    )
    return code[:4] + len(code).to_bytes(2) + code[6:] + payload
