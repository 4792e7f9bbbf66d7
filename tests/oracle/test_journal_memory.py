"""What a journal keeps in memory of its tables is what the tables have, whatever was undone and whoever wrote."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sealmarket.chain.follow import Cursor
from sealmarket_enclave.protocol.codec import Bytes32, Shape, Wei
from sealmarket_enclave.protocol.numbers import JobId
from sealmarket_oracle.gate.inputs import EventBlock
from sealmarket_oracle.journal import Journal, NewPromise
from sealmarket_oracle.log.store import _RECENT
from sealmarket_oracle.log.tree import Frontier, leaf_hash
from sealmarket_oracle.mark import TailMark
from sealmarket_oracle.storage.databases import Connection, SqliteDatabase
from sealmarket_oracle.storage.facts import Documents
from tests import samples
from tests.oracle.journals import BLOCK, ONE, Member, job, opened, release

JOBS = 4
SPEC = samples.job(samples.asset_use())


class Unsynced(SqliteDatabase):
    """A file whose commits wait for no disk."""

    def begin(self, writer: Connection, *, durable: bool) -> bool:
        writer.execute("PRAGMA synchronous = OFF")
        return super().begin(writer, durable=self._durable)


class Payout(Shape, frozen=True, kw_only=True):
    """A document."""

    amount: Wei


class Undone(Exception):
    """A member takes back what it wrote."""


def _match(journal: Journal, number: int) -> None:
    journal.add_job(job(number), SPEC, EventBlock(number=number, hash=ONE, timestamp=1))


def _quote(journal: Journal, number: int) -> None:
    journal.add_quote(job(number), ONE, EventBlock(number=9, hash=ONE, timestamp=1), 5)


def _stop(journal: Journal, number: int) -> None:
    if journal.promised(job(number)) is None:
        journal.promise(NewPromise(job(number), "stop", b"{}", BLOCK))


def _release(journal: Journal, number: int) -> None:
    if journal.promised(job(number)) is None:
        release(journal, number)


def _release_from(journal: Journal, number: int) -> None:
    new = [job(one) for one in range(number, JOBS + 1) if journal.promised(job(one)) is None]
    journal.promise(*(NewPromise(one, "release", bytes(one), BLOCK) for one in new))


def _advance(journal: Journal, number: int) -> None:
    journal.advance(Cursor(number, ONE))


def _end(journal: Journal, number: int) -> None:
    journal.end_job(job(number))


STEPS: tuple[Callable[[Journal, int], None], ...] = (
    _match,
    _quote,
    _stop,
    _release,
    _release_from,
    _advance,
    _end,
)
step = st.tuples(st.sampled_from(STEPS), st.integers(1, JOBS))
transaction = st.tuples(st.lists(step, max_size=4), st.booleans())


def require_same(journal: Journal) -> None:
    """Hold what is answered from memory against the tables, which answer inside of a transaction."""
    for _from_memory_the_second_time in range(2):
        remembered = answers(journal)
        with journal.writing():
            assert answers(journal) == remembered


def answers(journal: Journal) -> Any:
    """All that a journal keeps in memory."""
    size = journal.head().size
    jobs = [JobId(Bytes32(job(number))) for number in range(1, JOBS + 1)]
    return (
        journal.open_jobs(),
        [(journal.job(one), journal.promised(one), journal.promise_size(one)) for one in jobs],
        journal.cursor(),
        journal._count() if journal._groups.is_writing else journal.counts(),
        [journal.leaves(size, first) for first in (0, max(0, size - 2), size)],
    )


@settings(max_examples=30)
@given(st.lists(st.lists(transaction, min_size=1, max_size=3), max_size=4))
def test_memory_is_what_the_tables_have_after_groups_of_which_some_members_undo(groups: list[Any]) -> None:
    with tempfile.TemporaryDirectory() as folder, opened(Unsynced(Path(folder) / "journal.sqlite")) as journal:
        for number, group in enumerate(groups):
            if number % 2:
                answers(journal)
            with journal._groups.quiet():
                members = [Member(lambda one=one: _write(journal, *one)) for one in group]  # type: ignore[misc]
            for member in members:
                member.end()
            require_same(journal)


def _write(journal: Journal, steps: list[tuple[Callable[[Journal, int], None], int]], undo: bool) -> None:
    with journal.writing():
        for write, number in steps:
            write(journal, number)
        if undo:
            raise Undone


def test_what_a_commit_lost_is_not_remembered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with opened(Unsynced(tmp_path / "journal.sqlite")) as journal:
        _match(journal, 1)
        before = answers(journal)
        with monkeypatch.context() as patch:
            patch.setattr(SqliteDatabase, "commit", lambda *_: (_ for _ in ()).throw(OSError("no room")))
            with pytest.raises(OSError, match="no room"):
                _release(journal, 1)
        assert answers(journal) == before
        require_same(journal)
        _release(journal, 1)
        assert journal.open_jobs()[0].promised
        require_same(journal)


def test_what_the_mark_could_not_follow_is_remembered_with_the_next_commit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with opened(Unsynced(tmp_path / "journal.sqlite"), tmp_path / "journal.mark") as journal:
        _match(journal, 1)
        journal.counts()
        with monkeypatch.context() as patch:
            patch.setattr(TailMark, "keep", lambda *_: (_ for _ in ()).throw(OSError("no room")))
            with pytest.raises(OSError, match="no room"):
                _release(journal, 1)
        _match(journal, 2)
        assert [record.promised for record in journal.open_jobs()] == [True, False]
        require_same(journal)


def test_what_another_connection_wrote_is_read_with_the_next_transaction(tmp_path: Path) -> None:
    with opened(Unsynced(tmp_path / "journal.sqlite")) as journal:
        _match(journal, 1)
        assert [record.job_id for record in journal.open_jobs()] == [job(1)]
        with opened(Unsynced(tmp_path / "journal.sqlite")) as other:
            _end(other, 1)
            _match(other, 2)
        journal.advance(Cursor(3, ONE))
        assert [record.job_id for record in journal.open_jobs()] == [job(2)]


def test_open_jobs_keep_their_order_while_they_come_and_go(tmp_path: Path) -> None:
    with opened(Unsynced(tmp_path / "journal.sqlite")) as journal:
        for number in (1, 2, 3):
            _match(journal, number)
            journal.open_jobs()
        _quote(journal, 1)
        _end(journal, 2)
        assert (
            [record.job_id for record in journal.open_jobs()]
            == [job(1), job(3)]
            == [record.job_id for record in journal._read_open()]
        )


def test_an_earlier_tree_is_the_same_from_memory_and_from_the_first_entry(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with opened(Unsynced(tmp_path / "journal.sqlite")) as journal:
        monkeypatch.setattr(journal._milestones, "_spacing", 8)
        with journal.writing():
            for number in range(_RECENT + 30):
                release(journal, number)
        expected = [Frontier()]
        for leaf in [leaf_hash(entry.canonical()) for entry in journal.entries(0, _RECENT + 30)]:
            expected.append(expected[-1].append(leaf))
        for size in (_RECENT, 3, 100, 101, 17, 0, _RECENT + 30):
            assert journal.frontier_at(size) == expected[size]
            assert journal.root_at(size) == expected[size].root


def test_an_earlier_tree_that_was_asked_for_takes_few_leaves_the_next_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with opened(Unsynced(tmp_path / "journal.sqlite")) as journal:
        monkeypatch.setattr(journal._milestones, "_spacing", 8)
        with journal.writing():
            for number in range(_RECENT + 200):
                release(journal, number)
        journal.root_at(199)
        asked: list[int] = []
        leaves = journal.leaves

        def counted(size: int, first: int = 0) -> list[Bytes32]:
            asked.append(size - first)
            return leaves(size, first)

        monkeypatch.setattr(journal, "leaves", counted)
        for size in (198, 150, 17, 199):
            journal.root_at(size)
        assert asked == [6, 6, 1, 7]


@pytest.mark.parametrize("count", [0, 1, 3, 64, 65, 130])
def test_rows_of_many_keys_come_once_each_however_many_keys_a_statement_takes(tmp_path: Path, count: int) -> None:
    with opened(Unsynced(tmp_path / "journal.sqlite")) as journal, journal.writing():
        for number in range(count + 2):
            _match(journal, number)
        rows = journal._rows_of("SELECT job_id FROM jobs WHERE job_id", [job(number) for number in range(count)])
        assert sorted(row[0] for row in rows) == [job(number) for number in range(count)]


@settings(max_examples=20)
@given(st.lists(st.tuples(st.integers(0, 5), st.booleans()), max_size=12))
def test_bytes_read_as_their_own_document_whatever_was_written_or_forgotten_before(steps: list[Any]) -> None:
    documents = Documents(Payout, most=2)
    for amount, write in steps:
        document = Payout(amount=Wei(amount))
        raw = documents.bytes_of(document) if write else document.canonical()
        assert raw == document.canonical()
        assert documents.read(raw) == document
