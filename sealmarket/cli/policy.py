"""Check, explain and try out an appraisal policy."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Annotated

import typer

from sealmarket.attestation.policy.explain import explain
from sealmarket.attestation.policy.rules import read_rules, rules_schema
from sealmarket.attestation.policy.simulate import read_cases, simulate
from sealmarket.files import read_file

app = typer.Typer(no_args_is_help=True, help="Check, explain and try out an appraisal policy.")

_PolicyFile = Annotated[Path, typer.Argument(help="An appraisal policy, or a policy document that holds one.")]


@app.command()
def check(file: _PolicyFile) -> None:
    """Is this policy usable? Exit 0, or 1 with what is wrong and what to do.

    Example: sealmarket policy check policy.json
    """
    rules = read_rules(read_file(file))
    typer.echo(f"usable: {len(rules.measurements)} measurement(s), lowest grade {rules.lowest_grade}")


@app.command("explain")
def explain_command(file: _PolicyFile) -> None:
    """Print as sentences what the policy requires, and what it leaves open.

    Example: sealmarket policy explain policy.json
    """
    for line in explain(read_rules(read_file(file))):
        typer.echo(f"- {line}")


@app.command("simulate")
def simulate_command(
    file: _PolicyFile,
    cases: Annotated[list[Path], typer.Argument(help="JSON lists of past evidence (see the documentation).")],
    as_json: Annotated[bool, typer.Option("--json", help="Answer in JSON.")] = False,
) -> None:
    """Run a policy over past evidence: what would it have refused, and by which rule? Exit 0 if nothing.

    Example: sealmarket policy simulate policy.json past.json
    """
    rules = read_rules(read_file(file))
    outcomes = [simulate(rules, case) for path in cases for case in read_cases(path)]
    refused = [outcome for outcome in outcomes if not outcome.result.accepted]
    by_rule = Counter(reason.value for o in refused for reason in o.result.reasons)
    if as_json:
        answer = {
            "evidence": len(outcomes),
            "refused": len(refused),
            "by_rule": dict(by_rule.most_common()),
            "outcomes": [{"name": o.name, **o.result.as_json()} for o in outcomes],
        }
        typer.echo(json.dumps(answer, indent=2))
    else:
        typer.echo(f"{len(refused)} of {len(outcomes)} pieces of evidence would have been refused")
        for rule, count in by_rule.most_common():
            typer.echo(f"  {count:5} by {rule}")
        for outcome in refused:
            typer.echo(f"  {outcome.name}: {', '.join(r.value for r in outcome.result.reasons)}")
    raise typer.Exit(1 if refused else 0)


@app.command()
def schema() -> None:
    """Print the JSON Schema of an appraisal policy.

    Example: sealmarket policy schema > schema.json
    """
    typer.echo(json.dumps(rules_schema(), indent=2))
