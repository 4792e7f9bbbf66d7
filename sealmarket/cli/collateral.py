"""Store vendors' collateral: what is stored, what is due, and bundles for machines without network."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sealmarket.attestation.collateral.bundle import export_bundle, import_bundle
from sealmarket.attestation.collateral.fetch import Fetcher
from sealmarket.attestation.collateral.fetch import pccs as pccs_endpoints
from sealmarket.attestation.collateral.store import CollateralStore, default_store
from sealmarket.attestation.collateral.trust_anchors import TrustAnchors
from sealmarket.attestation.core.collateral import PlatformKind
from sealmarket.attestation.core.errors import CollateralError
from sealmarket.attestation.core.evidence import Evidence
from sealmarket.attestation.parse import parse
from sealmarket.attestation.registry import MODULES, CollateralDocument, module_of
from sealmarket.cli._options import AsJson, Usage, answer
from sealmarket.cli.evidence import read_time
from sealmarket.files import read_file
from sealmarket_enclave.protocol.numbers import Tee

if TYPE_CHECKING:
    from sealmarket.attestation.core.model import Tcb
    from sealmarket.attestation.policy.forecast import Outlook

MAXIMUM_COLLATERAL = 256 << 20
"""Bytes of a file that holds a whole store of collateral."""
app = typer.Typer(no_args_is_help=True, help="Keep the vendor's collateral for machines with and without network.")

_BY_KIND = tuple(tee.slug for tee, module in MODULES.items() if module.issues_by_kind)
_Store = Annotated[Path | None, typer.Option(help="The collateral store; by default the user's own.")]
_At = Annotated[str | None, typer.Option(help="As of this ISO 8601 time.")]


def _open(folder: Path | None) -> CollateralStore:
    return CollateralStore(folder) if folder else default_store()


@app.command()
def status(
    store: _Store = None,
    at: _At = None,
    as_json: AsJson = False,
) -> None:
    """What is kept, until when it holds, and what is due. Exit 1 if anything is due, expired without a successor, or
    does not hold.

    Example: sealmarket collateral status
    """
    now = read_time(at) if at else datetime.now(UTC)
    kept = _open(store)
    rows = [
        {
            "tee": entry.kind.tee.slug,
            "fmspc": entry.kind.fmspc,
            "ca": entry.kind.ca,
            "evaluation": entry.evaluation_number,
            "issued": entry.issued.isoformat(),
            "expires": entry.expires.isoformat(),
            "state": entry.state(now),
            "fingerprint": entry.collateral.fingerprint.hex(),
        }
        for entry in kept.entries()
    ]
    unusable = kept.unusable()
    for path, why in unusable.items():
        typer.echo(f"not used: {path} does not hold: {why}\n  what to do: remove this file", err=True)
    if as_json:
        typer.echo(json.dumps(rows, indent=2))
    for row in () if as_json else rows:
        typer.echo("{state:8} {tee} {fmspc} {ca:9} evaluation {evaluation} expires {expires}".format(**row))
    if not rows and not as_json:
        typer.echo("nothing is kept")
    kinds = {entry.kind for entry in kept.entries()}
    held = [kept.best(kind, now) for kind in kinds]
    is_fresh = all(entry is not None and entry.state(now) == "fresh" for entry in held)
    raise typer.Exit(0 if is_fresh and not unusable else 1)


@app.command()
def fetch(
    evidence: Annotated[Path | None, typer.Argument(help="Evidence that says which platform it is about.")] = None,
    fmspc: Annotated[str | None, typer.Option(help="The platform's FMSPC in hex, instead of evidence.")] = None,
    tee: Annotated[str, typer.Option(metavar="|".join(_BY_KIND), help="With --fmspc.")] = Tee.TDX.slug,
    ca: Annotated[str, typer.Option(help="With --fmspc: platform or processor.")] = "platform",
    pccs: Annotated[str | None, typer.Option(help="Ask this PCCS instead of Intel.")] = None,
    amd: Annotated[str | None, typer.Option(help="Ask this mirror instead of AMD's KDS.")] = None,
    nvidia: Annotated[
        str | None, typer.Option(help="Ask this mirror instead of NVIDIA's servers, /v1/rim and /ocsp.")
    ] = None,
    store: _Store = None,
) -> None:
    """Fetch collateral for a platform and keep it; without arguments, refresh what is due.

    Example: sealmarket collateral fetch
    """
    kept = _open(store)
    endpoints = {**(pccs_endpoints(pccs) if pccs else {}), **({"amd": amd} if amd else {})}
    if nvidia:
        endpoints |= {"nvidia_rim": nvidia.rstrip("/"), "nvidia_ocsp": f"{nvidia.rstrip('/')}/ocsp"}
    kinds: list[PlatformKind] = []
    with Fetcher(endpoints) as fetcher:
        if evidence is not None:
            found = parse(read_file(evidence))
            kind = module_of(found.tee).platform_kind(found)
            if kind is None:
                _fetch_for(found, fetcher, kept)
                return
            kinds = [kind]
        elif fmspc is not None:
            if ca not in ("platform", "processor") or tee not in _BY_KIND:
                raise Usage(
                    f"there is no collateral of --tee {tee} and --ca {ca}",
                    remedy=f"--ca is platform or processor, --tee is {' or '.join(_BY_KIND)}",
                )
            kinds = [PlatformKind(Tee.from_slug(tee), fmspc.lower(), "platform" if ca == "platform" else "processor")]
        problems = kept.refresh(fetcher.collateral, datetime.now(UTC), kinds)
    for kind in kinds:
        if (entry := kept.best(kind, datetime.now(UTC))) is not None:
            until = f"evaluation {entry.evaluation_number}, holds until {entry.expires.isoformat()}"
            typer.echo(f"{kind.tee.slug} {kind.fmspc} {kind.ca}: {until}")
    for problem in problems:
        typer.echo(f"not refreshed: {problem}", err=True)
    raise typer.Exit(1 if problems else 0)


def _fetch_for(evidence: Evidence, fetcher: Fetcher, kept: CollateralStore) -> None:
    """The certificates of the machine that made this evidence, with the vendor's chain and revocation list."""
    found, problems = fetcher.endorsements(evidence)
    left = kept.keep(found, evidence.tee, datetime.now(UTC))
    typer.echo(
        f"came: {len(found.certificates)} certificates, {len(found.crls)} revocation lists, {len(found.documents)} "
        f"manifests and answers, for the machine of this {evidence.tee.slug} evidence"
    )
    for line in left:
        typer.echo(f"not stored: {line}", err=True)
    for problem in problems:
        typer.echo(f"did not come: {problem.message}\n  what to do: {problem.remedy}", err=True)
    raise typer.Exit(1 if problems or left else 0)


@app.command("export")
def export_command(
    file: Annotated[Path, typer.Argument(help="Where to write the bundle.")], store: _Store = None
) -> None:
    """Write everything that is stored into one file.

    Example: sealmarket collateral export collateral.json
    """
    file.write_bytes(export_bundle(_open(store)))


@app.command("import")
def import_command(
    file: Annotated[Path, typer.Argument(help="A bundle, one QuoteCollateralV3 JSON, or with --tee a document.")],
    store: _Store = None,
    development_root: Annotated[Path | None, typer.Option(help="Also trust this DER root (simulated).")] = None,
    tee: Annotated[str | None, typer.Option(help="The TEE whose documents, certificates or CRLs these are.")] = None,
    as_json: AsJson = False,
) -> None:
    """Prove and store the contents of a file, all of it or nothing.

    Example: sealmarket collateral import collateral.zip
    """
    anchors = TrustAnchors.production()
    if development_root is not None:
        anchors = anchors.with_development(read_file(development_root))
    kept = CollateralStore(_open(store).folder, anchors)
    raw = read_file(file, MAXIMUM_COLLATERAL)
    if b'"sealmarket/collateral-bundle/' in raw[:200]:
        taken = import_bundle(kept, raw)
    elif tee is not None:
        found = module_of(Tee.from_slug(tee)).read_files([raw])
        kept.put_all(found, Tee.from_slug(tee))
        taken = len(found.certificates) + len(found.crls) + len(found.documents)
    else:
        kept.put(CollateralDocument.from_json(raw))
        taken = 1
    answer({"kept": taken}, [f"{taken} kept"], as_json)


@app.command()
def forecast(
    newer: Annotated[Path, typer.Argument(help="Newer collateral (QuoteCollateralV3 JSON).")],
    evidence: Annotated[list[Path], typer.Argument(help="The last evidence of each running platform.")],
    policy: Annotated[
        Path | None, typer.Option(help="The policy that decides; by default the built-in strict one.")
    ] = None,
    at: _At = None,
    store: _Store = None,
    as_json: AsJson = False,
) -> None:
    """Which running platforms will newer collateral refuse, by which rule, and from when? Exit 1 if any.

    Example: sealmarket collateral forecast newer.json quote.bin
    """
    from sealmarket.attestation.policy.forecast import Running
    from sealmarket.attestation.policy.forecast import forecast as look_ahead
    from sealmarket.attestation.policy.rules import read_rules

    now, kept, running = read_time(at) if at else datetime.now(UTC), _open(store), []
    for path in evidence:
        found = parse(read_file(path))
        collateral = kept.endorsements_for(found, now).collateral
        if collateral is None:
            raise CollateralError(f"no collateral in use is kept for {path}", remedy="import or fetch it first")
        running.append(Running(name=path.name, evidence=found, collateral=collateral))
    rules = read_rules(read_file(policy)) if policy else None
    outlooks = look_ahead(
        running, CollateralDocument.from_json(read_file(newer)), TrustAnchors.production(), now, rules
    )
    answer([_foreseen(one) for one in outlooks], [_sentence(one) for one in outlooks], as_json)
    raise typer.Exit(1 if any(outlook.falls_out for outlook in outlooks) else 0)


def _foreseen(outlook: Outlook) -> dict[str, object]:
    return {
        "name": outlook.name,
        "before": _status(outlook.before),
        "after": _status(outlook.after),
        "fallsOut": outlook.falls_out,
        "lastDay": outlook.last_day.isoformat() if outlook.last_day else None,
        "reasons": [reason.value for reason in outlook.reasons],
    }


def _sentence(outlook: Outlook) -> str:
    change = "falls out" if outlook.falls_out else "stays as it is"
    until = f", at the latest on {outlook.last_day.isoformat()}" if outlook.last_day else ""
    reasons = ", ".join(reason.value for reason in outlook.reasons)
    return f"{outlook.name}: {_status(outlook.before)} -> {_status(outlook.after)}, {change}{until} {reasons}".rstrip()


def _status(level: Tcb | None) -> str:
    return level.status.value if level else "not authentic"
