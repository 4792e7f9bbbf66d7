"""`owner policy new`: asks in plain language for what a policy needs, and writes the draft that `owner seal` takes."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from shlex import quote
from typing import Annotated, Any

import msgspec
import typer

from sealmarket.cli._asking import Asker
from sealmarket.cli._groups import takes
from sealmarket.cli._options import Usage, account_option, amount, answer, hash_option, written
from sealmarket.cli._owner_serving import ServingOptions, count, serves, serving_terms
from sealmarket.cli._owner_validators import add_validators
from sealmarket.cli._rules import graded, rules_in
from sealmarket.client.draft import PolicyDraft
from sealmarket.client.draft_file import read_draft
from sealmarket.client.policy_words import explain_draft
from sealmarket.client.public_keys import public_key_in
from sealmarket.client.unmeetable import require_meetable
from sealmarket.client.written import iso, moment, moment_of
from sealmarket.files import read_file
from sealmarket.protocol.purposes import MEANINGS, label_of, purpose_bits, purposes_of
from sealmarket.workloads.folders import read_bundle
from sealmarket_enclave.protocol.card import Card, CardRefused, checked
from sealmarket_enclave.protocol.codec import Address, Bytes32, Wei, canonical_json, decode, to_builtins
from sealmarket_enclave.protocol.errors import MalformedDocument
from sealmarket_enclave.protocol.policy import MAX_WITHHELD

app = typer.Typer(no_args_is_help=True, help="Write a policy: who may use your data, how, until when, for how much.")
LONGEST_HEADER, LONGEST_NAME = 64 << 10, 200
_FORMATS, _ANSWERS = "application/json,application/onnx", "application/json"


@app.command()
@takes(ServingOptions)
def new(
    service: ServingOptions,
    out: Annotated[Path, typer.Argument(help="The new policy draft. It is never overwritten.")],
    workload: Annotated[
        list[str] | None, typer.Option(help="A workload that may run: its folder, or its digest; repeat.")
    ] = None,
    evidence: Annotated[
        Path | None,
        typer.Option(help="Which enclaves: of `worker image measure`, or an appraisal policy.", exists=True),
    ] = None,
    title: Annotated[str | None, typer.Option(help="A public title.")] = None,
    price: Annotated[str | None, typer.Option(help="Of one use: 0.5coin.")] = None,
    expiry: Annotated[str | None, typer.Option(help="The end: 2027-01-31, or in 90 days.")] = None,
    max_uses: Annotated[str | None, typer.Option(help="How often it may be used.")] = None,
    purposes: Annotated[str | None, typer.Option(help="train, fine_tune, infer, query; with commas.")] = None,
    consumer: Annotated[list[str] | None, typer.Option(help="An account that may ask; repeat. None: anyone.")] = None,
    formats: Annotated[str | None, typer.Option(help="Media types that may leave, with commas.")] = None,
    max_outputs: Annotated[int, typer.Option(help="Files that one job may hand out.", min=1, max=255)] = 2,
    max_bytes: Annotated[int, typer.Option(help="Bytes that one job may hand out.", min=1)] = 5 << 20,
    minimum_owners: Annotated[
        str | None, typer.Option(help="The least number of owners whose data a job pools.")
    ] = None,
    label: Annotated[
        list[str] | None, typer.Option(help="A declared purpose: a DPV term or a DUO code; repeat.")
    ] = None,
    columns_of: Annotated[
        Path | None, typer.Option(help="A CSV file: its column names are published, no row.", exists=True)
    ] = None,
    description: Annotated[str | None, typer.Option(help="What workload authors should know of the data.")] = None,
    card: Annotated[
        Path | None, typer.Option(help="The data card of `owner describe`; sealing holds the data against it.")
    ] = None,
    validators: Annotated[
        bool, typer.Option("--validators", help="Let outputs leave by their content only: the shipped validators.")
    ] = False,
    smallest_group: Annotated[
        int | None,
        typer.Option(help="Rows behind each leaf of a model; needs --card and workloads that take tables.", min=2),
    ] = None,
    withhold: Annotated[
        int | None,
        typer.Option(
            help="Rows of a thousand that no workload gets, to test what a model remembers; needs --card.",
            min=1,
            max=MAX_WITHHELD,
        ),
    ] = None,
    auditor: Annotated[
        list[Path] | None,
        typer.Option(help="The public key of an auditor who may read each job's evidence; repeat.", exists=True),
    ] = None,
    allow_simulated: Annotated[
        bool, typer.Option("--allow-simulated", help="Accept enclaves that NO hardware stands behind.")
    ] = False,
    defaults: Annotated[bool, typer.Option("--defaults", help="Ask nothing: take defaults.")] = False,
    now: Annotated[str | None, typer.Option(help="The moment that dates count from; without it, this one.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Answer in JSON.")] = False,
) -> None:
    """Write a policy draft, question by question, and say in plain language what it allows and what not.

    Example: sealmarket owner policy new policy.json --workload workload --evidence measurement.json
    --title "Cardiology 2025" --price 0.5coin --expiry 2027-01-31 --defaults

    Example: sealmarket owner policy new policy.json --workload chat --evidence measurement.json --title "A model"
    --price 0.2coin --per-unit 0.000001coin --defaults
    """
    if out.exists():
        raise Usage(f"{out} exists", remedy="name a new file")
    if card is not None and (columns_of or description or label):
        raise Usage("--card says all of the data", remedy="give the rest to `sealmarket owner describe`")
    ask, when = Asker(defaults), moment_option(now) or int(time.time())
    document: dict[str, Any] = {
        "version": "sealmarket/policy-draft/1",
        "title": ask("--title", title, "A title, which is public", None, _title),
        "evidence": _evidence(ask, evidence, allow_simulated=allow_simulated),
    }
    listed = _workloads(ask, workload)
    served = serves(ask, service, [kind for _, kind in listed])
    document |= {
        "workloads": [str(digest) for digest, _ in listed],
        "terms": _terms(ask, when, price, expiry, max_uses, purposes, consumer, served=served),
        "output": _output(ask, formats, max_outputs, max_bytes, minimum_owners, served=served),
        "dataCard": _data_card(ask, columns_of, description, label) if card is None else _promise(card),
    }
    if served:
        document["serving"] = serving_terms(ask, service, int(amount(document["terms"]["price"])))
    add_validators(document, wanted=validators, smallest_group=smallest_group, withhold=withhold)
    if auditor:
        document["auditors"] = [str(public_key_in(one).raw) for one in auditor]
    document["terms"]["minGrade"] = "simulated" if allow_simulated else "hardware"
    raw = msgspec.json.format(canonical_json(document), indent=2) + b"\n"
    draft = read_draft(raw)
    require_meetable(draft, when)
    sentences = list(explain_draft(draft, when))
    out.write_bytes(raw)
    lines = [
        *sentences,
        f"written to {out}",
        f"next: sealmarket owner seal DATA --policy {quote(str(out))} --out sealed",
    ]
    answer({"file": str(out), "says": sentences}, lines, as_json)


def draft_of(path: Path) -> PolicyDraft:
    """The policy draft in a file. A refusal is a wrong call."""
    try:
        return read_draft(read_file(path))
    except MalformedDocument as error:
        raise Usage(
            f"{path} is no policy draft: {error.message}",
            remedy=error.remedy
            or "make one with `sealmarket owner policy new`, or see `sealmarket owner policy-schema`",
        ) from error


def moment_option(text: str | None) -> int | None:
    """A moment that an option names; ``in 90 days`` counts from this second."""
    return None if text is None else written(lambda one: moment_of(one, int(time.time())), text)


def _terms(
    ask: Asker,
    now: int,
    price: str | None,
    expiry: str | None,
    max_uses: str | None,
    purposes: str | None,
    consumers: list[str] | None,
    *,
    served: bool,
) -> dict[str, Any]:
    if not ask.defaults and purposes is None and sys.stdin.isatty():
        for purpose, meaning in MEANINGS.items():
            typer.echo(f"  {purpose.name.lower():<10}{meaning}", err=True)
    wanted = ask(
        "--purposes",
        purposes,
        "What may it be used for, with commas",
        "infer" if served else "train",
        lambda text: written(purpose_bits, text),
    )
    cost: Wei = ask("--price", price, "What does one use cost", "0.1coin", amount)
    end = ask("--expiry", expiry, "Until when may it be used", "in 90 days", lambda text: _later(text, now))
    return {
        "price": f"{cost.coins}coin",
        "expiry": iso(end),
        "maxUses": ask("--max-uses", max_uses, "How often may it be used at most", "100", count),
        "purposes": [purpose.name.lower() for purpose in purposes_of(wanted)],
        "consumers": [one.checksum for one in _consumers(ask, consumers)],
    }


def _consumers(ask: Asker, given: list[str] | None) -> list[Address]:
    text = None if given is None else ",".join(given)
    return ask("--consumer", text, "Who may ask: accounts with commas, or anyone", "anyone", _accounts)


def _accounts(text: str) -> list[Address]:
    return [] if text.strip() == "anyone" else [account_option(part.strip()) for part in text.split(",")]


def _output(
    ask: Asker, formats: str | None, max_outputs: int, max_bytes: int, minimum_owners: str | None, *, served: bool
) -> dict[str, Any]:
    usual = _ANSWERS if served else _FORMATS
    return {
        "mediaTypes": ask("--formats", formats, "Which formats may leave the enclave, with commas", usual, _listed),
        "maxOutputs": max_outputs,
        "maxBytes": max_bytes,
        "bucketBytes": 1 << 16,
        "minimumOwners": ask(
            "--minimum-owners", minimum_owners, "How many owners must a job pool at least", "1", count
        ),
    }


def _data_card(
    ask: Asker, columns_of: Path | None, description: str | None, labels: list[str] | None
) -> dict[str, Any]:
    card: dict[str, Any] = {}
    if (text := ask("--description", description, "What should others know of the data", "nothing", str)) != "nothing":
        card["description"] = text
    if columns_of is not None:
        card["columns"] = _columns(columns_of)
    given = [written(label_of, text) for text in labels or ()]
    if given:
        card["purposes"] = given
    return card


def _promise(path: Path) -> dict[str, Any]:
    """A data card that promises something, as a draft holds it."""
    try:
        document: dict[str, Any] = to_builtins(checked(decode(Card, read_file(path))))
    except (MalformedDocument, CardRefused) as error:
        raise Usage(f"{path} is no data card: {error.message}", remedy="make one with `owner describe`") from error
    return document


def _columns(path: Path) -> list[str]:
    """The names in the first line of a CSV file; nothing below it is read as names."""
    import csv

    with path.open("rb") as file:
        line, end, _ = file.read(LONGEST_HEADER).partition(b"\n")
    try:
        names = next(csv.reader([line.decode("utf-8-sig").rstrip("\r")]), []) if end else []
    except (UnicodeDecodeError, csv.Error):
        names = []
    if not names or not all(name.isprintable() and len(name) <= LONGEST_NAME for name in names):
        raise Usage(
            f"{path} has no first line of printable column names within {LONGEST_HEADER} bytes",
            remedy="use a CSV file in UTF-8 with a header line, or leave --columns-of out",
        )
    return names


def _workloads(ask: Asker, given: list[str] | None) -> list[tuple[Bytes32, bool | None]]:
    """The digest of each, and whether it serves; None where only the digest is known."""
    text = None if given is None else "\n".join(given)
    question = "Which workload may run: its folder, or its digest"
    return ask("--workload", text, question, None, lambda words: [_workload(word) for word in words.split("\n")])


def _workload(text: str) -> tuple[Bytes32, bool | None]:
    if text.startswith("0x"):
        return hash_option(text), None
    bundle = read_bundle(Path(text))
    return bundle.digest, bundle.manifest.session is not msgspec.UNSET


def _evidence(ask: Asker, given: Path | None, *, allow_simulated: bool) -> dict[str, Any]:
    question = "Which enclaves may open it: the file of `worker image measure`"
    rules = ask("--evidence", None if given is None else str(given), question, None, rules_in)
    return graded(rules, allow_simulated=allow_simulated)


def _title(text: str) -> str:
    if not 1 <= len(text) <= 200 or not text.isprintable():
        raise Usage("a title has 1 to 200 printable characters", remedy="name another")
    return text


def _listed(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _later(text: str, now: int) -> int:
    found = written(lambda one: moment_of(one, now), text)
    if found <= now:
        raise Usage(f"{moment(found, now)} is over", remedy="name a later day")
    return found
