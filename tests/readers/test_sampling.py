"""Synthetic rows keep every promise of their card, as the reader itself holds them."""

from __future__ import annotations

import pytest

from sealmarket.workloads.sampling import sampled
from sealmarket_enclave.protocol.card import ARROW, Bounds, Column, Dialect
from tests.readers.tables import held, table_card

COLUMNS = (
    Column(name="a, b", type="integer", minimum="-3", maximum="4"),
    Column(name="large", type="integer", minimum="9007199254740993", maximum="9007199254740999"),
    Column(name="x", type="number", minimum="0.1", maximum="0.3"),
    Column(name="far", type="number", minimum="1e299", maximum="1e300"),
    Column(name="open", type="number"),
    Column(name="yes", type="boolean"),
    Column(name="kind", type="category", classes=("a", 'b"', "c;")),
    Column(name="note", type="text", missing=True),
    Column(name="day", type="date", minimum="2024-02-28", maximum="2024-03-01"),
    Column(name="one", type="date", minimum="2024-02-28", maximum="2024-02-28"),
    Column(name="at", type="timestamp", minimum="2024-02-28T15:00:00+00:00", maximum="2024-03-01T00:00:00+00:00"),
    Column(name="ever", type="timestamp"),
)


@pytest.mark.parametrize("media_type", ["text/csv", ARROW])
def test_a_sample_fits_the_card_that_it_was_made_of(media_type: str) -> None:
    dialect = Dialect(delimiter=";", decimal=",") if media_type == "text/csv" else None
    card = table_card(*COLUMNS, media_type=media_type, dialect=dialect, rows=Bounds(minimum=10**6, maximum=10**7))
    file, read_by = sampled(card, 60)
    report, table, words = held(file, read_by)
    assert (report.fits, report.rows) == (True, 60), words
    assert table is not None
    assert set(table["kind"].to_pylist()) == {"a", 'b"', "c;"}
    assert table["note"].null_count == 12
