"""`consumer buy`: from the quote to the opened result in one go."""

from __future__ import annotations

import shlex
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from sealmarket.chain import Chain
from sealmarket.cli._asking import Yes, pasted, progress, require_yes
from sealmarket.cli._consumer_request import gas_price_of
from sealmarket.cli._groups import takes
from sealmarket.cli._options import (
    AcceptCode,
    AsJson,
    BookFile,
    KeyFile,
    MaxFee,
    OwnChain,
    PriorityFee,
    RpcUrl,
    answer,
    coins,
    home_folder,
    load_key,
    market,
    read_passphrase,
    require_cards_of,
    sending,
)
from sealmarket.cli._profile import next_command
from sealmarket.cli._quote_text import quote_lines
from sealmarket.cli._reporting import report
from sealmarket.cli._request_options import RequestOptions, open_result_key, wanted
from sealmarket.client.consumer import Consumer
from sealmarket.client.job_result import JobResult
from sealmarket.client.pending import Pending, PendingRequest
from sealmarket.client.requests import UnsignedRequest, Wanted
from sealmarket.client.result_keys import create_result_key
from sealmarket.client.sent import SentRequests
from sealmarket.receipts.bundle import SUFFIX, gather_proof, write_proof
from sealmarket.store.blobs import Store
from sealmarket_enclave.protocol.codec import Wei
from sealmarket_enclave.sealed.hpke import PrivateKey

_FUNDS = "funds"


@takes(RequestOptions)
def buy(
    options: RequestOptions,
    book: BookFile,
    rpc: RpcUrl,
    key_file: KeyFile,
    out: Annotated[Path, typer.Option("--out", help="A folder for the outputs and the proof.")],
    plain_key: Annotated[
        bool, typer.Option("--plain-key", help="Keep a result key that is made here unencrypted (mode 0600).")
    ] = False,
    yes: Yes = False,
    accept_code: AcceptCode = None,
    max_fee: MaxFee = None,
    priority_fee: PriorityFee = None,
    development: OwnChain = False,
    as_json: AsJson = False,
) -> None:
    """Buy a result in one go: quote, ask, deposit what is missing, request, wait, open, acknowledge.

    Keeps the proof of the whole job beside the result, evidence included. Interrupted, it goes on when it is repeated:
    nothing is paid twice. A result key that is not there is made.

    Example: sealmarket consumer buy --workload workload --asset asset-card.json --parameter target=mdvis
    --max-compute-price 1coin --result-key result.key --out result
    """
    secret, asked = _key(options, plain_key), wanted(options)
    note = out.with_name(out.name + ".request.json")
    with market(book, rpc, accept_code) as (chain, store, api):
        limits = sending(max_fee, priority_fee)
        consumer = Consumer(chain, load_key(key_file), store, api, development=development, sending=limits)
        consumer.require_market()
        require_cards_of(chain.book, options.asset)
        unsigned = consumer.compose(asked, secret)
        if consumer.earlier(unsigned, Pending(note, PendingRequest)) is None:
            _agree_and_deposit(consumer, chain, unsigned, yes=yes)
        result = _bought(consumer, SentRequests(home_folder(), chain.book, consumer.address), asked, secret, note)
        result.save(out)
        proof = _proof(consumer, chain, store, result, secret, out)
    payload = {"jobId": str(result.job_id), "outputs": [str(out / name) for name in result.outputs]}
    lines = [f"{out / name}  {len(data)} bytes" for name, data in result.outputs.items()]
    following = next_command(pasted("verify", proof), book, rpc)
    answer(payload | {"proof": str(proof)}, [*lines, f"next: {following}"], as_json)


def _key(options: RequestOptions, plain: bool) -> PrivateKey:
    path = options.result_key
    if path.exists():
        return open_result_key(path, options.passphrase_file)
    question = f"Passphrase for {shlex.quote(str(path))}"
    passphrase = None if plain else read_passphrase(options.passphrase_file, question, confirm=True)
    made = create_result_key(path, passphrase=passphrase, confirm_unencrypted=plain)
    progress(f"{path} is made: keep it, the result cannot be opened without it")
    return made


def _agree_and_deposit(consumer: Consumer, chain: Chain, unsigned: UnsignedRequest, *, yes: bool) -> None:
    """Return once the user agrees to the price, and what a match locks is in the market's ledger.

    Raises:
        RequestInvalid: the request would be refused for another reason than its funds.
    """
    progress("reading the chain, the owners' policies and the book")
    found = consumer.quote(unsigned, gas_price=gas_price_of(chain))
    # A deposit is made here: that it is missing refuses nothing.
    found = replace(found, clauses=tuple(clause for clause in found.clauses if clause.code != _FUNDS))
    for line in quote_lines(found):
        typer.echo(line, err=True)
    found.require()
    free = chain.at(chain.head()).account(found.request.token, consumer.address).free
    missing = Wei(max(0, found.price.locked.total - free))
    question = f"Deposit {coins(missing)} and sign the request?" if missing else "Sign the request?"
    require_yes(question, yes=yes)
    if missing:
        progress(f"depositing {coins(missing)}")
        consumer.deposit(missing)


def _bought(consumer: Consumer, sent: SentRequests, asked: Wanted, secret: PrivateKey, note: Path) -> JobResult:
    return consumer.request_and_fetch(
        asked.workload,
        asked.parameters,
        asked.assets,
        asked.limits,
        secret,
        purpose=asked.purpose,
        note=note,
        on_signed=sent.keep,
        on_progress=report,
    )


def _proof(consumer: Consumer, chain: Chain, store: Store, result: JobResult, secret: PrivateKey, out: Path) -> Path:
    evidence = consumer.evidence(result.job_id, secret)
    proof = out / f"{str(result.job_id)[2:14]}{SUFFIX}"
    write_proof(proof, gather_proof(chain, store, result.job_id, evidence=evidence))
    return proof
