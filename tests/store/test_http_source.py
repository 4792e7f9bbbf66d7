"""Containers over HTTP: what a server says of ranges is held against what was asked, and memory stays small."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import httpx
import pytest

from sealmarket.service.connection import Connection
from sealmarket.service.errors import ContentMismatch, ItemNotFound, ServiceRefused, ServiceUnavailable
from sealmarket.store.download import download
from sealmarket.store.places import UnknownPlace, source_at
from sealmarket.store.source import HttpSource
from sealmarket.store.upload import upload
from sealmarket_enclave.protocol.codec import Bytes32
from sealmarket_enclave.sealed.container import seal
from tests.store.sources import container, flipped, offset

RAW, ROOT, LEAVES = container(6)
Handler = Callable[[httpx.Request], httpx.Response]


@contextmanager
def source(handler: Handler, leaves: str | None = "/leaves") -> Iterator[HttpSource]:
    with closing(Connection("http://web", service="web server", transport=httpx.MockTransport(handler))) as http:
        yield HttpSource(http, "/container", leaves)


def asked(request: httpx.Request) -> tuple[int, int]:
    first, _, last = request.headers["range"].removeprefix("bytes=").partition("-")
    return int(first), int(last) + 1


def serving(request: httpx.Request, raw: bytes = RAW) -> httpx.Response:
    """A server that knows ranges and has the leaves."""
    if request.url.path == "/leaves":
        return httpx.Response(200, content=LEAVES)
    start, stop = asked(request)
    headers = {"content-range": f"bytes {start}-{stop - 1}/{len(raw)}"}
    return httpx.Response(206, content=raw[start:stop], headers=headers)


def fetch(handler: Handler, tmp_path: Path) -> bytes:
    with source(handler) as found:
        download(found, ROOT, tmp_path / "fetched", wait=lambda _seconds: None)
    return (tmp_path / "fetched").read_bytes()


@pytest.mark.parametrize("said", ["", "bytes 1-99/500", "bytes */500", "bytes 0-x/500", "items 0-99/500", "9" * 99])
def test_a_part_that_is_not_said_to_be_the_one_asked_for_is_refused(said: str, tmp_path: Path) -> None:
    with pytest.raises(ServiceRefused, match="range"):
        fetch(lambda _request: httpx.Response(206, content=RAW[:100], headers={"content-range": said}), tmp_path)


@pytest.mark.parametrize(("status", "error"), [
    (404, ItemNotFound), (403, ServiceRefused), (416, ServiceRefused), (302, ServiceRefused), (503, ServiceUnavailable),
])  # fmt: skip
def test_what_a_server_answers_instead_is_typed(status: int, error: type[Exception], tmp_path: Path) -> None:
    with pytest.raises(error):
        fetch(lambda _request: httpx.Response(status, headers={"location": "http://elsewhere"}), tmp_path)


def test_a_compressed_container_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ServiceRefused, match="encoding"):
        fetch(lambda _request: httpx.Response(200, headers={"content-encoding": "br"}, content=b"x"), tmp_path)


@pytest.mark.parametrize("answer", [
    httpx.Response(404), httpx.Response(403), httpx.Response(200, content=LEAVES + b"x"),
    httpx.Response(200, content=LEAVES[:-1]), httpx.Response(200, content=b""),
], ids=["missing", "forbidden", "longer", "shorter", "empty"])  # fmt: skip
def test_leaves_that_are_none_are_done_without(answer: httpx.Response, tmp_path: Path) -> None:
    def handler(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/leaves":
            return httpx.Response(answer.status_code, content=answer.content)
        return serving(request)

    assert fetch(handler, tmp_path) == RAW


def test_a_server_that_sends_more_than_was_asked_for_is_read_no_further(tmp_path: Path) -> None:
    def handler(request: httpx.Request) -> httpx.Response:
        found = serving(request)
        if request.url.path == "/leaves":
            return found
        return httpx.Response(206, content=found.content + b"more" * 1000, headers=dict(found.headers) | {
            "content-length": str(len(found.content) + 4000)})  # fmt: skip

    assert fetch(handler, tmp_path) == RAW


def test_a_server_that_knows_no_ranges_gives_the_container_too(tmp_path: Path) -> None:
    content = {"/leaves": LEAVES, "/container": RAW}
    assert fetch(lambda request: httpx.Response(200, content=content[request.url.path]), tmp_path) == RAW


def test_a_chunk_that_is_wrong_once_is_asked_for_alone(tmp_path: Path) -> None:
    ranges: list[tuple[int, int]] = []

    def handler(request: httpx.Request) -> httpx.Response:
        if "range" in request.headers:
            ranges.append(asked(request))
        return serving(request, flipped(RAW, offset(4)) if len(ranges) == 2 else RAW)

    assert fetch(handler, tmp_path) == RAW
    assert ranges[2:] == [(offset(4), offset(5))]


def test_another_container_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ContentMismatch):
        fetch(lambda request: serving(request, container(6, b"others")[0]), tmp_path)


@pytest.mark.parametrize("place", ["ftp://host/x", "", "s3://", "s3:///key", "gopher://x"])
def test_a_text_that_names_no_place_is_refused(place: str) -> None:
    with pytest.raises(UnknownPlace), source_at(place, ROOT):
        pass


class Streaming(httpx.BaseTransport):
    """A store that takes and gives a container without keeping it in this process."""

    def __init__(self, path: Path) -> None:
        self._path, self.taken = path, 0

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        if request.method == "PATCH":
            assert isinstance(request.stream, httpx.SyncByteStream)
            self.taken = sum(map(len, request.stream))
            return httpx.Response(204)
        if request.method == "PUT":
            return httpx.Response(201)
        if "range" not in request.headers:
            return httpx.Response(404)
        return httpx.Response(200, content=self._pieces())

    def _pieces(self) -> Iterator[bytes]:
        for start in range(0, self._path.stat().st_size, 1 << 16):
            with self._path.open("rb") as file:
                file.seek(start)
                piece = file.read(1 << 16)
            yield piece


def test_memory_does_not_grow_with_what_comes_and_goes(tmp_path: Path) -> None:
    path, length = tmp_path / "container", 48 << 20
    with (tmp_path / "plain").open("wb+") as plain, path.open("wb") as sink:
        plain.truncate(length)
        made = seal(plain, sink, bytes(32), asset_id=Bytes32(bytes(32)), asset_version=1)
    store = Streaming(path)
    with closing(Connection("http://store", service="store", transport=store)) as http:
        tracemalloc.start()
        try:
            upload(http, made.content_root, path)
            download(HttpSource(http, "/container", None), made.content_root, tmp_path / "back")
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert store.taken == made.container_length
    assert (tmp_path / "back").stat().st_size == made.container_length
    assert peak < 24 << 20
