"""A job's proof file, and what the command line says of it, as an auditor sees both."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from typer.testing import CliRunner

from sealmarket.cli.verify import app
from sealmarket.receipts.bundle import SUFFIX, gather_proof, write_proof
from sealmarket_enclave.protocol.numbers import JobId
from tests.acceptance.market import Rehearsal


def prove(rehearsal: Rehearsal, job_id: JobId) -> Path:
    """Write the consumer's proof of a job, its evidence included."""
    evidence = rehearsal.consumer.evidence(job_id, rehearsal.result_key)
    path = rehearsal.folder / f"{str(job_id)[2:14]}{SUFFIX}"
    write_proof(path, gather_proof(rehearsal.chain, rehearsal.store, job_id, evidence=evidence))
    return path


def audit(
    rehearsal: Rehearsal, proof: Path, *, online: bool = True, root: bool = True, endpoints: int = 1
) -> tuple[int, dict[str, Any]]:
    """Exit status and report of `sealmarket verify`, with nothing trusted but the market's book and one block."""
    market = rehearsal.market
    roots = [word for path in market.root_files for word in ("--development-root", str(path))] if root else []
    words = [str(proof), "--book", str(market.book_file), *roots, "--json"]
    if online:
        words += ["--rpc", ",".join([market.rpc] * endpoints), "--at", str(rehearsal.chain.final().hash)]
        words += ["--max-head-ahead", str(10**9)]  # other tests move this chain's clock
    done = CliRunner().invoke(app, words)
    assert done.stdout.startswith("{"), (done.output, done.exception)
    return done.exit_code, json.loads(done.stdout)


def failed(report: dict[str, Any]) -> set[str]:
    """The names of the steps in which something failed."""
    return {step["name"] for step in report["steps"] if step["state"] == "failed"}


def altered(proof: Path, place: Sequence[str | int]) -> Path:
    """The same file with the last hexadecimal digit of one value changed."""
    document = json.loads(proof.read_text())
    inside = document
    for key in place[:-1]:
        inside = inside[key]
    value = inside[place[-1]]
    inside[place[-1]] = value[:-1] + ("0" if value[-1] != "0" else "1")
    path = proof.with_name("altered" + SUFFIX)
    path.write_text(json.dumps(document))
    return path
