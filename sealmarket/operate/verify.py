"""Compare a market on a chain with these sources: `scripts/verify_deployment market.json --rpc URL`.

1. The contracts are compiled again, independently of the deployer.
2. The code at each address of the address book is the compiled one. Only the bytes of immutables may differ, and all
   bytes of one immutable must hold one value.
3. The immutables hold what they should: registry and committee name this market, the market names them and the parts
   whose code it runs, the signing domain is of this chain and this market.
4. The times and the price of holding that the market has fixed are those of the address book.
5. The chain stores the committee that the address book names, to whose keys owners seal their shares.

Exit status: 0 verified, 1 something differs, 2 it could not be checked.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from sealmarket.chain.bytecode import Compiled, carried
from sealmarket.chain.chain import Chain
from sealmarket.chain.committees import members_hash
from sealmarket.chain.comparison import Finding, codes_of, compare
from sealmarket.chain.deploy import read_book
from sealmarket.chain.model import Block
from sealmarket.protocol.book import Timing
from sealmarket_enclave.protocol.errors import SealmarketError

VERIFIED, DIFFERS, UNKNOWN = 0, 1, 2
CompilerChoice = Literal["auto", "native", "npm"]
"""Which compiler makes the code again: a native solc, npm's, or the native one where it is available."""


@dataclass(frozen=True, slots=True)
class Report:
    """All findings about one deployment."""

    chain_id: int
    block: int
    source: str
    findings: tuple[Finding, ...]

    @property
    def verified(self) -> bool:
        """Whether all of it holds, and something was looked at."""
        return bool(self.findings) and all(finding.holds for finding in self.findings)


def verify(chain: Chain, compiled: Compiled, block: Block) -> Report:
    """Compare a deployed market with compiled code, at one block.

    Raises:
        ChainError: the node does not answer, contradicts itself, or is of another chain.
    """
    findings = list(compare(chain.book, codes_of(chain, block), compiled))
    findings += [_timing(chain, block), *_committees(chain, block)]
    return Report(chain.book.chain_id, block.number, compiled.source, tuple(findings))


def _timing(chain: Chain, block: Block) -> Finding:
    """Clients derive the windows of their requests and orders from the address book's."""
    stored, ours = chain.at(block).timing(), chain.book.timing
    return Finding("Market", "timing", stored == ours, _said(stored), "" if stored == ours else _said(ours))


def _said(timing: Timing) -> str:
    windows = timing.windows
    shortest = f"{windows.quote}, {windows.decide}, {windows.settle}, {windows.challenge} s"
    held = f"holding {timing.hold_rate} x 10^-18 a second"
    return f"windows {shortest}; final in {timing.finality_seconds} s, transfers {timing.transfer_allowance} s; {held}"


def _committees(chain: Chain, block: Block) -> Iterator[Finding]:
    view = chain.at(block)
    for committee in chain.book.committees:
        removed = view.removed_members(committee.epoch)
        stored, ours = view.committee_hash(committee.epoch), members_hash(committee, removed)
        holds = stored == ours
        yield Finding("OracleCommittee", f"members of epoch {committee.epoch}", holds, str(stored), str(ours))


# --- the command --------------------------------------------------------------------------------------------


def main(arguments: Sequence[str], compile_again: Callable[[CompilerChoice], Compiled] | None = None) -> int:
    """Verify a deployment; the exit status is the outcome.

    ``compile_again`` compiles the sources with the compiler of this name. Without it, the deployment is compared
    with the bytecode that this library carries.
    """
    parser = argparse.ArgumentParser(
        prog="scripts/verify_deployment",
        description="Compare a market on a chain with these sources.",
        epilog="exit status: 0 verified, 1 something differs, 2 it could not be checked",
    )
    parser.add_argument("book", type=Path, help="the market's address book")
    parser.add_argument("--rpc", required=True, metavar="URL", help="a node of the chain that you trust")
    text = "native solc, npm's, whichever is available, or none: compare with the bytecode that the library carries"
    choices = ("auto", "native", "npm", "none") if compile_again else ("none",)
    parser.add_argument("--compiler", choices=choices, default=choices[0], help=text)
    parser.add_argument("--json", action="store_true", help="print one JSON document and nothing else")
    options = parser.parse_args(arguments)
    try:
        report = _run(options, compile_again)
    except (SealmarketError, OSError) as error:
        if options.json:
            print(json.dumps({"verified": False, "error": str(error)}))
        print(f"could not be checked: {error}", file=sys.stderr)
        return UNKNOWN
    if options.json:
        findings = [asdict(finding) for finding in report.findings]
        summary = {"chainId": report.chain_id, "block": report.block, "compiled": report.source, "findings": findings}
        print(json.dumps({"verified": report.verified, **summary}))
    else:
        _print(report)
    return VERIFIED if report.verified else DIFFERS


def _run(options: argparse.Namespace, compile_again: Callable[[CompilerChoice], Compiled] | None) -> Report:
    book = read_book(options.book)
    chain = Chain(book, options.rpc)
    try:
        block = chain.final()
        if not options.json:
            print(f"Chain {chain.chain_id} at block {block.number}, {book.finality.describe()}", flush=True)
        return verify(chain, _compiled(options, compile_again), block)
    finally:
        chain.close()


def _compiled(options: argparse.Namespace, compile_again: Callable[[CompilerChoice], Compiled] | None) -> Compiled:
    if compile_again is None or options.compiler == "none":
        return carried()
    if not options.json:
        print("The contracts are compiled again; this takes a minute …", flush=True)
    return compile_again(options.compiler)


def _print(report: Report) -> None:
    print(f"Compared with {report.source}\n")
    for finding in report.findings:
        mark = "ok    " if finding.holds else "DIFFERS"
        line = f"  {mark:8}{finding.contract:16} {finding.what:20} {finding.found}"
        print(line if finding.holds else f"{line}\n{'':28}expected: {finding.expected}")
    bad = sum(not finding.holds for finding in report.findings)
    outcome = "VERIFIED: these sources run there" if report.verified else f"NOT VERIFIED: {bad} differ"
    print(f"\n{outcome}")
