"""The store of blobs, and uploads that go on (docs/spec/container.md, "Uploads that go on")."""

from __future__ import annotations

from typing import Annotated

from fastapi import FastAPI, Header, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import FileResponse

from sealmarket.serving.requests import charge_write, peer_in
from sealmarket_backend.api.documents import Hash, Tags, gives, reads_bytes, refuses
from sealmarket_backend.blobs import LIMITS, Kind
from sealmarket_backend.service import Backend
from sealmarket_enclave.protocol.codec import Bytes32

MAX_OFFSET = LIMITS[Kind.CONTAINERS]
OFFSET = "Upload-Offset"
BYTES = "application/octet-stream"
TAGS: Tags = ["store"]
_UPLOAD = "/v1/containers/{root}/upload"
_Token = Annotated[str, Header(pattern="^0x[0-9a-f]{64}$", description="32 random bytes that the uploader drew.")]
_DONE = {"description": "done"}


def add_routes(app: FastAPI, backend: Backend) -> None:
    """The routes of blobs of every kind."""
    for kind in Kind:
        _blobs(app, backend, kind)
    _leaves(app, backend)
    _uploads(app, backend)


def _blobs(app: FastAPI, backend: Backend, kind: Kind) -> None:
    path, size = f"/v1/{kind}/{{name}}", f"At most {LIMITS[kind]} bytes, to which the name commits."

    @app.put(
        path,
        status_code=201,
        name=f"put {kind}",
        tags=TAGS,
        summary=f"Put one of the {kind}",
        openapi_extra=reads_bytes(size),
        responses={201: _DONE, **refuses()},
    )
    async def put(name: Hash, request: Request) -> Response:
        """Whole; its name commits to its bytes."""
        wanted = Bytes32.parse(name)
        with backend.blobs.incoming(kind, peer_in(request.scope)) as incoming:
            async for piece in request.stream():
                incoming.write(piece)
                if kind is not Kind.CONTAINERS:  # these are hashed fast, and may be as large as the data
                    charge_write(request.scope, len(piece))
            await run_in_threadpool(backend.blobs.keep, incoming, wanted)
        return Response(status_code=201)

    def get(name: Hash) -> FileResponse:
        """Its bytes, which a reader holds against the name."""
        return FileResponse(backend.blobs.path(kind, Bytes32.parse(name)), media_type=BYTES)

    summary = f"One of the {kind}"
    app.get(path, name=f"get {kind}", tags=TAGS, summary=summary, responses=gives(None))(get)
    app.head(path, name=f"has {kind}", tags=TAGS, summary=summary, responses={200: _DONE, **refuses()})(get)


def _leaves(app: FastAPI, backend: Backend) -> None:
    @app.get(
        "/v1/containers/{root}/leaves", tags=TAGS, summary="The leaf digests of a container", responses=gives(None)
    )
    def get_leaves(root: Hash) -> FileResponse:
        """So that a reader tells which chunk came wrong; they are held against the root first."""
        return FileResponse(backend.blobs.leaves(Bytes32.parse(root)), media_type=BYTES)


def _uploads(app: FastAPI, backend: Backend) -> None:
    @app.head(_UPLOAD, status_code=204, tags=TAGS, summary="How far an upload is", responses={204: _DONE, **refuses()})
    def get_offset(root: Hash, upload_token: _Token) -> Response:
        """`Upload-Offset` is how many bytes are there."""
        offset = backend.uploads.offset(Bytes32.parse(root), Bytes32.parse(upload_token))
        return Response(status_code=204, headers={OFFSET: str(offset)})

    @app.patch(
        _UPLOAD,
        status_code=204,
        tags=TAGS,
        summary="Add bytes to an upload",
        openapi_extra=reads_bytes("The bytes that follow."),
        responses={204: _DONE, **refuses()},
    )
    async def add(
        root: Hash,
        request: Request,
        upload_token: _Token,
        upload_offset: Annotated[int, Header(ge=0, le=MAX_OFFSET, description="Where they begin, in bytes.")],
    ) -> Response:
        """Where its bytes end; 0 begins one."""
        names = Bytes32.parse(root), Bytes32.parse(upload_token)
        with backend.uploads.part(*names, upload_offset, peer_in(request.scope)) as incoming:
            async for piece in request.stream():
                incoming.write(piece)
        return Response(status_code=204)

    @app.put(_UPLOAD, status_code=201, tags=TAGS, summary="End an upload", responses={201: _DONE, **refuses()})
    async def finish(root: Hash, request: Request, upload_token: _Token) -> Response:
        """All is there: it gets its name, or goes where it is another container."""
        names = Bytes32.parse(root), Bytes32.parse(upload_token)
        await run_in_threadpool(backend.uploads.finish, *names, peer_in(request.scope))
        return Response(status_code=201)
