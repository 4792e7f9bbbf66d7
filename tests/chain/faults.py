"""Faults of endpoints as people have them, by name: for every program that reads and sends by one."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgspec

from sealmarket_enclave.protocol.hashing import keccak
from tests.chain.faulty_rpc import (
    Asked,
    Body,
    Fault,
    Proxy,
    Reply,
    holds,
    http,
    lagging,
    needs_key,
    on,
    says,
    told,
    wide,
)

PAGE = b"<!DOCTYPE html><html><body>Just a moment...</body></html>"


@dataclass(frozen=True)
class Case:
    """``lasting``: the keeper has to say that it waits, and goes on once the fault is over."""

    fault: Callable[[Proxy], Fault]
    lasting: bool = False


def always(fault: Fault) -> Callable[[Proxy], Fault]:
    return lambda _proxy: fault


def one_in(count: int, refuse: Callable[[Asked], Reply]) -> Callable[[Proxy], Fault]:
    """One request in so many is refused by chance, whatever it asks for: transactions too."""

    def of(_proxy: Proxy) -> Fault:
        chance = random.Random(count)
        return lambda asked: refuse(asked) if chance.random() * count < 1 else None

    return of


def slow(count: int, seconds: float) -> Callable[[Proxy], Fault]:
    """One answer in so many is right, and comes late."""

    def of(_proxy: Proxy) -> Fault:
        chance = random.Random(count)

        def fault(asked: Asked) -> Reply | None:
            if chance.random() * count < 1:
                time.sleep(seconds)
            return None

        return fault

    return of


def after(method: str, refuse: Callable[[Asked], Reply], times: int) -> Callable[[Proxy], Fault]:
    """The node does what it is asked to, and its answer is lost."""

    def of(proxy: Proxy) -> Fault:
        def fault(asked: Asked) -> Reply | None:
            if asked.method != method or asked.before >= times:
                return None
            proxy.upstream(asked.body)
            return refuse(asked)

        return fault

    return of


def edited(change: Callable[[str, Any], Any]) -> Callable[[Proxy], Fault]:
    """Answers are changed on their way."""

    def of(proxy: Proxy) -> Fault:
        def fault(asked: Asked) -> Reply:
            body: Body = proxy.upstream(asked.body)
            if body.get("result") is not None:
                body["result"] = change(asked.method, body["result"])
            return Reply(200, msgspec.json.encode(body))

        return fault

    return of


def blocks(change: Callable[[dict[str, Any]], dict[str, Any]]) -> Callable[[Proxy], Fault]:
    return edited(lambda method, found: change(found) if method.startswith("eth_getBlockBy") else found)


def without(*names: str) -> Callable[[dict[str, Any]], dict[str, Any]]:
    return lambda block: {name: value for name, value in block.items() if name not in names}


def swallowed(asked: Asked) -> Reply:
    """The hash of a transaction that goes no further."""
    return told(asked, result=str(keccak(bytes.fromhex(asked.body["params"][0][2:]))))


SWALLOW = on("eth_sendRawTransaction", swallowed, times=1)
LATE = 8
CASES = {
    "few blocks a query": Case(always(wide(1, says(-32602, "range exceeds limit of 1")))),
    "too many results": Case(always(wide(1, says(-32005, "query returned more than 10000 results")))),
    "replica behind": Case(always(lagging(6))),
    "code null": Case(one_in(8, says(None, "upstream busy"))),
    "code in words": Case(one_in(8, says("RATE_LIMITED", "slow down"))),
    "error in words": Case(one_in(8, lambda asked: told(asked, error="try another time"))),
    "page": Case(always(on(None, http(200, PAGE, content_type="text/html"))), lasting=True),
    "429": Case(always(on(None, http(429))), lasting=True),
    "429 now and then": Case(one_in(8, http(429))),
    "502 now and then": Case(one_in(8, http(502, PAGE))),
    "key": Case(always(needs_key("x-api-key", "abc")), lasting=True),
    "slow": Case(slow(20, 0.25)),
    "late and empty": Case(one_in(40, holds(threading.Event(), 1.0))),
    "nothing now and then": Case(one_in(8, lambda asked: told(asked, result=None))),
    "transaction swallowed": Case(always(SWALLOW)),
    "transaction taken, answer lost": Case(after("eth_sendRawTransaction", http(502), 2)),
    "transaction taken, refused in words": Case(after("eth_sendRawTransaction", says(-32000, "internal error"), 2)),
    "receipts late": Case(always(on("eth_getTransactionReceipt", lambda asked: told(asked, result=None), times=LATE))),
    "receipts of other shape": Case(
        always(on("eth_getTransactionReceipt", lambda asked: told(asked, result="0x"), times=LATE))
    ),
    "no batch of receipts": Case(always(on("eth_getBlockReceipts", says(-32601, "the method does not exist")))),
    "no base fee": Case(blocks(without("baseFeePerGas"))),
    "proof of authority": Case(
        blocks(lambda block: {**without("withdrawals")(block), "extraData": "0x" + "ab" * 97, "difficulty": "0x2"})
    ),
    "no bloom": Case(blocks(lambda block: {**block, "logsBloom": "0x" + "00" * 256})),
    "a high tip": Case(
        edited(lambda method, found: hex(30 * 10**9) if method == "eth_maxPriorityFeePerGas" else found)
    ),
}
