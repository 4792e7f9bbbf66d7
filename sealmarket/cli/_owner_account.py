"""An owner's commands that only read: what is on sale, what it earned, and who used it. One of them withdraws."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path
from typing import Annotated, Any

import typer

from sealmarket.chain import Chain
from sealmarket.cli._options import (
    AsJson,
    BookFile,
    KeyFile,
    MaxFee,
    OwnChain,
    PriorityFee,
    RpcUrl,
    Usage,
    account_option,
    answer,
    choice,
    coins,
    home_folder,
    load_key,
    market,
    sending,
)
from sealmarket.cli._plain import plain
from sealmarket.client.accounts import address_in
from sealmarket.client.answers import GivenAnswers
from sealmarket.client.assets import OwnedVersion, UsedAsset, owned_versions, uses_of
from sealmarket.client.audit import COLUMNS, Catalogue, audit, names_in
from sealmarket.client.csv_file import csv_text
from sealmarket.client.owner import Owner
from sealmarket.client.signing import identity_of
from sealmarket.client.written import iso, moment
from sealmarket.files import read_file
from sealmarket.market_api.client import MarketApi
from sealmarket.protocol.book import AddressBook
from sealmarket.protocol.proposals import SignedAnswer
from sealmarket.service.errors import ServiceError
from sealmarket_enclave.protocol.codec import ZERO_ADDRESS, Address, Wei, parse_json

app = typer.Typer()

_Account = Annotated[str | None, typer.Option("--account", help="Another owner's account: all of this is public.")]
_OptionalKey = Annotated[
    Path | None, typer.Option("--key-file", envvar="SEALMARKET_KEY_FILE", help="Your account; or name --account.")
]


@app.command("list")
def list_command(
    book: BookFile, rpc: RpcUrl, key_file: _OptionalKey = None, account: _Account = None, as_json: AsJson = False
) -> None:
    """List your assets: each version with its state, uses, price and end, and what it has earned.

    Example: sealmarket owner list --book market.json --rpc URL --key-file owner.key
    """
    owner = _owner(key_file, account)
    with market(book, rpc) as (chain, store, _api):
        block = chain.final()
        versions = owned_versions(chain, owner, block)
        earned: dict[tuple[bytes, int], int] = defaultdict(int)
        for used in uses_of(chain, owner, block, _progress):
            earned[used.use.asset_id, used.use.version] += int(used.paid)
        catalogue = Catalogue(store, {})
        titles = {one.published.seal.policy_hash: _title(catalogue, one) for one in versions}
    payload, lines = [], []
    for one in versions:
        title = titles[one.published.seal.policy_hash]
        sum_ = Wei(earned[one.published.asset_id, one.published.version])
        payload.append(_version_payload(one, title, sum_, block.timestamp))
        lines += _version_lines(one, title, sum_, block.timestamp)
    if not versions:
        lines = [f"{owner.checksum} has published nothing up to block {block.number}, which is final"]
    answer(payload, lines, as_json)


@app.command()
def earnings(
    book: BookFile,
    rpc: RpcUrl,
    key_file: KeyFile,
    withdraw: Annotated[bool, typer.Option("--withdraw", help="Take all of it out, to your account.")] = False,
    jobs: Annotated[bool, typer.Option("--jobs", help="Name each job that paid, and how much.")] = False,
    max_fee: MaxFee = None,
    priority_fee: PriorityFee = None,
    development: OwnChain = False,
    as_json: AsJson = False,
) -> None:
    """What each asset earned, by token and exactly, and what you have not taken out.

    Example: sealmarket owner earnings --jobs --book market.json --rpc URL --key-file owner.key
    """
    with market(book, rpc) as (chain, store, api):
        account = load_key(key_file)
        owner = Owner(chain, account, store, api, development=development, sending=sending(max_fee, priority_fee))
        free, block = owner.earnings(ZERO_ADDRESS), chain.final()
        uses = [used for used in uses_of(chain, owner.address, block, _progress) if used.paid]
        mined = owner.withdraw(ZERO_ADDRESS, free) if withdraw and free else None
    sums: dict[tuple[str, int, Address], int] = defaultdict(int)
    for used in uses:
        sums[str(used.use.asset_id), used.use.version, used.matched.spec.token] += int(used.paid)
    payload: dict[str, Any] = {"free": str(int(free)), "withdrawn": mined is not None, "block": block.number}
    payload["assets"] = [
        {"assetId": asset, "version": version, "token": token.checksum, "earned": str(sum_)}
        for (asset, version, token), sum_ in sums.items()
    ]
    payload["jobs"] = [_paid_payload(used) for used in uses]
    lines = [f"{asset} version {version}: {_money(sum_, token)}" for (asset, version, token), sum_ in sums.items()]
    lines += [line for used in uses for line in _paid_lines(used)] if jobs else []
    lines.append(f"{coins(free)} {'withdrawn' if mined else 'to withdraw'}")
    answer(payload, lines, as_json)


@app.command("audit")
def audit_command(
    book: BookFile,
    rpc: RpcUrl,
    key_file: _OptionalKey = None,
    account: _Account = None,
    form: Annotated[str, typer.Option("--format", help="csv or json.")] = "csv",
    out: Annotated[Path | None, typer.Option("--out", help="A new file; without it, the standard output.")] = None,
    names: Annotated[
        Path | None, typer.Option("--names", help='Your names for accounts: {"0xACCOUNT": "Name"}.', exists=True)
    ] = None,
) -> None:
    """Export who used your assets, when, for what, with which workload, and what was paid; with your approvals.

    Example: sealmarket owner audit --out audit.csv --book market.json --rpc URL --key-file owner.key
    """
    choice(form, "csv", "json")
    if out is not None and out.exists():
        raise Usage(f"{out} exists", remedy="name a new file")
    owner = _owner(key_file, account)
    known = {} if names is None else names_in(_json(names))
    with market(book, rpc) as (chain, store, api):
        block = chain.final()
        answers = [*GivenAnswers(home_folder(), chain.book, owner), *_posted(api, chain.book, owner, key_file)]
        unique = {signed.signature: signed for signed in answers}
        lines = audit(chain, owner, block, Catalogue(store, known), unique.values(), _progress)
        about = _about(chain, owner, block.number, block.timestamp)
    text = csv_text(COLUMNS, lines) if form == "csv" else json.dumps(about | {"lines": lines}, indent=2) + "\n"
    if out is None:
        typer.echo(text, nl=False)
    else:
        out.write_text(text, encoding="utf-8", newline="")
        typer.echo(f"{len(lines)} lines up to block {block.number} ({iso(block.timestamp)}) written to {out}")


def _about(chain: Chain, owner: Address, block: int, timestamp: int) -> dict[str, Any]:
    return {
        "version": "sealmarket/audit/1",
        "owner": owner.checksum,
        "chainId": chain.book.chain_id,
        "market": chain.book.market.checksum,
        "block": block,
        "until": iso(timestamp),
    }


def _posted(api: MarketApi, book: AddressBook, owner: Address, key_file: Path | None) -> tuple[SignedAnswer, ...]:
    """The answers that the market's server has, which it gives to their owner alone; without it or the key, those that
    were given on this machine."""
    if key_file is None:
        typer.echo("approvals are those of this machine alone: --key-file reads those on the server", err=True)
        return ()
    try:
        api.sign_in_as(identity_of(load_key(key_file), book))
        return api.proposals.answers_about(owner)
    except (ServiceError, Usage) as error:
        typer.echo(f"WARNING: approvals are those of this machine alone: {error.message}", err=True)
        return ()


def _json(path: Path) -> object:
    try:
        return parse_json(read_file(path))
    except ValueError as error:
        raise Usage(f"{path} is no JSON", remedy='write {"0xACCOUNT": "Name"}') from error


def _owner(key_file: Path | None, account: str | None) -> Address:
    if account is not None:
        return account_option(account)
    if key_file is None:
        raise Usage("no owner is named", remedy="give --key-file, or --account")
    return address_in(key_file) or Address.parse(load_key(key_file).address.lower())


def _title(catalogue: Catalogue, one: OwnedVersion) -> str:
    return catalogue.describe(one.published.seal.policy_hash)[0]


def _version_payload(one: OwnedVersion, title: str, earned: Wei, now: int) -> dict[str, Any]:
    terms = one.state.terms
    return {
        "assetId": str(one.published.asset_id),
        "version": one.published.version,
        "title": title,
        "state": one.standing(now),
        "usesLeft": one.uses_left,
        "maxUses": terms.max_uses,
        "price": str(int(terms.price)),
        "earned": str(int(earned)),
        "token": terms.token.checksum,
        "expiry": iso(terms.expiry),
        "termsVersion": one.state.terms_version,
    }


def _version_lines(one: OwnedVersion, title: str, earned: Wei, now: int) -> list[str]:
    terms = one.state.terms
    return [
        f"{one.published.asset_id} version {one.published.version}: {one.standing(now)}",
        f"  {plain(title, 100) or 'its policy is not in the store'}",
        f"  {one.uses_left} of {terms.max_uses} uses left, {_money(int(terms.price), terms.token)} each",
        f"  earned {_money(int(earned), terms.token)}",
        f"  until {moment(terms.expiry, now)}",
    ]


def _paid_payload(used: UsedAsset) -> dict[str, Any]:
    assert used.paid_by is not None
    return {
        "jobId": str(used.matched.job_id),
        "assetId": str(used.use.asset_id),
        "version": used.use.version,
        "paid": str(int(used.paid)),
        "token": used.matched.spec.token.checksum,
        "block": used.paid_by.at.block_number,
        "transaction": str(used.paid_by.at.transaction),
    }


def _paid_lines(used: UsedAsset) -> list[str]:
    assert used.paid_by is not None
    paid = _money(int(used.paid), used.matched.spec.token)
    return [
        f"job {used.matched.job_id}",
        f"  {paid} for {used.use.asset_id!s} version {used.use.version}, block {used.paid_by.at.block_number}",
    ]


def _money(amount: int, token: Address) -> str:
    return coins(amount) if token == ZERO_ADDRESS else f"{amount} of token {token.checksum}"


def _progress(done: int, total: int) -> None:
    if total > 20 and (done % 20 == 0 or done == total):
        typer.echo(f"  {done} of {total} jobs read", err=True)
