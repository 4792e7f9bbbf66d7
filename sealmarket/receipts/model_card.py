"""A model's card: what it is and where it comes from, by a verified proof; what its workload claims of it, marked so.

Values under "verified" follow from a proof bundle that the chain confirms, or from a result that was opened with its
key and is the receipt's. Metrics are numbers in the workload's own output: the receipt proves that this workload wrote
them, and nothing proves that they are right. Which assets went in is public on chain, so no owner can keep it out of a
card.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from msgspec import Meta, field

from sealmarket.client.errors import ClientError
from sealmarket.client.written import iso
from sealmarket.protocol.decisions import grade_name
from sealmarket.protocol.purposes import purposes_of
from sealmarket.receipts.bundle import ProofBundle
from sealmarket.receipts.model import Conclusion, Report
from sealmarket_enclave.protocol.codec import Address, Bytes32, Shape, parse_json
from sealmarket_enclave.protocol.hashing import keccak, sha256
from sealmarket_enclave.protocol.numbers import Grade, JobId
from sealmarket_enclave.workload.bundle import Bundle

MOST_METRICS = 64
MAXIMUM_METRICS = 64 << 10
_COUNTS = {Conclusion.CONFIRMED, Conclusion.PROVEN}
_Scalar = str | int | float | bool


class CardRefused(ClientError):
    """A proof that does not carry a card."""


class TrainedOn(Shape, frozen=True, kw_only=True):
    """One asset that went in. ``title`` is what its owner wrote into a policy that the chain names."""

    asset_id: Bytes32
    version: int
    owner: Address
    title: str
    policy_hash: Bytes32


class CardOutput(Shape, frozen=True, kw_only=True):
    """A file of the result."""

    name: str
    bytes: int
    sha256: Bytes32


class ModelCard(Shape, frozen=True, kw_only=True):
    """A card. ``outputs`` and ``metrics`` are empty where the result was not opened for it."""

    version: Literal["sealmarket/model-card/1"] = "sealmarket/model-card/1"
    name: str
    conclusion: str
    job_id: JobId
    chain_id: int
    market: Address
    trained_on: tuple[TrainedOn, ...]
    workload_digest: Bytes32
    workload_name: str
    workload_summary: str
    purposes: tuple[str, ...]
    tee: str
    grade: str
    evidence_hash: Bytes32
    receipt_hash: Bytes32
    result_hash: Bytes32
    matched_at: str
    outputs: tuple[CardOutput, ...] = ()
    metrics: Annotated[dict[str, _Scalar], Meta(max_length=MOST_METRICS)] = field(default_factory=dict)
    """What the workload wrote of the model: its claim."""


@dataclass(frozen=True, slots=True)
class Opened:
    """A result as its consumer opened it, held against the receipt when it was opened."""

    outputs: Mapping[str, bytes]


def model_card(
    bundle: ProofBundle, report: Report, name: str, workload: Bundle | None = None, opened: Opened | None = None
) -> ModelCard:
    """The card of a job's result.

    Args:
        workload: the source under the job's digest, for its own name and summary.
        opened: the outputs, which only a holder of a result key has.

    Raises:
        CardRefused: the chain does not confirm the proof, the job has no result, or the workload is another.
    """
    if report.conclusion not in _COUNTS:
        raise CardRefused(
            f"the proof is {report.conclusion.value}, expected confirmed by the chain or proven",
            remedy="see `sealmarket verify` with --book and --rpc; nothing unverified goes into a card",
        )
    if bundle.settlement is None or bundle.receipt is None:
        raise CardRefused("this job has no result", remedy="make a card of a job that settled")
    if workload is not None:
        workload.require(bundle.spec.workload_digest)
    outputs = opened.outputs if opened else {}
    return ModelCard(
        name=name,
        conclusion=report.conclusion.value,
        job_id=bundle.job_id,
        chain_id=bundle.book.chain_id,
        market=bundle.book.market,
        trained_on=_trained_on(bundle),
        workload_digest=bundle.spec.workload_digest,
        workload_name=workload.manifest.name if workload else "",
        workload_summary=workload.manifest.summary if workload else "",
        purposes=tuple(one.name.lower() for one in purposes_of(bundle.spec.purpose)),
        tee=bundle.spec.tee.slug,
        grade=grade_name(bundle.core.grade),
        evidence_hash=bundle.evidence_hash,
        receipt_hash=keccak(bundle.receipt),
        result_hash=bundle.settlement.settlement.result_hash,
        matched_at=iso(bundle.spec.matched_at),
        outputs=tuple(
            CardOutput(name=file, bytes=len(data), sha256=sha256(data)) for file, data in sorted(outputs.items())
        ),
        metrics=_metrics(outputs),
    )


def markdown(card: ModelCard) -> str:
    """The card as Markdown with YAML front matter, as Hugging Face's hub reads it. JSON's scalars are YAML's."""
    front = {
        "model_name": card.name,
        "tags": ["sealmarket", "confidential-computing", *card.purposes, f"evidence-{card.grade}"],
        "datasets": [f"sealmarket:{one.asset_id}:{one.version}" for one in card.trained_on],
        "metrics": list(card.metrics),
        "sealmarket": {
            "job": str(card.job_id),
            "workload": str(card.workload_digest),
            "receipt": str(card.receipt_hash),
            "grade": card.grade,
        },
    }
    lines = ["---", *(f"{key}: {json.dumps(value)}" for key, value in front.items()), "---", ""]
    lines += [f"# {_text(card.name)}", "", *_warning(card), *_verified(card), *_claimed(card)]
    return "\n".join(lines) + "\n"


def _trained_on(bundle: ProofBundle) -> tuple[TrainedOn, ...]:
    return tuple(
        TrainedOn(
            asset_id=use.asset_id, version=use.version, owner=use.owner, title=policy.title, policy_hash=policy.digest()
        )
        for use, policy in zip(bundle.spec.assets, bundle.policies, strict=True)
    )


def _metrics(outputs: Mapping[str, bytes]) -> dict[str, _Scalar]:
    """The scalars at the top of each JSON output, as the workload wrote them; larger ones are left out."""
    found: dict[str, _Scalar] = {}
    for name, data in sorted(outputs.items()):
        if not name.endswith(".json") or len(data) > MAXIMUM_METRICS:
            continue
        try:
            document: Any = parse_json(data)
        except ValueError:
            continue
        if isinstance(document, dict):
            found |= {key[:100]: value for key, value in document.items() if isinstance(value, _Scalar)}
    return dict(list(found.items())[:MOST_METRICS])


def _warning(card: ModelCard) -> list[str]:
    if card.grade != Grade.SIMULATED.slug:
        return []
    return ["> **SIMULATED**: a development root stands behind the evidence, and no hardware.", ""]


def _verified(card: ModelCard) -> list[str]:
    rows = [
        ("conclusion", card.conclusion),
        ("job", f"`{card.job_id}` on chain {card.chain_id}, market `{card.market.checksum}`"),
        ("matched at", card.matched_at),
        ("workload", f"`{card.workload_digest}`"),
        ("purpose", ", ".join(card.purposes)),
        ("enclave", f"{card.tee}, {card.grade} evidence `{card.evidence_hash}`"),
        ("receipt", f"`{card.receipt_hash}`"),
        ("sealed result", f"`{card.result_hash}`"),
    ]
    rows += [(f"output {_text(one.name)}", f"{one.bytes} bytes, SHA-256 `{one.sha256}`") for one in card.outputs]
    lines = ["## Verified", "", "| what | value |", "|---|---|", *(f"| {what} | {value} |" for what, value in rows), ""]
    lines += ["## Trained on", "", "These ids are public on chain. The titles are their owners' words.", ""]
    lines += ["| asset | version | owner | title |", "|---|---|---|---|"]
    lines += [
        f"| `{one.asset_id}` | {one.version} | `{one.owner.checksum}` | {_text(one.title)} |" for one in card.trained_on
    ]
    return [*lines, ""]


def _claimed(card: ModelCard) -> list[str]:
    lines = ["## Claimed by the workload", "", "The receipt proves who wrote this, and not that it is right.", ""]
    if card.workload_name:
        lines += [f"{_text(card.workload_name)}: {_text(card.workload_summary)}", ""]
    if not card.metrics:
        return [*lines, "No metrics."]
    lines += ["| metric | value |", "|---|---|"]
    return [*lines, *(f"| {_text(name)} | {_text(str(value))} |" for name, value in card.metrics.items())]


def _text(text: str) -> str:
    """A stranger's text inside Markdown: one line, no markup, no HTML, no control characters."""
    kept = "".join(char if char.isprintable() else " " for char in text[:300])
    return "".join("\\" + char if char in "\\`*_{}[]<>()#+!|~&" else char for char in kept)
