"""A connection to one market, and how each party is made from one.

    with Owner.connect(profile="hospital") as owner:
        ...
    with Owner.connect(book="market.json", rpc="http://127.0.0.1:8545", account="owner.json", passphrase=…) as owner:
        ...

What a call does not name comes from the environment, and then from a profile, as for the commands: ``SEALMARKET_BOOK``,
``SEALMARKET_RPC``, ``SEALMARKET_KEY_FILE``, ``SEALMARKET_PASSPHRASE``, ``SEALMARKET_PROFILE``.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Self

from sealmarket.chain import IN_MEMORY, Chain, Sending, per_user_folder
from sealmarket.client import profiles
from sealmarket.client.accounts import load_signer
from sealmarket.client.books import load_book, pin_book
from sealmarket.client.errors import NotConfigured
from sealmarket.client.profiles import Profile
from sealmarket.client.signing import Signer
from sealmarket.market_api.client import MarketApi
from sealmarket.protocol.book import AddressBook
from sealmarket.store.blobs import Store
from sealmarket_enclave.protocol.codec import Bytes32

BOOK, RPC, KEY_FILE = "SEALMARKET_BOOK", "SEALMARKET_RPC", "SEALMARKET_KEY_FILE"
PASSPHRASE, PROFILE = "SEALMARKET_PASSPHRASE", "SEALMARKET_PROFILE"


class Settings:
    """What a call does not name: the environment's, else a profile's. The profile is read when it is needed."""

    def __init__(self, profile: str | None = None) -> None:
        self._name = profile or os.environ.get(PROFILE)

    @cached_property
    def profile(self) -> Profile | None:
        """The profile, whose address book is pinned from here on. Raises :class:`ProfileRefused`."""
        found = profiles.find(self._name)
        if found is not None:
            pin_book(Path(found.book), Bytes32.parse(found.book_digest))
        return found

    def value(self, what: str, given: Path | str | None, variable: str) -> str:
        """One setting. ``what`` is its name in calls and profiles. Raises :class:`NotConfigured`."""
        found = str(given) if given is not None else os.environ.get(variable)
        if not found and self.profile is not None:
            found = str(getattr(self.profile, what))
        if not found:
            raise NotConfigured(what, variable)
        return found

    def is_ours(self, book: object) -> bool:
        """Whether the market is the profile's, and the profile says that this user has started its chain."""
        return self._follows(book) and self.profile is not None and self.profile.development_chain

    def development_roots(self, book: object) -> list[Path]:
        """The roots of virtual devices that the profile accepts, where the market is the profile's."""
        if not self._follows(book) or self.profile is None:
            return []
        return [Path(root) for root in self.profile.development_roots]

    def _follows(self, book: object) -> bool:
        return book is None and not os.environ.get(BOOK)


@dataclass(frozen=True, slots=True)
class Market:
    """The chain, the store and the API of one market. Threads may share it; :meth:`close` ends the connections."""

    chain: Chain
    store: Store
    api: MarketApi

    @classmethod
    def open(
        cls, book: AddressBook | Path | str | None = None, rpc: str | None = None, *, profile: str | None = None
    ) -> Market:
        """Connect to the market of an address book (or of its file). ``rpc``: as the option ``--rpc`` takes it.

        Nothing is given to a market that was not verified; what was asked of one before is for orientation.

        Raises:
            NotConfigured: named neither here, nor in the environment, nor by a profile.
            ProfileRefused, AddressBookRefused, AddressBookChanged.
        """
        settings = Settings(profile)
        named = book if isinstance(book, AddressBook) else load_book(Path(settings.value("book", book, BOOK)))
        return cls(Chain(named, settings.value("rpc", rpc, RPC)), Store(named.store), MarketApi(named.backend))

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
    def at(cls, market: Market, account: Signer, *, development: bool = False, sending: Sending = IN_MEMORY) -> Self:
        """A party on an open market; several may share one."""
        raise NotImplementedError

    @classmethod
    def connect(
        cls,
        *,
        profile: str | None = None,
        book: AddressBook | Path | str | None = None,
        rpc: str | None = None,
        account: Signer | Path | str | None = None,
        passphrase: str | None = None,
        development: bool = False,
        sending: Sending | None = None,
    ) -> Self:
        """A party with a connection of its own, which ends with ``with`` or :meth:`close`.

        Args:
            account: an account, or the file of one, which ``passphrase`` opens if it is encrypted.
            development: you started this chain on this machine: publicly known keys may be used (a profile may say so).
            sending: where transactions are remembered, and the most that is paid for gas; by default where the
                commands of this user remember them, so that neither repeats what the other has sent.

        Raises:
            NotConfigured: named neither here, nor in the environment, nor by a profile.
            ProfileRefused, AddressBookRefused, AddressBookChanged, AccountFileRefused.
            ChainError: the node does not answer, or follows another chain.
        """
        remembered = Sending(per_user_folder()) if sending is None else sending
        settings = Settings(profile)
        loaded = _account(settings, account, passphrase)
        market = Market.open(book, rpc, profile=profile)
        try:
            ours = development or settings.is_ours(book)
            party = cls.at(market, loaded, development=ours, sending=remembered)
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


def _account(settings: Settings, account: Signer | Path | str | None, passphrase: str | None) -> Signer:
    if account is not None and not isinstance(account, Path | str):
        return account
    path = Path(settings.value("account", account, KEY_FILE))
    return load_signer(path, os.environ.get(PASSPHRASE) if passphrase is None else passphrase)
