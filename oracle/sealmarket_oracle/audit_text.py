"""What ``sealmarket oracle audit`` prints."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path
from typing import Any

import typer

from sealmarket.attestation.core.reasons import Reason
from sealmarket.chain import Chain
from sealmarket.protocol.book import AddressBook
from sealmarket.protocol.moments import moment
from sealmarket.protocol.reasons import job_reason
from sealmarket_enclave.protocol.codec import Address, to_builtins
from sealmarket_enclave.protocol.numbers import JobId
from sealmarket_oracle.auditing import AskNode, audit_node
from sealmarket_oracle.errors import AuditRefused
from sealmarket_oracle.log.audit import Audited, prove
from sealmarket_oracle.log.entries import LogEntry


def run_audit(url: str, book: AddressBook, rpc: str, job: JobId | None, proof: Path | None, *, as_json: bool) -> bool:
    """Audit a node, print what was found, write a proof if one is asked for. Returns whether the log holds.

    Raises:
        AuditRefused, HttpError, ChainError: as :func:`audit_node`; or no entry of the job.
        ProofRefused: no anchor covers the entry yet.
    """
    with closing(Chain(book, rpc)) as chain, closing(AskNode(url)) as ask:
        signer, audited = audit_node(chain, ask)
    shown = [entry for entry in audited.entries if entry.job_id == job]
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
        reasons = ", ".join(f"{_word(code)} ({code})" for code in entry.reasons) or "none"
        lines.append(
            f"  {entry.sequence}: {entry.kind} at {moment(entry.at)} on block {entry.block_number}, reasons {reasons},"
            f" rules {entry.rules}, statement {entry.statement}"
        )
    lines += [f"WRONG: {finding}" for finding in payload["findings"]]
    return [*lines, "the log holds" if payload["holds"] else "do not rely on this node, and tell its committee"]


def _word(code: int) -> str:
    """What a reason is called; a number that this release does not know stands for itself."""
    known = job_reason(code) or next((reason for reason in Reason if reason.code == code), None)
    return str(known.value) if known is not None else "reason"
