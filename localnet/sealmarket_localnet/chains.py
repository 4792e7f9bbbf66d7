"""The chains that a market runs on here: Anvil, Hardhat's node and Ganache, started under a supervisor, or any URL.

Anvil has finality of its own; the two others do not, so they mine by interval, and a block counts on them once an
explicit depth of blocks follows it. The rule goes into the address book, and from there to everybody who reads it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from scripts import toolchain
from sealmarket.chain.errors import ChainUnavailable, NodeDistrusted, RpcRefused
from sealmarket.chain.rpc import Rpc, quantity
from sealmarket.protocol.book import FinalityRule
from sealmarket_enclave.protocol.errors import SealmarketError
from sealmarket_localnet import processes
from sealmarket_localnet.processes import LOOPBACK, Process, Supervisor

CHAIN_ID = 31337
START_SECONDS = 60.0
BLOCK_SECONDS = 1.0
DEPTH = 2
"""Blocks that must follow where a local chain has no finality of its own: as many as Anvil is asked for."""

FINALIZED = FinalityRule(kind="finalized")
DEEP = FinalityRule(kind="depth", depth=DEPTH)
LOCAL = ("anvil", "hardhat", "ganache")
_DEVELOPMENT_WORDS = " ".join(["test"] * 11 + ["junk"])
_SAMPLE_BLOCKS = 20


class UnsuitableChain(SealmarketError):
    """the chain at {url} cannot carry a market as asked: {why}"""

    def __init__(self, url: str, why: str, remedy: str) -> None:
        super().__init__(f"the chain at {url} cannot carry a market as asked: {why}", remedy=remedy)
        self.url, self.why = url, why


@dataclass(frozen=True, slots=True, kw_only=True)
class Chain:
    """A local chain that runs."""

    process: Process
    url: str
    """Its JSON-RPC address."""
    name: str
    """What really runs: ``anvil``, ``hardhat`` or ``ganache``."""
    finality: FinalityRule
    """When a block of it counts."""


def anvil(programs: Supervisor, *options: str, name: str = "anvil", port: int = 0) -> Chain:
    """Anvil's native binary: a block each second, final after two (`--slots-in-an-epoch 1`)."""
    command = [
        str(toolchain.anvil_binary()),
        "--host",
        LOOPBACK,
        "--port",
        str(port),
        "--chain-id",
        str(CHAIN_ID),
    ]
    defaults = ("--slots-in-an-epoch", "1", "--block-time", f"{BLOCK_SECONDS:g}", "--hardfork", "shanghai")
    words = [*command, *_unless_given(defaults, options), *options]
    return _started(programs, "anvil", name, words, r"Listening on (\S+)")


def hardhat(
    programs: Supervisor, *options: str, name: str = "hardhat", port: int = 0, block_time: float = BLOCK_SECONDS
) -> Chain:
    """Hardhat's node, mining by interval; it has no finality of its own, so it is read with an explicit depth.

    No two blocks share a second there: with less than one between them its clock would run ahead of everybody's.
    """
    command = toolchain.hardhat_command("node", "--hostname", LOOPBACK, "--port", str(port))
    chain = _started(programs, "hardhat", name, [*command, *options], r"server at http://(\S+?)/?\s")
    rpc = Rpc(chain.url)
    try:
        # Blocks must come without transactions, or the last one would never be deep enough.
        rpc.call("evm_setAutomine", False)
        rpc.call("evm_setIntervalMining", round(max(1.0, block_time) * 1000))
    finally:
        rpc.close()
    return chain


def ganache(programs: Supervisor, *options: str, name: str = "ganache", block_time: float = BLOCK_SECONDS) -> Chain:
    """Ganache, mining by interval; it has no finality of its own, so it is read with an explicit depth."""
    port = str(processes.free_port())
    command = toolchain.ganache_command("--server.host", LOOPBACK, "--server.port", port)
    fixed = ("--chain.chainId", str(CHAIN_ID), "--wallet.mnemonic", _DEVELOPMENT_WORDS)
    defaults = ("--miner.blockTime", f"{block_time:g}", "--wallet.defaultBalance", "10000")
    words = [*command, *fixed, *_unless_given(defaults, options), *options]
    return _started(programs, "ganache", name, words, r"RPC Listening on (\S+)")


def start(
    programs: Supervisor,
    kind: str,
    *,
    block_time: float = BLOCK_SECONDS,
    said: Callable[[str], None] = lambda _note: None,
) -> Chain:
    """Start the local chain of this name, with a block every so many seconds.

    Where there is no Anvil for this machine Hardhat's node takes its place, and ``said`` is told.
    """
    if kind == "anvil":
        try:
            toolchain.anvil_binary()
        except toolchain.ToolMissing as missing:
            said(f"there is no Anvil for this machine ({missing.looked}), so Hardhat's node takes its place")
            kind = "hardhat"
    if kind == "anvil":
        return anvil(programs, "--block-time", f"{block_time:g}")
    if kind == "hardhat":
        return hardhat(programs, block_time=block_time)
    if kind == "ganache":
        return ganache(programs, block_time=block_time)
    raise ValueError(f"no local chain is named {kind}; there are {', '.join(LOCAL)}")


def parse_finality(text: str) -> FinalityRule:
    """``finalized`` or ``depth:N``. Raises ``ValueError``."""
    kind, _, depth = text.partition(":")
    if kind == "finalized" and not depth:
        return FINALIZED
    if kind == "depth" and depth.isdecimal() and int(depth) > 0:
        return FinalityRule(kind="depth", depth=int(depth))
    raise ValueError(f"{text!r} is no finality rule: expected `finalized` or `depth:N` with N of at least 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class Remote:
    """What was found of a chain that somebody else runs."""

    url: str
    chain_id: int
    block_seconds: float
    """Between two blocks, on average lately."""
    final_seconds: float
    """How long a block waits, about, until it counts by the rule."""
    gas_price: int
    finality: FinalityRule


def inspect(url: str, finality: FinalityRule) -> Remote:
    """Ask a chain what it is, and whether it can be read by this rule.

    Raises:
        UnsuitableChain: it names no final block, or it does not move.
        ChainUnavailable: nobody answers there.
    """
    rpc = Rpc(url)
    try:
        chain_id = quantity(rpc.call("eth_chainId"), "chain id")
        number, newest = _block(rpc, "latest")
        sample = max(0, number - _SAMPLE_BLOCKS)
        _, earlier = _block(rpc, hex(sample))
        block_seconds = (newest - earlier) / max(1, number - sample)
        if finality.kind == "depth":
            final_seconds = block_seconds * finality.depth
        else:
            final_seconds = float(newest - _finalized(rpc, url))
        return Remote(
            url=url,
            chain_id=chain_id,
            block_seconds=block_seconds,
            final_seconds=final_seconds,
            gas_price=quantity(rpc.call("eth_gasPrice"), "gas price"),
            finality=finality,
        )
    finally:
        rpc.close()


def _finalized(rpc: Rpc, url: str) -> int:
    try:
        return _block(rpc, "finalized")[1]
    except (RpcRefused, NodeDistrusted, ChainUnavailable) as error:
        why, remedy = f"it names no finalized block ({error})", "name a depth that you trust: `--finality depth:N`"
        raise UnsuitableChain(url, why, remedy) from error


def _block(rpc: Rpc, tag: str) -> tuple[int, int]:
    """Number and timestamp."""
    found = rpc.call("eth_getBlockByNumber", tag, False)
    if not isinstance(found, dict):
        raise NodeDistrusted(f"block {tag}", "a block", found)
    return quantity(found.get("number"), "number"), quantity(found.get("timestamp"), "timestamp")


def _started(programs: Supervisor, kind: str, name: str, command: Sequence[str], pattern: str) -> Chain:
    process = programs.start(
        name,
        command,
        ready=processes.says(pattern),
        timeout=START_SECONDS,
        env=toolchain.node_environment(),
        cwd=toolchain.ROOT,
    )
    finality = FINALIZED if kind == "anvil" else DEEP
    return Chain(process=process, url=f"http://{process.answer[1]}", name=kind, finality=finality)


def _unless_given(defaults: Sequence[str], options: Sequence[str]) -> list[str]:
    """The default options (name and value by turns) that the caller did not set."""
    pairs = zip(defaults[::2], defaults[1::2], strict=True)
    return [word for name, value in pairs if name not in options for word in (name, value)]
