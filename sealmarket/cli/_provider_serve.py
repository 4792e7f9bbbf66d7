"""`provider serve`: a service of this provider's own enclave, under terms that every owner allows."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from msgspec import UNSET

from sealmarket.cli._asking import Yes, progress, require_yes
from sealmarket.cli._consumer_request import address_of
from sealmarket.cli._groups import takes
from sealmarket.cli._infer_service import metered
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
    asset_option,
    choice,
    coins,
    hash_option,
    load_key,
    market,
    pending_folder,
    sending,
)
from sealmarket.cli._request_options import open_result_key, parameters_of
from sealmarket.client.requests import AssetWish
from sealmarket.client.services import ServiceMaker, ServicePlan, UnsignedService, pending_service
from sealmarket.protocol.moments import moment
from sealmarket.protocol.orders import Purpose
from sealmarket.workloads.folders import read_bundle
from sealmarket_enclave.protocol.codec import ZERO_HASH, Uint64
from sealmarket_enclave.protocol.numbers import Grade, JobId, Tee

NEXT = ("next: sealmarket worker run serves it",)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServeOptions:
    """The options of one service, as the command line has them."""

    workload: Annotated[Path, typer.Option("--workload", help="The workload's folder, of kind session.", exists=True)]
    asset: Annotated[list[str], typer.Option("--asset", help="0xID, 0xID:VERSION, or its card; repeat in order.")]
    result_key: Annotated[Path, typer.Option("--result-key", help="The last statements are sealed to this key.")]
    state: Annotated[Path, typer.Option("--state", help="The state folder of your worker of kind session.")]
    unit_price: Annotated[str, typer.Option(help="For each unit: 1500, or 0.001coin. Owners' royalties come from it.")]
    lease: Annotated[int, typer.Option(help="Most units served and not yet redeemed.", min=1)]
    penalty: Annotated[str, typer.Option(help="What you pay, beside the owners' loss, for an end by your fault.")]
    hours: Annotated[int, typer.Option(help="How long it takes requests, from its match on.", min=1, max=719)] = 24
    lease_seconds: Annotated[int, typer.Option(help="How long one renewal of the nodes lasts.", min=1)] = 600
    bucket: Annotated[int, typer.Option(help="Units in statements are multiples of it.", min=1)] = 1
    least_tab: Annotated[str, typer.Option(help="Least that a user locks.")] = "1"
    renewal_fee: Annotated[str, typer.Option(help="For each node that signs a renewal, once in half a lease.")] = "0"
    parameter: Annotated[list[str] | None, typer.Option("--parameter", help="name=value; values are JSON or text.")] = (
        None
    )
    purpose: Annotated[str, typer.Option(help="train, fine_tune, infer or query.")] = "infer"
    tee: Annotated[str, typer.Option(help="sgx, tdx, snp, cca or nitro.")] = "tdx"
    simulated: Annotated[
        bool, typer.Option("--simulated", help="Your device is virtual: NO hardware stands behind its evidence.")
    ] = False
    capability: Annotated[str | None, typer.Option(help="The hash of the capability document that you promise.")] = None
    passphrase_file: Annotated[
        Path | None, typer.Option("--passphrase-file", help="A file with the result key's passphrase.")
    ] = None


@takes(ServeOptions)
def serve(
    options: ServeOptions,
    book: BookFile,
    rpc: RpcUrl,
    key_file: KeyFile,
    yes: Yes = False,
    accept_code: AcceptCode = None,
    max_fee: MaxFee = None,
    priority_fee: PriorityFee = None,
    development: OwnChain = False,
    as_json: AsJson = False,
) -> None:
    """Make a service: terms, order and request of your own account, matched at once. Your worker serves it.

    Owners' prices are paid from your free balance when a key is joined, whatever is served, and the bond is locked
    there: deposit both, and stake. Terms beyond an owner's policy are refused before anything is signed. A call that
    was interrupted after it signed is finished by the next one, which names its service and makes no other.

    Example: sealmarket provider serve --workload chat --asset 0xID --result-key result.key --state worker
    --unit-price 0.00001coin --lease 100000 --penalty 0.1coin --book market.json --rpc URL --key-file provider.key
    """
    plan, wishes = _plan(options), [_wish(text) for text in options.asset]
    bundle, secret = read_bundle(options.workload), open_result_key(options.result_key, options.passphrase_file)
    with market(book, rpc, accept_code) as (chain, store, api):
        account, limits = load_key(key_file), sending(max_fee, priority_fee)
        maker = ServiceMaker(chain, account, store, api, development=development, sending=limits)
        pending = pending_service(pending_folder(), chain.book, address_of(key_file))
        if (before := maker.earlier(pending)) is not None:
            answer(
                {"service": str(before)}, [f"service {before}, of an earlier call that was interrupted", *NEXT], as_json
            )
            return
        made = maker.compose(bundle, parameters_of(options.parameter), wishes, plan, secret)
        for line in _terms_lines(made):
            progress(line)
        for warning in made.warnings:
            progress(f"WARNING: {warning}")
        require_yes("Sign and match this service?", yes=yes)
        job_id = maker.make(made, options.state, pending)
    answer(_payload(job_id, made), [f"service {job_id}", *NEXT], as_json)


def _plan(options: ServeOptions) -> ServicePlan:
    return ServicePlan(
        unit_price=amount(options.unit_price),
        lease=Uint64(options.lease),
        seconds=options.hours * 3600,
        penalty=amount(options.penalty),
        lease_seconds=options.lease_seconds,
        bucket=Uint64(options.bucket),
        least_tab=amount(options.least_tab),
        renewal_fee=amount(options.renewal_fee),
        tee=Tee[choice(options.tee, "sgx", "tdx", "snp", "cca", "nitro").upper()],
        grade=Grade.SIMULATED if options.simulated else Grade.HARDWARE,
        purpose=Purpose[choice(options.purpose, "train", "fine_tune", "infer", "query").upper()],
        capability_hash=ZERO_HASH if options.capability is None else hash_option(options.capability),
    )


def _wish(text: str) -> AssetWish:
    asset, version = asset_option(text)
    return AssetWish(asset_id=asset, version=version or 1)


def _terms_lines(made: UnsignedService) -> list[str]:
    terms = made.terms
    return [
        f"{coins(terms.unit_price)} for each unit, until {moment(terms.end)}",
        f"{coins(made.opening_price)} to the owners when a key is joined; {coins(made.bond)} as bond",
        metered(made.meter),
    ]


def _payload(job_id: JobId, made: UnsignedService) -> dict[str, object]:
    return {
        "service": str(job_id),
        "terms": str(made.unsigned.request.extension_hash),
        "openingPrice": str(int(made.opening_price)),
        "bond": str(int(made.bond)),
        "end": made.terms.end,
        "meter": None if made.meter is UNSET else str(made.meter),
        "warnings": list(made.warnings),
    }
