"""`consumer card`: a model card of a job's result, from a proof that is verified here and now."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sealmarket.attestation.collateral.trust_anchors import TrustAnchors
from sealmarket.chain import Chain
from sealmarket.cli._options import BookFile, PassphraseFile, RpcUrl, Usage, choice, load_key, market, read_passphrase
from sealmarket.client.books import load_book
from sealmarket.client.consumer import Consumer
from sealmarket.client.result_keys import load_result_key
from sealmarket.files import read_file
from sealmarket.market_api.client import MarketApi
from sealmarket.receipts.bundle import ProofBundle, read_proof
from sealmarket.receipts.facts import chain_facts
from sealmarket.receipts.model import Trusted
from sealmarket.receipts.model_card import Opened, markdown, model_card
from sealmarket.receipts.verify import verify_receipt
from sealmarket.sealing.keyfile import KeyFile as StoredKey
from sealmarket.service.errors import ItemNotFound
from sealmarket.store.blobs import Store
from sealmarket_enclave.protocol.codec import decode
from sealmarket_enclave.workload.bundle import Bundle

app = typer.Typer()


@app.command("card")
def card(
    result: Annotated[Path, typer.Argument(help="The proof file of a result (*.sealproof.json).", exists=True)],
    book: BookFile,
    rpc: RpcUrl,
    name: Annotated[str, typer.Option("--name", help="What you call the model.")] = "model",
    result_key: Annotated[
        Path | None, typer.Option("--result-key", help="Opens the result anew, for its files and metrics.", exists=True)
    ] = None,
    key_file: Annotated[
        Path | None, typer.Option("--key-file", envvar="SEALMARKET_KEY_FILE", help="Your account; with --result-key.")
    ] = None,
    form: Annotated[str, typer.Option("--format", help="markdown or json.")] = "markdown",
    out: Annotated[Path | None, typer.Option("--out", help="A new file; without it, the standard output.")] = None,
    development_root: Annotated[
        list[Path] | None, typer.Option(help="A development root (DER) to accept: evidence is then SIMULATED.")
    ] = None,
    passphrase_file: PassphraseFile = None,
) -> None:
    """Write a model card: what the model was trained on and by what, verified; its metrics as the workload's claim.

    Example: sealmarket consumer card result/0123456789ab.sealproof.json --name "Visits" --result-key result.key
    --out README.md --book market.json --rpc URL --key-file consumer.key
    """
    choice(form, "markdown", "json")
    if out is not None and out.exists():
        raise Usage(f"{out} exists", remedy="name a new file")
    bundle = read_proof(result)
    with market(book, rpc) as (chain, store, api):
        facts = chain_facts(chain, bundle.job_id)
        trusted = Trusted(book=load_book(book), facts=facts, roots=_roots(development_root or []))
        report = verify_receipt(bundle, trusted)
        opened = _opened(chain, store, api, bundle, result_key, key_file, passphrase_file)
        made = model_card(bundle, report, name, _workload(store, bundle), opened)
    text = markdown(made) if form == "markdown" else made.canonical().decode() + "\n"
    if out is None:
        typer.echo(text, nl=False)
    else:
        out.write_text(text, encoding="utf-8")
        typer.echo(f"{out} written: verified values, and the workload's claims marked so")


def _opened(
    chain: Chain,
    store: Store,
    api: MarketApi,
    bundle: ProofBundle,
    result_key: Path | None,
    key_file: Path | None,
    passphrase_file: Path | None,
) -> Opened | None:
    if result_key is None:
        return None
    if key_file is None:
        raise Usage("--result-key needs your account too", remedy="give --key-file")
    encrypted = decode(StoredKey, read_file(result_key)).scrypt is not None
    passphrase = read_passphrase(passphrase_file, f"Passphrase of {result_key}") if encrypted else None
    secret = load_result_key(result_key, passphrase=passphrase)
    return Opened(Consumer(chain, load_key(key_file), store, api).open_result(bundle.job_id, secret))


def _workload(store: Store, bundle: ProofBundle) -> Bundle | None:
    try:
        return store.workload(bundle.spec.workload_digest)
    except ItemNotFound:
        return None


def _roots(development: list[Path]) -> TrustAnchors:
    roots = TrustAnchors.production()
    return roots.with_development(*(read_file(path) for path in development)) if development else roots
