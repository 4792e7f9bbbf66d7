"""Seal data, publish it under your terms, tighten or revoke them, collect what it earned."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

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
    hash_option,
    load_key,
    market,
    read_passphrase,
    sending,
)
from sealmarket.client.draft import PolicyDraft
from sealmarket.client.owner import SUMMARY, Owner, SealedAsset
from sealmarket.files import read_file
from sealmarket.protocol.schema import json_schema
from sealmarket_enclave.protocol.codec import ZERO_ADDRESS, decode
from sealmarket_enclave.protocol.errors import MalformedDocument
from sealmarket_enclave.protocol.numbers import AssetId

app = typer.Typer(no_args_is_help=True, help="Seal data, publish it under your terms, collect what it earned.")

_Asset = Annotated[str, typer.Argument(help="The asset's id (0x and 64 digits).")]
_Version = Annotated[int, typer.Argument(help="The asset's version.", min=1)]


@app.command()
def seal(
    file: Annotated[Path, typer.Argument(help="The data.", exists=True, dir_okay=False)],
    policy: Annotated[Path, typer.Option("--policy", help="Your policy draft (JSON).", exists=True)],
    out: Annotated[Path, typer.Option("--out", help="A new folder for ciphertext, shares, policy and key.")],
    book: BookFile,
    rpc: RpcUrl,
    key_file: KeyFile,
    after: Annotated[Path | None, typer.Option(help="The folder of the version that this one succeeds.")] = None,
    passphrase_file: PassphraseFile = None,
    plain_key: Annotated[
        bool, typer.Option("--plain-key", help="Keep the data key unencrypted in its file (mode 0600).")
    ] = False,
    development: OwnChain = False,
    as_json: AsJson = False,
) -> None:
    """Encrypt data, split the key over the oracle nodes, and write it all to a folder. Publishes nothing.

    Example: sealmarket owner seal patients.csv --policy policy.json --out sealed --book market.json --rpc URL
    --key-file owner.key
    """
    draft = _draft(policy)
    passphrase = None if plain_key else read_passphrase(passphrase_file, "Passphrase for the data key", confirm=True)
    with market(book, rpc) as (chain, store, api):
        owner = Owner(chain, load_key(key_file), store, api, development=development)
        sealed = owner.seal(
            file,
            draft,
            out,
            passphrase=passphrase,
            confirm_unencrypted_key=plain_key,
            successor_of=SealedAsset.load(after) if after else None,
        )
    lines = [
        f"sealed as asset {sealed.asset_id} version {sealed.version} in {out}",
        f"  ciphertext  {sealed.seal.content_root}  ({sealed.summary.container_length} bytes)",
        f"  policy      {sealed.seal.policy_hash}",
        f"  data key    {out / 'data.key'}: keep it, it cannot be made again",
        f"next: sealmarket owner publish {out}",
    ]
    answer(sealed.summary, lines, as_json)


@app.command()
def publish(
    folder: Annotated[Path, typer.Argument(help="What `owner seal` wrote.", exists=True, file_okay=False)],
    book: BookFile,
    rpc: RpcUrl,
    key_file: KeyFile,
    accept_code: AcceptCode = None,
    max_fee: MaxFee = None,
    priority_fee: PriorityFee = None,
    development: OwnChain = False,
    as_json: AsJson = False,
) -> None:
    """Upload a sealed folder and put its terms on chain.

    Example: sealmarket owner publish sealed --book market.json --rpc URL --key-file owner.key
    """
    if not (folder / SUMMARY).is_file():
        raise Usage(f"{folder} holds no sealed asset", remedy="make one with `sealmarket owner seal`")
    sealed = SealedAsset.load(folder)
    with market(book, rpc, accept_code) as (chain, store, api):
        mined = Owner(
            chain, load_key(key_file), store, api, development=development, sending=sending(max_fee, priority_fee)
        ).publish(sealed)
    payload = {
        "assetId": str(sealed.asset_id),
        "version": sealed.version,
        "transaction": str(mined.transaction),
        "block": mined.block.number,
        "gasUsed": mined.gas_used,
    }
    lines = [
        f"published asset {sealed.asset_id} version {sealed.version}",
        f"  in block {mined.block.number}, transaction {mined.transaction}",
        f"  price {coins(sealed.terms.price)} a use, at most {sealed.terms.max_uses} uses",
    ]
    answer(payload, lines, as_json)


@app.command()
def tighten(
    asset: _Asset,
    version: _Version,
    book: BookFile,
    rpc: RpcUrl,
    key_file: KeyFile,
    price: Annotated[str | None, typer.Option(help="A higher price: 1500, or 1.5coin.")] = None,
    expiry: Annotated[int | None, typer.Option(help="An earlier end, in seconds since 1970 UTC.")] = None,
    max_uses: Annotated[int | None, typer.Option(help="Fewer uses.")] = None,
    purposes: Annotated[
        int | None, typer.Option(help="Fewer purposes: train 1, fine-tune 2, infer 4, query 8.")
    ] = None,
    max_hold: Annotated[int | None, typer.Option(help="Fewer seconds for which a job may hold a use.", min=0)] = None,
    timeout_share: Annotated[
        int | None, typer.Option(help="A higher percentage of the price for a use whose job ran out of time.", max=100)
    ] = None,
    accept_code: AcceptCode = None,
    max_fee: MaxFee = None,
    priority_fee: PriorityFee = None,
    development: OwnChain = False,
    as_json: AsJson = False,
) -> None:
    """Tighten terms that are in force, from the next block on: for every later match.

    A job that is not accepted yet ends by fewer purposes or an earlier end; other changes leave it alone.

    Example: sealmarket owner tighten 0xASSET 1 --max-uses 10 --book market.json --rpc URL --key-file owner.key
    """
    wanted: dict[str, Any] = {
        "price": amount(price) if price else None,
        "expiry": expiry,
        "max_uses": max_uses,
        "purposes": purposes,
        "max_hold": max_hold,
        "timeout_share": timeout_share,
    }
    changes = {name: value for name, value in wanted.items() if value is not None}
    if not changes:
        raise Usage(
            "nothing to tighten was named",
            remedy="name --price, --expiry, --max-uses, --purposes, --max-hold or --timeout-share",
        )
    asset_id = AssetId(hash_option(asset))
    with market(book, rpc, accept_code) as (chain, store, api):
        owner = Owner(
            chain, load_key(key_file), store, api, development=development, sending=sending(max_fee, priority_fee)
        )
        mined = owner.tighten(asset_id, version, **changes)
        terms = chain.at(mined.block).asset(asset_id, version).terms
    answer(terms, [f"tightened in block {mined.block.number}: {', '.join(changes)}"], as_json)


@app.command()
def lift(
    asset: _Asset,
    version: _Version,
    book: BookFile,
    rpc: RpcUrl,
    key_file: KeyFile,
    yes: Annotated[bool, typer.Option("--yes", help="Pay without being asked.")] = False,
    accept_code: AcceptCode = None,
    max_fee: MaxFee = None,
    priority_fee: PriorityFee = None,
    development: OwnChain = False,
    as_json: AsJson = False,
) -> None:
    """Let a suspended version be matched again. An enclave could not open it: first find out why.

    The price, one decision's oracle fees, is shown first; it is taken from your balance in the market and burned.

    Example: sealmarket owner lift 0xASSET 1 --book market.json --rpc URL --key-file owner.key
    """
    asset_id = AssetId(hash_option(asset))
    with market(book, rpc, accept_code) as (chain, store, api):
        owner = Owner(
            chain, load_key(key_file), store, api, development=development, sending=sending(max_fee, priority_fee)
        )
        state = chain.at(chain.head()).asset(asset_id, version)
        if not state.suspended:
            raise Usage(f"version {version} of asset {asset_id} is not suspended", remedy="nothing: it can be matched")
        price, free = owner.lift_price(asset_id, version), owner.earnings(state.terms.token)
        typer.echo(f"lifting it costs {coins(price)}, burned; you have {coins(free)} in the market", err=True)
        if free < price:
            raise Usage(
                f"{coins(price - free)} more are needed",
                remedy="sealmarket consumer deposit puts coin into an account's balance, an owner's too",
            )
        if not yes:
            typer.confirm("Pay it?", abort=True, err=True)
        mined = owner.lift(asset_id, version)
    payload = {"assetId": str(asset_id), "version": version, "burned": str(int(price)), "block": mined.block.number}
    answer(payload, [f"lifted in block {mined.block.number}: it can be matched again"], as_json)


@app.command()
def revoke(
    asset: _Asset,
    version: _Version,
    book: BookFile,
    rpc: RpcUrl,
    key_file: KeyFile,
    max_fee: MaxFee = None,
    priority_fee: PriorityFee = None,
    development: OwnChain = False,
    as_json: AsJson = False,
) -> None:
    """Stop every later match, acceptance and release of a version, for good.

    Example: sealmarket owner revoke 0xASSET 1 --book market.json --rpc URL --key-file owner.key
    """
    asset_id = AssetId(hash_option(asset))
    with market(book, rpc) as (chain, store, api):
        mined = Owner(
            chain, load_key(key_file), store, api, development=development, sending=sending(max_fee, priority_fee)
        ).revoke(asset_id, version)
    payload = {
        "assetId": str(asset_id),
        "version": version,
        "block": mined.block.number,
        "transaction": str(mined.transaction),
    }
    answer(
        payload, [f"revoked in block {mined.block.number}; jobs whose shares were released before continue"], as_json
    )


@app.command()
def earnings(
    book: BookFile,
    rpc: RpcUrl,
    key_file: KeyFile,
    withdraw: Annotated[bool, typer.Option("--withdraw", help="Take all of it out, to your account.")] = False,
    max_fee: MaxFee = None,
    priority_fee: PriorityFee = None,
    development: OwnChain = False,
    as_json: AsJson = False,
) -> None:
    """What your assets earned and you have not taken out.

    Example: sealmarket owner earnings --withdraw --book market.json --rpc URL --key-file owner.key
    """
    with market(book, rpc) as (chain, store, api):
        owner = Owner(
            chain, load_key(key_file), store, api, development=development, sending=sending(max_fee, priority_fee)
        )
        free = owner.earnings(ZERO_ADDRESS)
        mined = owner.withdraw(ZERO_ADDRESS, free) if withdraw and free else None
    payload = {"free": str(int(free)), "withdrawn": mined is not None}
    answer(payload, [f"{coins(free)} {'withdrawn' if mined else 'to withdraw'}"], as_json)


@app.command("policy-schema")
def policy_schema() -> None:
    """The JSON Schema of a policy draft, as `owner seal --policy` takes it.

    Example: sealmarket owner policy-schema > draft.schema.json
    """
    answer(json_schema(PolicyDraft), [], True)


def _draft(path: Path) -> PolicyDraft:
    try:
        return decode(PolicyDraft, read_file(path))
    except MalformedDocument as error:
        raise Usage(
            f"{path} is no policy draft: {error.message}", remedy="see `sealmarket owner policy-schema`"
        ) from error
