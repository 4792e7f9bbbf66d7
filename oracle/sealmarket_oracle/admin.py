"""The operator's surface of a node, apart from the public one: a Unix socket of mode 0600, and a port on loopback.

``GET /v1/report`` NodeReport; ``GET /metrics`` for Prometheus; ``POST /v1/recall`` Advisory gives a Recall. It changes
nothing. What reaches it runs as the node's own user, or on the node's own machine where the operator named a port.
"""

from __future__ import annotations

import os
import socket
import stat
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import httpx
import uvicorn
from fastapi import FastAPI, Request, Response
from fastapi.concurrency import run_in_threadpool

from sealmarket.chain.errors import ChainError
from sealmarket.http import HttpClient, HttpError, is_loopback
from sealmarket.protocol.advisories import MAXIMUM_ADVISORY, Advisory
from sealmarket.serving.start import listen
from sealmarket_enclave.protocol.codec import decode
from sealmarket_enclave.protocol.errors import MalformedDocument
from sealmarket_oracle.errors import InvalidConfig, NotRunning
from sealmarket_oracle.node_folder import NODE_FILE, SOCKET_FILE
from sealmarket_oracle.recalls import Recall
from sealmarket_oracle.report import NodeReport, Reporter, metrics

_REPORT_BYTES = 8 << 20
_SECONDS = 10.0
_METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"


def admin_app(reporter: Reporter) -> FastAPI:
    """The interface."""
    app = FastAPI(title="Sealmarket key oracle node, for its operator", docs_url=None, redoc_url=None, openapi_url=None)

    @app.get("/v1/report")
    def report() -> Response:
        return Response(reporter.report().canonical(), media_type="application/json")

    @app.post("/v1/recall")
    async def recall(request: Request) -> Response:
        try:
            if int(request.headers.get("content-length", "0")) > MAXIMUM_ADVISORY:
                raise MalformedDocument(f"a statement has at most {MAXIMUM_ADVISORY} bytes")
            advisory = decode(Advisory, await request.body())
        except MalformedDocument as error:
            return Response(error.message, status_code=422, media_type="text/plain")
        try:
            found = await run_in_threadpool(reporter.recall, advisory)
        except ChainError as error:
            return Response(error.message, status_code=503, media_type="text/plain")
        return Response(found.canonical(), media_type="application/json")

    @app.get("/metrics")
    def prometheus() -> Response:
        return Response(metrics(reporter.report()), media_type=_METRICS_TYPE)

    return app


@contextmanager
def serving_admin(reporter: Reporter, *places: str) -> Iterator[None]:
    """Serve the operator's surface at each of the places, in a thread, until the block ends.

    Raises:
        InvalidConfig: a port beyond loopback, or a path where no socket can be.
        AddressTaken: the port is in use.
    """
    with ExitStack() as stack:
        bound = [stack.enter_context(_bound(place)) for place in places]
        settings = uvicorn.Config(admin_app(reporter), log_level="warning", access_log=False, server_header=False)
        server = uvicorn.Server(settings)
        thread = threading.Thread(target=server.run, args=(bound,), name="admin", daemon=True)
        thread.start()
        try:
            yield
        finally:
            server.should_exit = True
            thread.join(_SECONDS)


@contextmanager
def _bound(place: str) -> Iterator[socket.socket]:
    host, separator, port = place.rpartition(":")
    if separator and port.isdigit() and "/" not in place:
        if not is_loopback(f"http://{place}"):
            raise InvalidConfig(f"admin is {place}", remedy="name a socket file, or a port of 127.0.0.1")
        with listen(host.strip("[]"), int(port)) as bound:
            yield bound
        return
    path = Path(place)
    try:
        _clear(path)
        bound = _socket(path)
    except OSError as error:
        raise InvalidConfig(f"admin is {place}: {error.strerror}", remedy="name another place for it") from error
    try:
        yield bound
    finally:
        bound.close()
        with suppress(OSError):
            if stat.S_ISSOCK(path.lstat().st_mode):
                path.unlink()


def _clear(path: Path) -> None:
    """Remove the socket that a killed process left. Anything else stays: it may be a key.

    Raises:
        InvalidConfig: another kind of file is there, or a program answers at that socket.
        OSError: the place cannot be looked at.
    """
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise InvalidConfig(f"admin is {path}, which is no socket", remedy="name a place where no file is")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe, _short(path) as short:
        probe.settimeout(_SECONDS)
        try:
            probe.connect(short)
        except ConnectionRefusedError:
            path.unlink()
            return
        except OSError:
            pass  # one that is slow, of another kind or of another user: not this node's
    raise InvalidConfig(f"admin is {path}, where a program answers", remedy="name another place, or end that program")


def _socket(path: Path) -> socket.socket:
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with _short(path) as short:
            made.bind(short)
        path.chmod(0o600)
        made.listen()
    except BaseException:
        made.close()
        raise
    return made


@contextmanager
def _short(path: Path) -> Iterator[str]:
    """A path to a socket that is short enough for the kernel (107 bytes), however deep its folder is."""
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)


def read_report(path: Path) -> NodeReport:
    """The report of the node that runs on a state folder, or behind a socket file.

    Raises:
        NotRunning: no node answers there.
        HttpError: what answers does so too slowly, or with an error.
        MalformedDocument: what answers is no node of this release.
    """
    return decode(NodeReport, _ask(path, "GET", "/v1/report"))


def ask_recall(path: Path, advisory: Advisory) -> Recall:
    """What a statement touches, of the jobs of the node that runs on a state folder. Raises as :func:`read_report`."""
    return decode(Recall, _ask(path, "POST", "/v1/recall", advisory.canonical()))


def _ask(path: Path, method: str, what: str, body: bytes | None = None) -> bytes:
    place = _place(path)
    with _short(place.absolute()) as short:
        _require_listener(path, short)
        client = HttpClient(seconds=_SECONDS, transport=httpx.HTTPTransport(uds=short))
        try:
            with client.ask(method, f"http://node{what}", limit=_REPORT_BYTES, content=body) as answer:
                if answer.status != 200:
                    raise HttpError(
                        f"the node answered {answer.status}", remedy="run the command of the node's release"
                    )
                return answer.body()
        finally:
            client.close()


def _place(path: Path) -> Path:
    """The socket of a node's state folder, or the one that is named. Raises :class:`NotRunning`."""
    if not path.exists():
        raise NotRunning(f"there is no {path}", remedy="name the node's state folder: state in its TOML file")
    if not path.is_dir():
        return path
    if (place := path / SOCKET_FILE).exists():
        return place
    if (path / NODE_FILE).exists():
        raise NotRunning(f"no node runs on {path}", remedy="start it with `sealmarket oracle run`, as the same user")
    raise NotRunning(
        f"{path} is no state folder of a node: it has neither {SOCKET_FILE} nor {NODE_FILE}",
        remedy="name the folder that state in the node's TOML file names",
    )


def _require_listener(path: Path, short: str) -> None:
    """Tell a socket that a killed process left behind, or that is another user's, from a node that is slow."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(_SECONDS)
        try:
            probe.connect(short)
        except PermissionError as error:
            raise NotRunning(f"the node on {path} is another user's", remedy="run this as the node's user") from error
        except TimeoutError:
            return  # one that is slow: the request says so
        except OSError as error:
            raise NotRunning(
                f"no node runs on {path}: its last process was killed",
                remedy="start it with `sealmarket oracle run`, as the same user",
            ) from error
