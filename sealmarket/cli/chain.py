"""A market on its chain: contracts, final block, an account; an epoch's beginning and end, a statement's anchor."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sealmarket.advisory_file import read_advisory
from sealmarket.cli._asking import Yes, confirm
from sealmarket.cli._options import (
    AsJson,
    BookFile,
    KeyFile,
    MaxFee,
    OwnChain,
    PriorityFee,
    RpcUrl,
    account_option,
    answer,
    coins,
    load_key,
    market,
    sending,
)
from sealmarket.client.books import load_book
from sealmarket.client.party import Party
from sealmarket.client.written import moment_of
from sealmarket.protocol.advisories import counts_from
from sealmarket.protocol.moments import beside, moment
from sealmarket_enclave.protocol.codec import ZERO_ADDRESS, to_builtins

app = typer.Typer(no_args_is_help=True, help="Read a market on its chain; announce and end epochs; anchor an advisory.")


@app.command()
def status(book: BookFile, rpc: RpcUrl, as_json: AsJson = False) -> None:
    """Is this the right chain, what is final, does the chain know the book's committees, and which of them end?

    Example: sealmarket chain status --book market.json --rpc http://127.0.0.1:8545
    """
    from sealmarket.chain.committees import members_hash

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


@app.command()
def committee(
    nodes: Annotated[list[str], typer.Argument(help="Of each node its URL, or the file that its operator sent.")],
    threshold: Annotated[int, typer.Option(min=1, help="How many nodes have to agree.")],
    out: Annotated[Path, typer.Option(help="A new file for the committee.")],
    as_json: AsJson = False,
) -> None:
    """Make the file of a committee, from what each node says and signs of itself. Sends nothing to a chain.

    A node that does not answer, or says what does not fit, is named, and no file is made. Compare each address with
    what the node's operator tells you: a party that exchanged a file holds that seat.

    Example: sealmarket chain committee member-0.json https://oracle-1.example.org --threshold 2 --out committee.json
    """
    from sealmarket.operate.gathering import committee_lines, gather

    if out.exists():
        raise typer.BadParameter(f"{out} exists: name a new file", param_hint="--out")
    gathered = gather(nodes, threshold)
    made = gathered.committee
    with out.open("xb") as file:
        file.write(made.canonical())
    payload = {
        "epoch": made.epoch, "threshold": threshold, "out": str(out), "chainId": gathered.chain_id,
        "market": None if gathered.market is None else str(gathered.market),
        "members": [{"signer": str(one.signer), "url": one.url} for one in made.members],
    }  # fmt: skip
    step = "scripts/deploy --committee" if made.epoch == 1 else "sealmarket chain announce-epoch"
    answer(payload, [*committee_lines(gathered), f"{out} names it; next: {step} {out}"], as_json)


@app.command("announce-epoch")
def announce_epoch(
    committee: Annotated[Path, typer.Argument(help="The next epoch's committee: epoch, threshold, members.")],
    out: Annotated[Path, typer.Option(help="A new file for the address book that names it too.")],
    book: BookFile,
    rpc: RpcUrl,
    key_file: KeyFile,
    yes: Yes = False,
    max_fee: MaxFee = None,
    priority_fee: PriorityFee = None,
    development: OwnChain = False,
    as_json: AsJson = False,
) -> None:
    """Announce the committee of the next epoch. The committee's owner alone can.

    Jobs are matched under it after the market's delay. It waits until the announcement is final. Called again, it sends
    nothing, and writes the address book.

    Example: sealmarket chain announce-epoch committee-2.json --out market-2.json --key-file owner.key
    """
    from sealmarket.chain.deploy import write_book
    from sealmarket.client.books import digest_of
    from sealmarket.operate.committees import announce, read_next_committee

    if out.exists():
        raise typer.BadParameter(f"{out} exists: name a new file", param_hint="--out")
    found = read_next_committee(committee, load_book(book))
    agreed = f"{found.threshold} of {len(found.members)} nodes decide in epoch {found.epoch}; no one takes that back"
    confirm(agreed, yes=yes)
    with market(book, rpc) as (chain, *_):
        party = Party(chain, load_key(key_file), development=development, sending=sending(max_fee, priority_fee))
        announced = announce(chain, party, found)
    write_book(out, announced.book)
    digest = str(digest_of(announced.book))
    payload = {
        "epoch": found.epoch, "activeAt": announced.active_at, "sent": announced.sent, "book": str(out),
        "bookDigest": digest,
    }  # fmt: skip
    said = [
        f"epoch {found.epoch} {'is' if announced.sent else 'was'} announced: jobs can be matched under it from"
        f" {moment(announced.active_at)} on",
        f"{out} names it; its digest is {digest}",
        f"next: publish {out} where your users trust you, and send it to the operators of both epochs",
    ]
    answer(payload, said, as_json)


@app.command("end-epoch")
def end_epoch(
    epoch: Annotated[int, typer.Argument(min=1, help="The epoch that ends.")],
    at: Annotated[str, typer.Option(help="When: 2027-01-31, in 30 days, or seconds since 1970.")],
    book: BookFile,
    rpc: RpcUrl,
    key_file: KeyFile,
    yes: Yes = False,
    max_fee: MaxFee = None,
    priority_fee: PriorityFee = None,
    development: OwnChain = False,
    as_json: AsJson = False,
) -> None:
    """Announce when an epoch ends, once and for good. The committee's owner alone can.

    From then on no job of the epoch is matched that could last longer. Jobs under way keep their nodes until they end.

    Example: sealmarket chain end-epoch 1 --at "in 30 days" --book market.json --rpc URL --key-file owner.key
    """
    with market(book, rpc) as (chain, *_):
        ends_at = moment_of(at, chain.head().timestamp)
        confirm(f"epoch {epoch} ends at {moment(ends_at)}; that can be neither moved nor taken back", yes=yes)
        party = Party(chain, load_key(key_file), development=development, sending=sending(max_fee, priority_fee))
        mined = party.take(chain.committee_contract.end(epoch, ends_at))
    payload = {"epoch": epoch, "endsAt": ends_at, "block": mined.block.number}
    said = [
        f"epoch {epoch} ends at {moment(ends_at)} (block {mined.block.number})",
        "owners have until then to deal their keys to another committee: sealmarket owner rewrap",
    ]
    answer(payload, said, as_json)


@app.command("anchor-advisory")
def anchor_advisory(
    statement: Annotated[Path, typer.Argument(help="An advisory in a file, signed or not.")],
    book: BookFile,
    rpc: RpcUrl,
    key_file: KeyFile,
    max_fee: MaxFee = None,
    priority_fee: PriorityFee = None,
    development: OwnChain = False,
    as_json: AsJson = False,
) -> None:
    """Put the hash of a statement about platforms on chain. Any account can, once and for good.

    It counts for jobs that are matched later, at the nodes of operators that apply it. A hash that is anchored already
    is left as it is.

    Example: sealmarket chain anchor-advisory advisory.json --book market.json --rpc URL --key-file issuer.key
    """
    stated = read_advisory(statement)
    name = stated.name()
    with market(book, rpc) as (chain, *_):
        anchored_at = chain.at(chain.head()).advisory_anchors((name,))[name]
        if before := bool(anchored_at):
            said = f"advisory {name} was anchored at {moment(anchored_at)}: nothing is sent"
        else:
            party = Party(chain, load_key(key_file), development=development, sending=sending(max_fee, priority_fee))
            mined = party.take(chain.committee_contract.anchor_advisory(name))
            anchored_at = mined.block.timestamp
            said = f"advisory {name} is anchored (block {mined.block.number})"
    since = counts_from(stated, anchored_at)
    payload = {"advisory": str(name), "anchoredAt": anchored_at, "since": since, "anchoredBefore": before}
    counts = f"it counts for jobs matched from {moment(since)} on, at nodes whose operators apply it"
    answer(payload, [said, counts], as_json)
