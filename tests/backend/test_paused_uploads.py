"""An upload that tore off goes on, and no stranger can add to it, end it, displace it, or fill the store by it."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import httpx
import pytest

from sealmarket.chain.memory import MemoryChain
from sealmarket.service.errors import ServiceRefused
from sealmarket.serving.limits import ServerLimits
from sealmarket.store import upload as upload_module
from sealmarket.store.blobs import Store as StoreClient
from sealmarket_backend.api import create_app
from sealmarket_backend.blobs import Blobs, Kind
from sealmarket_backend.errors import NotFound, OtherOffset, Rejected, StoreFull, TooMany
from sealmarket_backend.ledger import BLOCK, Ledger, StoreLimits
from sealmarket_backend.service import Backend
from sealmarket_backend.tables import Database
from sealmarket_backend.uploads import Uploads
from sealmarket_enclave.protocol.codec import Bytes32
from tests.backend.orders import BOOK
from tests.backend.test_api import Silent
from tests.backend.test_ledger import ALICE, MALLORY, Clock
from tests.patience import until
from tests.serving.attacks import Served, served
from tests.store.sources import container, flipped

RAW, ROOT, LEAVES = container(3)
MINE, OTHER = Bytes32(b"\x01" * 32), Bytes32(b"\x02" * 32)


class World:
    """A store with uploads that go on, and a clock."""

    def __init__(self, folder: Path, database: Database, **limits: int) -> None:
        self.clock = Clock()
        self.ledger = Ledger(database, StoreLimits(**limits), folder)
        self.blobs = Blobs(folder, self.ledger)
        self.uploads = Uploads(self.blobs, self.clock)
        self.incoming = folder / "incoming"

    def add(self, raw: bytes, *, at: int = 0, token: Bytes32 = MINE, root: Bytes32 = ROOT, peer: str = ALICE) -> None:
        with self.uploads.part(root, token, at, peer) as incoming:
            incoming.write(raw)

    @property
    def used(self) -> int:
        return self.ledger.health()["bytesUsed"]


@pytest.fixture
def world(tmp_path: Path, database: Database) -> World:
    return World(tmp_path, database)


def token(number: int) -> Bytes32:
    return Bytes32(number.to_bytes(32, "big"))


def test_who_does_not_know_the_token_neither_sees_nor_ends_nor_adds_to_an_upload(world: World) -> None:
    world.add(RAW[:1000])
    for attempt in (
        lambda: world.uploads.offset(ROOT, OTHER),
        lambda: world.uploads.finish(ROOT, OTHER, MALLORY),
        lambda: world.add(b"junk", at=1000, token=OTHER, peer=MALLORY),
    ):
        with pytest.raises(NotFound):
            attempt()
    assert world.uploads.offset(ROOT, MINE) == 1000


def test_a_stranger_who_begins_the_same_root_is_not_in_the_way(world: World) -> None:
    world.add(RAW[:1000])
    world.add(b"junk", token=OTHER, peer=MALLORY)
    with pytest.raises(Rejected):
        world.uploads.finish(ROOT, OTHER, MALLORY)
    world.add(RAW[1000:], at=1000)
    world.uploads.finish(ROOT, MINE, ALICE)
    assert world.blobs.path(Kind.CONTAINERS, ROOT).read_bytes() == RAW


@pytest.mark.parametrize("at", [1, 999, 1001, len(RAW)])
def test_a_part_that_does_not_go_on_where_the_bytes_end_is_refused_with_where_that_is(at: int, world: World) -> None:
    world.add(RAW[:1000])
    with pytest.raises(OtherOffset, match="1000 bytes"):
        world.add(b"x", at=at)
    assert world.uploads.offset(ROOT, MINE) == 1000


def test_two_requests_do_not_write_to_one_upload_at_once(world: World) -> None:
    world.add(RAW[:10])
    with world.uploads.part(ROOT, MINE, 10, ALICE):
        for attempt in (
            lambda: world.add(b"x", at=10),
            lambda: world.uploads.offset(ROOT, MINE),
            lambda: world.uploads.finish(ROOT, MINE, ALICE),
        ):
            with pytest.raises(TooMany):
                attempt()


def test_paused_bytes_count_for_the_quota_of_the_peer_that_began(tmp_path: Path, database: Database) -> None:
    world = World(tmp_path, database, peer_bytes=3 * BLOCK)
    world.add(bytes(BLOCK))
    with pytest.raises(StoreFull):
        world.add(bytes(BLOCK + 1), at=BLOCK)
    with pytest.raises(StoreFull):
        world.add(bytes(BLOCK + 1), at=BLOCK, peer=MALLORY)
    assert world.used == 2 * BLOCK
    world.add(RAW[:BLOCK], token=OTHER, peer=MALLORY)


def test_a_peer_that_pauses_too_many_loses_its_own_oldest_and_nobody_elses(tmp_path: Path, database: Database) -> None:
    world = World(tmp_path, database, paused_per_peer=2)
    world.add(RAW[:10])
    for number in range(3, 6):
        world.clock.now += 1
        world.add(b"junk", token=token(number), peer=MALLORY)
    assert world.uploads.offset(ROOT, MINE) == 10
    with pytest.raises(NotFound):
        world.uploads.offset(ROOT, token(3))
    assert world.uploads.offset(ROOT, token(5)) == 4


def test_where_all_have_paused_too_many_the_newest_is_not_kept(tmp_path: Path, database: Database) -> None:
    world = World(tmp_path, database, paused=2)
    world.add(RAW[:10])
    world.add(b"junk", token=token(3), peer=MALLORY)
    world.add(b"junk", token=token(4), peer="198.51.100.7")
    assert world.uploads.offset(ROOT, MINE) == 10
    with pytest.raises(NotFound):
        world.uploads.offset(ROOT, token(4))
    assert len(list(world.incoming.iterdir())) == 2


def test_a_paused_upload_takes_no_place_from_others(tmp_path: Path, database: Database) -> None:
    world = World(tmp_path, database, uploads=1, uploads_per_peer=1)
    world.add(RAW[:10], peer=MALLORY)
    world.add(RAW[:10], token=OTHER)
    with world.uploads.part(ROOT, OTHER, 10, ALICE), pytest.raises(TooMany):
        world.add(b"x", at=10, peer=MALLORY)


def test_a_paused_upload_goes_after_its_time_and_gives_its_bytes_back(world: World) -> None:
    world.add(RAW[:1000])
    world.clock.now += 3599
    world.uploads.expire()
    assert world.uploads.offset(ROOT, MINE) == 1000
    world.clock.now += 1
    world.uploads.expire()
    with pytest.raises(NotFound):
        world.uploads.offset(ROOT, MINE)
    assert (world.used, list(world.incoming.iterdir())) == (0, [])


def test_an_upload_under_way_does_not_go(world: World) -> None:
    world.add(RAW[:1000])
    with world.uploads.part(ROOT, MINE, 1000, ALICE) as incoming:
        world.clock.now += 10_000
        world.uploads.expire()
        incoming.write(RAW[1000:])
    world.uploads.finish(ROOT, MINE, ALICE)
    assert world.blobs.has(Kind.CONTAINERS, ROOT)


def test_what_is_not_the_container_goes_whole(world: World) -> None:
    world.add(flipped(RAW, 500))
    with pytest.raises(Rejected):
        world.uploads.finish(ROOT, MINE, ALICE)
    with pytest.raises(NotFound):
        world.uploads.offset(ROOT, MINE)
    assert (world.used, list(world.incoming.iterdir())) == (0, [])


def test_a_disk_that_fails_once_a_container_has_its_name_leaves_no_upload_that_nobody_can_end(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_arguments: object) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    world.add(RAW)
    with monkeypatch.context() as patch:
        patch.setattr(world.ledger, "keep", full)
        with pytest.raises(sqlite3.OperationalError):
            world.uploads.finish(ROOT, MINE, ALICE)
    with pytest.raises(NotFound):
        world.uploads.offset(ROOT, MINE)
    assert world.used == 0
    world.add(RAW)
    world.uploads.finish(ROOT, MINE, ALICE)
    assert world.blobs.path(Kind.CONTAINERS, ROOT).read_bytes() == RAW


def test_a_start_throws_paused_uploads_away(tmp_path: Path, database: Database) -> None:
    World(tmp_path, database).add(RAW[:1000])
    again = World(tmp_path, database)
    assert (again.used, list(again.incoming.iterdir())) == (0, [])


def test_leaves_come_and_go_with_their_container(world: World) -> None:
    with pytest.raises(NotFound):
        world.blobs.leaves(ROOT)
    world.blobs.put(Kind.CONTAINERS, ROOT, RAW)
    assert world.blobs.leaves(ROOT).read_bytes() == LEAVES
    assert world.blobs.remove(Kind.CONTAINERS, ROOT, 1 << 60)
    with pytest.raises(NotFound):
        world.blobs.leaves(ROOT)


# --- through the server -------------------------------------------------------------------------------------


@pytest.fixture
def backend(tmp_path: Path) -> Iterator[Backend]:
    chain = MemoryChain(BOOK)
    chain.code = lambda _account, _block: b""  # type: ignore[method-assign,assignment]
    (tmp_path / "state").mkdir()
    with Backend(chain, Silent(), tmp_path / "state") as made:  # type: ignore[arg-type]
        yield made


@pytest.fixture
def found(backend: Backend) -> Iterator[Served]:
    with served(create_app(backend), ServerLimits(body_bytes=64 << 30)) as running:
        yield running


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The container in a file; it is small, and goes in parts all the same."""
    monkeypatch.setattr(upload_module, "IN_PARTS_FROM", 0)
    path = tmp_path / "container"
    path.write_bytes(RAW)
    return path


def tear(found: Served, size: int, backend: Backend) -> None:
    """Send so many bytes of an upload whose connection then goes."""
    head = (
        f"PATCH /v1/containers/{ROOT}/upload HTTP/1.1\r\nHost: x\r\nUpload-Token: {MINE}\r\nUpload-Offset: 0\r\n"
        f"Content-Length: {len(RAW)}\r\n\r\n"
    )
    with found.sent(head.encode() + RAW[:size]):
        until(
            "bytes of the upload have come",
            lambda: sum(path.stat().st_size for path in incoming(backend).iterdir()) > 0,
        )
    until("the upload is paused", lambda: rested(backend))


def incoming(backend: Backend) -> Path:
    return backend.blobs.file(Kind.CONTAINERS, ROOT).parent.parent / "incoming"


def rested(backend: Backend) -> bool:
    try:
        return backend.uploads.offset(ROOT, MINE) > 0
    except TooMany:
        return False


class Counting(httpx.BaseTransport):
    """The network, with what was sent by each method."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, str]] = []
        self._inner = httpx.HTTPTransport()

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        self.sent.append((request.method, request.headers.get("content-length", "")))
        return self._inner.handle_request(request)

    def close(self) -> None:
        self._inner.close()


@pytest.mark.loopback
def test_a_torn_upload_goes_on_and_only_the_rest_is_sent(found: Served, backend: Backend, file: Path) -> None:
    tear(found, 70_000, backend)
    there = backend.uploads.offset(ROOT, MINE)
    upload_module._token_file(file, ROOT).write_text(str(MINE))
    network = Counting()
    with closing(StoreClient(found.url, transport=network)) as client:
        client.put_container(ROOT, file)
    assert network.sent == [("HEAD", ""), ("PATCH", str(len(RAW) - there)), ("PUT", "0")]
    assert backend.blobs.path(Kind.CONTAINERS, ROOT).read_bytes() == RAW
    assert not upload_module._token_file(file, ROOT).exists()


@pytest.mark.loopback
def test_a_container_goes_up_in_parts_and_comes_back_with_its_leaves(
    found: Served, backend: Backend, file: Path, tmp_path: Path
) -> None:
    with closing(StoreClient(found.url)) as client:
        client.put_container(ROOT, file)
        client.fetch_container(ROOT, tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == RAW
    assert found.get(f"/v1/containers/{ROOT}/leaves").content == LEAVES
    ranged = found.get(f"/v1/containers/{ROOT}", headers={"range": "bytes=100-199"})
    assert (ranged.status_code, ranged.content) == (206, RAW[100:200])


@pytest.mark.loopback
def test_a_file_that_is_not_the_container_is_refused_and_nothing_stays(
    found: Served, backend: Backend, file: Path
) -> None:
    file.write_bytes(flipped(RAW, 500))
    with closing(StoreClient(found.url)) as client, pytest.raises(ServiceRefused, match="not the container"):
        client.put_container(ROOT, file)
    assert list(incoming(backend).iterdir()) == []


@pytest.mark.loopback
@pytest.mark.parametrize("change", [
    {"upload-token": "0x11"}, {"upload-token": ""}, {"upload-offset": "-1"}, {"upload-offset": "x"},
    {"upload-offset": str(1 << 40)}, {"upload-offset": "5"},
])  # fmt: skip
def test_a_part_without_a_sound_token_and_place_is_refused(
    change: dict[str, str], found: Served, backend: Backend
) -> None:
    headers = {"upload-token": str(MINE), "upload-offset": "0"} | change
    url = f"{found.url}/v1/containers/{ROOT}/upload"
    answer = httpx.patch(url, headers=headers, content=b"x", trust_env=False)
    assert answer.status_code in (404, 422)
    assert list(incoming(backend).iterdir()) == []
