"""A host tells the market where its services are: until it is kept, again from time to time, and never in the way."""

from __future__ import annotations

import threading

import coincurve

from sealmarket.protocol.services import ServiceAddress, SignedServiceAddress
from sealmarket.service.errors import ServiceUnavailable
from sealmarket_enclave.protocol.codec import Bytes32, HexBytes
from sealmarket_enclave.protocol.numbers import JobId
from sealmarket_enclave.protocol.signing import recover, sign
from sealmarket_worker.announcing import Announcer
from tests.backend.orders import BOOK, PROVIDER, account
from tests.patience import PATIENCE, until

JOB = JobId(Bytes32(b"\x11" * 32))


class Backend:
    """Keeps what it is sent, once it answers."""

    def __init__(self, failures: int = 0) -> None:
        self.failures, self.kept, self.asked = failures, list[SignedServiceAddress](), 0

    def post(self, signed: SignedServiceAddress) -> None:
        self.asked += 1
        if self.asked <= self.failures:
            raise ServiceUnavailable("the market's API", "http://127.0.0.1:9", "it does not answer")
        self.kept.append(signed)


def announcer(backend: Backend, key: coincurve.PrivateKey = PROVIDER, again: float = 3600) -> Announcer:
    def signed(made: ServiceAddress) -> HexBytes:
        return HexBytes(sign(made.digest(BOOK.chain_id, BOOK.market), key))

    return Announcer(
        url="https://models.example.org",
        post=backend.post,
        sign=signed,
        clock=lambda: 1_700_000_000.9,
        retry_seconds=0.01,
        again_seconds=again,
    )


def test_a_backend_that_does_not_answer_is_asked_again_until_it_keeps_the_address() -> None:
    backend = Backend(failures=3)
    with announcer(backend).of(JOB):
        until("the address is kept", lambda: backend.kept)
    [signed] = backend.kept
    assert signed.address == ServiceAddress(job_id=JOB, url="https://models.example.org", signed_at=1_700_000_000)
    assert recover(signed.address.digest(BOOK.chain_id, BOOK.market), signed.signature) == account(PROVIDER)


def test_an_address_that_a_backend_may_have_lost_is_posted_again_as_it_was_signed() -> None:
    backend = Backend()
    with announcer(backend, again=0.01).of(JOB):
        until("it is kept twice", lambda: len(backend.kept) > 1)
    assert len(set(backend.kept)) == 1


def test_a_host_ends_without_waiting_for_a_backend_that_holds_its_request() -> None:
    entered, held = threading.Event(), threading.Event()

    class Slow(Backend):
        def post(self, signed: SignedServiceAddress) -> None:
            entered.set()
            held.wait(PATIENCE)
            raise RuntimeError("the connection was closed")

    made = announcer(Slow()).of(JOB)
    with made:
        assert entered.wait(PATIENCE)
    assert not held.is_set()
    held.set()
    made._thread.join(PATIENCE)
    assert not made._thread.is_alive()
