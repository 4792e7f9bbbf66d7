"""The drill of a committee change, by the commands of the runbook, with every party a process.

Jobs of both epochs run side by side. The data is sealed once; an owner that moves no shares gives the next committee
nothing. At the end the nodes of the first epoch destroy their keys.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sealmarket.chain import Chain, Reverted
from sealmarket.client import AssetWish, Consumer, SealedAsset
from sealmarket.client.jobs import JobRecord
from sealmarket.private_files import write_private
from sealmarket.protocol.book import AddressBook
from sealmarket.protocol.transitions import Status
from sealmarket_enclave.protocol.codec import decode
from sealmarket_enclave.protocol.errors import SealmarketError
from sealmarket_enclave.protocol.numbers import JobId
from sealmarket_localnet.market import DEVELOPMENT_BANK, NODES
from sealmarket_localnet.processes import LOOPBACK, Process, Supervisor, answers, free_port
from tests.acceptance.host import Host
from tests.acceptance.market import Rehearsal, node_names, raise_curtain
from tests.acceptance.test_approvals import final, say
from tests.patience import PATIENCE, until

__all__ = ["say"]
pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]
DONE = (Status.SETTLED, Status.MATURED)
LONG = 3_000
"""Seconds of a quote window: the job in flight waits for its host while the committee changes."""


@pytest.fixture
def rehearsal(tmp_path: Path) -> Iterator[Rehearsal]:
    """A market of its own, since its first epoch ends."""
    with Supervisor(logs=tmp_path / "logs") as programs:
        made = raise_curtain(programs, tmp_path / "m")
        with closing(made.chain):  # purses send by it after the address book has changed
            yield made
            made.close()


class Operators:
    """Those who run the nodes of both epochs, with their files."""

    def __init__(self, rehearsal: Rehearsal) -> None:
        self.market = rehearsal.market
        self.folder = self.market.folder
        self.urls = [f"http://{LOOPBACK}:{free_port()}" for _ in range(NODES)]

    def rotate(self) -> list[Path]:
        """Each makes keys for the next epoch; the files that they send."""
        return [self._rotate(place) for place in range(NODES)]

    def _rotate(self, place: int) -> Path:
        now, following = self.folder / f"oracle-{place}", self.folder / f"next-{place}"
        word = now.with_suffix(".passphrase")
        backup = self.folder / f"next-{place}.backup"
        options = ["--backup", backup, "--url", self.urls[place], "--passphrase-file", word]
        made = oracle("rotate", now, following, *options)
        assert made.returncode == 0, made.stderr
        config = (
            (now / "node.toml")
            .read_text()
            .replace(str(now), str(following))
            .replace(str(following.with_suffix(".passphrase")), str(word))
        )
        port = self.urls[place].rsplit(":", 1)[1]
        lines = [f"port = {port}" if line.startswith("port") else line for line in config.splitlines()]
        (following / "node.toml").write_text("\n".join(lines))
        member = self.folder / f"member-{place}.json"
        member.write_text(made.stdout)
        return member

    def start_next(self, place: int) -> Process:
        """Start the next epoch's node beside the present one."""
        config = self.folder / f"next-{place}" / "node.toml"
        command: list[str | Path] = [sys.executable, "-m", "sealmarket_oracle", "run", "--config", config]
        ready = answers(f"{self.urls[place]}/v1/node")
        self.market.parties[f"next-{place}"] = self.market.programs.start(f"next-{place}", command, ready=ready)
        return self.market.parties[f"next-{place}"]


def oracle(*words: object) -> subprocess.CompletedProcess[str]:
    """A command of an oracle operator."""
    command = [sys.executable, "-m", "sealmarket_oracle", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=PATIENCE)


def announced(rehearsal: Rehearsal, operators: Operators, say: Any, members: list[Path]) -> AddressBook:
    """The committee's owner forms the committee of two nodes that run and one member in a file, and announces it."""
    folder = rehearsal.folder
    write_private(folder / "owner.key", DEVELOPMENT_BANK.encode())
    form = ("chain", "committee", *operators.urls[:2], members[2], "--threshold", "2", "--out", folder / "two.json")
    code, _, error = say("consumer", *form)
    assert code != 0
    assert all(f"{url}: " in error for url in operators.urls[:2]), error
    assert not (folder / "two.json").exists()
    for place in range(2):
        operators.start_next(place)
    code, made, error = say("consumer", *form, "--json")
    assert (code, made["epoch"]) == (0, 2), error
    assert made["market"] == str(rehearsal.market.book.market)
    own = ("--key-file", folder / "owner.key", "--development-chain", "--yes", "--json")
    announce = ("chain", "announce-epoch", folder / "two.json", "--out", folder / "market-2.json", *own)
    code, told, error = say("consumer", *announce)
    assert (code, told["sent"]) == (0, True), error
    until("the epoch to count", lambda: rehearsal.chain.final().timestamp > told["activeAt"])
    return decode(AddressBook, (folder / "market-2.json").read_bytes())


def handed_on(rehearsal: Rehearsal, operators: Operators, book: AddressBook) -> None:
    """Every party takes the new address book and starts anew; the nodes of both epochs run."""
    shutil.copy(rehearsal.folder / "market-2.json", rehearsal.market.book_file)
    parties = [*node_names(), "next-0", "next-1", "backend", "worker"]
    for name in parties:
        rehearsal.kill(name)
    for place in range(NODES):
        operators.start_next(place)
    rehearsal.market.book = book
    rehearsal.market.chain = Chain(book, rehearsal.market.rpc)
    rehearsal.consumer = Consumer(
        rehearsal.chain, rehearsal.market.purses["consumer"].account, rehearsal.store, rehearsal.api
    )
    for name in (*node_names(), "backend", "worker"):
        rehearsal.start(name)


def requested(rehearsal: Rehearsal, asset: SealedAsset, version: int, provider: str, **limits: Any) -> JobId:
    wish = AssetWish(asset_id=asset.asset_id, version=version)
    wanted = replace(rehearsal.limits(provider), **limits)
    handle = rehearsal.consumer.request(rehearsal.workload.bundle, {}, [wish], wanted, rehearsal.result_key)
    return rehearsal.consumer.wait_match(handle)


def ended(rehearsal: Rehearsal, job: JobId, epoch: int) -> JobRecord:
    """A job at its end, decided in an epoch; its consumer opens the result."""
    record = rehearsal.reach_status(job, *DONE)
    assert record.spec.epoch == epoch
    assert rehearsal.consumer.open_result(job, rehearsal.result_key)
    return record


def test_a_committee_changes_while_jobs_run_and_the_old_nodes_destroy_their_keys(
    rehearsal: Rehearsal, say: Any, tmp_path: Path
) -> None:
    north, south = rehearsal.sealed["north"], rehearsal.sealed["south"]
    host = Host(rehearsal, tmp_path / "host")
    ended(rehearsal, requested(rehearsal, north, 1, "provider"), 1)
    in_flight = requested(rehearsal, north, 1, "host", quote_window=LONG)

    operators = Operators(rehearsal)
    handed_on(rehearsal, operators, announced(rehearsal, operators, say, operators.rotate()))

    code, made, error = say("north", "owner", "rewrap", north.folder, "--out", tmp_path / "moved", "--yes", "--json")
    assert code == 0, error
    assert (made["assetVersion"], made["seal"]["contentRoot"]) == (2, str(north.seal.content_root))
    moved = SealedAsset.load(tmp_path / "moved")
    assert moved.seal.epoch == 2
    final(rehearsal, rehearsal.chain.head().number)
    with host:
        later = requested(rehearsal, north, 2, "provider")
        ended(rehearsal, later, 2)
        ended(rehearsal, in_flight, 1)
    _ends(rehearsal, say)
    for version, asset in ((1, north), (1, south)):
        with pytest.raises((SealmarketError, Reverted), match="epoch"):
            requested(rehearsal, asset, version, "provider")
    _destroyed(rehearsal)
    ended(rehearsal, requested(rehearsal, north, 2, "provider"), 2)


def _ends(rehearsal: Rehearsal, say: Any) -> None:
    """The committee's owner ends the first epoch. Until a final block lies behind it, no key is destroyed."""
    ends_at = rehearsal.chain.head().timestamp + 60
    own = ("--key-file", rehearsal.folder / "owner.key", "--development-chain", "--yes", "--json")
    code, told, error = say("consumer", "chain", "end-epoch", 1, "--at", ends_at, *own)
    assert (code, told["endsAt"]) == (0, ends_at), error
    rehearsal.kill("oracle-0")
    early = oracle("destroy", "--config", rehearsal.folder / "oracle-0" / "node.toml", "--yes")
    assert early.returncode != 0
    assert "ends at" in early.stderr, early.stderr
    assert (rehearsal.folder / "oracle-0" / "hpke.json").exists()
    rehearsal.pass_time(500)  # behind the end, and behind the challenge window of every job
    until("a final block behind the end", lambda: rehearsal.chain.final().timestamp > ends_at)


def _destroyed(rehearsal: Rehearsal) -> None:
    for name in node_names():
        rehearsal.kill(name)
        folder = rehearsal.folder / name
        done = oracle("destroy", "--config", folder / "node.toml", "--yes")
        assert done.returncode == 0, done.stderr
        assert "for epoch 1 are destroyed" in done.stdout
        for place in (folder, folder.with_suffix(".backup")):
            assert not [file for file in ("signer.json", "hpke.json") if (place / file).exists()], place
        assert json.loads((folder / "node.json").read_bytes())["destroyedAt"] > 0
        again = oracle("run", "--config", folder / "node.toml")
        assert again.returncode != 0, again.stdout
