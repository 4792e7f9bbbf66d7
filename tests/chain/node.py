"""A node that answers what a test tells it to, also when that is a lie."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx
import msgspec

from sealmarket.chain import Chain
from sealmarket.protocol.book import AddressBook, Committee, FinalityRule, Member
from sealmarket_enclave.protocol.codec import Address, HexBytes
from sealmarket_enclave.protocol.hashing import keccak
from tests.samples import TIMING

CHAIN_ID = 31337
REGISTRY, COMMITTEE, MARKET = (Address(bytes([n]) * 20) for n in (1, 2, 3))
BOOK = AddressBook(
    chain_id=CHAIN_ID,
    registry=REGISTRY,
    committee=COMMITTEE,
    market=MARKET,
    endings=Address(b"\xe1" * 20),
    extension=Address(b"\xe2" * 20),
    sessions=Address(b"\xe3" * 20),
    deployed_at=1,
    finality=FinalityRule(kind="depth", depth=2),
    timing=TIMING,
    store="http://store",
    backend="http://store",
    committees=(
        Committee(
            epoch=1,
            threshold=1,
            members=(Member(signer=Address(b"\x09" * 20), hpke_public_key=HexBytes(b"key"), url="http://node"),),
        ),
    ),
)


def block(number: int, fork: int = 0) -> dict[str, str]:
    """A block as nodes tell it."""
    return {
        "number": hex(number),
        "hash": str(keccak(b"%d %d" % (number, fork))),
        "parentHash": str(keccak(b"%d %d" % (number - 1, fork))),
        "timestamp": hex(1_700_000_000 + number),
    }


class Node:
    """Answers by method: a value, or a function of the parameters. Counts what it was asked."""

    def __init__(self, height: int = 10) -> None:
        self.height = height
        self.fork = 0
        self.asked: list[tuple[str, list[Any]]] = []
        self.answers: dict[str, Any] = {
            "eth_chainId": hex(CHAIN_ID),
            "eth_getBlockByNumber": self._block,
            "eth_getLogs": [],
        }

    def _block(self, tag: str, _full: bool) -> dict[str, str] | None:
        number = self.height if tag == "latest" else int(tag, 16)
        return block(number, self.fork) if number <= self.height else None

    def handle(self, body: dict[str, Any]) -> dict[str, Any]:
        """One request."""
        method, params = body["method"], body["params"]
        self.asked.append((method, params))
        answer = self.answers.get(method, {"error": {"code": -32601, "message": "no such method"}})
        if callable(answer):
            answer = answer(*params)
        envelope = answer if isinstance(answer, dict) and set(answer) == {"error"} else {"result": answer}
        return {"jsonrpc": "2.0", "id": body["id"], **envelope}


def wire(handle: Callable[[dict[str, Any]], dict[str, Any]]) -> httpx.MockTransport:
    """What stands where the network would be: a function from request to answer, which may raise instead."""
    return httpx.MockTransport(
        lambda request: httpx.Response(200, content=msgspec.json.encode(handle(msgspec.json.decode(request.content))))
    )


def error(code: int, message: str, data: object = None) -> dict[str, Any]:
    """An error as nodes tell it."""
    return {"error": {"code": code, "message": message, "data": data}}


def chain(node: Node, book: AddressBook = BOOK) -> Chain:
    """A chain read through that node."""
    made = Chain(book, "http://node.twin", pause=lambda _seconds: None)
    made.rpc.mount(wire(node.handle))
    return made
