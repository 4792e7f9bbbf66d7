"""Several services behind one proxy: which is asked, when a request goes on to the next, and when it must not."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from msgspec.structs import replace as altered

from sealmarket.inference.errors import HostRefused, RequestRefused, ServicesDiffer
from sealmarket.inference.receipts import KeptReceipt
from sealmarket.inference.replicas import ELSEWHERE, REST_SECONDS, Replicas
from sealmarket_enclave.protocol.hashing import keccak
from sealmarket_enclave.protocol.session import SessionCode
from sealmarket_enclave.sealed.errors import AnswerCut
from tests.inference.enclave import FakeEnclave


class Clock:
    """A clock that a test moves."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


class Scene:
    """Two services of one model, and what each was asked."""

    def __init__(self, folder: Path) -> None:
        self.enclaves = [FakeEnclave(), FakeEnclave()]
        self.hosts: list[Callable[[Iterator[bytes]], Iterator[bytes]]] = [iter, iter]
        self.clock = Clock()
        askers = [one.asker(folder / str(place), self.host(place)) for place, one in enumerate(self.enclaves)]
        self.askers = askers
        self.replicas = Replicas(askers, self.clock)

    def host(self, place: int) -> object:
        scene = self

        class Host:
            @contextmanager
            def carry(self, sealed: bytes) -> Iterator[Iterator[bytes]]:
                yield scene.hosts[place](scene.enclaves[place].answer(sealed))

        return Host()

    @property
    def asked(self) -> list[int]:
        """How many requests each enclave saw."""
        return [len(one.seen) for one in self.enclaves]

    def say(self) -> bytes:
        """One whole answer."""
        return b"".join(self.replicas.ask("chat", b"hello", 50, lambda _: None))

    def refuse(self, place: int, code: SessionCode | None) -> None:
        self.enclaves[place].refuses = lambda _request: code


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path)


def test_services_of_two_models_do_not_stand_in_for_each_other(tmp_path: Path) -> None:
    askers = [FakeEnclave().asker(tmp_path / name) for name in "ab"]
    service = askers[1].service
    for member in ("workload", "weights"):
        facts = altered(service.facts, **{member: keccak(b"another")})
        askers[1].service = type(service)(
            facts=facts,
            spec=service.spec,
            terms=service.terms,
            serving=service.serving,
            key=service.key,
            steps=(),
            block=service.block,
        )
        with pytest.raises(ServicesDiffer, match="another workload or other weights"):
            Replicas(askers)


@pytest.mark.parametrize("code", sorted(set(SessionCode) - ELSEWHERE - {SessionCode.GRANT_REFUSED}))
def test_a_refusal_that_another_service_would_give_too_is_the_clients(scene: Scene, code: SessionCode) -> None:
    for place in (0, 1):
        scene.refuse(place, code)
    with pytest.raises(RequestRefused) as refused:
        scene.say()
    assert refused.value.code == code
    assert scene.asked[1] == 0


def test_an_answer_that_breaks_off_is_asked_of_no_other_service(scene: Scene) -> None:
    def cut(pieces: Iterator[bytes]) -> Iterator[bytes]:
        yield next(pieces)
        yield next(pieces)

    scene.hosts[0] = cut
    with pytest.raises(AnswerCut):
        scene.say()
    assert scene.asked == [1, 0]


@pytest.mark.parametrize("code", sorted(ELSEWHERE))
def test_what_one_service_refuses_for_a_reason_of_its_own_another_answers(scene: Scene, code: SessionCode) -> None:
    scene.refuse(0, code)
    assert scene.say() == b"chat:hello"
    asked = scene.asked[0]
    assert scene.say() == b"chat:hello"
    assert scene.asked == [asked, 2], "one that refused rests"
    scene.refuse(0, None)
    scene.clock.now += REST_SECONDS
    scene.refuse(1, SessionCode.BUSY)
    over = code in (SessionCode.ENDED, SessionCode.STOPPED)
    if over:
        with pytest.raises(RequestRefused, match="busy"):
            scene.say()
    else:
        assert scene.say() == b"chat:hello"


def test_where_no_service_answers_the_refusal_that_may_pass_is_said(scene: Scene) -> None:
    scene.refuse(0, SessionCode.NO_LEASE)
    scene.refuse(1, SessionCode.ENDED)
    for _ in range(2):
        with pytest.raises(RequestRefused) as refused:
            scene.say()
        assert refused.value.code == SessionCode.NO_LEASE
    scene.refuse(0, SessionCode.ENDED)
    scene.clock.now += REST_SECONDS
    with pytest.raises(RequestRefused) as refused:
        scene.say()
    assert refused.value.code == SessionCode.ENDED


def test_a_host_that_is_gone_is_no_reason_to_wait(scene: Scene) -> None:
    def gone(_pieces: Iterator[bytes]) -> Iterator[bytes]:
        raise HostRefused(503, "no connection")

    scene.hosts[0] = gone
    receipts: list[KeptReceipt] = []
    assert b"".join(scene.replicas.ask("chat", b"hello", 50, receipts.append)) == b"chat:hello"
    assert [one.service.enclave_signer for one in receipts] == [scene.askers[1].service.facts.enclave_signer]


def test_a_request_goes_to_the_service_with_most_room_and_all_grants_count(scene: Scene) -> None:
    assert scene.replicas.grants == 8
    first = scene.replicas.ask("chat", b"one", 50, lambda _: None)
    next(first)
    assert scene.say() == b"chat:hello"
    assert scene.asked == [1, 1]
    assert b"".join(first)
