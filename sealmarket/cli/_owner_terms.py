"""An owner's commands that change the terms of a published version. None of them can be undone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

import typer

from sealmarket.chain import AssetState, Chain
from sealmarket.cli._asking import Yes, confirm
from sealmarket.cli._groups import takes
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
    asset_option,
    coins,
    load_key,
    market,
    require_cards_of,
    sending,
    written,
)
from sealmarket.client.assets import asset_state
from sealmarket.client.owner import Owner
from sealmarket.client.verified import VerifiedMarket
from sealmarket.client.written import moment, moment_of
from sealmarket.protocol.purposes import purpose_bits, purposes_of
from sealmarket_enclave.protocol.numbers import AssetId

app = typer.Typer()

AssetArgument = Annotated[str, typer.Argument(metavar="ASSET", help="The asset: 0xID, 0xID:VERSION, or its card.")]
VersionArgument = Annotated[
    int | None, typer.Argument(metavar="[VERSION]", help="The version, unless ASSET names it.", min=1)
]


def version_of(asset: str, version: int | None) -> tuple[AssetId, int]:
    """The version that a command is about: by its asset or by its own argument, and version 1 by neither."""
    asset_id, named = asset_option(asset)
    if version is not None and named is not None and version != named:
        raise Usage(f"{asset} names version {named}, and the argument version {version}", remedy="name one of them")
    return asset_id, version or named or 1


@dataclass(frozen=True, slots=True, kw_only=True)
class TighterTerms:
    """The options of `owner tighten` that name a change."""

    price: Annotated[str | None, typer.Option(help="A higher price: 0.5coin, or 1500 in the smallest unit.")] = None
    expiry: Annotated[str | None, typer.Option(help="An earlier end: 2027-01-31, in 90 days, or seconds.")] = None
    max_uses: Annotated[int | None, typer.Option(help="Fewer uses.", min=0)] = None
    purposes: Annotated[
        str | None, typer.Option(help="Fewer purposes, with commas: train, fine_tune, infer, query.")
    ] = None
    max_hold: Annotated[int | None, typer.Option(help="Fewer seconds for which a job may hold a use.", min=0)] = None
    timeout_share: Annotated[
        int | None, typer.Option(help="A higher percentage of the price for a use whose job ran out of time.", max=100)
    ] = None

    def changes(self) -> dict[str, Any]:
        """What is named, as fields of :class:`Terms`. Raises :class:`Usage` where nothing is."""
        named: dict[str, Any] = {
            "price": amount(self.price) if self.price else None,
            "expiry": written(lambda text: moment_of(text, 0), self.expiry) if self.expiry else None,
            "max_uses": self.max_uses,
            "purposes": written(purpose_bits, self.purposes) if self.purposes else None,
            "max_hold": self.max_hold,
            "timeout_share": self.timeout_share,
        }
        changes = {name: value for name, value in named.items() if value is not None}
        if not changes:
            raise Usage(
                "nothing to tighten was named",
                remedy="name --price, --expiry, --max-uses, --purposes, --max-hold or --timeout-share",
            )
        return changes


@app.command()
@takes(TighterTerms)
def tighten(
    wanted: TighterTerms,
    asset: AssetArgument,
    book: BookFile,
    rpc: RpcUrl,
    key_file: KeyFile,
    version: VersionArgument = None,
    yes: Yes = False,
    accept_code: AcceptCode = None,
    max_fee: MaxFee = None,
    priority_fee: PriorityFee = None,
    development: OwnChain = False,
    as_json: AsJson = False,
) -> None:
    """Tighten terms that are in force, from the next block on: for every later match. They never loosen again.

    A job that is not accepted yet ends by fewer purposes or an earlier end; other changes leave it alone.

    Example: sealmarket owner tighten 0xASSET --max-uses 10 --book market.json --rpc URL --key-file owner.key
    """
    asset_id, number = version_of(asset, version)
    changes = wanted.changes()
    with market(book, rpc, accept_code) as (chain, store, api):
        require_cards_of(chain.book, (asset,))
        account = load_key(key_file)
        owner = Owner(chain, account, store, api, development=development, sending=sending(max_fee, priority_fee))
        VerifiedMarket(chain).require()
        state, now = _own(chain, owner, asset_id, number), chain.head().timestamp
        if wanted.expiry and wanted.expiry.startswith("in "):
            changes["expiry"] = written(lambda text: moment_of(text, now), wanted.expiry)
        _require_tighter(state, changes, now)
        confirm(_consequence(state, changes, now), yes=yes)
        mined = owner.tighten(asset_id, number, **changes)
        terms = asset_state(chain, mined.block, asset_id, number).terms
    shown = ", ".join(f"{name.replace('_', ' ')} {_value(name, value, now)}" for name, value in changes.items())
    answer(terms, [f"tightened in block {mined.block.number}: {shown}"], as_json)


@app.command()
def lift(
    asset: AssetArgument,
    book: BookFile,
    rpc: RpcUrl,
    key_file: KeyFile,
    version: VersionArgument = None,
    yes: Yes = False,
    accept_code: AcceptCode = None,
    max_fee: MaxFee = None,
    priority_fee: PriorityFee = None,
    development: OwnChain = False,
    as_json: AsJson = False,
) -> None:
    """Let a suspended version be matched again. An enclave could not open it: first find out why.

    The price, one decision's oracle fees, is shown first; it is taken from your balance in the market and burned.

    Example: sealmarket owner lift 0xASSET --book market.json --rpc URL --key-file owner.key
    """
    asset_id, number = version_of(asset, version)
    with market(book, rpc, accept_code) as (chain, store, api):
        require_cards_of(chain.book, (asset,))
        account = load_key(key_file)
        owner = Owner(chain, account, store, api, development=development, sending=sending(max_fee, priority_fee))
        state = asset_state(chain, chain.head(), asset_id, number)
        if not state.suspended:
            raise Usage(f"version {number} of asset {asset_id} is not suspended", remedy="nothing: it can be matched")
        price, free = owner.lift_price(asset_id, number), owner.earnings(state.terms.token)
        if free < price:
            raise Usage(
                f"lifting it costs {coins(price)}, and you have {coins(free)} in the market: {coins(price - free)} more"
                " are needed",
                remedy="sealmarket consumer deposit puts coin into an account's balance, an owner's too",
            )
        confirm(f"lifting it costs {coins(price)}, burned; you have {coins(free)} in the market", yes=yes)
        mined = owner.lift(asset_id, number)
    payload = {"assetId": str(asset_id), "version": number, "burned": str(int(price)), "block": mined.block.number}
    answer(payload, [f"lifted in block {mined.block.number}: it can be matched again"], as_json)


@app.command()
def revoke(
    asset: AssetArgument,
    book: BookFile,
    rpc: RpcUrl,
    key_file: KeyFile,
    version: VersionArgument = None,
    yes: Yes = False,
    max_fee: MaxFee = None,
    priority_fee: PriorityFee = None,
    development: OwnChain = False,
    as_json: AsJson = False,
) -> None:
    """Stop every later match, acceptance and release of a version, for good.

    Example: sealmarket owner revoke 0xASSET --book market.json --rpc URL --key-file owner.key
    """
    asset_id, number = version_of(asset, version)
    with market(book, rpc) as (chain, store, api):
        require_cards_of(chain.book, (asset,))
        account = load_key(key_file)
        owner = Owner(chain, account, store, api, development=development, sending=sending(max_fee, priority_fee))
        state = _own(chain, owner, asset_id, number)
        left = max(0, state.terms.max_uses - state.uses_taken)
        confirm(f"version {number} of asset {asset_id} ends for good, with {left} uses left", yes=yes)
        mined = owner.revoke(asset_id, number)
    payload = {
        "assetId": str(asset_id),
        "version": number,
        "block": mined.block.number,
        "transaction": str(mined.transaction),
    }
    said = f"revoked in block {mined.block.number}; jobs whose shares were released before continue"
    answer(payload, [said], as_json)


def _own(chain: Chain, owner: Owner, asset_id: AssetId, version: int) -> AssetState:
    """A version of the caller's own. Raises :class:`UnknownAsset`, :class:`Usage`."""
    state = asset_state(chain, chain.head(), asset_id, version)
    if state.owner != owner.address:
        raise Usage(
            f"asset {asset_id} belongs to {state.owner.checksum}, not to {owner.address.checksum}",
            remedy="use the owner's account (--key-file)",
        )
    return state


def _require_tighter(state: AssetState, changes: dict[str, Any], now: int) -> None:
    """Refuse a change that the registry would refuse, before anything is paid for it, in figures for people."""
    for name, value in changes.items():
        present = getattr(state.terms, name)
        rises = name in {"price", "timeout_share"}
        looser = value & ~present if name == "purposes" else value < present if rises else value > present
        if looser:
            raise Usage(
                f"{name.replace('_', ' ')} is {_value(name, present, now)}, and {_value(name, value, now)} is looser",
                remedy="terms only tighten; for looser ones seal and publish the next version (owner seal --after)",
            )


def _consequence(state: AssetState, changes: dict[str, Any], now: int) -> str:
    """What will be gone, in a sentence."""
    if changes.get("expiry", now + 1) <= now:
        return (
            f"an expiry at {moment(changes['expiry'], now)} is in the past: this version ends for good, with "
            f"{max(0, state.terms.max_uses - state.uses_taken)} uses left"
        )
    if changes.get("max_uses", state.uses_taken + 1) <= state.uses_taken:
        return f"{state.uses_taken} uses are taken: with at most {changes['max_uses']} this version ends for good"
    parts = (
        f"{name.replace('_', ' ')} from {_value(name, getattr(state.terms, name), now)} to {_value(name, value, now)}"
        for name, value in changes.items()
    )
    return f"terms never loosen again: {'; '.join(parts)}"


def _value(name: str, value: Any, now: int) -> str:
    if name == "price":
        return coins(value)
    if name == "expiry":
        return moment(value, now)
    return ", ".join(one.name.lower() for one in purposes_of(value)) or "none" if name == "purposes" else str(value)
