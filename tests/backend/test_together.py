"""Changes of several threads go to the disk together, and each stands for itself."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from functools import partial

import pytest

from sealmarket_backend import together as module
from sealmarket_backend.errors import Rejected, StorageFailed
from sealmarket_backend.tables import Connection, Database
from sealmarket_backend.together import MOST_TOGETHER, Together, _Change
from sealmarket_enclave.protocol.codec import Bytes32
from tests.backend.full import full_disk
from tests.patience import PATIENCE, until


def keep(connection: Connection, number: int) -> int:
    connection.execute("INSERT INTO kept (name) VALUES (?)", (Bytes32(number.to_bytes(32)),))
    if number % 5 == 0:
        raise Rejected(f"{number} is refused", remedy="choose another")
    return number


def kept(database: Database) -> list[int]:
    return sorted(int.from_bytes(row["name"]) for row in database.rows("SELECT name FROM kept"))


def test_a_change_that_is_refused_takes_no_other_with_it(database: Database) -> None:
    transactions: list[int] = []

    @contextmanager
    def around() -> Iterator[None]:
        transactions.append(1)
        yield

    together = Together(database, around)
    waiting = [_Change(partial(keep, number=number)) for number in range(40)]
    together._waiting.extend(waiting)  # as from threads that came while another wrote
    assert together.write(partial(keep, number=41)) == 41
    assert len(transactions) == 2, "what one raised took all back; then each was made alone"
    assert [change.made for change in waiting] == [[number] if number % 5 else [] for number in range(40)]
    with pytest.raises(Rejected, match="35 is refused"):
        waiting[35].result()
    assert kept(database) == [*(number for number in range(40) if number % 5), 41]
    assert len(waiting) < MOST_TOGETHER


def test_changes_that_refuse_nothing_are_made_once_and_without_savepoints(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_savepoint(_connection: Connection) -> None:
        pytest.fail("a savepoint costs a statement for each change")

    monkeypatch.setattr(Connection, "apart", no_savepoint)
    together, made = Together(database, nullcontext), list[int]()

    def note(connection: Connection, number: int) -> None:
        made.append(keep(connection, number))

    together._waiting.extend(_Change(partial(note, number=number)) for number in (1, 2, 3))
    together.write(partial(note, number=4))
    assert made == [1, 2, 3, 4]
    assert kept(database) == [1, 2, 3, 4]


def test_what_a_refused_change_left_for_the_end_of_the_transaction_is_not_run(database: Database) -> None:
    def leave(connection: Connection, number: int) -> None:
        connection.later("INSERT INTO kept (name) VALUES (?)", (Bytes32(number.to_bytes(32)),))
        connection.notified.add(str(number))
        connection.after.append(partial(said.append, number))
        if number == 5:
            raise Rejected("no", remedy="choose another")

    said: list[int] = []
    together = Together(database, nullcontext)
    waiting = [_Change(partial(leave, number=number)) for number in (1, 5, 2)]
    together._waiting.extend(waiting)
    together.write(partial(leave, number=2))
    assert kept(database) == [1, 2], "equal ones are run once"
    assert said == [1, 2, 2]
    with pytest.raises(Rejected):
        waiting[1].result()


def test_a_statement_left_for_the_end_that_the_disk_does_not_take_takes_all_back(database: Database) -> None:
    def leave(connection: Connection) -> None:
        connection.execute("INSERT INTO senders (request_hash, peer) VALUES (?, ?)", (Bytes32(bytes(32)), "peer"))
        connection.later("INSERT INTO kept (name) VALUES (?)", (Bytes32(bytes(32)),))

    together = Together(database, nullcontext)
    with full_disk(database, "kept"), pytest.raises(StorageFailed):
        together.write(leave)
    assert kept(database) == []
    assert database.rows("SELECT peer FROM senders") == []
    assert together.write(partial(keep, number=1)) == 1, "the connection is of use again"


def test_every_thread_gets_what_became_of_its_own_change(database: Database) -> None:
    together = Together(database, nullcontext)
    with ThreadPoolExecutor(16) as posters:
        asked = [posters.submit(together.write, partial(keep, number=number)) for number in range(200)]
        outcomes = [future.exception() or future.result() for future in asked]
    assert [one for one in outcomes if isinstance(one, int)] == [number for number in range(200) if number % 5]
    assert all(isinstance(outcomes[number], Rejected) for number in range(0, 200, 5))
    assert kept(database) == [number for number in range(200) if number % 5]


def test_what_the_disk_does_not_take_is_taken_from_no_caller(database: Database) -> None:
    undone: list[BaseException] = []

    @contextmanager
    def around() -> Iterator[None]:
        try:
            yield
        except BaseException as error:
            undone.append(error)
            raise

    with full_disk(database, "kept"), pytest.raises(StorageFailed) as refused:
        Together(database, around).write(lambda connection: keep(connection, 1))
    assert "disk full" in refused.value.detail
    assert "disk full" not in str(refused.value)
    assert len(undone) == 1
    assert kept(database) == []


def test_a_change_after_one_that_failed_is_carried_out(database: Database) -> None:
    together = Together(database, nullcontext)
    with pytest.raises(Rejected):
        together.write(lambda connection: keep(connection, 5))
    assert together.write(lambda connection: keep(connection, 6)) == 6
    assert kept(database) == [6]


@contextmanager
def counted(sizes: list[int], together: Together) -> Iterator[None]:
    """Notes how many changes each transaction has."""
    carry_out = together._carry_out

    def carried_out(changes: list[_Change[int]]) -> None:
        sizes.append(len(changes))
        carry_out(changes)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(together, "_carry_out", carried_out)
        yield


def test_changes_that_come_while_the_disk_is_written_go_to_it_together_even_if_that_writing_fails(
    database: Database,
) -> None:
    together, sizes = Together(database, nullcontext), list[int]()
    came, go_on = threading.Event(), threading.Event()

    def fail(_connection: Connection) -> int:
        came.set()
        assert go_on.wait(PATIENCE)
        raise StorageFailed("the disk is away")

    with counted(sizes, together), ThreadPoolExecutor(4) as posters:
        first = posters.submit(together.write, fail)
        assert came.wait(PATIENCE)
        others = [posters.submit(together.write, partial(keep, number=number)) for number in (1, 2, 3)]
        until("the others wait", lambda: len(together._waiting) == len(others))
        go_on.set()
        with pytest.raises(StorageFailed):
            first.result(PATIENCE)
        assert [one.result(PATIENCE) for one in others] == [1, 2, 3]
    assert sizes == [1, 3]
    assert kept(database) == [1, 2, 3]


def test_a_change_waits_for_as_many_as_came_last_time(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    together, sizes = Together(database, nullcontext), list[int]()
    monkeypatch.setattr(module, "LONGEST_WAIT", PATIENCE)
    together._expected, together._seconds = 3, PATIENCE  # as after three that came together
    with counted(sizes, together), ThreadPoolExecutor(3) as posters:
        asked = [posters.submit(together.write, partial(keep, number=number)) for number in (1, 2, 3)]
        assert [one.result(PATIENCE) for one in asked] == [1, 2, 3]
    assert sizes == [3]


def test_a_lone_change_after_a_crowd_waits_no_longer_than_the_crowd_took(database: Database) -> None:
    together, sizes = Together(database, nullcontext), list[int]()
    together._expected, together._seconds = MOST_TOGETHER, PATIENCE  # the longest wait is shorter than that
    with counted(sizes, together):
        assert together.write(partial(keep, number=1)) == 1
        assert together._expected == 1, "the next one would wait again"
    assert sizes == [1]


def test_what_nobody_waits_for_is_on_disk_at_once_where_nobody_else_writes(database: Database) -> None:
    together, over = Together(database, nullcontext), list[int]()
    together.later(partial(keep, number=1), lambda: over.append(1))
    together.later(partial(keep, number=5), lambda: over.append(5))  # refused
    assert over == [1, 5]
    assert kept(database) == [1]


def test_what_nobody_waits_for_goes_with_what_others_write_and_is_never_left_behind(database: Database) -> None:
    together, sizes, over = Together(database, nullcontext), list[int](), list[int]()
    came, go_on = threading.Event(), threading.Event()

    def slowly(connection: Connection) -> int:
        came.set()
        assert go_on.wait(PATIENCE)
        return keep(connection, 1)

    with counted(sizes, together), ThreadPoolExecutor(2) as posters:
        first = posters.submit(together.write, slowly)
        assert came.wait(PATIENCE)
        together.later(partial(keep, number=2), lambda: over.append(2))
        together.later(partial(keep, number=3), lambda: over.append(3))
        assert over == [], "it is on disk before the transaction that it goes with"
        go_on.set()
        assert first.result(PATIENCE) == 1
    assert (sizes, over) == ([1, 2], [2, 3])
    assert kept(database) == [1, 2, 3]
    assert together.write(partial(keep, number=4)) == 4


def test_a_caller_behind_more_than_one_transaction_holds_carries_them_out_until_its_own_is_over(
    database: Database,
) -> None:
    together, sizes, over = Together(database, nullcontext), list[int](), list[int]()
    came, go_on = threading.Event(), threading.Event()

    def slowly(connection: Connection) -> int:
        came.set()
        assert go_on.wait(PATIENCE)
        return keep(connection, 1)

    with counted(sizes, together), ThreadPoolExecutor(2) as posters:
        first = posters.submit(together.write, slowly)
        assert came.wait(PATIENCE)
        for number in range(1000, 1000 + MOST_TOGETHER):
            together.later(partial(keep, number=number), lambda: over.append(1))
        behind = posters.submit(together.write, partial(keep, number=2))
        until("the other waits", lambda: len(together._waiting) == MOST_TOGETHER + 1)
        go_on.set()
        assert [first.result(PATIENCE), behind.result(PATIENCE)] == [1, 2]
    assert sizes == [1, MOST_TOGETHER, 1]
    assert len(over) == MOST_TOGETHER
    assert together.write(partial(keep, number=3)) == 3
