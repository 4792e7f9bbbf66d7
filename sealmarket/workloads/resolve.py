"""``requirements.in`` -> ``requirements.lock``: packages pinned with hashes, by uv or by pip. Nothing is installed."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from sealmarket.workloads.errors import NoResolver, ResolveFailed
from sealmarket.workloads.strays import REQUIREMENTS
from sealmarket_enclave.workload.bundle import LOCK

_UV = (
    *("pip", "compile", "--quiet", "--universal", "--generate-hashes", "--only-binary", ":all:"),
    *("--no-header", "--no-annotate", "--no-emit-index-url", "--no-emit-find-links"),
)
_PIP = ("install", "--quiet", "--dry-run", "--ignore-installed", "--only-binary=:all:", "--disable-pip-version-check")
_HASH = re.compile(r"sha256:[0-9a-f]{64}")
_SHOWN = 500


def resolve(folder: Path, *, upgrade: bool = False, timeout: float = 600) -> str:
    """Write a bundle's lock; returns what wrote it: ``uv``, ``pip``, or ``nothing to pin``.

    uv keeps what is locked already unless ``upgrade`` is asked for, and locks for every platform. pip resolves anew,
    for this interpreter.

    Raises:
        NoResolver: neither is here.
        ResolveFailed: with the end of what the resolver said.
    """
    if not requirements((folder / REQUIREMENTS).read_text(encoding="utf-8")):
        (folder / LOCK).write_bytes(b"")
        return "nothing to pin"
    if uv := find_uv():
        python = f"{sys.version_info.major}.{sys.version_info.minor}"
        words = [uv, *_UV, "--python-version", python, REQUIREMENTS, "--output-file", LOCK]
        _run("uv", [*words, *(["--upgrade"] if upgrade else [])], folder, timeout)
        return "uv"
    if find_spec("pip") is None:
        raise NoResolver
    words = [sys.executable, "-m", "pip", *_PIP, "--report", "-", "-r", REQUIREMENTS]
    (folder / LOCK).write_text(lock_of_report(_run("pip", words, folder, timeout)), encoding="utf-8")
    return "pip"


def requirements(text: str) -> list[str]:
    """The lines of a requirements file that ask for something."""
    return [line.strip() for line in text.splitlines() if line.strip() and not line.strip().startswith("#")]


def lock_of_report(report: str) -> str:
    """The lock that pip's installation report (version 1) describes. Raises :class:`ResolveFailed`."""
    try:
        installed = json.loads(report)["install"]
        return "".join(sorted(_pin(item) for item in installed))
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ResolveFailed("pip", f"its report cannot be read ({type(error).__name__})") from error


def _pin(item: Any) -> str:
    name, version = item["metadata"]["name"], item["metadata"]["version"]
    found = f"sha256:{item['download_info']['archive_info']['hashes']['sha256']}"
    if not _HASH.fullmatch(found):
        raise ValueError(name)
    return f"{name.lower().replace('_', '-')}=={version} \\\n    --hash={found}\n"


def find_uv() -> str | None:
    """Where uv is: beside this interpreter, or on the path."""
    beside = Path(sys.executable).with_name("uv")
    return str(beside) if beside.is_file() else shutil.which("uv")


def _run(tool: str, command: list[str], folder: Path, timeout: float) -> str:
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=timeout, check=False)
    except subprocess.TimeoutExpired:
        raise ResolveFailed(tool, f"nothing within {timeout:.0f} seconds") from None
    if done.returncode:
        raise ResolveFailed(tool, done.stderr.strip()[-_SHOWN:])
    return done.stdout
