"""A connection to one market, and how each party is made from one.

    with Owner.connect(book="market.json", rpc="http://127.0.0.1:8545", account="owner.json") as owner:
        ...

What is not named is taken from the environment, by the same variables as the commands use: ``SEALMARKET_BOOK``,
``SEALMARKET_RPC``, ``SEALMARKET_KEY_FILE`` and ``SEALMARKET_PASSPHRASE``.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sealmarket.chain import IN_MEMORY, Chain, Sending, per_user_folder
from sealmarket.client.accounts import load_account
from sealmarket.client.books import load_book
from sealmarket.client.errors import NotConfigured
from sealmarket.market_api.client import MarketApi
from sealmarket.protocol.book import AddressBook
from sealmarket.store.blobs import Store

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    from eth_account.signers.local import LocalAccount

BOOK, RPC, KEY_FILE, PASSPHRASE = "SEALMARKET_BOOK", "SEALMARKET_RPC", "SEALMARKET_KEY_FILE", "SEALMARKET_PASSPHRASE"


@dataclass(frozen=True, slots=True)
class Market:
    """The chain, the store and the API of one market. Threads may share it; :meth:`close` ends the connections."""

    chain: Chain
    store: Store
    api: MarketApi

    @classmethod
    def open(cls, book: AddressBook | Path | str | None = None, rpc: str | None = None) -> Market:
        """Connect to the market of an address book (or of its file). ``rpc``: as the option ``--rpc`` takes it.

        Nothing is given to a market that was not verified; what was asked of one before is for orientation.

        Raises:
            NotConfigured: neither named nor in the environment.
            AddressBookRefused: the file is none.
        """
        named = book if isinstance(book, AddressBook) else load_book(Path(_named("book", book, BOOK)))
        return cls(Chain(named, str(_named("rpc", rpc, RPC))), Store(named.store), MarketApi(named.backend))

    @property
    def book(self) -> AddressBook:
        """The market's address book."""
        return self.chain.book

    def close(self) -> None:
        """Close the connections."""
        self.api.close()
        self.store.close()
        self.chain.close()

    def __enter__(self) -> Market:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Connected:
    """A party with an account on a market: :meth:`at` makes one from a connection, :meth:`connect` opens its own."""

    opened: Market | None = None
    """The connection that this party has opened for itself, and closes."""

    @classmethod
    def at(
        cls, market: Market, account: LocalAccount, *, development: bool = False, sending: Sending = IN_MEMORY
    ) -> Self:
        """A party on an open market; several may share one."""
        raise NotImplementedError

    @classmethod
    def connect(
        cls,
        *,
        book: AddressBook | Path | str | None = None,
        rpc: str | None = None,
        account: LocalAccount | Path | str | None = None,
        passphrase: str | None = None,
        development: bool = False,
        sending: Sending | None = None,
    ) -> Self:
        """A party with a connection of its own, which ends with ``with`` or :meth:`close`.

        Args:
            account: an account, or the file of one, which ``passphrase`` opens if it is encrypted.
            development: you started this chain on this machine: publicly known keys may be used.
            sending: where transactions are remembered, and the most that is paid for gas; by default where the
                commands of this user remember them, so that neither repeats what the other has sent.

        Raises:
            NotConfigured: neither named nor in the environment.
            AddressBookRefused, AccountFileRefused.
            ChainError: the node does not answer, or follows another chain.
        """
        remembered = Sending(per_user_folder()) if sending is None else sending
        loaded = _account(account, passphrase)
        market = Market.open(book, rpc)
        try:
            party = cls.at(market, loaded, development=development, sending=remembered)
        except BaseException:
            market.close()
            raise
        party.opened = market
        return party

    def close(self) -> None:
        """Close the connection that :meth:`connect` opened; one that others share stays open."""
        if self.opened is not None:
            self.opened.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _named(what: str, given: Path | str | None, variable: str) -> Path | str:
    found = given if given is not None else os.environ.get(variable)
    if not found:
        raise NotConfigured(what, variable)
    return found


def _account(account: LocalAccount | Path | str | None, passphrase: str | None) -> LocalAccount:
    if account is not None and not isinstance(account, Path | str):
        return account
    path = Path(_named("account", account, KEY_FILE))
    return load_account(path, os.environ.get(PASSPHRASE) if passphrase is None else passphrase)
