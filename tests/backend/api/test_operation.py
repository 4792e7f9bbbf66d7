"""Liveness, readiness and metrics are for operators; pages of other origins read nothing unless they are named."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from sealmarket.chain import ChainError
from sealmarket.chain.memory import MemoryChain
from sealmarket.chain.model import Account
from sealmarket.protocol.market import Readiness
from sealmarket.serving.errors import SettingInvalid
from sealmarket.serving.limits import from_environment
from sealmarket.serving.logs import JsonEntries
from sealmarket_backend import book
from sealmarket_backend.api import create_app, operation
from sealmarket_backend.api.answers import Recent
from sealmarket_backend.api.settings import PREFIX, ApiSettings
from sealmarket_backend.service import Backend
from sealmarket_enclave.protocol.codec import Wei, canonical_json, decode
from tests.backend.orders import CONSUMER, OWNER, STRANGER, account, compute, posted_request
from tests.backend.test_api import SOON, Client, signed_in
from tests.serving.attacks import PATIENT, served

ORIGIN = "https://app.example"
ZERO = "0x" + "00" * 32


def settings(**given: str) -> ApiSettings:
    return from_environment(ApiSettings(), {PREFIX + name: value for name, value in given.items()}, prefix=PREFIX)


@pytest.mark.parametrize("origin", ["*", "https://*.example", "app.example", "https://app.example/", "null", "ftp://a"])
def test_what_is_no_exact_origin_is_refused(origin: str) -> None:
    with pytest.raises(SettingInvalid, match="CORS_ORIGINS"):
        settings(CORS_ORIGINS=origin)


def allowed(client: Client, origin: str) -> tuple[str | None, str | None]:
    """Which origin may read an answer, and which may send a signed document."""
    asks = {
        "Origin": origin,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization",
    }
    header = "access-control-allow-origin"
    plain, before = client.get("/v1/book", {"Origin": origin}), client.send("OPTIONS", "/v1/requests", headers=asks)
    return plain.headers.get(header), before.headers.get(header)


def test_no_page_of_another_origin_reads_anything_unless_it_is_named(client: Client, backend: Backend) -> None:
    assert allowed(client, ORIGIN) == (None, None)
    named = Client(create_app(backend, settings=settings(CORS_ORIGINS=f"{ORIGIN}, https://other.example")))
    assert allowed(named, ORIGIN) == (ORIGIN, ORIGIN)
    for other in ("https://evil.example", "https://app.example.evil", "http://app.example", "null"):
        assert allowed(named, other) == (None, None), other
    assert "access-control-allow-credentials" not in named.get("/v1/book", {"Origin": ORIGIN}).headers


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test looks for itself."""
    monkeypatch.setattr(operation, "LOOK_SECONDS", 0.0)


def told(client: Client) -> tuple[int, Readiness]:
    answer = client.get("/ready")
    return answer.status_code, decode(Readiness, answer.content)


def up_to_date(backend: Backend, chain: MemoryChain) -> None:
    chain.finalise()
    backend.index.advance()
    backend.clock = lambda: float(chain.head().timestamp + 5)


def test_a_backend_is_ready_where_chain_index_and_keeper_are(
    client: Client, backend: Backend, chain: MemoryChain
) -> None:
    up_to_date(backend, chain)
    assert told(client) == (
        200,
        Readiness(ready=True, database=True, head_age_seconds=5, index_lag_blocks=0, keeper=True, leader=True),
    )


def test_a_backend_is_not_ready_where_one_of_them_is_not_and_it_lives_all_the_same(
    client: Client, backend: Backend, chain: MemoryChain, monkeypatch: pytest.MonkeyPatch
) -> None:
    up_to_date(backend, chain)
    backend.clock = lambda: float(chain.head().timestamp + 121)
    assert told(client)[1].head_age_seconds == 121
    assert told(client)[0] == 503
    backend.clock = lambda: float(chain.head().timestamp)
    chain.mine(200)
    chain.finalise()
    backend.clock = lambda: float(chain.head().timestamp)
    code, found = told(client)
    assert (code, (found.index_lag_blocks or 0) > 64) == (503, True)
    backend.index.advance()
    assert told(client)[0] == 200
    backend._trouble = "the keeper failed"
    assert told(client) == (503, msgspec.structs.replace(told(client)[1], keeper=False))
    backend._trouble = ""

    def fail() -> None:
        raise ChainError("https://user:planted@rpc.example is down")

    monkeypatch.setattr(chain, "head", fail)
    answer = client.get("/ready")
    assert (answer.status_code, b"planted" in answer.content) == (503, False)
    assert client.get("/healthz").status_code == 200


def test_metrics_are_for_this_machine_unless_others_are_named(client: Client) -> None:
    assert client.get("/metrics").status_code == 404  # who asks is not known here


@pytest.mark.loopback
def test_metrics_count_by_route_and_status_and_name_no_account_hash_or_path(
    backend: Backend, chain: MemoryChain
) -> None:
    up_to_date(backend, chain)
    with served(create_app(backend), PATIENT) as found:
        for path in (f"/v1/jobs/{ZERO}", f"/v1/jobs?consumer={account(CONSUMER)}", "/v1/planted", "/v1/problems/x"):
            found.get(path)
        text = found.get("/metrics").text
    assert 'sealmarket_http_requests_total{method="GET",route="/v1/jobs/{job_id}",status="404"} 1.0' in text
    assert 'sealmarket_http_requests_total{method="GET",route="other",status="404"} 1.0' in text
    assert "sealmarket_ready 1.0" in text
    assert "sealmarket_index_lag_blocks 0.0" in text
    assert 'sealmarket_store_bytes{what="used"}' in text
    assert 'sealmarket_keeper_gas_gwei{what="spent"} 0.0' in text
    for name in (str(account(CONSUMER)), ZERO, "planted", "127.0.0.1"):
        assert name not in text


@pytest.mark.loopback
def test_however_many_paths_and_methods_are_tried_the_labels_stay_few(backend: Backend) -> None:
    with served(create_app(backend), PATIENT) as found:
        before = len(found.get("/metrics").text.splitlines())
        for number in range(30):
            found.get(f"/v1/planted{number}")
            found.get(f"/v1/orders/0x{number:064x}")
        after = len(found.get("/metrics").text.splitlines())
    assert after - before < 60


@pytest.fixture
def lines() -> Iterator[list[str]]:
    """Everything that is logged meanwhile, as it is written."""
    kept: list[str] = []

    class Keeps(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            kept.append(JsonEntries().format(record))

    handler, root = Keeps(), logging.getLogger()
    before = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    yield kept
    root.setLevel(before)
    root.removeHandler(handler)


def test_no_token_signature_parameter_or_key_of_an_endpoint_is_in_the_logs(
    client: Client, backend: Backend, chain: MemoryChain, monkeypatch: pytest.MonkeyPatch, lines: list[str]
) -> None:
    token = signed_in(backend, OWNER)
    session = {"Authorization": f"Bearer {token}", "Idempotency-Key": "planted-key"}
    posted = posted_request(expiry=SOON)
    secrets = [token, str(posted.request.signature), str(posted.parameters.salt), "planted"]
    client.get(f"/v1/proposals?owner={account(OWNER)}", session)
    client.get(f"/v1/proposals?owner={account(STRANGER)}", session)
    client.send("POST", "/v1/requests", canonical_json(posted), session)
    client.send("POST", "/v1/requests", canonical_json(posted)[:-2] + b"planted", session)
    signed = compute(expiry=SOON)
    chain.set_account(signed.order.token, signed.order.provider, Account(Wei(0), signed.order.penalty))

    def fail(*_: Any) -> Any:
        raise ChainError("https://user:planted@rpc.example/planted?key=planted does not answer")

    def explode(*_: Any) -> Any:
        raise RuntimeError("https://planted@rpc.example/planted")

    monkeypatch.setattr(chain, "head", fail)
    assert client.send("POST", "/v1/compute-orders", canonical_json(signed), session).status_code == 503
    monkeypatch.setattr(book, "order_states", explode)
    assert client.get(f"/v1/orders/{ZERO}", session).status_code == 500
    written = "\n".join(lines)
    assert "rpc.example" in written
    assert [secret for secret in secrets if secret in written] == []


def test_what_took_longer_to_make_than_it_lasts_is_made_once_for_all_who_waited(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now, made = [0.0], list[int]()
    monkeypatch.setattr(time, "monotonic", lambda: now[0])

    def make() -> int:
        now[0] += 10
        made.append(1)
        return len(made)

    recent = Recent(make, 2.0)
    assert [recent.get() for _ in range(5)] == [1] * 5
