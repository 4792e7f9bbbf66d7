"""Who signs: an account of this process, or a program that holds its key. Whatever comes back is recovered again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, cast, runtime_checkable

from sealmarket.chain.keys import TransactionSigner
from sealmarket.market_api.session import Identity
from sealmarket.protocol.book import AddressBook
from sealmarket.protocol.signatures import require_signer
from sealmarket.protocol.typed_data import typed_data
from sealmarket_enclave.protocol.codec import Address, Bytes32, HexBytes
from sealmarket_enclave.protocol.eip712 import TypedShape
from sealmarket_enclave.protocol.signing import personal_digest


class Signer(TransactionSigner, Protocol):
    """An account of a party: ``eth_account``'s, or :class:`~sealmarket.client.remote.RemoteSigner`."""


@runtime_checkable
class StatementSigner(Protocol):
    """An account that is shown what it signs, rather than a digest."""

    def sign_statement(self, typed_data: Mapping[str, Any]) -> bytes:
        """65 bytes over EIP-712 typed data, in the JSON of ``eth_signTypedData_v4``."""


@runtime_checkable
class TextSigner(Protocol):
    """An account that is shown the text that it signs."""

    def sign_text(self, text: str) -> bytes:
        """65 bytes over a text under EIP-191."""


def address_of(account: Signer) -> Address:
    """The account's address as the protocol spells it."""
    return Address.parse(account.address.lower())


def sign(account: Signer, book: AddressBook, statement: TypedShape) -> HexBytes:
    """Sign a structure for one market on one chain: 65 bytes r, s, v with low s.

    Raises:
        SignatureRefused: the account signed something else.
        SignerRefused: the program that holds the key did not sign.
    """
    digest = statement.digest(book.chain_id, book.market)
    if isinstance(account, StatementSigner):
        signature = HexBytes(account.sign_statement(typed_data(statement, book.chain_id, book.market)))
    else:
        # What is hashed is typed data: the digest names market and chain.
        signed = cast("Any", account).unsafe_sign_hash(bytes(digest))
        signature = HexBytes(bytes(signed.signature))
    require_signer(digest, signature, address_of(account), type(statement).__name__)
    return signature


def sign_text(account: Signer, text: str) -> HexBytes:
    """Sign a text that no contract reads (EIP-191): 65 bytes r, s, v. Raises as :func:`sign`."""
    digest = personal_digest(text.encode())
    if isinstance(account, TextSigner):
        signature = HexBytes(account.sign_text(text))
    else:
        signed = cast("Any", account).unsafe_sign_hash(bytes(digest))
        signature = HexBytes(bytes(signed.signature))
    require_signer(digest, signature, address_of(account), "text")
    return signature


def identity_of(account: Signer, book: AddressBook) -> Identity:
    """An account as it signs in to the API of a market on one chain."""
    return Identity(address_of(account), book.chain_id, lambda text: sign_text(account, text))


def digest(book: AddressBook, statement: TypedShape) -> Bytes32:
    """The EIP-712 digest of a structure for one market on one chain."""
    return statement.digest(book.chain_id, book.market)
