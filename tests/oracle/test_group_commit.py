"""Promises of several threads reach the disk together, and nobody sees one before."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sealmarket.chain.follow import Cursor
from sealmarket_oracle.errors import JournalUnwritable, PromiseConflict
from sealmarket_oracle.journal import Journal, NewPromise
from sealmarket_oracle.storage.databases import Connection, SqliteDatabase
from sealmarket_oracle.storage.groups import Groups, Session
from tests.oracle.journals import BLOCK, Member, job, opened, release
from tests.patience import PATIENCE, until

FULL = "database or disk is full"


class SlowDisk(SqliteDatabase):
    """A file whose commits wait for the test, or fail."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.commits = 0
        self.fails = False
        self.durable: list[bool] = []
        self.asked, self.may_go = threading.Event(), threading.Event()
        self.may_go.set()

    def commit(self, writer: Connection) -> None:
        self.commits += 1
        self.durable.append(self._durable)
        self.asked.set()
        assert self.may_go.wait(PATIENCE)
        if self.fails:
            raise sqlite3.OperationalError(FULL)
        super().commit(writer)

    def hold(self) -> None:
        """From now on commits wait."""
        self.asked.clear()
        self.may_go.clear()


@pytest.fixture
def disk(tmp_path: Path) -> SlowDisk:
    return SlowDisk(tmp_path / "journal.sqlite")


@pytest.fixture
def journal(disk: SlowDisk, tmp_path: Path) -> Iterator[Journal]:
    with opened(disk, tmp_path / "journal.mark") as made:
        yield made


@contextmanager
def busy(disk: SlowDisk, journal: Journal, *numbers: int) -> Iterator[list[Member]]:
    """Job 1's commit is under way, and the others wait for their turn, in order. Then the disk goes on."""
    disk.hold()
    members = [Member(lambda: release(journal, 1))]
    assert disk.asked.wait(PATIENCE)
    for place, number in enumerate(numbers, start=1):
        members.append(Member(lambda number=number: release(journal, number)))  # type: ignore[misc]
        until("the next one waits", lambda place=place: journal._groups._turn.waiting == place)  # type: ignore[misc]
    yield members
    disk.may_go.set()


def promised(journal: Journal, *numbers: int) -> list[bool]:
    return [journal.promised(job(number)) is not None for number in numbers]


def test_a_commit_that_fails_fails_every_member_and_leaves_nothing_of_the_group(
    disk: SlowDisk, journal: Journal
) -> None:
    with busy(disk, journal, 2, 3, 4) as members:
        disk.fails = True
    assert [type(member.end()) for member in members] == [JournalUnwritable] * 4
    assert promised(journal, 1, 2, 3, 4) == [False] * 4
    assert journal.head().size == 0
    disk.fails = False
    release(journal, 3)
    assert promised(journal, 1, 3) == [False, True]
    assert (journal.head().size, journal.promise_size(job(3))) == (1, 1)


def test_nobody_sees_a_promise_before_it_is_on_disk(disk: SlowDisk, journal: Journal) -> None:
    seen: list[bool] = []
    with busy(disk, journal, 2) as members:
        reader = Member(lambda: seen.extend(promised(journal, 1)))  # it waits for the commit that is under way
        assert members[0].is_alive()
        assert seen == []
    assert [one.end() for one in (*members, reader)] == [None] * 3
    assert seen == [True]


def test_what_a_member_wrote_is_seen_by_that_member_alone_until_the_group_is_committed(journal: Journal) -> None:
    with journal.writing():
        release(journal, 1)
        assert promised(journal, 1) == [True]
        assert journal.head().size == 1
        others: list[object] = []
        assert Member(lambda: others.extend([*promised(journal, 1), journal.head().size])).end() is None
        assert others == [False, 0]


def test_a_member_that_raises_undoes_its_own_writes_and_no_others(disk: SlowDisk, journal: Journal) -> None:
    def conflict() -> None:
        with journal.writing():
            release(journal, 7)
            journal.promise(NewPromise(job(2), "stop", b"{}", BLOCK))

    with busy(disk, journal, 2) as members:
        members.append(Member(conflict))
        until("it waits", lambda: journal._groups._turn.waiting == 2)
        members.append(Member(lambda: release(journal, 3)))
        until("it waits", lambda: journal._groups._turn.waiting == 3)
    assert [type(member.end()) for member in members] == [type(None), type(None), PromiseConflict, type(None)]
    assert promised(journal, 1, 2, 3, 7) == [True, True, True, False]
    assert journal.head().size == 3


def test_the_last_of_a_group_commits_it_though_it_raises_itself(disk: SlowDisk, journal: Journal) -> None:
    with busy(disk, journal, 2) as members:
        members.append(Member(lambda: journal.promise(NewPromise(job(2), "stop", b"{}", BLOCK))))
        until("it waits", lambda: journal._groups._turn.waiting == 2)
    assert [type(member.end()) for member in members] == [type(None), type(None), PromiseConflict]
    assert promised(journal, 2) == [True]


def test_those_that_wait_for_one_commit_share_the_next_and_keep_their_order(disk: SlowDisk, journal: Journal) -> None:
    begun = disk.commits
    with busy(disk, journal, 5, 3, 4, 2) as members:
        pass
    assert [member.end() for member in members] == [None] * 5
    assert disk.commits == begun + 2
    assert [entry.job_id for entry in journal.entries(0, 9)] == [job(number) for number in (1, 5, 3, 4, 2)]
    assert [journal.promise_size(job(number)) for number in (1, 5, 3, 4, 2)] == [1, 2, 3, 4, 5]


def test_a_thread_that_is_alone_commits_at_once(disk: SlowDisk, journal: Journal) -> None:
    begun = disk.commits
    for number in (1, 2, 3):
        release(journal, number)
    assert disk.commits == begun + 3


def test_a_mark_that_cannot_be_kept_fails_every_member_and_the_promises_stand(
    disk: SlowDisk, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("sealmarket_oracle.mark.TailMark.keep", full)
    with busy(disk, journal, 2) as members:
        pass
    assert [type(member.end()) for member in members] == [OSError, OSError]
    assert promised(journal, 1, 2) == [True, True]  # a later tick serves them: they are on disk


def test_an_entry_of_the_log_is_in_no_transaction_that_a_power_cut_may_take(journal: Journal) -> None:
    with pytest.raises(AssertionError, match="durable"), journal.writing(durable=False):
        release(journal, 1)
    assert promised(journal, 1) == [False]


def test_a_promise_joins_no_group_that_waits_for_no_disk_and_has_what_came_before_it(
    disk: SlowDisk, journal: Journal
) -> None:
    def read(number: int) -> None:
        with journal.writing(durable=False):
            journal.advance(Cursor(number, BLOCK.hash))

    begun = disk.commits
    with busy(disk, journal) as members:
        for waiting, work in enumerate((lambda: read(5), lambda: release(journal, 2), lambda: read(6)), start=1):
            members.append(Member(work))
            until("it waits", lambda waiting=waiting: journal._groups._turn.waiting == waiting)  # type: ignore[misc]
    assert [member.end() for member in members] == [None] * 4
    assert disk.durable[begun:] == [True, False, True]  # the last read joined the promise
    assert promised(journal, 1, 2) == [True, True]
    assert journal.cursor() == Cursor(6, BLOCK.hash)


def test_a_second_opening_of_one_file_sees_what_the_first_wrote(tmp_path: Path) -> None:
    place = tmp_path / "journal.sqlite"
    with opened(SqliteDatabase(place)) as first, opened(SqliteDatabase(place)) as second:
        release(first, 1)
        release(second, 2)
        release(first, 3)
        assert [journal.promise_size(job(3)) for journal in (first, second)] == [3, 3]


_KILLED = """
import os, signal, sys, threading
from pathlib import Path
from sealmarket_oracle.storage.databases import SqliteDatabase
from tests.oracle.journals import Member, opened, release
from tests.patience import until
place, at = Path(sys.argv[1]), int(sys.argv[2])
go = threading.Event()

class Disk(SqliteDatabase):
    commits = -1  # the first prepares the journal
    def commit(self, writer):
        self.commits += 1
        if self.commits == 1:  # the first member's: the others gather meanwhile
            go.wait()
        if self.commits == at:
            os.kill(os.getpid(), signal.SIGKILL)
        super().commit(writer)

journal = opened(Disk(place / "journal.sqlite"), place / "journal.mark")
first = Member(lambda: release(journal, 1))
until("a commit is under way", lambda: journal._database.commits == 1)
others = [Member(lambda number=number: release(journal, number)) for number in (2, 3)]
until("they wait", lambda: journal._groups._turn.waiting == 2)
go.set()
for one in (first, *others):
    assert one.end() is None
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize(("at", "left"), [(2, [1]), (9, [1, 2, 3])])
def test_a_node_that_is_killed_has_all_promises_of_a_group_or_none(at: int, left: list[int], tmp_path: Path) -> None:
    command = [sys.executable, "-c", _KILLED, str(tmp_path), str(at)]
    assert subprocess.run(command, check=False, env=os.environ).returncode == -signal.SIGKILL
    with opened(SqliteDatabase(tmp_path / "journal.sqlite"), tmp_path / "journal.mark") as journal:
        assert [number for number in (1, 2, 3) if journal.promised(job(number))] == left
        assert journal.head().size == len(left)


class Table:
    """A session over a list: what is committed, and what is being written."""

    def __init__(self, failing: set[int]) -> None:
        self.kept: list[int] = []
        self.written: list[int] = []
        self.place = 0
        self.failing, self.commits = failing, 0

    def session(self) -> Session:
        def save() -> None:
            self.place = len(self.written)

        def undo() -> None:
            del self.written[self.place :]

        return Session(
            begin=lambda _durable: self.written.clear(),
            save=save,
            undo=undo,
            roll_back=self.written.clear,
            commit=self.commit,
        )

    def commit(self) -> None:
        self.commits += 1
        if self.commits in self.failing:
            self.written.clear()
            raise OSError(FULL)
        self.kept += self.written
        self.written.clear()


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.sampled_from(["writes", "raises"]), min_size=1, max_size=12),
    st.sets(st.integers(1, 6), max_size=3),
    st.integers(1, 4),
)
def test_whoever_ends_well_is_kept_whole_and_whoever_raises_left_nothing(
    works: list[str], failing: set[int], most: int
) -> None:
    table = Table(failing)
    groups = Groups(table.session(), most)

    def work(number: int, how: str) -> None:
        with groups.member():
            table.written += [number, number]
            if how == "raises":
                raise ValueError(number)

    members = [Member(lambda n=n, how=how: work(n, how)) for n, how in enumerate(works)]  # type: ignore[misc]
    ended = [member.end() for member in members]
    well = [number for number, error in enumerate(ended) if error is None]
    assert sorted(table.kept) == sorted([*well, *well])
    assert table.kept[::2] == table.kept[1::2]
    for number, how in enumerate(works):
        assert how == "writes" or isinstance(ended[number], ValueError | OSError)
