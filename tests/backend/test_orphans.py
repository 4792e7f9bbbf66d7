"""Objects that a crash left in a bucket without a row go; no other object of a bucket does."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from sealmarket.service.errors import ServiceUnavailable
from sealmarket_backend import orphans
from sealmarket_backend.blobs import Kind
from sealmarket_backend.bucket import Bucket, new_key, parts_of
from sealmarket_backend.ledger import StoreLimits
from sealmarket_backend.orphans import SEEN_SECONDS, Orphans
from sealmarket_backend.sweep import sweep
from sealmarket_backend.tables import Database
from tests.backend.test_bucket import DAY, DOCUMENT, NAME, Shelf, World, moto, shelf, world  # noqa: F401 - fixtures

AGE = StoreLimits().unreferenced_seconds


class Killed(BaseException):
    """The process ends here."""


def crash_between_object_and_row(world: World) -> None:  # noqa: F811
    first = world.backend("first")

    def die(*_: object) -> str:
        raise Killed

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(first.ledger, "keep", die)
        with pytest.raises(Killed):
            first.put(Kind.DOCUMENTS, NAME, DOCUMENT)


def looking(world: World, shelf: Shelf) -> Orphans:  # noqa: F811
    return Orphans(world.backend("looking").ledger, shelf)


def looked_twice(looks: Orphans, world: World, between: Callable[[], object] = lambda: None) -> int:  # noqa: F811
    looks.look()
    world.clock.now += SEEN_SECONDS
    between()
    return looks.look()


OTHERS = {
    "another market's": new_key("documents", NAME, "0123abcd"),
    "of a release before marks": f"documents/{NAME.hex()}.{'ab' * 8}",
    "of another program": "backup.tar",
    "a key that ends alike": f"x/documents/{NAME.hex()}.{'ab' * 12}",
    "a path upwards": f"../documents/{NAME.hex()}.{'ab' * 12}",
}


@pytest.mark.parametrize("key", OTHERS.values(), ids=OTHERS)
def test_objects_of_others_in_the_bucket_stay(key: str, world: World, shelf: Shelf) -> None:  # noqa: F811
    shelf.objects[key] = b""
    assert looked_twice(looking(world, shelf), world) == 0
    assert key in shelf.objects


def test_an_object_that_a_row_names_stays_however_old_the_bucket_says_it_is(
    world: World,  # noqa: F811
    shelf: Shelf,  # noqa: F811
) -> None:
    first = world.backend("first")
    first.put(Kind.DOCUMENTS, NAME, DOCUMENT)
    assert looked_twice(looking(world, shelf), world) == 0
    assert world.backend("second").path(Kind.DOCUMENTS, NAME).read_bytes() == DOCUMENT


def test_an_object_whose_row_comes_before_the_second_look_stays(world: World, shelf: Shelf) -> None:  # noqa: F811
    crash_between_object_and_row(world)
    [key] = shelf.objects

    def write_row() -> None:
        with world.database.write() as connection:
            connection.execute(
                "INSERT INTO uploads (kind, name, peer, bytes, stored_at, object) VALUES (?, ?, '', 1, 0, ?)",
                ("documents", NAME, key),
            )

    assert looked_twice(looking(world, shelf), world, write_row) == 0
    assert key in shelf.objects


def test_an_object_that_is_young_by_the_buckets_clock_stays(world: World, shelf: Shelf) -> None:  # noqa: F811
    crash_between_object_and_row(world)
    shelf.written_at = world.clock.now - AGE + 2 * SEEN_SECONDS
    looks = looking(world, shelf)
    assert looked_twice(looks, world) == 0
    world.clock.now += SEEN_SECONDS
    assert looked_twice(looks, world) == 1


def test_what_a_crash_left_between_object_and_row_goes_and_another_upload_of_it_stays(
    world: World,  # noqa: F811
    shelf: Shelf,  # noqa: F811
) -> None:
    crash_between_object_and_row(world)
    [orphan] = shelf.objects
    world.backend("second").put(Kind.DOCUMENTS, NAME, DOCUMENT)
    assert sweep(world.database, world.backend("second")) == 0
    assert looked_twice(looking(world, shelf), world) == 1
    assert orphan not in shelf.objects
    assert len(shelf.objects) == 1
    assert world.backend("third").path(Kind.DOCUMENTS, NAME).read_bytes() == DOCUMENT


def test_a_long_list_is_read_some_pages_at_a_time_and_from_the_beginning_again(
    world: World,  # noqa: F811
    shelf: Shelf,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(orphans, "PAGES", 1)
    mark = world.backend("first").ledger.mark
    shelf.objects = {new_key("documents", NAME, mark): b"" for _ in range(8)}
    looks, asked = looking(world, shelf), list[str]()
    listed = shelf.listed

    def noted(behind: str) -> list[tuple[str, float]]:
        asked.append(behind)
        return listed(behind)

    monkeypatch.setattr(shelf, "listed", noted)
    gone = sum(looked_twice(looks, world) for _ in range(4))
    assert gone == 8
    assert shelf.objects == {}
    assert asked.count("") >= 2


def test_suspects_are_bounded(world: World, shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    monkeypatch.setattr(orphans, "MOST_SUSPECTS", 2)
    mark = world.backend("first").ledger.mark
    shelf.objects = {new_key("lists", NAME, mark): b"" for _ in range(7)}
    looks = looking(world, shelf)
    looks.look()
    assert len(looks._suspects) == 2


def test_a_bucket_that_does_not_answer_is_looked_at_another_time(world: World, shelf: Shelf) -> None:  # noqa: F811
    crash_between_object_and_row(world)
    looks = looking(world, shelf)
    looks.look()
    world.clock.now += SEEN_SECONDS
    shelf.silent = True
    with pytest.raises(ServiceUnavailable):
        looks.look()
    shelf.silent = False
    assert looks.look() == 1


@pytest.mark.loopback
def test_a_server_that_speaks_s3_lists_what_it_has(moto: Bucket, tmp_path: Path) -> None:  # noqa: F811
    with Database(None) as database:
        world = World(database, tmp_path, moto)
        first = world.backend("first")
        first.put(Kind.DOCUMENTS, NAME, DOCUMENT)
        orphan = new_key("documents", NAME, first.ledger.mark)
        (tmp_path / "orphan").write_bytes(DOCUMENT)
        moto.put(orphan, tmp_path / "orphan")
        keys = [key for key, _ in moto.listed("")]
        assert orphan in keys
        assert len(keys) == 2
        assert [key for key, _ in moto.listed(keys[0])] == keys[1:]
        world.clock.now = moto.listed("")[0][1] + AGE + DAY
        assert looked_twice(Orphans(first.ledger, moto), world) == 1
        assert [key for key, _ in moto.listed("")] == [key for key in keys if key != orphan]
        assert parts_of(orphan) is not None
