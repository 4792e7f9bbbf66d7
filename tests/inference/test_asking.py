"""A request to a service: what a lying host or a wrong receipt costs, and what an honest answer leaves behind."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, ClassVar

import coincurve
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sealmarket.inference.errors import (
    AllGrantsBusy,
    AnswerAborted,
    BudgetSpent,
    HostRefused,
    ReceiptRefused,
    RequestRefused,
)
from sealmarket.inference.receipts import FILE, KeptReceipt, check_kept, read_receipts, units_of
from sealmarket_enclave.protocol.codec import Bytes32, Uint64
from sealmarket_enclave.protocol.hashing import keccak
from sealmarket_enclave.protocol.session import SessionCode
from sealmarket_enclave.sealed.errors import AnswerCut, InvalidFrame, InvalidRequest
from sealmarket_enclave.sealed.session import MAX_BODY
from tests.inference.enclave import FakeEnclave, LyingHost, frames_of, said


def swapped(answer: bytes) -> bytes:
    parts = frames_of(answer)
    parts[1], parts[2] = parts[2], parts[1]
    return b"".join(parts)


def repeated(answer: bytes) -> bytes:
    parts = frames_of(answer)
    return b"".join([*parts[:2], parts[1], *parts[2:]])


LIES: dict[str, Callable[[bytes], bytes]] = {
    "cut before the last frame": lambda answer: b"".join(frames_of(answer)[:-1]),
    "cut within the last frame": lambda answer: answer[:-1],
    "cut to its opening": lambda answer: answer[:32],
    "cut to nothing": lambda answer: b"",
    "two frames swapped": swapped,
    "a frame repeated": repeated,
    "a frame left out": lambda answer: b"".join([frames_of(answer)[0], *frames_of(answer)[2:]]),
    "bytes behind the last frame": lambda answer: answer + b"\0",
    "a bit flipped": lambda answer: answer[:60] + bytes([answer[60] ^ 1]) + answer[61:],
    "another opening": lambda answer: bytes(32) + answer[32:],
    "the last flag on another frame": lambda answer: answer[:36] + b"\x01" + answer[37:],
    "a frame of 4 GiB": lambda answer: answer[:32] + b"\xff" * 5,
}


@pytest.mark.parametrize("lie", LIES)
def test_an_answer_that_the_host_changed_is_not_used_and_its_grant_is_used_no_further(lie: str, tmp_path: Path) -> None:
    enclave = FakeEnclave()
    asker = enclave.asker(tmp_path, LyingHost(enclave, LIES[lie]))
    with pytest.raises((InvalidFrame, AnswerCut)):
        said(asker)
    assert [grant.state for grant in asker._shelf.grants.values()] == ["retired"]
    assert not (tmp_path / FILE).exists()


def test_an_answer_to_another_request_is_not_used(tmp_path: Path) -> None:
    enclave, answers = FakeEnclave(), []

    def first_again(answer: bytes) -> bytes:
        answers.append(answer)
        return answers[0]

    asker = enclave.asker(tmp_path, LyingHost(enclave, first_again))
    assert said(asker) == b"chat:hello"
    with pytest.raises(InvalidFrame):
        said(asker)


@settings(max_examples=25)
@given(st.data())
def test_no_change_of_an_answers_bytes_gives_a_receipt_or_other_text(data: st.DataObject) -> None:
    answers: list[bytes] = []
    enclave = FakeEnclave()

    def changed(answer: bytes) -> bytes:
        at = data.draw(st.integers(0, len(answer) - 1))
        end = data.draw(st.integers(at, len(answer)))
        found = answer[:at] + data.draw(st.binary(max_size=40)) + answer[end:]
        answers.extend([answer, found])
        return found

    with TemporaryDirectory() as name:
        folder = Path(name)
        asker = enclave.asker(folder, LyingHost(enclave, changed))
        text = b""
        try:
            for piece in asker.ask("chat", b"hello", 50, lambda _: None):
                text += piece
        except (InvalidFrame, AnswerCut):
            assert b"chat:hello".startswith(text)
            assert not (folder / FILE).exists()
        else:
            assert answers[0] == answers[1]


@pytest.mark.parametrize(
    ("member", "value"),
    [
        ("job_id", keccak(b"x")),
        ("evidence_hash", keccak(b"x")),
        ("workload", keccak(b"x")),
        ("weights", keccak(b"x")),
        ("grant_hash", keccak(b"x")),
        ("number", Uint64(7)),
        ("request_hash", keccak(b"x")),
        ("response_hash", keccak(b"x")),
        ("engine_hash", keccak(b"x")),
        ("prompt_units", Uint64(51)),
        ("output_units", Uint64(49)),
        ("cumulative", Uint64(6)),
    ],
)
def test_a_receipt_that_does_not_stand_for_its_answer_is_refused(member: str, value: Any, tmp_path: Path) -> None:
    enclave = FakeEnclave(receipt_changes={member: value})
    with pytest.raises(ReceiptRefused):
        said(enclave.asker(tmp_path))


def test_a_receipt_of_another_signer_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ReceiptRefused, match="signer"):
        said(FakeEnclave(other_signer=coincurve.PrivateKey()).asker(tmp_path))


def test_a_refusal_leaves_the_number_free_and_costs_nothing(tmp_path: Path) -> None:
    waits = [SessionCode.NO_LEASE, SessionCode.NO_LEASE, None, None]
    enclave = FakeEnclave(refuses=lambda _: waits.pop(0))
    asker = enclave.asker(tmp_path)
    for _ in range(2):
        with pytest.raises(RequestRefused, match="no_lease"):
            said(asker)
    assert (said(asker), said(asker)) == (b"chat:hello", b"chat:hello")
    assert [number for _, number in enclave.seen] == [1, 1, 1, 2]


def test_a_grant_that_the_service_takes_no_more_is_replaced_once_and_the_user_gets_the_answer(tmp_path: Path) -> None:
    codes = [SessionCode.NUMBER_UNEXPECTED, None]
    enclave = FakeEnclave(refuses=lambda _: codes.pop(0))
    assert said(enclave.asker(tmp_path)) == b"chat:hello"
    assert len({name for name, _ in enclave.seen}) == 2
    with pytest.raises(RequestRefused, match="grant_refused"):
        said(FakeEnclave(refuses=lambda _: SessionCode.GRANT_REFUSED).asker(tmp_path / "other"))


def test_an_answer_that_the_service_broke_off_is_charged_and_its_receipt_is_kept(tmp_path: Path) -> None:
    enclave = FakeEnclave(aborts=SessionCode.STOPPED)
    with pytest.raises(AnswerAborted, match="stopped"):
        said(enclave.asker(tmp_path))
    [kept] = read_receipts(tmp_path / FILE)
    assert kept.code is SessionCode.STOPPED
    check_kept(kept)


def test_a_host_that_refuses_before_the_enclave_sees_a_request_costs_no_grant(tmp_path: Path) -> None:
    class Refusing:
        @contextmanager
        def carry(self, sealed: bytes) -> Iterator[Iterator[bytes]]:
            if sealed:
                raise HostRefused(429, "slow down", 3)
            yield iter(())

    asker = FakeEnclave().asker(tmp_path, Refusing())
    with pytest.raises(HostRefused):
        said(asker)
    assert [(grant.state, grant.number) for grant in asker._shelf.grants.values()] == [("idle", 0)]


def test_a_body_beyond_the_largest_bucket_takes_no_number(tmp_path: Path) -> None:
    enclave = FakeEnclave()
    with pytest.raises(InvalidRequest):
        said(enclave.asker(tmp_path), bytes(MAX_BODY + 4096))
    assert enclave.seen == []


def test_the_users_own_budget_bounds_all_grants_and_a_lost_answer_counts_at_its_most(tmp_path: Path) -> None:
    enclave = FakeEnclave()
    asker = enclave.asker(tmp_path, LyingHost(enclave, LIES["cut to its opening"]), cap=100, budget=130)
    for _ in range(2):
        with pytest.raises(AnswerCut):
            said(asker, most=50)
    with pytest.raises(BudgetSpent, match="30 left"):
        said(asker, most=50)
    assert len(enclave.seen) == 2


def test_what_a_host_refuses_and_delivers_all_the_same_is_within_the_users_budget(tmp_path: Path) -> None:
    enclave = FakeEnclave()

    class Delivering:
        """Says of each request under a new grant that it was refused, and has it answered."""

        seen: ClassVar[set[Bytes32]] = set()

        @contextmanager
        def carry(self, sealed: bytes) -> Iterator[Iterator[bytes]]:
            answer = b"".join(enclave.answer(sealed))
            grant = enclave.seen[-1][0]
            if grant not in self.seen:
                self.seen.add(grant)
                raise HostRefused(503, "too busy")
            yield iter([answer])

    asker = enclave.asker(tmp_path, Delivering(), cap=100, budget=130)
    for most in (50, 40):  # under the second grant, once the first one is useless
        with pytest.raises(HostRefused):
            said(asker, most=most)
    with pytest.raises(BudgetSpent, match="30 left"):
        said(asker, most=50)
    assert len(enclave.numbers) == 2


def test_a_refusal_that_nothing_followed_counts_until_the_next_receipt_alone(tmp_path: Path) -> None:
    codes = [SessionCode.BUSY, None, SessionCode.GRANT_OVER, SessionCode.GRANT_OVER]
    asker = FakeEnclave(refuses=lambda _: codes.pop(0)).asker(tmp_path)
    with pytest.raises(RequestRefused, match="busy"):
        said(asker, most=50)
    assert [grant.reserved for grant in asker._shelf.grants.values()] == [50]
    assert said(asker, most=50) == b"chat:hello"
    assert [grant.reserved for grant in asker._shelf.grants.values()] == [0]
    with pytest.raises(RequestRefused, match="grant_over"):
        said(asker, most=50)
    assert [grant.committed for grant in asker._shelf.grants.values()] == [5, 0]


def test_as_many_requests_run_side_by_side_as_there_are_grants(tmp_path: Path) -> None:
    asker = FakeEnclave().asker(tmp_path, grants=2)
    running = [asker.ask("chat", b"x", 50, lambda _: None) for _ in range(2)]
    assert [next(one) for one in running] == [b"chat:x"] * 2
    with pytest.raises(AllGrantsBusy):
        said(asker)
    for one in running:
        assert list(one) == []
    assert said(asker) == b"chat:hello"


def test_an_answer_that_is_not_read_to_its_end_retires_its_grant(tmp_path: Path) -> None:
    enclave = FakeEnclave()
    asker = enclave.asker(tmp_path)
    begun = asker.ask("chat", b"hello", 50, lambda _: None)
    next(begun)
    begun.close()  # type: ignore[attr-defined]
    assert said(asker) == b"chat:hello"
    assert [number for _, number in enclave.seen] == [1, 1]
    assert len({name for name, _ in enclave.seen}) == 2


def test_each_answer_leaves_a_receipt_that_is_checked_offline_with_the_bodies(tmp_path: Path) -> None:
    kept: list[KeptReceipt] = []
    asker = FakeEnclave().asker(tmp_path)
    for body in (b"one", b"two"):
        list(asker.ask("chat", body, 50, kept.append))
    found = list(read_receipts(tmp_path / FILE))
    assert found == kept
    assert (tmp_path / FILE).stat().st_mode & 0o777 == 0o600
    assert units_of(found) == int(found[-1].signed.receipt.cumulative) == 10
    check_kept(found[0], request=b"one", response=b"chat:one")
    for bodies in ({"request": b"two"}, {"response": b"chat:two"}):
        with pytest.raises(ReceiptRefused):
            check_kept(found[0], **bodies)


@pytest.mark.parametrize("cut", [b'{"version":"sealmarket/kept', b'{"code":null,"service":{}', b'{"a":1}'])
def test_a_receipt_that_a_crash_cut_is_left_out_and_the_next_one_stands(cut: bytes, tmp_path: Path) -> None:
    asker = FakeEnclave().asker(tmp_path)
    said(asker)
    with (tmp_path / FILE).open("ab") as file:
        file.write(cut)
    assert len(list(read_receipts(tmp_path / FILE))) == 1
    said(asker)
    assert len(list(read_receipts(tmp_path / FILE))) == 2
