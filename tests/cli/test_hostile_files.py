"""A file that a command is told to read costs no more than such a file may have, whatever stands behind its name."""

from __future__ import annotations

import ast
import os
from pathlib import Path

import pytest

from sealmarket.cli.main import main
from sealmarket.files import MAXIMUM_FILE, read_file

ROOT = Path(__file__).resolve().parents[2]
READERS = [
    *sorted((ROOT / "sealmarket/cli").glob("*.py")),
    *(ROOT / "oracle/sealmarket_oracle" / name for name in ("cli.py", "config.py")),
    *(ROOT / "worker/host/sealmarket_worker" / name for name in ("cli.py", "config.py", "capability.py")),
    *(ROOT / "sealmarket/client" / name for name in ("books.py", "owner.py")),
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


@pytest.mark.parametrize("command", COMMANDS)
def test_a_hostile_file_is_refused_in_one_line(
    command: str, hostile: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SEALMARKET_HOME", str(tmp_path / "home"))
    with pytest.raises(SystemExit) as ended:
        main(command.format(hostile).split())
    said = capsys.readouterr().err
    assert ended.value.code in (1, 2)
    assert "Traceback" not in said
    assert str(hostile.name) in said.replace("\n", "") or "proof bundle is not one" in said


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
