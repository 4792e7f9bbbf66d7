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
    choice,
    coins,
    load_key,
    market,
    sending,
    withdraw_free,
)
from sealmarket.client.provider import DAY, Provider
from sealmarket_enclave.protocol.numbers import Grade, Tee

app = typer.Typer(no_args_is_help=True, help="Stake, offer compute, and collect what your enclaves earned.")

_Amount = Annotated[str, typer.Argument(help="1500 in the smallest unit, or 1.5coin.")]


@app.command()
def balance(
    book: BookFile, rpc: RpcUrl, key_file: KeyFile, development: OwnChain = False, as_json: AsJson = False
) -> None:
    """What you may take out, and what backs jobs.

    Example: sealmarket provider balance --book market.json --rpc URL --key-file provider.key
    """
    with market(book, rpc) as (chain, _, api):
        found = Provider(chain, load_key(key_file), api, development=development).balances()
    payload = {"free": str(int(found.free)), "staked": str(int(found.staked))}
    answer(payload, [f"free {coins(found.free)}, staked {coins(found.staked)}"], as_json)


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
        _, mined = Provider(
            chain, load_key(key_file), api, development=development, sending=sending(max_fee, priority_fee)
        ).stake(wanted)
    payload = {"staked": str(int(wanted)), "block": mined.block.number}
    answer(
        payload, [f"staked {coins(wanted)} in block {mined.block.number}", "next: sealmarket provider offer"], as_json
    )


@app.command()
def offer(
    book: BookFile,
    rpc: RpcUrl,
    key_file: KeyFile,
    price: Annotated[str, typer.Option(help="For each job: 1500, or 1.5coin.")],
    penalty: Annotated[str, typer.Option(help="What you pay, beside the owners' loss, for a job lost by your fault.")],
    volume: Annotated[int, typer.Option(help="For how many jobs.", min=1, max=2**32 - 1)] = 1,
    unit_price: Annotated[str, typer.Option(help="For each metered unit.")] = "0",
    tee: Annotated[str, typer.Option(help="sgx, tdx, snp or cca.")] = "tdx",
    simulated: Annotated[
        bool, typer.Option("--simulated", help="Your device is virtual: NO hardware stands behind its evidence.")
    ] = False,
    days: Annotated[int, typer.Option(help="How long the offer stands.", min=1, max=3650)] = 30,
    accept_code: AcceptCode = None,
    development: OwnChain = False,
    as_json: AsJson = False,
) -> None:
    """Sign an offer to run jobs, and put it into the order book.

    Example: sealmarket provider offer --price 0.5coin --penalty 0.1coin --volume 100 --book market.json --rpc URL
    --key-file provider.key
    """
    asked, most_lost, unit = amount(price), amount(penalty), amount(unit_price)
    kind = Tee[choice(tee, "sgx", "tdx", "snp", "cca").upper()]
    grade = Grade.SIMULATED if simulated else Grade.HARDWARE
    with market(book, rpc, accept_code) as (chain, _, api):
        provider = Provider(chain, load_key(key_file), api, development=development)
        order = provider.offer(
            tee=kind,
            grade=grade,
            price=asked,
            penalty=most_lost,
            volume=volume,
            unit_price=unit,
            valid_for=days * DAY,
        )
    lines = [
        f"offer {order.struct_hash()} is in the book",
        f"  {volume} jobs on {grade.name.lower()} {kind.name}, {coins(order.price)} each, for {days} days",
        "next: sealmarket worker run",
    ]
    answer(order, lines, as_json)


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
