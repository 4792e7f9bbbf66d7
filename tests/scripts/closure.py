"""What an installation of a distribution brings, and a way to have it elsewhere without any index."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

_NAME = re.compile(r"[A-Za-z0-9._-]+")


def closure(name: str, wheels: dict[str, Path]) -> set[str]:
    """The distributions that an installation of ``name`` brings, itself included."""
    found: set[str] = set()
    waiting = [name]
    while waiting:
        one = waiting.pop()
        if one not in found:
            found.add(one)
            waiting += _requirements(one, wheels)
    return found


def _requirements(name: str, wheels: dict[str, Path]) -> Iterator[str]:
    if name in wheels:
        with zipfile.ZipFile(wheels[name]) as wheel:
            text = wheel.read(next(file for file in wheel.namelist() if file.endswith(".dist-info/METADATA"))).decode()
        declared = re.findall(r"^Requires-Dist: (.*)$", text, re.MULTILINE)
    else:
        declared = metadata.requires(name) or []
    for line in declared:
        requirement, _, marker = line.partition(";")
        if "extra ==" in marker:
            continue
        match = _NAME.match(requirement.strip())
        assert match
        wanted = match[0].lower().replace("_", "-").replace(".", "-")
        if wanted in wheels or _installed(wanted):
            yield wanted
        else:
            assert marker, f"{name} needs {wanted}, which the locks do not bring"


def _installed(name: str) -> bool:
    try:
        metadata.distribution(name)
    except metadata.PackageNotFoundError:
        return False
    return True


def link(name: str, folder: Path) -> None:
    """Show an installed distribution under ``folder``: links to each of its top-level files and folders."""
    distribution = metadata.distribution(name)
    tops = {file.parts[0] for file in distribution.files or () if file.parts[0] not in ("..", "__pycache__")}
    for top in tops:
        source = Path(str(distribution.locate_file(top)))
        target = folder / top
        if not target.exists() and source.exists():
            target.symlink_to(source)
