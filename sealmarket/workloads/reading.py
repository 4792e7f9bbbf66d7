"""Data against its card on its owner's machine, by the reader that the enclave will run (docs/spec/card.md)."""

from __future__ import annotations

import io
import mmap
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from sealmarket.sealing.spool import Data
from sealmarket.workloads.errors import ContentUnfit, ReaderFailed
from sealmarket.workloads.local import LocalRun
from sealmarket.workloads.steps import Step
from sealmarket_enclave.protocol.card import Card, ReaderReport, read_report
from sealmarket_enclave.protocol.codec import canonical_json, parse_json
from sealmarket_enclave.protocol.errors import SealmarketError
from sealmarket_enclave.workload.manifest import Value

REPORT, TABLE, INFERRED, EXPLANATION = "report.json", "table.arrow", "inferred.json", "explanation.txt"


@contextmanager
def content(source: Data) -> Iterator[memoryview]:
    """The bytes of a source: of a file mapped, of anything else that is open read into memory and sought back.

    Raises:
        ContentUnfit: there are none, which is no content of any card.
        OSError: it cannot be read.
    """
    if isinstance(source, bytes):
        yield _some(memoryview(source))
    elif isinstance(source, Path):
        with source.open("rb", buffering=0) as file, content(file) as view:
            yield view
    elif isinstance(source, io.FileIO):
        yield from _mapped(source)
    else:
        begin = source.tell()
        data = source.read()
        source.seek(begin)
        yield _some(memoryview(data or b""))


def _mapped(file: io.FileIO) -> Iterator[memoryview]:
    begin = file.tell()
    if file.seek(0, io.SEEK_END) <= begin:
        _some(memoryview(b""))
    file.seek(begin)
    with (
        mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped,
        memoryview(mapped) as whole,
        whole[begin:] as view,
    ):
        yield view


def _some(view: memoryview) -> memoryview:
    if not len(view):
        raise ContentUnfit("not_readable", None, "the file is empty")
    return view


def hold(source: Data, card: Card, step: Step) -> ReaderReport:
    """Hold data against its card; returns the report of data that fits. Raises as :func:`read`."""
    with content(source) as data:
        return _report(_run(data, card, step))


def read(source: Data, card: Card, step: Step, *, table: bool, **parameters: Value) -> Mapping[str, bytes]:
    """Hold data against its card; returns what the reader wrote, with the table where it is wanted.

    ``parameters`` are given as far as the reader declares them.

    Raises:
        ContentUnfit: it does not fit, with the code, the column, and the reader's words.
        ReaderFailed: the reader gave no report, as on bytes that exhaust it.
    """
    with content(source) as data:
        return _run(data, card, step, table=table, **parameters).outputs


def _run(data: memoryview, card: Card, step: Step, **wanted: Value) -> LocalRun:
    """A run over data that fit. Raises as :func:`read`."""
    inputs: dict[str, bytes | memoryview] = {"data": data, "card": card.canonical()}
    ended = step.run(inputs, _parameters(step, explain=True, **wanted))
    report = _report(ended)
    if not report.fits:
        raise ContentUnfit(str(report.code), report.column, _explanation(ended))
    return ended


def infer(source: Data, stated: Mapping[str, Any], step: Step) -> dict[str, Any]:
    """What a file holds, by the reader: a document for its owner, as the reader's ``inferring`` module writes it.

    Raises: as :func:`hold`.
    """
    with content(source) as data:
        inputs: dict[str, bytes | memoryview] = {"data": data, "card": canonical_json(stated)}
        ended = step.run(inputs, _parameters(step, infer=True))
    report = _report(ended)
    if not report.fits:
        raise ContentUnfit(str(report.code), report.column, _explanation(ended))
    try:
        found = parse_json(ended.outputs[INFERRED])
    except (KeyError, msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise ReaderFailed(f"no {INFERRED} that reads") from error
    if not isinstance(found, dict):
        raise ReaderFailed(f"{INFERRED} is no object")
    return found


def _parameters(step: Step, **wanted: Value) -> dict[str, Value]:
    """Of the wanted parameters those that this reader has: another's may explain nothing."""
    known = {parameter.name for parameter in step.bundle.manifest.parameters}
    return {name: value for name, value in wanted.items() if name in known}


def _report(ended: LocalRun) -> ReaderReport:
    if ended.failure:
        raise ReaderFailed(f"{ended.failure}: {ended.text[-500:]}" if ended.text else ended.failure)
    try:
        return read_report(ended.outputs[REPORT])
    except (KeyError, SealmarketError) as error:
        raise ReaderFailed(f"no {REPORT} that reads") from error


def _explanation(ended: LocalRun) -> str:
    return ended.outputs.get(EXPLANATION, b"").decode("utf-8", "replace")[:900]
