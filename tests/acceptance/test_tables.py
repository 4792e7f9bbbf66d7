"""A table with text and dates through a whole job: described, promised by its card, read in the enclave, and counted.

The reader is the one that comes with Sealmarket; its package is downloaded.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path

import pytest

import sealmarket
from sealmarket.client.describing import Wishes, describe
from sealmarket.protocol.transitions import Status
from sealmarket.workloads.errors import ContentUnfit, FetchFailed
from sealmarket.workloads.fetch import lock_environment
from sealmarket.workloads.folders import read_bundle
from sealmarket.workloads.reading import infer
from sealmarket.workloads.steps import shipped
from sealmarket_enclave.protocol.card import ARROW, Card, ReaderRef
from sealmarket_enclave.protocol.codec import to_builtins
from sealmarket_localnet.processes import Supervisor
from tests.acceptance.market import Rehearsal, raise_curtain
from tests.acceptance.workloads import MANIFEST, Workload
from tests.workloads.trained import KEPT

pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]
LOCK = Path(sealmarket.__file__).parent / "readers/tables/requirements.lock"
TOWNS = ("Zürich", 'the "old" town', "Bern; north, and south")
ROWS = 60
BEGAN = date(1999, 12, 28)
COUNTS = """\
import json
import pyarrow as pa

def run(inputs, parameters):
    (rows,) = inputs.values()
    table = pa.ipc.open_stream(pa.py_buffer(bytes(rows))).read_all()
    towns = table.column("town").to_pylist()
    born = table.column("born")
    found = {
        "types": {field.name: str(field.type) for field in table.schema},
        "towns": {town: towns.count(town) for town in sorted(set(towns), key=str)},
        "notes": table.column("note").to_pylist()[:2],
        "born": [str(day) for day in (min(born.to_pylist()), max(born.to_pylist()))],
        "cost": sum(value for value in table.column("cost").to_pylist()),
    }
    return {"model.json": json.dumps(found).encode()}
"""


@pytest.fixture
def market(tmp_path: Path) -> Iterator[Rehearsal]:
    with Supervisor(tmp_path / "logs") as programs:
        made = raise_curtain(programs, tmp_path / "m")
        yield made
        made.close()


def _table() -> bytes:
    """Sixty visits, with quotes, separators and letters beyond ASCII in their texts."""
    sheet = io.StringIO()
    writer = csv.writer(sheet)
    writer.writerow(("town", "note", "born", "cost"))
    for row in range(ROWS):
        writer.writerow(
            (TOWNS[row % len(TOWNS)], f'said "{row}", twice\nand left', BEGAN + timedelta(days=row), row * 10)
        )
    return sheet.getvalue().encode()


def _card(rows: bytes) -> Card:
    """What `owner describe` promises of it."""
    step = shipped("tables", KEPT)
    return describe(infer(rows, {}, step), ReaderRef(name=step.name, digest=step.digest), Wishes(title="Visits")).card


def _workload(folder: Path) -> Workload:
    """A workload that counts in a typed table, with the reader's one package."""
    (folder / "code").mkdir(parents=True)
    (folder / "workload.toml").write_text(MANIFEST.replace('media_type = "text/csv"', f'media_type = "{ARROW}"'))
    (folder / "code" / "line.py").write_text(COUNTS)
    (folder / "requirements.lock").write_bytes(LOCK.read_bytes())
    wheels = KEPT.wheels(folder)
    lock_environment(folder, wheels)
    bundle = read_bundle(folder)
    return Workload(folder, wheels, KEPT.environment(bundle, folder), bundle.digest)


def test_a_table_with_texts_and_dates_reaches_a_workload_as_its_card_promises(
    market: Rehearsal, tmp_path: Path
) -> None:
    rows = _table()
    try:
        card, workload = _card(rows), _workload(tmp_path / "counts")
    except FetchFailed as error:
        pytest.skip(f"the reader's package cannot be fetched here: {error}")
    assert [column.type for column in card.columns] == ["category", "text", "date", "integer"]
    market.market.start_worker(market.market.purses["host"], workload.wheels, name="tables")
    asset = market.publish("north", rows, data_card=to_builtins(card), workloads=(workload.digest,))
    job_id = market.job(asset, workload=workload, provider="host")
    market.reach_status(job_id, Status.SETTLED, timeout=300)
    found = json.loads(market.consumer.open_result(job_id, market.result_key)["model.json"])
    assert found["types"]["born"].startswith("date32")
    assert found["towns"] == dict.fromkeys(TOWNS, ROWS // len(TOWNS))
    assert found["notes"] == [f'said "{row}", twice\nand left' for row in (0, 1)]
    assert found["born"] == [str(BEGAN), str(BEGAN + timedelta(days=ROWS - 1))]
    assert found["cost"] == sum(row * 10 for row in range(ROWS))
    market.consumer.acknowledge(job_id)


def test_a_table_whose_dates_are_not_what_its_card_says_is_not_sealed(market: Rehearsal) -> None:
    rows = _table()
    try:
        card = _card(rows)
    except FetchFailed as error:
        pytest.skip(f"the reader's package cannot be fetched here: {error}")
    altered = rows.replace(str(BEGAN).encode(), b"28.12.1999", 1)
    with pytest.raises(ContentUnfit, match="born"):
        market.publish("north", altered, data_card=to_builtins(card))
