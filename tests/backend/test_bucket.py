"""Backends that keep their blobs in one bucket, each with a folder as its cache."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

import pytest

from sealmarket.service.errors import ServiceUnavailable
from sealmarket.store.places import UnknownPlace
from sealmarket.store.s3 import S3Client
from sealmarket_backend import cache as cache_module
from sealmarket_backend.blobs import Blobs, Kind
from sealmarket_backend.bucket import Bucket, Objects, bucket_at
from sealmarket_backend.errors import NotFound, Rejected, StoreFull
from sealmarket_backend.ledger import BLOCK, COUNT_SECONDS, Ledger, StoreLimits
from sealmarket_backend.sweep import sweep
from sealmarket_backend.tables import Database
from sealmarket_enclave.protocol.hashing import keccak
from tests.store.sources import container

DOCUMENT = b'{"a":1}'
NAME = keccak(DOCUMENT)
RAW, ROOT, LEAVES = container(3)
DAY = 86_400


class Shelf:
    """The twin of a bucket, in memory."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.before_removal: Callable[[], None] = lambda: None
        self.silent = False
        self.page, self.written_at = 3, 0.0

    def put(self, key: str, path: Path) -> None:
        self._answer()
        self.objects[key] = path.read_bytes()

    def fetch(self, key: str, file: BinaryIO, _limit: int) -> bool:
        self._answer()
        file.write(self.objects.get(key, b""))
        return key in self.objects

    def remove(self, key: str) -> None:
        self._answer()
        self.before_removal()
        self.objects.pop(key, None)

    def listed(self, behind: str) -> list[tuple[str, float]]:
        self._answer()
        return [(key, self.written_at) for key in sorted(self.objects) if key > behind][: self.page]

    def _answer(self) -> None:
        if self.silent:
            raise ServiceUnavailable("bucket", "a request", "it does not answer")


class Clock:
    """A clock that a test sets."""

    now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


class World:
    """Backends over one database and one bucket."""

    def __init__(self, database: Database, folder: Path, bucket: Objects) -> None:
        self.database, self._folder, self._bucket, self.clock = database, folder, bucket, Clock()

    def backend(self, name: str, **limits: int) -> Blobs:
        folder = self._folder / name
        folder.mkdir(exist_ok=True)
        return Blobs(folder, Ledger(self.database, StoreLimits(**limits), folder, self.clock), self._bucket)


@pytest.fixture
def shelf() -> Shelf:
    return Shelf()


@pytest.fixture
def world(database: Database, tmp_path: Path, shelf: Shelf) -> World:
    return World(database, tmp_path, shelf)


@pytest.mark.parametrize(
    "place", ["", "bucket", "https://bucket/x", "s3://", "s3:///prefix", "s3://bucket/x?versionId=1"]
)
def test_a_place_that_is_no_bucket_is_refused(place: str) -> None:
    with pytest.raises(UnknownPlace):
        bucket_at(place)


def test_what_the_bucket_does_not_take_is_not_kept(world: World, shelf: Shelf) -> None:
    shelf.silent = True
    first = world.backend("first")
    with pytest.raises(ServiceUnavailable):
        first.put(Kind.DOCUMENTS, NAME, DOCUMENT)
    assert not first.has(Kind.DOCUMENTS, NAME)
    assert first.ledger.health()["bytesUsed"] == 0


def test_bytes_of_another_name_reach_no_bucket(world: World, shelf: Shelf) -> None:
    with pytest.raises(Rejected):
        world.backend("first").put(Kind.DOCUMENTS, NAME, b"{}")
    assert shelf.objects == {}


def test_a_bucket_that_serves_other_bytes_is_believed_nothing(world: World, shelf: Shelf, tmp_path: Path) -> None:
    world.backend("first").put(Kind.CONTAINERS, ROOT, RAW)
    (key,) = shelf.objects
    for served in (RAW[:-1], RAW[:-1] + bytes([RAW[-1] ^ 1]), b""):
        shelf.objects[key] = served
        second = world.backend("second")
        with pytest.raises(NotFound):
            second.path(Kind.CONTAINERS, ROOT)
        assert list((tmp_path / "second" / "incoming").iterdir()) == []


def test_a_bucket_that_lost_an_object_gets_it_back_from_its_owner(world: World, shelf: Shelf) -> None:
    world.backend("first").put(Kind.DOCUMENTS, NAME, DOCUMENT)
    shelf.objects.clear()
    second = world.backend("second")
    with pytest.raises(NotFound, match="put it back"):
        second.path(Kind.DOCUMENTS, NAME)
    second.put(Kind.DOCUMENTS, NAME, DOCUMENT)
    assert world.backend("third").path(Kind.DOCUMENTS, NAME).read_bytes() == DOCUMENT


def test_what_one_backend_keeps_every_other_one_serves(world: World) -> None:
    first, second = world.backend("first"), world.backend("second")
    first.put(Kind.CONTAINERS, ROOT, RAW)
    assert second.has(Kind.CONTAINERS, ROOT)
    assert second.leaves(ROOT).read_bytes() == LEAVES
    assert second.path(Kind.CONTAINERS, ROOT).read_bytes() == RAW
    assert second.size(Kind.CONTAINERS, ROOT) == len(RAW)
    assert second.size(Kind.LISTS, ROOT) == 0


def test_a_blob_that_is_put_twice_lies_in_the_bucket_once(world: World, shelf: Shelf) -> None:
    first, second = world.backend("first"), world.backend("second")
    for one in (first, second, first):
        one.put(Kind.DOCUMENTS, NAME, DOCUMENT)
    assert len(shelf.objects) == 1
    assert world.backend("third").path(Kind.DOCUMENTS, NAME).read_bytes() == DOCUMENT


def test_a_quota_counts_what_a_peer_put_elsewhere(world: World) -> None:
    limit = 2 * BLOCK + 100
    first, second = world.backend("first", peer_bytes=limit), world.backend("second", peer_bytes=limit)
    first.put(Kind.DOCUMENTS, NAME, DOCUMENT)
    first.put(Kind.DOCUMENTS, keccak(b"2"), b"2")
    world.clock.now += COUNT_SECONDS
    with pytest.raises(StoreFull):
        second.put(Kind.DOCUMENTS, keccak(b"3"), b"3")
    assert first.ledger.health()["bytesUsed"] == second.ledger.health()["bytesUsed"]


def test_what_is_put_again_while_it_is_swept_stays(world: World, shelf: Shelf) -> None:
    first, second = world.backend("first"), world.backend("second")
    first.put(Kind.DOCUMENTS, NAME, DOCUMENT)
    world.clock.now += 8 * DAY

    def put_again() -> None:
        shelf.before_removal = lambda: None
        thread = threading.Thread(target=second.put, args=(Kind.DOCUMENTS, NAME, DOCUMENT))
        thread.start()
        thread.join()

    shelf.before_removal = put_again  # between the row's end and the object's
    assert sweep(world.database, first) == 1
    assert world.backend("third").path(Kind.DOCUMENTS, NAME).read_bytes() == DOCUMENT


def test_what_nothing_names_leaves_the_bucket_and_every_folder_that_is_asked(world: World, shelf: Shelf) -> None:
    first, second = world.backend("first"), world.backend("second")
    first.put(Kind.DOCUMENTS, NAME, DOCUMENT)
    world.clock.now += 8 * DAY
    assert sweep(world.database, second) == 1
    assert shelf.objects == {}
    for one in (first, second):
        assert not one.has(Kind.DOCUMENTS, NAME)
        with pytest.raises(NotFound):
            one.path(Kind.DOCUMENTS, NAME)


def test_a_cache_keeps_what_was_used_last(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache_module, "REST_SECONDS", 0.0)
    documents = [b'{"n":%03d}' % number for number in range(6)]
    backend = world.backend("first", cache_bytes=3 * len(documents[0]))
    for document in documents:
        backend.put(Kind.DOCUMENTS, keccak(document), document)
    folder = tmp_path / "first" / "documents"
    assert {path.name for path in folder.iterdir()} == {keccak(document).hex() for document in documents[3:]}
    assert backend.path(Kind.DOCUMENTS, keccak(documents[0])).read_bytes() == documents[0]
    assert {path.name for path in folder.iterdir()} == {keccak(one).hex() for one in (*documents[4:], documents[0])}


def test_a_file_that_is_being_served_stays_in_a_full_cache(world: World, tmp_path: Path) -> None:
    backend = world.backend("first", cache_bytes=1)
    backend.put(Kind.DOCUMENTS, NAME, DOCUMENT)
    backend.put(Kind.DOCUMENTS, keccak(b"2"), b"2")
    assert len(list((tmp_path / "first" / "documents").iterdir())) == 2


# --- a server that speaks S3 ----------------------------------------------------------------------------------------


@pytest.fixture
def moto(monkeypatch: pytest.MonkeyPatch) -> Iterator[Bucket]:
    from moto.server import ThreadedMotoServer

    for name, value in {"ACCESS_KEY_ID": "testing", "SECRET_ACCESS_KEY": "testing", "EC2_METADATA_DISABLED": "true",
                        "CONFIG_FILE": "/nonexistent", "SHARED_CREDENTIALS_FILE": "/nonexistent"}.items():  # fmt: skip
        monkeypatch.setenv(f"AWS_{name}", value)
    running = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    running.start()
    host, port = running.get_host_and_port()
    client = S3Client(f"http://{host}:{port}")
    client._sent(client._presigned("create_bucket", {"Bucket": "blobs"}), b"", 0)
    yield Bucket(client, "blobs", "market/")
    running.stop()


@pytest.mark.loopback
def test_blobs_of_every_kind_go_through_a_server_that_speaks_s3(moto: Bucket, tmp_path: Path) -> None:
    with Database(None) as database:
        world = World(database, tmp_path, moto)
        first, second = world.backend("first"), world.backend("second")
        first.put(Kind.DOCUMENTS, NAME, DOCUMENT)
        first.put(Kind.CONTAINERS, ROOT, RAW)
        assert second.path(Kind.CONTAINERS, ROOT).read_bytes() == RAW
        assert second.path(Kind.DOCUMENTS, NAME).read_bytes() == DOCUMENT
        world.clock.now += 8 * DAY
        assert sweep(database, first) == 2
        third = world.backend("third")
        with pytest.raises(NotFound):
            third.path(Kind.DOCUMENTS, NAME)
        assert not fetched(moto, f"documents/{NAME.hex()}.gone", tmp_path)


def fetched(bucket: Bucket, key: str, folder: Path) -> bool:
    with (folder / "out").open("w+b") as file:
        return bucket.fetch(key, file, 100)
