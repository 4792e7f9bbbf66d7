"""Check, explain, try out or import an appraisal policy."""

from __future__ import annotations

import json
import time
from collections import Counter
from pathlib import Path
from typing import Annotated

import typer

from sealmarket.attestation.policy.explain import explain
from sealmarket.attestation.policy.rules import read_rules, rules_schema
from sealmarket.attestation.policy.simulate import read_cases, simulate
from sealmarket.cli._options import AsJson, answer, written
from sealmarket.client.draft import PolicyDraft
from sealmarket.client.draft_file import whole_policy
from sealmarket.client.policy_words import explain_draft
from sealmarket.client.unmeetable import require_meetable
from sealmarket.client.written import moment, moment_of
from sealmarket.files import read_file
from sealmarket_enclave.protocol.codec import to_builtins

app = typer.Typer(no_args_is_help=True, help="Check, explain, try out or import an appraisal policy.")

_PolicyFile = Annotated[Path, typer.Argument(help="An appraisal policy, a policy draft, or a policy document.")]


@app.command()
def check(
    file: _PolicyFile,
    now: Annotated[str | None, typer.Option("--now", help="When terms are over; without it, this moment.")] = None,
    as_json: AsJson = False,
) -> None:
    """Is this policy usable, now and by any job at all? Exit 0, or 1 with what is wrong and what to do.

    Example: sealmarket policy check policy.json
    """
    raw = read_file(file)
    rules, whole = read_rules(raw), whole_policy(raw)
    lines = [f"usable: {len(rules.measurements)} measurement(s), lowest grade {rules.lowest_grade}"]
    if whole is not None:
        when = written(lambda text: moment_of(text, int(time.time())), now) if now else int(time.time())
        require_meetable(whole, when)
        lines.insert(0, f"terms until {moment(whole.terms.expiry, when)}")
    payload = {
        "measurements": len(rules.measurements),
        "lowestGrade": rules.lowest_grade,
        "expiry": whole.terms.expiry if whole is not None else None,
    }
    answer(payload, lines, as_json)


@app.command("explain")
def explain_command(file: _PolicyFile, as_json: AsJson = False) -> None:
    """Print as sentences what the policy requires, and what it leaves open.

    Example: sealmarket policy explain policy.json
    """
    raw = read_file(file)
    rules, whole = read_rules(raw), whole_policy(raw)
    draft = whole if isinstance(whole, PolicyDraft) else None
    sentences = list(explain_draft(draft, int(time.time())) if draft else explain(rules))
    answer({"says": sentences}, [f"- {line}" for line in sentences], as_json)


@app.command("simulate")
def simulate_command(
    file: _PolicyFile,
    cases: Annotated[list[Path], typer.Argument(help="JSON lists of past evidence (see the documentation).")],
    as_json: AsJson = False,
) -> None:
    """Run a policy over past evidence: what would it have refused, and by which rule? Exit 0 if nothing.

    Example: sealmarket policy simulate policy.json past.json
    """
    rules = read_rules(read_file(file))
    outcomes = [simulate(rules, case) for path in cases for case in read_cases(path)]
    refused = [outcome for outcome in outcomes if not outcome.result.accepted]
    by_rule = Counter(reason.value for o in refused for reason in o.result.reasons)
    if as_json:
        found = {
            "evidence": len(outcomes),
            "refused": len(refused),
            "by_rule": dict(by_rule.most_common()),
            "outcomes": [{"name": o.name, **o.result.as_json()} for o in outcomes],
        }
        typer.echo(json.dumps(found, indent=2))
    else:
        typer.echo(f"{len(refused)} of {len(outcomes)} pieces of evidence would have been refused")
        for rule, count in by_rule.most_common():
            typer.echo(f"  {count:5} by {rule}")
        for outcome in refused:
            typer.echo(f"  {outcome.name}: {', '.join(r.value for r in outcome.result.reasons)}")
    raise typer.Exit(1 if refused else 0)


@app.command("import")
def import_command(
    file: Annotated[Path, typer.Argument(help="A release policy of Azure Key Vault, or a Confidential Space token.")],
    evidence: Annotated[list[Path], typer.Option(help="Evidence of an image that is meant; repeat for each image.")],
    without: Annotated[
        list[str] | None, typer.Option(help="Leave this claim out, on purpose; repeat for each.", metavar="CLAIM")
    ] = None,
) -> None:
    """Print the appraisal policy that demands what another verifier's policy demands, of the images that you pass.

    Example: sealmarket policy import release-policy.json --evidence report.bin > evidence.json
    """
    from sealmarket.attestation.parse import parse
    from sealmarket.attestation.policy.foreign import read_conditions
    from sealmarket.attestation.policy.imported import import_policy

    images = [parse(read_file(path)) for path in evidence]
    imported = import_policy(read_conditions(read_file(file)), images, frozenset(without or ()))
    for note in imported.notes:
        typer.echo(f"note: {note}", err=True)
    typer.echo("note: the evidence was not proven here: sealmarket evidence verify", err=True)
    typer.echo(json.dumps(to_builtins(imported.policy), indent=2))


@app.command()
def schema() -> None:
    """Print the JSON Schema of an appraisal policy.

    Example: sealmarket policy schema > schema.json
    """
    typer.echo(json.dumps(rules_schema(), indent=2))
