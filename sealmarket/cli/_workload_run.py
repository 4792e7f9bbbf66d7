"""`workload run`: a workload on local files, in the sandbox and under the limits of an enclave."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sealmarket.cli._asking import progress
from sealmarket.cli._groups import takes
from sealmarket.cli._options import AsJson, Usage, answer
from sealmarket.cli._workload_session import serve_requests
from sealmarket.files import read_file
from sealmarket.workloads.cache import WorkloadCache
from sealmarket.workloads.folders import read_bundle
from sealmarket_enclave.protocol.card import MAXIMUM_CARD, Card, promised
from sealmarket_enclave.protocol.codec import canonical_json, from_builtins, parse_json
from sealmarket_enclave.protocol.errors import MalformedDocument, SealmarketError
from sealmarket_enclave.protocol.policy import OutputRules, strictest
from sealmarket_enclave.workload.bundle import Bundle
from sealmarket_enclave.workload.manifest import unmet_needs

if TYPE_CHECKING:
    from sealmarket.workloads.local import LocalRun
    from sealmarket.workloads.local_steps import Judgement
    from sealmarket_enclave.workload.manifest import Manifest, Value

WorkloadFolder = Annotated[Path, typer.Argument(help="The workload's folder.", exists=True, file_okay=False)]
Wheels = Annotated[Path | None, typer.Option("--wheels", help="A folder that holds the wheels already.")]


@dataclass(frozen=True, slots=True, kw_only=True)
class InputOptions:
    """The options of `workload run` about what it is given, and what may leave."""

    inputs: Annotated[list[str] | None, typer.Option("--input", help="NAME=FILE; repeat a name for several files.")] = (
        None
    )
    parameters: Annotated[list[str] | None, typer.Option("--parameter", help="NAME=VALUE.")] = None
    policies: Annotated[
        list[Path] | None,
        typer.Option("--policy", help="An owner's policy or draft; repeat for each owner. The strictest rules hold."),
    ] = None
    cards: Annotated[
        list[Path] | None, typer.Option("--card", help="A data card for each --input, in their order.")
    ] = None
    sample: Annotated[
        int | None,
        typer.Option(help="Make so many synthetic rows of each --card in place of files.", min=1, max=100_000),
    ] = None
    steps: Annotated[
        list[Path] | None,
        typer.Option("--step", help="The folder of a reader or validator that does not come with Sealmarket; repeat."),
    ] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionOptions:
    """The options of `workload run` for a workload of kind session."""

    meter: Annotated[
        Path | None, typer.Option(help="Of kind session: the folder of a meter, which counts beside it.", exists=True)
    ] = None
    requests: Annotated[
        Path | None,
        typer.Option(help="Of kind session: a file of requests, one JSON object a line; - for standard input."),
    ] = None


@takes(InputOptions, SessionOptions)
def run(
    given: InputOptions,
    session: SessionOptions,
    folder: WorkloadFolder,
    out: Annotated[Path | None, typer.Option(help="A new folder for what would leave.")] = None,
    wheels: Wheels = None,
    as_json: AsJson = False,
) -> None:
    """Run it on local files in the enclave's sandbox, under its limits; print what would leave. Exit 0 if all may.

    With --card each file goes through its card's reader first; with --policy the owners' validators hold the outputs.
    With --card and --sample 200 it runs on synthetic rows of each card, and no --input. A workload of kind session
    answers --requests, each {"endpoint": "chat", "body": {...}}, in the same sandbox.

    Example: sealmarket workload run mine --input rows=MINE.csv --parameter column=age --out result
    """
    bundle = read_bundle(folder)
    if (bundle.manifest.kind == "session") != (session.requests is not None):
        called = "and was called without --requests" if session.requests is None else "which takes no --requests"
        raise Usage(
            f"{bundle.manifest.name} is of kind {bundle.manifest.kind}, {called}",
            remedy="say --requests FILE for a workload of kind session, and for no other",
        )
    if session.requests is not None:
        inputs, parameters = dict(map(_pair, given.inputs or [])), given.parameters or []
        cache = WorkloadCache.of_user()
        raise typer.Exit(
            serve_requests(bundle, folder, inputs, parameters, session.requests, cache, wheels, session.meter)
        )
    if out is not None and out.exists():
        raise Usage(f"{out} is there already", remedy="name a folder that does not exist")
    ended, found, unmet = _ran(bundle, folder, given, wheels)
    if out is not None:
        out.mkdir(parents=True)
        for name, data in ended.outputs.items():
            (out / name).write_bytes(data)
    lines = _lines(bundle, ended, owners=bool(given.policies))
    lines += [f"  {one.name} on {_plain(one.output)}: {one.code or 'passes'}" for one in found]
    lines += [f"a request over these cards is refused before payment: {_plain(one)}" for one in unmet]
    judgements = [{"output": one.output, "validator": str(one.validator), "code": one.code} for one in found]
    answer(_payload(bundle, ended) | {"validators": judgements, "unmetNeeds": unmet}, lines, as_json)
    raise typer.Exit(1 if ended.failure else 0)


def _ran(
    bundle: Bundle, folder: Path, given: InputOptions, wheels: Path | None
) -> tuple[LocalRun, list[Judgement], list[str]]:
    """How it ended, what validators say of its outputs, and which of its needs the cards do not promise."""
    from sealmarket.workloads.leaving import own_rules
    from sealmarket.workloads.local import read_inputs, read_parameters, run_locally
    from sealmarket.workloads.local_steps import StepShelf, judged, read_by_cards

    manifest, cache = bundle.manifest, WorkloadCache.of_user()
    promises = named = list(map(_card, given.cards or []))
    if given.sample is None:
        files = read_inputs(manifest, [(name, Path(file)) for name, file in map(_pair, given.inputs or [])])
        promises = promises or [None] * len(files)
    else:
        files, promises = _sampled(manifest, promises, given.sample, given.inputs)
    values = read_parameters(manifest, dict(map(_pair, given.parameters or [])))
    rules = strictest(tuple(map(_output_rules, given.policies))) if given.policies else own_rules(manifest)
    progress("running it in the sandbox; the first time, its packages are fetched")
    shelf = StepShelf(cache, tuple(given.steps or ()))
    inputs = read_by_cards(manifest, files, promises, shelf, rules.withholds)
    unmet = _unmet(manifest, named, values) if given.cards else []
    ran = cache.using(
        bundle, folder, lambda installed: run_locally(bundle, installed, inputs.given, values, rules), wheels
    )
    return *judged(ran, manifest, rules, inputs, shelf), unmet


def _card(path: Path) -> Card | None:
    """The promise in a data card's file; None for a card that promises nothing."""
    try:
        return promised(canonical_json(parse_json(read_file(path, MAXIMUM_CARD))))
    except (ValueError, SealmarketError) as error:
        raise Usage(f"{path} is no data card: {error}", remedy="make one with `sealmarket owner describe`") from error


def _unmet(manifest: Manifest, cards: Sequence[Card | None], values: Mapping[str, Value]) -> list[str]:
    """What the workload needs of its inputs and the cards do not promise, as client and oracle nodes find it."""
    return [f"expected {one.expected}, found {one.found}" for one in unmet_needs(manifest.inputs, cards, values)]


def _sampled(
    manifest: Manifest, cards: Sequence[Card | None], rows: int, inputs: list[str] | None
) -> tuple[dict[str, bytes], list[Card | None]]:
    """Synthetic files for the slots of a workload, one for each card in its order, and the cards to read them by."""
    from sealmarket.workloads.sampling import sampled

    tables = [card for card in cards if card is not None and card.kind == "table"]
    if inputs or not tables or len(tables) != len(cards):
        raise Usage("--sample makes rows of tables' cards", remedy="name the cards with --card, and no --input")
    made = [sampled(card, rows) for card in tables]
    names = manifest.input_names(len(made))
    return {name: file for name, (file, _) in zip(names, made, strict=True)}, [card for _, card in made]


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise Usage(f"{text!r} has no name or no value", remedy="write NAME=VALUE")
    return name, value


def _output_rules(path: Path) -> OutputRules:
    """The output rules of a policy document, of a draft, or alone in a file."""
    try:
        document = json.loads(read_file(path))
        return from_builtins(OutputRules, document.get("output", document))
    except (ValueError, AttributeError, RecursionError, MalformedDocument) as error:
        why = error.message if isinstance(error, MalformedDocument) else "no JSON object"
        raise Usage(f"{path} holds no output rules: {why}", remedy="pass an owner's policy or policy draft") from error


def _payload(bundle: Bundle, ended: LocalRun) -> dict[str, Any]:
    return {
        "workload": str(bundle.digest),
        "failure": ended.failure or None,
        "error": ended.text,
        "printed": ended.printed,
        "leaving": [
            {"name": o.name, "mediaType": o.media_type, "bytes": o.size, "passes": o.passes, "rule": o.rule}
            for o in ended.leaving
        ],
        "loadSeconds": round(ended.load_seconds, 3),
        "runSeconds": round(ended.run_seconds, 3),
        "cpuSeconds": round(ended.cpu_seconds, 3),
        "peakAddressSpace": ended.peak.address_space,
        "peakResident": ended.peak.resident,
        "layers": list(ended.layers),
    }


def _lines(bundle: Bundle, ended: LocalRun, *, owners: bool) -> list[str]:
    limits = bundle.manifest.limits
    lines = [
        f"workload {bundle.digest}",
        "rules: " + ("of the owners" if owners else "the workload's own; see --policy"),
    ]
    for one in ended.leaving:
        verdict = "leaves " if one.passes and not ended.failure else "REFUSED"
        kind = one.media_type or "undeclared"
        lines.append(f"  {verdict} {_plain(one.name)}  {kind}, {one.size} bytes  ({one.rule})")
    lines += [
        f"loading {ended.load_seconds:.1f} s, running {ended.run_seconds:.1f} s of {limits.wall_seconds} together; "
        f"processor {ended.cpu_seconds:.1f} s of {limits.cpu_seconds}",
        f"memory: address space {_mib(ended.peak.address_space)} of {_mib(limits.memory_bytes)}, "
        f"resident {_mib(ended.peak.resident)}",
    ]
    if ended.printed:
        lines += ["printed (an enclave drops it):", _plain(ended.printed)]
    if ended.failure:
        lines += [f"nothing would leave: {ended.failure}", *([_plain(ended.text)] if ended.text else [])]
    return lines


def _plain(text: str) -> str:
    """A workload's text without characters that a terminal obeys."""
    return "".join(sign if sign.isprintable() or sign in "\n\t" else "\ufffd" for sign in text.rstrip())


def _mib(size: int) -> str:
    return f"{size / (1 << 20):.0f} MiB" if size else "unknown"
