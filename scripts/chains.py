"""The local chains, started under a supervisor: Anvil, Hardhat's node, Ganache."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from scripts import processes, toolchain
from scripts.processes import LOOPBACK, Process, Supervisor

CHAIN_ID = 31337
START_SECONDS = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Chain:
    """A local chain that runs."""

    process: Process
    url: str
    """Its JSON-RPC address."""


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
    defaults = ("--slots-in-an-epoch", "1", "--block-time", "1", "--hardfork", "shanghai")
    return _started(programs, name, [*command, *_unless_given(defaults, options), *options], r"Listening on (\S+)")


def hardhat(programs: Supervisor, *options: str, name: str = "hardhat", port: int = 0) -> Chain:
    """Hardhat's node; it has no finality of its own, so read it with an explicit depth."""
    command = toolchain.hardhat_command("node", "--hostname", LOOPBACK, "--port", str(port))
    return _started(programs, name, [*command, *options], r"server at http://(\S+?)/?\s")


def ganache(programs: Supervisor, *options: str, name: str = "ganache") -> Chain:
    """Ganache; it has no finality of its own, so read it with an explicit depth."""
    port = str(processes.free_port())
    command = toolchain.ganache_command("--server.host", LOOPBACK, "--server.port", port)
    fixed = ("--chain.chainId", str(CHAIN_ID), "--wallet.mnemonic", " ".join(["test"] * 11 + ["junk"]))
    return _started(programs, name, [*command, *fixed, *options], r"RPC Listening on (\S+)")


def _started(programs: Supervisor, name: str, command: Sequence[str], pattern: str) -> Chain:
    process = programs.start(
        name,
        command,
        ready=processes.says(pattern),
        timeout=START_SECONDS,
        env=toolchain.node_environment(),
        cwd=toolchain.ROOT,
    )
    return Chain(process=process, url=f"http://{process.answer[1]}")


def _unless_given(defaults: Sequence[str], options: Sequence[str]) -> list[str]:
    """The default options (name and value by turns) that the caller did not set."""
    pairs = zip(defaults[::2], defaults[1::2], strict=True)
    return [word for name, value in pairs if name not in options for word in (name, value)]
