"""The reader of tables, loaded from its bundle: its functions on bytes, without a sandbox."""

from __future__ import annotations

import importlib
import io
import json
import sys
from types import ModuleType
from typing import Any

import msgspec
import pyarrow as pa

from scripts.toolchain import ROOT
from sealmarket.client.describing import Wishes, describe
from sealmarket_enclave.protocol.card import Card, Column, Dialect, ReaderRef, ReaderReport, checked, read_report
from sealmarket_enclave.protocol.codec import ZERO_HASH

CODE = ROOT / "sealmarket/readers/tables/code"
READER = ReaderRef(name="tables", digest=ZERO_HASH)


PARAMETERS: dict[str, Any] = {
    "infer": False,
    "table": True,
    "explain": False,
    "withheld_permille": 0,
    "withheld_secret": "",
}
"""Complete parameters, as the sandbox passes them: the table is wanted, and whole."""


def load(name: str) -> ModuleType:
    """A module of the bundle's ``code`` folder, by the name under which the others import it."""
    written, sys.dont_write_bytecode = sys.dont_write_bytecode, True  # a bundle with bytecode is refused
    sys.path.insert(0, str(CODE))
    try:
        return importlib.import_module(name)
    finally:
        sys.path.remove(str(CODE))
        sys.dont_write_bytecode = written


read = load("read")


def inferred(file: bytes, **stated: Any) -> tuple[dict[str, Any] | None, ReaderReport, str]:
    """What the reader finds in a file, its report, and its words."""
    given = {"mediaType": stated.pop("media_type", None), "types": stated.pop("types", {}), "dialect": stated}
    outputs = read.run(
        {"data": memoryview(file), "card": json.dumps(given).encode()}, {"infer": True, "table": False, "explain": True}
    )
    report = read_report(outputs["report.json"])
    found = json.loads(outputs["inferred.json"]) if report.fits else None
    return found, report, outputs.get("explanation.txt", b"").decode()


def card_of(file: bytes, **stated: Any) -> Card:
    """The card that `owner describe` makes of a file."""
    found, report, words = inferred(file, **stated)
    assert found is not None, (report, words)
    return describe(found, READER, Wishes()).card


def held(file: bytes, card: Card) -> tuple[ReaderReport, pa.Table | None, str]:
    """The report over a file, its table if it fits, and the reader's words."""
    outputs = read.run({"data": memoryview(file), "card": checked(card).canonical()}, PARAMETERS | {"explain": True})
    report = read_report(outputs["report.json"])
    table = pa.ipc.open_stream(io.BytesIO(outputs["table.arrow"])).read_all() if report.fits else None
    return report, table, outputs.get("explanation.txt", b"").decode()


def table_card(*columns: Column, media_type: str = "text/csv", dialect: Dialect | None = None, **more: Any) -> Card:
    """A card of a table with these columns."""
    stated = (dialect or Dialect()) if media_type == "text/csv" else None
    return checked(Card(kind="table", media_type=media_type, dialect=stated, reader=READER, columns=columns, **more))


def changed(card: Card, name: str, **fields: Any) -> Card:
    """The card with other promises of one column."""
    columns = [msgspec.structs.replace(c, **fields) if c.name == name else c for c in card.columns]
    return msgspec.structs.replace(card, columns=tuple(columns))
