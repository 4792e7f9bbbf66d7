"""Request a job over sealed data, follow it, and open its result."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sealmarket.cli import _consumer_card, _consumer_proposals, _consumer_tab
from sealmarket.cli._consumer_buy import buy
from sealmarket.cli._consumer_jobs import challenge, explain, fetch, status, watch
from sealmarket.cli._consumer_request import address_of, quote, request
from sealmarket.cli._options import (
    AcceptCode,
    AsJson,
    BookFile,
    KeyFile,
    MaxFee,
    OwnChain,
    PassphraseFile,
    PriorityFee,
    RpcUrl,
    Usage,
    amount,
    answer,
    coins,
    earlier,
    hash_option,
    home_folder,
    load_key,
    market,
    read_passphrase,
    sending,
    withdraw_free,
)
from sealmarket.client.consumer import Consumer
from sealmarket.client.result_keys import create_result_key
from sealmarket.client.sent import SentRequests, state_of

app = typer.Typer(no_args_is_help=True, help="Request a job over sealed data, follow it, and open its result.")

for command in (quote, request, buy, status, watch, fetch, challenge, explain):
    app.command()(command)
for part in (_consumer_proposals.app, _consumer_card.app, _consumer_tab.app):
    app.add_typer(part)


@app.command()
def key(
    path: Annotated[Path, typer.Argument(help="Where the new key file goes.")],
    passphrase_file: PassphraseFile = None,
    plain: Annotated[bool, typer.Option("--plain", help="Keep it unencrypted in its file (mode 0600).")] = False,
    as_json: AsJson = False,
) -> None:
    """Make a result key: results are sealed to it, and only its file opens them.

    Example: sealmarket consumer key result.key
    """
    passphrase = None if plain else read_passphrase(passphrase_file, "Passphrase for the result key", confirm=True)
    create_result_key(path, passphrase=passphrase, confirm_unencrypted=plain)
    answer({"file": str(path)}, [f"{path} written: keep it, a result cannot be opened without it"], as_json)


@app.command()
def deposit(
    value: Annotated[str, typer.Argument(help="1500 in the smallest unit, or 1.5coin.")],
    book: BookFile,
    rpc: RpcUrl,
    key_file: KeyFile,
    accept_code: AcceptCode = None,
    max_fee: MaxFee = None,
    priority_fee: PriorityFee = None,
    development: OwnChain = False,
    as_json: AsJson = False,
) -> None:
    """Put money into the market's ledger; a match locks it, and what is not used returns.

    Example: sealmarket consumer deposit 10coin --book market.json --rpc URL --key-file consumer.key
    """
    wanted = amount(value)
    with market(book, rpc, accept_code) as (chain, store, api):
        consumer = Consumer(
            chain, load_key(key_file), store, api, development=development, sending=sending(max_fee, priority_fee)
        )
        mined = consumer.deposit(wanted)
    payload = {"deposited": str(int(wanted)), "block": mined.block.number, "resumed": mined.resumed}
    said = [f"deposited {coins(wanted)} in block {mined.block.number}", *earlier(mined)]
    answer(payload, said, as_json)


@app.command()
def withdraw(
    book: BookFile,
    rpc: RpcUrl,
    key_file: KeyFile,
    max_fee: MaxFee = None,
    priority_fee: PriorityFee = None,
    development: OwnChain = False,
    as_json: AsJson = False,
) -> None:
    """Take out what no job has locked, to your account.

    Example: sealmarket consumer withdraw --book market.json --rpc URL --key-file consumer.key
    """
    with market(book, rpc) as (chain, store, api):
        withdraw_free(
            chain,
            Consumer(
                chain, load_key(key_file), store, api, development=development, sending=sending(max_fee, priority_fee)
            ),
            as_json,
        )


@app.command("list")
def list_command(book: BookFile, rpc: RpcUrl, key_file: KeyFile, as_json: AsJson = False) -> None:
    """List the requests that you signed here, the latest first: open ones may still be matched, and charge then.

    Example: sealmarket consumer list --book market.json --rpc URL --key-file consumer.json
    """
    with market(book, rpc) as (chain, *_):
        sent = SentRequests(home_folder(), chain.book, address_of(key_file))
        states = {str(handle.request_hash): state_of(chain, handle) for handle in sent}
    lines = [f"{request}  {state}" for request, state in states.items()] or ["no request was signed here"]
    lines += ["next: sealmarket consumer cancel REQUEST voids an open one"] if "open" in states.values() else []
    answer(states, lines, as_json)


@app.command()
def cancel(
    request: Annotated[str, typer.Argument(help="The request's hash (0x and 64 digits), as `list` shows it.")],
    book: BookFile,
    rpc: RpcUrl,
    key_file: KeyFile,
    passphrase_file: PassphraseFile = None,
    development: OwnChain = False,
    max_fee: MaxFee = None,
    priority_fee: PriorityFee = None,
    as_json: AsJson = False,
) -> None:
    """Void a request that is not matched yet: no match can use it any more, and none charges you.

    Example: sealmarket consumer cancel 0xREQUEST --book market.json --rpc URL --key-file consumer.json
    """
    request_hash = hash_option(request)
    with market(book, rpc) as (chain, store, api):
        account = load_key(key_file, passphrase_file)
        consumer = Consumer(chain, account, store, api, development=development, sending=sending(max_fee, priority_fee))
        handle = SentRequests(home_folder(), chain.book, consumer.address).find(request_hash)
        if handle is None:
            raise Usage(f"request {request_hash} was not signed here", remedy="see `sealmarket consumer list`")
        state = state_of(chain, handle)
        if state == "open":
            state = "voided" if consumer.cancel_unless_matched(handle) else "matched"
    answer({"request": str(request_hash), "state": state}, [f"request {request_hash} is {state}"], as_json)
    raise typer.Exit(1 if state == "matched" else 0)
