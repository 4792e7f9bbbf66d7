"""Seal data, publish it under your terms, tighten or revoke them, approve workloads, collect what it earned."""

from __future__ import annotations

from pathlib import Path
from shlex import quote
from typing import Annotated

import typer

from sealmarket.cli import (
    _owner_account,
    _owner_describe,
    _owner_policy,
    _owner_proposals,
    _owner_releases,
    _owner_sell,
    _owner_terms,
)
from sealmarket.cli._card_text import ASSET_CARD, card_lines, write_card
from sealmarket.cli._data import DataFile, Steps, data_of
from sealmarket.cli._options import (
    AcceptCode,
    AsJson,
    BookFile,
    DealtEpoch,
    KeyFile,
    MaxFee,
    OwnChain,
    PassphraseFile,
    PriorityFee,
    RpcUrl,
    Usage,
    answer,
    load_key,
    market,
    read_passphrase,
    sending,
)
from sealmarket.cli._owner_describe import Describe, described
from sealmarket.cli._owner_policy import draft_of, moment_option
from sealmarket.client.draft import PolicyDraft
from sealmarket.client.errors import AlreadyPublished
from sealmarket.client.owner import Owner
from sealmarket.client.sealed_asset import SUMMARY, SealedAsset
from sealmarket.protocol.schema import json_schema

app = typer.Typer(no_args_is_help=True, help="Seal data, publish it under your terms, collect what it earned.")
app.add_typer(_owner_policy.app, name="policy")
_PARTS = _owner_describe, _owner_sell, _owner_terms, _owner_account, _owner_proposals, _owner_releases
for _part in (part.app for part in _PARTS):
    app.add_typer(_part)

_Now = Annotated[
    str | None, typer.Option("--now", help="The moment by which terms are over; without it, the chain's clock.")
]


@app.command()
def seal(
    file: DataFile,
    policy: Annotated[Path, typer.Option("--policy", help="Your policy draft (JSON).", exists=True)],
    out: Annotated[Path, typer.Option("--out", help="A new folder for ciphertext, shares, policy and key.")],
    book: BookFile,
    rpc: RpcUrl,
    key_file: KeyFile,
    after: Annotated[Path | None, typer.Option(help="The folder of the version that this one succeeds.")] = None,
    epoch: DealtEpoch = None,
    passphrase_file: PassphraseFile = None,
    plain_key: Annotated[
        bool, typer.Option("--plain-key", help="Keep the data key unencrypted in its file (mode 0600).")
    ] = False,
    now: _Now = None,
    reader: Annotated[
        Path | None, typer.Option(help="The folder of the reader that the data card names, if it is your own.")
    ] = None,
    describe: Describe = False,
    development: OwnChain = False,
    as_json: AsJson = False,
) -> None:
    """Encrypt data, split the key over the oracle nodes, and write it all to a folder. Publishes nothing.

    Example: sealmarket owner seal patients.csv --policy policy.json --out sealed --book market.json --rpc URL
    --key-file owner.key
    """
    draft, when = draft_of(policy), moment_option(now)
    draft = described(draft, file) if describe else draft
    passphrase = None if plain_key else read_passphrase(passphrase_file, "Passphrase for the data key", confirm=True)
    with market(book, rpc) as (chain, store, api):
        owner = Owner(chain, load_key(key_file), store, api, development=development)
        sealed = owner.seal(
            data_of(file),
            draft,
            out,
            epoch=epoch,
            passphrase=passphrase,
            confirm_unencrypted_key=plain_key,
            successor_of=SealedAsset.load(after) if after else None,
            now=when,
            reader=reader,
        )
    lines = [
        f"sealed as asset {sealed.asset_id} version {sealed.version} in {out}",
        f"  ciphertext  {sealed.seal.content_root}  ({sealed.summary.container_length} bytes)",
        f"  policy      {sealed.seal.policy_hash}",
        f"  data key    {out / 'data.key'}: keep a copy elsewhere, it cannot be made again",
        f"next: sealmarket owner publish {quote(str(out))}",
    ]
    answer(sealed.summary, lines, as_json)


@app.command()
def publish(
    folder: Annotated[Path, typer.Argument(help="What `owner seal` wrote.", exists=True, file_okay=False)],
    book: BookFile,
    rpc: RpcUrl,
    key_file: KeyFile,
    card: Annotated[
        Path | None, typer.Option("--card", help=f"Where the card for consumers goes. Without it: {ASSET_CARD} there.")
    ] = None,
    steps: Steps = None,
    now: _Now = None,
    accept_code: AcceptCode = None,
    max_fee: MaxFee = None,
    priority_fee: PriorityFee = None,
    development: OwnChain = False,
    as_json: AsJson = False,
) -> None:
    """Upload a sealed folder and put its terms on chain. Writes the card that consumers' commands take as the asset.

    Example: sealmarket owner publish sealed --book market.json --rpc URL --key-file owner.key
    """
    if not (folder / SUMMARY).is_file():
        raise Usage(f"{folder} holds no sealed asset", remedy="make one with `sealmarket owner seal`")
    when = moment_option(now)
    typer.echo("checking the sealed folder and uploading it", err=True)
    sealed = SealedAsset.load(folder)
    with market(book, rpc, accept_code) as (chain, store, api):
        owner = Owner(
            chain, load_key(key_file), store, api, development=development, sending=sending(max_fee, priority_fee)
        )
        place = card or folder / ASSET_CARD
        try:
            mined = owner.publish(sealed, now=when, steps=steps or ())
        except AlreadyPublished:
            # An earlier command may have ended before it wrote the card.
            write_card(sealed, place, owner.address, chain.book)
            raise
        made = write_card(sealed, place, owner.address, chain.book)
    payload = {
        "assetId": str(sealed.asset_id),
        "version": sealed.version,
        "transaction": str(mined.transaction),
        "block": mined.block.number,
        "gasUsed": mined.gas_used,
        "card": str(place),
    }
    lines = [
        f"published asset {sealed.asset_id} version {sealed.version}",
        f"  in block {mined.block.number}, transaction {mined.transaction}",
        *card_lines(made, mined.block.timestamp),
        f"next: send {quote(str(place))} to your consumers; they use it where commands take an asset",
    ]
    answer(payload, lines, as_json)


@app.command("policy-schema")
def policy_schema() -> None:
    """The JSON Schema of a policy draft, as `owner seal --policy` takes it.

    Example: sealmarket owner policy-schema > draft.schema.json
    """
    answer(json_schema(PolicyDraft), [], True)
