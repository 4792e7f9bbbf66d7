"""The defaults that a profile gives to the options of every command, found when a command is called."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from sealmarket.client import books, profiles
from sealmarket_enclave.protocol.codec import Bytes32

ENVIRONMENT = "SEALMARKET_PROFILE"
OPTIONS = frozenset({"--book", "--rpc", "--key-file", "--development-root", "--development-chain"})


_CHOSEN: ContextVar[str | None] = ContextVar("the profile of this call", default=None)


class Defaults(dict[str, Any]):
    """What the framework asks for defaults, level by level: of a group its commands, of a command its options.

    The profile is read when an option that it may set is asked for, so that a broken one stops no other command.
    """

    def __init__(self, command: Any, profile: str | None) -> None:
        super().__init__()
        self._command, self._profile = command, profile
        _CHOSEN.set(profile)

    def get(self, name: str, default: Any = None) -> Any:
        """The defaults of a command of this group, or the default of an option; called by the framework."""
        inside = getattr(self._command, "commands", None)
        if inside is not None:
            return Defaults(inside[name], self._profile) if name in inside else default
        asked = {option for one in self._command.params if one.name == name for option in one.opts} & OPTIONS
        return next((values(self._profile)[option] for option in asked if option in values(self._profile)), default)


def values(name: str | None) -> Mapping[str, object]:
    """The options of a profile, and none without one. Its address book is pinned from here on.

    Raises:
        ProfileRefused: the profile cannot be used.
    """
    profile = profiles.find(name)
    if profile is None:
        return {}
    books.pin_book(Path(profile.book), Bytes32.parse(profile.book_digest))
    return profile.options()


def next_command(words: str, book: Path, rpc: str) -> str:
    """A command to print that works as it is printed: it names the market where no profile does."""
    from sealmarket.chain.endpoints import printable

    chosen = values(_CHOSEN.get())
    named = f"sealmarket --profile {_CHOSEN.get()}" if _CHOSEN.get() else "sealmarket"
    if chosen.get("--book") == str(book.absolute()) and chosen.get("--rpc") == rpc:
        return f"{named} {words}"
    return f"sealmarket {words} --book {shlex.quote(str(book))} --rpc {shlex.quote(printable(rpc))}"
