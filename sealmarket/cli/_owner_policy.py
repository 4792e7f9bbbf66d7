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
from sealmarket.cli._options import AsJson, Usage, account_option, amount, answer, hash_option, written
from sealmarket.cli._owner_serving import ServingOptions, count, serves, serving_terms
from sealmarket.cli._owner_validators import add_validators
from sealmarket.cli._policy_options import DataOptions, EnclaveOptions, OutputOptions, TermsOptions
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

app = typer.Typer(no_args_is_help=True, help="Write a policy: who may use your data, how, until when, for how much.")
LONGEST_HEADER, LONGEST_NAME = 64 << 10, 200
_FORMATS, _ANSWERS = "application/json,application/onnx", "application/json"


@app.command()
@takes(EnclaveOptions, TermsOptions, OutputOptions, DataOptions, ServingOptions)
def new(
    enclaves: EnclaveOptions,
    wanted: TermsOptions,
    leaving: OutputOptions,
    data: DataOptions,
    service: ServingOptions,
    out: Annotated[Path, typer.Argument(help="The new policy draft. It is never overwritten.")],
    title: Annotated[str | None, typer.Option(help="A public title.")] = None,
    defaults: Annotated[bool, typer.Option("--defaults", help="Ask nothing: take defaults.")] = False,
    now: Annotated[str | None, typer.Option(help="The moment that dates count from; without it, this one.")] = None,
    as_json: AsJson = False,
) -> None:
    """Write a policy draft, question by question, and say in plain language what it allows and what not.

    Example: sealmarket owner policy new policy.json --workload workload --evidence measurement.json
    --title "Cardiology 2025" --price 0.5coin --expiry 2027-01-31 --defaults

    Example: sealmarket owner policy new policy.json --workload chat --evidence measurement.json --title "A model"
    --price 0.2coin --per-unit 0.000001coin --defaults
    """
    if out.exists():
        raise Usage(f"{out} exists", remedy="name a new file")
    data.require_one_card()
    ask, when = Asker(defaults), moment_option(now) or int(time.time())
    document: dict[str, Any] = {
        "version": "sealmarket/policy-draft/1",
        "title": ask("--title", title, "A title, which is public", None, _title),
        "evidence": _evidence(ask, enclaves),
    }
    listed = _workloads(ask, enclaves.workload)
    served = serves(ask, service, [kind for _, kind in listed])
    document |= {
        "workloads": [str(digest) for digest, _ in listed],
        "terms": _terms(ask, when, wanted, served=served, simulated=enclaves.allow_simulated),
        "output": _output(ask, leaving, served=served),
        "dataCard": _data_card(ask, data),
    }
    if served:
        document["serving"] = serving_terms(ask, service, int(amount(document["terms"]["price"])))
    add_validators(document, leaving)
    if enclaves.auditor:
        document["auditors"] = [str(public_key_in(one).raw) for one in enclaves.auditor]
    _write(out, document, when, as_json)


def _write(out: Path, document: dict[str, Any], now: int, as_json: bool) -> None:
    """Write a draft that some job could meet, and say what it allows. Raises :class:`SealmarketError` for another."""
    raw = msgspec.json.format(canonical_json(document), indent=2) + b"\n"
    draft = read_draft(raw)
    require_meetable(draft, now)
    sentences = list(explain_draft(draft, now))
    out.write_bytes(raw)
    following = f"next: sealmarket owner seal DATA --policy {quote(str(out))} --out sealed"
    answer({"file": str(out), "says": sentences}, [*sentences, f"written to {out}", following], as_json)


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


def _terms(ask: Asker, now: int, wanted: TermsOptions, *, served: bool, simulated: bool) -> dict[str, Any]:
    if not ask.defaults and wanted.purposes is None and sys.stdin.isatty():
        for purpose, meaning in MEANINGS.items():
            typer.echo(f"  {purpose.name.lower():<10}{meaning}", err=True)
    purposes = ask(
        "--purposes",
        wanted.purposes,
        "What may it be used for, with commas",
        "infer" if served else "train",
        lambda text: written(purpose_bits, text),
    )
    cost: Wei = ask("--price", wanted.price, "What does one use cost", "0.1coin", amount)
    end = ask("--expiry", wanted.expiry, "Until when may it be used", "in 90 days", lambda text: _later(text, now))
    return {
        "price": f"{cost.coins}coin",
        "expiry": iso(end),
        "maxUses": ask("--max-uses", wanted.max_uses, "How often may it be used at most", "100", count),
        "purposes": [purpose.name.lower() for purpose in purposes_of(purposes)],
        "consumers": [one.checksum for one in _consumers(ask, wanted.consumer)],
        "minGrade": "simulated" if simulated else "hardware",
    }


def _consumers(ask: Asker, given: list[str] | None) -> list[Address]:
    text = None if given is None else ",".join(given)
    return ask("--consumer", text, "Who may ask: accounts with commas, or anyone", "anyone", _accounts)


def _accounts(text: str) -> list[Address]:
    return [] if text.strip() == "anyone" else [account_option(part.strip()) for part in text.split(",")]


def _output(ask: Asker, wanted: OutputOptions, *, served: bool) -> dict[str, Any]:
    usual, question = _ANSWERS if served else _FORMATS, "Which formats may leave the enclave, with commas"
    return {
        "mediaTypes": ask("--formats", wanted.formats, question, usual, _listed),
        "maxOutputs": wanted.max_outputs,
        "maxBytes": wanted.max_bytes,
        "bucketBytes": 1 << 16,
        "minimumOwners": ask(
            "--minimum-owners", wanted.minimum_owners, "How many owners must a job pool at least", "1", count
        ),
    }


def _data_card(ask: Asker, wanted: DataOptions) -> dict[str, Any]:
    if wanted.card is not None:
        return _promise(wanted.card)
    card: dict[str, Any] = {}
    question = "What should others know of the data"
    if (text := ask("--description", wanted.description, question, "nothing", str)) != "nothing":
        card["description"] = text
    if wanted.columns_of is not None:
        card["columns"] = _columns(wanted.columns_of)
    given = [written(label_of, text) for text in wanted.label or ()]
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


def _evidence(ask: Asker, wanted: EnclaveOptions) -> dict[str, Any]:
    given = None if wanted.evidence is None else str(wanted.evidence)
    question = "Which enclaves may open it: the file of `worker image measure`"
    rules = ask("--evidence", given, question, None, rules_in)
    return graded(rules, allow_simulated=wanted.allow_simulated)


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
