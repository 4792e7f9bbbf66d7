"""A file that a command is told to read costs no more than such a file may have, whatever stands behind its name."""

from __future__ import annotations

import ast
import os
from pathlib import Path

import pytest

from sealmarket.chain.deploy import write_book
from sealmarket.cli.main import main
from sealmarket.files import MAXIMUM_FILE, read_file
from sealmarket_enclave.protocol.codec import canonical_json
from tests.client.bundles import MEASUREMENT, Case

ROOT = Path(__file__).resolve().parents[2]
READERS = [
    *sorted((ROOT / "sealmarket/cli").glob("*.py")),
    *(ROOT / "oracle/sealmarket_oracle" / name for name in ("cli.py", "config.py")),
    *(ROOT / "worker/host/sealmarket_worker" / name for name in ("cli.py", "config.py", "capability.py")),
    *(
        ROOT / "sealmarket/client" / name
        for name in ("asset_card.py", "books.py", "draft_file.py", "owner.py", "proposals.py")
    ),
]
READ_WHOLE = {"_options.py": {"file.read_text", "path.read_bytes"}, "main.py": {"path.read_text"}}
"""Files of this program itself, and of the user's own keys and passphrases."""
COMMANDS = [
    "verify {}",
    "evidence show {}",
    "evidence verify {}",
    "policy check {}",
    "policy explain {}",
    "chain book --book {}",
    "collateral import {}",
    "owner policy new new.json --title x --workload 0x{digest} --evidence {} --defaults",
    "owner policy new new.json --title x --workload 0x{digest} --evidence {policy} --columns-of {} --defaults",
    "owner seal {policy} --policy {} --out out --plain-key {market}",
    "owner describe {}",
    "owner inspect {} {market}",
    "owner audit --account 0x{account} --names {} {market}",
    "owner revoke {} {market}",
    "consumer card {} {market}",
    "container put {} out",
    "container prove {} 0 --out proof.json",
    "container check {} {policy} --root 0x{digest}",
    "container fetch {} fetched --root 0x{digest}",
    "container open {policy} --key {} --root 0x{digest} --out plain",
    "worker run --config {}",
    "oracle run --config {}",
]


@pytest.fixture(params=["a device without end", "a sparse terabyte", "a ring of links", "a folder"])
def hostile(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    if request.param == "a device without end":
        return Path("/dev/zero")
    path = tmp_path / "file"
    if request.param == "a folder":
        path.mkdir()
    elif request.param == "a ring of links":
        path.symlink_to(path)
    else:
        path.touch()
        os.truncate(path, 1 << 40)
    return path


def filled(command: str, hostile: Path, folder: Path) -> list[str]:
    """The words of a command, with what it asks for beside the hostile file."""
    book, key, policy = folder / "market.json", folder / "account.key", folder / "m.json"
    write_book(book, Case().book)
    key.write_text("11" * 32)
    key.chmod(0o600)
    policy.write_bytes(canonical_json({"measurement": MEASUREMENT}))
    market = f"--book {book} --rpc http://127.0.0.1:9"
    return command.format(hostile, digest="77" * 32, account="11" * 20, policy=policy, market=market).split()


@pytest.mark.parametrize("command", COMMANDS)
def test_a_hostile_file_is_refused_in_one_line(
    command: str, hostile: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SEALMARKET_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("SEALMARKET_KEY_FILE", str(tmp_path / "account.key"))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        main(filled(command, hostile, tmp_path))
    said = capsys.readouterr().err
    assert ended.value.code in (1, 2)
    assert "Traceback" not in said
    assert str(hostile.name) in said.replace("\n", "") or "proof bundle is not one" in said


def test_a_pipe_is_not_described_since_it_would_be_read_twice(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    os.mkfifo(tmp_path / "pipe")
    end = os.open(tmp_path / "pipe", os.O_RDWR)
    os.write(end, b"a,b\n1,2\n" * 100)
    with pytest.raises(SystemExit) as ended:
        main(["owner", "describe", str(tmp_path / "pipe")])
    os.close(end)
    assert ended.value.code == 2
    assert "no file that can be read twice" in capsys.readouterr().err.replace("\n", " ")


def test_a_file_is_read_up_to_its_bound_and_no_byte_further(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"12345")
    assert read_file(path, 5) == b"12345"
    with pytest.raises(OSError, match="more than 4 bytes"):
        read_file(path, 4)
    with pytest.raises(OSError, match=f"more than {MAXIMUM_FILE} bytes"):
        read_file(Path("/dev/zero"))


@pytest.mark.parametrize("module", READERS, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_no_command_reads_a_file_without_a_bound(module: Path) -> None:
    calls = (node.func for node in ast.walk(ast.parse(module.read_text())) if isinstance(node, ast.Call))
    reads = {ast.unparse(call) for call in calls if ast.unparse(call).endswith((".read_bytes", ".read_text"))}
    assert reads - READ_WHOLE.get(module.name, set()) - {"self.key.read_text"} == set()
