"""Where the evidence from real hardware lies. It is no part of the repository; tests that need it skip without it."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TypeVar

import pytest

T = TypeVar("T")
_ROOT = Path(__file__).resolve().parents[1]
FOLDER = Path(os.environ.get("SEALMARKET_VECTORS") or _ROOT.parent / "shared" / "vectors")


def vector(name: str) -> bytes:
    """The bytes of one vector file; skips the test where the folder is absent."""
    path = FOLDER / name
    if not path.is_file():
        pytest.skip(f"no evidence from hardware: set SEALMARKET_VECTORS to the folder that holds {name}")
    return path.read_bytes()


def first(candidates: Iterable[T]) -> T:
    """The first of some vectors; skips the test where there is none, which is where the folder is absent."""
    for candidate in candidates:
        return candidate
    pytest.skip("no evidence from hardware: set SEALMARKET_VECTORS to the folder that holds manifest.json")


def manifest() -> list[dict[str, Any]]:
    """Every entry of the folder's manifest, or nothing where the folder is absent."""
    path = FOLDER / "manifest.json"
    if not path.is_file():
        return []
    entries: list[dict[str, Any]] = json.loads(path.read_text())["entries"]
    return entries
