"""Two processes never write one journal."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from sealmarket.serving.errors import StateInUse
from sealmarket.serving.lock import only_process


def test_a_second_process_on_one_state_folder_is_refused_and_names_the_first(tmp_path: Path) -> None:
    code = (
        "import pathlib, sys; from sealmarket.serving.lock import only_process\n"
        "with only_process(pathlib.Path(sys.argv[1])): print('held', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-P", "-c", code, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as first:
        assert first.stdout is not None
        assert first.stdout.readline() == b"held\n"
        with pytest.raises(StateInUse, match=f"process {first.pid} already runs"), only_process(tmp_path):
            pass
        first.kill()
    with only_process(tmp_path):
        assert (tmp_path / "lock").read_text() == str(os.getpid())


def test_a_link_in_the_place_of_the_lock_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "lock").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError), only_process(tmp_path):
        pass
    assert not (tmp_path / "elsewhere").exists()
