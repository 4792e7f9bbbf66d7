"""``requirements.in`` -> ``requirements.lock``: packages pinned with hashes, by uv or by pip. Nothing is installed."""

from __future__ import annotations

import json
import re
import shutil
import string
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from sealmarket.workloads.errors import LockRefused, NoResolver, ResolveFailed
from sealmarket.workloads.strays import REQUIREMENTS
from sealmarket_enclave.workload.bundle import LOCK

_UV = (
    *("pip", "compile", "--quiet", "--universal", "--generate-hashes", "--only-binary", ":all:"),
    *("--no-header", "--no-annotate", "--no-emit-index-url", "--no-emit-find-links"),
)
_PIP = ("install", "--quiet", "--dry-run", "--ignore-installed", "--only-binary=:all:", "--disable-pip-version-check")
_HASH = re.compile(r"sha256:[0-9a-f]{64}")
_LOCKED_HASH = re.compile(r"--hash=sha256:[0-9a-f]{64}")
_LETTERS = frozenset(string.ascii_letters + string.digits)
_NAME, _VERSION = _LETTERS | frozenset("._-[],"), _LETTERS | frozenset(".!+_-")
_MARKER = _LETTERS | frozenset("_.,<>=!~'\"()-")
_ARCHIVES = (".whl", ".zip", ".tar", ".gz", ".tgz", ".bz2", ".tbz", ".xz", ".txz", ".lz", ".tlz", ".lzma")
"""What ends so is the name of a file to pip."""
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


def pins(text: str) -> Iterator[str]:
    """The pinned packages of a lock, each as one line that is spelled anew: name, version, marker, hashes.

    A lock may be a stranger's, and its reader would obey more than pins: an address is fetched, and a source package
    runs its author's code on the machine that fetches it.

    Raises:
        LockRefused: a line that is anything else.
    """
    pin: list[str] = []
    for line in requirements(text):
        words = line.removesuffix("\\").replace(";", " ; ").split()
        hashes = [word for word in words if _LOCKED_HASH.fullmatch(word)]
        named = words[: len(words) - len(hashes)]
        if named and pin:
            yield _whole(pin)
            pin = []
        if (named and not _is_pin(named)) or words[len(named) :] != hashes or not (named or pin):
            raise LockRefused(line)
        pin += words
    if pin:
        yield _whole(pin)


def _is_pin(words: list[str]) -> bool:
    """Whether these are a package's name and version, and perhaps a marker: no option, no address."""
    name, equals, version = words[0].partition("==")
    marker = words[1:]
    return bool(
        equals
        and name[:1] in _LETTERS
        and _NAME.issuperset(name)
        and version
        and _VERSION.issuperset(version)
        and not version.lower().endswith(_ARCHIVES)
        and marker[:1] in ([], [";"])
        and all(_MARKER.issuperset(word) and not word.startswith("-") for word in marker[1:])
    )


def _whole(pin: list[str]) -> str:
    if not _LOCKED_HASH.fullmatch(pin[-1]):
        raise LockRefused(pin[0])
    return " ".join(pin)


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
