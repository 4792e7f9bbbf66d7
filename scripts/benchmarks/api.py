"""Answers of the backend's API at 100 clients: how late the last hundredth comes, and how many beside a bare route.

One server process with its limits, keys and metrics, over a book of 1,000 offers and 500 requests in SQLite; the chain
is in memory. A client process holds 100 connections, each of which asks again as soon as it is answered: seven of ten
requests ask where a request stands, two list twenty offers, one posts a signed request. `api_p99_ms_sqlite` is the time
of an answer that 99 of 100 do not exceed, `api_p99_ms_postgres` the same over a PostgreSQL on this machine.

`api_vs_bare` compares requests a second for where an offer stands with a route of FastAPI that answers a constant of
the same size under the same server without limits. Both take turns. `--database` names the database of the backend.

What other programs take of the processors is in all of these. Two figures beside them know less of it: `api_cpu_us` is
the processor time of the server for one of the mixed requests, and `api_cpu_vs_bare` that of the bare route for one of
its answers over ours for where an offer stands. `api_p99_vs_bare` is the p99 over that of the bare route, whose turn
came just before.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import itertools
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from scripts.benchmarks._cpu import Stat

if TYPE_CHECKING:
    from fastapi import FastAPI

ROOT = Path(__file__).resolve().parents[2]
CLIENTS, OFFERS, REQUESTS, POSTED = 100, 1_000, 500, 3_000
CONSUMERS = 20
TARGET = 0.5
SQLITE, POSTGRES = "sqlite", "postgres"
Raw = bytes


def main(arguments: Sequence[str]) -> int:
    """Measure, print a table or JSON; 1 when the ratio is below its target."""
    parser = argparse.ArgumentParser(prog="scripts/bench api", description=__doc__.partition("\n")[0])
    parser.add_argument("--json", action="store_true", help="one JSON object instead of a table")
    parser.add_argument("--rounds", type=int, default=3, help="turns of each side")
    parser.add_argument("--seconds", type=float, default=5.0, help="length of a turn")
    parser.add_argument("--database", default=SQLITE, choices=[SQLITE, POSTGRES], help="the backend's database")
    parser.add_argument("--serve", choices=["backend", "bare"], help=argparse.SUPPRESS)
    parser.add_argument("--url", help=argparse.SUPPRESS)
    chosen = parser.parse_args(arguments)
    if chosen.serve:
        return _serve(chosen.serve, chosen.url)
    with _tables(chosen.database) as url:
        found = _measured(chosen.rounds, chosen.seconds, url)
    results = [
        {"name": f"api_p99_ms_{chosen.database}", "value": found["p99"], "unit": "ms", "target": None},
        {"name": "api_requests", "value": found["mixed"], "unit": "requests/s", "target": None},
        {"name": "api_vs_bare", "value": found["ratio"], "unit": "", "target": TARGET},
        {"name": "api_cpu_us", "value": found["cpu"], "unit": "us", "target": None},
        {"name": "api_cpu_vs_bare", "value": found["cpu_ratio"], "unit": "", "target": None},
        {"name": "api_p99_vs_bare", "value": found["late"], "unit": "x", "target": None},
    ]
    if chosen.json:
        print(json.dumps({"bench": "api", "results": results}))
    else:
        for one in results:
            bound = f"  (>= {one['target']})" if one["target"] else ""
            print(f"{one['name']:20} {one['value']:.2f} {one['unit']}{bound}")
    return 0 if found["ratio"] >= TARGET else 1


@contextmanager
def _tables(database: str) -> Iterator[str | None]:
    """The URL of empty tables; None for a file of the backend's own. A PostgreSQL writes to the disk as it does by
    default."""
    if database == SQLITE:
        yield None
        return
    from tests.backend.postgres import Server

    with closing(Server(durable=True)) as server:
        yield server.make_schema("bench")


def _measured(rounds: int, seconds: float, url: str | None) -> dict[str, float]:
    with _served("backend", url) as ours, _served("bare") as bare:
        reads = [_get(f"/v1/orders/{key}") for key in ours.paths["orders"]]
        mixed = _mixed(ours.paths)
        turns = []
        for turn in range(rounds):
            part = mixed[turn * len(mixed) // rounds : (turn + 1) * len(mixed) // rounds]
            asked = ((ours, reads), (bare, reads), (ours, part))
            turns.append([_turn(server, requests, seconds) for server, requests in asked])

    def median(of: Callable[[_Turn, _Turn, _Turn], float]) -> float:
        return statistics.median(of(*turn) for turn in turns)

    return {
        "ratio": median(lambda read, plain, _: read.per_second / plain.per_second),
        "p99": median(lambda _read, _plain, one: one.p99 * 1e3),
        "mixed": median(lambda _read, _plain, one: one.per_second),
        "cpu": median(lambda _read, _plain, one: one.cpu * 1e6),
        "cpu_ratio": median(lambda read, plain, _: plain.cpu / read.cpu),
        "late": median(lambda _read, plain, one: one.p99 / plain.p99),
    }


@dataclass(frozen=True, slots=True)
class _Server:
    """A process that serves, and what to ask it for."""

    pid: int
    port: int
    paths: dict[str, list[str]]

    def cpu(self) -> float:
        """Processor seconds so far."""
        return Stat.parse(Path(f"/proc/{self.pid}/stat").read_text()).own


@dataclass(frozen=True, slots=True)
class _Turn:
    """Answers a second, the time that 99 of 100 do not exceed, and processor time of each, in seconds."""

    per_second: float
    p99: float
    cpu: float


def _turn(server: _Server, requests: list[Raw], seconds: float) -> _Turn:
    before = server.cpu()
    times = _asked(server.port, requests, seconds)
    used = server.cpu() - before
    return _Turn(len(times) / seconds, statistics.quantiles(times, n=100)[98], used / len(times))


def _get(path: str) -> Raw:
    return f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode()


def _mixed(paths: dict[str, list[str]]) -> list[Raw]:
    """Seven of ten ask where a request stands, two list offers, one posts; each post is posted once."""
    found: list[Raw] = []
    for number, body in enumerate(paths["bodies"]):
        head = f"POST /v1/requests HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\nIdempotency-Key: {number}\r\n"
        found += [_get(f"/v1/requests/{paths['requests'][(7 * number + n) % REQUESTS]}") for n in range(7)]
        found += [_get("/v1/compute-orders?limit=20")] * 2
        found.append(f"{head}Content-Type: application/json\r\n\r\n{body}".encode())
    return found


def _asked(port: int, requests: list[Raw], seconds: float) -> list[float]:
    """The time of each answer that came within so many seconds, by 100 connections at once."""
    return asyncio.run(_ask(port, requests, seconds))


async def _ask(port: int, requests: list[Raw], seconds: float) -> list[float]:
    times: list[float] = []
    left = iter(requests * (1 if requests[-1].startswith(b"POST") else 10_000))
    end = time.perf_counter() + seconds

    async def client() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        while time.perf_counter() < end and (raw := next(left, None)) is not None:
            began = time.perf_counter()
            writer.write(raw)
            head = await reader.readuntil(b"\r\n\r\n")
            status = int(head[9:12])
            assert status in (200, 201), head
            length = head.lower().split(b"content-length: ")[1].split(b"\r\n")[0]
            await reader.readexactly(int(length))
            times.append(time.perf_counter() - began)
        writer.close()

    await asyncio.gather(*(client() for _ in range(CLIENTS)))
    return times


@contextmanager
def _served(kind: str, url: str | None = None) -> Iterator[_Server]:
    """A server in a process of its own."""
    command = [sys.executable, "-m", "scripts.benchmarks.api", "--serve", kind, *(["--url", url] if url else [])]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        found = json.loads(process.stdout.readline())
        yield _Server(process.pid, found["port"], found["paths"])
    finally:
        process.terminate()
        process.wait()


def _serve(kind: str, url: str | None) -> int:
    from uvicorn import Config, Server
    from uvicorn.protocols.http.h11_impl import H11Protocol

    from sealmarket.serving.connections import Connections
    from sealmarket.serving.limits import ServerLimits
    from sealmarket.serving.requests import BoundedRequests
    from sealmarket.serving.start import listen, server_settings, url_of

    many = 1_000_000
    limits = ServerLimits(
        connections_per_peer=4 * CLIENTS,
        requests_per_second=many, request_burst=many, writes_per_second=many, write_burst=many,
    )  # fmt: skip
    listener = listen("127.0.0.1", 0)
    port = int(url_of(listener).rpartition(":")[2])
    with tempfile.TemporaryDirectory() as folder:
        connections = Connections(limits, H11Protocol)
        settings = server_settings(limits, connections)
        if kind == "bare":
            app, paths = _bare(), dict[str, list[str]]()
            config = Config(app, **{**settings, "http": "h11"})
        else:
            app, paths = _backend(Path(folder), url)
            config = Config(BoundedRequests(app, connections), **settings)
        gc.collect()
        gc.freeze()  # as the backend does before it serves
        print(json.dumps({"port": port, "paths": paths}), flush=True)
        Server(config).run([listener])
    return 0


def _bare() -> FastAPI:
    from fastapi import FastAPI, Response

    app = FastAPI()

    @app.get("/v1/orders/{order_hash}")
    def get_order(order_hash: str) -> Response:  # noqa: ARG001 - as a route has one
        return Response(b'{"state":"open","reason":""}', media_type="application/json")

    return app


def _backend(folder: Path, url: str | None) -> tuple[FastAPI, dict[str, list[str]]]:
    from coincurve import PrivateKey

    from sealmarket.chain.memory import MemoryChain
    from sealmarket.chain.model import Account
    from sealmarket_backend.api import create_app
    from sealmarket_backend.service import Backend
    from sealmarket_enclave.protocol.codec import Uint, Wei, canonical_json
    from tests.backend.orders import BOOK, account, compute, posted_request

    soon = 2**40
    chain = MemoryChain(BOOK)
    chain.code = lambda _account, _block: b""  # type: ignore[method-assign,assignment]
    backend = Backend(chain, object(), folder, database=url)  # type: ignore[arg-type]
    offers = [compute(expiry=soon, salt=Uint(number)) for number in range(OFFERS)]
    order = offers[0].order
    chain.set_account(order.token, order.provider, Account(Wei(0), Wei(order.penalty * OFFERS)))
    orders = [str(backend.orders.add_compute_order(signed, 0)) for signed in offers]
    consumers = [PrivateKey(bytes([100 + number]) * 32) for number in range(CONSUMERS)]
    requests = [
        posted_request(key, consumer=account(key), payer=account(key), expiry=soon, salt=Uint(number))
        for number, key in zip(range(REQUESTS + POSTED), itertools.cycle(consumers), strict=False)
    ]
    keys = [str(backend.orders.add_request(posted, 0)) for posted in requests[:REQUESTS]]
    backend.orders.close_expired(0)
    bodies = [canonical_json(posted).decode() for posted in requests[REQUESTS:]]
    return create_app(backend), {"orders": orders, "requests": keys, "bodies": bodies}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
