"""What only an enclave may see is searched for in everything else: invariant 1.

Needles: a marker in every row, both data keys, every share of them, the result key, and the plaintext of the result,
each as bytes, as hex and as base64. Haystacks: every file of every party, logs at debug level, databases with their
write-ahead logs, what appeared in the folders for temporary files and in shared memory, the environment and command
line of every process; while the workload holds the rows, and after the job. Only the memory of the enclave is left out.
"""

from __future__ import annotations

import base64
import json
import os
import resource
import secrets
import stat
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from sealmarket.client import SealedAsset
from sealmarket.client.sealed_asset import KEY
from sealmarket.protocol.transitions import Status
from sealmarket.sealing.keyfile import KeyKind, read_key_file
from sealmarket.sealing.shares import open_share
from sealmarket_devices.client import VirtualDevice
from sealmarket_enclave.sealed.hpke import PrivateKey
from sealmarket_localnet.market import NODES, LocalMarket
from sealmarket_localnet.processes import Process, Ready, Supervisor
from sealmarket_oracle.node_folder import HPKE_FILE
from tests.acceptance import workloads
from tests.acceptance.market import OWNERS, Rehearsal, node_names, raise_curtain
from tests.patience import until

SLOW = workloads.CODE.replace("    points = []\n", "    import time\n    time.sleep(6)\n    points = []\n")
TEMPORARY = (Path("/tmp"), Path("/dev/shm"), Path("/var/tmp"))
MOST_BYTES = 256 << 20


class VerboseMarket(LocalMarket):
    """Every party logs all that it can."""

    def _party(self, name: str, words: list[str | Path], ready: Ready) -> Process:
        return super()._party(name, ["-m", "tests.acceptance.verbose", *words[1:]], ready)


@pytest.fixture(scope="module")
def began() -> float:
    return time.time() - 1


@pytest.fixture(scope="module")
def rehearsal(tmp_path_factory: pytest.TempPathFactory, began: float) -> Iterator[Rehearsal]:
    folder = tmp_path_factory.mktemp("leak")
    with Supervisor(logs=folder / "logs") as programs:
        stage = raise_curtain(programs, folder, kind=VerboseMarket)
        yield stage
        stage.close()


def _spellings(name: str, secret: bytes) -> dict[bytes, str]:
    encoded = base64.b64encode(secret).rstrip(b"=")
    forms = (secret, secret.hex().encode(), secret.hex().upper().encode(), encoded, encoded.translate(_URL_SAFE))
    return dict.fromkeys(forms, name)


_URL_SAFE = bytes.maketrans(b"+/", b"-_")


def _needles(rehearsal: Rehearsal, assets: dict[str, SealedAsset], marker: bytes) -> dict[bytes, str]:
    found = _spellings("a row's marker", marker) | _spellings("the result key", rehearsal.result_key.secret_bytes())
    for owner, sealed in assets.items():
        found |= _spellings(f"the data key of {owner}", _data_key(sealed))
        for index in range(1, NODES + 1):
            folder = rehearsal.folder / f"oracle-{index - 1}"
            word = folder.with_suffix(".passphrase").read_text().strip()
            private = PrivateKey(read_key_file(folder / HPKE_FILE, KeyKind.NODE_KEY, passphrase=word)[0])
            share = open_share(private, sealed.share_set, index, (sealed.folder / f"share-{index}.bin").read_bytes())
            found |= _spellings(f"share {index} of {owner}", share.value)
    return found


def _data_key(sealed: SealedAsset) -> bytes:
    key, _about = read_key_file(sealed.folder / KEY, KeyKind.DATA_KEY)
    return key


def _files(rehearsal: Rehearsal, began: float) -> Iterator[Path]:
    """Every file of the market, and whatever appeared meanwhile where programs leave things."""
    yield from (path for path in rehearsal.folder.rglob("*") if path.is_file() and not path.is_symlink())
    for root in TEMPORARY:
        for folder, folders, names in os.walk(root):
            folders[:] = [name for name in folders if Path(folder, name) != rehearsal.folder]
            for name in names:
                path = Path(folder, name)
                try:
                    status = path.lstat()
                except OSError:
                    continue
                if stat.S_ISREG(status.st_mode) and max(status.st_mtime, status.st_ctime) >= began:
                    yield path


def _search(rehearsal: Rehearsal, needles: dict[bytes, str], began: float, allowed: set[Path]) -> list[str]:
    found, seen = [], 0
    for path in _files(rehearsal, began):
        if path in allowed or path.stat().st_size > MOST_BYTES:
            continue
        seen += 1
        try:
            content = path.read_bytes()
        except OSError:
            continue
        found += [f"{name} in {path}" for needle, name in needles.items() if needle in content]
    for process in Path("/proc").glob("[0-9]*"):
        for part in ("environ", "cmdline"):
            try:
                content = (process / part).read_bytes()
            except OSError:
                continue
            found += [f"{name} in {process / part}" for needle, name in needles.items() if needle in content]
    assert seen > 100, "the search looked at next to nothing"
    return found


def test_no_row_key_or_share_is_anywhere_outside_the_enclave(rehearsal: Rehearsal, began: float) -> None:
    marker = b"MARKER-" + secrets.token_hex(12).encode()
    slow = workloads.other(rehearsal.workload, rehearsal.folder / "slow", SLOW)
    rows = b"x,y,note\n" + b"".join(b"%d,%d,%s\n" % (x, 2 * x + 1, marker) for x in range(400))
    assets = {owner: rehearsal.publish(owner, rows, workloads=(slow.digest,)) for owner in OWNERS}
    needles = _needles(rehearsal, assets, marker)
    allowed = {sealed.folder / KEY for sealed in assets.values()}
    planted = rehearsal.folder / "planted.txt"
    planted.write_bytes(b"before " + marker + b" after")
    seen = _search(rehearsal, needles, began, allowed)
    assert seen == [f"a row's marker in {planted}"], "the search finds what is there"
    planted.unlink()

    job_id = rehearsal.job(*assets.values(), workload=slow)
    log = rehearsal.folder / "worker" / "progress.jsonl"
    until("the workload to run", lambda: log.exists() and '"compute"' in log.read_text())
    with VirtualDevice(rehearsal.market.device_socket) as device:
        enclaves = [enclave for enclave in device.enclaves() if enclave.exit_code is None]
    assert enclaves
    for enclave in enclaves:
        assert resource.prlimit(enclave.pid, resource.RLIMIT_CORE) == (0, 0)
    assert _search(rehearsal, needles, began, allowed) == []

    rehearsal.reach_status(job_id, Status.SETTLED)
    result = rehearsal.consumer.open_result(job_id, rehearsal.result_key)
    assert json.loads(result["model.json"])["rows"] == 800
    for party in ("backend", "worker", *node_names()):
        assert "DEBUG" in (rehearsal.folder / "logs" / f"{party}.log").read_text(), f"{party} logs too little"
    needles |= _spellings("the result", result["model.json"])
    assert _search(rehearsal, needles, began, allowed) == []
    assert [path for path in rehearsal.folder.rglob("core*") if path.is_file() and path.stat().st_size > 1 << 20] == []
