"""See what is on sale, who offers compute, the order book, and jobs."""

from __future__ import annotations

import json
from contextlib import closing
from itertools import islice
from typing import Annotated

import typer

from sealmarket.cli._asking import progress
from sealmarket.cli._market_text import asset_lines, asset_payload, job_lines, job_payload, order_lines, provider_lines
from sealmarket.cli._options import (
    AsJson,
    BookFile,
    KeyFile,
    RpcUrl,
    account_option,
    amount,
    answer,
    choice,
    hash_option,
    load_key,
    market,
)
from sealmarket.cli._plain import harmless
from sealmarket.client.browsing import Browser
from sealmarket.client.signing import address_of, identity_of
from sealmarket.client.written import moment
from sealmarket.market_api.stream import TOPICS, ChangeStream, Missed
from sealmarket.protocol.transitions import Status
from sealmarket_enclave.protocol.codec import to_builtins

app = typer.Typer(no_args_is_help=True, help="See what is on sale, who offers compute, the order book, and jobs.")

_Limit = Annotated[int, typer.Option(help="How many are shown.", min=1, max=100)]
_Before = Annotated[str | None, typer.Option(help="Go on where the page before ended, as it says.")]
BACKENDS_PART = "that these are all is the backend's statement; each was checked against the chain"


@app.command()
def assets(
    book: BookFile,
    rpc: RpcUrl,
    text: Annotated[str, typer.Argument(help="Words of the title.")] = "",
    column: Annotated[str, typer.Option(help="A column that the data card names.")] = "",
    purpose: Annotated[
        str, typer.Option(help="train, fine_tune, infer or query; or a code: DUO:0000042, dpv:AcademicResearch.")
    ] = "",
    kind: Annotated[str, typer.Option(help="The kind of data, as the data card names it.")] = "",
    owner: Annotated[str | None, typer.Option(help="An owner's account.")] = None,
    min_price: Annotated[str, typer.Option(help="Least price: 1500, or 0.5coin.")] = "0",
    max_price: Annotated[str | None, typer.Option(help="Most price: 1500, or 0.5coin.")] = None,
    limit: _Limit = 20,
    before: _Before = None,
    as_json: AsJson = False,
) -> None:
    """Search the assets on sale. What is shown of each is read from the chain and its owner's documents.

    Example: sealmarket market assets diabetes --purpose train --column age --max-price 1coin --book market.json
    --rpc URL
    """
    wanted = {
        "text": text,
        "column": column,
        "purpose": purpose,
        "kind": kind,
        "owner": account_option(owner) if owner else None,
        "least": int(amount(min_price)),
        "most": None if max_price is None else int(amount(max_price)),
        "cursor": before,
        "limit": limit,
    }
    with market(book, rpc) as (chain, store, api):
        progress("searching, and checking what was found")
        found, following = Browser(chain, store, api).assets(wanted)
        now = chain.head().timestamp
    lines = [line for one in found for line in asset_lines(one, now)] or ["no asset fits"]
    lines += [f"next page: --before {following}"] if following is not None else []
    payload = {"assets": [asset_payload(one) for one in found], "next": following}
    answer(payload, [*lines, BACKENDS_PART], as_json)


@app.command()
def providers(book: BookFile, rpc: RpcUrl, limit: _Limit = 20, as_json: AsJson = False) -> None:
    """Who offers compute: TEEs, cheapest price, free stake, and the record of jobs, as the chain has them.

    Example: sealmarket market providers --book market.json --rpc URL
    """
    with market(book, rpc) as (chain, store, api):
        progress("reading the book, and each provider's account")
        found = Browser(chain, store, api).providers(limit)
    lines = [line for one in found for line in provider_lines(one)] or ["no provider offers compute yet"]
    payload = [
        {
            "provider": one.address.checksum,
            "tees": [f"{grade.slug} {tee.slug}" for tee, grade in one.tees],
            "cheapest": str(int(one.cheapest)),
            "offers": one.offers,
            "staked": str(int(one.account.staked)),
            "record": {name: getattr(one.account, name) for name in ("settled", "failed", "refused", "expired")},
        }
        for one in found
    ]
    answer(payload, [*lines, BACKENDS_PART], as_json)


@app.command("book")
def book_command(
    book: BookFile,
    rpc: RpcUrl,
    tee: Annotated[str | None, typer.Option(help="sgx, tdx, snp, cca or nitro.")] = None,
    limit: _Limit = 20,
    as_json: AsJson = False,
) -> None:
    """The open offers of compute, the cheapest first. Each is signed by its provider, which is checked here.

    Example: sealmarket market book --tee tdx --book market.json --rpc URL
    """
    kind = None if tee is None else choice(tee, "sgx", "tdx", "snp", "cca", "nitro")
    with market(book, rpc) as (chain, store, api):
        progress("reading the book")
        found = Browser(chain, store, api).offers(kind, limit)
        now = chain.head().timestamp
    lines = [line for order, used in found for line in order_lines(order, used, now)] or ["no offer is open"]
    payload = [{"order": to_builtins(order), "hash": str(order.struct_hash()), "used": used} for order, used in found]
    answer(payload, [*lines, BACKENDS_PART], as_json)


@app.command("order")
def order_command(
    order: Annotated[str, typer.Argument(help="Hash of an offer, of compute or of an asset.")],
    book: BookFile,
    rpc: RpcUrl,
    as_json: AsJson = False,
) -> None:
    """Where an offer stands in the book, and why nothing is matched with it. This is the backend's statement.

    Example: sealmarket market order 0xORDER --book market.json --rpc URL
    """
    with market(book, rpc) as (_, _, api):
        found = api.orders.order(hash_option(order))
    answer(to_builtins(found), [found.state + (f": {found.reason}" if found.reason else "")], as_json)


@app.command()
def warnings(book: BookFile, rpc: RpcUrl, key_file: KeyFile, as_json: AsJson = False) -> None:
    """What of yours ends within a week, or holds no more: terms, offers, requests, promises, epochs and platforms.

    You sign in with your account: a backend shows it to no other. That it is all is the backend's statement. Which
    platform is refused, and from when, is what the oracle nodes say that it counts.

    Example: sealmarket market warnings --book market.json --rpc URL --key-file owner.key
    """
    account = load_key(key_file)
    with market(book, rpc) as (chain, _store, api):
        api.sign_in_as(identity_of(account, chain.book))
        found, now = api.warnings(address_of(account)), chain.head().timestamp
    lines = []
    for one in found:
        when = f"until {moment(one.until, now)}" if one.until else "now"
        version = f" version {one.version}" if one.version else ""
        named = "platform of job" if one.kind == "platform" else one.kind.replace("_", " ")
        lines += [f"{named} {one.subject}{version}, {when}", f"  {one.text}: {one.remedy}"]
    answer({"warnings": to_builtins(found)}, lines or ["nothing of yours ends within a week"], as_json)


@app.command()
def watch(
    book: BookFile,
    rpc: RpcUrl,
    topics: Annotated[str, typer.Option(help="With commas between: " + ", ".join(TOPICS))] = ",".join(TOPICS),
    subject: Annotated[str | None, typer.Option(help="One job, request or offer alone.")] = None,
    since: Annotated[str | None, typer.Option(help="Go on behind this id, as an earlier call printed it.")] = None,
    most: Annotated[int | None, typer.Option(help="End after so many changes.", min=1)] = None,
    as_json: AsJson = False,
) -> None:
    """Show changes of jobs, requests and offers as they come, until you stop it. This is the backend's statement.

    A lost connection is taken up again, so each change comes once, in order. With --json each is an object on one line.

    Example: sealmarket market watch --topics jobs --book market.json --rpc URL
    """
    named = None if subject is None else hash_option(subject)
    chosen = [choice(topic.strip(), *TOPICS) for topic in topics.split(",")]
    with market(book, rpc) as (chain, _store, _api), closing(ChangeStream(chain.book.backend)) as stream:
        progress(f"following {', '.join(chosen)}{' from now on' if since is None else ''}; Ctrl-C ends it")
        for change in islice(stream.follow(chosen, named, since), most):
            if as_json:
                typer.echo(json.dumps(to_builtins(change)))
            elif isinstance(change, Missed):
                typer.echo(harmless(f"missed: {change.reason}  ({change.id})"))
            else:
                typer.echo(harmless(f"{change.topic} {change.subject} {change.state}  ({change.id})"))


@app.command()
def jobs(
    book: BookFile,
    rpc: RpcUrl,
    provider: Annotated[str | None, typer.Option(help="A provider's account.")] = None,
    consumer: Annotated[str | None, typer.Option(help="A consumer's account.")] = None,
    status: Annotated[str | None, typer.Option(help="matched, quoted, accepted, settled, matured, ...")] = None,
    limit: _Limit = 20,
    before: _Before = None,
    as_json: AsJson = False,
) -> None:
    """Jobs, the newest first, with the status that the chain has of each.

    Example: sealmarket market jobs --provider 0xACCOUNT --book market.json --rpc URL
    """
    names = [one.name.lower() for one in Status if one is not Status.NONE]
    wanted = None if status is None else Status[choice(status, *names).upper()]
    with market(book, rpc) as (chain, store, api):
        progress("reading the newest jobs")
        found, following = Browser(chain, store, api).jobs(
            provider=account_option(provider) if provider else None,
            consumer=account_option(consumer) if consumer else None,
            status=wanted,
            cursor=before,
            limit=limit,
        )
    lines = [line for one, at in found for line in job_lines(one, at)] or ["no job fits"]
    lines += [f"next page: --before {following}"] if following is not None else []
    lines.append(
        "the status is the chain's, the rest the backend's statement: `consumer explain JOB` reads the chain alone"
    )
    answer([job_payload(one, at) for one, at in found], lines, as_json)
