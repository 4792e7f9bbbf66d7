"""A node as anyone sees it by its URL: who it is, how it is, and what it decided about a job, and why."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypeVar

from sealmarket.http import HttpClient, HttpError, redacted
from sealmarket.protocol.decisions import Decision, Outcome, grade_name
from sealmarket.protocol.moments import moment
from sealmarket.protocol.wire import FindingNote, NodeInfo, NodeStatus, SignedDecision
from sealmarket_enclave.protocol.codec import Shape, decode
from sealmarket_enclave.protocol.errors import MalformedDocument
from sealmarket_enclave.protocol.numbers import Grade, JobId
from sealmarket_oracle.errors import NotRunning
from sealmarket_oracle.runner import Health

_Document = TypeVar("_Document", bound=Shape)
_SECONDS = 10.0
_ANSWER_BYTES = 8 << 20


class PublicView:
    """One node over HTTP. What it says of itself is not held against the chain: ``sealmarket oracle audit`` does that.

    Each call raises :class:`NotRunning` where no node of this release answers.
    """

    def __init__(self, url: str) -> None:
        self._url, self._client = url.rstrip("/"), HttpClient(seconds=_SECONDS)

    def info(self) -> NodeInfo:
        """Who it is."""
        return self._read("/v1/node", NodeInfo, 200)

    def health(self) -> Health:
        """How it is."""
        return self._read("/healthz", Health, 200, 503)

    def job(self, job_id: JobId) -> NodeStatus:
        """What it did for a job."""
        return self._read(f"/v1/jobs/{job_id}", NodeStatus, 200)

    def close(self) -> None:
        """Close the connection."""
        self._client.close()

    def _read(self, path: str, kind: type[_Document], *accepted: int) -> _Document:
        place = redacted(self._url)
        try:
            with self._client.ask("GET", self._url + path, limit=_ANSWER_BYTES) as answer:
                status, body = answer.status, answer.body()
        except HttpError as error:
            raise NotRunning(
                f"{place} does not answer: {error.message}", remedy="check the URL, and that the node runs"
            ) from error
        if status in accepted:
            try:
                return decode(kind, body)
            except MalformedDocument:
                status = 0
        said = f"HTTP {status}" if status else "something else"
        raise NotRunning(
            f"{place} is no oracle node of this release: it answers {path.split('/')[1]} with {said}",
            remedy="check the URL, its path too: oracle nodes are listed in the address book",
        )


def node_lines(info: NodeInfo, health: Health) -> Iterator[str]:
    """A node as anyone sees it."""
    yield f"node {info.signer}"
    yield f"market   {info.market} on chain {info.chain_id}, final block {health.final_block}"
    floor = "SIMULATED evidence too, behind which no hardware stands" if info.grade_floor is Grade.SIMULATED else ""
    yield f"accepts  {floor or f'{info.grade_floor.name.lower()} and above'}"
    yield f"health   {health.status}{': ' + health.problem if health.problem else ''}"
    yield from (f"ALARM    {alarm}" for alarm in health.alarms)
    if health.proofs == "none":
        yield "ALARM    proofs = none: it believes what its endpoints say of the chain's state"


def job_lines(status: NodeStatus) -> Iterator[str]:
    """What a node decided about a job and did, each with its reasons."""
    yield f"job {status.job_id} {status.state}{': ' + status.reason if status.reason else ''}"
    if status.decision is not None:
        yield from _decision_lines(status.decision)
    if status.release is not None:
        yield f"released one sealed package of {len(status.release)} bytes, for the enclave of the decision alone"
    if status.stop is not None:
        yield "promised never to release"
        yield from _notes("because", status.stop.findings)


def _decision_lines(signed: SignedDecision) -> Iterator[str]:
    decision, detail = signed.decision, signed.detail
    stood = _stood_on(decision, detail.tcb_status)
    yield (
        f"decided  {decision.outcome.name.lower()}{stood}; in epoch {decision.epoch},"
        f" good until {moment(decision.expiry)}"
    )
    yield f"  it stood on block {detail.block_number}, {detail.block_hash}, with collateral of: {detail.collateral}"
    if detail.advisories:
        yield f"  the vendor's advisories that apply: {', '.join(detail.advisories)}"
    for recalled in detail.recalled_by or ():
        yield f"  recalled by the statement {recalled}"
    yield from _notes("because", detail.findings)
    yield from _notes("warning", detail.warnings)


def _stood_on(decision: Decision, tcb_status: str) -> str:
    """The evidence that an acceptance stands on, by the grade and TCB that the node says; a refusal stands on none."""
    judged = f" of TCB {tcb_status}" if tcb_status else ""
    if decision.outcome is not Outcome.ACCEPTED:
        return f", on evidence{judged}" if judged else ""
    if decision.grade == Grade.SIMULATED:
        return f", on SIMULATED evidence{judged}"
    known = decision.grade in set(Grade)
    return f", on evidence of {'grade ' if known else ''}{grade_name(decision.grade)}{judged}"


def _notes(word: str, notes: Iterable[FindingNote]) -> Iterator[str]:
    for note in notes:
        subject = f" of {note.subject}" if note.subject else ""
        compared = f": expected {note.expected}, found {note.found}" if note.expected or note.found else ""
        yield f"  {word} {note.reason} ({note.code}){subject}{compared}"
        if note.remedy:
            yield f"    what to do: {note.remedy}"
