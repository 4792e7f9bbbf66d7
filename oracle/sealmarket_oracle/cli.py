"""``sealmarket oracle``: keys, backups, the node, and what it says. Heavy imports wait until a command needs them."""

from __future__ import annotations

import sys
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sealmarket.protocol.book import AddressBook
    from sealmarket_enclave.protocol.numbers import JobId
    from sealmarket_oracle.epochs import Over
    from sealmarket_oracle.node_folder import NodeRecord
    from sealmarket_oracle.remote_signer import RemoteSigner

app = typer.Typer(
    help="Run a key oracle node: it verifies evidence for itself and holds one share of each key.",
    no_args_is_help=True,
)
PassphraseFile = Annotated[
    Path | None, typer.Option("--passphrase-file", help="A file of mode 0600 with the passphrase; asked for otherwise.")
]
SignerUrl = Annotated[str | None, typer.Option("--signer", help="URL of a program that holds the signing key.")]
SignerAddress = Annotated[str | None, typer.Option("--signer-address", help="Which account of that program.")]
SignerDialect = Annotated[str, typer.Option("--signer-dialect", help="web3signer, clef or ethereum.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do it without being asked; needed where there is no terminal.")]
ConfigFile = Annotated[Path | None, typer.Option("--config", help="The node's TOML file (docs/spec/oracle.md).")]


@app.command()
def init(
    folder: Annotated[Path, typer.Argument(help="Where the node's state and keys go; made with mode 0700.")],
    backup: Annotated[Path, typer.Option(help="A new folder, on another disk, for the copy of the keys.")],
    url: Annotated[str, typer.Option(help="Where others reach this node.")] = "http://127.0.0.1:8451",
    epoch: Annotated[int, typer.Option(min=1, help="The committee's epoch that these keys are for.")] = 1,
    passphrase_file: PassphraseFile = None,
    signer: SignerUrl = None,
    signer_address: SignerAddress = None,
    signer_dialect: SignerDialect = "web3signer",
    light: Annotated[bool, typer.Option("--light", help="Cheap scrypt: for a random passphrase alone.")] = False,
) -> None:
    """Make a node's keys, back them up, try the backup, and print the member that a committee needs to name it.

    Example: sealmarket oracle init oracle-1 --backup /media/stick/oracle-1 --url https://oracle-1.example.org
    """
    from sealmarket_oracle import backup as backups
    from sealmarket_oracle import node_folder
    from sealmarket_oracle.passphrase import passphrase

    external = _external(signer, signer_address, signer_dialect) if signer else None
    node_folder.require_no_keys(folder)
    backups.require_free(backup)
    word = passphrase(passphrase_file, confirm=True)
    typer.echo("... making the keys, and trying their copy: a few seconds, since scrypt is slow on purpose", err=True)
    record = node_folder.make(folder, url, epoch, word, external=external, light=light)
    place = _first_backup(folder, backup, word)
    _print_member(record)
    typer.echo(f"keys of epoch {epoch} are in {folder}; their copy in {place} signs and opens", err=True)
    typer.echo("keep the passphrase apart from both: without it neither opens", err=True)
    typer.echo("next: send what was printed on standard output to the market's operator; it holds no secret", err=True)
    _say_address(record)


@app.command()
def backup(
    folder: Annotated[Path, typer.Argument(help="The node's folder.")],
    to: Annotated[Path, typer.Argument(help="A new folder, on another disk.")],
    passphrase_file: PassphraseFile = None,
) -> None:
    """Copy a node's keys, and try the copy: it is restored elsewhere, signs, and opens. The journal is not in it.

    Example: sealmarket oracle backup oracle-1 /media/stick/oracle-1
    """
    from sealmarket_oracle import backup as backups
    from sealmarket_oracle.node_folder import KeyPaths
    from sealmarket_oracle.passphrase import passphrase

    word = passphrase(passphrase_file)
    typer.echo("... copying the keys, and trying the copy", err=True)
    tried = backups.back_up(KeyPaths.in_folder(folder), to, word)
    typer.echo(f"the copy in {tried.place} signs and opens")


@app.command()
def restore(
    place: Annotated[Path, typer.Argument(help="The folder of the backup.")],
    folder: Annotated[Path, typer.Argument(help="The node's folder; its key files must be absent.")],
    passphrase_file: PassphraseFile = None,
) -> None:
    """Put a node's keys back from a backup. The journal is not in it: the node's own has to be in the folder.

    Example: sealmarket oracle restore /media/stick/oracle-1 oracle-1
    """
    from sealmarket_oracle import backup as backups
    from sealmarket_oracle.passphrase import passphrase

    word = passphrase(passphrase_file)
    typer.echo("... trying the backup", err=True)
    record = backups.restore(place, folder, word)
    typer.echo(f"the keys of {record.member.signer} for epoch {record.epoch} are in {folder}, and they work")
    typer.echo("next: sealmarket oracle run, with the node's own journal in that folder", err=True)


@app.command()
def rotate(
    folder: Annotated[Path, typer.Argument(help="The folder of the present epoch's node.")],
    to: Annotated[Path, typer.Argument(help="A new folder, for the next epoch's keys.")],
    backup: Annotated[Path, typer.Option(help="A new folder, on another disk, for their copy.")],
    url: Annotated[str | None, typer.Option(help="Where others reach the next node; else as now.")] = None,
    passphrase_file: PassphraseFile = None,
    signer: SignerUrl = None,
    signer_address: SignerAddress = None,
    signer_dialect: SignerDialect = "web3signer",
    config: Annotated[Path | None, typer.Option(help="The present node's TOML file, if it names key files.")] = None,
) -> None:
    """Make the keys of the next epoch beside the present ones, back them up, and print their member.

    Both nodes run until the present epoch's last job has ended: each has its own folder, port and journal.

    Where another program holds the present signing key, name the account that it has for the next epoch.

    Example: sealmarket oracle rotate oracle-1 oracle-1-epoch-2 --backup /media/stick/oracle-1-epoch-2
    """
    from sealmarket_oracle import backup as backups
    from sealmarket_oracle import node_folder
    from sealmarket_oracle.passphrase import passphrase

    external = _external(signer, signer_address, signer_dialect) if signer else None
    paths = node_folder.KeyPaths.in_folder(folder)
    if config is not None:
        from sealmarket_oracle.config import load

        paths = load(config).keys
    present = node_folder.load_record(paths.node)
    node_folder.require_next_signer(paths.signer, present, external)
    node_folder.require_no_keys(to)
    backups.require_free(backup)
    word = passphrase(passphrase_file, confirm=True)
    typer.echo("... making the keys, and trying their copy: a few seconds, since scrypt is slow on purpose", err=True)
    record = node_folder.make(to, url or present.member.url, present.epoch + 1, word, external=external)
    _first_backup(to, backup, word)
    _print_member(record)
    typer.echo(f"keys of epoch {record.epoch} are in {to}; run them beside those of epoch {present.epoch}", err=True)
    typer.echo(
        f"once all members have theirs, the committee's owner announces epoch {record.epoch} (sealmarket chain"
        f" announce-epoch), and then the end of epoch {present.epoch} (sealmarket chain end-epoch)",
        err=True,
    )
    _say_address(record)


@app.command()
def destroy(config: ConfigFile = None, yes: Yes = False) -> None:
    """Destroy the keys of an epoch that the chain ended, once no job of it is open. The node must not run.

    The backups that are in reach go with them.

    A backup that is elsewhere is listed: destroy it there.

    Example: sealmarket oracle destroy --config oracle-1.toml
    """
    from sealmarket.protocol.amounts import written
    from sealmarket.protocol.moments import moment
    from sealmarket_oracle import main

    def agreed(over: Over) -> None:
        if over.free or over.unclaimed:
            typer.echo(
                f"the signing key holds {written(over.free)} in the market, and the fees of {over.unclaimed} signatures"
                " are not claimed: without the key no one takes them out",
                err=True,
            )
        if not yes:
            _confirm(f"epoch {over.epoch} ended at {moment(over.ends_at)}; what is sealed for it is lost to this node")

    done = main.destroy(config, agreed)
    typer.echo(f"the keys of {done.record.member.signer} for epoch {done.record.epoch} are destroyed")
    for path in done.files:
        typer.echo(f"gone: {path}")
    for backup in done.left:
        typer.echo(f"destroy the backup in {backup.place}: {', '.join(sorted(backup.files))}")
    typer.echo("destroy the passphrase, if nothing else is under it")


def _print_member(record: NodeRecord) -> None:
    """What a committee needs to name the node, signed by the node's key."""
    signed = record.signed_member()
    assert signed is not None  # it was made just now
    typer.echo(signed.canonical().decode())


def _say_address(record: NodeRecord) -> None:
    typer.echo(
        f"tell the committee's owner this address by another way than that file: {record.member.signer.checksum}"
        f"; it stands for the keys, the URL and epoch {record.epoch}",
        err=True,
    )


def _first_backup(folder: Path, to: Path, passphrase: str) -> str:
    """Back up keys that were just made. Where that fails they stay, and the error says how to go on with them."""
    from sealmarket_enclave.protocol.errors import SealmarketError
    from sealmarket_oracle import backup as backups
    from sealmarket_oracle.errors import BackupRefused
    from sealmarket_oracle.node_folder import KeyPaths

    try:
        return backups.back_up(KeyPaths.in_folder(folder), to, passphrase).place
    except (SealmarketError, OSError) as error:
        raise BackupRefused(
            f"the new keys are in {folder}, and have no backup that was tried: {error}",
            remedy=f"mend that, then: sealmarket oracle backup {folder} {to}; or remove {folder}, and begin again",
        ) from error


def _external(url: str, address: str | None, dialect: str) -> RemoteSigner:
    from sealmarket_enclave.protocol.codec import Address
    from sealmarket_enclave.protocol.errors import MalformedDocument
    from sealmarket_oracle.remote_signer import DIALECTS, RemoteSigner

    if address is None:
        raise typer.BadParameter("name the account as well: --signer-address 0x…", param_hint="--signer")
    spoken = next((one for one in DIALECTS if one == dialect), None)
    if spoken is None:
        raise typer.BadParameter(f"expected one of {', '.join(DIALECTS)}", param_hint="--signer-dialect")
    try:
        account = Address.parse(address.lower())
    except MalformedDocument as error:
        raise typer.BadParameter(f"{error.message}: {address:.80}", param_hint="--signer-address") from error
    return RemoteSigner(url, account, spoken)


def _confirm(consequence: str) -> None:
    """Ask before what cannot be undone. Raises :class:`NotAgreed` where there is no terminal."""
    from sealmarket_oracle.errors import NotAgreed

    if not sys.stdin.isatty():
        raise NotAgreed(consequence)
    typer.echo(consequence, err=True)
    typer.confirm("Go on?", abort=True, err=True)


@app.command()
def run(config: ConfigFile = None) -> None:
    """Run the node until it is stopped.

    Example: sealmarket oracle run --config oracle-1.toml
    """
    from sealmarket_oracle.main import serve

    serve(config)


@app.command()
def status(
    node: Annotated[str, typer.Argument(help="A node's URL; or, on its own machine, its state folder.")],
    job: Annotated[str | None, typer.Option(help="With a URL: say what the node did for this job.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON: one line for each document.")] = False,
) -> None:
    """Ask a node who it is and how it is, or what it did for a job, and why. Its folder shows its operator everything.

    Exit 1 while the node does not decide.

    Example: sealmarket oracle status oracle-1
    """
    if "://" in node:
        _status_of_url(node, job, as_json=as_json)
        return
    if job is not None:
        raise typer.BadParameter("name the node's URL: its folder shows the open jobs", param_hint="--job")
    from sealmarket_oracle import report_text
    from sealmarket_oracle.admin import read_report

    report = read_report(Path(node))
    typer.echo(report.canonical().decode() if as_json else _text(report_text.lines(report)))
    if report.health.status != "ok":
        raise typer.Exit(1)


@app.command()
def collateral(
    folder: Annotated[Path, typer.Argument(help="The state folder of a node that runs here.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show a node's own collateral: ages, when it is looked for again, and which platforms fall out from when on.

    Exit 1 if something does not come, does not count, or a platform falls out.

    Example: sealmarket oracle collateral oracle-1
    """
    from sealmarket_oracle import report_text
    from sealmarket_oracle.admin import read_report

    report = read_report(folder)
    text = _text(report_text.collateral_lines(report))
    typer.echo(report.collateral.canonical().decode() if as_json else text)
    if not report_text.is_well(report):
        raise typer.Exit(1)


@app.command()
def recall(
    advisory: Annotated[Path, typer.Argument(help="A statement about platforms, signed or not.")],
    folder: Annotated[Path, typer.Argument(help="The state folder of a node that runs here.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List the receipts, assets and jobs of a node that a statement about platforms touches. Changes nothing.

    Example: sealmarket oracle recall advisory.json oracle-1
    """
    from sealmarket.advisory_file import read_advisory
    from sealmarket_oracle import report_text
    from sealmarket_oracle.admin import ask_recall

    found = ask_recall(folder, read_advisory(advisory))
    typer.echo(found.canonical().decode() if as_json else _text(report_text.recall_lines(found)))


@app.command()
def advise(
    advisory: Annotated[Path, typer.Argument(help="The statement: sealmarket/advisory/1 as JSON.")],
    key: Annotated[Path, typer.Option(help="The issuer's account: a keystore, or a hex key in a file of mode 0600.")],
    out: Annotated[Path, typer.Option(help="A new file for the signed statement.")],
    passphrase_file: PassphraseFile = None,
) -> None:
    """Sign a statement about platforms, for nodes whose operators enable its issuer.

    Example: sealmarket oracle advise advisory.json --key issuer.json --out signed-advisory.json
    """
    from sealmarket_oracle.advisory_files import sign_advisory
    from sealmarket_oracle.keys import advisory_key
    from sealmarket_oracle.passphrase import passphrase

    signed = sign_advisory(advisory, advisory_key(key, lambda: passphrase(passphrase_file)))
    with out.open("xb") as file:
        file.write(signed.canonical())
    typer.echo(f"advisory {signed.advisory.name()} of {signed.issuer()}: nodes read {out} in their folder advisories")
    typer.echo(f"it counts for jobs matched after its anchor: sealmarket chain anchor-advisory {out}")


def _text(lines: Iterable[str]) -> str:
    """Lines that quote peers and endpoints, each on one line of the terminal and without its control characters."""
    from sealmarket.cli._plain import plain

    return "\n".join(plain(line, 2_000) for line in lines)


def _job_id(text: str | None) -> JobId | None:
    from sealmarket_enclave.protocol.codec import Bytes32
    from sealmarket_enclave.protocol.errors import MalformedDocument
    from sealmarket_enclave.protocol.numbers import JobId

    try:
        return JobId(Bytes32.parse(text.lower())) if text is not None else None
    except MalformedDocument as error:
        raise typer.BadParameter(
            f"{text!r:.80} is not 32 bytes of 0x hex: copy the whole id", param_hint="--job"
        ) from error


def _status_of_url(url: str, job: str | None, *, as_json: bool) -> None:
    from sealmarket_oracle import public_view

    job_id = _job_id(job)
    with closing(public_view.PublicView(url)) as node:
        if job_id is not None:
            status = node.job(job_id)
            typer.echo(status.canonical().decode() if as_json else _text(public_view.job_lines(status)))
            return
        info, health = node.info(), node.health()
    documents = f"{info.canonical().decode()}\n{health.canonical().decode()}"
    typer.echo(documents if as_json else _text(public_view.node_lines(info, health)))
    if health.status != "ok":
        raise typer.Exit(1)


@app.command()
def audit(
    url: Annotated[str, typer.Argument(help="A node's URL.")],
    book: Annotated[Path, typer.Option(help="The market's address book.")],
    rpc: Annotated[str, typer.Option(help="A node of the chain.")],
    job: Annotated[str | None, typer.Option(help="Show what the log has of this job.")] = None,
    prove: Annotated[Path | None, typer.Option(help="With --job: a new file for the proof of its last entry.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Hold a node's whole audit log against its decisions on chain: nothing is missing, altered or reordered.

    Example: sealmarket oracle audit https://oracle-1.example.org --book market.json --rpc URL --job 0x…
    """
    from sealmarket_oracle.audit_text import run_audit

    if not run_audit(url, _book(book), rpc, _job_id(job), prove, as_json=as_json):
        raise typer.Exit(4)


@app.command()
def post(
    book: Annotated[Path, typer.Option(help="The market's address book.")],
    rpc: Annotated[str, typer.Option(help="A node of the chain.")],
    key: Annotated[Path, typer.Option(help="The key of the account that pays for gas: hex, mode 0600.")],
    job: Annotated[str | None, typer.Option(help="Post for this job and end; without it, follow the chain.")] = None,
    development_chain: Annotated[bool, typer.Option(help="This machine started the chain.")] = False,
) -> None:
    """Post what nodes signed: releases for jobs whose shares were reported missing, and answers to challenges.

    Each release pays its node one fee, each answer its signers one fee out of the bond.

    Nodes have no account on chain: their operators run this beside them, and so may anyone.

    Example: sealmarket oracle post --book book.json --rpc http://127.0.0.1:8545 --key poster.key
    """
    from sealmarket_oracle import posting

    found = _book(book)
    if job is None:
        posting.follow(found, rpc, key, development=development_chain)
    else:
        posted = posting.post(found, rpc, key, job, development=development_chain)
        typer.echo(f"posted {posted.releases} releases, and {'an' if posted.answered else 'no'} answer to a challenge")


def _book(path: Path) -> AddressBook:
    from sealmarket.files import read_file
    from sealmarket.protocol.book import AddressBook
    from sealmarket_enclave.protocol.codec import decode
    from sealmarket_enclave.protocol.errors import MalformedDocument

    try:
        return decode(AddressBook, read_file(path))
    except MalformedDocument as error:
        error.remedy = error.remedy or f"ask the market's operator for its address book; {path} is none"
        raise
