"""What ``sealmarket oracle audit`` prints."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path
from typing import Any

import typer

from sealmarket.chain import Chain
from sealmarket.cli._options import hash_option
from sealmarket.client.jobs import reasons_in_words
from sealmarket.protocol.book import AddressBook
from sealmarket.protocol.moments import moment
from sealmarket.protocol.reasons import reason_bits
from sealmarket_enclave.protocol.codec import Address, to_builtins
from sealmarket_enclave.protocol.numbers import JobId
from sealmarket_oracle.auditing import AskNode, audit_node
from sealmarket_oracle.errors import AuditRefused
from sealmarket_oracle.log.audit import Audited, prove
from sealmarket_oracle.log.entries import LogEntry


def run_audit(url: str, book: AddressBook, rpc: str, job: str | None, proof: Path | None, *, as_json: bool) -> bool:
    """Audit a node, print what was found, write a proof if one is asked for. Returns whether the log holds.

    Raises:
        AuditRefused, HttpError, ChainError: as :func:`audit_node`; or no entry of the job.
        ProofRefused: no anchor covers the entry yet.
    """
    wanted = JobId(hash_option(job)) if job is not None else None
    with closing(Chain(book, rpc)) as chain, closing(AskNode(url)) as ask:
        signer, audited = audit_node(chain, ask)
    shown = [entry for entry in audited.entries if entry.job_id == wanted]
    if proof is not None:
        if not shown:
            raise AuditRefused("the log has no entry of the job that a proof is asked for")
        with proof.open("xb") as file:
            file.write(prove(audited, shown[-1].sequence).canonical())
    payload = _payload(signer, audited, shown)
    typer.echo(json.dumps(payload) if as_json else "\n".join(_lines(payload, shown)))
    return not audited.findings


def _payload(signer: Address, audited: Audited, shown: list[LogEntry]) -> dict[str, Any]:
    last = audited.anchors[-1] if audited.anchors else None
    return {
        "signer": str(signer),
        "journal": str(audited.tail.journal),
        "epoch": audited.tail.epoch,
        "entries": len(audited.entries),
        "root": str(audited.tail.root),
        "anchors": len(audited.anchors),
        "anchored": last.log.size if last else 0,
        "lastAnchorBlock": last.block_number if last else None,
        "holds": not audited.findings,
        "findings": list(audited.findings),
        "job": [to_builtins(entry) for entry in shown],
    }


def _lines(payload: dict[str, Any], shown: list[LogEntry]) -> list[str]:
    lines = [
        f"node {payload['signer']}, epoch {payload['epoch']}, journal {payload['journal']}",
        f"{payload['entries']} entries under the root {payload['root']}",
        f"{payload['anchors']} anchors on chain, the last over {payload['anchored']} entries",
    ]
    for entry in shown:
        words = reasons_in_words(reason_bits(entry.reasons))
        reasons = ", ".join(f"{one.word} ({one.code})" for one in words) or "none"
        lines.append(
            f"  {entry.sequence}: {entry.kind} at {moment(entry.at)} on block {entry.block_number}, reasons {reasons},"
            f" rules {entry.rules}, statement {entry.statement}"
        )
    lines += [f"WRONG: {finding}" for finding in payload["findings"]]
    return [*lines, "the log holds" if payload["holds"] else "do not rely on this node, and tell its committee"]
