"""Verify evidence of trusted hardware, or show what it claims."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from sealmarket.attestation.collateral.store import CollateralStore, default_store
from sealmarket.attestation.collateral.trust_anchors import TrustAnchors, self_signed_roots
from sealmarket.attestation.composite import parse_any
from sealmarket.attestation.core.encoding import binary_of, text_of
from sealmarket.attestation.core.errors import CollateralError, NotEvidence
from sealmarket.attestation.core.evidence import CompositeEvidence, Endorsements, Evidence
from sealmarket.attestation.core.findings import Finding
from sealmarket.attestation.core.model import AppraisalResult, CompositeResult
from sealmarket.attestation.core.reasons import Reason
from sealmarket.attestation.policy.composite import verify_composite
from sealmarket.attestation.policy.rules import AppraisalPolicy, read_rules
from sealmarket.attestation.policy.verify import UNCHECKED, Expected, verify
from sealmarket.attestation.registry import MODULES, module_of
from sealmarket.cli._options import AsJson, Usage
from sealmarket.files import read_file
from sealmarket_enclave.protocol.numbers import Grade, Tee

app = typer.Typer(no_args_is_help=True, help="Verify evidence of trusted hardware, or show what it claims.")

ACCEPTED, REFUSED, NOT_EVIDENCE = 0, 1, 2


AUTO = "auto"
_TEES = (AUTO, *(tee.slug for tee in MODULES))


def _read_tee(text: str) -> Tee | None:
    """A registered TEE by name; None for ``auto``, whatever the evidence is."""
    if text not in _TEES:
        raise typer.BadParameter(f"{text!r} is none of {', '.join(_TEES)}")
    return None if text == AUTO else Tee.from_slug(text)


_TeeOption = Annotated[
    Tee | None, typer.Option(parser=_read_tee, metavar="|".join(_TEES), help="What the evidence must be.")
]


class RootsChoice(StrEnum):
    """``--roots``."""

    PRODUCTION = "production"
    DEVELOPMENT = "development"


def read_time(text: str) -> datetime:
    """An ISO 8601 moment; without a zone it is UTC."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise Usage(f"{text!r} is not an ISO 8601 time", remedy="write 2027-01-31T12:00:00Z, or 2027-01-31") from error
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _read_hex(text: str | None, option: str) -> bytes | None:
    if text is None:
        return None
    if not re.fullmatch(r"(0x)?([0-9a-fA-F]{2}){1,64}", text):
        raise Usage(f"{option} takes 1 to 64 bytes of hex", remedy="write two digits for each byte, with 0x or without")
    return bytes.fromhex(text.removeprefix("0x")).ljust(64, b"\0")


def _read(path: Path) -> bytes:
    try:
        return read_file(path)
    except OSError as error:
        typer.echo(f"error: {path} cannot be read: {error.strerror}", err=True)
        raise typer.Exit(NOT_EVIDENCE) from error


def _parse(path: Path, tee: Tee | None, as_json: bool = False) -> Evidence | CompositeEvidence:
    try:
        return parse_any(_read(path), tee)
    except NotEvidence as error:
        if as_json:
            typer.echo(json.dumps(_nothing(error), indent=2))
        typer.echo(f"not evidence: {error}", err=True)
        raise typer.Exit(NOT_EVIDENCE) from error


def _nothing(error: NotEvidence) -> dict[str, Any]:
    """The answer about bytes that are no evidence: the same fields, all empty."""
    finding = Finding(Reason.MALFORMED, "evidence of a supported TEE", error.message, error.remedy)
    return {
        "tee": None,
        "authentic": False,
        "verdict": "refused",
        "grade": None,
        "tcb_status": None,
        "advisories": [],
        "claims": {},
        "reasons": [finding.as_json()],
        "warnings": [],
        "notes": [],
    }


@app.command("verify")
def verify_command(
    file: Annotated[Path, typer.Argument(help="Evidence: raw, hex, base64, PEM, an agent's JSON, or composite.")],
    tee: _TeeOption = None,
    collateral: Annotated[Path | None, typer.Option(help="Intel collateral (QuoteCollateralV3 JSON).")] = None,
    endorsement: Annotated[
        list[Path] | None,
        typer.Option(
            help="Certificates, chains, CRLs, AMD's certificate table; for CCA CoRIMs, keys, reference values; for "
            "NVIDIA manifests, OCSP answers. Repeat in any order."
        ),
    ] = None,
    nonce: Annotated[
        str | None, typer.Option(help="Report data, or a GPU's nonce, must be this, filled with zeros.")
    ] = None,
    report_data: Annotated[str | None, typer.Option(help="Report data must be this, all 64 bytes.")] = None,
    policy: Annotated[
        Path | None, typer.Option(help="An appraisal policy, or a policy document that holds one.")
    ] = None,
    at: Annotated[str | None, typer.Option(help="Verify as of this ISO 8601 time.")] = None,
    roots: Annotated[RootsChoice, typer.Option(help="Which trust anchors to use.")] = RootsChoice.PRODUCTION,
    event_log: Annotated[Path | None, typer.Option(help="An event log to replay against the RTMRs.")] = None,
    collected_at: Annotated[str | None, typer.Option(help="When the evidence was collected.")] = None,
    store: Annotated[Path | None, typer.Option(help="The collateral store to look in.")] = None,
    as_json: AsJson = False,
    ear: Annotated[Path | None, typer.Option(help="Write the result as a signed EAR (JWT) here.")] = None,
    ear_key: Annotated[Path | None, typer.Option(help="The P-256 key (PEM) that signs the EAR.")] = None,
) -> None:
    """Is this evidence authentic and acceptable? Exit 0 accepted, 1 refused, 2 not evidence at all.

    Example: sealmarket evidence verify quote.bin --policy policy.json
    """
    wanted = _read_hex(report_data, "--report-data") or _read_hex(nonce, "--nonce")
    if report_data is not None and nonce is not None:
        raise Usage("--nonce and --report-data say the same thing", remedy="give one of them")
    now = read_time(at) if at else datetime.now(UTC)
    evidence = _parse(file, tee, as_json)
    if event_log is not None:
        evidence = _with_log(evidence, _read(event_log))
    rules = read_rules(_read(policy)) if policy else None
    expected = Expected(
        report_data=UNCHECKED if wanted is None else wanted,
        tee=_tee_of(evidence),
        collected_at=read_time(collected_at) if collected_at else None,
    )
    chosen = CollateralStore(store) if store else default_store()
    result = _decide(evidence, collateral, endorsement or [], roots, now, expected, rules, chosen)
    if ear is not None:
        _write_ear(result, ear, ear_key, now, rules)
    if as_json:
        typer.echo(json.dumps(result.as_json(), indent=2))
    else:
        typer.echo(say_machine(result) if isinstance(result, CompositeResult) else say(result))
    raise typer.Exit(ACCEPTED if result.accepted else REFUSED)


def _with_log(evidence: Evidence | CompositeEvidence, log: bytes) -> Evidence | CompositeEvidence:
    if isinstance(evidence, Evidence):
        return replace(evidence, event_log=log)
    if evidence.cpu is None:
        raise Usage("--event-log belongs to the evidence of a CPU; these are devices alone", remedy="leave it out")
    return replace(evidence, cpu=replace(evidence.cpu, event_log=log))


def _tee_of(evidence: Evidence | CompositeEvidence) -> Tee:
    """The TEE that the expected report data is of."""
    if isinstance(evidence, Evidence):
        return evidence.tee
    return (evidence.cpu or evidence.devices[0]).tee


def _decide(
    evidence: Evidence | CompositeEvidence,
    collateral: Path | None,
    endorsement: list[Path],
    choice: RootsChoice,
    now: datetime,
    expected: Expected,
    rules: AppraisalPolicy | None,
    store: CollateralStore,
) -> AppraisalResult | CompositeResult:
    """Endorsements that cannot be read are a refusal: without them the evidence cannot be authenticated."""
    text = text_of(_read(collateral)) if collateral is not None else None
    pieces = [evidence] if isinstance(evidence, Evidence) else _pieces(evidence)
    anchors, note = TrustAnchors.production(), tuple[str, ...]()
    try:
        files = _sorted_files({part.tee for part in pieces}, [binary_of(_read(path)) for path in endorsement])
        endorsed = {part.raw: _endorse(part, store, now, text, files[part.tee]) for part in pieces}
    except CollateralError as error:
        finding = Finding(Reason.ENDORSEMENT_MALFORMED, "endorsements that can be read", error.message)
        return AppraisalResult(tee=_tee_of(evidence), report=None, findings=(finding,))
    if choice is RootsChoice.DEVELOPMENT:
        for part in pieces:
            anchors = anchors.with_development_keys(module_of(part.tee).development_keys(endorsed[part.raw]))
        anchors, note = _development(anchors, endorsed[pieces[0].raw])
    if isinstance(evidence, Evidence):
        result = verify(evidence, endorsed[evidence.raw], anchors, now, expected, rules)
        return replace(result, notes=(*result.notes, *note))
    return verify_composite(evidence, lambda part: endorsed[part.raw], anchors, now, expected, rules)


def _pieces(evidence: CompositeEvidence) -> list[Evidence]:
    """The CPU's first: a development root in its collateral is the one that is meant."""
    return [part for part in (evidence.cpu, evidence.binding, *evidence.devices) if part is not None]


def _endorse(
    part: Evidence, store: CollateralStore, now: datetime, collateral: bytes | None, files: list[bytes]
) -> Endorsements:
    module = module_of(part.tee)
    found = store.endorsements_for(part, now)
    if collateral is not None and not module.is_device:
        found = found.and_also(module.read_endorsements(collateral))
    return found.and_also(module.read_files(files))


def _sorted_files(tees: Iterable[Tee], files: list[bytes]) -> dict[Tee, list[bytes]]:
    """The files for each TEE: those that its module reads. Raises :class:`CollateralError`: none reads one."""
    found: dict[Tee, list[bytes]] = {tee: [] for tee in tees}
    if len(found) == 1:
        return dict.fromkeys(found, files)
    for raw in files:
        problems = []
        for tee, own in found.items():
            try:
                module_of(tee).read_files([raw])
                own.append(raw)
            except CollateralError as error:
                problems.append(error)
        if len(problems) == len(found):
            raise problems[0]
    return found


def _development(anchors: TrustAnchors, endorsements: Endorsements) -> tuple[TrustAnchors, tuple[str, ...]]:
    """The caller names development roots as self-signed certificates among the endorsements or collateral."""
    named = self_signed_roots(anchors, endorsements.certificates)
    if named or endorsements.collateral is None:
        return anchors.with_development(*named), ()
    named = self_signed_roots(anchors, endorsements.collateral.certificates())
    note = ("development root taken from the collateral file",) if named else ()
    return anchors.with_development(*named), note


def _write_ear(
    result: AppraisalResult | CompositeResult,
    path: Path,
    key: Path | None,
    now: datetime,
    rules: AppraisalPolicy | None,
) -> None:
    from sealmarket.attestation.policy.ear import load_key, sign_ear

    if key is None:
        raise Usage("--ear needs a key that signs it", remedy="give --ear-key, the verifier's P-256 key in PEM")
    path.write_text(sign_ear(result, load_key(_read(key)), now, rules) + "\n")


def say_machine(result: CompositeResult) -> str:
    """The answer about a machine for people: its verdict, what concerns all parts, then each part's own."""
    outcome = "ACCEPTED" if result.accepted else "REFUSED"
    shared = result.common
    parts = [
        f"[{label}] {say(replace(part, findings=tuple(f for f in part.findings if f not in shared)))}"
        for label, part in result.parts.items()
    ]
    lines = [f"{outcome}: composite evidence of {len(parts)} parts", *_say_findings("refused", shared)]
    return "\n".join([*lines, *parts])


def say(result: AppraisalResult) -> str:
    """The answer for people: accepted or refused, then each reason with expected, found and remedy."""
    outcome = "ACCEPTED" if result.accepted else "REFUSED"
    lines = [f"{outcome}: {result.tee.slug} evidence, {'authentic' if result.authentic else 'NOT authentic'}"]
    if result.tcb is not None and result.grade is not None:
        grade = "SIMULATED" if result.grade is Grade.SIMULATED else result.grade.slug
        lines.append(f"  grade {grade}, TCB {result.tcb.status.value}, advisories {list(result.tcb.advisories)}")
        lines.append(f"  measurement {result.claims['measurement_digest']}")
        lines.append(f"  report data {result.claims['report_data']}")
    lines += _say_findings("refused", result.findings)
    lines += _say_findings("warning", result.warnings)
    lines += [f"  note: {note}" for note in result.notes]
    return "\n".join(lines)


def _say_findings(title: str, findings: Iterable[Finding]) -> Iterator[str]:
    for finding in findings:
        yield f"  {title}: {finding.reason.value}"
        yield f"    expected   {finding.expected}"
        yield f"    found      {finding.found}"
        yield f"    what to do {finding.remedy}"


@app.command("show")
def show_command(
    file: Annotated[Path, typer.Argument(help="Evidence: raw, hex, base64, PEM, an agent's JSON, or composite.")],
    tee: _TeeOption = None,
) -> None:
    """Show what evidence claims, as JSON. Nothing is verified.

    Example: sealmarket evidence show quote.bin
    """
    from sealmarket.attestation.policy.verify import unverified_claims

    def show(part: Evidence) -> dict[str, Any]:
        shown = {"tee": part.tee.slug, "source": part.source, "claims": unverified_claims(part)}
        if part.runtime_data is not None:
            shown["runtime_data"] = part.runtime_data.decode("utf-8", "replace")
        if part.vtpm is not None:
            from sealmarket.attestation.azure.authenticate import unverified_claims as vtpm_claims

            shown["vtpm"] = vtpm_claims(part.vtpm)
        return shown

    evidence = _parse(file, tee)
    if isinstance(evidence, CompositeEvidence):
        parts = [show(part) for part in _pieces(evidence)]
        typer.echo(json.dumps({"verified": False, "parts": parts}, indent=2))
        return
    shown = show(evidence)
    typer.echo(json.dumps({"verified": False, **shown}, indent=2))
