"""Readers and validators over real processes: jobs that pass, data unlike their card, stolen rows, steps that stall.

Every party is the real program. The steps are a few lines of the standard library; those that come with Sealmarket have
tests of their own.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from sealmarket.chain import Fault
from sealmarket.client import AssetWish, SealedAsset
from sealmarket.client import owner as owner_module
from sealmarket.client.jobs import JobRecord
from sealmarket.protocol.transitions import Status
from sealmarket.receipts.notices import failed_receipt, notice_of
from sealmarket.workloads.folders import read_bundle
from sealmarket_enclave.protocol.card import ARROW, Card, Column, Dialect, ReaderRef
from sealmarket_enclave.protocol.codec import HexBytes, to_builtins
from sealmarket_enclave.protocol.policy import Validator
from sealmarket_enclave.protocol.receipt import ReceiptPredicate
from sealmarket_enclave.sealed.hpke import PrivateKey
from tests.acceptance import workloads
from tests.acceptance.market import COMPUTE_PRICE, OUTPUT, PRICES, ROWS, Rehearsal, changes
from tests.acceptance.workloads import MANIFEST, Workload
from tests.enclave.scene import write_step

READER = """\
import json

def run(inputs, parameters):
    promised = [column["name"] for column in json.loads(bytes(inputs["card"]))["columns"]]
    header, *rows = bytes(inputs["data"]).decode().splitlines()
    lacking = [name for name in promised if name not in header.split(",")]
    report = {"fits": not lacking, "code": "column_missing" if lacking else None,
              "column": lacking[0] if lacking else None, "rows": len(rows)}
    table = {"table.arrow": bytes(inputs["data"])} if parameters["table"] else {}
    return {"report.json": json.dumps(report).encode(), **table}
"""
JUDGE = """\
import json

def numbers(value):
    if isinstance(value, (dict, list)):
        return sum(map(numbers, value.values() if isinstance(value, dict) else value))
    return not isinstance(value, str)

def run(inputs, parameters):
    try:
        passes = numbers(json.loads(bytes(inputs["output"]))) <= json.loads(bytes(inputs["rules"]))["most"]
    except ValueError:
        passes = False
    return {"verdict.json": json.dumps({"pass": passes, "code": None if passes else "not_allowed"}).encode()}
"""
# The case market/p24_rows_out.py: the raw rows under a label that the policy allows.
ROWS_OUT = "def run(inputs, parameters):\n    return {'model.json': b''.join(bytes(v) for v in inputs.values())}\n"


STALLS = "import time\n\ndef run(inputs, parameters):\n    time.sleep(900)\n"
"""To an enclave, a step that sleeps and a machine that is paused look alike."""


def stalling(folder: Path) -> Path:
    """A step that does not finish within the seconds that it declares."""
    write_step(folder, "stalls", STALLS)
    manifest = folder / "bundle" / "workload.toml"
    manifest.write_text(manifest.read_text().replace("wall_seconds = 20", "wall_seconds = 2"))
    return folder / "bundle"


def card(reader: Path, *names: str) -> dict[str, Any]:
    """A promise of numeric columns."""
    digest = read_bundle(reader).digest
    promise = Card(
        kind="table",
        media_type="text/csv",
        dialect=Dialect(),
        reader=ReaderRef(name="reader", digest=digest),
        columns=tuple(Column(name=name, type="number") for name in names),
    )
    return dict(to_builtins(promise))


def judged(rehearsal: Rehearsal, folder: Path, most: int) -> object:
    """Output rules with a validator that allows so many numbers; its bundle is in the store."""
    write_step(folder, "judge", JUDGE)
    return checked_by(rehearsal, folder / "bundle", {"most": most})


def checked_by(rehearsal: Rehearsal, bundle: Path, rules: dict[str, Any]) -> object:
    """Output rules with the validator in a folder, which is put into the store."""
    digest = rehearsal.store.put_workload(read_bundle(bundle))
    check = Validator(media_type="application/json", digest=digest, rules=rules)
    return msgspec.structs.replace(OUTPUT, validators=(check,))


def publish(rehearsal: Rehearsal, reader: Path, names: tuple[str, ...], **allowed: object) -> SealedAsset:
    """Seal with a card that names the reader in a folder, and publish."""
    rehearsal.sealings += 1
    draft = rehearsal.draft("north", data_card=card(reader, *names), **allowed)
    folder = rehearsal.folder / f"steps-{rehearsal.sealings}"
    owner = rehearsal.owners["north"]
    sealed = owner.seal(ROWS["north"], draft, folder, confirm_unencrypted_key=True, reader=reader)
    rehearsal.settle_block(owner.publish(sealed))
    return sealed


def takes_table(rehearsal: Rehearsal, folder: Path) -> Workload:
    """The honest workload, declaring that it takes a table."""
    made = workloads.other(rehearsal.workload, folder, workloads.CODE)
    (folder / "workload.toml").write_text(MANIFEST.replace('media_type = "text/csv"', f'media_type = "{ARROW}"'))
    return Workload(folder, made.wheels, made.environment, read_bundle(folder).digest)


def predicate(rehearsal: Rehearsal, record: JobRecord) -> ReceiptPredicate:
    found = failed_receipt(rehearsal.store, record)
    assert found is not None
    return found


@pytest.fixture
def reader(tmp_path: Path) -> Path:
    write_step(tmp_path / "reader", "reader", READER)
    return tmp_path / "reader" / "bundle"


def test_a_job_with_a_reader_and_a_validator_settles_and_the_workload_gets_the_readers_table(
    rehearsal: Rehearsal, tmp_path: Path, reader: Path
) -> None:
    workload = takes_table(rehearsal, tmp_path / "table")
    rules = judged(rehearsal, tmp_path / "judge", 3)
    asset = publish(rehearsal, reader, ("x", "y"), output=rules, workloads=(workload.digest,))
    job_id = rehearsal.job(asset, workload=workload)
    rehearsal.reach_status(job_id, Status.SETTLED)
    outputs = rehearsal.consumer.open_result(job_id, rehearsal.result_key)
    assert json.loads(outputs["model.json"])["rows"] == 3


def test_data_that_are_not_what_their_card_says_earn_nothing_and_the_column_is_named_under_seal(
    rehearsal: Rehearsal, reader: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # An owner who does not hold the data against the card before sealing them.
    monkeypatch.setattr(owner_module, "hold_content", lambda _source, _card, folder: read_bundle(folder))
    key, column = PrivateKey.generate(), "weight in kg"
    before = rehearsal.still()
    asset = publish(rehearsal, reader, ("x", column), notice_key=HexBytes(key.public.raw))
    job_id = rehearsal.job(asset)
    record = rehearsal.reach_status(job_id, Status.FAILED)
    assert record.fault is Fault.INPUT_FAILED
    assert rehearsal.chain.at(rehearsal.chain.head()).asset(asset.asset_id, asset.version).suspended
    found = predicate(rehearsal, record)
    assert (found.input_fault, found.outcome) == ("column_missing", "input_failed")
    assert found.notices
    assert column.encode() not in rehearsal.store.document(record.failed.receipt_hash)  # type: ignore[union-attr]
    for reader_of_it in (rehearsal.result_key, key):
        notice = notice_of(found, reader_of_it, rehearsal.chain.book)
        assert notice is not None
        assert (notice.column, notice.asset_index, notice.rows) == (column, 0, 3)
    assert notice_of(found, PrivateKey.generate(), rehearsal.chain.book) is None
    assert "north" not in changes(before, rehearsal.balances())


def test_a_reader_that_does_not_finish_takes_no_use_and_costs_the_payer_the_fees_alone(
    rehearsal: Rehearsal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Sealing would wait for this reader too.
    monkeypatch.setattr(owner_module, "hold_content", lambda _source, _card, folder: read_bundle(folder))
    before = rehearsal.still()
    asset = publish(rehearsal, stalling(tmp_path / "reader"), ("x", "y"))
    record = rehearsal.reach_status(rehearsal.job(asset), Status.FAILED)
    assert record.fault is Fault.READER_TIMED_OUT
    assert record.failed is not None
    assert (record.failed.asset_index, predicate(rehearsal, record).outcome) == (0, "reader_timed_out")
    assert changes(before, rehearsal.balances()) == {"consumer": -rehearsal.fees(2)}
    version = rehearsal.chain.at(rehearsal.chain.head()).asset(asset.asset_id, asset.version)
    assert (version.uses_taken, version.suspended) == (0, False)


def test_a_validator_that_does_not_finish_has_its_owner_paid_for_the_use(rehearsal: Rehearsal, tmp_path: Path) -> None:
    rules = checked_by(rehearsal, stalling(tmp_path / "judge"), {})
    before = rehearsal.still()
    asset = rehearsal.publish("north", output=rules)
    wish = AssetWish(asset_id=asset.asset_id, version=asset.version)
    limits = replace(rehearsal.limits("provider"), validate_seconds=30)  # what is fair to one validator, and more
    handle = rehearsal.consumer.request(rehearsal.workload.bundle, {}, [wish], limits, rehearsal.result_key)
    record = rehearsal.reach_status(rehearsal.consumer.wait_match(handle), Status.FAILED)
    assert record.fault is Fault.VALIDATOR_TIMED_OUT
    price = int(PRICES["north"])
    assert changes(before, rehearsal.balances()) == {
        "north": price,
        "consumer": -price - COMPUTE_PRICE - rehearsal.fees(2),
        "provider": COMPUTE_PRICE,
    }
    assert rehearsal.chain.at(rehearsal.chain.head()).asset(asset.asset_id, asset.version).uses_taken == 1


def test_rows_that_a_workload_labels_as_an_allowed_output_are_withheld(
    rehearsal: Rehearsal, tmp_path: Path, reader: Path
) -> None:
    thief = workloads.other(rehearsal.workload, tmp_path / "rows-out", ROWS_OUT)
    rules = judged(rehearsal, tmp_path / "judge", 3)
    asset = publish(rehearsal, reader, ("x", "y"), output=rules, workloads=(thief.digest,))
    record = rehearsal.reach_status(rehearsal.job(asset, workload=thief), Status.FAILED)
    assert record.fault is Fault.WORKLOAD_FAILED
    found = predicate(rehearsal, record)
    assert (found.outcome, found.input_fault, found.notices) == ("workload_failed", msgspec.UNSET, msgspec.UNSET)
    assert record.ended is not None
    assert int(record.ended.payout.owners_total) == PRICES["north"]
