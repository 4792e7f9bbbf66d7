"""Data is held against its card in the sandbox, by the reader that the card names, before it is sealed."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from scripts.toolchain import ROOT
from sealmarket.client.describing import Wishes, describe
from sealmarket.sealing.spool import opened
from sealmarket.workloads.cache import WorkloadCache
from sealmarket.workloads.errors import ContentUnfit, ReaderFailed, StepUnknown
from sealmarket.workloads.fetch import lock_environment
from sealmarket.workloads.reading import hold, infer
from sealmarket.workloads.steps import Step, named, shipped
from sealmarket_enclave.protocol.card import Card, ReaderRef
from sealmarket_enclave.protocol.codec import Bytes32
from sealmarket_enclave.workload.errors import DigestMismatch

FOLDER = ROOT / "sealmarket/readers/tables"
LOCK = hashlib.sha256((FOLDER / "requirements.lock").read_bytes()).hexdigest()[:16]
WHEELS = Path(os.environ.get("SEALMARKET_WHEELS", ROOT / "build/wheels" / f"{LOCK}-{sys.implementation.cache_tag}"))
REPORT = {"fits": True, "code": None, "column": None, "rows": 3}
CARD = Card(kind="bytes", media_type="application/pdf")
Reader = Callable[[str], Step]


@pytest.fixture
def reader(tmp_path: Path) -> Reader:
    """Makes a reader whose function has a body, without any dependency."""

    def make(body: str) -> Step:
        folder = tmp_path / "reader"
        shutil.rmtree(folder, ignore_errors=True)
        (folder / "code").mkdir(parents=True)
        manifest = (FOLDER / "workload.toml").read_text()
        (folder / "workload.toml").write_text(manifest.replace('"read:run"', '"own:run"'))
        (folder / "code/own.py").write_text(f"import json\n\n\ndef run(inputs, parameters):\n    {body}\n")
        (folder / "requirements.lock").write_bytes(b"")
        (tmp_path / "none").mkdir(exist_ok=True)
        digest = lock_environment(folder, tmp_path / "none")
        return named(digest, WorkloadCache(tmp_path / "cache"), folder)

    return make


def reporting(**changes: Any) -> str:
    return f"return {{'report.json': {json.dumps(REPORT | changes).encode()!r}, 'explanation.txt': b'why'}}"


@pytest.mark.parametrize(
    "body",
    [
        "return {}",
        "raise MemoryError",
        "1 / 0",
        "return {'report.json': b'[]'}",
        "return {'report.json': bytes(inputs['data'])}",
        "return {'other': b''}",
        reporting(code="row_count"),
        reporting(cell="41"),
    ],
)
def test_a_reader_without_a_report_that_counts_says_nothing_for_the_data(reader: Reader, body: str) -> None:
    with pytest.raises(ReaderFailed):
        hold(b"data", CARD, reader(body))


def test_data_that_does_not_fit_is_refused_with_code_and_column(reader: Reader) -> None:
    with pytest.raises(ContentUnfit) as refusal:
        hold(b"data", CARD, reader(reporting(fits=False, code="column_range", column="age")))
    assert (refusal.value.code, refusal.value.column, refusal.value.detail) == ("column_range", "age", "why")


def test_an_empty_file_fits_no_card(reader: Reader, tmp_path: Path) -> None:
    (tmp_path / "empty").write_bytes(b"")
    for empty in (b"", tmp_path / "empty"):
        with pytest.raises(ContentUnfit, match="the file is empty"):
            hold(empty, CARD, reader(reporting()))


def test_a_folder_with_another_reader_than_the_card_names_is_refused(reader: Reader) -> None:
    step = reader(reporting())
    with pytest.raises(DigestMismatch):
        named(Bytes32(b"\x01" * 32), step.cache, step.folder)


def test_a_name_that_no_reader_has_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StepUnknown, match="tables"):
        shipped("../tables", WorkloadCache(tmp_path))


def test_the_reader_gets_the_bytes_of_the_file_and_the_canonical_card(reader: Reader, tmp_path: Path) -> None:
    (tmp_path / "data").write_bytes(b"\x00data")
    body = (
        "assert bytes(inputs['data']) == b'\\x00data' and json.loads(bytes(inputs['card']))['kind'] == 'bytes'\n"
        f"    {reporting()}"
    )
    assert hold(tmp_path / "data", CARD, reader(body)).rows == 3


def test_what_was_held_is_sealed_from_the_same_place(reader: Reader, tmp_path: Path) -> None:
    """A pipe is read once: what waits of it is held against the card, and goes on from where it was."""
    step = reader(f"assert bytes(inputs['data']) == b'1,2'\n    {reporting()}")
    reading, writing = os.pipe()
    os.write(writing, b"1,2")
    os.close(writing)
    (tmp_path / "file").write_bytes(b"skipped1,2")
    with os.fdopen(reading, "rb") as pipe, opened(pipe, tmp_path) as source:
        assert (hold(source, CARD, step).rows, source.read()) == (3, b"1,2")
    with (tmp_path / "file").open("rb", buffering=0) as file:
        file.seek(7)
        assert (hold(file, CARD, step).rows, file.read()) == (3, b"1,2")


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Step:
    """The reader of tables, installed from wheels that lie here already."""
    if not list(WHEELS.glob("*.whl")):
        pytest.skip(f"no wheels in {WHEELS}: run scripts/demo once, or set SEALMARKET_WHEELS")
    cache = WorkloadCache(tmp_path_factory.mktemp("cache"))
    place = cache.folder / "wheels" / f"{LOCK}-{sys.implementation.cache_tag}"
    place.parent.mkdir()
    place.symlink_to(WHEELS)
    return shipped("tables", cache)


def test_the_reader_of_tables_describes_and_holds_in_the_sandbox_what_it_described(tables: Step) -> None:
    """Moments and days are among them: a sandbox has no database of time zones."""
    rows = (f"{20 + n},{'ab'[n % 2]},2024-01-{n % 28 + 1:02}T08:00:00+02:00,2024-02-{n % 28 + 1:02}" for n in range(40))
    file = "\n".join(["age,kind,at,day", *rows]).encode()
    found = infer(file, {}, tables)
    card = describe(found, ReaderRef(name=tables.name, digest=tables.digest), Wishes()).card
    assert [column.type for column in card.columns] == ["integer", "category", "timestamp", "date"]
    assert found["columns"][2]["minimum"] == "2024-01-01T06:00:00+00:00"
    assert hold(file, card, tables).rows == 40
    with pytest.raises(ContentUnfit) as refusal:
        hold(file + b"\n30,c,2024-01-01T08:00:00Z,2024-02-01", card, tables)
    assert (refusal.value.code, refusal.value.column) == ("unknown_class", "kind")
    assert named(tables.digest, tables.cache).name == "tables"
