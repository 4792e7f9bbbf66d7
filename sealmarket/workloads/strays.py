"""Files that do not belong into a bundle: programs write them unasked, and each changes the digest.

Nothing is skipped when a digest is computed. So what does not belong is named, and its author removes it.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from sealmarket_enclave.workload.bundle import CODE, ENVIRONMENT, LOCK, MANIFEST

REQUIREMENTS = "requirements.in"
MOST_ENTRIES = 20_000
_FOLDERS = {
    "version control": (".git", ".hg", ".svn", ".bzr"),
    "a cache": (
        "__pycache__",
        ".mypy_cache",
        ".ruff_cache",
        ".pytest_cache",
        ".hypothesis",
        ".ipynb_checkpoints",
        ".cache",
    ),
    "an environment": (".venv", "venv", "env", "node_modules", ".tox", ".nox", "site-packages"),
    "an editor's folder": (".idea", ".vscode", ".vs", ".spyproject"),
    "what a build leaves": ("build", "dist", ".eggs"),
}
_FILES = {
    "version control": (".gitignore", ".gitattributes", ".gitmodules", ".gitkeep"),
    "a file manager's": (".ds_store", "thumbs.db", "desktop.ini", ".directory"),
    "settings with secrets": (".env", ".netrc", ".pypirc"),
    "what a test run leaves": (".coverage", "coverage.xml"),
}
_SUFFIXES = {
    "an editor's copy": ("~", ".swp", ".swo", ".bak", ".orig", ".rej", ".tmp"),
    "compiled code": (".pyc", ".pyo", ".so", ".pyd", ".o", ".a", ".dll", ".dylib"),
    "data": (
        *(".csv", ".tsv", ".parquet", ".arrow", ".feather", ".jsonl", ".ndjson", ".xlsx", ".xls", ".ods", ".log"),
        *(".sqlite", ".db", ".npy", ".npz", ".pkl", ".pickle", ".joblib", ".h5", ".hdf5", ".mat", ".sav", ".rds"),
        *(".dta", ".zip", ".gz", ".tar", ".bz2", ".xz", ".zst", ".7z"),
    ),
    "a notebook, which holds its outputs": (".ipynb",),
}
_EXPECTED = (MANIFEST, LOCK, ENVIRONMENT, REQUIREMENTS)
_EXPECTED_STEMS = ("readme", "license", "licence", "notice", "changelog", "authors", "citation")


@dataclass(frozen=True, slots=True)
class Stray:
    """One file or folder that does not belong: its path, and what it is."""

    path: str
    what: str


def strays(directory: Path, keep: Collection[str] = ()) -> list[Stray]:
    """What does not belong, sorted by path; ``keep`` names paths that are meant."""
    return sorted((stray for stray in _walk(directory) if stray.path not in keep), key=lambda stray: stray.path)


def _walk(directory: Path) -> Iterator[Stray]:
    pending, seen = [""], 0
    while pending:
        folder = pending.pop()
        with os.scandir(directory / folder) as entries:
            for entry in entries:
                seen += 1
                path = f"{folder}/{entry.name}" if folder else entry.name
                if seen > MOST_ENTRIES:
                    yield Stray(folder or ".", f"more than {MOST_ENTRIES} entries: no bundle holds so many")
                    return
                is_folder = entry.is_dir(follow_symlinks=False)
                if what := _kind(path, entry.name.lower(), is_folder=is_folder):
                    yield Stray(path, what)
                elif is_folder:
                    pending.append(path)


def _kind(path: str, name: str, *, is_folder: bool) -> str:
    """What is wrong with it in words, or nothing."""
    if is_folder:
        if name.endswith((".egg-info", ".dist-info")):
            return "what a build leaves"
        return next((what for what, names in _FOLDERS.items() if name in names), "")
    if name in [known for names in _FILES.values() for known in names]:
        return next(what for what, names in _FILES.items() if name in names)
    if what := next((what for what, ends in _SUFFIXES.items() if name.endswith(ends)), ""):
        return what
    if name.startswith((".#", "#")):
        return "an editor's copy"
    outside = "/" not in path and path not in _EXPECTED and name.partition(".")[0] not in _EXPECTED_STEMS
    return f"a file beside {CODE}/ that no rule of a bundle knows" if outside else ""
