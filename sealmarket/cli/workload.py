"""Make a workload of a Python project: start one, check it, lock it, measure it, and run it as an enclave does."""

from __future__ import annotations

from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated

import typer

from sealmarket.cli._asking import progress
from sealmarket.cli._options import AsJson, answer
from sealmarket.cli._workload_run import Wheels, WorkloadFolder, run
from sealmarket.workloads.cache import WorkloadCache
from sealmarket.workloads.folders import read_bundle
from sealmarket.workloads.measure import covers, measure
from sealmarket_enclave.workload.bundle import LOCK

if TYPE_CHECKING:
    pass

app = typer.Typer(no_args_is_help=True, help="Make a workload of a Python project.")


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
    folder: WorkloadFolder,
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
    folder: WorkloadFolder,
    upgrade: Annotated[bool, typer.Option("--upgrade", help="Take the newest versions, whatever is locked.")] = False,
    as_locked: Annotated[bool, typer.Option("--as-locked", help="Leave requirements.lock as it is.")] = False,
    compiled: Annotated[
        bool, typer.Option("--compiled", help="List bytecode too: it loads faster, on this release of Python alone.")
    ] = False,
    wheels: Wheels = None,
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
    digest = lock_environment(folder, wheels or WorkloadCache.of_user().wheels(folder), compiled=compiled)
    count = len(read_bundle(folder).environment.wheels)
    payload = {"digest": str(digest), "lockedBy": tool, "wheels": count}
    lines = [f"{LOCK}: {tool}", f"environment.json: wheels of {count} packages", f"digest {digest}"]
    answer(payload, [*lines, f"next: sealmarket workload check {quote(str(folder))}"], as_json)


@app.command("measure")
def measure_command(folder: WorkloadFolder, as_json: AsJson = False) -> None:
    """Print the digest that owners allow and jobs name.

    Example: sealmarket workload measure mine
    """
    measured = measure(read_bundle(folder))
    lines = [str(measured.digest), f"  {measured.name} {measured.version}: {covers(measured)}"]
    answer(measured, [*lines, f"  code {measured.code_sha256}"], as_json)


app.command()(run)
