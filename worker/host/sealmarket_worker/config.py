"""A worker's configuration: one TOML file. Paths in it are relative to the file.

rpc = "http://127.0.0.1:8545"   # more nodes after commas; or a TOML file of [[endpoint]] tables, for keys
book = "book.json"              # the address book of the market
key = "provider.key"            # the provider's account, mode 0600: a keystore, or 32 bytes of hex
passphrase_file = ""            # a file with the keystore's passphrase; "" takes it from SEALMARKET_PASSPHRASE
state = "state"                 # journal, image, environments, containers
device = "tdx.sock"             # how the driver reaches the TEE; for `virtual` the device's control socket
wheels = "wheels"               # wheels from which environments are installed
image = ""                      # the enclave image; "" assembles the installed release's
driver = "virtual"              # how enclaves are launched: an installed driver
tee = "tdx"
capability = ""                 # what this host promises in its orders: a file; "" promises what it has
max_jobs = 2
max_fee = ""                    # most for one gas, tip included: "30gwei", or wei; "" is 1000gwei
priority_fee = ""               # the tip; "" offers what recent blocks paid
development_chain = false       # true only where this machine started the chain: allows publicly known keys

[limits]                        # a job beyond them is quoted and declined, at no cost to this provider
min_settle_window = 0           # seconds
max_input_bytes = 0             # all containers of a job together; 0: half of this machine's memory

[limits.max_stake]              # by token, in its smallest unit; without a token here, no limit
"0x0000000000000000000000000000000000000000" = "500000000000000000"
"""

from __future__ import annotations

import os
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec

from sealmarket.chain.endpoints import relative_to
from sealmarket.chain.fees import FeeLimits, parse_limits
from sealmarket.files import read_file, read_text_file
from sealmarket.private_files import PassphraseRefused, read_passphrase_file
from sealmarket.protocol.book import AddressBook
from sealmarket_enclave.protocol.codec import Address, decode
from sealmarket_enclave.protocol.errors import MalformedDocument
from sealmarket_enclave.protocol.numbers import Tee
from sealmarket_worker.errors import ConfigInvalid
from sealmarket_worker.limits import OperatorLimits, half_of_memory

if TYPE_CHECKING:
    from sealmarket.client.signing import Signer


class _Limits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    max_stake: dict[str, str] = {}
    min_settle_window: Annotated[int, msgspec.Meta(ge=0)] = 0
    max_input_bytes: Annotated[int, msgspec.Meta(ge=0)] = 0


class _File(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    rpc: str
    book: str
    key: str
    state: str
    device: str
    wheels: str
    image: str = ""
    driver: str = "virtual"
    tee: str = "tdx"
    capability: str = ""
    max_jobs: int = 2
    development_chain: bool = False
    store: str = ""
    settle_patience_seconds: float = 20.0
    max_fee: str = ""
    priority_fee: str = ""
    passphrase_file: str = ""
    limits: _Limits = _Limits()


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerConfig:
    """A checked configuration. ``store`` defaults to the address book's."""

    rpc: str
    book: AddressBook
    key: Path
    state: Path
    device: Path
    wheels: Path
    image: Path | None = None
    driver: str = "virtual"
    tee: Tee = Tee.TDX
    capability: Path | None = None
    max_jobs: int = 2
    development_chain: bool = False
    store: str = ""
    settle_patience_seconds: float = 20.0
    passphrase_file: Path | None = None
    fees: FeeLimits = field(default_factory=FeeLimits)
    limits: OperatorLimits = field(default_factory=OperatorLimits)

    @property
    def store_url(self) -> str:
        """Where blobs are."""
        return self.store or self.book.store

    def account(self) -> Signer:
        """The provider's account; the passphrase of a keystore is ``passphrase_file``'s, or ``SEALMARKET_PASSPHRASE``.

        Raises:
            ConfigInvalid: a key file that others can read, or that holds no key.
        """
        # A second to import: `image` commands do without.
        from sealmarket.client.accounts import AccountFileRefused, load_signer

        try:
            return load_signer(self.key, self._passphrase())
        except AccountFileRefused as error:
            raise ConfigInvalid(self.key, error.detail, error.remedy) from error

    def _passphrase(self) -> str | None:
        if self.passphrase_file is None:
            return os.environ.get("SEALMARKET_PASSPHRASE")
        try:
            return read_passphrase_file(self.passphrase_file)
        except (OSError, PassphraseRefused) as error:
            raise ConfigInvalid(self.passphrase_file, str(error), "name a file with the passphrase") from error


def tee_named(name: str, where: object = "--tee") -> Tee:
    """The kind of TEE of that name, in lower case. Raises :class:`ConfigInvalid`, naming ``where``."""
    names = {tee.name.lower(): tee for tee in Tee}
    if name not in names:
        raise ConfigInvalid(where, f"tee is {name!r}, expected one of {', '.join(names)}")
    return names[name]


def load_config(path: Path) -> WorkerConfig:
    """Read a configuration. Raises :class:`ConfigInvalid`, naming the field."""
    try:
        file = msgspec.convert(tomllib.loads(read_text_file(path)), _File)
    except (OSError, tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise ConfigInvalid(path, str(error)) from error
    here = path.absolute().parent
    tee = tee_named(file.tee, path)
    try:
        book = decode(AddressBook, read_file(here / file.book))
    except (OSError, MalformedDocument) as error:
        raise ConfigInvalid(path, f"no address book at {file.book}: {error}") from error
    if not 1 <= file.max_jobs <= 64:
        raise ConfigInvalid(path, f"max_jobs is {file.max_jobs}, expected 1 to 64")
    return WorkerConfig(
        rpc=relative_to(file.rpc, here),
        book=book,
        key=here / file.key,
        state=here / file.state,
        device=here / file.device,
        wheels=here / file.wheels,
        image=here / file.image if file.image else None,
        driver=file.driver,
        tee=tee,
        capability=here / file.capability if file.capability else None,
        max_jobs=file.max_jobs,
        development_chain=file.development_chain,
        store=file.store,
        settle_patience_seconds=file.settle_patience_seconds,
        passphrase_file=here / file.passphrase_file if file.passphrase_file else None,
        fees=_fees(path, file),
        limits=_limits(path, file.limits),
    )


def _fees(path: Path, file: _File) -> FeeLimits:
    try:
        return parse_limits(file.max_fee, file.priority_fee)
    except MalformedDocument as error:
        raise ConfigInvalid(path, f"max_fee, priority_fee: {error}") from error


def _limits(path: Path, said: _Limits) -> OperatorLimits:
    try:
        stakes = {Address.parse(token): int(amount) for token, amount in said.max_stake.items()}
    except (MalformedDocument, ValueError) as error:
        detail = f"limits.max_stake: {error}, expected a token's address and a whole amount, both in quotes"
        raise ConfigInvalid(path, detail) from error
    return OperatorLimits(
        max_stake=stakes,
        min_settle_window=said.min_settle_window,
        max_input_bytes=said.max_input_bytes or half_of_memory(),
    )
