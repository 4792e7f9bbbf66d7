"""Publicly known keys: the accounts of the development mnemonics that Anvil, Hardhat and Ganache print.

They are refused on every chain but one that this very program's starter has started, on this machine, under a
development chain id. That program says so by passing ``development=True``; nothing on the chain can claim it.
"""

from __future__ import annotations

from functools import cache
from typing import Any, Protocol

from sealmarket.chain.errors import DevelopmentKeyRefused
from sealmarket.http import is_loopback
from sealmarket_enclave.protocol.codec import Address


class TransactionSigner(Protocol):
    """An account that transactions are sent from: ``eth_account``'s, or a program's that holds the key."""

    @property
    def address(self) -> Any:
        """The account, in hex."""

    def sign_transaction(self, transaction_dict: Any, /) -> Any:
        """A signed transaction: ``raw_transaction`` and its ``hash``."""


DEVELOPMENT_CHAIN_IDS = frozenset({31337, 1337})
MNEMONICS = (
    "test test test test test test test test test test test junk",
    "myth like bonus scare over problem client lizard pioneer submit female collect",
    "candy maple cake sugar pudding cream honey rich smooth crumble sweet treat",
)
"""Anvil and Hardhat; Ganache with ``--deterministic``; Truffle's own."""
ACCOUNTS_EACH = 20
# Keys that documentation and examples use: 1, 2, 3 ... and the like.
SMALL_KEYS = 64


@cache
def publicly_known() -> frozenset[Address]:
    """The accounts whose private keys are printed in documentation."""
    from sealmarket.eth import Account  # takes a while to import: only those who send pay it

    Account.enable_unaudited_hdwallet_features()
    known = {
        Account.from_mnemonic(words, account_path=f"m/44'/60'/0'/0/{index}").address
        for words in MNEMONICS
        for index in range(ACCOUNTS_EACH)
    }
    known |= {Account.from_key(number.to_bytes(32, "big")).address for number in range(1, SMALL_KEYS + 1)}
    return frozenset(Address.parse(address.lower()) for address in known)


def refuse_publicly_known(account: Address, *, chain_id: int, url: str, development: bool) -> None:
    """Raise :class:`DevelopmentKeyRefused` for a known key anywhere but on a chain that we started."""
    ours = development and chain_id in DEVELOPMENT_CHAIN_IDS and is_loopback(url)
    if not ours and account in publicly_known():
        raise DevelopmentKeyRefused(account.checksum)
