"""Buckets that speak S3, as places for sealed containers. botocore signs; :mod:`sealmarket.http` moves every byte.

botocore finds credentials, region and endpoint as all programs of that world do (environment, profile, instance), and
makes presigned URLs without a network. So each answer of a bucket is bounded in bytes and in time as any other. Its XML
is read without entities, document types or network.

An upload in parts is taken up again: the bucket lists the parts that it has, and one counts where its length and MD5
are those of the file. Where a bucket's ETags are no MD5s (KMS), all parts are sent again.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from lxml import etree

from sealmarket.files import pieces
from sealmarket.http import Answer
from sealmarket.service.connection import Connection
from sealmarket.service.errors import ServiceRefused
from sealmarket.store.folder import LEAVES
from sealmarket.store.source import HttpSource, Part
from sealmarket_enclave.protocol.codec import Bytes32
from sealmarket_enclave.protocol.errors import SealmarketError
from sealmarket_enclave.sealed.container import ContainerReader

S3 = "bucket"
"""How errors name the service."""
PART_BYTES = 8 << 20
MOST_PARTS = 10_000
_SIGNED_SECONDS = 6 * 3600
_MAXIMUM_XML = 2 << 20
_MOST_PAGES = 16
_MOST_LISTED = 1000
_OTHER = "use a server that speaks S3"


class S3NotInstalled(SealmarketError):
    """The extra that signs requests is not installed."""

    exit_code = 2

    def __init__(self) -> None:
        super().__init__("s3:// places need botocore, which is not installed", remedy="pip install 'sealmarket[s3]'")


class S3Unusable(SealmarketError):
    """botocore cannot sign: there are no credentials, or an option of its configuration is wrong."""

    def __init__(self, detail: str) -> None:
        super().__init__(
            f"requests to the bucket cannot be signed: {detail}",
            remedy="set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or a profile; elsewhere AWS_ENDPOINT_URL_S3 too",
        )
        self.detail = detail


@dataclass(frozen=True, slots=True)
class S3Object:
    """One name in one bucket."""

    bucket: str
    key: str

    def beside(self, suffix: str) -> S3Object:
        """The object whose name goes on so."""
        return S3Object(self.bucket, self.key + suffix)


class S3Client:
    """Signs for one endpoint, and asks. Errors name no key and no URL beyond its host."""

    def __init__(self, endpoint: str | None = None) -> None:
        """``endpoint``: a URL; None takes what botocore's configuration says, which is AWS itself by default."""
        try:
            import botocore.session
            from botocore.config import Config
        except ImportError as error:
            raise S3NotInstalled from error
        from botocore.exceptions import BotoCoreError

        self._error = BotoCoreError
        # Path addressing: other servers have no DNS name for each bucket. No checksum that a body must be read for.
        config = Config(signature_version="s3v4", s3={"addressing_style": "path"} if endpoint else None,
                        request_checksum_calculation="when_required")  # fmt: skip
        try:
            session = botocore.session.get_session()
            region = session.get_config_variable("region") or "us-east-1"
            self._client = session.create_client("s3", endpoint_url=endpoint, region_name=region, config=config)
        except (BotoCoreError, ValueError) as error:
            raise S3Unusable(str(error)) from error

    def url(self, operation: str, target: S3Object, **more: object) -> str:
        """A presigned URL of one operation. Raises :class:`S3Unusable`."""
        parameters = {"Bucket": target.bucket, "Key": target.key, **more}
        return self._presigned(operation, parameters)

    def _presigned(self, operation: str, parameters: dict[str, object]) -> str:
        try:
            return str(self._client.generate_presigned_url(operation, Params=parameters, ExpiresIn=_SIGNED_SECONDS))
        except (self._error, ValueError) as error:
            raise S3Unusable(str(error)) from error

    def put(self, target: S3Object, content: bytes | Iterator[bytes], size: int) -> None:
        """Write a whole object."""
        self._sent(self.url("put_object", target), content, size)

    def put_file(self, target: S3Object, path: Path) -> None:
        """Write an object from a file; a large one in parts, of which those that are there are not sent again."""
        with path.open("rb", buffering=0) as file:
            size = path.stat().st_size
            if size <= PART_BYTES:
                self.put(target, pieces(file.fileno(), 0, size), size)
            else:
                _put_in_parts(self, target, file, size)

    @contextmanager
    def reading(self, target: S3Object, limit: int) -> Iterator[Iterator[bytes]]:
        """A whole object, of at most ``limit`` bytes. Raises :class:`ItemNotFound` where there is none."""
        with _asked("GET", self.url("get_object", target), limit) as answer:
            yield answer.pieces()

    def remove(self, target: S3Object) -> None:
        """Take an object away; one that is not there is as one that was removed."""
        with _asked("DELETE", self.url("delete_object", target), _MAXIMUM_XML) as answer:
            answer.body()

    def listed(self, bucket: str, prefix: str, behind: str) -> list[tuple[str, float]]:
        """The first objects of a prefix whose keys are behind one, at most a thousand: each with its key, and when it
        was written, in seconds since 1970."""
        parameters = {"Bucket": bucket, "Prefix": prefix, "StartAfter": behind, "MaxKeys": _MOST_LISTED}
        root = self._xml("GET", self._presigned("list_objects_v2", parameters))
        found = [(one.findtext("{*}Key"), one.findtext("{*}LastModified")) for one in root.iterfind("{*}Contents")]
        return [(key, _time(changed_at)) for key, changed_at in found[:_MOST_LISTED] if key]

    def uploads(self, target: S3Object) -> list[str]:
        """The uploads under way of exactly this name."""
        parameters: dict[str, object] = {"Bucket": target.bucket, "Prefix": target.key}
        root = self._xml("GET", self._presigned("list_multipart_uploads", parameters))
        found = [upload for upload in root.iterfind("{*}Upload") if upload.findtext("{*}Key") == target.key]
        return [text for upload in found if (text := upload.findtext("{*}UploadId"))]

    def begin(self, target: S3Object) -> str:
        """Begin an upload in parts; its id."""
        root = self._xml("POST", self.url("create_multipart_upload", target))
        found = root.findtext("{*}UploadId")
        if not found:
            raise ServiceRefused(S3, "an upload", "its answer names no upload", _OTHER)
        return str(found)

    def parts(self, target: S3Object, upload: str) -> dict[int, tuple[int, str]]:
        """Number of each part that is there -> its length and ETag."""
        found: dict[int, tuple[int, str]] = {}
        marker = 0
        for _page in range(_MOST_PAGES):
            url = self.url("list_parts", target, UploadId=upload, PartNumberMarker=marker)
            root = self._xml("GET", url)
            for part in root.iterfind("{*}Part"):
                number, size = _number(part.findtext("{*}PartNumber")), _number(part.findtext("{*}Size"))
                found[number] = size, str(part.findtext("{*}ETag") or "").strip('"')
            if root.findtext("{*}IsTruncated") != "true":
                break
            marker = _number(root.findtext("{*}NextPartNumberMarker"))
        return found

    def put_part(self, target: S3Object, upload: str, number: int, content: Iterator[bytes], size: int) -> str:
        """Send one part; its ETag."""
        url = self.url("upload_part", target, UploadId=upload, PartNumber=number)
        return self._sent(url, content, size)

    def complete(self, target: S3Object, upload: str, tags: list[str]) -> None:
        """Make one object of the parts. An answer of 200 may hold an error all the same."""
        body = etree.Element("CompleteMultipartUpload")
        for number, tag in enumerate(tags, 1):
            part = etree.SubElement(body, "Part")
            etree.SubElement(part, "PartNumber").text = str(number)
            etree.SubElement(part, "ETag").text = f'"{tag}"'
        root = self._xml("POST", self.url("complete_multipart_upload", target, UploadId=upload), etree.tostring(body))
        if not str(root.tag).endswith("CompleteMultipartUploadResult"):
            detail = f"{root.findtext('{*}Code') or root.findtext('Code')}"
            raise ServiceRefused(S3, "an upload", detail[:200], "run the command again: parts that are there stay")

    def _xml(self, method: str, url: str, body: bytes | None = None) -> Any:
        with _asked(method, url, _MAXIMUM_XML, body) as answer:
            raw = answer.body()
        parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False)
        try:
            root = etree.fromstring(raw, parser)
        except (etree.XMLSyntaxError, ValueError) as error:
            raise ServiceRefused(S3, "a request", f"its answer is no XML: {error}"[:200], _OTHER) from error
        if root.getroottree().docinfo.doctype:
            raise ServiceRefused(S3, "a request", "its answer has a document type", _OTHER)
        return root

    @staticmethod
    def _sent(url: str, content: bytes | Iterator[bytes], size: int) -> str:
        with _asked("PUT", url, _MAXIMUM_XML, content, {"content-length": str(size)}) as answer:
            answer.body()
            return str(answer.headers.get("etag", "")).strip('"')


def put_in_bucket(client: S3Client, target: S3Object, container: Path, root: Bytes32) -> None:
    """Write a container to a bucket, and its leaves beside it. What an earlier call sent of it is not sent again.

    Raises:
        ContainerError: the file is not the container of this root; nothing is sent then.
        ServiceError: what is there already stays for the next call.
    """
    with container.open("rb", buffering=0) as file:
        reader = ContainerReader(file, root)
        leaves = reader.leaves
        size = reader.header.container_length
        if size <= PART_BYTES:
            client.put(target, pieces(file.fileno(), 0, size), size)
        else:
            _put_in_parts(client, target, file, size)
    client.put(target.beside(LEAVES), leaves, len(leaves))


def _put_in_parts(client: S3Client, target: S3Object, file: io.FileIO, size: int) -> None:
    part = max(PART_BYTES, -(-size // MOST_PARTS))
    known = client.uploads(target)
    upload = known[-1] if known else client.begin(target)
    there = client.parts(target, upload) if known else {}
    tags = []
    for number, start in enumerate(range(0, size, part), 1):
        stop = min(start + part, size)
        digest = hashlib.md5(usedforsecurity=False)
        for piece in pieces(file.fileno(), start, stop):
            digest.update(piece)
        wanted = stop - start, digest.hexdigest()
        if there.get(number) == wanted:
            tags.append(wanted[1])
        else:
            tags.append(client.put_part(target, upload, number, pieces(file.fileno(), start, stop), stop - start))
    client.complete(target, upload, tags)


class S3Source:
    """A container in a bucket, with its leaves beside it where there are any. Each question is signed anew."""

    def __init__(self, client: S3Client, target: S3Object) -> None:
        self._client, self._target = client, target

    @property
    def name(self) -> str:
        """As :attr:`SealedSource.name`."""
        return S3

    @contextmanager
    def read(self, start: int, stop: int) -> Iterator[Part]:
        """As :meth:`SealedSource.read`."""
        with self._signed() as source, source.read(start, stop) as part:
            yield part

    def leaves(self, size: int) -> bytes | None:
        """As :meth:`SealedSource.leaves`."""
        with self._signed() as source:
            return source.leaves(size)

    @contextmanager
    def _signed(self) -> Iterator[HttpSource]:
        urls = [self._client.url("get_object", one) for one in (self._target, self._target.beside(LEAVES))]
        with closing(Connection("", service=S3)) as connection:
            yield HttpSource(connection, *urls)


@contextmanager
def _asked(
    method: str,
    url: str,
    limit: int,
    content: bytes | Iterator[bytes] | None = None,
    headers: dict[str, str] | None = None,
) -> Iterator[Answer]:
    with (
        closing(Connection("", service=S3)) as connection,
        connection.ask(method, url, what="object", limit=limit, content=content, headers=headers) as answer,
    ):
        yield answer


def _number(text: str | None) -> int:
    if text is None or not text.isascii() or not text.isdigit() or len(text) > 15:
        raise ServiceRefused(S3, "a request", f"its answer has {str(text)[:40]!r} in a number's place", _OTHER)
    return int(text)


def _time(text: str | None) -> float:
    try:
        return datetime.fromisoformat(str(text)).timestamp()
    except (ValueError, OverflowError):
        detail = f"its answer has {str(text)[:40]!r} in a time's place"
        raise ServiceRefused(S3, "a request", detail, _OTHER) from None
