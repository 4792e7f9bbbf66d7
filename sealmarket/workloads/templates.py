"""Projects to start from: each is a workload that works, in a folder of its own."""

from __future__ import annotations

import re
from pathlib import Path

from sealmarket.workloads.errors import FolderTaken, TemplateUnknown
from sealmarket.workloads.folders import read_files
from sealmarket_enclave.workload.bundle import MANIFEST

_FOLDER = Path(__file__).with_name("templates")
AS_LOCKED = {"pytorch": " --as-locked"}
"""How `sealmarket workload lock` is called for templates whose wheels are not those that PyPI has."""
_MOST_CHARACTERS = 64
_SEPARATORS = re.compile(r"[^a-z0-9]")


def templates() -> tuple[str, ...]:
    """The names of the templates."""
    return tuple(sorted(path.name for path in _FOLDER.iterdir() if path.is_dir()))


def create(folder: Path, template: str) -> str:
    """Write a template's files into a new folder; returns the workload's name, which follows from the folder's.

    Raises:
        TemplateUnknown: no template has that name.
        FolderTaken: something is there already.
    """
    if template not in templates():
        raise TemplateUnknown(template, templates())
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise FolderTaken(folder)
    files = read_files(_FOLDER / template)
    name = workload_name(folder.resolve().name)
    for path, file in files.items():
        place = folder / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(_renamed(file.data, name) if path == MANIFEST else file.data)
    return name


def workload_name(text: str) -> str:
    """A name that a manifest allows: ``a-z 0-9 -``, at most 64 characters."""
    words = [word for word in _SEPARATORS.sub("-", text.lower()).split("-") if word]
    return "-".join(words)[:_MOST_CHARACTERS].rstrip("-") or "workload"


def _renamed(manifest: bytes, name: str) -> bytes:
    """The manifest with another name; the first ``name`` in it is the workload's."""
    lines = manifest.decode().splitlines(keepends=True)
    first = next(place for place, line in enumerate(lines) if line.startswith("name ="))
    return "".join([*lines[:first], f'name = "{name}"\n', *lines[first + 1 :]]).encode()
