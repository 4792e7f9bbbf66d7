"""Compare a market on a chain with these sources: `scripts/verify_deployment market.json --rpc URL`.

1. The contracts are compiled again, independently of the deployer.
2. The code at each address of the address book, and of the extension that the market names, is the compiled one. Only
   the bytes of immutables may differ, and all bytes of one immutable must hold one value.
3. The immutables hold what they should: registry, committee and extension name this market, the market names them, the
   signing domain is of this chain and this market.
4. The chain stores the committee that the address book names, to whose keys owners seal their shares.

Exit status: 0 verified, 1 something differs, 2 it could not be checked.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from sealmarket.chain.chain import Chain
from sealmarket.chain.contracts import members_hash
from sealmarket.chain.deploy import contract_address, read_book
from sealmarket.chain.model import Block
from sealmarket.operate.bytecode import Code, Compiled, CompilerChoice, carried
from sealmarket.protocol.book import AddressBook
from sealmarket_enclave.protocol.codec import Address
from sealmarket_enclave.protocol.eip712 import domain_separator
from sealmarket_enclave.protocol.errors import SealmarketError

VERIFIED, DIFFERS, UNKNOWN = 0, 1, 2
EXTENSION_NONCE = 1
"""A contract's first creation: the market makes its extension in its constructor."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One comparison of the chain with the sources."""

    contract: str
    what: str
    holds: bool
    found: str
    expected: str = ""


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
    book = chain.book
    places = {
        "AssetRegistry": book.registry,
        "OracleCommittee": book.committee,
        "Market": book.market,
        "MarketExtension": contract_address(book.market, EXTENSION_NONCE),
    }
    findings: list[Finding] = []
    for name, address in places.items():
        findings += _contract(name, address, chain.code(address, block), compiled, _expected(book, places)[name])
    findings += _committees(chain, block)
    return Report(book.chain_id, block.number, compiled.source, tuple(findings))


def _expected(book: AddressBook, places: Mapping[str, Address]) -> dict[str, dict[str, bytes]]:
    """What immutables must hold: contract -> name in the source -> word."""
    shared = {
        "_registry": _word(book.registry),
        "_committee": _word(book.committee),
        "_chainId": book.chain_id.to_bytes(32),
        "_separator": bytes(domain_separator(book.chain_id, book.market)),
    }
    market = {"market": _word(book.market)}
    extension = {"extension": _word(places["MarketExtension"])}
    return {"AssetRegistry": market, "OracleCommittee": market, "Market": shared | extension, "MarketExtension": shared}


def _word(address: Address) -> bytes:
    return address.rjust(32, b"\0")


def _contract(
    name: str, address: Address, found: bytes, compiled: Compiled, expected: Mapping[str, bytes]
) -> Iterator[Finding]:
    code = compiled.codes[name]
    at = f"{len(found):,} bytes at {address.checksum}"
    if not found:
        yield Finding(name, "code", False, f"nothing at {address.checksum}", f"{len(code.runtime):,} bytes")
        return
    different = differing(found, code)
    if different is not None:
        yield Finding(name, "code", False, f"{at}, other from byte {different:,} on", compiled.source)
        return
    yield Finding(name, "code", True, at)
    values: dict[str, bytes] = {}
    for immutable in code.immutables:
        held = {found[start : start + length] for start, length in immutable.places}
        if len(held) > 1:
            yield Finding(name, immutable.name, False, f"{len(held)} values in one contract", "one")
        else:
            values[immutable.name] = held.pop()
    yield from _immutables(name, values, expected, compiled.named)


def _immutables(
    name: str, values: Mapping[str, bytes], expected: Mapping[str, bytes], named: bool
) -> Iterator[Finding]:
    for what, word in expected.items():
        if named:
            found = values.get(what)
            holds, shown = found == word, "no such immutable" if found is None else _shown(found)
        else:
            holds = word in values.values()
            shown = _shown(word) if holds else "none of its immutables"
        yield Finding(name, what, holds, shown, "" if holds else _shown(word))
    for what, word in values.items():
        if named and what not in expected:
            # Settings of the deployer's choice: reported for the reader to judge.
            yield Finding(name, what, True, _shown(word))


def _committees(chain: Chain, block: Block) -> Iterator[Finding]:
    view = chain.at(block)
    for committee in chain.book.committees:
        stored, ours = view.committee_hash(committee.epoch), members_hash(committee)
        holds = stored == ours
        yield Finding("OracleCommittee", f"members of epoch {committee.epoch}", holds, str(stored), str(ours))


def differing(found: bytes, code: Code) -> int | None:
    """The first byte at which code on a chain differs from compiled code, immutables left out; None where nowhere."""
    if len(found) != len(code.runtime):
        return min(len(found), len(code.runtime))
    masked = bytearray(found)
    for immutable in code.immutables:
        for start, length in immutable.places:
            masked[start : start + length] = code.runtime[start : start + length]
    pairs = enumerate(zip(masked, code.runtime, strict=True))
    return next((index for index, (one, other) in pairs if one != other), None)


def _shown(word: bytes) -> str:
    """A word as what it most likely is: a number, an address, or bytes."""
    number = int.from_bytes(word)
    if number < 2**64:
        return str(number)
    return Address(word[12:]).checksum if number < 2**160 else "0x" + word.hex()


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
