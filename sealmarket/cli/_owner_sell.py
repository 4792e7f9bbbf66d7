"""`owner sell`: seal and publish in one go."""

from __future__ import annotations

from pathlib import Path
from shlex import quote
from typing import Annotated

import typer

from sealmarket.cli._card_text import ASSET_CARD, card_lines, write_card
from sealmarket.cli._data import DataFile, Steps, data_of
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
    answer,
    load_key,
    market,
    read_passphrase,
    sending,
)
from sealmarket.cli._owner_describe import Describe, described
from sealmarket.cli._owner_policy import draft_of
from sealmarket.cli._reporting import report
from sealmarket.client.owner import Owner
from sealmarket.client.sealed_asset import KEY

app = typer.Typer()


@app.command()
def sell(
    file: DataFile,
    policy: Annotated[Path, typer.Option("--policy", help="Your policy draft (JSON).", exists=True)],
    out: Annotated[Path, typer.Option("--out", help="A new folder for ciphertext, shares, policy, key and card.")],
    book: BookFile,
    rpc: RpcUrl,
    key_file: KeyFile,
    passphrase_file: PassphraseFile = None,
    plain_key: Annotated[
        bool, typer.Option("--plain-key", help="Keep the data key unencrypted in its file (mode 0600).")
    ] = False,
    describe: Describe = False,
    steps: Steps = None,
    accept_code: AcceptCode = None,
    max_fee: MaxFee = None,
    priority_fee: PriorityFee = None,
    development: OwnChain = False,
    as_json: AsJson = False,
) -> None:
    """Seal data and publish it in one go: `owner seal`, then `owner publish`. Writes the card for consumers.

    Example: sealmarket owner sell patients.csv --policy policy.json --out sealed
    """
    draft = described(draft_of(policy), file) if describe else draft_of(policy)
    passphrase = None if plain_key else read_passphrase(passphrase_file, "Passphrase for the data key", confirm=True)
    with market(book, rpc, accept_code) as (chain, store, api):
        limits = sending(max_fee, priority_fee)
        owner = Owner(chain, load_key(key_file), store, api, development=development, sending=limits)
        plain = passphrase is None
        sealed = owner.seal_and_publish(
            data_of(file),
            draft,
            out,
            passphrase=passphrase,
            confirm_unencrypted_key=plain,
            steps=steps or (),
            on_progress=report,
        )
        card = write_card(sealed, out / ASSET_CARD, owner.address, chain.book)
        now = chain.head().timestamp
    place = out / ASSET_CARD
    payload = {"assetId": str(sealed.asset_id), "version": sealed.version, "card": str(place)}
    lines = [
        f"published asset {sealed.asset_id} version {sealed.version}",
        *card_lines(card, now),
        f"  data key    {out / KEY}: keep a copy elsewhere, it cannot be made again",
        f"next: send {quote(str(place))} to your consumers; they use it where commands take an asset",
    ]
    answer(payload, lines, as_json)
