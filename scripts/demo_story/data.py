"""The data of the story: the RAND Health Insurance Experiment, dealt to two hospitals and the insurer.

20,190 person-years of 10 columns (public domain, shipped with statsmodels; Newhouse 1999). There is no person id.
Consecutive rows with equal covariates are one run, most likely one person over several years; runs are dealt whole,
by a hash of their index, so that no person is in two parts and each repetition gives the same parts.
"""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import util
from pathlib import Path

TARGET = "frequent"
"""1 for a person with four or more outpatient visits in the year, about a quarter of all; else 0."""

FREQUENT_VISITS = 4
_SHARES = (("hospital_a", 0.35), ("hospital_b", 0.70), ("insurer", 1.0))


@dataclass(frozen=True, slots=True)
class Part:
    """One party's rows as CSV, the target first."""

    columns: tuple[str, ...]
    rows: tuple[tuple[float, ...], ...]

    def csv(self) -> bytes:
        """The file that the party holds."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(self.columns)
        writer.writerows(self.rows)
        return text.getvalue().encode()


def parts() -> dict[str, Part]:
    """``hospital_a``, ``hospital_b`` and ``insurer``: what each of the three holds."""
    columns, rows = _rand()
    dealt: dict[str, list[tuple[float, ...]]] = {name: [] for name, _ in _SHARES}
    for index, run in enumerate(_runs(rows)):
        lot = int.from_bytes(hashlib.sha256(b"randhie/%d" % index).digest()[:4], "big") / 2**32
        holder = next(name for name, upper in _SHARES if lot < upper)
        dealt[holder].extend((float(row[0] >= FREQUENT_VISITS), *row[1:]) for row in run)
    names = (TARGET, *columns[1:])
    return {name: Part(names, tuple(mine)) for name, mine in dealt.items()}


def _rand() -> tuple[tuple[str, ...], list[tuple[float, ...]]]:
    """Column names and rows as published: number of outpatient visits first, covariates after it."""
    # Found without importing statsmodels, which takes seconds and is not needed for a file.
    package = util.find_spec("statsmodels")
    if package is None or not package.submodule_search_locations:
        raise FileNotFoundError("statsmodels brings the data of this story: run scripts/setup")
    file = Path(package.submodule_search_locations[0], "datasets", "randhie", "randhie.csv")
    with file.open(encoding="utf-8") as text:
        lines = csv.reader(text)
        columns = tuple(next(lines))
        return columns, [tuple(float(value) for value in line) for line in lines]


def _runs(rows: Sequence[tuple[float, ...]]) -> Iterator[list[tuple[float, ...]]]:
    run: list[tuple[float, ...]] = []
    for row in rows:
        if run and row[1:] != run[-1][1:]:
            yield run
            run = []
        run.append(row)
    if run:
        yield run
