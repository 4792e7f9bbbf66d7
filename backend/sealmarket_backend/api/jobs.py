"""Jobs as the index has them from final blocks, and what parties post about them."""

from __future__ import annotations

from typing import Annotated

from fastapi import FastAPI, Query, Request, Response
from fastapi.concurrency import run_in_threadpool

from sealmarket.protocol.limits import MAXIMUM_PACKAGE
from sealmarket.protocol.market import MOST_JOBS, Accepted, JobPage, TimesTaken
from sealmarket.protocol.transitions import Status
from sealmarket.protocol.wire import JobView, PostedResult, SignedAcknowledgement
from sealmarket.serving.requests import peer_in
from sealmarket_backend.api.answers import answer, body_of, page_of
from sealmarket_backend.api.cursors import cursor_of, places_in
from sealmarket_backend.api.documents import (
    Account,
    Hash,
    PageCursor,
    QueryHash,
    Tags,
    gives,
    reads,
    reads_bytes,
    refuses,
)
from sealmarket_backend.api.posting import CREATED, Posting
from sealmarket_backend.api.store import BYTES
from sealmarket_backend.listing import Listings
from sealmarket_backend.service import Backend
from sealmarket_backend.times_taken import times_taken
from sealmarket_enclave.protocol.codec import Address, Bytes32
from sealmarket_enclave.protocol.errors import MalformedDocument
from sealmarket_enclave.protocol.numbers import Tee

TAGS: Tags = ["jobs"]


def add_routes(app: FastAPI, backend: Backend, posting: Posting, listings: Listings) -> None:
    """The routes of jobs, their evidence, results and acknowledgements."""
    _jobs(app, backend, listings)
    _evidence(app, backend)
    _results(app, backend, posting)


def _jobs(app: FastAPI, backend: Backend, listings: Listings) -> None:
    def view(job_id: Bytes32) -> bytes:
        return bytes(answer(backend.index.job(job_id)).body)

    @app.get("/v1/jobs", tags=TAGS, summary="Jobs", responses=gives(JobPage))
    def get_jobs(
        provider: Account | None = None,
        consumer: Account | None = None,
        status: Annotated[str | None, Query(max_length=20, description="matched, quoted, accepted, ...")] = None,
        cursor: PageCursor = None,
        limit: Annotated[int, Query(ge=1, le=MOST_JOBS, description="Most items of the page.")] = 100,
    ) -> Response:
        """A page of those that fit all that is given, newest first."""
        query = ("jobs", provider, consumer, status)
        places = places_in(cursor, query)
        found = listings.jobs(
            view,
            places[0] if places else None,
            limit,
            provider=Address.parse(provider) if provider else None,
            consumer=Address.parse(consumer) if consumer else None,
            status=_status(status) if status else None,
        )
        return page_of(found.documents, None if found.place is None else cursor_of(query, found.place))

    @app.get("/v1/times-taken", tags=TAGS, summary="How long jobs took", responses=gives(TimesTaken))
    def get_times_taken(
        workload: QueryHash,
        tee: Annotated[str, Query(max_length=20, description="sgx, tdx, snp, cca or nitro.")],
        provider: Account | None = None,
    ) -> Response:
        """From match to settlement, the newest that are alike: of the workload, of the provider, and of both."""
        named = Address.parse(provider) if provider else None
        return answer(times_taken(backend.database, Bytes32.parse(workload), _tee(tee), named))

    @app.get("/v1/jobs/{job_id}", tags=TAGS, summary="One job", responses=gives(JobView))
    def get_job(job_id: Hash) -> Response:
        """With its history, and who has to act next."""
        return answer(backend.index.job(Bytes32.parse(job_id)))


def _evidence(app: FastAPI, backend: Backend) -> None:
    path = "/v1/evidence/{job_id}/{evidence_hash}"
    size = f"At most {MAXIMUM_PACKAGE} bytes, as docs/spec/shares.md has it; the job's provider signed them."

    @app.put(
        path,
        status_code=CREATED,
        tags=TAGS,
        summary="Put the sealed evidence of a job",
        openapi_extra=reads_bytes(size),
        responses={CREATED: {"description": "done"}, **refuses()},
    )
    async def put_evidence(job_id: Hash, evidence_hash: Hash, request: Request) -> Response:
        """Its provider alone can. What it puts later replaces it."""
        names = Bytes32.parse(job_id), Bytes32.parse(evidence_hash)
        raw = await body_of(request, "sealed evidence package", MAXIMUM_PACKAGE)
        await run_in_threadpool(backend.add_evidence, *names, raw, peer_in(request.scope))
        backend.wake()
        return Response(status_code=CREATED)

    @app.get(path, tags=TAGS, summary="The sealed evidence of a job", responses=gives(None))
    def get_evidence(job_id: Hash, evidence_hash: Hash) -> Response:
        """The package that its provider put last."""
        raw = backend.evidence(Bytes32.parse(job_id), Bytes32.parse(evidence_hash))
        return Response(raw, media_type=BYTES)


def _results(app: FastAPI, backend: Backend, posting: Posting) -> None:
    @app.post(
        "/v1/results",
        status_code=CREATED,
        tags=TAGS,
        summary="Post what an enclave signed at the end of a job",
        openapi_extra=reads(PostedResult),
        responses=gives(Accepted, CREATED),
    )
    async def post_result(request: Request) -> Response:
        """A settlement or a failure, signed by the enclave that the oracle nodes accepted."""
        return await posting.post(request, PostedResult, backend.add_result)

    @app.get("/v1/results/{job_id}", tags=TAGS, summary="The result of a job", responses=gives(PostedResult))
    def get_result(job_id: Hash) -> Response:
        """What its enclave signed, and where the sealed result lies."""
        return answer(backend.result(Bytes32.parse(job_id)))

    @app.post(
        "/v1/acknowledgements",
        status_code=CREATED,
        tags=TAGS,
        summary="Post the statement that a result arrived",
        openapi_extra=reads(SignedAcknowledgement),
        responses=gives(Accepted, CREATED),
    )
    async def post_acknowledgement(request: Request) -> Response:
        """Signed by the job's consumer; the backend's keeper submits it to the chain."""
        return await posting.post(request, SignedAcknowledgement, backend.add_acknowledgement)


def _tee(slug: str) -> Tee:
    known = {one.slug: one for one in Tee}
    if slug not in known:
        raise MalformedDocument(f"expected one of {', '.join(known)}, found {slug[:40]!r}")
    return known[slug]


def _status(name: str) -> Status:
    try:
        return Status[name.upper()]
    except KeyError as error:
        names = ", ".join(status.name.lower() for status in Status)
        raise MalformedDocument(f"expected one of {names}, found {name[:40]!r}") from error
