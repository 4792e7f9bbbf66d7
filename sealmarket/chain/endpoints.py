"""Names of a chain's nodes: a URL, several with commas between them, or a TOML file.

    [[endpoint]]                              # asked first
    url = "https://rpc.example/v3"
    headers = { x-api-key = "rpc.key" }       # each value stands in a file, of mode 0600, beside this one

    [[endpoint]]                              # asked where the one before fails
    url = "https://other.example"

A header belongs to its URL, so that no provider is shown the key of another.
"""

from __future__ import annotations

import re
import stat
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from sealmarket.chain.errors import EndpointsRefused
from sealmarket.http import redacted

MOST_ENDPOINTS = 16
MOST_HEADERS = 16
MAXIMUM_FILE = 64 << 10
"""Bytes of the file."""
MAXIMUM_VALUE = 4096
"""Bytes of a header's value."""
_BETWEEN = r",(?=\s{0,4}\w{1,16}://)"
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,64}")
_VALUE = re.compile(r"[!-~](?:[ -~]*[!-~])?")
_OURS = {"accept-encoding", "connection", "content-length", "content-type", "host", "transfer-encoding"}


@dataclass(frozen=True, slots=True)
class EndpointAddress:
    """Where one node is asked, and with which headers. Neither is shown when it is printed."""

    url: str = field(repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)


class _Entry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    url: str
    headers: dict[str, str] = {}


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    endpoint: list[_Entry]


def endpoints_of(where: str, base: Path | None = None) -> tuple[EndpointAddress, ...]:
    """The nodes that ``where`` names, in the order in which they are asked.

    Args:
        base: the folder that a file's name is relative to; by default the current one.

    Raises:
        EndpointsRefused: neither URLs nor such a file, or a header's file that others can read.
    """
    if "://" in where:
        found = [EndpointAddress(part.strip()) for part in re.split(_BETWEEN, where)]
    else:
        found = _read((base or Path()) / where)
    if not 1 <= len(found) <= MOST_ENDPOINTS:
        raise EndpointsRefused(f"{len(found)} endpoints, expected 1 to {MOST_ENDPOINTS}")
    for one in found:
        _require_url(one.url)
    return tuple(found)


def relative_to(where: str, base: Path) -> str:
    """``where`` with the name of a file made absolute; for settings that are read from a file."""
    return where if "://" in where else str(base / where)


def printable(where: str) -> str:
    """``where`` as it may be shown: URLs without what may be a key, a file by its name."""
    return ",".join(redacted(part) for part in re.split(_BETWEEN, where)) if "://" in where else where


def _read(path: Path) -> list[EndpointAddress]:
    try:
        file = msgspec.convert(tomllib.loads(_content(path, MAXIMUM_FILE)), _File)
    except (tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise EndpointsRefused(f"{path}: {error}") from error
    return [EndpointAddress(entry.url, _headers(entry.headers, path.parent)) for entry in file.endpoint]


def _headers(named: Mapping[str, str], folder: Path) -> dict[str, str]:
    if len(named) > MOST_HEADERS:
        raise EndpointsRefused(f"{len(named)} headers for one endpoint, expected at most {MOST_HEADERS}")
    return {_header_name(name): _secret(folder / file) for name, file in named.items()}


def _header_name(name: str) -> str:
    if not _NAME.fullmatch(name) or name.lower() in _OURS:
        raise EndpointsRefused(f"{name[:64]!r} is no header that can be set")
    return name


def _secret(path: Path) -> str:
    value = _content(path, MAXIMUM_VALUE).strip()
    if mode := stat.S_IMODE(path.stat().st_mode) & 0o077:
        raise EndpointsRefused(f"{path} can be read by others (mode {mode:03o} too much): run `chmod 600 {path}`")
    if not _VALUE.fullmatch(value):
        raise EndpointsRefused(f"{path} holds no header's value: one line of printable ASCII")
    return value


def _content(path: Path, limit: int) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(limit + 1)
        text = content.decode()
    except (OSError, ValueError) as error:
        raise EndpointsRefused(f"{path} is neither a URL nor a file that can be read") from error
    if len(content) > limit:
        raise EndpointsRefused(f"{path} has more than {limit} bytes")
    return text


def _require_url(url: str) -> None:
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        usable = False
    if not usable:
        raise EndpointsRefused(f"{redacted(url)} is no http:// or https:// URL")
