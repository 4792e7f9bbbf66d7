"""Stake, offer compute, and collect what your enclaves earned; `sealmarket worker` runs the jobs."""

from __future__ import annotations

from typing import Annotated

import typer

from sealmarket.cli._options import (
    AcceptCode,
    AsJson,
    BookFile,
    KeyFile,
    MaxFee,
    OwnChain,
    PriorityFee,
    RpcUrl,
    amount,
    answer,
    coins,
    earlier,
    load_key,
    market,
    sending,
    withdraw_free,
)
from sealmarket.cli._provider_doctor import doctor
from sealmarket.cli._provider_money import balance, history
from sealmarket.cli._provider_offer import offer
from sealmarket.cli._provider_serve import serve
from sealmarket.client.provider import Provider

app = typer.Typer(no_args_is_help=True, help="Stake, offer compute, and collect what your enclaves earned.")

_Amount = Annotated[str, typer.Argument(help="1500 in the smallest unit, or 1.5coin.")]


for command in (balance, history, doctor, offer, serve):
    app.command()(command)


@app.command()
def stake(
    value: _Amount,
    book: BookFile,
    rpc: RpcUrl,
    key_file: KeyFile,
    accept_code: AcceptCode = None,
    max_fee: MaxFee = None,
    priority_fee: PriorityFee = None,
    development: OwnChain = False,
    as_json: AsJson = False,
) -> None:
    """Deposit and stake: a job locks what its owners are paid and your penalty, and you lose it by your own fault only.

    Example: sealmarket provider stake 10coin --book market.json --rpc URL --key-file provider.key
    """
    wanted = amount(value)
    with market(book, rpc, accept_code) as (chain, _, api):
        deposited, mined = Provider(
            chain, load_key(key_file), api, development=development, sending=sending(max_fee, priority_fee)
        ).stake(wanted)
    payload = {"staked": str(int(wanted)), "block": mined.block.number, "resumed": deposited.resumed}
    said = [f"staked {coins(wanted)} in block {mined.block.number}", *earlier(deposited)]
    answer(payload, [*said, "next: sealmarket provider offer"], as_json)


@app.command()
def unstake(
    book: BookFile,
    rpc: RpcUrl,
    key_file: KeyFile,
    value: Annotated[str | None, typer.Argument(help="How much; without, what has unbonded becomes free.")] = None,
    max_fee: MaxFee = None,
    priority_fee: PriorityFee = None,
    development: OwnChain = False,
    as_json: AsJson = False,
) -> None:
    """Begin to unbond stake, which then backs no further job; call it again without amount once the delay is over.

    Example: sealmarket provider unstake 10coin --book market.json --rpc URL --key-file provider.key
    """
    wanted = None if value is None else amount(value)
    with market(book, rpc) as (chain, _, api):
        provider = Provider(
            chain, load_key(key_file), api, development=development, sending=sending(max_fee, priority_fee)
        )
        mined = provider.finish_unstake() if wanted is None else provider.unstake(wanted)
    payload = {"unbonding": None if wanted is None else str(int(wanted)), "block": mined.block.number}
    what = "what had unbonded is free" if wanted is None else f"{coins(wanted)} began to unbond"
    answer(payload, [f"{what} (block {mined.block.number})"], as_json)


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
    """Take out what is free, to your account.

    Example: sealmarket provider withdraw --book market.json --rpc URL --key-file provider.key
    """
    with market(book, rpc) as (chain, _, api):
        withdraw_free(
            chain,
            Provider(chain, load_key(key_file), api, development=development, sending=sending(max_fee, priority_fee)),
            as_json,
        )
