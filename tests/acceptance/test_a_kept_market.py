"""`sealmarket localnet`: a market that is killed as a whole goes on where it was, with its keys and its job."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from sealmarket.attestation.policy.rules import AppraisalPolicy
from sealmarket.chain import Chain
from sealmarket.client import (
    AssetWish,
    Consumer,
    DraftTerms,
    JobLimits,
    MarketApi,
    Owner,
    PolicyDraft,
    SealedAsset,
    Store,
)
from sealmarket.client.accounts import load_account
from sealmarket.client.books import load_book
from sealmarket.client.jobs import read_job
from sealmarket.client.requests import RequestHandle
from sealmarket.protocol.transitions import Status
from sealmarket_devices.driver import VIRTUAL
from sealmarket_enclave.protocol.codec import Wei, to_builtins
from sealmarket_enclave.protocol.numbers import Grade, Tee
from sealmarket_enclave.sealed.hpke import PrivateKey
from sealmarket_localnet.market import ETHER
from sealmarket_localnet.state import Folder
from sealmarket_worker.image import base_interpreter, build_image
from tests.acceptance import workloads
from tests.acceptance.market import DAY, OUTPUT, ROWS, WINDOWS
from tests.acceptance.workloads import Workload
from tests.patience import PATIENCE, until


def localnet(home: Path, *words: str, code: int = 0) -> dict[str, Any]:
    """Run ``sealmarket localnet``, as a user of this home would, and return its answer."""
    environment = os.environ | {"XDG_CONFIG_HOME": str(home / "config"), "SEALMARKET_LOCALNET": str(home / "net")}
    command = [sys.executable, "-m", "sealmarket.cli.main", "localnet", *words, "--json"]
    done = subprocess.run(
        command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    assert done.returncode == code, done.stdout + done.stderr
    return dict(json.loads(done.stdout)) if done.stdout else {"error": done.stderr}


@pytest.fixture
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("kept")
    yield folder
    localnet(folder, "down")


def test_a_market_that_is_killed_as_a_whole_goes_on_with_its_job_and_ends_without_a_trace(home: Path) -> None:
    made = localnet(home, "up")
    folder = Folder(home / "net")
    with ExitStack() as open_connections:
        chain, consumer, handle = _asked(folder, made["rpc"], home, open_connections)
        again = _killed_and_resumed(home, folder, made)
        job = consumer.wait_match(handle, timeout=PATIENCE)
        until("the job settled", lambda: read_job(chain, job).status in (Status.SETTLED, Status.MATURED))
    assert localnet(home, "up")["processes"] == again["processes"]  # it runs already: nothing is started twice
    assert localnet(home, "down")["stopped"] is True
    assert [pid for pid in again["processes"].values() if _alive(pid)] == []
    assert localnet(home, "down")["stopped"] is False
    assert "no terminal" in localnet(home, "down", "--delete", code=2)["error"]
    localnet(home, "down", "--delete", "--yes")
    assert not folder.path.exists()
    assert list((home / "config").rglob("*.toml")) == []


def _killed_and_resumed(home: Path, folder: Folder, made: dict[str, Any]) -> dict[str, Any]:
    _kill_all(folder, made)
    assert localnet(home, "status", code=1)["running"] is False
    again = localnet(home, "resume")
    assert (again["rpc"], again["backend"]) == (made["rpc"], made["backend"])
    return again


def _asked(folder: Folder, rpc: str, home: Path, connections: ExitStack) -> tuple[Chain, Consumer, RequestHandle]:
    """Seal, publish and request with the account that the market made; the request is posted and not matched yet."""
    book, account = load_book(folder.book), load_account(folder.market / "you.key")
    chain, store, api = Chain(book, rpc), Store(book.store), MarketApi(book.backend)
    for one in (chain, store, api):
        connections.callback(one.close)
    workload = workloads.pooled_line(home / "workload")
    for wheel in workload.wheels.glob("*.whl"):
        shutil.copy(wheel, folder.market / "wheels")
    owner = Owner(chain, account, store, api)
    sealed = owner.seal(ROWS["north"], _draft(home, workload), home / "sealed", confirm_unencrypted_key=True)
    published = owner.publish(sealed)
    until("the asset is final", lambda: chain.final().number >= published.block.number)
    consumer = Consumer(chain, account, store, api)
    consumer.deposit(Wei(20 * ETHER))
    return chain, consumer, _request(consumer, workload, sealed)


def _request(consumer: Consumer, workload: Workload, sealed: SealedAsset) -> RequestHandle:
    limits = JobLimits(
        max_compute_price=Wei(ETHER), min_grade=Grade.SIMULATED, tee=Tee.TDX,
        run_seconds=300, read_seconds=30, validate_seconds=10, **WINDOWS,
    )  # fmt: skip
    wish = AssetWish(asset_id=sealed.asset_id, version=sealed.version)
    return consumer.request(workload.bundle, {}, [wish], limits, PrivateKey.generate())


def _draft(home: Path, workload: Workload) -> PolicyDraft:
    measurement = VIRTUAL.expected_measurement(Tee.TDX, build_image(home / "image"), base_interpreter())
    rules = AppraisalPolicy(measurements=(measurement,), platforms="any", lowest_grade="simulated")
    terms = DraftTerms(
        price=Wei(ETHER // 2), expiry=int(time.time()) + DAY, max_uses=9, purposes=("train",), min_grade="simulated"
    )
    return PolicyDraft(
        title="rows", evidence=to_builtins(rules), workloads=(workload.digest,), terms=terms, output=OUTPUT,
        data_card={"columns": ["x", "y"]},
    )  # fmt: skip


def _kill_all(folder: Folder, told: dict[str, Any]) -> None:
    """SIGKILL to the keeper and to each of its processes, as a power cut does it; returns when all are gone."""
    keeper = folder.keeper()
    assert keeper is not None
    pids = [keeper, *told["processes"].values()]
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    until("all are gone", lambda: not any(_alive(pid) for pid in pids))


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False
