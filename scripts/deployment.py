"""Deploy a market to any chain, and write its address book.

    scripts/deploy --rpc URL --key-file deployer.key --finality finalized --committee committee.json
                   --store https://store.example --out market.json

The three contracts get addresses that follow from the deployer's account and nonce. What was begun is remembered
beside the address book (`market.json.deploying`), so the same command goes on after an interruption. The command says
what each part cost.

`--committee` names a JSON file `{"threshold": 2, "members": [{"signer", "hpkePublicKey", "url"}, ...]}`; each member is
what `sealmarket oracle init` printed for its operator.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from getpass import getpass
from pathlib import Path

from sealmarket.chain.deploy import FINAL_SECONDS, MINIMUM_WINDOWS, Deployed, Settings, deploy, write_book
from sealmarket.chain.model import Windows
from sealmarket.client.accounts import load_account
from sealmarket.protocol.book import Committee, FinalityRule, Member
from sealmarket.protocol.codec import ZERO_ADDRESS, Address, Shape, Wei, decode
from sealmarket.protocol.errors import SealmarketError
from sealmarket.protocol.hashing import keccak

COIN = 10**18


class CommitteeFile(Shape, frozen=True, kw_only=True):
    """The first committee, as operators' entries were collected."""

    threshold: int
    members: tuple[Member, ...]


def finality(text: str) -> FinalityRule:
    """`finalized`, or `depth:12`."""
    if text == "finalized":
        return FinalityRule(kind="finalized")
    kind, _, number = text.partition(":")
    if kind != "depth" or not number.isdigit():
        raise argparse.ArgumentTypeError(f"{text!r}: write finalized, or depth:12")
    return FinalityRule(kind="depth", depth=int(number))


def windows(text: str) -> Windows:
    """Four numbers of seconds: quote, decide, settle, challenge."""
    parts = text.split(",")
    if len(parts) != 4 or not all(part.isdigit() for part in parts):
        raise argparse.ArgumentTypeError(f"{text!r}: write quote,decide,settle,challenge in seconds")
    return Windows(*map(int, parts))


def token(text: str) -> tuple[Address, Wei]:
    """`coin=FEE` or `0xTOKEN=FEE`: an admitted token and the fee of one oracle signature."""
    name, equals, fee = text.partition("=")
    if not equals or not fee.isdigit():
        raise argparse.ArgumentTypeError(f"{text!r}: write coin=FEE, or 0xTOKEN=FEE")
    return (ZERO_ADDRESS if name == "coin" else Address.parse(name.lower())), Wei(int(fee))


def arguments(words: list[str]) -> argparse.Namespace:
    """What the command takes."""
    parser = argparse.ArgumentParser(
        prog="scripts/deploy", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--rpc", required=True, help="a node of the chain")
    add("--key-file", type=Path, required=True, help="the deployer: a keystore, or a hex key in a file of mode 0600")
    add("--finality", type=finality, required=True, help="finalized, or depth:N where a chain has no finality")
    add("--committee", type=Path, required=True, help="the first committee (JSON)")
    add("--store", required=True, help="URL of the store")
    add("--backend", help="URL of the backend, if it is another")
    add("--out", type=Path, required=True, help="where the address book goes")
    least = MINIMUM_WINDOWS
    default = f"{least.quote},{least.decide},{least.settle},{least.challenge}"
    add("--windows", type=windows, default=least, help=f"shortest windows in seconds (default {default})")
    add(
        "--token",
        type=token,
        action="append",
        help="an admitted token and its oracle fee; repeat (default coin=10**13)",
    )
    add("--unbonding-delay", type=int, default=7 * 86_400, help="seconds that stake unbonds")
    add("--committee-delay", type=int, default=7 * 86_400, help="seconds before a new committee counts")
    add("--guardian", help="who may pause new matches (default: the deployer)")
    add("--committee-owner", help="who may announce committees (default: the deployer)")
    add("--development-chain", action="store_true", help="you started this chain here: its well-known keys may be used")
    add("--no-wait", action="store_true", help="do not wait until the deployment is final")
    return parser.parse_args(words)


def settings(options: argparse.Namespace) -> Settings:
    """The deployment that was asked for."""
    committee = decode(CommitteeFile, options.committee.read_bytes())
    wanted = Settings(
        finality=options.finality,
        committee=Committee(epoch=1, threshold=committee.threshold, members=committee.members),
        store=options.store,
        backend=options.backend or options.store,
        windows=options.windows,
        unbonding_delay=options.unbonding_delay,
        committee_delay=options.committee_delay,
        guardian=Address.parse(options.guardian.lower()) if options.guardian else None,
        committee_owner=Address.parse(options.committee_owner.lower()) if options.committee_owner else None,
    )
    return replace(wanted, tokens=dict(options.token)) if options.token else wanted


class Costs:
    """Says what each part cost, and adds it up."""

    def __init__(self) -> None:
        self.gas = self.wei = 0

    def __call__(self, part: Deployed) -> None:
        if part.mined is None:
            print(f"  {part.name:<16} {part.address.checksum}  was there already")
            return
        self.gas += part.mined.gas_used
        self.wei += part.mined.cost
        cost = f"{part.mined.gas_used:>9,} gas  {part.mined.cost / COIN:.6f} coin"
        print(f"  {part.name:<16} {part.address.checksum}  {cost}  block {part.mined.block.number}")


def main(words: list[str]) -> int:
    """Deploy; 0 when the address book is written."""
    options = arguments(words)
    costs = Costs()
    progress = options.out.with_name(options.out.name + ".deploying")
    try:
        encrypted = options.key_file.read_bytes()[:1] == b"{"
        account = load_account(options.key_file, getpass("Passphrase: ") if encrypted else None)
        print(f"deploying from {account.address}")
        book = deploy(
            options.rpc,
            account,
            settings(options),
            development=options.development_chain,
            progress=progress,
            report=costs,
            final_within=None if options.no_wait else FINAL_SECONDS,
        )
        write_book(options.out, book)
    except (SealmarketError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    progress.unlink(missing_ok=True)
    print(f"  {'altogether':<16} {costs.gas:,} gas, {costs.wei / COIN:.6f} coin")
    print(f"chain {book.chain_id}, final: {book.finality.describe()}")
    print(f"wrote {options.out}  (Keccak-256 {keccak(book.canonical())}; publish it with the file)")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
