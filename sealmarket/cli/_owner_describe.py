"""`owner describe`: looks through a file, states how it is read, and writes the data card that promises its content."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from shlex import quote
from typing import Annotated, Any, get_args

import msgspec
import typer

from sealmarket.cli._asking import progress
from sealmarket.cli._groups import takes
from sealmarket.cli._options import AsJson, Usage, answer, written
from sealmarket.cli._plain import harmless
from sealmarket.client.describing import (
    ARCHIVE_HEAD,
    STATISTICS,
    Described,
    Wishes,
    describe,
    describe_members,
    is_archive,
)
from sealmarket.client.draft import PolicyDraft
from sealmarket.client.errors import NotDescribed
from sealmarket.protocol.purposes import label_of
from sealmarket_enclave.protocol.card import ARROW, Card, ColumnType, Members, ReaderRef
from sealmarket_enclave.protocol.codec import to_builtins

app = typer.Typer()

_DELIMITERS = {"comma": ",", "semicolon": ";", "tab": "\t", "pipe": "|"}
_DECIMALS = {"point": ".", "comma": ","}
_THOUSANDS = {"none": "", "comma": ",", "point": ".", "blank": " ", "apostrophe": "'"}
_FORMATS = {
    "csv": "text/csv",
    "parquet": "application/vnd.apache.parquet",
    "arrow": "application/vnd.apache.arrow.file",
    "arrow-stream": ARROW,
    "json-lines": "application/jsonl",
}
_STATING = "--format, --encoding, --delimiter, --decimal, --thousands, --skip-lines, --comment or --as"
"""What an owner may say of a table that the file leaves open."""
Describe = Annotated[
    bool, typer.Option("--describe", help="Look through the data now, and let its card replace the policy's.")
]
_Text = Annotated[str, typer.Option(help="Public words about the data.")]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadingOptions:
    """The options of `owner describe` about what the file leaves open: how it is read."""

    kind: Annotated[str | None, typer.Option("--format", help=f"{', '.join(_FORMATS)}; else by its bytes.")] = None
    types: Annotated[list[str] | None, typer.Option("--as", help="COLUMN=TYPE; repeat.")] = None
    encoding: Annotated[str | None, typer.Option(help="Of a CSV file: utf-8, utf-16, windows-1252.")] = None
    delimiter: Annotated[str | None, typer.Option(help=f"{', '.join(_DELIMITERS)}.")] = None
    decimal: Annotated[str | None, typer.Option(help="The decimal mark: point, comma.")] = None
    thousands: Annotated[str | None, typer.Option(help=f"The mark of thousands: {', '.join(_THOUSANDS)}.")] = None
    skip_lines: Annotated[int | None, typer.Option(help="Titles above the header.", min=0, max=100)] = None
    comment: Annotated[str | None, typer.Option(help="What begins a line that is no row: #.")] = None
    missing: Annotated[list[str] | None, typer.Option(help="A spelling of a missing cell; repeat.")] = None
    manifest: Annotated[
        str | None, typer.Option(help="The member of an archive that lists the others, as sha256sum writes it.")
    ] = None

    def stated(self) -> dict[str, Any]:
        """What is named, as readers take it. Raises :class:`Usage` for a word that is none."""
        dialect = {
            "encoding": self.encoding,
            "delimiter": _chosen("--delimiter", self.delimiter, _DELIMITERS),
            "decimal": _chosen("--decimal", self.decimal, _DECIMALS),
            "thousands": _chosen("--thousands", self.thousands, _THOUSANDS),
            "skipLines": self.skip_lines,
            "comment": self.comment,
            "missing": self.missing,
        }
        return {
            "mediaType": _chosen("--format", self.kind, _FORMATS),
            "dialect": {name: value for name, value in dialect.items() if value is not None},
            "types": {
                column: _chosen("--as", word, {one: one for one in get_args(ColumnType)})
                for column, word in _pairs("--as", self.types).items()
            },
            "manifest": self.manifest,
        }


@app.command("describe")
@takes(ReadingOptions)
def describe_command(
    reading: ReadingOptions,
    file: Annotated[
        Path,
        typer.Argument(help="CSV, Parquet, Arrow, JSON lines, or a zip or tar of files.", exists=True, dir_okay=False),
    ],
    out: Annotated[Path | None, typer.Option("--out", help="The new data card. Without it nothing is written.")] = None,
    units: Annotated[list[str] | None, typer.Option("--unit", help="COLUMN=UNIT; repeat.")] = None,
    show: Annotated[list[str] | None, typer.Option(help=f"A statistic to publish: {', '.join(STATISTICS)}.")] = None,
    title: _Text = "",
    description: _Text = "",
    label: Annotated[list[str] | None, typer.Option(help="A declared purpose: a DPV term or a DUO code.")] = None,
    as_json: AsJson = False,
) -> None:
    """Look through a table or an archive, say how it is read and what is odd, and write its card. The data stays here.

    Example: sealmarket owner describe patients.csv --out card.json --unit age=a
    """
    if out is not None and out.exists():
        raise Usage(f"{out} exists", remedy="name a new file")
    labels = [written(label_of, text) for text in label or ()]
    wishes = Wishes(
        title=title, description=description, units=_pairs("--unit", units), show=show or (), purposes=labels
    )
    made = _look_through(file, reading.stated(), wishes)
    if out is not None:
        out.write_bytes(msgspec.json.format(made.card.canonical(), indent=2) + b"\n")
    answer({"card": to_builtins(made.card), "warnings": made.warnings}, _lines(made, file, out), as_json)


def described(draft: PolicyDraft, file: Path) -> PolicyDraft:
    """A draft whose data card is that of a file, as it is read without any option; what is odd goes to the terminal."""
    made = _look_through(file, {}, Wishes(title=draft.title))
    for line in _lines(made, file, None)[:-1]:
        typer.echo(line, err=True)
    return msgspec.structs.replace(draft, data_card=to_builtins(made.card))


def _look_through(file: Path, stated: dict[str, Any], wishes: Wishes) -> Described:
    """Run the reader that the file's first bytes ask for, and make a card of what it finds. It is read twice, so a pipe
    is refused: its second reading would wait for ever, or find the rest alone."""
    if str(file) == "-" or not file.is_file():
        raise Usage(f"{harmless(str(file))} is no file that can be read twice", remedy="write what comes into a file")
    from sealmarket.workloads.cache import WorkloadCache
    from sealmarket.workloads.errors import ContentUnfit
    from sealmarket.workloads.reading import infer
    from sealmarket.workloads.steps import shipped

    with file.open("rb") as opened:
        archive = is_archive(opened.read(ARCHIVE_HEAD))
    progress(f"looking through {file}; the first time, the packages of the reader are fetched")
    step = shipped("members" if archive else "tables", WorkloadCache.of_user())
    reader = ReaderRef(name=step.name, digest=step.digest)
    try:
        found = infer(file, stated, step)
    except ContentUnfit as error:
        options = "--manifest" if archive else _STATING
        raise NotDescribed(file, error.detail, f"run `sealmarket owner describe` with {options}") from error
    return (describe_members if archive else describe)(found, reader, wishes)


def _chosen(option: str, given: str | None, known: dict[str, str]) -> str | None:
    if given is not None and given not in known:
        raise Usage(f"{option} is {given[:40]!a}", remedy=f"name one of {', '.join(known)}")
    return None if given is None else known[given]


def _pairs(option: str, given: list[str] | None) -> dict[str, str]:
    """COLUMN=WORD by column; the last ``=`` divides, since a column's name may hold one."""
    pairs = {}
    for text in given or ():
        column, equals, word = text.rpartition("=")
        if not (column and equals and word):
            raise Usage(f"{option} {text[:80]!a} has no column or nothing after it", remedy="write COLUMN=WORD")
        pairs[column] = word
    return pairs


def _lines(made: Described, file: Path, out: Path | None) -> list[str]:
    card = made.card
    lines = [f"{card.media_type}, {_dialect(card)}", f"reader {card.reader.digest}" if card.reader else ""]
    lines += [f"  {_column(column)}" for column in to_builtins(card)["columns"]]
    lines += [f"  members: {_members(card.members)}"] if card.members else []
    lines += [f"look at this: {harmless(warning)}" for warning in made.warnings]
    lines += ["all of the card is public; its sample is made up from the card alone"]
    if out is None:
        return [*lines, f"next: sealmarket owner describe {quote(str(file))} --out card.json"]
    return [*lines, f"written to {out}", f"next: sealmarket owner policy new policy.json --card {quote(str(out))}"]


def _dialect(card: Card) -> str:
    what = "members" if card.members else "rows"
    rows = f"{card.rows.minimum} to {card.rows.maximum} {what}" if card.rows else f"any number of {what}"
    if (read := card.dialect) is None:
        return rows
    marks = {sign: name for name, sign in {**_THOUSANDS, **_DELIMITERS}.items()}
    parts = [
        read.encoding,
        f"delimiter {marks[read.delimiter]}",
        f"decimal {'point' if read.decimal == '.' else 'comma'}",
    ]
    parts += [f"thousands {marks[read.thousands]}"] if read.thousands else []
    parts += [f"{read.skip_lines} lines above the header"] if read.skip_lines else []
    parts += [f"comments behind {read.comment}"] if read.comment else []
    return ", ".join([*parts, rows])


def _members(members: Members) -> str:
    words = [", ".join(members.media_types), f"{members.bytes.minimum} to {members.bytes.maximum} bytes"]
    words += [f"sides of {members.pixels.minimum} to {members.pixels.maximum} pixels"] if members.pixels else []
    return "; ".join([*words, *([f"listed by {harmless(members.manifest)}"] if members.manifest else [])])


def _column(column: dict[str, Any]) -> str:
    words = [column["type"], column["unit"]]
    if column["minimum"] is not None:
        words.append(f"{column['minimum']} to {column['maximum']}")
    count = len(column["classes"])
    words += [f"{count} class{'es' * (count > 1)}"] if count else []
    words += ["may miss"] if column["missing"] else []
    words += ["rounded"] if column["rounded"] else []
    return f"{harmless(column['name'])}: {', '.join(harmless(word) for word in words if word)}"
