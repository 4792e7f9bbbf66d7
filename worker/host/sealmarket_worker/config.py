"""A worker's configuration: one TOML file. Paths in it are relative to the file.

:mod:`sealmarket_worker.template` holds every key with its default and a comment; ``sealmarket worker init`` writes it.
A key that is not known is refused, so that a slip of the pen never leaves a limit out.
"""

from __future__ import annotations

import os
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import msgspec

from sealmarket.chain.endpoints import relative_to
from sealmarket.chain.fees import FeeLimits, parse_limits
from sealmarket.files import read_file, read_text_file
from sealmarket.private_files import PassphraseRefused, read_passphrase_file
from sealmarket.protocol.book import AddressBook
from sealmarket.protocol.services import require_reachable
from sealmarket_enclave.protocol.codec import Address, decode
from sealmarket_enclave.protocol.errors import MalformedDocument
from sealmarket_enclave.protocol.numbers import Kind, Tee
from sealmarket_worker.environments import KEPT_ENVIRONMENTS
from sealmarket_worker.errors import ConfigInvalid
from sealmarket_worker.limits import OperatorLimits, half_of_memory
from sealmarket_worker.share import MOST_WORKERS, WHOLE, Share

if TYPE_CHECKING:
    from sealmarket.client.signing import Signer


DRAIN_SECONDS = 600.0
"""How long quoted jobs may take once the host was asked to end; the defaults of deploy/systemd leave as much."""


class _Limits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    max_stake: dict[str, str] = {}
    min_settle_window: Annotated[int, msgspec.Meta(ge=0)] = 0
    max_input_bytes: Annotated[int, msgspec.Meta(ge=0)] = 0


class _Share(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    workers: Annotated[int, msgspec.Meta(ge=1, le=MOST_WORKERS)] = 1
    worker: Annotated[int, msgspec.Meta(ge=0, lt=MOST_WORKERS)] = 0


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
    max_jobs: Annotated[int, msgspec.Meta(ge=1, le=64)] = 2
    kept_environments: Annotated[int, msgspec.Meta(ge=1)] = KEPT_ENVIRONMENTS
    development_chain: bool = False
    store: str = ""
    settle_patience_seconds: Annotated[float, msgspec.Meta(ge=0)] = 20.0
    max_fee: str = ""
    priority_fee: str = ""
    passphrase_file: str = ""
    environments: Literal["any", "prepared"] = "any"
    drain_seconds: Annotated[float, msgspec.Meta(ge=0)] = DRAIN_SECONDS
    outbox: str = ""
    kind: Literal["batch", "session"] = "batch"
    listen: str = ""
    url: str = ""
    limits: _Limits = _Limits()
    share: _Share = _Share()


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerConfig:
    """A checked configuration. ``store`` defaults to the address book's.

    ``outbox`` is where the account's transactions are remembered: of its own state folder, unless several workers on
    this machine share it. ``prepared_only``: the host promises the environments that are installed already. ``listen``
    is where users of services reach a host of ``kind`` session, ``url`` what the market lists for them; empty: nothing.
    """

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
    kept_environments: int = KEPT_ENVIRONMENTS
    development_chain: bool = False
    store: str = ""
    settle_patience_seconds: float = 20.0
    passphrase_file: Path | None = None
    fees: FeeLimits = field(default_factory=FeeLimits)
    limits: OperatorLimits = field(default_factory=OperatorLimits)
    prepared_only: bool = False
    drain_seconds: float = DRAIN_SECONDS
    outbox: Path | None = None
    share: Share = WHOLE
    kind: Kind = Kind.BATCH
    listen: tuple[str, int] | None = None
    url: str = ""

    @property
    def store_url(self) -> str:
        """Where blobs are."""
        return self.store or self.book.store

    def account(self) -> Signer:
        """The provider's account. The passphrase of a keystore is that of ``passphrase_file``, of the file that
        ``SEALMARKET_PASSPHRASE_FILE`` names, or ``SEALMARKET_PASSPHRASE``.

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
        named = os.environ.get("SEALMARKET_PASSPHRASE_FILE")
        file = self.passphrase_file or (Path(named) if named else None)
        if file is None:
            return os.environ.get("SEALMARKET_PASSPHRASE")
        try:
            return read_passphrase_file(file)
        except (OSError, PassphraseRefused) as error:
            raise ConfigInvalid(file, str(error), "name a file with the passphrase") from error


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
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise ConfigInvalid(path, str(error)) from error
    here = path.absolute().parent
    tee = tee_named(file.tee, path)
    book = read_book(path, here / file.book)
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
        kept_environments=file.kept_environments,
        development_chain=file.development_chain,
        store=file.store,
        settle_patience_seconds=file.settle_patience_seconds,
        passphrase_file=here / file.passphrase_file if file.passphrase_file else None,
        fees=_fees(path, file),
        limits=_limits(path, file.limits),
        prepared_only=file.environments == "prepared",
        drain_seconds=file.drain_seconds,
        outbox=here / file.outbox if file.outbox else None,
        share=_share(path, file),
        kind=Kind.from_slug(file.kind),
        listen=_listen(path, file.kind, file.listen),
        url=_url(path, file.kind, file.url),
    )


def read_book(where: object, path: Path) -> AddressBook:
    """The address book at a path. Raises :class:`ConfigInvalid`, naming ``where``."""
    try:
        return decode(AddressBook, read_file(path))
    except (OSError, MalformedDocument) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise ConfigInvalid(where, f"no address book at {path}: {why}", "get it from the market's operator") from error


def _share(path: Path, file: _File) -> Share:
    """Which jobs are this worker's. Several workers of one account send from one outbox, or their nonces collide."""
    if file.share.worker >= file.share.workers:
        detail = f"share.worker is {file.share.worker}, expected less than share.workers, {file.share.workers}"
        raise ConfigInvalid(path, detail, "number the workers of the account from 0")
    if file.share.workers > 1 and not file.outbox:
        detail = f"share.workers is {file.share.workers}, and no outbox is named"
        raise ConfigInvalid(path, detail, "name one folder on this machine as `outbox` of all workers of the account")
    return Share(workers=file.share.workers, worker=file.share.worker)


def require_reached(where: object, kind: str, listen: str, url: str) -> None:
    """Refuse what says of a host where users reach it, and is none. Raises :class:`ConfigInvalid`, naming ``where``."""
    if kind not in ("batch", "session"):
        raise ConfigInvalid(where, f"kind is {kind!r}, expected batch or session", "name one of them")
    _listen(where, kind, listen)
    _url(where, kind, url)


def _listen(where: object, kind: str, listen: str) -> tuple[str, int] | None:
    """Where users of services reach this host: an address and a port."""
    if (kind == "session") != bool(listen):
        detail = f"kind is {kind!r} and listen is {listen!r}"
        raise ConfigInvalid(where, detail, "name an address such as 127.0.0.1:8600 as `listen`, with kind session only")
    if not listen:
        return None
    host, _, port = listen.rpartition(":")
    if not host or not port.isascii() or not port.isdigit() or int(port) > 65_535:
        raise ConfigInvalid(where, f"listen is {listen!r}, expected an address and a port", "write 127.0.0.1:8600")
    return host.strip("[]"), int(port)


def _url(where: object, kind: str, url: str) -> str:
    """What the market lists for users of services: empty, or an address that they can reach."""
    if not url:
        return ""
    if kind != "session":
        raise ConfigInvalid(where, f"url is {url!r} of kind {kind!r}", "leave `url` out, or set kind session")
    try:
        require_reachable(url)
    except ValueError as error:
        remedy = "write a host, perhaps a port and a path: https://models.example.org"
        raise ConfigInvalid(where, f"url is {url!r}, which no user could reach: {error}", remedy) from error
    return url


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
