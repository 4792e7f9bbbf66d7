"""The programs in `examples/`, run as their reader runs them, against a market of real processes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from sealmarket.protocol.transitions import Status
from sealmarket_enclave.protocol.codec import Bytes32
from sealmarket_enclave.protocol.numbers import JobId
from tests.acceptance.market import ROWS, Rehearsal
from tests.acceptance.proofs import audit
from tests.patience import PATIENCE, until

ROOT = Path(__file__).resolve().parents[2]
PRICE = "0.05"
"""Below the offers of the market's other providers, so that the example's provider serves the examples' jobs."""


class Programs:
    """Runs the examples as one party or another."""

    def __init__(self, rehearsal: Rehearsal, folder: Path) -> None:
        self.rehearsal, self.folder = rehearsal, folder

    def environment(self, party: str) -> Mapping[str, str]:
        """What a program of a party sees."""
        market = self.rehearsal.market
        return {
            "PATH": os.environ["PATH"],
            "XDG_STATE_HOME": str(self.folder / party),
            "SEALMARKET_BOOK": str(market.book_file),
            "SEALMARKET_RPC": market.rpc,
            "SEALMARKET_KEY_FILE": str(market.purse(party).key_file),
        }

    def start(self, name: str, party: str, *arguments: object) -> subprocess.Popen[str]:
        """Start an example."""
        command = [sys.executable, f"examples/{name}.py", *map(str, arguments)]
        with (self.folder / f"{name}.err").open("a") as errors:
            env = self.environment(party)
            return subprocess.Popen(command, cwd=ROOT, env=env, text=True, stdout=subprocess.PIPE, stderr=errors)

    def run(self, name: str, party: str, *arguments: object, status: int = 0) -> list[str]:
        """Run an example; the lines that it prints."""
        with self.start(name, party, *arguments) as process:
            said, _ = process.communicate(timeout=2 * PATIENCE)
        assert process.returncode == status, (said, (self.folder / f"{name}.err").read_text())
        return said.splitlines()


@pytest.fixture(scope="module")
def programs(_stage: Rehearsal, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Programs]:
    """The examples, with the example's provider at work."""
    folder = tmp_path_factory.mktemp("examples")
    found = Programs(_stage, folder)
    with found.start("provider", "example_provider", _worker_file(_stage, folder), PRICE) as provider:
        assert provider.stdout is not None
        assert provider.stdout.readline().startswith("0x"), (folder / "provider.err").read_text()
        yield found
        provider.send_signal(signal.SIGTERM)
        assert provider.wait(timeout=PATIENCE) == 0
    address = _stage.market.purses["example_provider"].address
    orders = _stage.api.orders.compute_orders
    until("the offer is out of the book", lambda: address not in {order.order.provider for order in orders()})


def _worker_file(rehearsal: Rehearsal, folder: Path) -> Path:
    market = rehearsal.market
    settings = {
        "rpc": market.rpc,
        "book": str(market.book_file),
        "key": str(market.purse("example_provider").key_file),
        "state": str(folder / "worker"),
        "device": str(market.device_socket),
        "wheels": str(rehearsal.workload.wheels),
    }
    path = folder / "worker.toml"
    path.write_text("".join(f"{name} = {json.dumps(value)}\n" for name, value in settings.items()))
    return path


def _policy(rehearsal: Rehearsal, folder: Path, owner: str) -> Path:
    path = folder / f"{owner}.json"
    path.write_bytes(rehearsal.draft(owner).canonical())
    return path


def _rows(folder: Path, owner: str) -> Path:
    path = folder / f"{owner}.csv"
    path.write_bytes(ROWS[owner])
    return path


def _publish(programs: Programs, tmp_path: Path, owner: str) -> str:
    policy, rows = _policy(programs.rehearsal, tmp_path, owner), _rows(tmp_path, owner)
    (asset,) = programs.run("owner", owner, rows, policy, tmp_path / f"sealed-{owner}")
    return asset


def test_every_example_is_run_here() -> None:
    text = Path(__file__).read_text()
    examples = [path.stem for path in (ROOT / "examples").glob("*.py")]
    assert len(examples) >= 6
    assert [name for name in examples if f'.run("{name}"' not in text and f'.start("{name}"' not in text] == []


def test_an_owner_sells_a_consumer_buys_and_an_auditor_refuses_until_all_is_proven(
    programs: Programs, rehearsal: Rehearsal, tmp_path: Path
) -> None:
    asset = _publish(programs, tmp_path, "north")
    out = tmp_path / "out"
    arguments = (rehearsal.workload.bundle, tmp_path / "result.key", out, asset)
    (job,) = programs.run("consumer", "example_consumer", *arguments)
    record = rehearsal.reach_status(JobId(Bytes32.parse(job)), Status.MATURED)
    assert record.spec.provider == rehearsal.market.purses["example_provider"].address
    assert json.loads((out / "model.json").read_text())["rows"] == 3
    (proof,) = out.glob("*.sealproof.json")
    assert audit(rehearsal, proof)[1]["conclusion"] == "proven"
    block = rehearsal.chain.final().hash
    assert programs.run("auditor", "auditor", proof, block, status=1) == []
    assert "expected proven" in (programs.folder / "auditor.err").read_text()
    said = programs.run("auditor", "auditor", proof, block, *rehearsal.market.root_files)
    assert said[-1] == "proven, SIMULATED"
    assert [line.rpartition(" ")[2] for line in said[:-1]] == ["ok"] * 8


def test_one_model_is_trained_over_two_owners_data(programs: Programs, rehearsal: Rehearsal, tmp_path: Path) -> None:
    market = rehearsal.market
    owners = [
        f"{market.purses[name].key_file}:{_rows(tmp_path, name)}:{_policy(rehearsal, tmp_path, name)}" for name in ROWS
    ]
    consumer = market.purse("example_consumer").key_file
    (path,) = programs.run("pooled", "example_consumer", rehearsal.workload.bundle, tmp_path, *owners, consumer)
    model: dict[str, Any] = json.loads(Path(path).read_text())
    assert model["rows"] == 5


def test_jobs_run_side_by_side_and_a_request_that_is_given_up_is_voided(
    programs: Programs, rehearsal: Rehearsal, tmp_path: Path
) -> None:
    assets = [_publish(programs, tmp_path, name) for name in ROWS]
    arguments = (rehearsal.workload.bundle, tmp_path / "result.key", *assets)
    jobs = programs.run("asynchronous", "example_consumer", *arguments)
    assert len(set(jobs)) == len(assets)
    for job in jobs:
        rehearsal.reach_status(JobId(Bytes32.parse(job)), Status.MATURED)
    said = (programs.folder / "asynchronous.err").read_text()
    assert said.startswith("request 0x")
    assert said.endswith(" voided\n")
    request = Bytes32.parse(said.split()[1])
    until("a final void", lambda: rehearsal.chain.at(rehearsal.chain.final()).job(request).status is Status.CANCELLED)


def test_two_commands_sell_and_buy_and_nothing_is_signed_before_the_buyer_agrees(
    programs: Programs, rehearsal: Rehearsal, tmp_path: Path
) -> None:
    def command(party: str, *words: object, status: int = 0) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "sealmarket.cli.main", *map(str, words)],
            cwd=tmp_path,
            env={**programs.environment(party), "SEALMARKET_HOME": str(tmp_path / party)},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=2 * PATIENCE,
            check=False,
        )
        assert done.returncode == status, (done.stdout, done.stderr)
        return done.stderr if status else done.stdout

    policy, rows = _policy(rehearsal, tmp_path, "north"), _rows(tmp_path, "north")
    command("north", "owner", "sell", rows, "--policy", policy, "--out", "sealed", "--plain-key")
    buy = ["consumer", "buy", "--workload", rehearsal.workload.bundle, "--asset", "sealed/asset-card.json"]
    buy += ["--max-compute-price", "0.2coin", "--allow-simulated", "--result-key", "result.key", "--plain-key"]
    refused = command("example_buyer", *buy, "--out", "result", status=2)
    assert "no terminal" in refused
    buyer = rehearsal.market.purses["example_buyer"].address
    assert rehearsal.chain.matches_of(buyer, rehearsal.chain.book.deployed_at, rehearsal.chain.final()) == []
    assert command("example_buyer", "consumer", "list").startswith("no request")
    bought = json.loads(command("example_buyer", *buy, "--out", "result", "--yes", "--json"))
    rehearsal.reach_status(JobId(Bytes32.parse(bought["jobId"])), Status.MATURED)
    assert json.loads((tmp_path / "result" / "model.json").read_text())["rows"] == 3
    assert audit(rehearsal, tmp_path / bought["proof"])[1]["conclusion"] == "proven"
    assert not (tmp_path / "result.request.json").exists()
    assert bought["jobId"] in command("example_buyer", "verify", bought["proof"])
