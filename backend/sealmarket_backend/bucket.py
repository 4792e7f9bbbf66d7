"""Blobs in a bucket that speaks S3: several backends keep theirs in one, each with a folder as its cache.

1. An object's key is its kind, its name, the mark of the database and a token that its upload drew; the table
   ``uploads`` says which counts. So an upload never writes what another process takes away at that moment, and two of
   one name do not meet.
2. An object is whole in the bucket before its row is written. One without a row, which a crash between the two leaves,
   is named by nothing, and goes after a while (:mod:`.orphans`).
3. The bucket is trusted for nothing: what is fetched is held against its name, as what comes from anyone.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol
from urllib.parse import urlsplit

from sealmarket.service.errors import ItemNotFound
from sealmarket.store.places import UnknownPlace
from sealmarket.store.s3 import S3Client, S3Object
from sealmarket_enclave.protocol.codec import Bytes32

_KEY = re.compile("([a-z]{1,16})/([0-9a-f]{64})[.]([0-9a-f]{8})[0-9a-f]{16}")


class Objects(Protocol):
    """What is needed of a bucket. Each method raises :class:`~sealmarket.service.errors.ServiceError`."""

    def put(self, key: str, path: Path) -> None:
        """Write an object."""

    def fetch(self, key: str, file: BinaryIO, limit: int) -> bool:
        """Read an object into a file; False where there is none."""

    def remove(self, key: str) -> None:
        """Take an object away, if it is there."""

    def listed(self, behind: str) -> list[tuple[str, float]]:
        """The first objects whose keys are behind this one, in order, with the seconds since 1970 at which each was
        written, as the bucket says; none at the end."""


@dataclass(frozen=True, slots=True)
class KeyParts:
    """What a key says. ``mark``: of the database whose backend put the object there."""

    kind: str
    name: Bytes32
    mark: str


class Bucket:
    """One bucket, and the prefix of everything in it."""

    def __init__(self, client: S3Client, bucket: str, prefix: str) -> None:
        self._client, self._bucket, self._prefix = client, bucket, prefix

    def put(self, key: str, path: Path) -> None:
        """As :meth:`Objects.put`."""
        self._client.put_file(self._object(key), path)

    def fetch(self, key: str, file: BinaryIO, limit: int) -> bool:
        """As :meth:`Objects.fetch`."""
        try:
            pieces: Iterator[bytes]
            with self._client.reading(self._object(key), limit) as pieces:
                file.writelines(pieces)
        except ItemNotFound:
            return False
        return True

    def remove(self, key: str) -> None:
        """As :meth:`Objects.remove`."""
        self._client.remove(self._object(key))

    def listed(self, behind: str) -> list[tuple[str, float]]:
        """As :meth:`Objects.listed`."""
        prefix = self._prefix
        page = self._client.listed(self._bucket, prefix, prefix + behind if behind else "")
        return [(key.removeprefix(prefix), changed_at) for key, changed_at in page if key.startswith(prefix)]

    def _object(self, key: str) -> S3Object:
        return S3Object(self._bucket, self._prefix + key)


def bucket_at(place: str) -> Bucket:
    """The bucket of ``s3://BUCKET/PREFIX``. Raises :class:`UnknownPlace`, :class:`S3NotInstalled`,
    :class:`S3Unusable`."""
    parts = urlsplit(place)
    if parts.scheme != "s3" or not parts.netloc or parts.query or parts.fragment:
        raise UnknownPlace(place)
    prefix = parts.path.strip("/")
    return Bucket(S3Client(), parts.netloc, f"{prefix}/" if prefix else "")


def new_key(kind: str, name: Bytes32, mark: str) -> str:
    """A key that no other upload has. ``mark``: eight hex digits of the database."""
    return f"{kind}/{name.hex()}.{mark}{secrets.token_hex(8)}"


def parts_of(key: str) -> KeyParts | None:
    """What a key of :func:`new_key` says; None for another one, and for those of before there were marks."""
    found = _KEY.fullmatch(key)
    return None if found is None else KeyParts(found[1], Bytes32(bytes.fromhex(found[2])), found[3])
