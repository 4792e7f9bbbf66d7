"""Stake, offer compute, and collect what your enclaves earned; `sealmarket worker` runs the jobs."""

from __future__ import annotations

from pathlib import Path
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
    Usage,
    amount,
    answer,
    choice,
    coins,
    earlier,
    load_key,
    market,
    sending,
    withdraw_free,
)
from sealmarket.client.provider import DAY, MOST_BYTES, STAKE_MULTIPLE, Offer, Provider
from sealmarket.client.windows import PROVIDER_STAGES, Stages
from sealmarket.files import read_file
from sealmarket.protocol.capability import Capability
from sealmarket.protocol.orders import ComputeOrder
from sealmarket_enclave.protocol.codec import ZERO_HASH, Uint64, decode
from sealmarket_enclave.protocol.errors import MalformedDocument
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
        deposited, mined = Provider(
            chain, load_key(key_file), api, development=development, sending=sending(max_fee, priority_fee)
        ).stake(wanted)
    payload = {"staked": str(int(wanted)), "block": mined.block.number, "resumed": deposited.resumed}
    said = [f"staked {coins(wanted)} in block {mined.block.number}", *earlier(deposited)]
    answer(payload, [*said, "next: sealmarket provider offer"], as_json)


@app.command()
def offer(
    book: BookFile,
    rpc: RpcUrl,
    key_file: KeyFile,
    price: Annotated[str, typer.Option(help="For each job: 1500, or 1.5coin.")],
    penalty: Annotated[str, typer.Option(help="What you pay, beside the owners' loss, for a job lost by your fault.")],
    volume: Annotated[int, typer.Option(help="For how many jobs.", min=1, max=2**32 - 1)] = 1,
    unit_price: Annotated[str, typer.Option(help="For each metered unit.")] = "0",
    tee: Annotated[str, typer.Option(help="sgx, tdx, snp, cca or nitro.")] = "tdx",
    simulated: Annotated[
        bool, typer.Option("--simulated", help="Your device is virtual: NO hardware stands behind its evidence.")
    ] = False,
    days: Annotated[int, typer.Option(help="How long the offer stands.", min=1, max=3650)] = 30,
    max_stake: Annotated[
        str | None,
        typer.Option(
            help="Most of your stake that one job may lock, owners' prices and penalty together: you lose it if your"
            f" side goes silent after acceptance. Without it: the penalty and {STAKE_MULTIPLE} times the price."
        ),
    ] = None,
    timeout_fee: Annotated[
        str | None, typer.Option(help="What you are paid when a workload uses up its time. Without it: the price.")
    ] = None,
    min_quote_window: Annotated[
        int | None, typer.Option(help="Least seconds for launching an enclave. Without it: the market's least.", min=0)
    ] = None,
    min_settle_window: Annotated[
        int | None, typer.Option(help="Least seconds from acceptance to the result. Without it: the market's.", min=0)
    ] = None,
    max_hold: Annotated[
        int | None,
        typer.Option(help="Most seconds for which a job may lock your stake. Without it: twice what jobs take.", min=0),
    ] = None,
    run_seconds: Annotated[
        int, typer.Option(help="Most seconds that a workload may run.", min=1)
    ] = PROVIDER_STAGES.run,
    read_seconds: Annotated[
        int, typer.Option(help="Most seconds for reading and opening its inputs.", min=1)
    ] = PROVIDER_STAGES.read,
    validate_seconds: Annotated[
        int, typer.Option(help="Most seconds for the owners' checks of its outputs.", min=1)
    ] = PROVIDER_STAGES.validate,
    decoded_bytes: Annotated[int, typer.Option(help="Most bytes that its inputs may take once opened.", min=1)] = int(
        MOST_BYTES
    ),
    capability: Annotated[
        Path | None,
        typer.Option(
            help="A capability document (JSON): what you promise of platform and enclave; consumers name it"
            " in their requests. Evidence that breaks it costs the penalty.",
            exists=True,
        ),
    ] = None,
    accept_code: AcceptCode = None,
    development: OwnChain = False,
    as_json: AsJson = False,
) -> None:
    """Sign an offer to run jobs, within your own limits, and put it into the order book.

    A job outside any of these limits is never matched with you. The penalty must at least pay the oracle when your
    platform is at fault; less is refused before anything is signed.

    Example: sealmarket provider offer --price 0.5coin --penalty 0.1coin --volume 100 --book market.json --rpc URL
    --key-file provider.key
    """
    document = None if capability is None else _capability(capability)
    offered = Offer(
        tee=Tee[choice(tee, "sgx", "tdx", "snp", "cca", "nitro").upper()],
        grade=Grade.SIMULATED if simulated else Grade.HARDWARE,
        price=amount(price),
        penalty=amount(penalty),
        volume=volume,
        unit_price=amount(unit_price),
        max_stake=None if max_stake is None else amount(max_stake),
        timeout_fee=None if timeout_fee is None else amount(timeout_fee),
        min_quote_window=min_quote_window,
        min_settle_window=min_settle_window,
        max_hold=max_hold,
        stages=Stages(run=run_seconds, read=read_seconds, validate=validate_seconds),
        max_decoded_bytes=Uint64(decoded_bytes),
        capability_hash=document.digest() if document else ZERO_HASH,
        valid_for=days * DAY,
    )
    with market(book, rpc, accept_code) as (chain, store, api):
        if document is not None:
            store.put_document(document.canonical())
        order = Provider(chain, load_key(key_file), api, development=development).offer(offered)
    answer(order, _offered(order, days), as_json)


def _offered(order: ComputeOrder, days: int) -> list[str]:
    platform = f"{order.grade.name.lower()} {order.tee.name}"
    return [
        f"offer {order.struct_hash()} is in the book",
        f"  {order.volume} jobs on {platform}, {coins(order.price)} each, for {days} days",
        f"  one job locks at most {coins(order.max_stake)} of your stake, for at most {order.max_hold} s",
        f"  it runs at most {order.max_run_seconds} s; one that uses up its time pays {coins(order.timeout_fee)}",
        "next: sealmarket worker run",
    ]


def _capability(path: Path) -> Capability:
    try:
        return decode(Capability, read_file(path))
    except MalformedDocument as error:
        remedy = "docs/spec/job.md says what it holds"
        raise Usage(f"{path} is no capability document: {error.message}", remedy=remedy) from error


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
