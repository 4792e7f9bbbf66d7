"""The chains that a market runs on here: Anvil, Hardhat's node and Ganache, started under a supervisor, or any URL.

Anvil has finality of its own; the two others do not, so they mine by interval, and a block counts on them once an
explicit depth of blocks follows it. The rule goes into the address book, and from there to every program that reads it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from sealmarket.chain.errors import ChainError
from sealmarket.chain.rpc import Rpc
from sealmarket.operate.inspect import FINALIZED
from sealmarket.protocol.book import FinalityRule
from sealmarket_enclave.protocol.codec import Address
from sealmarket_localnet import processes
from sealmarket_localnet.processes import LOOPBACK, Process, Supervisor
from sealmarket_localnet.programs import (
    ProgramNotFound,
    anvil_binary,
    ganache_command,
    hardhat_command,
    hardhat_folder,
    node_environment,
)

CHAIN_ID = 31337
START_SECONDS = 120.0
BLOCK_SECONDS = 1.0
DEPTH = 2
"""Blocks that must follow where a local chain has no finality of its own: as many as Anvil is asked for."""

DEEP = FinalityRule(kind="depth", depth=DEPTH)
LOCAL = ("anvil", "hardhat", "ganache")
_DEVELOPMENT_MNEMONIC = " ".join(["test"] * 11 + ["junk"])


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
    final_seconds: int
    """Until a block of it counts, at most."""


def anvil(programs: Supervisor, *options: str, name: str = "anvil", port: int = 0) -> Chain:
    """Anvil's native binary: a block each second, final after two (`--slots-in-an-epoch 1`)."""
    command = [
        str(anvil_binary()),
        "--host",
        LOOPBACK,
        "--port",
        str(port),
        "--chain-id",
        str(CHAIN_ID),
    ]
    defaults = ("--slots-in-an-epoch", "1", "--block-time", f"{BLOCK_SECONDS:g}", "--hardfork", "shanghai")
    arguments = [*command, *_unless_given(defaults, options), *options]
    return _started(programs, "anvil", name, arguments, r"Listening on (\S+)", _block_time(arguments))


def paced_anvil(programs: Supervisor, *, port: int, state: Path | None) -> Chain:
    """Anvil on a chain that was kept, or on a new one. It makes blocks when it is asked for them: see :mod:`blocks`."""
    command = [str(anvil_binary()), "--host", LOOPBACK, "--port", str(port), "--chain-id", str(CHAIN_ID)]
    command += ["--slots-in-an-epoch", "1", "--hardfork", "shanghai", "--no-mining"]
    kept = [] if state is None else ["--load-state", str(state)]
    return _started(programs, "anvil", "anvil", [*command, *kept], r"Listening on (\S+)", BLOCK_SECONDS)


def gives_proofs(url: str, contract: Address) -> bool:
    """Whether the node behind a URL gives storage proofs (``eth_getProof``): Hardhat's does not."""
    rpc = Rpc(url)
    try:
        return isinstance(rpc.call("eth_getProof", contract.checksum, [], "latest"), dict)
    except ChainError:
        return False
    finally:
        rpc.close()


def hardhat(
    programs: Supervisor, *options: str, name: str = "hardhat", port: int = 0, block_time: float = BLOCK_SECONDS
) -> Chain:
    """Hardhat's node, mining by interval; it has no finality of its own, so it is read with an explicit depth.

    No two blocks share a second there: with less than one between them its clock would run ahead of all others.
    """
    command = hardhat_command("node", "--hostname", LOOPBACK, "--port", str(port))
    block_time = max(1.0, block_time)
    chain = _started(programs, "hardhat", name, [*command, *options], r"server at http://(\S+?)/?\s", block_time)
    rpc = Rpc(chain.url)
    try:
        # Blocks must come without transactions, or the last one would never be deep enough.
        rpc.call("evm_setAutomine", False)
        rpc.call("evm_setIntervalMining", round(block_time * 1000))
    finally:
        rpc.close()
    return chain


def ganache(programs: Supervisor, *options: str, name: str = "ganache", block_time: float = BLOCK_SECONDS) -> Chain:
    """Ganache, mining by interval; it has no finality of its own, so it is read with an explicit depth."""
    port = str(processes.free_port())
    command = ganache_command("--server.host", LOOPBACK, "--server.port", port)
    fixed = ("--chain.chainId", str(CHAIN_ID), "--wallet.mnemonic", _DEVELOPMENT_MNEMONIC)
    defaults = ("--miner.blockTime", f"{block_time:g}", "--wallet.defaultBalance", "10000")
    arguments = [*command, *fixed, *_unless_given(defaults, options), *options]
    return _started(programs, "ganache", name, arguments, r"RPC Listening on (\S+)", block_time)


def start(
    programs: Supervisor,
    kind: str,
    *,
    block_time: float = BLOCK_SECONDS,
    said: Callable[[str], None] = lambda _note: None,
) -> Chain:
    """Start the local chain of this name, with a block every so many seconds.

    Where there is no Anvil for this machine, Hardhat's node is started, and ``said`` is called with a note.
    """
    if kind == "anvil":
        try:
            anvil_binary()
        except ProgramNotFound as missing:
            said(f"there is no Anvil for this machine ({missing.looked}): Hardhat's node is started instead")
            kind = "hardhat"
    if kind == "anvil":
        return anvil(programs, "--block-time", f"{block_time:g}")
    if kind == "hardhat":
        return hardhat(programs, block_time=block_time)
    if kind == "ganache":
        return ganache(programs, block_time=block_time)
    raise ValueError(f"no local chain is named {kind}; there are {', '.join(LOCAL)}")


def _started(
    programs: Supervisor, kind: str, name: str, command: Sequence[str], pattern: str, block_time: float
) -> Chain:
    process = programs.start(
        name,
        command,
        ready=processes.says(pattern),
        timeout=START_SECONDS,
        env=node_environment(),
        cwd=hardhat_folder() if kind == "hardhat" else None,
    )
    finality = FINALIZED if kind == "anvil" else DEEP
    return Chain(
        process=process,
        url=f"http://{process.answer[1]}",
        name=kind,
        finality=finality,
        final_seconds=math.ceil(DEPTH * block_time),
    )


def _block_time(arguments: Sequence[str]) -> float:
    return float(arguments[arguments.index("--block-time") + 1])


def _unless_given(defaults: Sequence[str], options: Sequence[str]) -> list[str]:
    """The default options (name and value by turns) that the caller did not set."""
    pairs = zip(defaults[::2], defaults[1::2], strict=True)
    return [part for name, value in pairs if name not in options for part in (name, value)]
