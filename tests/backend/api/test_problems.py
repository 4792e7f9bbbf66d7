"""Every refusal is a problem of a stable type, with what to do; nothing of the inside is told to a stranger."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from sealmarket.chain import ChainError
from sealmarket.chain.memory import MemoryChain
from sealmarket.protocol.problems import LONGEST, PREFIX, TYPES, Problem, problem
from sealmarket.service.errors import ServiceUnavailable
from sealmarket_backend import book, errors
from sealmarket_backend.errors import BackendError
from sealmarket_backend.service import Backend
from sealmarket_enclave.protocol.codec import canonical_json, decode
from tests.backend.orders import STRANGER, compute, posted_request
from tests.backend.test_api import SOON, Client

SECRET = "https://user:planted-secret@rpc.example"
ZERO = "0x" + "00" * 32


def told(answer: object) -> Problem:
    """The problem in an answer, which agrees with the answer's own status."""
    found = decode(Problem, answer.content)  # type: ignore[attr-defined]
    assert answer.headers["content-type"] == "application/problem+json"  # type: ignore[attr-defined]
    assert found.status == answer.status_code  # type: ignore[attr-defined]
    assert found.title == TYPES[found.type.removeprefix(PREFIX)].title
    assert found.rule
    return found


def test_what_cannot_be_done_is_a_problem_of_a_stable_type(client: Client) -> None:
    for request, expected in {
        "GET /v2/jobs": "no-route",
        "GET /v1/jobs/": "no-route",
        "DELETE /v1/jobs": "method-not-allowed",
        f"POST /v1/orders/{ZERO}": "method-not-allowed",
        "GET /v1/jobs/0x12": "parameter-invalid",
        "GET /v1/jobs?limit=1e9": "parameter-invalid",
        "GET /v1/jobs?status=happy": "malformed-document",
        f"GET /v1/jobs/{ZERO}": "not-found",
        "POST /v1/requests": "malformed-document",
        "GET /v1/problems/none": "not-found",
    }.items():
        method, path = request.split(" ")
        found = told(client.send(method, path))
        assert found.type == PREFIX + expected, request
        assert found.remedy, request


def test_a_signature_by_another_names_who_was_expected_and_who_signed(client: Client) -> None:
    signed = posted_request(key=STRANGER, expiry=SOON)
    found = told(client.post("/v1/requests", canonical_json(signed)))
    assert found.type == "/v1/problems/signature-refused"
    assert found.expected == signed.request.request.consumer.checksum
    assert found.found.startswith("0x")
    assert found.found != found.expected


def test_an_order_out_of_date_names_both_times(client: Client) -> None:
    found = told(client.post("/v1/compute-orders", canonical_json(compute(expiry=1))))
    assert (found.type, found.found) == ("/v1/problems/rejected", "1")
    assert found.expected.startswith("later than ")


def test_a_chain_that_cannot_be_read_is_said_without_its_endpoint(
    client: Client, chain: MemoryChain, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> None:
        raise ChainError(f"{SECRET} is down")

    monkeypatch.setattr(chain, "head", fail)
    answer = client.post("/v1/compute-orders", canonical_json(compute(expiry=SOON)))
    assert told(answer).type == "/v1/problems/chain-unreadable"
    assert b"planted" not in answer.content


def test_a_bucket_that_does_not_answer_is_no_chain_and_is_said_without_its_endpoint(
    client: Client, backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_names: object) -> None:
        raise ServiceUnavailable("bucket", SECRET, "it does not answer")

    monkeypatch.setattr(backend.blobs, "path", fail)
    answer = client.get(f"/v1/documents/{ZERO}")
    assert told(answer).type == "/v1/problems/storage-failed"
    assert b"bucket" in answer.content
    assert b"planted" not in answer.content


def test_what_nothing_foresaw_is_said_without_its_words(
    client: Client, backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError(SECRET)

    monkeypatch.setattr(book, "order_states", fail)
    answer = client.get(f"/v1/orders/{ZERO}")
    assert told(answer).type == "/v1/problems/internal"
    assert b"planted" not in answer.content


def test_a_full_disk_is_said_without_the_path(
    client: Client, backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device", str(Path("/secret/planted")))

    monkeypatch.setattr(book, "order_states", fail)
    answer = client.get(f"/v1/orders/{ZERO}")
    assert told(answer).type == "/v1/problems/disk-failed"
    assert b"planted" not in answer.content


def test_another_error_of_the_system_is_not_called_a_full_disk(
    client: Client, backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise TimeoutError(110, "Connection timed out", "/secret/planted")

    monkeypatch.setattr(book, "order_states", fail)
    answer = client.get(f"/v1/orders/{ZERO}")
    assert told(answer).type == "/v1/problems/internal"
    assert b"planted" not in answer.content


def test_every_error_of_the_backend_has_a_type_that_is_documented(client: Client) -> None:
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, BackendError)]
    assert {kind.type for kind in kinds} <= TYPES.keys()
    listed = msgspec.json.decode(client.get("/v1/problems").content)
    assert [one["type"] for one in listed] == [PREFIX + name for name in TYPES]
    for one in listed:
        assert msgspec.json.decode(client.get(one["type"]).content) == one


def test_the_types_are_those_that_the_specification_lists() -> None:
    page = (Path(__file__).parents[3] / "docs" / "spec" / "api.md").read_text()
    table = page.split("## Types of problems")[1].split("\n## ")[0]
    cells = [[cell.strip(" `") for cell in line.split("|")] for line in table.splitlines() if line.startswith("| `")]
    listed = {name: (int(status), rule) for _, name, status, rule, *_ in cells if status.isdigit()}
    assert listed == {name: (kind.status, kind.rule) for name, kind in TYPES.items()}


def test_a_long_text_is_cut_to_what_readers_take() -> None:
    made = problem("rejected", "x" * 10_000, "y" * 10_000, expected="z" * 10_000)
    assert len(made.detail) == len(made.remedy) == len(made.expected) == LONGEST
    assert decode(Problem, made.canonical()) == made
