"""Profiles: one file that says which market, chain and account commands use where nothing else does.

    book = "/home/ann/market.json"            # the market's address book
    book_digest = "0x…"                       # Keccak-256 of its canonical form: another book is refused
    rpc = "https://rpc.example.org"           # a URL, several with commas, or a TOML file of endpoints
    account = "/home/ann/account.json"        # an account's file; its key never stands in here
    development_roots = ["/…/root.der"]       # only for a development market, whose evidence is SIMULATED
    development_chain = false                 # well-known keys may be used on this chain

An option counts before an environment variable, and that before the profile. A profile decides where money goes, and
its URL may hold a provider's key: it is read and written as private files are. It lies in
``$XDG_CONFIG_HOME/sealmarket``, or ``~/.config/sealmarket``, as ``NAME.toml``.
"""

from __future__ import annotations

import json
import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path

import msgspec

from sealmarket.client.books import digest_of, load_book
from sealmarket.client.errors import ClientError
from sealmarket.private_files import NotPrivate, read_private, replace_private
from sealmarket_enclave.protocol.codec import Bytes32
from sealmarket_enclave.protocol.errors import MalformedDocument

DEFAULT = "default"
SUFFIX = ".toml"
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")


class ProfileRefused(ClientError):
    """A profile that is not there, or cannot be used as it stands."""

    exit_code = 2

    def __init__(self, name: str, detail: str, remedy: str) -> None:
        super().__init__(f"profile {name!r}: {detail}", remedy=remedy)
        self.name, self.detail = name, detail


class Profile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What commands use where no option and no environment variable says otherwise."""

    book: str
    book_digest: str
    rpc: str
    account: str = ""
    development_roots: tuple[str, ...] = ()
    development_chain: bool = False

    def options(self) -> Mapping[str, object]:
        """The values, by the option whose default they are."""
        named: dict[str, object] = {"--book": self.book, "--rpc": self.rpc}
        if self.account:
            named["--key-file"] = self.account
        if self.development_roots:
            named["--development-root"] = list(self.development_roots)
        if self.development_chain:
            named["--development-chain"] = True
        return named


def folder() -> Path:
    """Where profiles lie."""
    named = os.environ.get("XDG_CONFIG_HOME", "")
    base = Path(named) if Path(named).is_absolute() else Path.home() / ".config"
    return base / "sealmarket"


def path_of(name: str) -> Path:
    """The file of a profile. Raises :class:`ProfileRefused` for what is no name."""
    if not _NAME.fullmatch(name):
        raise ProfileRefused(name[:80], "that is no name", "use small letters, digits, '.', '_' and '-'")
    return folder() / f"{name}{SUFFIX}"


def names() -> list[str]:
    """The profiles of this user."""
    return sorted(path.stem for path in folder().glob(f"*{SUFFIX}") if _NAME.fullmatch(path.stem))


def find(name: str | None) -> Profile | None:
    """The profile of that name; without a name the default one, or None where there is none.

    Raises:
        ProfileRefused: the named one is missing; or others can read it; or it is no profile.
    """
    chosen = name or DEFAULT
    try:
        raw = read_private(path_of(chosen))
    except FileNotFoundError:
        if name is None:
            return None
        known = ", ".join(names()) or "none yet"
        raise ProfileRefused(chosen, f"there is none; there are: {known}", "run `sealmarket init`") from None
    except NotPrivate as error:
        raise ProfileRefused(chosen, error.message, error.remedy) from error
    except OSError as error:
        detail = f"{path_of(chosen)}: {error.strerror or 'it cannot be read'}"
        raise ProfileRefused(chosen, detail, "check the path, or run `sealmarket init`") from error
    return _read(chosen, raw)


def _read(name: str, raw: bytes) -> Profile:
    try:
        profile = msgspec.convert(tomllib.loads(raw.decode()), Profile)
        Bytes32.parse(profile.book_digest)
    except (ValueError, msgspec.ValidationError, MalformedDocument) as error:
        raise ProfileRefused(
            name, f"{path_of(name)} is no profile: {error}", "run `sealmarket init --replace`"
        ) from error
    return profile


def keep(name: str, profile: Profile) -> Path:
    """Write a profile, in place of an earlier one of that name, with mode 0600. Returns its file."""
    path = path_of(name)
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    replace_private(path, _toml(profile).encode())
    if _read(name, read_private(path)) != profile:
        raise ProfileRefused(name, "what was written is not what was read", "check the disk")
    return path


def pinned(book: Path) -> str:
    """The digest that a profile keeps of an address book."""
    return str(digest_of(load_book(book)))


def _toml(profile: Profile) -> str:
    """TOML's basic strings are JSON's but for U+007F."""
    fields = {name: getattr(profile, name) for name in profile.__struct_fields__}
    return "".join(f"{name} = {_value(value)}\n" for name, value in fields.items())


def _value(value: object) -> str:
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
