"""A service, from its opened inputs to its end: one loop over the host's channel and the pipes of its processes.

States: ``serving -> ending -> over``. Messages come in any order (docs/spec/session.md, "Channel"):

1. :class:`Ask`: the request is opened, its signatures are checked, the ledger takes it, and a process of its account
   answers. What does not open has no answer; what is refused has one sealed frame.
2. :class:`OpenNonce` and :class:`Renew`: a lease. Before a renewal is taken in which an account closes, that account's
   entry is stated.
3. :class:`State`: a statement. :class:`Drop`: the answer to that stream ends.
4. :class:`End`: no request is taken any more; once the last answer is over, what was served is stated for good.
"""

from __future__ import annotations

import os
import select
from collections import OrderedDict
from collections.abc import Callable, Iterable

from msgspec import UNSET

from sealmarket_enclave.protocol.codec import Address, Bytes32
from sealmarket_enclave.protocol.errors import MalformedDocument
from sealmarket_enclave.protocol.session import MAX_TABS, SessionCode, SignedStatement, Statement
from sealmarket_enclave.runtime import channel as frames
from sealmarket_enclave.runtime.channel import Channel, FromHost
from sealmarket_enclave.runtime.errors import FrameRefused, OutOfOrder
from sealmarket_enclave.runtime.kinds.session.answers import Answer, Notary
from sealmarket_enclave.runtime.kinds.session.checking import Checking
from sealmarket_enclave.runtime.kinds.session.ledger import Ledger
from sealmarket_enclave.runtime.kinds.session.pool import Pool, Task
from sealmarket_enclave.runtime.kinds.session.refusals import AnswerBroken, RenewalRefused, RequestRefused
from sealmarket_enclave.sandbox.session import Done
from sealmarket_enclave.sealed.contexts import SessionInfo
from sealmarket_enclave.sealed.errors import InvalidRequest, NotOpened
from sealmarket_enclave.sealed.session import open_request

MAX_STREAMS = 512
_TICK_SECONDS = 0.5
_MOST_WANTED = MAX_TABS

PoolOf = Callable[["Service"], Pool]
"""Makes the pool of a service, which tells the service what happens to answers."""


class Service:
    """One service. Its thread is the one in which its processes were started."""

    def __init__(
        self, channel: Channel[FromHost], notary: Notary, checking: Checking, clock: Callable[[], float], pool: PoolOf
    ) -> None:
        self._channel, self._notary, self._checking, self._clock = channel, notary, checking, clock
        self._ledger: Ledger = notary.ledger
        self._tasks: dict[int, Task] = {}
        self._wanted: OrderedDict[Address, None] = OrderedDict()
        self._ending = False
        self._info = _info(notary)
        self._pool = pool(self)

    @property
    def ever_loaded(self) -> bool:
        """Whether any process ever waited for requests."""
        return self._pool.ever_loaded

    def run(self) -> list[SignedStatement]:
        """Serve until the host ends the service. Returns the statements of its end, the first with all that fit.

        Raises:
            HostLost, FrameRefused, OutOfOrder: nothing more is said.
            SandboxUnavailable: the first process cannot be confined here; nothing was served.
        """
        try:
            self._pool.schedule()
            while not (self._ending and self._ledger.idle):
                self._turn()
        finally:
            self._pool.close()
        return self._last()

    def sent(self, task: Task, data: bytes) -> bool:
        """See :class:`~sealmarket_enclave.runtime.kinds.session.pool.Listener`."""
        try:
            self._say(task.answer.stream, task.answer.part(data))
        except AnswerBroken:
            return False
        return True

    def done(self, task: Task, done: Done) -> None:
        """See :class:`~sealmarket_enclave.runtime.kinds.session.pool.Listener`."""
        try:
            frame = task.answer.finish(task.reservation, done)
        except AnswerBroken as error:
            counted = None if self._notary.rules.meter is UNSET else done
            frame = task.answer.abort(task.reservation, error.code, counted)
        self._over(task, frame)

    def broken(self, task: Task, code: SessionCode, counted: Done | None = None) -> None:
        """See :class:`~sealmarket_enclave.runtime.kinds.session.pool.Listener`."""
        self._over(task, task.answer.abort(task.reservation, code, counted))

    def _turn(self) -> None:
        poller = select.poll()
        poller.register(self._channel.fileno(), select.POLLIN)
        for process in self._pool.processes:
            for output in process.outputs:
                poller.register(output, select.POLLIN)
            for given in process.inputs:
                poller.register(given, select.POLLOUT)
        ready = {descriptor for descriptor, _ in poller.poll(_TICK_SECONDS * 1000)}
        self._pool.read(ready)
        if self._channel.fileno() in ready:
            self._take(self._channel.receive())
        self._pool.tick()

    def _take(self, message: FromHost) -> None:
        match message:
            case frames.Ask():
                self._ask(message)
            case frames.Drop():
                if (task := self._tasks.get(message.stream)) is not None:
                    self._pool.drop(task, SessionCode.STOPPED)
            case frames.OpenNonce():
                nonce = Bytes32(os.urandom(32))
                self._ledger.open_nonce(nonce, self._clock())
                self._channel.send(frames.Nonce(nonce=nonce, wanted=tuple(self._wanted)))
            case frames.Renew():
                self._renew(message)
            case frames.State():
                named = _accounts(message.accounts)
                self._state(self._ledger.statement(named or self._ledger.unstated()))
            case frames.End():
                self._ending = True
            case _:
                raise OutOfOrder(type(message).__name__, "a message of a service")

    def _ask(self, message: frames.Ask) -> None:
        if message.stream in self._tasks:
            raise OutOfOrder(f"Ask of stream {message.stream}", "a stream that no answer has")
        try:
            opened = open_request(self._notary.signer.keys.hpke, self._info, message.sealed)
        except (NotOpened, InvalidRequest, MalformedDocument):
            self._channel.send(frames.Unopened(stream=message.stream))
            return
        answer = Answer(message.stream, opened, self._notary)
        try:
            task = self._taken(answer)
        except RequestRefused as error:
            self._say(message.stream, answer.refuse(error.refusal), last=True)
            return
        self._tasks[message.stream] = task
        self._pool.submit(task)

    def _taken(self, answer: Answer) -> Task:
        """The request as the ledger took it. Raises :class:`RequestRefused`."""
        account, request = self._checking.request(answer.opened)
        if self._ending:
            raise RequestRefused(SessionCode.ENDED, "a request", "none: the service ends")
        if len(self._tasks) >= MAX_STREAMS or not self._pool.has_room(account):
            raise RequestRefused(SessionCode.BUSY, "another request", "one once others ended")
        now = self._clock()
        try:
            reservation = self._ledger.reserve(account, answer.opened.header.grant, request, now)
        except RequestRefused as error:
            if error.code is SessionCode.NO_TAB:
                self._want(account)
            raise
        return Task(account, answer, reservation, now)

    def _want(self, account: Address) -> None:
        """Remember an account whose tab the next renewal may show; of too many the oldest is forgotten."""
        self._wanted.pop(account, None)
        self._wanted[account] = None
        if len(self._wanted) > _MOST_WANTED:
            self._wanted.popitem(last=False)

    def _renew(self, message: frames.Renew) -> None:
        try:
            renewal = self._checking.renewal(message.renewal, message.signatures)
            closing = self._ledger.renew(renewal, self._clock())
        except RenewalRefused as error:
            self._channel.send(frames.Renewed(refused=str(error)))
            return
        if closing:
            self._state(self._ledger.statement(closing))
        served = {tab.account for tab in renewal.tabs if not tab.closing}
        for account in served:
            self._wanted.pop(account, None)
        self._pool.retire(served)
        self._channel.send(frames.Renewed(refused=""))

    def _state(self, statement: Statement) -> None:
        self._channel.send(frames.Stated(statement=self._signed(statement).canonical()))

    def _signed(self, statement: Statement) -> SignedStatement:
        signer = self._notary.signer
        digest = statement.digest(signer.job.chain_id, signer.job.market)
        return SignedStatement(statement=statement, signature=signer.keys.sign(digest))

    def _last(self) -> list[SignedStatement]:
        """What was served, for good: as many statements as the accounts take, each of them the last.

        Every account has an entry that is last, so that each tab closes with them, and not a window later.
        """
        made = [self._signed(self._ledger.statement(self._ledger.unclosed()[:MAX_TABS], last=True))]
        while waiting := self._ledger.unclosed():
            made.append(self._signed(self._ledger.statement(waiting[:MAX_TABS], last=True)))
        return made

    def _over(self, task: Task, frame: bytes) -> None:
        del self._tasks[task.answer.stream]
        self._say(task.answer.stream, frame, last=True)

    def _say(self, stream: int, data: bytes, *, last: bool = False) -> None:
        self._channel.send(frames.Answer(stream=stream, data=data, last=last))


def _info(notary: Notary) -> SessionInfo:
    signer = notary.signer
    return SessionInfo(
        chain_id=signer.job.chain_id,
        market=signer.job.market,
        job_id=signer.job.job_id,
        evidence_hash=signer.evidence_hash,
        enclave_key=signer.keys.hpke.public.digest,
    )


def _accounts(named: Iterable[bytes]) -> list[Address]:
    try:
        return [Address(account) for account in named]
    except MalformedDocument as error:
        raise FrameRefused(error.message, remedy="name accounts by 20 bytes each") from error
