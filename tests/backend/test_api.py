"""The API answers in shapes, and refuses in problems that say what to do; the page shows what is there."""

import asyncio
import dataclasses
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import coincurve
import httpx
import msgspec
import pytest
from fastapi import FastAPI
from msgspec.structs import replace

from sealmarket.chain.memory import MemoryChain
from sealmarket.chain.model import Account
from sealmarket.protocol.limits import MAXIMUM_PACKAGE, MAXIMUM_PARAMETERS
from sealmarket.protocol.market import AnswerPage, ComputeOrderPage, JobPage, ProposalPage
from sealmarket.protocol.orders import EvidenceSeal
from sealmarket.protocol.problems import Problem
from sealmarket.protocol.proposals import MAXIMUM_PROPOSAL, SignedAnswer, SignedProposal
from sealmarket.protocol.sign_in import SignedMessage, SignInMessage, domain_of, uri_of
from sealmarket.sealing.evidence import About, EvidenceSealer, SealedEvidence
from sealmarket.serving.rates import Rates
from sealmarket.workloads.folders import read_bundle
from sealmarket.workloads.wheels import build
from sealmarket_backend.api import create_app
from sealmarket_backend.ledger import StoreLimits
from sealmarket_backend.quotas import Quotas
from sealmarket_backend.service import Backend
from sealmarket_enclave.protocol.codec import ZERO_ADDRESS, ZERO_HASH, Bytes32, HexBytes, Wei, canonical_json, decode
from sealmarket_enclave.protocol.hashing import keccak
from sealmarket_enclave.protocol.job import Parameters, result_key_names, result_keys_hash
from sealmarket_enclave.protocol.numbers import JobId
from sealmarket_enclave.protocol.signing import personal_digest, sign
from sealmarket_enclave.sealed.hpke import PrivateKey
from sealmarket_enclave.workload.bundle import pack
from tests.backend.orders import (
    ASSET,
    BOOK,
    CONSUMER,
    OWNER,
    PARAMETERS,
    PROVIDER,
    STRANGER,
    account,
    compute,
    indexed,
    posted_request,
)
from tests.backend.test_index import EVIDENCE, RESULT, core, spec
from tests.backend.test_proposals import answered
from tests.backend.test_proposals import proposal as signed_proposal
from tests.enclave.workload.bundles import bundle

SOON = 2**40


class Silent:
    """A sender that is never asked: the keeper does not run here."""


class Client:
    """Asks an application without a socket."""

    def __init__(self, app: FastAPI) -> None:
        self._app = app

    def get(self, path: str, headers: Mapping[str, str] | None = None) -> httpx.Response:
        return self.send("GET", path, headers=headers)

    def post(self, path: str, content: bytes) -> httpx.Response:
        return self.send("POST", path, content)

    def put(self, path: str, content: bytes) -> httpx.Response:
        return self.send("PUT", path, content)

    def send(
        self, method: str, path: str, content: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> httpx.Response:
        async def ask() -> httpx.Response:
            transport = httpx.ASGITransport(self._app, raise_app_exceptions=False)
            async with httpx.AsyncClient(transport=transport, base_url="http://backend") as client:
                return await client.request(method, path, content=content, headers=headers)

        return asyncio.run(ask())


@pytest.fixture
def chain() -> MemoryChain:
    return MemoryChain(BOOK)


@pytest.fixture
def backend(chain: MemoryChain, tmp_path: Path) -> Iterator[Backend]:
    chain.code = lambda _account, _block: b""  # type: ignore[method-assign,assignment]
    made = Backend(chain, Silent(), tmp_path)  # type: ignore[arg-type]
    yield made
    made.stop()


@pytest.fixture
def client(backend: Backend) -> Client:
    return Client(create_app(backend))


def signed_in(backend: Backend, key: coincurve.PrivateKey) -> str:
    """The token of a new session."""
    now = int(time.time())
    text = SignInMessage(
        domain=domain_of(BOOK.backend),
        account=account(key),
        uri=uri_of(BOOK.backend),
        chain_id=BOOK.chain_id,
        nonce=backend.sessions.nonce().nonce,
        issued_at=now,
        expiration=now + 600,
    ).text()
    signature = sign(personal_digest(text.encode()), key)
    return backend.sessions.sign_in(SignedMessage(message=text, signature=signature), "test").token


def problem(raw: bytes) -> Problem:
    return decode(Problem, raw)


def test_parameters_that_no_node_would_read_are_refused(client: Client) -> None:
    parameters = Parameters(salt=ZERO_HASH, values={"x": "y" * MAXIMUM_PARAMETERS})
    answer = client.post(f"/v1/parameters/{ZERO_HASH}", content=canonical_json(parameters))
    assert answer.status_code == 413
    assert str(MAXIMUM_PARAMETERS) in problem(answer.content).detail


def test_a_request_signed_by_somebody_else_is_a_problem_with_a_remedy(client: Client) -> None:
    signed = posted_request(key=STRANGER, expiry=SOON)
    answer = client.post("/v1/requests", content=canonical_json(signed))
    assert answer.status_code == 422
    assert "expected a signature by" in problem(answer.content).detail
    assert "sign for chain 31337" in problem(answer.content).remedy


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b'{"request": 1}', b'{"unknown": 1}'])
def test_what_is_no_request_is_refused_as_malformed(client: Client, body: bytes) -> None:
    answer = client.post("/v1/requests", content=body)
    assert answer.status_code == 422
    assert problem(answer.content).type == "/v1/problems/malformed-document"


def test_a_body_without_end_is_cut_off(client: Client) -> None:
    assert client.post("/v1/requests", content=b"x" * (5 << 20)).status_code == 413


def test_an_unknown_job_is_not_found_with_what_to_do(client: Client) -> None:
    answer = client.get(f"/v1/jobs/0x{'00' * 32}")
    assert answer.status_code == 404
    assert "may not be final yet" in problem(answer.content).remedy


def test_a_peer_has_the_chain_read_for_unknown_requests_a_bounded_number_of_times(
    backend: Backend, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each of these once read the chain on a thread of its own: forty of them were all the threads that there are."""
    asked: list[float] = []
    monkeypatch.setattr(backend.index, "catch_up", asked.append)
    monkeypatch.setattr(backend, "_looks", Rates(1, 3, clock=lambda: 0.0))
    body = canonical_json(Parameters(salt=ZERO_HASH, values={}))
    answers = [client.post(f"/v1/parameters/{keccak(bytes([n]))}", content=body).status_code for n in range(20)]
    assert answers == [404] * 20
    assert len(asked) == 3


def test_who_waits_for_another_thread_to_read_the_chain_waits_for_a_bounded_time(
    backend: Backend, chain: MemoryChain
) -> None:
    backend.index.advance()
    chain.match(spec())
    chain.finalise()
    before = backend.index.cursor()
    with backend.index._reading:
        backend.index.catch_up(0.01)
    assert backend.index.cursor() == before, "it read although another thread did"

    backend.index.catch_up(60)
    assert backend.index.cursor() != before


@pytest.mark.parametrize("name", ["0x00", "nonsense", "0x" + "AA" * 32])
def test_a_name_that_is_no_hash_is_refused(client: Client, name: str) -> None:
    assert client.get(f"/v1/documents/{name}").status_code == 422


def _sealed(job_id: JobId, signer: coincurve.PrivateKey, content: bytes = b"evidence") -> SealedEvidence:
    about = About(chain_id=BOOK.chain_id, market=BOOK.market, job_id=job_id, evidence_hash=EVIDENCE, epoch=1)

    def signed(sealed_hash: Bytes32) -> HexBytes:
        seal = EvidenceSeal(job_id=job_id, evidence_hash=EVIDENCE, sealed_hash=sealed_hash)
        return sign(seal.digest(BOOK.chain_id, BOOK.market), signer)

    return EvidenceSealer(content, about).wrapped([PrivateKey.generate().public], signed)


@pytest.fixture
def matched(backend: Backend, chain: MemoryChain) -> JobId:
    """A job that the index has."""
    job_id = chain.match(spec())
    chain.finalise()
    backend.index.advance()
    return job_id


def test_evidence_of_a_job_comes_from_its_provider_only(client: Client, matched: JobId) -> None:
    path = f"/v1/evidence/{matched}/{EVIDENCE}"
    assert client.put(path, content=_sealed(matched, STRANGER).raw).status_code == 422
    assert (
        client.put(path, content=dataclasses.replace(_sealed(matched, PROVIDER), signature=b"").raw).status_code == 422
    )
    assert client.get(path).status_code == 404


def test_who_copies_a_providers_signature_replaces_its_evidence_by_nothing_else(client: Client, matched: JobId) -> None:
    """It once named the quote alone, and was public: any account replaced the provider's package by its own."""
    path, right = f"/v1/evidence/{matched}/{EVIDENCE}", _sealed(matched, PROVIDER)
    assert client.put(path, content=right.raw).status_code == 201
    other = dataclasses.replace(_sealed(matched, STRANGER, b"other"), signature=right.signature)
    assert client.put(path, content=other.raw).status_code == 422
    assert client.get(path).content == right.raw


@pytest.mark.parametrize("what", ["no package", "another job", "other evidence", "too long"])
def test_what_is_no_evidence_of_the_job_is_refused(what: str, client: Client, matched: JobId) -> None:
    raw, path = _sealed(matched, PROVIDER).raw, f"/v1/evidence/{matched}/{EVIDENCE}"
    if what == "no package":
        raw = raw[:-66]
    elif what == "another job":
        raw = _sealed(JobId(ZERO_HASH), PROVIDER).raw
    elif what == "other evidence":
        path = f"/v1/evidence/{matched}/{ZERO_HASH}"
    else:
        raw += bytes(MAXIMUM_PACKAGE)
    assert client.put(path, content=raw).status_code == (413 if what == "too long" else 422)
    assert client.get(path).status_code == 404


def test_evidence_that_the_jobs_quote_does_not_name_is_refused(
    client: Client, backend: Backend, chain: MemoryChain, matched: JobId
) -> None:
    path, raw = f"/v1/evidence/{matched}/{EVIDENCE}", _sealed(matched, PROVIDER).raw
    assert client.put(path, content=raw).status_code == 201, "before the quote is final any counts"
    chain.quote(matched, RESULT)
    chain.finalise()
    backend.index.advance()
    assert str(RESULT) in problem(client.put(path, content=raw).content).detail


def test_what_a_peer_has_no_room_for_is_refused_and_not_kept(
    client: Client, backend: Backend, matched: JobId, tmp_path: Path
) -> None:
    quotas = Quotas(backend.database, StoreLimits(table_bytes=0), tmp_path)
    for part in (backend.orders, backend.orders.parameters, backend.proposals):
        part._count = quotas.count
    backend._quotas = quotas
    path = f"/v1/evidence/{matched}/{EVIDENCE}"
    for answer in (
        client.put(path, content=_sealed(matched, PROVIDER).raw),
        client.post("/v1/requests", content=canonical_json(posted_request(expiry=SOON))),
        client.post(f"/v1/parameters/{spec().request_hash}", content=canonical_json(PARAMETERS)),
    ):
        assert (answer.status_code, problem(answer.content).type) == (507, "/v1/problems/store-full")
    assert backend.database.rows("SELECT * FROM parameters") == []
    assert client.get(path).status_code == 404


def test_the_package_that_a_provider_put_last_counts(client: Client, matched: JobId) -> None:
    path = f"/v1/evidence/{matched}/{EVIDENCE}"
    for content in (b"first", b"last"):
        last = _sealed(matched, PROVIDER, content).raw
        assert client.put(path, content=last).status_code == 201
    assert client.get(path).content == last


def test_after_the_decision_a_provider_puts_no_other_package_than_the_nodes_opened(
    client: Client, backend: Backend, chain: MemoryChain, matched: JobId
) -> None:
    """The quote's hash is the same, and a verifier would hold its contents against the nodes' decision."""
    path, opened = f"/v1/evidence/{matched}/{EVIDENCE}", _sealed(matched, PROVIDER, b"what the nodes opened").raw
    assert client.put(path, content=opened).status_code == 201
    chain.quote(matched, EVIDENCE)
    chain.decide(core(matched))
    chain.finalise()
    backend.index.advance()
    later = client.put(path, content=_sealed(matched, PROVIDER, b"put later").raw)
    assert (later.status_code, "is decided by the evidence" in problem(later.content).detail) == (422, True)
    assert client.get(path).content == opened
    assert client.put(path, content=opened).status_code == 201, "the same one, sent again"


def test_a_document_comes_back_under_its_hash(client: Client) -> None:
    name = keccak(b"{}")
    assert client.put(f"/v1/documents/{name}", content=b"{}").status_code == 201
    assert client.get(f"/v1/documents/{name}").content == b"{}"
    assert client.put(f"/v1/documents/{name}", content=b"[]").status_code == 422


@pytest.mark.parametrize(
    ("stands", "told"),
    [
        (Account(Wei(10**18), Wei(0)), "has staked 0"),
        (Account(Wei(0), Wei(10**18), generation=1), "of generation 0"),
    ],
    ids=["no stake", "an earlier generation"],
)
def test_an_offer_that_no_match_can_use_is_refused_and_kept_from_the_book(
    client: Client, chain: MemoryChain, stands: Account, told: str
) -> None:
    """``flood_orders``: cheap offers of accounts without stake kept a request from every offer that has some."""
    signed = compute(expiry=SOON)
    chain.set_account(signed.order.token, signed.order.provider, stands)
    answer = client.post("/v1/compute-orders", content=canonical_json(signed))
    assert answer.status_code == 422
    assert told in problem(answer.content).detail
    assert decode(ComputeOrderPage, client.get("/v1/compute-orders").content).items == ()


def test_an_order_is_in_the_book_after_it_was_posted(client: Client, chain: MemoryChain) -> None:
    signed = compute(expiry=SOON)
    chain.set_account(signed.order.token, signed.order.provider, Account(Wei(0), signed.order.penalty))
    assert client.post("/v1/compute-orders", content=canonical_json(signed)).status_code == 201
    chain.set_account(signed.order.token, signed.order.provider, Account(Wei(0), Wei(0)))  # its stake is at work
    assert client.post("/v1/compute-orders", content=canonical_json(signed)).status_code == 201
    assert decode(ComputeOrderPage, client.get("/v1/compute-orders").content).items == (signed,)
    posted = client.post("/v1/requests", content=canonical_json(posted_request(expiry=SOON)))
    key = msgspec.json.decode(posted.content)["requestHash"]
    assert msgspec.json.decode(client.get(f"/v1/requests/{key}").content)["state"] == "open"


def test_an_offer_says_where_it_stands_and_why_nothing_is_matched_with_it(
    client: Client, backend: Backend, chain: MemoryChain
) -> None:
    signed = compute(expiry=SOON)
    chain.set_account(signed.order.token, signed.order.provider, Account(Wei(0), signed.order.penalty))
    posted = client.post("/v1/compute-orders", content=canonical_json(signed))
    key = msgspec.json.decode(posted.content)["orderHash"]
    assert msgspec.json.decode(client.get(f"/v1/orders/{key}").content) == {"state": "open", "reason": ""}
    chain.set_account(signed.order.token, signed.order.provider, Account(Wei(0), Wei(0)))
    backend._honesty.suspect(signed.order.provider)
    backend._honesty.look(backend.index)
    found = msgspec.json.decode(client.get(f"/v1/orders/{key}").content)
    assert (found["state"], found["reason"].split(",")[0]) == (
        "open",
        "its provider has 0 coin staked outside of running jobs",
    )
    assert decode(ComputeOrderPage, client.get("/v1/compute-orders").content).items == ()
    assert client.get(f"/v1/orders/{keccak(b'unknown')}").status_code == 404


OTHERS = Parameters(salt=Bytes32(b"\x06" * 32), values={"target": "b"})


@pytest.mark.parametrize(
    "body",
    [
        canonical_json(replace(posted_request(expiry=SOON), parameters=OTHERS)),
        canonical_json(posted_request(expiry=SOON).request),
        b'{"request":' + canonical_json(posted_request(expiry=SOON).request) + b',"parameters":null}',
    ],
    ids=["others", "none beside it", "null"],
)
def test_a_request_without_the_parameters_that_it_signs_is_refused_and_nothing_is_kept(
    body: bytes, client: Client
) -> None:
    key = posted_request(expiry=SOON).request.request.struct_hash()
    assert client.post("/v1/requests", content=body).status_code == 422
    assert client.get(f"/v1/requests/{key}").status_code == 404
    assert client.get(f"/v1/parameters/{key}").status_code == 404


def test_one_body_twice_has_one_answer_also_after_the_request_expired(client: Client, backend: Backend) -> None:
    body = canonical_json(posted_request(expiry=SOON))
    first, second = (client.post("/v1/requests", content=body) for _ in range(2))
    backend.orders.close_expired(SOON)
    third = client.post("/v1/requests", content=body)
    assert {(a.status_code, a.content) for a in (first, second, third)} == {(201, first.content)}
    key = msgspec.json.decode(first.content)["requestHash"]
    assert msgspec.json.decode(client.get(f"/v1/requests/{key}").content)["state"] == "expired"
    assert decode(Parameters, client.get(f"/v1/parameters/{key}").content) == PARAMETERS


def test_a_request_is_not_matched_before_all_that_it_names_is_in_the_store(
    client: Client, backend: Backend, tmp_path: Path
) -> None:
    tree = bundle(tmp_path / "workload")
    (tree / "environment.json").write_bytes(build(b"", []).canonical())
    packed = read_bundle(tree)
    posted = posted_request(expiry=SOON, workload_digest=packed.digest, result_keys_hash=result_keys_hash([b"key"]))
    key = client.post("/v1/requests", content=canonical_json(posted))
    explained = f"/v1/requests/{msgspec.json.decode(key.content)['requestHash']}"

    def why() -> list[str]:
        backend._keeper.turn()
        found: list[str] = msgspec.json.decode(client.get(explained).content)["explanation"]
        return found

    lacks = ["the store lacks its result key: upload it", "the store lacks its workload: upload it"]
    assert why() == lacks
    names = result_key_names([b"key"])
    client.put(f"/v1/documents/{keccak(names)}", content=names)
    assert why() == lacks[1:]
    client.put(f"/v1/workloads/{packed.digest}", content=pack(packed))
    assert not any("the store lacks" in line for line in why())


def test_a_consumers_jobs_are_listed(client: Client, backend: Backend, chain: MemoryChain) -> None:
    job_id = chain.match(spec())
    chain.finalise()
    backend.index.advance()
    found = decode(JobPage, client.get(f"/v1/jobs?consumer={account(CONSUMER)}&status=matched").content)
    assert [job.job_id for job in found.items] == [job_id]
    assert client.get("/v1/jobs?status=happy").status_code == 422


def test_the_page_escapes_what_comes_from_outside_and_says_what_is_simulated(
    client: Client, backend: Backend, chain: MemoryChain
) -> None:
    chain.publish(ASSET, account(OWNER), indexed().seal, indexed().terms, location="<script>alert(1)</script>")
    job_id = chain.match(spec())
    chain.quote(job_id, EVIDENCE)
    chain.decide(core(job_id))
    chain.finalise()
    backend.index.advance()
    answer = client.get("/")
    assert "<script" not in answer.text
    assert "simulated" in answer.text
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert str(job_id)[:12] in answer.text


def test_a_proposal_and_an_answer_are_posted_listed_and_read_over_http(
    client: Client, backend: Backend, chain: MemoryChain
) -> None:
    """The version was published a moment ago: the backend reads on before it says that it knows none."""
    expiry = int(time.time()) + 86_400
    signed = signed_proposal(expiry=expiry)
    body = canonical_json(signed)
    answer = client.post("/v1/proposals", content=body)
    assert answer.status_code == 422
    assert "its publication is final" in problem(answer.content).remedy
    chain.publish(ASSET, account(OWNER), indexed().seal, indexed().terms)
    chain.finalise()
    assert "less coin" in problem(client.post("/v1/proposals", content=body).content).detail
    chain.set_account(ZERO_ADDRESS, account(CONSUMER), Account(free=Wei(10**18), staked=Wei(0)))
    assert client.post("/v1/proposals", content=body).status_code == 201
    key = signed.proposal.struct_hash()
    session = {"Authorization": f"Bearer {signed_in(backend, OWNER)}"}
    page = decode(ProposalPage, client.get(f"/v1/proposals?owner={account(OWNER)}", session).content)
    assert (page.items, page.next) == ((signed.proposal,), None)
    assert decode(SignedProposal, client.get(f"/v1/proposals/{key}").content) == signed
    assert client.get(f"/v1/proposals/{ZERO_HASH}").status_code == 404
    given = answered(signed)
    assert client.post("/v1/answers", content=canonical_json(given)).status_code == 201
    assert decode(tuple[SignedAnswer, ...], client.get(f"/v1/proposals/{key}/answers").content) == (given,)
    assert decode(AnswerPage, client.get(f"/v1/answers?owner={account(OWNER)}", session).content).items == (given,)


@pytest.mark.parametrize("path", ["/v1/proposals", "/v1/proposals?owner=x", "/v1/answers?owner=0x", "/v1/proposals/x"])
def test_what_names_no_owner_and_no_proposal_is_refused(client: Client, path: str) -> None:
    assert client.get(path).status_code == 422


def test_a_proposal_beyond_its_size_is_cut_off(client: Client) -> None:
    assert client.post("/v1/proposals", content=b"[" + b" " * MAXIMUM_PROPOSAL).status_code == 413
