"""Verify a job afterwards: policy, match, evidence, decision, release, receipt, result, settlement."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from msgspec.structs import replace

from sealmarket.advisory_file import read_advisory
from sealmarket.chain.errors import ChainError
from sealmarket.chain.quorum import MOST_AHEAD, ChainTrust
from sealmarket.cli._groups import takes
from sealmarket.cli._options import RPC_HELP, AsJson, PassphraseFile, Usage, answer, hash_option
from sealmarket.client.books import load_book
from sealmarket.files import read_file
from sealmarket.protocol.wire import EvidencePackage
from sealmarket.receipts.bundle import ProofBundle, gather_proof, read_proof
from sealmarket.receipts.model import ChainFacts, Conclusion, Report, State, Trusted
from sealmarket.receipts.verify import verify_receipt
from sealmarket.service.errors import ServiceError
from sealmarket_enclave.protocol.codec import Bytes32, decode
from sealmarket_enclave.protocol.errors import SealmarketError
from sealmarket_enclave.protocol.numbers import JobId
from sealmarket_enclave.sealed.hpke import PrivateKey


class NotAsked(SealmarketError):
    """The chain or the store could not be asked, so that nothing was verified."""

    exit_code = 4


app = typer.Typer(add_completion=False, help="Verify a job afterwards, step by step.")

PROVEN, REFUTED, INCOMPLETE, NOT_ASKED = 0, 1, 3, 4
"""Exit codes, beside 2 for a wrong call: proven, or confirmed where no block hash was named; a part is left out, or the
proof that was asked for was not reached; the chain or the store could not be asked."""
_MARKS = {
    State.OK: "ok",
    State.FAILED: "FAILED",
    State.UNKNOWN: "missing",
    State.UNDISCLOSED: "not shown",
    State.NOTED: "NOTE",
    State.NOTHING: "none",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainOptions:
    """The options of `verify` about the market that is asked."""

    book: Annotated[
        Path | None,
        typer.Option("--book", envvar="SEALMARKET_BOOK", help="The address book of the market that you know."),
    ] = None
    rpc: Annotated[
        str | None,
        typer.Option(
            "--rpc", envvar="SEALMARKET_RPC", help=RPC_HELP + " Of several, more than half must agree. Offline without."
        ),
    ] = None
    at: Annotated[
        str | None, typer.Option("--at", help="A block hash that you trust: the job's slot is proven under it.")
    ] = None
    max_head_ahead: Annotated[
        int,
        typer.Option(
            min=0, help="Seconds by which an endpoint's newest block may be ahead of this machine's clock, of several."
        ),
    ] = MOST_AHEAD


@dataclass(frozen=True, slots=True, kw_only=True)
class EvidenceOptions:
    """The options of `verify` about evidence: what was kept of it, what opens it, and what is believed of it."""

    evidence: Annotated[Path | None, typer.Option(help="The evidence package, if you are one of the parties.")] = None
    evidence_key: Annotated[
        Path | None, typer.Option(help="The file of a result key or an auditor's key: the evidence is read with it.")
    ] = None
    passphrase_file: PassphraseFile = None
    advisory: Annotated[
        list[Path] | None, typer.Option(help="A statement about platforms: does it name the machine of this job?")
    ] = None
    development_root: Annotated[
        list[Path] | None, typer.Option(help="A development root (DER) to accept: evidence is then SIMULATED.")
    ] = None


@app.command("verify")
@takes(ChainOptions, EvidenceOptions)
def verify(
    asked: ChainOptions,
    shown: EvidenceOptions,
    receipt: Annotated[
        str, typer.Argument(help="A proof file (*.sealproof.json), or a job's id with --rpc and --book.")
    ],
    as_json: AsJson = False,
) -> None:
    """Walk a whole job and explain each step.

    Exit 0: proven, or confirmed where no --at was given; 1: refuted; 2: wrongly called; 3: a part is missing; 4: the
    chain or the store could not be asked.

    With several endpoints (--rpc URL,URL,URL) blocks are those on which more than half agree, and the job's slot and
    events are proven under them: one that lies is left out. A local chain whose clock was moved needs --max-head-ahead.

    Example: sealmarket verify result/0123456789ab.sealproof.json --book market.json --rpc URL
    """
    bundle, trusted = _gathered(receipt, asked, shown)
    report = verify_receipt(bundle, trusted)
    answer(_payload(report), _lines(report), as_json)
    raise typer.Exit(_code(report.conclusion, asked_for_proof=asked.at is not None))


def _gathered(receipt: str, asked: ChainOptions, shown: EvidenceOptions) -> tuple[ProofBundle, Trusted]:
    """What there is of a job, and what it is held against. Raises :class:`Usage` or :class:`NotAsked`."""
    for option, given, place in (("--at", asked.at, "chain"), ("--evidence-key", shown.evidence_key, "store")):
        if given is not None and (asked.rpc is None or asked.book is None):
            raise Usage(f"{option} needs a {place} to ask", remedy="give --rpc and --book as well")
    key, advisories = _key(shown), tuple(map(read_advisory, shown.advisory or []))
    try:
        bundle, facts, content = _read(receipt, asked, key, [one.name() for one in advisories])
    except (ChainError, ServiceError) as error:
        raise NotAsked(error.message, remedy=error.remedy) from error
    if shown.evidence is not None:
        bundle, content = replace(bundle, evidence=decode(EvidencePackage, read_file(shown.evidence))), None
    book, roots = load_book(asked.book) if asked.book else None, _roots(shown.development_root or [])
    return bundle, Trusted(book=book, facts=facts, roots=roots, evidence_content=content, advisories=advisories)


def _code(conclusion: Conclusion, *, asked_for_proof: bool) -> int:
    match conclusion:
        case Conclusion.REFUTED:
            return REFUTED
        case Conclusion.CONFIRMED if not asked_for_proof:
            return PROVEN
        case Conclusion.PROVEN:
            return PROVEN
        case _:
            return INCOMPLETE


def _key(shown: EvidenceOptions) -> PrivateKey | None:
    from sealmarket.cli._request_options import open_result_key

    return open_result_key(shown.evidence_key, shown.passphrase_file) if shown.evidence_key is not None else None


def _read(
    receipt: str, asked: ChainOptions, key: PrivateKey | None, advisories: list[Bytes32]
) -> tuple[ProofBundle, ChainFacts | None, Bytes32 | None]:
    """The bundle, what the chain says, and the content hash of the sealed evidence, where it was opened."""
    from sealmarket.chain import Chain
    from sealmarket.chain.endpoints import endpoints_of
    from sealmarket.client.results import fetch_evidence
    from sealmarket.receipts.facts import chain_facts
    from sealmarket.store.blobs import Store

    path = Path(receipt)
    if not receipt.startswith("0x") and not path.is_file():
        raise Usage(f"there is no proof {receipt}", remedy="name a *.sealproof.json file, or a job's id")
    bundle = read_proof(path) if path.is_file() else None
    if asked.rpc is None or asked.book is None:
        if bundle is None:
            raise Usage("a job's id alone proves nothing", remedy="give --rpc and --book, or a proof file")
        return bundle, None, None
    addresses = load_book(asked.book)
    trust = ChainTrust(ahead=asked.max_head_ahead) if len(endpoints_of(asked.rpc)) > 1 else None
    chain, store = Chain(addresses, asked.rpc, trust=trust), Store(addresses.store)
    try:
        bundle = bundle or gather_proof(chain, store, JobId(hash_option(receipt)))
        content = None
        if key is not None:
            opened = fetch_evidence(chain, store, bundle.job_id, key)
            bundle, content = replace(bundle, evidence=opened.package), opened.content
        named = hash_option(asked.at) if asked.at else None
        return bundle, chain_facts(chain, bundle.job_id, at=named, advisories=advisories), content
    finally:
        store.close()
        chain.close()


def _roots(development: list[Path]) -> Any:
    from sealmarket.attestation.collateral.trust_anchors import TrustAnchors

    roots = TrustAnchors.production()
    return roots.with_development(*(read_file(path) for path in development)) if development else roots


def _payload(report: Report) -> dict[str, Any]:
    return {
        "job": str(report.job_id),
        "conclusion": report.conclusion.value,
        "simulated": report.simulated,
        "block": None if report.block is None else {"number": report.block.number, "hash": str(report.block.hash)},
        "steps": [
            {
                "number": step.number,
                "name": step.name,
                "state": step.state.value,
                "checks": [
                    {"what": c.what, "state": c.state.value, "expected": c.expected, "found": c.found}
                    for c in step.checks
                ],
            }
            for step in report.steps
        ],
    }


def _lines(report: Report) -> list[str]:
    lines = [f"job {report.job_id}"]
    for step in report.steps:
        lines += ["", f"{step.number}. {step.name}: {_MARKS[step.state]}", f"   {step.about}"]
        for check in step.checks:
            lines.append(f"   {_MARKS[check.state]:>9}  {check.what}")
            if check.state is State.FAILED:
                lines += [f"              expected {check.expected}", f"              found    {check.found}"]
            elif check.state is not State.OK:
                lines.append(f"              {check.found}")
    lines += ["", f"conclusion: {report.conclusion.value}"]
    if report.conclusion is Conclusion.INCOMPLETE:
        lines.append(f"  left out: {'; '.join(check.what for check in report.checks_that_are(State.UNKNOWN))}")
    elif hidden := report.checks_that_are(State.UNDISCLOSED):
        lines.append(f"  not shown: {'; '.join(check.what for check in hidden)}")
    if report.block is not None:
        lines.append(f"  read at block {report.block.number} {report.block.hash}")
    if report.simulated:
        lines.append("  SIMULATED: no hardware stands behind this evidence")
    return lines
