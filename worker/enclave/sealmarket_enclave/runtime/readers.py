"""Hold opened inputs against their owners' cards, each by the reader that its card names, in a sandbox of its own.

What a reader's end means (docs/spec/steps.md, "Fault"):

1. It says that the content does not fit, or it fails over the bytes that the owner committed to: the owner's failure.
2. It does not finish: it uses up its limits or the time that the request grants, takes more memory than there is, makes
   a table for which there is no room, or crashes. A machine may be to blame for that, or another asset of the job, so
   no version is suspended. If the request granted what is fair (:mod:`.grants`, :func:`fair_table`), no party is paid
   and every use returns; otherwise the request is to blame.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sealmarket_enclave.protocol.card import MAXIMUM_REPORT, CardRefused, ReaderReport, read_report
from sealmarket_enclave.protocol.errors import MalformedDocument
from sealmarket_enclave.protocol.steps import (
    CARD,
    DATA,
    REPORT,
    TABLE,
    TABLE_WANTED,
    WITHHELD_PERMILLE,
    WITHHELD_SECRET,
    WITHHELD_TABLE,
)
from sealmarket_enclave.runtime.errors import InputFailed, InputFault, StepFailed, WorkloadFailed
from sealmarket_enclave.runtime.grants import UNFINISHED, Grant
from sealmarket_enclave.runtime.inputs import Reading, wipe
from sealmarket_enclave.runtime.job import LoadedAsset, ParameterValue
from sealmarket_enclave.runtime.workplace import StepCall, Steps
from sealmarket_enclave.sandbox import FailureKind
from sealmarket_enclave.workload.timing import seconds_for_bytes, seconds_for_step

_TABLE_FACTOR, _TABLE_ROOM = 8, 16 << 20


def fair_table(size: int) -> int:
    """Bytes of a table of ``size`` bytes of content for which a request that is fair has room."""
    return _TABLE_FACTOR * size + _TABLE_ROOM


def grant_of(assets: Sequence[LoadedAsset], sizes: Sequence[int], read_seconds: int) -> Grant:
    """What the request grants to the opening and the reader of each asset. ``sizes`` by the containers' headers."""
    return Grant(
        read_seconds,
        tuple(
            seconds_for_bytes(size) + (seconds_for_step(size) if asset.card and asset.card.reader else 0)
            for asset, size in zip(assets, sizes, strict=True)
        ),
    )


@dataclass(frozen=True, slots=True)
class Readers:
    """Runs the readers of one job, in the order of its assets."""

    steps: Steps
    reading: Reading
    grant: Grant
    secret: str
    """Picks the rows that are withheld (:mod:`.withholding`)."""

    def read(
        self, index: int, asset: LoadedAsset, content: bytearray, *, table: bool, room: int
    ) -> tuple[bytearray, bytearray | None]:
        """The content, or the table that is made of it, and the rows that are withheld from that table.

        The content of a table is wiped. ``room`` bounds the table, and the withheld rows with it.

        Raises:
            InputFailed: it does not fit its card.
            StepFailed: its reader did not finish, or its table has no room, and it was granted what is fair.
            WorkloadFailed: its reader did not finish within less than that, or the table has no room.
        """
        card = asset.card
        if card is None or card.reader is None:
            return content, None
        call = StepCall(
            digest=card.reader.digest,
            inputs={DATA: content, CARD: card.canonical()},
            most=MAXIMUM_REPORT + (room if table else 0),
            seconds=self.grant.seconds(index, self.reading.left),
            parameters={TABLE_WANTED: table} | self._withholding(asset.policy.output.withholds),
        )
        try:
            with self.reading.waiting():
                files = self.steps.run(call)
        except WorkloadFailed as error:
            fair = self.grant.fair if error.kind in UNFINISHED else room >= fair_table(len(content))
            raise _ended(index, error, table=table, fair=fair) from error
        _require_fit(index, files.get(REPORT, b""))
        if not table:
            return content, None
        # A reader that does not know how to withhold rows writes none of them apart.
        wanted = (TABLE, WITHHELD_TABLE) if asset.policy.output.withholds else (TABLE,)
        if any(name not in files for name in wanted):
            raise InputFailed(index, InputFault.READER_FAILED)
        wipe(content)
        return bytearray(files[TABLE]), bytearray(files[WITHHELD_TABLE]) if WITHHELD_TABLE in wanted else None

    def _withholding(self, permille: int) -> dict[str, ParameterValue]:
        return {WITHHELD_PERMILLE: permille, WITHHELD_SECRET: self.secret} if permille else {}


def _ended(index: int, error: WorkloadFailed, *, table: bool, fair: bool) -> Exception:
    """``fair``: whether the request granted what is fair of what the reader lacked."""
    if table and error.kind == FailureKind.OUTPUT_TOO_LARGE:
        return StepFailed(index) if fair else WorkloadFailed("input_too_large")
    if error.kind not in UNFINISHED:
        return InputFailed(index, InputFault.READER_FAILED)
    return StepFailed(index) if fair else WorkloadFailed(FailureKind.OUT_OF_TIME)


def _require_fit(index: int, raw: bytes) -> ReaderReport:
    try:
        report = read_report(raw)
    except (CardRefused, MalformedDocument):
        raise InputFailed(index, InputFault.READER_FAILED) from None
    if report.code is not None:
        raise InputFailed(index, report.code, report.column, report.rows)
    return report
