"""Group commit: transactions of several threads, each all or nothing, that reach the disk together.

A commit waits for the disk, and that takes longer than what is committed. While one thread's commit is under way,
others that write wait for their turn; then they write one after the other into one transaction, and the last of them
commits it. A thread that is alone commits at once: no timer waits for others.

1. A member that raises undoes what it wrote, and nothing else.
2. :meth:`Groups.member` ends once the group is committed: what a member wrote is on disk then, or it raises.
3. A commit that fails fails all members; nothing of the group is left.
4. Members take effect in the order in which they came.
5. A member that need not be **durable** may be lost by a power cut, though by no crash of the process; its commit waits
   for no disk. It joins a group that is durable; a durable one joins no other kind. What a durable commit follows is on
   disk with it.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

MOST_MEMBERS = 64
"""After so many a group is committed, though others wait: no thread waits for ever."""
_NOBODY = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """One connection that writes, as functions; the thread whose turn it is calls them.

    ``begin`` takes whether the transaction is durable. ``commit`` returns once it is, and is on disk then; where it
    raises, nothing of it is left. ``undo`` takes back what was written since ``save``.
    """

    begin: Callable[[bool], None]
    save: Callable[[], None]
    undo: Callable[[], None]
    roll_back: Callable[[], None]
    commit: Callable[[], None]


class _Turn:
    """A lock that is passed on to the thread that waits longest, so that members keep the order in which they came."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._held = False
        self._queue: deque[threading.Lock] = deque()

    @property
    def waiting(self) -> int:
        """How many wait."""
        return len(self._queue)

    def take(self) -> None:
        """Wait for the turn."""
        with self._lock:
            if not self._held:
                self._held = True
                return
            mine = threading.Lock()
            mine.acquire()
            self._queue.append(mine)
        try:
            mine.acquire()
        except BaseException:  # interrupted: the turn goes to the next, whether it was given already or not
            with self._lock:
                given = mine not in self._queue
                if not given:
                    self._queue.remove(mine)
            if given:
                self.pass_on()
            raise

    def pass_on(self) -> None:
        """Give it to the one that waits longest."""
        with self._lock:
            if self._queue:
                self._queue.popleft().release()
            else:
                self._held = False


@dataclass
class _Group:
    durable: bool
    members: int = 0
    """How many have written and wait for the commit."""
    ended: threading.Event = field(default_factory=threading.Event)
    error: BaseException | None = None


class Groups:
    """The writers of one session."""

    def __init__(self, session: Session, most: int = MOST_MEMBERS) -> None:
        self._session, self._most = session, most
        self._turn = _Turn()
        self._writer = _NOBODY
        self._group: _Group | None = None

    @property
    def is_writing(self) -> bool:
        """Whether this thread is inside of :meth:`member`."""
        return self._writer == threading.get_ident()

    @contextmanager
    def member(self, *, durable: bool = True) -> Iterator[None]:
        """Write with others; inside of another such block a part of that one, which is as durable as it is."""
        if self.is_writing:
            yield
            return
        group = self._enter(durable)
        try:
            try:
                yield
            except BaseException:
                self._undo(group)
                raise
            group.members += 1
        finally:
            self._leave(group)
        group.ended.wait()
        if group.error is not None:
            raise group.error

    @contextmanager
    def quiet(self) -> Iterator[None]:
        """While no thread writes. Not inside of :meth:`member`."""
        self._turn.take()
        try:
            if self._group is not None:
                self._commit(self._group)
            yield
        finally:
            self._turn.pass_on()

    @property
    def is_durable(self) -> bool:
        """Whether what is being written now will be on disk."""
        return self._group is not None and self._group.durable

    def _enter(self, durable: bool) -> _Group:
        """Wait for a turn. The thread that waits here ends the group that it finds, or leaves it to the next."""
        self._turn.take()
        self._writer = threading.get_ident()
        try:
            if self._group is not None and durable and not self._group.durable:
                self._commit(self._group)
            if self._group is None:
                self._session.begin(durable)
                self._group = _Group(durable)
            else:
                self._session.save()
        except BaseException as error:
            self._fail(error)
            self._writer = _NOBODY
            self._turn.pass_on()
            raise
        return self._group

    def _undo(self, group: _Group) -> None:
        if not group.members:  # it is the first, so there is nothing else in the transaction
            self._group = None
            self._session.roll_back()
            return
        try:
            self._session.undo()
        except BaseException as error:
            self._fail(error)
            raise

    def _leave(self, group: _Group) -> None:
        try:
            if self._group is group and not (self._turn.waiting and group.members < self._most):
                self._commit(group)
        finally:
            self._writer = _NOBODY
            self._turn.pass_on()

    def _commit(self, group: _Group) -> None:
        try:
            self._session.commit()
        except BaseException as error:
            group.error = error
            if not isinstance(error, Exception):
                raise
        finally:
            self._group = None
            group.ended.set()

    def _fail(self, error: BaseException) -> None:
        """The session does not go on: nothing is left of the group that is open."""
        group, self._group = self._group, None
        if group is None:
            return
        group.error = error
        try:
            self._session.roll_back()
        finally:
            group.ended.set()
