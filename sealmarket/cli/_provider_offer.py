"""`provider offer`: what a provider offers, and its own limits."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from sealmarket.cli._groups import takes
from sealmarket.cli._options import (
    AcceptCode,
    AsJson,
    BookFile,
    KeyFile,
    OwnChain,
    RpcUrl,
    Usage,
    amount,
    answer,
    choice,
    load_key,
    market,
)
from sealmarket.client.platform_evidence import PlatformEvidence
from sealmarket.client.provider import DAY, MOST_BYTES, STAKE_MULTIPLE, Offer, Provider
from sealmarket.client.windows import PROVIDER_STAGES as STAGES
from sealmarket.client.windows import Stages
from sealmarket.files import read_file
from sealmarket.protocol.amounts import written
from sealmarket.protocol.capability import Capability
from sealmarket.protocol.moments import duration, moment
from sealmarket.protocol.orders import ComputeOrder
from sealmarket_enclave.protocol.codec import ZERO_HASH, Bytes32, Uint64, decode
from sealmarket_enclave.protocol.errors import MalformedDocument
from sealmarket_enclave.protocol.numbers import Grade, Tee


@dataclass(frozen=True, slots=True, kw_only=True)
class OfferOptions:
    """The options of one offer, as the command line has them."""

    price: Annotated[str, typer.Option(help="For each job: 1500, or 1.5coin.")]
    penalty: Annotated[str, typer.Option(help="What you pay, beside the owners' loss, for a job lost by your fault.")]
    volume: Annotated[int, typer.Option(help="For how many jobs.", min=1, max=2**32 - 1)] = 1
    unit_price: Annotated[str, typer.Option(help="For each metered unit.")] = "0"
    tee: Annotated[str, typer.Option(help="sgx, tdx, snp, cca or nitro.")] = "tdx"
    simulated: Annotated[
        bool, typer.Option("--simulated", help="Your device is virtual: NO hardware stands behind its evidence.")
    ] = False
    platform: Annotated[
        Path | None,
        typer.Option(
            help="Your device's own evidence, from `sealmarket worker attest`: without it only --simulated is offered.",
            exists=True,
        ),
    ] = None
    days: Annotated[int, typer.Option(help="How long the offer stands.", min=1, max=3650)] = 30
    max_stake: Annotated[
        str | None,
        typer.Option(
            help="Most of your stake that one job may lock, owners' prices and penalty together: you lose it if your"
            f" side goes silent after acceptance. Without it: the penalty and {STAKE_MULTIPLE} times the price."
        ),
    ] = None
    timeout_fee: Annotated[
        str | None, typer.Option(help="What you are paid when a workload uses up its time. Without it: the price.")
    ] = None
    min_quote_window: Annotated[
        int | None, typer.Option(help="Least seconds for launching an enclave. Without it: the market's least.", min=0)
    ] = None
    min_settle_window: Annotated[
        int | None, typer.Option(help="Least seconds from acceptance to the result. Without it: the market's.", min=0)
    ] = None
    max_hold: Annotated[
        int | None,
        typer.Option(help="Most seconds for which a job may lock your stake. Without it: twice what jobs take.", min=0),
    ] = None
    run_seconds: Annotated[int, typer.Option(help="Most seconds that a workload may run.", min=1)] = STAGES.run
    read_seconds: Annotated[int, typer.Option(help="Most seconds for reading and opening its inputs.", min=1)] = (
        STAGES.read
    )
    validate_seconds: Annotated[
        int, typer.Option(help="Most seconds for the owners' checks of its outputs.", min=1)
    ] = STAGES.validate
    decoded_bytes: Annotated[int, typer.Option(help="Most bytes that its inputs may take once opened.", min=1)] = int(
        MOST_BYTES
    )
    capability: Annotated[
        Path | None,
        typer.Option(
            help="A capability document (JSON): what you promise of platform and enclave; consumers name it"
            " in their requests. Evidence that breaks it costs the penalty.",
            exists=True,
        ),
    ] = None


@takes(OfferOptions)
def offer(
    options: OfferOptions,
    book: BookFile,
    rpc: RpcUrl,
    key_file: KeyFile,
    accept_code: AcceptCode = None,
    development: OwnChain = False,
    as_json: AsJson = False,
) -> None:
    """Sign an offer to run jobs, within your own limits, and put it into the order book.

    Hardware is offered on the device's own evidence only (--platform); a virtual device is offered with --simulated.
    A job outside any of these limits is never matched with you. The penalty must at least pay the oracle when your
    platform is at fault; less is refused before anything is signed.

    Example: sealmarket provider offer --price 0.5coin --penalty 0.1coin --volume 100 --book market.json --rpc URL
    --key-file provider.key
    """
    document = None if options.capability is None else _capability(options.capability)
    offered = _offer(options, document.digest() if document else ZERO_HASH)
    with market(book, rpc, accept_code) as (chain, store, api):
        if document is not None:
            store.put_document(document.canonical())
        order = Provider(chain, load_key(key_file), api, development=development).offer(offered)
    answer(order, _offered(order), as_json)


def _offer(options: OfferOptions, capability_hash: Bytes32) -> Offer:
    return Offer(
        tee=Tee[choice(options.tee, "sgx", "tdx", "snp", "cca", "nitro").upper()],
        grade=Grade.SIMULATED if options.simulated else Grade.HARDWARE,
        price=amount(options.price),
        penalty=amount(options.penalty),
        volume=options.volume,
        unit_price=amount(options.unit_price),
        max_stake=None if options.max_stake is None else amount(options.max_stake),
        timeout_fee=None if options.timeout_fee is None else amount(options.timeout_fee),
        min_quote_window=options.min_quote_window,
        min_settle_window=options.min_settle_window,
        max_hold=options.max_hold,
        stages=Stages(run=options.run_seconds, read=options.read_seconds, validate=options.validate_seconds),
        max_decoded_bytes=Uint64(options.decoded_bytes),
        capability_hash=capability_hash,
        platform=None if options.platform is None else _platform(options.platform),
        valid_for=options.days * DAY,
    )


def _offered(order: ComputeOrder) -> list[str]:
    platform, stake = f"{order.grade.name.lower()} {order.tee.name}", written(order.max_stake, order.token)
    return [
        f"offer {order.struct_hash()} is in the book",
        f"  {order.volume} jobs on {platform}, {written(order.price, order.token)} each, until {moment(order.expiry)}",
        f"  one job locks at most {stake} of your stake, for at most {duration(order.max_hold)}",
        f"  it runs at most {duration(order.max_run_seconds)};"
        f" one that uses up its time pays {written(order.timeout_fee, order.token)}",
        "next: sealmarket provider doctor, then sealmarket worker run",
    ]


def _platform(path: Path) -> PlatformEvidence:
    try:
        return decode(PlatformEvidence, read_file(path))
    except (OSError, MalformedDocument) as error:
        remedy = "make it with: sealmarket worker attest --config worker.toml > platform.json"
        raise Usage(f"{path} is no evidence of a platform: {error}", remedy=remedy) from error


def _capability(path: Path) -> Capability:
    try:
        return decode(Capability, read_file(path))
    except MalformedDocument as error:
        remedy = "docs/spec/job.md says what it holds"
        raise Usage(f"{path} is no capability document: {error.message}", remedy=remedy) from error
