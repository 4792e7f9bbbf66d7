"""A node as a process of its own: it starts from its files, says what it is, and comes back after SIGKILL."""

from __future__ import annotations

import json
import resource
import shutil
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from msgspec import structs

from sealmarket.chain.deploy import Settings, deploy, timing, write_book
from sealmarket.private_files import replace_private, write_private
from sealmarket.protocol.book import Committee, FinalityRule, Member, Windows
from sealmarket.protocol.members import SignedMember
from sealmarket.protocol.wire import NodeInfo, NodeStatus
from sealmarket_enclave.protocol.codec import decode
from sealmarket_enclave.protocol.hashing import keccak
from sealmarket_enclave.protocol.numbers import Grade
from sealmarket_localnet import chains
from sealmarket_localnet.processes import Process, Supervisor, answers, free_port
from sealmarket_oracle.config import load
from sealmarket_oracle.keys import Signer
from sealmarket_oracle.node_folder import NODE_FILE, load_keys, load_record
from sealmarket_oracle.report import NodeReport
from sealmarket_oracle.runner import Health
from tests.backend.postgres import Server, missing
from tests.integration.market import development_account
from tests.patience import PATIENCE, until

COMMAND = [sys.executable, "-m", "sealmarket_oracle"]
PASSPHRASE = "nobody types this passphrase"


@dataclass
class Installed:
    """One node's files, and the URL that it will serve."""

    programs: Supervisor
    config: Path
    member: Member

    def start(self) -> Process:
        return self.programs.start(
            "oracle", [*COMMAND, "run", "--config", self.config], ready=answers(f"{self.member.url}/healthz")
        )

    def get(self, path: str) -> bytes:
        return httpx.get(self.member.url + path, timeout=PATIENCE, trust_env=False).content


def _init(folder: Path, url: str) -> Member:
    said = subprocess.run(_init_command(folder, url), capture_output=True, check=True).stdout
    return decode(SignedMember, said).member


def _init_command(folder: Path, url: str) -> list[str | Path]:
    word = folder.with_suffix(".passphrase")
    if not word.exists():
        write_private(word, f"{PASSPHRASE}\n".encode())
    backup = folder.with_suffix(".backup")
    return [*COMMAND, "init", folder, "--url", url, "--light", "--backup", backup, "--passphrase-file", word]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installed]:
    folder = tmp_path_factory.mktemp("process")
    with Supervisor(folder / "logs") as programs:
        chain = chains.anvil(programs, "--block-time", "0.25")
        members = tuple(_init(folder / str(n), f"http://127.0.0.1:{free_port()}") for n in range(3))
        committee = Committee(epoch=1, threshold=2, members=members)
        nowhere = "http://127.0.0.1:9"
        settings = Settings(
            finality=FinalityRule(kind="finalized"),
            committee=committee,
            store=nowhere,
            backend=nowhere,
            timing=timing(1, transfer_allowance=1, windows=Windows(5, 5, 10, 5)),
        )
        book = deploy(chain.url, development_account(0), settings, development=True)
        write_book(folder / "book.json", book)
        values = {
            "rpc": chain.url,
            "book": "book.json",
            "state": "0",
            "passphrase_file": "0.passphrase",
            "profile": "production",
            "port": int(members[0].url.rsplit(":", 1)[1]),
        }
        config = folder / "oracle.toml"
        config.write_text("".join(f"{name} = {json.dumps(value)}\n" for name, value in values.items()))
        yield Installed(programs, config, members[0])


def test_a_node_comes_back_after_a_kill_at_any_moment(installed: Installed) -> None:
    for _ in range(3):
        process = installed.start()
        health = decode(Health, installed.get("/healthz"))
        assert (health.status, health.problem) == ("ok", "")
        info = decode(NodeInfo, installed.get("/v1/node"))
        assert (info.signer, info.hpke_public_key) == (installed.member.signer, installed.member.hpke_public_key)
        assert info.grade_floor is Grade.HARDWARE
        assert decode(NodeStatus, installed.get(f"/v1/jobs/{keccak(b'no job')}")).state == "unknown"
        process.kill()


def test_a_nodes_process_leaves_nothing_secret_in_its_log(installed: Installed) -> None:
    process = installed.start()
    process.stop()
    log = process.log.read_text()
    assert "serves" in log
    assert "has stopped" in log
    config = load(installed.config, {})
    keys = load_keys(config.keys, load_record(config.keys.node), PASSPHRASE)
    assert isinstance(keys.signer, Signer)
    for secret in (PASSPHRASE, keys.hpke.secret_bytes().hex(), keys.signer._key.secret.hex()):
        assert secret not in log


@pytest.mark.long
def test_of_two_processes_of_a_node_on_one_database_one_serves_and_the_other_takes_over(installed: Installed) -> None:
    if why := missing():
        pytest.skip(why)
    with closing(Server()) as postgres:
        folder = installed.config.parent
        nodes = []
        for name in ("here", "there"):
            shutil.copytree(folder / "0", folder / name, ignore=shutil.ignore_patterns("journal*", "*.sock"))
            values = {"state": f'"{name}"', "journal": f'"{postgres.url()}"'}
            lines = [line for line in installed.config.read_text().splitlines() if line.split(" ")[0] not in values]
            config = folder / f"{name}.toml"
            config.write_text("\n".join([*lines, *(f"{key} = {value}" for key, value in values.items())]))
            nodes.append(Installed(installed.programs, config, installed.member))
        here, there = nodes
        first = here.start()
        assert "another process of this node writes the journal" in _refused(there)
        postgres.run("UPDATE fence SET token = token + 1, holder = 'a standby'")  # as after a failover
        until("the one that was overtaken ends", lambda: first.status is not None)
        assert "a standby has token 2" in first.log.read_text()
        second = there.start()
        assert decode(Health, there.get("/healthz")).status == "ok"
        second.kill()
        gone = "FROM pg_stat_activity WHERE application_name = 'sealmarket-oracle'"
        until("the server noticed", lambda: not postgres.read(f"SELECT count(*) {gone}"))
        here.start().stop()


def test_a_second_init_in_the_same_folder_is_refused(installed: Installed) -> None:
    command = _init_command(installed.config.parent / "0", installed.member.url)
    again = subprocess.run(command, check=False, capture_output=True, text=True)
    assert again.returncode == 1
    assert "keep it" in again.stderr


def _refused(installed: Installed) -> str:
    started = subprocess.run(
        [*COMMAND, "run", "--config", installed.config], check=False, capture_output=True, text=True, timeout=PATIENCE
    )
    assert started.returncode == 1
    return started.stderr


def test_a_node_whose_keys_have_no_tried_backup_does_not_start(installed: Installed) -> None:
    path = installed.config.parent / "0" / NODE_FILE
    held = path.read_bytes()
    replace_private(path, structs.replace(load_record(path), backups=()).canonical())
    try:
        assert "sealmarket oracle backup" in _refused(installed)
    finally:
        replace_private(path, held)


def test_a_node_whose_journal_is_gone_does_not_start_and_one_that_runs_shows_itself_to_its_operator(
    installed: Installed,
) -> None:
    state = installed.config.parent / "0"
    process = installed.start()
    shown = subprocess.run([*COMMAND, "status", state, "--json"], check=False, capture_output=True, timeout=PATIENCE)
    report = decode(NodeReport, shown.stdout.strip())
    assert (report.signer, report.epoch, report.keystore) == (installed.member.signer, 1, "keystore")
    assert len(report.peers) == 2
    assert process.stop() == 0
    assert not (state / "admin.sock").exists()
    assert {stat.S_IMODE(path.stat().st_mode) & 0o077 for path in state.iterdir()} == {0}
    journal = state / "journal.sqlite"
    moved = journal.rename(state / "moved.sqlite")
    assert "new keys" in _refused(installed)
    moved.rename(journal)
    installed.start().stop()


def test_a_node_that_accepts_simulated_evidence_must_name_the_root(installed: Installed) -> None:
    path = installed.config.with_name("lenient.toml")
    path.write_text(installed.config.read_text().replace('"production"', '"development"'))
    started = subprocess.run(
        [*COMMAND, "run", "--config", path], check=False, capture_output=True, text=True, timeout=PATIENCE
    )
    assert started.returncode == 1
    assert "names no development root" in started.stderr


def test_a_second_process_on_a_nodes_state_is_refused_and_names_the_first(installed: Installed) -> None:
    first = installed.start()
    second = subprocess.run(
        [*COMMAND, "run", "--config", installed.config], check=False, capture_output=True, text=True, timeout=PATIENCE
    )
    first.stop()
    assert second.returncode != 0
    assert f"process {first.pid} already runs on" in second.stderr


def test_1100_idle_connections_to_a_node_with_1024_descriptors_do_not_silence_it(installed: Installed) -> None:
    node = installed.start()
    resource.prlimit(node.pid, resource.RLIMIT_NOFILE, (1024, 1024))
    host, port = installed.member.url.removeprefix("http://").split(":")
    with ExitStack() as held:
        for _ in range(1100):
            held.enter_context(socket.create_connection((host, int(port)), timeout=PATIENCE))
        assert decode(Health, installed.get("/healthz")).status in ("ok", "starting")
        assert len(list(Path(f"/proc/{node.pid}/fd").iterdir())) < 200
    node.stop()
