"""A JSON-RPC server on loopback with one fault at a time, before a chain in memory or before a real node.

A fault takes a request and how many were seen before it, and answers in the node's place; None lets the node answer.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.request import ProxyHandler, Request, build_opener

import msgspec

from sealmarket.chain.absence import BLOOM_BYTES, bits_of
from sealmarket_enclave.protocol.codec import Address
from sealmarket_enclave.protocol.hashing import keccak
from tests.chain.node import Node
from tests.patience import PATIENCE

Body = dict[str, Any]
Node_ = Callable[[Body], Body]


@dataclass(frozen=True)
class Reply:
    """An answer over HTTP."""

    status: int = 200
    content: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Asked:
    """One request as a fault sees it; ``before`` counts earlier requests of the same method."""

    body: Body
    before: int
    headers: dict[str, str]
    upstream: Node_
    """The node behind, for a fault that changes its answer."""

    @property
    def method(self) -> str:
        return str(self.body["method"])

    @property
    def blocks(self) -> int:
        """How many blocks a query of logs covers."""
        query = self.body["params"][0]
        return int(query["toBlock"], 16) - int(query["fromBlock"], 16) + 1


Fault = Callable[[Asked], Reply | None]


def told(asked: Asked, **envelope: Any) -> Reply:
    """A JSON-RPC answer: ``result=`` or ``error=``."""
    return Reply(200, msgspec.json.encode({"jsonrpc": "2.0", "id": asked.body["id"], **envelope}))


# --- faults -----------------------------------------------------------------------------------------------------


def wide(most: int, refuse: Callable[[Asked], Reply]) -> Fault:
    """Queries of logs over more blocks than ``most`` are refused, each in the given way."""
    return lambda asked: refuse(asked) if asked.method == "eth_getLogs" and asked.blocks > most else None


def says(code: object, message: str) -> Callable[[Asked], Reply]:
    """An error in JSON-RPC."""
    return lambda asked: told(asked, error={"code": code, "message": message})


def http(status: int, content: bytes = b"", **headers: str) -> Callable[[Asked], Reply]:
    """An answer of the HTTP server itself."""
    return lambda _asked: Reply(status, content, {name.replace("_", "-"): value for name, value in headers.items()})


def holds(over: threading.Event, most: float = PATIENCE) -> Callable[[Asked], Reply]:
    """An answer that comes when a test is over or after so many seconds, and says nothing then."""

    def wait(asked: Asked) -> Reply:
        over.wait(most)
        return told(asked, result=[])

    return wait


def lagging(times: int) -> Fault:
    """The first queries of logs are answered by a replica that has not seen their blocks."""
    return on("eth_getLogs", lambda asked: told(asked, result=[]), times=times)


def on(method: str | None, refuse: Callable[[Asked], Reply], *, times: int = 1 << 30) -> Fault:
    """One method, or every one, is refused, so many times."""
    return lambda asked: refuse(asked) if method in (None, asked.method) and asked.before < times else None


def needs_key(name: str, value: str) -> Fault:
    """Requests without a header are refused."""
    return lambda asked: None if asked.headers.get(name) == value else Reply(401, b'{"message":"no key"}')


# --- the server -------------------------------------------------------------------------------------------------


class Proxy:
    """The server; ``fault`` may be changed while it runs. ``asked`` is what came."""

    def __init__(self, upstream: Node_, fault: Fault | None = None) -> None:
        self.upstream, self.fault = upstream, fault
        self.asked: list[Asked] = []
        self._turn = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def answer(self, body: Body, headers: dict[str, str]) -> Reply:
        """One request."""
        with self._turn:
            asked = Asked(body, sum(one.method == body["method"] for one in self.asked), headers, self.upstream)
            self.asked.append(asked)
        reply = self.fault(asked) if self.fault else None
        return reply or Reply(200, msgspec.json.encode(self.upstream(body)))

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            timeout = PATIENCE
            wbufsize = -1  # head and body in one piece
            disable_nagle_algorithm = True

            def do_POST(self) -> None:
                body = msgspec.json.decode(self.rfile.read(int(self.headers["content-length"])))
                reply = proxy.answer(body, {name.lower(): value for name, value in self.headers.items()})
                self.send_response(reply.status)
                for name, value in {"content-length": str(len(reply.content)), **reply.headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(reply.content)
                self.wfile.flush()

            def log_message(self, *_words: object) -> None:
                pass

        return Handler


@contextmanager
def faulty(upstream: Node_, fault: Fault | None = None) -> Iterator[Proxy]:
    """A proxy for the length of a block."""
    proxy = Proxy(upstream, fault)
    try:
        yield proxy
    finally:
        proxy.close()


def real(url: str) -> Node_:
    """A real node, as what a proxy stands before."""
    opener = build_opener(ProxyHandler({}))

    def ask(body: Body) -> Body:
        sent = Request(url, msgspec.json.encode(body), {"content-type": "application/json"})
        with opener.open(sent, timeout=PATIENCE) as answer:
            found: Body = msgspec.json.decode(answer.read())
            return found

    return ask


# --- a chain in memory ------------------------------------------------------------------------------------------


class Ledger(Node):
    """A node whose blocks hold logs, with the filters and receipts that go with them."""

    def __init__(self, height: int = 40) -> None:
        super().__init__(height)
        self.logs: list[Body] = []
        self.forked_at = 1 << 40
        self.receipts_method = True
        self.answers |= {
            "eth_getLogs": self._logs,
            "eth_getBlockReceipts": self._receipts,
            "eth_getTransactionReceipt": lambda name: next(r for r in self._all_receipts() if r["name"] == name),
            "eth_getBlockByHash": self._by_hash,
        }

    def add(self, log: Body) -> None:
        """A log, in the block that it names."""
        number = int(log["blockNumber"], 16)
        self.logs.append({**log, "blockHash": self._name(number)})

    def reorganise(self, first: int) -> None:
        """Give every block from ``first`` on another hash, and take its logs away."""
        self.fork, self.forked_at = self.fork + 1, first
        self.logs = [log for log in self.logs if int(log["blockNumber"], 16) < first]

    def _name(self, number: int) -> str:
        return str(keccak(b"%d %d" % (number, self.fork if number >= self.forked_at else 0)))

    def _block(self, tag: str, _full: bool) -> Any:
        number = self.height if tag == "latest" else int(tag, 16)
        if number > self.height:
            return None
        inside = [log for log in self.logs if log["blockNumber"] == hex(number)]
        words = [word for log in inside for word in (log["address"], *log["topics"])]
        bloom = 0
        for word in words:
            bloom |= bits_of(bytes.fromhex(word[2:]))
        return {
            "number": hex(number),
            "hash": self._name(number),
            "parentHash": self._name(number - 1),
            "timestamp": hex(1_700_000_000 + number),
            "logsBloom": "0x" + bloom.to_bytes(BLOOM_BYTES).hex(),
            "transactions": [f"{number}"] if inside else [],
        }

    def _by_hash(self, name: str, _full: bool) -> Any:
        return next((self._block(hex(n), False) for n in range(self.height + 1) if self._name(n) == name), None)

    def _logs(self, query: Body) -> list[Body]:
        first, last = int(query["fromBlock"], 16), int(query["toBlock"], 16)
        addresses = query["address"] if isinstance(query["address"], list) else [query["address"]]
        wanted = {Address.parse(address.lower()) for address in addresses}
        near = [log for log in self.logs if first <= int(log["blockNumber"], 16) <= last]
        topics = query.get("topics", [])
        return [
            log
            for log in near
            if Address.parse(log["address"]) in wanted
            and all(topic in (None, said) for topic, said in zip(topics, log["topics"], strict=False))
        ]

    def _all_receipts(self) -> list[Body]:
        found = []
        for number in range(self.height + 1):
            inside = [log for log in self.logs if log["blockNumber"] == hex(number)]
            found += [{"name": f"{number}", "blockHash": self._name(number), "logs": inside}] if inside else []
        return found

    def _receipts(self, tag: str) -> Any:
        if not self.receipts_method:
            return {"error": {"code": -32601, "message": "the method does not exist"}}
        return [one for one in self._all_receipts() if one["name"] == str(int(tag, 16))]
