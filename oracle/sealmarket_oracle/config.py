"""How a node is configured: one TOML file, each value also as ``SEALMARKET_ORACLE_<NAME>`` in the environment.

Nothing that decides trust has a default: which chain, which address book, and whether development roots count. The
``production`` profile refuses development roots; the ``development`` profile needs at least one and is loud about it.
"""

from __future__ import annotations

import difflib
import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from sealmarket.attestation.collateral.fetch import pccs
from sealmarket.attestation.collateral.trust_anchors import TrustAnchors
from sealmarket.attestation.core.errors import AttestationError
from sealmarket.chain.endpoints import endpoints_of, relative_to
from sealmarket.chain.errors import EndpointsRefused
from sealmarket.chain.quorum import MOST_AHEAD, ChainTrust
from sealmarket.files import read_file, read_text_file
from sealmarket.http import NO_URL, is_loopback, redacted
from sealmarket.protocol.book import AddressBook
from sealmarket_enclave.protocol.codec import Address, decode
from sealmarket_enclave.protocol.errors import MalformedDocument, SealmarketError
from sealmarket_enclave.protocol.numbers import Grade, Tee
from sealmarket_oracle.errors import InvalidConfig
from sealmarket_oracle.node_folder import HPKE_FILE, NODE_FILE, SIGNER_FILE, SOCKET_FILE, KeyPaths

VENDOR = "vendor"
"""In the place of a URL: the vendor's own servers."""
ENVIRONMENT_PREFIX = "SEALMARKET_ORACLE_"
_KNOWN = {
    "rpc", "book", "state", "signer_key", "hpke_key", "host", "port", "profile", "development_roots",
    "poll_seconds", "max_head_age_seconds", "max_head_ahead_seconds", "store", "agree", "proofs", "trust_endpoints",
    "node_file", "passphrase_file", "admin", "advisories", "advisory_issuers", "holds",
    "journal", "tls_certificate", "tls_key", "collateral", "collateral_intel", "collateral_amd", "collateral_peers",
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class CollateralConfig:
    """Where a node's own collateral lies and comes from: servers by name, the TEEs that they serve, whether peers."""

    folder: Path
    endpoints: Mapping[str, str]
    asked: frozenset[Tee]
    peers: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """One node's configuration, checked. ``grade_floor`` follows from the profile."""

    rpc: str
    book: AddressBook
    state: Path
    keys: KeyPaths
    passphrase_file: Path | None
    host: str
    port: int
    tls: tuple[Path, Path] | None
    """Certificate and key of the listener; without them it speaks plain HTTP."""
    profile: Literal["production", "development"]
    roots: TrustAnchors
    store: str
    poll_seconds: float
    max_head_age_seconds: int
    admin: tuple[str, ...]
    """Where the operator is answered: the socket in ``state``, and what ``admin`` names beside it."""
    journal: str = field(repr=False)
    """The URL of a PostgreSQL, which may have a password in it; empty for SQLite in ``state``."""
    trust: ChainTrust
    collateral: CollateralConfig
    advisories: Path
    advisory_issuers: frozenset[Address]
    holds: Path

    @property
    def grade_floor(self) -> Grade:
        """The lowest grade that this node ever accepts."""
        return Grade.HARDWARE if self.profile == "production" else Grade.SIMULATED


def load(path: Path | None, environment: Mapping[str, str] = os.environ) -> Config:
    """Read a configuration.

    Raises:
        InvalidConfig: unknown, missing or contradictory values.
    """
    values: dict[str, Any] = {}
    base = Path.cwd()
    if path is not None:
        base = path.absolute().parent
        try:
            values = tomllib.loads(read_text_file(path))
        except OSError as error:
            raise InvalidConfig(
                f"{path} cannot be read: {error.strerror}",
                remedy="name the node's TOML file with --config; docs/roles/operator.md shows one",
            ) from error
        except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise InvalidConfig(f"{path} is no TOML: {error}", remedy="mend that place") from error
    values |= _from_environment(environment)
    _require_known(values)
    return _build(values, base)


def _require_known(values: Mapping[str, Any]) -> None:
    """Refuse a setting that no node has, with the one that was meant."""
    unknown = sorted(values.keys() - _KNOWN)
    if not unknown:
        return
    meant = [near for name in unknown for near in difflib.get_close_matches(name, sorted(_KNOWN), 1)]
    known = f"known: {', '.join(sorted(_KNOWN))}"
    remedy = f"did you mean {', '.join(meant)}?" if len(meant) == len(unknown) else known
    raise InvalidConfig(f"unknown settings: {', '.join(unknown)}", remedy=remedy)


def _from_environment(environment: Mapping[str, str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, text in environment.items():
        if name.startswith(ENVIRONMENT_PREFIX):
            key = name.removeprefix(ENVIRONMENT_PREFIX).lower()
            found[key] = [part for part in text.split(os.pathsep) if part] if key == "development_roots" else text
    return found


def _build(values: Mapping[str, Any], base: Path) -> Config:
    book = _book(base / _text(values, "book"))
    state = base / _text(values, "state")
    profile = _text(values, "profile")
    if profile not in ("production", "development"):
        raise InvalidConfig(f"profile is {profile!r}", remedy='say "production" or "development"')
    return Config(
        rpc=relative_to(_text(values, "rpc"), base),
        book=book,
        state=state,
        keys=KeyPaths(
            signer=_path(values, "signer_key", base, state / SIGNER_FILE),
            hpke=_path(values, "hpke_key", base, state / HPKE_FILE),
            node=_path(values, "node_file", base, state / NODE_FILE),
        ),
        passphrase_file=base / _text(values, "passphrase_file") if "passphrase_file" in values else None,
        host=str(values.get("host", "127.0.0.1")),
        port=int(_number(values, "port", 8451, 0, 65535)),
        tls=_tls(values, base),
        profile="production" if profile == "production" else "development",
        roots=_roots(values.get("development_roots", []), profile, base),
        store=str(values.get("store", book.store)),
        poll_seconds=_number(values, "poll_seconds", 0.25, 0.05, 60),
        admin=_admin(values, state, base),
        journal=_text(values, "journal") if "journal" in values else "",
        max_head_age_seconds=int(_number(values, "max_head_age_seconds", 300, 1, 86400)),
        trust=_trust(values, base),
        collateral=_collateral(values, state, base),
        advisories=_path(values, "advisories", base, state / "advisories"),
        advisory_issuers=_issuers(values.get("advisory_issuers", [])),
        holds=_path(values, "holds", base, state / "holds"),
    )


def _tls(values: Mapping[str, Any], base: Path) -> tuple[Path, Path] | None:
    if "tls_certificate" not in values and "tls_key" not in values:
        return None
    return base / _text(values, "tls_certificate"), base / _text(values, "tls_key")


def _admin(values: Mapping[str, Any], state: Path, base: Path) -> tuple[str, ...]:
    """The socket in the state folder, and another socket file, relative to the configuration, or HOST:PORT."""
    own = str(state / SOCKET_FILE)
    if "admin" not in values:
        return (own,)
    place = _text(values, "admin")
    named = place if ":" in place and "/" not in place else str(base / place)
    return (own,) if named == own else (own, named)


def _collateral(values: Mapping[str, Any], state: Path, base: Path) -> CollateralConfig:
    endpoints: dict[str, str] = {}
    asked: set[Tee] = set()
    if server := _server(values, "collateral_intel"):
        endpoints |= pccs(server) if server != VENDOR else {}
        asked |= {Tee.SGX, Tee.TDX}
    if server := _server(values, "collateral_amd"):
        endpoints |= {"amd": server.rstrip("/")} if server != VENDOR else {}
        asked.add(Tee.SNP)
    peers = str(values.get("collateral_peers", "true")).lower()
    if peers not in ("true", "false"):
        raise InvalidConfig(f"collateral_peers is {peers!r}", remedy="say true or false")
    return CollateralConfig(
        folder=_path(values, "collateral", base, state / "collateral"),
        endpoints=endpoints,
        asked=frozenset(asked),
        peers=peers == "true",
    )


def _issuers(named: Any) -> frozenset[Address]:
    accounts = [one.strip() for one in named.split(",") if one.strip()] if isinstance(named, str) else named
    try:
        return frozenset(Address.parse(str(account).lower()) for account in accounts)
    except (TypeError, SealmarketError) as error:
        raise InvalidConfig(f"advisory_issuers names no accounts: {error}", remedy="list addresses, 0x…") from error


def _server(values: Mapping[str, Any], name: str) -> str:
    """A server of collateral: none, the vendor's own, or the URL of a cache."""
    server = str(values.get(name, ""))
    private = server.startswith("https://") or is_loopback(server)
    if server in ("", VENDOR) or (private and redacted(server) != NO_URL and server.isprintable()):
        return server
    raise InvalidConfig(
        f'{name} is neither "{VENDOR}", https nor on this machine: {server[:200]}',
        remedy=f'say "{VENDOR}", or name a cache by an https URL',
    )


def _trust(values: Mapping[str, Any], base: Path) -> ChainTrust:
    """How many endpoints must agree, and whether state counts by proof alone."""
    proofs = values.get("proofs", "required")
    if proofs not in ("required", "none"):
        raise InvalidConfig(f"proofs is {proofs!r}", remedy='say "required" or "none"')
    try:
        endpoints = endpoints_of(relative_to(_text(values, "rpc"), base))
    except EndpointsRefused as error:
        raise InvalidConfig(error.message, remedy=error.remedy) from error
    local = all(is_loopback(endpoint.url) for endpoint in endpoints)
    if proofs == "none" and not (local or str(values.get("trust_endpoints", "")).lower() == "true"):
        raise InvalidConfig(
            'proofs = "none" believes whatever an endpoint says, and an endpoint is on another machine',
            remedy="name endpoints with eth_getProof, or say trust_endpoints = true where all are your own",
        )
    agree = int(_number(values, "agree", 0, 0, len(endpoints)))
    ahead = int(_number(values, "max_head_ahead_seconds", MOST_AHEAD, 1, 10**9))
    return ChainTrust(agree=agree, proofs=proofs == "required", ahead=ahead)


def _roots(files: Any, profile: str, base: Path) -> TrustAnchors:
    if not isinstance(files, list) or not all(isinstance(name, str) for name in files):
        raise InvalidConfig("development_roots is a list of files with certificates in DER")
    if profile == "production":
        if files:
            raise InvalidConfig(
                "the production profile refuses development roots: evidence under them is simulated",
                remedy='remove development_roots, or say profile = "development"',
            )
        return TrustAnchors.production()
    if not files:
        raise InvalidConfig(
            "the development profile names no development root", remedy='name one, or say profile = "production"'
        )
    try:
        return TrustAnchors.production().with_development(*(read_file(base / name) for name in files))
    except OSError as error:
        raise InvalidConfig(
            f"a development root cannot be read: {error.filename}: {error.strerror}",
            remedy="development_roots lists files, relative to this configuration: certificates in DER",
        ) from error
    except AttestationError as error:
        raise InvalidConfig(
            f"a development root cannot be used: {error}", remedy="name a certificate in DER"
        ) from error


def _book(path: Path) -> AddressBook:
    try:
        return decode(AddressBook, read_file(path))
    except (OSError, MalformedDocument) as error:
        raise InvalidConfig(
            f"{path} is no address book: {error}", remedy="use the file that scripts/deploy wrote"
        ) from error


def _path(values: Mapping[str, Any], name: str, base: Path, default: Path) -> Path:
    return base / _text(values, name) if name in values else default


def _text(values: Mapping[str, Any], name: str) -> str:
    value = values.get(name)
    if value is not None and not isinstance(value, str):
        raise InvalidConfig(f"{name} is a text, found {value!r:.80}", remedy=f'write {name} = "…"')
    if not value:
        raise InvalidConfig(f"{name} is missing", remedy=f"set {name}, or {ENVIRONMENT_PREFIX}{name.upper()}")
    return value


def _number(values: Mapping[str, Any], name: str, default: float, low: float, high: float) -> float:
    value = values.get(name, default)
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise InvalidConfig(f"{name} is a number, found {value!r}") from None
    if not low <= number <= high:
        raise InvalidConfig(f"{name} is between {low:g} and {high:g}, found {number:g}")
    return number
