"""The SDK for asyncio: each class's methods, awaited. One mechanism for all of them: :class:`Twin`.

    async with AsyncConsumer.connect(account="consumer.json") as consumer:
        result = await consumer.request_and_fetch(workload, parameters, assets, limits, key)

A call runs in a thread of asyncio's default executor, with the arguments, result and errors of the method behind it.
**Cancellation** ends a call at its next wait between two looks at the chain, at once when it waits; a call that does
not wait (sealing, uploading, sending a transaction) runs on to its end. Either way the cancelled task ends only then,
so that nothing goes on unseen behind it; what was signed before stays signed. ``on_progress`` is called in the thread:
use ``loop.call_soon_threadsafe`` to come back from it.
"""

from __future__ import annotations

import asyncio
import functools
import threading
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from contextvars import copy_context
from typing import Any, Concatenate, Generic, ParamSpec, TypeVar, overload

from sealmarket.client.auditor import Auditor
from sealmarket.client.consumer import Consumer
from sealmarket.client.owner import Owner
from sealmarket.client.provider import Provider
from sealmarket.client.stopping import STOP

P = ParamSpec("P")
T = TypeVar("T")
S = TypeVar("S", Owner, Consumer, Provider, Auditor)
A = TypeVar("A", bound="Async[Any]")


async def in_thread(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call a function of the SDK in a thread, and await its end, also when the task is cancelled meanwhile.

    Raises:
        asyncio.CancelledError: the task was cancelled, and the call has ended; what it returned or raised is dropped.
            A second cancellation does not wait for that end.
    """
    stop, context = threading.Event(), copy_context()
    context.run(STOP.set, stop)
    work = functools.partial(context.run, function, *args, **kwargs)
    call = asyncio.get_running_loop().run_in_executor(None, work)
    try:
        return await asyncio.shield(call)
    except asyncio.CancelledError:
        stop.set()
        await asyncio.wait([call])
        call.exception()  # retrieved, or asyncio reports it as lost
        raise


class Twin(Generic[P, T]):
    """A method of an asynchronous class: the method of the class behind it, in a thread."""

    def __init__(self, method: Callable[Concatenate[Any, P], T]) -> None:
        self._method = method
        self.__doc__ = method.__doc__

    @overload
    def __get__(self, instance: None, owner: type) -> Twin[P, T]: ...

    @overload
    def __get__(self, instance: Async[Any], owner: type) -> Callable[P, Coroutine[Any, Any, T]]: ...

    def __get__(self, instance: Async[Any] | None, owner: type) -> Twin[P, T] | Callable[P, Coroutine[Any, Any, T]]:
        if instance is None:
            return self
        return functools.partial(in_thread, self._method, instance.plain)


class Opening(Generic[P]):
    """``connect`` of an asynchronous class: an ``async with`` that opens in a thread, and closes."""

    def __init__(self, connect: Callable[P, object]) -> None:
        self._connect = connect
        self.__doc__ = connect.__doc__

    def __get__(self, instance: object, owner: type[A]) -> Callable[P, AbstractAsyncContextManager[A]]:
        @asynccontextmanager
        async def opened(*args: P.args, **kwargs: P.kwargs) -> AsyncIterator[A]:
            plain: Any = await in_thread(self._connect, *args, **kwargs)
            try:
                yield owner(plain)
            finally:
                await in_thread(plain.close)

        return opened


class Async(Generic[S]):
    """``plain`` is the party whose methods are called. It may be used beside this, and is closed by who opened it."""

    def __init__(self, plain: S) -> None:
        self.plain: S = plain


class AsyncOwner(Async[Owner]):
    """:class:`~sealmarket.client.owner.Owner`, awaited."""

    connect = Opening(Owner.connect)
    seal = Twin(Owner.seal)
    publish = Twin(Owner.publish)
    seal_and_publish = Twin(Owner.seal_and_publish)
    upload = Twin(Owner.upload)
    rewrap = Twin(Owner.rewrap)
    tighten = Twin(Owner.tighten)
    replace_allow_list = Twin(Owner.replace_allow_list)
    revoke = Twin(Owner.revoke)
    lift_price = Twin(Owner.lift_price)
    lift = Twin(Owner.lift)
    offer = Twin(Owner.offer)
    earnings = Twin(Owner.earnings)
    withdraw = Twin(Owner.withdraw)


class AsyncConsumer(Async[Consumer]):
    """:class:`~sealmarket.client.consumer.Consumer`, awaited."""

    connect = Opening(Consumer.connect)
    deposit = Twin(Consumer.deposit)
    withdraw = Twin(Consumer.withdraw)
    require_market = Twin(Consumer.require_market)
    compose = Twin(Consumer.compose)
    quote = Twin(Consumer.quote)
    request = Twin(Consumer.request)
    send = Twin(Consumer.send)
    earlier = Twin(Consumer.earlier)
    request_and_fetch = Twin(Consumer.request_and_fetch)
    match_or_void = Twin(Consumer.match_or_void)
    post = Twin(Consumer.post)
    escrow = Twin(Consumer.escrow)
    countersign = Twin(Consumer.countersign)
    cancel = Twin(Consumer.cancel)
    cancel_unless_matched = Twin(Consumer.cancel_unless_matched)
    find_job = Twin(Consumer.find_job)
    wait_match = Twin(Consumer.wait_match)
    wait = Twin(Consumer.wait)
    open_result = Twin(Consumer.open_result)
    evidence = Twin(Consumer.evidence)
    challenge = Twin(Consumer.challenge)
    acknowledge = Twin(Consumer.acknowledge)


class AsyncProvider(Async[Provider]):
    """:class:`~sealmarket.client.provider.Provider`, awaited."""

    connect = Opening(Provider.connect)
    balances = Twin(Provider.balances)
    stake = Twin(Provider.stake)
    offer_and_serve = Twin(Provider.offer_and_serve)
    offer = Twin(Provider.offer)
    cancel = Twin(Provider.cancel)
    unstake = Twin(Provider.unstake)
    finish_unstake = Twin(Provider.finish_unstake)
    withdraw = Twin(Provider.withdraw)


class AsyncAuditor(Async[Auditor]):
    """:class:`~sealmarket.client.auditor.Auditor`, awaited."""

    connect = Opening(Auditor.connect)
    collect = Twin(Auditor.collect)
    evidence = Twin(Auditor.evidence)
    save = Twin(Auditor.save)
    verify = Twin(Auditor.verify)
    require = Twin(Auditor.require)
