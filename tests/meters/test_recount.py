"""A kept answer is counted again by the meter that its receipt names; one that was charged more is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from sealmarket.inference.errors import ReceiptRefused
from sealmarket.inference.receipts import FILE, KeptReceipt, read_receipts
from sealmarket.inference.recount import endpoint_of, recount
from sealmarket.workloads.cache import WorkloadCache
from sealmarket.workloads.meters import Counted, make_meter, meter_name
from sealmarket.workloads.steps import Step, shipped
from sealmarket_enclave.protocol.codec import Bytes32
from sealmarket_enclave.protocol.session import SessionCode
from tests.inference.enclave import FakeEnclave, said

REQUEST = json.dumps({"messages": [{"role": "user", "content": "four"}]}).encode()
RESPONSE = json.dumps({"choices": [{"index": 0, "message": {"role": "assistant", "content": "seven!!"}}]}).encode()


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Step:
    return shipped("plain", WorkloadCache(tmp_path_factory.mktemp("cache")), "meters")


def enclave(meter: Bytes32, prompt: int, output: int, **fields: object) -> FakeEnclave:
    """An enclave whose answer cost so much, counted by a meter."""
    made = FakeEnclave(workload=lambda *_: ([RESPONSE], prompt, output), engine={"meter": str(meter)}, meter=meter)
    return replace(made, **fields)  # type: ignore[arg-type]


def kept(folder: Path, made: FakeEnclave) -> KeptReceipt:
    """The receipt that a user kept."""
    assert said(made.asker(folder), REQUEST) == RESPONSE
    return next(read_receipts(folder / FILE))


@pytest.mark.parametrize(("prompt", "output"), [(5, 7), (4, 8)])
def test_an_answer_that_was_charged_more_than_its_meter_counts_is_refused(
    plain: Step, tmp_path: Path, prompt: int, output: int
) -> None:
    with pytest.raises(ReceiptRefused, match="units"):
        recount(kept(tmp_path, enclave(plain.digest, prompt, output)), plain, REQUEST, RESPONSE)


def test_one_that_was_charged_what_it_counts_or_less_holds(plain: Step, tmp_path: Path) -> None:
    for place, (prompt, output) in enumerate([(4, 7), (3, 0)]):
        (tmp_path / str(place)).mkdir()
        found = recount(kept(tmp_path / str(place), enclave(plain.digest, prompt, output)), plain, REQUEST, RESPONSE)
        assert found == Counted(4, 7)


def test_the_one_unit_that_each_whole_answer_costs_holds_where_its_meter_counts_none(
    plain: Step, tmp_path: Path
) -> None:
    refusal = b'{"error":{"message":"no"}}'
    made = replace(enclave(plain.digest, 0, 1), workload=lambda *_: ([refusal], 0, 1))
    assert said(made.asker(tmp_path), REQUEST) == refusal
    assert recount(next(read_receipts(tmp_path / FILE)), plain, REQUEST, refusal) == Counted(0, 1)


@pytest.mark.parametrize(
    ("code", "response", "most"),
    [
        (SessionCode.STOPPED, RESPONSE, (4, 7)),
        (SessionCode.STOPPED, b"", (0, 0)),
        (SessionCode.UNITS_REFUSED, b"", (0, 1)),
    ],
)
def test_an_answer_that_was_broken_off_costs_its_prompt_where_anything_left(
    plain: Step, tmp_path: Path, code: SessionCode, response: bytes, most: tuple[int, int]
) -> None:
    for place, more in enumerate(((0, 0), (1, 0), (0, 1))):
        (tmp_path / str(place)).mkdir()
        charged = (most[0] + more[0], most[1] + more[1])
        made = replace(enclave(plain.digest, *charged), workload=lambda *_, charged=charged: ([response], *charged))
        list(made.asker(tmp_path / str(place)).ask("chat", REQUEST, 200, lambda _: None))
        found = msgspec.structs.replace(next(read_receipts(tmp_path / str(place) / FILE)), code=code)
        if place:
            with pytest.raises(ReceiptRefused, match="units"):
                recount(found, plain, REQUEST, response)
        else:
            assert recount(found, plain, REQUEST, response) == Counted(*most)


def test_another_meter_or_other_bodies_count_nothing(plain: Step, tmp_path: Path) -> None:
    found = kept(tmp_path, enclave(Bytes32(b"\x4d" * 32), 4, 7))
    with pytest.raises(ReceiptRefused, match="meter"):
        recount(found, plain, REQUEST, RESPONSE)
    with pytest.raises(ReceiptRefused, match="response"):
        recount(found, plain, REQUEST, RESPONSE + b" ")


@pytest.mark.parametrize("engine", [{}, {"meter": "0x" + "4e" * 32}])
def test_a_receipt_that_names_another_meter_than_the_policies_is_refused(
    tmp_path: Path, engine: dict[str, str]
) -> None:
    with pytest.raises(ReceiptRefused, match="meter"):
        kept(tmp_path, replace(enclave(Bytes32(b"\x4d" * 32), 4, 7), engine=engine))


def test_a_receipt_that_names_a_meter_where_the_policies_name_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ReceiptRefused, match="meter"):
        kept(tmp_path, FakeEnclave(engine={"meter": "0x" + "4e" * 32}))


def test_an_answer_that_no_meter_counted_is_not_counted_again(plain: Step, tmp_path: Path) -> None:
    found = kept(tmp_path, enclave(plain.digest, 4, 7))
    broken = KeptReceipt(
        service=found.service, signed=found.signed, secret=found.secret, kept_at=found.kept_at,
        code=SessionCode.NOT_METERED,
    )  # fmt: skip
    with pytest.raises(ReceiptRefused, match="not_metered"):
        recount(broken, plain, REQUEST, RESPONSE)


def test_the_endpoint_follows_from_the_member_that_a_request_must_have() -> None:
    bodies = (b'{"messages":[]}', b'{"prompt":"x"}', b'{"rows":[]}', b"{}", b"")
    assert [endpoint_of(body) for body in bodies] == ["chat", "completions", "score", "models", "models"]


def test_a_meter_without_a_model_is_the_shipped_one(plain: Step, tmp_path: Path) -> None:
    make_meter(tmp_path / "meter", None)
    assert meter_name(plain.bundle) == "plain"
    for path, file in plain.bundle.files.items():
        assert path == "environment.json" or (tmp_path / "meter" / path).read_bytes() == file.data
