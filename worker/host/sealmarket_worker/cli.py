"""``sealmarket worker run | status | capability | image``; heavy imports wait until a command needs them.

Before a worker runs: :mod:`sealmarket_worker.cli_setup`.
"""

from __future__ import annotations

import json
import logging
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from sealmarket.cli._options import AsJson
from sealmarket_worker.cli_setup import attest, doctor, init, prepare

app = typer.Typer(help="Run enclaves for jobs, as a provider's host.", no_args_is_help=True)
_KINDS, _TEES = ["batch"], ["tdx"]
image_app = typer.Typer(help="The enclave image: what is measured.", no_args_is_help=True)
app.add_typer(image_app, name="image")

for command in (init, doctor, prepare, attest):
    app.command()(command)

ConfigFile = Annotated[Path, typer.Option("--config", help="The worker's TOML file.")]
KindName = Annotated[str, typer.Option("--kind", help="The kind of job that the image is for.")]
TeeName = Annotated[str, typer.Option("--tee", help="The kind of TEE: sgx, tdx, snp, cca or nitro.")]


@app.command()
def run(config: ConfigFile, as_json: AsJson = False) -> None:
    """Follow the chain for this provider's jobs, and run each in an enclave, until stopped.

    The first SIGTERM or Ctrl-C drains: quoted jobs run to their ends for at most `drain_seconds`. The second one stops.

    Example: sealmarket worker run --config worker.toml
    """
    from sealmarket_worker.config import load_config
    from sealmarket_worker.ending import Ending
    from sealmarket_worker.main import serve
    from sealmarket_worker.progress import JobProgress

    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    loaded = load_config(config)
    ending = Ending(loaded.drain_seconds)
    ending.begin_on_signals()

    def tell(event: JobProgress) -> None:
        if as_json:
            typer.echo(event.line())
            return
        seconds = f" ({event.seconds:.2f} s)" if event.seconds is not None else ""
        typer.echo(f"{event.job_id[:10]}  {event.stage:<9}{event.state:<8}{seconds} {event.message}")

    serve(loaded, tell, lambda: typer.echo('{"ready":true}' if as_json else "Ready: following the chain."), ending)


@app.command()
def status(config: ConfigFile, as_json: AsJson = False) -> None:
    """Show the jobs in this worker's journal.

    Example: sealmarket worker status --config worker.toml --json
    """
    from sealmarket_worker.config import load_config
    from sealmarket_worker.journal import Journal
    from sealmarket_worker.main import JOURNAL

    with Journal(load_config(config).state / JOURNAL) as journal:
        jobs = journal.jobs()
    if as_json:
        rows = [{"jobId": str(job.job_id), "state": job.state.value, "reason": job.reason} for job in jobs]
        typer.echo(json.dumps(rows))
        return
    for job in jobs:
        typer.echo(f"{job.job_id}  {job.state.value:<9} {job.reason}")
    if not jobs:
        typer.echo("no jobs yet")


@app.command()
def capability(config: ConfigFile) -> None:
    """Print what this host promises of platform and enclave: the document that a compute order names by its hash.

    Example: sealmarket worker capability --config worker.toml > capability.json
    """
    from sealmarket_worker.capability import of
    from sealmarket_worker.config import load_config
    from sealmarket_worker.image import build_image

    loaded = load_config(config)
    with tempfile.TemporaryDirectory() as folder:
        promised = of(loaded, loaded.image or build_image(Path(folder) / "image", loaded.kind.slug))
    typer.echo(promised.canonical().decode())
    typer.echo(f"hash {promised.digest()}", err=True)


@image_app.command("build")
def image_build(
    target: Annotated[Path, typer.Argument(help="Folder to write; replaced if it is there.")], kind: KindName = "batch"
) -> None:
    """Assemble the enclave image of a kind of job from the installed release.

    Example: sealmarket worker image build ./image --kind batch
    """
    from sealmarket_worker.image import build_image

    typer.echo(str(build_image(target.absolute(), kind)))


@image_app.command("measure")
def image_measure(
    image: Annotated[Path | None, typer.Argument(help="An image; built from the installed release if absent.")] = None,
    interpreter: Annotated[Path | None, typer.Option(help="The interpreter; this one if absent.")] = None,
    tee: TeeName = "tdx",
    kind: KindName = "batch",
    driver: Annotated[str, typer.Option(help="The driver that launches it.")] = "virtual",
) -> None:
    """Print what the evidence of such an enclave will say, and its digest for an allow-list. Needs no device.

    Example: sealmarket worker image measure > measurement.json
    """
    from sealmarket_worker.config import tee_named
    from sealmarket_worker.drivers.installed import driver_named
    from sealmarket_worker.image import base_interpreter, build_image
    from sealmarket_worker.measure import measurement_document

    wanted = tee_named(tee)
    factory = driver_named(driver, wanted)
    with tempfile.TemporaryDirectory() as folder:
        built = image or build_image(Path(folder) / "image", kind)
        measured = factory.expected_measurement(wanted, built, interpreter or base_interpreter())
    typer.echo(json.dumps(measurement_document(measured, factory), indent=2))


@image_app.command("release")
def image_release(
    out: Annotated[Path, typer.Argument(help="A new folder for the release.")],
    key: Annotated[Path, typer.Option("--signing-key", help="The publisher's P-256 key: PKCS 8 in PEM, mode 0600.")],
    kinds: Annotated[list[str], typer.Option("--kind", help="A kind of job; may be named several times.")] = _KINDS,
    tees: Annotated[list[str], typer.Option("--tee", help="A kind of TEE; may be named several times.")] = _TEES,
    driver: Annotated[str, typer.Option(help="The driver that launches them.")] = "virtual",
    source: Annotated[str, typer.Option(help="The commit that was installed, 40 hex digits.")] = "",
    interpreter: Annotated[Path | None, typer.Option(help="The interpreter; this one if absent.")] = None,
) -> None:
    """Make a release of the runtime from what is installed: measurements, bill of materials, CoRIM, provenance.

    Example: sealmarket worker image release release --signing-key publisher.pem --kind batch --tee tdx
    """
    from sealmarket.private_files import read_private
    from sealmarket.releases.dsse import private_key
    from sealmarket.releases.folder import write_release
    from sealmarket_worker.config import tee_named
    from sealmarket_worker.image import base_interpreter
    from sealmarket_worker.release import Target, measured_here

    signer = private_key(read_private(key))
    targets = [Target(kind, tee_named(tee), driver) for kind in kinds for tee in tees]
    measured, components = measured_here(targets, interpreter or base_interpreter())
    write_release(out, measured, components, signer, source)
    typer.echo(f"release {measured.release} of {len(targets)} enclaves is in {out}")


@image_app.command("reproduce")
def image_reproduce(
    release: Annotated[Path, typer.Argument(help="The folder of a release.")],
    keys: Annotated[list[Path], typer.Option("--release-key", help="A publisher's public key in PEM.")],
    interpreter: Annotated[Path | None, typer.Option(help="The interpreter; this one if absent.")] = None,
) -> None:
    """Build the images of a release from what is installed here, and hold every measurement against it.

    Example: sealmarket worker image reproduce release --release-key publisher.pub
    """
    from sealmarket.files import read_file
    from sealmarket.releases.dsse import public_key
    from sealmarket.releases.folder import check_release
    from sealmarket_worker.image import base_interpreter
    from sealmarket_worker.release import require_reproduced

    checked = check_release(release, [public_key(read_file(path)) for path in keys])
    require_reproduced(checked, interpreter or base_interpreter())
    typer.echo(f"release {checked.measured.release}: {len(checked.measured.enclaves)} measurements are the same here")
