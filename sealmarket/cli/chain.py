"""Read a market on its chain: its contracts, the final block, the balance of an account."""

from __future__ import annotations

from typing import Annotated

import typer

from sealmarket.cli._options import AsJson, BookFile, RpcUrl, account_option, answer, coins, market
from sealmarket.client.books import load_book
from sealmarket.protocol.moments import beside
from sealmarket_enclave.protocol.codec import ZERO_ADDRESS, to_builtins

app = typer.Typer(no_args_is_help=True, help="Read a market on its chain.")


@app.command()
def status(book: BookFile, rpc: RpcUrl, as_json: AsJson = False) -> None:
    """Is this the right chain, what is final, does the chain know the book's committees, and which of them end?

    Example: sealmarket chain status --book market.json --rpc http://127.0.0.1:8545
    """
    from sealmarket.chain.contracts import members_hash

    with market(book, rpc) as (chain, *_):
        head, final = chain.head(), chain.final()
        view = chain.at(final)
        known = {
            c.epoch: view.committee_hash(c.epoch) == members_hash(c, view.removed_members(c.epoch))
            for c in chain.book.committees
        }
        ends = {c.epoch: view.epoch_end(c.epoch) for c in chain.book.committees}
        paused = view.paused()
    payload = {
        "chainId": chain.book.chain_id,
        "head": {"number": head.number, "hash": str(head.hash)},
        "final": {"number": final.number, "hash": str(final.hash)},
        "finality": chain.book.finality.describe(),
        "committees": {str(epoch): right for epoch, right in known.items()},
        "epochEnds": {str(epoch): ends_at for epoch, ends_at in ends.items() if ends_at},
        "matchingPaused": paused,
    }
    lines = [
        f"chain {chain.book.chain_id}, head {head.number}, final {final.number} ({chain.book.finality.describe()})",
        f"market {chain.book.market.checksum}{', matching PAUSED' if paused else ''}",
        *(
            f"committee of epoch {epoch}: {'as the chain has it' if right else 'NOT the one on chain'}"
            f"{f', ends {beside(ends[epoch], head.timestamp)}' if ends[epoch] else ''}"
            for epoch, right in known.items()
        ),
    ]
    answer(payload, lines, as_json)
    raise typer.Exit(0 if all(known.values()) else 1)


@app.command()
def book(book: BookFile, as_json: AsJson = False) -> None:
    """Show an address book.

    Example: sealmarket chain book --book market.json
    """
    found = load_book(book)
    lines = [
        f"chain      {found.chain_id}, final: {found.finality.describe()}",
        f"registry   {found.registry.checksum}",
        f"committee  {found.committee.checksum}",
        f"market     {found.market.checksum}, since block {found.deployed_at}",
        f"timing     final within {found.timing.finality_seconds} s, transfers {found.timing.transfer_allowance} s, "
        f"holding {found.timing.hold_rate} x 10^-18 a second",
        f"shortest   quote {found.timing.windows.quote}, decide {found.timing.windows.decide}, "
        f"settle {found.timing.windows.settle}, challenge {found.timing.windows.challenge} s",
        f"store      {found.store}",
        f"backend    {found.backend}",
    ]
    for committee in found.committees:
        lines.append(f"epoch {committee.epoch}: {committee.threshold} of {len(committee.members)}")
        lines += [f"  {member.signer.checksum}  {member.url}" for member in committee.members]
    answer(to_builtins(found), lines, as_json)


@app.command()
def account(
    holder: Annotated[str, typer.Argument(help="An account.")], book: BookFile, rpc: RpcUrl, as_json: AsJson = False
) -> None:
    """What an account holds in the market: free and staked.

    Example: sealmarket chain account 0xACCOUNT --book market.json --rpc URL
    """
    address = account_option(holder)
    with market(book, rpc) as (chain, *_):
        head = chain.head()
        found = chain.at(head).account(ZERO_ADDRESS, address)
    payload = {"free": str(int(found.free)), "staked": str(int(found.staked)), "block": head.number}
    answer(payload, [f"free {coins(found.free)}, staked {coins(found.staked)} (block {head.number})"], as_json)
