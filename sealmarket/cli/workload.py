"""Make a workload of a Python project: start one, check it, lock it, measure it, and run it as an enclave does."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sealmarket.cli._asking import progress
from sealmarket.cli._options import AsJson, Usage, answer
from sealmarket.cli._workload_session import serve_requests
from sealmarket.files import read_file
from sealmarket.workloads.cache import WorkloadCache
from sealmarket.workloads.folders import read_bundle
from sealmarket.workloads.measure import covers, measure
from sealmarket_enclave.protocol.card import MAXIMUM_CARD, Card, promised
from sealmarket_enclave.protocol.codec import canonical_json, from_builtins, parse_json
from sealmarket_enclave.protocol.errors import MalformedDocument, SealmarketError
from sealmarket_enclave.protocol.policy import OutputRules, strictest
from sealmarket_enclave.workload.bundle import LOCK, Bundle
from sealmarket_enclave.workload.manifest import unmet_needs

if TYPE_CHECKING:
    from sealmarket.workloads.local import LocalRun
    from sealmarket_enclave.workload.manifest import Manifest, Value

app = typer.Typer(no_args_is_help=True, help="Make a workload of a Python project.")

_Folder = Annotated[Path, typer.Argument(help="The workload's folder.", exists=True, file_okay=False)]
_Rules = Annotated[
    list[Path] | None,
    typer.Option("--policy", help="An owner's policy or draft; repeat for each owner. The strictest rules hold."),
]
_Wheels = Annotated[Path | None, typer.Option("--wheels", help="A folder that holds the wheels already.")]


@app.command()
def new(
    folder: Annotated[Path, typer.Argument(help="A folder that does not exist yet; it names the workload.")],
    template: Annotated[
        str, typer.Option(help="python, gradient-boosting, xgboost, pytorch, onnx-inference, gguf-chat, or onnx-score.")
    ] = "python",
) -> None:
    """Write a small project that works: workload.toml, code/, requirements.in, README.md.

    Example: sealmarket workload new mine --template python
    """
    from sealmarket.workloads.templates import AS_LOCKED, create

    name = create(folder, template)
    typer.echo(f"{folder}: workload {name}, from the template {template}")
    typer.echo(f"next: edit it, then sealmarket workload lock {quote(str(folder))}{AS_LOCKED.get(template, '')}")


@app.command()
def meter(
    folder: Annotated[Path, typer.Argument(help="A folder that does not exist yet.")],
    model: Annotated[
        Path | None, typer.Option(help="The model whose tokens are counted, in GGUF.", exists=True)
    ] = None,
) -> None:
    """Write a meter: it counts prompts and answers of a service by a model's own vocabulary and chat template.

    Without --model it counts bytes of text, and rows that are scored.

    Name its digest as `meter` in `serving` of your policy, and hand its folder to `owner publish --step`.

    Example: sealmarket workload meter counted --model MODEL.gguf
    """
    from sealmarket.workloads.meters import make_meter

    make_meter(folder, model)
    typer.echo(f"{folder}: a meter of {model.name if model is not None else 'bytes and rows'}")
    typer.echo(f"next: sealmarket workload lock {quote(str(folder))} --as-locked")


@app.command()
def check(
    folder: _Folder,
    keep: Annotated[list[str] | None, typer.Option(help="A path that looks stray and is meant; repeat.")] = None,
    as_json: AsJson = False,
) -> None:
    """Is it a sound workload, and does anything in the folder not belong? Exit 0, or 1 with every finding.

    Example: sealmarket workload check mine
    """
    from sealmarket.workloads.check import check as check_folder

    checked = check_folder(folder, keep or ())
    payload = {
        "findings": [{"path": f.path, "found": f.found, "remedy": f.remedy} for f in checked.findings],
        "digest": str(checked.measured.digest) if checked.measured else None,
    }
    lines = [f"{f.path}: {f.found}\n  what to do: {f.remedy}" for f in checked.findings]
    if checked.measured:
        lines += [f"sound: {checked.measured.digest}", f"  {covers(checked.measured)}"]
    answer(payload, lines, as_json)
    raise typer.Exit(1 if checked.findings else 0)


@app.command()
def lock(
    folder: _Folder,
    upgrade: Annotated[bool, typer.Option("--upgrade", help="Take the newest versions, whatever is locked.")] = False,
    as_locked: Annotated[bool, typer.Option("--as-locked", help="Leave requirements.lock as it is.")] = False,
    compiled: Annotated[
        bool, typer.Option("--compiled", help="List bytecode too: it loads faster, on this release of Python alone.")
    ] = False,
    wheels: _Wheels = None,
    as_json: AsJson = False,
) -> None:
    """Pin requirements.in with hashes, fetch the wheels, and list every file of them in environment.json.

    Example: sealmarket workload lock mine
    """
    from sealmarket.workloads.fetch import lock_environment
    from sealmarket.workloads.resolve import resolve
    from sealmarket.workloads.strays import REQUIREMENTS

    resolved = not as_locked and (folder / REQUIREMENTS).is_file()
    progress("pinning packages, fetching their wheels, and listing their files")
    tool = resolve(folder, upgrade=upgrade) if resolved else "left as it is"
    digest = lock_environment(folder, wheels or _cache().wheels(folder), compiled=compiled)
    count = len(read_bundle(folder).environment.wheels)
    payload = {"digest": str(digest), "lockedBy": tool, "wheels": count}
    lines = [f"{LOCK}: {tool}", f"environment.json: wheels of {count} packages", f"digest {digest}"]
    answer(payload, [*lines, f"next: sealmarket workload check {quote(str(folder))}"], as_json)


@app.command("measure")
def measure_command(folder: _Folder, as_json: AsJson = False) -> None:
    """Print the digest that owners allow and jobs name.

    Example: sealmarket workload measure mine
    """
    measured = measure(read_bundle(folder))
    lines = [str(measured.digest), f"  {measured.name} {measured.version}: {covers(measured)}"]
    answer(measured, [*lines, f"  code {measured.code_sha256}"], as_json)


@app.command()
def run(
    folder: _Folder,
    inputs: Annotated[
        list[str] | None, typer.Option("--input", help="NAME=FILE; repeat a name for several files.")
    ] = None,
    parameters: Annotated[list[str] | None, typer.Option("--parameter", help="NAME=VALUE.")] = None,
    policies: _Rules = None,
    cards: Annotated[
        list[Path] | None, typer.Option("--card", help="A data card for each --input, in their order.")
    ] = None,
    steps: Annotated[
        list[Path] | None,
        typer.Option("--step", help="The folder of a reader or validator that does not come with Sealmarket; repeat."),
    ] = None,
    sample: Annotated[
        int | None,
        typer.Option(help="Make so many synthetic rows of each --card in place of files.", min=1, max=100_000),
    ] = None,
    meter: Annotated[
        Path | None, typer.Option(help="Of kind session: the folder of a meter, which counts beside it.", exists=True)
    ] = None,
    requests: Annotated[
        Path | None,
        typer.Option(help="Of kind session: a file of requests, one JSON object a line; - for standard input."),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="A new folder for what would leave.")] = None,
    wheels: _Wheels = None,
    as_json: AsJson = False,
) -> None:
    """Run it on local files in the enclave's sandbox, under its limits; print what would leave. Exit 0 if all may.

    With --card each file goes through its card's reader first; with --policy the owners' validators hold the outputs.
    With --card and --sample 200 it runs on synthetic rows of each card, and no --input. A workload of kind session
    answers --requests, each {"endpoint": "chat", "body": {...}}, in the same sandbox.

    Example: sealmarket workload run mine --input rows=MINE.csv --parameter column=age --out result
    """
    from sealmarket.workloads.leaving import own_rules
    from sealmarket.workloads.local import read_inputs, read_parameters, run_locally
    from sealmarket.workloads.local_steps import StepShelf, judged, read_by_cards

    bundle = read_bundle(folder)
    if (bundle.manifest.kind == "session") != (requests is not None):
        given = "and was called without --requests" if requests is None else "which takes no --requests"
        raise Usage(
            f"{bundle.manifest.name} is of kind {bundle.manifest.kind}, {given}",
            remedy="say --requests FILE for a workload of kind session, and for no other",
        )
    if requests is not None:
        raise typer.Exit(
            serve_requests(
                bundle, folder, dict(map(_pair, inputs or [])), parameters or [], requests, _cache(), wheels, meter
            )
        )
    promises = named = list(map(_card, cards or []))
    if sample is None:
        files = read_inputs(bundle.manifest, [(name, Path(file)) for name, file in map(_pair, inputs or [])])
        promises = promises or [None] * len(files)
    else:
        files, promises = _sampled(bundle.manifest, promises, sample, inputs)
    values = read_parameters(bundle.manifest, dict(map(_pair, parameters or [])))
    rules = strictest(tuple(map(_output_rules, policies))) if policies else own_rules(bundle.manifest)
    if out is not None and out.exists():
        raise Usage(f"{out} is there already", remedy="name a folder that does not exist")
    progress("running it in the sandbox; the first time, its packages are fetched")
    shelf = StepShelf(_cache(), tuple(steps or ()))
    inputs_read = read_by_cards(bundle.manifest, files, promises, shelf, rules.withholds)
    unmet = _unmet(bundle.manifest, named, values) if cards else []
    ran = _cache().using(
        bundle, folder, lambda installed: run_locally(bundle, installed, inputs_read.given, values, rules), wheels
    )
    ended, found = judged(ran, bundle.manifest, rules, inputs_read, shelf)
    if out is not None:
        out.mkdir(parents=True)
        for name, data in ended.outputs.items():
            (out / name).write_bytes(data)
    lines = _lines(bundle, ended, owners=bool(policies))
    lines += [f"  {one.name} on {_plain(one.output)}: {one.code or 'passes'}" for one in found]
    lines += [f"a request over these cards is refused before payment: {_plain(one)}" for one in unmet]
    judgements = [{"output": one.output, "validator": str(one.validator), "code": one.code} for one in found]
    answer(_payload(bundle, ended) | {"validators": judgements, "unmetNeeds": unmet}, lines, as_json)
    raise typer.Exit(1 if ended.failure else 0)


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


def _cache() -> WorkloadCache:
    return WorkloadCache.of_user()


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
