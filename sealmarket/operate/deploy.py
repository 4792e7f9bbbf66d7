"""Put a market on a chain: `scripts/deploy`.

The addresses follow from the deploying account and its next nonce, so a fresh account has the same market on every
chain. The deployer and its first nonce are written beside the address book before anything is sent: after an
interruption, the same command continues, and sends nothing twice.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from sealmarket.chain.deploy import (
    FINAL_SECONDS,
    PARTS,
    TRANSFER_ALLOWANCE,
    Deployed,
    Progress,
    Settings,
    contract_address,
    deploy,
    read_book,
    timing,
    write_book,
)
from sealmarket.chain.endpoints import printable
from sealmarket.chain.errors import DeploymentFailed
from sealmarket.chain.fees import parse_limits
from sealmarket.chain.keys import refuse_publicly_known
from sealmarket.chain.outbox import per_user_folder
from sealmarket.chain.rpc import Rpc, quantity
from sealmarket.chain.sender import Sending
from sealmarket.client.accounts import load_account
from sealmarket.operate.committees import require_workable
from sealmarket.operate.inspect import Remote, inspect, parse_finality
from sealmarket.protocol.book import Committee, FinalityRule, Member, Timing, Windows, is_reachable
from sealmarket.protocol.timing import HOLD_RATE, YEAR
from sealmarket_enclave.protocol.codec import ZERO_ADDRESS, Address, Uint64, Wei, decode
from sealmarket_enclave.protocol.errors import SealmarketError

if TYPE_CHECKING:
    from sealmarket.eth import LocalAccount

ETHER = 10**18
GWEI = 10**9
DAY = 86_400
_FINAL_WAITS = 4
_MOST_PERCENT = 1000

EPILOG = """examples:
  scripts/deploy --rpc https://rpc.example --key-file deployer.key --finality finalized \\
      --committee committee.json --backend https://market.example --out market.json
  scripts/deploy … --dry-run     what would be deployed where; nothing is sent

`sealmarket chain committee` makes the committee file of what `sealmarket oracle init` printed.
Then: scripts/verify_deployment market.json --rpc URL
"""


@dataclass(slots=True)
class Bill:
    """What was sent, and what it cost."""

    quiet: bool
    parts: list[dict[str, Any]] = field(default_factory=list)
    gas: int = 0
    cost: int = 0

    def add(self, part: Deployed) -> None:
        """Add one part to the bill, and print it."""
        mined = part.mined
        entry: dict[str, Any] = {"name": part.name, "address": part.address.checksum}
        if mined is None:
            self.say(f"  {part.name:16} {part.address.checksum}  was there already")
        else:
            self.gas, self.cost = self.gas + mined.gas_used, self.cost + mined.cost
            entry |= {"transaction": str(mined.transaction), "gas": mined.gas_used, "cost": str(mined.cost)}
            self.say(f"  {part.name:16} {part.address.checksum}  {mined.gas_used:>9,} gas, {_coins(mined.cost)} coins")
        self.parts.append(entry)

    def say(self, text: str) -> None:
        """A line for people."""
        if not self.quiet:
            print(text, flush=True)


def main(arguments: Sequence[str]) -> int:
    """Deploy, or continue a deployment; 0 when the market is on the chain and final, 1 when a step was refused."""
    parser = _parser()
    options = parser.parse_args(arguments)
    try:
        return _run(options)
    except SealmarketError as error:
        if options.json:
            print(json.dumps({"ok": False, "error": error.message, "remedy": error.remedy}))
        print(f"{error.message}\n{error.remedy}", file=sys.stderr)
        return 1


def _run(options: argparse.Namespace) -> int:
    account = load_account(options.key_file, os.environ.get("SEALMARKET_PASSPHRASE"))
    found = inspect(options.rpc, options.finality)
    refuse_publicly_known(
        Address.parse(account.address.lower()), chain_id=found.chain_id, url=options.rpc, development=False
    )
    out = options.out or Path(f"market-{found.chain_id}.json")
    progress = out.with_suffix(".progress.json")
    settings = _settings(options, found, progress)
    bill = Bill(quiet=options.json)
    bill.say(f"Chain {found.chain_id} at {found.url}; a block counts by this rule: {settings.finality.describe()}")
    _print_timing(bill, found, settings.timing)
    _print_account(bill, options.rpc, account, found)
    if options.dry_run:
        return _dry_run(bill, options, account, found)
    _protect(out, progress, found.chain_id)
    patience = FINAL_SECONDS + _FINAL_WAITS * (found.final_seconds + found.block_seconds)
    sending = Sending(per_user_folder(), parse_limits(options.max_fee, options.priority_fee))
    book = deploy(
        options.rpc,
        account,
        settings,
        progress=progress,
        report=bill.add,
        final_within=patience,
        sending=sending,
    )
    write_book(out, book)
    bill.say(f"In all {bill.gas:,} gas, {_coins(bill.cost)} coins. The market is final; its address book is {out}")
    bill.say(f"Next: scripts/verify_deployment {out} --rpc {printable(options.rpc)}")
    if options.json:
        costs = {"gas": bill.gas, "cost": str(bill.cost), "parts": bill.parts}
        print(json.dumps({"ok": True, **costs, "out": str(out), "book": msgspec.json.decode(book.canonical())}))
    return 0


def _print_timing(bill: Bill, found: Remote, fixed: Timing) -> None:
    windows = fixed.windows
    bill.say(
        f"A block is final {found.final_seconds:.0f} s later now; the market counts on {fixed.finality_seconds} s. "
        f"Shortest windows: quote {windows.quote}, decide {windows.decide}, settle {windows.settle}, "
        f"challenge {windows.challenge} s"
    )


def _print_account(bill: Bill, url: str, account: LocalAccount, found: Remote) -> None:
    rpc = Rpc(url)
    try:
        owned = quantity(rpc.call("eth_getBalance", account.address, "latest"), "balance")
    finally:
        rpc.close()
    bill.say(f"{account.address} pays; it has {_coins(owned)} coins, gas costs {found.gas_price / GWEI:g} gwei")


def _dry_run(bill: Bill, options: argparse.Namespace, account: LocalAccount, found: Remote) -> int:
    rpc = Rpc(options.rpc)
    try:
        nonce = quantity(rpc.call("eth_getTransactionCount", account.address, "pending"), "nonce")
    finally:
        rpc.close()
    deployer = Address.parse(account.address.lower())
    addresses = {name: contract_address(deployer, nonce + index).checksum for index, name in enumerate(PARTS)}
    for name, address in addresses.items():
        bill.say(f"  {name:16} {address}  would be here")
    bill.say("Nothing was sent.")
    if options.json:
        print(
            json.dumps({"ok": True, "dryRun": True, "chainId": found.chain_id, "nonce": nonce, "addresses": addresses})
        )
    return 0


def _protect(out: Path, progress: Path, chain_id: int) -> None:
    """Never write over an address book, unless it is this very deployment's."""
    if not out.exists():
        return
    if progress.exists() and read_book(out).chain_id == chain_id:
        return
    raise DeploymentFailed(
        "the start",
        f"{out} is an address book already, and there is no {progress.name} of the same deployment beside it",
        "name another file with --out; an address book that is lost means a market that no client finds",
    )


def _final_seconds(stated: int | None, found: Remote) -> int:
    """What was stated, or what follows from the measured. Raises :class:`DeploymentFailed` for less than measured."""
    if stated is None:
        return found.finality_seconds
    measured = max(1, math.ceil(found.final_seconds))
    if stated < measured:
        raise DeploymentFailed(
            "the finality of the chain",
            f"--final-seconds says {stated} s, and the newest final block is {measured} s older than the head",
            f"state at least {measured}, or nothing: it is measured then",
        )
    return stated


def _counted_on(stated: int | None, found: Remote, progress: Path) -> int:
    """The finality of a new deployment, or that of the one which goes on, unless another is stated."""
    if stated is None and progress.exists():
        return decode(Progress, progress.read_bytes()).finality_seconds
    return _final_seconds(stated, found)


def _settings(options: argparse.Namespace, found: Remote, progress: Path) -> Settings:
    for option, url in (("--backend", options.backend), ("--store", options.store or options.backend)):
        if not is_reachable(url):
            raise DeploymentFailed("the address book", f"{option} is no URL: {url!r:.200}", "name one that users reach")
    fees = dict(options.fee or [(ZERO_ADDRESS, Wei(10**13))])
    return Settings(
        finality=options.finality,
        committee=_committee(options.committee, options.threshold),
        store=options.store or options.backend,
        backend=options.backend,
        timing=timing(
            _counted_on(options.final_seconds, found, progress),
            transfer_allowance=options.transfer_allowance,
            windows=options.windows,
            hold_rate=options.hold_rate,
        ),
        unbonding_delay=options.unbonding_delay,
        committee_delay=options.committee_delay,
        tokens=fees,
        guardian=options.guardian,
        committee_owner=options.committee_owner,
    )


def _committee(path: Path, threshold: int | None) -> Committee:
    """A whole committee, or the list of its members with ``--threshold``."""
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise DeploymentFailed("the committee", f"{path} cannot be read: {error.strerror}", "name a file") from error
    if not raw.lstrip().startswith(b"["):
        found = decode(Committee, raw)
        members, least = found.members, found.threshold if threshold is None else threshold
    elif threshold is None:
        remedy = "add --threshold: how many nodes must agree"
        raise DeploymentFailed("the committee", f"{path} lists members only", remedy)
    else:
        members, least = decode(tuple[Member, ...], raw), threshold
    if not members or not 0 < least < 1 << 8:
        what = f"threshold {least} of {len(members)} members"
        raise DeploymentFailed("the committee", what, "at least two, at most all of them")
    committee = Committee(epoch=1, threshold=least, members=members)
    require_workable(committee)
    return committee


# --- options ------------------------------------------------------------------------------------------------


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="scripts/deploy",
        description="Put a market on a chain, or continue a deployment that was interrupted.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--rpc", required=True, metavar="URL", help="the chain's JSON-RPC address")
    add(
        "--key-file",
        required=True,
        type=Path,
        metavar="FILE",
        help="the deploying account, best a fresh one; a keystore opens with SEALMARKET_PASSPHRASE",
    )
    add("--finality", required=True, type=_rule, metavar="RULE", help="`finalized` or `depth:N`")
    add("--committee", required=True, type=Path, metavar="FILE", help="the oracle nodes of the first epoch")
    add("--threshold", type=int, metavar="T", help="nodes that must agree, where the file does not say")
    add("--backend", required=True, metavar="URL", help="where the market's backend will answer")
    add("--store", metavar="URL", help="where documents are kept (the backend)")
    add("--out", type=Path, metavar="FILE", help="the address book to write (market-CHAINID.json)")
    text = "shortest windows that a request may ask for, in seconds: quote,decide,settle,challenge"
    add("--windows", type=_windows, metavar="Q,D,S,C", help=f"{text} (they follow from finality)")
    text = "how long a block takes to become final, at most; half as much again as measured now, without it"
    add("--final-seconds", type=int, metavar="SECONDS", help=text)
    text = f"seconds of each settle window that are kept for moving bytes ({TRANSFER_ALLOWANCE})"
    add("--transfer-allowance", type=int, default=TRANSFER_ALLOWANCE, metavar="SECONDS", help=text)
    text = "percent a year that holding others' money and rights costs who withdraws a job (10)"
    add("--hold-rate", type=_hold_rate, default=HOLD_RATE, metavar="PERCENT", help=text)
    add("--unbonding-delay", type=int, default=7 * DAY, metavar="SECONDS", help="before stake can leave (7 days)")
    add(
        "--committee-delay", type=int, default=7 * DAY, metavar="SECONDS", help="before a new committee counts (7 days)"
    )
    text = (
        "admit a token with the fee of one oracle signature in its smallest unit; `coin` is the native one; repeatable"
    )
    add("--fee", type=_fee, action="append", metavar="TOKEN=AMOUNT", help=text)
    add("--guardian", type=_address, metavar="ADDRESS", help="who may pause new matches (the deployer)")
    add("--committee-owner", type=_address, metavar="ADDRESS", help="who may appoint committees (the deployer)")
    add("--max-fee", metavar="FEE", help="most for one gas, tip included: 30gwei, or 1500 in wei (1000gwei)")
    add("--priority-fee", metavar="FEE", help="the tip for one gas (what recent blocks paid)")
    add("--dry-run", action="store_true", help="say what would be deployed where, and send nothing")
    add("--json", action="store_true", help="print one JSON document and nothing else")
    return parser


def _rule(text: str) -> FinalityRule:
    try:
        return parse_finality(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _windows(text: str) -> Windows:
    numbers = text.split(",")
    if len(numbers) != 4 or not all(number.strip().isdecimal() for number in numbers):
        raise argparse.ArgumentTypeError(f"{text!r}: expected four numbers of seconds with commas between them")
    return Windows(*map(int, numbers))


def _hold_rate(text: str) -> Uint64:
    """Percent a year, as parts of 10**18 a second."""
    try:
        percent = Decimal(text)
        if not 0 <= percent <= _MOST_PERCENT:
            raise ValueError
        return Uint64(int(percent * 10**16) // YEAR)
    except (ArithmeticError, ValueError) as error:
        message = f"{text!r}: expected a number from 0 to {_MOST_PERCENT}, percent a year"
        raise argparse.ArgumentTypeError(message) from error


def _fee(text: str) -> tuple[Address, Wei]:
    token, _, amount = text.partition("=")
    if not amount.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r}: expected TOKEN=AMOUNT, the amount in the token's smallest unit")
    return (ZERO_ADDRESS if token == "coin" else _address(token)), Wei(int(amount))  # noqa: S105 - no secret


def _address(text: str) -> Address:
    try:
        return Address.parse(text.lower())
    except (ValueError, SealmarketError) as error:
        raise argparse.ArgumentTypeError(f"{text!r} is no address: {error}") from error


def _coins(amount: int) -> str:
    """Wei as coins, to six digits that count."""
    return f"{amount / ETHER:.6g}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
