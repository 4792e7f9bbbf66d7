"""The training workload's code, loaded from its bundle, behind the reader of tables: from a file to what is learnt."""

from __future__ import annotations

import importlib
import io
import sys
from types import ModuleType
from typing import Any

import pyarrow as pa

from scripts.toolchain import ROOT
from sealmarket_enclave.protocol.card import Card
from sealmarket_enclave.workload.manifest import parse_manifest, unmet_needs
from tests.readers.tables import card_of, held

FOLDER = ROOT / "workloads/train_gradient_boosting"
MANIFEST = parse_manifest((FOLDER / "workload.toml").read_bytes())


def load(name: str) -> ModuleType:
    """A module of the bundle's ``code`` folder, by the name under which the others import it."""
    written, sys.dont_write_bytecode = sys.dont_write_bytecode, True  # a bundle with bytecode is refused
    sys.path.insert(0, str(FOLDER / "code"))
    try:
        return importlib.import_module(name)
    finally:
        sys.path.remove(str(FOLDER / "code"))
        sys.dont_write_bytecode = written


pooling, tasks = load("pooling"), load("tasks")
TableRefused: type[ValueError] = load("refusals").TableRefused


def values_of(**given: Any) -> dict[str, Any]:
    """A job's complete parameters."""
    return MANIFEST.check_parameters({"target": "score", **given})


def unmet(*cards: Card | None, **given: Any) -> list[str]:
    """What the cards do not promise of what the workload needs, as a client and a node say it."""
    return [f"{one.expected}; {one.found}" for one in unmet_needs(MANIFEST.inputs, cards, values_of(**given))]


def learnt(*streams: bytes, **given: Any) -> Any:
    """What the workload learns from Arrow streams; raises its refusal."""
    values = values_of(**given)
    inputs = {f"rows-{number}": memoryview(stream) for number, stream in enumerate(streams, start=1)}
    return tasks.prepare(pooling.pool(inputs, values).columns, values["target"], values["task"])


def stream(table: pa.Table) -> bytes:
    """A table as the workload gets it."""
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, table.schema) as out:
        out.write_table(table)
    return sink.getvalue()


def learnt_of_file(file: bytes, **given: Any) -> Any:
    """What is learnt from a file that its owner described without any option, and whose card meets every need."""
    card = card_of(file)
    assert unmet(card, **given) == []
    _, table, words = held(file, card)
    assert table is not None, words
    return learnt(stream(table), **given)
