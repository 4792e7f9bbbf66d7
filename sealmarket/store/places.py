"""Places of sealed containers as people write them.

| written | read from | put into |
|---|---|---|
| `folder/` or a folder that is there | the file of the root's name in it | that file, and its leaves |
| a file | that file | |
| `s3://bucket/key` | that object; behind a `/`, the one of the root's name | that object, and its leaves |
| `https://host/path` | that URL, by ranges where the server knows them | a store at that address |
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from sealmarket.service.connection import Connection
from sealmarket.store.blobs import Store
from sealmarket.store.folder import LEAVES, FileSource, put_in_folder
from sealmarket.store.s3 import S3Client, S3Object, S3Source, put_in_bucket
from sealmarket.store.source import HttpSource, SealedSource
from sealmarket_enclave.protocol.codec import Bytes32
from sealmarket_enclave.protocol.errors import SealmarketError

WEB = "web server"
"""How errors name a URL's server."""


class UnknownPlace(SealmarketError):
    """The text names no place for containers."""

    exit_code = 2

    def __init__(self, text: str) -> None:
        super().__init__(
            f"{text[:200]!r} is no place for a container",
            remedy="give a file or folder, s3://BUCKET/KEY, or an http:// or https:// URL",
        )


@contextmanager
def source_at(place: str, root: Bytes32) -> Iterator[SealedSource]:
    """Where to read a container from. Raises :class:`UnknownPlace`, :class:`S3NotInstalled`."""
    scheme = _scheme(place)
    if scheme == "s3":
        target = _object(place, root)
        yield S3Source(S3Client(), target)
    elif scheme in {"http", "https"}:
        with closing(Connection("", service=WEB)) as connection:
            yield HttpSource(connection, place, _leaves_url(place, root))
    else:
        path = Path(place)
        yield FileSource(path / root.hex() if path.is_dir() else path)


def put_at(place: str, container: Path, root: Bytes32) -> str:
    """Write a container to a place; returns how it is found there.

    Raises:
        UnknownPlace, S3NotInstalled.
        ContainerError: the file is not the container of this root; nothing is written then.
        ServiceError, OSError.
    """
    scheme = _scheme(place)
    if scheme == "s3":
        target = _object(place, root)
        put_in_bucket(S3Client(), target, container, root)
        return f"s3://{target.bucket}/{target.key}"
    if scheme in {"http", "https"}:
        with closing(Store(place)) as store:
            store.put_container(root, container)
            return f"{store.url}/v1/containers/{root}"
    return str(put_in_folder(container, root, Path(place)))


def _scheme(place: str) -> str:
    before, found, _ = place.partition("://")
    scheme = before.lower() if found else ""
    if scheme not in {"", "s3", "http", "https"} or not place:
        raise UnknownPlace(place)
    return scheme


def _object(place: str, root: Bytes32) -> S3Object:
    parts = urlsplit(place)
    key = parts.path.removeprefix("/")
    if not parts.netloc or parts.query or parts.fragment:
        raise UnknownPlace(place)
    return S3Object(parts.netloc, key + root.hex() if not key or key.endswith("/") else key)


def _leaves_url(place: str, root: Bytes32) -> str | None:
    """Where the leaves would be; a URL with a query is signed for one thing alone."""
    if "?" in place or "#" in place:
        return None
    return f"{place}/leaves" if place.endswith(f"/v1/containers/{root}") else place + LEAVES
