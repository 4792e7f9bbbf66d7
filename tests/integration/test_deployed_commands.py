"""A market whose servers are started by the very commands of their containers and of the compose file, as processes.

Only what a container engine would do is done by the test: paths that are mounted are others here, ports too, and the
development profile stands where a market of devices without silicon needs it.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from sealmarket_localnet import chains
from sealmarket_localnet.market import READY_SECONDS, LocalMarket, Purse, _environment
from sealmarket_localnet.processes import Process, Supervisor, answers
from tests.patience import until
from tests.scripts.containers import Image, compose


class DeployedMarket(LocalMarket):
    """A local market whose backend and nodes run as `deploy/` says."""

    def start_backend(self, keeper: Purse) -> Process:
        """The image's own command."""
        port = self.book.backend.rsplit(":", 1)[1]
        mounted = {
            "/etc/sealmarket/market.json": str(self.book_file),
            "/run/secrets/keeper_key": str(keeper.key_file),
            "/var/lib/sealmarket/state": str(self.folder / "backend"),
            "0.0.0.0": "127.0.0.1",
            "8400": port,
        }
        command = [mounted.get(word, word) for word in Image.of("backend").command()]
        return self._deployed("backend", command, {"SEALMARKET_RPC": self.rpc}, f"{self.book.backend}/healthz")

    def start_node(self, index: int) -> Process:
        """The image's entry point, with the environment of its service."""
        folder = self.folder / f"oracle-{index}"
        url = self.book.committees[0].members[index].url
        found = compose()["services"][f"oracle-{index}"]
        mounted = {
            "/etc/sealmarket/market.json": str(self.book_file),
            "/var/lib/sealmarket/state": str(folder),
            "/run/secrets/signer.json": str(folder / "signer.json"),
            "/run/secrets/hpke.json": str(folder / "hpke.json"),
            "/run/secrets/node.json": str(folder / "node.json"),
            "/run/secrets/passphrase": str(folder.with_suffix(".passphrase")),
            "0.0.0.0": "127.0.0.1",
            "8451": url.rsplit(":", 1)[1],
            "production": "development",
            "${SEALMARKET_RPC:?the chain's nodes}": self.rpc,
        }
        settings = {name: mounted.get(value, value) for name, value in found["environment"].items()}
        settings["SEALMARKET_ORACLE_DEVELOPMENT_ROOTS"] = str(self.root_file)
        command = [*Image.of("oracle").entry_point(), *found["command"]]
        return self._deployed(f"oracle-{index}", command, settings, f"{url}/v1/node")

    def _deployed(self, name: str, command: list[str], settings: Mapping[str, str], url: str) -> Process:
        program = str(Path(sys.executable).with_name(command[0]))
        environment = {**_environment(), **settings}
        process = self.programs.start(
            name, [program, *command[1:]], ready=answers(url), timeout=READY_SECONDS, env=environment
        )
        self.parties[name] = process
        return process


def test_a_market_of_the_deployed_commands_serves_and_is_well_by_its_own_health_checks(tmp_path: Path) -> None:
    with Supervisor(tmp_path / "logs") as programs:
        chain = chains.anvil(programs)
        market = DeployedMarket.start(programs, tmp_path / "market", chain.url, finality=chain.finality)
        try:
            backend, node = market.book.backend, market.book.committees[0].members[0].url
            # An engine asks again until the start period is over; a node is well after its first look at the chain.
            until("a well backend", lambda: _check("backend", "http://127.0.0.1:8400", backend) == 0)
            until("a well node", lambda: _check("oracle", "http://127.0.0.1:8451", node) == 0)
            market.parties["oracle-0"].stop()
            market.parties["backend"].stop()
            assert _check("oracle", "http://127.0.0.1:8451", node) == 1
            assert _check("backend", "http://127.0.0.1:8400", backend) == 1
        finally:
            market.chain.close()


def _check(role: str, inside: str, here: str) -> int:
    """The exit code of an image's health check, at the address that the server has here."""
    command = [word.replace(inside, here) for word in Image.of(role).health_check()]
    program = Path(sys.executable) if command[0] == "python" else Path(sys.executable).with_name(command[0])
    done = subprocess.run(
        [str(program), *command[1:]], capture_output=True, check=False, env={"PATH": os.environ["PATH"]}
    )
    return done.returncode
