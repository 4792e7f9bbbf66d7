"""Every program that serves, or keeps a state folder: what it does with a second one, a full house, and its own end."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from sealmarket.serving.limits import ServerLimits
from sealmarket_localnet.processes import Process, Supervisor, answers
from tests.acceptance.market import Rehearsal
from tests.patience import PATIENCE, until
from tests.serving.attacks import read_to_end

LISTENERS = ("backend", "oracle-0")
SECRET = "s3cr3t-of-the-provider"
REQUEST = "POST /v1/requests HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{"
EMPTY = "POST /v1/requests HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"
PEER = "127.0.0.77"
CALMLY: dict[str, Any] = {"timeout": PATIENCE, "trust_env": False}


def url_of(rehearsal: Rehearsal, party: str) -> str:
    book = rehearsal.market.book
    return book.backend if party == "backend" else book.committees[0].members[0].url


def health_of(rehearsal: Rehearsal, party: str) -> str:
    return url_of(rehearsal, party) + "/healthz"


def command_of(process: Process) -> list[str]:
    """How a program was started."""
    return Path(f"/proc/{process.pid}/cmdline").read_text().split("\0")[:-1]


def started(command: list[str], **environment: str) -> tuple[int, str]:
    """Exit status, and all that a program says that does not come up."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "VIRTUAL_ENV") if name in os.environ}
    done = subprocess.run(
        command, check=False, capture_output=True, text=True, timeout=PATIENCE, env=kept | environment
    )
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize("party", [*LISTENERS, "worker"])
def test_a_second_program_on_one_state_folder_is_refused_and_names_the_first(rehearsal: Rehearsal, party: str) -> None:
    first = rehearsal.market.parties[party]
    status, said = started(command_of(first))
    assert status != 0
    assert f"process {first.pid} already runs on" in said
    assert "serves on" not in said
    assert first.status is None


@pytest.mark.parametrize("party", LISTENERS)
def test_a_program_whose_port_is_taken_says_so_and_never_that_it_serves(
    rehearsal: Rehearsal, party: str, tmp_path: Path
) -> None:
    rehearsal.kill(party)
    command = _command_after_a_kill(rehearsal, party)
    address = urlsplit(url_of(rehearsal, party))
    with socket.create_server((str(address.hostname), int(address.port or 0))):
        status, said = started(command)
    assert status != 0
    assert f"cannot listen on 127.0.0.1:{address.port}" in said
    assert "serves on" not in said
    assert rehearsal.mend() == [party]


def _command_after_a_kill(rehearsal: Rehearsal, party: str) -> list[str]:
    market, folder = rehearsal.market, rehearsal.folder
    if party != "backend":
        return [sys.executable, "-m", "sealmarket_oracle", "run", "--config", str(folder / party / "node.toml")]
    port = market.book.backend.rsplit(":", 1)[1]
    options = ["--book", str(market.book_file), "--rpc", market.rpc, "--state", str(folder / "backend")]
    options += ["--key-file", str(market.purses["keeper"].key_file), "--port", port]
    return [sys.executable, "-m", "sealmarket_backend", "run", *options]


@pytest.mark.parametrize("party", LISTENERS)
def test_a_program_that_has_to_stop_ends_by_itself_while_a_request_hangs(rehearsal: Rehearsal, party: str) -> None:
    process, address = rehearsal.market.parties[party], urlsplit(url_of(rehearsal, party))
    with socket.create_connection((str(address.hostname), int(address.port or 0)), timeout=PATIENCE) as hanging:
        hanging.sendall(REQUEST.encode())
        until(
            "the program to read the request",
            lambda: httpx.get(health_of(rehearsal, party), **CALMLY),
        )
        assert process.stop(grace=PATIENCE) in (0, -signal.SIGTERM)
    assert rehearsal.mend() == [party]
    assert httpx.get(f"{url_of(rehearsal, party)}/v1/{'book' if party == 'backend' else 'node'}", **CALMLY).is_success


@pytest.mark.parametrize("party", LISTENERS)
def test_a_peer_beyond_its_rate_waits_and_the_others_do_not(rehearsal: Rehearsal, party: str) -> None:
    address = urlsplit(url_of(rehearsal, party))
    with socket.create_connection((str(address.hostname), int(address.port or 0)), PATIENCE, (PEER, 0)) as flood:
        flood.sendall(EMPTY.encode() * 5 * ServerLimits().write_burst)
        answers = read_to_end(flood)
    assert b" 429 Too Many Requests" in answers
    assert httpx.post(f"{url_of(rehearsal, party)}/v1/requests", **CALMLY).status_code in (
        404,
        422,
    )


@pytest.mark.parametrize("party", LISTENERS)
def test_an_rpc_urls_key_is_in_no_message_and_no_answer(rehearsal: Rehearsal, party: str, tmp_path: Path) -> None:
    """The endpoint is gone: what is said about it names it without what may be a key."""
    rpc = f"http://user:{SECRET}@127.0.0.1:9/v3/{SECRET}?key={SECRET}"
    command = _command_after_a_kill(rehearsal, party)
    if party == "backend":
        command[command.index("--rpc") + 1] = rpc
        command[command.index("--state") + 1] = str(tmp_path / "state")
        status, said = started(command)
        assert status != 0
    else:
        rehearsal.kill(party)
        said = _said_by_a_node(rehearsal, party, tmp_path / "node.toml", rpc)
        rehearsal.mend()
    assert "127.0.0.1:9" in said
    assert SECRET not in said


def _said_by_a_node(rehearsal: Rehearsal, party: str, config: Path, rpc: str) -> str:
    """A node waits for its endpoint: its log and its answer together."""
    given = (rehearsal.folder / party / "node.toml").read_text().splitlines()
    config.write_text("\n".join([*(line for line in given if not line.startswith("rpc")), f"rpc = {json.dumps(rpc)}"]))
    command = [*_command_after_a_kill(rehearsal, party)[:-1], str(config)]
    with Supervisor(config.parent / "logs") as programs:
        node = programs.start("node", command, ready=answers(health_of(rehearsal, party), 503))
        until("the node to miss its endpoint", lambda: "127.0.0.1:9" in node.log.read_text())
        answer = httpx.get(health_of(rehearsal, party), **CALMLY).text
        node.stop()
        return node.log.read_text() + answer
