"""A journal in a PostgreSQL: of several processes of one node one writes, and the others know it."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import replace
from itertools import count
from pathlib import Path

import pytest

from sealmarket.chain.follow import Cursor
from sealmarket_enclave.protocol.codec import ZERO_HASH
from sealmarket_oracle.errors import (
    InvalidConfig,
    JournalLost,
    JournalMismatch,
    JournalTaken,
    JournalUnwritable,
    PromiseConflict,
)
from sealmarket_oracle.journal import Journal, NewPromise
from sealmarket_oracle.log.entries import EntryKind
from sealmarket_oracle.runner import Runner
from sealmarket_oracle.storage.databases import Connection, Database, SqliteDatabase
from sealmarket_oracle.storage.postgres import PostgresDatabase
from tests.backend.postgres import Server, missing
from tests.oracle.journals import BLOCK, IDENTITY, Member, job, opened, release
from tests.oracle.world import World
from tests.patience import until

_NUMBERS = count(1)
Place = Callable[[], Database]


@pytest.fixture(scope="module")
def postgres() -> Iterator[Server]:
    """A server of this module."""
    if why := missing():
        pytest.skip(why)
    with closing(Server()) as server:
        yield server


@pytest.fixture
def url(postgres: Server) -> str:
    """An empty schema."""
    return postgres.make_schema(f"journal{next(_NUMBERS)}")


@pytest.fixture
def closing_all() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.fixture(params=["sqlite", "postgresql"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """Where one journal can be opened again and again, on either kind of database."""
    if request.param == "sqlite":
        return lambda: SqliteDatabase(tmp_path / "journal.sqlite")
    found, server = request.getfixturevalue("url"), request.getfixturevalue("postgres")

    def free() -> Database:
        await_end(server)
        return PostgresDatabase(found)

    return free


def await_end(postgres: Server) -> None:
    """Wait until no session of a journal is left: a server ends one, and frees its lock, some time after it closed."""
    query = "SELECT COUNT(*) FROM pg_stat_activity WHERE application_name = 'sealmarket-oracle'"
    with closing(postgres.session()) as asking:
        until("the end of every session", lambda: asking.execute(query).fetchone()[0] == 0)


def cut(postgres: Server) -> None:
    """End every session of a journal, as a network or an administrator does."""
    mine = "FROM pg_stat_activity WHERE application_name = 'sealmarket-oracle'"
    postgres.run(f"SELECT pg_terminate_backend(pid) {mine}")


# --- the same on both -----------------------------------------------------------------------------------------------


def test_either_promise_excludes_the_other_across_a_restart_on_every_database(place: Place) -> None:
    with opened(place()) as journal:
        release(journal, 1)
        journal.promise(NewPromise(job(2), "stop", b"{}", BLOCK))
    with opened(place()) as journal:
        for number, other in ((1, "stop"), (2, "release")):
            with pytest.raises(PromiseConflict):
                journal.promise(NewPromise(job(number), other, b"{}", BLOCK))  # type: ignore[arg-type]
        assert journal.promise(NewPromise(job(1), "release", b"another", BLOCK)) == [b'{"job":1}']
        assert journal.promised(job(1)) == ("release", b'{"job":1}')
        assert journal.head().size == 2


def test_a_journal_of_another_name_or_older_than_its_mark_is_refused_on_every_database(
    place: Place, tmp_path: Path
) -> None:
    mark = tmp_path / "journal.mark"
    with opened(place(), mark) as journal:
        release(journal, 1)
    with pytest.raises(JournalMismatch):
        Journal(place(), replace(IDENTITY, name=ZERO_HASH), None)
    with opened(place()) as journal, journal.writing():  # what a database that was put back has not got
        for table in ("log", "promises"):
            journal._run(f"DELETE FROM {table}")
        journal._run("UPDATE log_state SET size = 0, peaks = ?", (b"",))
    with pytest.raises(JournalLost):
        opened(place(), mark)


def test_what_is_read_back_is_what_was_written_on_every_database(place: Place) -> None:
    with opened(place()) as journal:
        journal.advance(Cursor(7, BLOCK.hash))
        journal.advance(Cursor(9, BLOCK.hash))
        release(journal, 3)
        journal.defer(job(4), "what a stranger wrote: \0", BLOCK.hash, (1, BLOCK.hash))
        journal.keep_witnessed(1)
    with opened(place()) as journal:
        assert journal.cursor() == Cursor(9, BLOCK.hash)
        assert [entry.kind for entry in journal.entries(0, 9)] == [EntryKind.RELEASE, EntryKind.DEFERRED]
        assert (journal.witnessed, journal.promise_size(job(3))) == (1, 1)
        assert journal.counts()[EntryKind.RELEASE] == 1
        assert journal.root_at(2) == journal.head().root


def test_a_whole_node_decides_and_releases_on_every_database(place: Place, world: World) -> None:
    for _restart in range(2):
        with Journal(place(), world.identity(), None) as journal:
            node = world.node(journal_of=journal)
            world.match(world.publish(1) if not _restart else world.publish(2))
            world.quote()
            world.accept(world.decided(node))
            node.tick()
            assert node.status(world.job_id).state == "released"
            assert journal.last_anchor()[0] > 0
            assert not journal.open_challenges()


# --- one writes -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("wrong", ["mysql://db/journal", "postgresql://db:port:5/x?%"])
def test_a_url_of_another_kind_is_refused_and_not_repeated(wrong: str) -> None:
    with pytest.raises(InvalidConfig) as caught:
        PostgresDatabase(wrong)
    assert wrong not in str(caught.value)


def test_a_second_process_is_refused_while_one_writes_and_told_which(url: str, postgres: Server) -> None:
    with opened(PostgresDatabase(url)) as journal:
        with pytest.raises(JournalTaken, match=r"process \d+ has token 1"):
            opened(PostgresDatabase(url))
        release(journal, 1)
    await_end(postgres)
    with opened(PostgresDatabase(url)) as journal:
        assert journal.promised(job(1)) is not None


def test_a_process_whose_lock_another_took_signs_nothing_any_more(
    url: str, postgres: Server, closing_all: ExitStack
) -> None:
    first = closing_all.enter_context(opened(PostgresDatabase(url)))
    release(first, 1)
    cut(postgres)
    second = closing_all.enter_context(opened(PostgresDatabase(url)))
    for _again in range(2):
        with pytest.raises(JournalTaken, match="leave that process to it"):
            release(first, 2)
    release(second, 3)
    assert [second.promised(job(number)) is not None for number in (1, 2, 3)] == [True, False, True]
    assert second.head().size == 2


def test_a_token_that_was_given_out_since_stops_a_process_though_it_holds_its_lock(url: str, postgres: Server) -> None:
    schema = url.rpartition("%3D")[2]
    with opened(PostgresDatabase(url)) as journal:
        release(journal, 1)
        postgres.run(f"UPDATE {schema}.fence SET token = token + 1, holder = 'another'")
        with pytest.raises(JournalTaken, match="another has token 2"):
            release(journal, 2)
        assert journal.promised(job(2)) is None


def test_a_token_is_not_given_out_between_the_look_at_it_and_the_commit(url: str, postgres: Server) -> None:
    schema = url.rpartition("%3D")[2]

    def take() -> None:
        postgres.run(f"UPDATE {schema}.fence SET token = token + 1, holder = 'another'")

    with opened(PostgresDatabase(url)) as journal:
        with journal.writing():
            taking = Member(take)  # it waits for the row that the transaction has read
            until("it waits", lambda: _waits_for_a_lock(postgres))
            release(journal, 1)
        assert taking.end() is None
        assert journal.promised(job(1)) is not None
        with pytest.raises(JournalTaken):
            release(journal, 2)


def _waits_for_a_lock(postgres: Server) -> bool:
    return bool(postgres.read("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"))


def test_a_look_at_the_token_that_is_cancelled_leaves_nothing_open(url: str, postgres: Server) -> None:
    """As a lock that is waited for too long is, or by an administrator. Otherwise no later transaction begins."""
    schema = url.rpartition("%3D")[2]
    with opened(PostgresDatabase(url)) as journal, closing(postgres.session()) as other:
        other.execute(f"BEGIN; UPDATE {schema}.fence SET holder = holder")
        waiting = Member(lambda: release(journal, 1))
        until("it waits", lambda: _waits_for_a_lock(postgres))
        postgres.run("SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event_type = 'Lock'")
        assert isinstance(waiting.end(), JournalUnwritable)
        other.execute("ROLLBACK")
        release(journal, 2)
        assert [journal.promised(job(number)) is not None for number in (1, 2)] == [False, True]


class Cut(PostgresDatabase):
    """A database whose sessions are cut between the look at the token and the commit, or right after the commit."""

    def __init__(self, url: str, postgres: Server) -> None:
        super().__init__(url)
        self.postgres = postgres
        self.when = ""

    def commit(self, writer: Connection) -> None:
        when, self.when = self.when, ""
        if when == "before":
            cut(self.postgres)
        super().commit(writer)
        if when == "after":
            cut(self.postgres)
            raise JournalUnwritable("the answer was lost", "wait")


@pytest.mark.parametrize(("when", "kept"), [("before", False), ("after", True)])
def test_a_connection_that_is_cut_around_the_commit_leaves_a_promise_whole_or_not_at_all(
    when: str, kept: bool, url: str, postgres: Server
) -> None:
    database = Cut(url, postgres)
    with opened(database) as journal:
        release(journal, 1)
        database.when = when
        with pytest.raises(JournalUnwritable):
            release(journal, 2)
        release(journal, 3)  # over a session of its own, under the next token
        assert [journal.promised(job(number)) is not None for number in (1, 2, 3)] == [True, kept, True]
        assert (journal.head().size, journal.promise_size(job(3))) == ((3, 3) if kept else (2, 2))
        assert journal.root_at(journal.head().size) == journal.head().root


def test_a_database_that_is_restarted_delays_promises_and_loses_none(url: str, postgres: Server) -> None:
    with opened(PostgresDatabase(url)) as journal:
        release(journal, 1)
        postgres.stop(signal.SIGINT)
        for _again in range(2):
            with pytest.raises(JournalUnwritable, match="takes no writes"):
                release(journal, 2)
            with pytest.raises(JournalUnwritable):
                journal.promised(job(2))
        assert journal.promised(job(1)) is not None, "a promise that is known to be on disk is answered meanwhile"
        postgres.start()
        release(journal, 2)
        assert [journal.promised(job(number)) is not None for number in (1, 2)] == [True, True]
        assert journal.head().size == 2


@pytest.mark.parametrize("cut_off", [True, False])
def test_a_database_that_comes_back_without_its_last_commits_has_nothing_signed_any_more(
    cut_off: bool, url: str, postgres: Server
) -> None:
    """As a replica that took over: what this process promised is gone, and the other promise would be taken."""
    schema = url.rpartition("%3D")[2]
    with opened(PostgresDatabase(url)) as journal:
        release(journal, 1)
        postgres.run(f"CREATE TABLE {schema}.earlier AS SELECT * FROM {schema}.log_state")
        release(journal, 2)
        postgres.run(
            f"DELETE FROM {schema}.log WHERE sequence = 1",
            f"DELETE FROM {schema}.promises WHERE size = 2",
            f"DELETE FROM {schema}.log_state",
            f"INSERT INTO {schema}.log_state SELECT * FROM {schema}.earlier",
        )
        cut(postgres)
        if not cut_off:
            postgres.run(f"UPDATE {schema}.log_state SET size = 2")
        for _again in range(2):
            with pytest.raises(JournalLost, match="the 2 that were committed"):
                journal.promise(NewPromise(job(2), "stop", b"{}", BLOCK))
        assert journal.promised(job(2)) is None


_HOLDER = """
import sys
from sealmarket_oracle.storage.postgres import PostgresDatabase
from tests.oracle.journals import opened, release
journal = opened(PostgresDatabase(sys.argv[1]))
release(journal, 1)
print("holds", flush=True)
with journal.writing():
    release(journal, 2)
    sys.stdin.read()
"""


def test_a_holder_that_is_killed_in_a_transaction_leaves_what_it_committed_and_the_lock(url: str) -> None:
    command = [sys.executable, "-c", _HOLDER, url]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "holds\n"
        with pytest.raises(JournalTaken, match=f"process {holder.pid} has token 1"):
            opened(PostgresDatabase(url))
        holder.kill()
        holder.wait()

    def taken() -> Journal | None:
        try:
            return opened(PostgresDatabase(url))
        except JournalTaken:
            return None  # the server has not noticed yet

    with until("the lock is free", taken) as journal:
        assert [journal.promised(job(number)) is not None for number in (1, 2)] == [True, False]
        assert journal.head().size == 1


def test_a_node_that_lost_its_journal_to_another_process_ends_with_the_reason(
    url: str, postgres: Server, world: World, closing_all: ExitStack
) -> None:
    journal = closing_all.enter_context(Journal(PostgresDatabase(url), world.identity(), None))
    node, left = world.node(journal_of=journal), []
    node.tick()
    cut(postgres)
    closing_all.enter_context(Journal(PostgresDatabase(url), world.identity(), None))
    runner = Runner(node, 0.001)
    world.match(world.publish())
    world.chain.finalise()
    runner.start(lambda: left.append("left"))
    until("it leaves", lambda: left)
    runner.stop()
    assert isinstance(runner.taken, JournalTaken)
    assert (
        "another process of this node writes the journal" in runner.health.problem or runner.health.problem == "stopped"
    )


def test_no_message_or_repr_has_the_databases_password_or_address_in_it() -> None:
    database = PostgresDatabase("postgresql://node:hunter2@127.0.0.1:1/journal?connect_timeout=1")
    with pytest.raises(JournalUnwritable) as caught:
        opened(database)
    assert "it does not answer" in str(caught.value)
    for hidden in ("hunter2", "127.0.0.1"):  # health repeats it to strangers
        assert hidden not in str(caught.value)
        assert hidden not in repr(database)
