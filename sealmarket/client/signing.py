"""Signing typed data with a wallet's account, checked by recovering it again."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from sealmarket.protocol.book import AddressBook
from sealmarket.protocol.signatures import require_signer
from sealmarket_enclave.protocol.codec import Address, Bytes32, HexBytes
from sealmarket_enclave.protocol.eip712 import TypedShape

if TYPE_CHECKING:
    from eth_account.signers.local import LocalAccount
    from eth_typing import Hash32


def address_of(account: LocalAccount) -> Address:
    """The account's address as the protocol spells it."""
    return Address.parse(account.address.lower())


def sign(account: LocalAccount, book: AddressBook, statement: TypedShape) -> HexBytes:
    """Sign a structure for one market on one chain: 65 bytes r, s, v with low s.

    Raises:
        SignatureRefused: the account signed something else.
    """
    digest = statement.digest(book.chain_id, book.market)
    # What is hashed is typed data: the digest names market and chain.
    signed = account.unsafe_sign_hash(cast("Hash32", bytes(digest)))
    signature = HexBytes(bytes(signed.signature))
    require_signer(digest, signature, address_of(account), type(statement).__name__)
    return signature


def digest(book: AddressBook, statement: TypedShape) -> Bytes32:
    """The EIP-712 digest of a structure for one market on one chain."""
    return statement.digest(book.chain_id, book.market)
