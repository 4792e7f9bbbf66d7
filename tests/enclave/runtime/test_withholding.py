"""Rows that an owner has withheld: a secret of the job picks them, the workload lacks them, one validator has them."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from sealmarket_enclave.protocol.card import ARROW, Card, Column, ReaderRef
from sealmarket_enclave.protocol.codec import Bytes32, decode, from_builtins
from sealmarket_enclave.protocol.errors import MalformedDocument
from sealmarket_enclave.protocol.job import Failure, Parameters
from sealmarket_enclave.protocol.numbers import FailureCause, JobId
from sealmarket_enclave.protocol.policy import Validator
from sealmarket_enclave.runtime.withholding import row_secret
from tests.enclave.runtime.twins import EnclaveTwin, Said, SandboxTwin, StepTwin, deliver, loaded, serve
from tests.enclave.scene import MANIFEST, WITHHOLDING, Scene, write_step, write_workload

FITS = b'{"code":null,"column":null,"fits":true,"rows":9}'
PASSES = {"verdict.json": b'{"code":null,"pass":true}'}


def takes(scene: Scene, media_type: str) -> None:
    for folder in (scene.bundle, scene.wheels, scene.environment):
        folder.rename(folder.with_name(folder.name + "-before"))
    manifest = MANIFEST.replace('media_type = "text/csv"', f'media_type = "{media_type}"')
    scene.workload_digest = write_workload(scene.bundle, scene.wheels, scene.environment, manifest=manifest)


class Market:
    """Two owners whose tables a reader divides. ``demands``: each owner's share in permille, None for no demand."""

    def __init__(self, folder: Path, *demands: int | None, media_type: str = ARROW, knows: bool = True) -> None:
        folder.mkdir(exist_ok=True)
        self.folder, self.scene, self.sandbox = folder, Scene(folder), SandboxTwin()
        takes(self.scene, media_type)
        self.readers: list[StepTwin] = []
        judge, plain = (write_step(folder / name, name) for name in ("judge", "plain"))
        self.judge, self.plain = StepTwin(PASSES), StepTwin(PASSES)
        self.sandbox.steps |= {"judge": self.judge, "plain": self.plain}
        named: list[Any] = []
        for place, permille in enumerate(demands):
            reader = write_step(folder / f"reader-{place}", f"reader-{place}", more=WITHHOLDING)
            answer = {"report.json": FITS, "table.arrow": b"KEPT %d" % place}
            answer |= {"withheld.arrow": b"APART %d" % place} if knows and permille else {}
            self.readers.append(StepTwin(answer))
            self.sandbox.steps[f"reader-{place}"] = self.readers[-1]
            checks = [_check(plain.digest)]
            checks += [_check(judge.digest, withheld=permille)] if permille else []
            rules = msgspec.structs.replace(self.scene.rules, validators=tuple(checks))
            self.scene.reseal(place, rules=rules, card=_card(reader.digest))
            named.append(reader)
        self.scene.steps = (*named, *([judge] if any(demands) else []), plain)

    def ended(self, name: str = "scratch") -> Said:
        enclave = EnclaveTwin(self.folder / name, sandbox=self.sandbox)
        try:
            deliver(self.scene, enclave, loaded(self.scene, enclave))
            return serve(self.scene, enclave.host)
        finally:
            enclave.close()

    def asked(self, place: int) -> dict[str, Any]:
        return dict(self.readers[place].jobs[-1].parameters)


def _check(digest: Bytes32, **more: Any) -> Validator:
    fields: dict[str, Any] = {"media_type": "application/json", "digest": digest, "rules": {}, "data": True}
    return Validator(**fields | more)


def _card(digest: Bytes32, **changes: Any) -> bytes:
    card = Card(
        kind="table",
        media_type="application/vnd.apache.parquet",
        reader=ReaderRef(name="reader", digest=digest),
        columns=(Column(name="a", type="integer"),),
    )
    return msgspec.structs.replace(card, **changes).canonical()


def failure(said: Said) -> tuple[FailureCause, int]:
    assert said.finished is not None, said
    assert said.finished.failure is not None, said
    found = decode(Failure, said.finished.failure)
    return found.cause, found.asset_index


def settled(said: Said) -> bool:
    return said.finished is not None and said.finished.settlement is not None


def test_a_workload_that_takes_the_original_bytes_of_a_divided_table_never_starts(tmp_path: Path) -> None:
    market = Market(tmp_path, 100, None, media_type="text/csv")
    assert failure(market.ended()) == (FailureCause.WORKLOAD, 0)
    assert (market.sandbox.jobs, market.readers[0].jobs) == ([], [])


def test_a_reader_that_does_not_withhold_is_its_owners_failure_and_the_workload_never_starts(tmp_path: Path) -> None:
    market = Market(tmp_path, None, 100, knows=False)
    assert failure(market.ended()) == (FailureCause.INPUT, 1)
    assert market.sandbox.jobs == []


@pytest.mark.parametrize(
    "card", [lambda _: None, lambda _: b"{}", lambda digest: _card(digest, kind="bytes", columns=())]
)
def test_a_policy_that_has_rows_withheld_of_what_has_none_is_its_owners(
    tmp_path: Path, card: Callable[[Bytes32], bytes | None]
) -> None:
    market = Market(tmp_path, 100, None)
    before = market.scene.assets[0].policy.output
    raw = card(market.scene.steps[0].digest)
    market.scene.reseal(0, rules=before, card=raw)
    if raw is None or raw == b"{}":
        market.scene.steps = market.scene.steps[1:]
    assert failure(market.ended()) == (FailureCause.INPUT, 0)


@pytest.mark.parametrize("permille", [0, 501, -1, None])
def test_a_share_of_nothing_or_of_more_than_half_is_no_demand(permille: int | None) -> None:
    document = {"mediaType": "a/b", "digest": "0x" + "11" * 32, "rules": {}, "data": True, "withheld": permille}
    with pytest.raises(MalformedDocument):
        from_builtins(Validator, document)


def test_the_workload_lacks_the_rows_and_the_validator_that_demands_it_alone_has_them(tmp_path: Path) -> None:
    market = Market(tmp_path, 100, None)
    assert settled(market.ended())
    assert market.sandbox.seen == {"rows-1": b"KEPT 0", "rows-2": b"KEPT 1"}
    (judged,), (plain,) = market.judge.seen, market.plain.seen
    assert {name: data for name, data in judged.items() if name not in ("output", "rules")} == {
        "data-1": b"KEPT 0",
        "withheld-1": b"APART 0",
    }
    assert set(plain) == {"output", "rules", "data-1", "data-2"}


def test_a_reader_whose_owner_demands_nothing_is_told_nothing(tmp_path: Path) -> None:
    market = Market(tmp_path, 100, None)
    assert settled(market.ended())
    assert (market.asked(0)["withheld_permille"], len(market.asked(0)["withheld_secret"])) == (100, 64)
    assert market.asked(1) == {"table": True, "withheld_permille": 0, "withheld_secret": ""}


def test_owners_who_demand_other_shares_are_each_given_their_own_and_judge_apart(tmp_path: Path) -> None:
    market = Market(tmp_path, 100, 250)
    assert settled(market.ended())
    assert [market.asked(place)["withheld_permille"] for place in (0, 1)] == [100, 250]
    assert [seen["withheld-1"] for seen in market.judge.seen] == [b"APART 0", b"APART 1"]
    assert all("withheld-2" not in seen for seen in market.judge.seen)


def test_owners_who_demand_the_same_are_judged_together(tmp_path: Path) -> None:
    market = Market(tmp_path, 100, 100)
    assert settled(market.ended())
    (seen,) = market.judge.seen
    assert [seen[f"withheld-{number}"] for number in (1, 2)] == [b"APART 0", b"APART 1"]
    assert [seen[f"data-{number}"] for number in (1, 2)] == [b"KEPT 0", b"KEPT 1"]


def test_a_model_that_the_membership_test_refuses_does_not_leave(tmp_path: Path) -> None:
    market = Market(tmp_path, 100, None)
    market.judge.answer = {"verdict.json": b'{"code":"remembers_rows","pass":false}'}
    said = market.ended()
    assert (failure(said), said.container) == ((FailureCause.WORKLOAD, 0), b"")


def test_a_host_that_starts_a_job_again_draws_no_other_rows_and_another_job_does(tmp_path: Path) -> None:
    market = Market(tmp_path, 100, 100)
    secrets = []
    for name in ("first", "again", "another job"):
        if name == "another job":
            market.scene.parameters = Parameters(salt=Bytes32(b"\x06" * 32), values={"target": "cost"})
        assert settled(market.ended(name))
        assert market.asked(0)["withheld_secret"] == market.asked(1)["withheld_secret"]
        secrets.append(market.asked(0)["withheld_secret"])
    assert secrets[0] == secrets[1] != secrets[2]


def test_the_secret_of_a_job_is_the_one_that_the_specification_states() -> None:
    job, keys = JobId(Bytes32(b"\x01" * 32)), [b"\x02" * 32, b"\x03" * 32]
    extracted = hmac.digest(bytes(32), b"".join(keys), hashlib.sha256)
    expanded = hmac.digest(extracted, b"sealmarket/withheld/1" + b"\x01" * 32 + b"\x01", hashlib.sha256)
    assert row_secret(job, keys) == expanded.hex()


def test_a_validator_without_the_demand_is_spelled_as_before() -> None:
    check = _check(Bytes32(bytes(32)))
    assert b"withheld" not in check.canonical()
    assert (check.withholds, check.takes_data) == (0, True)
    demanding = msgspec.structs.replace(check, data=False, withheld=100)
    assert (demanding.withholds, demanding.takes_data) == (100, True)


def test_the_largest_share_that_a_validator_demands_is_the_owners(tmp_path: Path) -> None:
    rules = Scene(tmp_path).rules
    checks = tuple(_check(Bytes32(bytes([n]) * 32), withheld=share) for n, share in enumerate((50, 200)))
    assert msgspec.structs.replace(rules, validators=checks).withholds == 200
    assert rules.withholds == 0
