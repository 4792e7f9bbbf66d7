"""Readers and validators in the runtime: what they are given, what their ends mean, and who answers for them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sealmarket.receipts.envelope import opened
from sealmarket.workloads.folders import read_bundle
from sealmarket_enclave.protocol.card import ARROW, Card, Column, ReaderRef
from sealmarket_enclave.protocol.codec import Bytes32, decode, decode_canonical
from sealmarket_enclave.protocol.errors import MalformedDocument
from sealmarket_enclave.protocol.job import Failure
from sealmarket_enclave.protocol.numbers import FailureCause
from sealmarket_enclave.protocol.policy import MAX_JOB_VALIDATORS, OutputRules, PolicyRefused, Validator, strictest
from sealmarket_enclave.protocol.receipt import Envelope, ReceiptPredicate
from sealmarket_enclave.protocol.steps import read_verdict
from sealmarket_enclave.runtime import readers
from sealmarket_enclave.runtime.channel import Evidence, Refused, StepFiles
from sealmarket_enclave.runtime.errors import Code, WorkloadFailed
from sealmarket_enclave.runtime.grants import Grant
from sealmarket_enclave.runtime.sandbox_job import SandboxJob
from sealmarket_enclave.runtime.steps import PreparedSteps
from sealmarket_enclave.runtime.workplace import StepCall
from sealmarket_enclave.sealed.errors import NotOpened
from sealmarket_enclave.sealed.hpke import PrivateKey
from sealmarket_enclave.sealed.notices import NOTICE_BYTES, open_notice
from sealmarket_enclave.workload.timing import seconds_for_bytes, seconds_for_step
from tests.enclave.runtime.twins import EnclaveTwin, Said, SandboxTwin, StepTwin, deliver, load_of, loaded, serve
from tests.enclave.scene import CHAIN_ID, MANIFEST, MARKET, Scene, default_rules, write_step, write_workload

FITS = b'{"code":null,"column":null,"fits":true,"rows":1}'
PASSES = b'{"code":null,"pass":true}'
REFUSES = b'{"code":"too_many_numbers","pass":false}'


def card_of(digest: Bytes32) -> bytes:
    """A card for the scene's rows that names a reader."""
    return Card(
        kind="table",
        media_type="application/vnd.apache.parquet",
        reader=ReaderRef(name="reader", digest=digest),
        columns=(Column(name="a", type="integer"), Column(name="y", type="text")),
    ).canonical()


def with_reader(scene: Scene, sandbox: SandboxTwin, answer: Any, *, place: int = 0, **changes: object) -> StepTwin:
    """Give one asset a card whose reader answers so."""
    name = f"reader-{place}"
    step = write_step(scene.folder / name, name)
    scene.steps = (*scene.steps, step)
    scene.reseal(place, card=card_of(step.digest), **changes)
    sandbox.steps[name] = StepTwin(answer)
    return sandbox.steps[name]


def with_validator(
    scene: Scene, sandbox: SandboxTwin, answer: Any, *, places: tuple[int, ...] = (0,), name: str = "judge", **of: Any
) -> StepTwin:
    """Have some owners name a validator for JSON that answers so."""
    step = write_step(scene.folder / name, name)
    scene.steps = (*scene.steps, step)
    check = Validator(**{"media_type": "application/json", "digest": step.digest, "rules": {"most": 3}} | of)
    for place in places:
        before = scene.assets[place].policy.output
        rules = msgspec.structs.replace(before, validators=(*before.checks, check))
        scene.reseal(place, rules=rules)
    sandbox.steps[name] = StepTwin(answer)
    return sandbox.steps[name]


def ended(scene: Scene, enclave: EnclaveTwin) -> Said:
    evidence = loaded(scene, enclave)
    deliver(scene, enclave, evidence)
    return serve(scene, enclave.host)


def failure(said: Said) -> tuple[FailureCause, int]:
    assert said.finished is not None, said
    assert said.finished.failure is not None, said
    found = decode_canonical(Failure, said.finished.failure)
    return found.cause, found.asset_index


def predicate(said: Said) -> ReceiptPredicate:
    assert said.finished is not None
    statement, *_ = opened(decode(Envelope, said.finished.receipt))
    return statement.predicate


def unfit(code: str = "column_range", column: str | None = "weight in kg") -> bytes:
    return json.dumps({"code": code, "column": column, "fits": False, "rows": 7}).encode()


# --- what the host passes ------------------------------------------------------------------------------------------


def refusal(enclave: EnclaveTwin) -> Refused:
    answer = enclave.host.receive()
    assert isinstance(answer, Refused), answer
    return answer


def test_another_card_than_the_policy_names_is_refused_before_the_quote(
    scene: Scene, sandbox: SandboxTwin, enclave: EnclaveTwin
) -> None:
    with_reader(scene, sandbox, {"report.json": FITS})
    loose = card_of(scene.steps[0].digest).replace(b'"a"', b'"b"')
    enclave.host.send(load_of(scene, cards=(loose, None)))
    assert refusal(enclave).code == Code.CARD_MISMATCH


def test_a_card_for_a_policy_that_names_none_is_refused(scene: Scene, enclave: EnclaveTwin) -> None:
    enclave.host.send(load_of(scene, cards=(b"{}", None)))
    assert refusal(enclave).code == Code.CARD_MISMATCH


def test_a_step_that_nothing_names_is_refused(scene: Scene, enclave: EnclaveTwin, tmp_path: Path) -> None:
    other = write_step(tmp_path / "other", "other")
    steps = (StepFiles(archive=other.archive, environment=str(other.environment)),)
    enclave.host.send(load_of(scene, steps=steps))
    assert refusal(enclave).code == Code.STEP_MISMATCH


def test_an_edited_step_is_refused(scene: Scene, sandbox: SandboxTwin, enclave: EnclaveTwin) -> None:
    with_reader(scene, sandbox, {"report.json": FITS})
    edited = scene.steps[0].archive.replace(b"return {}", b"return ()")
    steps = (StepFiles(archive=edited, environment=str(scene.steps[0].environment)),)
    enclave.host.send(load_of(scene, steps=steps))
    assert refusal(enclave).code == Code.STEP_MISMATCH


def test_a_file_beside_a_steps_dependencies_is_refused(
    scene: Scene, sandbox: SandboxTwin, enclave: EnclaveTwin
) -> None:
    with_reader(scene, sandbox, {"report.json": FITS})
    (scene.steps[0].environment / "json.py").write_text("import os\n")
    enclave.host.send(load_of(scene))
    assert refusal(enclave).code == Code.ENVIRONMENT_MISMATCH


@pytest.mark.parametrize("without", ["cards", "steps"])
def test_a_host_that_withholds_a_card_or_step_skips_no_reader(
    scene: Scene, sandbox: SandboxTwin, enclave: EnclaveTwin, without: str
) -> None:
    reader = with_reader(scene, sandbox, {"report.json": FITS})
    enclave.host.send(load_of(scene, **{without: (None, None) if without == "cards" else ()}))
    if without == "cards":
        # Without the card no party knows the reader; its step is then one that nothing names.
        enclave_answer = enclave.host.receive()
        if isinstance(enclave_answer, Refused):
            assert enclave_answer.code == Code.STEP_MISMATCH
            return
    else:
        enclave_answer = enclave.host.receive()
    assert isinstance(enclave_answer, Evidence)
    deliver(scene, enclave, enclave_answer)
    said = serve(scene, enclave.host)
    assert said.refused is not None
    assert said.refused.code == Code.MATERIAL_MISSING
    assert (reader.jobs, sandbox.jobs) == ([], [])


@pytest.mark.parametrize("raw", [b'{"version":"sealmarket/card/9"}', b'{"version":"sealmarket/card/1"}'])
def test_a_card_that_claims_to_be_a_promise_and_is_none_is_its_owners(
    scene: Scene, enclave: EnclaveTwin, raw: bytes
) -> None:
    scene.reseal(1, card=raw)
    assert failure(ended(scene, enclave)) == (FailureCause.INPUT, 1)


def test_a_step_of_more_than_a_mebibyte_is_its_owners(scene: Scene, sandbox: SandboxTwin, enclave: EnclaveTwin) -> None:
    step = write_step(scene.folder / "big", "big", "A = '" + "x" * (1 << 20) + "'\n\ndef run(i, p):\n    return {}\n")
    scene.steps = (step,)
    scene.reseal(0, card=card_of(step.digest))
    assert failure(ended(scene, enclave)) == (FailureCause.INPUT, 0)


def test_a_card_without_a_version_promises_nothing_and_no_reader_runs(scene: Scene, enclave: EnclaveTwin) -> None:
    scene.reseal(0, card=b'{"columns":["a","y"],"reader":{"digest":"0x00","name":"x"}}')
    said = ended(scene, enclave)
    assert said.finished is not None
    assert said.finished.settlement is not None


# --- readers -------------------------------------------------------------------------------------------------------


def test_content_that_does_not_fit_its_card_is_its_owners_failure_before_the_workload_starts(
    scene: Scene, sandbox: SandboxTwin, enclave: EnclaveTwin
) -> None:
    with_reader(scene, sandbox, {"report.json": unfit()}, place=1)
    said = ended(scene, enclave)
    assert failure(said) == (FailureCause.INPUT, 1)
    assert sandbox.jobs == []
    assert predicate(said).input_fault == "column_range"


def test_the_column_is_named_to_owner_and_consumer_under_seal_and_to_nobody_else(
    scene: Scene, sandbox: SandboxTwin, enclave: EnclaveTwin
) -> None:
    owner = PrivateKey.generate()
    with_reader(scene, sandbox, {"report.json": unfit()}, notice_key=owner.public.raw)
    said = ended(scene, enclave)
    assert said.finished is not None
    assert b"weight in kg" not in said.finished.receipt
    found = predicate(said)
    assert found.notices
    for key in (owner, scene.consumer_key):
        notice = open_notice(found.notices, key, job_id=found.job_id, chain_id=CHAIN_ID, market=MARKET)
        assert notice is not None
        assert (notice.code, notice.column, notice.rows, notice.asset_index) == ("column_range", "weight in kg", 7, 0)
        with pytest.raises(NotOpened):
            open_notice(found.notices, key, job_id=found.job_id, chain_id=CHAIN_ID + 1, market=MARKET)
    assert open_notice(found.notices, PrivateKey.generate(), job_id=found.job_id, chain_id=1, market=MARKET) is None


def test_notices_of_short_and_long_names_have_one_size(tmp_path: Path) -> None:
    sizes = set()
    for number, column in enumerate(("a", "\x01" * 200, None)):
        folder = tmp_path / str(number)
        folder.mkdir()
        scene, sandbox = Scene(folder), SandboxTwin()
        with_reader(scene, sandbox, {"report.json": unfit(column=column)})
        enclave = EnclaveTwin(folder / "scratch", sandbox=sandbox)
        notices = predicate(ended(scene, enclave)).notices
        enclave.close()
        assert notices
        sizes.add(len(notices[0].sealed))
    assert len(sizes) == 1
    assert sizes.pop() > NOTICE_BYTES


def test_a_notice_key_that_is_none_costs_the_consumer_nothing(
    scene: Scene, sandbox: SandboxTwin, enclave: EnclaveTwin
) -> None:
    with_reader(scene, sandbox, {"report.json": unfit()}, notice_key=b"no key")
    found = predicate(ended(scene, enclave))
    assert found.notices
    assert [notice.key for notice in found.notices] == [scene.consumer_key.public.digest]


@pytest.mark.parametrize(
    "answer",
    [
        {},
        {"report.json": b"not json"},
        {"report.json": b'{"code":"the row is 1,2,3","column":null,"fits":false,"rows":1}'},
        {"report.json": b'{"code":"column_type","column":null,"fits":true,"rows":1}'},
        {"report.json": b" " * 5000 + FITS},
        WorkloadFailed("raised"),
        WorkloadFailed("forbidden_call"),
        WorkloadFailed("output_too_large"),
    ],
)
def test_a_reader_that_fails_on_the_bytes_its_owner_committed_to_is_its_owners_failure(
    scene: Scene, sandbox: SandboxTwin, enclave: EnclaveTwin, answer: object
) -> None:
    with_reader(scene, sandbox, answer)
    said = ended(scene, enclave)
    assert failure(said) == (FailureCause.INPUT, 0)
    assert predicate(said).input_fault == "reader_failed"


@pytest.mark.parametrize("kind", ["out_of_time", "out_of_memory", "crashed"])
def test_a_reader_that_does_not_finish_suspends_nothing_and_is_signed_apart(
    scene: Scene, sandbox: SandboxTwin, enclave: EnclaveTwin, kind: str
) -> None:
    with_reader(scene, sandbox, WorkloadFailed(kind), place=1)
    said = ended(scene, enclave)
    assert failure(said) == (FailureCause.READER, 1)
    assert (predicate(said).outcome, predicate(said).input_fault) == ("reader_timed_out", msgspec.UNSET)


def test_a_request_that_grants_a_reader_too_little_time_answers_for_it_itself(
    scene: Scene, sandbox: SandboxTwin, enclave: EnclaveTwin
) -> None:
    scene.changes["read_seconds"] = 5
    with_reader(scene, sandbox, WorkloadFailed("out_of_time"))
    assert failure(ended(scene, enclave)) == (FailureCause.WORKLOAD_TIME, 0)


def test_a_reader_sees_its_own_asset_and_card_and_nothing_else(
    scene: Scene, sandbox: SandboxTwin, enclave: EnclaveTwin
) -> None:
    reader = with_reader(scene, sandbox, {"report.json": FITS})
    said = ended(scene, enclave)
    assert said.finished is not None
    assert said.finished.settlement is not None
    assert reader.seen == [{"data": scene.plaintexts[0], "card": scene.assets[0].card}]
    assert reader.jobs[0].parameters == {"table": False}
    assert sandbox.seen["rows-1"] == scene.plaintexts[0]


def takes_tables(scene: Scene) -> None:
    for folder in (scene.bundle, scene.wheels, scene.environment):
        folder.rename(folder.with_name(folder.name + "-before"))
    manifest = MANIFEST.replace('media_type = "text/csv"', f'media_type = "{ARROW}"')
    scene.workload_digest = write_workload(scene.bundle, scene.wheels, scene.environment, manifest=manifest)
    for place in (0, 1):
        scene.reseal(place)


def test_a_workload_that_takes_a_table_of_an_asset_without_a_reader_is_the_requests(
    scene: Scene, sandbox: SandboxTwin, enclave: EnclaveTwin
) -> None:
    takes_tables(scene)
    with_reader(scene, sandbox, {"report.json": FITS, "table.arrow": b"ARROW"})
    assert failure(ended(scene, enclave)) == (FailureCause.WORKLOAD, 0)
    assert sandbox.jobs == []


def test_a_workload_that_declares_it_is_given_the_readers_table_in_place_of_the_bytes(
    scene: Scene, sandbox: SandboxTwin, enclave: EnclaveTwin
) -> None:
    takes_tables(scene)
    for place in (0, 1):
        answer = {"report.json": FITS, "table.arrow": b"ARROW %d" % place}
        reader = with_reader(scene, sandbox, answer, place=place)
    said = ended(scene, enclave)
    assert said.finished is not None
    assert said.finished.settlement is not None
    assert sandbox.seen == {"rows-1": b"ARROW 0", "rows-2": b"ARROW 1"}
    assert reader.jobs[0].parameters == {"table": True}


def test_a_reader_that_makes_no_table_is_its_owners_failure(
    scene: Scene, sandbox: SandboxTwin, enclave: EnclaveTwin
) -> None:
    takes_tables(scene)
    for place in (0, 1):
        with_reader(scene, sandbox, {"report.json": FITS}, place=place)
    assert failure(ended(scene, enclave)) == (FailureCause.INPUT, 0)


def test_a_table_without_room_suspends_no_version_whatever_else_takes_the_room(
    scene: Scene, sandbox: SandboxTwin, enclave: EnclaveTwin
) -> None:
    takes_tables(scene)
    with_reader(scene, sandbox, {"report.json": FITS, "table.arrow": b"ARROW"}, place=0)
    with_reader(scene, sandbox, WorkloadFailed("output_too_large"), place=1)
    assert failure(ended(scene, enclave)) == (FailureCause.READER, 1)


def test_a_request_whose_workload_has_less_than_fair_room_for_a_table_answers_for_it_itself(
    scene: Scene, sandbox: SandboxTwin, enclave: EnclaveTwin, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(readers, "fair_table", lambda size: 1 << 50)
    takes_tables(scene)
    for place in (0, 1):
        with_reader(scene, sandbox, WorkloadFailed("output_too_large"), place=place)
    assert failure(ended(scene, enclave)) == (FailureCause.WORKLOAD_TIME, 0)


# --- validators ----------------------------------------------------------------------------------------------------


def test_an_output_that_one_owners_validator_refuses_is_withheld_whole(
    scene: Scene, sandbox: SandboxTwin, enclave: EnclaveTwin
) -> None:
    with_validator(scene, sandbox, {"verdict.json": PASSES}, places=(0,), name="first")
    with_validator(scene, sandbox, {"verdict.json": REFUSES}, places=(1,), name="second")
    said = ended(scene, enclave)
    assert failure(said) == (FailureCause.WORKLOAD, 0)
    assert (said.container, said.stages[-1]) == (b"", "validating")


def test_nothing_of_a_verdict_but_that_it_did_not_pass_leaves(tmp_path: Path) -> None:
    receipts = set()
    for number, code in enumerate(("a", "not_declared")):
        folder = tmp_path / str(number)
        folder.mkdir()
        scene, sandbox = Scene(folder), SandboxTwin()
        with_validator(scene, sandbox, {"verdict.json": json.dumps({"code": code, "pass": False}).encode()})
        enclave = EnclaveTwin(folder / "scratch", sandbox=sandbox)
        found = predicate(ended(scene, enclave))
        enclave.close()
        receipts.add((found.outcome, found.units, found.input_fault, found.notices))
    assert len(receipts) == 1


@pytest.mark.parametrize(
    "answer",
    [
        {},
        {"verdict.json": b'{"pass":true}'},
        {"verdict.json": b'{"code":"x","pass":true}'},
        {"verdict.json": b'{"code":null,"pass":false}'},
        WorkloadFailed("raised"),
        WorkloadFailed("out_of_time"),
        WorkloadFailed("crashed"),
    ],
)
def test_a_validator_without_a_verdict_withholds_everything_and_names_its_asset(
    scene: Scene, sandbox: SandboxTwin, enclave: EnclaveTwin, answer: object
) -> None:
    scene.changes["validate_seconds"] = 60
    with_validator(scene, sandbox, answer, places=(1,))
    said = ended(scene, enclave)
    assert failure(said) == (FailureCause.VALIDATOR, 1)
    assert said.container == b""


@pytest.mark.parametrize("answer", [PASSES, REFUSES], ids=["passes", "refuses"])
def test_a_consumer_pays_no_minute_in_which_an_owners_validator_runs(
    scene: Scene, sandbox: SandboxTwin, tmp_path: Path, answer: bytes
) -> None:
    seconds = [0.0]

    def takes(time: float, outputs: dict[str, bytes]) -> dict[str, bytes]:
        seconds[0] += time
        return outputs

    sandbox.during = lambda _inputs: takes(30, {})
    with_validator(scene, sandbox, lambda _seen: takes(200, {"verdict.json": answer}))
    scene.changes["validate_seconds"] = 240
    enclave = EnclaveTwin(tmp_path, sandbox=sandbox, clock=lambda: seconds[0])
    try:
        assert predicate(ended(scene, enclave)).units == 1
    finally:
        enclave.close()


def test_a_step_may_take_exactly_the_seconds_that_are_granted_and_does_not_start_without_any(tmp_path: Path) -> None:
    write_step(tmp_path, "timed")
    bundle, twin = read_bundle(tmp_path / "bundle"), StepTwin({})
    job = SandboxJob(
        bundle=tmp_path / "bundle",
        environment=tmp_path / "environment",
        manifest=bundle.manifest,
        input_names=(),
        parameters={},
    )
    steps = PreparedSteps({bundle.digest: job}, SandboxTwin(steps={"timed": twin}))
    for none in (0.0, -0.5):
        with pytest.raises(WorkloadFailed, match="out_of_time"):
            steps.run(StepCall(bundle.digest, {}, 0, none, {}))
    granted = [0.25, 9.999, 10.0]
    for seconds in granted:
        steps.run(StepCall(bundle.digest, {}, 0, seconds, {}))
    assert [one.seconds for one in twin.jobs] == granted


def test_a_request_that_grants_validators_too_little_time_answers_for_it_itself(
    scene: Scene, sandbox: SandboxTwin, enclave: EnclaveTwin
) -> None:
    scene.changes["validate_seconds"] = 2
    with_validator(scene, sandbox, WorkloadFailed("out_of_time"))
    assert failure(ended(scene, enclave)) == (FailureCause.WORKLOAD_TIME, 0)


def test_a_validator_is_given_the_output_its_rules_and_no_data_unless_its_owner_says_so(
    scene: Scene, sandbox: SandboxTwin, enclave: EnclaveTwin
) -> None:
    judge = with_validator(scene, sandbox, {"verdict.json": PASSES})
    said = ended(scene, enclave)
    assert said.finished is not None
    assert said.finished.settlement is not None
    assert judge.seen == [{"output": b'{"rows":5}', "rules": b'{"most":3}'}]
    assert judge.most == [4096]


def test_a_validator_with_data_sees_those_of_the_owners_who_name_it_and_no_others(
    scene: Scene, sandbox: SandboxTwin, enclave: EnclaveTwin
) -> None:
    judge = with_validator(scene, sandbox, {"verdict.json": PASSES}, places=(1,), data=True)
    assert ended(scene, enclave).finished is not None
    assert set(judge.seen[0]) == {"output", "rules", "data-1"}
    assert judge.seen[0]["data-1"] == scene.plaintexts[1]


def test_what_several_owners_name_alike_runs_once_with_the_data_of_all_of_them(
    scene: Scene, sandbox: SandboxTwin, enclave: EnclaveTwin
) -> None:
    judge = with_validator(scene, sandbox, {"verdict.json": PASSES}, places=(0, 1), data=True)
    assert ended(scene, enclave).finished is not None
    assert len(judge.seen) == 1
    assert [judge.seen[0][f"data-{number}"] for number in (1, 2)] == list(scene.plaintexts)


def test_a_validator_of_another_media_type_does_not_run(
    scene: Scene, sandbox: SandboxTwin, enclave: EnclaveTwin
) -> None:
    judge = with_validator(scene, sandbox, {"verdict.json": REFUSES}, media_type="text/csv")
    said = ended(scene, enclave)
    assert said.finished is not None
    assert said.finished.settlement is not None
    assert judge.seen == []


def test_the_workload_is_read_no_further_than_the_strictest_owner_allows(
    scene: Scene, sandbox: SandboxTwin, enclave: EnclaveTwin
) -> None:
    scene.reseal(1, rules=msgspec.structs.replace(scene.rules, max_bytes=100))
    ended(scene, enclave)
    assert sandbox.most == 100


# --- pure rules ----------------------------------------------------------------------------------------------------


def judged(number: int, **changes: Any) -> Validator:
    fields: dict[str, Any] = {"media_type": "application/json", "digest": Bytes32(number.to_bytes(32, "big"))}
    return Validator(**fields | {"rules": {}} | changes)


def test_more_validators_than_a_job_has_leave_no_rules() -> None:
    rules = tuple(
        msgspec.structs.replace(default_rules(), validators=tuple(judged(8 * owner + n) for n in range(8)))
        for owner in range(MAX_JOB_VALIDATORS // 8)
    )
    assert len(strictest(rules).checks) == MAX_JOB_VALIDATORS
    one_more = msgspec.structs.replace(default_rules(), validators=(judged(999),))
    with pytest.raises(PolicyRefused, match="at most 32"):
        strictest((*rules, one_more))


def test_rules_without_validators_are_spelled_as_before() -> None:
    assert b"validators" not in default_rules().canonical()
    assert decode_canonical(OutputRules, default_rules().canonical()).checks == ()


@given(st.lists(st.lists(st.integers(0, 5), max_size=4), min_size=1, max_size=4))
def test_the_strictest_rules_hold_every_validator_of_every_owner_once(owners: list[list[int]]) -> None:
    rules = tuple(
        msgspec.structs.replace(
            default_rules(), validators=tuple(judged(number) for number in numbers) or msgspec.UNSET
        )
        for numbers in owners
    )
    found = strictest(rules).checks
    assert {check.canonical() for check in found} == {judged(n).canonical() for numbers in owners for n in numbers}
    assert len({check.canonical() for check in found}) == len(found)


@given(st.lists(st.integers(0, 50), min_size=1, max_size=8), st.integers(0, 500))
def test_no_step_can_take_the_fair_share_of_a_later_one(shares: list[int], granted: int) -> None:
    grant, left = Grant(granted, tuple(shares)), float(granted)
    for place, share in enumerate(shares):
        seconds = grant.seconds(place, left)
        if grant.fair:
            assert seconds >= share
        left -= seconds  # each takes all that it may
    assert left >= 0 or not grant.fair


@given(st.binary(max_size=200))
def test_no_bytes_are_a_verdict_but_the_two_shapes(raw: bytes) -> None:
    try:
        verdict = read_verdict(raw)
    except MalformedDocument:
        return
    assert verdict.passes == (verdict.code is None)


def test_a_fair_share_covers_loading_and_the_bytes() -> None:
    assert [seconds_for_step(size) for size in (0, 1, 16 << 20, (16 << 20) + 1)] == [10, 11, 11, 12]
    assert seconds_for_bytes(1) == 1


def test_a_verdict_is_read_whatever_the_order_of_its_keys() -> None:
    both: Mapping[bytes, bool] = {PASSES: True, b'{"pass": false, "code": "x"}': False}
    assert {raw: read_verdict(raw).passes for raw in both} == both
