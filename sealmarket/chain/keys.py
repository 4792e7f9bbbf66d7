"""Publicly known keys: the accounts of the development mnemonics that Anvil, Hardhat and Ganache print.

They are refused on every chain but one that this very program's starter has started, on this machine, under a
development chain id. That program says so by passing ``development=True``; nothing on the chain can claim it.
"""

from __future__ import annotations

from functools import cache
from typing import Any, Protocol

import coincurve

from sealmarket.chain.errors import DevelopmentKeyRefused
from sealmarket.chain.known_accounts import ACCOUNTS_OF
from sealmarket.http import is_loopback
from sealmarket_enclave.protocol.codec import Address
from sealmarket_enclave.protocol.signing import address_of


class TransactionSigner(Protocol):
    """An account that transactions are sent from: its key is here, or another program holds it."""

    @property
    def address(self) -> Any:
        """The account, in hex."""

    def sign_transaction(self, transaction_dict: Any, /) -> Any:
        """A signed transaction: ``raw_transaction`` and its ``hash``."""


DEVELOPMENT_CHAIN_IDS = frozenset({31337, 1337})
# Keys that documentation and examples use: 1, 2, 3 ... and the like.
SMALL_KEYS = 64


@cache
def publicly_known() -> frozenset[Address]:
    """The accounts whose private keys are printed in documentation."""
    small = (coincurve.PrivateKey.from_int(number).public_key for number in range(1, SMALL_KEYS + 1))
    printed = (Address.parse(account) for accounts in ACCOUNTS_OF.values() for account in accounts)
    return frozenset({*printed, *map(address_of, small)})


def refuse_publicly_known(account: Address, *, chain_id: int, url: str, development: bool) -> None:
    """Raise :class:`DevelopmentKeyRefused` for a known key anywhere but on a chain that we started."""
    ours = development and chain_id in DEVELOPMENT_CHAIN_IDS and is_loopback(url)
    if not ours and account in publicly_known():
        raise DevelopmentKeyRefused(account.checksum)
