"""Tools that are installed apart from everything else: each by its lock's hashes, into a folder of its own."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path


def is_installed(lock: Path, home: Path) -> bool:
    """Whether ``home`` holds exactly what the lock names."""
    done = home / "installed"
    return done.is_file() and done.read_text() == lock.read_text()


def install(lock: Path, home: Path) -> Path:
    """Install a lock into ``home``, where it is not yet; returns the folder of its programs."""
    if not is_installed(lock, home):
        shutil.rmtree(home, ignore_errors=True)
        uv = str(Path(sys.executable).with_name("uv"))
        subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, str(home)], check=True)
        command = [uv, "pip", "install", "--quiet", "--python", str(home / "bin" / "python"), "--require-hashes"]
        subprocess.run([*command, "--requirement", str(lock)], check=True)
        (home / "installed").write_text(lock.read_text())
    return home / "bin"
